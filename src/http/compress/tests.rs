use std::io::Write;

use ::http::HeaderValue;
use flate2::write::{GzDecoder, ZlibDecoder};
use proptest::prelude::*;

use super::*;

fn accepting(fields: &[&[u8]]) -> HeaderMap {
    fields.iter().map(|field| (ACCEPT_ENCODING, HeaderValue::from_bytes(field).expect("a value"))).collect()
}

/// The results are those of `accepts` 1.3.8 on Node, where nothing else is said.
#[test]
fn the_coding_is_chosen_by_weight_then_by_name_then_by_place() {
    const GZIP: Option<Encoding> = Some(Encoding::Gzip);
    const DEFLATE: Option<Encoding> = Some(Encoding::Deflate);
    type Row<'a> = (&'a str, &'a [&'a [u8]], Option<Encoding>);
    let table: &[Row] = &[
        ("no field", &[], None),
        ("an empty field (RFC 9110, 12.5.3)", &[b""], None),
        ("browsers", &[b"gzip, deflate, br, zstd"], GZIP),
        ("deflate first", &[b"deflate, gzip"], DEFLATE),
        ("only deflate", &[b"deflate"], DEFLATE),
        ("in capitals", &[b"GZIP"], GZIP),
        ("other codings only", &[b"br, zstd, compress"], None),
        ("names that only begin alike", &[b"gzipped, deflate64, x-gzip"], None),
        ("a higher weight", &[b"gzip;q=0.5, deflate;q=0.8"], DEFLATE),
        ("a higher weight behind", &[b"deflate;q=0.001, gzip;q=0.002"], GZIP),
        ("1 if no weight is given", &[b"deflate;q=0.999, gzip"], GZIP),
        ("equal weights", &[b"deflate;q=0.5, gzip;q=0.500"], DEFLATE),
        ("blanks and tabs", &[b"gzip\t; q=0.1 ,\tdeflate ;q=0.2 "], DEFLATE),
        ("empty members", &[b",, deflate,,"], DEFLATE),
        ("weight 0", &[b"gzip;q=0, deflate;q=0.000"], None),
        ("weight 0 for one", &[b"gzip;q=0, deflate;q=0.1"], DEFLATE),
        ("anything", &[b"*"], GZIP),
        ("anything with a weight", &[b"*;q=0.1"], GZIP),
        ("nothing", &[b"*;q=0"], None),
        ("the first is named, the other is anything", &[b"*;q=0.5, gzip;q=0.4"], DEFLATE),
        ("a name wins over anything", &[b"*, deflate"], DEFLATE),
        ("a name with weight 0 and anything", &[b"gzip;q=0, *"], DEFLATE),
        ("both with weight 0 and anything", &[b"*;q=1, gzip;q=0, deflate;q=0"], None),
        ("anything with weight 0 and a name", &[b"*;q=0, gzip;q=0.1"], GZIP),
        ("identity is preferred", &[b"identity, gzip;q=0.5"], GZIP),
        ("identity is refused", &[b"identity;q=0, gzip;q=0.5"], GZIP),
        ("only identity is refused", &[b"identity;q=0"], None),
        ("identity only", &[b"identity"], None),
        ("two fields (Node joins them)", &[b"br", b"deflate, gzip"], DEFLATE),
        ("a name twice: the higher weight", &[b"gzip;q=0.1, deflate;q=0.5, gzip;q=0.9"], GZIP),
        ("another parameter first", &[b"gzip;a=b;q=0.1, deflate;q=0.2"], DEFLATE),
        ("only another parameter", &[b"gzip;a=b"], GZIP),
        ("no weight is given behind the sign", &[b"gzip;q=, deflate;q=0.1"], DEFLATE),
        ("a weight that is none", &[b"gzip;q=x"], None),
        ("weights over 1 (Node takes them)", &[b"gzip;q=1.001, deflate;q=2"], None),
        ("negative", &[b"gzip;q=-1"], None),
        ("more than three digits (Node takes them)", &[b"gzip;q=0.1234"], None),
        ("a point without digits", &[b"gzip;q=1."], GZIP),
        ("a weight in capitals (Node takes it for 1)", &[b"gzip;Q=0.5, deflate;q=0.6"], DEFLATE),
        ("bytes that are not ASCII", &[b"\xff, gzip"], GZIP),
    ];
    for (name, fields, want) in table {
        assert_eq!(negotiate(&accepting(fields)), *want, "{name}");
    }
}

fn decompress(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    let body = match encoding {
        Encoding::Gzip => {
            let mut decoder = GzDecoder::new(Vec::new());
            decoder.write_all(bytes).and_then(|()| decoder.finish())
        }
        Encoding::Deflate => {
            let mut decoder = ZlibDecoder::new(Vec::new());
            decoder.write_all(bytes).and_then(|()| decoder.finish())
        }
    };
    body.unwrap_or_else(|error| panic!("{encoding:?}: {error}"))
}

/// Bytes that no compression makes shorter.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

#[test]
fn a_body_is_compressed_whole() {
    let lens = (0..200).chain([1000, 1024, 32 * 1024, 65_535, 65_536, 300_000, 1_000_000]);
    for (len, encoding) in lens.flat_map(|len| Encoding::ALL.map(|encoding| (len, encoding))) {
        for body in [noise(len), "42[\"said\",1]\u{1e}".bytes().cycle().take(len).collect()] {
            let bytes = compress(encoding, &body);
            assert_eq!(decompress(encoding, &bytes), body, "{len} bytes by {encoding:?}");
        }
    }
}

#[test]
fn the_format_is_the_one_that_the_name_means() {
    let gzip = compress(Encoding::Gzip, b"hola");
    // RFC 1952, 2.3: the two magic bytes, deflate, no flags and no time; at the end the length.
    assert!(gzip.starts_with(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]) && gzip.ends_with(&[4, 0, 0, 0]), "{gzip:x?}");
    let deflate = compress(Encoding::Deflate, b"hola");
    // RFC 1950, 2.2: a window of 32 KiB, deflate, and a checksum.
    assert!(deflate[0] == 0x78 && u16::from_be_bytes([deflate[0], deflate[1]]).is_multiple_of(31), "{deflate:x?}");
    assert_eq!([Encoding::Gzip.as_str(), Encoding::Deflate.as_str()], ["gzip", "deflate"]);
}

proptest! {
    #[test]
    fn any_body_is_the_same_when_it_is_decompressed(body in any::<Vec<u8>>()) {
        for encoding in Encoding::ALL {
            prop_assert_eq!(&decompress(encoding, &compress(encoding, &body)), &body);
        }
    }

    /// Any field: no panic, and nothing that the field does not name is chosen.
    #[test]
    fn a_coding_that_is_not_named_is_not_chosen(field in "[a-z0-9*;=.,q \\x80-\\xff]{0,40}") {
        let headers = accepting(&[field.as_bytes()]);
        if let Some(encoding) = negotiate(&headers) {
            prop_assert!(field.contains('*') || field.contains(encoding.as_str()));
        }
    }
}
