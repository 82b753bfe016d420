use proptest::prelude::*;

use super::*;
use crate::http::properties::{End, decode};

fn clean(data: &[u8], used: usize) -> (Vec<u8>, usize, End<Refusal>) {
    (data.to_vec(), used, End::Clean)
}

/// Every cut in two places, and byte by byte.
fn cuts(input: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let pairs = (0..=input.len()).flat_map(move |i| (i..=input.len()).map(move |j| (i, j)));
    let cuts = pairs.map(move |(i, j)| vec![&input[..i], &input[i..j], &input[j..]]);
    cuts.chain([input.chunks(1).collect()])
}

#[test]
fn reads_bodies() {
    type Row<'a> = (&'a str, Framing, &'a [u8], &'a [u8], usize);
    let table: &[Row] = &[
        ("none", Framing::None, b"GET /", b"", 0),
        ("a length of 0", Framing::Length(0), b"GET /", b"", 0),
        ("a length", Framing::Length(4), b"holaGET /", b"hola", 4),
        ("until close", Framing::UntilClose, b"hola\r\n0\r\n\r\n", b"hola\r\n0\r\n\r\n", 11),
        ("one chunk", Framing::Chunked, b"4\r\nhola\r\n0\r\n\r\nGET /", b"hola", 14),
        ("two chunks", Framing::Chunked, b"2\r\nho\r\n2\r\nla\r\n0\r\n\r\n", b"hola", 19),
        ("no chunk", Framing::Chunked, b"0\r\n\r\nGET /", b"", 5),
        ("capital digits", Framing::Chunked, b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", 20),
        ("small digits, and zeros before", Framing::Chunked, b"00a\r\n0123456789\r\n000\r\n\r\n", b"0123456789", 24),
        ("sixteen digits", Framing::Chunked, b"0000000000000001\r\na\r\n0000000000000000\r\n\r\n", b"a", 41),
        ("line breaks in the data", Framing::Chunked, b"5\r\n\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n", 15),
        ("extensions (RFC 9112, 7.1.1)", Framing::Chunked, b"2;a=b; c=\"d\xe9\"\r\nho\r\n0;e\r\n\r\n", b"ho", 26),
        ("trailer fields (7.1.2)", Framing::Chunked, b"0\r\nExpires: never\r\nX:\r\nY:\tz \r\n\r\nGET /", b"", 32),
        ("a length in a trailer is dropped", Framing::Chunked, b"0\r\nContent-Length: 5\r\n\r\nGET /", b"", 24),
    ];
    for (name, framing, input, data, used) in table {
        for chunks in cuts(input) {
            assert_eq!(decode(&chunks, *framing), clean(data, *used), "{name}, cut as {chunks:?}");
        }
    }
}

#[test]
fn notices_a_body_that_is_cut_off() {
    let wire = b"4\r\nhola\r\n1;x\r\n!\r\n0\r\nX: y\r\n\r\n";
    for len in 0..wire.len() {
        assert_eq!(decode(&[&wire[..len]], Framing::Chunked).2, End::CutOff, "after {len} bytes");
    }
    assert_eq!(decode(&[wire], Framing::Chunked).2, End::Clean);
    assert_eq!(decode(&[b"hol"], Framing::Length(4)).2, End::CutOff);
    assert_eq!(decode(&[], Framing::Length(u64::MAX)).2, End::CutOff);
    assert!(!BodyDecoder::new(Framing::UntilClose).is_complete(), "only the end of the connection ends it");
}

