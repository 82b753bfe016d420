//! Streams. Offers and answers are tested in `offer/tests.rs`.

use proptest::prelude::*;

use super::*;

/// "Hello" in one block of fixed codes (RFC 7692, 7.2.3.1).
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

/// "Hello" that refers to an earlier "Hello" (RFC 7692, 7.2.3.2).
const HELLO_AGAIN: [u8; 5] = [0xf2, 0x00, 0x11, 0x00, 0x00];

/// "Hello" in a stored block (RFC 7692, 7.2.3.3).
const HELLO_STORED: [u8; 11] = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];

/// "Hello" in a final block, and the empty block after it (RFC 7692, 7.2.3.4).
const HELLO_FINAL: [u8; 8] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];

/// "He" and "llo" in two blocks, with the tail of the first one in between (RFC 7692, 7.2.3.5).
const HELLO_IN_TWO: [u8; 13] = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];

fn deflate(deflater: &mut Deflater, payload: &[u8], keeps_context: bool) -> Vec<u8> {
    let mut out = b"before".to_vec();
    deflater.deflate(payload, &mut out, keeps_context);
    assert_eq!(out.drain(..6).collect::<Vec<_>>(), b"before", "output is appended");
    out
}

fn inflate(
    inflater: &mut Inflater,
    payload: &[u8],
    limit: usize,
    keeps_context: bool,
) -> Result<Vec<u8>, InflateError> {
    let mut out = b"before".to_vec();
    let result = inflater.inflate(payload, &mut out, limit, keeps_context);
    assert_eq!(out.drain(..6).collect::<Vec<_>>(), b"before", "output is appended");
    assert!(result.is_ok() || out.is_empty(), "an error leaves no output");
    result.map(|()| out)
}

/// Decompresses one message with a stream of its own.
fn inflate_alone(payload: &[u8]) -> Result<Vec<u8>, InflateError> {
    inflate(&mut Inflater::new(), payload, usize::MAX, false)
}

/// A sequence of messages with takeover, compressed by miniz: an implementation that shares no code with `zlib-rs`.
fn inflate_with_miniz(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for message in messages {
        wire.extend_from_slice(message);
        wire.extend_from_slice(&[0, 0, 0xff, 0xff]);
    }
    let mut stream = flate2::Decompress::new(false);
    let mut out = Vec::with_capacity(4 << 20);
    stream.decompress_vec(&wire, &mut out, flate2::FlushDecompress::Sync).expect("a good stream");
    assert_eq!(stream.total_in(), wire.len() as u64);
    out
}

