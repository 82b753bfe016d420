use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::net::simulated::Kernel;
use crate::net::{SocketOptions, on};
use crate::{EventLoop, ManualClock};

type Log = Rc<RefCell<Vec<String>>>;

fn addresses(texts: &str) -> Vec<SocketAddr> {
    texts.split_whitespace().map(|text| literal(text, 80, "connect").unwrap().unwrap()).collect()
}

#[test]
fn families_alternate_and_each_address_is_tried_once() {
    let table = [
        ("both", "::1 ::2 1.1.1.1", "::1 1.1.1.1 ::2"),
        ("four first", "1.1.1.1 1.1.1.2 ::1", "1.1.1.1 ::1 1.1.1.2"),
        ("one family", "::1 ::2", "::1 ::2"),
        ("equal ones", "::1 1.1.1.1 ::1 1.1.1.1 ::2", "::1 1.1.1.1 ::2"),
        ("none", "", ""),
    ];
    for (name, given, want) in table {
        assert_eq!(alternate_families(addresses(given)), addresses(want), "{name}");
    }
}

#[test]
fn only_the_first_address_of_a_given_family_is_tried() {
    let table = [
        ("any", "::1 1.1.1.1", None, "::1 1.1.1.1"),
        ("four", "::1 1.1.1.1 1.1.1.2", Some(Family::V4), "1.1.1.1"),
        ("six", "1.1.1.1 ::1", Some(Family::V6), "::1"),
    ];
    for (name, given, family, want) in table {
        assert_eq!(only_family(addresses(given), family, "name"), Ok(addresses(want)), "{name}");
    }
    let none = only_family(addresses("::1"), Some(Family::V4), "name").map_err(|error| error.to_string());
    assert_eq!(none, Err("getaddrinfo ENOTFOUND name".to_owned()));
}

#[test]
fn a_name_without_an_address_of_the_family_is_not_found() {
    let log = Log::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let kernel = Kernel::default();
        kernel.set_addresses(vec!["127.0.0.1".parse().expect("an address")]);
        lp.simulate(kernel);
        let (looked_up, failed) = (log.clone(), log.clone());
        let handler = on()
            .lookup(move |_, _, result| looked_up.borrow_mut().push(format!("{result:?}")))
            .error(move |_, _, error| failed.borrow_mut().push(error.to_string()));
        let target = Target::from(("localhost", 80)).family(Family::V6);
        Socket::connect(lp, target, handler).expect("a good target");
    });
    event_loop.run().expect("the poll works");
    assert_eq!(log.take(), ["Err(getaddrinfo ENOTFOUND localhost)", "getaddrinfo ENOTFOUND localhost"]);
}

#[test]
fn on_lookup_gets_every_address_in_the_order_of_the_system() {
    let log = Log::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let kernel = Kernel::default();
        kernel.set_addresses(addresses("::1 ::1 ::2 127.0.0.1").iter().map(SocketAddr::ip).collect());
        lp.simulate(kernel);
        let reported = log.clone();
        let handler = on().lookup(move |_, _, result| reported.borrow_mut().push(format!("{result:?}")));
        let socket = Socket::connect(lp, ("localhost", 80), handler).expect("a good target");
        lp.set_immediate(move |lp| socket.destroy(lp));
    });
    event_loop.run().expect("the poll works");
    assert_eq!(log.take(), ["Ok(::1)", "Ok(::1)", "Ok(::2)", "Ok(127.0.0.1)"]);
}

/// Options that are set while the socket connects hold for this connection and for the next one.
#[cfg(target_os = "linux")]
#[test]
fn options_set_while_connecting_hold_for_the_connection() {
    let (minute, second) = (Duration::from_secs(60), Duration::from_secs(1));
    for enable in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = Target::from(listener.local_addr().expect("it is bound"));
        let mut event_loop = EventLoop::new().expect("a loop");
        let connected = Rc::new(Cell::new(0));
        event_loop.enter(|lp| {
            let (seen, again) = (connected.clone(), target.clone());
            let handler = on()
                .connect(move |lp, socket| {
                    lp.net.socket(socket).expect("it is there").stream.with_tcp(|socket| {
                        assert_eq!((socket.tcp_nodelay()?, socket.keepalive()?), (enable, enable));
                        assert_eq!(socket.tcp_user_timeout()?, enable.then_some(second));
                        seen.set(seen.get() + 1);
                        Ok(())
                    });
                    socket.destroy(lp);
                })
                .close({
                    let seen = connected.clone();
                    move |lp, socket, _| {
                        if seen.get() == 1 {
                            socket.connect_to(lp, again.clone()).expect("it is closed");
                        }
                    }
                });
            let options = SocketOptions {
                no_delay: !enable,
                keep_alive: !enable,
                keep_alive_initial_delay: minute,
                user_timeout: if enable { Duration::ZERO } else { second },
                urgent_in_line: !enable,
                ..SocketOptions::default()
            };
            let socket = Socket::new(lp, options, handler);
            socket.connect_to(lp, target).expect("a good target");
            lp.next_tick(move |lp| {
                let state = lp.net.socket(socket).expect("it is there");
                assert!(state.is(CONNECTING) && state.stream.is_tcp(), "the call is under way");
                socket.set_no_delay(lp, enable);
                socket.set_keep_alive(lp, enable, minute);
                socket.set_user_timeout(lp, if enable { second } else { Duration::ZERO });
                socket.set_urgent_in_line(lp, enable);
            });
        });
        event_loop.run().expect("the poll works");
        assert_eq!(connected.get(), 2);
    }
}

/// A peer that never answers. As in Node a write that waits for the connection is no activity.
#[test]
fn a_write_while_connecting_does_not_put_off_the_idle_limit() {
    let ms = Duration::from_millis;
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
    let fired = Rc::new(Cell::new(0));
    let seen = fired.clone();
    let socket = event_loop.enter(|lp| {
        lp.simulate(Kernel::default());
        let options = SocketOptions { timeout: ms(100), ..SocketOptions::default() };
        let socket = Socket::new(lp, options, on().timeout(move |_, _| seen.set(seen.get() + 1)));
        socket.connect_to(lp, ("127.0.0.1", 23)).expect("a good target");
        socket
    });
    let mut after = |time, write: fn(&mut Loop, Socket)| {
        clock.advance(time);
        event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        event_loop.enter(|lp| write(lp, socket));
        fired.get()
    };
    assert_eq!(after(ms(50), |lp, socket| _ = socket.write(lp, "hola")), 0);
    assert_eq!(after(ms(49), |lp, socket| _ = socket.write_then(lp, "", |_, _| {})), 0);
    assert_eq!(after(ms(1), |lp, socket| _ = socket.write(lp, "adios")), 1, "counted from the connect");
    assert_eq!(after(ms(1000), |_, _| {}), 1, "nor does a write start a limit again that has fired");
}
