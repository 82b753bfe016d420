//! What the machine allows: open files, before anything is opened.

use std::process::ExitCode;

use bucle::process;

use super::{complain, exit_code};

/// Descriptors that are not for connections: the three standard streams, the poll and its waker, the listener, signals, a
/// trace, name look-ups, and newcomers on their way out of a full house. Redis keeps as many back
/// (`CONFIG_MIN_RESERVED_FDS`).
pub(crate) const RESERVED: u64 = 32;

/// Fewer connections than this nobody starts a server for; so little room is a mistake.
const LEAST_CONNECTIONS: u64 = 32;

/// What a client needs: the standard streams, the poll and its waker, a connection, a terminal, signals, and what a name
/// look-up has open meanwhile.
const CLIENT_NEEDS: u64 = 20;

/// How many connections a server may have that was asked for `wanted`; `Err` is how the process ends if that is too few
/// to start.
pub(crate) fn places(wanted: Option<usize>) -> Result<usize, ExitCode> {
    let limit = process::raise_descriptor_limit();
    let wanted = wanted.map(|wanted| wanted as u64);
    let needed = RESERVED + wanted.map_or(LEAST_CONNECTIONS, |wanted| wanted.min(LEAST_CONNECTIONS));
    check(limit, needed, "a server")?;
    let places = limit - RESERVED;
    if let Some(wanted) = wanted.filter(|&wanted| wanted > places) {
        log::warn!(
            target: "bucle::serve",
            "room for {places} connections, not for {wanted}: at most {limit} files may be open, and {RESERVED} are kept back"
        );
    }
    Ok(usize::try_from(wanted.map_or(places, |wanted| wanted.min(places))).unwrap_or(usize::MAX))
}

/// Whether there is room for a client.
pub(crate) fn check_client() -> Result<(), ExitCode> {
    check(process::raise_descriptor_limit(), CLIENT_NEEDS, "a client")
}

/// How a process ends that found no descriptor while it started, although the limit seemed to allow it: whoever started it
/// left too many open.
pub(crate) fn complain_of_descriptors(error: &bucle::Error) -> ExitCode {
    complain(&format!("cannot start: {error}: too many files are open"), &advice());
    ExitCode::from(exit_code::MACHINE_LIMIT)
}

fn check(limit: u64, needed: u64, who: &str) -> Result<(), ExitCode> {
    if limit >= needed {
        return Ok(());
    }
    complain(&format!("at most {limit} files may be open at a time, and {who} needs {needed}"), &advice());
    Err(ExitCode::from(exit_code::MACHINE_LIMIT))
}

fn advice() -> [String; 1] {
    ["ulimit -n 4096      then the same again".to_owned()]
}
