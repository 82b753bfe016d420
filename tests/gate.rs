//! The gate holds the loop before a callback or a wait, and lets it go on step by step. Time stands still meanwhile.

#![cfg(feature = "trace")]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use bucle::net::{self, On, Socket, on};
use bucle::trace::{Decision, Gate, Kind, Next, Phase, Step};
use bucle::{EventLoop, Loop, ManualClock};

const SECOND: Duration = Duration::from_secs(1);

/// So that a test that fails does not hang.
const GUARD: Duration = Duration::from_secs(30);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Something that happens while the loop is held, between two consultations of the gate.
type Act = Box<dyn FnOnce(&Control)>;

/// The test's side of its gate: what the gate has seen, and what it does next.
#[derive(Default)]
struct Control {
    /// The program's callbacks and the gate's holds, in order.
    log: RefCell<Vec<String>>,
    mode: Cell<Mode>,
    acts: RefCell<VecDeque<Act>>,
    /// The callback or wait that the loop is held before.
    held: Cell<Option<Next>>,
    /// Where the step began.
    from: Cell<Option<Next>>,
    consultations: Cell<usize>,
    /// What the loop says about itself at each consultation.
    seen: RefCell<Vec<Seen>>,
}

#[derive(Clone, Copy, Default)]
enum Mode {
    #[default]
    Held,
    Stepping(Step),
    Open,
}

/// A look at the loop from inside the gate.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Seen {
    now_ms: u128,
    callbacks: u64,
    events: u64,
    connections: usize,
    bytes_read: u64,
}

impl Control {
    fn new() -> Rc<Control> {
        Rc::default()
    }

    fn say(&self, text: impl Into<String>) {
        self.log.borrow_mut().push(text.into());
    }

    fn act(&self, act: impl FnOnce(&Control) + 'static) {
        self.acts.borrow_mut().push_back(Box::new(act));
    }

    fn step(&self, step: Step, times: usize) {
        for _ in 0..times {
            self.act(move |control| control.mode.set(Mode::Stepping(step)));
        }
    }

    fn take_log(&self) -> Vec<String> {
        self.log.take()
    }
}

/// A gate that does what the test's control says. It opens when no act is left.
struct TestGate {
    /// It has nothing to do: it only provides the descriptor.
    inner: EventLoop,
    start: std::time::Instant,
    control: Rc<Control>,
}

impl TestGate {
    fn set(lp: &mut Loop, control: &Rc<Control>) {
        let inner = EventLoop::new().expect("a loop");
        lp.set_gate(TestGate { inner, start: lp.now(), control: control.clone() }).expect("it can be watched");
    }
}

impl Gate for TestGate {
    fn fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    fn max_wait(&mut self) -> Option<Duration> {
        self.inner.next_wait()
    }

    fn turn(&mut self, max_wait: Option<Duration>) {
        assert_eq!(max_wait, None, "the inner loop never has events: it is turned only while the outer one is held");
        let act = self.control.acts.borrow_mut().pop_front();
        match act {
            Some(act) => act(&self.control),
            None => self.control.mode.set(Mode::Open),
        }
    }

    fn decide(&mut self, lp: &Loop, next: Option<&Next>) -> Decision {
        let control = &self.control;
        control.consultations.set(control.consultations.get() + 1);
        let next = *next.expect("it was not turned in a wait");
        let metrics = lp.metrics();
        control.seen.borrow_mut().push(Seen {
            now_ms: (lp.now() - self.start).as_millis(),
            callbacks: metrics.callbacks,
            events: metrics.events,
            connections: metrics.connections,
            bytes_read: metrics.bytes_read,
        });
        match (control.mode.get(), control.held.get()) {
            (Mode::Held, Some(_)) => return Decision::Hold,
            (Mode::Open, _) => {
                control.held.set(None);
                return Decision::Open;
            }
            (Mode::Stepping(_), Some(from)) => {
                // The loop is held at `next`: this is where the step begins.
                control.from.set(Some(from));
                control.held.set(None);
                return Decision::Pass;
            }
            (Mode::Stepping(step), None) if !step.ends(&control.from.get().expect("it was held"), &next) => {
                return Decision::Pass;
            }
            (Mode::Held | Mode::Stepping(_), None) => {}
        }
        let cause = next.cause.and_then(|cause| lp.trace()?.get(cause)).map(|record| record.kind);
        let subject = if next.subject == 0 { "" } else { " #" };
        let size = if next.size == 0 { String::new() } else { format!(" {}", next.size) };
        let cause = cause.map(|kind| format!(" because of {kind}")).unwrap_or_default();
        let (kind, phase, turn) = (next.kind, next.phase.as_str(), next.turn);
        control.say(format!("[{turn} {phase}: {kind}{subject}{size}{cause}]"));
        control.held.set(Some(next));
        control.mode.set(Mode::Held);
        Decision::Hold
    }
}

