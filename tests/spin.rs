//! A loop that spins for a while before it sleeps, and a loop that does not.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bucle::EventLoop;
use bucle::net::{self, on};

/// Much longer than a round trip, so that a loop that spins this long never sleeps between two of them.
const LONG: Duration = Duration::from_secs(10);

const ROUND_TRIPS: u64 = 100;

/// How often this thread has gone to sleep (proc(5)).
fn sleeps() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

/// How often a server slept while it answered one message after the other.
fn sleeps_of_a_server_that_spins(spin: Duration) -> u64 {
    let (port_sender, port) = mpsc::channel();
    let server = thread::spawn(move || {
        let mut event_loop = EventLoop::new().expect("a poll");
        event_loop.spin(spin);
        let port = event_loop.enter(|lp| {
            let echo = on()
                .data(|lp, socket, chunk| {
                    socket.write(lp, chunk);
                })
                .close(|lp, _, _| lp.stop());
            let server = net::listen(lp, ("127.0.0.1", 0), echo)?;
            server.id().address(lp).and_then(|address| address.port()).ok_or(bucle::Error::Gone)
        });
        port_sender.send(port.expect("it listens")).expect("the client waits for it");
        let before = sleeps();
        event_loop.run().expect("it polls");
        sleeps() - before
    });
    let mut client = TcpStream::connect(("127.0.0.1", port.recv().expect("a port"))).expect("it listens");
    client.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    for _ in 0..ROUND_TRIPS {
        client.write_all(b"hola").expect("it reads");
        let mut answer = [0; 4];
        client.read_exact(&mut answer).expect("it answers");
        // A loop that does not spin gets the time to fall asleep.
        thread::sleep(Duration::from_millis(1));
    }
    drop(client);
    server.join().expect("no panic")
}

#[test]
fn a_loop_that_spins_does_not_sleep_between_messages() {
    let asleep = sleeps_of_a_server_that_spins(Duration::ZERO);
    assert!(asleep >= ROUND_TRIPS / 2, "{asleep}");
    let awake = sleeps_of_a_server_that_spins(LONG);
    assert!(awake <= ROUND_TRIPS / 10, "{awake}");
}

#[test]
fn a_loop_that_spins_still_runs_its_timers() {
    let mut event_loop = EventLoop::new().expect("a poll");
    event_loop.spin(Duration::from_secs(3600));
    let fired = std::rc::Rc::new(std::cell::Cell::new(0));
    let counter = fired.clone();
    event_loop.enter(|lp| {
        lp.set_timeout(Duration::from_millis(5), move |lp| {
            counter.set(counter.get() + 1);
            let counter = counter.clone();
            lp.set_timeout(Duration::from_millis(5), move |_| counter.set(counter.get() + 1));
        });
    });
    event_loop.run().expect("it polls");
    assert_eq!(fired.get(), 2);
}
