//! State that a protocol above `net` keeps for a socket.
//!
//! A protocol (telnet, WebSocket) has state for each connection. Its handle must reach that state in any callback, even
//! while the handler runs and is out of its slot. So the loop stores the state, in one of three places:
//!
//! | state | stored in | cost per connection |
//! |---|---|---|
//! | a few bits that every connection has (open, closing, reads are throttled) | the tag, 13 bits of the socket's 72 bytes | none |
//! | values that few connections have at a time (agreed options, half a message) | an entry in the loop's table for that type | the value and about 20 bytes, only while there is an entry |
//! | values that all connections share (streams of a compression, topics) | one value of a type in the loop ([`Loop::layer_mut`]) | none |
//!
//! ```text
//!   telnet::Client ──▶ Socket ─┬─▶ SocketState { tag, … }
//!                              └─▶ Tables ──▶ table of ClientState ──▶ its entry
//! ```
//!
//! The tag is cleared when the socket's handler is replaced, because its bits have a meaning in one protocol only. An
//! entry is kept until the protocol takes it out or the socket's slot is freed. So no protocol has to clean up, and a
//! table never has an entry of a socket that is gone.
//!
//! An entry is borrowed from the loop. Code that calls the program takes the entry out first ([`Socket::take_entry`])
//! and puts it back afterwards if the socket still exists.

use std::any::{Any, TypeId};
use std::collections::HashMap;
#[cfg(feature = "http")]
use std::time::Duration;

use super::Socket;
use super::state::Link;
#[cfg(feature = "websocket")]
use super::state::flag::DESTROYED;
use super::state::flag::{UPGRADING, URGENT};
#[cfg(feature = "http")]
use super::{Handler, NetTick, NetTimer};
use crate::event_loop::Loop;
#[cfg(feature = "socket-io")]
use crate::event_loop::token::Key;
#[cfg(feature = "http")]
use crate::event_loop::{Kind, TimerId};

/// The bit of a socket's tag that is set if a table has, or had, an entry for the socket.
const HAS_ENTRY: u16 = 1 << 15;

/// The bit of a socket's tag that is set from an event that reports an urgent byte until the protocol has found it.
/// This and the next bit are in the tag because only protocols read them, and the socket's flags have no bit left.
const IS_URGENT: u16 = 1 << 14;

/// The bit of a socket's tag that is set while bytes are delivered of which the first is the urgent byte.
const STARTS_URGENT: u16 = 1 << 13;

/// The bits of a socket's tag that do not belong to the protocol.
const OF_NET: u16 = HAS_ENTRY | IS_URGENT | STARTS_URGENT;

/// The place of a socket's urgent byte (`MSG_OOB`) in its data, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgent {
    /// There is none.
    None,
    /// It comes later; or it is in this chunk, which has waited in the inbox, and its place is not known.
    Ahead,
    /// It is the first byte of this chunk.
    First,
}

/// A table is shrunk when it has room for more than this many times its entries; with fewer than [`FEW_ENTRIES`]
/// entries, for more than this many times that number.
const SPARSE: usize = 8;

/// Below this number of entries a table counts as having this many: see [`SPARSE`].
const FEW_ENTRIES: usize = 32;

/// The tables of all protocols, one for each type of entry. There are few, so they are searched one by one.
#[derive(Default)]
pub(super) struct Tables {
    tables: Vec<(TypeId, Box<dyn AnyTable>)>,
    /// State of protocols for the whole loop, one value of each type.
    #[cfg(feature = "http")]
    singles: Vec<(TypeId, Box<dyn Any>)>,
}

/// The operations on a table that do not depend on the type of its entries.
trait AnyTable: Any {
    fn remove_entry(&mut self, socket: Socket);
    #[cfg(any(test, fuzzing))]
    fn len(&self) -> usize;
}

struct Table<T> {
    entries: HashMap<Socket, T>,
}

impl<T: Any> AnyTable for Table<T> {
    fn remove_entry(&mut self, socket: Socket) {
        self.remove(socket);
    }

