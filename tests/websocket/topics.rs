//! Topics and broadcasts.

use super::*;
use bucle::websocket::{DeflateOptions, Published, SlowReceiver, broadcast, broadcast_with};
use flate2::{Decompress, FlushDecompress};

/// A server with this many open connections.
fn members(options: Options, count: usize) -> Talk {
    let mut talk = Talk::server(options, Scribe::default());
    (0..count).for_each(|_| drop(talk.open("")));
    talk.story.borrow_mut().clear();
    talk
}

fn sent_to(receivers: usize) -> Published {
    Published { receivers, skipped: 0 }
}

#[test]
fn a_publication_reaches_the_subscribers_and_no_one_else() {
    let mut talk = members(Options::default(), 4);
    let (endpoint, all) = (talk.endpoint(), talk.connections.borrow().clone());
    talk.enter(|lp| {
        for ws in &all[..3] {
            assert!(ws.subscribe(lp, "news"));
        }
        assert!(!all[0].subscribe(lp, "news"), "already subscribed");
        assert!(all[0].subscribe(lp, "sports") && all[2].subscribe(lp, ""));
        assert_eq!(endpoint.subscribers(lp, "news"), 3);
        assert_eq!(endpoint.subscribers(lp, "nothing"), 0);
        assert_eq!(endpoint.topics(lp), ["news", "sports", ""]);
        let mut topics = all[0].topics(lp);
        topics.sort();
        assert_eq!(topics, ["news", "sports"]);
        assert!(all[0].is_subscribed(lp, "sports") && !all[1].is_subscribed(lp, "sports"));
        assert_eq!(endpoint.publish(lp, "news", "to all"), sent_to(3));
        assert_eq!(all[0].publish(lp, "news", &b"but one"[..]), sent_to(2));
        assert_eq!(all[3].publish(lp, "news", "from outside"), sent_to(3));
        assert_eq!(endpoint.publish(lp, "nothing", "lost"), sent_to(0));
        assert_eq!(all[2].publish(lp, "", "nobody else"), sent_to(0));
        assert!(all[1].unsubscribe(lp, "news") && !all[1].unsubscribe(lp, "news"));
        assert_eq!(endpoint.publish(lp, "news", "without the second"), sent_to(2));
    });
    for peer in 0..3 {
        talk.expect_frame(peer, "to all", TEXT, "to all");
        if peer > 0 {
            talk.expect_frame(peer, "but one", BINARY, "but one");
        }
        talk.expect_frame(peer, "from outside", TEXT, "from outside");
        if peer != 1 {
            talk.expect_frame(peer, "without the second", TEXT, "without the second");
        }
    }
    for peer in 0..4 {
        talk.expect_alive(peer, "nothing else was received");
    }
}

/// uWebSockets sends publications behind other messages of the same turn.
#[test]
fn messages_and_publications_of_one_turn_keep_their_order() {
    let mut talk = members(Options::default(), 1);
    let (endpoint, ws) = (talk.endpoint(), talk.ws(0));
    talk.enter(|lp| {
        endpoint.publish(lp, "news", "before the subscription");
        ws.send(lp, "1");
        ws.subscribe(lp, "news");
        endpoint.publish(lp, "news", "2");
        ws.send(lp, "3");
        endpoint.publish(lp, "news", &[b'4'; 100_000]);
        ws.ping(lp, "5");
        ws.unsubscribe(lp, "news");
        endpoint.publish(lp, "news", "after the subscription");
        ws.send(lp, "6");
    });
    talk.expect_frame(0, "1", TEXT, "1");
    talk.expect_frame(0, "2", TEXT, "2");
    talk.expect_frame(0, "3", TEXT, "3");
    talk.expect_frame(0, "4", BINARY, [b'4'; 100_000]);
    talk.expect_frame(0, "5", PING, "5");
    talk.expect_frame(0, "6", TEXT, "6");
}

