//! Regression tests for bugs that random runs and reviews have found, one test for each.
//!
//! In most of them the ledger detects the bug: a socket without its `on_close`, an event after the destroy, a
//! callback that is never called, a slot that is never freed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::ledger::Event;
use super::{Step, World};
use crate::net::simulated::{Answer, Call};
use crate::net::{BACKLOG, Error, Limit, Limits, ServerOptions, SocketOptions, on};

#[test]
fn a_socket_destroyed_at_the_first_address_of_a_name_gets_no_other_lookup() {
    let mut world = World::new();
    world.kernel.set_addresses(vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()]);
    let ledger = world.ledger.clone();
    world.enter(|lp| {
        let client = on().lookup(|lp, socket, _| socket.destroy(lp));
        let socket = ledger.socket(lp, SocketOptions::default(), client);
        ledger.connect_to(lp, socket, ("somewhere", 23)).expect("it is new");
    });
    world.run();
    assert_eq!(world.finish().accounts()[0].events, [Event::Lookup, Event::Close]);
}

#[test]
fn a_socket_destroyed_in_the_poll_that_reports_its_connection_is_not_connected() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    world.remote_server([Step::Accept]);
    let client = world.enter(|lp| {
        let socket = ledger.socket(lp, SocketOptions::default(), on());
        ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
        socket
    });
    world.serve(ServerOptions::default(), on().connection(move |lp, _| client.destroy(lp)));
    // The client connects in the same turn, before the remote server accepts.
    world.client(0, []);
    world.run();
    assert_eq!(world.finish().accounts()[0].events, [Event::Close]);
}

#[test]
fn a_reconnect_that_is_destroyed_immediately_has_its_own_close() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    let is_first = Cell::new(true);
    world.enter(|lp| {
        let again = ledger.clone();
        let client = on().error(|_, _, _| {}).close(move |lp, socket, _| {
            if is_first.replace(false) {
                again.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is closed");
                socket.destroy(lp);
            }
        });
        let socket = ledger.socket(lp, SocketOptions::default(), client);
        ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
    });
    world.run();
    let closes = world.finish().accounts().iter().filter(|account| account.is_closed()).count();
    assert_eq!(closes, 2);
}

#[test]
fn an_unfinished_end_is_not_carried_over_to_a_reconnect() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    let is_first = Cell::new(true);
    let again = ledger.clone();
    world.remote_server([Step::Accept]);
    world.remote_server([Step::Wait, Step::Accept, Step::Wait, Step::Wait]);
    world.enter(|lp| {
        let ends = ledger.clone();
        let client = on()
            .connect(move |lp, socket| {
                let ends = ends.clone();
                // In the check phase, so that the shutdown is not done yet when the close comes.
                lp.set_immediate(move |lp| {
                    ends.end_then(lp, socket, |_| {});
                    socket.destroy(lp);
                });
            })
            .close(move |lp, socket, _| {
                if is_first.replace(false) {
                    again.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is closed");
                }
            });
        let socket = ledger.socket(lp, SocketOptions::default(), client);
        ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
    });
    world.run();
    let accounts = world.finish().accounts();
    assert_eq!(accounts[0].events, [Event::Connect, Event::Ready, Event::Close]);
    assert_eq!(accounts[1].events, [Event::Connect, Event::Ready, Event::Close]);
}

