//! The input of a property: fields first, then a stream of bytes that arrives in several ways.

/// An input that is consumed from the front.
pub(crate) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte, or 0 after the last one.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    /// The rest of the input as a list of chunks. Its first bytes give their number and lengths; a chunk may be empty.
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

/// Three ways in which the same stream may arrive: as one chunk, byte by byte, and cut into `chunks`.
pub(crate) fn arrivals<'a>(bytes: &'a [u8], chunks: &[&'a [u8]]) -> [(&'static str, Vec<&'a [u8]>); 3] {
    [("whole", vec![bytes]), ("byte by byte", bytes.chunks(1).collect()), ("cut", chunks.to_vec())]
}
