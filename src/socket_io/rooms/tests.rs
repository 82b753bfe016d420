use super::*;
use proptest::prelude::*;

/// The id of the socket with this number.
fn id(socket: u8) -> SocketId {
    format!("id {socket}").as_str().into()
}

/// Sockets with these numbers, in this order.
fn connected(sockets: impl IntoIterator<Item = u8>) -> Rooms<u8> {
    let mut rooms = Rooms::default();
    for socket in sockets {
        assert!(rooms.add(socket, id(socket)).is_some());
    }
    rooms
}

fn select(rooms: &Rooms<u8>, to: &[&str], except: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    rooms.select(to, except, &mut out);
    out
}

fn rooms_of(rooms: &Rooms<u8>, socket: u8) -> Vec<&str> {
    rooms.rooms_of(socket).collect()
}

fn members(rooms: &Rooms<u8>, room: &str) -> Vec<u8> {
    rooms.members(room).collect()
}

/// Removes a socket and lists the rooms that it left.
fn remove(rooms: &mut Rooms<u8>, socket: u8) -> Vec<(String, bool)> {
    let mut events = Vec::new();
    rooms.remove(socket, |room, left| events.push((room.to_owned(), left.deleted)));
    events
}

const CREATED: Option<Joined> = Some(Joined { created: true });
const JOINED: Option<Joined> = Some(Joined { created: false });
const DELETED: Option<Left> = Some(Left { deleted: true });
const LEFT: Option<Left> = Some(Left { deleted: false });

#[test]
fn a_socket_is_in_the_room_of_its_id() {
    let mut rooms = Rooms::default();
    assert_eq!(rooms.add(7, id(7)), CREATED);
    assert_eq!((rooms_of(&rooms, 7), members(&rooms, "id 7")), (vec!["id 7"], vec![7]));
    assert!(rooms.is_in(7, "id 7"));
    assert_eq!((rooms.count("id 7"), rooms.by_id("id 7"), rooms.id_of(7)), (1, Some(7), Some(&id(7))));
    assert_eq!((rooms.join(7, "id 7"), rooms.leave(7, "id 7")), (None, None));
    assert_eq!(rooms.room_names().count(), 0, "it is not a room that sockets have joined");
    assert_eq!((rooms.memberships.len(), rooms.rooms.len()), (0, 0), "it is not stored");
}

#[test]
fn a_socket_and_an_id_are_added_once() {
    let mut rooms = connected([1]);
    assert_eq!(rooms.add(1, id(2)), None, "the socket is there");
    assert_eq!(rooms.add(2, id(1)), None, "the id is there");
    assert_eq!((rooms.len(), rooms.by_id("id 2"), rooms.id_of(2)), (1, None, None));
    remove(&mut rooms, 1);
    assert_eq!(rooms.add(2, id(1)), CREATED, "a recovered session has the id of a socket that is gone");
}

#[test]
fn sockets_join_and_leave_rooms() {
    let mut rooms = connected([1, 2]);
    assert_eq!(rooms.join(1, "red"), CREATED);
    assert_eq!(rooms.join(1, "red"), None, "it is in the room");
    assert_eq!(rooms.join(2, "red"), JOINED);
    assert_eq!(rooms.join(3, "red"), None, "no such socket");
    assert_eq!((members(&rooms, "red"), rooms.count("red")), (vec![1, 2], 2));
    assert!(rooms.is_in(1, "red") && !rooms.is_in(1, "blue") && !rooms.is_in(3, "red"));
    assert_eq!(rooms.leave(1, "red"), LEFT);
    assert_eq!(rooms.leave(1, "red"), None, "it has left");
    assert_eq!(rooms.leave(1, "blue"), None, "no such room");
    assert_eq!(rooms.leave(3, "red"), None, "no such socket");
    assert_eq!(rooms.leave(2, "red"), DELETED);
    assert_eq!((members(&rooms, "red"), rooms.count("red"), rooms.room_names().count()), (vec![], 0, 0));
}

#[test]
fn the_rooms_of_a_socket_are_its_id_and_then_in_order_of_joining() {
    let mut rooms = connected([1, 2]);
    rooms.join(2, "blue");
    for room in ["red", "green", "blue"] {
        rooms.join(1, room);
    }
    assert_eq!(rooms_of(&rooms, 1), ["id 1", "red", "green", "blue"]);
    rooms.leave(1, "red");
    rooms.join(1, "red");
    assert_eq!(rooms_of(&rooms, 1), ["id 1", "green", "blue", "red"]);
    assert_eq!(rooms_of(&rooms, 3), [""; 0]);
}