/// Text with repetitions near and far, and bytes without any, of `len` bytes.
fn sample(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 64);
    let mut state: u32 = 7;
    while out.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state >> 30 {
            0 => out.extend_from_slice(&state.to_le_bytes()),
            1 => out.extend_from_slice(b"{\"user\":\"ana\",\"text\":\"hola a todos\"}"),
            2 => out.extend(std::iter::repeat_n(b'x', (state >> 20) as usize % 40)),
            _ => {
                let from = (state as usize >> 3) % out.len().max(1);
                let copied = out[from..out.len().min(from + 30)].to_vec();
                out.extend_from_slice(&copied);
            }
        }
    }
    out.truncate(len);
    out
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3_are_decompressed() {
    let table: &[(&str, &[u8], &[u8])] = &[
        ("7.2.3.1, one block", &HELLO, b"Hello"),
        ("7.2.3.3, a stored block", &HELLO_STORED, b"Hello"),
        ("7.2.3.4, a final block", &HELLO_FINAL, b"Hello"),
        ("7.2.3.5, two blocks", &HELLO_IN_TWO, b"Hello"),
        ("7.2.3.6, an empty message", &[0x00], b""),
        ("two final blocks, each with a stream of its own", &[&HELLO_FINAL[..7], &HELLO_FINAL].concat(), b"HelloHello"),
        ("a final block without the empty block after it", &HELLO_FINAL[..7], b"Hello"),
        ("an empty final stored block", &[0x01], b""),
        ("an empty block of fixed codes, and the empty stored block", &[0x02, 0x00], b""),
    ];
    for (name, payload, want) in table {
        assert_eq!(inflate_alone(payload).as_deref(), Ok(*want), "{name}");
        let mut inflater = Inflater::new();
        for round in 1..=2 {
            assert_eq!(inflate(&mut inflater, payload, 10, true).as_deref(), Ok(*want), "{name}, message {round}");
        }
    }
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3_are_produced() {
    let mut deflater = Deflater::new(6, 15);
    assert_eq!(deflate(&mut deflater, b"Hello", true), HELLO, "7.2.3.1");
    assert_eq!(deflate(&mut deflater, b"Hello", true), HELLO_AGAIN, "7.2.3.2, with takeover");
    assert_eq!(deflate(&mut deflater, b"", true), [0x00], "7.2.3.6, an empty message");
    let third = [0x02, 0x13, 0x00, 0x00];
    assert_eq!(deflate(&mut deflater, b"Hello", false), third, "an empty message keeps the context");
    assert_eq!(deflate(&mut deflater, b"Hello", false), HELLO, "7.2.3.2, without takeover");
    assert_eq!(deflate(&mut Deflater::new(0, 15), b"Hello", false), HELLO_STORED, "7.2.3.3, level 0");
}

#[test]
fn context_is_taken_over_only_if_it_is_kept() {
    let mut inflater = Inflater::new();
    assert_eq!(inflate(&mut inflater, &HELLO, 5, true).as_deref(), Ok(&b"Hello"[..]));
    assert_eq!(inflate(&mut inflater, &[0x00], 5, true).as_deref(), Ok(&b""[..]), "an empty message keeps the context");
    assert_eq!(inflate(&mut inflater, &HELLO_AGAIN, 5, false).as_deref(), Ok(&b"Hello"[..]), "7.2.3.2");
    assert_eq!(inflate(&mut inflater, &HELLO_AGAIN, 5, true), Err(InflateError::Corrupt), "the context is gone");
    assert_eq!(inflate(&mut inflater, &HELLO, 5, true).as_deref(), Ok(&b"Hello"[..]), "the stream can be used further");
}

#[test]
fn a_message_that_is_forgotten_need_not_be_sent() {
    let (mut deflater, mut inflater) = (Deflater::new(1, 15), Inflater::new());
    let message = sample(5_000);
    for is_sent in [true, false, true, true] {
        let compressed = deflate(&mut deflater, &message, true);
        if is_sent {
            assert_eq!(inflate(&mut inflater, &compressed, usize::MAX, true).as_ref(), Ok(&message));
        } else {
            deflater.forget();
        }
    }
}

#[test]
fn a_final_block_ends_the_context() {
    let mut inflater = Inflater::new();
    assert_eq!(inflate(&mut inflater, &HELLO_FINAL, 5, true).as_deref(), Ok(&b"Hello"[..]));
    assert_eq!(inflate(&mut inflater, &HELLO_AGAIN, 5, true), Err(InflateError::Corrupt));
}

#[test]
fn bad_payloads_are_refused() {
    use InflateError::*;
    let table: &[(&str, &[u8], InflateError)] = &[
        ("no payload", &[], Truncated),
        ("a reserved block type", &[0x06], Corrupt),
        ("a stored block whose lengths do not match", &[0x00, 0x05, 0x00, 0xfa, 0xfe, 0x48], Corrupt),
        ("a distance before the first byte", &HELLO_AGAIN, Corrupt),
        ("a stored block that is too short", &HELLO_STORED[..8], Truncated),
        ("a stored block that the tail would complete", &[0x00, 0x04, 0x00, 0xfb, 0xff], Truncated),
        ("a stored block that the tail and the next byte would complete", &[0x00, 0x05, 0x00, 0xfa, 0xff], Truncated),
        ("a block of fixed codes that the tail would end", &HELLO[..5], Truncated),
        ("the tail is not cut", &[&HELLO[..], &[0, 0, 0xff, 0xff]].concat(), Truncated),
        ("garbage after a final block", &[&HELLO_FINAL[..7], b"garbage"].concat(), Corrupt),
    ];
    for (name, payload, want) in table {
        assert_eq!(inflate_alone(payload), Err(*want), "{name}");
    }
}

/// Each final block begins a new stream, and an empty one has two bytes.
#[test]
fn a_message_of_very_many_streams_is_refused() {
    for (streams, want) in [(1024, Ok(Vec::new())), (1025, Ok(Vec::new())), (1026, Err(InflateError::Corrupt))] {
        assert_eq!(inflate_alone(&[0x03, 0x00].repeat(streams)), want, "{streams}");
    }
}

/// A message that ends at a block boundary of the compressor is complete. All others are refused.
#[test]
fn a_truncated_message_is_never_delivered() {
    for level in [0, 1, 6] {
        for len in [1, 5, 300, 3_000] {
            let payload = sample(len);
            let message = deflate(&mut Deflater::new(level, 15), &payload, false);
            let mut inflater = Inflater::new();
            // A stored block begins with a byte that is a complete message, the empty one.
            for cut in (0..message.len()).filter(|&cut| level > 0 || cut != 1) {
                let result = inflate(&mut inflater, &message[..cut], usize::MAX, false);
                assert!(result.is_err(), "level {level}, {len} bytes, cut at {cut} of {}", message.len());
            }
            assert_eq!(inflate(&mut inflater, &message, usize::MAX, false), Ok(payload), "level {level}, {len} bytes");
        }
    }
    for cut in 0..HELLO_IN_TWO.len() {
        // After the first of the two blocks the payload is a complete message.
        let want = if cut == 4 { Ok(b"He".to_vec()) } else { Err(InflateError::Truncated) };
        let got = inflate_alone(&HELLO_IN_TWO[..cut]);
        assert_eq!(got, want, "cut at {cut}");
    }
}

#[test]
fn every_window_makes_the_round_trip() {
    let messages = [sample(34_000), sample(3), Vec::new(), sample(1000), sample(1000)];
    for window_bits in 8..=15 {
        for level in [1, 6] {
            let (mut deflater, mut inflater) = (Deflater::new(level, window_bits), Inflater::new());
            let mut wire = Vec::new();
            for keeps_context in [true, false] {
                for message in &messages {
                    let compressed = deflate(&mut deflater, message, keeps_context);
                    let got = inflate(&mut inflater, &compressed, message.len(), keeps_context);
                    assert!(got.as_ref() == Ok(message), "level {level}, window {window_bits}");
                    wire.push(compressed);
                }
                if keeps_context {
                    assert!(inflate_with_miniz(&wire) == messages.concat(), "level {level}, window {window_bits}");
                }
                // Without takeover the next round must not refer to this one.
                deflate(&mut deflater, b"-", false);
                inflate(&mut inflater, &[0x00], 0, false).expect("an empty message");
            }
        }
    }
}

/// A receiver with a window of the agreed size can read what a [`Deflater`] makes.
#[test]
fn no_distance_is_larger_than_the_window() {
    for window_bits in 8..=15 {
        // A piece that is repeated at a distance just over the window, and just inside of it.
        for distance in [(1 << window_bits) - 200, (1 << window_bits) + 1] {
            let mut payload = sample(distance);
            payload.extend_from_within(..200.min(distance));
            for level in [1, 2, 4, 6, 9] {
                let message = deflate(&mut Deflater::new(level, window_bits), &payload, false);
                let farthest = plain::decode(&message).expect("a good message").farthest;
                assert!(farthest <= 1 << window_bits, "level {level}, window {window_bits}: {farthest}");
                assert!(window_bits > 8 || farthest == 0, "level {level}: Huffman codes only");
            }
        }
    }
}

#[test]
fn limits_are_exact() {
    for len in [0, 1, 511, 512, 513, 5_000, 200_000] {
        for payload in [sample(len), vec![0; len]] {
            let message = deflate(&mut Deflater::new(1, 15), &payload, false);
            let mut inflater = Inflater::new();
            assert!(inflate(&mut inflater, &message, len, false).as_ref() == Ok(&payload), "{len} bytes");
            if len > 0 {
                let got = inflate(&mut inflater, &message, len - 1, false);
                assert_eq!(got, Err(InflateError::TooLarge), "{len} bytes");
            }
            assert!(inflate(&mut inflater, &message, len + 1, false).as_ref() == Ok(&payload), "{len} bytes, again");
        }
    }
}

/// The last repetition may be unfinished when all input is taken in and the room for output is full.
#[test]
fn the_last_repetition_may_wait_for_room() {
    let (mut deflater, mut inflater) = (Deflater::new(9, 15), Inflater::new());
    for len in 1..5_000 {
        let payload = vec![b'x'; len];
        let message = deflate(&mut deflater, &payload, false);
        assert!(inflate(&mut inflater, &message, len, false) == Ok(payload), "{len} bytes");
    }
}

#[test]
fn a_bomb_takes_little_memory() {
    let bomb = deflate(&mut Deflater::new(9, 15), &vec![0; 1 << 20], false);
    assert!(bomb.len() < 2_000, "{} bytes", bomb.len());
    for limit in [0, 1, 1_000, 100_000] {
        let mut out = Vec::new();
        let result = Inflater::new().inflate(&bomb, &mut out, limit, false);
        assert_eq!(result, Err(InflateError::TooLarge));
        assert!(out.capacity() <= 2 * (limit + 1).max(512), "{} bytes for a limit of {limit}", out.capacity());
    }
}

#[test]
fn random_bytes_are_stored_with_little_overhead() {
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(20_000)
    .collect();
    for level in 0..=9 {
        let message = deflate(&mut Deflater::new(level, 15), &noise, false);
        assert!(message.len() < noise.len() + noise.len() / 16, "level {level}: {} bytes", message.len());
        assert!(inflate_alone(&message).as_ref() == Ok(&noise), "level {level}");
    }
}

proptest! {
    /// One changed byte in a good message: whatever it means, nothing panics, and the stream can be used further.
    #[test]
    fn a_changed_byte_does_no_harm(len in 1usize..4_000, at in any::<prop::sample::Index>(), mask in 1u8..) {
        let mut message = deflate(&mut Deflater::new(6, 15), &sample(len), false);
        let at = at.index(message.len());
        message[at] ^= mask;
        let mut inflater = Inflater::new();
        if let Ok(out) = inflate(&mut inflater, &message, 10_000, false) {
            prop_assert!(out.len() <= 10_000);
        }
        prop_assert_eq!(inflate(&mut inflater, &HELLO, 5, false), Ok(b"Hello".to_vec()));
    }
}