#[test]
fn waiting_writes_are_called_back_and_not_sent_after_a_reconnect() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    let is_first = Cell::new(true);
    let again = ledger.clone();
    world.remote_server([Step::Refuse("ECONNREFUSED")]);
    world.remote_server([Step::Accept, Step::Wait, Step::Fin]);
    world.enter(|lp| {
        let client = on().error(|_, _, _| {}).close(move |lp, socket, _| {
            if is_first.replace(false) {
                again.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is closed");
                again.write(lp, socket, b"new");
            }
        });
        let socket = ledger.socket(lp, SocketOptions::default(), client);
        ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
        ledger.write_then(lp, socket, b"old", |_| {});
        ledger.end_then(lp, socket, |_| {});
    });
    world.run();
    let kernel = world.kernel.clone();
    let accounts = world.finish().accounts();
    assert_eq!(accounts[0].callback_results(), [[Some("another")], [Some("another")]]);
    assert_eq!(accounts[1].peer.map(|peer| kernel.taken(peer)).as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_destroyed_socket_is_not_connected_again_before_its_close() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    let result = Rc::new(Cell::new(None));
    let seen = result.clone();
    world.enter(|lp| {
        let again = ledger.clone();
        let client = on().error(move |lp, socket, _| {
            seen.set(Some(again.connect_to(lp, socket, ("127.0.0.1", 23))));
        });
        let socket = ledger.socket(lp, SocketOptions::default(), client);
        socket.destroy_with(lp, Error::custom("E_TEST", "before it had a connection"));
    });
    world.run();
    assert_eq!(result.take(), Some(Err(Error::AlreadyConnected)));
    assert_eq!(world.finish().accounts()[0].events, [Event::Error, Event::Close]);
}

#[test]
fn an_empty_write_is_called_back_when_the_corked_socket_is_destroyed() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    let corks = on().connection(move |lp, socket| {
        socket.cork(lp);
        ledger.write_then(lp, socket, b"", |_| {});
        socket.destroy(lp);
    });
    world.serve(ServerOptions::default(), corks);
    world.client(0, []);
    world.run();
    assert_eq!(world.finish().accounts()[0].callback_results(), [[Some("destroyed")]]);
}

#[test]
fn every_write_is_called_back_when_the_uncork_fails() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    let corks = on().error(|_, _, _| {}).connection(move |lp, socket| {
        socket.cork(lp);
        for bytes in [&b""[..], b"", b"x", b"y"] {
            ledger.write_then(lp, socket, bytes, |_| {});
        }
        socket.uncork(lp);
    });
    world.serve(ServerOptions::default(), corks);
    world.kernel.set_script(|call| if call == Call::Write { Answer::Fail("EPIPE") } else { Answer::Usual });
    world.client(0, []);
    world.run();
    assert_eq!(world.finish().accounts()[0].callback_results(), [[Some("write")]; 4]);
}

#[test]
fn a_connection_is_accepted_later_after_any_error_of_accept() {
    let mut world = World::new();
    let errors = Rc::new(Cell::new(0));
    let counted = errors.clone();
    let server = on().server_error(move |_, _, _| counted.set(counted.get() + 1));
    world.serve(ServerOptions { timeout: Duration::from_secs(1), ..ServerOptions::default() }, server);
    let has_failed = Cell::new(false);
    world.kernel.set_script(move |call| match call {
        Call::Accept if !has_failed.replace(true) => Answer::Fail("EINVAL"),
        _ => Answer::Usual,
    });
    world.client(0, [Step::Wait]);
    world.run();
    let accounts = world.finish().accounts();
    assert_eq!((errors.get(), accounts.len()), (1, 1));
}

#[test]
fn the_write_timeout_applies_to_writes_before_the_connection() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    world.remote_server([Step::Window(1), Step::Accept]);
    let error = Rc::new(RefCell::new(None));
    let seen = error.clone();
    world.enter(|lp| {
        let client = on().error(move |_, _, error| drop(seen.replace(Some(error.clone()))));
        let socket = ledger.socket(lp, SocketOptions::default(), client);
        socket.set_limits(lp, Limits { write_timeout: Duration::from_secs(1), ..Limits::NONE });
        ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
        // The first write is sent immediately; the second one begins to wait then.
        ledger.write(lp, socket, b"x");
        ledger.write_then(lp, socket, &[b'y'; 100], |_| {});
    });
    world.run();
    world.finish();
    let limit = Limit::WriteTimeout(Duration::from_secs(1));
    assert_eq!(*error.borrow(), Some(Error::TooSlow { waiting: 100, limit }));
}

