//! The id of a socket in its namespace.
//!
//! The server makes a random [`Id`] for each socket. A client of version 2 (Engine.IO 3) is an exception: it computes
//! its ids itself, from the id of its Engine.IO session, and the server must use the same ones:
//!
//! ```text
//!   client      namespace   id of the socket
//!   4 and 3     any         20 random characters
//!   2           /           the id of the session
//!   2           /admin      /admin#<id of the session>
//! ```

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use crate::engine_io::id::Id;

/// The id of a socket, which is also the name of a room that the socket is in. 24 bytes, cheap to clone.
///
/// Comparison and hash are those of the text.
#[derive(Clone)]
pub struct SocketId(Form);

/// Invariant: a text that is an [`Id`] is always `Short`. It needs no memory besides the value.
#[derive(Clone)]
enum Form {
    Short(Id),
    Long(Rc<str>),
}

const _: () = assert!(size_of::<SocketId>() == 24);

impl SocketId {
    /// The id that a client of version 2 computes for its socket in `namespace`.
    pub fn of_version_2(namespace: &str, session: Id) -> SocketId {
        if namespace == "/" { session.into() } else { SocketId(Form::Long(format!("{namespace}#{session}").into())) }
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Short(id) => id.as_str(),
            Form::Long(text) => text,
        }
    }
}

impl From<Id> for SocketId {
    fn from(id: Id) -> SocketId {
        SocketId(Form::Short(id))
    }
}

/// Any text, such as an id from another node.
impl From<&str> for SocketId {
    fn from(text: &str) -> SocketId {
        SocketId(Id::parse(text).map_or_else(|| Form::Long(text.into()), Form::Short))
    }
}

impl AsRef<str> for SocketId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for SocketId {
    fn eq(&self, other: &SocketId) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for SocketId {}

impl PartialOrd for SocketId {
    fn partial_cmp(&self, other: &SocketId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SocketId {
    fn cmp(&self, other: &SocketId) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for SocketId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_client_of_version_2_knows_its_ids() {
        let session = Id::from_random([0; 15]);
        assert_eq!(SocketId::of_version_2("/", session).as_str(), "AAAAAAAAAAAAAAAAAAAA");
        assert_eq!(SocketId::of_version_2("/admin", session).as_str(), "/admin#AAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn ids_are_compared_as_texts() {
        let session = Id::from_random([0; 15]);
        let texts = ["", "/admin#AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA", "B", "é"];
        for (number, a) in texts.iter().enumerate() {
            for (other, b) in texts.iter().enumerate() {
                let (left, right) = (SocketId::from(*a), SocketId::from(*b));
                assert_eq!(left.cmp(&right), number.cmp(&other), "{a} and {b}");
                assert_eq!(left == right, a == b);
            }
        }
        assert_eq!(SocketId::from("AAAAAAAAAAAAAAAAAAAA"), session.into());
        assert!(HashSet::from([SocketId::from(session)]).contains(&SocketId::from(session.as_str())));
    }

    #[test]
    fn an_id_is_formatted_as_its_text() {
        for text in ["AAAAAAAAAAAAAAAAAAAA", "/admin#AAAAAAAAAAAAAAAAAAAA", "a"] {
            let id = SocketId::from(text);
            assert_eq!((id.to_string(), format!("{id:?}")), (text.to_owned(), format!("SocketId({text})")));
        }
    }
}
