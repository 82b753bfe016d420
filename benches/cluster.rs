//! The cost of an event that goes through Redis: two servers, a sender at one of them and the receivers at the other.
//! Servers of this crate beside servers of Node with its own adapters, in turns.
//!
//! ```text
//!   the load, on one processor        on the other processor
//!   ┌────────────────────────┐        ┌────────┐   ┌───────┐   ┌────────┐
//!   │ a sender ──────────────┼──────▶ │ node A │──▶│ Redis │──▶│ node B │──┐
//!   │ receivers ◀────────────┼────────┴────────┴───┴───────┴───┴────────┴──┘
//!   └────────────────────────┘
//! ```
//!
//! Every receiver checks every byte: each event once, and in order. `cargo bench --bench cluster -- classic` compares
//! one adapter only.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bucle::redis::{self, Link};
use bucle::socket_io::redis_adapter::{self, RedisAdapter, ShardedAdapter, ShardedOptions};
use bucle::socket_io::redis_adapter::{StreamsAdapter, StreamsOptions};
use bucle::socket_io::{self, Options};
use bucle::websocket::frame::{Header, Opcode};
use bucle::websocket::mask::apply_mask;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::redis_server::RedisServer;
use crate::support::machine::{self, Side};

#[path = "../tests/support/redis_server.rs"]
#[allow(dead_code, reason = "the tests kill it, too")]
mod redis_server;
mod support;

const ADAPTERS: [&str; 3] = ["classic", "sharded", "streams"];
const PEERS: [&str; 2] = ["bucle", "node"];

/// An odd number, so that the median is one of the rounds.
const ROUNDS: usize = 9;

/// Bytes of the text of an event: 10 digits and letters.
const TEXT: usize = 64;

/// A server that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(30);

/// The same work for all peers.
struct Question {
    receivers: usize,
    /// How many events may be sent and not received by all.
    in_flight: u64,
    events: u64,
}

/// How many events go through Redis, how many deliveries one of them makes, and how long one takes.
const QUESTIONS: [Question; 3] = [
    Question { receivers: 1, in_flight: 512, events: 20_000 },
    Question { receivers: 50, in_flight: 128, events: 3_000 },
    Question { receivers: 1, in_flight: 1, events: 1_000 },
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, serve, adapter, port] = arguments.as_slice()
        && serve == "--node"
    {
        return serve_node(adapter, port.parse().expect("a port")).expect("it serves");
    }
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    machine::raise_descriptor_limit();
    machine::pin(std::process::id(), Side::Load);
    let named: Vec<&str> = ADAPTERS.into_iter().filter(|name| arguments.iter().any(|other| other == name)).collect();
    let adapters = if named.is_empty() { ADAPTERS.to_vec() } else { named };
    println!(
        "| adapter, receivers, in flight | | events a second | CPU of the nodes per delivery | of Redis | latency |"
    );
    println!("|---|---|---|---|---|---|");
    for adapter in adapters {
        for question in &QUESTIONS {
            compare(adapter, question);
        }
    }
    println!("\n| adapter | | memory of a client in a room |\n|---|---|---|");
    for adapter in ["classic", "sharded"] {
        measure_memory(adapter);
    }
    println!("\n| nodes | CPU of Redis per broadcast |\n|---|---|");
    for nodes in [1, 2, 5, 10, 20, 50] {
        measure_redis(nodes);
    }
}

