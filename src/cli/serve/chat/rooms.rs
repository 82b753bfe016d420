//! The chat without sockets: its members, and which of them receive a line.
//!
//! ```text
//!   members   #1 ana lobby    #2 bo lobby    #3 eva rust      one nick and one room each
//!   nicks     ana→#1  bo→#2  eva→#3                           each nick once, in upper or lower case
//!   rooms     lobby: #1 #2        rust: #3                    a room exists while someone is in it
//! ```
//!
//! The door chooses the type that names a member: a handle of 8 bytes that can be copied and compared. The tests use
//! numbers.
//! Every method gets a `send`, which is called with one line of text and the members who receive it. The text has no
//! line break, because each door has its own.
//!
//! In a cluster these are the members of one node. What concerns the other nodes is in `rooms/nodes.rs`.
//!
//! Memory is bounded by the number of members: each has one nick and one room, both of at most
//! [`NAME_LIMIT`](super::names::NAME_LIMIT) characters.

mod nodes;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::cluster::node::ThisNode;
use super::cluster::wire::Event;
use super::names::{check_name, listed, shortened};

/// The room where every member starts.
const LOBBY: &str = "lobby";

/// The nick of the first member. The number of the others counts on.
const FIRST_NICK: &str = "guest1";

const HELP: &str = "\
-- /nick NAME        change your name to NAME
-- /who              list the members of this room
-- /me does it       describe what you do
-- /msg NICK TEXT    send TEXT to NICK only
-- /join ROOM        go to another room
-- /rooms            list the rooms
-- /quit             leave (Ctrl-D does too)
-- anything else is sent to everyone in the room; //x is sent as /x";

/// Who receives a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To<'a, M> {
    One(M),
    Room(&'a BTreeSet<M>),
}

/// What happens after a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Stay,
    /// The member has left the rooms; its connection is to be ended.
    Leave,
}

