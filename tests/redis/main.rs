//! The link to Redis: to a real server, and to servers that misbehave.

#![cfg(feature = "redis")]

mod bad_servers;
mod link;
#[path = "../support/events.rs"]
mod net_events;
#[path = "../support/redis_server.rs"]
mod redis_server;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::redis::{Link, Options};
use bucle::{EventLoop, Loop};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

/// The events so far, one line for each.
type Story = Rc<RefCell<Vec<String>>>;

#[test]
fn the_file_that_forwards_implements_every_event() {
    net_events::assert_that_all_are_forwarded("src/redis/forward.rs");
}

/// Options for a server on this port, with short times.
fn options(port: u16) -> Options {
    let mut options = Options {
        ping_interval: Duration::from_millis(100),
        min_delay: Duration::from_millis(10),
        max_delay: Duration::from_millis(50),
        ..Options::default()
    };
    options.address.port = port;
    options
}

/// A link whose changes go to the story: `ready`, and `lost` with the code.
fn open(lp: &mut Loop, options: Options, story: &Story) -> Link {
    let link = Link::open(lp, options);
    let (ready, lost) = (story.clone(), story.clone());
    link.on_ready(lp, move |_| ready.borrow_mut().push("ready".to_owned()));
    link.on_lost(lp, move |_, error| lost.borrow_mut().push(format!("lost {}", error.code())));
    link
}

/// Turns the loop until something is true.
fn until(event_loop: &mut EventLoop, what: &str, mut is_true: impl FnMut(&mut Loop) -> bool) {
    let begin = Instant::now();
    while !event_loop.enter(&mut is_true) {
        assert!(begin.elapsed() < LIMIT, "this has not come: {what}");
        event_loop.turn(Some(Duration::from_millis(20))).expect("a turn");
    }
}

/// Turns the loop until the story has this line.
fn until_told(event_loop: &mut EventLoop, story: &Story, line: &str) {
    until(event_loop, line, |_| story.borrow().iter().any(|other| other == line));
}
