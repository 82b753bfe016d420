//! Arguments: the values that an event or an acknowledgement carries.
//!
//! ```text
//!   2["say", "hola", {"to":["a","b"]}]
//!      name   0       1                   the arguments of the event
//!   37["bien"]
//!      0                                  the argument of an acknowledgement
//! ```
//!
//! Received arguments are borrowed from the packet. A program reads single ones, as text ([`Arguments::text`]), bytes
//! ([`Arguments::binary`]) or any type ([`Arguments::get`]), reads all of them into a tuple ([`Arguments::parse`]), or
//! passes them on: [`Arguments`] can be sent again, byte for byte, and nothing in them is read for that.
//!
//! Values that can be sent are those of [`IntoArguments`]. [`encode_event`] and [`encode_ack`] append a packet to a
//! text that the caller reuses, so that a packet needs no allocation.
//!
//! ```
//! use bucle::socket_io::arguments::{Arguments, Header, encode_ack};
//! use bucle::socket_io::packet::{self, Limits};
//!
//! let packet = packet::parse(r#"27["sum",19,23]"#, &Limits::default())?;
//! let (name, arguments) = Arguments::of_event(&packet, None);
//! assert_eq!(name, "sum");
//! let (a, b): (i32, i32) = arguments.parse()?;
//!
//! let (mut text, mut attachments) = (String::new(), Vec::new());
//! encode_ack(&mut text, &mut attachments, &Header::new("/", packet.id), &(a + b))?;
//! assert_eq!(text, "37[42]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;
use std::{error, fmt};

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, forward_to_deserialize_any};
use serde_json::Value;

use super::binary::{self, Attachments, Binary};
use super::json::{self, Items};
use super::malformed::Malformed;
use super::packet::{self, MAX_ATTACHMENTS, Packet, PacketType, RESERVED_EVENTS};

#[cfg(test)]
mod tests;

/// Received arguments, borrowed from a packet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Arguments<'a> {
    /// A list of JSON values: an array without brackets.
    list: &'a str,
    attachments: Option<&'a Attachments>,
}

impl<'a> Arguments<'a> {
    /// The name of an event, and its arguments. `attachments` are those of the packet, if it has any.
    ///
    /// A name that is a number becomes a string, as where JavaScript takes it for the name of a listener.
    pub fn of_event(packet: &Packet<'a>, attachments: Option<&'a Attachments>) -> (Cow<'a, str>, Arguments<'a>) {
        let mut items = json::items(packet.data.unwrap_or_default());
        let name = items.next().unwrap_or_default();
        let name = json::string(name).unwrap_or_else(|| json::number(name));
        (name, Arguments { list: items.rest(), attachments })
    }

    /// The arguments of an acknowledgement. `attachments` are those of the packet, if it has any.
    pub fn of_ack(packet: &Packet<'a>, attachments: Option<&'a Attachments>) -> Arguments<'a> {
        Arguments { list: json::items(packet.data.unwrap_or_default()).rest(), attachments }
    }

    /// How many arguments there are. Searches the text for them.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The JSON texts of the arguments, without blanks around them.
    pub fn iter(&self) -> Items<'a> {
        Items::new(self.list)
    }

    /// The JSON text of an argument. `None` if there are not so many.
    pub fn raw(&self, index: usize) -> Option<&'a str> {
        self.iter().nth(index)
    }

    /// The characters of an argument that is a string. Only a string with escapes is copied.
    ///
    /// Half of a surrogate pair, which no Rust string can have, becomes U+FFFD.
    pub fn text(&self, index: usize) -> Option<Cow<'a, str>> {
        json::string(self.raw(index)?)
    }

    /// The bytes of an argument that is a binary value itself. For those inside of other values see [`Binary`].
    pub fn binary(&self, index: usize) -> Option<&'a [u8]> {
        let attachments = self.attachments?;
        let number = binary::placeholder(self.raw(index)?)?;
        attachments.get(number).map(Vec::as_slice)
    }

    /// Deserializes an argument.
    ///
    /// Binary values can be deserialized as [`Binary`]. In a [`Value`], and in every type without `Binary` in that
    /// place, they are objects: `{"_placeholder":true,"num":0}`.
    ///
    /// # Errors
    /// There is no argument at `index`, or it has another type.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgumentError> {
        let Some(text) = self.raw(index) else {
            return Err(ArgumentError::Missing { index, len: self.len() });
        };
        let value = binary::lend(self.attachments, || serde_json::from_str(text));
        value.map_err(|source| ArgumentError::Invalid { index, source })
    }

    /// Deserializes all arguments as a tuple, or as another type that serde reads from a sequence: `()`, `(T,)`,
    /// `(T, U)`, `Vec<T>`, or a struct, whose fields are the arguments in their order.
    ///
    /// Binary values are deserialized as with [`get`](Arguments::get).
    ///
    /// # Errors
    /// There are more or fewer arguments, or one has another type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        let mut sequence = Sequence { items: self.iter(), read: 0, is_invalid: false };
        match binary::lend(self.attachments, || T::deserialize(&mut sequence)) {
            Ok(_) if sequence.items.next().is_some() => {
                Err(ArgumentError::TooMany { len: self.len(), read: sequence.read })
            }
            Ok(value) => Ok(value),
            Err(source) if sequence.is_invalid => Err(ArgumentError::Invalid { index: sequence.read, source }),
            Err(source) => Err(ArgumentError::Mismatch { len: self.len(), source }),
        }
    }

    /// All arguments but the last one.
    pub(super) fn without_last(&self) -> Arguments<'a> {
        let mut items = self.iter();
        let mut last = items.rest();
        while items.next().is_some() && !items.rest().is_empty() {
            last = items.rest();
        }
        let list = self.list[..self.list.len() - last.len()].trim_end_matches(|c| c == ',' || json::is_blank(c));
        Arguments { list, ..*self }
    }

    /// The attachments of the packet, in their order. Arguments refer to them by number.
    pub fn attachments(&self) -> &'a [Vec<u8>] {
        self.attachments.map_or(&[], |attachments| attachments)
    }

    /// The JSON texts of all arguments with commas between them, as they were received: an array without its brackets.
    pub fn as_json(&self) -> &'a str {
        self.list
    }

    /// A copy that owns its text. The attachments are shared, not copied.
    pub fn to_owned(&self) -> OwnedArguments {
        OwnedArguments { list: self.list.to_owned(), attachments: self.attachments.cloned() }
    }
}

