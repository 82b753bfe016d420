//! A client's session as a state machine: packets and times in, reactions out. It knows no sockets and no clock.
//!
//! ```text
//!   opening ── the open packet ──▶ open
//!      │ timeout                     │ no ping in time, a close packet, a broken rule
//!      ▼                             ▼
//!    ended                         ended
//!
//!                     a WebSocket           3probe                no request is under way
//!   polling ── open ── opens: 2probe ──────────────▶ pausing ────────────────────────────▶ 5: WebSocket
//!      ▲                     │ it fails, upgrade_timeout  │ the same
//!      └─────────────────────┴────────────────────────────┘
//! ```
//!
//! # Heartbeat
//!
//! | revision | the client | the session ends |
//! |---|---|---|
//! | 4 | answers the server's pings | `ping_interval + ping_timeout` after the last ping |
//! | 3 | sends a ping `ping_interval` after the last pong | `ping_timeout` after a ping, and after the last packet that has followed it |

use std::time::{Duration, Instant};

use crate::engine_io::packet::{Data, OpenPacket, Packet, PacketType, Revision};
use crate::engine_io::session::Transport;

#[cfg(test)]
mod tests;

/// The longest time that a server's settings give: that of a timer. It keeps sums of times in their range.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// The longest id of a session. Node's have 20 characters.
const MAX_ID: usize = 256;

/// The state of a client's session.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    revision: Revision,
    transport: Transport,
    life: Life,
    upgrade: Upgrade,
    upgrade_timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Life {
    /// The open packet must have arrived by then. `None`: no limit.
    Opening(Option<Instant>),
    Open {
        heartbeat: Heartbeat,
        ping_interval: Duration,
        ping_timeout: Duration,
    },
}

#[derive(Clone, Copy, Debug)]
enum Heartbeat {
    /// Revision 3: the next ping.
    PingAt(Instant),
    /// The server must have shown that it is alive by then.
    DeadAt(Instant),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Upgrade {
    None,
    /// A WebSocket connection is being made, and asked with `2probe`.
    Probing {
        until: Instant,
    },
    /// The server has answered. No request is made any longer.
    Pausing {
        until: Instant,
    },
}

/// The reaction to a packet that has arrived on the transport of the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reaction<'a> {
    /// The packet is of no consequence.
    None,
    /// The session is open.
    Opened(OpenPacket),
    /// The program gets a message.
    Message(Data<'a>),
    /// A ping of the server is answered with a pong of the same data.
    Pong(Data<'a>),
    /// The server has closed the session.
    Closed,
    /// The packet is not allowed here. The session ends.
    Refused(&'static str),
}

/// The reaction to a packet that has arrived on the WebSocket connection of an upgrade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ProbeReaction {
    /// No further request is made. When none is under way, [`Machine::finish_upgrade`] follows.
    Pause,
    /// The connection is closed. The session goes on with polling.
    Fail,
}

/// Something that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// A ping must be sent. Revision 3 only.
    Ping,
    /// The server has not opened the session in time.
    OpenTimeout,
    /// The server has not shown that it is alive. The session ends.
    PingTimeout,
    /// The upgrade has taken too long: its WebSocket connection is closed.
    UpgradeTimeout,
}

impl Machine {
    /// A session that is being opened. A `timeout` of zero is no limit.
    pub fn new(
        now: Instant,
        revision: Revision,
        transport: Transport,
        timeout: Duration,
        upgrade_timeout: Duration,
    ) -> Machine {
        let until = (!timeout.is_zero()).then(|| now + timeout.min(LONGEST));
        let upgrade_timeout = upgrade_timeout.min(LONGEST);
        Machine { revision, transport, life: Life::Opening(until), upgrade: Upgrade::None, upgrade_timeout }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The transport that packets are sent on.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    pub fn is_open(&self) -> bool {
        matches!(self.life, Life::Open { .. })
    }

    /// The session is opened on another transport, because the one before has failed. The time limit stays.
    pub fn try_transport(&mut self, transport: Transport) {
        self.transport = transport;
    }

    /// Whether requests may be made.
    pub fn may_poll(&self) -> bool {
        self.transport == Transport::Polling && !self.is_pausing()
    }

    /// Whether the session changes to its WebSocket connection as soon as no request is under way.
    pub fn is_pausing(&self) -> bool {
        matches!(self.upgrade, Upgrade::Pausing { .. })
    }

    /// A packet has arrived on the transport of the session.
    pub fn receive<'a>(&mut self, now: Instant, packet: &Packet<'a>) -> Reaction<'a> {
        let Life::Open { heartbeat, ping_interval, ping_timeout } = &mut self.life else {
            return self.receive_first(now, packet);
        };
        let (ping_interval, ping_timeout) = (*ping_interval, *ping_timeout);
        if self.revision == Revision::V3 && matches!(heartbeat, Heartbeat::DeadAt(_)) {
            // The pong may be behind much data.
            *heartbeat = Heartbeat::DeadAt(now + ping_timeout);
        }
        match (packet.kind, self.revision) {
            (PacketType::Message, _) => Reaction::Message(packet.data),
            (PacketType::Ping, Revision::V4) => {
                *heartbeat = Heartbeat::DeadAt(now + ping_interval + ping_timeout);
                Reaction::Pong(packet.data)
            }
            (PacketType::Pong, Revision::V3) => {
                *heartbeat = Heartbeat::PingAt(now + ping_interval);
                Reaction::None
            }
            (PacketType::Close, _) => Reaction::Closed,
            (PacketType::Open, _) => Reaction::Refused("a second open packet"),
            // Node ignores these, too.
            (PacketType::Ping | PacketType::Pong | PacketType::Upgrade | PacketType::Noop, _) => Reaction::None,
        }
    }