#[test]
fn the_members_of_a_room_are_in_order_of_joining() {
    let mut rooms = connected([1, 2, 3]);
    for socket in [3, 1, 2] {
        rooms.join(socket, "red");
    }
    assert_eq!(members(&rooms, "red"), [3, 1, 2]);
    rooms.leave(3, "red");
    rooms.join(3, "red");
    assert_eq!(members(&rooms, "red"), [1, 2, 3]);
}

#[test]
fn rooms_are_listed_in_order_of_creation() {
    let mut rooms = connected([1, 2]);
    for room in ["red", "green", "blue"] {
        rooms.join(1, room);
    }
    rooms.join(2, "red");
    rooms.leave(1, "red");
    rooms.leave(1, "green");
    rooms.join(1, "green");
    assert_eq!(rooms.room_names().collect::<Vec<_>>(), ["red", "blue", "green"]);
}

#[test]
fn a_removed_socket_leaves_all_rooms() {
    let mut rooms = connected([1, 2]);
    for (socket, room) in [(1, "red"), (1, "blue"), (2, "red")] {
        rooms.join(socket, room);
    }
    let left = |room: &str, deleted| (room.to_owned(), deleted);
    assert_eq!(remove(&mut rooms, 1), [left("id 1", true), left("red", false), left("blue", true)]);
    assert_eq!(remove(&mut rooms, 1), []);
    assert_eq!((rooms.sockets().collect(), members(&rooms, "red"), rooms.by_id("id 1")), (vec![2], vec![2], None));
}

#[test]
fn other_sockets_can_join_the_room_of_an_id() {
    let mut rooms = connected([1, 2, 3]);
    assert_eq!(rooms.join(2, "id 1"), JOINED, "the room exists");
    assert_eq!((members(&rooms, "id 1"), rooms.count("id 1")), (vec![1, 2], 2));
    assert_eq!(rooms.room_names().collect::<Vec<_>>(), ["id 1"]);
    assert_eq!(rooms.leave(2, "id 1"), LEFT, "its owner is in it");
    rooms.join(2, "id 1");
    assert_eq!(remove(&mut rooms, 1), [("id 1".to_owned(), false)]);
    assert_eq!((members(&rooms, "id 1"), rooms.by_id("id 1")), (vec![2], None));
    assert_eq!(rooms.add(4, id(1)), JOINED, "the room exists");
    assert_eq!((members(&rooms, "id 1"), rooms.count("id 1")), (vec![4, 2], 2), "the owner is first");
    remove(&mut rooms, 4);
    assert_eq!(rooms.leave(2, "id 1"), DELETED);
}

#[test]
fn a_selection_is_in_the_order_of_node() {
    let mut rooms = connected([5, 1, 9, 3]);
    for (socket, room) in [(9, "red"), (5, "red"), (3, "blue"), (9, "blue"), (1, "green"), (5, "green")] {
        rooms.join(socket, room);
    }
    /// A name, `rooms`, `except`, and what is selected.
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static [u8]);
    let table: &[Case] = &[
        ("all, in the order of connection", &[], &[], &[5, 1, 9, 3]),
        ("a room, in the order of joining", &["red"], &[], &[9, 5]),
        ("room by room, each socket once", &["blue", "red", "green"], &[], &[3, 9, 5, 1]),
        ("the same room twice", &["red", "red"], &[], &[9, 5]),
        ("rooms of ids", &["id 3", "id 1"], &[], &[3, 1]),
        ("a room and an id in it", &["id 5", "red"], &[], &[5, 9]),
        ("no such room", &["none"], &[], &[]),
        ("no such room among others", &["none", "red"], &[], &[9, 5]),
        ("all but one socket", &[], &["id 1"], &[5, 9, 3]),
        ("all but a room", &[], &["red"], &[1, 3]),
        ("a room but one socket", &["red"], &["id 9"], &[5]),
        ("rooms but a room", &["blue", "green"], &["red"], &[3, 1]),
        ("a room but the room", &["red"], &["red"], &[]),
        ("all but nothing", &[], &["none"], &[5, 1, 9, 3]),
        ("the empty name is a name", &[""], &[], &[]),
    ];
    for (name, to, except, want) in table {
        assert_eq!(select(&rooms, to, except), *want, "{name}");
    }
}

#[test]
fn a_selection_is_appended() {
    let rooms = connected([1, 2]);
    let mut out = vec![9];
    rooms.select(&[] as &[&str], &["id 1"], &mut out);
    rooms.select(&["id 1"], &[] as &[&str], &mut out);
    assert_eq!(out, [9, 2, 1]);
}

