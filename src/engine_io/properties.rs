//! Properties of packets and payloads, for any bytes.

use super::jsonp;
use super::packet::{
    Data, FrameBuffer, OpenPacket, Packet, PacketType, Queued, QueuedData, Revision, open_packet, parse_binary,
    parse_text,
};
use super::payload::{Encoded, PayloadDecoder, count_within, encode};
use crate::fuzzing::input::Input;

impl From<Packet<'_>> for Queued {
    fn from(packet: Packet<'_>) -> Queued {
        let data = match packet.data {
            Data::Text(text) => QueuedData::Text(text.into()),
            Data::Binary(bytes) => QueuedData::Binary(bytes.into()),
        };
        Queued { kind: packet.kind, data }
    }
}

fn revision(fields: u8) -> Revision {
    if fields & 1 == 0 { Revision::V4 } else { Revision::V3 }
}

/// Frames: packets are those of a plain version, and an accepted packet comes through every kind of frame. Open
/// packets: a packet that is written out again is the same packet.
pub(crate) fn hold_for_packet(input: &[u8]) {
    let mut input = Input(input);
    let revision = revision(input.byte());
    let bytes = input.0;

    let packet = parse_binary(revision, bytes).ok().map(Queued::from);
    assert_eq!(packet, frame_plainly(revision, bytes));
    packet.iter().for_each(|packet| comes_through_frames(revision, packet));

    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut decoded = b"of an earlier packet".to_vec();
    let packet = parse_text(revision, text, &mut decoded).ok().map(Queued::from);
    assert_eq!(packet, text_plainly(revision, text));
    packet.iter().for_each(|packet| comes_through_frames(revision, packet));

    if let Ok(open) = OpenPacket::parse(text) {
        let upgrades: Vec<&str> = open.upgrades.iter().map(String::as_str).collect();
        let ms = |time: std::time::Duration| time.as_millis() as u64;
        let again = open_packet(&open.sid, &upgrades, ms(open.ping_interval), ms(open.ping_timeout), open.max_payload);
        assert_eq!(OpenPacket::parse(&again), Ok(open));
    }
}

fn comes_through_frames(revision: Revision, packet: &Queued) {
    let (mut buffer, mut decoded) = (FrameBuffer::default(), Vec::new());
    for supports_binary in [true, false] {
        let parsed = match packet.frame(revision, supports_binary, &mut buffer) {
            Data::Text(text) => parse_text(revision, text, &mut decoded),
            Data::Binary(bytes) => {
                assert!(supports_binary);
                parse_binary(revision, bytes)
            }
        };
        assert_eq!(parsed.map(Queued::from).as_ref(), Ok(packet));
    }
}

/// Payloads: packets and the place of the mistake are those of a plain version. Accepted packets come through every
/// kind of payload, also in a form and in a script.
pub(crate) fn hold_for_payload(input: &[u8]) {
    let mut input = Input(input);
    let fields = input.byte();
    let (revision, is_binary) = (revision(fields), fields & 2 != 0);
    let body = input.0;

    let decoded = decode(revision, body.to_vec(), is_binary);
    assert_eq!(decoded, payload_plainly(revision, body, is_binary));

    let (packets, _) = decoded;

    for supports_binary in [true, false] {
        let encoded = encode(revision, &packets, supports_binary);
        assert!(!encoded.is_binary() || supports_binary);
        if let Encoded::Text(text) = &encoded {
            comes_through_jsonp(text);
        }
        let (is_binary, body) = (encoded.is_binary(), encoded.into_bytes());
        counts_what_fits(revision, &packets, supports_binary, body.len());
        // In revision 4 no packets are an empty body, which is refused.
        if !packets.is_empty() {
            assert_eq!(payload_plainly(revision, &body, is_binary), (packets.clone(), true));
            assert_eq!(decode(revision, body, is_binary), (packets.clone(), true));
        }
    }
    let _ = jsonp::unwrap_form(body);
}

/// The packets of a body, and whether they are all of it.
fn decode(revision: Revision, body: Vec<u8>, is_binary: bool) -> (Vec<Queued>, bool) {
    let mut payload = PayloadDecoder::new(revision, body, is_binary);
    let mut packets = Vec::new();
    let mut is_complete = true;
    while let Some(packet) = payload.next() {
        assert!(is_complete, "an error is the last item");
        match packet {
            Ok(packet) => packets.push(packet.into()),
            Err(_) => is_complete = false,
        }
    }
    assert!(payload.next().is_none());
    (packets, is_complete)
}

/// A payload of `len` bytes has room for all its packets, and one with less room has fewer.
fn counts_what_fits(revision: Revision, packets: &[Queued], supports_binary: bool, len: usize) {
    assert_eq!(count_within(revision, packets, supports_binary, len), packets.len());
    let fewer = count_within(revision, packets, supports_binary, len - usize::from(len > 0));
    assert!(fewer < packets.len() || packets.len() <= 1);
}

