//! Arguments as MessagePack, and back: JSON with attachments here, values with binary ones in Redis.
//!
//! ```text
//!   here      "hola", {"file":{"_placeholder":true,"num":0}}   and attachment 0
//!   Redis     a4"hola"  81 a4"file" c4 03 <3 bytes>
//! ```
//!
//! The crate `rmp` writes and reads single values. It is low-level on purpose: text goes from one form to the other
//! without a tree of values between them.
//!
//! Node uses `notepack.io`, of which these things are special:
//!
//! * A `Date` is a timestamp (extension −1), or with versions before 3 milliseconds (extension 0 of 8 bytes). It
//!   becomes a string, as in `JSON.stringify`.
//! * `undefined` is nil, or with versions before 3 the extension 0 of one byte: `null` in an array, and in an object
//!   the member is left out.
//! * An `ArrayBuffer` may be the extension 0 of any other length.
//! * Another extension is an array of its number and its bytes.
//! * An integer is written as one, also if JSON has it as `1e3` or `1.0`.
//!
//! Source: [MessagePack](https://github.com/msgpack/msgpack/blob/master/spec.md), and notepack.io 3.0.1.

use std::borrow::Cow;
use std::str;

use rmp::{Marker, decode, encode};

use crate::socket_io::binary;
use crate::socket_io::json::{self, MAX_DEPTH};
use crate::socket_io::malformed::Malformed;

#[cfg(test)]
mod tests;

/// Beyond this, a double does not represent every integer.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// A write to a vector cannot fail.
const TO_MEMORY: &str = "memory is always written to";

/// The number of items as MessagePack has it. No text of this crate is 4 GiB long.
fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

pub(super) fn push_map(out: &mut Vec<u8>, members: usize) {
    encode::write_map_len(out, count(members)).expect(TO_MEMORY);
}

pub(super) fn push_array(out: &mut Vec<u8>, items: usize) {
    encode::write_array_len(out, count(items)).expect(TO_MEMORY);
}

pub(super) fn push_str(out: &mut Vec<u8>, text: &str) {
    encode::write_str(out, text).expect(TO_MEMORY);
}

pub(super) fn push_integer(out: &mut Vec<u8>, number: u64) {
    encode::write_uint(out, number).expect(TO_MEMORY);
}

pub(super) fn push_bool(out: &mut Vec<u8>, value: bool) {
    encode::write_bool(out, value).expect(TO_MEMORY);
}

/// Appends a JSON value. The text was checked.
pub(super) fn push_json(out: &mut Vec<u8>, text: &str, attachments: &[Vec<u8>]) {
    match text.as_bytes().first() {
        Some(b'"') => push_str(out, &json::string(text).unwrap_or_default()),
        Some(b'[') => {
            push_array(out, json::items(text).count());
            for item in json::items(text) {
                push_json(out, item, attachments);
            }
        }
        Some(b'{') => {
            let number = if attachments.is_empty() { None } else { binary::placeholder(text) };
            if let Some(bytes) = number.and_then(|number| attachments.get(number)) {
                return encode::write_bin(out, bytes).expect(TO_MEMORY);
            }
            push_map(out, json::members(text).count());
            for (name, value) in json::members(text) {
                push_str(out, &json::string(name).unwrap_or_default());
                push_json(out, value, attachments);
            }
        }
        Some(b't') => push_bool(out, true),
        Some(b'f') => push_bool(out, false),
        Some(b'n') | None => encode::write_nil(out).expect(TO_MEMORY),
        Some(_) => push_number(out, text),
    }
}

fn push_number(out: &mut Vec<u8>, text: &str) {
    if let Ok(number) = text.parse::<i64>() {
        encode::write_sint(out, number).expect(TO_MEMORY);
    } else if let Ok(number) = text.parse::<u64>() {
        push_integer(out, number);
    } else {
        let number: f64 = text.parse().unwrap_or(f64::NAN);
        if number.fract() == 0.0 && number.abs() <= MAX_SAFE_INTEGER {
            encode::write_sint(out, number as i64).expect(TO_MEMORY);
        } else {
            encode::write_f64(out, number).expect(TO_MEMORY);
        }
    }
}

