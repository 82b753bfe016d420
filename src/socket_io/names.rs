//! Names of namespaces: which ones exist.
//!
//! A program names a namespace, or it gives a predicate for names, and each name that the predicate accepts exists on
//! demand:
//!
//! ```text
//!   a client asks for    /admin      ──▶  the entry of "/admin"
//!                        /tenant-7   ──▶  the first predicate that accepts it
//!                        /x          ──▶  nothing: "Invalid namespace"
//! ```
//!
//! There is no pattern language. Node's `io.of(/^\/tenant-\d+$/)` is a closure, and so is a pattern of the crate
//! `regex`:
//!
//! ```
//! use bucle::socket_io::names::Names;
//!
//! let mut names = Names::default();
//! names.insert("admin", 1);
//! names.insert_matching(
//!     |name| name.strip_prefix("/tenant-").is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit())),
//!     2,
//! );
//! # let expression = |name: &str| name == "/x";
//! // let expression = Regex::new("^/x$")?;
//! // names.insert_matching(move |name| expression.is_match(name), 3);
//! # names.insert_matching(move |name| expression(name), 3);
//! let find = |name| names.find(name).map(|found| *found.value());
//! assert_eq!([find("/admin"), find("/tenant-7"), find("/tenant-"), find("/x")], [Some(1), Some(2), None, Some(3)]);
//! ```
//!
//! # Bounds
//!
//! A client chooses the name. A predicate that accepts any number of names lets clients create any number of
//! namespaces, so the caller removes a namespace without sockets, or limits their number.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The name with a leading slash, as Node's `io.of()` completes it: `admin` is `/admin`, and the empty name is `/`.
pub fn with_slash(name: &str) -> Cow<'_, str> {
    if name.starts_with('/') { Cow::Borrowed(name) } else { Cow::Owned(format!("/{name}")) }
}

/// A value for each name, and one for all names that a predicate accepts.
pub struct Names<T> {
    named: HashMap<Box<str>, T>,
    /// In the order in which they were added.
    matching: Vec<(Predicate, T)>,
}

type Predicate = Box<dyn Fn(&str) -> bool>;

/// How [`Names::find`] found a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found<'a, T> {
    /// By the name itself.
    Named(&'a T),
    /// By a predicate.
    Matching(&'a T),
}

impl<'a, T> Found<'a, T> {
    /// The value of either.
    pub fn value(self) -> &'a T {
        match self {
            Found::Named(value) | Found::Matching(value) => value,
        }
    }
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names { named: HashMap::new(), matching: Vec::new() }
    }
}

impl<T> Names<T> {
    /// Adds a name; a missing leading slash is added. Returns the earlier value of the name.
    pub fn insert(&mut self, name: &str, value: T) -> Option<T> {
        self.named.insert(with_slash(name).into(), value)
    }

    /// Adds all names that `accepts` returns `true` for. It gets a name with its leading slash.
    pub fn insert_matching(&mut self, accepts: impl Fn(&str) -> bool + 'static, value: T) {
        self.matching.push((Box::new(accepts), value));
    }

    /// Removes a name that [`insert`](Self::insert) added. Predicates may still accept it.
    pub fn remove(&mut self, name: &str) -> Option<T> {
        self.named.remove(&*with_slash(name))
    }

    /// Looks up the name in a CONNECT packet: first among the names, then with the predicates in the order in which
    /// they were added.
    ///
    /// A name without a leading slash is not found, because a packet cannot have one.
    pub fn find(&self, name: &str) -> Option<Found<'_, T>> {
        if let Some(value) = self.named.get(name) {
            return Some(Found::Named(value));
        }
        let accepted = self.matching.iter().find(|(accepts, _)| name.starts_with('/') && accepts(name));
        accepted.map(|(_, value)| Found::Matching(value))
    }
}

impl<T: fmt::Debug> fmt::Debug for Names<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matching: Vec<&T> = self.matching.iter().map(|(_, value)| value).collect();
        f.debug_struct("Names").field("named", &self.named).field("matching", &matching).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_slash_is_added() {
        let table = [("admin", "/admin"), ("/admin", "/admin"), ("", "/"), ("/", "/"), ("a/b", "/a/b"), ("//", "//")];
        for (name, want) in table {
            assert_eq!(with_slash(name), want);
        }
        let mut names = Names::default();
        assert_eq!(names.insert("admin", 1), None);
        assert_eq!(names.insert("/admin", 2), Some(1), "the same name");
        assert_eq!(names.find("/admin"), Some(Found::Named(&2)));
        assert_eq!(names.remove("admin"), Some(2));
        assert_eq!(names.remove("admin"), None);
        assert_eq!(names.find("/admin"), None);
    }

    #[test]
    fn a_name_is_found_before_predicates_and_these_in_their_order() {
        let mut names = Names::default();
        names.insert_matching(|name| name.starts_with("/a"), 1);
        names.insert_matching(|name| name.starts_with("/ab"), 2);
        names.insert_matching(|name| name.ends_with('z'), 3);
        names.insert("/ab", 4);
        let table = [
            ("/ab", Some(Found::Named(&4))),
            ("/abc", Some(Found::Matching(&1))),
            ("/a", Some(Found::Matching(&1))),
            ("/xyz", Some(Found::Matching(&3))),
            ("/x", None),
            ("", None),
        ];
        for (name, want) in table {
            assert_eq!(names.find(name), want, "{name}");
        }
    }

    #[test]
    fn a_name_without_a_slash_is_not_found() {
        let mut names = Names::default();
        names.insert("admin", 1);
        names.insert_matching(|_| true, 2);
        assert_eq!(names.find("admin"), None);
    }
}
