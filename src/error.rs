//! Errors, with Node's codes.
//!
//! Each variant of [`Error`] documents what happened and what the program can still do. [`Error::code`] is Node's
//! `error.code`, because people search for these codes. `WouldBlock` and `Interrupted` are handled where the system
//! call is made, and are never returned.

use std::borrow::Cow;
use std::{fmt, io};

use crate::error_codes;
use crate::net::{AddressError, Limit};

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error, as Node reports it.
///
/// It is cheap to clone: several write callbacks and `on_error` may get the same error.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed. The socket it concerned is closed; a server can listen again.
    System(Box<SystemError>),
    /// A host name could not be resolved (`ENOTFOUND`, `EAI_AGAIN`). Check the spelling, or use an IP address.
    Lookup {
        /// Node's code.
        code: &'static str,
        /// The name that was looked up.
        host: Box<str>,
    },
    /// The connect attempt to every address of a name failed. The errors are in the order of the attempts.
    AllAttemptsFailed(Box<[Error]>),
    /// `write` was called after [`end`](crate::net::Socket::end). Nothing of it was sent.
    WriteAfterEnd,
    /// `write` or `end` was called after [`destroy`](crate::net::Socket::destroy), or had not completed when the socket
    /// was destroyed.
    Destroyed {
        /// What was called: `write` or `end`.
        action: &'static str,
    },
    /// [`end`](crate::net::Socket::end) was called with a callback after the socket had finished.
    AlreadyFinished,
    /// The socket was destroyed before it was connected. Queued writes were not sent.
    ClosedBeforeConnection,
    /// The socket has no connection, or has lost it.
    SocketClosed,
    /// `write` was called after the peer had ended and the socket had therefore ended too (`EPIPE`).
    /// To write after the peer's end, set `allow_half_open`.
    EndedByPeer,
    /// [`listen`](crate::net::ServerId::listen) was called on a server that is already listening.
    AlreadyListening,
    /// [`close`](crate::net::ServerId::close) was called on a server that is not listening.
    NotRunning,
    /// The port is not between 0 and 65535.
    BadPort(i64),
    /// The local address to connect from is not an IP address.
    InvalidIpAddress(Box<str>),
    /// A text that names where to listen or connect to is not `HOST:PORT`. For a unix socket give a
    /// [`Path`](std::path::Path), for a port alone a number.
    InvalidAddress(Box<str>),
    /// The path of a unix socket is empty or has a NUL inside.
    InvalidPath(Box<str>),
    /// The path is too long for a unix socket. Node truncates it.
    PathTooLong {
        /// The path, with `@` for the NUL of an abstract name.
        path: Box<str>,
        /// The maximum length in bytes; the NUL of an abstract name does not count.
        limit: usize,
    },
    /// A server cannot listen on the descriptor of [`Listen::from_fd`](crate::net::Listen::from_fd). Check that a
    /// socket was passed that is bound and listens.
    InvalidDescriptor {
        /// The number of the descriptor.
        descriptor: i32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The peer reads too slowly, or not at all, and a limit was reached. The socket is destroyed with a reset, and the
    /// queued bytes are lost. The limits are those of [`Limits`](crate::net::Limits) and
    /// [`Loop::set_outbox_limit`](crate::Loop::set_outbox_limit).
    TooSlow {
        /// How many bytes were queued for the peer.
        waiting: usize,
        /// The limit that was reached.
        limit: Limit,
    },
    /// Only a TCP connection can be reset.
    InvalidHandleType,
    /// The socket is already open or connecting.
    AlreadyConnected,
    /// The socket or server of the handle is gone.
    Gone,
    /// An argument of [`BlockList`](crate::net::BlockList) or [`SocketAddress`](crate::net::SocketAddress) is not
    /// valid.
    Address(AddressError),
    /// An error that the program made, for [`destroy_with`](crate::net::Socket::destroy_with).
    Custom {
        /// A short name for machines, such as `E_QUOTA`.
        code: Cow<'static, str>,
        /// A sentence for people.
        message: Box<str>,
    },
}

/// A system call that failed, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemError {
    /// The operating system's error number, positive. 0 if there is none.
    pub errno: i32,
    /// The call: `connect`, `bind`, `listen`, `accept`, `read`, `write`, `poll`, `epoll_create`, `sigaction`, …
    pub syscall: &'static str,
    /// The address or path, if the call had one.
    pub address: Option<Box<str>>,
    /// The port, if the call had one.
    pub port: Option<u16>,
}

