//! Binary values inside JSON: attachments.
//!
//! JSON has no binary values. Each one is replaced by a *placeholder*, and its bytes follow the packet as a binary
//! message, an *attachment*:
//!
//! ```text
//!   emit("image", {"name":"a","file":<3 bytes>})
//!
//!   text     51-["image",{"name":"a","file":{"_placeholder":true,"num":0}}]
//!   binary   <3 bytes>                                                    └ attachment 0
//! ```
//!
//! # With Rust types
//!
//! A [`Binary`] in a type that implements `Serialize` and `Deserialize` is such a value, at any depth. To serde it is a
//! placeholder; the bytes do not pass through serde. While this crate encodes or decodes arguments, the attachments of
//! the packet are in a variable of the thread, where `Binary` puts them or copies them from. So a type can have
//! `#[serde(flatten)]`, and any other attribute, around its binary values.
//!
//! # Received packets
//!
//! A [`Reconstructor`] keeps a binary packet until its attachments have come. Nothing may come between them. Its
//! placeholders are checked immediately, as `socket.io-parser` does after the last attachment:
//!
//! * `num` must be the number of an attachment. Otherwise the packet is refused.
//! * Two placeholders may have the same attachment, and an attachment may have no placeholder.
//! * An object whose `_placeholder` is not `true` is data; so is every placeholder in a packet without attachments.
//!
//! One text is refused that Node reads: with a wrong placeholder inside another placeholder.

use std::cell::RefCell;
use std::sync::Arc;
use std::{fmt, mem};

use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{self, Serialize, SerializeStruct, Serializer};

use super::json::{self, MAX_DEPTH, Token};
use super::malformed::Malformed;
use super::packet::{self, Limits, Packet};

#[cfg(test)]
mod tests;

/// The attachments of a received packet. They are shared, so that arguments can be kept without a copy.
pub type Attachments = Arc<[Vec<u8>]>;

/// A binary value: `Buffer`, `ArrayBuffer` or `Blob` in JavaScript.
///
/// It can be serialized only as part of the arguments of an event or an acknowledgement, and deserialized only from
/// received ones. Elsewhere serde gets an error. So it cannot be in a `serde_json::Value`.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Binary(pub Vec<u8>);

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Binary {
        Binary(bytes)
    }
}

impl From<&[u8]> for Binary {
    fn from(bytes: &[u8]) -> Binary {
        Binary(bytes.to_vec())
    }
}

impl<const N: usize> From<[u8; N]> for Binary {
    fn from(bytes: [u8; N]) -> Binary {
        Binary(bytes.to_vec())
    }
}

impl AsRef<[u8]> for Binary {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

thread_local! {
    /// For the arguments that are serialized at the moment.
    static ENCODING: RefCell<Option<Encoding>> = const { RefCell::new(None) };
    /// For the arguments that are deserialized at the moment.
    static DECODING: RefCell<Option<Attachments>> = const { RefCell::new(None) };
}

struct Encoding {
    attachments: Vec<Vec<u8>>,
    /// How many of them belong to other packets.
    others: usize,
}

/// Calls `encode`, and appends the bytes of each `Binary` that it serializes to `attachments`. The first `others` of
/// these belong to other packets.
pub(super) fn collect<T>(attachments: &mut Vec<Vec<u8>>, others: usize, encode: impl FnOnce() -> T) -> T {
    /// Gives the attachments back, also when `encode` panics.
    struct Restore<'a> {
        attachments: &'a mut Vec<Vec<u8>>,
        outer: Option<Encoding>,
    }
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            if let Some(encoding) = ENCODING.replace(self.outer.take()) {
                *self.attachments = encoding.attachments;
            }
        }
    }
    let outer = ENCODING.replace(Some(Encoding { attachments: mem::take(attachments), others }));
    let _restore = Restore { attachments, outer };
    encode()
}

/// Calls `decode`, in which a `Binary` can be deserialized.
pub(super) fn lend<T>(attachments: Option<&Attachments>, decode: impl FnOnce() -> T) -> T {
    struct Restore(Option<Attachments>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DECODING.set(self.0.take());
        }
    }
    let _restore = Restore(DECODING.replace(attachments.cloned()));
    decode()
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = ENCODING.with_borrow_mut(|encoding| {
            let Encoding { attachments, others } = encoding.as_mut()?;
            attachments.push(self.0.clone());
            Some(attachments.len() - 1 - *others)
        });
        let number = number.ok_or_else(|| {
            ser::Error::custom(
                "a Binary can be serialized only as part of the arguments of an event or acknowledgement",
            )
        })?;
        let mut placeholder = serializer.serialize_struct("Binary", 2)?;
        placeholder.serialize_field("_placeholder", &true)?;
        placeholder.serialize_field("num", &number)?;
        placeholder.end()
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Binary, D::Error> {
        let Placeholder(number) = Placeholder::deserialize(deserializer)?;
        let bytes = DECODING.with_borrow(|attachments| {
            let attachments = attachments.as_ref().ok_or(
                "a Binary can be deserialized only from the arguments of an event or acknowledgement with attachments",
            )?;
            attachments.get(number).cloned().ok_or("there is no attachment of this number")
        });
        bytes.map(Binary).map_err(de::Error::custom)
    }
}

/// A placeholder, with the number of its attachment.
struct Placeholder(usize);

