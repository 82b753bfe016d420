//! Clusters of servers through Redis, in the formats of Node's adapters: servers of this crate and of Node can be nodes
//! of one cluster. There are three adapters. Nodes with different adapters do not exchange messages:
//!
//! | adapter | in Node | events go through | a lost client comes back |
//! |---|---|---|---|
//! | [`RedisAdapter`] | [`createAdapter`](https://socket.io/docs/v4/redis-adapter/) of `@socket.io/redis-adapter` 8 | channels | on its node |
//! | [`ShardedAdapter`] | `createShardedAdapter` of the same package | channels, one for each room | on its node |
//! | [`StreamsAdapter`] | [`createAdapter`](https://socket.io/docs/v4/redis-streams-adapter/) of `@socket.io/redis-streams-adapter` 0.3 | a stream with the last 10,000 | on any node |
//!
//! `docs/scaling.md` has what they cost, and when to choose which. This page is about the first one. Programs reach its
//! clients with [`@socket.io/redis-emitter`](https://socket.io/docs/v4/redis-adapter/#emitter), or with an [`Emitter`].
//!
//! ```text
//!   io.to("room").emit ──▶ own sockets
//!            │
//!            └─▶ RedisAdapter ──▶ PUBLISH socket.io#/#room# ──▶ other nodes ──▶ their sockets in the room
//! ```
//!
//! ```no_run
//! use bucle::redis::{self, Link};
//! use bucle::socket_io::redis_adapter::{self, RedisAdapter};
//! use bucle::socket_io::{self, Options};
//!
//! bucle::run(|lp| {
//!     let link = Link::open(lp, redis::Options::from_url("redis://localhost")?);
//!     let (_server, io) = socket_io::listen(lp, ("127.0.0.1", 3000), Options::default())?;
//!     io.set_adapter(lp, RedisAdapter::factory(link, redis_adapter::Options::default()));
//!     io.on_connection(lp, |lp, socket| socket.join(lp, "news"));
//!     io.to("news").emit(lp, "hola", "to the clients of all nodes");
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Operations that reach other nodes
//!
//! Broadcasts with rooms, exceptions and flags, also those that are acknowledged;
//! [`fetch_sockets`](super::Namespace::fetch_sockets), [`all_rooms`](super::Namespace::all_rooms),
//! [`sockets_join`](super::Namespace::sockets_join) and
//! [`sockets_leave`](super::Namespace::sockets_leave),
//! [`disconnect_sockets`](super::Namespace::disconnect_sockets),
//! [`server_side_emit`](super::Namespace::server_side_emit) with and without answers. Redis is asked how many nodes
//! there are (`PUBSUB NUMSUB`) for each operation that waits for answers.
//!
//! A message is delivered at most once. While Redis is away each node goes on with its own clients: operations that
//! wait for other nodes have the answers of this one, and are not complete; broadcasts wait for Redis within the bounds
//! of the [`Link`].
//!
//! # Differences from Node
//!
//! | in Node | here |
//! |---|---|
//! | a message that cannot be read ends the process | it is counted ([`redis::Statistics::ignored`](crate::redis::Statistics::ignored)), and the first one is logged |
//! | `socketsJoin`, `socketsLeave`, `disconnectSockets` happen on the own node when Redis has sent the request back | immediately |
//! | `*`, `?`, `[` and `\` in the name of a namespace are wildcards | they are escaped |
//! | an acknowledgement carries its first argument | the same |
//! | `serverSideEmit` is JSON, in which a `Buffer` is an object | the same |

mod emitter;
mod member;
mod message;
mod msgpack;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod sharded;
mod streams;
mod wire;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::adapter::{Adapter, BroadcastPacket, RequestId, Target};
use super::names::with_slash;
use super::registry::Registry;
use super::{Malformed, Namespace, OwnedArguments, Socket};
use crate::Loop;
use crate::redis::{self, Link, SubscriptionId};
pub use emitter::Emitter;
use member::packet;
pub use sharded::{ShardedAdapter, ShardedOptions, SubscriptionMode};
pub use streams::{StreamsAdapter, StreamsOptions};
use wire::{Flags, Outgoing, Received, Request};

