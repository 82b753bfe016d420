//! Our client and other servers.

use std::collections::HashMap;

use bucle::http::HeaderMap;
use bucle::websocket::{ClientOptions, CloseCode, DeflateOptions, Options, WebSocket};
use serde_json::json;

use crate::client::{Client, Event, Mode};
use crate::compression::{self, Row};
use crate::peers::{self, Peer, PeerServer};
use crate::random;

/// Lengths at which the header of a frame changes, up to the default limit of a message.
const LENGTHS: [usize; 13] = [0, 1, 2, 124, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1024 * 1024 - 1, 1024 * 1024];

fn url(server: &PeerServer) -> String {
    format!("ws://127.0.0.1:{}/", server.ports[0])
}

/// Opens a connection, the only one.
fn open(client: &Client, url: &str, options: ClientOptions) -> WebSocket {
    client.connect(url, options);
    let (ws, event) = client.event();
    assert!(matches!(event, Event::Open(..)), "{event:?}");
    ws
}

fn send(client: &Client, ws: WebSocket, text: impl Into<String>) {
    let text = text.into();
    client.run(move |lp| {
        ws.send(lp, &text);
    });
}

fn send_bytes(client: &Client, ws: WebSocket, bytes: &[u8]) {
    let bytes = bytes.to_vec();
    client.run(move |lp| {
        ws.send(lp, &bytes);
    });
}

/// Sends a text and returns the answer, which must be a text.
fn ask(client: &Client, ws: WebSocket, text: &str) -> String {
    send(client, ws, text);
    match client.next() {
        Event::Text(answer) => answer,
        event => panic!("{event:?}"),
    }
}

/// Closes, and checks that the server has received the code and the reason, and has sent them back.
fn close(client: &Client, server: &PeerServer, ws: WebSocket, code: u16, reason: &'static str) {
    client.run(move |lp| ws.close(lp, CloseCode(code), reason));
    assert_eq!(client.next(), Event::Close(code, reason.to_owned()));
    assert_eq!(server.line(), format!("closed {code} {reason}"));
}

/// Everything without compression.
fn check(peer: Option<Peer>) {
    let Some(peer) = peer else { return };
    let server = peer.start_server(&json!([null]));
    let client = Client::new(Options::default(), Mode::Report);
    messages(&client, &server);
    fragments_and_pings(&client, &server);
    closes(&client, &server);
    handshakes(&client, &server);
    many_connections(&client, &server);
}

fn messages(client: &Client, server: &PeerServer) {
    let ws = open(client, &url(server), ClientOptions::default());
    for length in LENGTHS {
        let bytes = random(length);
        send_bytes(client, ws, &bytes);
        assert!(client.next() == Event::Binary(bytes), "binary, {length} bytes");
        let ascii = "x".repeat(length);
        assert!(ask(client, ws, &ascii) == ascii, "text, {length} bytes");
        let other = "€🎉".repeat(length / 7);
        assert!(ask(client, ws, &other) == other, "text, {} bytes", other.len());
    }
    close(client, server, ws, 1000, "messages");
}

fn fragments_and_pings(client: &Client, server: &PeerServer) {
    let ws = open(client, &url(server), ClientOptions::default());
    send(client, ws, "please fragment");
    let events: Vec<Event> = (0..3).map(|_| client.next()).collect();
    let pings = |event: &&Event| matches!(event, Event::Ping(_));
    let pings: Vec<&Event> = events.iter().filter(pings).collect();
    assert_eq!(pings, [&Event::Ping(b"between 0".to_vec()), &Event::Ping(b"between 1".to_vec())]);
    assert_eq!(events[2], Event::Text("fragmented".to_owned()), "the pings came before the end of the message");
    // The server's answers to the pongs. `websockets` reports pongs only to the task that waits for one.
    let ws = {
        client.run(move |lp| ws.terminate(lp));
        while client.next() != Event::Close(1006, String::new()) {}
        assert_eq!(server.line(), "closed 1006 ");
        open(client, &url(server), ClientOptions::default())
    };
    let longest = "y".repeat(125);
    for payload in ["", "hola", &longest] {
        let bytes = payload.as_bytes().to_vec();
        let ping = bytes.clone();
        client.run(move |lp| {
            ws.ping(lp, &ping);
        });
        assert_eq!(client.next(), Event::Pong(bytes.clone()));
        send(client, ws, format!("please ping {payload}"));
        assert_eq!(client.next(), Event::Ping(bytes));
        assert_eq!(client.next(), Event::Text(format!("pong {payload}")));
    }
    close(client, server, ws, 1000, "pings");
}

fn closes(client: &Client, server: &PeerServer) {
    let reasons = [
        (1000, ""),
        (1000, "bye"),
        (1001, "going"),
        (1002, "a"),
        (1003, "b"),
        (1007, "c"),
        (1008, "d"),
        (1009, "e"),
        (1010, "f"),
        (1011, "g"),
        (1012, "h"),
        (1013, "i"),
        (1014, "j"),
        (3000, "k"),
        (3999, "l"),
        (4000, "m"),
        (4999, "¡adiós! 🎉"),
        // 123 bytes: the longest.
        (4001, "ñññññññññññññññññññññññññññññññññññññññññññññññññññññññññññññn"),
    ];
    for (code, reason) in reasons {
        let ws = open(client, &url(server), ClientOptions::default());
        close(client, server, ws, code, reason);
        let ws = open(client, &url(server), ClientOptions::default());
        send(client, ws, format!("please close {code} {reason}"));
        assert_eq!(client.next(), Event::Close(code, reason.to_owned()));
        assert_eq!(server.line(), format!("closed {code} "));
    }
    // A close frame without a code.
    let ws = open(client, &url(server), ClientOptions::default());
    client.run(move |lp| ws.close(lp, CloseCode::NO_STATUS, ""));
    assert_eq!(client.next(), Event::Close(1005, String::new()));
    assert_eq!(server.line(), "closed 1005 ");
}

