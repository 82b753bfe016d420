//! The cost of the live page: the processor time of `bucle serve echo` without `--inspect`, with it, and with a viewer
//! that gets ten snapshots a second. And what the viewer gets: the size of the largest snapshot, and the time between
//! two.
//!
//! Server and load share the machine, so the time between two snapshots needs an otherwise idle one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::machine;

mod support;

/// Connections, and messages a second over all of them.
const QUESTIONS: [(usize, u32); 4] = [(0, 0), (100, 1_000), (1_000, 1_000), (10_000, 1_000)];

/// Rounds of each kind; those without and with a viewer in turns. An odd number, so that the median is one of them.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(5);

fn main() {
    let limit = machine::raise_descriptor_limit();
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    println!(
        "| connections | messages a second | without `--inspect` | no viewer | a viewer | the viewer alone | \
         largest snapshot | between snapshots |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (connections, rate) in QUESTIONS {
        if connections + 100 > limit {
            eprintln!("skipped: {connections} connections, for {limit} open files are allowed");
            continue;
        }
        ask(connections, rate);
    }
}

/// Prints the row of one question.
fn ask(connections: usize, rate: u32) {
    let plain = Server::start(&[]);
    let mut peers: Vec<TcpStream> = (0..connections).map(|_| plain.connect()).collect();
    let not_started: Vec<f64> = (0..ROUNDS).map(|_| plain.share(&mut peers, rate)).collect();
    // Both at the same time would need twice as many descriptors.
    drop((plain, peers));
    let server = Server::start(&["--inspect", "0"]);
    let mut peers: Vec<TcpStream> = (0..connections).map(|_| server.connect()).collect();
    let (mut without, mut with, mut seen) = (Vec::new(), Vec::new(), Seen::default());
    for _ in 0..ROUNDS {
        without.push(server.share(&mut peers, rate));
        let is_over = Arc::new(AtomicBool::new(false));
        let viewer = server.watch(Arc::clone(&is_over));
        with.push(server.share(&mut peers, rate));
        is_over.store(true, Ordering::Relaxed);
        seen.add(viewer.join().expect("the viewer reads"));
    }
    let costs: Vec<f64> = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    let percent = |shares: &[f64]| {
        let mut sorted = shares.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [least, middle, most] = [0, ROUNDS / 2, ROUNDS - 1].map(|place| sorted[place] * 100.0);
        format!("{middle:.2} % ({least:.2}–{most:.2})")
    };
    println!(
        "| {connections} | {rate} | {} | {} | {} | {} | {:.1} KiB | {} |",
        percent(&not_started),
        percent(&without),
        percent(&with),
        percent(&costs),
        seen.largest as f64 / 1024.0,
        seen.gaps()
    );
}

/// `bucle serve echo`.
struct Server {
    child: Child,
    address: String,
    /// The address of its inspector and the token. Empty without one.
    inspector: String,
    token: String,
}

impl Server {
    fn start(options: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
        command.args(["serve", "echo", "--port", "0"]).args(options);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut next = || lines.next().expect("a line").expect("a line");
        let address = next().rsplit_once(' ').expect("an address").1.to_owned();
        let url = if options.is_empty() { String::new() } else { next() };
        let inspector = url.rsplit_once("http://").and_then(|(_, url)| url.split_once("/?t="));
        let (inspector, token) = inspector.unwrap_or_default();
        Server { child, address, inspector: inspector.to_owned(), token: token.to_owned() }
    }

    /// Connects a client that has had an answer.
    fn connect(&self) -> TcpStream {
        let mut peer = TcpStream::connect(&self.address).expect("it listens");
        peer.set_nodelay(true).expect("it is a socket");
        echo(&mut peer);
        peer
    }

    /// The share of a core that the server uses in a round, while the peers send at this rate.
    fn share(&self, peers: &mut [TcpStream], rate: u32) -> f64 {
        let (start, before) = (Instant::now(), machine::cpu(self.child.id()));
        let mut sent = 0;
        while start.elapsed() < ROUND {
            if peers.is_empty() {
                thread::sleep(ROUND.saturating_sub(start.elapsed()));
                continue;
            }
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as usize;
            while sent < due {
                let place = sent % peers.len();
                echo(&mut peers[place]);
                sent += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        (machine::cpu(self.child.id()) - before).as_secs_f64() / start.elapsed().as_secs_f64()
    }

    /// Reads snapshots on a thread until `is_over`.
    fn watch(&self, is_over: Arc<AtomicBool>) -> thread::JoinHandle<Seen> {
        let mut stream = TcpStream::connect(&self.inspector).expect("it listens");
        let (inspector, token) = (&self.inspector, &self.token);
        let request = format!("GET /events HTTP/1.1\r\nHost: {inspector}\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it is connected");
        thread::spawn(move || {
            let mut seen = Seen::default();
            let mut last = None;
            let mut lines = BufReader::new(stream).split(b'\n');
            while !is_over.load(Ordering::Relaxed) {
                let line = lines.next().expect("the stream is open").expect("the stream is open");
                if let Some(snapshot) = line.strip_prefix(b"data: ") {
                    let now = Instant::now();
                    seen.largest = seen.largest.max(snapshot.len());
                    seen.gaps.extend(last.replace(now).map(|last| now - last));
                }
            }
            seen
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The snapshots that a viewer has received.
#[derive(Default)]
struct Seen {
    /// The size of the largest snapshot, in bytes.
    largest: usize,
    /// The times between two snapshots.
    gaps: Vec<Duration>,
}

impl Seen {
    fn add(&mut self, other: Seen) {
        self.largest = self.largest.max(other.largest);
        self.gaps.extend(other.gaps);
    }

    fn gaps(&self) -> String {
        let mut sorted = self.gaps.clone();
        sorted.sort_unstable();
        let Some((longest, median)) = sorted.last().zip(sorted.get(sorted.len() / 2)) else { return String::new() };
        format!("{} ms, longest {} ms", median.as_millis(), longest.as_millis())
    }
}

/// Sends a message of 64 bytes and reads it back.
fn echo(peer: &mut TcpStream) {
    let (message, mut answer) = ([b'x'; 64], [0; 64]);
    peer.write_all(&message).expect("it is connected");
    peer.read_exact(&mut answer).expect("it is answered");
}
