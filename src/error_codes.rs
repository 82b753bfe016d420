//! Node's codes and libuv's messages for the errors of system calls.
//!
//! The system returns a number, which differs from system to system. People search for a name:
//!
//! ```text
//!   connect(2) -> 111 on Linux, 61 on macOS -> "ECONNREFUSED", "connection refused"
//! ```
//!
//! A table holds the numbers of Linux, macOS and the BSDs, because Rust's [`io::ErrorKind`] has too few names: it has
//! none for `EMFILE`. For numbers that are not in the table, the error kind is used. The rest is `UNKNOWN`.
//!
//! [`lookup_code`] does the same for failed lookups of host names, for which Rust gives only a text.

use std::io::{self, ErrorKind};

// Numbers of errors that this crate compares with, or makes without a system call.
pub(crate) const EACCES: i32 = number_of("EACCES");
pub(crate) const ECONNREFUSED: i32 = number_of("ECONNREFUSED");
pub(crate) const EMFILE: i32 = number_of("EMFILE");
pub(crate) const ENFILE: i32 = number_of("ENFILE");
pub(crate) const ENOBUFS: i32 = number_of("ENOBUFS");
pub(crate) const ENOENT: i32 = number_of("ENOENT");
pub(crate) const ENOMEM: i32 = number_of("ENOMEM");
pub(crate) const ETIMEDOUT: i32 = number_of("ETIMEDOUT");

/// Node's `error.code` for a system error number: `ECONNREFUSED`, or `UNKNOWN`.
pub(crate) fn name(errno: i32) -> &'static str {
    find(errno).map_or(UNKNOWN, |row| row.name)
}

/// libuv's message for a system error number: `connection refused`, or `unknown error`.
///
/// Node prints it after the code for some calls and not for others:
/// `listen EADDRINUSE: address already in use 127.0.0.1:23`, but `connect ECONNREFUSED 127.0.0.1:23`.
pub(crate) fn message(errno: i32) -> &'static str {
    find(errno).map_or("unknown error", |row| row.message)
}

/// The system's number of an error. If Rust made the error, the number that fits its kind, or 0.
pub(crate) fn number(error: &io::Error) -> i32 {
    error.raw_os_error().or_else(|| row_of_kind(error.kind()).map(Row::number)).unwrap_or(0)
}

/// Node's `error.code` for any error of `std::io`: by its number if the system made it, by its kind if Rust made it.
pub(crate) fn code(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(errno) => name(errno),
        None => row_of_kind(error.kind()).map_or(UNKNOWN, |row| row.name),
    }
}

/// Node's `error.code` for a host name that [`std::net::ToSocketAddrs`] could not resolve.
///
/// `ENOTFOUND` if the name does not exist or has no address; `EAI_AGAIN` if no name server answered and a later try may
/// succeed.
///
/// Rust keeps only the resolver's text (`gai_strerror(3)`), which is English unless the program calls `setlocale(3)`.
/// So the text is compared with those of the common C libraries. Any other text gives `EAI_FAIL`.
pub(crate) fn lookup_code(error: &io::Error) -> &'static str {
    if error.raw_os_error().is_some() {
        return code(error);
    }
    if error.kind() == ErrorKind::InvalidInput {
        // Rust did not call the resolver, for example because the name has a NUL, or got no addresses. Node uses the
        // same code for both.
        return "ENOTFOUND";
    }
    let text = error.to_string().to_ascii_lowercase();
    let is_part = |(part, _): &&(&str, &str)| text.contains(part);
    RESOLVER_TEXTS.iter().find(is_part).map_or("EAI_FAIL", |(_, code)| code)
}

const UNKNOWN: &str = "UNKNOWN";

