//! The two languages of the quiz: English and Spanish.
//!
//! Every text has both, and the compiler checks it: a constant text is a [`Text`], a sentence with values in it is made
//! by [`words!`](words). Names of the loop (tick, immediate, `on_close`, the phases) are the same in both languages,
//! because programs have them.

/// A language of the quiz.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Language {
    English,
    Spanish,
}

/// A constant text in both languages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) en: &'static str,
    pub(crate) es: &'static str,
}

/// Formats a sentence in a language: `words!(language, "{n} is right", "{n} está bien")`.
macro_rules! words {
    ($language:expr, $en:literal, $es:literal $(,)?) => {
        match $language {
            $crate::cli::quiz::language::Language::English => format!($en),
            $crate::cli::quiz::language::Language::Spanish => format!($es),
        }
    };
}
pub(crate) use words;

impl Language {
    /// The codes of the languages, for `--lang`.
    pub(crate) const CODES: [&str; 2] = ["en", "es"];

    /// The language of a name such as `es`, `es-CL` or `es_CL.UTF-8`. `None` for any other language.
    pub(crate) fn of(name: &str) -> Option<Language> {
        match name.split(|c: char| !c.is_ascii_alphanumeric()).next()? {
            "en" => Some(Language::English),
            "es" => Some(Language::Spanish),
            _ => None,
        }
    }

    /// The language of the environment: of the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is not empty (POSIX,
    /// "Environment Variables"). English if that names another language.
    pub(crate) fn of_environment(value: impl Fn(&str) -> Option<String>) -> Language {
        let mut names = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(value);
        let name = names.find(|name| !name.is_empty());
        name.and_then(|name| Language::of(&name)).unwrap_or(Language::English)
    }
}

impl Text {
    /// The text in a language.
    pub(crate) fn get(self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Spanish => self.es,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_the_code_of_the_language() {
        let table = [
            ("es", Some(Language::Spanish)),
            ("es_CL.UTF-8", Some(Language::Spanish)),
            ("es-419", Some(Language::Spanish)),
            ("es@euro", Some(Language::Spanish)),
            ("en_GB.UTF-8", Some(Language::English)),
            ("C", None),
            ("C.UTF-8", None),
            ("POSIX", None),
            ("est_EE", None),
            ("", None),
        ];
        for (name, want) in table {
            assert_eq!(Language::of(name), want, "{name:?}");
        }
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let table: [(&[(&str, &str)], Language); 7] = [
            (&[], Language::English),
            (&[("LANG", "es_ES.UTF-8")], Language::Spanish),
            (&[("LC_MESSAGES", "es"), ("LANG", "en_US.UTF-8")], Language::Spanish),
            (&[("LC_ALL", "C"), ("LANG", "es_ES.UTF-8")], Language::English),
            (&[("LC_ALL", ""), ("LANG", "es_ES.UTF-8")], Language::Spanish),
            (&[("LC_CTYPE", "es_ES.UTF-8")], Language::English),
            (&[("LANG", "fr_FR.UTF-8")], Language::English),
        ];
        for (variables, want) in table {
            let value = |wanted: &str| {
                let found = variables.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(Language::of_environment(value), want, "{variables:?}");
        }
    }
}
