//! permessage-deflate (RFC 7692) on the wire. The other side uses `flate2` with another implementation of DEFLATE.

use super::*;
use bucle::websocket::DeflateOptions;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// A server that compresses messages of every length, and one connection with this offer. Returns the answer's
/// extensions.
fn compressing(options: DeflateOptions, offer: &str) -> (Talk, String) {
    let options = DeflateOptions { threshold: 0, ..options };
    let mut talk = Talk::server(Options { deflate: Some(options), ..Options::default() }, Scribe::default());
    let (_, head) = talk.open(&format!("Sec-WebSocket-Extensions: {offer}\r\n"));
    talk.story.borrow_mut().clear();
    let answer = header(&head, "Sec-WebSocket-Extensions").unwrap_or_default().to_owned();
    (talk, answer)
}

/// The other side's streams, with context takeover.
struct Streams {
    compress: Compress,
    decompress: Decompress,
}

impl Streams {
    fn new() -> Streams {
        Streams { compress: Compress::new(Compression::default(), false), decompress: Decompress::new(false) }
    }

    /// A message as it is sent: without the tail (RFC 7692, 7.2.1).
    fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len() * 2 + 100);
        self.compress.compress_vec(message, &mut out, FlushCompress::Sync).expect("it compresses");
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }

    /// The message in a frame, which is sent as it is if compression would make it longer.
    fn content(&mut self, frame: &Frame, len: usize) -> Vec<u8> {
        if frame.first & RSV1 == 0 { frame.payload.clone() } else { self.inflate(&frame.payload, len) }
    }

    fn inflate(&mut self, payload: &[u8], len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 100);
        let input = [payload, &[0, 0, 0xff, 0xff]].concat();
        self.decompress.decompress_vec(&input, &mut out, FlushDecompress::Sync).expect("it is DEFLATE");
        out
    }
}

fn deflated(message: &[u8]) -> Vec<u8> {
    Streams::new().deflate(message)
}

