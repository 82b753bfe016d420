//! The system calls that begin an outgoing connection: open a nonblocking descriptor, bind it if the program wants a
//! local address, and connect. They return before the connection is established; `connected.rs` handles the outcome.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Error;
use super::endpoint::{abstract_address, check_length, show_path};
use crate::Result;
use crate::error_codes;

/// Begins a TCP connection. An error comes with the name of the system call that failed.
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
    // A port without an address: the unspecified address must be of the target's family.
    let local = match (local.ip(), address) {
        (ip, SocketAddr::V6(_)) if ip == Ipv4Addr::UNSPECIFIED => {
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), local.port())
        }
        // The kernel would say EAFNOSUPPORT; libuv parses the address for the family of the target, and says EINVAL.
        _ if local.is_ipv4() != address.is_ipv4() => {
            return Err(("bind", io::Error::from_raw_os_error(error_codes::number_of("EINVAL"))));
        }
        _ => local,
    };
    // The kernel chooses the port in connect(2), when it knows the target. One local address can then use each port
    // once for every target. Without the option bind(2) chooses it, and each port can be used once in all. The feature
    // exists because neither std nor socket2 has the option. A kernel that lacks it refuses, which is harmless.
    #[cfg(all(target_os = "linux", feature = "late-ports"))]
    if local.port() == 0 {
        let _ = nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::IpBindAddressNoPort, &true);
    }
    // As libuv does: a port whose last connection is in TIME_WAIT can be used again.
    stream.set_reuse_address(true).map_err(failed("bind"))?;
    stream.bind(&local.into()).map_err(failed("bind"))?;
    match stream.connect(&address.into()) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock && !is_in_progress(&error) => Err(("connect", error)),
        _ => Ok(mio::net::TcpStream::from_std(stream.into())),
    }
}

/// Whether the error means that the connection is under way. std has no stable `ErrorKind` for it.
fn is_in_progress(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) { 115 } else { 36 };
    error.raw_os_error() == Some(EINPROGRESS)
}

/// Begins a connection to a unix path or an abstract name.
pub(super) fn open_unix(path: &Path) -> Result<mio::net::UnixStream> {
    check_length(path)?;
    let opened = match abstract_address(path) {
        Some(address) => address.and_then(|address| mio::net::UnixStream::connect_addr(&address)),
        None => mio::net::UnixStream::connect(path),
    };
    opened.map_err(|error| failed_at_path(&error, path))
}

/// The error of a failed connect, with the path in its text.
pub(super) fn failed_at_path(error: &io::Error, path: &Path) -> Error {
    Error::system_at("connect", error, &show_path(path), None)
}
