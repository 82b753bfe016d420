//! Properties of the streams and of offers, for any bytes.

use ::http::header::SEC_WEBSOCKET_EXTENSIONS;
use ::http::{HeaderMap, HeaderValue};

use super::*;
use crate::fuzzing::input::Input;

/// The longest message that the properties inflate.
const LIMIT: usize = 20_000;

/// The first bytes choose level, window and takeover. The chunks of the rest are messages, payloads and a header.
pub(crate) fn hold_for(input: &[u8]) {
    let mut input = Input(input);
    let (level, window_bits) = (input.byte() % 10, 8 + input.byte() % 8);
    let keeps_context = input.byte() % 2 == 1;
    let chunks = input.chunks();
    messages_make_the_round_trip(&chunks, level.into(), window_bits, keeps_context);
    let mut inflater = Inflater::new();
    for chunk in chunks {
        a_payload_means_the_same_as_to_the_plain_decoder(&mut inflater, chunk);
        the_client_accepts_what_the_server_answers(chunk);
    }
}

fn messages_make_the_round_trip(messages: &[&[u8]], level: u32, window_bits: u8, keeps_context: bool) {
    let (mut deflater, mut inflater) = (Deflater::new(level, window_bits), Inflater::new());
    let (mut wire, mut out) = (Vec::new(), Vec::new());
    for message in messages {
        wire.clear();
        out.clear();
        deflater.deflate(message, &mut wire, keeps_context);
        let result = inflater.inflate(&wire, &mut out, message.len(), keeps_context);
        assert_eq!((result, &out[..]), (Ok(()), *message), "level {level}, window {window_bits}");
        if !keeps_context {
            let plain = plain::decode(&wire).expect("a good message");
            assert_eq!(plain.out, *message);
            assert!(plain.farthest <= 1 << window_bits);
        }
    }
}

/// `inflater` may have seen other payloads, good and bad ones: nothing of them may be left.
fn a_payload_means_the_same_as_to_the_plain_decoder(inflater: &mut Inflater, payload: &[u8]) {
    let mut out = b"before".to_vec();
    let result = inflater.inflate(payload, &mut out, LIMIT, false);
    let plain = plain::decode(payload);
    assert!(result.is_ok() || out == b"before", "an error leaves no output");
    match (result, plain) {
        (Ok(()), Some(plain)) => assert_eq!(out, [b"before", &plain.out[..]].concat()),
        (Err(InflateError::TooLarge), plain) => assert!(plain.is_none_or(|plain| plain.out.len() > LIMIT)),
        (Err(_), None) => {}
        (Err(error), Some(_)) => panic!("{error:?}, but the plain decoder accepts it"),
        (Ok(()), None) => panic!("accepted, but the plain decoder refuses it"),
    }
}

fn the_client_accepts_what_the_server_answers(header: &[u8]) {
    let header_of = |value| HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, value)]);
    let Ok(value) = HeaderValue::from_bytes(header) else { return };
    let options = DeflateOptions {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        ..DeflateOptions::default()
    };
    let Some((params, answer)) = negotiate(&header_of(value), &options) else { return };
    let answer = HeaderValue::try_from(answer).expect("a legal value");
    assert_eq!(accept(&header_of(answer), &options), Ok(Some(params)));
}
