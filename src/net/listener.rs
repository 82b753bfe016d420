//! Listening: the address or path where a server listens, and the descriptor that it accepts from.
//!
//! ```text
//!   Listen (address, backlog, …) ─▶ open_listener ─▶ socket, options, bind, listen ─▶ Listener ─▶ accept ─▶ Stream
//! ```
//!
//! Options are set on the listener before it is bound. On Linux accepted connections inherit them, which saves system
//! calls. The kernel bounds the number of connections that wait to be accepted: [`Listen::backlog`].

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mio::net::{TcpListener, UnixListener};

use super::endpoint::{Endpoint, abstract_address, check_length, failed_on, show_path};
use super::server::ServerOptions;
use super::stream::Stream;
use super::stream::{set_keep_alive, set_urgent_in_line, set_user_timeout};
use super::{BACKLOG, Error};
use crate::Result;
use crate::error_codes;

/// Where to listen, and how ([Node:
/// `server.listen`](https://nodejs.org/docs/latest-v20.x/api/net.html#serverlistenoptions-callback)).
///
/// ```
/// use bucle::net::Listen;
///
/// let everywhere = Listen::from(8080);            // :: and 0.0.0.0
/// let here = Listen::from(("127.0.0.1", 0));      // any free port
/// let text = Listen::from("127.0.0.1:8080");      // from a setting; never a path
/// let path = Listen::path("/run/app.sock").backlog(128);
/// # let _ = (everywhere, here, text, path);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub(super) endpoint: Endpoint,
    backlog: u32,
    ipv6_only: bool,
    reuse_port: bool,
}

impl Listen {
    /// A unix socket. The file must not exist; it is removed when the server is closed, unless another file has taken
    /// its place. A path that begins with a NUL
    /// is an abstract name (Linux).
    ///
    /// A path of more than 107 bytes (103 on systems other than Linux) is a binding error ([`Error::PathTooLong`]). The
    /// call that takes this returns an error for an empty path, and for one with a NUL inside.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Listen::at(Endpoint::Path(path.into()))
    }

    /// How many connections may wait to be accepted. Default: [`BACKLOG`]; the kernel may allow fewer.
    #[must_use]
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Whether an IPv6 address accepts no IPv4 clients (`IPV6_V6ONLY`). Default: no.
    #[must_use]
    pub fn ipv6_only(mut self, ipv6_only: bool) -> Self {
        self.ipv6_only = ipv6_only;
        self
    }

    /// Whether several processes can listen on the same port; the kernel distributes the connections (`SO_REUSEPORT`).
    /// Default: no.
    #[must_use]
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    pub(super) fn at(endpoint: Endpoint) -> Self {
        Listen { endpoint, backlog: BACKLOG, ipv6_only: false, reuse_port: false }
    }
}

/// The endpoint, as in errors and logs: `[::]:8080`, `localhost:8080`, `/run/app.sock`.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.show(f, "[::]")
    }
}

/// The address or path that a server is bound to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LocalAddress {
    /// An address and port.
    Ip(SocketAddr),
    /// A unix path.
    Path(PathBuf),
}

impl LocalAddress {
    /// The port; `None` for a path.
    pub fn port(&self) -> Option<u16> {
        match self {
            LocalAddress::Ip(address) => Some(address.port()),
            LocalAddress::Path(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalAddress::Ip(address) => address.fmt(f),
            LocalAddress::Path(path) => f.write_str(&show_path(path)),
        }
    }
}

/// Device and inode: which file a path names. The listening socket keeps its inode in use, so no later file has the
/// same number while this one is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file at `path`; a symbolic link is not followed.
    fn of(path: &Path) -> Option<FileId> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        Some(FileId { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// The descriptor that a server accepts from.
pub(super) enum Listener {
    None,
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf, Option<FileId>),
    #[cfg(any(test, fuzzing))]
    Simulated(super::simulated::SimulatedListener),
}

impl Listener {
    pub(super) fn is_bound(&self) -> bool {
        !matches!(self, Listener::None)
    }

    pub(super) fn address(&self) -> Option<LocalAddress> {
        match self {
            Listener::None => None,
            Listener::Tcp(listener) => listener.local_addr().ok().map(LocalAddress::Ip),
            Listener::Unix(_, path, _) => Some(LocalAddress::Path(path.clone())),
            #[cfg(any(test, fuzzing))]
            Listener::Simulated(_) => None,
        }
    }

    /// Accepts a connection, without blocking: `WouldBlock` if none waits. Unix sockets have no peer address.
    pub(super) fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::None => Err(io::ErrorKind::WouldBlock.into()),
            Listener::Tcp(listener) => listener.accept().map(|(stream, peer)| (Stream::Tcp(stream), Some(peer))),
            Listener::Unix(listener, ..) => listener.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
            #[cfg(any(test, fuzzing))]
            Listener::Simulated(listener) => listener.accept(),
        }
    }

    pub(super) fn close(&mut self) {
        *self = Listener::None;
    }
}

/// Removes the file of a unix socket before the descriptor is closed, so that no client finds a file without a server.
///
/// A file that another server has put in its place is left alone. An abstract name has no file.
impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path, Some(own)) = self
            && FileId::of(path) == Some(*own)
            && let Err(error) = std::fs::remove_file(&*path)
        {
            log::debug!(target: "bucle::net", "cannot remove {}: {error}", path.display());
        }
    }
}

