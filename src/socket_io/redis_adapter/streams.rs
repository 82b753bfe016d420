//! Clusters over a stream of Redis, in the format of Node's
//! [`@socket.io/redis-streams-adapter`](https://socket.io/docs/v4/redis-streams-adapter/) 0.3. With it a client that
//! was lost comes back on any node.
//!
//! ```text
//!   io.to("room").emit ──▶ XADD socket.io uid … nsp / type 3 data {…} ──▶ XREAD by each node ──▶ its sockets
//!   a client is lost ─────▶ SET sio:session:<pid> … PX 120000
//!   it comes back ────────▶ GETDEL sio:session:<pid>, and the entries behind its offset
//! ```
//!
//! | what | how |
//! |---|---|
//! | broadcasts, rooms, disconnections | entries of the stream, which has about [`StreamsOptions::max_len`] of them |
//! | broadcasts with acknowledgements, fetched sockets, events for servers, answers | messages of channels |
//!
//! # Recovery
//!
//! If the server's options have a [`recovery`](crate::socket_io::Options::recovery), all events that a client can miss
//! go through the stream, also those for a single socket. The sockets of the own node get them when the entry is read:
//! all nodes have the events of a namespace in one order, and a client that has the entry of an offset has all before
//! it. In Node the own sockets get an event when Redis has taken it, which may be before older events of other nodes; a
//! client that is lost between the two does not get the older ones.
//!
//! Events with acknowledgements and volatile ones do not wait for Redis, so they may arrive before events that were
//! sent earlier.
//!
//! As in Node a client must have received an event to be recovered, and the node where it was must have noticed its
//! loss: one whose node is killed begins anew. The data of its socket is kept as JSON, and
//! [`Socket::restore_data`](crate::socket_io::Socket::restore_data) makes it a type of the program again.
//!
//! # When Redis is away
//!
//! Own sockets get events at once, without an offset. Events for other nodes wait within the bounds of the [`Link`].
//! When Redis is there again, they are added to the stream behind what other nodes have added meanwhile. So a client
//! that has got such an event could get it twice. It is not restored if it is lost, until all these events are in the
//! stream and it has got an event with an offset behind them. An event that was on its way to Redis when the connection
//! was lost may be in no stream; clients that were lost before then miss it.
//!
//! A node that is away for longer than the entries of the stream last misses events, and so do its clients. The link
//! notices that ([`Link::on_gap`]), logs it and counts it. A client that was lost before, and would need these events,
//! is not restored.

mod entries;
mod log;
mod restore;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::member::Member;
use super::message::{self, Encoded};
use crate::Loop;
use crate::redis::{Entry, EntryId, Link, ListenerId, ReaderId, SubscriptionId};
use crate::socket_io::adapter::{Adapter, BroadcastPacket, LostSession, MissedEvent, OnRestored, RequestId, Target};
use crate::socket_io::{Namespace, OwnedArguments, RecoveryOptions};
use entries::Pending;
use log::Log;
use restore::Waiter;

/// The options of a [`StreamsAdapter`]. All nodes must have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsOptions {
    /// The key of the stream. Default: `socket.io`.
    #[doc(alias = "streamName")]
    pub stream_name: String,
    /// How many streams there are. With several, the namespaces are distributed to `<stream_name>-0` and so on.
    /// Default: 1.
    #[doc(alias = "streamCount")]
    pub stream_count: u32,
    /// About how many entries a stream has at most. A node that is away for longer than they last misses events, and a
    /// client that is away for longer is not restored. Each node also keeps up to so many of the last ones in memory,
    /// if it recovers clients. Default: 10,000.
    #[doc(alias = "maxLen")]
    pub max_len: usize,
    /// The beginning of the names of all channels. Default: `socket.io`.
    #[doc(alias = "channelPrefix")]
    pub channel_prefix: String,
    /// Whether the channels are those of sharded publishing (Redis 7). Default: `false`.
    #[doc(alias = "useShardedPubSub")]
    pub use_sharded_channels: bool,
    /// The beginning of the keys of lost sessions. Default: `sio:session:`.
    #[doc(alias = "sessionKeyPrefix")]
    pub session_key_prefix: String,
}

impl Default for StreamsOptions {
    fn default() -> StreamsOptions {
        StreamsOptions {
            stream_name: "socket.io".to_owned(),
            stream_count: 1,
            max_len: 10_000,
            channel_prefix: "socket.io".to_owned(),
            use_sharded_channels: false,
            session_key_prefix: "sio:session:".to_owned(),
        }
    }
}

