use proptest::prelude::*;

use super::*;
use crate::websocket::properties::{Owned, holds_for_cuts, mask_plainly, receive};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const SERVER: Settings = Settings { role: Role::Server, max_message: 1000, deflate: false };
const CLIENT: Settings = Settings { role: Role::Client, ..SERVER };
const CLIENT_WITH_DEFLATE: Settings = Settings { deflate: true, ..CLIENT };
const PROTOCOL: CloseCode = CloseCode::PROTOCOL_ERROR;
const TOO_BIG: CloseCode = CloseCode::MESSAGE_TOO_BIG;
const INVALID: CloseCode = CloseCode::INVALID_PAYLOAD;

/// A frame as the peer of `role` sends it. `first` is the first byte.
fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let opcode = Opcode::of(first).expect("an opcode");
    let mask = (role == Role::Server).then_some(KEY);
    let header = Header { fin: first & FIN != 0, rsv1: first & RSV1 != 0, opcode, mask, len: payload.len() as u64 };
    let mut payload = payload.to_vec();
    mask_plainly(&mut payload, mask.unwrap_or_default(), 0);
    [header.encode().as_ref(), &payload].concat()
}

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

fn binary(bytes: &[u8]) -> Owned {
    Owned::Binary(bytes.to_vec())
}

fn ping(payload: &[u8]) -> Owned {
    Owned::Ping(payload.to_vec())
}

/// A name, how to receive, the wire, and what comes out.
type Row = (&'static str, Settings, &'static [u8], fn() -> Vec<Owned>);

const STREAMS: &[Row] = &[
    ("nothing", CLIENT, b"", Vec::new),
    ("RFC 6455, 5.7: text from a server", CLIENT, b"\x81\x05Hello", || vec![text("Hello")]),
    ("5.7: text from a client", SERVER, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", || vec![text("Hello")]),
    ("5.7: fragmented text", CLIENT, b"\x01\x03Hel\x80\x02lo", || vec![text("Hello")]),
    (
        "5.7: ping, and its pong",
        SERVER,
        b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        || vec![ping(b"Hello"), Owned::Pong(b"Hello".to_vec())],
    ),
    (
        "two masked fragments, with a masked ping between them",
        SERVER,
        b"\x01\x83\x37\xfa\x21\x3d\x7f\x9f\x4d\x89\x81\x01\x02\x03\x04\x60\x80\x82\x37\xfa\x21\x3d\x5b\x95",
        || vec![ping(b"a"), text("Hello")],
    ),
    ("messages in a row", CLIENT, b"\x81\x01a\x82\x02\xff\x00\x81\x00\x82\x00\x81\x01b", || {
        vec![text("a"), binary(b"\xff\0"), text(""), binary(b""), text("b")]
    }),
    (
        "5.4: control frames between fragments, also inside a character",
        CLIENT,
        b"\x01\x02a\xe2\x89\x01?\x00\x01\x82\x8a\x00\x89\x00\x80\x02\xacb",
        || vec![ping(b"?"), Owned::Pong(Vec::new()), ping(b""), text("a\u{20ac}b")],
    ),
    ("empty fragments", CLIENT, b"\x02\x00\x00\x00\x00\x02hi\x00\x00\x80\x00", || vec![binary(b"hi")]),
    ("nothing in several fragments", CLIENT, b"\x01\x00\x00\x00\x80\x00", || vec![text("")]),
    ("a character over four fragments", CLIENT, b"\x01\x01\xf0\x00\x01\x9f\x00\x01\x98\x80\x01\x80", || {
        vec![text("\u{1f600}")]
    }),
    ("binary is not checked", CLIENT, b"\x02\x02\xc0\xff\x80\x01\xfe", || vec![binary(b"\xc0\xff\xfe")]),
    ("5.5.1: a close with a reason, and bytes after it", CLIENT, b"\x88\x05\x03\xe9bye\x81\x01a\xff", || {
        vec![Owned::Close(Some(1001), "bye".to_owned())]
    }),
    ("a close without a code", CLIENT, b"\x81\x01a\x88\x00\x88\x00", || {
        vec![text("a"), Owned::Close(None, String::new())]
    }),
    ("a close inside a fragmented message", CLIENT, b"\x01\x01a\x88\x02\x03\xe8\x80\x01b", || {
        vec![Owned::Close(Some(1000), String::new())]
    }),
    ("RFC 7692, 7.2.3.1: compressed", CLIENT_WITH_DEFLATE, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", || {
        vec![Owned::Compressed(Opcode::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec())]
    }),
    (
        "7.2.3.1: compressed and fragmented, with a ping between",
        CLIENT_WITH_DEFLATE,
        b"\x41\x03\xf2\x48\xcd\x89\x00\x80\x04\xc9\xc9\x07\x00",
        || vec![ping(b""), Owned::Compressed(Opcode::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec())],
    ),
    ("agreed on, but not used by every message", CLIENT_WITH_DEFLATE, b"\x81\x01a\xc2\x01\x00\x82\x01b", || {
        vec![text("a"), Owned::Compressed(Opcode::Binary, vec![0]), binary(b"b")]
    }),
    ("an unfinished header", CLIENT, b"\x81\x01a\x81", || vec![text("a")]),
    ("an unfinished message", CLIENT, b"\x81\x01a\x01\x01b\x00\x05c", || vec![text("a")]),
];

