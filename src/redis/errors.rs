//! The errors of a link, in plain words.

use super::links::Expected;
use crate::net::Error;

pub(super) fn error(code: &'static str, message: impl Into<String>) -> Error {
    Error::custom(code, message)
}

/// Redis has sent a reply for which there was no command.
pub(super) fn unexpected_reply() -> Error {
    error("E_REDIS_PROTOCOL", "Redis has sent a reply that belongs to no command")
}

/// Whether an error is about the topics of a command, and not about the client: `NOPERM` for the rights of the user,
/// `ERR` for a command that an old Redis does not know, `MOVED` and `CROSSSLOT` for channels of other shards.
pub(super) fn is_about_topics(text: &[u8]) -> bool {
    let code = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    matches!(code, b"NOPERM" | b"ERR" | b"MOVED" | b"CROSSSLOT") && !text.starts_with(b"ERR max number of clients")
}

/// The error for a login, a database or a ping that Redis does not accept, in plain words.
pub(super) fn refusal(expected: &Expected, text: &[u8]) -> Error {
    let text = String::from_utf8_lossy(text);
    if text.starts_with("LOADING") {
        return error("E_REDIS_LOADING", "Redis has just started and is still loading its data");
    }
    if text.starts_with("WRONGPASS") || text.starts_with("ERR invalid password") {
        return error("E_REDIS_LOGIN", "Redis does not accept the user and the password");
    }
    if text.starts_with("NOAUTH") {
        return error("E_REDIS_LOGIN", "Redis wants a password, and the URL has none");
    }
    match expected {
        Expected::Login if text.contains("without any password configured") => {
            error("E_REDIS_LOGIN", "the URL has a password, and Redis has none for the user `default`")
        }
        Expected::Login => error("E_REDIS_LOGIN", format!("Redis refuses the login: {text}")),
        Expected::Database => error("E_REDIS_DATABASE", format!("Redis refuses the database of the URL: {text}")),
        _ => error("E_REDIS_REFUSED", format!("Redis refuses this client: {text}")),
    }
}