/// A loop on a clock driven by hand, with a gate that holds it from the beginning.
struct Stage {
    clock: ManualClock,
    event_loop: EventLoop,
    control: Rc<Control>,
}

impl Stage {
    fn new() -> Stage {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let control = Control::new();
        event_loop.enter(|lp| TestGate::set(lp, &control));
        Stage { clock, event_loop, control }
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }

    /// A server of the loop. Returns its port.
    fn listen(&mut self, handler: On) -> u16 {
        self.event_loop.enter(|lp| {
            let server = net::listen(lp, ("127.0.0.1", 0), handler).expect("a free port");
            server.port(lp).expect("it is bound")
        })
    }

    /// Turns with the gate open until `is_over`, then has the gate hold the loop again.
    fn turn_until(&mut self, is_over: impl Fn() -> bool) {
        while !is_over() {
            self.control.mode.set(Mode::Open);
            self.event_loop.turn(Some(GUARD)).expect("the poll works");
        }
        self.hold();
    }

    /// The gate is open, so it is not consulted again before it is turned in a wait, and its loop has no events:
    /// another one is set.
    fn hold(&mut self) {
        let control = self.control.clone();
        control.mode.set(Mode::Held);
        control.held.set(None);
        control.log.take();
        control.seen.take();
        self.event_loop.enter(|lp| TestGate::set(lp, &control));
    }
}

/// A log for which it does not matter how many turns something takes.
fn without_turns(log: &[String]) -> Vec<&str> {
    log.iter().map(|line| line.trim_start_matches(|c: char| c == '[' || c.is_ascii_digit())).collect()
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).expect("it listens")
}

#[test]
fn each_step_lets_exactly_one_callback_pass() {
    let mut stage = Stage::new();
    let control = stage.control.clone();
    control.step(Step::Callback, 20);
    stage.event_loop.enter(|lp| lp.start_trace(1024));
    stage.event_loop.enter(|lp| {
        let says = control.clone();
        lp.next_tick(move |lp| {
            says.say("tick");
            let says = says.clone();
            lp.queue_microtask(move |lp| {
                says.say("microtask");
                lp.set_immediate(move |_| says.say("immediate"));
            });
        });
        let says = control.clone();
        lp.set_timeout(SECOND, move |_| says.say("timeout"));
        control.say("main");
    });
    stage.clock.advance(SECOND + ms(7));
    stage.turn();
    assert_eq!(
        control.take_log(),
        [
            "main",
            "[0 main: tick because of main]",
            "tick",
            "[0 main: microtask because of tick]",
            "microtask",
            "[1 poll: wait]",
            "[1 check: immediate because of microtask]",
            "immediate",
            "[1 timers: timer 7 because of armed]",
            "timeout",
        ]
    );
    let callbacks: Vec<u64> = control.seen.borrow().iter().map(|seen| seen.callbacks).collect();
    // Each gate point is seen twice, when the loop is held and when it is let pass. Callbacks count when they are
    // called.
    assert_eq!(callbacks, [0, 0, 1, 1, 2, 2, 2, 2, 3, 3]);
}

