//! The command `bucle`: small servers, a client, a load tester, and a quiz about the order of callbacks.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
