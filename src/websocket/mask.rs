//! Masking (RFC 6455, 5.3): the XOR of a payload with a key of four bytes.
//!
//! A client masks every frame that it sends, with a new random key for each frame. So the author of a web page cannot
//! choose the bytes on the wire, and cannot make an old proxy take them for an HTTP request (10.3). To mask and to
//! unmask are the same operation:
//!
//! ```text
//!   key       37 fa 21 3d 37
//!   payload    H  e  l  l  o
//!   masked    7f 9f 4d 51 58
//! ```
//!
//! The key is first repeated to 32 bytes, so that the compiler can use vector instructions. For long payloads that is
//! many times as fast as a loop over single bytes.

/// How many bytes are masked in one step: the width of a vector register of AVX2, or two of SSE2 and NEON.
const BLOCK: usize = 32;

/// Masks or unmasks `buf` in place.
///
/// `offset` is the position of `buf[0]` in the payload of the frame. It is not 0 if the payload arrived in parts, and
/// only its remainder by 4 matters.
///
/// ```
/// use bucle::websocket::mask::apply_mask;
///
/// // RFC 6455, 5.7: "A single-frame masked text message".
/// let mut payload = *b"\x7f\x9f\x4d\x51\x58";
/// apply_mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
/// assert_eq!(&payload, b"Hello");
/// ```
#[inline]
pub fn apply_mask(buf: &mut [u8], key: [u8; 4], offset: usize) {
    let key = rotated(u32::from_le_bytes(key), offset);
    // A block is a multiple of four bytes long, so the key begins at its first byte again after it.
    let buf = if buf.len() < BLOCK { buf } else { mask_blocks(buf, key) };
    let len = buf.len();
    // The first and the last bytes, which may overlap. Both are read before one is written, so no byte is masked twice.
    if let (Some(&first), Some(&last)) = (buf.first_chunk::<16>(), buf.last_chunk::<16>()) {
        buf[..16].copy_from_slice(&(u128::from_le_bytes(first) ^ wide(key)).to_le_bytes());
        buf[len - 16..].copy_from_slice(&(u128::from_le_bytes(last) ^ wide(rotated(key, len))).to_le_bytes());
    } else if let (Some(&first), Some(&last)) = (buf.first_chunk::<8>(), buf.last_chunk::<8>()) {
        buf[..8].copy_from_slice(&(u64::from_le_bytes(first) ^ wide(key) as u64).to_le_bytes());
        buf[len - 8..].copy_from_slice(&(u64::from_le_bytes(last) ^ wide(rotated(key, len)) as u64).to_le_bytes());
    } else if let (Some(&first), Some(&last)) = (buf.first_chunk::<4>(), buf.last_chunk::<4>()) {
        buf[..4].copy_from_slice(&(u32::from_le_bytes(first) ^ key).to_le_bytes());
        buf[len - 4..].copy_from_slice(&(u32::from_le_bytes(last) ^ rotated(key, len)).to_le_bytes());
    } else {
        buf.iter_mut().zip(key.to_le_bytes()).for_each(|(byte, key_byte)| *byte ^= key_byte);
    }
}

/// The key, beginning with its byte number `by`. The first byte is the lowest.
#[inline(always)]
fn rotated(key: u32, by: usize) -> u32 {
    key.rotate_right(8 * (by % 4) as u32)
}

/// The key, four times.
#[inline(always)]
fn wide(key: u32) -> u128 {
    let twice = u64::from(key) | u64::from(key) << 32;
    u128::from(twice) | u128::from(twice) << 64
}

/// Masks whole blocks and returns the bytes after them.
fn mask_blocks(buf: &mut [u8], key: u32) -> &mut [u8] {
    let key: [u8; BLOCK] = std::array::from_fn(|at| key.to_le_bytes()[at % 4]);
    let (blocks, tail) = buf.as_chunks_mut::<BLOCK>();
    for block in blocks {
        for (byte, key_byte) in block.iter_mut().zip(key) {
            *byte ^= key_byte;
        }
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::properties::mask_plainly;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn every_length_offset_and_alignment_equals_the_byte_loop() {
        let bytes: Vec<u8> = (0..=255).cycle().take(400).collect();
        for len in (0..=130).chain([255, 256, 257, 300]) {
            for offset in (0..=8).chain([usize::MAX - 1, usize::MAX]) {
                for start in 0..=8 {
                    let (mut fast, mut plain) = (bytes.clone(), bytes.clone());
                    apply_mask(&mut fast[start..start + len], KEY, offset);
                    mask_plainly(&mut plain[start..start + len], KEY, offset);
                    assert_eq!(fast, plain, "{len} bytes from {start} on, at offset {offset}");
                }
            }
        }
    }

    #[test]
    fn a_payload_in_parts_is_masked_as_a_whole() {
        let whole: Vec<u8> = (0..100).collect();
        let mut want = whole.clone();
        apply_mask(&mut want, KEY, 0);
        for i in 0..=whole.len() {
            for j in i..=whole.len() {
                let mut parts = whole.clone();
                apply_mask(&mut parts[..i], KEY, 0);
                apply_mask(&mut parts[i..j], KEY, i);
                apply_mask(&mut parts[j..], KEY, j);
                assert_eq!(parts, want, "cut at {i} and {j}");
            }
        }
    }

    #[test]
    fn masking_twice_gives_the_payload_again() {
        let mut bytes = *b"Hello";
        apply_mask(&mut bytes, KEY, 0);
        assert_eq!(&bytes, b"\x7f\x9f\x4d\x51\x58", "RFC 6455, 5.7");
        apply_mask(&mut bytes, KEY, 0);
        assert_eq!(&bytes, b"Hello");
    }
}
