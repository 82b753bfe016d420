//! Events for one socket, with flags.

use std::time::Duration;

use bucle::socket_io::{Binary, Options};
use bucle::websocket::DeflateOptions;

use super::wire::{BINARY, RSV1, TEXT};
use super::{Client, Site};

/// A server that compresses everything, and a client that has agreed on it.
fn compressing() -> (Site, Client) {
    let mut options = Options::default();
    options.engine.per_message_deflate = Some(DeflateOptions { threshold: 0, ..DeflateOptions::default() });
    let mut site = Site::new(options);
    let target = site.target("websocket", None);
    let (peer, answer) = site.upgrade(&target, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(site.frame(peer).first, TEXT | RSV1, "the open packet");
    site.text(peer, "40");
    assert_eq!(site.frame(peer).first, TEXT, "compression would make the answer longer");
    let io = site.io;
    let id = site.enter(|lp| io.sockets(lp)[0].id(lp)).expect("it is connected").to_string();
    (site, Client { peer, id, pid: None })
}

#[test]
fn an_event_is_compressed_unless_the_program_says_no() {
    let (mut site, client) = compressing();
    let socket = site.socket(&client);
    // Long enough that compression makes them shorter.
    let text = "hola ".repeat(40);
    let bytes = vec![7; 200];
    site.enter(|lp| {
        assert!(socket.compress(false).emit(lp, "plain", Binary(bytes.clone())));
        assert!(socket.compress(true).emit(lp, "packed", &text));
        assert!(socket.compress(false).compress(true).emit(lp, "packed", &text));
        assert!(socket.emit(lp, "packed", &text));
        assert!(socket.compress(false).emit_with_ack(lp, "plain", &text, Duration::from_secs(1), |_, _, _| {}));
    });
    site.expect(client.peer, r#"451-["plain",{"_placeholder":true,"num":0}]"#);
    site.expect_binary(client.peer, &bytes);
    for _ in 0..3 {
        assert_eq!(site.frame(client.peer).first, TEXT | RSV1);
    }
    site.expect(client.peer, &format!(r#"420["plain","{text}"]"#));
    site.expect_nothing(client.peer);
    site.enter(|lp| socket.emit(lp, "packed", (Binary(bytes), &text)));
    assert_eq!(site.frame(client.peer).first, TEXT | RSV1);
    assert_eq!(site.frame(client.peer).first, BINARY | RSV1);
}

#[test]
fn without_compression_the_flag_changes_nothing() {
    let mut site = Site::with_defaults();
    let client = site.join();
    let socket = site.socket(&client);
    site.enter(|lp| assert!(socket.compress(false).emit(lp, "a", Binary(vec![7]))));
    site.expect(client.peer, r#"451-["a",{"_placeholder":true,"num":0}]"#);
    site.expect_binary(client.peer, &[7]);
    let (polling, joined) = site.join_polling();
    let socket = site.socket(&joined);
    site.enter(|lp| assert!(socket.compress(false).emit(lp, "a", Binary(vec![7]))));
    let body = site.polled(&polling);
    assert_eq!(body, "451-[\"a\",{\"_placeholder\":true,\"num\":0}]\u{1e}bBw==");
}

#[test]
fn a_volatile_event_is_dropped_for_a_client_that_is_not_ready() {
    let mut site = Site::with_defaults();
    let (polling, client) = site.join_polling();
    let socket = site.socket(&client);
    site.enter(|lp| {
        assert!(!socket.compress(false).volatile().emit(lp, "dropped", ()), "no poll waits");
        assert!(socket.compress(false).emit(lp, "kept", ()));
    });
    assert_eq!(site.polled(&polling), r#"42["kept"]"#);
}
