//! Connection state recovery, in memory: a client whose connection broke comes back with its id, its rooms and its
//! data, and gets the packets that it missed.
//!
//! Each namespace has a log of its packets. A packet carries its [`Offset`] to the client as the last argument of its
//! event. A client that connects again sends the private id of its session and the offset of the last packet that it
//! received:
//!
//! ```text
//!   log       …  41   42   43   44   45   46   47
//!                |         |    |         |
//!                first     |    last      connection found broken: `persist`
//!                sent      |    sent
//!                          received by the client
//!
//!   missed                      44             46?  47?     what matches the rooms of the session, and not its `except`
//! ```
//!
//! # Logged packets
//!
//! The caller decides. As in Node, it logs events that are neither volatile nor have an acknowledgement, those for one
//! socket included. It also notes in a [`Sent`] what was sent to each socket.
//!
//! The clients for JavaScript take the last argument of any event without an acknowledgement for its offset, if it is a
//! string. With Node's server they are not restored after a volatile event that ends with a string. Here such an event
//! gets the [`last_offset`](Recovery::last_offset) as a further argument.
//!
//! # Which packets a client missed
//!
//! Those behind the last one that it received, if they are for a room of the session or for all, and none of their
//! `except` rooms is one of the session's. As in Node, the rooms are those at the disconnection: if a packet was lost
//! on the broken connection, and the client joined another room after it was sent, packets for that room from between
//! are delivered, too.
//!
//! Node looks for the offset in its log, so it does not restore a client that received its last packet longer than the
//! maximum duration ago, or none at all. Here the session knows what was sent to it, and both are restored: what was
//! not sent cannot be lost.
//!
//! # Bounds
//!
//! A session is kept for [`Limits::max_disconnection_duration`], a packet for [`Limits::detection_time`] longer,
//! because the server notices a broken connection that much later. The log is also limited in bytes, and the number of
//! sessions is limited; the oldest are dropped first. A client that missed a dropped packet is not restored: it would
//! get a part of what it missed, and not know.
//!
//! The packets of a session are found by its rooms, so the time of a restoration depends on the packets for these rooms
//! and for all. When a network fails, thousands of clients come back at once.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::socket_id::SocketId;
use crate::engine_io::id::Id;

/// How long, and how much, a [`Recovery`] keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long a client has to come back. Default: 2 minutes, as in Node.
    #[doc(alias = "maxDisconnectionDuration")]
    pub max_disconnection_duration: Duration,
    /// How long the server may take to notice that a connection is broken: the sum of Engine.IO's ping interval and
    /// ping timeout. Default: 45 seconds, the sum of their defaults.
    pub detection_time: Duration,
    /// The memory of all packets of the namespace in bytes, with an estimate of what their entries and the names of
    /// their rooms cost: about 150 bytes a packet, and 200 for each room. Default: 64 MiB.
    pub max_bytes: usize,
    /// How many disconnected clients are kept. Default: 100 000.
    pub max_sessions: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_disconnection_duration: Duration::from_secs(120),
            detection_time: Duration::from_secs(45),
            max_bytes: 64 << 20,
            max_sessions: 100_000,
        }
    }
}

/// The log and the sessions of one namespace. `D` is the data of a socket; `P` is a packet, which is cheap to clone.
pub struct Recovery<D, P> {
    limits: Limits,
    /// The start of all offsets of this value.
    run: Run,
    log: VecDeque<Logged<P>>,
    /// The serial of the first packet in `log`. The others follow without gaps.
    first: u64,
    /// The estimated memory of `log` and `to_room`.
    bytes: usize,
    /// The serials of the packets for the whole namespace.
    to_all: VecDeque<u64>,
    /// The serials of the packets for each room. Invariant: none is empty.
    to_room: HashMap<Rc<str>, VecDeque<u64>>,
    /// In the order in which they were persisted, which is that of their expiry.
    sessions: BTreeMap<u64, Persisted<D>>,
    by_pid: HashMap<Id, u64>,
    next_session: u64,
}

struct Logged<P> {
    at: Instant,
    /// Empty: all sockets of the namespace.
    rooms: Box<[Rc<str>]>,
    except: Box<[Box<str>]>,
    packet: P,
    /// Its part of `Recovery::bytes`.
    cost: usize,
}