#[test]
fn what_comes_next_is_known_before_a_socket_is_served() {
    let mut stage = Stage::new();
    stage.event_loop.enter(|lp| lp.start_trace(1024));
    let control = stage.control.clone();
    let (opened, data, closed) = (control.clone(), control.clone(), control.clone());
    let socket: Rc<Cell<Option<Socket>>> = Rc::default();
    let seen = socket.clone();
    let handler = on()
        .connection(move |_, socket| {
            seen.set(Some(socket));
            opened.say("connection");
        })
        .data(move |lp, socket, chunk| {
            data.say("data");
            assert_eq!(chunk, b"hola");
            let data = data.clone();
            socket.write_then(lp, "adios", move |_, _| data.say("written"));
            socket.end(lp);
        })
        .close(move |_, _, _| closed.say("close"));
    let port = stage.listen(handler);
    let mut peer = connect(port);
    // The loop is held before its first wait, so the connection is accepted in the turn that follows.
    stage.turn_until(|| socket.get().is_some());
    let serial = socket.get().expect("it was accepted").serial();

    control.step(Step::Callback, 1000);
    peer.write_all(b"hola").expect("it is read later");
    drop(peer);
    while !control.log.borrow().iter().any(|line| line == "close") {
        stage.event_loop.turn(Some(GUARD)).expect("the poll works");
        assert!(control.from.get().is_some_and(|next| next.subject == serial || next.subject == 0));
    }
    let log: Vec<String> = control.take_log().into_iter().filter(|line| !line.contains("wait")).collect();
    let without_turn = without_turns(&log);
    assert_eq!(without_turn[..2], [" poll: on_data # 4 because of ready]", "data"]);
    // Each callback that ran is the one that was held before it.
    let pairs = [("callback", "written"), ("on_close", "close")];
    for (kind, line) in pairs {
        let at = without_turn.iter().position(|text| *text == line).expect("it ran");
        assert!(without_turn[at - 1].contains(&format!(": {kind}")), "before {line}: {without_turn:?}");
    }
}

/// One callback per phase, two in the check phase, in each of the turns.
fn program_of_phases(lp: &mut Loop, control: &Rc<Control>, turns: usize) {
    if turns == 0 {
        return;
    }
    for n in 0..2 {
        let control = control.clone();
        lp.set_immediate(move |lp| {
            control.say("immediate");
            if n == 1 {
                program_of_phases(lp, &control, turns - 1);
            }
        });
    }
    let control = control.clone();
    lp.set_timeout(ms(1), move |_| control.say("timeout"));
}

#[test]
fn a_step_of_a_phase_or_a_turn_ends_at_the_next_one() {
    let table: [(&str, Step, &[&str]); 3] = [
        (
            "callbacks",
            Step::Callback,
            &[
                "[1 poll: wait]",
                "[1 check: immediate]",
                "immediate",
                "[1 check: immediate]",
                "immediate",
                "[1 timers: timer]",
                "timeout",
                "[2 poll: wait]",
                "[2 check: immediate]",
            ],
        ),
        (
            "phases: the second immediate is passed, and so is the close phase, which has nothing to do",
            Step::Phase,
            &[
                "[1 poll: wait]",
                "[1 check: immediate]",
                "immediate",
                "immediate",
                "[1 timers: timer]",
                "timeout",
                "[2 poll: wait]",
                "[2 check: immediate]",
                "immediate",
            ],
        ),
        (
            "turns",
            Step::Turn,
            &[
                "[1 poll: wait]",
                "immediate",
                "immediate",
                "timeout",
                "[2 poll: wait]",
                "immediate",
                "immediate",
                "timeout",
                "[3 poll: wait]",
            ],
        ),
    ];
    for (name, step, want) in table {
        let mut stage = Stage::new();
        let control = stage.control.clone();
        control.step(step, 20);
        stage.event_loop.enter(|lp| program_of_phases(lp, &control, 3));
        for _ in 0..3 {
            stage.clock.advance(ms(1));
            stage.turn();
        }
        assert_eq!(control.take_log()[..want.len()], *want, "{name}");
    }
}

#[test]
fn a_held_loop_neither_reads_nor_accepts() {
    let mut stage = Stage::new();
    let control = stage.control.clone();
    let accepted: Rc<Cell<usize>> = Rc::default();
    let (seen, data) = (accepted.clone(), control.clone());
    let handler = on()
        .connection(move |_, _| seen.set(seen.get() + 1))
        .data(move |_, _, chunk| data.say(String::from_utf8_lossy(chunk)));
    let port = stage.listen(handler);
    let mut first = connect(port);
    stage.turn_until(|| accepted.get() == 1);

    // Held at the wait: a peer writes, another one connects.
    let second: Rc<RefCell<Option<TcpStream>>> = Rc::default();
    let connects = second.clone();
    control.act(move |_| first.write_all(b"hola").expect("the kernel takes it"));
    control.act(move |_| *connects.borrow_mut() = Some(connect(port)));
    control.act(|_| {});
    control.act(|_| {});
    // From here on the gate is open.
    stage.event_loop.turn(Some(GUARD)).expect("the poll works");
    let seen = control.seen.take();
    assert_eq!(seen.len(), 6, "held, four acts, and let go");
    let before = seen[0];
    assert_eq!((before.connections, before.bytes_read), (1, 0));
    assert!(seen.iter().all(|seen| *seen == before), "nothing happens in a loop that is held: {seen:?}");
    while accepted.get() < 2 || !control.log.borrow().contains(&"hola".to_owned()) {
        stage.event_loop.turn(Some(GUARD)).expect("the poll works");
    }
}