/// Arguments that own their text: received ones that a program keeps, or ones that come from elsewhere.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OwnedArguments {
    list: String,
    attachments: Option<Attachments>,
}

impl OwnedArguments {
    /// Arguments from a list of JSON values with commas between them, an array without its brackets.
    ///
    /// It is checked like a received packet. If there are attachments, the placeholders in it refer to them.
    ///
    /// # Errors
    /// The list is not JSON, or is nested too deeply, or a placeholder has no attachment.
    pub fn new(list: String, attachments: Vec<Vec<u8>>) -> Result<OwnedArguments, Malformed> {
        json::check_items(&list)?;
        if attachments.is_empty() {
            return Ok(OwnedArguments { list, attachments: None });
        }
        binary::check_placeholders(&list, attachments.len())?;
        Ok(OwnedArguments { list, attachments: Some(attachments.into()) })
    }

    /// The same arguments, borrowed.
    pub fn as_arguments(&self) -> Arguments<'_> {
        Arguments { list: self.list.trim_matches(json::is_blank), attachments: self.attachments.as_ref() }
    }
}

/// Why a received argument could not be read as the wanted type.
#[derive(Debug)]
#[non_exhaustive]
pub enum ArgumentError {
    /// There are only `len` arguments, so the one at `index` does not exist.
    Missing {
        /// The wanted argument, from 0 on.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// The argument at `index` is of another type.
    Invalid {
        /// The argument, from 0 on.
        index: usize,
        /// The difference.
        source: serde_json::Error,
    },
    /// There are `len` arguments, and the wanted type is made of more of them, or is not made of several values.
    Mismatch {
        /// How many there are.
        len: usize,
        /// The error, which names the wanted type.
        source: serde_json::Error,
    },
    /// There are `len` arguments, and the wanted type has only `read` values.
    TooMany {
        /// How many there are.
        len: usize,
        /// How many were wanted.
        read: usize,
    },
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgumentError::Missing { index, len } => {
                write!(f, "there is no argument {index}, counted from 0: the packet has {len}")
            }
            ArgumentError::Invalid { index, source } => write!(f, "argument {index}: {source}"),
            ArgumentError::Mismatch { len, source } => write!(f, "the {len} arguments together: {source}"),
            ArgumentError::TooMany { len, read } => write!(f, "too many arguments: {len} instead of {read}"),
        }
    }
}

impl error::Error for ArgumentError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            ArgumentError::Invalid { source, .. } | ArgumentError::Mismatch { source, .. } => Some(source),
            ArgumentError::Missing { .. } | ArgumentError::TooMany { .. } => None,
        }
    }
}

/// All arguments, for serde.
struct Sequence<'a> {
    items: Items<'a>,
    /// How many arguments were deserialized.
    read: usize,
    /// Whether the next one could not be.
    is_invalid: bool,
}