#[test]
fn more_than_64_sockets_are_selected_once_each() {
    let mut rooms = connected(0..200);
    for socket in 0..200 {
        rooms.join(socket, if socket % 3 == 0 { "red" } else { "blue" });
        rooms.join(socket, if socket % 2 == 0 { "even" } else { "odd" });
    }
    let mut want: Vec<u8> = (0..200).filter(|socket| socket % 2 == 0).collect();
    want.extend((0..200).filter(|socket| socket % 2 == 1 && socket % 3 == 0));
    assert_eq!(select(&rooms, &["even", "red"], &["id 100", "none"]), {
        want.retain(|&socket| socket != 100);
        want
    });
}

/// The memory of the tables in bytes, without the names of rooms.
fn memory<S>(rooms: &Rooms<S>) -> usize {
    fn slots<T>(slab: &Slab<T>) -> usize {
        // A slab keeps its entries in a vector of an enum that has the size of `Option`, but at least 8 bytes of data.
        slab.capacity() * size_of::<Option<T>>().next_multiple_of(8)
    }
    let indexes = [&rooms.by_socket, &rooms.by_id, &rooms.by_name, &rooms.by_pair];
    slots(&rooms.sockets)
        + slots(&rooms.rooms)
        + slots(&rooms.memberships)
        + indexes.into_iter().map(Index::memory).sum::<usize>()
}

#[test]
fn an_idle_socket_costs_about_a_hundred_bytes() {
    let mut rooms = Rooms::default();
    let mut socket = 0u64;
    for count in [5_000, 10_000, 16_384, 17_000, 100_000] {
        while socket < count {
            let mut bytes = [0; 15];
            bytes[..8].copy_from_slice(&socket.to_le_bytes());
            rooms.add(socket, crate::engine_io::id::Id::from_random(bytes).into());
            socket += 1;
        }
        let each = memory(&rooms) as u64 / count;
        assert!((55..=120).contains(&each), "{each} bytes for each of {count} sockets");
    }
}

#[test]
fn memory_returns_when_the_sockets_are_removed() {
    let mut rooms = Rooms::default();
    for socket in 0..2_000u32 {
        rooms.add(socket, format!("id {socket}").as_str().into());
        rooms.join(socket, &format!("user:{socket}"));
        rooms.join(socket, "all");
    }
    assert_eq!((rooms.count("all"), rooms.room_names().count()), (2_000, 2_001));
    for socket in 0..2_000 {
        rooms.remove(socket, |_, _| {});
    }
    assert_eq!((memory(&rooms), rooms.sockets().next(), rooms.room_names().next()), (0, None, None));
}

/// The same as lists, searched from the first to the last entry.
#[derive(Default)]
struct Model {
    sockets: Vec<u8>,
    /// Rooms in order of creation, with their sockets in order of joining.
    rooms: Vec<(String, Vec<u8>)>,
    /// Sockets and rooms in order of joining.
    pairs: Vec<(u8, String)>,
}

impl Model {
    fn members(&self, room: &str) -> Vec<u8> {
        let owner = self.sockets.iter().copied().filter(|socket| id(*socket).as_str() == room);
        let joined = self.rooms.iter().filter(|(name, _)| name == room).flat_map(|(_, sockets)| sockets.clone());
        owner.chain(joined).collect()
    }

    fn rooms_of(&self, socket: u8) -> Vec<String> {
        let own = self.sockets.iter().filter(|other| **other == socket).map(|socket| id(*socket).to_string());
        let joined = self.pairs.iter().filter(|(other, _)| *other == socket).map(|(_, room)| room.clone());
        own.chain(joined).collect()
    }

    fn add(&mut self, socket: u8) -> Option<Joined> {
        if self.sockets.contains(&socket) {
            return None;
        }
        let created = self.members(id(socket).as_str()).is_empty();
        self.sockets.push(socket);
        Some(Joined { created })
    }

    fn join(&mut self, socket: u8, room: &str) -> Option<Joined> {
        if !self.sockets.contains(&socket) || self.members(room).contains(&socket) {
            return None;
        }
        let created = self.members(room).is_empty();
        self.pairs.push((socket, room.to_owned()));
        match self.rooms.iter_mut().find(|(name, _)| name == room) {
            Some((_, sockets)) => sockets.push(socket),
            None => self.rooms.push((room.to_owned(), vec![socket])),
        }
        Some(Joined { created })
    }