#[test]
fn time_stands_still_while_the_loop_is_held() {
    let mut stage = Stage::new();
    let control = stage.control.clone();
    control.mode.set(Mode::Open);
    let accepted: Rc<Cell<bool>> = Rc::default();
    let (is_there, idle) = (accepted.clone(), control.clone());
    let handler = on()
        .connection(move |lp, socket| {
            socket.set_timeout(lp, ms(150));
            is_there.set(true);
        })
        .timeout(move |_, _| idle.say("idle"));
    let port = stage.listen(handler);
    let _peer = connect(port);
    stage.turn_until(|| accepted.get());
    control.mode.set(Mode::Open);
    let beats = control.clone();
    stage.event_loop.enter(|lp| {
        lp.time_phases(true);
        lp.monitor_event_loop_delay(ms(10));
        lp.set_interval(ms(100), move |_| beats.say("beat"));
    });
    for _ in 0..5 {
        stage.clock.advance(ms(10));
        stage.turn();
    }
    stage.clock.advance(ms(1));

    // Half of the interval is over. The loop is held before an immediate, and 2 s pass.
    let (clock, immediate) = (stage.clock.clone(), control.clone());
    control.mode.set(Mode::Open);
    stage.event_loop.enter(|lp| lp.set_immediate(move |_| immediate.say("immediate")));
    stage.hold();
    control.act(|control| control.mode.set(Mode::Stepping(Step::Callback))); // Out of the wait.
    control.act(move |_| clock.advance(2 * SECOND));
    stage.turn();
    assert_eq!(without_turns(&control.take_log()), [" poll: wait]", " check: immediate]", "immediate"]);
    let times: Vec<u128> = control.seen.take().iter().map(|seen| seen.now_ms).collect();
    assert!(times.windows(2).all(|pair| pair[0] == pair[1]), "{times:?}");

    // The clock of the loop goes on where it was: 51 ms after the interval was made.
    let table: [(u64, &[&str]); 4] = [(48, &[]), (1, &["beat"]), (50, &["idle"]), (50, &["beat"])];
    for (pass, want) in table {
        stage.clock.advance(ms(pass));
        stage.turn();
        assert_eq!(control.take_log(), want, "{pass} ms later");
    }
    let (metrics, delay) = stage.event_loop.enter(|lp| (lp.metrics(), lp.event_loop_delay().cloned()));
    assert!(metrics.longest_turn < ms(1), "{:?}", metrics.longest_turn);
    assert_eq!(metrics.active, ms(200), "51 ms and 149 ms, and nothing of the 2 s");
    assert_eq!(metrics.phase(Phase::Check), Duration::ZERO);
    let delay = delay.expect("it was asked for");
    assert!(delay.max() < ms(60), "the steps of this test, and nothing of the 2 s: {:?}", delay.max());
}

#[test]
fn an_open_gate_is_not_consulted() {
    let mut stage = Stage::new();
    let control = stage.control.clone();
    control.mode.set(Mode::Open);
    stage.event_loop.enter(|lp| (0..100).for_each(|_| lp.next_tick(|_| {})));
    stage.turn();
    assert_eq!(control.consultations.get(), 1, "before the first tick; since then it is open");
}

#[test]
fn a_trace_that_starts_or_stops_leaves_the_gate_alone() {
    let mut stage = Stage::new();
    let control = stage.control.clone();
    control.step(Step::Callback, 20);
    let says = control.clone();
    stage.event_loop.enter(|lp| lp.start_trace(64));
    stage.event_loop.enter(move |lp| {
        lp.next_tick(move |lp| {
            assert!(lp.stop_trace().is_some());
            lp.next_tick(move |lp| {
                lp.start_trace(64);
                lp.next_tick(move |_| says.say("tick"));
            });
        });
    });
    assert_eq!(control.take_log(), ["[0 main: tick because of main]", "[0 main: tick]", "[0 main: tick]", "tick"]);
    let trace = stage.event_loop.enter(Loop::stop_trace).expect("it was started again");
    let kinds: Vec<Kind> = trace.records().map(|(_, record)| record.kind).collect();
    assert_eq!(kinds, [Kind::Tick, Kind::Phase, Kind::Main], "the record of the second tick was not begun");
}

