//! The view of the other nodes and their members. Each node makes its own view from messages.
//!
//! ```text
//!   node 4f1d…   heard 0.3 s ago   message 17   ana lobby, bo lobby, eva rust     complete
//!   node 9a02…   heard 8.1 s ago   message 4    leo lobby                         needs its state: 3 was lost
//! ```
//!
//! Redis delivers a message at most once. So messages have numbers: a gap shows that some were lost. Then this node
//! requests the state of the sender, which replaces all that was known of the sender. A node that sends nothing for
//! [`LEASE`] is removed with its members.
//!
//! Everyone who may publish can send a message in the name of a node, with any number. The messages of the node itself
//! then seem to be old. They have numbers that were skipped before: that shows the forgery, and the node is believed
//! again from this message on.
//!
//! While Redis is away all nodes are *hidden*: they are in no list. Their nicks are remembered, so that no member of
//! this node takes a nick that belongs to a member elsewhere. A node is shown again when its state has come.
//!
//! Times are counted from any fixed moment. Memory: at most [`MAX_NODES`] nodes and [`MAX_MEMBERS`] members, each with
//! a nick and a room of at most 80 bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::wire::NodeId;

#[cfg(test)]
mod tests;

/// A node that has sent nothing for so long is gone. A nick in Redis is free after this time, unless it is renewed.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// How often a node is asked for its state, until it comes.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How many other nodes are known at most. Messages of others are ignored.
const MAX_NODES: usize = 1024;

/// How many members of other nodes are known at most. Others are not listed, and no private message reaches them.
const MAX_MEMBERS: usize = 1 << 20;

/// A nick and a room.
pub(crate) type Place = (Rc<str>, Rc<str>);

/// The other nodes.
pub(crate) struct View {
    nodes: BTreeMap<NodeId, Node>,
    /// How many members all nodes have together, with those of states that have begun.
    members: usize,
    max_members: usize,
}

/// Another node.
#[derive(Default)]
struct Node {
    heard: Duration,
    /// The number of its last message.
    number: u64,
    /// The numbers that were skipped last.
    skipped: Option<Skipped>,
    /// Its members are in lists, and changes are announced.
    is_shown: bool,
    /// Messages were lost, or its state has never come.
    needs_state: bool,
    /// When its state was asked for.
    asked: Option<Duration>,
    /// The state that is arriving, without its last parts.
    arriving: Option<Arriving>,
    table: Table,
}

/// Numbers behind one message and before a later one. Either the messages with these numbers are lost, or the later one
/// is forged.
#[derive(Clone, Copy)]
struct Skipped {
    behind: u64,
    before: u64,
    at: Duration,
}

struct Arriving {
    next_part: u32,
    members: Vec<Place>,
}

/// The members of a node.
#[derive(Default)]
struct Table {
    /// By nick in lower case.
    members: BTreeMap<Rc<str>, Place>,
    /// The nicks in lower case of each room.
    rooms: BTreeMap<Rc<str>, BTreeSet<Rc<str>>>,
}

/// How a state differs from what was shown.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    pub(crate) came: Vec<Place>,
    pub(crate) left: Vec<Place>,
}

/// What a message means for the sequence of its node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// It is to be read.
    New,
    /// The message was there already, or a later one. It is to be ignored.
    Old,
    /// There are too many nodes. It is to be ignored.
    Full,
}

impl Default for View {
    fn default() -> View {
        View { nodes: BTreeMap::new(), members: 0, max_members: MAX_MEMBERS }
    }
}

impl View {
    /// Notes that a message has come.
    pub(crate) fn hear(&mut self, now: Duration, from: NodeId, number: u64) -> Heard {
        if let Some(node) = self.nodes.get_mut(&from) {
            let is_next = number.checked_sub(1) == Some(node.number);
            if !is_next && !node.skip_to(now, number) {
                return Heard::Old;
            }
            if !is_next {
                self.members -= node.arriving.take().map_or(0, |arriving| arriving.members.len());
            }
            (node.heard, node.number) = (now, number);
            return Heard::New;
        }
        if self.nodes.len() == MAX_NODES {
            return Heard::Full;
        }
        let mut node = Node { heard: now, ..Node::default() };
        node.skip_to(now, number);
        self.nodes.insert(from, Node { number, needs_state: true, ..node });
        Heard::New
    }

    /// A node sends its state now: it is not asked for some time.
    pub(crate) fn expect_state(&mut self, now: Duration, from: NodeId) {
        if let Some(node) = self.nodes.get_mut(&from) {
            node.asked = Some(now);
        }
    }

