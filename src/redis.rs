//! A link to Redis: commands, messages of channels, and entries of streams. Clusters of Socket.IO servers use it.
//!
//! ```text
//!            ┌─ connection for commands ──▶ PUBLISH, and any other command ──▶ replies, in their order
//!   Link ────┼─ connection that subscribes ◀── messages of channels and patterns
//!            └─ connection that reads, if streams are read ◀── their entries
//! ```
//!
//! ```no_run
//! use bucle::redis::{Link, Options};
//!
//! bucle::run(|lp| {
//!     let link = Link::open(lp, Options::from_url("redis://localhost")?);
//!     link.subscribe(lp, "news", move |lp, _channel, message| {
//!         println!("{}", String::from_utf8_lossy(message));
//!         link.close(lp);
//!     });
//!     link.on_ready(lp, move |lp| {
//!         link.publish(lp, "news", "hola");
//!         link.command(lp, &["INCR", "visits"], |_, reply| println!("{:?}", reply.map(|reply| reply.integer())));
//!     });
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # When Redis is away
//!
//! Each connection is made again after a delay that grows from 0.1 s to 1 s, and everything is subscribed again. What
//! was published by others meanwhile is not received: channels keep nothing, so a message is delivered *at most once*.
//!
//! Commands wait for the connection, up to [`Options::max_waiting`] bytes. Beyond that they are dropped and counted,
//! and the log has one line. A command that was sent and not answered when the connection is lost fails, and is not
//! sent again: Redis may have done it.
//!
//! A stream keeps its last entries: what was added meanwhile is read later. If there were more than it keeps, the
//! others are lost, which [`Link::on_gap`] reports.
//!
//! A connection is treated as lost if nothing arrives within two [intervals](Options::ping_interval) after a ping, or
//! if it is not ready within that time.
//!
//! # Subscriptions that Redis refuses
//!
//! The user of the link may have no right to a channel. Then the link has no messages of this channel, and all others
//! work. The log has a line, [`Statistics::refused_subscriptions`] counts it, and the link subscribes again with its
//! next connection.
//!
//! # Errors
//!
//! | code | what has happened |
//! |---|---|
//! | `ECONNREFUSED`, `ENOTFOUND`, `ECONNRESET`, … | there is no connection: the errors of [`net`](crate::net) |
//! | `ETIMEDOUT` | Redis does not answer |
//! | `E_REDIS_LOGIN` | the user or the password is wrong, or there is none |
//! | `E_REDIS_DATABASE` | the number of the database is too large |
//! | `E_REDIS_LOADING`, `E_REDIS_REFUSED` | Redis does not serve this client now |
//! | `E_REDIS_PROTOCOL` | the peer is no Redis server, or a reply breaks a limit |
//! | `E_REDIS_REPLY` | the reply to this command is an error, which the message repeats |
//! | `E_REDIS_FULL` | too many bytes wait for Redis |
//! | `E_REDIS_CLOSED` | the link was closed |
//!
//! # Bounds
//!
//! | | limit | when it is reached |
//! |---|---|---|
//! | commands that wait, or that Redis does not read | [`Options::max_waiting`], 4 MiB | they are dropped |
//! | commands that are not answered | 1,048,576 | the same |
//! | a reply or a message | [`frame::MAX_FRAME`], 64 MiB | the connection is lost |
//! | depth of a reply | [`frame::MAX_DEPTH`], 16 | the same |
//!
//! There is no TLS, no client of Redis Cluster, and no RESP 3.

mod connection;
mod entry;
mod errors;
mod forward;
pub mod frame;
mod links;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod reader;
mod streams;
mod subscriber;
mod subscriptions;
pub mod url;
mod waiting;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

pub use entry::{Entry, EntryId, NoEntryId};
pub use frame::Reply;
pub use subscriptions::escape_pattern;
pub use url::{Address, BadUrl};

use crate::net::Error;
use crate::{Key, Loop, Result};
use links::{Expected, LinkState, Links, Role};
use subscriptions::Topic;

