//! A chat with nicknames and rooms. Every line goes to everyone in the room.
//!
//! ```text
//!   telnet client ── a line ────▶ chat/telnet.rs ─┐                 which members receive a line
//!                                                 ├──▶ chat/rooms.rs ──▶ chat/members.rs ──▶ telnet clients
//!   browser ──────── a message ─▶ chat/web.rs ────┘                                     └──▶ browsers
//! ```
//!
//! The rooms are plain data without sockets. A *door* connects them with one protocol: it turns the lines of its
//! clients into calls. The doors share one `Shared<Rooms<Member>>`, and a line goes to members of all doors.

pub(crate) mod members;
pub(crate) mod rooms;
pub(crate) mod telnet;
pub(crate) mod web;
