//! `Shared` holds any state, lends it to one caller at a time, and becomes a handler where one is expected.

use std::net::TcpStream;
use std::rc::Rc;

use bucle::net::{self, Handler, Server, Shared, Socket, on};
use bucle::{EventLoop, Loop};

/// Plain data, no handler.
#[derive(Default, Debug, PartialEq)]
struct Score(u32);

/// State that is a handler, too: it counts connections.
#[derive(Default)]
struct Counter {
    connections: usize,
    /// Its count shows when the state is dropped.
    _owned: Rc<()>,
}

impl Handler for Counter {
    fn on_connection(&mut self, _: &mut Loop, _: Socket) {
        self.connections += 1;
    }
}

/// Connects one client to `server` and turns the loop until `is_done`.
fn visit<H: Handler>(event_loop: &mut EventLoop, server: Server<H>, is_done: impl Fn(&mut Loop) -> bool) {
    let port = event_loop.enter(|lp| server.port(lp)).expect("it is bound");
    let _client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    while !event_loop.enter(&is_done) {
        event_loop.turn(None).expect("the poll works");
    }
}

#[test]
fn plain_state_is_lent_and_keeps_changes() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let score = Shared::new(lp, Score(1));
        assert_eq!(score.with(lp, |score, _| std::mem::replace(score, Score(2))), Some(Score(1)));
        assert_eq!(score.with(lp, |score, _| score.0), Some(2));
    });
}

#[test]
fn two_states_can_be_lent_inside_each_other_and_the_same_one_cannot() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let score = Shared::new(lp, Score(1));
        let other_score = Shared::new(lp, Score(10));
        let names = Shared::new(lp, vec!["ana".to_owned()]);
        let sum = names.with(lp, |names, lp| {
            names.push("bo".to_owned());
            score.with(lp, |score_lent, lp| {
                assert_eq!(score.with(lp, |_, _| ()), None, "it is lent already");
                let other = other_score.with(lp, |other, _| other.0).expect("another one of the same type");
                score_lent.0 += 1;
                score_lent.0 + other + names.len() as u32
            })
        });
        assert_eq!(sum, Some(Some(14)));
        assert_eq!(score.with(lp, |score, _| score.0), Some(2), "it is back");
    });
}

#[test]
fn plain_state_is_dropped_at_release_or_when_it_comes_back_or_with_the_loop() {
    let owned = Rc::new(());
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let released = Shared::new(lp, owned.clone());
        released.release(lp);
        assert_eq!(Rc::strong_count(&owned), 1);
        assert_eq!(released.with(lp, |_, _| ()), None);
        let lent = Shared::new(lp, owned.clone());
        let next = lent.with(lp, |_, lp| {
            lent.release(lp);
            assert_eq!(Rc::strong_count(&owned), 2, "still lent");
            // This must not get the slot of the one that is lent.
            Shared::new(lp, Score(7))
        });
        assert_eq!(Rc::strong_count(&owned), 1);
        assert_eq!(lent.with(lp, |_, _| ()), None);
        assert_eq!(next.and_then(|next| next.with(lp, |score, _| score.0)), Some(7));
        Shared::new(lp, owned.clone());
    });
    assert_eq!(Rc::strong_count(&owned), 2);
    drop(event_loop);
    assert_eq!(Rc::strong_count(&owned), 1);
}

#[test]
fn one_plain_state_serves_the_handlers_of_several_servers() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (score, servers) = event_loop.enter(|lp| {
        let score = Shared::new(lp, Score(0));
        let servers = [1, 10].map(|points| {
            let handler = on().connection(move |lp, _| {
                score.with(lp, |score, _| score.0 += points).expect("nothing else has it");
            });
            net::listen(lp, ("127.0.0.1", 0), handler).expect("a free port")
        });
        (score, servers)
    });
    for (server, sum) in servers.into_iter().zip([1, 11]) {
        visit(&mut event_loop, server, |lp| score.with(lp, |score, _| score.0) == Some(sum));
    }
}

#[test]
fn state_used_as_a_handler_gets_events_and_is_still_lent() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (counter, server) = event_loop.enter(|lp| {
        let counter = Shared::new(lp, Counter::default());
        counter.with(lp, |counter, _| counter.connections = 5);
        (counter, net::listen(lp, ("127.0.0.1", 0), counter).expect("a free port"))
    });
    visit(&mut event_loop, server, |lp| counter.with(lp, |counter, _| counter.connections) == Some(6));
    // The same state by another way: the server's.
    assert_eq!(event_loop.enter(|lp| server.with(lp, |counter, _| counter.connections)), Some(6));
}

#[test]
fn state_used_as_a_handler_while_it_is_lent_gets_events_once_it_is_back() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (counter, server) = event_loop.enter(|lp| {
        let counter = Shared::new(lp, Counter::default());
        let server = counter
            .with(lp, |_, lp| {
                let server = net::listen(lp, ("127.0.0.1", 0), counter).expect("a free port");
                assert_eq!(server.with(lp, |_, _| ()), None, "it is lent");
                server
            })
            .expect("nothing else has it");
        (counter, server)
    });
    visit(&mut event_loop, server, |lp| server.with(lp, |counter, _| counter.connections) == Some(1));
    assert_eq!(event_loop.enter(|lp| counter.with(lp, |counter, _| counter.connections)), Some(1));
}

#[test]
fn state_used_as_a_handler_outlives_its_name_and_not_its_server() {
    let owned = Rc::new(());
    let mut event_loop = EventLoop::new().expect("a loop");
    let (counter, server) = event_loop.enter(|lp| {
        let counter = Shared::new(lp, Counter { _owned: owned.clone(), ..Counter::default() });
        let server = counter.with(lp, |_, lp| {
            let server = net::listen(lp, ("127.0.0.1", 0), counter).expect("a free port");
            counter.release(lp);
            server
        });
        (counter, server.expect("nothing else has it"))
    });
    assert_eq!(event_loop.enter(|lp| counter.with(lp, |_, _| ())), None);
    visit(&mut event_loop, server, |lp| server.with(lp, |counter, _| counter.connections) == Some(1));
    event_loop.enter(|lp| {
        server.sockets(lp).into_iter().for_each(|socket| socket.destroy(lp));
        server.remove(lp);
    });
    event_loop.run().expect("the poll works");
    assert_eq!(Rc::strong_count(&owned), 1);
}

/// A panic inside `with` that the loop catches must not lose the state.
#[test]
fn state_survives_a_caught_panic_of_the_caller() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.catch_panics(true);
    let score = event_loop.enter(|lp| {
        let score = Shared::new(lp, Score(3));
        lp.next_tick(move |lp| {
            score.with(lp, |score, _| {
                score.0 = 4;
                panic!("on purpose");
            });
        });
        score
    });
    event_loop.run().expect("the poll works");
    assert_eq!(event_loop.enter(|lp| score.with(lp, |score, _| score.0)), Some(4));
}