/// A session and what was known when its connection was found broken.
struct Persisted<D> {
    session: Session<D>,
    at: Instant,
    /// The serial of the next packet.
    next: u64,
}

/// The state that a client gets back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session<D> {
    /// The id of the socket.
    pub sid: SocketId,
    /// The private id of the session. The restored socket keeps it.
    pub pid: Id,
    /// The rooms of the socket, in order of joining, without that of its id.
    pub rooms: Vec<String>,
    /// The data of the socket.
    pub data: D,
    /// The packets that were sent to the socket. The restored socket goes on with it.
    pub sent: Sent,
}

/// A session that was restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored<D, P> {
    /// The session. Its `sent` includes the missed packets already.
    pub session: Session<D>,
    /// The packets that the client missed, in the order in which they were logged.
    pub missed: Vec<P>,
    /// The offset of the packet that is logged next. If the socket joins its rooms later, it must
    /// [`catch_up`](Recovery::catch_up) from here.
    pub next: Offset,
}

/// The first and the last logged packet that was sent to a socket. 16 bytes; the default is none.
///
/// The caller has one for each socket, and [`add`](Self::add)s the offset of each packet that it sends to the socket.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sent {
    /// Zero if nothing was sent.
    first: u64,
    last: u64,
}

impl Sent {
    /// Notes that a packet is sent, later than all those before.
    pub fn add(&mut self, offset: Offset) {
        self.add_serial(offset.serial);
    }

    fn add_serial(&mut self, serial: u64) {
        if self.first == 0 {
            self.first = serial;
        }
        self.last = serial;
    }
}

/// Random characters that distinguish the logs of two processes, and of two namespaces.
type Run = [u8; RUN_LEN];

const RUN_LEN: usize = 4;

/// Names a packet of a log. Its text, such as `tR0x1234`, is sent to the client as the last argument of an event; it
/// needs no escapes in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offset {
    run: Run,
    /// Of the packet. The first one has serial 1.
    serial: u64,
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = std::str::from_utf8(&self.run).expect("base64 is ASCII");
        write!(f, "{run}{}", self.serial)
    }
}

/// The memory of a packet's entry, of a room that has packets, and of a further name, without texts. From the sizes of
/// the types and half as much again for tables that grow by doubling.
const PACKET_COST: usize = 150;
const ROOM_COST: usize = 200;
const NAME_COST: usize = 32;

impl<D, P: Clone> Recovery<D, P> {
    /// An empty log. The random bytes start each offset, so that the offsets of an earlier process are unknown; one in
    /// 16 million is mistaken.
    pub fn new(limits: Limits, random: [u8; 3]) -> Recovery<D, P> {
        let mut run = [0; RUN_LEN];
        URL_SAFE_NO_PAD.encode_slice(random, &mut run).expect("3 bytes are 4 characters of base64");
        Recovery {
            limits,
            run,
            log: VecDeque::new(),
            first: 1,
            bytes: 0,
            to_all: VecDeque::new(),
            to_room: HashMap::new(),
            sessions: BTreeMap::new(),
            by_pid: HashMap::new(),
            next_session: 0,
        }
    }

    /// The offset of the packet that is logged next. The packet contains it, so it is known before.
    pub fn next_offset(&self) -> Offset {
        Offset { run: self.run, serial: self.next_serial() }
    }

    /// The offset of the packet that was logged last. Before the first one, an offset at which a client has nothing.
    ///
    /// A client that has received something behind this packet has received this packet, too, if it was for it.
    pub fn last_offset(&self) -> Offset {
        Offset { run: self.run, serial: self.next_serial() - 1 }
    }

    /// Logs a packet that is broadcast: `rooms` and `except` are those of
    /// [`Rooms::select`](super::rooms::Rooms::select). `size` is the memory of the packet in bytes. Returns its offset.
    ///
    /// Drops the oldest packets if the log has become too long.
    pub fn log(
        &mut self,
        now: Instant,
        rooms: &[impl AsRef<str>],
        except: &[impl AsRef<str>],
        packet: P,
        size: usize,
    ) -> Offset {
        let offset = self.next_offset();
        let rooms: Box<[Rc<str>]> = rooms.iter().map(|room| self.add_to_room(room.as_ref(), offset.serial)).collect();
        if rooms.is_empty() {
            self.to_all.push_back(offset.serial);
        }
        let except: Box<[Box<str>]> = except.iter().map(|room| Box::from(room.as_ref())).collect();
        let names = rooms.len() * NAME_COST + except.iter().map(|room| NAME_COST + room.len()).sum::<usize>();
        let cost = PACKET_COST + names + size;
        self.bytes += cost;
        self.log.push_back(Logged { at: now, rooms, except, packet, cost });
        while self.bytes > self.limits.max_bytes {
            self.drop_oldest_packet();
        }
        offset
    }

