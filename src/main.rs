//! The command `bucle`: serves, connects, and asks what runs when.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
