//! Rooms: which sockets of a namespace receive a broadcast.
//!
//! A *room* is a name. It exists as long as sockets are in it. Each socket is in the room that is named by its id, so
//! that a program can send to one socket as it sends to a room.
//!
//! ```text
//!   sockets      a "f3…" ◀──▶ b "Kq…" ◀──▶ c "zZ…"       in the order of their connection
//!                │            │
//!   memberships  a red ◀──────┼──▶ a blue                 of a socket: in the order in which it joined
//!                ▲            │
//!                ▼            │
//!                b red ◀──────┘                           of a room: in the order in which sockets joined
//!                ▲
//!   rooms        "red" ◀──▶ "blue"                        in the order of their creation
//! ```
//!
//! An entry is found by a hash and is in lists, so each change takes constant time, however many sockets a room has.
//! The room of the own id is not stored: a look-up of a room also looks for a socket with that id.
//!
//! # The order of a selection
//!
//! It is Node's: without rooms the order of connection, otherwise room by room, and within a room the order of joining.
//! A socket that was in an earlier room is not repeated. Only the room of an id that other sockets have joined can
//! differ: here its owner is always first.
//!
//! # Bounds
//!
//! For handles of 8 bytes a socket costs between 65 and 115 bytes, because tables grow by doubling; a membership costs
//! about 50 bytes, and a room about 60 bytes and its name. A table of more than 8 KiB reserves 256 KiB at least, of
//! which only the used part takes memory. All of it is freed when the last socket is removed. Before that, a table
//! keeps the memory of its largest number of sockets, rooms or memberships.
//!
//! The number of rooms and the length of their names are not limited here: a program that takes names from its peers
//! limits them.

mod list;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};

use list::{Links, List, slot};
use slab::Slab;

use super::socket_id::SocketId;
use crate::engine_io::index::Index;
use crate::{insert_into_slab, remove_from_slab};

/// The sockets of a namespace and the rooms they are in. `S` names a socket: a handle.
///
/// ```
/// use bucle::engine_io::id::Id;
/// use bucle::socket_io::rooms::Rooms;
///
/// let mut rooms = Rooms::default();
/// let ids = [1, 2, 3].map(|byte| Id::from_random([byte; 15]));
/// for (socket, id) in [10, 20, 30].into_iter().zip(ids) {
///     rooms.add(socket, id.into());
/// }
/// rooms.join(30, "red");
/// rooms.join(10, "red");
///
/// let select = |to: &[&str], except: &[&str]| {
///     let mut sockets = Vec::new();
///     rooms.select(to, except, &mut sockets);
///     sockets
/// };
/// assert_eq!(select(&[], &[]), [10, 20, 30]);
/// assert_eq!(select(&["red"], &[]), [30, 10]);
/// assert_eq!(select(&[ids[1].as_str(), "red"], &[ids[0].as_str()]), [20, 30]);
/// ```
pub struct Rooms<S> {
    sockets: Slab<Member<S>>,
    rooms: Slab<Room>,
    memberships: Slab<Membership>,
    by_socket: Index,
    by_id: Index,
    by_name: Index,
    /// Memberships, found by the slots of the socket and the room.
    by_pair: Index,
    /// All sockets, in the order of their connection.
    connected: List,
    /// All rooms, in the order of their creation.
    created: List,
    hasher: RandomState,
    /// Scratch of a selection: a bit for each slot of `sockets`.
    marks: Cell<Vec<u64>>,
}

struct Member<S> {
    socket: S,
    id: SocketId,
    /// Its memberships, in the order in which it joined.
    memberships: List,
    /// In `connected`.
    links: Links,
}

/// A room that a socket has joined. Invariant: it has a membership.
struct Room {
    name: Box<str>,
    /// In the order in which the sockets joined.
    memberships: List,
    len: u32,
    /// In `created`.
    links: Links,
}

/// Invariant: the name of the room is not the id of the socket.
struct Membership {
    member: u32,
    room: u32,
    /// In `Member::memberships`.
    of_member: Links,
    /// In `Room::memberships`.
    of_room: Links,
}