    #[cfg(any(test, fuzzing))]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

impl<T> Table<T> {
    fn remove(&mut self, socket: Socket) -> Option<T> {
        let entry = self.entries.remove(&socket)?;
        // After thousands of connections have closed, the table does not keep their memory. An empty one keeps nothing:
        // even a small block at the end of the heap holds what is free below.
        let (entries, places) = (self.entries.len(), self.entries.capacity());
        if places > SPARSE * entries.max(FEW_ENTRIES) || (entries == 0 && places > FEW_ENTRIES) {
            self.entries.shrink_to(2 * entries);
        }
        Some(entry)
    }
}

impl Tables {
    fn get<T: Any>(&self) -> Option<&Table<T>> {
        let (_, table) = self.tables.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        (&**table as &dyn Any).downcast_ref()
    }

    fn get_mut<T: Any>(&mut self) -> Option<&mut Table<T>> {
        let (_, table) = self.tables.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        (&mut **table as &mut dyn Any).downcast_mut()
    }

    fn insert<T: Any>(&mut self, socket: Socket, entry: T) {
        if self.get::<T>().is_none() {
            self.tables.push((TypeId::of::<T>(), Box::new(Table::<T> { entries: HashMap::new() })));
        }
        if let Some(table) = self.get_mut::<T>() {
            table.entries.insert(socket, entry);
        }
    }

    /// How many entries all tables have.
    #[cfg(any(test, fuzzing))]
    pub fn entries(&self) -> usize {
        self.tables.iter().map(|(_, table)| table.len()).sum()
    }

    /// Removes every entry of a socket whose tag was `tag`.
    pub fn forget(&mut self, socket: Socket, tag: u16) {
        if tag & HAS_ENTRY != 0 {
            for (_, table) in &mut self.tables {
                table.remove_entry(socket);
            }
        }
    }
}

impl Socket {
    /// The bits that the protocol above has set. Zero after the handler was replaced, and for a new connection of a
    /// closed socket.
    #[inline]
    pub(crate) fn tag(self, lp: &Loop) -> u16 {
        lp.net.socket(self).map_or(0, |state| state.tag & !OF_NET)
    }

    /// The tag if [`is_ready_for_more`](Self::is_ready_for_more), and otherwise 0: one look for both.
    #[inline]
    #[cfg(feature = "websocket")]
    pub(crate) fn tag_if_ready(self, lp: &Loop) -> u16 {
        lp.net.socket(self).map_or(0, |state| if state.is_ready_for_more() { state.tag & !OF_NET } else { 0 })
    }

    /// Sets the bits of `set` and clears those of `clear`. The three highest bits are not the protocol's.
    #[inline]
    pub(crate) fn change_tag(self, lp: &mut Loop, set: u16, clear: u16) {
        debug_assert!((set | clear) & OF_NET == 0, "these bits are not the protocol's");
        if let Some(state) = lp.net.socket_mut(self) {
            state.tag = state.tag & !clear | set;
        }
    }

    /// The entry of this socket in the table of `T`.
    pub(crate) fn entry<T: Any>(self, lp: &Loop) -> Option<&T> {
        // The tag is checked first: most sockets have no entry, and then no table is searched.
        lp.net.socket(self).filter(|state| state.tag & HAS_ENTRY != 0)?;
        lp.net.tables.get::<T>()?.entries.get(&self)
    }

    /// As [`entry`](Self::entry), to change it.
    pub(crate) fn entry_mut<T: Any>(self, lp: &mut Loop) -> Option<&mut T> {
        lp.net.socket(self).filter(|state| state.tag & HAS_ENTRY != 0)?;
        lp.net.tables.get_mut::<T>()?.entries.get_mut(&self)
    }

    /// Sets the entry of this socket in the table of `T`, in place of an earlier one. Does nothing for a socket that is
    /// gone.
    pub(crate) fn set_entry<T: Any>(self, lp: &mut Loop, entry: T) {
        if let Some(state) = lp.net.socket_mut(self) {
            state.tag |= HAS_ENTRY;
            lp.net.tables.insert(self, entry);
        }
    }

