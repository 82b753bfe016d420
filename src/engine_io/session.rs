//! One session as a state machine: packets and times in, reactions out. It knows no sockets and no clock.
//!
//! ```text
//!                            2probe                    5
//!   polling ── a WebSocket ────────▶ its answer 3probe ──▶ upgraded: everything goes over the WebSocket
//!      ▲       opens    │                  │
//!      └────────────────┴── another packet, a close, upgrade_timeout: only the WebSocket is closed
//! ```
//!
//! # Heartbeat
//!
//! | revision | the server | the session ends |
//! |---|---|---|
//! | 4 | sends a ping `ping_interval` after the last pong | `ping_timeout` after a ping that has no answer |
//! | 3 | answers the client's pings | `ping_interval + ping_timeout` after the last ping of the client |
//!
//! The times count from when a ping was due, so that the delays of a busy server do not add up; but a client always has
//! at least three quarters of `ping_timeout`. Other packets are no answer to a ping. As in Node, the first one that
//! arrives between a ping and its pong gives the client the whole `ping_timeout` again, once for each ping: on a slow
//! connection a long message may be in front of the pong.
//!
//! # Polling
//!
//! A session has at most one request of each kind at a time: a GET that waits for packets, and a POST whose body is
//! being received. A second one ends the session, because it would mix up the order of packets.

use std::time::{Duration, Instant};

use super::packet::{Data, Packet, PacketType, Revision};

/// How packets are carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// HTTP requests: a GET for the packets of the server, a POST for those of the client.
    Polling,
    /// A WebSocket connection.
    WebSocket,
}

impl Transport {
    /// Its name in the query and in `upgrades`.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        }
    }

    /// The transport of this name. It is case-sensitive, as in Node.
    pub fn parse(name: &str) -> Option<Transport> {
        [Transport::Polling, Transport::WebSocket].into_iter().find(|transport| transport.as_str() == name)
    }
}

/// The time limits of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// The pause between two pings.
    pub ping_interval: Duration,
    /// How long a peer may take to answer a ping.
    pub ping_timeout: Duration,
    /// How long an upgrade may take.
    pub upgrade_timeout: Duration,
}

/// How often a waiting poll is answered during an upgrade, so that the client can go on with it.
const RELEASE_PERIOD: Duration = Duration::from_millis(100);

/// The state of a session that is open.
#[derive(Clone, Debug)]
pub struct Machine {
    revision: Revision,
    transport: Transport,
    heartbeat: Heartbeat,
    probe: Option<Probe>,
}

#[derive(Clone, Copy, Debug)]
enum Heartbeat {
    /// Revision 4: the next ping.
    PingAt(Instant),
    /// Revision 4: the pong must have arrived by then.
    PongBy { at: Instant, is_extended: bool },
    /// Revision 3: the next ping of the client must have arrived by then.
    DeadAt(Instant),
}

/// A WebSocket connection that wants to take the session over.
#[derive(Clone, Copy, Debug)]
struct Probe {
    closes_at: Instant,
    /// It has sent `2probe`: waiting polls are answered from then on.
    release_at: Option<Instant>,
}

/// The reaction to a packet that has arrived on the transport of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reaction<'a> {
    /// The packet is of no consequence.
    None,
    /// The program gets a message.
    Message(Data<'a>),
    /// A ping of the client is answered with a pong of the same data.
    Pong(Data<'a>),
    /// The client has closed the session.
    Closed,
    /// The packet is not allowed here. The session ends.
    Refused(&'static str),
}

/// The reaction to a packet that has arrived on the WebSocket connection of an upgrade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeReaction {
    /// `3probe` is sent to the connection, and a waiting poll is answered.
    Answer,
    /// The session uses this connection from now on.
    Upgraded,
    /// The connection is closed. The session goes on with polling.
    Close,
}

/// Something that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// A ping must be sent.
    Ping,
    /// The peer has not shown that it is alive. The session ends.
    PingTimeout,
    /// The upgrade has taken too long: its WebSocket connection is closed.
    UpgradeTimeout,
    /// A waiting poll is answered, because an upgrade is in progress.
    ReleasePoll,
}

impl Machine {
    /// A session that has just been opened.
    pub fn new(now: Instant, revision: Revision, transport: Transport, times: &Times) -> Machine {
        let heartbeat = match revision {
            Revision::V4 => Heartbeat::PingAt(now + times.ping_interval),
            Revision::V3 => Heartbeat::DeadAt(now + times.ping_interval + times.ping_timeout),
        };
        Machine { revision, transport, heartbeat, probe: None }
    }