#[test]
fn the_loops_own_timers_are_no_gate_points() {
    let mut stage = Stage::new();
    let control = stage.control.clone();
    control.step(Step::Callback, 100);
    stage.event_loop.enter(|lp| lp.monitor_event_loop_delay(ms(10)));
    for _ in 0..3 {
        stage.clock.advance(ms(10));
        stage.turn();
    }
    assert_eq!(control.take_log(), ["[1 poll: wait]", "[2 poll: wait]", "[3 poll: wait]"]);
    let (count, callbacks) =
        stage.event_loop.enter(|lp| (lp.event_loop_delay().map(|delay| delay.count()), lp.metrics().callbacks));
    assert_eq!((count, callbacks), (Some(3), 0));
}

#[test]
fn the_wait_that_comes_next_has_a_length() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let control = Control::new();
    let log: Rc<RefCell<Vec<Option<Duration>>>> = Rc::default();
    for _ in 0..3 {
        let log = log.clone();
        control.act(move |control| {
            let next = control.held.get().expect("it is held");
            assert_eq!((next.kind, next.phase), (Kind::Wait, Phase::Poll));
            log.borrow_mut().push(next.wait);
            control.mode.set(Mode::Stepping(Step::Callback));
        });
    }
    event_loop.enter(|lp| {
        TestGate::set(lp, &control);
        lp.set_timeout(3600 * SECOND, |_| {});
    });
    for max_wait in [Some(Duration::ZERO), Some(ms(1))] {
        event_loop.turn(max_wait).expect("the poll works");
    }
    assert_eq!(*log.borrow(), [Some(Duration::ZERO), Some(ms(1))]);
}

#[test]
fn a_gate_can_be_taken_off_and_is_given_back() {
    let mut stage = Stage::new();
    let gate = stage.event_loop.enter(Loop::take_gate).expect("it was set");
    let gate = (gate as Box<dyn Any>).downcast::<TestGate>().expect("it is the one that was set");
    assert!(Rc::ptr_eq(&gate.control, &stage.control));
    assert!(stage.event_loop.enter(Loop::take_gate).is_none());
    let control = stage.control.clone();
    stage.event_loop.enter(move |lp| lp.next_tick(move |_| control.say("tick")));
    assert_eq!(stage.control.take_log(), ["tick"], "nothing is held");
}

#[test]
fn a_gate_without_a_descriptor_is_refused() {
    struct NoDescriptor;
    impl Gate for NoDescriptor {
        fn fd(&self) -> RawFd {
            -1
        }
        fn max_wait(&mut self) -> Option<Duration> {
            None
        }
        fn turn(&mut self, _: Option<Duration>) {}
        fn decide(&mut self, _: &Loop, _: Option<&Next>) -> Decision {
            unreachable!("it is not set")
        }
    }
    let mut stage = Stage::new();
    let error = stage.event_loop.enter(|lp| lp.set_gate(NoDescriptor)).expect_err("no such descriptor");
    assert_eq!(error.code(), "EBADF");
    let control = stage.control.clone();
    stage.event_loop.enter(move |lp| lp.next_tick(move |_| control.say("tick")));
    stage.turn();
    assert_eq!(stage.control.take_log(), ["tick"], "the gate before it is gone, too");
}

#[test]
fn a_gate_that_panics_is_gone() {
    let mut stage = Stage::new();
    let control = stage.control.clone();
    control.act(|_| panic!("in the gate"));
    let says = control.clone();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        stage.event_loop.enter(move |lp| lp.next_tick(move |_| says.say("the tick that was held is lost")));
    }));
    assert!(caught.is_err());
    control.log.take();
    let says = control.clone();
    stage.event_loop.enter(move |lp| lp.next_tick(move |_| says.say("tick")));
    stage.turn();
    assert_eq!(control.take_log(), ["tick"]);
    assert!(stage.event_loop.enter(Loop::take_gate).is_none());
}