/// A part of the resolver's text, in lower case, and Node's code for it.
///
/// Source: `gai_strerror` of each C library.
#[rustfmt::skip]
const RESOLVER_TEXTS: &[(&str, &str)] = &[
    ("name or service not known", "ENOTFOUND"),                         // glibc
    ("no address associated with", "ENOTFOUND"),                        // glibc, macOS, BSD
    ("name does not resolve", "ENOTFOUND"),                             // musl, FreeBSD
    ("name has no usable address", "ENOTFOUND"),                        // musl
    ("servname provided, or not known", "ENOTFOUND"),                   // macOS, BSD
    ("name or service is not known", "ENOTFOUND"),                      // OpenBSD
    ("temporary failure in name resolution", "EAI_AGAIN"),              // glibc, macOS, BSD
    ("name could not be resolved at this time", "EAI_AGAIN"),           // FreeBSD
    ("try again", "EAI_AGAIN"),                                         // musl
    ("address family for hostname not supported", "EAI_ADDRFAMILY"),    // glibc, BSD
    ("memory allocation failure", "EAI_MEMORY"),                        // glibc, macOS, BSD
    ("out of memory", "EAI_MEMORY"),                                    // musl
];

/// One error: Node's code, libuv's message, and its numbers.
struct Row {
    name: &'static str,
    message: &'static str,
    linux: i32,
    bsd: i32,
}

impl Row {
    const fn number(&self) -> i32 {
        if BSD { self.bsd } else { self.linux }
    }
}

/// In place of the number of an error that the system does not have, or that has a different number on each BSD.
const NONE: i32 = 0;

/// macOS and the BSDs have the numbers of 4.4BSD in common: all that are needed here except `ECANCELED`.
const BSD: bool = cfg!(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd",
));

const BSD_ECANCELED: i32 = if cfg!(target_vendor = "apple") {
    89
} else if cfg!(target_os = "openbsd") {
    88
} else if cfg!(target_os = "netbsd") {
    87
} else {
    85
};

/// Whether Linux has its usual numbers. On some older processors it has the numbers of an earlier Unix.
const LINUX: bool = cfg!(all(
    any(target_os = "linux", target_os = "android"),
    not(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6",
        target_arch = "sparc",
        target_arch = "sparc64",
    )),
));

const fn row(name: &'static str, message: &'static str, linux: i32, bsd: i32) -> Row {
    Row { name, message, linux, bsd }
}

