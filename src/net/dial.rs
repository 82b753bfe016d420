//! Opening the descriptor of an outgoing connection, without waiting for the connection.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Error;
use super::endpoint::{abstract_address, check_length, show_path};
use crate::Result;

/// Opens a TCP connection without waiting for it; says which call failed.
pub(super) fn open_tcp(
    address: SocketAddr,
    local: Option<SocketAddr>,
) -> Result<mio::net::TcpStream, (&'static str, io::Error)> {
    let Some(local) = local else {
        return mio::net::TcpStream::connect(address).map_err(|error| ("connect", error));
    };
    let failed = |syscall| move |error| (syscall, error);
    let domain = socket2::Domain::for_address(address);
    let stream = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(failed("connect"))?;
    stream.set_nonblocking(true).map_err(failed("connect"))?;
    let local = match (local.ip(), address) {
        (ip, SocketAddr::V6(_)) if ip == Ipv4Addr::UNSPECIFIED => {
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), local.port())
        }
        _ => local,
    };
    // The port is chosen with the target in view, so that one source has all its ports to each of several targets, and
    // those that another connection has just left. Where the option is missing, a port is taken by the bind. It has a feature
    // of its own because neither std nor socket2 knows it.
    #[cfg(all(target_os = "linux", feature = "late-ports"))]
    if local.port() == 0 {
        let _ = nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::IpBindAddressNoPort, &true);
    }
    // As libuv does: a port that an earlier connection left a moment ago can be had again.
    stream.set_reuse_address(true).map_err(failed("bind"))?;
    stream.bind(&local.into()).map_err(failed("bind"))?;
    match stream.connect(&address.into()) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock && !is_in_progress(&error) => Err(("connect", error)),
        _ => Ok(mio::net::TcpStream::from_std(stream.into())),
    }
}

/// Whether the kernel says that it is at it; std has no stable name for that.
fn is_in_progress(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };
    error.raw_os_error() == Some(EINPROGRESS)
}

pub(super) fn open_unix(path: &Path) -> Result<mio::net::UnixStream> {
    check_length(path)?;
    let opened = match abstract_address(path) {
        Some(address) => address.and_then(|address| mio::net::UnixStream::connect_addr(&address)),
        None => mio::net::UnixStream::connect(path),
    };
    opened.map_err(|error| failed_at_path(&error, path))
}

pub(super) fn failed_at_path(error: &io::Error, path: &Path) -> Error {
    Error::system_at("connect", error, &show_path(path), None)
}
