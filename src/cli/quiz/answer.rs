//! Parses a typed answer: letters (`b a c`, `bac`) or the lines themselves (`tick, main, microtask`).

use super::language::{Language, words};

/// Parses an answer. Returns the places of the lines in `texts`, in the order of the answer. Capital letters make no
/// difference. The error is a sentence.
pub(crate) fn parse(typed: &str, texts: &[&str], language: Language) -> Result<Vec<usize>, String> {
    let typed = typed.to_lowercase();
    let lower: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    let mut order = compact(&typed, texts.len()).unwrap_or_default();
    let mut rest = if order.is_empty() { skip_separators(&typed) } else { "" };
    while !rest.is_empty() {
        let Some((place, len)) = next_line(rest, &lower) else {
            let word = rest.split(is_separator).next().unwrap_or(rest).escape_debug();
            let all = all(texts);
            return Err(words!(
                language,
                "There is no line \"{word}\"; the lines are {all}.",
                "No hay ninguna línea \"{word}\"; las líneas son {all}."
            ));
        };
        order.push(place);
        rest = skip_separators(&rest[len..]);
    }
    if order.is_empty() {
        let all = all(texts);
        return Err(words!(
            language,
            "An answer names the lines in their order: {all}.",
            "Una respuesta nombra las líneas en su orden: {all}."
        ));
    }
    check(order, texts, language)
}

/// Checks that the answer names each line exactly once.
fn check(order: Vec<usize>, texts: &[&str], language: Language) -> Result<Vec<usize>, String> {
    for (place, text) in texts.iter().enumerate() {
        let letter = letter(place);
        match order.iter().filter(|&&named| named == place).count() {
            1 => {}
            0 => {
                return Err(words!(
                    language,
                    "{letter} (\"{text}\") is missing; every line runs exactly once.",
                    "{letter} (\"{text}\") falta; cada línea corre exactamente una vez."
                ));
            }
            _ => {
                return Err(words!(
                    language,
                    "{letter} (\"{text}\") is named twice; every line runs exactly once.",
                    "{letter} (\"{text}\") aparece dos veces; cada línea corre exactamente una vez."
                ));
            }
        }
    }
    Ok(order)
}

/// The letter of a line.
pub(crate) fn letter(place: usize) -> char {
    u8::try_from(place).map_or('?', |place| char::from(b'a'.saturating_add(place)))
}

/// Letters without separators, one for each line.
fn compact(typed: &str, lines: usize) -> Option<Vec<usize>> {
    let letters = typed.trim();
    (letters.len() == lines).then(|| letters.chars().map(|letter| place_of(letter, lines)).collect())?
}

/// The line that `rest` begins with, and how many bytes name it. The longest text wins: "ten again" over "ten".
fn next_line(rest: &str, texts: &[String]) -> Option<(usize, usize)> {
    let ends_at = |len: usize| rest[len..].chars().next().is_none_or(is_separator);
    let named = texts.iter().enumerate().filter(|(_, text)| rest.starts_with(&**text) && ends_at(text.len()));
    let named = named.max_by_key(|(_, text)| text.len()).map(|(place, text)| (place, text.len()));
    named.or_else(|| {
        let first = rest.chars().next()?;
        let place = place_of(first, texts.len())?;
        ends_at(first.len_utf8()).then_some((place, first.len_utf8()))
    })
}

fn place_of(letter: char, lines: usize) -> Option<usize> {
    let place = usize::try_from(u32::from(letter).checked_sub(u32::from('a'))?).ok()?;
    (place < lines).then_some(place)
}

fn skip_separators(text: &str) -> &str {
    text.trim_start_matches(is_separator)
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '>' | '-' | '→' | '|' | '"' | '\'' | '.' | '(' | ')')
}

fn all(texts: &[&str]) -> String {
    let lines: Vec<_> = texts.iter().enumerate().map(|(place, text)| format!("{} ({text})", letter(place))).collect();
    lines.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: &[&str] = &["ten", "ten again", "tick", "main"];

    #[test]
    fn letters_and_words_are_parsed() {
        let table: &[(&str, &str)] = &[
            ("letters", "b a d c"),
            ("one word of letters", "badc"),
            ("capitals and commas", " B, A, D, C "),
            ("arrows", "b -> a → d > c"),
            ("words", "ten again, ten, main, tick"),
            ("words without commas", "ten again ten main tick"),
            ("words in quotes", "\"ten again\" \"ten\" \"main\" \"tick\"."),
            ("both", "ten again a main c"),
        ];
        for (name, typed) in table {
            assert_eq!(parse(typed, TEXTS, Language::English), Ok(vec![1, 0, 3, 2]), "{name}");
        }
    }

    #[test]
    fn an_answer_that_is_not_an_order_is_explained() {
        let table: &[(&str, &str, &str)] = &[
            ("nothing", "", "An answer names the lines in their order: a (ten), b (ten again)"),
            ("separators only", " , ", "An answer names"),
            ("an unknown word", "b a d mean", "There is no line \"mean\"; the lines are a (ten),"),
            ("an unknown letter", "badz", "There is no line \"badz\""),
            ("the start of a word", "tic b a d", "There is no line \"tic\""),
            ("no letters", "1 2 3 ¡é! \u{7}", "There is no line \"1\""),
            ("four letters of two bytes", "éé", "There is no line \"éé\""),
            ("a line is missing", "b a d", "c (\"tick\") is missing"),
            ("a line is named twice", "b a b d", "b (\"ten again\") is named twice"),
            ("one line too many", "b a d c a", "a (\"ten\") is named twice"),
        ];
        for (name, typed, want) in table {
            let sentence = parse(typed, TEXTS, Language::English).expect_err(name);
            assert!(sentence.starts_with(want), "{name}: {sentence}");
        }
    }
}
