//! Clusters over the sharded publishing of Redis 7, in the format of `createShardedAdapter` of
//! `@socket.io/redis-adapter` 8.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::member::Member;
use super::message;
use crate::Loop;
use crate::redis::{Link, SubscriptionId};
use crate::socket_io::adapter::{Adapter, BroadcastPacket, RequestId, Target};
use crate::socket_io::{Namespace, OwnedArguments};

/// The options of a [`ShardedAdapter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardedOptions {
    /// The beginning of the names of all channels: clusters with different prefixes do not exchange messages. All nodes
    /// must have the same. Default: `socket.io`.
    #[doc(alias = "channelPrefix")]
    pub channel_prefix: String,
    /// Which rooms have a channel of their own. All nodes must have the same.
    #[doc(alias = "subscriptionMode")]
    pub subscription_mode: SubscriptionMode,
}

impl Default for ShardedOptions {
    fn default() -> ShardedOptions {
        ShardedOptions { channel_prefix: "socket.io".to_owned(), subscription_mode: SubscriptionMode::Dynamic }
    }
}

/// Which rooms have a channel of their own. A node subscribes to it while it has a socket in the room, so broadcasts
/// to the room do not reach the other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SubscriptionMode {
    /// No room: all nodes get all broadcasts.
    Static,
    /// All rooms, without those that the ids of sockets name.
    #[default]
    Dynamic,
    /// All rooms, also those that the ids of sockets name: two commands to Redis for each client that comes and goes,
    /// and events for single sockets of other nodes reach only their node.
    DynamicPrivate,
}

impl SubscriptionMode {
    /// Whether broadcasts to this room alone have a channel of their own. Names of 20 characters look like ids.
    fn has_channel(self, room: &str) -> bool {
        match self {
            SubscriptionMode::Static => false,
            SubscriptionMode::Dynamic => room.encode_utf16().count() != 20,
            SubscriptionMode::DynamicPrivate => true,
        }
    }
}

/// An adapter over sharded publishing, for clusters of servers of this crate and of Node with `createShardedAdapter`.
/// In a Redis Cluster such messages stay on one shard, while other messages go to all. From [`factory`](Self::factory).
///
/// A [`Link`] is connected to one Redis server, which must not be a node of a Redis Cluster with several shards. With
/// one server, too, the adapter saves messages: a broadcast to a room reaches only nodes with sockets in the room.
///
/// Its operations, and their bounds, are those of [`RedisAdapter`](super::RedisAdapter). [`Emitter`](super::Emitter)
/// and `@socket.io/redis-emitter` do not reach it.
pub struct ShardedAdapter {
    member: Rc<Member>,
    mode: SubscriptionMode,
    subscriptions: Vec<SubscriptionId>,
    rooms: HashMap<Box<str>, SubscriptionId>,
}

impl ShardedAdapter {
    /// A closure for [`Server::set_adapter`](crate::socket_io::Server::set_adapter). It makes the adapter of each
    /// namespace. All adapters use the same link.
    pub fn factory(link: Link, options: ShardedOptions) -> impl Fn(&mut Loop, &str) -> Box<dyn Adapter> + 'static {
        move |lp, namespace| {
            let member = Member::new(lp, link, &options.channel_prefix, namespace, true, false);
            Box::new(ShardedAdapter {
                member: Rc::new(member),
                mode: options.subscription_mode,
                subscriptions: Vec::new(),
                rooms: HashMap::new(),
            })
        }
    }

    fn room_channel(&self, room: &str) -> String {
        format!("{}{room}#", self.member.channel)
    }
}

impl fmt::Debug for ShardedAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardedAdapter({} in {})", self.member.uid, self.member.channel)
    }
}

impl Adapter for ShardedAdapter {
    fn open(&mut self, lp: &mut Loop, namespace: Namespace) {
        self.subscriptions = self.member.open(lp, namespace);
        for room in namespace.local_rooms(lp) {
            self.room_created(lp, namespace, &room);
        }
    }

    fn nodes(&self) -> Option<usize> {
        None
    }

    fn watches_rooms(&self) -> bool {
        self.mode != SubscriptionMode::Static
    }

    fn room_created(&mut self, lp: &mut Loop, namespace: Namespace, room: &str) {
        if self.mode.has_channel(room) && !self.rooms.contains_key(room) {
            let subscription = self.member.subscribe(lp, namespace, self.room_channel(room));
            self.rooms.insert(room.into(), subscription);
        }
    }

    fn room_deleted(&mut self, lp: &mut Loop, _: Namespace, room: &str) {
        if let Some(subscription) = self.rooms.remove(room) {
            self.member.link.unsubscribe(lp, subscription);
        }
    }

    fn broadcast(&mut self, lp: &mut Loop, _: Namespace, target: &Target, packet: BroadcastPacket<'_>) {
        let message = message::encode_broadcast(self.member.outgoing(target, packet, None), None);
        match target.rooms.as_slice() {
            [room] if self.mode.has_channel(room) => self.member.publish_to(lp, &self.room_channel(room), &message),
            _ => self.member.publish(lp, &message),
        };
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
        self.member.broadcast_with_ack(lp, namespace, target, packet, timeout, request);
    }

    fn sockets_join(&mut self, lp: &mut Loop, _: Namespace, target: &Target, rooms: &[String]) {
        self.member.publish(lp, &message::encode_rooms(target, rooms, true));
    }

    fn sockets_leave(&mut self, lp: &mut Loop, _: Namespace, target: &Target, rooms: &[String]) {
        self.member.publish(lp, &message::encode_rooms(target, rooms, false));
    }

    fn disconnect_sockets(&mut self, lp: &mut Loop, _: Namespace, target: &Target, close: bool) {
        self.member.publish(lp, &message::encode_disconnect(target, close));
    }

    fn fetch_sockets(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, request: RequestId) {
        self.member.fetch_sockets(lp, namespace, target, request);
    }

    fn all_rooms(&mut self, lp: &mut Loop, namespace: Namespace, request: RequestId) {
        self.member.fetch_sockets(lp, namespace, &Target::default(), request);
    }

    fn server_side_emit(
        &mut self,
        lp: &mut Loop,
        namespace: Namespace,
        name: &str,
        arguments: &OwnedArguments,
        request: Option<RequestId>,
    ) {
        self.member.server_side_emit(lp, namespace, name, arguments, request);
    }

    fn close(&mut self, lp: &mut Loop, _: Namespace) {
        let rooms = self.rooms.drain().map(|(_, subscription)| subscription);
        for subscription in self.subscriptions.drain(..).chain(rooms) {
            self.member.link.unsubscribe(lp, subscription);
        }
    }
}
