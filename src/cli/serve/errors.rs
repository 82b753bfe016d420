//! Errors of connections, in the log.

use bucle::net::{Error, Socket};

/// Logs the error of a connection. A connection that this side has broken off is logged as a warning. A
/// peer that breaks off is normal, and logged for debugging only.
pub(crate) fn log_error(socket: Socket, error: &Error) {
    let is_by_this_side = matches!(error, Error::Custom { .. } | Error::TooSlow { .. });
    let level = if is_by_this_side { log::Level::Warn } else { log::Level::Debug };
    log::log!(target: "bucle::serve", level, "{socket}: {error}");
}
