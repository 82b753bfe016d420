//! The cost of a message in allocations: none. Allocations are counted, so the result is exact on every machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bucle::net::{Handler, Server, ServerOptions, Socket};
use bucle::telnet::{self, Client, Telnet};
use bucle::{EventLoop, Loop};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// The bytes that the thread has allocated and not freed, each block with what the allocator adds to it.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The largest value of [`LIVE`] since this was last set.
    static PEAK: Cell<isize> = const { Cell::new(0) };
    /// The size of the largest allocation.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// A header of 8 bytes, in steps of 16, as in the allocator of glibc.
fn count_live(freed: usize, allocated: usize) {
    let with_header = |size: usize| if size == 0 { 0 } else { (size + 8).next_multiple_of(16) as isize };
    let Ok(live) = LIVE.try_with(|live| {
        live.set(live.get() + with_header(allocated) - with_header(freed));
        live.get()
    }) else {
        return;
    };
    let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live)));
}

fn count(size: usize) {
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// The only `unsafe` of the project: an allocator cannot be written without it, and this one is only in a test.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        count_live(0, layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count_live(layout.size(), 0);
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        count_live(layout.size(), size);
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Writes every chunk back in pieces of 64 bytes, as a server of lines does.
struct Pieces;

impl Handler for Pieces {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        for piece in chunk.chunks(64) {
            socket.write(lp, piece);
        }
    }
}

/// Sends every chunk to all members.
#[derive(Default)]
struct Relay {
    members: Vec<Socket>,
}

impl Handler for Relay {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.members.push(socket);
    }
    fn on_data(&mut self, lp: &mut Loop, _: Socket, chunk: &[u8]) {
        for member in &self.members {
            member.write(lp, chunk);
        }
    }
}

/// Runs `clients` that exchange a message with the server many times. Returns the allocations of the loop's thread in
/// the second half; in the first half every buffer grows to its final size.
fn allocations(handler: impl Handler, clients: usize, message: &'static [u8]) -> u64 {
    let listen = |lp: &mut Loop| {
        let server = Server::new(lp, ServerOptions { accepts_per_turn: 64, ..ServerOptions::default() }, handler);
        server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server.id().address(lp).and_then(|address| address.port()).expect("it is bound")
    };
    allocations_of(listen, clients, "", message.to_vec(), message.len())
}

/// The same for a server that `listen` makes. Each client first sends `opening`, and reads an answer that ends with an
/// empty line. The answer to `message` has `answer_len` bytes.
fn allocations_of(
    listen: impl FnOnce(&mut Loop) -> u16,
    clients: usize,
    opening: &'static str,
    message: Vec<u8>,
    answer_len: usize,
) -> u64 {
    allocations_after(listen, clients, opening.into(), b"\r\n\r\n", message, answer_len)
}

/// The same with an answer to `opening` that ends with `end`.
fn allocations_after(
    listen: impl FnOnce(&mut Loop) -> u16,
    clients: usize,
    opening: Vec<u8>,
    end: &'static [u8],
    message: Vec<u8>,
    answer_len: usize,
) -> u64 {
    const ROUNDS: usize = 300;
    let mut event_loop = EventLoop::new().expect("a loop");
    let port = event_loop.enter(listen);
    let (half_done, is_half_done) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let conversation = thread::spawn(move || {
        let connect = |_| {
            let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
            client.write_all(&opening).expect("the server reads");
            let (mut answer, mut byte) = (Vec::new(), [0]);
            while !opening.is_empty() && !answer.ends_with(end) {
                client.read_exact(&mut byte).expect("an answer");
                answer.push(byte[0]);
            }
            client
        };
        let mut clients: Vec<TcpStream> = (0..clients).map(connect).collect();
        let mut answer = vec![0; answer_len];
        for _half in 0..2 {
            for _ in 0..ROUNDS {
                clients.iter_mut().for_each(|client| client.write_all(&message).expect("the server reads"));
                clients.iter_mut().for_each(|client| client.read_exact(&mut answer).expect("an answer"));
            }
            half_done.send(()).expect("the test waits");
            may_go_on.recv().expect("the test goes on");
        }
    });
    let mut counts = Vec::new();
    for _half in 0..2 {
        let before = ALLOCATIONS.get();
        while is_half_done.try_recv().is_err() {
            assert!(!conversation.is_finished(), "the conversation ended early");
            event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
        }
        counts.push(ALLOCATIONS.get() - before);
        go_on.send(()).expect("the conversation waits");
    }
    conversation.join().expect("the conversation went well");
    counts[1]
}