    /// Whether a node is to be asked for its state now.
    pub(crate) fn asks(&mut self, now: Duration, from: NodeId) -> bool {
        let needs_it = |node: &&mut Node| node.needs_state && node.arriving.is_none();
        let Some(node) = self.nodes.get_mut(&from).filter(needs_it) else { return false };
        let is_due = node.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK_AGAIN);
        if is_due {
            node.asked = Some(now);
        }
        is_due
    }

    /// The nodes that are to be asked for their states now.
    pub(crate) fn all_to_ask(&mut self, now: Duration) -> Vec<NodeId> {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        ids.into_iter().filter(|&id| self.asks(now, id)).collect()
    }

    /// A member has come. Returns whether that is to be announced.
    pub(crate) fn enter(&mut self, from: NodeId, nick: &str, room: &str) -> bool {
        if self.members >= self.max_members {
            return false;
        }
        let Some(node) = self.nodes.get_mut(&from) else { return false };
        let is_new = node.table.insert(nick.into(), room.into());
        self.members += usize::from(is_new);
        is_new && node.is_shown
    }

    /// A member has left. Returns its nick and its room if that is to be announced.
    pub(crate) fn leave(&mut self, from: NodeId, nick: &str) -> Option<Place> {
        let node = self.nodes.get_mut(&from)?;
        let place = node.table.remove(&nick.to_lowercase())?;
        self.members -= 1;
        node.is_shown.then_some(place)
    }

    /// A member has gone to another room. Returns its nick and its old room if that is to be announced.
    pub(crate) fn move_to(&mut self, from: NodeId, nick: &str, room: &str) -> Option<Place> {
        let node = self.nodes.get_mut(&from)?;
        let (nick, old) = node.table.remove(&nick.to_lowercase())?;
        node.table.insert(nick.clone(), room.into());
        (node.is_shown && *old != *room).then_some((nick, old))
    }

    /// A member has another nick. Returns the old one and the room if that is to be announced.
    pub(crate) fn rename(&mut self, from: NodeId, old: &str, new: &str) -> Option<Place> {
        let node = self.nodes.get_mut(&from)?;
        let (old, room) = node.table.remove(&old.to_lowercase())?;
        if !node.table.insert(new.into(), room.clone()) {
            // The node had a member of that name, whose end was lost.
            self.members -= 1;
            node.needs_state = true;
        }
        node.is_shown.then_some((old, room))
    }

    /// A part of a state. The last one replaces what was known of the node: how it differs is to be announced.
    pub(crate) fn state(&mut self, from: NodeId, part: u32, parts: u32, members: &[(&str, &str)]) -> Difference {
        let room_left = self.max_members - self.members;
        let Some(node) = self.nodes.get_mut(&from) else { return Difference::default() };
        if part == 1 {
            self.members -= node.arriving.take().map_or(0, |arriving| arriving.members.len());
            node.arriving = Some(Arriving { next_part: 1, members: Vec::new() });
        }
        let Some(arriving) = node.arriving.as_mut().filter(|arriving| arriving.next_part == part) else {
            // Its begin was lost.
            node.needs_state = true;
            return Difference::default();
        };
        arriving.next_part += 1;
        let before = arriving.members.len();
        // Each room is stored once.
        let mut rooms: BTreeMap<&str, Rc<str>> = BTreeMap::new();
        arriving.members.extend(members.iter().take(room_left).map(|&(nick, room)| {
            let room = rooms.entry(room).or_insert_with(|| room.into()).clone();
            (nick.into(), room)
        }));
        self.members += arriving.members.len() - before;
        if part < parts {
            return Difference::default();
        }
        let arrived = node.arriving.take().map(|arriving| arriving.members).unwrap_or_default();
        let mut table = Table::default();
        let count = arrived.len();
        for (nick, room) in arrived {
            table.insert(nick, room);
        }
        // Equal nicks in the state count once.
        self.members -= count - table.members.len();
        self.members -= node.table.members.len();
        let old = mem::replace(&mut node.table, table);
        node.needs_state = false;
        node.asked = None;
        if mem::replace(&mut node.is_shown, true) {
            node.table.difference(&old)
        } else {
            node.table.difference(&Table::default())
        }
    }

    /// Removes the nodes that have sent nothing for too long. Returns their members, which are to be announced.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<Place> {
        let mut gone = Vec::new();
        self.nodes.retain(|_, node| {
            let is_here = now.saturating_sub(node.heard) < LEASE;
            if !is_here {
                self.members -= node.table.members.len();
                self.members -= node.arriving.take().map_or(0, |arriving| arriving.members.len());
                if node.is_shown {
                    gone.extend(mem::take(&mut node.table.members).into_values());
                }
            }
            is_here
        });
        gone
    }

    /// This node was suspended, and has received nothing: each other node has the time of a lease to send a message.
    pub(crate) fn wake_up(&mut self, now: Duration) {
        for node in self.nodes.values_mut() {
            node.heard = now;
        }
    }

    /// Redis is away: hides all nodes.
    pub(crate) fn hide(&mut self) {
        for node in self.nodes.values_mut() {
            node.is_shown = false;
        }
    }

    /// Redis is there again. All nodes are asked for their states, and have the time of a lease to send a message.
    pub(crate) fn restart(&mut self, now: Duration) {
        for node in self.nodes.values_mut() {
            (node.heard, node.asked, node.needs_state) = (now, Some(now), true);
            self.members -= node.arriving.take().map_or(0, |arriving| arriving.members.len());
        }
    }

    /// The node and the exact nick of a member.
    pub(crate) fn find(&self, nick: &str) -> Option<(NodeId, &str)> {
        let nick = nick.to_lowercase();
        let mut shown = self.nodes.iter().filter(|(_, node)| node.is_shown);
        shown.find_map(|(&id, node)| Some((id, &*node.table.members.get(&*nick)?.0)))
    }

    /// Whether a nick in lower case belongs to a member of a node, hidden or not.
    pub(crate) fn knows(&self, nick: &str) -> bool {
        self.nodes.values().any(|node| node.table.members.contains_key(nick))
    }

    /// Whether a nick in lower case belonged to a member of a hidden node.
    pub(crate) fn remembers(&self, nick: &str) -> bool {
        self.nodes.values().any(|node| !node.is_shown && node.table.members.contains_key(nick))
    }

    /// The nicks of the members in a room.
    pub(crate) fn nicks_in<'a>(&'a self, room: &'a str) -> impl Iterator<Item = &'a str> {
        self.shown().flat_map(move |table| {
            let keys = table.rooms.get(room).into_iter().flatten();
            keys.filter_map(|key| Some(&*table.members.get(key)?.0))
        })
    }

    /// How many members are in a room.
    pub(crate) fn count_in(&self, room: &str) -> usize {
        self.shown().filter_map(|table| table.rooms.get(room)).map(BTreeSet::len).sum()
    }

    /// The rooms, each with the number of its members.
    pub(crate) fn rooms(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for (room, members) in self.shown().flat_map(|table| &table.rooms) {
            *counts.entry(&**room).or_default() += members.len();
        }
        counts
    }

    /// How many nodes are shown.
    pub(crate) fn node_count(&self) -> usize {
        self.shown().count()
    }

    fn shown(&self) -> impl Iterator<Item = &Table> {
        self.nodes.values().filter(|node| node.is_shown).map(|node| &node.table)
    }
}

