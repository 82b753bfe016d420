//! The messages between the nodes of a chat, as text. A message is one line of words:
//!
//! ```text
//!   bucle1 4f1d0c22a9b87e65 17 line lobby ana: hola
//!   │      │                │  │    └ the words of the event; a text is the rest of the message
//!   │      │                │  └ the event
//!   │      │                └ the number of the message: one more than that of the message before it
//!   │      └ the node that has sent it
//!   └ the version of this format
//! ```
//!
//! | event | words | meaning |
//! |---|---|---|
//! | `beat` | | the node runs, and nothing has changed |
//! | `ask` | a node, or none | that node, or every node, shall send its `state` |
//! | `state` | part, parts, then nick and room of each member | all members of the node |
//! | `enter` | nick, room | a member has come |
//! | `leave` | nick | a member has left |
//! | `move` | nick, room | a member has gone to another room |
//! | `nick` | old nick, new nick | a member has another nick |
//! | `line` | room, text | a line for all members of the room |
//! | `msg` | node, nick of the receiver, nick of the sender, text | a line for one member of that node |
//!
//! Everyone who may publish in Redis can send anything on the channel. So [`decode`] checks every word: names as those
//! that a member types, lengths, and numbers. A text is made safe to show, as a line of a member is.

use std::borrow::Cow;
use std::fmt;

use bucle::telnet::lines::printable;

use crate::cli::serve::chat::names::check_name;

#[cfg(test)]
mod tests;

/// The version of the format. Messages of other versions are ignored.
const VERSION: &str = "bucle1";

/// How many members one message of a state names at most.
pub(crate) const STATE_MEMBERS: usize = 256;

/// How many bytes a message has at most besides its text: the words before it, with three names of at most 20
/// characters. A state has no text, and [`STATE_MEMBERS`] times two such names.
const MAX_WORDS: usize = 512;
const MAX_STATE: usize = MAX_WORDS + STATE_MEMBERS * 2 * 81;

/// A node, by the random number that it has chosen at its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct NodeId(pub(crate) u64);

/// 16 hexadecimal digits, as on the wire.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A message of another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) from: NodeId,
    pub(crate) number: u64,
    pub(crate) event: Event<'a>,
}

/// What has happened on a node. The table in the module's documentation describes each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event<'a> {
    Beat,
    Ask(Option<NodeId>),
    /// Parts are counted from 1. `members` has nicks and rooms.
    State {
        part: u32,
        parts: u32,
        members: Vec<(&'a str, &'a str)>,
    },
    Enter {
        nick: &'a str,
        room: &'a str,
    },
    Leave {
        nick: &'a str,
    },
    Move {
        nick: &'a str,
        room: &'a str,
    },
    Nick {
        old: &'a str,
        new: &'a str,
    },
    Line {
        room: &'a str,
        text: Cow<'a, str>,
    },
    Msg {
        node: NodeId,
        to: &'a str,
        from: &'a str,
        text: Cow<'a, str>,
    },
}

/// Why a message is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ignored {
    pub(crate) why: &'static str,
}

const fn ignored<T>(why: &'static str) -> Result<T, Ignored> {
    Err(Ignored { why })
}

/// Writes a message.
pub(crate) fn encode(from: NodeId, number: u64, event: &Event<'_>) -> String {
    let head = format_args!("{VERSION} {from} {number}");
    match event {
        Event::Beat => format!("{head} beat"),
        Event::Ask(None) => format!("{head} ask"),
        Event::Ask(Some(node)) => format!("{head} ask {node}"),
        Event::State { part, parts, members } => {
            let mut text = format!("{head} state {part} {parts}");
            for word in members.iter().flat_map(|&(nick, room)| [nick, room]) {
                text.push(' ');
                text.push_str(word);
            }
            text
        }
        Event::Enter { nick, room } => format!("{head} enter {nick} {room}"),
        Event::Leave { nick } => format!("{head} leave {nick}"),
        Event::Move { nick, room } => format!("{head} move {nick} {room}"),
        Event::Nick { old, new } => format!("{head} nick {old} {new}"),
        Event::Line { room, text } => format!("{head} line {room} {text}"),
        Event::Msg { node, to, from, text } => format!("{head} msg {node} {to} {from} {text}"),
    }
}

