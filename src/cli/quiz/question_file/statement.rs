//! The statements of a program in a file of questions.

use std::rc::Rc;
use std::time::Duration;

/// Statements that run one after the other.
pub(super) type Block = Rc<[Statement]>;

/// One statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Statement {
    Print(Rc<str>),
    /// Keeps the loop busy.
    Work(Duration),
    /// Runs a block later.
    Later(When, Block),
    /// Starts the server of the program. Its blocks run for the events of its connections.
    Server(Side),
    /// Connects a client to the server.
    Connect(Side),
    /// Writes to the socket of the event, and runs the block as the callback.
    Write(Rc<str>, Option<Block>),
    End(Option<Rc<str>>, Option<Block>),
    Destroy,
}

/// When a block runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    Tick,
    Microtask,
    Immediate,
    Timeout(Duration),
}

/// One side of connections: a `server` or a `connect`, and the blocks for the events of its sockets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Side {
    /// The number of its line.
    pub(super) line: usize,
    pub(super) blocks: Vec<(Event, Block)>,
    /// Whether a block prints.
    pub(super) prints: bool,
}

impl Side {
    /// The block for an event.
    pub(super) fn block(&self, event: Event) -> Option<&Block> {
        self.blocks.iter().find(|(known, _)| *known == event).map(|(_, block)| block)
    }

    pub(super) fn has(&self, event: Event) -> bool {
        self.block(event).is_some()
    }
}

/// An event of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// Of a server.
    Connection,
    /// Of a client.
    Connect,
    Data,
    End,
    Finish,
    Error,
    Close,
}

impl Event {
    /// The name of the event, as in Node.
    pub(super) fn name(self) -> &'static str {
        match self {
            Event::Connection => "connection",
            Event::Connect => "connect",
            Event::Data => "data",
            Event::End => "end",
            Event::Finish => "finish",
            Event::Error => "error",
            Event::Close => "close",
        }
    }

    /// The events of connections of a server.
    pub(super) const OF_SERVER: &[Event] =
        &[Event::Connection, Event::Data, Event::End, Event::Finish, Event::Error, Event::Close];

    /// The events of a client.
    pub(super) const OF_CLIENT: &[Event] =
        &[Event::Connect, Event::Data, Event::End, Event::Finish, Event::Error, Event::Close];
}