/// A socket joined a room: Node's event `join-room`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The room did not exist: Node's `create-room`.
    pub created: bool,
}

/// A socket left a room: Node's event `leave-room`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// It was the last socket of the room: Node's `delete-room`.
    pub deleted: bool,
}

impl<S> Default for Rooms<S> {
    fn default() -> Rooms<S> {
        Rooms {
            sockets: Slab::new(),
            rooms: Slab::new(),
            memberships: Slab::new(),
            by_socket: Index::default(),
            by_id: Index::default(),
            by_name: Index::default(),
            by_pair: Index::default(),
            connected: List::default(),
            created: List::default(),
            hasher: RandomState::new(),
            marks: Cell::default(),
        }
    }
}

impl<S: Copy + Eq + Hash> Rooms<S> {
    /// Adds a socket, which is then in the room of its id only. `None`: the socket or the id is there already, and
    /// nothing changes.
    pub fn add(&mut self, socket: S, id: SocketId) -> Option<Joined> {
        if self.member_of(socket).is_some() || self.owner_of(id.as_str()).is_some() {
            return None;
        }
        let created = self.room_of(id.as_str()).is_none();
        let hashes = (self.hasher.hash_one(socket), self.hasher.hash_one(id.as_str()));
        let member = Member { socket, id, memberships: List::default(), links: Links::default() };
        let at = slot(insert_into_slab(&mut self.sockets, member));
        self.connected.push(&mut self.sockets, |member| &mut member.links, at);
        self.by_socket.insert(hashes.0, at, |at| self.hasher.hash_one(self.sockets[at as usize].socket));
        self.by_id.insert(hashes.1, at, |at| self.hasher.hash_one(self.sockets[at as usize].id.as_str()));
        Some(Joined { created })
    }

    /// Removes a socket, and calls `left` for each room that it was in, in the order of [`rooms_of`](Self::rooms_of).
    /// Returns its id; `None` if the socket is not there.
    pub fn remove(&mut self, socket: S, mut left: impl FnMut(&str, Left)) -> Option<SocketId> {
        let at = self.member_of(socket)?;
        let id = self.sockets[at as usize].id.clone();
        left(id.as_str(), Left { deleted: self.room_of(id.as_str()).is_none() });
        while let Some(membership) = self.sockets[at as usize].memberships.first() {
            self.end_membership(membership, &mut left);
        }
        self.connected.remove(&mut self.sockets, |member| &mut member.links, at);
        remove_from_slab(&mut self.sockets, at as usize);
        if self.sockets.is_empty() {
            // Frees all memory. A new namespace has none either.
            *self = Rooms { hasher: self.hasher.clone(), ..Rooms::default() };
            return Some(id);
        }
        let hashes = (self.hasher.hash_one(socket), self.hasher.hash_one(id.as_str()));
        self.by_socket.remove(hashes.0, at, |at| self.hasher.hash_one(self.sockets[at as usize].socket));
        self.by_id.remove(hashes.1, at, |at| self.hasher.hash_one(self.sockets[at as usize].id.as_str()));
        Some(id)
    }

    /// Adds a socket to a room. `None`: it was in it already, or it is not a socket of the namespace.
    pub fn join(&mut self, socket: S, room: &str) -> Option<Joined> {
        let member = self.member_of(socket)?;
        if self.sockets[member as usize].id.as_str() == room {
            return None;
        }
        let known = self.room_of(room);
        if known.is_some_and(|room| self.membership_of(member, room).is_some()) {
            return None;
        }
        let created = known.is_none() && self.owner_of(room).is_none();
        let room = known.unwrap_or_else(|| self.create_room(room));
        let (of_member, of_room) = (Links::default(), Links::default());
        let at = slot(insert_into_slab(&mut self.memberships, Membership { member, room, of_member, of_room }));
        let list = &mut self.sockets[member as usize].memberships;
        list.push(&mut self.memberships, |membership| &mut membership.of_member, at);
        let entry = &mut self.rooms[room as usize];
        entry.memberships.push(&mut self.memberships, |membership| &mut membership.of_room, at);
        entry.len += 1;
        let hash = self.hasher.hash_one((member, room));
        self.by_pair.insert(hash, at, |at| self.memberships[at as usize].hash(&self.hasher));
        Some(Joined { created })
    }