impl<'de> Deserialize<'de> for Placeholder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Placeholder, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Placeholder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a binary value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Placeholder, A::Error> {
                let (mut is_placeholder, mut number) = (false, None);
                while let Some(member) = map.next_key()? {
                    match member {
                        Member::Placeholder => is_placeholder = map.next_value()?,
                        Member::Number => number = index(map.next_value()?),
                        Member::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let number = number.filter(|_| is_placeholder);
                number.map(Placeholder).ok_or_else(|| de::Error::custom("expected a binary value, found an object"))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The members that matter. Of several with the same name the last one counts, as in JavaScript.
#[derive(Clone, Copy)]
enum Member {
    Placeholder,
    Number,
    Other,
}

impl Member {
    fn of(name: &str) -> Member {
        match name {
            "_placeholder" => Member::Placeholder,
            "num" => Member::Number,
            _ => Member::Other,
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Member;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Member, E> {
                Ok(Member::of(name))
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

/// A number as an index. JavaScript has one type of number, so `0`, `0.0` and `-0` are the same index.
fn index(number: f64) -> Option<usize> {
    (number >= 0.0 && number.fract() == 0.0 && number < 1e9).then_some(number as usize)
}

/// The members of an object that make it a placeholder.
#[derive(Clone, Copy, Default)]
struct Members {
    is_placeholder: bool,
    number: Option<usize>,
}

/// The number of the attachment of which `text`, a JSON value, is the placeholder.
pub(super) fn placeholder(text: &str) -> Option<usize> {
    let mut last = Members::default();
    if text.starts_with('{') {
        for_each_container(text, |members| last = members);
    }
    last.number.filter(|_| last.is_placeholder)
}

/// Checks that every placeholder in `data`, a JSON value, has the number of one of `count` attachments.
pub(super) fn check_placeholders(data: &str, count: usize) -> Result<(), Malformed> {
    let mut is_right = true;
    for_each_container(data, |members| {
        is_right &= !members.is_placeholder || members.number.is_some_and(|number| number < count);
    });
    if is_right { Ok(()) } else { Err(Malformed::new("a placeholder has no attachment")) }
}

/// Visits the objects and arrays of a text that was checked to be JSON, each after those inside it. The last one is the
/// outermost. Arrays have no members.
fn for_each_container(text: &str, mut visit: impl FnMut(Members)) {
    // The first level is outside of everything.
    let mut levels = [Members::default(); MAX_DEPTH as usize + 1];
    let (mut depth, mut member) = (0, Member::Other);
    for token in json::tokens(text) {
        let value = match token {
            Token::Name(name) => {
                member = json::string(name).map_or(Member::Other, |name| Member::of(&name));
                continue;
            }
            Token::Close => {
                visit(levels[depth]);
                depth = depth.saturating_sub(1);
                continue;
            }
            Token::Value(value) => value,
            Token::Open => "",
        };
        match member {
            Member::Placeholder => levels[depth].is_placeholder = value == "true",
            Member::Number => levels[depth].number = value.parse().ok().and_then(index),
            Member::Other => {}
        }
        member = Member::Other;
        if token == Token::Open {
            depth += 1;
            // No text that was checked has more levels.
            let Some(level) = levels.get_mut(depth) else { return };
            *level = Members::default();
        }
    }
}

/// Puts packets together: a text message and the attachments that follow it. One for each connection.
///
/// After [`Malformed`] the connection must be closed. The reconstructor has dropped the packet.
///
/// Memory: eight bytes between packets. A packet that waits for attachments has at most
/// [`max_bytes`](Limits::max_bytes) bytes; the number of attachments that it claims costs nothing.
#[derive(Default, Debug)]
pub struct Reconstructor {
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    text: String,
    attachments: Vec<Vec<u8>>,
    /// How many attachments the packet has in all. More than there are in `attachments`.
    expected: usize,
    /// How many bytes may still come.
    allowed: usize,
}

impl Reconstructor {
    /// Handles a text message. Returns its packet, or `None` if attachments must come first.
    pub fn text<'a>(&mut self, text: &'a str, limits: &Limits) -> Result<Option<Packet<'a>>, Malformed> {
        if self.waiting.take().is_some() {
            return Err(Malformed::new("a text came instead of an attachment"));
        }
        let packet = packet::parse(text, limits)?;
        if packet.attachments == 0 {
            return Ok(Some(packet));
        }
        check_placeholders(packet.data.unwrap_or_default(), packet.attachments)?;
        let allowed = limits.max_bytes.checked_sub(text.len()).ok_or(TOO_LARGE)?;
        let expected = packet.attachments;
        self.waiting = Some(Box::new(Waiting { text: text.to_owned(), attachments: Vec::new(), expected, allowed }));
        Ok(None)
    }

    /// Handles a binary message. Returns the packet if this was its last attachment.
    pub fn binary(&mut self, bytes: impl AsRef<[u8]> + Into<Vec<u8>>) -> Result<Option<Reconstructed>, Malformed> {
        let mut waiting = self.waiting.take().ok_or(Malformed::new("an attachment came without a packet"))?;
        waiting.allowed = waiting.allowed.checked_sub(bytes.as_ref().len()).ok_or(TOO_LARGE)?;
        waiting.attachments.push(bytes.into());
        if waiting.attachments.len() < waiting.expected {
            self.waiting = Some(waiting);
            return Ok(None);
        }
        Ok(Some(Reconstructed { text: waiting.text, attachments: waiting.attachments.into() }))
    }

    /// Whether the next message must be an attachment.
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }
}

const TOO_LARGE: Malformed = Malformed::new("the packet and its attachments are too large");

/// A packet with all its attachments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reconstructed {
    /// A packet that `packet::parse` accepted.
    text: String,
    attachments: Attachments,
}

impl Reconstructed {
    /// The packet.
    pub fn packet(&self) -> Packet<'_> {
        packet::split(&self.text, &Limits::NONE).expect("this text was parsed when it came")
    }

    /// Its attachments, at least one.
    pub fn attachments(&self) -> &Attachments {
        &self.attachments
    }
}
