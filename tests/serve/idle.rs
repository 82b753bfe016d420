//! The cost of doing nothing: the memory of an idle connection, the processor time of an idle loop, and the leftovers
//! of closed connections.
//!
//! The server is a process of its own, because both ends of a connection are open files. The kernel counts the memory
//! page by page, so the figures are exact. The tests are skipped on other systems than Linux.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::served::{self, Served};
use bucle::net::{Handler, Server, ServerOptions, Socket};
use bucle::{EventLoop, Loop};

/// A number from an environment variable, which can ask for a larger test.
fn number_from_env(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The bytes of the server's anonymous memory.
fn memory(served: &Served) -> usize {
    let table = fs::read_to_string(format!("/proc/{}/smaps_rollup", served.child.id())).expect("it runs");
    let kib = table.lines().find_map(|line| line.strip_prefix("Anonymous:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<usize>().ok()).expect("a number of kB") * 1024
}

fn open_files(served: &Served) -> usize {
    fs::read_dir(format!("/proc/{}/fd", served.child.id())).expect("it runs").count()
}

fn connect(served: &Served) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", served.port())).expect("it listens");
    stream.set_read_timeout(Some(served::LIMIT)).expect("a socket");
    stream
}

/// Sends `hola` and waits for the echo. Connections are accepted in order, so all earlier ones are accepted then.
fn exchange(stream: &mut TcpStream) {
    stream.write_all(b"hola").expect("it reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"hola");
}

/// `IDLE_CONNECTIONS=19000` is nearly as much as one process may open on many systems.
#[test]
fn an_idle_connection_costs_at_most_128_bytes() {
    const BYTES: usize = 128;
    let count = number_from_env("IDLE_CONNECTIONS", 10_000);
    if bucle::process::raise_descriptor_limit() < count as u64 + 100 {
        assert!(env::var("CI").is_err(), "too few open files are allowed");
        return eprintln!("skipped: too few open files are allowed");
    }
    let served = Served::start(&["echo"]);
    // The first connection makes the server allocate what it allocates only once.
    exchange(&mut connect(&served));
    let before = memory(&served);
    let mut clients: Vec<TcpStream> = (0..count).map(|_| connect(&served)).collect();
    exchange(clients.last_mut().expect("there is one"));
    let each = (memory(&served) - before) / count;
    println!("{each} bytes for each of {count} idle connections");
    assert!(each <= BYTES, "{each} bytes");
    // All of them are served, not only kept open.
    clients.iter_mut().step_by(97).for_each(exchange);
}

/// `VISITS=100000` is a long test.
#[test]
fn closed_connections_leave_no_memory_behind() {
    /// A few pages, which the allocator may move between its lists.
    const ALLOWANCE: usize = 64 * 1024;
    let visits = number_from_env("VISITS", 5_000);
    let served = Served::start(&["echo"]);
    let visit = |_| exchange(&mut connect(&served));
    // As many connections as are open at the same time in the long run, including those that are closing.
    (0..500).for_each(visit);
    let (memory_before, files_before) = (memory(&served), open_files(&served));
    (0..visits).for_each(visit);
    // When a client is gone its connection may still be closing. The next client is served after that.
    (0..10).for_each(visit);
    let grown = memory(&served).saturating_sub(memory_before);
    println!("{grown} bytes after {visits} visits");
    assert!(grown <= ALLOWANCE, "{grown} bytes after {visits} visits");
    let files = open_files(&served);
    assert!(files <= files_before + 2, "{files} open files, after {files_before}");
}

/// Echoes, and notifies the test of each connection.
struct Echo(mpsc::Sender<()>);

impl Handler for Echo {
    fn on_connection(&mut self, _: &mut Loop, _: Socket) {
        self.0.send(()).expect("the test waits");
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        socket.write(lp, chunk);
    }
}

/// How often a thread of this process has run on a processor, and for how many nanoseconds.
fn runs(thread: &str) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).expect("it runs");
    let mut numbers = text.split_whitespace().map(|number| number.parse().expect("a number"));
    let (ns, _, runs) = (numbers.next(), numbers.next(), numbers.next());
    (runs.expect("three numbers"), ns.expect("three numbers"))
}

/// With open connections and an armed timer the loop sleeps in the kernel until something is due, and does not run.
#[test]
fn an_idle_loop_does_not_run() {
    let (sender, receiver) = mpsc::channel();
    let (sends, accepted) = mpsc::channel();
    thread::spawn(move || {
        let mut event_loop = EventLoop::new().expect("a loop");
        let port = event_loop.enter(|lp| {
            lp.set_timeout(Duration::from_secs(3600), |_| {});
            let server = Server::new(lp, ServerOptions::default(), Echo(sends));
            server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            server.id().address(lp).and_then(|address| address.port()).expect("it is bound")
        });
        let thread = fs::read_link("/proc/thread-self").expect("Linux names the current thread");
        sender.send((port, thread.to_string_lossy().into_owned())).expect("the test waits");
        event_loop.run().expect("the loop goes on");
    });
    let (port, thread) = receiver.recv().expect("it serves");
    let mut clients: Vec<TcpStream> =
        (0..10).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it listens")).collect();
    clients.iter().for_each(|_| accepted.recv_timeout(served::LIMIT).expect("all are accepted"));
    clients.iter_mut().for_each(exchange);
    // After the last answer the loop finishes its turn before it sleeps. On a busy machine this takes a while.
    let asleep = || fs::read_to_string(format!("/proc/{thread}/stat")).expect("it runs").contains(") S ");
    let mut samples_asleep = 0;
    while samples_asleep < 20 {
        thread::sleep(Duration::from_millis(10));
        samples_asleep = if asleep() { samples_asleep + 1 } else { 0 };
    }
    let before = runs(&thread);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(runs(&thread), before, "times run, and nanoseconds");
    clients.iter_mut().for_each(exchange);
    assert!(runs(&thread) > before, "these are the runs of the loop's thread");
}
