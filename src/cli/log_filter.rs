//! The valid part of `RUST_LOG`.
//!
//! ```text
//!   level            debug                       everything from that level on
//!   module           bucle::net                  everything of that module
//!   module=level     bucle::net=debug            that level of that module
//!   …,…/regex        info,bucle::net=debug/#4    several directives, and only lines that match
//! ```
//!
//! `env_logger` takes every word that is not a level as the name of a module, and then logs nothing: a typing mistake
//! would silence all warnings. So invalid directives are removed and reported.

use log::LevelFilter;

/// The crates that write to the log of this program.
const CRATES: [&str; 2] = ["bucle", "mio"];

/// The value of `RUST_LOG`, separated into valid and invalid directives.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Sifted {
    /// The valid directives, for `env_logger`. `None` if none of them concerns this program.
    pub(crate) filter: Option<String>,
    /// The invalid directives.
    pub(crate) mistakes: Vec<String>,
}

/// Separates the value of `RUST_LOG` into valid and invalid directives.
pub(crate) fn sift(text: &str) -> Sifted {
    let (directives, regex) =
        text.split_once('/').map_or((text, None), |(directives, regex)| (directives, Some(regex)));
    let (mut kept, mut mistakes, mut concerns_us) = (Vec::new(), Vec::new(), regex.is_some());
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (module, level) =
            directive.split_once('=').map_or((directive, None), |(module, level)| (module, Some(level)));
        let is_ours = CRATES.iter().any(|name| module.starts_with(name));
        let is_valid = match level {
            None => is_ours || is_level(module),
            Some(level) => !module.is_empty() && (level.is_empty() || is_level(level)),
        };
        if is_valid {
            concerns_us |= is_ours || level.is_none();
            kept.push(directive);
        } else {
            mistakes.push(directive.to_owned());
        }
    }
    let filter = kept.join(",") + &regex.map_or_else(String::new, |regex| format!("/{regex}"));
    Sifted { filter: concerns_us.then_some(filter), mistakes }
}

fn is_level(word: &str) -> bool {
    word.trim().parse::<LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_directives_are_removed_and_reported() {
        let table: &[(&str, Option<&str>, &[&str])] = &[
            ("", None, &[]),
            (" , ", None, &[]),
            ("debug", Some("debug"), &[]),
            ("OFF", Some("OFF"), &[]),
            ("bucle", Some("bucle"), &[]),
            ("bucle::net=trace, warn", Some("bucle::net=trace,warn"), &[]),
            ("bucle=", Some("bucle="), &[]),
            ("info/#4", Some("info/#4"), &[]),
            ("nonsense", None, &["nonsense"]),
            ("bucle=loud", None, &["bucle=loud"]),
            ("=debug", None, &["=debug"]),
            ("debg,bucle=info", Some("bucle=info"), &["debg"]),
            // Another program, which reads the same variable.
            ("tokio=debug", None, &[]),
            ("tokio=debug,info", Some("tokio=debug,info"), &[]),
        ];
        for (text, filter, mistakes) in table {
            let want = Sifted {
                filter: filter.map(str::to_owned),
                mistakes: mistakes.iter().map(|&word| word.to_owned()).collect(),
            };
            assert_eq!(sift(text), want, "{text:?}");
        }
    }
}
