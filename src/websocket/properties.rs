//! Properties of frame headers, masks and the receiver, for any bytes and any cuts between reads.

use super::close::{CloseCode, Violation};
use super::frame::{Header, MAX_CONTROL_LEN, MAX_HEADER_LEN, Opcode, Role};
use super::mask::apply_mask;
use super::receiver::{Event, Message, Receiver, Settings, whole_message};
use crate::fuzzing::input::{Input, arrivals};

/// An event that owns its bytes, for comparisons.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Compressed(Opcode, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Owned {
        match event {
            Event::Message(message) => message.into(),
            Event::Compressed { opcode, payload } => Owned::Compressed(opcode, payload.to_vec()),
            Event::Ping(payload) => Owned::Ping(payload.to_vec()),
            Event::Pong(payload) => Owned::Pong(payload.to_vec()),
            Event::Close { code, reason } => Owned::Close(code.map(|code| code.0), reason.to_owned()),
        }
    }
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Owned {
        match message {
            Message::Text(text) => Owned::Text(text.to_owned()),
            Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
        }
    }
}

/// The result of a receiver for a stream.
#[derive(PartialEq, Debug)]
pub(super) struct Outcome {
    pub events: Vec<Owned>,
    /// The violation, and how many bytes had arrived when it was found.
    pub violation: Option<(Violation, usize)>,
}

/// Headers: a prefix decides like the whole, and a header is written as it was read. Masks: as byte by byte.
pub(crate) fn hold_for_frame(input: &[u8]) {
    let mut input = Input(input);
    let fields = input.byte();
    let role = if fields & 1 == 0 { Role::Server } else { Role::Client };
    let max_len = [100, 65_535, 1 << 20, u64::MAX][usize::from(fields >> 1) % 4];
    let bytes = input.0;

    let whole = Header::parse(bytes, role, max_len);
    let decided = (0..=bytes.len().min(MAX_HEADER_LEN)).find_map(|end| {
        let prefix = Header::parse(&bytes[..end], role, max_len);
        (prefix != Ok(None)).then_some((end, prefix))
    });
    match decided {
        Some((_, prefix)) => assert_eq!(prefix, whole, "more bytes change nothing"),
        None => assert_eq!(whole, Ok(None), "fourteen bytes are enough"),
    }
    if let Ok(Some((header, len))) = whole {
        assert_eq!(decided.map(|(end, _)| end), Some(len), "a header is complete with its last byte");
        assert_eq!(header.encode().as_ref(), &bytes[..len], "there is one form for each header");
        assert!(header.len <= max_len || header.opcode.is_control() && header.len <= MAX_CONTROL_LEN as u64);
        let key = header.mask.unwrap_or([0x12, 0x34, 0x56, 0x78]);
        let cut = bytes[0] as usize % (bytes.len() - len + 1);
        let (mut fast, mut plain) = (bytes[len..].to_vec(), bytes[len..].to_vec());
        apply_mask(&mut fast[..cut], key, 0);
        apply_mask(&mut fast[cut..], key, cut);
        mask_plainly(&mut plain, key, 0);
        assert_eq!(fast, plain, "masked in two parts");
    }
}

/// The receiver: the events and the violation are those of a plain version, wherever the reads are cut.
pub(crate) fn hold_for_receiver(input: &[u8]) {
    let mut input = Input(input);
    let fields = input.byte();
    let role = if fields & 1 == 0 { Role::Server } else { Role::Client };
    let max_message = usize::from(input.byte()) << (fields >> 2 & 3);
    let settings = Settings { role, max_message, deflate: fields & 2 != 0 };
    let chunks = input.chunks();
    holds_for_cuts(&settings, &chunks.concat(), &chunks);
}

