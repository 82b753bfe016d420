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
//! Memory is bounded by the number of members: each has one nick and one room, both of at most
//! [`NAME_LIMIT`] characters, and a list shows at most [`LIST_LIMIT`] names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The room where every member starts.
const LOBBY: &str = "lobby";

/// The nick of the first member. The number of the others counts on.
const FIRST_NICK: &str = "guest1";

/// How many characters a nick or the name of a room may have.
const NAME_LIMIT: usize = 20;

/// How many names a list shows. The request is one word, and the answer must not be a megabyte.
const LIST_LIMIT: usize = 100;

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
}

struct Member {
    nick: String,
    room: String,
}

impl<M> Default for Rooms<M> {
    fn default() -> Self {
        Rooms { members: BTreeMap::new(), nicks: BTreeMap::new(), rooms: BTreeMap::new(), last_number: 0 }
    }
}

impl<M: Copy + Ord> Rooms<M> {
    /// Adds a member, greets it, and announces it to the lobby.
    pub(crate) fn enter(&mut self, member: M, send: Deliver<'_, M>) {
        let nick = self.free_nick();
        let greeting = format!("¡Bienvenido! You are {nick}, in the {LOBBY}. /help says what you can do.");
        send(To::One(member), greeting);
        self.announce(LOBBY, format!("{nick} has joined"), send);
        self.nicks.insert(nick.to_lowercase(), member);
        self.rooms.entry(LOBBY.to_owned()).or_default().insert(member);
        self.members.insert(member, Member { nick, room: LOBBY.to_owned() });
    }

    /// Handles a line that a member has typed: a command, or text for the room. The text must be safe to show to
    /// others.
    pub(crate) fn receive_line(&mut self, member: M, line: &str, send: Deliver<'_, M>) -> Next {
        let line = line.trim_end();
        if line.is_empty() || !self.members.contains_key(&member) {
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
        let Some(left) = self.members.remove(&member) else { return };
        self.nicks.remove(&left.nick.to_lowercase());
        self.remove_from_room(&left.room, member);
        self.announce(&left.room, format!("{} has left", left.nick), send);
    }

    /// The nick and the room of a member, for the log.
    pub(crate) fn describe(&self, member: M) -> Option<String> {
        self.members.get(&member).map(|member| format!("{} in {}", member.nick, member.room))
    }

    fn say_to_room(&self, member: M, text: &str, send: Deliver<'_, M>) -> Next {
        if let Some(Member { nick, room }) = self.members.get(&member) {
            self.send_to_room(room, format!("{nick}: {text}"), send);
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
        if self.nicks.get(&nick.to_lowercase()).is_some_and(|&owner| owner != member) {
            return send(To::One(member), format!("-- {nick} is taken; try another nick"));
        }
        let Some(renamed) = self.members.get_mut(&member) else { return };
        let old = std::mem::replace(&mut renamed.nick, nick.to_owned());
        let room = renamed.room.clone();
        // In this order, because the new nick may be the old one in another case.
        self.nicks.remove(&old.to_lowercase());
        self.nicks.insert(nick.to_lowercase(), member);
        self.announce(&room, format!("{old} is now called {nick}"), send);
    }

    fn move_to(&mut self, member: M, room: &str, send: Deliver<'_, M>) {
        if let Err(advice) = check_name(room) {
            return send(To::One(member), format!("-- a room's name {advice}"));
        }
        let room = room.to_lowercase();
        let Some(moved) = self.members.get_mut(&member) else { return };
        if moved.room == room {
            return send(To::One(member), format!("-- you are in {room} already"));
        }
        let old = std::mem::replace(&mut moved.room, room.clone());
        let nick = moved.nick.clone();
        self.remove_from_room(&old, member);
        self.announce(&old, format!("{nick} has gone to {room}"), send);
        self.rooms.entry(room.clone()).or_default().insert(member);
        self.announce(&room, format!("{nick} has joined {room}"), send);
    }

    fn act(&self, member: M, deed: &str, send: Deliver<'_, M>) {
        let Some(Member { nick, room }) = self.members.get(&member) else { return };
        self.send_to_room(room, format!("* {nick} {deed}"), send);
    }

    fn whisper(&self, member: M, rest: &str, send: Deliver<'_, M>) {
        let Some(from) = self.members.get(&member) else { return };
        let Some((to, text)) = rest.split_once(char::is_whitespace) else {
            return send(To::One(member), "-- /msg NICK TEXT: the text is missing".to_owned());
        };
        let owner = self.nicks.get(&to.to_lowercase());
        let Some((&other, receiver)) = owner.and_then(|other| Some((other, self.members.get(other)?))) else {
            let to = shortened(to);
            return send(To::One(member), format!("-- there is no {to}; /who lists the members of this room"));
        };
        let text = text.trim_start();
        send(To::One(other), format!("{} (to you only): {text}", from.nick));
        send(To::One(member), format!("{} (to {} only): {text}", from.nick, receiver.nick));
    }

    fn list_members(&self, member: M, send: Deliver<'_, M>) {
        let Some(room) = self.members.get(&member).map(|member| &member.room) else { return };
        let members = self.rooms.get(room).into_iter().flatten();
        let nicks = members.filter_map(|member| Some(Cow::from(&self.members.get(member)?.nick)));
        send(To::One(member), format!("-- in {room}: {}", listed(nicks)));
    }

    fn list_rooms(&self, member: M, send: Deliver<'_, M>) {
        let rooms = self.rooms.iter().map(|(room, members)| Cow::from(format!("{room} ({})", members.len())));
        send(To::One(member), format!("-- rooms: {}", listed(rooms)));
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

    fn announce(&self, room: &str, news: String, send: Deliver<'_, M>) {
        self.send_to_room(room, format!("-- {news}"), send);
    }

    fn send_to_room(&self, room: &str, line: String, send: Deliver<'_, M>) {
        if let Some(members) = self.rooms.get(room) {
            send(To::Room(members), line);
        }
    }

    /// The next nick with a number that no member has taken.
    fn free_nick(&mut self) -> String {
        loop {
            self.last_number += 1;
            let nick = FIRST_NICK.replace('1', &self.last_number.to_string());
            if !self.nicks.contains_key(&nick) {
                return nick;
            }
        }
    }
}

/// The line of the help about `command`.
fn usage(command: &str) -> &'static str {
    let is_about =
        |line: &&str| line.split_whitespace().nth(1).and_then(|word| word.strip_prefix('/')) == Some(command);
    HELP.lines().find(is_about).unwrap_or("-- see /help")
}

/// Checks the name of a nick or a room. The error completes a sentence about what is wrong.
///
/// Letters of every script and the signs of ASCII are allowed. Spaces and colons would make `ana: hola` ambiguous, and
/// with invisible characters two nicks could look the same.
fn check_name(name: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() && c != ':';
    if name.chars().count() > NAME_LIMIT {
        Err(format!("has at most {NAME_LIMIT} characters"))
    } else if name.starts_with(['/', '-', '*']) || !name.chars().all(is_fine) {
        Err("is made of letters and digits, without spaces".to_owned())
    } else {
        Ok(())
    }
}

/// The names with commas between them, and the number of those that are left out.
fn listed<'a>(names: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut names = names.fuse();
    let shown: Vec<_> = names.by_ref().take(LIST_LIMIT).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The beginning of a word, to be quoted in a reply to the member who typed it.
fn shortened(word: &str) -> &str {
    word.char_indices().nth(NAME_LIMIT).map_or(word, |(end, _)| &word[..end])
}

#[cfg(test)]
mod tests;
