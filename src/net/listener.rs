//! Listening: the address or path where a server listens, and the descriptor that it accepts from.
//!
//! ```text
//!   Listen (address, backlog, …) ─▶ open_listener ─▶ socket, options, bind, listen ─▶ Listener ─▶ accept ─▶ Stream
//!   Listen (descriptor)          ─▶ open_listener ─▶ check, options ────────────────▶ Listener
//! ```
//!
//! Options are set on the listener before it is bound. On Linux accepted connections inherit them, which saves system
//! calls. The kernel bounds the number of connections that wait to be accepted: [`Listen::backlog`].
//!
//! A descriptor was bound by another part of the program or by another process (systemd), which owns the address. So
//! its backlog and the file of a unix socket are not touched.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    place: Place,
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

    /// A socket that listens already, TCP or unix, for example one that a service manager has passed to the process.
    /// A `TcpListener` and a `UnixListener` of the standard library are accepted, too
    /// ([Node:
    /// `server.listen({ fd })`](https://nodejs.org/docs/latest-v20.x/api/net.html#serverlistenhandle-backlog-callback)).
    ///
    /// Each server that listens on it gets a duplicate of the descriptor. The kernel refuses connections only when all
    /// duplicates are closed, in this process and in others; until then they wait in the backlog. A drain may leave
    /// them there for the next process: [`Drain::leave_backlog`](super::Drain::leave_backlog).
    ///
    /// The options of the server are set on the socket, and it is made non-blocking; both hold for every process that
    /// shares it. The options of `Listen` have no effect, and the file of a unix socket is not removed: the program
    /// that has bound the socket is responsible for both. Node calls `listen` again, with its own backlog.
    ///
    /// The call that takes this returns [`Error::InvalidDescriptor`] for anything but a listening stream socket.
    ///
    /// ```
    /// use bucle::net::{self, Listen, on};
    ///
    /// let bound = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    /// let address = bound.local_addr().expect("it is bound");
    /// bucle::run(|lp| {
    ///     let server = net::listen(lp, Listen::from_fd(bound), on().connection(|lp, socket| socket.end(lp)))?;
    ///     assert_eq!(server.port(lp), Some(address.port()));
    ///     server.close(lp);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), bucle::Error>(())
    /// ```
    pub fn from_fd(descriptor: impl Into<OwnedFd>) -> Self {
        Listen::new(Place::Descriptor(Descriptor(Arc::new(descriptor.into()))))
    }

    /// How many connections may wait to be accepted. Default: [`BACKLOG`]; the kernel may allow fewer.
    #[must_use]
    pub fn backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Whether an IPv6 address accepts no IPv4 clients (`IPV6_V6ONLY`). Default: no.
    #[doc(alias = "ipv6Only")]
    #[must_use]
    pub fn ipv6_only(mut self, ipv6_only: bool) -> Self {
        self.ipv6_only = ipv6_only;
        self
    }

    /// Whether several processes can listen on the same port; the kernel distributes the connections (`SO_REUSEPORT`).
    /// Default: no.
    #[doc(alias = "reusePort")]
    #[must_use]
    pub fn reuse_port(mut self, reuse_port: bool) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    pub(super) fn at(endpoint: Endpoint) -> Self {
        Listen::new(Place::Endpoint(endpoint))
    }

    fn new(place: Place) -> Self {
        Listen { place, backlog: BACKLOG, ipv6_only: false, reuse_port: false }
    }

    /// The address or path to bind to. `None` for a descriptor, which is bound already.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        match &self.place {
            Place::Endpoint(endpoint) => Some(endpoint),
            Place::Descriptor(_) => None,
        }
    }
}

/// The endpoint, as in errors and logs: `[::]:8080`, `localhost:8080`, `/run/app.sock`, `descriptor 3`.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Endpoint(endpoint) => endpoint.show(f, "[::]"),
            Place::Descriptor(descriptor) => write!(f, "descriptor {}", descriptor.0.as_raw_fd()),
        }
    }
}

