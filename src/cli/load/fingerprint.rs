//! A number that distinguishes the messages of one run from those of another, for `--compare`.
//!
//! FNV-1a with 64 bits. It is calculated from the parts of the messages one after the other, so a large file takes no
//! more memory. It must stay the same in later versions, because it is compared with earlier reports.

/// The number while it is calculated.
#[derive(Debug)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn new() -> Fingerprint {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a part of this kind. Its length comes first, so that parts cannot be confused with their neighbours.
    pub(crate) fn add(&mut self, kind: u8, content: &[u8]) {
        let len = (content.len() as u64).to_le_bytes();
        for &byte in [kind].iter().chain(&len).chain(content) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// 16 hexadecimal digits.
    pub(crate) fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_not_confused() {
        let of = |parts: &[(u8, &[u8])]| {
            let mut fingerprint = Fingerprint::new();
            parts.iter().for_each(|&(kind, content)| fingerprint.add(kind, content));
            fingerprint.text()
        };
        let all = [of(&[]), of(&[(1, b"ab")]), of(&[(2, b"ab")]), of(&[(1, b"a"), (1, b"b")]), of(&[(1, b"a")])];
        assert!(all.iter().enumerate().all(|(i, text)| !all[..i].contains(text)), "{all:?}");
        assert_eq!(all[0], "cbf29ce484222325");
    }
}