    /// Takes this socket's entry out of the table of `T`.
    pub(crate) fn take_entry<T: Any>(self, lp: &mut Loop) -> Option<T> {
        lp.net.socket(self).filter(|state| state.tag & HAS_ENTRY != 0)?;
        lp.net.tables.get_mut::<T>()?.remove(self)
    }

    /// Starts a time limit of the protocol. It is unreferenced and runs `run` once, outside of any callback. The
    /// protocol stores the timer and clears it when it is no longer needed: it does not end with the socket.
    #[cfg(feature = "http")]
    pub(crate) fn start_layer_timer(self, lp: &mut Loop, limit: Duration, run: fn(&mut Loop, Socket)) -> TimerId {
        lp.start_net_timer(limit, NetTimer::Layer(self, run))
    }

    /// Queues a tick that runs `run`: a protocol goes on with something outside of the callback that runs now.
    #[cfg(feature = "http")]
    pub(crate) fn layer_tick(self, lp: &mut Loop, run: fn(&mut Loop, Socket)) {
        lp.tick(NetTick::Layer(self, run));
    }

    /// Calls the handler of this socket, an `H`, from a tick of the protocol. Does nothing if the socket is gone or has
    /// another handler by now.
    #[cfg(feature = "http")]
    pub(crate) fn call_layer<H: Handler>(self, lp: &mut Loop, f: impl FnOnce(&mut H, &mut Loop)) {
        lp.emit(self, Kind::Tick, 0, |handler, lp| {
            if let Some(handler) = (handler as &mut dyn Any).downcast_mut() {
                f(handler, lp);
            }
        });
    }

    /// The slot of this socket's handler. Sockets with the same slot have the same handler. A slot is used again after
    /// its handler was dropped.
    #[cfg(feature = "websocket")]
    pub(crate) fn handler_slot(self, lp: &Loop) -> Option<u32> {
        lp.net.socket(self).map(|state| state.handler)
    }

    /// The slot of this socket, for tables of a protocol that are looked up for every message. Slots are small numbers
    /// and are used again.
    #[cfg(feature = "socket-io")]
    #[inline]
    pub(crate) fn table_slot(self) -> usize {
        self.0.slot()
    }

    /// Whether the socket was connected or accepted, so that its handler got `on_connect` or `on_connection`. Stays
    /// true when the socket is destroyed.
    pub(crate) fn was_connected(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(|state| state.link() == Link::Connected)
    }

    /// Whether the handler of this socket is running. Inside a callback of the socket it is `false` if the callback has
    /// replaced the handler.
    pub(crate) fn has_running_handler(self, lp: &Loop) -> bool {
        let Some(state) = lp.net.socket(self) else { return false };
        lp.net.handlers.get(state.handler as usize).is_some_and(|slot| slot.handler.is_none())
    }

    /// Where the urgent byte is, seen from the bytes that are being delivered. Needs
    /// [`set_urgent_in_line`](Self::set_urgent_in_line); on Linux only.
    #[inline]
    pub(crate) fn urgent(self, lp: &Loop) -> Urgent {
        match lp.net.socket(self).map_or(0, |state| state.tag & (IS_URGENT | STARTS_URGENT)) {
            0 => Urgent::None,
            IS_URGENT => Urgent::Ahead,
            _ => Urgent::First,
        }
    }

    /// The protocol has found the urgent byte. Returns whether there is another one behind it.
    pub(crate) fn found_urgent(self, lp: &mut Loop) -> bool {
        // The flag `URGENT` stays until a read finds nothing, because reads stop before the next urgent byte.
        let Some(state) = lp.net.socket_mut(self) else { return false };
        state.tag &= !STARTS_URGENT;
        if !state.stream.has_urgent_byte() {
            state.tag &= !IS_URGENT;
        }
        state.tag & IS_URGENT != 0
    }

    /// For a protocol whose socket is connected: switches [`set_urgent_in_line`](Self::set_urgent_in_line) on, unless
    /// the socket has it from its server's options.
    pub(crate) fn ensure_urgent_in_line(self, lp: &mut Loop) {
        let server = self.server(lp).and_then(|server| lp.net.server(server));
        if !server.is_some_and(|server| server.options.urgent_in_line) {
            self.set_urgent_in_line(lp, true);
        }
    }

