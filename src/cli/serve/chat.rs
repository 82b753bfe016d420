//! A chat: nicks, rooms, and everybody in a room hears everybody.
//!
//! ```text
//!   members   #1 ana lobby    #2 bo lobby    #3 eva rust      who they are
//!   nicks     ana→#1  bo→#2  eva→#3                           each name once, upper or lower case
//!   rooms     lobby: #1 #2        rust: #3                    there as long as somebody is in it
//! ```
//!
//! Everything here is one value, changed by one callback after another. What members can make grow is bounded by their
//! number: one nick and one room each, both short. What one of them types reaches the others only as
//! [`printable`] text, so nobody can paint on another's terminal.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bucle::Loop;
use bucle::telnet::lines::printable;
use bucle::telnet::{self, Client, Handler};

/// Where everybody starts.
const LOBBY: &str = "lobby";

/// How many characters a nick or the name of a room may have.
const NAME_LIMIT: usize = 20;

/// How many names a list shows; asking costs the asker one word, and shall not cost the server a megabyte.
const LIST_LIMIT: usize = 100;

const HELP: &str = "\
-- /nick NAME        be called NAME\r
-- /who              who is in this room\r
-- /me does it       say what you do\r
-- /msg NICK TEXT    say something to NICK only\r
-- /join ROOM        go to another room\r
-- /rooms            which rooms there are\r
-- /quit             leave (Ctrl-D does too)\r
-- anything else is said to everybody in the room; //x is said as /x\r
";

#[derive(Default)]
pub(crate) struct Chat {
    members: BTreeMap<Client, Member>,
    /// Lower-cased nicks, each with the one who has it.
    nicks: BTreeMap<String, Client>,
    rooms: BTreeMap<String, BTreeSet<Client>>,
    /// The number of the last guest.
    guests: u64,
}

struct Member {
    nick: String,
    room: String,
}

impl Handler for Chat {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        let nick = self.guest_nick();
        client.write_line(lp, format!("¡Bienvenido! You are {nick}, in the {LOBBY}. /help says what you can do."));
        self.announce(lp, LOBBY, &format!("{nick} has joined"));
        log::debug!(target: "bucle::chat", "{client} is {nick}");
        self.nicks.insert(nick.to_lowercase(), client);
        self.rooms.entry(LOBBY.to_owned()).or_default().insert(client);
        self.members.insert(client, Member { nick, room: LOBBY.to_owned() });
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        let line = printable(line);
        let line = line.trim_end();
        let Some(member) = self.members.get(&client) else { return };
        if line.is_empty() {
            return;
        }
        // A second slash is said, as a word that begins with one.
        let said = match line.strip_prefix('/') {
            Some(rest) if rest.starts_with('/') => rest,
            Some(command) => return self.obey(lp, client, command),
            None => line,
        };
        let message = format!("{}: {said}\r\n", member.nick);
        self.tell_room(lp, &member.room, &message);
    }

    fn on_end(&mut self, lp: &mut Loop, client: Client) {
        self.leave(lp, client);
    }

    fn on_close(&mut self, lp: &mut Loop, client: Client, _had_error: bool) {
        self.leave(lp, client);
    }
}

impl Chat {
    fn obey(&mut self, lp: &mut Loop, client: Client, command: &str) {
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match (word.to_lowercase().as_str(), rest) {
            (command @ ("nick" | "join" | "me" | "msg"), "") => drop(client.write_line(lp, usage(command))),
            ("nick", nick) => self.rename(lp, client, nick),
            ("join", room) => self.move_to(lp, client, room),
            ("me", deed) => self.act(lp, client, deed),
            ("msg", rest) => self.whisper(lp, client, rest),
            ("who", _) => self.list_members(lp, client),
            ("rooms", _) => self.list_rooms(lp, client),
            ("help", _) => drop(client.write(lp, HELP)),
            ("quit", _) => {
                client.write_line(lp, "-- good-bye");
                self.leave(lp, client);
                client.end(lp);
            }
            _ => drop(client.write_line(lp, format!("-- there is no /{}; see /help", shortened(word)))),
        }
    }

    fn rename(&mut self, lp: &mut Loop, client: Client, nick: &str) {
        if let Err(advice) = check_name(nick) {
            client.write_line(lp, format!("-- a nick {advice}"));
            return;
        }
        if self.nicks.get(&nick.to_lowercase()).is_some_and(|&owner| owner != client) {
            client.write_line(lp, format!("-- {nick} is somebody else; try another nick"));
            return;
        }
        let Some(member) = self.members.get_mut(&client) else { return };
        let old = std::mem::replace(&mut member.nick, nick.to_owned());
        let room = member.room.clone();
        self.nicks.remove(&old.to_lowercase());
        self.nicks.insert(nick.to_lowercase(), client);
        log::debug!(target: "bucle::chat", "{client} was {old} and is {nick}");
        self.announce(lp, &room, &format!("{old} is now called {nick}"));
    }

