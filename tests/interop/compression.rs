//! Pairs of options for permessage-deflate, and what follows from them for the number of bytes on the wire.
//!
//! | sent | bytes without compression | is short if |
//! |---|---|---|
//! | 20 times the same 200 random bytes | 4,000 | the sender keeps its context |
//! | 10 times the same 4,000 random bytes in one message | 40,000 | the sender's window is larger than 4,000 bytes |

use bucle::websocket::{ClientOptions, DeflateOptions, Options};
use serde_json::{Value, json};

use crate::client::{Client, Event, Mode};
use crate::random;
use crate::server::Running;

/// `server_no_context_takeover`, `client_no_context_takeover`, `server_max_window_bits`, `client_max_window_bits`.
pub type Agreed = (bool, bool, u8, u8);

pub struct Row {
    pub name: &'static str,
    pub server: DeflateOptions,
    pub client: DeflateOptions,
    /// The result that both must agree on.
    pub agreed: Agreed,
}

impl Row {
    /// The options of our side.
    pub fn options(&self, deflate: &DeflateOptions) -> Options {
        Options { deflate: Some(deflate.clone()), ..Options::default() }
    }
}

/// Nothing is asked for: both sides keep their context and have the largest window.
pub fn keeping() -> DeflateOptions {
    wanted((false, false, 15, 15))
}

fn wanted(wanted: Agreed) -> DeflateOptions {
    DeflateOptions {
        threshold: 100,
        server_no_context_takeover: wanted.0,
        client_no_context_takeover: wanted.1,
        server_max_window_bits: wanted.2,
        client_max_window_bits: wanted.3,
        ..DeflateOptions::default()
    }
}

/// The wishes of a server and a client, and the result that they must agree on.
pub fn rows() -> Vec<Row> {
    let table: [(&str, Agreed, Agreed, Agreed); 9] = [
        ("both keep their context", (false, false, 15, 15), (false, false, 15, 15), (false, false, 15, 15)),
        ("the server wants no context", (true, true, 15, 15), (false, false, 15, 15), (true, true, 15, 15)),
        ("the client wants no context", (false, false, 15, 15), (true, true, 15, 15), (true, true, 15, 15)),
        ("only the server keeps its context", (false, true, 15, 15), (false, false, 15, 15), (false, true, 15, 15)),
        ("only the client keeps its context", (true, false, 15, 15), (false, false, 15, 15), (true, false, 15, 15)),
        ("the server wants small windows", (false, false, 10, 11), (false, false, 15, 15), (false, false, 10, 11)),
        ("the client wants small windows", (false, false, 15, 15), (false, false, 9, 12), (false, false, 9, 12)),
        ("both want small windows", (false, false, 10, 9), (false, false, 11, 12), (false, false, 10, 9)),
        ("small windows and no context", (true, true, 9, 9), (true, true, 15, 15), (true, true, 9, 9)),
    ];
    let row = |(name, server, client, agreed)| Row { name, server: wanted(server), client: wanted(client), agreed };
    table.map(row).into()
}

/// For the scripts.
pub fn json(options: &DeflateOptions) -> Value {
    json!({
        "server_no_context_takeover": options.server_no_context_takeover,
        "client_no_context_takeover": options.client_no_context_takeover,
        "server_max_window_bits": options.server_max_window_bits,
        "client_max_window_bits": options.client_max_window_bits,
    })
}

/// The parameters in a server's `Sec-WebSocket-Extensions`.
pub fn parse(header: &str) -> Agreed {
    let mut agreed = (false, false, 15, 15);
    let mut parts = header.split(';').map(str::trim);
    assert_eq!(parts.next(), Some("permessage-deflate"), "{header}");
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let bits = || value.parse().expect("a number of bits");
        match name {
            "server_no_context_takeover" => agreed.0 = true,
            "client_no_context_takeover" => agreed.1 = true,
            "server_max_window_bits" => agreed.2 = bits(),
            "client_max_window_bits" => agreed.3 = bits(),
            _ => panic!("an unknown parameter: {header}"),
        }
    }
    agreed
}

#[track_caller]
pub fn check_server(row: &Row, repeated: u64, distant: u64) {
    check(row.name, "server", row.agreed.0, row.agreed.2, repeated, distant);
}

#[track_caller]
pub fn check_client(row: &Row, repeated: u64, distant: u64) {
    check(row.name, "client", row.agreed.1, row.agreed.3, repeated, distant);
}

/// Whether the sender's bytes are as many as its parameters allow. With a window of 8 bits zlib finds no repetitions.
#[track_caller]
fn check(row: &str, sender: &str, no_context: bool, bits: u8, repeated: u64, distant: u64) {
    let (keeps_context, has_large_window) = (!no_context && bits > 8, bits == 15);
    assert_eq!(repeated < 1500, keeps_context, "{row}, {sender}: {repeated} bytes for repeated messages");
    assert_eq!(distant < 8000, has_large_window, "{row}, {sender}: {distant} bytes for distant repetitions");
}

/// Random bytes become a twentieth longer with the fastest level. The peer's limit for a message could refuse that.
#[test]
fn a_message_that_compression_makes_longer_is_sent_as_it_is() {
    for (name, deflate) in [("without context", DeflateOptions::default()), ("with context", keeping())] {
        let options = Options { deflate: Some(deflate), ..Options::default() };
        let server = Running::new(vec![options.clone()]);
        let client = Client::new(options, Mode::Report);
        client.connect(&format!("ws://127.0.0.1:{}/", server.ports[0]), ClientOptions::default());
        let (ws, event) = client.event();
        assert_eq!(event, Event::Open(None, true));
        let mut before = client.count(ws);
        let bytes = random(1024 * 1024);
        for turn in 0..2 {
            let sent = bytes.clone();
            client.run(move |lp| {
                // A message that is compressed, and one that is not.
                ws.send(lp, &[b'x'; 10_000]);
                ws.send(lp, &sent);
            });
            assert!(client.next() == Event::Binary(vec![b'x'; 10_000]), "{name}");
            assert!(client.next() == Event::Binary(bytes.clone()), "{name}");
            let after = client.count(ws);
            for (direction, header) in [14, 10].into_iter().enumerate() {
                let wire = after[direction] - before[direction];
                let least = (bytes.len() + header) as u64;
                assert!((least..least + 200).contains(&wire), "{name}, turn {turn}: {wire} bytes on the wire");
            }
            before = after;
        }
    }
}
