//! The parts of a message that are made from numbers: decimal digits, and random letters.
//!
//! Random letters are made again whenever a reply is compared with them, in any part of their text. So ten of them come
//! from one number, which depends only on the state and on their place.

use std::ops::Deref;

/// The letters and digits, and two of them once more, so that six random bits choose one of 64.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789ab";

/// The decimal digits of a number, on the stack.
pub(super) struct Digits {
    digits: [u8; 20],
    start: usize,
}

impl Digits {
    pub(super) fn of(number: u64) -> Digits {
        let (mut digits, mut start, mut left) = ([0; 20], 20, number);
        loop {
            start -= 1;
            digits[start] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                return Digits { digits, start };
            }
        }
    }
}

impl Deref for Digits {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// How many letters are made from one random number.
const LETTERS_AT_ONCE: usize = 10;

/// Ten random letters: number `nth` of those that are made from `state`.
fn ten_letters(state: u64, nth: usize) -> [u8; LETTERS_AT_ONCE] {
    let mut bits = mix(state.wrapping_add((nth as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    std::array::from_fn(|_| {
        let letter = LETTERS[(bits & 63) as usize];
        bits >>= 6;
        letter
    })
}

/// Appends `len` random letters to `out`. The same `state` gives the same letters.
pub(super) fn push_letters(state: u64, len: usize, out: &mut Vec<u8>) {
    out.reserve(len);
    for nth in 0..len.div_ceil(LETTERS_AT_ONCE) {
        let left = len - nth * LETTERS_AT_ONCE;
        out.extend_from_slice(&ten_letters(state, nth)[..left.min(LETTERS_AT_ONCE)]);
    }
}

/// How many bytes of `got` are the random letters from number `at` on.
pub(super) fn common_letters(state: u64, at: usize, got: &[u8]) -> usize {
    let mut agreed = 0;
    while agreed < got.len() {
        let (nth, skip) = ((at + agreed) / LETTERS_AT_ONCE, (at + agreed) % LETTERS_AT_ONCE);
        let rest = &got[agreed..got.len().min(agreed + LETTERS_AT_ONCE - skip)];
        let n = common_beginning(&ten_letters(state, nth)[skip..], rest);
        agreed += n;
        if n < rest.len() {
            break;
        }
    }
    agreed
}

/// How many bytes at the beginning are equal.
pub(super) fn common_beginning(one: &[u8], other: &[u8]) -> usize {
    let len = one.len().min(other.len());
    if one[..len] == other[..len] {
        return len;
    }
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// The finisher of SplitMix64 (Steele, Lea and Flood, 2014): a change of one bit in the argument changes half the bits
/// of the result.
pub(super) fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