#[test]
fn receives_wherever_the_reads_are_cut() {
    for (name, settings, wire, want) in STREAMS {
        let want = want();
        for i in 0..=wire.len() {
            for j in i..=wire.len() {
                let outcome = receive(settings, &[&wire[..i], &wire[i..j], &wire[j..]]);
                assert_eq!(outcome.events, want, "{name}, cut at {i} and {j}");
                assert_eq!(outcome.violation, None, "{name}, cut at {i} and {j}");
            }
        }
        holds_for_cuts(settings, wire, &[wire]);
    }
}

/// Each wire is refused with its last byte and not before, so the reads cannot matter.
#[test]
fn refuses_a_stream_at_the_byte_that_is_wrong() {
    let small = Settings { max_message: 4, ..CLIENT };
    let small_with_deflate = Settings { deflate: true, ..small };
    let large = Settings { max_message: 1 << 40, ..SERVER };
    let table: &[(&str, Settings, &[u8], CloseCode)] = &[
        ("RFC 6455, 5.2: RSV1 without an extension", CLIENT, b"\xc1", PROTOCOL),
        ("5.2: RSV2", CLIENT, b"\xa1", PROTOCOL),
        ("5.2: RSV3, after a message", CLIENT, b"\x81\x01a\x91", PROTOCOL),
        ("5.2: a reserved data opcode", CLIENT, b"\x83", PROTOCOL),
        ("5.2: a reserved control opcode", CLIENT, b"\x8b", PROTOCOL),
        ("5.1: no mask from a client", SERVER, b"\x81\x05", PROTOCOL),
        ("5.1: a mask from a server", CLIENT, b"\x81\x85", PROTOCOL),
        ("5.1: no mask on a later fragment", SERVER, b"\x01\x80\0\0\0\0\x80\x00", PROTOCOL),
        ("5.2: a length in too long a form", CLIENT, b"\x82\x7e\x00\x7d", PROTOCOL),
        ("5.2: the highest bit of a length", large, b"\x82\xff\x80", PROTOCOL),
        ("5.4: a continuation without a start", CLIENT, b"\x80", PROTOCOL),
        ("5.4: an unfinished continuation without a start", CLIENT, b"\x00", PROTOCOL),
        ("5.4: a continuation after a finished message", CLIENT, b"\x01\x01a\x80\x01b\x80", PROTOCOL),
        ("5.4: a text inside a fragmented message", CLIENT, b"\x01\x01a\x81", PROTOCOL),
        ("5.4: a binary inside a fragmented message", CLIENT, b"\x02\x00\x00\x00\x02", PROTOCOL),
        ("5.4: the same after a ping", CLIENT, b"\x01\x01a\x89\x00\x81", PROTOCOL),
        ("5.5: a fragmented ping", CLIENT, b"\x09", PROTOCOL),
        ("5.5: a long ping", CLIENT, b"\x89\x7e", PROTOCOL),
        ("5.5.1: half a close code", CLIENT, b"\x88\x01", PROTOCOL),
        ("7.4.1: code 1005", CLIENT, b"\x88\x02\x03\xed", PROTOCOL),
        ("7.4.2: code 999", CLIENT, b"\x88\x02\x03\xe7", PROTOCOL),
        ("7.4.2: code 2999, with a reason", CLIENT, b"\x88\x03\x0b\xb7a", PROTOCOL),
        ("5.5.1: a close reason that is not UTF-8", CLIENT, b"\x88\x04\x03\xe8\xffa", INVALID),
        ("5.5.1: a masked one", SERVER, b"\x88\x83\x37\xfa\x21\x3d\x34\x12\xde", INVALID),
        ("RFC 7692, 6.1: RSV1 on a later fragment", CLIENT_WITH_DEFLATE, b"\x41\x01a\xc0", PROTOCOL),
        ("RFC 7692, 6.1: RSV1 on a ping", CLIENT_WITH_DEFLATE, b"\xc9", PROTOCOL),
        ("10.4: one frame above the limit", small, b"\x82\x05", TOO_BIG),
        ("10.4: the fragments together", small, b"\x02\x03abc\x00\x02", TOO_BIG),
        ("10.4: with a cut character", small, b"\x01\x03a\xe2\x82\x80\x02", TOO_BIG),
        ("10.4: a long form", small, b"\x82\x7e\x01", TOO_BIG),
        ("10.4: a masked 8 EiB", large, b"\x82\xff\x7f", TOO_BIG),
        ("10.4: compressed", small_with_deflate, b"\x42\x04abcd\x00\x41", TOO_BIG),
        ("8.1: text that is not UTF-8", CLIENT, b"\x81\x05a\xff", INVALID),
        ("8.1: masked", SERVER, b"\x81\x85\x37\xfa\x21\x3d\x56\x05", INVALID),
        ("8.1: in a later fragment", CLIENT, b"\x01\x01a\x00\x05\xc0", INVALID),
        ("8.1: ends inside a character", CLIENT, b"\x81\x02a\xc3", INVALID),
        ("8.1: ends inside a character, in an empty fragment", CLIENT, b"\x01\x02a\xc3\x80\x00", INVALID),
        ("Autobahn 6.4.1: in a fragment", CLIENT, b"\x01\x02\xce\xba\x00\x04\xf4\x90", INVALID),
        ("Autobahn 6.4.2: the fragment ends before it", CLIENT, b"\x01\x03\xce\xba\xf4\x00\x01\x90", INVALID),
        ("Autobahn 6.4.3: inside a frame", CLIENT, b"\x81\x06\xce\xba\xf4\x90", INVALID),
        ("a surrogate, with a ping inside it", CLIENT, b"\x01\x01\xed\x89\x00\x80\x02\xa0", INVALID),
    ];
    for (name, settings, wire, code) in table {
        let complete = &wire[..wire.len() - 1];
        assert_eq!(receive(settings, &[complete]).violation, None, "{name}, without its last byte");
        // Good bytes after it change nothing, and are no events.
        let wire = [*wire, &frame(settings.role, 0x81, b"later")].concat();
        let wrong_at = complete.len() + 1;
        let (whole, events) = (receive(settings, &[&wire]).violation, receive(settings, &[complete]).events);
        assert_eq!(whole.map(|(violation, _)| violation.code), Some(*code), "{name}");
        for i in 0..=wire.len() {
            for j in i..=wire.len() {
                let outcome = receive(settings, &[&wire[..i], &wire[i..j], &wire[j..]]);
                let end = [i, j, wire.len()].into_iter().find(|end| wrong_at <= *end);
                let want = whole.map(|(violation, _)| violation).zip(end);
                assert_eq!(outcome.violation, want, "{name}, cut at {i} and {j}");
                assert_eq!(outcome.events, events, "{name}, cut at {i} and {j}");
            }
        }
        holds_for_cuts(settings, &wire, &[&wire]);
    }
}