/// As [`Listen::from_fd`].
impl From<std::net::TcpListener> for Listen {
    fn from(listener: std::net::TcpListener) -> Self {
        Listen::from_fd(listener)
    }
}

/// As [`Listen::from_fd`].
impl From<std::os::unix::net::UnixListener> for Listen {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Listen::from_fd(listener)
    }
}

/// Where a [`Listen`] leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// An address or path to bind to.
    Endpoint(Endpoint),
    /// A socket that is bound already.
    Descriptor(Descriptor),
}

/// A descriptor that clones of a [`Listen`] share. In an `Arc`, because a `Listen` can be sent to other threads.
#[derive(Clone, Debug)]
struct Descriptor(Arc<OwnedFd>);

/// Equal if it is the same descriptor. A duplicate of it is another one.
impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_raw_fd() == other.0.as_raw_fd()
    }
}

impl Eq for Descriptor {}

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

    /// Closes the descriptor. If another one exists for the same socket, epoll would go on reporting it, so it is
    /// deregistered first.
    pub(super) fn close(&mut self, registry: &mio::Registry) {
        // This fails only for a listener that is not registered.
        let _ = match self {
            Listener::Tcp(listener) => registry.deregister(listener),
            Listener::Unix(listener, ..) => registry.deregister(listener),
            #[cfg(any(test, fuzzing))]
            Listener::Simulated(_) => Ok(()),
            Listener::None => Ok(()),
        };
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

/// Opens a listener at `address`. Without one it listens on the descriptor or at the path of `on`, or on every address.
pub(super) fn open_listener(on: &Listen, address: Option<SocketAddr>, options: &ServerOptions) -> Result<Listener> {
    let endpoint = match &on.place {
        Place::Descriptor(descriptor) => return take_descriptor(&descriptor.0, options),
        Place::Endpoint(endpoint) => endpoint,
    };
    let port = endpoint.check()?;
    match (endpoint, address) {
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

/// Makes a listener of a duplicate of a socket that listens already.
fn take_descriptor(descriptor: &OwnedFd, options: &ServerOptions) -> Result<Listener> {
    let failed = |error: io::Error| Error::system("listen", &error);
    let invalid = |why| Error::InvalidDescriptor { descriptor: descriptor.as_raw_fd(), why };
    let socket = socket2::Socket::from(descriptor.try_clone().map_err(failed)?);
    match socket.r#type() {
        Ok(socket2::Type::STREAM) => {}
        Ok(_) => return Err(invalid("it is not a stream socket")),
        Err(_) => return Err(invalid("it is not a socket")),
    }
    // Other systems report a socket that does not listen when it accepts.
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    if !socket.is_listener().map_err(failed)? {
        return Err(invalid("it does not listen"));
    }
    socket.set_nonblocking(true).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    if address.is_unix() {
        return Ok(Listener::Unix(UnixListener::from_std(socket.into()), path_of(&address), None));
    }
    if address.as_socket().is_none() {
        return Err(invalid("it is neither a TCP nor a unix socket"));
    }
    set_listener_options(options, |set| drop(set(socket2::SockRef::from(&socket))));
    Ok(Listener::Tcp(TcpListener::from_std(socket.into())))
}

/// The path of a unix socket; an abstract name begins with a NUL. Empty for a socket without a name.
fn path_of(address: &socket2::SockAddr) -> PathBuf {
    match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => path.to_owned(),
        (None, Some(name)) => std::ffi::OsString::from_vec([b"\0", name].concat()).into(),
        (None, None) => PathBuf::new(),
    }
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
        accepted_sockets_have_the_options(("127.0.0.1", 0));
        accepted_sockets_have_the_options(std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    }

    fn accepted_sockets_have_the_options(listen: impl Into<Listen>) {
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
            server.id().listen_now(lp, listen).expect("a free port");
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