    /// Whether [`Socket::upgrade`] was called and `on_upgrade` is still to come.
    pub(crate) fn is_upgrading(self, lp: &Loop) -> bool {
        lp.net.socket(self).is_some_and(|state| state.is(UPGRADING))
    }
}

#[cfg(feature = "http")]
impl Loop {
    /// The value of type `T` that a protocol keeps for the whole loop. It is made when it is first needed.
    pub(crate) fn layer_mut<T: Any + Default>(&mut self) -> &mut T {
        let singles = &mut self.net.tables.singles;
        let id = TypeId::of::<T>();
        let at = singles.iter().position(|(other, _)| *other == id).unwrap_or_else(|| {
            singles.push((id, Box::<T>::default()));
            singles.len() - 1
        });
        singles[at].1.downcast_mut().expect("stored under its own type")
    }

    /// As [`layer_mut`](Self::layer_mut), if the value exists already.
    pub(crate) fn layer<T: Any>(&self) -> Option<&T> {
        let id = TypeId::of::<T>();
        let (_, single) = self.net.tables.singles.iter().find(|(other, _)| *other == id)?;
        single.downcast_ref()
    }

    /// Replaces the tag of every open socket of a handler by the result of `f`. For time limits that a protocol checks
    /// for all its connections at once, because a timer for each of them would cost more than the connection.
    #[cfg(feature = "websocket")]
    pub(crate) fn update_tags(&mut self, handler: u32, mut f: impl FnMut(Socket, u16) -> u16) {
        for (key, state) in self.net.sockets.iter_mut() {
            if state.handler == handler && !state.is(DESTROYED) {
                let tag = f(Socket(key), state.tag & !OF_NET);
                state.tag = state.tag & OF_NET | tag;
            }
        }
    }
}

#[cfg(feature = "socket-io")]
impl Loop {
    /// As [`Socket::start_layer_timer`], for an object of a protocol that is no socket, such as a session that outlives
    /// its connections.
    pub(crate) fn start_keyed_timer(&mut self, limit: Duration, key: Key, run: fn(&mut Loop, Key)) -> TimerId {
        self.start_net_timer(limit, NetTimer::Keyed(key, run))
    }

    /// As [`Socket::layer_tick`], for an object of a protocol that is no socket.
    pub(crate) fn keyed_tick(&mut self, key: Key, run: fn(&mut Loop, Key)) {
        self.tick(NetTick::Keyed(key, run));
    }
}

impl super::state::SocketState {
    /// Clears the bits of the protocol, when the handler is replaced. Entries stay.
    pub(super) fn clear_tag(&mut self) {
        self.tag &= OF_NET;
    }

    /// An event reports an urgent byte. The kernel is asked, because the byte may have been read since the event.
    pub(super) fn note_urgent_event(&mut self) {
        self.set(URGENT);
        if self.stream.has_urgent_byte() {
            self.tag |= IS_URGENT;
        }
    }

    /// Bytes were read. A read stops before the urgent byte. So if the kernel does not have it any longer, it is the
    /// first of these bytes.
    #[cold]
    pub(super) fn note_urgent_read(&mut self) {
        if self.tag & IS_URGENT != 0 && !self.stream.has_urgent_byte() {
            self.tag |= STARTS_URGENT;
        }
    }

    /// The bytes just read go to the inbox, which does not keep the place of the urgent byte.
    pub(super) fn forget_place_of_urgent_byte(&mut self) {
        self.tag &= !STARTS_URGENT;
    }