/// The options of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The beginning of the names of all channels: clusters with different keys do not exchange messages. All nodes
    /// must have the same. Default: `socket.io`.
    pub key: String,
    /// Whether answers are published only to the node that has asked, which spares the others. It need not be the same
    /// on all nodes. Default: `false`.
    #[doc(alias = "publishOnSpecificResponseChannel")]
    pub specific_response_channel: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { key: "socket.io".to_owned(), specific_response_channel: false }
    }
}

/// The adapter of one namespace. From [`factory`](Self::factory).
pub struct RedisAdapter {
    shared: Rc<Shared>,
    subscriptions: Vec<SubscriptionId>,
}

/// State that the closures of the subscriptions share.
struct Shared {
    link: Link,
    /// The name of this node in this namespace.
    uid: String,
    key: String,
    namespace: String,
    channel: String,
    request_channel: String,
    response_channel: String,
    is_specific: bool,
    /// A message that cannot be read was logged.
    has_logged: Cell<bool>,
}

/// The characters of a uid.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// How long sockets are waited for if a request does not say how long.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Another node cannot make this one wait longer.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

impl RedisAdapter {
    /// A closure for [`Server::set_adapter`](super::Server::set_adapter). It makes the adapter of each namespace. All
    /// adapters use the same link.
    pub fn factory(link: Link, options: Options) -> impl Fn(&mut Loop, &str) -> Box<dyn Adapter> + 'static {
        move |lp, namespace| Box::new(RedisAdapter::new(lp, link, &options, namespace))
    }

    fn new(lp: &mut Loop, link: Link, options: &Options, namespace: &str) -> RedisAdapter {
        let registry = lp.layer_mut::<Registry>();
        let uid: String = match registry.random.random::<6>() {
            Ok(bytes) => bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect(),
            // Without a random source. Nodes with the same name would ignore each other.
            Err(_) => format!("{}.{}.", std::process::id(), registry.serial()),
        };
        let key = &options.key;
        let shared = Shared {
            link,
            uid,
            namespace: namespace.to_owned(),
            key: key.clone(),
            channel: wire::channel(key, namespace),
            request_channel: wire::request_channel(key, namespace),
            response_channel: wire::response_channel(key, namespace),
            is_specific: options.specific_response_channel,
            has_logged: Cell::new(false),
        };
        RedisAdapter { shared: Rc::new(shared), subscriptions: Vec::new() }
    }

    /// Asks for the number of nodes. Returns `false` if there is no way to know it.
    fn count_nodes(&self, lp: &mut Loop, namespace: Namespace, request: RequestId) -> bool {
        let Shared { link, request_channel, .. } = &*self.shared;
        if !link.is_ready(lp) {
            namespace.expect_nodes(lp, request, None);
            return false;
        }
        link.command(lp, &["PUBSUB", "NUMSUB", request_channel], move |lp, reply| {
            let count = reply.ok().and_then(|reply| reply.items().get(1)?.integer());
            namespace.expect_nodes(lp, request, count.and_then(|count| usize::try_from(count).ok()));
        });
        true
    }

    fn request(&self, lp: &mut Loop, message: impl AsRef<[u8]>) {
        self.shared.link.publish(lp, &self.shared.request_channel, message);
    }

    /// The number of a request, which other nodes repeat. It names this node, so that no table is needed.
    fn request_id(&self, request: RequestId) -> String {
        format!("{}{}", self.shared.uid, request.number())
    }

    fn outgoing<'a>(
        &'a self,
        target: &'a Target,
        packet: BroadcastPacket<'a>,
        timeout: Option<Duration>,
    ) -> Outgoing<'a> {
        Outgoing {
            namespace: &self.shared.namespace,
            name: packet.name,
            arguments: packet.arguments,
            target,
            flags: Flags { volatile: packet.volatile, compress: packet.compress, timeout },
        }
    }
}

impl fmt::Debug for RedisAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAdapter({} in {})", self.shared.uid, self.shared.channel)
    }
}