#[test]
fn every_payload_length_arrives_whole_and_in_parts() {
    let letters: Vec<u8> = (0..65_537).map(|at| b'a' + (at % 26) as u8).collect();
    for role in [Role::Server, Role::Client] {
        let settings = Settings { role, max_message: letters.len(), deflate: false };
        for len in (0..=300).chain([65_535, 65_536, 65_537]) {
            let payload = &letters[..len];
            let (ascii, bytes) = (text(std::str::from_utf8(payload).expect("ASCII")), binary(payload));
            for (first, want) in [(0x81, ascii), (0x82, bytes)] {
                let wire = frame(role, first, payload);
                let part_len = if len > 300 { 1000 } else { 1 };
                let parts: Vec<&[u8]> = wire.chunks(part_len).collect();
                for chunks in [&[&wire[..]], &parts[..]] {
                    let outcome = receive(&settings, chunks);
                    assert_eq!(
                        outcome.events,
                        std::slice::from_ref(&want),
                        "{len} bytes, {role:?}, {} reads",
                        chunks.len()
                    );
                }
                let mut read = wire.clone();
                let message = whole_message(&settings, &mut &mut read[..]).expect("whole").expect("valid");
                assert_eq!(Owned::from(message), want, "{len} bytes, {role:?}, as a whole message");
            }
        }
    }
}