#[test]
fn members_subscribe_and_publish_inside_their_callbacks() {
    let mut talk = members(Options::default(), 3);
    for peer in 0..3 {
        talk.send_alone(peer, masked(TEXT, "subscribe news"));
    }
    talk.send(1, [masked(TEXT, "publish news one"), masked(TEXT, "unsubscribe news"), masked(TEXT, "x")].concat());
    talk.expect_frame(1, "only its echo", TEXT, "x");
    talk.text(0, "publish news two");
    talk.expect_frame(2, "one", TEXT, "one");
    talk.expect_frame(2, "two", TEXT, "two");
    talk.expect_frame(0, "one", TEXT, "one");
    talk.settle();
    assert_eq!(show_rest(&talk.peers[1]), "");
    assert_eq!(show_rest(&talk.peers[0]), "");
}

#[test]
fn a_connection_leaves_its_topics_when_it_closes_and_may_publish_in_on_close() {
    let mut talk = Talk::server(Options::default(), Scribe { reports_close: true, ..Scribe::default() });
    (0..3).for_each(|_| drop(talk.open("")));
    let (endpoint, all) = (talk.endpoint(), talk.connections.borrow().clone());
    talk.enter(|lp| all.iter().for_each(|ws| assert!(ws.subscribe(lp, "news"))));
    talk.send(1, masked(CLOSE, close(1000, "")));
    talk.expect_frame(1, "the close", CLOSE, close(1000, ""));
    talk.expect_end(1, "and nothing behind it", End::Fin);
    talk.peers[1].stream.shutdown(std::net::Shutdown::Write).expect("a socket");
    talk.expect_frame(0, "from on_close", TEXT, "gone");
    talk.expect_frame(2, "from on_close", TEXT, "gone");
    talk.enter(|lp| {
        assert_eq!(endpoint.subscribers(lp, "news"), 2);
        all[0].terminate(lp);
        all[2].terminate(lp);
        assert_eq!(endpoint.publish(lp, "news", "to no one").receivers, 0);
    });
    talk.until("all are closed", |talk| talk.enter(|lp| endpoint.topics(lp).is_empty()));
}

/// A connection whose close frame was sent gets nothing (RFC 6455, 5.5.1).
#[test]
fn a_closing_connection_gets_no_publication() {
    let mut talk = members(Options::default(), 2);
    let (endpoint, all) = (talk.endpoint(), talk.connections.borrow().clone());
    talk.enter(|lp| {
        all.iter().for_each(|ws| assert!(ws.subscribe(lp, "news")));
        all[0].close(lp, CloseCode::NORMAL, "");
        assert_eq!(endpoint.publish(lp, "news", "x"), sent_to(1));
        assert_eq!(broadcast(lp, all.iter().copied(), "y"), sent_to(1));
    });
    talk.expect_frame(0, "the close", CLOSE, close(1000, ""));
    talk.expect_frame(1, "the other", TEXT, "x");
    talk.expect_frame(1, "the other", TEXT, "y");
    talk.settle();
    assert_eq!(show_rest(&talk.peers[0]), "");
}

/// Publishes messages of 20,000 bytes, of which the first member reads none. Returns how many were skipped for it.
fn publish_to_a_slow_one(talk: &mut Talk, messages: usize) -> usize {
    let (endpoint, all) = (talk.endpoint(), talk.connections.borrow().clone());
    talk.enter(|lp| all.iter().for_each(|ws| assert!(ws.subscribe(lp, "news"))));
    talk.peers[0].reads = false;
    let mut skipped = 0;
    for number in 0..messages {
        let payload = vec![number as u8; 20_000];
        skipped += talk.enter(|lp| endpoint.publish(lp, "news", &payload)).skipped;
        talk.expect_frame(1, &format!("message {number} of the fast member"), BINARY, payload);
    }
    skipped
}