#[test]
fn an_echoed_message_allocates_nothing() {
    assert_eq!(allocations(Pieces, 8, &[b'x'; 64]), 0);
}

/// Answers through a pipe, which is written after `on_data`.
struct Piped;

impl Handler for Piped {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        socket.pipe(lp, socket);
    }
}

#[test]
fn a_piped_message_allocates_nothing() {
    assert_eq!(allocations(Piped, 8, &[b'x'; 64]), 0);
}

#[test]
fn sixteen_pipelined_lines_allocate_nothing() {
    assert_eq!(allocations(Pieces, 8, &[b'x'; 1024]), 0);
}

/// Writes every line back in a write of its own, as `bucle serve lines` does.
struct Lines;

impl telnet::Handler for Lines {
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        client.write(lp, line);
    }
}

/// Telnet stores state of a client only in the middle of a line, and these lines are complete.
#[test]
fn sixteen_telnet_lines_allocate_nothing() {
    let lines = "0123456789abcde\n".repeat(16).leak().as_bytes();
    let untouched = telnet::Options { keeps_breaks: true, ..telnet::Options::default() };
    assert_eq!(allocations(Telnet::new(untouched, Lines), 8, lines), 0);
}

#[test]
fn a_turn_with_nothing_to_do_allocates_nothing() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn a_broadcast_allocates_nothing_per_member() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let relay = Relay::default();
    let port = event_loop.enter(|lp| {
        let server = Server::new(lp, ServerOptions { accepts_per_turn: 64, ..ServerOptions::default() }, relay);
        server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server.id().address(lp).and_then(|address| address.port()).expect("it is bound")
    });
    let mut members: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the server listens")).collect();
    let mut counts = Vec::new();
    for _ in 0..20 {
        members[0].write_all(b"hola\n").expect("the server reads");
        let before = ALLOCATIONS.get();
        for member in &mut members {
            member.set_nonblocking(true).expect("a socket");
            let mut buf = [0; 5];
            let mut got = 0;
            while got < buf.len() {
                match member.read(&mut buf[got..]) {
                    Ok(n) => got += n,
                    Err(_) => drop(event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works")),
                }
            }
        }
        counts.push(ALLOCATIONS.get() - before);
    }
    assert_eq!(counts[10..], [0; 10], "{counts:?}");
}

/// Sends every chunk to all members, and then disconnects them.
#[derive(Default)]
struct Farewell {
    members: Vec<Socket>,
}

impl Handler for Farewell {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.members.push(socket);
    }
    fn on_data(&mut self, lp: &mut Loop, _: Socket, chunk: &[u8]) {
        // All of them have queued bytes at the same time.
        for member in &self.members {
            member.write(lp, chunk);
        }
        self.members.drain(..).for_each(|member| member.destroy(lp));
    }
}

