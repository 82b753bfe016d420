//! The records of the loop. Each record has a cause, back to the kernel or to the main body. A slow callback is
//! logged with the timers that it delayed.

#![cfg(feature = "trace")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use bucle::net::{self, LocalAddress, Socket, on};
use bucle::trace::{Kind, Phase, Record, Trace};
use bucle::{EventLoop, Loop, ManualClock};

/// The lines that were logged, each with its thread. Tests run at the same time, each on a thread of its own.
struct Log(Mutex<Vec<(std::thread::ThreadId, String)>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "bucle::loop"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level(), record.args());
            self.lines().push((std::thread::current().id(), line));
        }
    }

    fn flush(&self) {}
}

impl Log {
    fn start() {
        static START: Once = Once::new();
        START.call_once(|| {
            log::set_logger(&LOG).expect("the first logger");
            log::set_max_level(log::LevelFilter::Trace);
        });
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<(std::thread::ThreadId, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The warnings of this test.
    fn of_this_test(&self) -> Vec<String> {
        self.at("WARN ")
    }

    /// The lines of this test at a level, which is their beginning.
    fn at(&self, level: &str) -> Vec<String> {
        let here = std::thread::current().id();
        let lines = self.lines();
        lines
            .iter()
            .filter(|(thread, line)| *thread == here && line.starts_with(level))
            .map(|(_, line)| line.clone())
            .collect()
    }
}

/// Starts a server with the handler `on_data`, and a client that sends `hola`. The loop ends with their connection.
fn serve_and_connect(lp: &mut Loop, mut on_data: impl FnMut(&mut Loop, Socket) + 'static) {
    let server = net::listen(lp, ("127.0.0.1", 0), on().data(move |lp, socket, _| on_data(lp, socket)));
    let server = server.expect("a free port").id();
    let Some(LocalAddress::Ip(address)) = server.address(lp) else { unreachable!("it listens on an address") };
    let client = on()
        .connect(|lp, socket| {
            socket.write(lp, "hola");
        })
        .data(move |lp, socket, _| {
            socket.end(lp);
            server.close(lp);
        });
    Socket::connect(lp, (address.ip().to_string().as_str(), address.port()), client).expect("an address");
}

/// Runs a loop to its end, and returns its records.
fn recorded(main: impl FnOnce(&mut Loop)) -> HashMap<u32, Record> {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| lp.start_trace(1 << 16));
    event_loop.enter(main);
    event_loop.run().expect("the poll works");
    let trace = event_loop.enter(|lp| lp.stop_trace()).expect("it was recording");
    let records = trace.records();
    assert_eq!(records.lost(), 0);
    records.map(|(number, record)| (number as u32, *record)).collect()
}

/// The kinds of a record, its cause, the cause of that, and so on to the first one.
fn chain(records: &HashMap<u32, Record>, from: u32) -> Vec<Kind> {
    let mut kinds = vec![records[&from].kind];
    let mut number = from;
    while records[&number].cause != number {
        number = records[&number].cause;
        kinds.push(records[&number].kind);
    }
    kinds
}

fn names(records: &HashMap<u32, Record>, from: u32) -> String {
    chain(records, from).iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

/// A server and a client in one loop: a message, its echo, a ping, and the closing handshake.
#[cfg(feature = "websocket")]
#[test]
fn the_events_of_a_websocket_are_traced_back_to_the_bytes_that_arrived() {
    use bucle::websocket::{self, CloseCode, Message, Options, WebSocket};

    struct Echo;
    impl websocket::Handler for Echo {
        fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
            ws.send(lp, message);
        }
        fn on_ping(&mut self, lp: &mut Loop, ws: WebSocket, _: &[u8]) {
            ws.close(lp, CloseCode(4000), "");
        }
    }
    struct Client;
    impl websocket::Handler for Client {
        fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
            ws.send(lp, "hola");
        }
        fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, _: Message<'_>) {
            ws.ping(lp, "hi");
        }
    }
    let records = recorded(|lp| {
        let server = websocket::listen(lp, ("127.0.0.1", 0), Options::default(), Echo).expect("a free port");
        server.unref(lp);
        let url = format!("ws://127.0.0.1:{}/", server.port(lp).expect("it is bound"));
        websocket::connect(lp, &url, Client).expect("a URL");
    });
    let of_kind = |kind| {
        let mut found: Vec<_> = records.iter().filter(|(_, record)| record.kind == kind).collect();
        found.sort_by_key(|(number, _)| **number);
        found.into_iter().map(|(&number, record)| (record.size, names(&records, number))).collect::<Vec<_>>()
    };
    let in_data = |size, name: &str| (size, format!("{name} on_data ready phase"));
    assert_eq!(of_kind(Kind::OnHandshake).len(), 1);
    assert_eq!(of_kind(Kind::OnOpen).len(), 2);
    assert_eq!(of_kind(Kind::OnMessage), [in_data(4, "on_message"), in_data(4, "on_message")]);
    assert_eq!(of_kind(Kind::OnPing), [in_data(2, "on_ping")]);
    assert_eq!(of_kind(Kind::OnPong), [in_data(2, "on_pong")]);
    assert_eq!(of_kind(Kind::CloseSent), [in_data(4000, "close_sent on_ping"), in_data(4000, "close_sent")]);
    assert_eq!(of_kind(Kind::CloseReceived), [in_data(4000, "close_received"), in_data(4000, "close_received")]);
}

