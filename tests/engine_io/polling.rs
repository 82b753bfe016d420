//! Sessions over two requests: a GET waits for packets, a POST brings some.

use std::io::Read;
use std::time::Duration;

use bucle::engine_io::{Cookie, Options};

use super::Site;
use crate::talk::request;

#[test]
fn the_first_answer_is_the_open_packet_alone() {
    let mut site = Site::with_defaults();
    let (client, answer) = site.open_with("", "");
    let want = format!(
        r#"0{{"sid":"{}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#,
        client.sid
    );
    assert_eq!(answer.body(), want);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("x-initial"), Some("yes"));
    let session = site.session(0);
    assert_eq!(site.enter(|lp| session.id(lp)).map(|id| id.to_string()), Some(client.sid));
}

#[test]
fn a_session_over_websocket_offers_no_upgrades() {
    let mut site = Site::with_defaults();
    let (_, open) = site.open_websocket();
    assert_eq!(open["upgrades"], serde_json::json!([]));
    assert_eq!(open["sid"].as_str().map(str::len), Some(20));
}

#[test]
fn messages_go_both_ways() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    site.posted(&client, "4hola");
    assert_eq!(site.packets(&client), "4hola");
    site.posted(&client, "4¿qué tal?\x1ebAQID\x1e4adiós 👋");
    assert_eq!(site.polled(&client), "4¿qué tal?\x1ebAQID\x1e4adiós 👋");
    site.expect_story(&["0 open", "0 hola", "0 ¿qué tal?", "0 binary \\x01\\x02\\x03", "0 adiós 👋"]);
}

#[test]
fn a_poll_waits_until_there_is_a_packet() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    assert!(site.is_waiting(&client));
    site.send(0, "hola");
    assert_eq!(site.packets(&client), "4hola");
    site.poll(&client);
    assert!(site.is_waiting(&client), "nothing is sent twice");
}

#[test]
fn everything_of_one_phase_leaves_in_one_answer() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    site.settle();
    let session = site.session(0);
    site.enter(|lp| (1..=3).all(|number| session.send(lp, &*number.to_string())));
    assert_eq!(site.packets(&client), "41\x1e42\x1e43");
}

#[test]
fn an_answer_has_at_most_16_packets() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let session = site.session(0);
    site.enter(|lp| (0..40).all(|number| session.send(lp, &*number.to_string())));
    let mut all = Vec::new();
    for want in [16, 16, 8] {
        let body = site.polled(&client);
        let packets: Vec<String> = body.split('\x1e').map(str::to_owned).collect();
        assert_eq!(packets.len(), want);
        all.extend(packets);
    }
    let want: Vec<String> = (0..40).map(|number| format!("4{number}")).collect();
    assert_eq!(all, want);
}

#[test]
fn a_second_poll_at_the_same_time_ends_the_session() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    assert!(site.is_waiting(&client));
    let target = site.target("polling", Some(&client.sid));
    assert_eq!(site.get(&target).status, 400);
    assert_eq!(site.packets(&client), "1");
    site.expect_story(&["0 open", "0 close transport error: two polls at a time"]);
    assert_eq!(site.get(&target).body(), r#"{"code":1,"message":"Session ID unknown"}"#);
    site.expect_empty();
}

#[test]
fn a_second_post_at_the_same_time_ends_the_session() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    let target = site.target("polling", Some(&client.sid));
    site.talk.send(client.post, format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n4ho"));
    site.settle();
    let other = site.connect();
    site.talk.send(other, request("POST", &target, "", "4hola"));
    assert_eq!(site.answer(other).status, 400);
    assert_eq!(site.packets(&client), "1");
    site.expect_story(&["0 open", "0 close transport error: two posts at a time"]);
    // The first one is answered, too, when its body is complete.
    site.talk.send(client.post, "la");
    assert_eq!(site.answer(client.post).status, 400);
    site.expect_story(&["refused Session ID unknown"]);
    site.expect_empty();
}

#[test]
fn a_post_of_many_packets_lets_other_clients_have_their_turn() {
    let mut site = Site::with_defaults();
    let (many, one) = (site.open(), site.open());
    site.expect_story(&["0 open", "1 open"]);
    site.begin_post(&many, &vec!["4quiet"; 5000].join("\x1e"));
    site.begin_post(&one, "4quiet, too");
    assert_eq!(site.answer(many.post).body(), "ok");
    assert_eq!(site.answer(one.post).body(), "ok");
    let story = site.story.borrow();
    assert_eq!(story.len(), 5001);
    let at = story.iter().position(|line| line == "1 quiet, too").expect("it has come");
    assert!(at < 5000, "it has waited for all packets of the other client");
}