#[test]
fn a_message_in_one_frame_is_lent_from_the_read() {
    let mut read = [frame(Role::Server, 0x81, b"one"), frame(Role::Server, 0x82, b"two")].concat();
    let addresses = read.as_ptr_range();
    let (mut receiver, mut rest, mut count) = (Receiver::default(), &mut read[..], 0);
    while let Some(event) = receiver.next(&SERVER, &mut rest).expect("valid") {
        let payload = match event {
            Event::Message(Message::Text(text)) => text.as_bytes(),
            Event::Message(Message::Binary(bytes)) => bytes,
            other => panic!("{other:?}"),
        };
        assert!(addresses.contains(&payload.as_ptr()), "no copy");
        count += 1;
    }
    assert_eq!((count, receiver.kept_bytes()), (2, 0));
}

#[test]
fn only_whole_messages_take_the_short_way() {
    let table: &[(&str, Settings, &[u8])] = &[
        ("nothing", CLIENT, b""),
        ("one byte", CLIENT, b"\x81"),
        ("payload is missing", CLIENT, b"\x81\x02a"),
        ("half a length", CLIENT, b"\x82\x7e\x01"),
        ("half a long length", CLIENT, b"\x82\x7f\0\0\0\0\0\x01\0"),
        ("half a key", SERVER, b"\x81\x80\x01\x02\x03"),
        ("a fragment", CLIENT, b"\x01\x01a"),
        ("a continuation", CLIENT, b"\x80\x01a"),
        ("a ping", CLIENT, b"\x89\x01a"),
        ("a close", CLIENT, b"\x88\x00"),
        ("compressed", CLIENT_WITH_DEFLATE, b"\xc1\x01\x00"),
        ("a mask from a server", CLIENT, b"\x81\x81\0\0\0\0a"),
        ("no mask from a client", SERVER, b"\x81\x01a"),
        ("above the limit", Settings { max_message: 2, ..CLIENT }, b"\x81\x03abc"),
        ("too long a form", CLIENT, b"\x81\x7e\x00\x01a"),
        ("much too long a form", CLIENT, b"\x81\x7f\0\0\0\0\0\0\0\x01a"),
    ];
    for (name, settings, wire) in table {
        let mut read = wire.to_vec();
        let mut rest = &mut read[..];
        assert_eq!(whole_message(settings, &mut rest), None, "{name}");
        assert_eq!(rest, *wire, "{name}: nothing has changed");
    }
    for (header, len) in [(&b"\x82\x7e\x00\x7d"[..], 125), (b"\x82\x7f\0\0\0\0\0\0\xff\xff", 65_535)] {
        let mut read = [header, &vec![0; len]].concat();
        let settings = Settings { max_message: 1 << 20, ..CLIENT };
        assert_eq!(
            whole_message(&settings, &mut &mut read[..]),
            None,
            "{len} bytes, the last length in too long a form"
        );
    }
    let mut read = *b"\x81\x02a\xff";
    let refused = whole_message(&CLIENT, &mut &mut read[..]).expect("whole");
    assert_eq!(refused.map_err(|violation| violation.code), Err(INVALID));
}