#[test]
fn the_write_of_a_timer_is_traced_back_to_the_bytes_that_armed_it() {
    let records = recorded(|lp| {
        serve_and_connect(lp, |lp, socket| {
            lp.set_timeout(Duration::from_millis(1), move |lp| {
                socket.write(lp, "later");
            });
        });
    });
    let later = records.iter().find(|(_, record)| record.kind == Kind::Sent && record.size == 5);
    let (&number, record) = later.expect("it was sent");
    assert_eq!(record.phase, Phase::Timers);
    assert_eq!(names(&records, number), "sent write timer armed on_data ready phase");
}

#[test]
fn every_record_is_traced_back_to_a_phase() {
    let records = recorded(|lp| {
        serve_and_connect(lp, |lp, socket| {
            lp.next_tick(move |lp| {
                lp.set_immediate(move |lp| {
                    lp.queue_microtask(move |lp| {
                        socket.write(lp, "hola");
                    });
                });
            });
        });
    });
    for &number in records.keys() {
        let kinds = chain(&records, number);
        assert_eq!(kinds.last(), Some(&Kind::Phase), "{number}: {kinds:?}");
    }
    let written = records.iter().find(|(_, record)| record.kind == Kind::Write && record.phase == Phase::Check);
    let (&number, _) = written.expect("it was written");
    assert_eq!(names(&records, number), "write microtask immediate tick on_data ready phase");
    let count = |kind| records.values().filter(|record| record.kind == kind).count();
    assert_eq!([Kind::OnConnection, Kind::OnConnect, Kind::OnClose].map(count), [1, 1, 2]);
    let events: u32 = records.values().filter(|record| record.kind == Kind::Wait).map(|record| record.size).sum();
    assert!(events >= 3, "an accept, a connect, hola, the answer: {events}");
}

#[test]
fn recording_can_stop_and_start_again() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let main = |lp: &mut Loop| lp.next_tick(|_| {});
    event_loop.enter(main);
    assert!(event_loop.enter(|lp| lp.stop_trace()).is_none());
    for _ in 0..2 {
        event_loop.enter(|lp| lp.start_trace(64));
        event_loop.enter(main);
        let trace = event_loop.enter(|lp| lp.stop_trace()).expect("it was recording");
        let kinds: Vec<_> = trace.records().map(|(_, record)| record.kind).collect();
        assert_eq!(kinds, [Kind::Phase, Kind::Main, Kind::Tick, Kind::Phase, Kind::Main]);
    }
}

#[test]
fn two_observers_record_and_neither_stops_the_other() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| lp.start_trace(64));
    event_loop.enter(|lp| lp.start_trace(1000));
    event_loop.enter(|lp| lp.next_tick(|_| {}));
    event_loop.enter(|lp| {
        assert_eq!(lp.trace().map(Trace::capacity), Some(1024), "the ring is large enough for both");
        assert!(lp.stop_trace().is_none(), "the other one goes on");
    });
    event_loop.enter(|lp| lp.next_tick(|_| {}));
    let trace = event_loop.enter(|lp| lp.stop_trace()).expect("the last one gets the ring");
    assert_eq!(trace.records().filter(|(_, record)| record.kind == Kind::Tick).count(), 2);
    assert!(event_loop.enter(|lp| lp.trace().is_none()));
}

/// A reader of the ring: where it is, the numbers it has read, and how many it has lost.
#[derive(Default)]
struct Reader {
    position: u64,
    numbers: Vec<u64>,
    lost: u64,
}

impl Reader {
    fn read(&mut self, lp: &Loop) {
        let Some(trace) = lp.trace() else { return };
        let records = trace.since(self.position);
        self.lost += records.lost();
        self.numbers.extend(records.map(|(number, record)| {
            assert!(record.duration_ns() > 0 || record.kind as u8 >= Kind::Armed as u8 || record.kind == Kind::Ready);
            number
        }));
        self.position = trace.next_number();
    }

    /// The last look, from inside a call: its own records are still open.
    fn finish(&mut self, lp: &Loop) {
        let Some(trace) = lp.trace() else { return };
        self.numbers.extend(trace.since(self.position).map(|(number, _)| number));
    }
}