/// The processor time of Redis for a message of 200 bytes that goes to so many nodes, each of which subscribes to the
/// pattern of a namespace.
fn measure_redis(nodes: usize) {
    const MESSAGES: usize = 10_000;
    let Some(redis) = RedisServer::start(&[]) else { return };
    machine::pin(redis.id(), Side::Server);
    let connect = || net::TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
    let command = |parts: &[&str]| {
        let bulks: String = parts.iter().map(|part| format!("${}\r\n{part}\r\n", part.len())).collect();
        format!("*{}\r\n{bulks}", parts.len())
    };
    let message = "x".repeat(200);
    // `*4 pmessage pattern channel message`, each with its length.
    let received =
        format!("*4\r\n$8\r\npmessage\r\n$14\r\nsocket.io#/#r*\r\n$14\r\nsocket.io#/#r#\r\n$200\r\n{message}\r\n");
    let (len, readers) = (received.len() * MESSAGES, 0..nodes);
    let readers: Vec<_> = readers
        .map(|_| {
            let mut stream = connect();
            stream.write_all(command(&["PSUBSCRIBE", "socket.io#/#r*"]).as_bytes()).expect("it reads");
            let confirmation = "*3\r\n$10\r\npsubscribe\r\n$14\r\nsocket.io#/#r*\r\n:1\r\n";
            let mut answer = vec![0; confirmation.len()];
            stream.read_exact(&mut answer).expect("a confirmation");
            assert_eq!(answer, confirmation.as_bytes());
            std::thread::spawn(move || {
                let (mut buf, mut left) = ([0; 64 * 1024], len);
                while left > 0 {
                    let read = stream.read(&mut buf).expect("it sends");
                    assert!(read > 0, "Redis has closed the connection");
                    left -= read;
                }
            })
        })
        .collect();
    let before = machine::cpu(redis.id());
    let mut publisher = connect();
    let publish = command(&["PUBLISH", "socket.io#/#r#", &message]);
    let reply = format!(":{nodes}\r\n");
    // Some at a time, as the publications of a turn of the loop.
    for _ in 0..MESSAGES / 10 {
        publisher.write_all(publish.repeat(10).as_bytes()).expect("it reads");
        let mut replies = vec![0; reply.len() * 10];
        publisher.read_exact(&mut replies).expect("replies");
        assert_eq!(replies, reply.repeat(10).as_bytes());
    }
    readers.into_iter().for_each(|reader| reader.join().expect("it has all messages"));
    let used = machine::cpu(redis.id()) - before;
    println!("| {nodes} | {} ns |", used.as_nanos() / MESSAGES as u128);
}

