//! The server finds out that a client is gone.

use std::time::Duration;

use bucle::engine_io::Options;

use super::Site;

const INTERVAL: Duration = Duration::from_secs(25);
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn a_client_that_polls_gets_a_ping_25_s_after_its_last_pong() {
    let mut site = Site::with_defaults();
    let client = site.open();
    for _ in 0..3 {
        site.poll(&client);
        site.pass(INTERVAL - Duration::from_millis(10));
        assert!(site.is_waiting(&client), "a ping before its time");
        site.pass(Duration::from_millis(20));
        assert_eq!(site.packets(&client), "2");
        site.posted(&client, "3");
    }
    site.expect_story(&["0 open"]);
}

#[test]
fn a_client_that_polls_and_does_not_answer_a_ping_is_closed_after_20_s() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    site.pass(INTERVAL);
    assert_eq!(site.packets(&client), "2");
    site.poll(&client);
    site.pass(TIMEOUT - Duration::from_millis(10));
    assert!(site.is_waiting(&client));
    site.pass(Duration::from_millis(20));
    assert_eq!(site.packets(&client), "1");
    site.expect_story(&["0 open", "0 close ping timeout"]);
    site.expect_empty();
}

#[test]
fn a_client_that_never_polls_is_closed_after_45_s() {
    let mut site = Site::with_defaults();
    site.open();
    site.pass(INTERVAL);
    site.pass(TIMEOUT - Duration::from_millis(10));
    site.expect_story(&["0 open"]);
    site.pass(Duration::from_millis(20));
    site.expect_story(&["0 close ping timeout"]);
    site.expect_empty();
}

#[test]
fn a_client_of_websocket_gets_a_ping_25_s_after_its_last_pong() {
    let mut site = Site::with_defaults();
    let (ws, _) = site.open_websocket();
    for _ in 0..3 {
        site.pass(INTERVAL - Duration::from_millis(10));
        site.expect_nothing(ws);
        site.pass(Duration::from_millis(20));
        site.expect(ws, "2");
        site.text(ws, "3");
    }
    site.expect_story(&["0 open"]);
}

#[test]
fn a_client_of_websocket_that_does_not_answer_a_ping_is_closed_after_20_s() {
    let mut site = Site::with_defaults();
    let (ws, _) = site.open_websocket();
    site.pass(INTERVAL);
    site.expect(ws, "2");
    site.pass(TIMEOUT - Duration::from_millis(10));
    site.expect_nothing(ws);
    site.pass(Duration::from_millis(20));
    site.expect_close(ws, 1005);
    site.expect_story(&["0 open", "0 close ping timeout"]);
    site.expect_empty();
}

#[test]
fn two_pongs_do_not_delay_the_next_ping_beyond_its_interval() {
    let mut site = Site::with_defaults();
    let (ws, _) = site.open_websocket();
    site.pass(INTERVAL);
    site.expect(ws, "2");
    site.text(ws, "3");
    site.text(ws, "3");
    site.pass(INTERVAL);
    site.expect(ws, "2");
}

#[test]
fn a_ping_of_a_client_of_revision_4_ends_the_session() {
    let mut site = Site::with_defaults();
    let (ws, _) = site.open_websocket();
    site.text(ws, "2");
    site.expect_close(ws, 1005);
    site.expect_story(&["0 open", "0 close transport error: invalid heartbeat direction"]);
    let client = site.open();
    site.poll(&client);
    site.posted(&client, "2");
    assert_eq!(site.packets(&client), "1");
    site.expect_story(&["1 open", "1 close transport error: invalid heartbeat direction"]);
    site.expect_empty();
}

#[test]
fn a_client_of_revision_3_pings_itself() {
    let mut site = Site::new(Options { allow_eio3: true, ..Options::default() });
    let (ws, answer) = site.upgrade("/engine.io/?EIO=3&transport=websocket", "");
    assert_eq!(answer.status, 101);
    assert!(site.received(ws).starts_with('0'));
    for _ in 0..3 {
        site.pass(INTERVAL);
        site.text(ws, "2");
        site.expect(ws, "3");
    }
    site.pass(INTERVAL + TIMEOUT - Duration::from_millis(20));
    site.expect_nothing(ws);
    site.expect_story(&["0 open"]);
    site.pass(Duration::from_millis(40));
    site.expect_close(ws, 1005);
    site.expect_story(&["0 close ping timeout"]);
}
