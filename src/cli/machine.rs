//! The limit of open files, checked before anything is opened.

use std::process::ExitCode;

use bucle::process;

use super::exit_code;
use super::stderr::print_error;

/// Descriptors that are not for connections: the three standard streams, the poll and its waker, the listener, signals,
/// a trace, name lookups, and accepted connections that are about to be refused. Redis reserves as many
/// (`CONFIG_MIN_RESERVED_FDS`).
pub(crate) const RESERVED: u64 = 32;

/// The smallest connection limit that is chosen automatically. If the limit of open files allows fewer, it is probably
/// a mistake, and the server does not start.
const LEAST_CONNECTIONS: u64 = 32;

/// The descriptors that a client needs: the standard streams, the poll and its waker, a connection, a terminal,
/// signals, and the files of a name lookup.
const CLIENT_NEEDS: u64 = 20;

/// How many connections a server may have; `wanted` is the number on the command line, and `others` is how many
/// descriptors an inspector and a link to Redis need. `Err` is the exit code when there are too few descriptors to
/// start.
pub(crate) fn connection_limit(wanted: Option<usize>, others: usize) -> Result<usize, ExitCode> {
    let limit = process::raise_descriptor_limit();
    let wanted = wanted.map(|wanted| wanted as u64);
    let reserved = RESERVED + others as u64;
    let needed = reserved + wanted.map_or(LEAST_CONNECTIONS, |wanted| wanted.min(LEAST_CONNECTIONS));
    check(limit, needed, "a server")?;
    let possible = limit - reserved;
    if let Some(wanted) = wanted.filter(|&wanted| wanted > possible) {
        log::warn!(
            target: "bucle::serve",
            "room for {possible} connections, not for {wanted}: at most {limit} files may be open, and {reserved} are reserved"
        );
    }
    Ok(usize::try_from(wanted.map_or(possible, |wanted| wanted.min(possible))).unwrap_or(usize::MAX))
}

/// Checks that there are enough descriptors for a client.
pub(crate) fn check_client() -> Result<(), ExitCode> {
    check(process::raise_descriptor_limit(), CLIENT_NEEDS, "a client")
}

/// Reports that the start failed for lack of descriptors although the limit seemed to allow it: the parent process left
/// too many files open.
pub(crate) fn report_open_files(error: &bucle::Error) -> ExitCode {
    print_error(&format!("cannot start: {error}: too many files are open"), &advice());
    ExitCode::from(exit_code::MACHINE_LIMIT)
}

fn check(limit: u64, needed: u64, program: &str) -> Result<(), ExitCode> {
    if limit >= needed {
        return Ok(());
    }
    print_error(&format!("at most {limit} files may be open at a time, and {program} needs {needed}"), &advice());
    Err(ExitCode::from(exit_code::MACHINE_LIMIT))
}

fn advice() -> [String; 1] {
    ["ulimit -n 4096      then the same command again".to_owned()]
}
