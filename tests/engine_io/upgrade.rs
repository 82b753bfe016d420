//! A session changes from polling to a WebSocket connection.

use std::time::Duration;

use bucle::engine_io::Options;

use super::Site;

const RELEASE: Duration = Duration::from_millis(100);

#[test]
fn after_the_upgrade_everything_goes_over_the_websocket_connection() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let ws = site.upgraded(&client);
    site.expect_story(&["0 open", "0 upgrade"]);
    site.text(ws, "4hola");
    site.expect(ws, "4hola");
    site.binary(ws, &[1, 2, 3]);
    site.expect_binary(ws, &[1, 2, 3]);
    site.expect_story(&["0 hola", "0 binary \\x01\\x02\\x03"]);
}

#[test]
fn a_waiting_poll_is_answered_when_the_probe_arrives() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    let ws = site.websocket(Some(&client.sid));
    assert!(site.is_waiting(&client), "the connection alone changes nothing");
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    assert_eq!(site.packets(&client), "6");
}

#[test]
fn on_drain_waits_for_a_client_that_does_not_read_after_its_upgrade() {
    let mut site = Site::new(Options { max_queue: 1 << 26, ..Options::default() });
    let client = site.open();
    let ws = site.websocket(Some(&client.sid));
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    site.stop_reading(ws);
    let text = "x".repeat(1_000_000);
    for _ in 0..20 {
        site.send(0, &text);
    }
    site.text(ws, "5");
    site.expect_story(&["0 open", "0 upgrade"]);
    site.read_again(ws);
    for _ in 0..20 {
        assert_eq!(site.received(ws).len(), 1_000_001);
    }
    site.expect_story(&["0 drain"]);
}

#[test]
fn a_poll_during_the_upgrade_is_answered_within_100_ms() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let ws = site.websocket(Some(&client.sid));
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    for _ in 0..3 {
        site.poll(&client);
        assert!(site.is_waiting(&client));
        site.pass(RELEASE);
        assert_eq!(site.packets(&client), "6");
    }
}

#[test]
fn a_poll_that_waits_when_the_upgrade_is_confirmed_is_answered() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let ws = site.websocket(Some(&client.sid));
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    site.poll(&client);
    assert!(site.is_waiting(&client));
    site.text(ws, "5");
    assert_eq!(site.packets(&client), "6");
    site.expect_story(&["0 open", "0 upgrade"]);
    assert!(site.send(0, "hola"));
    site.expect(ws, "4hola");
}

#[test]
fn between_the_probe_and_its_confirmation_messages_go_to_the_polls() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let ws = site.websocket(Some(&client.sid));
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    site.send(0, "one");
    assert_eq!(site.polled(&client), "4one");
    site.send(0, "two");
    site.send(0, "three");
    site.expect_nothing(ws);
    site.text(ws, "5");
    // Packets that no poll has fetched come first.
    site.expect(ws, "4two");
    site.expect(ws, "4three");
    site.send(0, "four");
    site.expect(ws, "4four");
}

#[test]
fn messages_of_the_client_during_the_upgrade_come_by_post() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let ws = site.websocket(Some(&client.sid));
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    site.posted(&client, "4quiet by post");
    site.text(ws, "5");
    site.text(ws, "4quiet by frame");
    site.expect_story(&["0 open", "0 quiet by post", "0 upgrade", "0 quiet by frame"]);
}

#[test]
fn an_upgrade_that_is_not_confirmed_in_10_s_leaves_the_session_polling() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let silent = site.websocket(Some(&client.sid));
    site.pass(Duration::from_secs(10));
    site.expect_close(silent, 1005);
    let probing = site.websocket(Some(&client.sid));
    site.text(probing, "2probe");
    site.expect(probing, "3probe");
    site.pass(Duration::from_secs(10));
    site.expect_close(probing, 1005);
    site.send(0, "hola");
    assert_eq!(site.polled(&client), "4hola");
    // It may try again.
    let ws = site.upgraded(&client);
    site.expect_story(&["0 open", "0 upgrade"]);
    site.send(0, "hola");
    site.expect(ws, "4hola");
}

#[test]
fn a_wrong_first_packet_closes_the_connection_and_the_session_goes_on_polling() {
    for packet in ["2", "2prob", "4hola", "1", "x", ""] {
        let mut site = Site::with_defaults();
        let client = site.open();
        let ws = site.websocket(Some(&client.sid));
        site.text(ws, packet);
        site.expect_close(ws, 1005);
        site.send(0, "hola");
        assert_eq!(site.polled(&client), "4hola", "after {packet:?}");
        site.expect_story(&["0 open"]);
    }
}