/// Opens a listener at `address`. Without one it listens at the path of `on`, or on every address.
pub(super) fn open_listener(on: &Listen, address: Option<SocketAddr>, options: &ServerOptions) -> Result<Listener> {
    let port = on.endpoint.check()?;
    match (&on.endpoint, address) {
        (Endpoint::Path(path), _) => open_unix(path, on.backlog),
        (_, Some(address)) => open_tcp(address, on, options),
        (_, None) => {
            // A dual-stack socket if the system has IPv6, else IPv4 alone.
            match open_tcp(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), on, options) {
                Err(error) if matches!(error.code(), "EAFNOSUPPORT" | "EINVAL" | "EADDRNOTAVAIL") => {
                    open_tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), on, options)
                }
                result => result,
            }
        }
    }
}

fn open_tcp(address: SocketAddr, on: &Listen, options: &ServerOptions) -> Result<Listener> {
    let failed = |error: io::Error| failed_on("listen", &error, address);
    let open = || -> io::Result<TcpListener> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        // Lets a restarted server bind the same port while old connections are still in TIME_WAIT.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        if on.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if address.is_ipv6() {
            socket.set_only_v6(on.ipv6_only)?;
        }
        set_listener_options(options, |set| drop(set(socket2::SockRef::from(&socket))));
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(on.backlog).unwrap_or(i32::MAX))?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from_std(socket.into()))
    };
    open().map(Listener::Tcp).map_err(failed)
}

/// Sets the options that accepted sockets inherit from their listener on Linux: once, not once per connection.
pub(super) fn set_listener_options(
    options: &ServerOptions,
    mut apply: impl FnMut(&mut dyn FnMut(socket2::SockRef<'_>) -> io::Result<()>),
) {
    if options.no_delay {
        apply(&mut |socket| socket.set_tcp_nodelay(true));
    }
    if options.keep_alive {
        apply(&mut |socket| set_keep_alive(&socket, true, options.keep_alive_initial_delay));
    }
    if !options.user_timeout.is_zero() {
        apply(&mut |socket| set_user_timeout(&socket, options.user_timeout));
    }
    if options.urgent_in_line {
        apply(&mut |socket| set_urgent_in_line(&socket, true));
    }
}

fn open_unix(path: &Path, backlog: u32) -> Result<Listener> {
    check_length(path)?;
    let open = || -> io::Result<UnixListener> {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        let listened = socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX));
        // `bind` has made the file, and there is no `Listener` yet whose `Drop` would remove it.
        if listened.is_err() && abstract_address(path).is_none() {
            let _ = std::fs::remove_file(path);
        }
        listened?;
        socket.set_nonblocking(true)?;
        Ok(UnixListener::from_std(socket.into()))
    };
    let own = || if abstract_address(path).is_none() { FileId::of(path) } else { None };
    open().map(|listener| Listener::Unix(listener, path.to_owned(), own())).map_err(|error| {
        // A missing directory is EACCES, as libuv reports it on every system.
        let error = match error.raw_os_error() {
            Some(error_codes::ENOENT) => io::Error::from_raw_os_error(error_codes::EACCES),
            _ => error,
        };
        Error::system_at("listen", &error, &show_path(path), None)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::EventLoop;
    use crate::net::{Server, Socket, on};

    /// Setting an option once on the listener saves a system call per connection.
    #[test]
    fn accepted_sockets_inherit_the_options_of_the_listener() {
        let minute = Duration::from_secs(60);
        let limit = Duration::from_millis(70_500);
        let options = ServerOptions {
            no_delay: true,
            keep_alive: true,
            keep_alive_initial_delay: minute,
            user_timeout: limit,
            urgent_in_line: true,
            ..ServerOptions::default()
        };
        let mut event_loop = EventLoop::new().expect("a loop");
        let accepted = std::rc::Rc::new(std::cell::Cell::new(None::<Socket>));
        let seen = accepted.clone();
        let _peer = event_loop.enter(|lp| {
            let handler = on().connection(move |_, socket| seen.set(Some(socket)));
            let server = Server::new(lp, options, handler);
            server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            let port = server.id().address(lp).and_then(|address| address.port()).expect("it is bound");
            std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens")
        });
        let socket = loop {
            event_loop.turn(Some(Duration::from_secs(30))).expect("the poll works");
            if let Some(socket) = accepted.get() {
                break socket;
            }
        };
        event_loop.enter(|lp| {
            let mut was_asked = false;
            lp.net.socket(socket).expect("it is there").stream.with_tcp(|socket| {
                assert!(socket.tcp_nodelay()? && socket.keepalive()?);
                assert_eq!(socket.tcp_keepalive_time()?, minute);
                assert_eq!(
                    (socket.tcp_keepalive_interval()?, socket.tcp_keepalive_retries()?),
                    (Duration::from_secs(1), 10)
                );
                assert_eq!(socket.tcp_user_timeout()?, Some(limit));
                assert!(socket.out_of_band_inline()?);
                was_asked = true;
                Ok(())
            });
            assert!(was_asked);
            // The options can also be changed later, for one socket.
            socket.set_user_timeout(lp, Duration::ZERO);
            socket.set_keep_alive(lp, false, Duration::ZERO);
            socket.set_urgent_in_line(lp, false);
            lp.net.socket(socket).expect("it is there").stream.with_tcp(|socket| {
                assert_eq!((socket.keepalive()?, socket.tcp_user_timeout()?), (false, None));
                assert!(!socket.out_of_band_inline()?);
                was_asked = false;
                Ok(())
            });
            assert!(!was_asked);
        });
    }
}
