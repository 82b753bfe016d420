//! Socket.IO: events with arguments between a server and its clients, in both directions, with acknowledgements.
//!
//! The protocol has revision 5 (over Engine.IO 4) and revision 4 (over Engine.IO 3). Their packets have the same
//! grammar. These files know it, and no sockets:
//!
//! ```text
//!   message ─▶ packet ─▶ json ─▶ binary ─▶ arguments      ["echo",{"a":1}] is an event `echo` with one argument
//!   message ◀─ packet ◀───────── binary ◀─ arguments
//! ```

pub mod answers;
pub mod arguments;
pub mod backoff;
pub mod binary;
pub mod json;
pub mod malformed;
pub mod names;
pub mod packet;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub mod reasons;
pub mod recovery;
pub mod rooms;
pub mod socket_id;
