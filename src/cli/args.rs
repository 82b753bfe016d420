//! The command line, with clap's builder: the options, and what they mean.

mod connect;
mod serve;
mod unknown;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, value_parser};

use bucle::process;

use super::color::{self, Color};
use super::completions::{self, Shell};
use super::connect::Connect;
use super::exit_code;
use super::help;
use super::load::{self, Load};
use super::man;
use super::quiz;
use super::serve::Serve;
use super::stderr;
use super::wrap::hanging;

/// What `bucle` without arguments prints: a command, and what it does.
const SHORT_HELP: [(&str, &str); 7] = [
    ("", "bucle: a chat server and other small servers, a client for them, a load tester"),
    ("", ""),
    ("  bucle serve          ", "a chat on 127.0.0.1:8080; also echo, lines and others"),
    ("  bucle connect :8080  ", "talk to a server here, as telnet 127.0.0.1 8080 does"),
    ("  bucle load :8080     ", "load-test a server and check every reply"),
    ("", ""),
    ("More:  ", "bucle --help, and --help behind each command: serve, connect, load, quiz"),
];

/// The subcommand to run, with its options.
#[derive(Debug)]
pub(crate) enum Command {
    Serve {
        serve: Box<Serve>,
        verbosity: u8,
    },
    Connect {
        connect: Connect,
        verbosity: u8,
    },
    Load(Box<Load>),
    Quiz(quiz::Options),
    Completions(Shell),
    /// The folder for the pages.
    Man(PathBuf),
}

/// Reads the command line. Help, version and usage errors are printed here; `Err` is the exit code in that case.
pub(crate) fn parse() -> Result<Command, ExitCode> {
    if std::env::args_os().len() <= 1 {
        let width = process::columns_of(&io::stderr()).unwrap_or(80);
        stderr::write(SHORT_HELP.map(|(head, text)| hanging(head, text, width)).concat().as_bytes());
        return Err(ExitCode::from(exit_code::USAGE));
    }
    let command = command();
    let matches = command.clone().try_get_matches().map_err(|error| {
        let error = unknown::explain(error, &command, std::env::args_os().skip(1));
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE))
    })?;
    match matches.subcommand() {
        Some(("serve", matches)) => match serve::serve_of(matches) {
            Ok(serve) => Ok(Command::Serve { serve: Box::new(serve), verbosity: matches.get_count("verbose") }),
            Err(usage) => Err(usage.report()),
        },
        Some(("connect", matches)) => match connect::connect_of(matches) {
            Ok(connect) => Ok(Command::Connect { connect, verbosity: matches.get_count("verbose") }),
            Err(usage) => Err(usage.report()),
        },
        Some(("load", matches)) => match load::load_of(matches) {
            Ok(load) => Ok(Command::Load(Box::new(load))),
            Err(usage) => Err(usage.report()),
        },
        Some(("quiz", matches)) => Ok(Command::Quiz(quiz::Options {
            question: matches.get_one("question").cloned(),
            answer: matches.get_one("answer").cloned(),
            is_stepped: matches.get_flag("step"),
            file: matches.get_one("file").cloned(),
            is_shuffled: matches.get_flag("shuffle"),
            language: matches.get_one::<String>("lang").and_then(|lang| quiz::Language::of(lang)),
        })),
        Some(("completions", matches)) => Ok(Command::Completions(completions::shell_of(matches))),
        Some(("man", matches)) => Ok(Command::Man(man::folder_of(matches))),
        _ => Err(ExitCode::from(exit_code::USAGE)),
    }
}

/// The whole command line. Completions and manual pages are made from it, too.
pub(crate) fn command() -> clap::Command {
    let is_short = help::is_short();
    let command = clap::Command::new("bucle")
        .about("Runs small servers, connects to servers, and load-tests them")
        .version(env!("CARGO_PKG_VERSION"))
        .color(Color::typed().for_clap())
        .arg(color::arg())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            help::arrange(serve::command(), help::SERVE, is_short),
            help::arrange(connect::command(), help::CONNECT, is_short),
            help::arrange(load::command(), help::LOAD, is_short),
            quiz_command(),
        ])
        .subcommands([completions::command(), man::command()]);
    help::arrange_top(command)
}

fn quiz_command() -> clap::Command {
    clap::Command::new("quiz")
        .about("Asks in which order the lines of short programs are printed, and explains it from a trace")
        .arg(
            Arg::new("question")
                .value_name("NUMBER|list")
                .help("The number of one question, or `list` to list them; without it, all questions"),
        )
        .arg(
            Arg::new("answer")
                .long("answer")
                .value_name("ORDER")
                .requires("question")
                .help("The order, as letters or words"),
        )
        .arg(
            Arg::new("step")
                .long("step")
                .action(ArgAction::SetTrue)
                .requires("question")
                .conflicts_with("answer")
                .help("Run the program callback by callback and show the queues; Enter goes on"),
        )
        .arg(
            Arg::new("shuffle")
                .long("shuffle")
                .action(ArgAction::SetTrue)
                .conflicts_with("question")
                .help("Ask all questions in a random order"),
        )
        .arg(
            Arg::new("file")
                .long("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Your own questions instead; docs/quiz.md describes the form of the file"),
        )
        .arg(
            Arg::new("lang")
                .long("lang")
                .value_name("LANG")
                .value_parser(PossibleValuesParser::new(quiz::Language::CODES))
                .hide_possible_values(true)
                .help("en or es [default: at a terminal that of LC_ALL, LC_MESSAGES or LANG, else en]"),
        )
        .after_help(
            "The exit code is 0 if every question was answered correctly at the first attempt. It is 4 if one was \
             answered wrong, given up or left open (`quit`, the end of the input, no order). This is the same at a \
             terminal, in a pipe and with --answer.\n\n\
             Examples:\n  bucle quiz\n  bucle quiz list --lang es\n  bucle quiz 3 --answer \"c a d b\"\n  \
             bucle quiz 3 --step\n  bucle quiz --file lesson.txt --shuffle",
        )
}

fn verbose() -> Arg {
    Arg::new("verbose")
        .short('v')
        .long("verbose")
        .action(ArgAction::Count)
        .help("Log more on stderr: -v servers, -vv connections, -vvv every event")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