impl Error {
    /// Makes an error of the program's own, for [`destroy_with`](crate::net::Socket::destroy_with).
    pub fn custom(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Error::Custom { code: code.into(), message: message.into().into_boxed_str() }
    }

    /// Node's `error.code`: `ECONNREFUSED`, `ERR_STREAM_WRITE_AFTER_END`, …
    /// ([Node: error codes](https://nodejs.org/docs/latest-v20.x/api/errors.html#nodejs-error-codes)).
    pub fn code(&self) -> &str {
        match self {
            Error::System(system) => error_codes::name(system.errno),
            Error::Lookup { code, .. } => code,
            Error::AllAttemptsFailed(attempts) => attempts.first().map_or("UNKNOWN", |first| first.code()),
            Error::WriteAfterEnd => "ERR_STREAM_WRITE_AFTER_END",
            Error::Destroyed { .. } => "ERR_STREAM_DESTROYED",
            Error::AlreadyFinished => "ERR_STREAM_ALREADY_FINISHED",
            Error::ClosedBeforeConnection => "ERR_SOCKET_CLOSED_BEFORE_CONNECTION",
            Error::SocketClosed => "ERR_SOCKET_CLOSED",
            Error::EndedByPeer => "EPIPE",
            Error::AlreadyListening => "ERR_SERVER_ALREADY_LISTEN",
            Error::NotRunning => "ERR_SERVER_NOT_RUNNING",
            Error::BadPort(_) => "ERR_SOCKET_BAD_PORT",
            Error::InvalidIpAddress(_) => "ERR_INVALID_IP_ADDRESS",
            Error::InvalidAddress(_) | Error::InvalidPath(_) => "ERR_INVALID_ARG_VALUE",
            Error::PathTooLong { .. } => "ENAMETOOLONG",
            Error::InvalidDescriptor { .. } => "EINVAL",
            Error::TooSlow { .. } => "E_TOO_SLOW",
            Error::InvalidHandleType => "ERR_INVALID_HANDLE_TYPE",
            Error::AlreadyConnected => "EISCONN",
            Error::Gone => "ERR_SOCKET_CLOSED",
            Error::Address(error) => error.code(),
            Error::Custom { code, .. } => code,
        }
    }

    /// The nearest of Rust's error kinds, for code that distinguishes errors by kind.
    pub fn kind(&self) -> io::ErrorKind {
        use io::ErrorKind::*;
        match self {
            Error::System(system) => io::Error::from_raw_os_error(system.errno).kind(),
            Error::Lookup { .. } => NotFound,
            Error::AllAttemptsFailed(attempts) => attempts.first().map_or(Other, Error::kind),
            Error::EndedByPeer => BrokenPipe,
            Error::TooSlow { .. } => TimedOut,
            Error::BadPort(_)
            | Error::InvalidIpAddress(_)
            | Error::InvalidAddress(_)
            | Error::InvalidPath(_)
            | Error::InvalidDescriptor { .. }
            | Error::Address(_) => InvalidInput,
            Error::PathTooLong { .. } => InvalidFilename,
            Error::InvalidHandleType => Unsupported,
            Error::AlreadyConnected | Error::AlreadyListening => AlreadyExists,
            Error::WriteAfterEnd
            | Error::Destroyed { .. }
            | Error::AlreadyFinished
            | Error::ClosedBeforeConnection
            | Error::SocketClosed
            | Error::NotRunning
            | Error::Gone => NotConnected,
            Error::Custom { .. } => Other,
        }
    }

