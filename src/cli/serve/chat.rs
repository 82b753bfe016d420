//! A chat with nicknames and rooms. Every line goes to everyone in the room.
//!
//! ```text
//!   telnet client ── a line ──▶ chat/telnet.rs ──▶ chat/rooms.rs:  which members receive a line
//!                                                        │
//!   telnet clients ◀── lines ── chat/telnet.rs ◀─────────┘
//! ```
//!
//! The rooms are plain data without sockets. A *door* connects them with one protocol: it turns the lines of a client
//! into calls, and the lines that the rooms send into writes. Several doors share one `Shared<Rooms<_>>`.

pub(crate) mod rooms;
pub(crate) mod telnet;
