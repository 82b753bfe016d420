//! The loop's overhead for an event: turns in which many sockets have something to read, and the handler of each is
//! called.

use std::io::Read;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::support::cpu::Cpu;
use crate::support::inside::{Inside, client, send_message_each};
use crate::support::machine::thread_cpu;

mod support;

const READY: [usize; 3] = [1, 100, 1000];

/// The minimum for a turn with mio alone: one wait, and one read per event.
struct Floor {
    poll: Poll,
    events: Events,
    sockets: Vec<TcpStream>,
    clients: Vec<std::net::TcpStream>,
    buf: Vec<u8>,
}

impl Floor {
    fn with_clients(count: usize) -> Floor {
        let poll = Poll::new().expect("a poll");
        let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (mut sockets, mut clients) = (Vec::new(), Vec::new());
        for i in 0..count {
            clients.push(client(port));
            let (mut socket, _) = listener.accept().expect("a client has connected");
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut socket, Token(i), both).expect("it is new");
            sockets.push(socket);
        }
        Floor { poll, events: Events::with_capacity(1024), sockets, clients, buf: vec![0; 64 * 1024] }
    }

    fn turn(&mut self) -> u64 {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).expect("the poll works");
        let mut chunks = 0;
        for event in &self.events {
            chunks += u64::from(self.sockets[event.token().0].read(&mut self.buf).is_ok());
        }
        chunks
    }
}

/// The processor time per message of turns in which all `ready` sockets have a message. `turn` returns how many it
/// has read.
fn per_event(events: u64, ready: usize, mut prepare: impl FnMut(), mut turn: impl FnMut() -> u64) -> Duration {
    let (mut spent, mut done) = (Duration::ZERO, 0);
    while done < events {
        prepare();
        let end = done + ready as u64;
        let start = thread_cpu();
        // One turn, unless the poll returned fewer events than there are messages.
        while done < end {
            done += turn();
        }
        spent += thread_cpu() - start;
    }
    spent.mul_f64(events as f64 / done as f64)
}

/// Processor time per event, by the number of events in a turn.
fn dispatch(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("event");
    group.sampling_mode(SamplingMode::Flat);
    for ready in READY {
        group.bench_function(BenchmarkId::new("mio", ready), |b| {
            let floor = std::cell::RefCell::new(Floor::with_clients(ready));
            let prepare = || send_message_each(&mut floor.borrow_mut().clients);
            b.iter_custom(|events| per_event(events, ready, prepare, || floor.borrow_mut().turn()));
        });
        group.bench_function(BenchmarkId::new("bucle", ready), |b| {
            let inside = std::cell::RefCell::new(Inside::with_clients(ready));
            let prepare = || send_message_each(&mut inside.borrow_mut().clients);
            b.iter_custom(|events| per_event(events, ready, prepare, || inside.borrow_mut().turn()));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::in_short();
    targets = dispatch
}
criterion_main!(benches);