impl StreamsOptions {
    /// The key of the stream of a namespace, as Node computes it.
    fn stream(&self, namespace: &str) -> String {
        match self.stream_count {
            0 | 1 => self.stream_name.clone(),
            count => {
                let add = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
                let hash = i64::from(namespace.encode_utf16().fold(0, add));
                format!("{}-{}", self.stream_name, hash % i64::from(count))
            }
        }
    }

    /// The keys of all streams. A hash may be negative.
    fn streams(&self) -> Vec<String> {
        match i64::from(self.stream_count) {
            0 | 1 => vec![self.stream_name.clone()],
            count => (1 - count..count).map(|number| format!("{}-{number}", self.stream_name)).collect(),
        }
    }
}

/// An adapter over a stream, for clusters of servers of this crate and of Node with
/// `@socket.io/redis-streams-adapter`. Redis 6.2 or later. From [`factory`](Self::factory).
///
/// Its operations, and the bounds of what waits for Redis, are those of [`RedisAdapter`](super::RedisAdapter).
/// [`Emitter`](super::Emitter) does not reach it.
///
/// ```no_run
/// use bucle::redis::{self, Link};
/// use bucle::socket_io::redis_adapter::{StreamsAdapter, StreamsOptions};
/// use bucle::socket_io::{self, Options, RecoveryOptions};
///
/// bucle::run(|lp| {
///     let link = Link::open(lp, redis::Options::from_url("redis://localhost")?);
///     let options = Options { recovery: Some(RecoveryOptions::default()), ..Options::default() };
///     let (_server, io) = socket_io::listen(lp, ("127.0.0.1", 3000), options)?;
///     io.set_adapter(lp, StreamsAdapter::factory(link, StreamsOptions::default()));
///     io.on_connection(lp, |lp, socket| {
///         if !socket.is_recovered(lp) {
///             socket.emit(lp, "hola", ());
///         }
///     });
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
pub struct StreamsAdapter {
    shared: Rc<Shared>,
    dispatch: Rc<Dispatch>,
    subscriptions: Vec<SubscriptionId>,
}

/// The adapters of all namespaces, which share the reader of the link.
#[derive(Default)]
struct Dispatch {
    adapters: RefCell<HashMap<String, (Rc<Shared>, Namespace)>>,
    /// The closures that the link calls. `None` while there is no adapter.
    calls: RefCell<Option<Calls>>,
    /// An adapter may wait for the entry of its fence, or for the first one behind a gap.
    is_waiting: Cell<bool>,
}

/// The closures at the link, for their removal.
struct Calls {
    readers: Vec<ReaderId>,
    listeners: [ListenerId; 3],
}

/// State that closures share.
struct Shared {
    member: Rc<Member>,
    options: StreamsOptions,
    /// The key of the stream.
    stream: String,
    /// What recovery needs is kept.
    keeps: Cell<bool>,
    /// Events for own sockets that wait for their entry to be read, in the order of their numbers.
    pending: RefCell<Pending>,
    log: RefCell<Log>,
    /// Behind this entry the place of every own event is known: see [`ask_for_fence`](Self::ask_for_fence).
    fence: Cell<Option<EntryId>>,
    /// How long a session is kept.
    lifetime: Cell<Duration>,
    is_closed: Cell<bool>,
    /// Clients that come back and have received entries that this node has not read yet.
    waiters: RefCell<Vec<Waiter>>,
}

impl StreamsAdapter {
    /// A closure for [`Server::set_adapter`](crate::socket_io::Server::set_adapter). It makes the adapter of each
    /// namespace. All adapters use the same link, which reads the stream on a connection of its own.
    pub fn factory(link: Link, options: StreamsOptions) -> impl Fn(&mut Loop, &str) -> Box<dyn Adapter> + 'static {
        let dispatch = Rc::new(Dispatch::default());
        move |lp, namespace| {
            let prefix = &options.channel_prefix;
            let shared = Shared {
                member: Rc::new(Member::new(lp, link, prefix, namespace, options.use_sharded_channels, true)),
                stream: options.stream(namespace),
                options: options.clone(),
                keeps: Cell::new(false),
                pending: RefCell::default(),
                log: RefCell::new(Log::new(0, 0)),
                fence: Cell::new(None),
                lifetime: Cell::new(Duration::ZERO),
                is_closed: Cell::new(false),
                waiters: RefCell::default(),
            };
            Box::new(StreamsAdapter { shared: Rc::new(shared), dispatch: dispatch.clone(), subscriptions: Vec::new() })
        }
    }
}

