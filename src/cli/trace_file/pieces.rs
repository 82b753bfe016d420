//! Lines, piece by piece.
//!
//! Every record becomes a line or several, so they are put together by hand: what stands between two values is one piece,
//! and a number is digits. Nothing in a trace needs escaping: all names are the loop's own words.

/// Appends pieces to a line: text, numbers, and what else is a [`Piece`].
macro_rules! put {
    ($out:expr, $($piece:expr),* $(,)?) => {{
        let out: &mut Vec<u8> = $out;
        $($crate::cli::trace_file::pieces::Piece::put($piece, out);)*
    }};
}
pub(super) use put;

/// What a line is made of.
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

/// Nanoseconds as the microseconds with a fraction that the format wants, without a detour over floats.
pub(super) struct Micros(pub(super) u64);

impl Piece for Micros {
    fn put(self, out: &mut Vec<u8>) {
        digits(self.0 / 1000, 1, out);
        out.push(b'.');
        digits(self.0 % 1000, 3, out);
    }
}

/// Decimal, with at least so many digits.
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
    fn numbers_are_written_as_display_does() {
        for number in [0, 1, 9, 10, 99, 100, 12_345_678_909, u64::MAX] {
            let mut out = Vec::new();
            put!(&mut out, number, " ", Micros(number));
            let want = format!("{number} {}.{:03}", number / 1000, number % 1000);
            assert_eq!(String::from_utf8(out), Ok(want));
        }
    }
}