fn handshakes(client: &Client, server: &PeerServer) {
    let protocols = ["three", "two", "one"].map(str::to_owned).to_vec();
    client.connect(&url(server), ClientOptions { protocols, ..ClientOptions::default() });
    let (ws, event) = client.event();
    assert_eq!(event, Event::Open(Some("one".to_owned()), false));
    close(client, server, ws, 1000, "subprotocol");

    let headers = HeaderMap::from_iter([("x-question".parse().expect("a name"), "42".parse().expect("a value"))]);
    let ws = open(client, &format!("{}?a=b", url(server)), ClientOptions { headers, ..ClientOptions::default() });
    assert_eq!(ask(client, ws, "please answer"), "42");
    assert_eq!(ask(client, ws, "please extensions"), "none");
    close(client, server, ws, 1000, "headers");

    client.connect(&format!("{}refused", url(server)), ClientOptions::default());
    let Event::Refused(status, body) = client.next() else { panic!("not refused") };
    assert_eq!((status, body.trim_end()), (403, "not for you"));
    assert_eq!(client.next(), Event::Close(1006, String::new()));
}

fn many_connections(client: &Client, server: &PeerServer) {
    const COUNT: usize = 100;
    for _ in 0..COUNT {
        client.connect(&url(server), ClientOptions::default());
    }
    let mut expected = HashMap::new();
    for i in 0..COUNT {
        let (ws, event) = client.event();
        assert_eq!(event, Event::Open(None, false));
        expected.insert(ws, format!("connection {i} {}", "x".repeat(i * 100)));
    }
    for _ in 0..5 {
        for (&ws, text) in &expected {
            send(client, ws, text);
        }
        let mut answered = HashMap::new();
        for _ in 0..COUNT {
            let (ws, Event::Text(text)) = client.event() else { panic!("no answer") };
            answered.insert(ws, text);
        }
        assert!(answered == expected);
    }
    for &ws in expected.keys() {
        client.run(move |lp| ws.close(lp, CloseCode::NORMAL, "many"));
    }
    for _ in 0..COUNT {
        assert_eq!(client.next(), Event::Close(1000, "many".to_owned()));
        assert_eq!(server.line(), "closed 1000 many");
    }
}

#[test]
fn connects_to_ws_of_npm() {
    check(peers::ws());
}

#[test]
fn connects_to_websockets_of_python() {
    check(peers::websockets());
}

/// Every row of [`compression::rows`], with the smallest window in addition, which zlib cannot compress with.
fn check_compression(peer: Option<Peer>) {
    let Some(peer) = peer else { return };
    let mut rows = compression::rows();
    rows.push(Row {
        name: "a client's window of 8 bits",
        server: compression::keeping(),
        client: DeflateOptions { client_max_window_bits: 8, ..compression::keeping() },
        agreed: (false, false, 15, 8),
    });
    let described: Vec<_> = rows.iter().map(|row| compression::json(&row.server)).collect();
    let server = peer.start_server(&json!(described));
    for (row, port) in rows.iter().zip(&server.ports) {
        let client = Client::new(row.options(&row.client), Mode::Report);
        client.connect(&format!("ws://127.0.0.1:{port}/"), ClientOptions::default());
        let (ws, event) = client.event();
        assert_eq!(event, Event::Open(None, true), "{}", row.name);
        let header = ask(&client, ws, "please extensions");
        assert_eq!(compression::parse(&header), row.agreed, "{}: {header}", row.name);
        compressed_messages(&client, ws, row);
        close(&client, &server, ws, 1000, row.name);
    }
}

fn compressed_messages(client: &Client, ws: WebSocket, row: &Row) {
    let echo = |bytes: &[u8]| {
        send_bytes(client, ws, bytes);
        assert!(client.next() == Event::Binary(bytes.to_vec()), "{}: {} bytes", row.name, bytes.len());
    };
    for length in LENGTHS {
        echo(&random(length));
        let text = "ab€🎉".repeat(length / 9);
        assert!(ask(client, ws, &text) == text, "{}: {} bytes of text", row.name, text.len());
    }
    let same = random(200);
    let before = client.count(ws);
    for _ in 0..20 {
        echo(&same);
    }
    let after = client.count(ws);
    let repeated = [after[0] - before[0], after[1] - before[1]];
    let before = client.count(ws);
    echo(&random(4000).repeat(10));
    let after = client.count(ws);
    compression::check_client(row, repeated[0], after[0] - before[0]);
    compression::check_server(row, repeated[1], after[1] - before[1]);
}

#[test]
fn compresses_with_ws_of_npm() {
    check_compression(peers::ws());
}

#[test]
fn compresses_with_websockets_of_python() {
    check_compression(peers::websockets());
}