impl<'de> Deserializer<'de> for &mut Sequence<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for Sequence<'de> {
    type Error = serde_json::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, serde_json::Error> {
        let Some(text) = self.items.next() else { return Ok(None) };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
        self.is_invalid = value.is_err();
        self.read += usize::from(value.is_ok());
        value.map(Some)
    }
}

/// Values that can be sent as the arguments of an event or an acknowledgement.
///
/// | value | arguments |
/// |---|---|
/// | `()` | none |
/// | a tuple of up to eight values that serde can serialize | one for each value |
/// | a string, `bool`, number, [`Value`] or [`Binary`] | one. An array in a `Value` is one argument, too |
/// | [`Arguments`], [`OwnedArguments`] | those that were received, byte for byte, with their attachments |
/// | [`Raw`] | those in a JSON text |
///
/// So a struct `s` is sent as `(s,)`. As in `JSON.stringify`, `NaN` and the infinite numbers become `null`.
pub trait IntoArguments {
    /// Passes the arguments to an encoder, in their order.
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError>;
}

/// Arguments as JSON that exists already.
#[derive(Clone, Copy, Default, Debug)]
pub struct Raw<'a> {
    /// A list of JSON values with commas between them: an array without its brackets. It must be valid, or the peer
    /// closes the connection; with debug assertions it is checked.
    pub json: &'a str,
    /// The binary values for the placeholders in `json`, by number.
    pub attachments: &'a [&'a [u8]],
}

/// Collects the arguments of one packet.
#[derive(Debug)]
pub struct Encoder<'a> {
    text: &'a mut String,
    attachments: &'a mut Vec<Vec<u8>>,
    /// How many of the attachments belong to other packets.
    others: usize,
    /// Whether the next argument is the first item of the array.
    is_first: bool,
}

impl Encoder<'_> {
    /// Appends one argument.
    pub fn argument<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.comma();
        let Encoder { text, attachments, others, .. } = self;
        binary::collect(attachments, *others, || json::push_value(text, value)).map_err(EncodeError::Value)
    }

    /// Appends one argument that is a string.
    pub fn text(&mut self, text: &str) {
        self.comma();
        json::push_string(self.text, text);
    }

    /// Appends the arguments in a list of JSON values, with attachments for its placeholders: see [`Raw`].
    ///
    /// The placeholders are not numbered again, so attachments are possible only if no argument before has any.
    pub fn raw<B: Into<Vec<u8>>>(
        &mut self,
        json: &str,
        attachments: impl IntoIterator<Item = B>,
    ) -> Result<(), EncodeError> {
        debug_assert!(json::check_items(json).is_ok(), "{json:?} is a list of JSON values");
        let before = self.attachments.len();
        self.attachments.extend(attachments.into_iter().map(Into::into));
        if before > self.others && self.attachments.len() > before {
            return Err(EncodeError::LateAttachments);
        }
        if !json.is_empty() {
            self.comma();
            self.text.push_str(json);
        }
        Ok(())
    }

    fn comma(&mut self) {
        if !self.is_first {
            self.text.push(',');
        }
        self.is_first = false;
    }
}

impl<T: IntoArguments + ?Sized> IntoArguments for &T {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        T::write(self, out)
    }
}

impl IntoArguments for () {
    fn write(&self, _: &mut Encoder<'_>) -> Result<(), EncodeError> {
        Ok(())
    }
}

impl IntoArguments for Arguments<'_> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.raw(self.list, self.attachments().iter().cloned())
    }
}

impl IntoArguments for OwnedArguments {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.as_arguments().write(out)
    }
}

impl IntoArguments for Raw<'_> {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.raw(self.json.trim_matches(json::is_blank), self.attachments.iter().copied())
    }
}

impl IntoArguments for str {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        out.text(self);
        Ok(())
    }
}

impl IntoArguments for String {
    fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        self.as_str().write(out)
    }
}

macro_rules! single_values {
    ($($value:ty)*) => {$(
        impl IntoArguments for $value {
            fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                out.argument(self)
            }
        }
    )*};
}

single_values! { bool i8 i16 i32 i64 isize u8 u16 u32 u64 usize f32 f64 Value Binary }

