//! The client. It comes with the branch `process`.

use std::process::ExitCode;

pub(crate) fn run(target: &str, _raw: bool) -> ExitCode {
    super::complain(&format!("cannot connect to {target}: not built yet"), &[]);
    ExitCode::from(super::exit_code::FAILURE)
}
