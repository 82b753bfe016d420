//! The end of an inspector: it takes away what it has set, and nothing else.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use bucle::inspect::{self, Inspector, Options};
use bucle::trace::{Decision, Gate, Next};
use bucle::{EventLoop, Loop};

fn start(lp: &mut Loop) -> bucle::Result<Inspector> {
    inspect::start(lp, Options { address: ([127, 0, 0, 1], 0).into(), ..Options::default() })
}

#[test]
fn an_inspector_can_be_stopped() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        bucle::run(|lp| {
            let options = Options { address: ([127, 0, 0, 1], 0).into(), ..Options::default() };
            let inspector = bucle::inspect::start(lp, options)?;
            sender.send(inspector.address()).expect("it is awaited");
            lp.set_timeout(Duration::from_millis(1), move |lp| {
                inspector.stop(lp);
                assert!(lp.take_gate().is_none() && lp.trace().is_none());
            });
            Ok(())
        })
    });
    let address = receiver.recv().expect("it starts");
    thread.join().expect("no panic").expect("it runs");
    assert!(std::net::TcpStream::connect(address).is_err(), "nothing listens there");
}

#[test]
fn what_the_program_records_and_measures_goes_on_behind_an_inspector() {
    bucle::run(|lp| {
        lp.start_trace(64);
        lp.time_phases(true);
        let inspector = start(lp)?;
        let again = inspector.clone();
        inspector.stop(lp);
        again.stop(lp);
        assert!(lp.trace().is_some(), "the program records");
        let before = lp.metrics().phases;
        lp.set_immediate(move |lp| {
            lp.set_immediate(move |lp| assert!(lp.metrics().phases > before, "the program measures"));
        });
        Ok(())
    })
    .expect("it runs");
}

#[test]
fn an_inspector_that_was_stopped_measures_nothing() {
    bucle::run(|lp| {
        let inspector = start(lp)?;
        inspector.stop(lp);
        let before = lp.metrics().phases;
        lp.set_immediate(move |lp| {
            lp.set_immediate(move |lp| assert_eq!(lp.metrics().phases, before));
        });
        Ok(())
    })
    .expect("it runs");
}

#[test]
fn a_second_inspector_stops_the_first_one_and_is_not_stopped_by_it() {
    bucle::run(|lp| {
        let (first, second) = (start(lp)?, start(lp)?);
        let is_served = |inspector: &Inspector| std::net::TcpStream::connect(inspector.address()).is_ok();
        assert!(!is_served(&first) && is_served(&second));
        first.stop(lp);
        assert!(lp.trace().is_some() && is_served(&second));
        second.stop(lp);
        assert!(lp.trace().is_none() && lp.take_gate().is_none(), "nothing observes the loop");
        Ok(())
    })
    .expect("it runs");
}

/// A gate that holds nothing.
struct Passes(EventLoop);

impl Gate for Passes {
    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
    fn max_wait(&mut self) -> Option<Duration> {
        self.0.next_wait()
    }
    fn turn(&mut self, max_wait: Option<Duration>) {
        self.0.turn(max_wait).expect("its poll works");
    }
    fn decide(&mut self, _: &Loop, _: Option<&Next>) -> Decision {
        Decision::Pass
    }
}

#[test]
fn a_gate_that_the_program_has_set_since_stays() {
    bucle::run(|lp| {
        let inspector = start(lp)?;
        lp.set_gate(Passes(EventLoop::new()?))?;
        inspector.stop(lp);
        assert!(lp.trace().is_none());
        assert!(lp.take_gate().is_some());
        Ok(())
    })
    .expect("it runs");
}
