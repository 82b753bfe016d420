//! `--crlf`: lines that end in `\n` are sent with `\r\n`, as HTTP, SMTP and other protocols of the internet require.

use std::borrow::Cow;

/// Converts line breaks of what is sent, wherever the reads fall.
pub(super) struct Breaks {
    crlf: bool,
    /// The last byte was `\r`: a `\n` after it is a whole break.
    is_after_cr: bool,
}

impl Breaks {
    pub(super) fn new(crlf: bool) -> Breaks {
        Breaks { crlf, is_after_cr: false }
    }

    /// The next bytes to send. Breaks that are `\r\n` already stay.
    pub(super) fn convert<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.crlf {
            return bytes.into();
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        for &byte in bytes {
            if byte == b'\n' && !self.is_after_cr {
                out.push(b'\r');
            }
            out.push(byte);
            self.is_after_cr = byte == b'\r';
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaks_do_not_depend_on_the_reads() {
        let (bytes, want) = (b"a\nb\r\n\n\rc\r\r\nd", b"a\r\nb\r\n\r\n\rc\r\r\nd".as_slice());
        for cut in 0..=bytes.len() {
            let mut breaks = Breaks::new(true);
            let (one, two) = bytes.split_at(cut);
            let sent = [breaks.convert(one).into_owned(), breaks.convert(two).into_owned()].concat();
            assert_eq!(sent, want, "cut at {cut}");
        }
        assert_eq!(*Breaks::new(false).convert(bytes), *bytes);
    }
}