#[test]
fn a_session_that_ends_while_a_post_of_many_packets_is_read_answers_it() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let mut packets = vec!["4quiet"; 1500];
    packets.push("4close");
    packets.extend(["4quiet"; 5000]);
    let answer = site.post(&client, &packets.join("\x1e"));
    assert_eq!(answer.status, 200);
    assert_eq!(site.story.borrow().len(), 1 + 1501, "nothing is delivered after the program has closed the session");
    assert_eq!(site.polled(&client), "1");

    // A second POST ends the session while the first one is being delivered.
    let mut site = Site::with_defaults();
    let client = site.open();
    let other = site.connect();
    let target = site.target("polling", Some(&client.sid));
    site.begin_post(&client, &vec!["4quiet"; 100_000].join("\x1e"));
    site.talk.send(other, request("POST", &target, "", "4quiet"));
    assert_eq!(site.answer(other).status, 400);
    assert!(matches!(site.answer(client.post).status, 200 | 400));
    site.expect_empty();
}

#[test]
fn a_client_that_goes_away_while_its_poll_waits_ends_the_session() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    site.settle();
    site.cut(client.get);
    site.expect_story(&["0 open", "0 close transport error: the connection of a poll was lost"]);
    site.expect_empty();
}

#[test]
fn a_client_that_goes_away_in_the_middle_of_a_post_ends_the_session() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let target = site.target("polling", Some(&client.sid));
    site.talk.send(client.post, format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n4ho"));
    site.settle();
    site.cut(client.post);
    site.expect_story(&["0 open", "0 close transport error: the connection of a post was lost"]);
    site.expect_empty();
}

#[test]
fn a_body_over_the_limit_is_refused_with_413_and_ends_the_session() {
    let chunked = |len: usize, extension: &str| {
        format!("Transfer-Encoding: chunked\r\n\r\n{len:x}{extension}\r\n4{}\r\n0\r\n\r\n", "x".repeat(len - 1))
    };
    let table = [
        ("a length", format!("Content-Length: 101\r\n\r\n4{}", "x".repeat(100))),
        ("a length without its body", "Content-Length: 101\r\n\r\n".to_owned()),
        ("a length over every limit", "Content-Length: 18446744073709551615\r\n\r\n".to_owned()),
        ("a chunk", chunked(101, "")),
        ("a chunk with an extension", chunked(101, ";a=b")),
        ("a huge chunk", chunked(5000, "")),
    ];
    for (name, rest) in table {
        let mut site = Site::new(Options { max_http_buffer_size: 100, ..Options::default() });
        let client = site.open();
        let target = site.target("polling", Some(&client.sid));
        site.talk.send(client.post, format!("POST {target} HTTP/1.1\r\nHost: a\r\n{rest}"));
        assert_eq!(site.answer(client.post).status, 413, "{name}");
        site.expect_end(client.post);
        site.talk.settle();
        let story = site.story.borrow().clone();
        assert_eq!(story.len(), 2, "{name}: {story:?}");
        assert!(story[1].starts_with("0 close transport error"), "{name}: {story:?}");
        site.expect_empty();
    }
}

#[test]
fn a_body_at_the_limit_is_accepted() {
    let mut site = Site::new(Options { max_http_buffer_size: 100, ..Options::default() });
    let client = site.open();
    site.posted(&client, &format!("4quiet{}", "x".repeat(94)));
    let rest = format!("Transfer-Encoding: chunked\r\n\r\n64\r\n4quiet{}\r\n0\r\n\r\n", "x".repeat(94));
    let target = site.target("polling", Some(&client.sid));
    site.talk.send(client.post, format!("POST {target} HTTP/1.1\r\nHost: a\r\n{rest}"));
    assert_eq!(site.answer(client.post).body(), "ok");
}

#[test]
fn a_message_over_the_limit_closes_the_websocket_connection_with_1009() {
    let mut site = Site::new(Options { max_http_buffer_size: 100, ..Options::default() });
    let (ws, _) = site.open_websocket();
    site.text(ws, &"4".repeat(101));
    site.expect_close(ws, 1009);
    site.cut(ws);
    site.expect_story(&["0 open", "0 close transport error"]);
    site.expect_empty();
}

#[test]
fn a_payload_that_is_malformed_is_refused_with_400_and_ends_the_session() {
    for body in ["x", "", "4a\x1e", "\x1e4a", "4a\x1e\x1e4b", "b!!!", "7", "abc"] {
        let mut site = Site::with_defaults();
        let client = site.open();
        site.poll(&client);
        let answer = site.post(&client, body);
        assert_eq!(answer.status, 400, "{body:?}");
        assert_eq!(site.packets(&client), "1", "{body:?}");
        site.talk.settle();
        let last = site.story.borrow().last().cloned().unwrap_or_default();
        assert!(last.starts_with("0 close parse error: "), "{body:?}: {last}");
        site.expect_empty();
    }
}