    /// Removes a socket from a room. `None`: it was not in it, or the room is that of its own id, which a socket does
    /// not leave.
    pub fn leave(&mut self, socket: S, room: &str) -> Option<Left> {
        let membership = self.membership_of(self.member_of(socket)?, self.room_of(room)?)?;
        let mut result = None;
        self.end_membership(membership, &mut |_: &str, left| result = Some(left));
        result
    }

    /// Selects the receivers of a broadcast, and appends them to `out`: the sockets in at least one of `rooms`, or all
    /// sockets of the namespace if `rooms` is empty, without those in one of the rooms `except`. Each socket is
    /// selected once.
    ///
    /// The time is in proportion to the number of sockets in all these rooms. Nothing is allocated if `out` has the
    /// capacity and selections were made before.
    pub fn select(&self, rooms: &[impl AsRef<str>], except: &[impl AsRef<str>], out: &mut Vec<S>) {
        match (rooms, except) {
            ([], []) => out.extend(self.sockets()),
            ([room], []) => out.extend(self.members(room.as_ref())),
            _ => self.select_with_marks(rooms, except, out),
        }
    }

    /// Marks each socket that is excluded or selected already.
    fn select_with_marks(&self, rooms: &[impl AsRef<str>], except: &[impl AsRef<str>], out: &mut Vec<S>) {
        let mut marks = self.marks.take();
        marks.clear();
        marks.resize(self.sockets.capacity().div_ceil(64), 0);
        let mut is_new = |at: u32| {
            let (word, bit) = (&mut marks[at as usize / 64], 1 << (at % 64));
            let is_new = *word & bit == 0;
            *word |= bit;
            is_new
        };
        for at in except.iter().flat_map(|room| self.slots_in(room.as_ref())) {
            is_new(at);
        }
        let mut select = |at: u32| {
            if is_new(at) {
                out.push(self.sockets[at as usize].socket);
            }
        };
        if rooms.is_empty() {
            self.connected.iter(&self.sockets, |member| &member.links).for_each(|(at, _)| select(at));
        } else {
            rooms.iter().flat_map(|room| self.slots_in(room.as_ref())).for_each(select);
        }
        self.marks.set(marks);
    }