    /// A read found nothing, so the urgent byte was read, too. It may still wait in the inbox.
    pub(super) fn note_urgent_end(&mut self) {
        if !self.has_undelivered() {
            self.clear(URGENT);
            self.tag &= !(IS_URGENT | STARTS_URGENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventLoop;
    use crate::net::{SocketOptions, on};

    #[derive(PartialEq, Debug)]
    struct Apple(u32);
    #[derive(PartialEq, Debug)]
    struct Pear(u32);

    fn with_two_sockets(test: impl FnOnce(&mut Loop, Socket, Socket)) -> EventLoop {
        let mut event_loop = EventLoop::new().expect("a loop");
        event_loop.enter(|lp| {
            let mut socket = || Socket::new(lp, SocketOptions::default(), on());
            let (one, other) = (socket(), socket());
            test(lp, one, other);
        });
        event_loop
    }

    #[test]
    fn every_type_has_a_table_of_its_own_and_every_socket_an_entry() {
        with_two_sockets(|lp, one, other| {
            assert_eq!(one.entry::<Apple>(lp), None);
            one.set_entry(lp, Apple(1));
            one.set_entry(lp, Pear(2));
            other.set_entry(lp, Apple(3));
            assert_eq!((one.entry(lp), one.entry(lp)), (Some(&Apple(1)), Some(&Pear(2))));
            assert_eq!(other.entry::<Pear>(lp), None);
            other.entry_mut::<Apple>(lp).expect("it was set").0 = 4;
            assert_eq!(other.take_entry(lp), Some(Apple(4)));
            assert_eq!(other.take_entry::<Apple>(lp), None);
            assert_eq!(one.take_entry(lp), Some(Apple(1)), "the entry of another socket is left alone");
        });
    }

    #[test]
    fn entries_go_with_their_socket() {
        let mut event_loop = with_two_sockets(|lp, one, other| {
            one.set_entry(lp, Apple(1));
            one.set_entry(lp, Pear(1));
            other.set_entry(lp, Apple(2));
            one.destroy(lp);
        });
        event_loop.enter(|lp| {
            assert_eq!(lp.net.tables.get::<Apple>().map(|table| table.entries.len()), Some(1));
            assert_eq!(lp.net.tables.get::<Pear>().map(|table| table.entries.len()), Some(0));
        });
    }

    #[test]
    fn the_tag_is_cleared_with_the_handler_and_the_entries_are_kept() {
        with_two_sockets(|lp, one, _| {
            one.set_entry(lp, Apple(1));
            one.change_tag(lp, 0b110, 0);
            one.change_tag(lp, 0b001, 0b010);
            assert_eq!(one.tag(lp), 0b101);
            one.set_handler(lp, on());
            assert_eq!(one.tag(lp), 0);
            assert_eq!(one.entry(lp), Some(&Apple(1)));
        });
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_loop_has_one_value_of_each_type() {
        with_two_sockets(|lp, _, _| {
            assert_eq!(lp.layer::<Vec<u8>>(), None);
            lp.layer_mut::<Vec<u8>>().push(1);
            lp.layer_mut::<String>().push('a');
            lp.layer_mut::<Vec<u8>>().push(2);
            assert_eq!((lp.layer(), lp.layer()), (Some(&vec![1_u8, 2]), Some(&"a".to_owned())));
        });
    }

    #[cfg(feature = "websocket")]
    #[test]
    fn tags_of_one_handler_are_updated_together() {
        with_two_sockets(|lp, one, other| {
            one.change_tag(lp, 1, 0);
            other.change_tag(lp, 1, 0);
            let handler = one.handler_slot(lp).expect("it exists");
            lp.update_tags(handler, |socket, tag| if socket == one { tag << 3 } else { 0 });
            assert_eq!((one.tag(lp), other.tag(lp)), (8, 1));
        });
    }

    #[test]
    fn a_table_that_was_large_shrinks() {
        let mut table = Table { entries: HashMap::new() };
        for serial in 0..10_000 {
            table.entries.insert(Socket(crate::event_loop::token::Key::new(serial as usize, serial)), ());
        }
        let mut remove = |serial: u32| {
            table.remove(Socket(crate::event_loop::token::Key::new(serial as usize, serial)));
            table.entries.capacity()
        };
        for serial in 0..9_999 {
            remove(serial);
        }
        let places = remove(10_000);
        assert!((1..=SPARSE * FEW_ENTRIES).contains(&places), "{places}");
        assert_eq!(remove(9_999), 0, "an empty table keeps nothing");
    }
}
