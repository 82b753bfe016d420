//! Servers that are no Redis, or that stop answering.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use bucle::EventLoop;

use crate::redis_server::free_port;
use crate::{Story, open, options, until_told};

/// A server that sends `answer` on each connection, and then nothing.
fn server_that_sends(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let _ = stream.write_all(answer);
                while stream.read(&mut [0; 1024]).is_ok_and(|len| len > 0) {}
            });
        }
    });
    port
}

fn first_line(port: u16) -> String {
    let story = Story::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    let link = event_loop.enter(|lp| open(lp, options(port), &story));
    crate::until(&mut event_loop, "a loss", |_| !story.borrow().is_empty());
    event_loop.enter(|lp| link.close(lp));
    event_loop.run().expect("the loop ends");
    story.borrow()[0].clone()
}

#[test]
fn the_error_names_what_is_wrong() {
    assert_eq!(first_line(free_port()), "lost ECONNREFUSED");
    assert_eq!(first_line(server_that_sends(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "lost E_REDIS_PROTOCOL");
    assert_eq!(first_line(server_that_sends(b"-LOADING Redis is loading\r\n")), "lost E_REDIS_LOADING");
    assert_eq!(first_line(server_that_sends(b"-ERR max number of clients reached\r\n")), "lost E_REDIS_REFUSED");
}

#[test]
fn a_reply_that_belongs_to_no_command_is_an_error() {
    let story = Story::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    let port = server_that_sends(b"+PONG\r\n+PONG\r\n+PONG\r\n");
    event_loop.enter(|lp| open(lp, options(port), &story));
    // The link is ready first, if the connection that subscribes is greeted before the other one.
    until_told(&mut event_loop, &story, "lost E_REDIS_PROTOCOL");
}

#[test]
fn a_server_that_stops_answering_is_lost() {
    assert_eq!(first_line(server_that_sends(b"")), "lost ETIMEDOUT");
    // It becomes ready, and is silent from then on.
    let story = Story::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| open(lp, options(server_that_sends(b"+PONG\r\n")), &story));
    until_told(&mut event_loop, &story, "lost ETIMEDOUT");
    assert_eq!(story.borrow()[0], "ready");
}

#[test]
fn commands_for_a_server_that_does_not_read_are_dropped_beyond_the_limit() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let (sender, connections) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.write_all(b"+PONG\r\n").expect("it reads");
            // It stays open until the end of the test.
            sender.send(stream).expect("the test waits");
        }
    });
    let story = Story::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    let mut options = options(port);
    options.ping_interval = crate::LIMIT;
    options.max_waiting = 1024 * 1024;
    let link = event_loop.enter(|lp| open(lp, options, &story));
    until_told(&mut event_loop, &story, "ready");
    // The buffers of the kernel take some of it.
    crate::until(&mut event_loop, "a command is dropped", |lp| {
        link.publish(lp, "news", [0; 64 * 1024]);
        link.statistics(lp).expect("it is open").dropped > 0
    });
    event_loop.enter(|lp| {
        for _ in 0..1000 {
            assert!(!link.publish(lp, "news", [0; 1024 * 1024]));
        }
        let queued = lp.metrics().queued_bytes;
        assert!(queued < 1_200_000, "{queued}");
        let queued = link.queued_bytes(lp);
        assert!((900_000..=1024 * 1024).contains(&queued), "{queued}");
    });
    drop(connections);
}
