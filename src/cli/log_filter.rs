//! What `RUST_LOG` asks for, as far as it makes sense.
//!
//! ```text
//!   level            debug                       everything from that level on
//!   part             bucle::net                  all of that part
//!   part=level       bucle::net=debug            both
//!   …,…/regex        info,bucle::net=debug/#4    several, and only what matches
//! ```
//!
//! `env_logger` takes every word that is no level for the name of a part, and then logs nothing: a slip of the pen
//! would silence all warnings. So what cannot be meant is taken out and told.

use log::LevelFilter;

/// Whose parts write to the log here.
const CRATES: [&str; 2] = ["bucle", "mio"];

/// A filter that was sifted.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Sifted {
    /// What `env_logger` is to be given; `None` if there is nothing in it for anybody here.
    pub(crate) filter: Option<String>,
    /// What makes no sense.
    pub(crate) nonsense: Vec<String>,
}

/// Sifts the value of `RUST_LOG`.
pub(crate) fn sift(text: &str) -> Sifted {
    let (directives, regex) =
        text.split_once('/').map_or((text, None), |(directives, regex)| (directives, Some(regex)));
    let (mut kept, mut nonsense, mut concerns_us) = (Vec::new(), Vec::new(), regex.is_some());
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (part, level) = directive.split_once('=').map_or((directive, None), |(part, level)| (part, Some(level)));
        let is_ours = CRATES.iter().any(|name| part.starts_with(name));
        let makes_sense = match level {
            None => is_ours || is_level(part),
            Some(level) => !part.is_empty() && (level.is_empty() || is_level(level)),
        };
        if makes_sense {
            concerns_us |= is_ours || level.is_none();
            kept.push(directive);
        } else {
            nonsense.push(directive.to_owned());
        }
    }
    let filter = kept.join(",") + &regex.map_or_else(String::new, |regex| format!("/{regex}"));
    Sifted { filter: concerns_us.then_some(filter), nonsense }
}

fn is_level(word: &str) -> bool {
    word.trim().parse::<LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_sense_is_kept_and_the_rest_is_told() {
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
            // Somebody else's program, which the variable is for as well.
            ("tokio=debug", None, &[]),
            ("tokio=debug,info", Some("tokio=debug,info"), &[]),
        ];
        for (text, filter, nonsense) in table {
            let want = Sifted {
                filter: filter.map(str::to_owned),
                nonsense: nonsense.iter().map(|&word| word.to_owned()).collect(),
            };
            assert_eq!(sift(text), want, "{text:?}");
        }
    }
}
