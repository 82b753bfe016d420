//! A node of a cluster whose messages have the format of [`message`](super::message): what it sends, and what it does
//! with the messages of others. It is used by both adapters with this format.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::message::{self, Body, Encoded};
use super::wire::{Broadcast, Flags, Outgoing, Response};
use super::{DEFAULT_TIMEOUT, LONGEST_TIMEOUT};
use crate::Loop;
use crate::redis::{Link, SubscriptionId};
use crate::socket_io::adapter::{BroadcastPacket, RequestId, Target};
use crate::socket_io::registry::Registry;
use crate::socket_io::{Malformed, Namespace, OwnedArguments, ServerAnswer};

/// A node in one namespace.
pub(super) struct Member {
    pub link: Link,
    /// The name of this node in this namespace.
    pub uid: String,
    pub namespace: String,
    /// The channel that all nodes have. The one of a single node has its name and `#` behind it.
    pub channel: String,
    /// The channels are those of sharded publishing.
    pub is_sharded: bool,
    /// Messages are MessagePack, even without attachments.
    pub is_msgpack: bool,
    own_prefixes: [Vec<u8>; 2],
    /// A message that cannot be read was logged.
    has_logged: Cell<bool>,
}

impl Member {
    pub fn new(lp: &mut Loop, link: Link, prefix: &str, namespace: &str, is_sharded: bool, is_msgpack: bool) -> Member {
        let registry = lp.layer_mut::<Registry>();
        let uid = match registry.random.random::<8>() {
            Ok(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            // Without a random source. Nodes with the same name would ignore each other.
            Err(_) => format!("{}.{}.", std::process::id(), registry.serial()),
        };
        Member {
            link,
            own_prefixes: message::own_prefixes(&uid),
            uid,
            namespace: namespace.to_owned(),
            channel: format!("{prefix}#{namespace}#"),
            is_sharded,
            is_msgpack,
            has_logged: Cell::new(false),
        }
    }

    /// Subscribes to the channel of all nodes and to that of this one.
    pub fn open(self: &Rc<Self>, lp: &mut Loop, namespace: Namespace) -> Vec<SubscriptionId> {
        let channels = [self.channel.clone(), format!("{}{}#", self.channel, self.uid)];
        channels.into_iter().map(|channel| self.subscribe(lp, namespace, channel)).collect()
    }

    /// Subscribes to a channel.
    pub fn subscribe(self: &Rc<Self>, lp: &mut Loop, namespace: Namespace, channel: String) -> SubscriptionId {
        let (member, link) = (self.clone(), self.link);
        let call = move |lp: &mut Loop, _: &[u8], message: &[u8]| member.receive_message(lp, namespace, message);
        match self.is_sharded {
            true => link.ssubscribe(lp, channel, call),
            false => link.subscribe(lp, channel, call),
        }
    }

    /// Publishes a message to all nodes.
    pub fn publish(&self, lp: &mut Loop, message: &Encoded<'_>) -> bool {
        self.publish_to(lp, &self.channel, message)
    }

    pub fn publish_to(&self, lp: &mut Loop, channel: &str, message: &Encoded<'_>) -> bool {
        let bytes = message.message(&self.uid, &self.namespace, self.is_msgpack);
        match self.is_sharded {
            true => self.link.spublish(lp, channel, bytes),
            false => self.link.publish(lp, channel, bytes),
        }
    }

    /// Answers another node.
    fn respond(&self, lp: &mut Loop, uid: &str, message: &Encoded<'_>) {
        self.publish_to(lp, &format!("{}{uid}#", self.channel), message);
    }

    /// Asks for the number of nodes. Returns `false` if there is no way to know it.
    pub fn count_nodes(&self, lp: &mut Loop, namespace: Namespace, request: RequestId) -> bool {
        if !self.link.is_ready(lp) {
            namespace.expect_nodes(lp, request, None);
            return false;
        }
        let question = if self.is_sharded { "SHARDNUMSUB" } else { "NUMSUB" };
        self.link.command(lp, &["PUBSUB", question, &self.channel], move |lp, reply| {
            let count = reply.ok().and_then(|reply| reply.items().get(1)?.integer());
            namespace.expect_nodes(lp, request, count.and_then(|count| usize::try_from(count).ok()));
        });
        true
    }

    /// The number of a request, which other nodes repeat. It names this node, so that no table is needed.
    pub fn request_id(&self, request: RequestId) -> String {
        format!("{}#{}", self.uid, request.number())
    }

    /// Sends an event that each receiver acknowledges, to all nodes: each of them reports how many sockets have got it.
    pub fn broadcast_with_ack(
        &self,
        lp: &mut Loop,
        namespace: Namespace,
        target: &Target,
        packet: BroadcastPacket<'_>,
        timeout: Duration,
        request: RequestId,
    ) {
        if self.count_nodes(lp, namespace, request) {
            let event = self.outgoing(target, packet, Some(timeout));
            self.publish(lp, &message::encode_broadcast(event, Some(&self.request_id(request))));
        }
    }

    /// Asks for the sockets of all nodes. The format has no question for rooms: they are those of the sockets.
    pub fn fetch_sockets(&self, lp: &mut Loop, namespace: Namespace, target: &Target, request: RequestId) {
        if self.count_nodes(lp, namespace, request) {
            self.publish(lp, &message::encode_fetch(target, &self.request_id(request)));
        }
    }

    /// Sends an event for the servers of all nodes, which answer if there is a request.
    pub fn server_side_emit(
        &self,
        lp: &mut Loop,
        namespace: Namespace,
        name: &str,
        arguments: &OwnedArguments,
        request: Option<RequestId>,
    ) {
        if request.is_none_or(|request| self.count_nodes(lp, namespace, request)) {
            let id = request.map(|request| self.request_id(request));
            self.publish(lp, &message::encode_server_side_emit(name, arguments, id.as_deref()));
        }
    }

    /// A broadcast for other nodes.
    pub fn outgoing<'a>(
        &'a self,
        target: &'a Target,
        packet: BroadcastPacket<'a>,
        timeout: Option<Duration>,
    ) -> Outgoing<'a> {
        Outgoing {
            namespace: &self.namespace,
            name: packet.name,
            arguments: packet.arguments,
            target,
            flags: Flags { volatile: packet.volatile, compress: packet.compress, timeout },
        }
    }

    fn receive_message(self: &Rc<Self>, lp: &mut Loop, namespace: Namespace, bytes: &[u8]) {
        if self.own_prefixes.iter().any(|prefix| bytes.starts_with(prefix)) {
            return;
        }
        match message::decode(bytes) {
            Ok(message) if message.uid == self.uid || message.namespace != self.namespace => {}
            Ok(message) => {
                if let Some(body) = message.body {
                    self.receive(lp, namespace, &message.uid, body);
                }
            }
            Err(malformed) => self.ignore(lp, malformed),
        }
    }

    /// A message of another node.
    pub fn receive(self: &Rc<Self>, lp: &mut Loop, namespace: Namespace, uid: &str, body: Body) {
        match body {
            Body::Broadcast { broadcast, request_id: None, .. } => {
                namespace.receive_broadcast(lp, &broadcast.target, packet(&broadcast, None));
            }
            Body::Broadcast { broadcast, request_id: Some(id), .. } => {
                let timeout = broadcast.flags.timeout.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT);
                let (member, asker, number) = (self.clone(), uid.to_owned(), id.clone());
                let on_answer = move |lp: &mut Loop, arguments: OwnedArguments| {
                    member.respond(lp, &asker, &message::encode_ack(&number, &arguments));
                };
                let (target, packet) = (&broadcast.target, packet(&broadcast, None));
                let count = namespace.receive_broadcast_with_ack(lp, target, packet, timeout, on_answer);
                self.respond(lp, uid, &message::encode_client_count(&id, count));
            }
            Body::Rooms { target, rooms, join } => namespace.receive_rooms(lp, &target, &rooms, join),
            Body::Disconnect { target, close } => namespace.receive_disconnect(lp, &target, close),
            Body::Fetch { target, request_id } => {
                let sockets = namespace.local_sockets(lp, &target);
                self.respond(lp, uid, &message::encode_sockets(&request_id, sockets));
            }
            Body::ServerSideEmit { name, arguments, request_id } => {
                let answer = request_id.map(|id| -> ServerAnswer {
                    let (member, asker) = (self.clone(), uid.to_owned());
                    Box::new(move |lp: &mut Loop, value: Value| {
                        member.respond(lp, &asker, &message::encode_server_answer(&id, &value));
                    })
                });
                namespace.receive_server_event(lp, &name, &arguments, answer);
            }
            Body::Response { request_id, response } => self.receive_response(lp, namespace, &request_id, response),
        }
    }

    fn receive_response(&self, lp: &mut Loop, namespace: Namespace, request_id: &str, response: Response) {
        let number = request_id.strip_prefix(&self.uid).and_then(|rest| rest.strip_prefix('#'));
        let Some(Ok(number)) = number.map(str::parse) else { return };
        namespace.answered(lp, RequestId(number), response.into(), true);
    }

    /// A message cannot be read.
    #[cold]
    pub fn ignore(&self, lp: &mut Loop, malformed: Malformed) {
        self.link.note_ignored(lp);
        let level = if self.has_logged.replace(true) { log::Level::Debug } else { log::Level::Warn };
        log::log!(
            target: "bucle::socket_io", level,
            "a message for the namespace {} is ignored: {}", self.namespace, malformed.reason,
        );
    }
}

/// The event of a broadcast, with its offset if it is one that clients can miss.
pub(super) fn packet<'a>(broadcast: &'a Broadcast, offset: Option<&'a str>) -> BroadcastPacket<'a> {
    BroadcastPacket {
        name: &broadcast.name,
        arguments: &broadcast.arguments,
        volatile: broadcast.flags.volatile,
        compress: broadcast.flags.compress,
        offset,
    }
}
