//! Tips for an option or a command that does not exist. A value that is a secret is left out of its error.
//!
//! clap proposes the option whose letters are nearest, which is often quite another one. A wrong tip is worse than
//! none, so these come in its place, the first that fits:
//!
//! 1. the name under which this command has what was meant
//! 2. the commands that have an option with this name
//! 3. an option whose name is nearly the same

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};

use crate::cli::serve::Kind;

/// The target of `connect` and `load` is no option.
const TARGET: &str =
    "the target is a word without an option: HOST:PORT, unix:PATH, ws://HOST:PORT/PATH or sio://HOST:PORT/";

/// Names that users know from other programs: the command, what is typed, and the tip.
const MEANT: &[(&str, &[&str], &str)] = &[
    ("serve", &["address", "bind", "interface", "ip", "listen"], "use '--host'"),
    ("serve", &["timeout"], "use '--idle-timeout' or '--write-timeout'"),
    ("serve", &["clients", "connections", "max-clients"], "use '--max-connections'"),
    ("serve", &["sio", "socket-io", "socketio", "web", "websocket", "ws"], "use '--http'"),
    ("serve", &["cors"], "use '--origin'"),
    ("serve", &["redis"], "use '--cluster'"),
    ("connect", &["address", "host", "sio", "target", "unix", "url", "websocket", "ws"], TARGET),
    ("connect", &["connect-timeout"], "use '--timeout'"),
    ("connect", &["namespace"], "the namespace is in the target: sio://HOST:PORT/NAMESPACE"),
    ("connect", &["polling"], "use '--transport polling'"),
    ("connect", &["token"], r#"use '--auth', as in --auth '{"token":"x"}'"#),
    ("connect", &["m", "message"], "messages are lines of standard input: echo hola | bucle connect …"),
    ("load", &["address", "host", "sio", "target", "unix", "url", "websocket", "ws"], TARGET),
    ("load", &["connect-timeout"], "use '--timeout'"),
    ("load", &["clients", "concurrency", "users"], "use '--connections'"),
    ("load", &["time"], "use '--duration'"),
    ("load", &["count", "messages", "number"], "use '--requests'"),
    ("load", &["body", "data", "payload", "text"], "use '--message'"),
    ("load", &["processes", "threads", "workers"], "use '--procs'"),
    ("load", &["qps", "rps"], "use '--rate'"),
    ("load", &["pipeline"], "use '--in-flight'"),
    ("load", &["output"], "use '--json' or '--html'"),
    ("load", &["namespace"], "the namespace is in the target: sio://HOST:PORT/NAMESPACE"),
    ("load", &["polling", "transport"], "Socket.IO goes over WebSocket here: 'bucle load sio://HOST:PORT/'"),
    ("quiz", &["list"], "use 'bucle quiz list'"),
    ("quiz", &["number", "question"], "use 'bucle quiz NUMBER'"),
    ("quiz", &["language"], "use '--lang'"),
    ("quiz", &["random"], "use '--shuffle'"),
];

/// Words that are typed in place of a command, and the tip.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["client", "nc", "telnet"], "use 'bucle connect'"),
    (&["listen", "run", "server", "start"], "use 'bucle serve'"),
    (&["bench", "benchmark", "loadtest", "test"], "use 'bucle load'"),
];

/// Replaces the tips of clap. `words` is the command line.
pub(super) fn explain(mut error: Error, bucle: &Command, words: impl Iterator<Item = OsString>) -> Error {
    match (error.kind(), error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(typed)), _) => {
            let typed = typed.clone();
            let command = command_of(bucle, words);
            error.remove(ContextKind::SuggestedArg);
            error.remove(ContextKind::Suggested);
            let name = match command.get_name() {
                "bucle" => "bucle".to_owned(),
                name => format!("bucle {name}"),
            };
            // The usage of the error shows the option that clap has proposed.
            let usage = command.clone().bin_name(name).render_usage();
            error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
            if let Some(tip) = tip(&typed, command, bucle) {
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
            }
        }
        // The value of `--auth` is a secret.
        (ErrorKind::ValueValidation, Some(ContextValue::String(arg)), _) if arg.starts_with("--auth ") => {
            error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
        }
        (ErrorKind::InvalidSubcommand, _, Some(ContextValue::String(typed))) => {
            if let Some(tip) = tip_for_command(typed) {
                error.remove(ContextKind::SuggestedSubcommand);
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
            }
        }
        _ => {}
    }
    error
}