/// Compares the ways of receiving `bytes` with the plain version, for one way to cut them.
pub(super) fn holds_for_cuts(settings: &Settings, bytes: &[u8], chunks: &[&[u8]]) {
    let (events, wrong_at) = receive_plainly(settings, bytes);
    for (arrival, chunks) in arrivals(bytes, chunks) {
        // The violation is found in the chunk that has the first wrong byte.
        let ends = chunks.iter().scan(0, |end, chunk| {
            *end += chunk.len();
            Some(*end)
        });
        let want = wrong_at.map(|(code, at)| (code, ends.clone().find(|end| at <= *end).unwrap_or(bytes.len())));
        for receive in [receive, receive_as_glue_does] {
            let outcome = receive(settings, &chunks);
            assert_eq!(outcome.events, events, "{arrival}");
            assert_eq!(outcome.violation.map(|(violation, at)| (violation.code, at)), want, "{arrival}");
        }
    }
    let chunks: Vec<&[u8]> = bytes.chunks(1).collect();
    let violation = |chunks: &[&[u8]]| receive(settings, chunks).violation.map(|(violation, _)| violation);
    assert_eq!(violation(&chunks), violation(&[bytes]), "the same reason, too");
}

/// Receives the chunks with one receiver.
pub(super) fn receive(settings: &Settings, chunks: &[&[u8]]) -> Outcome {
    let (mut receiver, mut events, mut arrived) = (Receiver::default(), Vec::new(), 0);
    let mut violation = None;
    for chunk in chunks {
        arrived += chunk.len();
        let mut chunk = chunk.to_vec();
        let mut rest = &mut chunk[..];
        loop {
            match receiver.next(settings, &mut rest) {
                Ok(Some(event)) => events.push(event.into()),
                Ok(None) => break,
                Err(found) => {
                    assert!(violation.is_none(), "a violation is the end");
                    assert!((1..=MAX_CONTROL_LEN - 2).contains(&found.reason.len()), "fits into a close frame");
                    violation = Some((found, arrived));
                }
            }
            check_memory(settings, &receiver);
        }
        assert!(rest.is_empty(), "`None` means that all bytes are used up");
        check_memory(settings, &receiver);
        if receiver.is_idle() {
            assert_eq!(receiver.kept_bytes(), 0, "nothing is kept between two messages");
        }
    }
    let is_over = violation.is_some() || matches!(events.last(), Some(Owned::Close(..)));
    assert!(!(is_over && receiver.is_idle()), "the end must be remembered");
    Outcome { events, violation }
}

/// Receives the chunks with [`whole_message`] where that is allowed, and without a receiver between two messages.
fn receive_as_glue_does(settings: &Settings, chunks: &[&[u8]]) -> Outcome {
    let (mut receiver, mut events, mut arrived) = (None::<Receiver>, Vec::new(), 0);
    for chunk in chunks {
        arrived += chunk.len();
        let mut chunk = chunk.to_vec();
        let mut rest = &mut chunk[..];
        while !rest.is_empty() {
            if receiver.is_none() {
                let before = rest.to_vec();
                match whole_message(settings, &mut rest) {
                    Some(Ok(message)) => {
                        events.push(message.into());
                        continue;
                    }
                    Some(Err(violation)) => return Outcome { events, violation: Some((violation, arrived)) },
                    None => assert_eq!(rest, before, "`None` changes nothing"),
                }
            }
            let current = receiver.get_or_insert_default();
            match current.next(settings, &mut rest) {
                Ok(event) => events.extend(event.map(Owned::from)),
                Err(violation) => return Outcome { events, violation: Some((violation, arrived)) },
            }
            if current.is_idle() {
                receiver = None;
            }
        }
    }
    Outcome { events, violation: None }
}

fn check_memory(settings: &Settings, receiver: &Receiver) {
    assert!(receiver.kept_bytes() <= settings.limit(settings.deflate) + MAX_CONTROL_LEN, "memory is bounded");
}