impl Adapter for RedisAdapter {
    fn open(&mut self, lp: &mut Loop, namespace: Namespace) {
        let (link, shared) = (self.shared.link, self.shared.clone());
        let pattern = format!("{}*", redis::escape_pattern(&shared.channel));
        self.subscriptions.push(link.psubscribe(lp, pattern, move |lp, channel, message| {
            shared.on_broadcast(lp, namespace, channel, message);
        }));
        let shared = self.shared.clone();
        self.subscriptions.push(link.subscribe(lp, &self.shared.request_channel, move |lp, _, message| {
            shared.on_request(lp, namespace, message);
        }));
        let response_channel = &self.shared.response_channel;
        for channel in [response_channel.clone(), format!("{response_channel}{}#", self.shared.uid)] {
            let shared = self.shared.clone();
            self.subscriptions.push(link.subscribe(lp, channel, move |lp, _, message| {
                shared.on_response(lp, namespace, message);
            }));
        }
    }

    fn nodes(&self) -> Option<usize> {
        None
    }

    fn broadcast(&mut self, lp: &mut Loop, _: Namespace, target: &Target, packet: BroadcastPacket<'_>) {
        let message = wire::encode_broadcast(&self.shared.uid, self.outgoing(target, packet, None));
        let channel = wire::broadcast_channel(&self.shared.key, &self.shared.namespace, target);
        self.shared.link.publish(lp, channel, message);
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
        if self.count_nodes(lp, namespace, request) {
            let event = self.outgoing(target, packet, Some(timeout));
            let message = wire::encode_broadcast_request(&self.shared.uid, &self.request_id(request), event);
            self.request(lp, message);
        }
    }

    fn sockets_join(&mut self, lp: &mut Loop, _: Namespace, target: &Target, rooms: &[String]) {
        self.request(lp, wire::encode_rooms(&self.shared.uid, target, rooms, true));
    }

    fn sockets_leave(&mut self, lp: &mut Loop, _: Namespace, target: &Target, rooms: &[String]) {
        self.request(lp, wire::encode_rooms(&self.shared.uid, target, rooms, false));
    }

    fn disconnect_sockets(&mut self, lp: &mut Loop, _: Namespace, target: &Target, close: bool) {
        self.request(lp, wire::encode_disconnect(&self.shared.uid, target, close));
    }

    fn fetch_sockets(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, request: RequestId) {
        if self.count_nodes(lp, namespace, request) {
            self.request(lp, wire::encode_fetch(&self.shared.uid, &self.request_id(request), target));
        }
    }

    fn all_rooms(&mut self, lp: &mut Loop, namespace: Namespace, request: RequestId) {
        if self.count_nodes(lp, namespace, request) {
            self.request(lp, wire::encode_all_rooms_request(&self.shared.uid, &self.request_id(request)));
        }
    }

    fn server_side_emit(
        &mut self,
        lp: &mut Loop,
        namespace: Namespace,
        name: &str,
        arguments: &OwnedArguments,
        request: Option<RequestId>,
    ) {
        if request.is_none_or(|request| self.count_nodes(lp, namespace, request)) {
            let id = request.map(|request| self.request_id(request));
            self.request(lp, wire::encode_server_side_emit(&self.shared.uid, id.as_deref(), name, arguments));
        }
    }

    fn close(&mut self, lp: &mut Loop, _: Namespace) {
        for subscription in self.subscriptions.drain(..) {
            self.shared.link.unsubscribe(lp, subscription);
        }
    }
}

impl Shared {
    /// A broadcast of another node, or of an emitter.
    fn on_broadcast(&self, lp: &mut Loop, namespace: Namespace, channel: &[u8], message: &[u8]) {
        let Some(room) = channel.strip_prefix(self.channel.as_bytes()) else { return };
        // A message for a room without sockets is not read.
        if let Some(room) = room.strip_suffix(b"#")
            && !std::str::from_utf8(room).is_ok_and(|room| namespace.room_size(lp, room) > 0)
        {
            return;
        }
        match wire::decode_broadcast(message, &self.uid) {
            Ok(Some(broadcast)) if broadcast.namespace == self.namespace => {
                namespace.receive_broadcast(lp, &broadcast.target, packet(&broadcast, None));
            }
            Ok(_) => {}
            Err(malformed) => self.ignore(lp, malformed),
        }
    }