/// How much the memory of a node grows for each client, which has joined a room of ten. Some clients come first, so
/// that one-time allocations are not counted.
fn measure_memory(adapter: &str) {
    const CLIENTS: usize = 4_000;
    for peer in PEERS {
        let Some(redis) = RedisServer::start(&[]) else { return };
        let node = Node::start(peer, adapter, &redis);
        let mut clients = Vec::new();
        let mut grow = |count: usize| {
            for _ in 0..count {
                let mut stream = connect(node.port);
                let room = clients.len() / 10;
                stream.write_all(&masked(&format!(r#"420["join","room {room}"]"#))).expect("it reads");
                assert_eq!(read_frame(&mut stream), "430[]");
                clients.push(stream);
            }
            machine::memory(node.child.id())
        };
        let (Some(before), Some(after)) = (grow(500), grow(CLIENTS)) else { return };
        println!("| {adapter} | {peer} | {} bytes |", (after.saturating_sub(before)) / CLIENTS);
    }
}

fn serve_node(adapter: &str, redis_port: u16) -> bucle::Result<()> {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    bucle::run(|lp| {
        let mut options = redis::Options::default();
        options.address.port = redis_port;
        let link = Link::open(lp, options);
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), Options::default())?;
        match adapter {
            "classic" => io.set_adapter(lp, RedisAdapter::factory(link, redis_adapter::Options::default())),
            "sharded" => io.set_adapter(lp, ShardedAdapter::factory(link, ShardedOptions::default())),
            _ => io.set_adapter(lp, StreamsAdapter::factory(link, StreamsOptions::default())),
        }
        io.on(lp, "join", |lp, socket, event| {
            if let Some(room) = event.arguments().text(0) {
                socket.join(lp, &*room);
            }
            event.ack(lp, ());
        });
        io.on(lp, "say", move |lp, _, event| {
            let arguments = event.arguments();
            let (Some(room), Some(text)) = (arguments.text(0), arguments.text(1)) else { return };
            io.to(&*room).emit(lp, "said", &*text);
        });
        println!("listening on {}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}

/// A server. Dropping it kills the process.
struct Node {
    child: Child,
    port: u16,
}

impl Node {
    fn start(peer: &str, adapter: &str, redis: &RedisServer) -> Node {
        let mut command = match peer {
            "node" => {
                let mut command = Command::new("node");
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/support/peers/socketio_cluster.js"));
                command
            }
            _ => {
                let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
                command.arg("--node");
                command
            }
        };
        command.arg(adapter).arg(redis.port().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        machine::pin(child.id(), Side::Server);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped")).read_line(&mut line).expect("a line");
        let port = line.trim_end().rsplit(' ').next().and_then(|port| port.parse().ok());
        Node { port: port.unwrap_or_else(|| panic!("{peer} printed {line:?} instead of its port")), child }
    }

    fn cpu(&self) -> Duration {
        machine::cpu(self.child.id())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster of two nodes with its clients.
struct Cluster {
    redis: RedisServer,
    nodes: [Node; 2],
    load: Load,
}

/// The results of one peer, one value for each round.
#[derive(Default)]
struct Figures {
    events_per_second: Vec<f64>,
    ns_per_delivery: Vec<f64>,
    redis_ns_per_event: Vec<f64>,
    latencies: Vec<Duration>,
}

fn compare(adapter: &str, question: &Question) {
    let mut clusters: Vec<(&str, Cluster, Figures)> = Vec::new();
    for peer in PEERS {
        let Some(redis) = RedisServer::start(&[]) else { return };
        machine::pin(redis.id(), Side::Server);
        let nodes = [(); 2].map(|()| Node::start(peer, adapter, &redis));
        let load = Load::new(nodes[0].port, nodes[1].port, question);
        clusters.push((peer, Cluster { redis, nodes, load }, Figures::default()));
    }
    for round in 0..=ROUNDS {
        for (_, cluster, figures) in &mut clusters {
            let cpu = |cluster: &Cluster| cluster.nodes.iter().map(Node::cpu).sum::<Duration>();
            let (before, redis_before, start) = (cpu(cluster), machine::cpu(cluster.redis.id()), Instant::now());
            let latencies = cluster.load.run(question);
            let elapsed = start.elapsed();
            // The first round only warms up.
            if round == 0 {
                continue;
            }
            let events = question.events as f64;
            let deliveries = events * question.receivers as f64;
            figures.events_per_second.push(events / elapsed.as_secs_f64());
            figures.ns_per_delivery.push((cpu(cluster) - before).as_nanos() as f64 / deliveries);
            let redis = machine::cpu(cluster.redis.id()) - redis_before;
            figures.redis_ns_per_event.push(redis.as_nanos() as f64 / events);
            figures.latencies.extend(latencies);
        }
    }
    let ours: Vec<f64> = clusters[0].2.ns_per_delivery.clone();
    for (peer, _, mut figures) in clusters {
        let ratios: Vec<f64> = figures.ns_per_delivery.iter().zip(&ours).map(|(one, ours)| one / ours).collect();
        figures.latencies.sort();
        let latency = |part: f64| figures.latencies[((figures.latencies.len() - 1) as f64 * part) as usize].as_micros();
        let latencies = match question.in_flight {
            1 => format!("{} µs, 99 %: {} µs", latency(0.5), latency(0.99)),
            _ => String::new(),
        };
        println!(
            "| {adapter}, {}, {} | {peer} | {} | {} ns, {} × | {} ns per event | {latencies} |",
            question.receivers,
            question.in_flight,
            spread(&figures.events_per_second, 0),
            spread(&figures.ns_per_delivery, 0),
            spread(&ratios, 2),
            spread(&figures.redis_ns_per_event, 0),
        );
    }
}

/// The median, with the middle seven of nine in parentheses.
fn spread(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |at: usize| format!("{:.digits$}", sorted[at]);
    format!("{} ({}–{})", at(sorted.len() / 2), at(1), at(sorted.len() - 2))
}

/// The clients: the first one sends, the others receive.
struct Load {
    poll: Poll,
    events: Events,
    sender: TcpStream,
    receivers: Vec<Receiver>,
    /// Bytes that are to be sent.
    unsent: Vec<u8>,
    sent: u64,
    /// A received event: the frame with the digits of its number.
    frame: Vec<u8>,
    digits_at: usize,
}

struct Receiver {
    stream: TcpStream,
    received: u64,
    /// The begin of a frame.
    rest: Vec<u8>,
}

const DIGITS: usize = 10;

fn text(number: u64) -> String {
    let letters: String = ('a'..='z').cycle().take(TEXT - DIGITS).collect();
    format!("{number:0DIGITS$}{letters}")
}

fn masked(message: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut payload = message.as_bytes().to_vec();
    let header = Header { fin: true, rsv1: false, opcode: Opcode::Text, mask: Some(mask), len: payload.len() as u64 };
    apply_mask(&mut payload, mask, 0);
    [header.encode().as_ref(), &payload].concat()
}

/// A client that is connected to the main namespace.
fn connect(port: u16) -> net::TcpStream {
    let mut stream = net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        head.push(byte[0]);
    }
    assert!(read_frame(&mut stream).starts_with("0{"));
    stream.write_all(&masked("40")).expect("it reads");
    assert!(read_frame(&mut stream).starts_with("40{"));
    stream
}

fn read_frame(stream: &mut net::TcpStream) -> String {
    let mut header = [0; 2];
    stream.read_exact(&mut header).expect("a frame");
    let len = match header[1] {
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len).expect("a length");
            u16::from_be_bytes(len).into()
        }
        len => usize::from(len),
    };
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).expect("a payload");
    String::from_utf8(payload).expect("text")
}

impl Load {
    fn new(sender_port: u16, receiver_port: u16, question: &Question) -> Load {
        let poll = Poll::new().expect("a poll");
        let mut sender = connect(sender_port);
        let mut joined: Vec<net::TcpStream> = (0..question.receivers).map(|_| connect(receiver_port)).collect();
        for stream in &mut joined {
            stream.write_all(&masked(r#"420["join","r"]"#)).expect("it reads");
            assert_eq!(read_frame(stream), "430[]");
        }
        wait_for_the_cluster(&mut sender, &mut joined[0]);
        let register = |stream: net::TcpStream, token: usize| {
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = TcpStream::from_std(stream);
            let both = Interest::READABLE.add(Interest::WRITABLE);
            poll.registry().register(&mut stream, Token(token), both).expect("it is new");
            stream
        };
        let sender = register(sender, 0);
        let streams = joined.into_iter().enumerate();
        // All receivers have the events of the time in which they were one cluster; they are read and dropped.
        let receivers = streams.map(|(number, stream)| Receiver {
            stream: register(stream, 1 + number),
            received: 0,
            rest: Vec::new(),
        });
        let receivers = receivers.collect();
        let payload = format!(r#"42["said","{}"]"#, text(0));
        let header = Header { fin: true, rsv1: false, opcode: Opcode::Text, mask: None, len: payload.len() as u64 };
        let frame = [header.encode().as_ref(), payload.as_bytes()].concat();
        let digits_at = header.encode().as_ref().len() + r#"42["said",""#.len();
        let events = Events::with_capacity(256);
        Load { poll, events, sender, receivers, unsent: Vec::new(), sent: 0, frame, digits_at }
    }

    /// Sends events and receives them, until all have been received by all. Returns how long each took, if there is one
    /// at a time.
    fn run(&mut self, question: &Question) -> Vec<Duration> {
        let end = self.sent + question.events;
        let mut latencies = Vec::new();
        let mut sent_at = Instant::now();
        loop {
            let received = self.receivers.iter().map(|receiver| receiver.received).min().unwrap_or(end);
            if question.in_flight == 1 && received == self.sent && received + question.events > end {
                latencies.push(sent_at.elapsed());
            }
            if received == end {
                return latencies;
            }
            while self.sent < end.min(received + question.in_flight) {
                self.unsent.extend(masked(&format!(r#"42["say","r","{}"]"#, text(self.sent))));
                self.sent += 1;
                sent_at = Instant::now();
            }
            self.send();
            self.poll.poll(&mut self.events, Some(LIMIT)).expect("it polls");
            assert!(!self.events.is_empty(), "an event does not come");
            self.receive();
        }
    }

    fn send(&mut self) {
        while !self.unsent.is_empty() {
            match self.sender.write(&self.unsent) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server ended: {error}"),
            }
        }
    }

    fn receive(&mut self) {
        let mut buf = [0; 64 * 1024];
        for token in self.events.iter().map(|event| event.token().0).filter(|token| *token > 0) {
            let receiver = &mut self.receivers[token - 1];
            loop {
                match receiver.stream.read(&mut buf) {
                    Ok(0) => panic!("the server has closed a connection"),
                    Ok(len) => receiver.rest.extend_from_slice(&buf[..len]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("the server ended: {error}"),
                }
            }
            let len = self.frame.len();
            let mut used = 0;
            while receiver.rest.len() - used >= len {
                let digits = format!("{:0DIGITS$}", receiver.received);
                self.frame[self.digits_at..self.digits_at + DIGITS].copy_from_slice(digits.as_bytes());
                let frame = &receiver.rest[used..used + len];
                // Sent while the nodes found each other.
                if !frame.windows(EARLY.len()).any(|part| part == EARLY.as_bytes()) {
                    assert_eq!(frame, &self.frame[..], "{}", String::from_utf8_lossy(frame));
                    receiver.received += 1;
                }
                used += len;
            }
            receiver.rest.drain(..used);
        }
    }
}

/// The begin of the text of events that are sent until one arrives.
const EARLY: &str = "[\"said\",\"early";

/// Sends events until one has come through Redis. They are as long as all others.
fn wait_for_the_cluster(sender: &mut net::TcpStream, receiver: &mut net::TcpStream) {
    let early = format!("early{}", &text(0)[..TEXT - "early".len()]);
    receiver.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
    let begin = Instant::now();
    loop {
        assert!(begin.elapsed() < LIMIT, "the nodes do not find each other");
        sender.write_all(&masked(&format!(r#"42["say","r","{early}"]"#))).expect("it reads");
        if receiver.peek(&mut [0]).is_ok() {
            return;
        }
    }
}
