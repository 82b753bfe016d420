//! A received event, its acknowledgement, and the errors with which middlewares refuse.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::arguments::{ArgumentError, Arguments, IntoArguments};
use super::{Client, Socket};
use crate::Loop;

/// An event with its arguments. Listeners get it by reference.
#[derive(Debug)]
pub struct Event<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: Arguments<'a>,
    pub(super) ack: Option<Ack>,
    /// The last argument may be the offset of connection state recovery, which a client gets.
    pub(super) may_have_offset: bool,
}

impl<'a> Event<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its arguments.
    pub fn arguments(&self) -> Arguments<'a> {
        self.arguments
    }

    /// The arguments as values of the program: `let (room, text): (String, String) = event.parse()?`.
    ///
    /// A server with connection state recovery adds an argument behind the others, a string. A client may leave it out
    /// of its type.
    ///
    /// # Errors
    /// There are more or fewer arguments, or one has another type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        match self.arguments.parse() {
            Err(ArgumentError::TooMany { len, read }) if self.may_have_offset && len == read + 1 => {
                let is_text = self.arguments.raw(read).is_some_and(|last| last.starts_with('"'));
                if is_text { self.arguments.without_last().parse() } else { self.arguments.parse() }
            }
            result => result,
        }
    }

    /// Whether the peer waits for an acknowledgement, and it was not taken or sent yet.
    pub fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// Acknowledges the event. Does nothing if the peer does not wait for it. Returns what [`Socket::emit`] returns.
    #[doc(alias = "callback")]
    pub fn ack(&mut self, lp: &mut Loop, arguments: impl IntoArguments) -> bool {
        self.ack.take().is_some_and(|ack| ack.send(lp, arguments))
    }

    /// Takes the acknowledgement, to send it later. `None` if the peer does not wait for it.
    pub fn take_ack(&mut self) -> Option<Ack> {
        self.ack.take()
    }
}

/// The acknowledgement of an event, to be sent once. The peer waits for it until its own timeout.
#[derive(Debug)]
pub struct Ack {
    pub(super) to: AckTo,
}

#[derive(Debug)]
pub(super) enum AckTo {
    Client {
        socket: Socket,
        id: u64,
    },
    /// The server of a client. `connection` is the number of the connection on which the event has come.
    Server {
        client: Client,
        id: u64,
        connection: u32,
    },
    /// The server of another node; see [`Adapter::server_side_emit`](super::adapter::Adapter::server_side_emit).
    Node(NodeAck),
}

/// Brings the answer of a server to the node that has asked.
pub type ServerAnswer = Box<dyn FnOnce(&mut Loop, Value)>;

pub(super) struct NodeAck(pub ServerAnswer);

impl fmt::Debug for NodeAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeAck")
    }
}

/// Why a middleware refuses an event or a connection.
#[derive(Clone, PartialEq, Debug)]
pub struct EventError {
    message: String,
    data: Option<Value>,
}

impl EventError {
    /// An error with a message for the client.
    pub fn new(message: impl Into<String>) -> EventError {
        EventError { message: message.into(), data: None }
    }

    /// Adds data for the client: `err.data` in its `connect_error`. Data that cannot be written as JSON is left out.
    #[must_use]
    pub fn with_data(self, data: impl Serialize) -> EventError {
        EventError { data: serde_json::to_value(data).ok(), ..self }
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The data.
    pub fn data(&self) -> Option<&Value> {
        self.data.as_ref()
    }
}

impl From<&str> for EventError {
    fn from(message: &str) -> EventError {
        EventError::new(message)
    }
}

impl From<String> for EventError {
    fn from(message: String) -> EventError {
        EventError::new(message)
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EventError {}