    fn move_to(&mut self, lp: &mut Loop, client: Client, room: &str) {
        if let Err(advice) = check_name(room) {
            client.write_line(lp, format!("-- a room's name {advice}"));
            return;
        }
        let room = room.to_lowercase();
        let Some(member) = self.members.get_mut(&client) else { return };
        if member.room == room {
            client.write_line(lp, format!("-- you are in {room} already"));
            return;
        }
        let old = std::mem::replace(&mut member.room, room.clone());
        let nick = member.nick.clone();
        self.remove_from_room(&old, client);
        self.announce(lp, &old, &format!("{nick} has gone to {room}"));
        self.rooms.entry(room.clone()).or_default().insert(client);
        log::debug!(target: "bucle::chat", "{client}, {nick}, has gone from {old} to {room}");
        self.announce(lp, &room, &format!("{nick} has joined {room}"));
    }

    fn act(&self, lp: &mut Loop, client: Client, deed: &str) {
        let Some(member) = self.members.get(&client) else { return };
        self.tell_room(lp, &member.room, &format!("* {} {deed}\r\n", member.nick));
    }

    fn whisper(&self, lp: &mut Loop, client: Client, rest: &str) {
        let Some(member) = self.members.get(&client) else { return };
        let Some((to, text)) = rest.split_once(char::is_whitespace) else {
            client.write_line(lp, "-- /msg NICK TEXT: the text is missing");
            return;
        };
        let Some(other) = self.nicks.get(&to.to_lowercase()).and_then(|other| Some((other, self.members.get(other)?)))
        else {
            client.write_line(lp, format!("-- nobody is called {}; /who tells who is here", shortened(to)));
            return;
        };
        let text = text.trim_start();
        other.0.write_line(lp, format!("{} (to you only): {text}", member.nick));
        client.write_line(lp, format!("{} (to {} only): {text}", member.nick, other.1.nick));
    }

    fn list_members(&self, lp: &mut Loop, client: Client) {
        let Some(room) = self.members.get(&client).map(|member| &member.room) else { return };
        let clients = self.rooms.get(room).into_iter().flatten();
        let nicks = clients.filter_map(|client| Some(Cow::from(&self.members.get(client)?.nick)));
        client.write_line(lp, format!("-- in {room}: {}", listed(nicks)));
    }

    fn list_rooms(&self, lp: &mut Loop, client: Client) {
        let rooms = self.rooms.iter().map(|(room, clients)| Cow::from(format!("{room} ({})", clients.len())));
        client.write_line(lp, format!("-- rooms: {}", listed(rooms)));
    }

    /// Takes a member out of everything, and tells the room. Those who have left already leave no second time.
    fn leave(&mut self, lp: &mut Loop, client: Client) {
        let Some(member) = self.members.remove(&client) else { return };
        self.nicks.remove(&member.nick.to_lowercase());
        self.remove_from_room(&member.room, client);
        log::debug!(target: "bucle::chat", "{client}, {}, has left {}", member.nick, member.room);
        self.announce(lp, &member.room, &format!("{} has left", member.nick));
    }

    /// The last one out takes the room along.
    fn remove_from_room(&mut self, room: &str, client: Client) {
        if let Some(clients) = self.rooms.get_mut(room) {
            clients.remove(&client);
            if clients.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    fn announce(&self, lp: &mut Loop, room: &str, news: &str) {
        self.tell_room(lp, room, &format!("-- {news}\r\n"));
    }

    /// One message, however many hear it: nothing is allocated per member.
    fn tell_room(&self, lp: &mut Loop, room: &str, message: &str) {
        telnet::broadcast(lp, self.rooms.get(room).into_iter().flatten(), message);
    }

    fn guest_nick(&mut self) -> String {
        loop {
            self.guests += 1;
            let nick = format!("guest{}", self.guests);
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

/// Whether a nick or a room may be called so; what is wrong with it otherwise.
///
/// Letters of every script, and what ASCII has of signs. Not the rest: spaces and colons would make `ana: hola`
/// ambiguous, and invisible characters two nicks that look the same.
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

/// The names with commas between them, and how many more there are than fit.
fn listed<'a>(names: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut names = names.fuse();
    let shown: Vec<_> = names.by_ref().take(LIST_LIMIT).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The beginning of a word that is repeated to the one who typed it.
fn shortened(word: &str) -> &str {
    word.char_indices().nth(NAME_LIMIT).map_or(word, |(end, _)| &word[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_visible() {
        let table = [
            ("ana", true),
            ("Ñandú_42", true),
            ("guest[away]", true),
            ("名前", true),
            ("12345678901234567890", true),
            ("123456789012345678901", false),
            ("two words", false),
            ("with:colon", false),
            ("/who", false),
            ("--", false),
            ("a\u{200b}b", false),
            ("a\u{241b}b", false),
            ("a\u{fffd}", false),
        ];
        for (name, want) in table {
            assert_eq!(check_name(name).is_ok(), want, "{name:?}");
        }
    }

    #[test]
    fn each_command_has_its_usage() {
        assert_eq!(usage("nick"), "-- /nick NAME        be called NAME");
        for command in ["join", "me", "msg"] {
            assert!(usage(command).starts_with(&format!("-- /{command} ")), "{command}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names = |count: usize| (0..count).map(|at| Cow::from(at.to_string()));
        assert_eq!(listed(names(3)), "0, 1, 2");
        assert!(listed(names(LIST_LIMIT)).ends_with(", 99"));
        assert!(listed(names(LIST_LIMIT + 7)).ends_with(", 99 and 7 more"));
    }
}