    /// The protocol revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The transport that packets are sent on.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether a WebSocket connection wants to take the session over.
    pub fn is_upgrading(&self) -> bool {
        self.probe.is_some()
    }

    /// Whether the peer should have shown that it is alive. The session ends, even if no timer has fired yet.
    pub fn is_overdue(&self, now: Instant) -> bool {
        matches!(self.heartbeat, Heartbeat::PongBy { at, .. } | Heartbeat::DeadAt(at) if at <= now)
    }

    /// Whether a ping has no answer yet. Otherwise [`receive`](Self::receive) changes nothing for a message.
    #[inline]
    pub fn awaits_pong(&self) -> bool {
        matches!(self.heartbeat, Heartbeat::PongBy { .. })
    }

    /// A packet has arrived on the transport of the session.
    pub fn receive<'a>(&mut self, now: Instant, packet: &Packet<'a>, times: &Times) -> Reaction<'a> {
        if let Heartbeat::PongBy { is_extended: false, .. } = self.heartbeat {
            self.heartbeat = Heartbeat::PongBy { at: now + times.ping_timeout, is_extended: true };
        }
        match (packet.kind, self.revision) {
            (PacketType::Message, _) => Reaction::Message(packet.data),
            (PacketType::Pong, Revision::V4) => {
                self.heartbeat = Heartbeat::PingAt(now + times.ping_interval);
                Reaction::None
            }
            (PacketType::Ping, Revision::V3) => {
                self.heartbeat = Heartbeat::DeadAt(now + times.ping_interval + times.ping_timeout);
                Reaction::Pong(packet.data)
            }
            (PacketType::Ping | PacketType::Pong, _) => Reaction::Refused("invalid heartbeat direction"),
            (PacketType::Close, _) => Reaction::Closed,
            // Node ignores these, too.
            (PacketType::Open | PacketType::Upgrade | PacketType::Noop, _) => Reaction::None,
        }
    }

    /// A WebSocket connection with the id of this session has opened. Returns `false` if it must be closed: the session
    /// has one already.
    pub fn begin_upgrade(&mut self, now: Instant, times: &Times) -> bool {
        if self.transport == Transport::WebSocket || self.probe.is_some() {
            return false;
        }
        self.probe = Some(Probe { closes_at: now + times.upgrade_timeout, release_at: None });
        true
    }

    /// A packet has arrived on the WebSocket connection of an upgrade.
    pub fn receive_probe(&mut self, now: Instant, packet: &Packet<'_>) -> ProbeReaction {
        match (&mut self.probe, packet.kind, packet.data) {
            (Some(probe), PacketType::Ping, Data::Text("probe")) => {
                probe.release_at = Some(now + RELEASE_PERIOD);
                ProbeReaction::Answer
            }
            (Some(_), PacketType::Upgrade, _) => {
                self.probe = None;
                self.transport = Transport::WebSocket;
                ProbeReaction::Upgraded
            }
            _ => {
                self.probe = None;
                ProbeReaction::Close
            }
        }
    }

    /// The WebSocket connection of an upgrade is gone. The session goes on with polling.
    pub fn end_upgrade(&mut self) {
        self.probe = None;
    }

    /// When [`expire`](Self::expire) must be called.
    pub fn deadline(&self) -> Instant {
        let (Heartbeat::PingAt(heartbeat) | Heartbeat::PongBy { at: heartbeat, .. } | Heartbeat::DeadAt(heartbeat)) =
            self.heartbeat;
        match self.probe {
            None => heartbeat,
            Some(probe) => heartbeat.min(probe.closes_at).min(probe.release_at.unwrap_or(probe.closes_at)),
        }
    }

    /// The next thing that is due at `now`. To be called again until it returns `None`.
    pub fn expire(&mut self, now: Instant, times: &Times) -> Option<Due> {
        match self.heartbeat {
            Heartbeat::PingAt(at) if at <= now => {
                let at = (at + times.ping_timeout).max(now + times.ping_timeout * 3 / 4);
                self.heartbeat = Heartbeat::PongBy { at, is_extended: false };
                return Some(Due::Ping);
            }
            Heartbeat::PongBy { at, .. } | Heartbeat::DeadAt(at) if at <= now => return Some(Due::PingTimeout),
            _ => {}
        }
        let probe = self.probe.as_mut()?;
        if probe.closes_at <= now {
            self.probe = None;
            return Some(Due::UpgradeTimeout);
        }
        if probe.release_at.is_some_and(|at| at <= now) {
            probe.release_at = Some(now + RELEASE_PERIOD);
            return Some(Due::ReleasePoll);
        }
        None
    }
}

#[cfg(test)]
mod tests;