/// RFC 9112, section 7.1. Each row is refused at the byte with the given number, wherever the reads fall.
#[test]
fn refuses_bad_chunks() {
    let table: &[(&str, &[u8], usize)] = &[
        ("no size", b"\r\n", 0),
        ("no size before an extension", b";a\r\n", 0),
        ("a blank before the size", b" 5\r\n", 0),
        ("a blank behind the size", b"5 \r\n", 1),
        ("a blank before an extension", b"5 ;a\r\n", 1),
        ("a tab behind the size", b"5\t\r\n", 1),
        ("a plus sign", b"+5\r\n", 0),
        ("a minus sign", b"-5\r\n", 0),
        ("0x", b"0x5\r\n", 1),
        ("an underscore", b"1_0\r\n", 1),
        ("a letter that is no digit", b"5g\r\n", 1),
        ("a fraction", b"5.0\r\n", 1),
        ("a size in another script", "５\r\n".as_bytes(), 0),
        ("seventeen digits", b"00000000000000005\r\n", 16),
        ("more than 64 bits", b"10000000000000005\r\n", 16),
        ("a bare LF behind the size", b"5\nhello", 1),
        ("a bare CR behind the size", b"5\rhello", 2),
        ("two CR behind the size", b"5\r\r\n", 2),
        ("a bare LF in an extension", b"5;a\nhello", 3),
        ("a bare CR in an extension", b"5;a\rb\r\n", 4),
        ("NUL in an extension", b"5;\0\r\n", 2),
        ("DEL in an extension", b"5;\x7f\r\n", 2),
        ("data longer than its size", b"2\r\nhola\r\n", 5),
        ("data shorter than its size", b"5\r\nhola\r\n0\r\n\r\n", 8),
        ("a bare LF behind the data", b"4\r\nhola\n0\r\n\r\n", 7),
        ("a bare CR behind the data", b"4\r\nhola\r0\r\n\r\n", 8),
        ("a line break before the first size", b"\r\n4\r\nhola\r\n", 0),
        ("a bare LF behind the last chunk", b"0\n\r\n", 1),
        ("a bare LF at the end", b"0\r\n\n", 3),
        ("a bare CR at the end", b"0\r\n\rG", 4),
        ("a trailer field without a colon", b"0\r\nExpires\r\n\r\n", 10),
        ("a trailer field without a name", b"0\r\n: a\r\n\r\n", 3),
        ("a trailer field with a blank before the colon", b"0\r\na : b\r\n\r\n", 4),
        ("a trailer field that begins with a blank", b"0\r\n a: b\r\n\r\n", 3),
        ("a folded trailer field", b"0\r\na: b\r\n c\r\n\r\n", 9),
        ("NUL in a trailer field", b"0\r\na: \0\r\n\r\n", 6),
        ("a bare LF behind a trailer field", b"0\r\na: b\nc: d\r\n\r\n", 7),
        ("the next request instead of the end", b"0\r\nGET / HTTP/1.1\r\n\r\n", 6),
    ];
    for (name, input, at) in table {
        let (_, used, end) = decode(&[input], Framing::Chunked);
        assert_eq!(used, *at, "{name}");
        let End::Mistake(refusal) = end else { panic!("{name}: {end:?}") };
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{name}");
        for chunks in cuts(input) {
            let (_, used, end) = decode(&chunks, Framing::Chunked);
            assert_eq!((used, end), (*at, End::Mistake(refusal)), "{name}, cut as {chunks:?}");
        }
    }
}

#[test]
fn a_refusal_says_what_is_wrong() {
    let table: &[(&[u8], &str)] = &[
        (b"5;\0\r\n", "a control byte in a chunk extension"),
        (b"4\r\nhola0", "no CRLF after the data of a chunk"),
        (b"4\r\nhola\r0", "no CRLF after the data of a chunk"),
        (b"0\r\n: a", "a bad name of a trailer field"),
        (b"0\r\na b", "a bad name of a trailer field"),
        (b"0\r\na: \0", "a control byte in a trailer field"),
        (b"00000000000000005", "a chunk size of more than 16 digits"),
        (b"5\rh", "a CR without LF in the chunked coding"),
        (b"0\r\na: b\rc", "a CR without LF in the chunked coding"),
        (b"0\r\n\rG", "a CR without LF in the chunked coding"),
    ];
    for (input, reason) in table {
        let End::Mistake(refusal) = decode(&[input], Framing::Chunked).2 else { panic!("{reason}: accepted") };
        assert_eq!(refusal.reason, *reason, "{}", input.escape_ascii());
    }
}

