//! What costs nothing when nothing happens: a connection hardly any memory, a loop no time, a visitor nothing that stays.
//!
//! The server is a process of its own, because both ends of a connection are open files. Memory is what the kernel says
//! when it walks the pages, so it is exact; elsewhere than on Linux these tests are skipped.

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

/// A number from the environment, to ask for more than a quick test does.
fn asked(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Bytes of memory that the server has to itself.
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

/// Connections are accepted in the order they come in: when this one is answered, those before it are in.
fn exchange(stream: &mut TcpStream) {
    stream.write_all(b"hola").expect("it reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"hola");
}

/// `IDLE_CONNECTIONS=19000` asks for nearly as many as one process may have in many places.
#[test]
fn an_idle_connection_costs_at_most_128_bytes() {
    const BYTES: usize = 128;
    let count = asked("IDLE_CONNECTIONS", 10_000);
    if bucle::process::raise_descriptor_limit() < count as u64 + 100 {
        assert!(env::var("CI").is_err(), "too few open files are allowed");
        return eprintln!("skipped: too few open files are allowed");
    }
    let served = Served::start(&["echo"]);
    // What the first connection makes the server do is done once.
    exchange(&mut connect(&served));
    let before = memory(&served);
    let mut crowd: Vec<TcpStream> = (0..count).map(|_| connect(&served)).collect();
    exchange(crowd.last_mut().expect("there is one"));
    let each = (memory(&served) - before) / count;
    println!("{each} bytes for each of {count} idle connections");
    assert!(each <= BYTES, "{each} bytes");
    // All of them are served, not only held.
    crowd.iter_mut().step_by(97).for_each(exchange);
}

/// `VISITS=100000` asks for a long life.
#[test]
fn who_has_come_and_gone_leaves_nothing_behind() {
    /// A few pages: what the allocator may move between its lists.
    const ALLOWANCE: usize = 64 * 1024;
    let visits = asked("VISITS", 5_000);
    let served = Served::start(&["echo"]);
    let visit = |_| exchange(&mut connect(&served));
    // As many as are about at a time in the long run, closing ones included.
    (0..500).for_each(visit);
    let (memory_before, files_before) = (memory(&served), open_files(&served));
    (0..visits).for_each(visit);
    // The last ones are still being closed when their client is gone; the next is served after that.
    (0..10).for_each(visit);
    let grown = memory(&served).saturating_sub(memory_before);
    println!("{grown} bytes after {visits} visits");
    assert!(grown <= ALLOWANCE, "{grown} bytes after {visits} visits");
    let files = open_files(&served);
    assert!(files <= files_before + 2, "{files} open files, after {files_before}");
}

/// Echoes, and says when somebody has come.
struct Echo(mpsc::Sender<()>);

impl Handler for Echo {
    fn on_connection(&mut self, _: &mut Loop, _: Socket) {
        self.0.send(()).expect("the test waits");
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        socket.write(lp, chunk);
    }
}

/// How often a thread of this process was given a processor, and for how many nanoseconds.
fn runs(thread: &str) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).expect("it runs");
    let mut numbers = text.split_whitespace().map(|number| number.parse().expect("a number"));
    let (ns, _, runs) = (numbers.next(), numbers.next(), numbers.next());
    (runs.expect("three numbers"), ns.expect("three numbers"))
}

/// With connections open and a timer armed it sleeps in the kernel until something is due, and is not run at all.
#[test]
fn a_loop_with_nothing_to_do_does_nothing() {
    let (said, heard) = mpsc::channel();
    let (came, is_in) = mpsc::channel();
    thread::spawn(move || {
        let mut event_loop = EventLoop::new().expect("a loop");
        let port = event_loop.enter(|lp| {
            lp.set_timeout(Duration::from_secs(3600), |_| {});
            let server = Server::new(lp, ServerOptions::default(), Echo(came));
            server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            server.id().address(lp).and_then(|address| address.port()).expect("it is bound")
        });
        let thread = fs::read_link("/proc/thread-self").expect("Linux says who one is");
        said.send((port, thread.to_string_lossy().into_owned())).expect("the test waits");
        event_loop.run().expect("the loop goes on");
    });
    let (port, thread) = heard.recv().expect("it serves");
    let mut clients: Vec<TcpStream> =
        (0..10).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it listens")).collect();
    clients.iter().for_each(|_| is_in.recv_timeout(served::LIMIT).expect("all come in"));
    clients.iter_mut().for_each(exchange);
    // After the last answer it has a turn to end before it sleeps; on a busy machine that takes a while.
    let asleep = || fs::read_to_string(format!("/proc/{thread}/stat")).expect("it runs").contains(") S ");
    let mut calm = 0;
    while calm < 20 {
        thread::sleep(Duration::from_millis(10));
        calm = if asleep() { calm + 1 } else { 0 };
    }
    let before = runs(&thread);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(runs(&thread), before, "times run, and nanoseconds");
    clients.iter_mut().for_each(exchange);
    assert!(runs(&thread) > before, "these are the runs of the loop's thread");
}