const CUT_OFF: Malformed = Malformed::new("a value of MessagePack is cut off");
const WRONG_TYPE: Malformed = Malformed::new("a value of MessagePack has another type");

/// Reads MessagePack, value by value. No length that it claims is believed.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// A value that was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Value,
    /// JSON does not have it.
    Undefined,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// There must be nothing behind the last value.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::new("there are bytes behind the last value")) }
    }

    fn marker(&self) -> Result<Marker, Malformed> {
        self.rest.first().map(|byte| Marker::from_u8(*byte)).ok_or(CUT_OFF)
    }

    fn bytes(&mut self, len: u32) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(len as usize).ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub fn array_len(&mut self) -> Result<u32, Malformed> {
        decode::read_array_len(&mut self.rest).map_err(|_| WRONG_TYPE)
    }

    pub fn map_len(&mut self) -> Result<u32, Malformed> {
        decode::read_map_len(&mut self.rest).map_err(|_| WRONG_TYPE)
    }

    /// A string. Bytes that are not UTF-8 become U+FFFD, as in Node.
    pub fn str(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let len = decode::read_str_len(&mut self.rest).map_err(|_| WRONG_TYPE)?;
        Ok(String::from_utf8_lossy(self.bytes(len)?))
    }

    /// A name: a string, or a number, which JavaScript takes for one.
    pub fn name(&mut self) -> Result<Cow<'a, str>, Malformed> {
        match self.marker()? {
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => self.str(),
            _ => {
                let mut text = String::new();
                self.number(&mut text)?;
                Ok(Cow::Owned(json::number(&text).into_owned()))
            }
        }
    }

    /// A number that is not negative, rounded down.
    pub fn integer(&mut self) -> Result<u64, Malformed> {
        let mut text = String::new();
        self.number(&mut text)?;
        // The cast saturates.
        text.parse::<f64>().map(|number| number as u64).map_err(|_| WRONG_TYPE)
    }

    pub fn bool(&mut self) -> Result<bool, Malformed> {
        decode::read_bool(&mut self.rest).map_err(|_| WRONG_TYPE)
    }

    /// Skips a value.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        self.json(&mut String::new(), &mut Vec::new())
    }

    /// Appends a value as JSON, and its binary values to the attachments.
    pub fn json(&mut self, out: &mut String, attachments: &mut Vec<Vec<u8>>) -> Result<(), Malformed> {
        if self.value(out, attachments, 1)? == Read::Undefined {
            out.push_str("null");
        }
        Ok(())
    }

    fn value(&mut self, out: &mut String, attachments: &mut Vec<Vec<u8>>, depth: u32) -> Result<Read, Malformed> {
        use Marker::*;
        if depth > MAX_DEPTH {
            return Err(Malformed::new("a value of MessagePack is nested too deeply"));
        }
        match self.marker()? {
            Null => {
                self.bytes(1)?;
                out.push_str("null");
            }
            True | False => out.push_str(if self.bool()? { "true" } else { "false" }),
            FixStr(_) | Str8 | Str16 | Str32 => json::push_string(out, &self.str()?),
            Bin8 | Bin16 | Bin32 => {
                let len = decode::read_bin_len(&mut self.rest).map_err(|_| CUT_OFF)?;
                push_binary(out, attachments, self.bytes(len)?);
            }
            FixArray(_) | Array16 | Array32 => {
                out.push('[');
                for item in 0..self.array_len()? {
                    if item > 0 {
                        out.push(',');
                    }
                    if self.value(out, attachments, depth + 1)? == Read::Undefined {
                        out.push_str("null");
                    }
                }
                out.push(']');
            }
            FixMap(_) | Map16 | Map32 => {
                out.push('{');
                let mut is_first = true;
                for _ in 0..self.map_len()? {
                    let before = out.len();
                    if !is_first {
                        out.push(',');
                    }
                    json::push_string(out, &self.name()?);
                    out.push(':');
                    match self.value(out, attachments, depth + 1)? {
                        Read::Value => is_first = false,
                        Read::Undefined => out.truncate(before),
                    }
                }
                out.push('}');
            }
            FixExt1 | FixExt2 | FixExt4 | FixExt8 | FixExt16 | Ext8 | Ext16 | Ext32 => {
                return self.extension(out, attachments);
            }
            _ => self.number(out)?,
        }
        Ok(Read::Value)
    }

    /// Appends a number as JSON.
    fn number(&mut self, out: &mut String) -> Result<(), Malformed> {
        use std::fmt::Write;
        let double = match self.marker()? {
            Marker::F32 => decode::read_f32(&mut self.rest).map(f64::from).map_err(|_| CUT_OFF)?,
            Marker::F64 => decode::read_f64(&mut self.rest).map_err(|_| CUT_OFF)?,
            _ => {
                // An i128 has all values of both kinds of integers.
                let number: i128 = decode::read_int(&mut self.rest).map_err(|_| WRONG_TYPE)?;
                let _ = write!(out, "{number}");
                return Ok(());
            }
        };
        if !double.is_finite() {
            out.push_str("null");
        } else if double.fract() == 0.0 && double.abs() <= MAX_SAFE_INTEGER {
            let _ = write!(out, "{}", double as i64);
        } else {
            json::push_value(out, &double).map_err(|_| WRONG_TYPE)?;
        }
        Ok(())
    }

    fn extension(&mut self, out: &mut String, attachments: &mut Vec<Vec<u8>>) -> Result<Read, Malformed> {
        let is_fixed = !matches!(self.marker()?, Marker::Ext8 | Marker::Ext16 | Marker::Ext32);
        let extension = decode::read_ext_meta(&mut self.rest).map_err(|_| CUT_OFF)?;
        let bytes = self.bytes(extension.size)?;
        match (extension.typeid, bytes.len()) {
            (0, 1) if is_fixed => return Ok(Read::Undefined),
            (0, 8) if is_fixed => push_date(out, timestamp(bytes, |bytes| Some(i64::from_be_bytes(bytes) as f64))),
            (0, _) if !is_fixed => push_binary(out, attachments, bytes),
            (-1, 4) => push_date(out, timestamp(bytes, |bytes| Some(f64::from(u32::from_be_bytes(bytes)) * 1e3))),
            (-1, 8) => push_date(
                out,
                timestamp(bytes, |bytes| {
                    let both = u64::from_be_bytes(bytes);
                    let (nanoseconds, seconds) = (both >> 34, both & 0x3_ffff_ffff);
                    Some(seconds as f64 * 1e3 + nanoseconds as f64 / 1e6)
                }),
            ),
            (-1, 12) => {
                let nanoseconds = timestamp(&bytes[..4], |bytes| Some(f64::from(u32::from_be_bytes(bytes))));
                let seconds = timestamp(&bytes[4..], |bytes| Some(i64::from_be_bytes(bytes) as f64));
                push_date(
                    out,
                    seconds.zip(nanoseconds).map(|(seconds, nanoseconds)| seconds * 1e3 + nanoseconds / 1e6),
                );
            }
            (kind, _) => {
                out.push_str(&format!("[{kind},"));
                push_binary(out, attachments, bytes);
                out.push(']');
            }
        }
        Ok(Read::Value)
    }
}

fn push_binary(out: &mut String, attachments: &mut Vec<Vec<u8>>, bytes: &[u8]) {
    out.push_str(&format!(r#"{{"_placeholder":true,"num":{}}}"#, attachments.len()));
    attachments.push(bytes.to_vec());
}

fn timestamp<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> Option<f64>) -> Option<f64> {
    read(bytes.try_into().ok()?)
}

/// How many milliseconds a `Date` may be before or after 1970 (ECMA-262, 21.4.1.1).
const MAX_DATE: f64 = 8.64e15;

/// Appends a `Date`, in milliseconds since 1970, as `JSON.stringify` does.
fn push_date(out: &mut String, milliseconds: Option<f64>) {
    let Some(milliseconds) = milliseconds.map(f64::trunc).filter(|number| number.abs() <= MAX_DATE) else {
        return out.push_str("null");
    };
    let milliseconds = milliseconds as i64;
    let (days, of_day) = (milliseconds.div_euclid(86_400_000), milliseconds.rem_euclid(86_400_000));
    // Days in years that begin in March, so that the leap day is the last one. 719,468 days lie between 0000-03-01 and
    // 1970; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, millisecond) = (of_day / 1000 % 60, of_day % 1000);
    out.push_str(&format!("\"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z\""));
}