/// Names and messages: libuv `include/uv.h`, `UV_ERRNO_MAP`, by name. Numbers: `errno.h` of each system.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("E2BIG", "argument list too long", 7, 7),
    row("EACCES", "permission denied", 13, 13),
    row("EADDRINUSE", "address already in use", 98, 48),
    row("EADDRNOTAVAIL", "address not available", 99, 49),
    row("EAFNOSUPPORT", "address family not supported", 97, 47),
    row("EAGAIN", "resource temporarily unavailable", 11, 35),
    row("EALREADY", "connection already in progress", 114, 37),
    row("EBADF", "bad file descriptor", 9, 9),
    row("EBUSY", "resource busy or locked", 16, 16),
    row("ECANCELED", "operation canceled", 125, BSD_ECANCELED),
    row("ECONNABORTED", "software caused connection abort", 103, 53),
    row("ECONNREFUSED", "connection refused", 111, 61),
    row("ECONNRESET", "connection reset by peer", 104, 54),
    row("EDESTADDRREQ", "destination address required", 89, 39),
    row("EEXIST", "file already exists", 17, 17),
    row("EFAULT", "bad address in system call argument", 14, 14),
    row("EFBIG", "file too large", 27, 27),
    row("EFTYPE", "inappropriate file type or format", NONE, 79),
    row("EHOSTDOWN", "host is down", 112, 64),
    row("EHOSTUNREACH", "host is unreachable", 113, 65),
    row("EILSEQ", "illegal byte sequence", 84, NONE),
    row("EINTR", "interrupted system call", 4, 4),
    row("EINVAL", "invalid argument", 22, 22),
    row("EIO", "i/o error", 5, 5),
    row("EISCONN", "socket is already connected", 106, 56),
    row("EISDIR", "illegal operation on a directory", 21, 21),
    row("ELOOP", "too many symbolic links encountered", 40, 62),
    row("EMFILE", "too many open files", 24, 24),
    row("EMLINK", "too many links", 31, 31),
    row("EMSGSIZE", "message too long", 90, 40),
    row("ENAMETOOLONG", "name too long", 36, 63),
    row("ENETDOWN", "network is down", 100, 50),
    row("ENETUNREACH", "network is unreachable", 101, 51),
    row("ENFILE", "file table overflow", 23, 23),
    row("ENOBUFS", "no buffer space available", 105, 55),
    row("ENODATA", "no data available", 61, NONE),
    row("ENODEV", "no such device", 19, 19),
    row("ENOENT", "no such file or directory", 2, 2),
    row("ENOMEM", "not enough memory", 12, 12),
    row("ENONET", "machine is not on the network", 64, NONE),
    row("ENOPROTOOPT", "protocol not available", 92, 42),
    row("ENOSPC", "no space left on device", 28, 28),
    row("ENOSYS", "function not implemented", 38, 78),
    row("ENOTCONN", "socket is not connected", 107, 57),
    row("ENOTDIR", "not a directory", 20, 20),
    row("ENOTEMPTY", "directory not empty", 39, 66),
    row("ENOTSOCK", "socket operation on non-socket", 88, 38),
    row("ENOTSUP", "operation not supported on socket", 95, 45),
    row("ENOTTY", "inappropriate ioctl for device", 25, 25),
    row("ENXIO", "no such device or address", 6, 6),
    row("EOVERFLOW", "value too large for defined data type", 75, NONE),
    row("EPERM", "operation not permitted", 1, 1),
    row("EPIPE", "broken pipe", 32, 32),
    row("EPROTO", "protocol error", 71, NONE),
    row("EPROTONOSUPPORT", "protocol not supported", 93, 43),
    row("EPROTOTYPE", "protocol wrong type for socket", 91, 41),
    row("ERANGE", "result too large", 34, 34),
    row("EREMOTEIO", "remote I/O error", 121, NONE),
    row("EROFS", "read-only file system", 30, 30),
    row("ESHUTDOWN", "cannot send after transport endpoint shutdown", 108, 58),
    row("ESOCKTNOSUPPORT", "socket type not supported", 94, 44),
    row("ESPIPE", "invalid seek", 29, 29),
    row("ESRCH", "no such process", 3, 3),
    row("ETIMEDOUT", "connection timed out", 110, 60),
    row("ETXTBSY", "text file is busy", 26, 26),
    row("EUNATCH", "protocol driver not attached", 49, NONE),
    row("EXDEV", "cross-device link not permitted", 18, 18),
];

fn find(errno: i32) -> Option<&'static Row> {
    let by_number = ROWS.iter().find(|row| row.number() == errno && errno != NONE);
    let by_kind = || row_of_kind(io::Error::from_raw_os_error(errno).kind());
    if BSD || LINUX {
        by_number.or_else(by_kind)
    } else {
        // The system's numbers are not in the table, so trust Rust's kind first. The table is needed for the constants
        // above.
        by_kind().or(by_number)
    }
}

