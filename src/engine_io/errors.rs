//! Requests that are refused: the codes, statuses and bodies of Node's engine.io.

use std::fmt;

use crate::http::StatusCode;

/// The code of a refused request, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorCode {
    /// 0: the transport is not known, or not allowed.
    UnknownTransport,
    /// 1: there is no session with this id.
    UnknownSid,
    /// 2: a session is opened by a GET.
    BadHandshakeMethod,
    /// 3: the request does not fit its session.
    BadRequest,
    /// 4: the program has refused the session.
    Forbidden,
    /// 5: the revision is not served.
    UnsupportedProtocolVersion,
}

impl ErrorCode {
    /// The number in the answer.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The message in the answer.
    pub fn message(self) -> &'static str {
        match self {
            ErrorCode::UnknownTransport => "Transport unknown",
            ErrorCode::UnknownSid => "Session ID unknown",
            ErrorCode::BadHandshakeMethod => "Bad handshake method",
            ErrorCode::BadRequest => "Bad request",
            ErrorCode::Forbidden => "Forbidden",
            ErrorCode::UnsupportedProtocolVersion => "Unsupported protocol version",
        }
    }
}

/// A request that was refused, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionError {
    /// The code in the answer.
    pub code: ErrorCode,
    /// The message in the answer: that of the code, or of [`Handler::allow_request`](super::Handler::allow_request).
    pub message: String,
    /// More than the client is told.
    pub context: &'static str,
}

impl ConnectionError {
    pub(super) fn new(code: ErrorCode, context: &'static str) -> ConnectionError {
        ConnectionError { code, message: code.message().to_owned(), context }
    }

    /// The status of the answer to a request that is no upgrade.
    pub(super) fn status(&self) -> StatusCode {
        match self.code {
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The body of the answer to a request that is no upgrade.
    pub(super) fn body(&self) -> String {
        let message = serde_json::Value::from(self.message.as_str());
        format!("{{\"code\":{},\"message\":{message}}}", self.code.number())
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.context.is_empty() { Ok(()) } else { write!(f, " ({})", self.context) }
    }
}

impl std::error::Error for ConnectionError {}