/// Takes one line, without its break, for the members who receive it.
type Deliver<'a, M> = &'a mut dyn FnMut(To<'_, M>, String);

/// All members of a chat.
pub(crate) struct Rooms<M> {
    members: BTreeMap<M, Member>,
    /// Nicks in lower case, each with its owner.
    nicks: BTreeMap<String, M>,
    rooms: BTreeMap<String, BTreeSet<M>>,
    /// The number in the last nick that was given out.
    last_number: u64,
    /// In a cluster.
    node: Option<ThisNode<M>>,
}

struct Member {
    nick: String,
    room: String,
}

impl<M> Default for Rooms<M> {
    fn default() -> Self {
        Rooms { members: BTreeMap::new(), nicks: BTreeMap::new(), rooms: BTreeMap::new(), last_number: 0, node: None }
    }
}

impl<M: Copy + Ord> Rooms<M> {
    /// Adds a member, greets it, and announces it to the lobby.
    pub(crate) fn enter(&mut self, member: M, send: Deliver<'_, M>) {
        let nick = self.free_nick();
        let greeting = format!("¡Bienvenido! You are {nick}, in the {LOBBY}. /help says what you can do.");
        send(To::One(member), greeting);
        self.announce_enter(&nick, LOBBY, send);
        self.notify_if_alone(member, send);
        self.hold_nick(&nick.to_lowercase());
        self.publish(&Event::Enter { nick: &nick, room: LOBBY });
        self.nicks.insert(nick.to_lowercase(), member);
        self.rooms.entry(LOBBY.to_owned()).or_default().insert(member);
        self.members.insert(member, Member { nick, room: LOBBY.to_owned() });
    }

    /// Handles a line that a member has typed: a command, or text for the room. The text must be safe to show to
    /// others.
    pub(crate) fn receive_line(&mut self, member: M, line: &str, send: Deliver<'_, M>) -> Next {
        let line = line.trim_end();
        if line.is_empty() || !self.members.contains_key(&member) || self.holds_line(member, line, send) {
            return Next::Stay;
        }
        match line.strip_prefix('/') {
            // A second slash makes it text that begins with one.
            Some(rest) if !rest.starts_with('/') => self.run_command(member, rest, send),
            Some(text) => self.say_to_room(member, text, send),
            None => self.say_to_room(member, line, send),
        }
    }

    /// Removes a member from everything and announces that to its room. A second call does nothing.
    pub(crate) fn leave(&mut self, member: M, send: Deliver<'_, M>) {
        self.end_claims(member, send);
        let Some(left) = self.members.remove(&member) else { return };
        let key = left.nick.to_lowercase();
        self.nicks.remove(&key);
        self.remove_from_room(&left.room, member);
        self.announce_leave(&left.nick, &left.room, send);
        // First: a member who reads that the nick is free can take it.
        self.release_nick(&key);
        self.publish(&Event::Leave { nick: &left.nick });
    }

    /// The nick and the room of a member, for the log.
    pub(crate) fn describe(&self, member: M) -> Option<String> {
        self.members.get(&member).map(|member| format!("{} in {}", member.nick, member.room))
    }

    fn say_to_room(&mut self, member: M, text: &str, send: Deliver<'_, M>) -> Next {
        if let Some(Member { nick, .. }) = self.members.get(&member) {
            let line = format!("{nick}: {text}");
            self.send_to_room_of(member, line, send);
        }
        Next::Stay
    }

    fn run_command(&mut self, member: M, command: &str, send: Deliver<'_, M>) -> Next {
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match (word.to_lowercase().as_str(), rest) {
            (command @ ("nick" | "join" | "me" | "msg"), "") => send(To::One(member), usage(command).to_owned()),
            ("nick", nick) => self.rename(member, nick, send),
            ("join", room) => self.move_to(member, room, send),
            ("me", deed) => self.act(member, deed, send),
            ("msg", rest) => self.whisper(member, rest, send),
            ("who", _) => self.list_members(member, send),
            ("rooms", _) => self.list_rooms(member, send),
            ("help", _) => HELP.lines().for_each(|line| send(To::One(member), line.to_owned())),
            ("quit", _) => {
                send(To::One(member), "-- good-bye".to_owned());
                self.leave(member, send);
                return Next::Leave;
            }
            _ => send(To::One(member), format!("-- there is no /{}; see /help", shortened(word))),
        }
        Next::Stay
    }

    fn rename(&mut self, member: M, nick: &str, send: Deliver<'_, M>) {
        if let Err(advice) = check_name(nick) {
            return send(To::One(member), format!("-- a nick {advice}"));
        }
        let key = nick.to_lowercase();
        let is_own = match self.nicks.get(&key) {
            Some(&owner) if owner != member => return send(To::One(member), taken(nick)),
            owner => owner.is_some(),
        };
        // The nick may belong to a member of another node. The answer comes later if Redis has to be asked.
        if is_own || self.claim_nick(member, nick, send) {
            self.set_nick(member, nick, send);
        }
    }

    /// Gives a member a nick that is free, or its own in another case.
    fn set_nick(&mut self, member: M, nick: &str, send: Deliver<'_, M>) {
        let Some(renamed) = self.members.get_mut(&member) else { return };
        let old = std::mem::replace(&mut renamed.nick, nick.to_owned());
        let room = renamed.room.clone();
        let (old_key, key) = (old.to_lowercase(), nick.to_lowercase());
        // In this order, because the new nick may be the old one in another case.
        self.nicks.remove(&old_key);
        self.nicks.insert(key.clone(), member);
        self.announce_nick(&old, nick, &room, send);
        if key != old_key {
            self.release_nick(&old_key);
        }
        self.publish(&Event::Nick { old: &old, new: nick });
    }

    fn move_to(&mut self, member: M, room: &str, send: Deliver<'_, M>) {
        let room = room.to_lowercase();
        if let Err(advice) = check_name(&room) {
            return send(To::One(member), format!("-- a room's name {advice}"));
        }
        let Some(moved) = self.members.get_mut(&member) else { return };
        if moved.room == room {
            return send(To::One(member), format!("-- you are in {room} already"));
        }
        let old = std::mem::replace(&mut moved.room, room.clone());
        let nick = moved.nick.clone();
        self.remove_from_room(&old, member);
        self.announce_gone_to(&nick, &old, &room, send);
        self.rooms.entry(room.clone()).or_default().insert(member);
        self.announce_moved(&nick, &room, send);
        self.publish(&Event::Move { nick: &nick, room: &room });
    }

    fn act(&mut self, member: M, deed: &str, send: Deliver<'_, M>) {
        if let Some(Member { nick, .. }) = self.members.get(&member) {
            let line = format!("* {nick} {deed}");
            self.send_to_room_of(member, line, send);
        }
    }

    fn whisper(&mut self, member: M, rest: &str, send: Deliver<'_, M>) {
        let Some(from) = self.members.get(&member).map(|member| member.nick.clone()) else { return };
        let Some((to, text)) = rest.split_once(char::is_whitespace) else {
            return send(To::One(member), "-- /msg NICK TEXT: the text is missing".to_owned());
        };
        let text = text.trim_start();
        let owner = self.nicks.get(&to.to_lowercase());
        let receiver = match owner.and_then(|other| Some((other, self.members.get(other)?))) {
            Some((&other, receiver)) => {
                send(To::One(other), to_you_only(&from, text));
                Some(receiver.nick.clone())
            }
            None => self.send_to_other_node(&from, to, text),
        };
        let line = match receiver {
            Some(receiver) => format!("{from} (to {receiver} only): {text}"),
            None => format!("-- there is no {}; /who lists the members of this room", shortened(to)),
        };
        send(To::One(member), line);
    }

    fn list_members(&self, member: M, send: Deliver<'_, M>) {
        let Some(room) = self.members.get(&member).map(|member| &member.room) else { return };
        let Some(members) = self.rooms.get(room) else { return };
        let nicks = members.iter().filter_map(|member| Some(Cow::from(&self.members.get(member)?.nick)));
        let view = self.node.as_ref().map(|node| &node.view);
        let others = view.iter().flat_map(|view| view.nicks_in(room)).map(Cow::from);
        let count = members.len() + view.map_or(0, |view| view.count_in(room));
        send(To::One(member), format!("-- in {room}: {}", listed(nicks.chain(others), count)));
    }

    fn list_rooms(&self, member: M, send: Deliver<'_, M>) {
        let mut counts = self.node.as_ref().map(|node| node.view.rooms()).unwrap_or_default();
        for (room, members) in &self.rooms {
            *counts.entry(room).or_default() += members.len();
        }
        let rooms = counts.iter().map(|(room, count)| Cow::from(format!("{room} ({count})")));
        send(To::One(member), format!("-- rooms: {}", listed(rooms, counts.len())));
    }

    /// An empty room is removed.
    fn remove_from_room(&mut self, room: &str, member: M) {
        if let Some(members) = self.rooms.get_mut(room) {
            members.remove(&member);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    fn announce_enter(&self, nick: &str, room: &str, send: Deliver<'_, M>) {
        self.send_to_room(room, format!("-- {nick} has joined"), send);
    }

    fn announce_leave(&self, nick: &str, room: &str, send: Deliver<'_, M>) {
        self.send_to_room(room, format!("-- {nick} has left"), send);
    }

    fn announce_nick(&self, old: &str, new: &str, room: &str, send: Deliver<'_, M>) {
        self.send_to_room(room, format!("-- {old} is now called {new}"), send);
    }

    fn announce_gone_to(&self, nick: &str, old: &str, room: &str, send: Deliver<'_, M>) {
        self.send_to_room(old, format!("-- {nick} has gone to {room}"), send);
    }

    fn announce_moved(&self, nick: &str, room: &str, send: Deliver<'_, M>) {
        self.send_to_room(room, format!("-- {nick} has joined {room}"), send);
    }

    /// Sends a line to everyone in the room of a member, on all nodes.
    fn send_to_room_of(&mut self, member: M, line: String, send: Deliver<'_, M>) {
        let Some(Member { room, .. }) = self.members.get(&member) else { return };
        if let Some(node) = &mut self.node {
            node.publish(&Event::Line { room, text: Cow::from(&line) });
        }
        self.send_to_room(room, line, send);
    }

    fn send_to_room(&self, room: &str, line: String, send: Deliver<'_, M>) {
        if let Some(members) = self.rooms.get(room) {
            send(To::Room(members), line);
        }
    }

    /// The next nick with a number that no member has taken. In a cluster it is a random number.
    fn free_nick(&mut self) -> String {
        let mut attempts = 0;
        loop {
            let number = match &mut self.node {
                Some(node) => nodes::guest_number(node, attempts),
                None => {
                    self.last_number += 1;
                    self.last_number
                }
            };
            attempts += 1;
            let nick = FIRST_NICK.replace('1', &number.to_string());
            if !self.nicks.contains_key(&nick) && !self.is_known_elsewhere(&nick) {
                return nick;
            }
        }
    }
}

/// The line for the receiver of a private message.
fn to_you_only(from: &str, text: &str) -> String {
    format!("{from} (to you only): {text}")
}

fn taken(nick: &str) -> String {
    format!("-- {nick} is taken; try another nick")
}

/// The line of the help about `command`.
fn usage(command: &str) -> &'static str {
    let is_about =
        |line: &&str| line.split_whitespace().nth(1).and_then(|word| word.strip_prefix('/')) == Some(command);
    HELP.lines().find(is_about).unwrap_or("-- see /help")
}

#[cfg(test)]
mod tests;