/// The options of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where Redis is, and how to log in.
    pub address: Address,
    /// How many bytes of commands may wait for Redis. Default: 4 MiB.
    pub max_waiting: usize,
    /// How often a ping is sent on each connection. The one that reads streams needs none: it asks anew in this
    /// interval. Default: 5 s.
    pub ping_interval: Duration,
    /// The delay before a lost connection is made again for the first time. It doubles with each attempt. Default:
    /// 100 ms.
    pub min_delay: Duration,
    /// The longest delay. Default: 1 s.
    pub max_delay: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            address: Address::default(),
            max_waiting: 4 * 1024 * 1024,
            ping_interval: Duration::from_secs(5),
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// Options with the address of a URL: `redis://user:password@host:port/database`.
    ///
    /// # Errors
    /// `ERR_INVALID_URL`. The message names the wrong part, and does not repeat the URL.
    pub fn from_url(url: &str) -> Result<Options> {
        let address = url::parse(url).map_err(|bad| Error::custom("ERR_INVALID_URL", bad.to_string()))?;
        Ok(Options { address, ..Options::default() })
    }
}

/// Counts of the work of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// How often the link has become ready.
    pub connections: u64,
    /// How many messages and entries were received.
    pub received: u64,
    /// How many commands were dropped, because too much was waiting for Redis.
    pub dropped: u64,
    /// To how many channels and patterns Redis has not let the link subscribe. Each is counted once, until it is
    /// accepted.
    pub refused_subscriptions: u64,
    /// How often Redis has dropped entries of a stream before the link has read them.
    pub gaps: u64,
    /// How many received messages a layer above could not read.
    pub ignored: u64,
}

/// A link to one Redis server. 8 bytes, `Copy`; it is valid for the loop that has made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(Key);

/// A subscription of a link, for [`Link::unsubscribe`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriptionId(u64);

/// A reader of a stream, for [`Link::stop_reading`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReaderId(u64);

/// A listener for changes of a link, for [`Link::off`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerId(u64);

/// The [`net::Handler`](crate::net::Handler) of all connections. Their state is in the loop's tables.
struct LinkConnection;

impl Link {
    /// Opens a link. It keeps the loop running until it is closed, or [`unref`](Self::unref).
    pub fn open(lp: &mut Loop, options: Options) -> Link {
        connection::open(lp, options)
    }

