//! The servers that the command can run, and the options of `bucle serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bucle::net::{Limits, READS_PER_TURN};
use bucle::redis::url::Address as RedisAddress;

use crate::cli::target::Address;

/// If this many bytes are queued for a peer, nothing more is read from it until it has read them. One full read of the
/// loop.
pub(crate) const HIGH_WATER_MARK: usize = 64 * 1024;

/// A server that the command can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Nicks and rooms, with commands.
    Chat,
    /// Sends every byte back (RFC 862).
    Echo,
    /// Sends every line back.
    Lines,
    /// Sends every line to all clients.
    Relay,
    /// The server of the tutorial that bucle began with.
    Tutorial,
    /// Reads and sends nothing (RFC 863).
    Discard,
}

/// The options of `bucle serve`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Serve {
    pub(crate) kind: Kind,
    /// Where to listen.
    pub(crate) address: Address,
    /// `None`: as many as the limit of open files allows.
    pub(crate) max_connections: Option<usize>,
    /// Other processes may listen on the same port.
    pub(crate) reuse_port: bool,
    /// Zero: no limit.
    pub(crate) idle_timeout: Duration,
    /// How long the loop polls before it sleeps.
    pub(crate) spin: Duration,
    /// How many bytes may be queued for one peer, and for how long.
    pub(crate) limits: Limits,
    /// How many bytes may be queued for all peers together. `None`: no limit.
    pub(crate) total_outbox_limit: Option<usize>,
    /// How many bytes a line may have, if the server is for lines.
    pub(crate) line_limit: usize,
    /// The second listener, for HTTP, WebSocket and Socket.IO.
    pub(crate) web: Option<Web>,
    /// The Redis server that connects the nodes of a chat.
    pub(crate) cluster: Option<RedisAddress>,
    /// The live page.
    pub(crate) inspect: Option<Inspect>,
    /// The file for the trace, if one is written.
    pub(crate) trace: Option<PathBuf>,
    /// How many bytes of trace are written at most.
    pub(crate) trace_limit: u64,
}

/// The options of `--inspect`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inspect {
    pub(crate) address: SocketAddr,
    /// Other machines may reach it.
    pub(crate) allow_remote: bool,
    /// It takes no commands.
    pub(crate) read_only: bool,
}

/// The options of `--http`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Web {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// How many bytes a message of WebSocket or Socket.IO may have. The chat's messages are lines, with the limit of
    /// lines.
    pub(crate) message_limit: usize,
    /// How long a client may take for its request.
    pub(crate) handshake_timeout: Duration,
    /// Sites other than this server whose pages may connect.
    pub(crate) origins: Vec<String>,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [Kind::Chat, Kind::Echo, Kind::Lines, Kind::Relay, Kind::Tutorial, Kind::Discard];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Chat => "chat",
            Kind::Echo => "echo",
            Kind::Lines => "lines",
            Kind::Relay => "relay",
            Kind::Tutorial => "tutorial",
            Kind::Discard => "discard",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Kind::Chat => "nicknames and rooms; sends each line to everyone in the room",
            Kind::Echo => "sends every byte back (RFC 862)",
            Kind::Lines => "sends every line back",
            Kind::Relay => "sends every line to all clients",
            Kind::Tutorial => {
                "greets, replies to each line, announces a `bye` to all clients; with --http also for Socket.IO"
            }
            Kind::Discard => "reads and discards everything (RFC 863)",
        }
    }

    /// The command line that starts it.
    pub(crate) fn command(self) -> String {
        if self == Kind::Chat { "bucle serve".to_owned() } else { format!("bucle serve {}", self.name()) }
    }

    /// The kind with this name; clap accepts only names of [`ALL`](Self::ALL).
    pub(crate) fn of(name: &str) -> Kind {
        Kind::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Kind::Chat)
    }

    /// How many reads one connection gets in a turn. A read of 64 KiB may be thousands of lines, and each may go to
    /// thousands of clients, so one is enough for a line server.
    pub(super) fn reads_per_turn(self) -> usize {
        if self.is_for_lines() { 1 } else { READS_PER_TURN }
    }

    /// Whether clients read lines. Only such clients get a message about why their connection ends: a client that
    /// expects bytes would read the message as data.
    pub(super) fn is_for_lines(self) -> bool {
        !matches!(self, Kind::Echo | Kind::Discard)
    }

    /// The scheme of the server's address with `--http`; `None` if it has no such listener.
    pub(crate) fn web_scheme(self) -> Option<&'static str> {
        match self {
            Kind::Chat | Kind::Tutorial => Some("http"),
            Kind::Echo => Some("ws"),
            Kind::Lines | Kind::Relay | Kind::Discard => None,
        }
    }

    /// The last message of a connection: `line` for a line server, else empty, which sends a FIN alone.
    pub(super) fn last_message(self, line: &str) -> Option<Vec<u8>> {
        Some(if self.is_for_lines() { line.as_bytes().to_vec() } else { Vec::new() })
    }
}
