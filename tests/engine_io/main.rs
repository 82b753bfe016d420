//! Engine.IO over real connections. The other side is a socket of the standard library and sends bytes by hand.

#![cfg(feature = "socket-io")]

mod heartbeat;
mod polling;
mod refused;
#[path = "../support/engine_io.rs"]
mod talk;
mod upgrade;
#[path = "../websocket/wire.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod wire;

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use bucle::Loop;
use bucle::engine_io::{
    self, Attached, CloseReason, ConnectionError, Engine, Handler, Message, NotFound, Opening, Options, Session,
};
use bucle::http::{HeaderMap, Http, Request};
use bucle::net::Server;
use talk::Talk;

/// Writes every event into the story, and sends every message back that does not begin with `quiet`.
#[derive(Default)]
struct Scribe {
    story: Rc<RefCell<Vec<String>>>,
    sessions: Rc<RefCell<Vec<Session>>>,
}

impl Scribe {
    fn note(&self, session: Session, what: impl AsRef<str>) {
        let number = self.sessions.borrow().iter().position(|other| *other == session);
        let number = number.expect("it was opened");
        self.story.borrow_mut().push(format!("{number} {}", what.as_ref()));
    }
}

impl Handler for Scribe {
    fn allow_request(&mut self, _: &mut Loop, request: &Request) -> Result<(), String> {
        match request.header("x-refuse") {
            Some(message) => Err(message.to_owned()),
            None => Ok(()),
        }
    }
    fn on_headers(&mut self, _: &mut Loop, headers: &mut HeaderMap, _: &Request, is_initial: bool) {
        headers.insert("x-initial", if is_initial { "yes" } else { "no" }.parse().expect("a value"));
    }
    fn on_open(&mut self, lp: &mut Loop, session: Session, opening: Opening<'_>) {
        assert!(opening.address.is_some_and(|address| address.ip().is_loopback()));
        assert!(session.is_open(lp));
        self.sessions.borrow_mut().push(session);
        self.note(session, "open");
    }
    fn on_message(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {
        assert!(session.is_open(lp), "no message comes after the end");
        match message {
            Message::Text(text) => {
                self.note(session, text);
                match text {
                    "close" => return session.close(lp),
                    "panic" => panic!("on purpose"),
                    text if text.starts_with("quiet") => return,
                    _ => {}
                }
            }
            Message::Binary(bytes) => self.note(session, format!("binary {}", bytes.escape_ascii())),
        }
        session.send(lp, message);
    }
    fn on_upgrade(&mut self, lp: &mut Loop, session: Session) {
        assert_eq!(session.transport(lp), Some(engine_io::Transport::WebSocket));
        self.note(session, "upgrade");
    }
    fn on_drain(&mut self, _: &mut Loop, session: Session) {
        self.note(session, "drain");
    }
    fn on_close(&mut self, lp: &mut Loop, session: Session, reason: CloseReason, description: &'static str) {
        assert!(!session.is_open(lp));
        assert!(!session.send(lp, "too late"));
        session.close(lp);
        self.note(session, format!("close {reason}: {description}").trim_end_matches(": "));
    }
    fn on_connection_error(&mut self, _: &mut Loop, error: &ConnectionError, _: &Request) {
        self.story.borrow_mut().push(format!("refused {error}"));
    }
}

/// A server of sessions, with its story.
struct Site {
    talk: Talk,
    story: Rc<RefCell<Vec<String>>>,
    sessions: Rc<RefCell<Vec<Session>>>,
    server: Server<Http<Attached<Scribe, NotFound>>>,
    engine: Engine<Scribe>,
}

impl Site {
    fn new(options: Options) -> Site {
        let scribe = Scribe::default();
        let (story, sessions) = (scribe.story.clone(), scribe.sessions.clone());
        let mut made = None;
        let talk = Talk::new("/engine.io/", |lp| {
            let (http_options, server_options) =
                (engine_io::http_options(&options), engine_io::server_options(&options));
            let engine = Engine::new(lp, options, scribe);
            let http = Http::new(http_options, engine.attach(NotFound));
            let server = bucle::net::listen_with(lp, ("127.0.0.1", 0), server_options, http).expect("a free port");
            made = Some((server, engine));
            server.port(lp).expect("it is bound")
        });
        let (server, engine) = made.expect("it was made");
        Site { talk, story, sessions, server, engine }
    }

    fn with_defaults() -> Site {
        Site::new(Options::default())
    }

    fn session(&self, number: usize) -> Session {
        self.sessions.borrow()[number]
    }

    /// Waits for these lines of the story and for nothing after them, and forgets the story.
    #[track_caller]
    fn expect_story(&mut self, want: &[&str]) {
        let story = self.story.clone();
        self.talk.until("the story", |_| story.borrow().len() >= want.len());
        self.talk.settle();
        assert_eq!(*story.borrow(), want);
        story.borrow_mut().clear();
    }

    fn send(&mut self, number: usize, text: &str) -> bool {
        let session = self.session(number);
        self.talk.enter(|lp| session.send(lp, text))
    }

    /// Checks that the engine holds nothing.
    #[track_caller]
    fn expect_empty(&mut self) {
        self.talk.settle();
        let engine = self.engine;
        assert_eq!(self.talk.enter(|lp| (engine.session_count(lp), engine.sessions(lp).len())), (0, 0));
    }
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