    /// Keeps the session of a socket whose connection broke. Returns the session that has to go for it: the oldest one
    /// if there are too many, which has then expired early, or one with the same private id.
    #[must_use = "a session that expires is reported to the program"]
    pub fn persist(&mut self, now: Instant, session: Session<D>) -> Option<Session<D>> {
        self.persist_since(now, session, self.next_offset())
    }

    /// As [`persist`](Self::persist), for a connection that was found broken when the next packet was that of
    /// `lost_at`. Packets that were logged since then were not sent to the socket.
    #[must_use = "a session that expires is reported to the program"]
    pub fn persist_since(&mut self, now: Instant, session: Session<D>, lost_at: Offset) -> Option<Session<D>> {
        let serial = self.next_session;
        self.next_session += 1;
        let replaced = self.by_pid.insert(session.pid, serial);
        self.sessions.insert(serial, Persisted { session, at: now, next: lost_at.serial });
        match replaced {
            Some(replaced) => self.sessions.remove(&replaced).map(|persisted| persisted.session),
            None if self.sessions.len() > self.limits.max_sessions => self.take_oldest_session(),
            None => None,
        }
    }

    /// Takes the session with a private id, and the packets that the client missed. `offset` is that of the last packet
    /// that the client received; `None` if the client knows none.
    ///
    /// A session is taken once. `None`: there is no such session, its time is over, or it is not certain which packets
    /// the client missed, because some were dropped or because the offset is unknown. In the last two cases the session
    /// stays until it expires.
    pub fn restore(&mut self, now: Instant, pid: &str, offset: Option<&str>) -> Option<Restored<D, P>> {
        let pid = Id::parse(pid)?;
        let serial = *self.by_pid.get(&pid)?;
        let persisted = self.sessions.get(&serial)?;
        let start = self.first_missed(persisted, offset)?;
        if is_over(persisted.at, self.limits.max_disconnection_duration, now) || start < self.first {
            return None;
        }
        self.by_pid.remove(&pid);
        let mut session = self.sessions.remove(&serial)?.session;
        let missed = self.missed_since(start, session.sid.as_str(), &session.rooms, &mut session.sent);
        Some(Restored { session, missed, next: self.next_offset() })
    }

    /// The packets that were logged since a socket was restored, and are for it. They are added to `sent`.
    pub fn catch_up(&self, since: Offset, sid: &SocketId, rooms: &[String], sent: &mut Sent) -> Vec<P> {
        self.missed_since(since.serial, sid.as_str(), rooms, sent)
    }

    /// Drops what is too old. Returns the sessions that expired, the oldest first.
    #[must_use = "a session that expires is reported to the program"]
    pub fn expire(&mut self, now: Instant) -> Vec<Session<D>> {
        let lifetime = self.packet_lifetime();
        while self.log.front().is_some_and(|packet| is_over(packet.at, lifetime, now)) {
            self.drop_oldest_packet();
        }
        let mut expired = Vec::new();
        let duration = self.limits.max_disconnection_duration;
        while self.sessions.first_key_value().is_some_and(|(_, oldest)| is_over(oldest.at, duration, now)) {
            expired.extend(self.take_oldest_session());
        }
        expired
    }

    /// When [`expire`](Self::expire) has something to drop. `None`: nothing is kept.
    pub fn next_expiry(&self) -> Option<Instant> {
        let packet = self.log.front().and_then(|packet| packet.at.checked_add(self.packet_lifetime()));
        let oldest = self.sessions.values().next();
        let session = oldest.and_then(|oldest| oldest.at.checked_add(self.limits.max_disconnection_duration));
        packet.into_iter().chain(session).min()
    }

    /// How many sessions are kept.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many packets are in the log.
    pub fn packet_count(&self) -> usize {
        self.log.len()
    }

