//! The first word after `serve`: the name of a server, or a place.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use crate::cli::serve::Kind;
use crate::cli::usage::Usage;

/// The first word after `serve`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FirstWord {
    Server(Kind),
    /// `bucle serve 9000` is `bucle serve chat 9000`.
    Place(String),
}

/// Takes the name of a server, or a place in its stead. Names are listed by `--help`, and completed.
#[derive(Clone)]
pub(super) struct FirstWordParser;

impl FirstWordParser {
    fn names() -> PossibleValuesParser {
        let name = |kind: Kind| PossibleValue::new(kind.name()).help(kind.about());
        PossibleValuesParser::new(Kind::ALL.map(name))
    }
}

impl TypedValueParser for FirstWordParser {
    type Value = FirstWord;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, word: &OsStr) -> Result<FirstWord, clap::Error> {
        match word.to_str() {
            Some(word) if word.contains(':') || word.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(FirstWord::Place(word.to_owned()))
            }
            _ => Self::names().parse_ref(command, arg, word).map(|name| FirstWord::Server(Kind::of(&name))),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        // The iterator would borrow from a parser that is made here.
        let values: Vec<_> = Self::names().possible_values()?.collect();
        Some(Box::new(values.into_iter()))
    }
}

/// The server, and the place if it is typed as a word.
pub(super) fn words_of(matches: &ArgMatches) -> Result<(Kind, Option<String>), Usage> {
    let place = matches.get_one::<String>("place");
    let first = match matches.get_one::<FirstWord>("kind") {
        None => return Ok((Kind::Chat, place.cloned())),
        Some(FirstWord::Server(kind)) => return Ok((*kind, place.cloned())),
        Some(FirstWord::Place(first)) => first,
    };
    if let Some(second) = place {
        let why = format!("the name of the server comes before the place '{}'", first.escape_debug());
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == second).unwrap_or(Kind::Chat);
        return Err(Usage::new(why, format!("{} {first}", kind.command())));
    }
    // clap checks this for a second word.
    let is_typed = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
    if let Some(option) = ["host", "port", "unix"].into_iter().find(is_typed) {
        let why = format!("there are two places, '{}' and that of --{option}", first.escape_debug());
        return Err(Usage::new(why, format!("bucle serve {first}      without --{option}")));
    }
    Ok((Kind::Chat, Some(first.clone())))
}
