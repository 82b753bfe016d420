//! Names of members and rooms: which names are allowed, and lists of names.

use std::borrow::Cow;

/// How many characters a nick or the name of a room may have.
pub(crate) const NAME_LIMIT: usize = 20;

/// How many names a list shows. The request is one word, and the answer must not be a megabyte.
const LIST_LIMIT: usize = 100;

/// Checks the name of a nick or a room. The error completes a sentence about what is wrong.
///
/// Letters of every script and the signs of ASCII are allowed. Spaces and colons would make `ana: hola` ambiguous, and
/// with invisible characters two nicks could look the same.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() && c != ':';
    if name.chars().count() > NAME_LIMIT {
        Err(format!("has at most {NAME_LIMIT} characters"))
    } else if name.starts_with(['/', '-', '*']) || !name.chars().all(is_fine) {
        Err("is made of letters and digits, without spaces".to_owned())
    } else {
        Ok(())
    }
}

/// The names with commas between them, and the number of those that are left out. `count` is how many there are.
pub(crate) fn listed<'a>(names: impl Iterator<Item = Cow<'a, str>>, count: usize) -> String {
    let shown: Vec<_> = names.take(LIST_LIMIT).collect();
    match count.saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The beginning of a word, to be quoted in a reply to the member who typed it.
pub(crate) fn shortened(word: &str) -> &str {
    word.char_indices().nth(NAME_LIMIT).map_or(word, |(end, _)| &word[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_visible() {
        let table = [
            ("ana", true),
            ("Ñandú_42", true),
            ("ana[away]", true),
            ("名前", true),
            ("12345678901234567890", true),
            ("123456789012345678901", false),
            ("two words", false),
            ("with:colon", false),
            ("/who", false),
            ("--", false),
            ("a\u{200b}b", false),
            ("a\u{241b}b", false),
            ("a\u{fffd}", false),
        ];
        for (name, want) in table {
            assert_eq!(check_name(name).is_ok(), want, "{name:?}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let list = |count: usize| listed((0..count).map(|at| Cow::from(at.to_string())), count);
        assert_eq!(list(3), "0, 1, 2");
        assert!(list(LIST_LIMIT).ends_with(", 99"));
        assert!(list(LIST_LIMIT + 7).ends_with(", 99 and 7 more"));
    }
}
