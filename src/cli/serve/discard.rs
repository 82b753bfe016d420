//! Reads and throws away (RFC 863). A server that does nothing still reads: unread bytes would fill the kernel's buffer,
//! and the peer would wait for ever.

use bucle::net::Handler;

pub(crate) struct Discard;

impl Handler for Discard {}
