//! What must hold for every input, whoever thought it up.
//!
//! A *property* takes any bytes and panics if what is tried does with them what it never may. The first bytes choose
//! limits, policies and where the reads fall; the rest is what the peer sends:
//!
//! ```text
//!   input      10 │ 02  03 05 │ h o l | a \r \n a d | i ó s \n
//!              │    │   └ lengths of the first chunks; the last takes the rest
//!              │    └ how many those are
//!              └ the property's own: here, the longest line
//! ```
//!
//! Each stands beside the machine it is about, sees its private parts, and is run by two: for hours by the fuzz targets
//! in `fuzz/`, which come in through this module, and for a second by the test below.

#[cfg(test)]
mod tests;

/// Bytes ⇄ telnet events, and the options that are negotiated in them.
pub fn telnet_codec(input: &[u8]) {
    crate::telnet::codec::properties::hold_for(input);
    crate::telnet::negotiation::properties::hold_for(input);
}

/// The line splitter, with and without its breaks.
pub fn lines(input: &[u8]) {
    crate::telnet::lines::properties::hold_for(input);
}

/// Text out of bytes, across reads.
pub fn utf8(input: &[u8]) {
    crate::net::utf8_properties_hold_for(input);
}

/// Servers, their peers and the kernel, all of which do what the bytes say.
pub fn server(input: &[u8]) {
    crate::faults::chance::hold_for(input);
}

/// An input that is being taken apart from the front.
pub(crate) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; zeros when there are no more.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// All that is left, cut as its first bytes say. Chunks may be empty.
    pub(crate) fn chunks(&mut self) -> Vec<&'a [u8]> {
        let count = usize::from(self.byte() % 8);
        let lengths: Vec<u8> = (0..count).map(|_| self.byte()).collect();
        let mut chunks = Vec::with_capacity(count + 1);
        for len in lengths {
            let (chunk, rest) = self.0.split_at(self.0.len().min(len.into()));
            chunks.push(chunk);
            self.0 = rest;
        }
        chunks.push(std::mem::take(&mut self.0));
        chunks
    }
}

/// The ways one stream of bytes may arrive: whole, byte by byte, and as `chunks` has it.
pub(crate) fn arrivals<'a>(bytes: &'a [u8], chunks: &[&'a [u8]]) -> [(&'static str, Vec<&'a [u8]>); 3] {
    [("whole", vec![bytes]), ("byte by byte", bytes.chunks(1).collect()), ("cut", chunks.to_vec())]
}