fn row_of_kind(kind: ErrorKind) -> Option<&'static Row> {
    let name = match kind {
        ErrorKind::AddrInUse => "EADDRINUSE",
        ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        ErrorKind::AlreadyExists => "EEXIST",
        ErrorKind::BrokenPipe => "EPIPE",
        ErrorKind::ConnectionAborted => "ECONNABORTED",
        ErrorKind::ConnectionRefused => "ECONNREFUSED",
        ErrorKind::ConnectionReset => "ECONNRESET",
        ErrorKind::HostUnreachable => "EHOSTUNREACH",
        ErrorKind::Interrupted => "EINTR",
        ErrorKind::InvalidFilename => "ENAMETOOLONG",
        ErrorKind::InvalidInput => "EINVAL",
        ErrorKind::IsADirectory => "EISDIR",
        ErrorKind::NetworkDown => "ENETDOWN",
        ErrorKind::NetworkUnreachable => "ENETUNREACH",
        ErrorKind::NotADirectory => "ENOTDIR",
        ErrorKind::NotConnected => "ENOTCONN",
        ErrorKind::NotFound => "ENOENT",
        ErrorKind::OutOfMemory => "ENOMEM",
        ErrorKind::PermissionDenied => "EACCES",
        ErrorKind::ReadOnlyFilesystem => "EROFS",
        ErrorKind::ResourceBusy => "EBUSY",
        ErrorKind::StorageFull => "ENOSPC",
        ErrorKind::TimedOut => "ETIMEDOUT",
        ErrorKind::Unsupported => "ENOTSUP",
        ErrorKind::WouldBlock => "EAGAIN",
        _ => return None,
    };
    ROWS.iter().find(|row| row.name == name)
}

/// The system's number for a name. As a constant, a name that is not in the table is a compile error.
pub(crate) const fn number_of(name: &str) -> i32 {
    let mut index = 0;
    // For an unknown name the index runs out of bounds.
    while !same(ROWS[index].name.as_bytes(), name.as_bytes()) {
        index += 1;
    }
    ROWS[index].number()
}

