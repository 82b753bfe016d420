//! Compressed answers (RFC 9110, section 8.4): the choice of a coding, and gzip and deflate by `zlib-rs`.
//!
//! ```
//! use bucle::http::compress::{Encoding, compress, negotiate};
//! use bucle::http::{Exchange, HeaderValue, Request, Response};
//! use bucle::Loop;
//!
//! fn on_request(lp: &mut Loop, exchange: Exchange, request: &Request, text: &str) {
//!     let Some(encoding) = negotiate(request.headers()) else {
//!         exchange.respond(lp, Response::new(text));
//!         return;
//!     };
//!     let mut response = Response::new(compress(encoding, text.as_bytes()));
//!     response.headers_mut().insert("content-encoding", HeaderValue::from_static(encoding.as_str()));
//!     exchange.respond(lp, response);
//! }
//! ```
//!
//! Small bodies are not worth it: below about a kilobyte an answer fits into one packet in either form. An answer that
//! a cache may keep needs `Vary: Accept-Encoding`, too (RFC 9110, section 12.5.5).

use std::cmp::Reverse;

use ::http::HeaderMap;
use ::http::header::ACCEPT_ENCODING;
use zlib_rs::{DeflateConfig, ReturnCode, compress_bound, compress_slice};

#[cfg(test)]
mod tests;

/// The level of the compression, 0 to 9: the default of zlib and of Node.
const LEVEL: i32 = 6;

/// The window of 32 KiB, as a power of two: the largest one. Every receiver has it.
const WINDOW_BITS: i32 = 15;

/// Added to the window: zlib writes gzip's header and trailer instead of its own.
const WITH_GZIP_HEADER: i32 = 16;

/// How much longer gzip's header and trailer (RFC 1952) are than zlib's, which `compress_bound` counts: 18 bytes and 6.
const GZIP_OVERHEAD: usize = 12;

/// A coding of a body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// The format of zlib, RFC 1950. Not bare DEFLATE, which RFC 9110 (section 8.4.1.2) does not mean by the name.
    Deflate,
}

impl Encoding {
    /// Those that this side can produce. If a client likes both equally, it gets the first one.
    const ALL: [Encoding; 2] = [Encoding::Gzip, Encoding::Deflate];

    /// The value of `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
        }
    }
}

/// Chooses the coding of an answer from the request's `Accept-Encoding` (RFC 9110, section 12.5.3).
///
/// The result is that of `accepts(request).encodings(["gzip", "deflate"])` of npm's `accepts`, which Engine.IO for Node
/// uses. The highest weight wins. Of two equal weights a name wins over `*`, and then the one that comes first in the
/// field. A coding with weight 0, or with a weight that is not valid, is not used. The weight of `identity` changes
/// nothing: a client that accepts a coding at all gets it.
///
/// `None`: the answer is not compressed. A request without the field accepts everything by the specification; it gets
/// an answer that is not compressed, as from most servers.
///
/// ```
/// use bucle::http::compress::{Encoding, negotiate};
/// use bucle::http::{HeaderMap, HeaderValue};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(negotiate(&headers), None);
/// headers.insert("accept-encoding", HeaderValue::from_static("gzip;q=0.5, deflate, br"));
/// assert_eq!(negotiate(&headers), Some(Encoding::Deflate));
/// ```
pub fn negotiate(request_headers: &HeaderMap) -> Option<Encoding> {
    let fields = request_headers.get_all(ACCEPT_ENCODING).iter();
    let members = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b','));
    let mut wishes: [Option<Wish>; 2] = [None; 2];
    for (place, member) in members.enumerate() {
        let (name, weight) = parse_member(member);
        for (encoding, wish) in Encoding::ALL.iter().zip(&mut wishes) {
            let is_named = name.eq_ignore_ascii_case(encoding.as_str().as_bytes());
            // The weight of a name is stronger than that of `*`.
            let is_stronger = |wish: Wish| (is_named, weight) > (wish.is_named, wish.weight);
            if (is_named || name == b"*") && wish.is_none_or(is_stronger) {
                *wish = Some(Wish { weight, is_named, place });
            }
        }
    }
    let wishes = Encoding::ALL.into_iter().zip(wishes).filter_map(|(encoding, wish)| Some((encoding, wish?)));
    let accepted = wishes.filter(|(_, wish)| wish.weight > 0);
    let best = accepted.min_by_key(|(_, wish)| (Reverse((wish.weight, wish.is_named)), wish.place));
    best.map(|(encoding, _)| encoding)
}

/// The weight that a request gives to one coding.
#[derive(Clone, Copy)]
struct Wish {
    /// In thousandths.
    weight: u16,
    /// By its name and not by `*`.
    is_named: bool,
    /// Its place in the list.
    place: usize,
}

/// The name of a coding and its weight, 1 if none is given: `gzip;q=0.5`.
fn parse_member(member: &[u8]) -> (&[u8], u16) {
    let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| match part {
        [b'q' | b'Q', b'=', weight @ ..] => Some(parse_weight(weight).unwrap_or(0)),
        _ => None,
    });
    (name, weight.unwrap_or(1000))
}

/// A weight in thousandths: `0` or `1`, perhaps with a point and at most three digits (RFC 9110, section 12.4.2).
fn parse_weight(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut weight = 0;
    for place in 0..4 {
        let digit = if place == 0 { *whole } else { *decimals.get(place - 1).unwrap_or(&b'0') };
        weight = 10 * weight + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (weight <= 1000).then_some(weight)
}

/// Compresses a whole body.
///
/// The stream that does it has about 300 KiB, and is freed before this returns. To keep one in each loop would save
/// less than 10 µs for a body of some kilobytes, and the memory would be taken from every loop that has once compressed
/// an answer.
///
/// ```
/// use bucle::http::compress::{Encoding, compress};
///
/// let body = "hola ".repeat(1000);
/// assert!(compress(Encoding::Gzip, body.as_bytes()).len() < 100);
/// ```
pub fn compress(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let mut config = DeflateConfig::new(LEVEL);
    config.window_bits = match encoding {
        Encoding::Gzip => WINDOW_BITS + WITH_GZIP_HEADER,
        Encoding::Deflate => WINDOW_BITS,
    };
    let mut out = vec![0; compress_bound(body.len()) + GZIP_OVERHEAD];
    let (compressed, code) = compress_slice(&mut out, body, config);
    assert!(code == ReturnCode::Ok, "the settings are valid and there is room for every result");
    let len = compressed.len();
    out.truncate(len);
    out
}
