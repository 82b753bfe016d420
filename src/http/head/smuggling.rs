//! Request smuggling: each of these was read in two ways by some pair of a proxy and a server. Here each is refused,
//! and nothing behind it is taken for a request.

use super::*;
use crate::http::properties::{End, read_requests};

/// The request that an attacker wants to slip in.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// The fields of a request; its body is the empty chunked body, with the smuggled request behind it.
const FIELDS: &[(&str, &str)] = &[
    ("CL.TE: a length and chunks", "Content-Length: 6\r\nTransfer-Encoding: chunked"),
    ("TE.CL: chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 4"),
    ("a length of 0 and chunks", "Content-Length: 0\r\nTransfer-Encoding: chunked"),
    ("a bad length and chunks", "Content-Length: x\r\nTransfer-Encoding: chunked"),
    ("an empty length and chunks", "Content-Length:\r\nTransfer-Encoding: chunked"),
    ("a length and a coding that is empty", "Content-Length: 5\r\nTransfer-Encoding:"),
    ("a length and a coding that is none", "Content-Length: 5\r\nTransfer-Encoding: identity"),
    ("CL.CL: two lengths", "Content-Length: 5\r\nContent-Length: 40"),
    ("two equal lengths", "Content-Length: 5\r\nContent-Length: 5"),
    ("two lengths in different case", "Content-Length: 5\r\ncontent-length: 40"),
    ("a list of lengths", "Content-Length: 5, 40"),
    ("a list of equal lengths", "Content-Length: 5, 5"),
    ("a length with a comma behind it", "Content-Length: 5,"),
    ("a length with a plus sign", "Content-Length: +5"),
    ("a length with a minus sign", "Content-Length: -5"),
    ("a length in hexadecimal", "Content-Length: 0x5"),
    ("a length with a point", "Content-Length: 5.0"),
    ("a length with an exponent", "Content-Length: 5e0"),
    ("a length with an underscore", "Content-Length: 1_0"),
    ("a length in quotes", "Content-Length: \"5\""),
    ("a length with text behind it", "Content-Length: 5 bytes"),
    ("a length with a blank inside", "Content-Length: 1 0"),
    ("a length that overflows to 5", "Content-Length: 18446744073709551621"),
    ("a length in another script", "Content-Length: ５"),
    ("an empty length", "Content-Length:"),
    ("a length with a vertical tab before it", "Content-Length: \x0b5"),
    ("a length with NUL behind it", "Content-Length: 5\0"),
    ("a length with a blank before the colon", "Content-Length : 5"),
    ("a length with a tab before the colon", "Content-Length\t: 5"),
    ("a length with NUL before the colon", "Content-Length\0: 5"),
    ("a length that is folded", "Content-Length:\r\n 5"),
    ("a length that goes on in the next line", "Content-Length: 1\r\n 0"),
    ("TE.TE: xchunked", "Transfer-Encoding: xchunked"),
    ("chunked with text behind it", "Transfer-Encoding: chunked x"),
    ("chunkedx", "Transfer-Encoding: chunkedx"),
    ("chunked in quotes", "Transfer-Encoding: \"chunked\""),
    ("chunked in single quotes", "Transfer-Encoding: 'chunked'"),
    ("chunked with a parameter", "Transfer-Encoding: chunked;q=1"),
    ("chunked with a semicolon", "Transfer-Encoding: chunked;"),
    ("chunked with a comma behind it", "Transfer-Encoding: chunked,"),
    ("chunked with a comma before it", "Transfer-Encoding: ,chunked"),
    ("chunked twice", "Transfer-Encoding: chunked, chunked"),
    ("chunked twice, in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ("chunked twice, in different case", "Transfer-Encoding: chunked\r\ntransfer-encoding: CHUNKED"),
    ("chunked, then another coding", "Transfer-Encoding: chunked, identity"),
    ("chunked, then another coding in a second field", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
    ("another coding, then chunked in a second field", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
    ("identity, then chunked", "Transfer-Encoding: identity, chunked"),
    ("a coding with a blank, then chunked", "Transfer-Encoding: x y, chunked"),
    ("an empty coding", "Transfer-Encoding:"),
    ("identity", "Transfer-Encoding: identity"),
    ("chunked with a vertical tab before it", "Transfer-Encoding: \x0bchunked"),
    ("chunked with a vertical tab behind it", "Transfer-Encoding: chunked\x0b"),
    ("chunked with a form feed behind it", "Transfer-Encoding: chunked\x0c"),
    ("chunked with NUL behind it", "Transfer-Encoding: chunked\0"),
    ("chunked with DEL before it", "Transfer-Encoding: \x7fchunked"),
    ("chunked with a blank that is not ASCII", "Transfer-Encoding: \u{a0}chunked"),
    ("a letter that becomes k in small letters", "Transfer-Encoding: chun\u{212a}ed"),
    ("chunked that is folded", "Transfer-Encoding:\r\n chunked"),
    ("chunked that is folded by a tab", "Transfer-Encoding:\r\n\tchunked"),
    ("a coding with a blank before its colon", "Transfer-Encoding : chunked"),
    ("a coding with a tab before its colon", "Transfer-Encoding\t: chunked"),
    ("a coding with a blank before its name", "A: b\r\n Transfer-Encoding: chunked"),
    ("a coding with a tab before its name", "A: b\r\n\tTransfer-Encoding: chunked"),
    ("a coding without a colon", "Transfer-Encoding chunked"),
    ("a coding behind a bare LF", "A: b\nTransfer-Encoding: chunked"),
    ("a coding behind a bare CR", "A: b\rTransfer-Encoding: chunked"),
    ("a coding behind LF and CR", "A: b\n\rTransfer-Encoding: chunked"),
    ("a coding behind NUL", "A: b\0Transfer-Encoding: chunked"),
    ("a name that is folded", "Transfer-Encoding\r\n : chunked"),
    ("a name behind a byte of another encoding", "\u{ff}Transfer-Encoding: chunked"),
    ("a bare LF as the end of the head", "A: b\n\n"),
    ("a bare CR as the end of the head", "A: b\r\r"),
    ("a second Host", "Host: b"),
];

#[test]
fn a_head_with_two_meanings_is_refused() {
    for method in ["POST", "GET"] {
        for (name, fields) in FIELDS {
            let wire = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}");
            let (requests, end) = read_requests(&[wire.as_bytes()], &HeadLimits::default());
            assert!(requests.is_empty() && matches!(end, End::Mistake(_)), "{name}: {requests:?}, {end:?}");
            let bytes: Vec<&[u8]> = wire.as_bytes().chunks(1).collect();
            assert_eq!(read_requests(&bytes, &HeadLimits::default()), (requests, end), "{name}, byte by byte");
        }
    }
}

/// The version decides whether a proxy knows chunks (RFC 9112, section 6.1).
#[test]
fn chunks_in_http_1_0_are_refused() {
    let wire = format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}");
    let (requests, end) = read_requests(&[wire.as_bytes()], &HeadLimits::default());
    let End::Mistake(refusal) = end else { panic!("{end:?}") };
    assert_eq!((requests.len(), refusal.status), (0, StatusCode::BAD_REQUEST));
}

/// The chunks of a request; each ends with what another reader takes for a request.
const CHUNKS: &[(&str, &str)] = &[
    ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a blank before the size", " 5\r\nhello\r\n0\r\n\r\n"),
    ("a blank behind the size", "5 \r\nhello\r\n0\r\n\r\n"),
    ("a blank before the extension", "5 ;ext\r\nhello\r\n0\r\n\r\n"),
    ("a size that overflows to 5", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a comma behind the size", "5,5\r\nhello\r\n0\r\n\r\n"),
    ("an empty size", "\r\nhello\r\n0\r\n\r\n"),
    ("a bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
    ("a bare LF in an extension", "5;\nxx\r\nhello\r\n0\r\n\r\n"),
    ("a bare CR in an extension", "5;\rxx\r\nhello\r\n0\r\n\r\n"),
    ("two bytes other than CRLF behind the data", "5\r\nhelloXX0\r\n\r\n"),
    ("no CRLF behind the data", "5\r\nhello0\r\n\r\n"),
    ("a bare LF behind the data", "5\r\nhello\n0\r\n\r\n"),
    ("data that is longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
    ("a bare LF behind the last size", "0\n\r\n"),
    ("a bare LF at the end", "0\r\n\n"),
    ("a bare CR at the end", "0\r\n\r"),
    ("no empty line at the end", "0\r\n"),
    ("a blank behind the last size", "0 \r\n\r\n"),
    ("a folded trailer field", "0\r\nA: b\r\n c\r\n\r\n"),
    ("a trailer field with a bare LF", "0\r\nA: b\n\r\n"),
];

#[test]
fn chunks_with_two_meanings_are_refused() {
    for (name, chunks) in CHUNKS {
        let wire = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{SMUGGLED}");
        let (requests, end) = read_requests(&[wire.as_bytes()], &HeadLimits::default());
        assert!(requests.is_empty() && matches!(end, End::Mistake(_)), "{name}: {requests:?}, {end:?}");
    }
}

/// The test above would pass if everything were refused.
#[test]
fn the_same_requests_without_tricks_are_accepted() {
    let table = [
        ("chunks", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("an extension", "Transfer-Encoding: chunked", "5;ext\r\nhello\r\n0\r\n\r\n"),
        ("a length", "Content-Length: 5", "hello"),
        ("a field that only looks like a length", "X-Content-Length: 9\r\nContent-Length: 5", "hello"),
        ("a value that looks like a field", "A: Transfer-Encoding: chunked\r\nContent-Length: 5", "hello"),
    ];
    for (name, fields, body) in table {
        let wire = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        let (requests, end) = read_requests(&[wire.as_bytes()], &HeadLimits::default());
        assert_eq!(end, End::Clean, "{name}");
        let short: Vec<_> = requests.iter().map(|one| (one.path(), one.body())).collect();
        assert_eq!(short, [("/", &b"hello"[..]), ("/next", b"")], "{name}");
    }
}
