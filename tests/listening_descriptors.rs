//! `Listen::from_fd`: a server on a socket that was bound elsewhere. The program that has bound the socket is
//! responsible for its address; connections wait in the backlog until a server accepts them.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bucle::net::{Drain, Error, Listen, LocalAddress, Server, ServerId, ServerOptions, on};
use bucle::{EventLoop, Loop};

/// How long a test waits for something that must come.
const LIMIT: Duration = Duration::from_secs(60);

/// A path for a socket of one test.
fn path(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fd-{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn loopback() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).expect("a free port")
}

/// Greets each connection and ends it.
fn greeter(lp: &mut Loop) -> ServerId {
    let handler = on().connection(|lp, socket| socket.end_with(lp, "hola"));
    Server::new(lp, ServerOptions::default(), handler).id()
}

/// Turns the loop until the client has got the greeting and the end.
fn expect_greeting(event_loop: &mut EventLoop, server: ServerId, mut client: impl Read) {
    while event_loop.enter(|lp| server.connections(lp)) == 0 {
        event_loop.turn(Some(LIMIT)).expect("the poll works");
    }
    // The bytes leave at the end of the phase in which the connection is accepted.
    event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    let mut bytes = [0; 4];
    client.read_exact(&mut bytes).expect("a greeting");
    assert_eq!(&bytes, b"hola");
}

fn dial(listener: &TcpListener) -> TcpStream {
    let client = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    client.set_read_timeout(Some(LIMIT)).expect("a socket");
    client
}

#[test]
fn a_server_accepts_from_a_tcp_socket_that_was_bound_elsewhere() {
    let bound = loopback();
    let waiting = dial(&bound);
    let address = bound.local_addr().expect("it is bound");
    let mut event_loop = EventLoop::new().expect("a loop");
    let server = event_loop.enter(|lp| {
        let server = greeter(lp);
        server.listen_now(lp, bound.try_clone().expect("a descriptor")).expect("it is a listening socket");
        assert_eq!(server.address(lp), Some(LocalAddress::Ip(address)));
        server
    });
    expect_greeting(&mut event_loop, server, waiting);
    let later = dial(&bound);
    expect_greeting(&mut event_loop, server, later);
}

#[test]
fn the_file_of_a_unix_socket_that_was_bound_elsewhere_stays() {
    let path = path("file");
    let bound = UnixListener::bind(&path).expect("a free path");
    let mut event_loop = EventLoop::new().expect("a loop");
    let server = event_loop.enter(|lp| {
        let server = greeter(lp);
        server.listen_now(lp, bound).expect("it is a listening socket");
        assert_eq!(server.address(lp), Some(LocalAddress::Path(path.clone())));
        server
    });
    let client = UnixStream::connect(&path).expect("it listens");
    expect_greeting(&mut event_loop, server, client);
    event_loop.enter(|lp| server.remove(lp));
    drop(event_loop);
    assert!(path.exists(), "the file belongs to the one who has bound the socket");
    fs::remove_file(path).expect("it is there");
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_the_address_of_its_server() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("bucle-fd-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a short name");
    let bound = UnixListener::bind_addr(&address).expect("a free name");
    EventLoop::new().expect("a loop").enter(|lp| {
        let server = greeter(lp);
        server.listen_now(lp, bound).expect("it is a listening socket");
        assert_eq!(server.address(lp), Some(LocalAddress::Path(format!("\0{name}").into())));
    });
}