#[test]
fn a_binary_payload_is_refused_in_revision_4() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let target = site.target("polling", Some(&client.sid));
    site.talk.send(client.post, request("POST", &target, "Content-Type: application/octet-stream\r\n", "4hola"));
    assert_eq!(site.answer(client.post).status, 400);
    site.expect_story(&["0 open", "0 close transport error: a binary payload in revision 4"]);
}

#[test]
fn a_close_packet_ends_the_session() {
    let mut site = Site::with_defaults();
    let client = site.open();
    site.poll(&client);
    site.posted(&client, "4quiet\x1e1\x1e4quiet");
    assert_eq!(site.packets(&client), "6");
    site.expect_story(&["0 open", "0 quiet", "0 close transport close: the client has sent a close packet"]);
    let (ws, _) = site.open_websocket();
    site.text(ws, "1");
    site.expect_close(ws, 1005);
    site.expect_story(&["1 open", "1 close transport close: the client has sent a close packet"]);
    site.expect_empty();
}

#[test]
fn a_session_that_the_program_closes_sends_what_is_queued() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let session = site.session(0);
    site.send(0, "the last one");
    site.enter(|lp| session.close(lp));
    site.expect_story(&["0 open"]);
    assert!(!site.send(0, "too late"));
    assert_eq!(site.polled(&client), "4the last one");
    site.expect_story(&[]);
    assert_eq!(site.polled(&client), "1");
    site.expect_story(&["0 close forced close"]);

    let (ws, _) = site.open_websocket();
    let session = site.session(1);
    site.send(1, "the last one");
    site.enter(|lp| session.close(lp));
    site.expect(ws, "4the last one");
    site.expect_close(ws, 1005);
    site.expect_story(&["1 open", "1 close forced close"]);
    site.expect_empty();
}

#[test]
fn a_closed_session_whose_client_does_not_poll_ends_after_30_s() {
    let mut site = Site::with_defaults();
    site.open();
    let session = site.session(0);
    site.enter(|lp| session.close(lp));
    site.pass(Duration::from_millis(29_900));
    site.expect_story(&["0 open"]);
    site.pass(Duration::from_millis(200));
    site.expect_story(&["0 close forced close: the client has not fetched its packets"]);
    site.expect_empty();
}

#[test]
fn a_session_that_is_closing_delivers_no_messages() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let session = site.session(0);
    site.enter(|lp| session.close(lp));
    site.posted(&client, "4hola");
    assert_eq!(site.polled(&client), "1");
    site.expect_story(&["0 open", "0 close forced close"]);
}

#[test]
fn a_client_that_does_not_poll_is_closed_when_too_much_waits_for_it() {
    let options = Options { max_queue: 10_000, max_http_buffer_size: 1000, ..Options::default() };
    let mut site = Site::new(options);
    site.open();
    let text = "x".repeat(1000);
    let mut sent = 0;
    let session = site.session(0);
    while site.enter(|lp| session.send(lp, &*text) || session.is_open(lp)) {
        sent += 1;
        assert!(sent < 20, "there is no limit");
    }
    site.expect_story(&["0 open", "0 close transport error: too many packets wait for polls"]);
    site.expect_empty();
}

#[test]
fn empty_messages_that_wait_have_a_limit_too() {
    let options = Options { max_queue: 10_000, max_http_buffer_size: 1000, ..Options::default() };
    let mut site = Site::new(options);
    site.open();
    let session = site.session(0);
    let sent = site.enter(|lp| {
        (0..100_000)
            .take_while(|_| {
                session.is_open(lp) && {
                    session.send(lp, "");
                    true
                }
            })
            .count()
    });
    assert!(sent < 1000, "{sent}");
}

#[test]
fn send_returns_false_at_64_kib_and_on_drain_follows() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let text = "x".repeat(30_000);
    assert!(site.send(0, &text));
    assert!(site.send(0, &text));
    assert!(!site.send(0, &text));
    site.expect_story(&["0 open"]);
    assert_eq!(site.polled(&client).len(), 3 * 30_001 + 2);
    site.expect_story(&["0 drain"]);
    let session = site.session(0);
    assert_eq!(site.enter(|lp| session.buffered_amount(lp)), 0);
}

