//! Plain versions of fast code, for comparisons.

/// The loop of RFC 6455, 5.3: one byte at a time.
pub(super) fn mask_plainly(buf: &mut [u8], key: [u8; 4], offset: usize) {
    for (i, byte) in buf.iter_mut().enumerate() {
        *byte ^= key[(offset % 4 + i) % 4];
    }
}