#[test]
fn the_memory_of_many_connections_is_free_when_all_of_them_close_in_one_turn() {
    const COUNT: usize = 300;
    let mut event_loop = EventLoop::new().expect("a loop");
    let (server, port) = event_loop.enter(|lp| {
        let options = ServerOptions { accepts_per_turn: 64, ..ServerOptions::default() };
        let server = Server::new(lp, options, Farewell::default()).id();
        server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        (server, server.address(lp).and_then(|address| address.port()).expect("it is bound"))
    });
    let mut visit = || {
        let mut clients = Vec::new();
        let mut turn_until = |clients: usize| {
            let limit = Instant::now() + Duration::from_secs(60);
            while event_loop.enter(|lp| server.connections(lp)) != clients {
                assert!(Instant::now() < limit, "the server does not have {clients} connections");
                event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
            }
        };
        while clients.len() < COUNT {
            // The kernel keeps so many that are not accepted.
            clients.extend((0..100).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the server listens")));
            turn_until(clients.len());
        }
        clients[0].write_all(b"hola").expect("the server reads");
        turn_until(0);
        LIVE.get()
    };
    // The first visit makes the loop allocate what it allocates only once.
    let before = LIVE.get();
    let kept = visit() - before;
    let more = visit() - kept - before;
    println!("{kept} bytes after {COUNT} connections, {more} more after as many again");
    assert!(kept < 300_000 && more < 20_000, "{kept} and {more} bytes stay");
}

#[cfg(feature = "websocket")]
mod websocket {
    use super::*;
    use bucle::websocket::deflate::Deflater;
    use bucle::websocket::{self, DeflateOptions, Message, Options, WebSocket};

    struct Echo;

    impl websocket::Handler for Echo {
        fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
            ws.send(lp, message);
        }
    }

    const PLAIN: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    const COMPRESSING: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                               Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

    fn echo(deflate: Option<DeflateOptions>) -> impl FnOnce(&mut Loop) -> u16 {
        |lp| {
            let options = Options { deflate, ..Options::default() };
            let server = websocket::listen(lp, ("127.0.0.1", 0), options, Echo).expect("a free port");
            server.port(lp).expect("it is bound")
        }
    }

    /// A frame of less than 64 KiB with a mask of zeros.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let len = payload.len();
        let mut frame =
            if len < 126 { vec![first, 0x80 | len as u8] } else { vec![first, 0xfe, (len >> 8) as u8, len as u8] };
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        frame
    }

    /// The same frame from a server has no mask.
    fn answer_len(frame: &[u8]) -> usize {
        frame.len() - 4
    }

    #[test]
    fn an_echoed_message_allocates_nothing() {
        for (name, message) in [
            ("a short text", frame(0x81, &[b'x'; 20])),
            ("32 of them", frame(0x81, &[b'x'; 20]).repeat(32)),
            ("a binary message of 16 KiB", frame(0x82, &[0; 16 * 1024])),
            ("a ping", frame(0x89, b"p")),
        ] {
            let messages = if name == "32 of them" { 32 } else { 1 };
            let answer_len = message.len() - 4 * messages;
            assert_eq!(allocations_of(echo(None), 8, PLAIN, message, answer_len), 0, "{name}");
        }
    }

    /// Publishes every message to all connections.
    struct Relay;

    impl websocket::Handler for Relay {
        fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
            ws.subscribe(lp, "all");
        }
        fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
            ws.publish(lp, "all", message);
        }
    }

    #[test]
    fn a_publication_allocates_nothing() {
        let listen = |lp: &mut Loop| {
            let server = websocket::listen(lp, ("127.0.0.1", 0), Options::default(), Relay).expect("a free port");
            server.port(lp).expect("it is bound")
        };
        // Each of eight connections receives the messages of the other seven.
        let message = frame(0x81, &[b'x'; 100]);
        let answer_len = 7 * answer_len(&message);
        assert_eq!(allocations_of(listen, 8, PLAIN, message, answer_len), 0);
    }

    #[test]
    fn a_compressed_message_allocates_nothing() {
        let text = "hola, mundo: ".repeat(80);
        let mut payload = Vec::new();
        Deflater::new(1, 15).deflate(text.as_bytes(), &mut payload, false);
        let message = frame(0xc1, &payload);
        let answer_len = answer_len(&message);
        assert_eq!(allocations_of(echo(Some(DeflateOptions::default())), 8, COMPRESSING, message, answer_len), 0);
    }

    #[test]
    fn a_message_below_the_threshold_allocates_nothing_on_a_compressing_connection() {
        let message = frame(0x81, &[b'x'; 20]);
        let answer_len = answer_len(&message);
        assert_eq!(allocations_of(echo(Some(DeflateOptions::default())), 8, COMPRESSING, message, answer_len), 0);
    }

    /// The largest allocation while a server with a limit of 100,000 bytes reads `bytes` of a client, and sends `end`.
    fn largest_allocation(bytes: &[u8], end: &[u8]) -> usize {
        let mut event_loop = EventLoop::new().expect("a loop");
        let port = event_loop.enter(|lp| {
            let deflate = Some(DeflateOptions::default());
            let options = Options { deflate, max_message: 100_000, ..Options::default() };
            let server = websocket::listen(lp, ("127.0.0.1", 0), options, Echo).expect("a free port");
            server.port(lp).expect("it is bound")
        });
        let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        client.set_nonblocking(true).expect("a socket");
        let mut received = Vec::with_capacity(10_000);
        let mut exchange = |bytes: &[u8], end: &[u8]| {
            let (mut unsent, mut buf) = (bytes, [0; 1000]);
            let limit = std::time::Instant::now() + Duration::from_secs(60);
            while !received.windows(end.len()).any(|window| window == end) {
                assert!(std::time::Instant::now() < limit, "no answer");
                if let Ok(n) = client.write(unsent) {
                    unsent = &unsent[n..];
                }
                event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
                if let Ok(n) = client.read(&mut buf) {
                    received.extend_from_slice(&buf[..n]);
                }
            }
        };
        exchange(COMPRESSING.as_bytes(), b"\r\n\r\n");
        LARGEST.set(0);
        exchange(bytes, end);
        LARGEST.get()
    }

    #[test]
    fn a_message_over_the_limit_is_not_stored() {
        // Five million zeros.
        let mut bomb = Vec::new();
        Deflater::new(1, 15).deflate(&vec![0; 5_000_000], &mut bomb, false);
        assert!(bomb.len() < 60_000, "{}", bomb.len());
        let bomb = frame(0xc2, &bomb);
        // Close frames with 1009 (RFC 6455, 7.4.1).
        let largest = largest_allocation(&bomb, b"\x03\xf1");
        assert!(largest <= 400_000, "{largest} bytes at once for a bomb");
        // A frame of 4 GiB, and one that will be complete after the limit.
        let largest = largest_allocation(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1], b"\x03\xf1");
        assert!(largest <= 1000, "{largest} bytes at once for a claim");
        let parts = [frame(2, &[0; 60_000]), frame(0, &[0; 40_000]), frame(0, &[0])].concat();
        let largest = largest_allocation(&parts, b"\x03\xf1");
        assert!(largest <= 200_000, "{largest} bytes at once for fragments");
    }

    /// A header that claims an allowed length costs nothing either.
    #[test]
    fn a_claimed_length_is_not_allocated() {
        let claim = [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0][..], &[1; 10]].concat();
        // A ping cannot come inside a frame, so the answer is to one before it.
        let largest = largest_allocation(&[&frame(0x89, b"p")[..], &claim].concat(), b"\x8a\x01p");
        assert!(largest <= 1000, "{largest} bytes at once for 98,304 that were claimed");
    }
}