    /// Node's `error.errno`: the operating system's number, negated. `None` for other errors than the system's.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::System(system) if system.errno != 0 => Some(-system.errno),
            _ => None,
        }
    }

    /// Node's `error.syscall`: the call that failed, for errors of the system.
    pub fn syscall(&self) -> Option<&'static str> {
        match self {
            Error::System(system) => Some(system.syscall),
            Error::Lookup { .. } => Some("getaddrinfo"),
            _ => None,
        }
    }

    /// The address or path of the failed call, if it had one.
    pub fn address(&self) -> Option<&str> {
        match self {
            Error::System(system) => system.address.as_deref(),
            _ => None,
        }
    }

    /// The port of the failed call, if it had one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Error::System(system) => system.port,
            _ => None,
        }
    }

    /// The error of a system call without an address.
    pub(crate) fn system(syscall: &'static str, error: &io::Error) -> Self {
        let errno = error_codes::number(error);
        Error::System(Box::new(SystemError { errno, syscall, address: None, port: None }))
    }

    /// The error of a system call on an address or path.
    pub(crate) fn system_at(syscall: &'static str, error: &io::Error, address: &str, port: Option<u16>) -> Self {
        let errno = error_codes::number(error);
        Error::System(Box::new(SystemError { errno, syscall, address: Some(address.into()), port }))
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.syscall, error_codes::name(self.errno))?;
        // Node adds libuv's message for listen and bind, but not for connect.
        if matches!(self.syscall, "listen" | "bind") {
            write!(f, ": {}", error_codes::message(self.errno))?;
        }
        match (&self.address, self.port) {
            (Some(address), Some(port)) => write!(f, " {address}:{port}"),
            (Some(address), None) => write!(f, " {address}"),
            (None, _) => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System(system) => system.fmt(f),
            Error::Lookup { code, host } => write!(f, "getaddrinfo {code} {host}"),
            Error::AllAttemptsFailed(attempts) => {
                f.write_str("every address failed: ")?;
                for (i, attempt) in attempts.iter().enumerate() {
                    if i > 0 {
                        f.write_str("; ")?;
                    }
                    attempt.fmt(f)?;
                }
                Ok(())
            }
            Error::WriteAfterEnd => f.write_str("write after end"),
            Error::Destroyed { action } => write!(f, "cannot call {action} after the socket was destroyed"),
            Error::AlreadyFinished => f.write_str("cannot call end after the socket has finished"),
            Error::ClosedBeforeConnection => f.write_str("socket closed before the connection was established"),
            Error::SocketClosed => f.write_str("socket is closed"),
            Error::EndedByPeer => f.write_str("this socket has been ended by the other party"),
            Error::AlreadyListening => f.write_str("listen was called more than once without closing the server"),
            Error::NotRunning => f.write_str("server is not running"),
            Error::BadPort(port) => write!(f, "port should be >= 0 and < 65536, received {port}"),
            Error::InvalidIpAddress(text) => write!(f, "invalid IP address: {text}"),
            Error::InvalidAddress(text) => {
                write!(f, "{text:?} is not HOST:PORT; a unix socket is Path::new({text:?}), a port alone is a number")
            }
            Error::InvalidPath(path) if path.is_empty() => f.write_str("the path of a unix socket is empty"),
            Error::InvalidPath(path) => write!(f, "the path of a unix socket has a NUL inside: {path:?}"),
            Error::InvalidDescriptor { descriptor, why } => {
                write!(f, "cannot listen on descriptor {descriptor}: {why}")
            }
            Error::PathTooLong { path, limit } => {
                write!(f, "the path of a unix socket is longer than {limit} bytes: {path}")
            }
            Error::TooSlow { waiting, limit } => write!(f, "too slow: {waiting} bytes are queued, {limit}"),
            Error::InvalidHandleType => f.write_str("only a TCP connection can be reset"),
            Error::AlreadyConnected => f.write_str("the socket is already connected or connecting"),
            Error::Gone => f.write_str("the socket or server of this handle is gone"),
            Error::Address(error) => error.fmt(f),
            Error::Custom { message, .. } => f.write_str(message),
        }
    }
}

/// The same text as `Display`, because a program whose `main` returns an error prints its `Debug` form.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Address(error) => Some(error),
            Error::AllAttemptsFailed(attempts) => attempts.first().map(|first| first as _),
            _ => None,
        }
    }
}

/// Lets `?` convert I/O errors, such as those of files, in a callback or main body: the result is an [`Error::Custom`]
/// with Node's code.
///
/// ```
/// let read = bucle::run(|_| Ok(std::fs::read("/no/such/file")?));
/// assert_eq!(read.map_err(|error| error.code().to_owned()), Err("ENOENT".to_owned()));
/// ```
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::custom(error_codes::code(&error), error.to_string())
    }
}

/// For code that expects a standard error: its kind is [`Error::kind`], and it contains this error.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.kind(), error)
    }
}

impl From<AddressError> for Error {
    fn from(error: AddressError) -> Self {
        Error::Address(error)
    }
}

const _: () = assert!(size_of::<Error>() <= 48);