impl Dispatch {
    /// Reads the streams, with the first namespace.
    fn start(self: &Rc<Self>, lp: &mut Loop, shared: &Shared) {
        if self.calls.borrow().is_some() {
            return;
        }
        let link = shared.member.link;
        let streams = shared.options.streams().into_iter();
        let readers = streams.map(|stream| {
            let (dispatch, key) = (self.clone(), stream.clone());
            link.read_stream(lp, stream, move |lp, entry| dispatch.on_entry(lp, &key, entry))
        });
        let readers = readers.collect();
        let [ready, lost, gap] = [self.clone(), self.clone(), self.clone()];
        let listeners = [
            link.on_ready(lp, move |lp| {
                for (shared, namespace) in ready.all() {
                    shared.ask_for_fence(lp, namespace);
                }
                ready.is_waiting.set(true);
            }),
            link.on_lost(lp, move |lp, _| {
                for (shared, namespace) in lost.all() {
                    shared.deliver_all_pending(lp, namespace);
                }
            }),
            link.on_gap(lp, move |_, key| {
                for (shared, _) in gap.all().into_iter().filter(|(shared, _)| shared.stream.as_bytes() == key) {
                    shared.log.borrow_mut().begin_gap();
                }
                gap.is_waiting.set(true);
            }),
        ];
        *self.calls.borrow_mut() = Some(Calls { readers, listeners });
    }

    /// Ends the reading, if there is no adapter.
    fn stop(&self, lp: &mut Loop, link: Link) {
        if !self.adapters.borrow().is_empty() {
            return;
        }
        let Some(Calls { readers, listeners }) = self.calls.take() else { return };
        readers.into_iter().for_each(|id| link.stop_reading(lp, id));
        listeners.into_iter().for_each(|id| link.off(lp, id));
    }

    fn all(&self) -> Vec<(Rc<Shared>, Namespace)> {
        self.adapters.borrow().values().cloned().collect()
    }

    fn on_entry(&self, lp: &mut Loop, stream: &str, entry: &Entry<'_>) {
        let namespace = entry.field("nsp").and_then(|name| std::str::from_utf8(name).ok());
        let found = namespace.and_then(|name| self.adapters.borrow().get(name).cloned());
        if let Some((shared, namespace)) = found {
            shared.on_entry(lp, namespace, entry);
        }
        if self.is_waiting.get() {
            self.end_waiting(lp, stream, entry.id);
        }
    }

    /// An entry was read, for which adapters may have waited.
    #[cold]
    fn end_waiting(&self, lp: &mut Loop, stream: &str, read: EntryId) {
        let mut is_waiting = false;
        for (shared, namespace) in self.all() {
            if shared.stream == stream {
                let had_gap = shared.log.borrow_mut().end_gap(read);
                if had_gap {
                    shared.wake_waiters(lp, read);
                }
                shared.pass_fence(lp, namespace);
            }
            is_waiting |= shared.is_waiting();
        }
        self.is_waiting.set(is_waiting);
    }
}

impl Shared {
    /// The parts of the command that adds an entry. Own entries that are still to be delivered have a number.
    fn add_command(&self, message: &Encoded<'_>, number: Option<u64>) -> Vec<String> {
        let Member { uid, namespace, .. } = &*self.member;
        let (len, kind) = (self.options.max_len.to_string(), message.kind.to_string());
        let data = message.field();
        let parts = ["XADD", &self.stream, "MAXLEN", "~", &len, "*"];
        let fields = ["uid", uid, "nsp", namespace, "type", &kind, "data", &data];
        let mut command: Vec<String> = parts.iter().chain(&fields).map(|&part| part.to_owned()).collect();
        if let Some(number) = number {
            command.extend([entries::NUMBER.to_owned(), number.to_string()]);
        }
        command
    }

    /// Whether an entry is waited for.
    fn is_waiting(&self) -> bool {
        !self.pending.borrow().is_placed() || self.log.borrow().has_gap()
    }

    /// Adds an entry for other nodes.
    fn add(&self, lp: &mut Loop, message: &Encoded<'_>) {
        self.member.link.execute(lp, &self.add_command(message, None));
    }
}

impl fmt::Debug for StreamsAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { member, stream, .. } = &*self.shared;
        write!(f, "StreamsAdapter({} in {stream} for {})", member.uid, member.namespace)
    }
}

impl Adapter for StreamsAdapter {
    fn open(&mut self, lp: &mut Loop, namespace: Namespace) {
        let name = self.shared.member.namespace.clone();
        self.dispatch.adapters.borrow_mut().insert(name, (self.shared.clone(), namespace));
        self.subscriptions = self.shared.member.open(lp, namespace);
        self.dispatch.start(lp, &self.shared);
    }

    fn nodes(&self) -> Option<usize> {
        None
    }