#[test]
fn a_connection_that_is_lost_during_the_upgrade_leaves_the_session_polling() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let ws = site.websocket(Some(&client.sid));
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    site.cut(ws);
    site.settle();
    site.send(0, "hola");
    assert_eq!(site.polled(&client), "4hola");
    site.upgraded(&client);
    site.expect_story(&["0 open", "0 upgrade"]);
}

#[test]
fn a_second_websocket_connection_of_a_session_is_closed_at_once() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let first = site.websocket(Some(&client.sid));
    let second = site.websocket(Some(&client.sid));
    site.expect_close(second, 1005);
    site.text(first, "2probe");
    site.expect(first, "3probe");
    site.text(first, "5");
    let third = site.websocket(Some(&client.sid));
    site.expect_close(third, 1005);
    site.text(first, "4hola");
    site.expect(first, "4hola");
}

#[test]
fn after_the_upgrade_polls_and_posts_are_refused() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let ws = site.upgraded(&client);
    site.expect_story(&["0 open", "0 upgrade"]);
    site.poll(&client);
    let answer = site.answer(client.get);
    assert_eq!((answer.status, &*answer.body()), (400, r#"{"code":3,"message":"Bad request"}"#));
    assert_eq!(site.post(&client, "4hola").status, 400);
    site.text(ws, "4quiet");
    site.expect_story(&[
        "refused Bad request (the session has another transport)",
        "refused Bad request (the session has another transport)",
        "0 quiet",
    ]);
}

#[test]
fn the_connection_of_a_poll_that_is_lost_after_the_upgrade_is_of_no_consequence() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    let ws = site.upgraded(&client);
    assert_eq!(site.packets(&client), "6");
    site.cut(client.get);
    site.cut(client.post);
    site.text(ws, "4hola");
    site.expect(ws, "4hola");
}

#[test]
fn a_post_whose_body_ends_after_the_upgrade_is_answered() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let target = site.target("polling", Some(&client.sid));
    site.talk.send(client.post, format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n4qu"));
    site.settle();
    let ws = site.upgraded(&client);
    site.expect_story(&["0 open", "0 upgrade"]);
    site.talk.send(client.post, "iet!");
    assert!(matches!(site.answer(client.post).status, 200 | 400));
    site.text(ws, "4hola");
    site.expect(ws, "4hola");
}

#[test]
fn a_session_that_ends_during_the_upgrade_closes_both_connections() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let ws = site.websocket(Some(&client.sid));
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    site.poll(&client);
    site.settle();
    site.cut(client.get);
    site.expect_close(ws, 1005);
    site.expect_story(&["0 open", "0 close transport error: the connection of a poll was lost"]);
    site.expect_empty();
}

#[test]
fn a_session_that_the_program_closes_during_the_upgrade_ends_on_either_transport() {
    for is_confirmed in [false, true] {
        let mut site = Site::with_defaults();
        let client = site.open();
        let ws = site.websocket(Some(&client.sid));
        site.text(ws, "2probe");
        site.expect(ws, "3probe");
        let session = site.session(0);
        site.send(0, "the last one");
        site.enter(|lp| session.close(lp));
        if is_confirmed {
            site.text(ws, "5");
            site.expect(ws, "4the last one");
        } else {
            assert_eq!(site.polled(&client), "4the last one");
            assert_eq!(site.polled(&client), "1");
        }
        site.expect_close(ws, 1005);
        site.expect_story(&["0 open", "0 close forced close"]);
        site.expect_empty();
    }
}

#[test]
fn a_ping_during_the_upgrade_does_not_get_lost() {
    let mut site = Site::new(Options { upgrade_timeout: Duration::from_secs(60), ..Options::default() });
    let client = site.open();
    let ws = site.websocket(Some(&client.sid));
    site.text(ws, "2probe");
    site.expect(ws, "3probe");
    site.pass(Duration::from_secs(25));
    site.text(ws, "5");
    site.expect(ws, "2");
    site.text(ws, "3");
    site.pass(Duration::from_secs(25));
    site.expect(ws, "2");
}

#[test]
fn without_upgrades_the_open_packet_offers_none_and_a_connection_is_closed() {
    let mut site = Site::new(Options { allow_upgrades: false, ..Options::default() });
    let (client, answer) = site.open_with("", "");
    assert!(answer.body().contains(r#""upgrades":[]"#), "{answer:?}");
    let ws = site.websocket(Some(&client.sid));
    site.expect_close(ws, 1005);
    site.send(0, "hola");
    assert_eq!(site.polled(&client), "4hola");
}
