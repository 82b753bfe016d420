//! The two classes of bytes that the rules of heads and of chunks are made of.

/// A character of a token, such as a method or the name of a field (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A byte of the value of a field (RFC 9110, section 5.5): a blank, a tab, a visible character, or not ASCII.
pub(super) fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
