//! The links of a loop: their state. `connection.rs` acts on it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::entry::Entry;
use super::frame::Reply;
use super::streams::Streams;
use super::subscriptions::{Subscriptions, Topic};
use super::waiting::Waiting;
use super::{Link, Options, Statistics};
use crate::backoff::Backoff;
use crate::net::{Error, Socket};
use crate::{HasSerial, Loop, Slots, TimerId};

pub(super) type OnMessage = Rc<RefCell<dyn FnMut(&mut Loop, &[u8], &[u8])>>;
pub(super) type OnEntry = Rc<RefCell<dyn FnMut(&mut Loop, &Entry<'_>)>>;
pub(super) type OnReply = Box<dyn FnOnce(&mut Loop, Result<Reply<'_>, Error>)>;
pub(super) type OnReady = Rc<RefCell<dyn FnMut(&mut Loop)>>;
pub(super) type OnLost = Rc<RefCell<dyn FnMut(&mut Loop, &Error)>>;
pub(super) type OnGap = Rc<RefCell<dyn FnMut(&mut Loop, &[u8])>>;

/// All links of a loop.
#[derive(Default)]
pub(super) struct Links {
    pub slots: Slots<LinkState>,
    pub last_serial: u32,
    /// Scratch: a command that is encoded.
    pub command: Vec<u8>,
}

impl Links {
    pub fn get(&self, link: Link) -> Option<&LinkState> {
        self.slots.get(link.0)
    }

    pub fn get_mut(&mut self, link: Link) -> Option<&mut LinkState> {
        self.slots.get_mut(link.0)
    }
}

/// The purpose of a connection. Redis sends messages on a connection that subscribes, and accepts no other commands
/// there. One that reads streams waits for entries, and all commands behind that would wait, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Commands,
    Subscriber,
    /// Exists only if streams are read.
    Reader,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Commands, Role::Subscriber, Role::Reader];
}

/// A link.
pub(super) struct LinkState {
    pub serial: u32,
    pub options: Rc<Options>,
    pub commands: Side,
    pub subscriber: Side,
    pub reader: Side,
    pub streams: Streams<OnEntry>,
    pub subscriptions: Subscriptions<OnMessage>,
    /// Commands that wait for a connection.
    pub waiting: Waiting<Expected>,
    pub statistics: Statistics,
    pub on_ready: Vec<(u64, OnReady)>,
    pub on_lost: Vec<(u64, OnLost)>,
    pub on_gap: Vec<(u64, OnGap)>,
    /// The number of the listener that was added last.
    pub last_listener: u64,
    /// All connections are ready, and the program knows it.
    pub is_ready: bool,
    /// The program knows that it is not ready.
    pub has_reported: bool,
    /// A dropped command was logged since the link was ready.
    pub has_logged_drop: bool,
    /// How many messages Redis has refused.
    pub refused: u64,
    pub is_unreferenced: bool,
    pub pings: Option<TimerId>,
}

impl HasSerial for LinkState {
    fn serial(&self) -> u32 {
        self.serial
    }
}

impl LinkState {
    /// A number for a new listener.
    pub fn listener_number(&mut self) -> u64 {
        self.last_listener += 1;
        self.last_listener
    }

    pub fn side_mut(&mut self, role: Role) -> &mut Side {
        match role {
            Role::Commands => &mut self.commands,
            Role::Subscriber => &mut self.subscriber,
            Role::Reader => &mut self.reader,
        }
    }

    pub fn side(&self, role: Role) -> &Side {
        match role {
            Role::Commands => &self.commands,
            Role::Subscriber => &self.subscriber,
            Role::Reader => &self.reader,
        }
    }

    /// The connections that the link has, or wants to have.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        let has_reader = !self.streams.is_empty();
        Role::ALL.into_iter().filter(move |role| *role != Role::Reader || has_reader)
    }
}

/// One of the connections.
pub(super) struct Side {
    pub socket: Option<Socket>,
    pub stage: Stage,
    /// The begin of a frame.
    pub received: Vec<u8>,
    /// The purposes of the next replies.
    pub expected: VecDeque<Expected>,
    pub backoff: Backoff,
    pub retry: Option<TimerId>,
    /// How many pings ago the last byte came.
    pub silent: u32,
}

impl Side {
    pub fn new(options: &Options) -> Side {
        Side {
            socket: None,
            stage: Stage::Away,
            received: Vec::new(),
            expected: VecDeque::new(),
            backoff: Backoff::new(options.min_delay, options.max_delay, 0.5),
            retry: None,
            silent: 0,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// There is no connection, or it is being made.
    Away,
    /// The login and the first ping are not answered yet.
    Greeting,
    Ready,
}

/// The purpose of a reply.
pub(super) enum Expected {
    /// The login. An error ends the connection.
    Login,
    /// The choice of the database. An error ends the connection.
    Database,
    /// The first ping, behind which the connection is ready.
    Greeting,
    /// The reply is of no interest.
    Nothing,
    /// A message for each of these topics, which confirms a command.
    Topics(Box<Topics>),
    /// The last entry of the stream of this number.
    LastEntry(u64),
    /// The oldest entry of the stream of this number, if it is not behind the position.
    OldestEntry(u64),
    /// New entries of streams.
    Entries,
    Call(OnReply),
}

/// A command that subscribes to topics, or ends their subscriptions.
pub(super) struct Topics {
    pub subscribe: bool,
    /// Those that are not confirmed yet, in their order.
    pub unconfirmed: VecDeque<Topic>,
}
