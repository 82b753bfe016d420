//! Builds lines of JSON from pieces.
//!
//! Every record becomes one or more lines, so speed matters and the lines are assembled by hand: text between two
//! values is one piece, a number is another. No text needs escaping, because all names in a trace come from the loop
//! itself.

/// Appends pieces to a line: text, numbers, and other values that are a [`Piece`].
macro_rules! put {
    ($out:expr, $($piece:expr),* $(,)?) => {{
        let out: &mut Vec<u8> = $out;
        $($crate::event_loop::trace::chrome::pieces::Piece::put($piece, out);)*
    }};
}
pub(super) use put;

/// A part of a line.
pub(super) trait Piece {
    fn put(self, out: &mut Vec<u8>);
}

impl Piece for &str {
    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Piece for u64 {
    fn put(self, out: &mut Vec<u8>) {
        digits(self, 1, out);
    }
}

impl Piece for u32 {
    fn put(self, out: &mut Vec<u8>) {
        digits(self.into(), 1, out);
    }
}

/// Nanoseconds, written as microseconds with three decimals, which is the unit of the format. Exact: no floats.
pub(super) struct Micros(pub(super) u64);

impl Piece for Micros {
    fn put(self, out: &mut Vec<u8>) {
        digits(self.0 / 1000, 1, out);
        out.push(b'.');
        digits(self.0 % 1000, 3, out);
    }
}

/// Writes a decimal number with at least `at_least` digits.
fn digits(mut number: u64, at_least: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut start = text.len();
    while number > 0 {
        start -= 1;
        text[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&text[start.min(text.len() - at_least)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_by_display() {
        for number in [0, 1, 9, 10, 99, 100, 12_345_678_909, u64::MAX] {
            let mut out = Vec::new();
            put!(&mut out, number, " ", Micros(number));
            let want = format!("{number} {}.{:03}", number / 1000, number % 1000);
            assert_eq!(String::from_utf8(out), Ok(want));
        }
    }
}