fn comes_through_jsonp(payload: &str) {
    // The form of the clients has no text for a backslash in front of a line feed.
    if !payload.contains("\\\n") {
        let escaped = payload.replace("\\n", "\\\n").replace('\n', "\\n");
        let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("d", &escaped).finish();
        assert_eq!(jsonp::unwrap_form(form.as_bytes()).as_deref(), Ok(payload));
    }
    let script = jsonp::wrap("0", payload);
    let json = script.strip_prefix("___eio[0](").and_then(|rest| rest.strip_suffix(");")).unwrap_or_default();
    assert!(!json.contains(['\u{2028}', '\u{2029}']));
    assert_eq!(serde_json::from_str::<String>(json).ok().as_deref(), Some(payload));
}

/// The packet of a binary frame, as the protocol describes it.
fn frame_plainly(revision: Revision, bytes: &[u8]) -> Option<Queued> {
    match (revision, bytes) {
        (Revision::V4, _) => Some(Queued::binary(bytes)),
        (Revision::V3, [number @ 0..=6, data @ ..]) => {
            Some(Queued { kind: PacketType::from_number(*number)?, data: QueuedData::Binary(data.into()) })
        }
        (Revision::V3, _) => None,
    }
}

/// The packet in a text, as the protocol describes it.
fn text_plainly(revision: Revision, text: &str) -> Option<Queued> {
    let kind = |digit: char| PacketType::from_number(digit.to_digit(7)? as u8);
    let mut chars = text.chars();
    match (chars.next()?, revision) {
        ('b', Revision::V4) => Some(Queued::binary(base64_plainly(chars.as_str())?)),
        ('b', Revision::V3) => {
            let kind = kind(chars.next()?)?;
            Some(Queued { kind, data: QueuedData::Binary(base64_plainly(chars.as_str())?.into()) })
        }
        (digit, _) => Some(Queued::text(kind(digit)?, chars.as_str())),
    }
}

/// Base64, six bits at a time. Line breaks are skipped, and padding may be missing.
fn base64_plainly(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !"\r\n".contains(*c)).collect();
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for c in data.chars() {
        let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".find(c)? as u32;
        (bits, held) = (bits << 6 | value, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    let allowed_padding = (4 - data.len() % 4) % 4;
    (held < 6 && bits == 0 && padding <= allowed_padding).then_some(bytes)
}

/// The packets of a body, and whether they are all of it. Lengths in text are counted in a copy of the text in UTF-16.
fn payload_plainly(revision: Revision, body: &[u8], is_binary: bool) -> (Vec<Queued>, bool) {
    let mut packets = Vec::new();
    let is_complete = match (revision, is_binary) {
        (Revision::V4, true) => false,
        (Revision::V4, false) => str::from_utf8(body).is_ok_and(|text| {
            let mut parts = text.split('\u{1e}').map(|packet| text_plainly(revision, packet));
            parts.all(|packet| packet.map(|packet| packets.push(packet)).is_some())
        }),
        (Revision::V3, false) => {
            str::from_utf8(body).is_ok_and(|text| !text.is_empty() && v3_text_plainly(text, &mut packets).is_some())
        }
        (Revision::V3, true) => v3_binary_plainly(body, &mut packets).is_some(),
    };
    (packets, is_complete)
}

fn v3_text_plainly(text: &str, packets: &mut Vec<Queued>) -> Option<()> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut rest = units.as_slice();
    while !rest.is_empty() {
        let colon = rest.iter().position(|&unit| unit == u16::from(b':'))?;
        let len = length_plainly(&String::from_utf16(&rest[..colon]).ok()?)?;
        rest = &rest[colon + 1..];
        let packet = String::from_utf16(rest.get(..len)?).ok()?;
        rest = &rest[len..];
        if len > 0 {
            packets.push(text_plainly(Revision::V3, &packet)?);
        }
    }
    Some(())
}

fn v3_binary_plainly(mut rest: &[u8], packets: &mut Vec<Queued>) -> Option<()> {
    while !rest.is_empty() {
        let end = 1 + rest[1..].iter().position(|&byte| byte == 0xff)?;
        let digits = rest[1..end].iter().map(|&byte| char::from_digit(byte.into(), 10)).collect::<Option<String>>()?;
        let data = rest[end + 1..].get(..length_plainly(&digits)?)?;
        packets.push(match rest[0] {
            0 => text_plainly(Revision::V3, str::from_utf8(data).ok()?)?,
            1 => frame_plainly(Revision::V3, data)?,
            _ => return None,
        });
        rest = &rest[end + 1 + data.len()..];
    }
    Some(())
}

/// A length in its one form: parsed and written again it is the same text.
fn length_plainly(digits: &str) -> Option<usize> {
    digits.parse().ok().filter(|len: &usize| len.to_string() == digits)
}
