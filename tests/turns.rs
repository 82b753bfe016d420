//! How many events one turn takes from the kernel.

use std::cell::Cell;
use std::io::Write;
use std::net::TcpStream;
use std::rc::Rc;

use bucle::EventLoop;
use bucle::net::{self, ServerOptions, on};

#[test]
fn a_turn_takes_at_most_its_limit_of_events() {
    const PEERS: usize = 7;
    let mut event_loop = EventLoop::new().expect("a loop");
    let received = Rc::new(Cell::new(0));
    let counter = received.clone();
    let handler = on().data(move |_, _, chunk| counter.set(counter.get() + chunk.len()));
    let server = event_loop.enter(|lp| {
        let options = ServerOptions { accepts_per_turn: PEERS, ..ServerOptions::default() };
        net::listen_with(lp, ("127.0.0.1", 0), options, handler).expect("a port")
    });
    let port = event_loop.enter(|lp| server.port(lp)).expect("it is bound");
    let mut peers: Vec<TcpStream> =
        (0..PEERS).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it listens")).collect();
    while event_loop.enter(|lp| server.connections(lp)) < PEERS {
        event_loop.turn(None).expect("the poll works");
    }
    event_loop.events_per_turn(2);
    peers.iter_mut().for_each(|peer| peer.write_all(b"x").expect("it reads"));
    let mut turns = 0;
    while received.get() < PEERS {
        let before = received.get();
        assert!(event_loop.turn(None).expect("the poll works").events <= 2);
        assert!(received.get() - before <= 2);
        turns += 1;
    }
    assert!(turns >= PEERS.div_ceil(2));
    event_loop.events_per_turn(0);
    peers[0].write_all(b"x").expect("it reads");
    while received.get() == PEERS {
        event_loop.turn(None).expect("the poll works");
    }
}
