//! `--color`: whether help, usage errors and the log have colours.
//!
//! | `--color` | colours |
//! |---|---|
//! | `auto` | on a terminal, unless `NO_COLOR` is set and not empty (<https://no-color.org>) or `TERM` is `dumb` |
//! | `always` | also in a pipe or file, in any environment |
//! | `never` | none |
//!
//! The option is searched for before the command line is parsed, because errors of the parser have colours, too.

use std::env;
use std::ffi::{OsStr, OsString};

use clap::{Arg, ColorChoice};

/// When there are colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    const NAMES: [(&str, Color); 3] = [("auto", Color::Auto), ("always", Color::Always), ("never", Color::Never)];

    /// The value of `--color` on the command line of this process.
    pub(crate) fn typed() -> Color {
        Color::of(env::args_os().skip(1))
    }

    /// The last `--color`. Other values than the three are reported by the parser.
    fn of(words: impl Iterator<Item = OsString>) -> Color {
        let (mut color, mut is_next) = (Color::Auto, false);
        for word in words.take_while(|word| word != "--") {
            let word = word.to_string_lossy();
            let value = if is_next { Some(&*word) } else { word.strip_prefix("--color=") };
            is_next = word == "--color";
            if let Some((_, named)) = value.and_then(|value| Color::NAMES.iter().find(|(name, _)| *name == value)) {
                color = *named;
            }
        }
        color
    }

    pub(crate) fn for_clap(self) -> ColorChoice {
        match self {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
    }

    /// Whether a stream has colours. `variable` reads the environment.
    pub(crate) fn is_on(self, is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
        let is_plain = |name, plain: fn(&OsStr) -> bool| variable(name).is_some_and(|value| plain(&value));
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                is_terminal
                    && !is_plain("NO_COLOR", |value| !value.is_empty())
                    && !is_plain("TERM", |term| term == "dumb")
            }
        }
    }
}

/// The option, for all commands.
pub(crate) fn arg() -> Arg {
    Arg::new("color")
        .long("color")
        .value_name("WHEN")
        .global(true)
        .value_parser(Color::NAMES.map(|(name, _)| name))
        .hide_possible_values(true)
        .help("Colours of help and log: auto (on a terminal, see NO_COLOR), always, never  [default: auto]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_option_counts() {
        let table: &[(&[&str], Color)] = &[
            (&["serve"], Color::Auto),
            (&["serve", "--color", "never"], Color::Never),
            (&["--color=always", "serve"], Color::Always),
            (&["--color=always", "serve", "--color", "never"], Color::Never),
            (&["serve", "--color", "pink"], Color::Auto),
            (&["serve", "--color"], Color::Auto),
            (&["serve", "--", "--color=never"], Color::Auto),
        ];
        for (words, want) in table {
            assert_eq!(Color::of(words.iter().map(OsString::from)), *want, "{words:?}");
        }
    }

    #[test]
    fn the_environment_decides_about_a_terminal() {
        let table = [
            (Color::Auto, true, "TERM", "xterm", true),
            (Color::Auto, false, "TERM", "xterm", false),
            (Color::Auto, true, "TERM", "dumb", false),
            (Color::Auto, true, "NO_COLOR", "1", false),
            (Color::Auto, true, "NO_COLOR", "", true),
            (Color::Always, false, "NO_COLOR", "1", true),
            (Color::Never, true, "TERM", "xterm", false),
        ];
        for (color, is_terminal, name, value, want) in table {
            let variable = |asked: &str| (asked == name).then(|| value.into());
            assert_eq!(color.is_on(is_terminal, variable), want, "{color:?} {is_terminal} {name}={value}");
        }
    }
}
