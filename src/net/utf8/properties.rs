//! Properties of the decoder, for any bytes and any cuts between reads.

use super::*;
use crate::fuzzing::input::{Input, arrivals};

/// The whole input is one stream.
pub(crate) fn hold_for(input: &[u8]) {
    let chunks = Input(input).chunks();
    let bytes = chunks.concat();
    let whole = String::from_utf8_lossy(&bytes);
    for (arrival, chunks) in arrivals(&bytes, &chunks) {
        let texts = texts(&chunks);
        assert_eq!(texts, texts_plainly(&chunks), "{arrival}");
        assert_eq!(texts.concat(), whole, "{arrival}");
    }
}

/// The text that each chunk gives, followed by the text that the end gives.
pub(super) fn texts(chunks: &[&[u8]]) -> Vec<String> {
    let mut decoder = Utf8Decoder::default();
    let mut scratch = String::from("left over from another socket");
    let mut texts = Vec::with_capacity(chunks.len() + 1);
    for chunk in chunks {
        let was_midway = decoder.is_midway();
        let text = decoder.decode(chunk, &mut scratch);
        assert!(text.len() <= 3 * chunk.len() + 3, "{} bytes of text out of {}", text.len(), chunk.len());
        if !was_midway && str::from_utf8(chunk).is_ok() {
            assert_eq!((text.as_ptr(), text.len()), (chunk.as_ptr(), chunk.len()), "valid text is lent, not copied");
        }
        texts.push(text.to_owned());
        let carried = &decoder.carried[..decoder.carried_len.into()];
        let is_start =
            matches!(str::from_utf8(carried), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none());
        assert!(carried.is_empty() || is_start, "{carried:x?} is not the start of a character");
    }
    texts.push(decoder.finish().unwrap_or_default().to_owned());
    assert!(!decoder.is_midway() && decoder.finish().is_none(), "the end resets the decoder");
    texts
}

/// A reference: the UTF-8 decoder of the WHATWG Encoding Standard (section 8.1.1), step by step. It knows after each
/// byte what a decoder can know then.
fn texts_plainly(chunks: &[&[u8]]) -> Vec<String> {
    let (mut code_point, mut seen, mut needed) = (0_u32, 0, 0);
    let (mut lower, mut upper) = (0x80, 0xBF);
    let mut texts = Vec::new();
    for chunk in chunks {
        let mut text = String::new();
        for &byte in *chunk {
            if needed > 0 && !(lower..=upper).contains(&byte) {
                (code_point, seen, needed, lower, upper) = (0, 0, 0, 0x80, 0xBF);
                text.push(char::REPLACEMENT_CHARACTER);
                // The standard "restores the byte to the stream": it is now tried as a first byte.
            }
            if needed > 0 {
                (lower, upper) = (0x80, 0xBF);
                code_point = code_point << 6 | u32::from(byte & 0x3F);
                seen += 1;
                if seen == needed {
                    text.push(char::from_u32(code_point).expect("the bounds exclude what is not a character"));
                    (code_point, seen, needed) = (0, 0, 0);
                }
                continue;
            }
            match byte {
                0x00..=0x7F => text.push(byte.into()),
                0xC2..=0xDF => (needed, code_point) = (1, u32::from(byte & 0x1F)),
                0xE0..=0xEF => {
                    match byte {
                        0xE0 => lower = 0xA0,
                        0xED => upper = 0x9F,
                        _ => {}
                    }
                    (needed, code_point) = (2, u32::from(byte & 0xF));
                }
                0xF0..=0xF4 => {
                    match byte {
                        0xF0 => lower = 0x90,
                        0xF4 => upper = 0x8F,
                        _ => {}
                    }
                    (needed, code_point) = (3, u32::from(byte & 0x7));
                }
                _ => text.push(char::REPLACEMENT_CHARACTER),
            }
        }
        texts.push(text);
    }
    texts.push(if needed > 0 { REPLACEMENT.to_owned() } else { String::new() });
    texts
}
