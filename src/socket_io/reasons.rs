//! Why a socket was disconnected, in the words of Socket.IO.

use std::fmt;

/// The reason of a disconnection. Programs compare its text, so each text is exactly Node's.
///
/// A server gives the reasons of the first two groups, a client those of the first one and of the third one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    // The connection ended.
    /// `transport error`: the connection failed, for example with `ECONNRESET`.
    TransportError,
    /// `transport close`: the other side, or the network, closed the connection.
    TransportClose,
    /// `forced close`: the connection was closed on this side, for example because the client has broken the protocol
    /// of Socket.IO. On a client: the program has closed the session below, to test that the client connects again.
    ForcedClose,
    /// `ping timeout`: the server got no pong in time, or the client no ping.
    PingTimeout,
    /// `parse error`: the peer sent something that is not a packet of Engine.IO.
    ParseError,

    // The server or its client left the namespace.
    /// `server shutting down`: the server closed.
    ServerShuttingDown,
    /// `forced server close`: Node closed the connection while packets were queued. Not used here: see
    /// [`ForcedClose`](Self::ForcedClose).
    ForcedServerClose,
    /// `client namespace disconnect`: the client left the namespace.
    ClientNamespaceDisconnect,
    /// `server namespace disconnect`: the server disconnected the socket.
    ServerNamespaceDisconnect,

    // The same two events, on a client.
    /// `io server disconnect`: the server disconnected the socket.
    IoServerDisconnect,
    /// `io client disconnect`: the program disconnected the socket.
    IoClientDisconnect,
}

impl DisconnectReason {
    /// Node's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::ForcedClose => "forced close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ServerShuttingDown => "server shutting down",
            Self::ForcedServerClose => "forced server close",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::IoServerDisconnect => "io server disconnect",
            Self::IoClientDisconnect => "io client disconnect",
        }
    }

    /// Whether a server keeps the session so that the client can recover it: neither side wanted to leave the
    /// namespace, and the client did not send something wrong.
    pub fn is_recoverable(self) -> bool {
        match self {
            Self::TransportError
            | Self::TransportClose
            | Self::ForcedClose
            | Self::PingTimeout
            | Self::ServerShuttingDown
            | Self::ForcedServerClose => true,
            Self::ParseError
            | Self::ClientNamespaceDisconnect
            | Self::ServerNamespaceDisconnect
            | Self::IoServerDisconnect
            | Self::IoClientDisconnect => false,
        }
    }

    /// Whether a client connects again by itself: not after one of the two sides disconnected the socket.
    pub fn reconnects(self) -> bool {
        match self {
            Self::TransportError | Self::TransportClose | Self::ForcedClose | Self::PingTimeout | Self::ParseError => {
                true
            }
            Self::ServerShuttingDown
            | Self::ForcedServerClose
            | Self::ClientNamespaceDisconnect
            | Self::ServerNamespaceDisconnect
            | Self::IoServerDisconnect
            | Self::IoClientDisconnect => false,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::DisconnectReason::*;

    #[test]
    fn each_reason_has_nodes_text_and_consequences() {
        let table = [
            // Reason, text, a server keeps the session, a client reconnects.
            (TransportError, "transport error", true, true),
            (TransportClose, "transport close", true, true),
            (ForcedClose, "forced close", true, true),
            (PingTimeout, "ping timeout", true, true),
            (ParseError, "parse error", false, true),
            (ServerShuttingDown, "server shutting down", true, false),
            (ForcedServerClose, "forced server close", true, false),
            (ClientNamespaceDisconnect, "client namespace disconnect", false, false),
            (ServerNamespaceDisconnect, "server namespace disconnect", false, false),
            (IoServerDisconnect, "io server disconnect", false, false),
            (IoClientDisconnect, "io client disconnect", false, false),
        ];
        for (reason, text, is_recoverable, reconnects) in table {
            assert_eq!((reason.as_str(), reason.to_string()), (text, text.to_owned()));
            assert_eq!(reason.is_recoverable(), is_recoverable, "{reason}");
            assert_eq!(reason.reconnects(), reconnects, "{reason}");
        }
    }
}