    fn leave(&mut self, socket: u8, room: &str) -> Option<Left> {
        let pair = (socket, room.to_owned());
        if !self.pairs.contains(&pair) {
            return None;
        }
        self.pairs.retain(|other| *other != pair);
        let (_, sockets) = self.rooms.iter_mut().find(|(name, _)| name == room)?;
        sockets.retain(|other| *other != socket);
        self.rooms.retain(|(_, sockets)| !sockets.is_empty());
        Some(Left { deleted: self.members(room).is_empty() })
    }

    fn remove(&mut self, socket: u8) -> Vec<(String, bool)> {
        if !self.sockets.contains(&socket) {
            return Vec::new();
        }
        let rooms = self.rooms_of(socket);
        self.sockets.retain(|other| *other != socket);
        let leave = |room: String| {
            self.leave(socket, &room);
            let deleted = self.members(&room).is_empty();
            (room, deleted)
        };
        rooms.into_iter().map(leave).collect()
    }

    fn select(&self, to: &[String], except: &[String]) -> Vec<u8> {
        let candidates = match to {
            [] => self.sockets.clone(),
            rooms => rooms.iter().flat_map(|room| self.members(room)).collect(),
        };
        let mut selected = Vec::new();
        for socket in candidates {
            let is_excluded = except.iter().any(|room| self.members(room).contains(&socket));
            if !is_excluded && !selected.contains(&socket) {
                selected.push(socket);
            }
        }
        selected
    }
}

const SOCKETS: u8 = 6;

/// A room that sockets join, or the room of an id.
fn room_name() -> impl Strategy<Value = String> {
    prop_oneof![(0..4).prop_map(|room| format!("room {room}")), (0..SOCKETS).prop_map(|s| id(s).to_string())]
}

#[derive(Clone, Debug)]
enum Call {
    Add(u8),
    Remove(u8),
    Join(u8, String),
    Leave(u8, String),
    Select(Vec<String>, Vec<String>),
}

fn call() -> impl Strategy<Value = Call> {
    let names = || proptest::collection::vec(room_name(), 0..4);
    prop_oneof![
        3 => (0..SOCKETS).prop_map(Call::Add),
        1 => (0..SOCKETS).prop_map(Call::Remove),
        6 => (0..SOCKETS, room_name()).prop_map(|(socket, room)| Call::Join(socket, room)),
        2 => (0..SOCKETS, room_name()).prop_map(|(socket, room)| Call::Leave(socket, room)),
        2 => (names(), names()).prop_map(|(to, except)| Call::Select(to, except)),
    ]
}

proptest! {
    #[test]
    fn any_calls_have_the_effect_of_lists(calls in proptest::collection::vec(call(), 0..80)) {
        let (mut rooms, mut model) = (Rooms::default(), Model::default());
        for call in calls {
            match call {
                Call::Add(socket) => prop_assert_eq!(rooms.add(socket, id(socket)), model.add(socket)),
                Call::Remove(socket) => prop_assert_eq!(remove(&mut rooms, socket), model.remove(socket)),
                Call::Join(socket, room) => {
                    prop_assert_eq!(rooms.join(socket, &room), model.join(socket, &room));
                }
                Call::Leave(socket, room) => {
                    prop_assert_eq!(rooms.leave(socket, &room), model.leave(socket, &room));
                }
                Call::Select(to, except) => {
                    let mut selected = Vec::new();
                    rooms.select(&to, &except, &mut selected);
                    prop_assert_eq!(selected, model.select(&to, &except));
                }
            }
            prop_assert_eq!(rooms.sockets().collect::<Vec<_>>(), &*model.sockets);
            prop_assert_eq!(rooms.len(), model.sockets.len());
            let names: Vec<&str> = model.rooms.iter().map(|(name, _)| name.as_str()).collect();
            prop_assert_eq!(rooms.room_names().collect::<Vec<_>>(), &*names);
            let ids: Vec<SocketId> = (0..SOCKETS).map(id).collect();
            for name in names.into_iter().chain(ids.iter().map(SocketId::as_str)) {
                prop_assert_eq!(members(&rooms, name), model.members(name));
                prop_assert_eq!(rooms.count(name), model.members(name).len());
                for socket in 0..SOCKETS {
                    prop_assert_eq!(rooms.is_in(socket, name), model.members(name).contains(&socket));
                }
            }
            for socket in 0..SOCKETS {
                prop_assert_eq!(rooms_of(&rooms, socket), model.rooms_of(socket));
                let is_there = model.sockets.contains(&socket);
                prop_assert_eq!(rooms.by_id(id(socket).as_str()), is_there.then_some(socket));
                prop_assert_eq!(rooms.id_of(socket).cloned(), is_there.then(|| id(socket)));
            }
        }
    }
}
