//! Received bytes as lines.

use memchr::memchr;

/// Splits the bytes of a connection into lines, for a fan-out.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buf: Vec<u8>,
    /// Whether the line is too long, and its bytes are dropped until its end.
    skips: bool,
}

impl Lines {
    /// Takes in `chunk` and passes each complete line, with its line break, to `emit`. A line of more than `limit`
    /// bytes is dropped.
    pub(crate) fn feed(&mut self, chunk: &[u8], limit: usize, mut emit: impl FnMut(&[u8])) {
        let mut rest = chunk;
        while let Some(at) = memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(at + 1);
            rest = behind;
            if std::mem::take(&mut self.skips) {
                continue;
            }
            let mut whole = std::mem::take(&mut self.buf);
            let line = if whole.is_empty() {
                line
            } else {
                whole.extend_from_slice(line);
                &whole
            };
            if line.len() <= limit {
                emit(line);
            }
        }
        if !self.skips {
            self.buf.extend_from_slice(rest);
        }
        if self.buf.len() > limit {
            (self.buf, self.skips) = (Vec::new(), true);
        }
    }
}

/// The bytes after the first line break, if there is one.
pub(crate) fn behind_line(chunk: &[u8]) -> Option<&[u8]> {
    memchr(b'\n', chunk).map(|at| &chunk[at + 1..])
}

/// A line without its `\n` or `\r\n`.
pub(super) fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