#[test]
fn slow_subscribers_are_skipped_if_that_is_wanted() {
    let options = Options { slow: SlowReceiver::Skip, skip_above: 100_000, ..Options::default() };
    let mut talk = members(options, 2);
    let ws = talk.ws(0);
    let messages = 600;
    let skipped = publish_to_a_slow_one(&mut talk, messages);
    assert!(skipped > 0, "the kernel took all");
    let waiting = talk.enter(|lp| ws.buffered_amount(lp));
    assert!(waiting <= 100_000, "{waiting} bytes wait");
    // The messages that were not skipped arrive whole, and so do messages to it alone.
    talk.enter(|lp| ws.send(lp, "the last"));
    talk.peers[0].reads = true;
    for number in 0..messages - skipped {
        assert_eq!(talk.frame(0).payload.len(), 20_000, "message {number}");
    }
    talk.expect_frame(0, "alone", TEXT, "the last");
    let endpoint = talk.endpoint();
    talk.until("the drain", |talk| talk.enter(|lp| ws.buffered_amount(lp) == 0));
    assert_eq!(talk.enter(|lp| endpoint.publish(lp, "news", "again")), sent_to(2));
    talk.expect_frame(0, "again", TEXT, "again");
}

/// A message that was compressed must be sent: the next one may refer to it. So a message is skipped before.
#[test]
fn a_skipped_message_does_not_harm_the_compression_context() {
    let deflate = DeflateOptions { threshold: 0, server_no_context_takeover: false, ..DeflateOptions::default() };
    let options =
        Options { slow: SlowReceiver::Skip, skip_above: 100_000, deflate: Some(deflate), ..Options::default() };
    let mut talk = Talk::server(options, Scribe::default());
    talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let (endpoint, ws) = (talk.endpoint(), talk.ws(0));
    talk.enter(|lp| assert!(ws.subscribe(lp, "news")));
    talk.peers[0].reads = false;
    let numbered = |number: usize| [&number.to_be_bytes()[..], &noise(20_000)[number % 7..]].concat();
    let mut sent = Vec::new();
    // With the context most of a message is a reference, so others fill the connection.
    let mut skipped = 0;
    for number in 0.. {
        assert!(number < 10_000, "nothing is skipped");
        talk.enter(|lp| {
            for _ in 0..100 {
                ws.ping(lp, [0; 125]);
            }
        });
        match talk.enter(|lp| endpoint.publish(lp, "news", &numbered(number))) {
            Published { receivers: 1, skipped: 0 } => sent.push(number),
            _ => skipped += 1,
        }
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        if skipped == 20 {
            break;
        }
    }
    talk.peers[0].reads = true;
    talk.until("the drain", |talk| talk.enter(|lp| ws.buffered_amount(lp) == 0));
    assert_eq!(talk.enter(|lp| endpoint.publish(lp, "news", &numbered(1_000_000))), sent_to(1));
    sent.push(1_000_000);
    let mut decompress = Decompress::new(false);
    for number in sent {
        let frame = loop {
            let frame = talk.frame(0);
            if frame.first != PING {
                break frame;
            }
        };
        let mut out = Vec::with_capacity(30_000);
        let input = [&frame.payload[..], &[0, 0, 0xff, 0xff]].concat();
        decompress.decompress_vec(&input, &mut out, FlushDecompress::Sync).expect("it is DEFLATE");
        assert!(out == numbered(number), "message {number}");
    }
}

#[test]
fn slow_subscribers_are_disconnected_by_default() {
    let mut talk = members(Options::default(), 2);
    assert_eq!(publish_to_a_slow_one(&mut talk, 600), 0);
    assert_eq!(*talk.story.borrow(), ["0 error E_TOO_SLOW", "0 closed 1006"]);
}

/// Inflates one message (RFC 7692, 7.2.2).
fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(100_000);
    let input = [payload, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&input, &mut out, FlushDecompress::Sync).expect("it is DEFLATE");
    out
}

