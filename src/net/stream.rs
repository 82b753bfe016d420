//! The descriptor of a connection: its system calls and its options.
//!
//! Every call that the kernel answers with `EINTR` is repeated here, so the rest of `net` never sees `Interrupted`.
//! `WouldBlock` is passed on: only the caller knows whether it ends a read loop or fills an outbox.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::{TcpStream, UnixStream};
use socket2::{SockRef, TcpKeepalive};

/// The descriptor, of whichever family.
pub(super) enum Stream {
    /// Never opened, or closed.
    None,
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(any(test, fuzzing))]
    Simulated(super::simulated::SimulatedStream),
}

impl Stream {
    /// One system call, and another one only after a signal.
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

    /// One system call, and another one only after a signal.
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

    /// Writes several pieces with one system call.
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

    pub fn shutdown(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(any(test, fuzzing))]
            Stream::Simulated(stream) => stream.shutdown(),
            Stream::None => Ok(()),
        }
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
        matches!(self, Stream::Tcp(stream) if stream.peer_addr().is_ok_and(|peer| stream.local_addr().is_ok_and(|local| local == peer)))
    }

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

    /// Sets an option that only TCP has; on anything else it does nothing, as in Node.
    pub fn with_tcp(&self, set: impl FnOnce(socket2::SockRef<'_>) -> io::Result<()>) {
        if let Stream::Tcp(stream) = self
            && let Err(error) = set(socket2::SockRef::from(stream))
        {
            log::debug!(target: "bucle::net", "a socket option was refused: {error}");
        }
    }

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

/// Registered once, for everything, edge-triggered: no `epoll_ctl` after that, none before the close either.
fn interest() -> mio::Interest {
    let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
    // Urgent data makes a read stop short although there is more behind it; this makes the kernel say so.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let both = both | mio::Interest::PRIORITY;
    both
}

/// How often, and how many times, the kernel asks a peer whether it is still there; libuv's numbers.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_QUESTIONS: u32 = 10;

/// Switches the kernel's keepalive.
pub(super) fn set_keep_alive(socket: &SockRef<'_>, enable: bool, delay: Duration) -> io::Result<()> {
    if enable && delay.as_secs() > 0 {
        let delay = Duration::from_secs(delay.as_secs());
        let questions = TcpKeepalive::new().with_time(delay).with_interval(KEEP_ALIVE_INTERVAL);
        // This switches it on too.
        socket.set_tcp_keepalive(&questions.with_retries(KEEP_ALIVE_QUESTIONS))
    } else {
        socket.set_keepalive(enable)
    }
}

/// Sets the time for an acknowledgement, where the system has it.
pub(super) fn set_user_timeout(socket: &SockRef<'_>, limit: Duration) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return socket.set_tcp_user_timeout((!limit.is_zero()).then_some(limit));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = (socket, limit);
        Ok(())
    }
}