#[test]
fn a_failed_flush_does_not_call_back_before_it_returns() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    let flushes = on().error(|_, _, _| {}).connection(move |lp, socket| {
        let is_inside = Rc::new(Cell::new(true));
        let seen = is_inside.clone();
        ledger.write(lp, socket, b"x");
        ledger.end_then(lp, socket, move |_| assert!(!seen.get(), "called inside the call"));
        socket.flush(lp);
        is_inside.set(false);
    });
    world.serve(ServerOptions::default(), flushes);
    world.kernel.set_script(|call| if call == Call::Write { Answer::Fail("EPIPE") } else { Answer::Usual });
    world.client(0, []);
    world.run();
    assert_eq!(world.finish().accounts()[0].callback_results(), [[Some("write")]]);
}

#[test]
fn a_write_uncorked_before_the_connection_does_not_wait_for_a_later_cork() {
    let mut world = World::new();
    let (kernel, ledger) = (world.kernel.clone(), world.ledger.clone());
    world.remote_server([Step::Accept]);
    world.enter(|lp| {
        let socket = ledger.socket(lp, SocketOptions::default(), on());
        ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
        socket.cork(lp);
        socket.uncork(lp);
        socket.cork(lp);
        ledger.write_then(lp, socket, b"a", move |lp| {
            assert_eq!(kernel.taken(kernel.peers()[0]), b"a");
            socket.uncork(lp);
        });
        socket.uncork(lp);
        socket.cork(lp);
        ledger.write_then(lp, socket, b"b", |_| {});
    });
    world.run();
    assert_eq!(world.finish().accounts()[0].callback_results(), [[None], [None]]);
}

#[test]
fn after_a_failed_write_only_waiting_bytes_count_as_waiting() {
    let mut world = World::new();
    let (kernel, ledger) = (world.kernel.clone(), world.ledger.clone());
    let fails = on().error(|_, _, _| {}).connection(move |lp, socket| {
        ledger.write(lp, socket, &[b'x'; 5000]);
        socket.flush(lp);
        kernel.set_script(|call| if call == Call::Write { Answer::Fail("EPIPE") } else { Answer::Usual });
        ledger.write(lp, socket, b"y");
        ledger.write(lp, socket, &[b'z'; 100_000]);
        assert_eq!(socket.writable_length(lp), 1);
    });
    world.serve(ServerOptions::default(), fails);
    world.client(0, []);
    world.run();
    world.finish();
}

#[test]
fn the_waiting_bytes_of_a_destroyed_socket_are_those_not_sent() {
    let mut world = World::new();
    let (kernel, ledger) = (world.kernel.clone(), world.ledger.clone());
    let leaves = on().connection(move |lp, socket| {
        ledger.write(lp, socket, &[b'x'; 50_000]);
        assert_eq!(socket.unsent_length(lp), 0);
        ledger.write(lp, socket, &[b'y'; 5000]);
        kernel.set_script(|call| if call == Call::Write { Answer::Fail("EAGAIN") } else { Answer::Usual });
        socket.destroy(lp);
        assert_eq!((socket.writable_length(lp), socket.unsent_length(lp)), (5000, 5000));
        assert_eq!(lp.metrics().queued_bytes, 5000);
    });
    world.serve(ServerOptions::default(), leaves);
    world.client(0, [Step::Window(usize::MAX)]);
    world.run();
    world.finish();
}

#[test]
fn a_fast_reader_gets_at_most_a_mebibyte_a_turn() {
    let mut world = World::new();
    let (kernel, ledger) = (world.kernel.clone(), world.ledger.clone());
    let sends = on().connection(move |lp, socket| {
        ledger.write_then(lp, socket, &[b'x'; 3 << 20], |_| {});
        assert_eq!(kernel.taken_len(kernel.peers()[0]), 1 << 20);
        socket.end(lp);
    });
    world.serve(ServerOptions::default(), sends);
    world.kernel.set_script(|call| if call == Call::Write { Answer::Short(1 << 16) } else { Answer::Usual });
    world.client(0, [Step::Window(usize::MAX)]);
    world.run();
    let kernel = world.kernel.clone();
    assert_eq!(world.finish().accounts()[0].callback_results(), [[None]]);
    assert_eq!(kernel.taken_len(kernel.peers()[0]), 3 << 20);
}