/// A reference that reads a byte at a time and looks at the message from its start after each byte.
///
/// Returns the events, and the code of the violation with the number of bytes up to the first wrong one.
pub(super) fn receive_plainly(settings: &Settings, bytes: &[u8]) -> (Vec<Owned>, Option<(CloseCode, usize)>) {
    const PROTOCOL: CloseCode = CloseCode::PROTOCOL_ERROR;
    const TOO_BIG: CloseCode = CloseCode::MESSAGE_TOO_BIG;
    const INVALID: CloseCode = CloseCode::INVALID_PAYLOAD;

    let mut events = Vec::new();
    // The first byte and the payload so far of a message that is not finished.
    let mut message: Option<(u8, Vec<u8>)> = None;
    let mut at = 0;
    macro_rules! next {
        () => {{
            let Some(&byte) = bytes.get(at) else { return (events, None) };
            at += 1;
            byte
        }};
    }
    macro_rules! refuse_if {
        ($wrong:expr, $code:expr) => {
            if $wrong {
                return (events, Some(($code, at)));
            }
        };
    }
    loop {
        let first = next!();
        let (fin, opcode) = (first >= 0x80, first % 16);
        let is_control = opcode >= 8;
        refuse_if!(!matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) || first & 0x30 != 0, PROTOCOL);
        refuse_if!(first & 0x40 != 0 && !(settings.deflate && matches!(opcode, 1 | 2)), PROTOCOL);
        refuse_if!(is_control && !fin, PROTOCOL);
        refuse_if!(opcode == 0 && message.is_none() || matches!(opcode, 1 | 2) && message.is_some(), PROTOCOL);

        let second = next!();
        let is_masked = second >= 0x80;
        refuse_if!(is_masked != (settings.role == Role::Server), PROTOCOL);
        refuse_if!(is_control && second % 128 > 125 || opcode == 8 && second % 128 == 1, PROTOCOL);
        let (start, so_far) = message.as_ref().map_or((first, 0), |(start, payload)| (*start, payload.len()));
        let room = settings.limit(start & 0x40 != 0) - so_far;
        let is_too_big = |len: u64, missing: u32| !is_control && u128::from(len) << (8 * missing) > room as u128;
        let mut len = 0;
        match second % 128 {
            126 => {
                for missing in [1, 0] {
                    len = len << 8 | u64::from(next!());
                    refuse_if!(missing == 0 && len < 126, PROTOCOL);
                    refuse_if!(is_too_big(len, missing), TOO_BIG);
                }
            }
            127 => {
                for missing in (0..8).rev() {
                    len = len << 8 | u64::from(next!());
                    refuse_if!(missing == 7 && len >= 128 || missing == 2 && len == 0, PROTOCOL);
                    refuse_if!(is_too_big(len, missing), TOO_BIG);
                }
            }
            short => {
                len = short.into();
                refuse_if!(is_too_big(len, 0), TOO_BIG);
            }
        }
        let mut key = [0; 4];
        if is_masked {
            key = [next!(), next!(), next!(), next!()];
        }

        let (mut start, mut payload) = (first, Vec::new());
        if !is_control && let Some(before) = message.take() {
            (start, payload) = before;
        }
        let is_text = start & 0x4f == 1;
        for i in 0..len {
            payload.push(next!() ^ key[i as usize % 4]);
            let is_wrong = |error: std::str::Utf8Error| error.error_len().is_some();
            refuse_if!(is_text && std::str::from_utf8(&payload).is_err_and(is_wrong), INVALID);
        }
        if !fin {
            message = Some((start, payload));
            continue;
        }
        events.push(match (start % 16, start & 0x40 != 0) {
            (8, _) if payload.is_empty() => Owned::Close(None, String::new()),
            (8, _) => {
                let code = u16::from(payload[0]) << 8 | u16::from(payload[1]);
                let is_defined = (1000..5000).contains(&code) && !(1015..3000).contains(&code);
                refuse_if!(!is_defined || (1004..=1006).contains(&code), PROTOCOL);
                let Ok(reason) = String::from_utf8(payload[2..].to_vec()) else { return (events, Some((INVALID, at))) };
                Owned::Close(Some(code), reason)
            }
            (9, _) => Owned::Ping(payload),
            (10, _) => Owned::Pong(payload),
            (1, true) => Owned::Compressed(Opcode::Text, payload),
            (2, true) => Owned::Compressed(Opcode::Binary, payload),
            (1, false) => match String::from_utf8(payload) {
                Ok(text) => Owned::Text(text),
                Err(_) => return (events, Some((INVALID, at))),
            },
            _ => Owned::Binary(payload),
        });
        if opcode == 8 {
            return (events, None);
        }
    }
}

/// The loop of RFC 6455, 5.3: one byte at a time.
pub(super) fn mask_plainly(buf: &mut [u8], key: [u8; 4], offset: usize) {
    for (i, byte) in buf.iter_mut().enumerate() {
        *byte ^= key[(offset % 4 + i) % 4];
    }
}
