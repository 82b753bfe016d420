use super::super::packet::PacketType::{Message, Noop, Open, Ping};
use super::super::packet::{Data, PacketType};
use super::*;
use Revision::{V3, V4};

/// The results of a decoder for a body: packets as text, then the mistake if there is one.
fn decode(revision: Revision, body: &[u8], is_binary: bool) -> Vec<String> {
    let mut payload = PayloadDecoder::new(revision, body.to_vec(), is_binary);
    let mut found = Vec::new();
    while let Some(packet) = payload.next() {
        found.push(match packet {
            Ok(Packet { kind, data: Data::Text(text) }) => format!("{kind:?} {text:?}"),
            Ok(Packet { kind, data: Data::Binary(bytes) }) => format!("{kind:?} {bytes:?}"),
            Err(malformed) => malformed.reason.to_owned(),
        });
    }
    assert_eq!(payload.next(), None, "it stays at the end");
    found
}

const EMPTY: &str = "the packet is empty";
const UNKNOWN: &str = "the packet type is unknown";
const BAD_LENGTH: &str = "the length of a packet is malformed";
const TOO_LONG: &str = "the length of a packet is beyond the end of the payload";

/// The packets are those of engine.io-parser 5.2.3, unless the documentation of the module names the difference.
#[test]
fn revision_4_separates_packets() {
    let table: &[(&str, &[&str])] = &[
        ("4", &[r#"Message """#]),
        ("4a\u{1e}4b", &[r#"Message "a""#, r#"Message "b""#]),
        ("4€\u{1e}bAQIDBA==\u{1e}2\u{1e}b", &[r#"Message "€""#, "Message [1, 2, 3, 4]", r#"Ping """#, "Message []"]),
        ("4a\u{1f}\u{1d}", &[r#"Message "a\u{1f}\u{1d}""#]),
        ("", &[EMPTY]),
        ("4a\u{1e}", &[r#"Message "a""#, EMPTY]),
        ("\u{1e}4a", &[EMPTY]),
        ("4a\u{1e}\u{1e}4b", &[r#"Message "a""#, EMPTY]),
        ("4a\u{1e}x\u{1e}4b", &[r#"Message "a""#, UNKNOWN]),
        ("4a\u{1e}b!!\u{1e}4b", &[r#"Message "a""#, "the packet is not base64"]),
        ("7", &[UNKNOWN]),
        ("\u{feff}4a", &[UNKNOWN]),
        // Revision 3 is not understood.
        ("2:4a", &[r#"Ping ":4a""#]),
    ];
    for (body, want) in table {
        assert_eq!(decode(V4, body.as_bytes(), false), *want, "{body:?}");
    }
    assert_eq!(decode(V4, b"4a", true), ["revision 4 has no binary payloads"]);
}

/// The packets are those of `parser-v3` in engine.io 6.6.13, unless the documentation of the module names the
/// difference.
#[test]
fn revision_3_counts_utf_16_code_units_in_text() {
    let table: &[(&str, &[&str])] = &[
        ("0:", &[]),
        ("0:0:2:4a0:", &[r#"Message "a""#]),
        ("1:4", &[r#"Message """#]),
        ("2:4a2:4b", &[r#"Message "a""#, r#"Message "b""#]),
        ("4:4€😀2:4é", &[r#"Message "€😀""#, r#"Message "é""#]),
        ("5:4a€😀10:b4AQIDBA==6:2probe", &[r#"Message "a€😀""#, "Message [1, 2, 3, 4]", r#"Ping "probe""#]),
        ("6:b4AQID", &["Message [1, 2, 3]"]),
        ("2:b4", &["Message []"]),
        ("10:4:1:4\u{1e}é:5:", &[r#"Message ":1:4\u{1e}é:5:""#]),
        ("", &["the payload is empty"]),
        ("2:4a2:7b2:4c", &[r#"Message "a""#, UNKNOWN]),
        ("1:b", &[UNKNOWN]),
        ("2:b9", &[UNKNOWN]),
        ("1:a", &[UNKNOWN]),
        ("2: a", &[UNKNOWN]),
    ];
    for (body, want) in table {
        assert_eq!(decode(V3, body.as_bytes(), false), *want, "{body:?}");
    }
}

#[test]
fn wrong_lengths_in_text_are_refused() {
    let table = [
        ("beyond the end", "3:4a", TOO_LONG),
        ("in bytes", "9:4€😀", TOO_LONG),
        ("in characters, of the last packet", "3:4€😀", TOO_LONG),
        ("ends inside a character", "2:4😀", TOO_LONG),
        ("of 64 bits", "18446744073709551615:4a", TOO_LONG),
        ("wraps around to 2", "18446744073709551618:4a", TOO_LONG),
        ("digits without end", &"1".repeat(100_000), TOO_LONG),
        ("leading zero", "02:4a", BAD_LENGTH),
        ("zeros", "00:", BAD_LENGTH),
        ("fraction", "2.0:4a", BAD_LENGTH),
        ("blank", " 2:4a", BAD_LENGTH),
        ("blank behind", "2 :4a", BAD_LENGTH),
        ("hexadecimal", "0x2:4a", BAD_LENGTH),
        ("plus sign", "+2:4a", BAD_LENGTH),
        ("minus sign", "-1:4a", BAD_LENGTH),
        ("exponent", "1e0:4", BAD_LENGTH),
        ("another script", "٢:4a", BAD_LENGTH),
        ("no digits", ":4a", BAD_LENGTH),
        ("no colon", "4a", BAD_LENGTH),
        ("only digits", "12", BAD_LENGTH),
    ];
    for (name, body, reason) in table {
        assert_eq!(decode(V3, body.as_bytes(), false), [reason], "{name}");
        let behind_another = decode(V3, format!("2:4a{body}").as_bytes(), false);
        assert_eq!(behind_another, [r#"Message "a""#, reason], "{name}, behind another packet");
    }
}

/// The packets are those of `parser-v3` in engine.io 6.6.13, unless the documentation of the module names the
/// difference.
#[test]
fn revision_3_has_a_binary_form() {
    let table: &[(&[u8], &[&str])] = &[
        (b"", &[]),
        (b"\0\x01\xff4", &[r#"Message """#]),
        (b"\0\x02\xff4a\0\x02\xff4b", &[r#"Message "a""#, r#"Message "b""#]),
        (
            b"\0\x09\xff4a\xe2\x82\xac\xf0\x9f\x98\x80\x01\x05\xff\x04\x01\x02\x03\x04\0\x06\xff2probe",
            &[r#"Message "a€😀""#, "Message [1, 2, 3, 4]", r#"Ping "probe""#],
        ),
        (b"\x01\x01\xff\x04", &["Message []"]),
        (b"\0\x01\x02\xff4\xe2\x82\xacabcdefgh", &[r#"Message "€abcdefgh""#]),
        (b"\0\x06\xffb4AQID", &["Message [1, 2, 3]"]),
        (b"\x01\x03\xff\x04\xff\0", &["Message [255, 0]"]),
        (b"\0\x02\xff4a\x01\x02\xff\x07a", &[r#"Message "a""#, UNKNOWN]),
        (b"\0\0\xff", &[EMPTY]),
        (b"\x01\0\xff", &[EMPTY]),
        (b"\0\x02\xff4\xff", &["a packet is not UTF-8"]),
        (b"\0\x02\xff4\xe2", &["a packet is not UTF-8"]),
        (b"\0\x04\xff4\xed\xa0\x80", &["a packet is not UTF-8"]),
        (b"\x02\x02\xff4a", &["a packet is neither a string nor bytes"]),
        (b"2:4a", &[BAD_LENGTH]),
    ];
    for (body, want) in table {
        assert_eq!(decode(V3, body, true), *want, "{}", body.escape_ascii());
    }
}

#[test]
fn wrong_lengths_in_the_binary_form_are_refused() {
    let nines = [&[0][..], &[9; 100_000]].concat();
    let wraps =
        [b"\0", &b"\x01\x08\x04\x04\x06\x07\x04\x04\0\x07\x03\x07\0\x09\x05\x05\x01\x06\x01\x08"[..], b"\xff4a"];
    let table: &[(&str, &[u8], &str)] = &[
        ("beyond the end", b"\0\x09\xff4a", TOO_LONG),
        ("bytes beyond the end", b"\x01\x03\xff\x04a", TOO_LONG),
        ("wraps around to 2", &wraps.concat(), TOO_LONG),
        ("digits without end", &nines, TOO_LONG),
        ("leading zeros", b"\0\0\0\x02\xff4a", BAD_LENGTH),
        ("a digit above 9", b"\0\x0a\xff4abcdefghi", BAD_LENGTH),
        ("a digit in ASCII", b"\x002\xff4a", BAD_LENGTH),
        ("no digits", b"\0\xff4a", BAD_LENGTH),
        ("no end", b"\0\x02", BAD_LENGTH),
        ("no length", b"\0", BAD_LENGTH),
    ];
    for (name, body, reason) in table {
        assert_eq!(decode(V3, body, true), [*reason], "{name}");
        let behind_another = [b"\0\x02\xff4a", *body].concat();
        assert_eq!(decode(V3, &behind_another, true), [r#"Message "a""#, reason], "{name}, behind another packet");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_as_a_whole() {
    for revision in [V3, V4] {
        assert_eq!(decode(revision, b"2:4a2:4\xff", false), ["the payload is not UTF-8"]);
    }
}

#[test]
fn a_text_packet_is_lent_from_the_body() {
    let mut payload = PayloadDecoder::new(V4, b"4hola\x1e4amigo".to_vec(), false);
    while let Some(packet) = payload.next() {
        assert!(packet.is_ok());
        assert_eq!(payload.decoded.capacity(), 0);
    }
}

/// A prefix of a payload gives a prefix of its packets, then an error or the end.
#[test]
fn a_payload_that_is_cut_anywhere_gives_its_first_packets() {
    let packets = [Queued::text(Message, "a€😀"), Queued::binary([1, 2, 3, 4]), Queued::text(Ping, "probe")];
    for (revision, supports_binary) in [(V4, false), (V3, false), (V3, true)] {
        let encoded = encode(revision, &packets, supports_binary);
        let (is_binary, body) = (encoded.is_binary(), encoded.into_bytes());
        let whole = decode(revision, &body, is_binary);
        assert_eq!(whole, [r#"Message "a€😀""#, "Message [1, 2, 3, 4]", r#"Ping "probe""#]);
        for end in 0..body.len() {
            let found = decode(revision, &body[..end], is_binary);
            // The last packet may be a shorter one: revision 4 has no lengths.
            let same = found.len().saturating_sub(1);
            assert_eq!(found[..same], whole[..same], "cut at {end}");
            assert!(revision == V4 || !found.contains(&whole[2]), "cut at {end}");
        }
    }
}

/// The payloads are those of engine.io-parser 5.2.3, and of `parser-v3` in engine.io 6.6.13.
#[test]
fn payloads_are_those_of_node() {
    let text = Queued::text(Message, "a€😀");
    let (bytes, no_bytes) = (Queued::binary([1, 2, 3, 4]), Queued::binary([]));
    let ping = Queued::text(Ping, "probe");
    type Row<'a> = (Revision, bool, &'a [&'a Queued], &'a [u8], bool);
    let table: &[Row] = &[
        (V4, true, &[], b"", false),
        (V4, true, &[&Queued::text(Open, "{}"), &text], "0{}\u{1e}4a€😀".as_bytes(), false),
        (V4, true, &[&bytes, &Queued::text(Ping, ""), &no_bytes], b"bAQIDBA==\x1e2\x1eb", false),
        (V4, false, &[&bytes], b"bAQIDBA==", false),
        (V3, true, &[], b"0:", false),
        (V3, true, &[&text], "5:4a€😀".as_bytes(), false),
        (
            V3,
            true,
            &[&text, &bytes, &ping],
            b"\0\x09\xff4a\xe2\x82\xac\xf0\x9f\x98\x80\x01\x05\xff\x04\x01\x02\x03\x04\0\x06\xff2probe",
            true,
        ),
        (V3, true, &[&no_bytes], b"\x01\x01\xff\x04", true),
        (V3, false, &[&text, &bytes, &ping], "5:4a€😀10:b4AQIDBA==6:2probe".as_bytes(), false),
        (V3, false, &[&no_bytes], b"2:b4", false),
    ];
    for (revision, supports_binary, packets, want, is_binary) in table {
        let encoded = encode(*revision, packets.iter().copied(), *supports_binary);
        assert_eq!(encoded.is_binary(), *is_binary, "{revision:?} {packets:?}");
        assert_eq!(encoded.into_bytes().escape_ascii().to_string(), want.escape_ascii().to_string());
    }
}

#[test]
fn a_payload_is_allocated_once() {
    let packets: Vec<Queued> = (0..1000)
        .map(|i| if i % 3 == 0 { Queued::binary(vec![0; i]) } else { Queued::text(Message, "€😀".repeat(i)) })
        .collect();
    for (revision, supports_binary) in [(V4, true), (V3, false), (V3, true)] {
        for packets in [&packets[..], &packets[..1], &packets[1..2], &packets[999..]] {
            match encode(revision, packets, supports_binary) {
                Encoded::Text(text) => assert_eq!(text.capacity(), text.len(), "{revision:?}"),
                Encoded::Binary(bytes) => assert_eq!(bytes.capacity(), bytes.len()),
            }
        }
    }
}

#[test]
fn as_many_packets_as_fit_are_counted() {
    let (four, bytes) = (Queued::text(Message, "abcd"), Queued::binary([1, 2, 3]));
    let table: &[(Revision, bool, &[&Queued], usize, usize)] = &[
        (V4, true, &[], 100, 0),
        // "4abcd", "4abcd\x1e4abcd"
        (V4, true, &[&four, &four], 10, 1),
        (V4, true, &[&four, &four], 11, 2),
        (V4, true, &[&four, &four], 0, 1),
        (V4, true, &[&four, &bytes, &four], 11, 2),
        // "5:4abcd"
        (V3, true, &[&four, &four], 13, 1),
        (V3, true, &[&four, &four], 14, 2),
        // "6:b4AQID"
        (V3, false, &[&four, &bytes], 14, 1),
        (V3, false, &[&four, &bytes], 15, 2),
        // Bytes make all packets binary: eight bytes for the text, and seven for the bytes.
        (V3, true, &[&four, &bytes], 14, 1),
        (V3, true, &[&four, &bytes], 15, 2),
        (V3, true, &[&four, &four, &bytes], 14, 2),
    ];
    for &(revision, supports_binary, packets, max_bytes, want) in table {
        let count = count_within(revision, packets.iter().copied(), supports_binary, max_bytes);
        assert_eq!(count, want, "{revision:?} {packets:?} in {max_bytes}");
    }
}

#[test]
fn all_types_come_through_a_payload() {
    for (revision, supports_binary) in [(V4, true), (V3, true)] {
        for number in 0..7 {
            let kind = PacketType::from_number(number).expect("there are seven types");
            let body = encode(revision, &[Queued::text(kind, ""), Queued::text(Noop, "x")], supports_binary);
            let want = [format!("{kind:?} \"\""), r#"Noop "x""#.into()];
            assert_eq!(decode(revision, &body.into_bytes(), false), want);
        }
    }
}