#[test]
fn a_socket_flushed_many_times_is_on_the_unsent_list_once() {
    let mut world = World::new();
    let ledger = world.ledger.clone();
    let flushes = on().connection(move |lp, socket| {
        for _ in 0..100 {
            ledger.write(lp, socket, b"x");
            socket.flush(lp);
        }
        assert_eq!(lp.holdings().unsent, 1);
    });
    world.serve(ServerOptions::default(), flushes);
    world.client(0, []);
    world.run();
    world.finish();
}

#[test]
fn a_failing_accept_is_retried_by_one_timer_however_many_connections_wait() {
    const STEP: Duration = Duration::from_millis(5);
    let mut world = World::new();
    let errors = Rc::new(Cell::new(0));
    let counted = errors.clone();
    world.serve(ServerOptions::default(), on().server_error(move |_, _, _| counted.set(counted.get() + 1)));
    world.kernel.set_script(|call| if call == Call::Accept { Answer::Fail("EINVAL") } else { Answer::Usual });
    for step in 0..200 {
        if step < 10 {
            world.kernel.incoming_connection(0).expect("it listens");
        }
        world.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        world.clock.advance(STEP);
    }
    // One immediately, and at most one every 50 ms of the second.
    assert!((2..=21).contains(&errors.get()), "{} errors", errors.get());
    world.kernel.set_script(|_| Answer::Usual);
    world.run();
    assert_eq!(world.finish().accounts().len(), 10);
}