#[test]
fn a_broadcast_is_compressed_for_those_that_agreed_on_it() {
    let deflate = DeflateOptions { threshold: 100, ..DeflateOptions::default() };
    let mut talk = Talk::server(Options { deflate: Some(deflate), ..Options::default() }, Scribe::default());
    talk.open("");
    talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    talk.open("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n");
    talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let (endpoint, all) = (talk.endpoint(), talk.connections.borrow().clone());
    talk.enter(|lp| {
        all.iter().for_each(|ws| assert!(ws.subscribe(lp, "news")));
        assert_eq!(endpoint.publish(lp, "news", &"hola ".repeat(100)), sent_to(4));
        assert_eq!(endpoint.publish(lp, "news", "short"), sent_to(4));
    });
    talk.expect_frame(0, "plain", TEXT, "hola ".repeat(100));
    let mut compressed = Vec::new();
    for peer in 1..4 {
        let frame = talk.frame(peer);
        assert_eq!(frame.first, TEXT | RSV1);
        assert!(frame.payload.len() < 50, "{frame:?}");
        assert_eq!(inflate(&frame.payload), "hola ".repeat(100).as_bytes());
        compressed.push(frame);
    }
    assert_eq!(compressed[0], compressed[2], "the same frame");
    for peer in 0..4 {
        talk.expect_frame(peer, "below the threshold", TEXT, "short");
    }
    // In the smaller window of the third connection the repetition is not found.
    let repetition = noise(1_500).repeat(2);
    assert_eq!(talk.enter(|lp| endpoint.publish(lp, "news", &repetition)), sent_to(4));
    talk.expect_frame(0, "plain", BINARY, &repetition);
    for (peer, is_small) in [(1, false), (2, true), (3, false)] {
        let frame = talk.frame(peer);
        assert_eq!(frame.payload.len() > 2_500, is_small, "{peer}: {frame:?}");
        // A message that compression would make longer is sent as it is.
        let is_compressed = frame.first & RSV1 != 0;
        assert_eq!(if is_compressed { inflate(&frame.payload) } else { frame.payload }, repetition);
    }
}

#[test]
fn a_message_is_sent_uncompressed_to_those_that_agreed_on_compression() {
    let takes_over = DeflateOptions { server_no_context_takeover: false, threshold: 0, ..DeflateOptions::default() };
    let mut talk = Talk::server(Options { deflate: Some(takes_over), ..Options::default() }, Scribe::default());
    talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    talk.open("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n");
    talk.open("");
    let all = talk.connections.borrow().clone();
    let text = "hola ".repeat(100);
    talk.enter(|lp| {
        assert_eq!(broadcast_with(lp, all.iter().copied(), (&text).into(), false), sent_to(3));
        all.iter().for_each(|ws| assert!(ws.send_uncompressed(lp, "one by one")));
    });
    for peer in 0..3 {
        talk.expect_frame(peer, "broadcast", TEXT, &text);
        talk.expect_frame(peer, "sent", TEXT, "one by one");
    }
}

/// Members of different endpoints, and clients, in one broadcast.
#[test]
fn a_broadcast_reaches_connections_of_several_endpoints() {
    let mut talk = members(Options::default(), 1);
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let scribe = Scribe { story: talk.story.clone(), connections: talk.connections.clone(), ..Scribe::default() };
    talk.enter(|lp| websocket::connect(lp, &format!("ws://127.0.0.1:{port}/"), scribe)).expect("a good URL");
    accept(&mut talk, &listener);
    let request = talk.head(1);
    talk.send(1, answer(&request, ""));
    talk.until_told("1 open");
    let all = talk.connections.borrow().clone();
    assert_eq!(talk.enter(|lp| broadcast(lp, all, "hola")), sent_to(2));
    talk.expect_frame(0, "of the server", TEXT, "hola");
    let frame = talk.frame(1);
    assert!(frame.payload == b"hola" && frame.mask.is_some(), "a client masks: {frame:?}");
}
