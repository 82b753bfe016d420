//! The descriptor of a connection: its system calls and its options.
//!
//! A call that a signal interrupts (`EINTR`) is repeated here, so the rest of `net` never sees `Interrupted`.
//! `WouldBlock` is returned: only the caller knows whether it ends a read loop or leaves bytes in an outbox.
//!
//! The fast path of `read` and `write` is inlined into the loop's busiest functions; repeating is a cold function.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::{TcpStream, UnixStream};
use socket2::{SockRef, TcpKeepalive};

/// Flags of `recv(2)` on Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MSG_OOB: i32 = 1;
#[cfg(any(target_os = "linux", target_os = "android"))]
const MSG_PEEK: i32 = 2;

/// The descriptor: TCP or unix.
pub(super) enum Stream {
    /// Never opened, or closed.
    None,
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(any(test, fuzzing))]
    Simulated(super::simulated::SimulatedStream),
}

impl Stream {
    /// `read(2)`, repeated if a signal interrupts it.
    #[inline(always)]
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.read_once(buf) {
            Err(error) => self.read_again(buf, error),
            result => result,
        }
    }

    #[inline(always)]
    fn read_once(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buf),
            Stream::Unix(stream) => stream.read(buf),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(stream) => stream.read(buf),
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_again(&mut self, buf: &mut [u8], error: io::Error) -> io::Result<usize> {
        let mut result = Err(error);
        while matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            result = self.read_once(buf);
        }
        result
    }

    /// `write(2)`, repeated if a signal interrupts it. May be short.
    #[inline(always)]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.write_once(bytes) {
            Err(error) => self.write_again(bytes, error),
            result => result,
        }
    }

    #[inline(always)]
    fn write_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(stream) => stream.write(bytes),
            Stream::None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    #[cold]
    #[inline(never)]
    fn write_again(&mut self, bytes: &[u8], error: io::Error) -> io::Result<usize> {
        let mut result = Err(error);
        while matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
            result = self.write_once(bytes);
        }
        result
    }

    /// Writes several pieces with one `writev(2)`. May be short.
    pub fn write_pieces(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let result = match self {
                Stream::Tcp(stream) => stream.write_vectored(pieces),
                Stream::Unix(stream) => stream.write_vectored(pieces),
                #[cfg(any(test, fuzzing))]
                Stream::Simulated(stream) => stream.write_pieces(pieces),
                Stream::None => return Err(io::ErrorKind::NotConnected.into()),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Sends the FIN.
    pub fn shutdown(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(stream) => stream.shutdown(),
            Stream::None => Ok(()),
        }
    }

    /// Whether the kernel has something that was not read yet: bytes, or a FIN. One system call, which reads nothing.
    pub fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Stream::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Stream::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(_) => return false,
            Stream::None => return false,
        };
        peeked.is_ok()
    }

    /// Whether the kernel has an urgent byte that was not read yet, on a socket with
    /// [`set_urgent_in_line`](super::Socket::set_urgent_in_line). Reads nothing. On Linux only.
    pub fn has_urgent_byte(&self) -> bool {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Stream::Tcp(stream) = self {
            let socket = SockRef::from(stream);
            if !socket.out_of_band_inline().unwrap_or(false) {
                return false;
            }
            // The kernel returns the byte by itself only while it is not in line. Nothing is read in between. (If a
            // second urgent byte arrives in this microsecond and the first one is next to be read, Linux drops the
            // first one.)
            let _ = socket.set_out_of_band_inline(false);
            let peeked = socket.recv_with_flags(&mut [MaybeUninit::uninit()], MSG_OOB | MSG_PEEK);
            let _ = socket.set_out_of_band_inline(true);
            return matches!(peeked, Ok(1));
        }
        false
    }

    pub fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(stream) => stream.address(),
            _ => None,
        }
    }

    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(stream) => stream.address(),
            _ => None,
        }
    }

    /// Whether this is a TCP connection between a port and the same port.
    pub fn is_connected_to_itself(&self) -> bool {
        let Stream::Tcp(stream) = self else { return false };
        let Ok(peer) = stream.peer_addr() else { return false };
        stream.local_addr().is_ok_and(|local| local == peer)
    }

    /// `SO_ERROR`: the outcome of a connect, or an error that has not been returned by another call yet.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Stream::Tcp(stream) => stream.take_error(),
            Stream::Unix(stream) => stream.take_error(),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(stream) => stream.take_error(),
            Stream::None => Ok(None),
        }
    }

    pub fn is_tcp(&self) -> bool {
        match self {
            Stream::Tcp(_) => true,
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(_) => true,
            _ => false,
        }
    }

    /// Sets an option that only TCP has. On a unix socket it does nothing, as in Node. A refused option is only logged.
    pub fn with_tcp(&self, set: impl FnOnce(socket2::SockRef<'_>) -> io::Result<()>) {
        if let Stream::Tcp(stream) = self
            && let Err(error) = set(socket2::SockRef::from(stream))
        {
            log::debug!(target: "bucle::net", "a socket option was refused: {error}");
        }
    }

    /// Registers the descriptor with the poll. Closing it unregisters it.
    pub fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => registry.register(stream, token, interest()),
            Stream::Unix(stream) => registry.register(stream, token, interest()),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(stream) => stream.register(token),
            Stream::None => Ok(()),
        }
    }
}

/// Readable and writable, edge-triggered, for the life of the descriptor: no further `epoll_ctl` is needed, and none
/// before the close.
fn interest() -> mio::Interest {
    let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
    // A read stops before urgent data although more bytes follow, with `SO_OOBINLINE` too. With this interest the
    // kernel reports urgent data, and such a socket is read until `WouldBlock`.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let both = both | mio::Interest::PRIORITY;
    both
}

/// Switches `SO_OOBINLINE`: whether a read returns the urgent byte in its place, or skips it.
pub(super) fn set_urgent_in_line(socket: &SockRef<'_>, enable: bool) -> io::Result<()> {
    socket.set_out_of_band_inline(enable)
}

/// The time between two keepalive probes; libuv's number.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// How many probes may stay unanswered; libuv's number.
const KEEP_ALIVE_PROBES: u32 = 10;

/// Switches `SO_KEEPALIVE`. A delay of less than a second leaves the times to the system.
pub(super) fn set_keep_alive(socket: &SockRef<'_>, enable: bool, delay: Duration) -> io::Result<()> {
    if enable && delay.as_secs() > 0 {
        let delay = Duration::from_secs(delay.as_secs());
        let probes = TcpKeepalive::new().with_time(delay).with_interval(KEEP_ALIVE_INTERVAL);
        // This switches the keepalive on, too.
        socket.set_tcp_keepalive(&probes.with_retries(KEEP_ALIVE_PROBES))
    } else {
        socket.set_keepalive(enable)
    }
}

/// Sets `TCP_USER_TIMEOUT` where the system has it: how long sent bytes may stay unacknowledged.
pub(super) fn set_user_timeout(socket: &SockRef<'_>, limit: Duration) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return socket.set_tcp_user_timeout((!limit.is_zero()).then_some(limit));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = (socket, limit);
        Ok(())
    }
}