/// The subcommand on the command line, or `bucle` itself.
fn command_of(bucle: &Command, mut words: impl Iterator<Item = OsString>) -> &Command {
    words.find_map(|word| bucle.find_subcommand(word)).unwrap_or(bucle)
}

fn tip(typed: &str, command: &Command, bucle: &Command) -> Option<String> {
    let name = typed.trim_start_matches('-');
    if !typed.starts_with('-') {
        return None;
    }
    let meant = MEANT.iter().find(|(of, names, _)| *of == command.get_name() && names.contains(&name));
    meant.map(|(.., tip)| (*tip).to_owned()).or_else(|| elsewhere(typed, bucle)).or_else(|| nearly(name, command))
}

/// The commands that have this option.
fn elsewhere(typed: &str, bucle: &Command) -> Option<String> {
    let is_typed = |arg: &Arg| match typed.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| typed == format!("-{short}")),
    };
    let has_it = |command: &&Command| command.get_arguments().any(|arg| !arg.is_hide_set() && is_typed(arg));
    let commands: Vec<String> =
        bucle.get_subcommands().filter(has_it).map(|command| format!("'bucle {}'", command.get_name())).collect();
    (!commands.is_empty()).then(|| format!("'{typed}' is an option of {}", commands.join(" and ")))
}

/// The option of this command whose name is nearly the same: one letter in four may be wrong, missing, or too many.
fn nearly(name: &str, command: &Command) -> Option<String> {
    let wrong = |long: &str| strsim::osa_distance(name, long);
    let names = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long);
    let nearest = names.min_by_key(|long| wrong(long))?;
    (wrong(nearest) <= name.chars().count() / 4).then(|| format!("a similar option exists: '--{nearest}'"))
}

fn tip_for_command(typed: &str) -> Option<String> {
    let server = Kind::ALL.into_iter().find(|kind| kind.name() == typed);
    let known = COMMANDS.iter().find(|(words, _)| words.contains(&typed)).map(|(_, tip)| (*tip).to_owned());
    server.map(|kind| format!("use 'bucle serve {}'", kind.name())).or(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tip_names_the_option_that_was_meant_or_there_is_none() {
        let table = [
            ("serve --bind", "use '--host'"),
            ("serve --reconnect", "'--reconnect' is an option of 'bucle connect' and 'bucle load'"),
            ("serve --max-conections", "a similar option exists: '--max-connections'"),
            ("connect --connect-timeout", "use '--timeout'"),
            ("connect --timeuot", "a similar option exists: '--timeout'"),
            ("connect --inspect", "'--inspect' is an option of 'bucle serve'"),
            ("load --raw", "'--raw' is an option of 'bucle connect'"),
            ("load -v", "'-v' is an option of 'bucle serve' and 'bucle connect'"),
            ("load --worker-count", ""),
            ("load --wat", ""),
            ("connect -x", ""),
            ("quiz --list", "use 'bucle quiz list'"),
        ];
        let bucle = super::super::command();
        for (line, want) in table {
            let (command, typed) = line.split_once(' ').expect("two words");
            let command = bucle.find_subcommand(command).expect("a command");
            assert_eq!(tip(typed, command, &bucle).unwrap_or_default(), want, "{line}");
        }
    }

    /// A tip for an option that the command has would never be shown, and a tip must name an option that there is.
    #[test]
    fn the_table_fits_the_options() {
        let bucle = super::super::command();
        for (command, names, tip) in MEANT {
            let command = bucle.find_subcommand(command).expect("a command");
            let has = |long: &str| command.get_arguments().any(|arg| arg.get_long() == Some(long));
            assert!(!names.iter().any(|name| has(name)), "{names:?}");
            for long in tip.split(['\'', ' ']).filter_map(|word| word.strip_prefix("--")) {
                assert!(has(long), "{tip}");
            }
        }
        assert_eq!(tip_for_command("chat").as_deref(), Some("use 'bucle serve chat'"));
        assert_eq!(tip_for_command("server").as_deref(), Some("use 'bucle serve'"));
        assert_eq!(tip_for_command("quit"), None);
    }
}