#[cfg(feature = "socket-io")]
mod socket_io {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::time::{Duration, Instant};

    use bucle::socket_io::arguments::{Arguments, Header, encode_ack, encode_event};
    use bucle::socket_io::binary::Reconstructor;
    use bucle::socket_io::packet::Limits;
    use bucle::socket_io::rooms::Rooms;
    use bucle::socket_io::{self, Options, Server};
    use bucle::{EventLoop, Loop, ManualClock};

    use super::{ALLOCATIONS, LIVE, PEAK, allocations_after};

    #[test]
    fn a_selection_of_sockets_allocates_nothing() {
        let mut rooms = Rooms::default();
        for socket in 0..1000 {
            rooms.add(socket, format!("id {socket}").as_str().into());
            rooms.join(socket, "all");
            rooms.join(socket, if socket % 2 == 0 { "even" } else { "odd" });
        }
        let selections: [(&[&str], &[&str], usize); 6] = [
            (&[], &[], 1000),
            (&["even"], &[], 500),
            (&["id 7"], &[], 1),
            (&["odd"], &["id 7"], 499),
            (&[], &["even"], 500),
            (&["even", "all", "none"], &["id 7", "id 8"], 998),
        ];
        let mut out = Vec::new();
        for round in 0..2 {
            let before = ALLOCATIONS.get();
            for (to, except, count) in selections {
                out.clear();
                rooms.select(to, except, &mut out);
                assert_eq!(out.len(), count);
            }
            if round > 0 {
                assert_eq!(ALLOCATIONS.get(), before);
            }
        }
    }

    #[test]
    fn an_event_and_its_acknowledgement_allocate_nothing() {
        let limits = Limits::default();
        let mut reconstructor = Reconstructor::default();
        let (mut text, mut attachments) = (String::with_capacity(1000), Vec::new());
        let before = ALLOCATIONS.get();
        for message in [r#"212["echo",{"a":1}]"#, r#"2/admin,0["say","hola",[[[[{"b":null}]]]],1.5]"#] {
            let packet = reconstructor.text(message, &limits).expect("a packet").expect("without attachments");
            let (name, arguments) = Arguments::of_event(&packet, None);
            let header = Header::new(packet.namespace, packet.id);
            encode_ack(&mut text, &mut attachments, &header, &arguments).expect("it can be sent");
            encode_event(&mut text, &mut attachments, &header, &name, &arguments, Some("offset"))
                .expect("it can be sent");
            encode_event(&mut text, &mut attachments, &header, &name, &("hola", 7, true), None)
                .expect("it can be sent");
            let len = arguments.len();
            let (first, last) = (arguments.text(0), arguments.raw(len - 1));
            let number = (len == 3).then(|| arguments.get::<f64>(2).expect("a number"));
            std::hint::black_box((first, last, number));
        }
        assert_eq!(ALLOCATIONS.get() - before, 0);
    }