    fn on_request(self: &Rc<Self>, lp: &mut Loop, namespace: Namespace, message: &[u8]) {
        let Received { uid, request_id, request } = match wire::decode_request(message, &self.uid) {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(malformed) => return self.ignore(lp, malformed),
        };
        let response_channel = match uid {
            Some(uid) if self.is_specific => format!("{}{uid}#", self.response_channel),
            _ => self.response_channel.clone(),
        };
        let link = self.link;
        let id = request_id.clone().unwrap_or_default();
        match request {
            Request::Sockets(rooms) => {
                let found = namespace.local_sockets(lp, &Target { rooms, except: Vec::new() });
                let ids = found.into_iter().map(|socket| socket.id.into()).collect();
                link.publish(lp, response_channel, wire::encode_sockets(&id, ids));
            }
            Request::AllRooms => {
                let rooms = namespace.local_rooms(lp);
                link.publish(lp, response_channel, wire::encode_all_rooms(&id, &rooms));
            }
            Request::Rooms { target, rooms, join } => namespace.receive_rooms(lp, &target, &rooms, join),
            Request::Disconnect { target, close } => namespace.receive_disconnect(lp, &target, close),
            Request::RoomOfOne { id: socket, room, join } => {
                let Some(socket) = namespace.socket(lp, &socket) else { return };
                match join {
                    true => Socket::join(socket, lp, room),
                    false => Socket::leave(socket, lp, room),
                }
                link.publish(lp, response_channel, wire::encode_done(&id));
            }
            Request::DisconnectOne { id: socket, close } => {
                let Some(socket) = namespace.socket(lp, &socket) else { return };
                socket.disconnect(lp, close);
                link.publish(lp, response_channel, wire::encode_done(&id));
            }
            Request::Fetch(target) => {
                let found = namespace.local_sockets(lp, &target).into_iter().map(wire::socket_value).collect();
                link.publish(lp, response_channel, wire::encode_sockets(&id, found));
            }
            Request::ServerSideEmit { name, arguments } => {
                // Node publishes these answers to all nodes.
                let channel = self.response_channel.clone();
                let answer = request_id.map(|id| -> super::ServerAnswer {
                    Box::new(move |lp: &mut Loop, value: Value| {
                        link.publish(lp, channel, wire::encode_server_answer(&id, &value));
                    })
                });
                namespace.receive_server_event(lp, &name, &arguments, answer);
            }
            Request::Broadcast(broadcast) if broadcast.namespace == self.namespace => {
                let timeout = broadcast.flags.timeout.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT);
                let (answer_id, answer_channel) = (id.clone(), response_channel.clone());
                let on_answer = move |lp: &mut Loop, arguments: OwnedArguments| {
                    link.publish(lp, &answer_channel, wire::encode_ack(&answer_id, &arguments));
                };
                let (target, packet) = (&broadcast.target, packet(&broadcast, None));
                let count = namespace.receive_broadcast_with_ack(lp, target, packet, timeout, on_answer);
                link.publish(lp, response_channel, wire::encode_client_count(&id, count));
            }
            Request::Broadcast(_) => {}
        }
    }

    fn on_response(&self, lp: &mut Loop, namespace: Namespace, message: &[u8]) {
        let (id, response) = match wire::decode_response(message) {
            Ok(Some(response)) => response,
            Ok(None) => return,
            Err(malformed) => return self.ignore(lp, malformed),
        };
        // Responses to other nodes arrive here, too.
        let Some(Ok(number)) = id.strip_prefix(&self.uid).map(str::parse) else { return };
        namespace.answered(lp, RequestId(number), response.into(), true);
    }

    /// A message cannot be read.
    #[cold]
    fn ignore(&self, lp: &mut Loop, malformed: Malformed) {
        self.link.note_ignored(lp);
        let level = if self.has_logged.replace(true) { log::Level::Debug } else { log::Level::Warn };
        log::log!(
            target: "bucle::socket_io", level,
            "a message in the channels {} is ignored: {}", self.channel, malformed.reason,
        );
    }
}
