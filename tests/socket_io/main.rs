//! The server of Socket.IO over real connections. The clients are sockets of the standard library and send bytes by
//! hand.

#![cfg(feature = "socket-io")]

mod acks;
mod cluster;
mod connection;
mod ends;
mod listeners;
mod middlewares;
mod namespaces;
mod panics;
mod recovery;
mod rooms;
mod slow;
#[path = "../support/engine_io.rs"]
mod talk;
mod unicast;
#[path = "../websocket/wire.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod wire;

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use bucle::socket_io::{self, Options, Server, Socket};
use talk::{Number, Polling, Talk};

/// The events of the program, line by line.
#[derive(Clone, Default)]
struct Story(Rc<RefCell<Vec<String>>>);

impl Story {
    fn add(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }
}

/// A client in one namespace, over a WebSocket connection.
#[derive(Clone, Debug)]
struct Client {
    peer: Number,
    id: String,
    pid: Option<String>,
}

/// A server with its story.
struct Site {
    talk: Talk,
    io: Server,
    story: Story,
}

impl Site {
    fn new(options: Options) -> Site {
        let mut made = None;
        let talk = Talk::new("/socket.io/", |lp| {
            let (http, io) = socket_io::listen(lp, ("127.0.0.1", 0), options).expect("a free port");
            made = Some(io);
            http.port(lp).expect("it is bound")
        });
        Site { talk, io: made.expect("it was made"), story: Story::default() }
    }

    fn with_defaults() -> Site {
        Site::new(Options::default())
    }

    /// A session over WebSocket that is in no namespace.
    #[track_caller]
    fn session(&mut self) -> Number {
        self.open_websocket().0
    }

    /// A client in the main namespace.
    #[track_caller]
    fn join(&mut self) -> Client {
        self.join_with("/", "")
    }

    /// A client in a namespace, with its credentials as JSON.
    #[track_caller]
    fn join_with(&mut self, namespace: &str, auth: &str) -> Client {
        let peer = self.session();
        self.enter_namespace(peer, namespace, auth)
    }

    /// The client of this connection joins a namespace.
    #[track_caller]
    fn enter_namespace(&mut self, peer: Number, namespace: &str, auth: &str) -> Client {
        let prefix = if namespace == "/" { String::new() } else { format!("{namespace},") };
        self.text(peer, &format!("40{prefix}{auth}"));
        self.joined(peer, namespace)
    }

    /// A session over WebSocket that asks for the main namespace. The answer is not taken.
    #[track_caller]
    fn ask(&mut self, auth: &str) -> Number {
        let peer = self.session();
        self.text(peer, &format!("40{auth}"));
        peer
    }

    /// Takes the answer to a CONNECT.
    #[track_caller]
    fn joined(&mut self, peer: Number, namespace: &str) -> Client {
        let prefix = if namespace == "/" { String::new() } else { format!("{namespace},") };
        let answer = self.received(peer);
        let json = answer.strip_prefix(&format!("40{prefix}")).unwrap_or_else(|| panic!("refused: {answer}"));
        client(peer, json)
    }

    /// A client that polls, in the main namespace.
    #[track_caller]
    fn join_polling(&mut self) -> (Polling, Client) {
        let session = self.open();
        self.posted(&session, "40");
        let answer = self.polled(&session);
        let joined = client(session.get, answer.strip_prefix("40").expect("it is connected"));
        (session, joined)
    }

    /// The socket of a client in the main namespace.
    #[track_caller]
    fn socket(&mut self, client: &Client) -> Socket {
        let io = self.io;
        self.enter(|lp| io.socket(lp, &client.id)).expect("it is connected")
    }

    /// Waits for these lines of the story and for nothing after them, and forgets the story.
    #[track_caller]
    fn expect_story(&mut self, want: &[&str]) {
        let story = self.story.0.clone();
        self.talk.until("the story", |_| story.borrow().len() >= want.len());
        self.talk.settle();
        assert_eq!(*story.borrow(), want);
        story.borrow_mut().clear();
    }
}

/// The client of an answer to CONNECT.
fn client(peer: Number, answer: &str) -> Client {
    let answer: serde_json::Value = serde_json::from_str(answer).expect("JSON");
    let pid = answer["pid"].as_str().map(str::to_owned);
    Client { peer, id: answer["sid"].as_str().expect("an id").to_owned(), pid }
}

impl Deref for Site {
    type Target = Talk;

    fn deref(&self) -> &Talk {
        &self.talk
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Talk {
        &mut self.talk
    }
}