#[test]
fn the_limit_is_exact_over_all_fragments() {
    let settings = Settings { max_message: 10, deflate: true, ..CLIENT };
    for first in [0x01, 0x02, 0x41, 0x42] {
        let is_compressed = first & 0x40 != 0;
        let limit = settings.limit(is_compressed);
        assert_eq!(limit, if is_compressed { 10 + 1 + 64 } else { 10 });
        for split in 0..=limit {
            let start = frame(Role::Client, first, &vec![b'a'; split]);
            let fits = frame(Role::Client, 0x80, &vec![b'a'; limit - split]);
            let outcome = receive(&settings, &[&start, &fits]);
            assert_eq!((outcome.events.len(), outcome.violation), (1, None), "{first:#x}, {split} bytes first");
            let above = frame(Role::Client, 0x80, &vec![b'a'; limit + 1 - split]);
            let violation = receive(&settings, &[&start, &above]).violation;
            assert_eq!(violation.map(|found| found.0.code), Some(TOO_BIG), "{first:#x}, {split} bytes first");
        }
    }
    let outcome = receive(&Settings { max_message: 0, ..CLIENT }, &[b"\x81\x00\x89\x02hi\x81\x01"]);
    assert_eq!(outcome.events, [text(""), ping(b"hi")], "a limit of nothing");
    assert_eq!(outcome.violation.map(|found| found.0.code), Some(TOO_BIG));
}

/// Bytes of heap that the receiver owns after each read.
fn heap_after_each_read(settings: &Settings, chunks: &[&[u8]]) -> Vec<usize> {
    let mut receiver = Receiver::default();
    let after_read = |chunk: &&[u8]| {
        let mut chunk = chunk.to_vec();
        let mut rest = &mut chunk[..];
        while receiver.next(settings, &mut rest).expect("valid").is_some() {}
        receiver.kept_bytes()
    };
    chunks.iter().map(after_read).collect()
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let settings = Settings { max_message: usize::MAX, ..CLIENT };
    for first in [b"\x81", b"\x82", b"\x02", b"\x01"] {
        let header = [first, &b"\x7f\x00\x00\x00\x10\0\0\0\0"[..]].concat();
        let heap = heap_after_each_read(&settings, &[&header, &[b'a'; 1000], &[b'a'; 1000], b"a"]);
        assert_eq!(heap, [0, 1000, 2000, 4000], "64 GiB announced: it doubles");
    }
}

#[test]
fn memory_grows_with_the_bytes_and_is_freed_with_the_message() {
    let len = 1 << 20;
    for (first, role) in [(0x81, Role::Server), (0x82, Role::Client)] {
        let settings = Settings { role, max_message: len, deflate: false };
        let wire = frame(role, first, &vec![b'a'; len]);
        let reads: Vec<&[u8]> = wire.chunks(1000).collect();
        let heap = heap_after_each_read(&settings, &reads);
        let mut steps = heap.clone();
        steps.dedup();
        // So the bytes are copied about once in all, and the time is proportional to the length.
        assert!(steps.len() < 16, "few growths: {steps:?}");
        for (count, heap) in heap.iter().enumerate() {
            assert!(*heap <= 2 * 1000 * (count + 1), "at most twice of what has arrived");
        }
        assert_eq!(heap.iter().max(), Some(&len), "never more than the limit");
        assert_eq!(heap.last(), Some(&0), "freed when the message is done");
    }
}

