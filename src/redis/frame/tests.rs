use super::*;
use proptest::prelude::*;

fn one(bytes: &[u8]) -> Reply<'_> {
    let (reply, len) = decode(bytes).expect("a frame").expect("it is whole");
    assert_eq!(len, bytes.len());
    reply
}

#[test]
fn every_kind_of_reply_is_read() {
    assert_eq!(one(b"+PONG\r\n"), Reply::Status(b"PONG"));
    assert_eq!(one(b"-ERR no\r\n"), Reply::Error(b"ERR no"));
    assert_eq!(one(b":-42\r\n"), Reply::Integer(-42));
    assert_eq!(one(b"$0\r\n\r\n"), Reply::Bytes(b""));
    assert_eq!(one(b"$4\r\n\r\n\r\n\r\n"), Reply::Bytes(b"\r\n\r\n"));
    assert_eq!(one(b"$-1\r\n"), Reply::Nil);
    assert_eq!(one(b"*-1\r\n"), Reply::Nil);
    assert_eq!(one(b"*0\r\n"), Reply::Array(Vec::new()));
    let nested = Reply::Array(vec![Reply::Array(vec![Reply::Integer(1), Reply::Nil]), Reply::Status(b"a")]);
    assert_eq!(one(b"*2\r\n*2\r\n:1\r\n$-1\r\n+a\r\n"), nested);
}

#[test]
fn a_frame_may_be_cut_anywhere_and_others_may_follow() {
    let frame = b"*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$5\r\n1\r\n2\n\r\n";
    for end in 0..frame.len() {
        assert_eq!(decode(&frame[..end]), Ok(None), "{end} bytes");
    }
    let two = [&frame[..], b"+OK\r\n"].concat();
    let (reply, len) = decode(&two).expect("a frame").expect("it is whole");
    assert_eq!((reply.items().len(), len), (4, frame.len()));
    assert_eq!(reply.items()[3].bytes(), Some(&b"1\r\n2\n"[..]));
}

#[test]
fn other_protocols_and_claims_are_refused_at_once() {
    let table: &[&[u8]] = &[
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x16\x03\x01",
        b"$99999999999\r\n",
        b"*99999999999\r\n",
        b"$-2\r\n",
        b"$a\r\n",
        b"$\r\n",
        b":1x\r\n",
        b"*1\r\n?",
        b"$1\r\nabc",
        b"$11111111111111111111111111111111111",
    ];
    for bytes in table {
        assert!(decode(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
    }
    // A claim costs no memory, and a reply of the longest kind is waited for.
    assert_eq!(decode(b"$67108000\r\n"), Ok(None));
    assert_eq!(decode(b"*67108000\r\n"), Ok(None));
    assert!(decode(&[b"+", &vec![b'a'; MAX_LINE][..]].concat()).is_err());
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
    assert!(matches!(decode(&nested(MAX_DEPTH)), Ok(Some(_))));
    assert!(decode(&nested(MAX_DEPTH + 1)).is_err());
    assert!(decode(&nested(1_000_000)).is_err());
}

#[test]
fn a_command_is_an_array_of_bytes() {
    let mut out = b"x".to_vec();
    push_command(&mut out, &[b"PUBLISH", b"room", b"\r\n\0"]);
    assert_eq!(out, b"x*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$3\r\n\r\n\0\r\n");
}

#[test]
fn a_number_may_be_sent_as_text() {
    assert_eq!(one(b":7\r\n").integer(), Some(7));
    assert_eq!(one(b"$2\r\n12\r\n").integer(), Some(12));
    assert_eq!(one(b"$1\r\na\r\n").integer(), None);
}

proptest! {
    #[test]
    fn a_command_is_read_as_it_was_written(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        push_command(&mut out, &parts);
        let (reply, len) = decode(&out).expect("a frame").expect("it is whole");
        prop_assert_eq!(len, out.len());
        let read: Vec<&[u8]> = reply.items().iter().filter_map(Reply::bytes).collect();
        prop_assert_eq!(read, parts);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop::sample::select(b"*$+-:0123\r\nab".to_vec()), 0..60)) {
        if let Ok(Some((_, len))) = decode(&bytes) {
            prop_assert!(len <= bytes.len());
            prop_assert_eq!(decode(&bytes[..len - 1]), Ok(None));
        }
    }
}
