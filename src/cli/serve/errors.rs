//! Errors of connections, in the log.

use bucle::net::{Error, Socket};

/// Logs the error of a connection. That a peer vanishes is normal; what this side did to it is a warning.
pub(crate) fn log_error(socket: Socket, error: &Error) {
    let is_our_doing = matches!(error, Error::Custom { .. } | Error::TooSlow { .. });
    let level = if is_our_doing { log::Level::Warn } else { log::Level::Debug };
    log::log!(target: "bucle::serve", level, "{socket}: {error}");
}
