//! A chat: nicks, rooms, and every line goes to everyone in the room.
//!
//! ```text
//!   telnet client ─▶ chat/telnet.rs ──┐                       ┌──▶ chat/telnet.rs ─▶ telnet clients
//!                    (lines)          ├─▶ chat/rooms.rs (who  ─┤
//!   (another door, such as a web page)┘   receives what)      └──▶ (the other door's clients)
//! ```
//!
//! The rooms are plain data without sockets. A *door* connects them with one protocol: it turns what a client sends into
//! calls, and what the rooms answer into writes. Several doors share one `Shared<Rooms<_>>`.

pub(crate) mod rooms;
pub(crate) mod telnet;
