//! A chat with nicknames and rooms. Every line goes to everyone in the room.
//!
//! ```text
//!   telnet client ── a line ────▶ chat/telnet.rs ────┐                which members receive a line
//!   browser ──────── a message ─▶ chat/web.rs ───────┼─▶ chat/rooms.rs ──▶ chat/members.rs ──▶ clients of all doors
//!   Socket.IO ────── an event ──▶ chat/socket_io.rs ─┘
//! ```
//!
//! The rooms are plain data without sockets. A *door* connects them with one protocol: it turns the lines of its
//! clients into calls. The doors share one `Shared<Rooms<Member>>`, and a line goes to members of all doors.

pub(crate) mod members;
pub(crate) mod rooms;
pub(crate) mod socket_io;
pub(crate) mod telnet;
pub(crate) mod web;