#[test]
fn fragments_cost_their_bytes_and_not_an_object() {
    for (name, count, payload) in [("Autobahn 9.3.1 and beyond: empty", 65_536, ""), ("tiny", 600_000, "a")] {
        for first in [0x01, 0x02] {
            let content = payload.repeat(count);
            let mut wire = frame(Role::Client, first, payload.as_bytes());
            wire.extend(frame(Role::Client, 0x00, payload.as_bytes()).repeat(count - 2));
            wire.extend(frame(Role::Client, 0x89, b"still there?"));
            wire.extend(frame(Role::Client, 0x80, payload.as_bytes()));
            // `receive` checks that the memory is at most the limit and a control frame.
            let settings = Settings { max_message: content.len(), ..CLIENT };
            let outcome = receive(&settings, &wire.chunks(4096).collect::<Vec<_>>());
            let want = if first == 0x01 { text(&content) } else { binary(content.as_bytes()) };
            assert!(outcome.events == [ping(b"still there?"), want], "{name}");
        }
    }
}

#[test]
fn a_receiver_is_needed_only_while_something_is_unfinished() {
    let table: &[(&str, &[u8], bool)] = &[
        ("nothing", b"", true),
        ("half a header", b"\x81", false),
        ("half a payload", b"\x81\x02a", false),
        ("half a ping", b"\x89\x02a", false),
        ("a message", b"\x81\x01a", true),
        ("between two fragments", b"\x01\x00", false),
        ("a ping between two fragments", b"\x01\x00\x89\x00", false),
        ("after the fragments", b"\x01\x01a\x80\x01b", true),
        ("after the close", b"\x88\x00", false),
        ("after a violation", b"\x81\x01\xff", false),
    ];
    for (name, wire, want) in table {
        for chunk_len in [1, 100] {
            let mut receiver = Receiver::default();
            for chunk in wire.chunks(chunk_len) {
                let mut chunk = chunk.to_vec();
                let mut rest = &mut chunk[..];
                while !rest.is_empty() {
                    // The last row has a violation.
                    let _ = receiver.next(&CLIENT, &mut rest);
                }
            }
            assert_eq!(receiver.is_idle(), *want, "{name}, in reads of {chunk_len}");
        }
    }
}

#[test]
fn a_message_that_has_been_lent_does_not_keep_the_receiver() {
    let mut receiver = Receiver::default();
    assert_eq!(receiver.next(&CLIENT, &mut &mut b"\x01\x01a".to_vec()[..]), Ok(None));
    let mut read = *b"\x80\x01b\x81\x01c";
    let mut rest = &mut read[..];
    let event = receiver.next(&CLIENT, &mut rest).expect("valid").map(Owned::from);
    assert_eq!(event, Some(text("ab")));
    assert!(receiver.is_idle(), "the program may pause here and drop the receiver");
    let event = Receiver::default().next(&CLIENT, &mut rest).expect("valid").map(Owned::from);
    assert_eq!(event, Some(text("c")));
}

/// Mostly frames that may come, and some wrong bytes.
fn pieces(role: Role) -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![0x01, 0x02, 0x00, 0x80, 0x80, 0x81, 0x82, 0x89, 0x8a, 0x41, 0xc2, 0x88]);
    let texts =
        prop::sample::select(vec![&b""[..], b"a", b"hola", b"\xe2", b"\x82\xac", b"\xf0\x9f", b"\x98\x80", b"\xff"]);
    let payload = prop_oneof![
        4 => texts.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..140),
        1 => Just(b"\x03\xe8bye".to_vec()),
    ];
    prop_oneof![
        12 => (first, payload).prop_map(move |(first, payload)| frame(role, first, &payload)),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ]
}

/// The settings, and the reads.
fn streams() -> impl Strategy<Value = (Settings, Vec<u8>, Vec<usize>)> {
    (any::<bool>(), any::<bool>(), 100_usize..300).prop_flat_map(|(is_server, deflate, max_message)| {
        let role = if is_server { Role::Server } else { Role::Client };
        let settings = Settings { role, max_message, deflate };
        let wire = prop::collection::vec(pieces(role), 0..12).prop_map(|pieces| pieces.concat());
        (Just(settings), wire, prop::collection::vec(0..80_usize, 0..12))
    })
}

proptest! {
    #[test]
    fn where_the_reads_fall_does_not_matter((settings, wire, lengths) in streams()) {
        let (mut chunks, mut rest) = (Vec::new(), &wire[..]);
        for len in lengths {
            let (chunk, after) = rest.split_at(len.min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        holds_for_cuts(&settings, &wire, &chunks);
    }
}