#[test]
fn the_examples_of_the_rfc_are_understood() {
    // RFC 7692, 7.2.3, as payloads. All are "Hello".
    let whole: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let table: &[(&str, Vec<u8>)] = &[
        ("7.2.3.1: one block", masked(TEXT | RSV1, whole)),
        ("7.2.3.1: two fragments", [masked(FIRST_TEXT | RSV1, &whole[..3]), masked(LAST, &whole[3..])].concat()),
        ("7.2.3.3: a block without compression", masked(TEXT | RSV1, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")),
        ("7.2.3.4: BFINAL", masked(TEXT | RSV1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00")),
        ("7.2.3.5: two blocks", masked(TEXT | RSV1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")),
        ("not compressed", masked(TEXT, "Hello")),
        (
            "a ping between the fragments",
            [masked(FIRST_TEXT | RSV1, &whole[..1]), masked(PING, "p"), masked(LAST, &whole[1..])].concat(),
        ),
    ];
    let (mut talk, answer) = compressing(DeflateOptions::default(), "permessage-deflate");
    assert_eq!(answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    for (name, bytes) in table {
        for cut in 0..=bytes.len() {
            talk.send_alone(0, &bytes[..cut]);
            talk.send_alone(0, &bytes[cut..]);
            let mut frame = talk.frame(0);
            if name.contains("ping") {
                assert_eq!((frame.first, &frame.payload[..]), (PONG, &b"p"[..]), "never compressed (7.2.1)");
                frame = talk.frame(0);
            }
            assert_eq!(frame.first & !RSV1, TEXT, "{name}, cut at {cut}");
            assert_eq!(Streams::new().content(&frame, 5), b"Hello", "{name}, cut at {cut}");
        }
    }
    // 7.2.3.6: an empty message is one byte.
    talk.send(0, masked(BINARY | RSV1, [0]));
    talk.expect_frame(0, "empty", BINARY, "");
}

/// With takeover the second of two equal messages refers to the first one and is short.
#[test]
fn contexts_are_taken_over_in_the_agreed_directions() {
    let message = noise(2_000);
    for server_takes_over in [false, true] {
        for client_takes_over in [false, true] {
            let name = format!("server {server_takes_over}, client {client_takes_over}");
            let options = DeflateOptions {
                server_no_context_takeover: !server_takes_over,
                client_no_context_takeover: !client_takes_over,
                ..DeflateOptions::default()
            };
            let (mut talk, answer) = compressing(options, "permessage-deflate");
            assert_eq!(answer.contains("server_no_context_takeover"), !server_takes_over, "{name}");
            assert_eq!(answer.contains("client_no_context_takeover"), !client_takes_over, "{name}");
            let mut streams = Streams::new();
            for round in 0..4 {
                if !client_takes_over {
                    streams.compress.reset();
                }
                let payload = streams.deflate(&message);
                assert_eq!(payload.len() < 100, client_takes_over && round > 0);
                talk.send(0, masked(BINARY | RSV1, payload));
                let frame = talk.frame(0);
                assert_eq!(frame.payload.len() < 100, server_takes_over && round > 0, "{name}, {round}: {frame:?}");
                if !server_takes_over {
                    streams.decompress.reset(false);
                }
                assert_eq!(streams.content(&frame, 2_000), message, "{name}");
            }
        }
    }
}

/// A client may ask for no takeover although the server would do it.
#[test]
fn an_offer_can_forbid_the_takeover_of_the_server() {
    let options = DeflateOptions { server_no_context_takeover: false, ..DeflateOptions::default() };
    let (mut talk, answer) = compressing(options, "permessage-deflate; server_no_context_takeover");
    assert!(answer.contains("server_no_context_takeover"));
    for _ in 0..2 {
        talk.send(0, masked(BINARY | RSV1, deflated(&noise(2_000))));
        assert!(talk.frame(0).payload.len() > 1_900);
    }
}

/// In a window of 2^9 bytes nothing finds the repetition of 600 bytes.
#[test]
fn a_smaller_window_is_agreed_on_and_kept() {
    let message = [noise(600), noise(600)].concat();
    for (offer, want, is_small) in [
        ("permessage-deflate; server_max_window_bits=9", "server_max_window_bits=9", true),
        ("permessage-deflate; server_max_window_bits=15", "server_max_window_bits=15", false),
        ("permessage-deflate; server_max_window_bits=8", "server_max_window_bits=8", true),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate", false),
        // Offers that must be declined are skipped (RFC 7692, 7.1).
        ("permessage-deflate; server_max_window_bits=08, permessage-deflate; server_max_window_bits=10", "=10", false),
        ("x, permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9", "=9", true),
    ] {
        for takes_over in [false, true] {
            let options = DeflateOptions { server_no_context_takeover: !takes_over, ..DeflateOptions::default() };
            let (mut talk, answer) = compressing(options, offer);
            assert!(answer.contains(want), "{offer}: {answer}");
            let mut streams = Streams::new();
            for _ in 0..2 {
                talk.send(0, masked(BINARY | RSV1, deflated(&message)));
                let frame = talk.frame(0);
                let is_first = streams.decompress.total_in() == 0;
                if is_first || !takes_over {
                    assert_eq!(frame.payload.len() > 1_100, is_small, "{offer}: {frame:?}");
                }
                if !takes_over {
                    streams.decompress.reset(false);
                }
                assert_eq!(streams.content(&frame, 1_200), message, "{offer}");
            }
        }
    }
}

#[test]
fn offers_that_cannot_be_accepted_leave_the_connection_uncompressed() {
    for offer in [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; x",
        "x-webkit-deflate-frame",
    ] {
        let (mut talk, answer) = compressing(DeflateOptions::default(), offer);
        assert_eq!(answer, "", "{offer}");
        talk.expect_alive(0, offer);
        talk.send(0, masked(TEXT | RSV1, deflated(b"hola")));
        assert_eq!(talk.frame(0).payload[..2], 1002_u16.to_be_bytes(), "{offer}: RSV1 was not agreed on");
    }
}

#[test]
fn messages_below_the_threshold_are_not_compressed() {
    let options = DeflateOptions { threshold: 100, ..DeflateOptions::default() };
    let mut talk = Talk::server(Options { deflate: Some(options), ..Options::default() }, Scribe::default());
    talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    for (len, first) in [(0, BINARY), (99, BINARY), (100, BINARY | RSV1)] {
        talk.send(0, masked(BINARY | RSV1, deflated(&vec![7; len])));
        assert_eq!(talk.frame(0).first, first, "{len} bytes");
    }
    assert!(talk.story.borrow()[0].ends_with("compressing"));
}

/// A bomb: 64 MiB of zeros in 64 KiB. The inflated size counts, and no more than the limit is inflated.
#[test]
fn a_message_that_inflates_over_the_limit_is_1009() {
    let bomb = deflated(&vec![0; 64 * 1024 * 1024]);
    assert!(bomb.len() < 100_000);
    for options in
        [DeflateOptions::default(), DeflateOptions { client_no_context_takeover: false, ..DeflateOptions::default() }]
    {
        let (mut talk, _) = compressing(options, "permessage-deflate");
        let (other, _) = talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        talk.story.borrow_mut().clear();
        talk.send(0, masked(BINARY | RSV1, &bomb));
        let frame = talk.frame(0);
        assert_eq!((frame.first, &frame.payload[..2]), (CLOSE, &1009_u16.to_be_bytes()[..]));
        talk.expect_end(0, "the end", End::Fin);
        talk.peers[0].stream.shutdown(std::net::Shutdown::Write).expect("a socket");
        talk.until("the close", |talk| !talk.story.borrow().is_empty());
        assert!(talk.story.borrow()[0].starts_with("0 closed 1009 "));
        // The shared stream has forgotten it.
        talk.send(other, masked(BINARY | RSV1, deflated(b"hola")));
        assert_eq!(Streams::new().content(&talk.frame(other), 4), b"hola");
    }
}

#[test]
fn a_message_that_inflates_to_the_limit_is_delivered() {
    let deflate = Some(DeflateOptions::default());
    let mut talk = Talk::server(Options { deflate, max_message: 5_000, ..Options::default() }, Scribe::default());
    talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    talk.send(0, masked(BINARY | RSV1, deflated(&[0; 5_000])));
    assert_eq!(Streams::new().content(&talk.frame(0), 5_000), [0; 5_000]);
    talk.send(0, masked(BINARY | RSV1, deflated(&[0; 5_001])));
    assert_eq!(talk.frame(0).payload[..2], 1009_u16.to_be_bytes());
}

#[test]
fn a_corrupt_message_is_1007_and_leaves_other_connections_alone() {
    let good = deflated(&noise(300));
    let table: &[(&str, u8, Vec<u8>)] = &[
        ("a block type that does not exist", BINARY, vec![0xff; 10]),
        ("cut in the middle of a block", BINARY, good[..good.len() - 10].to_vec()),
        ("a distance before the first byte", BINARY, vec![0x72, 0x04, 0x02, 0x00]),
        ("no UTF-8 after inflating", TEXT, deflated(b"\xff")),
        ("a text that ends in a character", TEXT, deflated(b"\xe2\x82")),
        ("nothing at all", BINARY, Vec::new()),
    ];
    for (name, first, payload) in table {
        let (mut talk, _) = compressing(DeflateOptions::default(), "permessage-deflate");
        let (other, _) = talk.open("Sec-WebSocket-Extensions: permessage-deflate\r\n");
        talk.send(0, [masked(first | RSV1, payload), masked(BINARY, "ignored")].concat());
        let frame = talk.frame(0);
        if frame.payload.is_empty() || *name == "nothing at all" {
            // No bytes and the tail are a whole empty block: it may be taken for an empty message.
            continue;
        }
        assert_eq!((frame.first, &frame.payload[..2]), (CLOSE, &1007_u16.to_be_bytes()[..]), "{name}");
        talk.expect_end(0, name, End::Fin);
        talk.send(other, masked(BINARY | RSV1, deflated(b"hola")));
        assert_eq!(Streams::new().content(&talk.frame(other), 4), b"hola", "{name}");
    }
}

#[test]
fn rsv1_is_only_for_the_first_frame_of_a_data_message() {
    let whole: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    for (name, bytes) in [
        ("a ping", masked(PING | RSV1, "p")),
        ("a close", masked(CLOSE | RSV1, close(1000, ""))),
        ("a continuation", [masked(FIRST_TEXT | RSV1, &whole[..3]), masked(LAST | RSV1, &whole[3..])].concat()),
        ("only a continuation", [masked(FIRST_TEXT, "a"), masked(LAST | RSV1, "b")].concat()),
    ] {
        let (mut talk, _) = compressing(DeflateOptions::default(), "permessage-deflate");
        talk.send(0, bytes);
        assert_eq!(talk.frame(0).payload[..2], 1002_u16.to_be_bytes(), "{name}");
    }
}

#[test]
fn compressed_messages_are_not_delivered_after_a_close() {
    let (mut talk, _) = compressing(DeflateOptions::default(), "permessage-deflate");
    let ws = talk.ws(0);
    talk.enter(|lp| ws.close(lp, CloseCode::NORMAL, ""));
    talk.send(0, [masked(BINARY | RSV1, deflated(b"late")), masked(CLOSE, close(1000, ""))].concat());
    talk.expect_frame(0, "the close", CLOSE, close(1000, ""));
    talk.expect_end(0, "nothing else", End::Fin);
    talk.peers.clear();
    talk.expect_story("nothing was delivered", &["0 closed 1000"]);
}

#[test]
fn a_client_and_a_server_of_this_library_compress_in_both_directions() {
    for takes_over in [false, true] {
        for bits in [8, 9, 12, 15] {
            let deflate = Some(DeflateOptions {
                threshold: 0,
                server_no_context_takeover: !takes_over,
                client_no_context_takeover: !takes_over,
                server_max_window_bits: bits,
                client_max_window_bits: bits,
                ..DeflateOptions::default()
            });
            let mut talk = Talk::server(Options { deflate: deflate.clone(), ..Options::default() }, Scribe::default());
            let client = Rc::new(RefCell::new(Vec::new()));
            let handler = Client { received: client.clone(), rounds: 30 };
            let url = format!("ws://127.0.0.1:{}/", talk.port);
            talk.enter(|lp| {
                let endpoint = Endpoint::new(lp, Options { deflate, ..Options::default() }, handler);
                endpoint.connect(lp, &url, &ClientOptions::default()).expect("a good URL");
            });
            talk.until("the close", |talk| talk.story.borrow().iter().any(|line| line.contains("closed")));
            assert_eq!(client.borrow().len(), 30, "takeover {takes_over}, {bits} bits");
            assert!(client.borrow().iter().enumerate().all(|(at, len)| *len == at * 500));
        }
    }
}

/// Sends messages, each longer than the one before, and counts their echoes.
struct Client {
    received: Rc<RefCell<Vec<usize>>>,
    rounds: usize,
}

impl Client {
    fn message(number: usize) -> Vec<u8> {
        [noise(number * 250), noise(number * 250)].concat()
    }
}

impl Handler for Client {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        assert!(ws.is_compressing(lp));
        ws.send(lp, &Client::message(0));
    }
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        let number = self.received.borrow().len();
        assert_eq!(message, Message::Binary(&Client::message(number)));
        self.received.borrow_mut().push(message.as_bytes().len());
        if number + 1 < self.rounds {
            ws.send(lp, &Client::message(number + 1));
        } else {
            ws.close(lp, CloseCode::NORMAL, "");
        }
    }
}