    fn broadcast(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, packet: BroadcastPacket<'_>) {
        if self.shared.keeps.get() && !packet.volatile {
            return self.shared.broadcast_kept(lp, namespace, target, packet);
        }
        self.shared.add(lp, &message::encode_broadcast(self.shared.member.outgoing(target, packet, None), None));
    }

    fn broadcast_with_ack(
        &mut self,
        lp: &mut Loop,
        namespace: Namespace,
        target: &Target,
        packet: BroadcastPacket<'_>,
        timeout: Duration,
        request: RequestId,
    ) {
        self.shared.member.broadcast_with_ack(lp, namespace, target, packet, timeout, request);
    }

    fn sockets_join(&mut self, lp: &mut Loop, _: Namespace, target: &Target, rooms: &[String]) {
        self.shared.add(lp, &message::encode_rooms(target, rooms, true));
    }

    fn sockets_leave(&mut self, lp: &mut Loop, _: Namespace, target: &Target, rooms: &[String]) {
        self.shared.add(lp, &message::encode_rooms(target, rooms, false));
    }

    fn disconnect_sockets(&mut self, lp: &mut Loop, _: Namespace, target: &Target, close: bool) {
        self.shared.add(lp, &message::encode_disconnect(target, close));
    }

    fn fetch_sockets(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, request: RequestId) {
        self.shared.member.fetch_sockets(lp, namespace, target, request);
    }

    fn all_rooms(&mut self, lp: &mut Loop, namespace: Namespace, request: RequestId) {
        self.shared.member.fetch_sockets(lp, namespace, &Target::default(), request);
    }

    fn server_side_emit(
        &mut self,
        lp: &mut Loop,
        namespace: Namespace,
        name: &str,
        arguments: &OwnedArguments,
        request: Option<RequestId>,
    ) {
        self.shared.member.server_side_emit(lp, namespace, name, arguments, request);
    }

    fn keep_sessions(&mut self, options: &RecoveryOptions) -> bool {
        self.shared.keeps.set(true);
        self.shared.lifetime.set(options.max_disconnection);
        *self.shared.log.borrow_mut() = Log::new(self.shared.options.max_len, options.max_bytes);
        true
    }

    fn last_offset(&self, lp: &Loop) -> Option<String> {
        let last = self.shared.member.link.stream_position(lp, &self.shared.stream)?;
        (last != EntryId::default()).then(|| last.to_string())
    }

    fn persist_session(&mut self, lp: &mut Loop, _: Namespace, session: &LostSession, lifetime: Duration) {
        self.shared.persist(lp, session, lifetime);
    }

    fn restore_session(&mut self, lp: &mut Loop, _: Namespace, pid: &str, offset: &str, done: OnRestored) {
        self.shared.restore(lp, pid, offset, done);
    }

    fn missed_since(&self, _: &Loop, since: &str, rooms: &[String]) -> Option<Vec<MissedEvent>> {
        self.shared.missed_since(since.parse().ok()?, rooms)
    }

    fn close(&mut self, lp: &mut Loop, namespace: Namespace) {
        for subscription in self.subscriptions.drain(..) {
            self.shared.member.link.unsubscribe(lp, subscription);
        }
        self.shared.is_closed.set(true);
        self.shared.give_waiters_back(lp);
        // Another adapter may have its name by now.
        let name = &self.shared.member.namespace;
        let is_own = |(shared, _): &(Rc<Shared>, Namespace)| Rc::ptr_eq(shared, &self.shared);
        self.dispatch.adapters.borrow_mut().retain(|other, adapter| other != name || !is_own(adapter));
        let link = self.shared.member.link;
        self.dispatch.stop(lp, link);
        // If another adapter goes on with the stream, it delivers the entries of this one.
        if link.stream_position(lp, &self.shared.stream).is_none() {
            self.shared.deliver_all_pending(lp, namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_the_stream_that_node_computes() {
        let one = StreamsOptions::default();
        assert_eq!((one.stream("/"), one.streams()), ("socket.io".to_owned(), vec!["socket.io".to_owned()]));
        let three = StreamsOptions { stream_count: 3, ..StreamsOptions::default() };
        // `hashCode(name) % 3` of `util.js`.
        for (namespace, stream) in [
            ("/", "socket.io-2"),
            ("/admin", "socket.io-1"),
            ("/é\u{1f600}", "socket.io-2"),
            ("/tenant-1", "socket.io--1"),
        ] {
            assert_eq!(three.stream(namespace), stream, "{namespace}");
            assert!(three.streams().contains(&three.stream(namespace)));
        }
    }
}