#[test]
fn an_accept_that_always_fails_does_not_spin() {
    let mut world = World::new();
    let (errors, accepts) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (counted, tried) = (errors.clone(), accepts.clone());
    world.serve(ServerOptions::default(), on().server_error(move |_, _, _| counted.set(counted.get() + 1)));
    world.kernel.set_script(move |call| match call {
        Call::Accept => {
            tried.set(tried.get() + 1);
            Answer::Fail("EPERM")
        }
        _ => Answer::Usual,
    });
    world.kernel.incoming_connection(0).expect("it listens");
    for _ in 0..3 * BACKLOG {
        world.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    assert_eq!((errors.get(), accepts.get()), (1, BACKLOG + 1));
    world.kernel.set_script(|_| Answer::Usual);
    world.run();
    assert_eq!(world.finish().accounts().len(), 1);
}

#[test]
fn a_whole_backlog_may_have_been_reset_before_it_is_accepted() {
    let mut world = World::new();
    let errors = Rc::new(Cell::new(0));
    let counted = errors.clone();
    world.serve(ServerOptions::default(), on().server_error(move |_, _, _| counted.set(counted.get() + 1)));
    let resets = Cell::new(0);
    world.kernel.set_script(move |call| match call {
        Call::Accept if resets.replace(resets.get() + 1) < BACKLOG => Answer::Fail("ECONNABORTED"),
        _ => Answer::Usual,
    });
    for _ in 0..=BACKLOG {
        world.kernel.incoming_connection(0).expect("it listens");
    }
    for _ in 0..=BACKLOG {
        world.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    world.run();
    assert_eq!((errors.get(), world.finish().accounts().len()), (0, 1));
}

#[test]
fn a_writable_event_does_not_stop_reading() {
    let mut world = World::new();
    world.serve(ServerOptions::default(), on());
    // The FIN is in the same event as the data, and is read in the turn after it.
    let peer = world.kernel.incoming_connection(0).expect("it listens");
    world.kernel.send(peer, b"hola");
    world.kernel.fin(peer);
    let polls = Cell::new(0);
    world.kernel.set_script(move |call| match call {
        Call::Poll if polls.replace(polls.get() + 1) % 2 == 1 => Answer::Writable,
        _ => Answer::Usual,
    });
    for _ in 0..10 {
        world.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    let want = [Event::Connection, Event::Data, Event::End, Event::Finish, Event::Close];
    assert_eq!(world.ledger.accounts()[0].events, want);
    world.kernel.set_script(|_| Answer::Usual);
    world.run();
    world.finish();
}

#[test]
fn a_reset_behind_data_is_an_error_and_not_an_end() {
    let mut world = World::new();
    world.serve(ServerOptions::default(), on().error(|_, _, _| {}));
    let peer = world.kernel.incoming_connection(0).expect("it listens");
    world.kernel.send(peer, b"hola");
    world.kernel.reset(peer, "ECONNRESET");
    world.run();
    assert_eq!(world.finish().accounts()[0].events, [Event::Connection, Event::Data, Event::Error, Event::Close]);
}

#[test]
fn bytes_put_back_come_as_a_separate_chunk() {
    let mut world = World::new();
    let chunks = Rc::new(RefCell::new(Vec::new()));
    let (seen, ledger) = (chunks.clone(), world.ledger.clone());
    let reader = on().data(move |lp, socket, chunk| {
        seen.borrow_mut().push(String::from_utf8_lossy(chunk).into_owned());
        if seen.borrow().len() == 1 {
            ledger.unshift(lp, socket, 1);
            socket.pause(lp);
            lp.set_timeout(Duration::from_secs(1), move |lp| socket.resume(lp));
        }
    });
    world.serve(ServerOptions::default(), reader);
    let accepted = [Step::Wait, Step::Wait, Step::Wait];
    let steps = [Step::Send(b"ab".to_vec()), Step::Wait, Step::Send(b"c".to_vec()), Step::Fin];
    world.client(0, accepted.into_iter().chain(steps).collect::<Vec<_>>());
    world.run();
    assert_eq!(*chunks.borrow(), ["ab", "b", "c"]);
    world.finish();
}

#[test]
fn a_write_corked_before_connect_to_is_sent_after_the_connection() {
    let mut world = World::new();
    let (kernel, ledger) = (world.kernel.clone(), world.ledger.clone());
    world.remote_server([Step::Accept]);
    world.enter(|lp| {
        let socket = ledger.socket(lp, SocketOptions::default(), on());
        socket.cork(lp);
        ledger.write_then(lp, socket, b"a", move |_| assert_eq!(kernel.taken(kernel.peers()[0]), b"a"));
        ledger.connect_to(lp, socket, ("127.0.0.1", 23)).expect("it is new");
        socket.uncork(lp);
    });
    world.run();
    assert_eq!(world.finish().accounts()[0].callback_results(), [[None]]);
}

/// As in Node: what was read while the socket was paused is delivered by `resume`, although a destroy follows it.
#[test]
fn a_destroyed_socket_delivers_what_it_has_read_and_nothing_after_its_error() {
    for error in [None, Some(Error::custom("E_TEST", "for the test"))] {
        let mut world = World::new();
        world.client(0, [Step::Send(b"abc".to_vec())]);
        let handler = on().connection(move |lp, socket| {
            let error = error.clone();
            socket.pause(lp);
            lp.set_timeout(Duration::from_millis(100), move |lp| {
                socket.resume(lp);
                match error {
                    Some(error) => socket.destroy_with(lp, error),
                    None => socket.destroy(lp),
                }
            });
        });
        world.serve(ServerOptions::default(), handler);
        world.run();
        let ledger = world.finish();
        let events = &ledger.accounts()[0].events;
        assert!(events.starts_with(&[Event::Connection, Event::Data]), "{events:?}");
        assert_eq!(events.last(), Some(&Event::Close));
    }
}