#[test]
fn two_readers_at_different_positions_both_see_every_record() {
    let readers: [Rc<RefCell<Reader>>; 2] = Default::default();
    let [often, seldom] = readers.clone();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        lp.start_trace(1 << 12);
        lp.on_prepare(move |lp| {
            often.borrow_mut().read(lp);
            None
        });
        let mut turns = 0;
        lp.on_prepare(move |lp| {
            turns += 1;
            if turns % 5 == 0 {
                seldom.borrow_mut().read(lp);
            }
            None
        });
        serve_and_connect(lp, |lp, socket| {
            socket.write(lp, "hola");
            let mut left = 20;
            lp.set_interval(Duration::from_millis(1), move |lp| {
                left -= 1;
                if left == 0 {
                    lp.stop();
                }
            });
        });
    });
    event_loop.run().expect("the poll works");
    assert_ne!(readers[0].borrow().position, 0);
    let made = event_loop.enter(|lp| {
        readers.iter().for_each(|reader| reader.borrow_mut().finish(lp));
        lp.trace().map_or(0, Trace::next_number)
    });
    for reader in &readers {
        let reader = reader.borrow();
        assert_eq!(reader.lost, 0);
        assert!(reader.numbers.iter().copied().eq(0..made), "{} of {made}", reader.numbers.len());
    }
}

/// One turn after the other until `is_over`, on a clock that stands still in between.
fn turn_until(event_loop: &mut EventLoop, is_over: &Cell<bool>) {
    while !is_over.get() {
        event_loop.turn(Some(Duration::from_secs(20))).expect("the poll works");
    }
}

#[test]
fn a_slow_callback_is_logged_with_the_timers_it_delayed() {
    Log::start();
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
    event_loop.enter(|lp| lp.start_trace(1 << 10));
    let (slow, is_over) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (serial, over) = (slow.clone(), is_over.clone());
    event_loop.enter(|lp| {
        serve_and_connect(lp, move |lp, socket| {
            serial.set(socket.serial());
            for delay_ms in [10, 20, 500] {
                lp.set_timeout(Duration::from_millis(delay_ms), |_| {});
            }
            clock.advance(Duration::from_millis(35));
            over.set(true);
        });
    });
    turn_until(&mut event_loop, &is_over);
    assert_eq!(
        LOG.of_this_test(),
        [format!("WARN #{} slow callback: on_data took 35 ms; it made 2 timers late, up to 25 ms", slow.get())]
    );
}

#[test]
fn the_program_sets_the_limit_of_a_slow_callback() {
    Log::start();
    let table: [(&str, Option<Duration>, u64, &[&str]); 4] = [
        ("exactly the limit of 100 ms", Some(Duration::from_millis(100)), 100, &[]),
        (
            "over the limit",
            Some(Duration::from_millis(100)),
            101,
            &["WARN slow callback: immediate took 101 ms; no timer was due meanwhile"],
        ),
        ("no limit", None, 5000, &[]),
        (
            "a late timer",
            Some(Duration::from_millis(10)),
            1500,
            &["WARN slow callback: immediate took 1500 ms; it made a timer 500 ms late"],
        ),
    ];
    for (name, limit, busy_ms, want) in table {
        LOG.lines().retain(|(thread, _)| *thread != std::thread::current().id());
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        event_loop.enter(|lp| {
            lp.start_trace(64);
            lp.warn_of_slow_callbacks(limit);
            lp.set_timeout(Duration::from_secs(1), |_| {});
            lp.set_immediate(move |_| clock.advance(Duration::from_millis(busy_ms)));
        });
        event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        let want: Vec<_> = want.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(LOG.of_this_test(), want, "{name}");
    }
}

#[test]
fn the_log_names_phases_ticks_microtasks_immediates_and_timers() {
    Log::start();
    bucle::run(|lp| {
        lp.queue_microtask(|_| {});
        lp.next_tick(|lp| {
            lp.set_immediate(|lp| {
                lp.set_timeout(Duration::from_millis(1), |_| {});
            });
        });
        Ok(())
    })
    .expect("the loop runs");
    let lines: Vec<String> = LOG.at("TRACE ").iter().map(|line| line.trim_start_matches("TRACE ").to_owned()).collect();
    let begins_with = |part: &str| {
        lines.iter().position(|line| line.starts_with(part)).unwrap_or_else(|| panic!("{part}: {lines:?}"))
    };
    let parts = [
        "a tick runs",
        "a microtask runs",
        "poll: 0 ready, turn 1",
        "check: 1 immediates",
        "an immediate runs",
        "timers: at least one is due",
        "a timer fires, ",
    ];
    assert!(parts.map(begins_with).is_sorted(), "{lines:?}");
}
