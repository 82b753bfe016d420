//! `bucle completions`: scripts with which a shell completes the command line. `clap_complete` makes them from the
//! options.

use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgMatches};
use clap_complete::aot;

use bucle::process;

use super::exit_code;
use super::stderr::print_error;

/// A shell that can complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// The shell with this name; clap accepts only names of [`command`].
    fn of(name: &str) -> Shell {
        match name {
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            _ => Shell::Bash,
        }
    }
}

/// The options of the subcommand.
pub(crate) fn command() -> clap::Command {
    clap::Command::new("completions")
        .about("Prints a script with which a shell completes options and values")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(PossibleValuesParser::new(["bash", "zsh", "fish"]).map(|name| Shell::of(&name)))
                .help("The shell"),
        )
        .after_help(
            "zsh looks for scripts in the folders of fpath: add  fpath+=~/.zfunc  to .zshrc, before compinit.\n\n\
             Examples:\n  source <(bucle completions bash)\n  bucle completions bash > ~/.local/share/bash-completion/completions/bucle\n  bucle completions zsh > ~/.zfunc/_bucle\n  bucle completions fish > ~/.config/fish/completions/bucle.fish",
        )
}

pub(crate) fn shell_of(matches: &ArgMatches) -> Shell {
    matches.get_one("shell").copied().unwrap_or(Shell::Bash)
}

/// Prints the script for `command`.
pub(crate) fn print(command: &clap::Command, shell: Shell) -> ExitCode {
    let mut command = without_hidden(command).version(env!("CARGO_PKG_VERSION"));
    let mut script = Vec::new();
    let generator = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    aot::generate(generator, &mut command, "bucle", &mut script);
    match process::write_stdout(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&format!("cannot write the script: {error}"), &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// The same commands without hidden options, which `clap_complete` would offer. Hidden arguments without a name stay:
/// options name them in their conflicts.
fn without_hidden(command: &clap::Command) -> clap::Command {
    clap::Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .args(command.get_arguments().filter(|arg| arg.is_positional() || !arg.is_hide_set()))
        .subcommands(command.get_subcommands().map(without_hidden))
}