#[test]
fn extensions_and_trailer_fields_are_limited_together() {
    let extension = |len: usize| [b"1".as_slice(), &vec![b';'; len], b"\r\na\r\n"].concat();
    let half = OVERHEAD_LIMIT / 2;
    let field = |len: usize| [b"0\r\n".as_slice(), &vec![b'n'; len - 1], b":\r\n\r\n"].concat();
    let bad = StatusCode::BAD_REQUEST;
    let too_large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let table = [
        ("one extension", vec![extension(OVERHEAD_LIMIT), LAST_CHUNK.to_vec()], None),
        ("one extension, one byte more", vec![extension(OVERHEAD_LIMIT + 1)], Some(bad)),
        ("two extensions", vec![extension(half), extension(half), LAST_CHUNK.to_vec()], None),
        ("two extensions, one byte more", vec![extension(half), extension(half + 1)], Some(bad)),
        ("a field", vec![field(OVERHEAD_LIMIT)], None),
        ("a field, one byte more", vec![field(OVERHEAD_LIMIT + 1)], Some(too_large)),
        ("an extension and a field", vec![extension(half), field(half)], None),
        ("an extension and a field, one byte more", vec![extension(half), field(half + 1)], Some(too_large)),
    ];
    for (name, parts, want) in table {
        let wire = parts.concat();
        for chunks in [vec![&wire[..]], wire.chunks(1).collect(), wire.chunks(1000).collect()] {
            let got = match decode(&chunks, Framing::Chunked).2 {
                End::Clean => None,
                End::CutOff => panic!("{name}: cut off"),
                End::Mistake(refusal) => Some(refusal.status),
            };
            assert_eq!(got, want, "{name}, in {} chunks", chunks.len());
        }
    }
}

#[test]
fn a_long_body_of_small_chunks_is_not_limited() {
    let mut wire = Vec::new();
    for _ in 0..20_000 {
        push_chunk(&mut wire, b"x");
    }
    wire.extend_from_slice(LAST_CHUNK);
    assert!(wire.len() > 5 * OVERHEAD_LIMIT);
    assert_eq!(decode(&[&wire], Framing::Chunked), clean(&[b'x'; 20_000], wire.len()));
}

#[test]
fn a_size_of_64_bits_reserves_nothing_and_ends_nothing() {
    let (data, _, end) = decode(&[b"ffffffffffffffff\r\n", b"hola", b"!"], Framing::Chunked);
    assert_eq!((data.as_slice(), end), (&b"hola!"[..], End::CutOff));
}

#[test]
fn writes_chunks() {
    let table: &[(&str, &[u8], &[u8])] = &[
        ("nothing: it would end the body", b"", b""),
        ("one byte", b"x", b"1\r\nx\r\n"),
        ("ten bytes: small digits, as in the examples of RFC 9112", b"0123456789", b"a\r\n0123456789\r\n"),
        ("sixteen bytes", b"0123456789abcdef", b"10\r\n0123456789abcdef\r\n"),
    ];
    for (name, data, want) in table {
        let mut out = b">".to_vec();
        push_chunk(&mut out, data);
        assert_eq!(out, [b">", *want].concat(), "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        read in 1usize..50,
    ) {
        let mut wire = Vec::new();
        for piece in &pieces {
            push_chunk(&mut wire, piece);
        }
        wire.extend_from_slice(LAST_CHUNK);
        let reads: Vec<&[u8]> = wire.chunks(read).collect();
        prop_assert_eq!(decode(&reads, Framing::Chunked), clean(&pieces.concat(), wire.len()));
    }

    #[test]
    fn bodies_hold_their_properties(
        framing in any::<u8>(),
        cuts in prop::collection::vec(0u8..12, 0..8),
        pieces in prop::collection::vec(piece(), 0..10),
    ) {
        let mut input = vec![framing, cuts.len() as u8];
        input.extend_from_slice(&cuts);
        input.extend(pieces.concat());
        crate::http::properties::hold_for_bodies(&input);
    }
}

/// Parts of a chunked body, most of them valid.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fixed: &[&[u8]] =
        &[b"4\r\nhola\r\n", b"1;x=y\r\n!\r\n", b"0\r\n", b"\r\n", b"A: b\r\n", b"5", b";", b" ", b"\r", b"\n"];
    prop_oneof![
        8 => prop::sample::select(fixed).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}