/// Reads a message; a text may have `max_text` bytes. `None`: this node, `own`, has sent it.
pub(crate) fn decode(bytes: &[u8], own: NodeId, max_text: usize) -> Result<Option<Message<'_>>, Ignored> {
    if bytes.len() > MAX_STATE.max(MAX_WORDS.saturating_add(max_text)) {
        return ignored("it is too long");
    }
    let Ok(message) = std::str::from_utf8(bytes) else { return ignored("it is not UTF-8") };
    let mut words = Words(Some(message));
    if words.next() != Some(VERSION) {
        return ignored("it is not in the format of this version");
    }
    let from = words.node()?;
    if from == own {
        return Ok(None);
    }
    let number = words.number()?;
    let event = match words.next() {
        Some("beat") => Event::Beat,
        Some("ask") if words.is_empty() => Event::Ask(None),
        Some("ask") => Event::Ask(Some(words.node()?)),
        Some("state") => words.state()?,
        Some("enter") => Event::Enter { nick: words.nick()?, room: words.room()? },
        Some("leave") => Event::Leave { nick: words.nick()? },
        Some("move") => Event::Move { nick: words.nick()?, room: words.room()? },
        Some("nick") => Event::Nick { old: words.nick()?, new: words.nick()? },
        Some("line") => Event::Line { room: words.room()?, text: words.text(max_text)? },
        Some("msg") => {
            Event::Msg { node: words.node()?, to: words.nick()?, from: words.nick()?, text: words.text(max_text)? }
        }
        _ => return ignored("its event is unknown"),
    };
    if !words.is_empty() {
        return ignored("it has too many words");
    }
    Ok(Some(Message { from, number, event }))
}

/// The words of a message that were not taken yet.
struct Words<'a>(Option<&'a str>);

impl<'a> Words<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn next(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0?.split_once(' ').map_or((self.0?, None), |(word, rest)| (word, Some(rest)));
        self.0 = rest;
        Some(word)
    }

    /// The number of a node: exactly as it is written, so that a node has one name.
    fn node(&mut self) -> Result<NodeId, Ignored> {
        let word = self.next().unwrap_or_default();
        let is_fine = word.len() == 16 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match u64::from_str_radix(word, 16) {
            Ok(number) if is_fine => Ok(NodeId(number)),
            _ => ignored("the name of its node is malformed"),
        }
    }

    /// Digits without leading zeros, so that a number has one form.
    fn number<T: std::str::FromStr>(&mut self) -> Result<T, Ignored> {
        let word = self.next().unwrap_or_default();
        let is_fine = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        word.parse().ok().filter(|_| is_fine).map_or(ignored("a number is malformed"), Ok)
    }

    fn nick(&mut self) -> Result<&'a str, Ignored> {
        let nick = self.next().unwrap_or_default();
        if nick.is_empty() || check_name(nick).is_err() { ignored("a nick is malformed") } else { Ok(nick) }
    }

    /// The name of a room, which is in lower case.
    fn room(&mut self) -> Result<&'a str, Ignored> {
        let room = self.next().unwrap_or_default();
        let is_lower_case = room.chars().flat_map(char::to_lowercase).eq(room.chars());
        let is_fine = !room.is_empty() && check_name(room).is_ok() && is_lower_case;
        if is_fine { Ok(room) } else { ignored("the name of a room is malformed") }
    }

    /// The rest of the message, safe to show.
    fn text(&mut self, max_text: usize) -> Result<Cow<'a, str>, Ignored> {
        match self.0.take() {
            None | Some("") => ignored("its text is missing"),
            Some(text) if text.len() > max_text => ignored("its text is too long"),
            Some(text) => Ok(printable(text.as_bytes())),
        }
    }

    fn state(&mut self) -> Result<Event<'a>, Ignored> {
        let (part, parts) = (self.number()?, self.number()?);
        if part == 0 || part > parts {
            return ignored("the part of a state is malformed");
        }
        let mut members = Vec::new();
        while !self.is_empty() {
            if members.len() == STATE_MEMBERS {
                return ignored("a part of a state has too many members");
            }
            members.push((self.nick()?, self.room()?));
        }
        Ok(Event::State { part, parts, members })
    }
}