macro_rules! tuples {
    ($(($($name:ident $index:tt),*))*) => {$(
        impl<$($name: Serialize),*> IntoArguments for ($($name,)*) {
            fn write(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
                $(out.argument(&self.$index)?;)*
                Ok(())
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// Why a packet cannot be sent. Nothing was appended.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// An event may not have this name: see [`RESERVED_EVENTS`].
    ReservedName,
    /// A value that cannot be JSON: for example a map whose keys are not strings.
    Value(serde_json::Error),
    /// There are more binary values than [`Header::max_attachments`].
    TooManyAttachments {
        /// How many there are.
        count: usize,
        /// How many may be sent.
        limit: usize,
    },
    /// [`Encoder::raw`] was called with attachments after arguments that have attachments.
    LateAttachments,
    /// A packet with attachments that the peer would refuse: an argument looks like a placeholder and has no
    /// attachment, or the arguments are nested too deeply.
    Refused(Malformed),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::ReservedName => f.write_str("the name of the event is reserved"),
            EncodeError::Value(source) => write!(f, "an argument cannot be sent as JSON: {source}"),
            EncodeError::TooManyAttachments { count, limit } => {
                write!(f, "{count} binary values in one packet: the peer accepts at most {limit}")
            }
            EncodeError::LateAttachments => f.write_str("raw arguments with attachments come after other attachments"),
            EncodeError::Refused(source) => write!(f, "the peer would refuse this packet: {source}"),
        }
    }
}

impl error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            EncodeError::Value(source) => Some(source),
            EncodeError::Refused(source) => Some(source),
            _ => None,
        }
    }
}

/// The part of a packet before its data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// Begins with `/` and has no comma.
    pub namespace: &'a str,
    /// Of an event, if an acknowledgement is wanted. Of an acknowledgement, the id of its event.
    pub id: Option<u64>,
    /// A packet with more binary values is not sent. [`MAX_ATTACHMENTS`] by default, because a receiver with default
    /// settings closes the connection when there are more. Both sides must have another limit to use it.
    pub max_attachments: usize,
}

impl<'a> Header<'a> {
    /// A header with the default limit.
    pub fn new(namespace: &'a str, id: Option<u64>) -> Header<'a> {
        Header { namespace, id, max_attachments: MAX_ATTACHMENTS }
    }
}

/// Appends an event to `text`, and its binary values to `attachments`, to be sent after the text and in their order.
///
/// `offset` is for connection state recovery: one more argument, after all others.
pub fn encode_event(
    text: &mut String,
    attachments: &mut Vec<Vec<u8>>,
    header: &Header<'_>,
    name: &str,
    arguments: &(impl IntoArguments + ?Sized),
    offset: Option<&str>,
) -> Result<(), EncodeError> {
    if RESERVED_EVENTS.contains(&name) {
        return Err(EncodeError::ReservedName);
    }
    encode(text, attachments, [PacketType::Event, PacketType::BinaryEvent], header, |out| {
        out.text(name);
        arguments.write(out)?;
        if let Some(offset) = offset {
            out.text(offset);
        }
        Ok(())
    })
}

/// Appends an acknowledgement to `text`, and its binary values to `attachments`, to be sent after the text and in their
/// order.
pub fn encode_ack(
    text: &mut String,
    attachments: &mut Vec<Vec<u8>>,
    header: &Header<'_>,
    arguments: &(impl IntoArguments + ?Sized),
) -> Result<(), EncodeError> {
    encode(text, attachments, [PacketType::Ack, PacketType::BinaryAck], header, |out| arguments.write(out))
}

/// `kinds` are the types without and with attachments.
fn encode(
    text: &mut String,
    attachments: &mut Vec<Vec<u8>>,
    kinds: [PacketType; 2],
    header: &Header<'_>,
    write: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let (start, others) = (text.len(), attachments.len());
    packet::push_header(text, kinds[0], 0, header.namespace, header.id);
    let data = text.len();
    text.push('[');
    let mut encoder = Encoder { text, attachments, others, is_first: true };
    let mut result = write(&mut encoder);
    text.push(']');
    let count = attachments.len() - others;
    if count > 0 && result.is_ok() {
        result = check_attachments(&text[data..], count, header.max_attachments);
        // The type and the number of attachments are known only now.
        let mut binary_header = String::new();
        packet::push_header(&mut binary_header, kinds[1], count, header.namespace, header.id);
        text.replace_range(start..data, &binary_header);
    }
    if result.is_err() {
        text.truncate(start);
        attachments.truncate(others);
    }
    result
}

/// Checks what the peer will check. An argument that came from one client can look like a placeholder, and must not
/// close the connections of others that get it together with a binary value.
fn check_attachments(data: &str, count: usize, limit: usize) -> Result<(), EncodeError> {
    if count > limit {
        return Err(EncodeError::TooManyAttachments { count, limit });
    }
    json::check(data).and_then(|()| binary::check_placeholders(data, count)).map_err(EncodeError::Refused)
}
