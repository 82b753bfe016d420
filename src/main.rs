//! The command `bucle`: serves, and connects.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
