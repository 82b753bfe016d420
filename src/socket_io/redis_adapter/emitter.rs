//! Events for a cluster from a program that is no node of it.

use super::wire::{self, Flags, Outgoing};
use super::{Options, with_slash};
use crate::Loop;
use crate::redis::Link;
use crate::socket_io::adapter::Target;
use crate::socket_io::arguments::IntoArguments;
use crate::socket_io::broadcast::RoomNames;
use crate::socket_io::{encode, packet};

/// The name that an emitter has among nodes. None of them has it, so all of them read its messages.
const UID: &str = "emitter";

/// Sends events to the clients and servers of a cluster, from a program that needs no server: a job, another service.
/// Its receivers are chosen step by step, as those of a [`Broadcast`](crate::socket_io::Broadcast).
///
/// ```no_run
/// use bucle::redis::{self, Link};
/// use bucle::socket_io::redis_adapter::{Emitter, Options};
///
/// bucle::run(|lp| {
///     let link = Link::open(lp, redis::Options::from_url("redis://localhost")?);
///     let emitter = Emitter::new(link, Options::default());
///     emitter.clone().to("news").emit(lp, "message", "hola");
///     emitter.of("/admin").emit(lp, "message", "to all of a namespace");
///     link.close(lp); // What was published is sent when there is a connection; a real program goes on.
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
///
/// Node: [`@socket.io/redis-emitter`](https://socket.io/docs/v4/redis-adapter/#emitter).
#[derive(Clone, Debug)]
#[must_use = "nothing is sent without `emit`"]
pub struct Emitter {
    link: Link,
    key: String,
    namespace: String,
    target: Target,
    flags: Flags,
}

impl Emitter {
    /// An emitter for all clients of the main namespace.
    pub fn new(link: Link, options: Options) -> Emitter {
        Emitter {
            link,
            key: options.key,
            namespace: "/".to_owned(),
            target: Target::default(),
            flags: Flags::default(),
        }
    }

    /// The same for another namespace. A missing slash in front is added.
    pub fn of(self, namespace: &str) -> Emitter {
        Emitter { namespace: with_slash(namespace).into_owned(), ..self }
    }

    /// Adds rooms. A socket in several of them gets the event once.
    #[doc(alias = "in")]
    pub fn to(mut self, rooms: impl RoomNames) -> Emitter {
        self.target.rooms.extend(rooms.names());
        self
    }

    /// Leaves out the sockets in these rooms.
    pub fn except(mut self, rooms: impl RoomNames) -> Emitter {
        self.target.except.extend(rooms.names());
        self
    }

    /// The event is dropped for sockets that are not ready to take it.
    pub fn volatile(mut self) -> Emitter {
        self.flags.volatile = true;
        self
    }

    /// Whether the event may be compressed for clients that have agreed on it. Default: `true`.
    pub fn compress(mut self, compress: bool) -> Emitter {
        self.flags.compress = compress;
        self
    }

    /// Sends an event to the clients. Returns `false`, with a line in the log, if it was dropped: too much waits for
    /// Redis, its name is reserved, or its arguments cannot be written as JSON.
    pub fn emit(&self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> bool {
        if packet::RESERVED_EVENTS.contains(&name) {
            log::error!(target: "bucle::socket_io", "{name:?} is reserved and cannot be emitted: choose another name");
            return false;
        }
        let Some(arguments) = encode::to_owned(&arguments) else { return false };
        let Emitter { namespace, target, flags, .. } = self;
        let event = Outgoing { namespace, name, arguments: &arguments, target, flags: *flags };
        let message = wire::encode_broadcast(UID, event);
        self.link.publish(lp, wire::broadcast_channel(&self.key, namespace, target), message)
    }

    /// The clients join rooms.
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join(&self, lp: &mut Loop, rooms: impl RoomNames) -> bool {
        self.request(lp, &wire::encode_rooms(UID, &self.target, &rooms.names(), true))
    }

    /// The clients leave rooms.
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave(&self, lp: &mut Loop, rooms: impl RoomNames) -> bool {
        self.request(lp, &wire::encode_rooms(UID, &self.target, &rooms.names(), false))
    }

    /// The clients are disconnected, with `close` also their sessions.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(&self, lp: &mut Loop, close: bool) -> bool {
        self.request(lp, &wire::encode_disconnect(UID, &self.target, close))
    }

    /// Sends an event to the servers of all nodes.
    #[doc(alias = "serverSideEmit")]
    pub fn server_side_emit(&self, lp: &mut Loop, name: &str, arguments: impl IntoArguments) -> bool {
        let Some(arguments) = encode::to_owned(&arguments) else { return false };
        self.request(lp, &wire::encode_server_side_emit(UID, None, name, &arguments))
    }

    fn request(&self, lp: &mut Loop, message: &str) -> bool {
        self.link.publish(lp, wire::request_channel(&self.key, &self.namespace), message)
    }
}
