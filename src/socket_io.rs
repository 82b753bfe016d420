//! Socket.IO: events, rooms and namespaces on top of Engine.IO.

pub mod answers;
pub mod backoff;
pub mod names;
pub mod reasons;
pub mod recovery;
pub mod rooms;
pub mod socket_id;