    /// Publishes a message. Returns `false` if it was dropped.
    pub fn publish(self, lp: &mut Loop, channel: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> bool {
        let parts = [b"PUBLISH", channel.as_ref(), message.as_ref()];
        connection::send(lp, self, &parts, Expected::Nothing).is_ok()
    }

    /// Sends a command. `done` gets the reply, or the error that has prevented it. It is not for commands that
    /// subscribe or block.
    pub fn command<P: AsRef<[u8]>>(
        self,
        lp: &mut Loop,
        parts: &[P],
        done: impl FnOnce(&mut Loop, Result<Reply<'_>>) + 'static,
    ) {
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        let refused = connection::send(lp, self, &parts, Expected::Call(Box::new(done)));
        if let Err(Expected::Call(done)) = refused {
            let error = match self.exists(lp) {
                true => errors::error("E_REDIS_FULL", "too many commands wait for Redis"),
                false => errors::error("E_REDIS_CLOSED", "the link to Redis was closed"),
            };
            lp.next_tick(move |lp| done(lp, Err(error)));
        }
    }

    /// Sends a command whose reply is of no interest; an error is logged. Returns `false` if it was dropped.
    pub fn execute<P: AsRef<[u8]>>(self, lp: &mut Loop, parts: &[P]) -> bool {
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        connection::send(lp, self, &parts, Expected::Nothing).is_ok()
    }

    /// Subscribes to a channel: `f` gets its name and each message. Nothing in a message can be trusted: everyone who
    /// may publish has written it.
    pub fn subscribe(
        self,
        lp: &mut Loop,
        channel: impl AsRef<[u8]>,
        f: impl FnMut(&mut Loop, &[u8], &[u8]) + 'static,
    ) -> SubscriptionId {
        self.add(lp, Topic::Channel(channel.as_ref().into()), f)
    }

    /// As [`subscribe`](Self::subscribe), for all channels whose names match a pattern, such as `news.*`. Two patterns
    /// that match the same channel are two subscriptions, and each gets the message.
    pub fn psubscribe(
        self,
        lp: &mut Loop,
        pattern: impl AsRef<[u8]>,
        f: impl FnMut(&mut Loop, &[u8], &[u8]) + 'static,
    ) -> SubscriptionId {
        self.add(lp, Topic::Pattern(pattern.as_ref().into()), f)
    }

    /// Publishes a message to a channel of [sharded publishing](https://redis.io/docs/latest/develop/interact/pubsub/).
    /// Returns `false` if it was dropped. Redis 7 or later.
    pub fn spublish(self, lp: &mut Loop, channel: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> bool {
        let parts = [b"SPUBLISH", channel.as_ref(), message.as_ref()];
        connection::send(lp, self, &parts, Expected::Nothing).is_ok()
    }

    /// As [`subscribe`](Self::subscribe), to a channel of sharded publishing. Redis 7 or later.
    pub fn ssubscribe(
        self,
        lp: &mut Loop,
        channel: impl AsRef<[u8]>,
        f: impl FnMut(&mut Loop, &[u8], &[u8]) + 'static,
    ) -> SubscriptionId {
        self.add(lp, Topic::Shard(channel.as_ref().into()), f)
    }

    /// Reads the entries that are added to a stream from now on. `f` gets each once and in their order, also those that
    /// were added while the connection was lost, if Redis still has them ([`on_gap`](Self::on_gap)). If Redis has lost
    /// the entries of a stream, the stream is read from its beginning. Nothing in an entry can be trusted.
    ///
    /// The first stream makes a further connection, because `XREAD BLOCK` delays all commands after it. The link is not
    /// ready until this connection is. A stream that is added later may be read one [interval of
    /// pings](Options::ping_interval) late. If a stream is added again, both closures get its entries. Redis 5 or
    /// later.
    #[doc(alias = "XREAD")]
    pub fn read_stream(
        self,
        lp: &mut Loop,
        key: impl AsRef<[u8]>,
        f: impl FnMut(&mut Loop, &Entry<'_>) + 'static,
    ) -> ReaderId {
        let (number, is_first) = reader::add(lp, self, key.as_ref(), Rc::new(RefCell::new(f)));
        if is_first {
            connection::connect(lp, self, Role::Reader);
        }
        ReaderId(number)
    }

    /// Ends the reading of a stream. Its closure is not called any more. The connection that reads is closed with the
    /// last reader of the link.
    pub fn stop_reading(self, lp: &mut Loop, id: ReaderId) {
        if reader::remove(lp, self, id.0) {
            // The link may have waited only for this connection.
            lp.next_tick(move |lp| connection::check_ready(lp, self));
        }
    }

    /// The last entry of a stream that was read, or the last one before reading began. In the closure of
    /// [`read_stream`](Self::read_stream) it is the entry of the closure. `None`: the stream is not read yet.
    pub fn stream_position(self, lp: &Loop, key: impl AsRef<[u8]>) -> Option<EntryId> {
        lp.layer::<Links>()?.get(self)?.streams.position(key.as_ref())
    }

    fn add(self, lp: &mut Loop, topic: Topic, f: impl FnMut(&mut Loop, &[u8], &[u8]) + 'static) -> SubscriptionId {
        let Some(state) = lp.layer_mut::<Links>().get_mut(self) else { return SubscriptionId(0) };
        let (id, is_first) = state.subscriptions.insert(topic.clone(), Rc::new(RefCell::new(f)));
        if is_first {
            subscriber::change_topic(lp, self, &topic, true);
        }
        SubscriptionId(id)
    }

    /// Ends a subscription. Its closure is not called any more.
    pub fn unsubscribe(self, lp: &mut Loop, id: SubscriptionId) {
        let Some(state) = lp.layer_mut::<Links>().get_mut(self) else { return };
        if let Some(topic) = state.subscriptions.remove(id.0) {
            subscriber::change_topic(lp, self, &topic, false);
        }
    }

    /// How many channels and patterns are subscribed to.
    pub fn subscription_count(self, lp: &Loop) -> usize {
        lp.layer::<Links>().and_then(|links| links.get(self)).map_or(0, |state| state.subscriptions.len())
    }

    /// All connections are ready, and everything is subscribed to: at first, and after each loss.
    pub fn on_ready(self, lp: &mut Loop, f: impl FnMut(&mut Loop) + 'static) -> ListenerId {
        self.listen(lp, |state, number| state.on_ready.push((number, Rc::new(RefCell::new(f)))))
    }

    /// A connection is lost or could not be made. Called once, until the link is ready again.
    pub fn on_lost(self, lp: &mut Loop, f: impl FnMut(&mut Loop, &Error) + 'static) -> ListenerId {
        self.listen(lp, |state, number| state.on_lost.push((number, Rc::new(RefCell::new(f)))))
    }

    /// Redis has dropped entries of a stream before this link has read them, because a stream has a greatest length
    /// (`XADD … MAXLEN`), or has lost its data. `f` gets the key of the stream. [`Statistics::gaps`] counts it, and the
    /// log has a line.
    ///
    /// It is noticed when the connection is made again, and when the link reads more slowly than entries are added.
    pub fn on_gap(self, lp: &mut Loop, f: impl FnMut(&mut Loop, &[u8]) + 'static) -> ListenerId {
        self.listen(lp, |state, number| state.on_gap.push((number, Rc::new(RefCell::new(f)))))
    }

    fn listen(self, lp: &mut Loop, add: impl FnOnce(&mut LinkState, u64)) -> ListenerId {
        let Some(state) = lp.layer_mut::<Links>().get_mut(self) else { return ListenerId(0) };
        let number = state.listener_number();
        add(state, number);
        ListenerId(number)
    }

    /// Removes a listener.
    pub fn off(self, lp: &mut Loop, id: ListenerId) {
        if let Some(state) = lp.layer_mut::<Links>().get_mut(self) {
            state.on_ready.retain(|(number, _)| *number != id.0);
            state.on_lost.retain(|(number, _)| *number != id.0);
            state.on_gap.retain(|(number, _)| *number != id.0);
        }
    }

    /// Whether all connections are ready.
    pub fn is_ready(self, lp: &Loop) -> bool {
        lp.layer::<Links>().and_then(|links| links.get(self)).is_some_and(|state| state.is_ready)
    }

    /// Whether the link was not closed.
    pub fn exists(self, lp: &Loop) -> bool {
        lp.layer::<Links>().and_then(|links| links.get(self)).is_some()
    }

    /// How many bytes of commands wait, for a connection or because Redis does not read: at most
    /// [`Options::max_waiting`], if no single command is longer. A program that publishes what its clients send can
    /// stop to read from them meanwhile.
    pub fn queued_bytes(self, lp: &Loop) -> usize {
        lp.layer::<Links>().and_then(|links| links.get(self)).map_or(0, |state| {
            let unsent = state.commands.socket.map_or(0, |socket| socket.unsent_length(lp));
            state.waiting.bytes() + unsent
        })
    }

    /// Counts of its work. `None`: it was closed.
    pub fn statistics(self, lp: &Loop) -> Option<Statistics> {
        lp.layer::<Links>()?.get(self).map(|state| state.statistics)
    }

    /// For a layer above: counts a message that it cannot read in [`Statistics::ignored`].
    pub fn note_ignored(self, lp: &mut Loop) {
        if let Some(state) = lp.layer_mut::<Links>().get_mut(self) {
            state.statistics.ignored += 1;
        }
    }

    /// Closes the link. Published messages are still sent, if there is a connection. Commands without a reply fail in a
    /// tick.
    pub fn close(self, lp: &mut Loop) {
        connection::close(lp, self);
    }

    /// Lets the link keep the loop running. This is the default.
    #[doc(alias = "ref")]
    pub fn ref_(self, lp: &mut Loop) {
        connection::set_referenced(lp, self, true);
    }

    /// Lets the loop end although the link is open.
    pub fn unref(self, lp: &mut Loop) {
        connection::set_referenced(lp, self, false);
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link#{}", self.0.serial())
    }
}