    /// A server that answers `echo` with the arguments, and greets each client with `ready`.
    fn echo(lp: &mut Loop) -> (u16, Server) {
        let (http, io) = socket_io::listen(lp, ("127.0.0.1", 0), Options::default()).expect("a free port");
        io.on_connection(lp, |lp, socket| {
            socket.emit(lp, "ready", ());
        });
        io.on(lp, "echo", |lp, _, event| {
            event.ack(lp, event.arguments());
        });
        io.on(lp, "all", move |lp, _, event| {
            io.emit(lp, "all", event.arguments());
        });
        (http.port(lp).expect("it is bound"), io)
    }

    /// A text frame of less than 126 bytes with a mask of zeros.
    fn frame(text: &str) -> Vec<u8> {
        [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    /// A browser sends about as much with its request.
    fn opening() -> Vec<u8> {
        let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\
             Connection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0\r\n\
             Upgrade: websocket\r\nOrigin: http://127.0.0.1:3000\r\nSec-WebSocket-Version: 13\r\n\
             Accept-Encoding: gzip, deflate, br\r\nAccept-Language: es,en;q=0.9\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        [request.as_bytes(), &frame("40")].concat()
    }

    const READY: &[u8] = br#"42["ready"]"#;

    #[test]
    fn an_event_with_an_acknowledgement_over_a_connection_allocates_nothing() {
        let (question, answer) = (r#"427["echo",{"a":[1,2,3]},"hola"]"#, r#"437[{"a":[1,2,3]},"hola"]"#);
        let allocations = allocations_after(|lp| echo(lp).0, 8, opening(), READY, frame(question), 2 + answer.len());
        assert_eq!(allocations, 0);
    }

    #[test]
    fn a_broadcast_over_connections_allocates_nothing() {
        // Each of eight clients gets the events of all.
        let (event, clients) = (r#"42["all","hola"]"#, 8);
        let answer_len = clients * (2 + event.len());
        assert_eq!(allocations_after(|lp| echo(lp).0, clients, opening(), READY, frame(event), answer_len), 0);
    }

    /// The loop with its server, turned until all clients are connected, or all are gone.
    fn turn_until(event_loop: &mut EventLoop, io: Server, clients: &mut [TcpStream], count: usize) {
        let limit = Instant::now() + Duration::from_secs(60);
        while event_loop.enter(|lp| io.socket_count(lp)) != count {
            assert!(Instant::now() < limit, "the clients do not come or go");
            event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
        }
        event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        let mut buf = [0; 1024];
        for client in clients {
            while client.read(&mut buf).is_ok_and(|n| n > 0) {}
        }
    }

    fn connect(port: u16, count: usize) -> Vec<TcpStream> {
        let connect = |_| {
            let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
            client.set_nonblocking(true).expect("a socket");
            client.write_all(&opening()).expect("it fits");
            client
        };
        (0..count).map(connect).collect()
    }

    /// How many clients come at a time: the kernel keeps so many that are not accepted.
    const AT_ONCE: usize = 100;

    #[test]
    fn an_idle_client_costs_at_most_2_kb_and_its_memory_is_free_when_it_has_gone() {
        // So many that the tables use most of the room that they reserve: 256 KiB at least, and doubled when it is full.
        const COUNT: usize = 3600;
        // No ping is sent, however long the visits take.
        let mut event_loop = EventLoop::with_clock(ManualClock::new()).expect("a loop");
        let (port, io) = event_loop.enter(echo);
        // The first client makes the loop allocate what it allocates only once.
        let mut first = connect(port, 1);
        turn_until(&mut event_loop, io, &mut first, 1);
        drop(first);
        turn_until(&mut event_loop, io, &mut [], 0);
        let mut all = Vec::with_capacity(COUNT);
        let mut visit = |event_loop: &mut EventLoop| {
            let before = LIVE.get();
            while all.len() < COUNT {
                all.extend(connect(port, AT_ONCE));
                let expected = all.len();
                turn_until(event_loop, io, &mut all, expected);
            }
            let each = (LIVE.get() - before) / COUNT as isize;
            all.iter().for_each(|client| drop(client.shutdown(Shutdown::Both)));
            turn_until(event_loop, io, &mut [], 0);
            all.clear();
            for _ in 0..3 {
                event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
            }
            each
        };
        let before = LIVE.get();
        let each = visit(&mut event_loop);
        let kept = (LIVE.get() - before) / COUNT as isize;
        println!("{each} bytes for each of {COUNT} idle clients, {kept} when they have gone");
        assert!(each <= 2000, "{each} bytes");
        // Some tables keep the room of their largest number of entries.
        assert!(kept <= each / 5, "{kept} of {each} bytes stay");
        let before = LIVE.get();
        for _ in 0..2 {
            visit(&mut event_loop);
        }
        let grown = LIVE.get() - before;
        assert!(grown <= 1000, "{grown} bytes stay of each visit");
    }

    /// While many clients leave, nothing is free yet. What their leaving needs is taken from the end of the heap, and
    /// the allocator of the system may keep it for ever. So it must be little.
    #[test]
    fn clients_that_leave_at_once_need_little_memory_for_that() {
        // No ping is sent, however long the visits take.
        let mut event_loop = EventLoop::with_clock(ManualClock::new()).expect("a loop");
        let (port, io) = event_loop.enter(echo);
        let mut all = Vec::new();
        for expected in (AT_ONCE..=500).step_by(AT_ONCE) {
            all.extend(connect(port, AT_ONCE));
            turn_until(&mut event_loop, io, &mut all, expected);
        }
        let before = LIVE.get();
        PEAK.set(before);
        all.iter().for_each(|client| drop(client.shutdown(Shutdown::Both)));
        turn_until(&mut event_loop, io, &mut [], 0);
        let each = (PEAK.get() - before) / all.len() as isize;
        println!("{each} bytes for each of {} clients that leave", all.len());
        assert!(each <= 100, "{each} bytes");
    }

    /// Sends requests on one connection, each when the last one has its answer. Returns the answers.
    fn converse(event_loop: &mut EventLoop, client: &mut TcpStream, requests: &[String]) -> Vec<String> {
        let limit = Instant::now() + Duration::from_secs(60);
        let (mut answers, mut received, mut buf) = (Vec::with_capacity(requests.len()), Vec::new(), [0; 4096]);
        for request in requests {
            client.write_all(request.as_bytes()).expect("it fits");
            received.clear();
            let text = loop {
                assert!(Instant::now() < limit, "no answer");
                event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
                if let Ok(n) = client.read(&mut buf) {
                    received.extend_from_slice(&buf[..n]);
                }
                let text = String::from_utf8_lossy(&received);
                let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                if body.ends_with('}') || body == "ok" {
                    break text.into_owned();
                }
            };
            answers.push(text);
        }
        answers
    }

    #[test]
    fn sessions_that_poll_leave_nothing_when_they_have_ended() {
        // So many that the tables use most of the room that they reserve.
        const COUNT: usize = 2000;
        // No ping is sent, however long the visits take.
        let mut event_loop = EventLoop::with_clock(ManualClock::new()).expect("a loop");
        let (port, io) = event_loop.enter(echo);
        let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        client.set_nonblocking(true).expect("a socket");
        let target = "/socket.io/?EIO=4&transport=polling";
        // `count` sessions come and go. Returns what one costs.
        let mut visit = |count: usize| {
            let open = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let before = LIVE.get();
            let answers = converse(&mut event_loop, &mut client, &vec![open; count]);
            let posts = answers.iter().flat_map(|answer| {
                let sid = answer.split("\"sid\":\"").nth(1).expect("an id")[..20].to_owned();
                ["40", "1"].map(|body| {
                    let len = body.len();
                    format!("POST {target}&sid={sid} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}")
                })
            });
            let posts: Vec<String> = posts.collect();
            drop(answers);
            let in_test: usize = posts.iter().map(|post| (post.capacity() + 8).next_multiple_of(16)).sum();
            let each = (LIVE.get() - before - in_test as isize) / count as isize;
            converse(&mut event_loop, &mut client, &posts);
            assert_eq!(event_loop.enter(|lp| (io.socket_count(lp), io.engine().session_count(lp))), (0, 0));
            each
        };
        // The first one makes the loop allocate what it allocates only once.
        visit(1);
        let before = LIVE.get();
        let each = visit(COUNT);
        let kept = (LIVE.get() - before) / COUNT as isize;
        println!("{each} bytes for each of {COUNT} sessions that poll, {kept} when they have gone");
        assert!(each <= 2000, "{each} bytes");
        assert!(kept <= each / 3, "{kept} of {each} bytes stay");
        let before = LIVE.get();
        for _ in 0..2 {
            visit(COUNT);
        }
        let grown = LIVE.get() - before;
        assert!(grown <= 1000, "{grown} bytes stay of each visit");
    }
}
