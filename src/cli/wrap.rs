//! Text in lines that are no wider than the terminal.

use bucle::process;

/// Narrower lines than these would break nearly every word.
const LEAST: usize = 20;

/// The indentation of a text below its head.
const INDENT: usize = 4;

/// The width for text on standard output: that of its terminal, at most `most`, which is the width without a terminal.
pub(crate) fn width(most: usize) -> usize {
    process::columns().unwrap_or(most).clamp(LEAST, most)
}

/// Breaks the text into lines of at most `columns` characters; a longer word has a line for itself. A flag is not
/// separated from its value.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut wants_value = false;
    for word in text.split(' ') {
        match words.last_mut() {
            Some(flag) if wants_value => *flag += &format!(" {word}"),
            _ => words.push(word.to_owned()),
        }
        wants_value = word.starts_with("--") && word.ends_with(char::is_alphabetic);
    }
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// The text after `head`, in lines of at most `columns` characters; the lines after the first are indented as far as
/// `head` is wide. If that leaves no room, the text begins on a line of its own. Ends in a line break.
pub(crate) fn hanging(head: &str, text: &str, columns: usize) -> String {
    let width = head.chars().count();
    let has_room = width == 0 || columns >= width + LEAST;
    let (mut out, indent) =
        if has_room { (head.to_owned(), width) } else { (format!("{}\n", head.trim_end()), INDENT) };
    for (at, line) in wrapped(text, columns.saturating_sub(indent)).iter().enumerate() {
        if at > 0 || !has_room {
            out += &" ".repeat(indent);
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped() {
        let table: &[(&str, usize, &[&str])] = &[
            ("", 5, &[""]),
            ("short", 5, &["short"]),
            ("a bc def", 4, &["a bc", "def"]),
            ("¿qué tal?", 9, &["¿qué tal?"]),
            ("a long-word b", 4, &["a", "long-word", "b"]),
            ("try --a b, or --c;", 12, &["try --a b,", "or --c;"]),
            ("so try --a b", 10, &["so try", "--a b"]),
        ];
        for (text, columns, want) in table {
            assert_eq!(wrapped(text, *columns), *want, "{text:?}");
        }
    }

    #[test]
    fn lines_after_the_first_are_indented() {
        assert_eq!(hanging("  a  ", "one two three four five six", 26), "  a  one two three four\n     five six\n");
        assert_eq!(hanging("a: ", "b", 80), "a: b\n");
        assert_eq!(
            hanging("a long head  ", "one two three four five", 24),
            "a long head\n    one two three four\n    five\n"
        );
    }
}