impl Node {
    /// A message has another number than the next one, so its state is needed. Returns `false` if the message is to be
    /// ignored.
    fn skip_to(&mut self, now: Duration, number: u64) -> bool {
        self.needs_state = true;
        let skipped = self.skipped.filter(|skipped| now.saturating_sub(skipped.at) < LEASE);
        if number > self.number {
            // A node sends a message every second, so one of its own comes in time behind any number of forged ones.
            let behind = skipped.map_or(self.number, |skipped| skipped.behind);
            self.skipped = Some(Skipped { behind, before: number, at: now });
            return true;
        }
        let is_of_the_node = skipped.is_some_and(|skipped| number > skipped.behind && number < skipped.before);
        if is_of_the_node {
            (self.skipped, self.asked) = (None, None);
        }
        is_of_the_node
    }
}

impl Table {
    /// Adds a member, or replaces the one with this nick. Returns whether it is new.
    fn insert(&mut self, nick: Rc<str>, room: Rc<str>) -> bool {
        let lower = nick.to_lowercase();
        let key: Rc<str> = if *lower == *nick { nick.clone() } else { lower.into() };
        let is_new = self.remove(&key).is_none();
        // The same allocation as in the other members of the room.
        let room = self.rooms.get_key_value(&room).map_or(room, |(room, _)| room.clone());
        self.rooms.entry(room.clone()).or_default().insert(key.clone());
        self.members.insert(key, (nick, room));
        is_new
    }

    /// Removes a member, by its nick in lower case. An empty room is removed, too.
    fn remove(&mut self, key: &str) -> Option<Place> {
        let place = self.members.remove(key)?;
        if let Some(members) = self.rooms.get_mut(&place.1) {
            members.remove(key);
            if members.is_empty() {
                self.rooms.remove(&place.1);
            }
        }
        Some(place)
    }

    /// The members that came and left since `old`. One that has gone to another room has left and come.
    fn difference(&self, old: &Table) -> Difference {
        let only_in = |this: &Table, other: &Table| {
            let members = this.members.iter();
            let only = members.filter(|(key, place)| other.members.get(*key).is_none_or(|other| other != *place));
            only.map(|(_, place)| place.clone()).collect()
        };
        Difference { came: only_in(self, old), left: only_in(old, self) }
    }
}