#[test]
fn other_descriptors_are_errors_that_name_the_fault() {
    let connected = || TcpStream::connect(loopback().local_addr().expect("it is bound")).expect("it listens");
    let table: [(&str, OwnedFd, &str); 5] = [
        ("a file", File::open("Cargo.toml").expect("it is there").into(), "it is not a socket"),
        ("a UDP socket", UdpSocket::bind(("127.0.0.1", 0)).expect("a port").into(), "it is not a stream socket"),
        ("a unix datagram socket", UnixDatagram::unbound().expect("a socket").into(), "it is not a stream socket"),
        ("a connection", connected().into(), "it does not listen"),
        ("a unix connection", UnixStream::pair().expect("a pair").0.into(), "it does not listen"),
    ];
    let mut event_loop = EventLoop::new().expect("a loop");
    for (name, descriptor, want) in table {
        event_loop.enter(|lp| {
            let server = greeter(lp);
            let error = server.listen_now(lp, Listen::from_fd(descriptor)).expect_err(name);
            assert!(matches!(error, Error::InvalidDescriptor { why, .. } if why == want), "{name}: {error}");
            assert_eq!(error.code(), "EINVAL", "{name}");
            assert!(error.to_string().starts_with("cannot listen on descriptor "), "{name}: {error}");
            assert!(!server.is_listening(lp) && server.address(lp).is_none(), "{name}");
            server.remove(lp);
        });
    }
}

#[test]
fn listen_reports_the_result_in_a_tick() {
    let log = Rc::<RefCell<Vec<String>>>::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop
        .enter(|lp| {
            let (listening, failing) = (log.clone(), log.clone());
            let handler = on()
                .listening(move |lp, server| {
                    listening.borrow_mut().push("listening".into());
                    server.close(lp);
                })
                .server_error(move |_, _, error| failing.borrow_mut().push(error.code().to_owned()));
            let server = Server::new(lp, ServerOptions::default(), handler);
            server.listen(lp, Listen::from_fd(File::open("Cargo.toml").expect("it is there")))?;
            server.listen(lp, loopback())?;
            assert!(server.is_listening(lp), "a descriptor is bound already");
            assert!(log.borrow().is_empty(), "not inside the call");
            Ok::<(), Error>(())
        })
        .expect("the descriptor is checked when it is used");
    event_loop.run().expect("the poll works");
    assert_eq!(log.take(), ["EINVAL", "listening"]);
}

#[test]
fn connections_wait_between_two_servers_on_the_same_socket() {
    let bound = loopback();
    let listen = Listen::from_fd(bound.try_clone().expect("a descriptor"));
    let mut event_loop = EventLoop::new().expect("a loop");
    for _ in 0..3 {
        // No server listens now.
        let client = dial(&bound);
        let server = event_loop.enter(|lp| {
            let server = greeter(lp);
            server.listen_now(lp, listen.clone()).expect("it is a listening socket");
            server
        });
        expect_greeting(&mut event_loop, server, client);
        event_loop.enter(|lp| server.close(lp));
    }
}

#[test]
fn a_drain_can_leave_the_backlog_to_the_next_server() {
    for leave_backlog in [true, false] {
        let bound = loopback();
        let listen = Listen::from_fd(bound.try_clone().expect("a descriptor"));
        let mut event_loop = EventLoop::new().expect("a loop");
        let first = event_loop.enter(|lp| {
            let first = greeter(lp);
            first.listen_now(lp, listen.clone()).expect("it is a listening socket");
            first
        });
        let client = dial(&bound);
        event_loop.enter(|lp| {
            first.drain(lp, Drain { leave_backlog, ..Drain::default() });
            assert_eq!(first.is_listening(lp), !leave_backlog, "it is closed at once, or when the backlog is empty");
        });
        if leave_backlog {
            event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
            assert_eq!(event_loop.enter(|lp| first.connections(lp)), 0, "the connection was not accepted");
        } else {
            expect_greeting(&mut event_loop, first, client);
            continue;
        }
        let next = event_loop.enter(|lp| {
            let next = greeter(lp);
            next.listen_now(lp, listen.clone()).expect("it is a listening socket");
            next
        });
        expect_greeting(&mut event_loop, next, client);
    }
}

#[test]
fn a_descriptor_is_shown_by_its_number_and_equal_to_its_clones_only() {
    let (one, other) = (Listen::from(loopback()), Listen::from(loopback()));
    let number = one.to_string();
    assert!(number.strip_prefix("descriptor ").is_some_and(|number| number.parse::<u32>().is_ok()), "{number}");
    assert!(one == one.clone() && one != other && one != Listen::from(8080));
}
