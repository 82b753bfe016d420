use super::*;
use crate::websocket::close::CloseCode;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const NO_LIMIT: u64 = u64::MAX;

fn parse(wire: &[u8], role: Role) -> Result<Option<(Header, usize)>, Violation> {
    Header::parse(wire, role, NO_LIMIT)
}

/// A header with `fin`, and without RSV1 and mask.
fn header(opcode: Opcode, len: u64) -> Header {
    Header { fin: true, rsv1: false, opcode, mask: None, len }
}

#[test]
fn reads_and_writes_headers() {
    use Opcode::{Binary, Close, Continuation, Ping, Pong, Text};
    let table: &[(&str, &[u8], Header)] = &[
        ("RFC 6455, 5.7: unmasked text", b"\x81\x05", header(Text, 5)),
        ("5.7: masked text", b"\x81\x85\x37\xfa\x21\x3d", Header { mask: Some(KEY), ..header(Text, 5) }),
        ("5.7: first fragment", b"\x01\x03", Header { fin: false, ..header(Text, 3) }),
        ("5.7: last fragment", b"\x80\x02", header(Continuation, 2)),
        ("5.7: ping", b"\x89\x05", header(Ping, 5)),
        ("5.7: masked pong", b"\x8a\x85\x37\xfa\x21\x3d", Header { mask: Some(KEY), ..header(Pong, 5) }),
        ("5.7: 256 bytes", b"\x82\x7e\x01\x00", header(Binary, 256)),
        ("5.7: 64 KiB", b"\x82\x7f\0\0\0\0\0\x01\0\0", header(Binary, 65_536)),
        ("a close without a code", b"\x88\x00", header(Close, 0)),
        ("the longest control frame", b"\x88\x7d", header(Close, 125)),
        ("the shortest length of two bytes", b"\x81\x7e\x00\x7e", header(Text, 126)),
        ("the longest length of two bytes", b"\x81\x7e\xff\xff", header(Text, 65_535)),
        ("the longest length", b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", header(Text, i64::MAX as u64)),
        ("RFC 7692, 7.2.3.1: compressed", b"\xc1\x07", Header { rsv1: true, ..header(Text, 7) }),
        ("7.2.3.1: first compressed fragment", b"\x41\x03", Header { fin: false, rsv1: true, ..header(Text, 3) }),
        (
            "the longest header",
            b"\x82\xff\0\0\0\0\0\x01\0\0\x37\xfa\x21\x3d",
            Header { mask: Some(KEY), ..header(Binary, 65_536) },
        ),
    ];
    for (name, wire, header) in table {
        let role = if header.mask.is_some() { Role::Server } else { Role::Client };
        assert_eq!(parse(wire, role), Ok(Some((*header, wire.len()))), "{name}");
        let with_payload = [*wire, b"payload"].concat();
        assert_eq!(parse(&with_payload, role), Ok(Some((*header, wire.len()))), "{name}, before a payload");
        for end in 0..wire.len() {
            assert_eq!(parse(&wire[..end], role), Ok(None), "{name}, the first {end} bytes");
        }
        assert_eq!(header.encode().as_ref(), *wire, "{name}");
    }
}

#[test]
fn every_length_has_one_form() {
    for len in (0..=300).chain([65_534, 65_535, 65_536, 65_537, 1 << 32, i64::MAX as u64]) {
        for (role, mask) in [(Role::Server, Some(KEY)), (Role::Client, None)] {
            let header = Header { mask, ..header(Opcode::Binary, len) };
            let wire = header.encode();
            let width = [2, 4, 10][usize::from(len > 125) + usize::from(len > 65_535)];
            assert_eq!(wire.as_ref().len(), width + mask.map_or(0, |key| key.len()), "{len} bytes, {role:?}");
            assert_eq!(parse(wire.as_ref(), role), Ok(Some((header, wire.as_ref().len()))), "{len} bytes, {role:?}");
        }
    }
}

/// Each wire is refused with its last byte, and not before.
#[test]
fn refuses_a_header_at_the_byte_that_is_wrong() {
    use Role::{Client, Server};
    const PROTOCOL: CloseCode = CloseCode::PROTOCOL_ERROR;
    const TOO_BIG: CloseCode = CloseCode::MESSAGE_TOO_BIG;
    let table: &[(&str, Role, &[u8], CloseCode)] = &[
        ("RFC 6455, 5.2: RSV2", Client, b"\xa1", PROTOCOL),
        ("5.2: RSV3", Client, b"\x91", PROTOCOL),
        ("5.2: all RSV bits", Client, b"\xf1", PROTOCOL),
        ("RFC 7692, 6: RSV1 on a continuation", Client, b"\xc0", PROTOCOL),
        ("RFC 7692, 6: RSV1 on a close", Client, b"\xc8", PROTOCOL),
        ("RFC 7692, 6: RSV1 on a ping", Client, b"\xc9", PROTOCOL),
        ("RFC 7692, 6: RSV1 on a pong", Client, b"\xca", PROTOCOL),
        ("5.5: fragmented close", Client, b"\x08", PROTOCOL),
        ("5.5: fragmented ping", Client, b"\x09", PROTOCOL),
        ("5.5: fragmented pong", Client, b"\x0a", PROTOCOL),
        ("5.1: a client without a mask", Server, b"\x81\x05", PROTOCOL),
        ("5.1: a server with a mask", Client, b"\x81\x85", PROTOCOL),
        ("5.1: a close without a mask", Server, b"\x88\x00", PROTOCOL),
        ("5.5: ping of 126 bytes", Client, b"\x89\x7e", PROTOCOL),
        ("5.5: pong with a length of eight bytes", Client, b"\x8a\x7f", PROTOCOL),
        ("5.5: close of 126 bytes", Server, b"\x88\xfe", PROTOCOL),
        ("5.5.1: close with half a code", Client, b"\x88\x01", PROTOCOL),
        ("5.2: 125 in two bytes", Client, b"\x81\x7e\x00\x7d", PROTOCOL),
        ("5.2: 0 in two bytes", Server, b"\x81\xfe\x00\x00", PROTOCOL),
        ("5.2: 0 to 65,535 in eight bytes", Client, b"\x81\x7f\0\0\0\0\0\0", PROTOCOL),
        ("5.2: highest bit", Client, b"\x81\x7f\x80", PROTOCOL),
        ("5.2: all bits", Server, b"\x81\xff\xff", PROTOCOL),
        ("10.4: above the limit, short", Client, b"\x82\x65", TOO_BIG),
        ("10.4: above the limit, two bytes", Server, b"\x82\xfe\x00\x7e", TOO_BIG),
        ("10.4: far above, two bytes", Server, b"\x82\xfe\x01", TOO_BIG),
        ("10.4: above the limit, eight bytes", Client, b"\x82\x7f\0\0\0\0\0\x01", TOO_BIG),
        ("10.4: 4 GiB", Server, b"\x82\xff\0\0\0\x01", TOO_BIG),
    ];
    for (name, role, wire, code) in table {
        for end in 0..wire.len() {
            assert_eq!(Header::parse(&wire[..end], *role, 100), Ok(None), "{name}, the first {end} bytes");
        }
        let violation = Header::parse(wire, *role, 100).expect_err(name);
        assert_eq!(violation.code, *code, "{name}");
        assert!((1..=123).contains(&violation.reason.len()), "{name}: fits into a close frame");
        for after in [b"\0".as_slice(), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            let longer = [*wire, after].concat();
            assert_eq!(Header::parse(&longer, *role, 100), Err(violation), "{name}, with bytes after it");
        }
    }
}

#[test]
fn every_reserved_opcode_is_refused() {
    for opcode in (3..=7).chain(11..=15) {
        for first in [opcode, FIN | opcode] {
            let violation = parse(&[first], Role::Client).expect_err("reserved");
            assert_eq!(violation.code, CloseCode::PROTOCOL_ERROR, "{first:#x}");
        }
    }
}

#[test]
fn the_limit_is_exact_and_not_for_control_frames() {
    for limit in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 32] {
        for opcode in [Opcode::Text, Opcode::Binary, Opcode::Continuation] {
            let at_limit = header(opcode, limit);
            let wire = at_limit.encode();
            let want = Ok(Some((at_limit, wire.as_ref().len())));
            assert_eq!(Header::parse(wire.as_ref(), Role::Client, limit), want, "{limit}, {opcode:?}");
            let above = header(opcode, limit + 1).encode();
            let violation = Header::parse(above.as_ref(), Role::Client, limit).expect_err("above the limit");
            assert_eq!(violation.code, CloseCode::MESSAGE_TOO_BIG, "{limit}, {opcode:?}");
        }
        let ping = header(Opcode::Ping, 125);
        assert_eq!(Header::parse(ping.encode().as_ref(), Role::Client, limit), Ok(Some((ping, 2))), "{limit}");
    }
}