    /// The estimated memory of the log in bytes, see [`Limits::max_bytes`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn next_serial(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    fn packet_lifetime(&self) -> Duration {
        self.limits.max_disconnection_duration.saturating_add(self.limits.detection_time)
    }

    /// A packet that is in the log.
    fn logged(&self, serial: u64) -> &Logged<P> {
        &self.log[(serial - self.first) as usize]
    }

    /// Adds a packet to the index. Returns the name as it is in the index.
    fn add_to_room(&mut self, room: &str, serial: u64) -> Rc<str> {
        let name = match self.to_room.get_key_value(room) {
            Some((name, _)) => name.clone(),
            None => {
                self.bytes += ROOM_COST + room.len();
                Rc::from(room)
            }
        };
        self.to_room.entry(name.clone()).or_default().push_back(serial);
        name
    }

    fn drop_oldest_packet(&mut self) {
        let Some(Logged { rooms, cost, .. }) = self.log.pop_front() else { return };
        self.first += 1;
        self.bytes -= cost;
        if rooms.is_empty() {
            self.to_all.pop_front();
        }
        for room in &rooms {
            let Some(serials) = self.to_room.get_mut(room) else { continue };
            serials.pop_front();
            if serials.is_empty() {
                self.to_room.remove(room);
                self.bytes -= ROOM_COST + room.len();
            }
        }
        // The tables keep their memory unless they are asked to shrink.
        if self.log.capacity() > 4 * self.log.len().max(16) {
            self.log.shrink_to(2 * self.log.len());
            self.to_all.shrink_to(2 * self.to_all.len());
            self.to_room.shrink_to(2 * self.to_room.len());
        }
    }

    fn take_oldest_session(&mut self) -> Option<Session<D>> {
        let (_, Persisted { session, .. }) = self.sessions.pop_first()?;
        self.by_pid.remove(&session.pid);
        Some(session)
    }

    /// The serial of the first packet that the client may have missed. `None` if that is not known.
    fn first_missed(&self, Persisted { session, next, .. }: &Persisted<D>, offset: Option<&str>) -> Option<u64> {
        let Sent { first, last } = session.sent;
        if first == 0 {
            // The client has an offset at most from an earlier session.
            return Some(*next);
        }
        let received = match offset {
            Some(offset) => self.parse(offset)?,
            None => 0,
        };
        // If the client has all that was sent to it, it missed nothing before the disconnection. Packets that it
        // received before the first one belong to an earlier session.
        Some(if received >= last { *next } else { first.max(received + 1) })
    }

    /// The serial of an offset of this log. `None` for any other text.
    fn parse(&self, offset: &str) -> Option<u64> {
        let digits = offset.as_bytes().strip_prefix(&self.run)?;
        // Parsing accepts a sign, which an offset does not have.
        let is_number = digits.first().is_some_and(|&first| first != b'+');
        let serial = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
        (serial < self.next_serial()).then_some(serial)
    }

    /// The packets from `start` on that are for a socket in these rooms, in their order. They are added to `sent`.
    fn missed_since(&self, start: u64, sid: &str, rooms: &[String], sent: &mut Sent) -> Vec<P> {
        let rooms: HashSet<&str> = std::iter::once(sid).chain(rooms.iter().map(String::as_str)).collect();
        let queues = rooms.iter().filter_map(|room| self.to_room.get(*room)).chain([&self.to_all]);
        let since = |serials: &VecDeque<u64>| serials.partition_point(|&serial| serial < start);
        let mut missed: Vec<u64> = queues.flat_map(|serials| serials.range(since(serials)..)).copied().collect();
        missed.sort_unstable();
        missed.dedup();
        missed.retain(|&serial| !self.logged(serial).except.iter().any(|room| rooms.contains(&**room)));
        let packet = |&serial: &u64| {
            sent.add_serial(serial);
            self.logged(serial).packet.clone()
        };
        missed.iter().map(packet).collect()
    }
}

/// Whether `duration` has passed since `start`.
fn is_over(start: Instant, duration: Duration, now: Instant) -> bool {
    now.saturating_duration_since(start) >= duration
}

impl<D, P> fmt::Debug for Recovery<D, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sessions, packets) = (self.sessions.len(), self.log.len());
        f.debug_struct("Recovery")
            .field("sessions", &sessions)
            .field("packets", &packets)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
