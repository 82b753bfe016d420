//! A decoder of DEFLATE as RFC 1951 describes it, bit by bit: slow, and short enough to be checked by reading. The
//! tests compare [`Inflater`](super::Inflater) with it.

use super::stream::MAX_STREAMS;

/// The contents of a message.
pub(super) struct Plain {
    pub out: Vec<u8>,
    /// The largest distance of a repetition; 0 if there is none.
    pub farthest: usize,
}

/// Decodes one message without context. `None` if it is corrupt, or does not end as RFC 7692 (7.2.2) requires.
pub(super) fn decode(payload: &[u8]) -> Option<Plain> {
    let wire = [payload, &[0x00, 0x00, 0xff, 0xff]].concat();
    let mut decoder =
        Decoder { wire: &wire, at: 0, payload_bits: 8 * payload.len(), stream_start: 0, out: Vec::new(), farthest: 0 };
    let mut streams = 0;
    loop {
        let is_final = decoder.bits(1)? == 1;
        match decoder.bits(2)? {
            0 => decoder.stored_block()?,
            1 => decoder.codes_block(&Codes::fixed_lengths(), &Codes::of(&[5; 32], false)?)?,
            2 => decoder.dynamic_block()?,
            _ => return None,
        }
        if is_final {
            streams += 1;
            decoder.at = decoder.at.next_multiple_of(8);
            decoder.stream_start = decoder.out.len();
        }
        let is_complete = decoder.at.div_ceil(8) == wire.len() || (is_final && decoder.at == decoder.payload_bits);
        if is_complete {
            return Some(Plain { out: decoder.out, farthest: decoder.farthest });
        }
        if streams > MAX_STREAMS {
            return None;
        }
    }
}

struct Decoder<'a> {
    wire: &'a [u8],
    /// The next bit.
    at: usize,
    /// Where the tail begins. No output may need a bit of it.
    payload_bits: usize,
    /// Where the output of this stream begins: a repetition cannot refer to an earlier byte.
    stream_start: usize,
    out: Vec<u8>,
    farthest: usize,
}

impl Decoder<'_> {
    /// The next bits as a number, the first one lowest (3.1.1).
    fn bits(&mut self, count: usize) -> Option<usize> {
        let mut number = 0;
        for place in 0..count {
            let byte = *self.wire.get(self.at / 8)?;
            number |= usize::from(byte >> (self.at % 8) & 1) << place;
            self.at += 1;
        }
        Some(number)
    }

    /// 3.2.4.
    fn stored_block(&mut self) -> Option<()> {
        self.at = self.at.next_multiple_of(8);
        let (len, complement) = (self.bits(16)?, self.bits(16)?);
        if len != !complement & 0xffff {
            return None;
        }
        for _ in 0..len {
            let byte = self.bits(8)? as u8;
            self.push(byte)?;
        }
        Some(())
    }

    /// 3.2.7.
    fn dynamic_block(&mut self) -> Option<()> {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let (literals, distances) = (self.bits(5)? + 257, self.bits(5)? + 1);
        let count = self.bits(4)? + 4;
        if literals > 286 || distances > 30 {
            return None;
        }
        let mut lengths = [0; 19];
        for place in &ORDER[..count] {
            lengths[*place] = self.bits(3)? as u8;
        }
        let codes = Codes::of(&lengths, false)?;
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (repeated, times) = match self.symbol(&codes)? {
                16 => (*lengths.last()?, 3 + self.bits(2)?),
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length as u8, 1),
            };
            lengths.extend(std::iter::repeat_n(repeated, times));
        }
        if lengths.len() > literals + distances || lengths[256] == 0 {
            return None;
        }
        let (literals, distances) = lengths.split_at(literals);
        self.codes_block(&Codes::of(literals, true)?, &Codes::of(distances, true)?)
    }

    /// 3.2.5.
    fn codes_block(&mut self, literals: &Codes, distances: &Codes) -> Option<()> {
        loop {
            match self.symbol(literals)? {
                byte @ 0..=255 => self.push(byte as u8)?,
                256 => return Some(()),
                symbol => {
                    let len = match symbol - 257 {
                        near @ 0..8 => near + 3,
                        28 => 258,
                        far @ 8..28 => ((far % 4 + 4) << (far / 4 - 1)) + self.bits(far / 4 - 1)? + 3,
                        _ => return None,
                    };
                    let distance = match self.symbol(distances)? {
                        near @ 0..4 => near + 1,
                        far @ 4..30 => ((far % 2 + 2) << (far / 2 - 1)) + self.bits(far / 2 - 1)? + 1,
                        _ => return None,
                    };
                    if distance > self.out.len() - self.stream_start {
                        return None;
                    }
                    self.farthest = self.farthest.max(distance);
                    for _ in 0..len {
                        self.push(self.out[self.out.len() - distance])?;
                    }
                }
            }
        }
    }

    fn symbol(&mut self, codes: &Codes) -> Option<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for &count in &codes.counts[1..] {
            code = code << 1 | self.bits(1)?;
            first <<= 1;
            if code < first + count {
                return Some(codes.symbols[index + code - first]);
            }
            first += count;
            index += count;
        }
        None
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        self.out.push(byte);
        (self.at <= self.payload_bits).then_some(())
    }
}

/// A Huffman code (3.2.2): how many codes have each length, and the symbols in the order of their codes.
struct Codes {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Codes {
    /// `None` if there are more codes than the lengths allow, or fewer, as in zlib. A code with one symbol, or none,
    /// may be incomplete if `may_be_single`.
    fn of(lengths: &[u8], may_be_single: bool) -> Option<Codes> {
        let (mut counts, mut symbols) = ([0; 16], Vec::new());
        for length in 1..16 {
            for (symbol, _) in lengths.iter().enumerate().filter(|(_, of)| **of == length) {
                counts[usize::from(length)] += 1;
                symbols.push(symbol);
            }
        }
        let used: usize = (1..16).map(|length| counts[length] << (15 - length)).sum();
        let is_single = counts[1..].iter().sum::<usize>() == counts[1] && counts[1] <= 1;
        let is_legal = used == 1 << 15 || (used < 1 << 15 && may_be_single && is_single);
        is_legal.then_some(Codes { counts, symbols })
    }

    /// 3.2.6. Symbols 286 and 287 have codes but no meaning, and so have the distances 30 and 31.
    fn fixed_lengths() -> Codes {
        let lengths: Vec<u8> = (0..288)
            .map(|symbol| match symbol {
                0..144 => 8,
                144..256 => 9,
                256..280 => 7,
                _ => 8,
            })
            .collect();
        Codes::of(&lengths, false).expect("a complete code")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_complete_or_has_at_most_one_symbol_of_one_bit() {
        let table: &[(&[u8], bool, bool)] = &[
            // Lengths, legal if it may be single, legal otherwise.
            (&[], true, false),
            (&[0, 0], true, false),
            (&[0, 1], true, false),
            (&[1, 1], true, true),
            (&[1, 2, 2], true, true),
            (&[2, 2, 2, 2], true, true),
            (&[2], false, false),
            (&[1, 2], false, false),
            (&[2, 2, 2], false, false),
            (&[1, 1, 1], false, false),
            (&[1, 1, 15], false, false),
        ];
        for (lengths, as_single, otherwise) in table {
            let is_legal = [true, false].map(|may_be_single| Codes::of(lengths, may_be_single).is_some());
            assert_eq!(is_legal, [*as_single, *otherwise], "{lengths:?}");
        }
    }
}
