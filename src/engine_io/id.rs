//! Ids of sessions and sockets: 20 characters of base64url, made from 15 random bytes.
//!
//! The id of an Engine.IO session and the private id of a Socket.IO session are secrets: a peer that knows one can take
//! over the session. So the bytes must come from the random source of the system. The public id of a Socket.IO socket
//! has the same form.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// An id of 20 characters, each one of `A` to `Z`, `a` to `z`, `0` to `9`, `-` and `_`. The order is that of the text.
///
/// ```
/// use bucle::engine_io::id::Id;
///
/// let id = Id::from_random([0xff; 15]);
/// assert_eq!(id.as_str(), "____________________");
/// assert_eq!(Id::parse("____________________"), Some(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; Id::LEN]);

impl Id {
    /// The length of an id in characters.
    pub const LEN: usize = 20;

    /// Makes an id from 120 random bits. Each value gives another id.
    pub fn from_random(bytes: [u8; 15]) -> Id {
        let mut text = [0; Id::LEN];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).expect("15 bytes are 20 characters of base64");
        Id(text)
    }

    /// The id with this text. `None` if it does not have 20 characters, or one that an id cannot have.
    pub fn parse(text: &str) -> Option<Id> {
        let bytes: [u8; Id::LEN] = text.as_bytes().try_into().ok()?;
        let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        bytes.iter().all(is_legal).then_some(Id(bytes))
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the characters of an id are ASCII")
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_base64url_of_15_bytes() {
        let table = [
            ("zeros", [0; 15], "AAAAAAAAAAAAAAAAAAAA"),
            ("the characters that differ from base64", [0xfb; 15], "-_v7-_v7-_v7-_v7-_v7"),
            ("ascending", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], "AAECAwQFBgcICQoLDA0O"),
        ];
        for (name, bytes, want) in table {
            assert_eq!(Id::from_random(bytes).as_str(), want, "{name}");
        }
    }

    #[test]
    fn only_20_characters_of_the_alphabet_are_an_id() {
        let table = [
            ("one character less", "AAAAAAAAAAAAAAAAAAA", false),
            ("one character more", "AAAAAAAAAAAAAAAAAAAAA", false),
            ("empty", "", false),
            ("a character of base64 that is not of base64url", "AAAAAAAAAAAAAAAAAAA+", false),
            ("padding", "AAAAAAAAAAAAAAAAAAA=", false),
            ("20 bytes that are not 20 characters", "AAAAAAAAAAAAAAAAAAñ", false),
            ("letters, digits, both signs", "azAZ09-_azAZ09-_azAZ", true),
        ];
        for (name, text, is_id) in table {
            assert_eq!(Id::parse(text).is_some(), is_id, "{name}");
        }
    }

    #[test]
    fn an_id_is_formatted_as_its_text() {
        let id = Id::from_random([0; 15]);
        assert_eq!(id.to_string(), "AAAAAAAAAAAAAAAAAAAA");
        assert_eq!(format!("{id:?}"), "Id(AAAAAAAAAAAAAAAAAAAA)");
        assert_eq!(format!("{id:>22}|"), "  AAAAAAAAAAAAAAAAAAAA|");
    }

    proptest! {
        #[test]
        fn different_bytes_give_different_ids_that_parse(a: [u8; 15], b: [u8; 15]) {
            let (id, other) = (Id::from_random(a), Id::from_random(b));
            prop_assert_eq!(Id::parse(id.as_str()), Some(id));
            prop_assert_eq!(id == other, a == b);
            prop_assert_eq!(id.cmp(&other), id.as_str().cmp(other.as_str()));
        }
    }
}