    /// All sockets, in the order of their connection.
    pub fn sockets(&self) -> impl Iterator<Item = S> {
        self.connected.iter(&self.sockets, |member| &member.links).map(|(_, member)| member.socket)
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there is no socket, and so no room.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// The sockets in a room: the one with this id, then those that joined, in their order.
    pub fn members(&self, room: &str) -> impl Iterator<Item = S> {
        self.slots_in(room).map(|at| self.sockets[at as usize].socket)
    }

    /// How many sockets are in a room.
    pub fn count(&self, room: &str) -> usize {
        let joined = self.room_of(room).map_or(0, |room| self.rooms[room as usize].len as usize);
        joined + usize::from(self.owner_of(room).is_some())
    }

    /// The rooms that sockets have joined, in the order of their creation. The room of an id is one of them only if
    /// another socket joined it.
    pub fn room_names(&self) -> impl Iterator<Item = &str> {
        self.created.iter(&self.rooms, |room| &room.links).map(|(_, room)| &*room.name)
    }

    /// The rooms of a socket: that of its id, then those that it joined, in their order. None if the socket is not
    /// there.
    pub fn rooms_of(&self, socket: S) -> impl Iterator<Item = &str> {
        let member = self.member_of(socket).map(|at| &self.sockets[at as usize]);
        member.into_iter().flat_map(|member| {
            let joined = member.memberships.iter(&self.memberships, |membership| &membership.of_member);
            let names = joined.map(|(_, membership)| &*self.rooms[membership.room as usize].name);
            std::iter::once(member.id.as_str()).chain(names)
        })
    }

    /// Whether a socket is in a room.
    pub fn is_in(&self, socket: S, room: &str) -> bool {
        self.member_of(socket).is_some_and(|member| {
            let is_joined = |room| self.membership_of(member, room).is_some();
            self.sockets[member as usize].id.as_str() == room || self.room_of(room).is_some_and(is_joined)
        })
    }

    /// The socket with this id.
    pub fn by_id(&self, id: &str) -> Option<S> {
        self.owner_of(id).map(|at| self.sockets[at as usize].socket)
    }

    /// The id of a socket.
    pub fn id_of(&self, socket: S) -> Option<&SocketId> {
        self.member_of(socket).map(|at| &self.sockets[at as usize].id)
    }

    /// The slots of the sockets in a room, in the order of [`members`](Self::members).
    fn slots_in(&self, room: &str) -> impl Iterator<Item = u32> {
        let memberships = self.room_of(room).map_or(List::default(), |room| self.rooms[room as usize].memberships);
        let joined = memberships.iter(&self.memberships, |membership| &membership.of_room);
        self.owner_of(room).into_iter().chain(joined.map(|(_, membership)| membership.member))
    }

    fn member_of(&self, socket: S) -> Option<u32> {
        self.by_socket.find(self.hasher.hash_one(socket), |at| self.sockets[at as usize].socket == socket)
    }

    /// The socket whose id is the name of a room.
    fn owner_of(&self, room: &str) -> Option<u32> {
        self.by_id.find(self.hasher.hash_one(room), |at| self.sockets[at as usize].id.as_str() == room)
    }

    fn room_of(&self, name: &str) -> Option<u32> {
        self.by_name.find(self.hasher.hash_one(name), |at| &*self.rooms[at as usize].name == name)
    }

    fn membership_of(&self, member: u32, room: u32) -> Option<u32> {
        let is_it = |at| {
            let membership: &Membership = &self.memberships[at as usize];
            (membership.member, membership.room) == (member, room)
        };
        self.by_pair.find(self.hasher.hash_one((member, room)), is_it)
    }

    /// Creates a room. The caller adds a membership.
    fn create_room(&mut self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        let room = Room { name: name.into(), memberships: List::default(), len: 0, links: Links::default() };
        let at = slot(insert_into_slab(&mut self.rooms, room));
        self.created.push(&mut self.rooms, |room| &mut room.links, at);
        self.by_name.insert(hash, at, |at| self.hasher.hash_one(&*self.rooms[at as usize].name));
        at
    }

    /// Removes a membership, and its room if it was the last one.
    fn end_membership(&mut self, at: u32, left: &mut impl FnMut(&str, Left)) {
        let Membership { member, room, .. } = self.memberships[at as usize];
        let list = &mut self.sockets[member as usize].memberships;
        list.remove(&mut self.memberships, |membership| &mut membership.of_member, at);
        let entry = &mut self.rooms[room as usize];
        entry.memberships.remove(&mut self.memberships, |membership| &mut membership.of_room, at);
        entry.len -= 1;
        let hash = remove_from_slab(&mut self.memberships, at as usize).hash(&self.hasher);
        self.by_pair.remove(hash, at, |at| self.memberships[at as usize].hash(&self.hasher));
        if self.rooms[room as usize].memberships.is_empty() {
            self.created.remove(&mut self.rooms, |room| &mut room.links, room);
            let Room { name, .. } = remove_from_slab(&mut self.rooms, room as usize);
            self.by_name
                .remove(self.hasher.hash_one(&*name), room, |at| self.hasher.hash_one(&*self.rooms[at as usize].name));
            left(&name, Left { deleted: self.owner_of(&name).is_none() });
        } else {
            left(&self.rooms[room as usize].name, Left { deleted: false });
        }
    }
}

impl Membership {
    fn hash(&self, hasher: &RandomState) -> u64 {
        hasher.hash_one((self.member, self.room))
    }
}

impl<S: Copy + Eq + Hash + fmt::Debug> fmt::Debug for Rooms<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sockets = self.sockets().map(|socket| (socket, self.rooms_of(socket).collect::<Vec<_>>()));
        f.debug_map().entries(sockets).finish()
    }
}
