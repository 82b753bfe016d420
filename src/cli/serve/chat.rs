//! A chat: nicks, rooms, and every line goes to everyone in the room.
//!
//! ```text
//!   telnet client ── a line ──▶ chat/telnet.rs ──▶ chat/rooms.rs:  who receives what
//!                                                        │
//!   telnet clients ◀── lines ── chat/telnet.rs ◀─────────┘
//! ```
//!
//! The rooms are plain data without sockets. A *door* connects them with one protocol: it turns what a client sends
//! into calls, and what the rooms answer into writes. Several doors share one `Shared<Rooms<_>>`.

pub(crate) mod rooms;
pub(crate) mod telnet;