    /// The session is not open yet.
    fn receive_first<'a>(&mut self, now: Instant, packet: &Packet<'a>) -> Reaction<'a> {
        let json = match (packet.kind, packet.data) {
            (PacketType::Open, Data::Text(json)) => json,
            (PacketType::Close, _) => return Reaction::Closed,
            (PacketType::Noop, _) => return Reaction::None,
            _ => return Reaction::Refused("the first packet of the server is no open packet"),
        };
        let open = match OpenPacket::parse(json) {
            Ok(open) if open.sid.len() > MAX_ID => return Reaction::Refused("the id of the session is too long"),
            Ok(open) => open,
            Err(malformed) => return Reaction::Refused(malformed.reason),
        };
        let (ping_interval, ping_timeout) = (open.ping_interval.min(LONGEST), open.ping_timeout.min(LONGEST));
        let heartbeat = match self.revision {
            Revision::V4 => Heartbeat::DeadAt(now + ping_interval + ping_timeout),
            Revision::V3 => Heartbeat::PingAt(now + ping_interval),
        };
        self.life = Life::Open { heartbeat, ping_interval, ping_timeout };
        Reaction::Opened(open)
    }

    /// A WebSocket connection is being made, to which an open session may change.
    pub fn begin_upgrade(&mut self, now: Instant) {
        self.upgrade = Upgrade::Probing { until: now + self.upgrade_timeout };
    }

    /// A packet has arrived on the WebSocket connection of an upgrade.
    pub fn receive_probe(&mut self, packet: &Packet<'_>) -> ProbeReaction {
        match (self.upgrade, packet.kind, packet.data) {
            (Upgrade::Probing { until }, PacketType::Pong, Data::Text("probe")) => {
                self.upgrade = Upgrade::Pausing { until };
                ProbeReaction::Pause
            }
            _ => {
                self.upgrade = Upgrade::None;
                ProbeReaction::Fail
            }
        }
    }

    /// No request is under way: `5` is sent, and the WebSocket connection is the transport from now on.
    pub fn finish_upgrade(&mut self) {
        self.upgrade = Upgrade::None;
        self.transport = Transport::WebSocket;
    }

    /// The WebSocket connection of an upgrade is gone. The session goes on with polling.
    pub fn end_upgrade(&mut self) {
        self.upgrade = Upgrade::None;
    }

    /// Whether the server should have shown that it is alive, and has not. A process that was suspended finds this out
    /// before its timers fire.
    pub fn is_overdue(&self, now: Instant) -> bool {
        matches!(self.life, Life::Open { heartbeat: Heartbeat::DeadAt(at), .. } if at <= now)
    }

    /// When [`expire`](Self::expire) must be called. `None`: never.
    pub fn deadline(&self) -> Option<Instant> {
        let life = match self.life {
            Life::Opening(until) => until,
            Life::Open { heartbeat: Heartbeat::PingAt(at) | Heartbeat::DeadAt(at), .. } => Some(at),
        };
        match self.upgrade {
            Upgrade::None => life,
            Upgrade::Probing { until } | Upgrade::Pausing { until } => Some(life.map_or(until, |at| at.min(until))),
        }
    }

    /// The next thing that is due at `now`. To be called again until it returns `None`.
    pub fn expire(&mut self, now: Instant) -> Option<Due> {
        match &mut self.life {
            Life::Opening(Some(until)) if *until <= now => return Some(Due::OpenTimeout),
            Life::Opening(_) => {}
            Life::Open { heartbeat: Heartbeat::DeadAt(at), .. } if *at <= now => return Some(Due::PingTimeout),
            Life::Open { heartbeat, ping_timeout, .. } => {
                if matches!(heartbeat, Heartbeat::PingAt(at) if *at <= now) {
                    *heartbeat = Heartbeat::DeadAt(now + *ping_timeout);
                    return Some(Due::Ping);
                }
            }
        }
        match self.upgrade {
            Upgrade::Probing { until } | Upgrade::Pausing { until } if until <= now => {
                self.upgrade = Upgrade::None;
                Some(Due::UpgradeTimeout)
            }
            _ => None,
        }
    }
}
