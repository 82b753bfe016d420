//! HTTP/1.1 (RFC 9110, RFC 9112): the protocol between browsers and servers.
//!
//! A connection carries requests one way and responses the other way. Each of them is a *head*, which is text, and
//! perhaps a *body*, which is any bytes:
//!
//! ```text
//!   POST /rooms HTTP/1.1\r\n          start line ┐
//!   Host: localhost\r\n               field      │ head
//!   Content-Length: 4\r\n             field      │
//!   \r\n                              empty line ┘
//!   hola                              body
//! ```
//!
//! [`head`] turns bytes into heads, and [`body`] finds the end of a body. Neither knows sockets.
//!
//! Both are strict. *Request smuggling* is an attack in which a proxy and a server disagree about where a request ends:
//! the server then takes a part of the body, written by the attacker, for the next request of another user. So bytes
//! that two readers of the specification could read in two ways are refused, also where the specification allows a
//! server to repair them.

pub mod body;
pub mod head;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod refusal;
mod syntax;

pub use refusal::{Malformed, Refusal};