#[test]
fn send_returns_false_to_a_websocket_client_that_does_not_read_and_on_drain_follows() {
    let mut site = Site::with_defaults();
    let (ws, _) = site.open_websocket();
    site.settle();
    site.stop_reading(ws);
    let text = "x".repeat(100_000);
    let mut sent = 0;
    while site.send(0, &text) {
        sent += 1;
        site.settle();
        assert!(sent < 500, "the kernel takes everything");
    }
    site.expect_story(&["0 open"]);
    site.read_again(ws);
    for _ in 0..=sent {
        assert_eq!(site.received(ws).len(), 100_001);
    }
    site.expect_story(&["0 drain"]);
}

#[test]
fn answers_of_at_least_1024_bytes_are_compressed_if_the_client_accepts_it() {
    let mut site = Site::with_defaults();
    let client = site.open();
    let target = site.target("polling", Some(&client.sid));
    let mut poll = |len: usize, accept: &str| {
        site.send(0, &"x".repeat(len));
        site.request("GET", &target, accept)
    };
    let gzip = "Accept-Encoding: gzip, deflate\r\n";
    let answer = poll(1023, gzip);
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (Some("gzip"), Some("accept-encoding")));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*answer.bytes).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, format!("4{}", "x".repeat(1023)));
    assert!(answer.bytes.len() < 100);
    assert_eq!(poll(1022, gzip).header("content-encoding"), None);
    assert_eq!(poll(5000, "").header("content-encoding"), None);
    assert_eq!(poll(5000, "Accept-Encoding: br\r\n").header("content-encoding"), None);
}

#[test]
fn the_cookie_comes_with_the_first_answer_of_a_session_that_polls() {
    let mut site = Site::new(Options { cookie: Some(Cookie::default()), ..Options::default() });
    let (client, answer) = site.open_with("", "");
    let want = format!("io={}; Path=/; HttpOnly; SameSite=Lax", client.sid);
    assert_eq!(answer.header("set-cookie"), Some(&*want));
    site.send(0, "hola");
    site.poll(&client);
    assert_eq!(site.answer(client.get).header("set-cookie"), None);
    let (_, answer) = site.upgrade("/engine.io/?EIO=4&transport=websocket", "");
    assert_eq!((answer.status, answer.header("set-cookie")), (101, None));
}

#[test]
fn a_client_that_polls_with_scripts_gets_its_packets_in_a_call() {
    let mut site = Site::with_defaults();
    let get = site.connect();
    site.talk.send(get, request("GET", "/engine.io/?EIO=4&transport=polling&j=7", "", ""));
    let body = site.answer(get).body();
    let open = body.strip_prefix("___eio[7](\"0{\\\"sid\\\":\\\"").expect("a call");
    let sid = open[..20].to_owned();
    site.send(0, "a \"quoted\" line\n\u{2028}");
    let answer = site.get(&format!("/engine.io/?EIO=4&transport=polling&j=8&sid={sid}"));
    // The number of the first request is used.
    assert_eq!(answer.body(), r#"___eio[7]("4a \"quoted\" line\n\u2028");"#);
    let post = site.connect();
    let target = format!("/engine.io/?EIO=4&transport=polling&j=9&sid={sid}");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    site.talk.send(post, request("POST", &target, form, "d=4quiet+%C3%A9"));
    assert_eq!(site.answer(post).body(), "ok");
    site.expect_story(&["0 open", "0 quiet é"]);
}

#[test]
fn a_drain_of_the_server_ends_all_sessions() {
    let mut site = Site::with_defaults();
    let polling = site.open();
    site.poll(&polling);
    let (ws, _) = site.open_websocket();
    site.settle();
    let server = site.server;
    site.enter(|lp| server.drain(lp, bucle::net::Drain::default()));
    assert_eq!(site.packets(&polling), "1");
    site.expect_close(ws, 1001);
    site.cut(ws);
    let story = site.story.clone();
    site.until("both ends", |_| story.borrow().len() >= 4);
    let mut told: Vec<String> = story.borrow_mut().drain(2..).collect();
    told.sort();
    assert_eq!(told, ["0 close server shutting down", "1 close server shutting down"]);
    site.expect_empty();
}

#[test]
fn a_panic_in_a_callback_leaves_the_other_sessions_alone() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.to_string().contains("on purpose") {
            hook(info);
        }
    }));
    let mut site = Site::with_defaults();
    site.event_loop.catch_panics(true);
    let (other, _) = site.open_websocket();
    let client = site.open();
    site.begin_post(&client, "4panic");
    let (ws, _) = site.open_websocket();
    site.text(ws, "4panic");
    site.settle();
    site.text(other, "4hola");
    site.expect(other, "4hola");
    let client = site.open();
    site.posted(&client, "4hola");
    assert_eq!(site.polled(&client), "4hola");
}