/// `==`, which a `const fn` cannot use on strings yet.
const fn same(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([a, one_rest @ ..], [b, other_rest @ ..]) = (one, other) {
        if *a != *b {
            return false;
        }
        (one, other) = (one_rest, other_rest);
    }
    one.is_empty() && other.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::ToSocketAddrs;

    #[test]
    fn the_constants_have_the_kinds_that_rust_gives_them() {
        let table = [
            ("EACCES", EACCES, ErrorKind::PermissionDenied),
            ("EADDRINUSE", number_of("EADDRINUSE"), ErrorKind::AddrInUse),
            ("EADDRNOTAVAIL", number_of("EADDRNOTAVAIL"), ErrorKind::AddrNotAvailable),
            ("ECONNABORTED", number_of("ECONNABORTED"), ErrorKind::ConnectionAborted),
            ("ECONNREFUSED", number_of("ECONNREFUSED"), ErrorKind::ConnectionRefused),
            ("ECONNRESET", number_of("ECONNRESET"), ErrorKind::ConnectionReset),
            ("EINVAL", number_of("EINVAL"), ErrorKind::InvalidInput),
            ("ENAMETOOLONG", number_of("ENAMETOOLONG"), ErrorKind::InvalidFilename),
            ("ENOENT", ENOENT, ErrorKind::NotFound),
            ("ENOMEM", ENOMEM, ErrorKind::OutOfMemory),
            ("ENOTCONN", number_of("ENOTCONN"), ErrorKind::NotConnected),
            ("EPIPE", number_of("EPIPE"), ErrorKind::BrokenPipe),
            ("ETIMEDOUT", ETIMEDOUT, ErrorKind::TimedOut),
        ];
        for (want, errno, kind) in table {
            assert_eq!(io::Error::from_raw_os_error(errno).kind(), kind, "{want}");
            assert_eq!(name(errno), want);
        }
    }

    /// For constants without a kind in Rust, the system's message is compared.
    #[test]
    fn the_constants_have_the_messages_that_the_system_gives_them() {
        let table = [
            ("EAFNOSUPPORT", number_of("EAFNOSUPPORT"), "family"),
            ("ECANCELED", number_of("ECANCELED"), "cancel"),
            ("EMFILE", EMFILE, "file"),
            ("ENFILE", ENFILE, "open files in system"),
            ("ENOBUFS", ENOBUFS, "buffer space"),
        ];
        for (want, errno, words) in table {
            let text = io::Error::from_raw_os_error(errno).to_string().to_lowercase();
            assert_eq!(name(errno), want);
            assert!(text.contains(words), "{want}: {text}");
        }
    }

    #[test]
    fn errors_have_libuvs_messages() {
        let table = [
            (EACCES, "permission denied"),
            (number_of("EADDRINUSE"), "address already in use"),
            (number_of("EADDRNOTAVAIL"), "address not available"),
            (number_of("ECONNREFUSED"), "connection refused"),
            (number_of("ECONNRESET"), "connection reset by peer"),
            (EMFILE, "too many open files"),
            (ENOENT, "no such file or directory"),
            (number_of("EPIPE"), "broken pipe"),
            (ETIMEDOUT, "connection timed out"),
        ];
        for (errno, want) in table {
            assert_eq!(message(errno), want, "{}", name(errno));
        }
    }

    #[test]
    fn unknown_numbers_have_neither_name_nor_message() {
        for errno in (-5000..5000).chain([i32::MIN, i32::MAX]) {
            assert_eq!(name(errno) == "UNKNOWN", message(errno) == "unknown error", "{errno}");
        }
        for errno in [0, -1, 4095, i32::MIN, i32::MAX] {
            assert_eq!((name(errno), message(errno)), ("UNKNOWN", "unknown error"), "{errno}");
        }
    }

    #[test]
    fn the_table_has_each_name_and_each_number_once() {
        assert!(ROWS.is_sorted_by(|one, next| one.name < next.name), "sorted by name");
        let numbers: [fn(&Row) -> i32; 2] = [|row| row.linux, |row| row.bsd];
        for number in numbers {
            let mut seen = HashSet::new();
            let mut used = ROWS.iter().filter(|row| number(row) != NONE);
            assert!(used.all(|row| seen.insert(number(row))), "a number twice");
        }
    }

    #[test]
    fn errors_without_a_number_go_by_their_kind() {
        let table = [
            ("made by Rust", io::Error::from(ErrorKind::ConnectionReset), "ECONNRESET"),
            ("with a text", io::Error::new(ErrorKind::TimedOut, "slow"), "ETIMEDOUT"),
            ("from the system", io::Error::from_raw_os_error(EMFILE), "EMFILE"),
            ("no kind", io::Error::other("odd"), "UNKNOWN"),
        ];
        for (name, error, want) in table {
            assert_eq!(code(&error), want, "{name}");
        }
    }

    #[test]
    fn failed_lookups_have_nodes_codes() {
        let table = [
            ("glibc: no such name", "Name or service not known", "ENOTFOUND"),
            ("glibc: no address", "No address associated with hostname", "ENOTFOUND"),
            ("glibc: no answer", "Temporary failure in name resolution", "EAI_AGAIN"),
            ("glibc: refused", "Non-recoverable failure in name resolution", "EAI_FAIL"),
            ("glibc: family", "Address family for hostname not supported", "EAI_ADDRFAMILY"),
            ("glibc: memory", "Memory allocation failure", "EAI_MEMORY"),
            ("musl: no such name", "Name does not resolve", "ENOTFOUND"),
            ("musl: no address", "Name has no usable address", "ENOTFOUND"),
            ("musl: no answer", "Try again", "EAI_AGAIN"),
            ("musl: memory", "Out of memory", "EAI_MEMORY"),
            ("macOS: no such name", "nodename nor servname provided, or not known", "ENOTFOUND"),
            ("FreeBSD: no such name", "Name does not resolve", "ENOTFOUND"),
            ("an unknown text", "the dog ate it", "EAI_FAIL"),
        ];
        for (name, text, want) in table {
            let error = io::Error::other(format!("failed to lookup address information: {text}"));
            assert_eq!(lookup_code(&error), want, "{name}");
        }
        assert_eq!(lookup_code(&io::Error::from_raw_os_error(EMFILE)), "EMFILE");
    }

    /// Calls the resolver of this machine, without any network traffic.
    #[test]
    fn a_name_with_a_nul_is_not_found() {
        let error = ("a\0b", 80).to_socket_addrs().unwrap_err();
        assert_eq!(lookup_code(&error), "ENOTFOUND");
    }
}
