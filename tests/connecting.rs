//! Connecting: from a chosen local address, to abstract names, again after a close, and to addresses without a server.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bucle::net::{
    Error, Family, Handler, Listen, LocalAddress, Server, ServerId, ServerOptions, Socket, SocketOptions, Target,
    listen,
};
use bucle::{EventLoop, Loop};

type Log = Rc<RefCell<Vec<String>>>;

/// Records the events of its sockets, and ends every accepted connection with `hola`.
struct Recorder(Log);

impl Recorder {
    fn write(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }
}

impl Handler for Recorder {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        let peer = socket.remote_address(lp).map_or("a path".to_owned(), |address| address.ip().to_string());
        self.write(format!("accepted from {peer}"));
        socket.end_with(lp, "hola");
    }
    fn on_lookup(&mut self, _: &mut Loop, _: Socket, result: Result<IpAddr, &Error>) {
        self.write(result.map_or_else(|error| format!("lookup {}", error.code()), |_| "lookup".to_owned()));
    }
    fn on_connect(&mut self, _: &mut Loop, _: Socket) {
        self.write("connect");
    }
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.write(String::from_utf8_lossy(chunk));
    }
    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        self.write(format!("{} {}", error.syscall().unwrap_or("-"), error.code()));
    }
    fn on_close(&mut self, _: &mut Loop, _: Socket, had_error: bool) {
        self.write(format!("close {had_error}"));
    }
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, error: Error) {
        self.write(format!("server: {} {}", error.syscall().unwrap_or("-"), error.code()));
    }
}

/// Runs a loop to its end after `main`. Returns what was recorded.
fn run(main: impl FnOnce(&mut Loop, &dyn Fn() -> Recorder)) -> Vec<String> {
    let log = Log::default();
    let recorder = || Recorder(log.clone());
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| main(lp, &recorder));
    event_loop.run().expect("the poll works");
    drop(event_loop);
    log.take()
}

#[test]
fn a_client_may_choose_its_local_address() {
    let log = run(|lp, recorder| {
        let server = listen(lp, ("127.0.0.1", 0), recorder()).expect("a free port");
        let address = server.id().address(lp).expect("it is bound");
        Socket::connect(lp, Target::from(address).local_address("127.0.0.7"), recorder()).expect("a good target");
        server.id().unref(lp);
    });
    assert!(log.contains(&"accepted from 127.0.0.7".to_owned()), "{log:?}");
}

#[test]
fn an_address_that_is_not_ours_fails_to_bind() {
    let log = run(|lp, recorder| {
        Socket::connect(lp, Target::from(("127.0.0.1", 9)).local_address("192.0.2.1"), recorder())
            .expect("it is an address");
    });
    assert_eq!(log, ["bind EADDRNOTAVAIL", "close true"]);
}

#[test]
fn an_invalid_address_is_refused_immediately() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let refused = |lp: &mut Loop, target: Target| {
            Socket::connect(lp, target, bucle::net::on()).map(drop).map_err(|error| error.code().to_owned())
        };
        let local = Target::from(("127.0.0.1", 9)).local_address("here");
        assert_eq!(refused(lp, local), Err("ERR_INVALID_IP_ADDRESS".to_owned()));
        assert_eq!(refused(lp, 70_000.into()), Err("ERR_SOCKET_BAD_PORT".to_owned()));
        assert_eq!(refused(lp, (-1).into()), Err("ERR_SOCKET_BAD_PORT".to_owned()));
    });
    event_loop.run().expect("nothing keeps the loop alive");
}

#[test]
fn a_name_that_does_not_exist_is_an_error_event() {
    let log = run(|lp, recorder| {
        Socket::connect(lp, ("nobody.invalid", 80), recorder()).expect("a good target");
    });
    let code = log.first().and_then(|line| line.strip_prefix("lookup ")).expect("the lookup failed").to_owned();
    assert!(["ENOTFOUND", "EAI_AGAIN"].contains(&code.as_str()), "{code}");
    assert_eq!(log[1..], [format!("getaddrinfo {code}"), "close true".to_owned()]);
}

#[test]
fn a_name_is_looked_up_and_then_connected_to() {
    let log = run(|lp, recorder| {
        let server = listen(lp, ("127.0.0.1", 0), recorder()).expect("a free port");
        let port = server.id().address(lp).and_then(|address| address.port()).expect("it is bound");
        Socket::connect(lp, Target::from(("localhost", port)).family(Family::V4), recorder()).expect("a good target");
        server.id().unref(lp);
    });
    assert_eq!(log[0], "lookup");
    assert!(log.contains(&"connect".to_owned()) && log.contains(&"hola".to_owned()), "{log:?}");
}

/// A port on which no server listens, as address and number.
fn free_port(ip: &str) -> u16 {
    let listener = std::net::TcpListener::bind((ip, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A client whose own port is the port that it connects to. The kernel connects such a socket to itself; a client whose
/// port the kernel chooses gets there by chance.
#[test]
fn a_socket_that_is_connected_to_itself_is_refused() {
    for ip in ["127.0.0.1", "127.0.0.7", "::1"] {
        if ip == "::1" && std::net::TcpListener::bind((ip, 0)).is_err() {
            continue; // This machine has no IPv6.
        }
        let port = free_port(ip);
        for _ in 0..2 {
            let log = run(|lp, recorder| {
                let target = Target::from((ip, port)).local_address(ip).local_port(port);
                let socket = Socket::connect(lp, target, recorder()).expect("a good target");
                socket.write(lp, "to myself");
            });
            // The second round binds the port again: the reset has left no TIME-WAIT.
            assert_eq!(log, ["connect ECONNREFUSED", "close true"], "{ip}");
        }
        assert!(std::net::TcpListener::bind((ip, port)).is_ok(), "a server can have the port");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_needs_no_file() {
    let name = PathBuf::from(format!("\0bucle-test-{}", std::process::id()));
    let log = run(|lp, recorder| {
        let server = listen(lp, Listen::path(&name), recorder()).expect("the name is free");
        assert!(listen(lp, Listen::path(&name), recorder()).is_err_and(|error| error.code() == "EADDRINUSE"));
        Socket::connect(lp, Target::path(&name), recorder()).expect("a good target");
        server.id().unref(lp);
    });
    assert!(log.contains(&"accepted from a path".to_owned()) && log.contains(&"hola".to_owned()), "{log:?}");
}

/// Connects again from inside `on_close`, `left` times.
struct ConnectsAgain {
    target: Target,
    left: usize,
    log: Log,
}

impl Handler for ConnectsAgain {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        let info = socket.info(lp).expect("it is there");
        self.log.borrow_mut().push(format!("{} after {}", String::from_utf8_lossy(chunk), info.bytes_read));
    }
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _: bool) {
        if self.left > 0 {
            self.left -= 1;
            socket.connect_to(lp, self.target.clone()).expect("it is closed");
            socket.write(lp, "early");
        }
    }
}

#[test]
fn a_closed_socket_can_be_connected_again_with_new_counters() {
    let log = Log::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    let socket = event_loop.enter(|lp| {
        let server = listen(lp, ("127.0.0.1", 0), Recorder(Log::default())).expect("a free port");
        let target = Target::from(server.id().address(lp).expect("it is bound"));
        server.id().unref(lp);
        let again = ConnectsAgain { target: target.clone(), left: 2, log: log.clone() };
        let socket = Socket::new(lp, SocketOptions::default(), again);
        socket.connect_to(lp, target).expect("it is new");
        assert_eq!(socket.connect_to(lp, 80).map_err(|error| error.code().to_owned()), Err("EISCONN".to_owned()));
        socket
    });
    event_loop.run().expect("the poll works");
    assert_eq!(*log.borrow(), ["hola after 4"; 3]);
    event_loop.enter(|lp| assert!(!socket.exists(lp)));
}

#[test]
fn a_server_on_all_addresses_is_reached_by_its_own_address() {
    let log = run(|lp, recorder| {
        let options = ServerOptions { no_delay: true, keep_alive: true, ..ServerOptions::default() };
        let server = Server::new(lp, options, recorder());
        server.id().listen_now(lp, 0).expect("a free port");
        let address = server.id().address(lp).expect("it is bound");
        let options = SocketOptions {
            no_delay: true,
            keep_alive: true,
            keep_alive_initial_delay: Duration::from_secs(60),
            ..SocketOptions::default()
        };
        let socket = Socket::new(lp, options, recorder());
        socket.connect_to(lp, address).expect("it is new");
        server.id().unref(lp);
    });
    assert!(log.contains(&"hola".to_owned()), "{log:?}");
}

/// Destroys its socket during the lookup of a name, and then looks up the same name for another port.
struct Reconnecting {
    port: u16,
    has_reconnected: bool,
}

impl Handler for Reconnecting {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        assert_eq!(socket.remote_address(lp).map(|address| address.port()), Some(self.port));
        socket.destroy(lp);
    }
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _: bool) {
        if !self.has_reconnected {
            self.has_reconnected = true;
            socket.connect_to(lp, ("localhost", self.port)).expect("it is closed");
        }
    }
}

#[test]
fn the_result_of_an_earlier_lookup_is_ignored() {
    for _ in 0..20 {
        let mut event_loop = EventLoop::new().expect("a loop");
        let accepted = Rc::new(Cell::new((0, 0)));
        event_loop.enter(|lp| {
            let mut listen_and_count = |count: fn((u32, u32)) -> (u32, u32)| {
                let accepted = accepted.clone();
                let handler = bucle::net::on().connection(move |_, _| accepted.set(count(accepted.get())));
                let server = listen(lp, ("127.0.0.1", 0), handler).expect("a free port").id();
                server.unref(lp);
                server.address(lp).and_then(|address| address.port()).expect("it is bound")
            };
            let wrong = listen_and_count(|(wrong, right)| (wrong + 1, right));
            let right = listen_and_count(|(wrong, right)| (wrong, right + 1));
            let handler = Reconnecting { port: right, has_reconnected: false };
            let socket = Socket::connect(lp, ("localhost", wrong), handler).expect("a good target");
            socket.destroy(lp);
        });
        event_loop.run().expect("the poll works");
        // A peer may be closed before it is accepted, but the first server must get no connection.
        assert_eq!(accepted.get().0, 0);
    }
}

/// A link-local address of this machine, with the name and the number of its interface.
#[cfg(target_os = "linux")]
fn link_local() -> Option<(Ipv6Addr, String, u32)> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let ip = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
        let number = u32::from_str_radix(fields.next()?, 16).ok()?;
        ip.is_unicast_link_local().then(|| (ip, fields.nth(3).unwrap_or_default().to_owned(), number))
    })
}

#[cfg(target_os = "linux")]
#[test]
fn a_link_local_address_keeps_its_zone() {
    let Some((ip, name, number)) = link_local() else {
        return eprintln!("skipped: this machine has no link-local address");
    };
    let zoned = format!("{ip}%{name}");
    let zoned = zoned.as_str();
    let address = |port| SocketAddrV6::new(ip, port, 0, number);
    for way in ["as text", "as an address"] {
        let is_text = way == "as text";
        let log = run(|lp, recorder| {
            let on = if is_text { Listen::from((zoned, 0)) } else { address(0).into() };
            let server = listen(lp, on, recorder()).expect("it is ours");
            let bound = server.id().address(lp).expect("it is bound");
            let port = bound.port().expect("it is no path");
            assert_eq!(bound, LocalAddress::Ip(address(port).into()), "{way}");
            let target = if is_text { Target::from((zoned, port)) } else { address(port).into() };
            Socket::connect(lp, target.clone(), recorder()).expect("a good target");
            Socket::connect(lp, target.local_address(zoned), recorder()).expect("a good target");
            server.id().unref(lp);
        });
        let times = |line: &str| log.iter().filter(|logged| *logged == line).count();
        assert_eq!(
            (times("hola"), times("lookup"), times(&format!("accepted from {ip}"))),
            (2, 0, 2),
            "{way}: {log:?}"
        );
    }
    // Like every address it is bound in a tick.
    let log = run(|lp, recorder| {
        let recorder = recorder();
        let handler = bucle::net::on().listening(move |_, _| recorder.write("listening"));
        let server = Server::new(lp, ServerOptions::default(), handler);
        server.id().listen(lp, (zoned, 0)).expect("a good address");
        assert!(!server.id().is_listening(lp));
        server.id().unref(lp);
    });
    assert_eq!(log, ["listening"]);
}

#[test]
fn an_unknown_zone_is_an_error_and_not_a_name() {
    let log = run(|lp, recorder| {
        Socket::connect(lp, ("fe80::1%nowhere", 80), recorder()).expect("a good target");
        let server = Server::new(lp, ServerOptions::default(), recorder());
        server.id().listen(lp, ("fe80::1%nowhere", 80)).expect("a good address");
        let error = server.id().listen_now(lp, ("fe80::1%nowhere", 80)).expect_err("there is no such zone");
        assert_eq!(error.to_string(), "listen EINVAL: invalid argument fe80::1%nowhere:80");
    });
    let mut log = log;
    log.sort();
    assert_eq!(log, ["close true", "connect EINVAL", "server: listen EINVAL"]);
}

#[test]
fn an_invalid_path_is_refused_immediately() {
    let table = [
        ("", "the path of a unix socket is empty"),
        ("/tmp/a\0b", "the path of a unix socket has a NUL inside: \"/tmp/a\\0b\""),
    ];
    for (path, want) in table {
        run(|lp, recorder| {
            let refused = |error: Error| (error.code().to_owned(), error.to_string());
            let want = ("ERR_INVALID_ARG_VALUE".to_owned(), want.to_owned());
            let server = Server::new(lp, ServerOptions::default(), recorder());
            assert_eq!(server.id().listen(lp, Listen::path(path)).map_err(refused), Err(want.clone()));
            assert_eq!(Socket::connect(lp, Target::path(path), recorder()).map(drop).map_err(refused), Err(want));
        });
    }
}

/// Node would truncate the path and listen there, where another truncated path could collide with it.
#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_too_long_fails_and_names_the_limit() {
    let table = [
        ("a path", format!("/nowhere/{}", "x".repeat(99)), true),
        ("a path of the longest length", format!("/nowhere/{}", "x".repeat(98)), false),
        ("an abstract name", format!("\0{}", "x".repeat(108)), true),
        ("an abstract name of the longest length", format!("\0{}", "x".repeat(107)), false),
    ];
    for (name, path, is_too_long) in table {
        let mut log = run(|lp, recorder| {
            let server = Server::new(lp, ServerOptions::default(), recorder());
            server.id().listen(lp, Listen::path(&path)).expect("it is a path");
            server.id().close(lp);
            let refused = server.id().listen_now(lp, Listen::path(&path)).err().filter(|_| is_too_long);
            let text = refused.map(|error| error.to_string());
            let shown = path.replace('\0', "@");
            let want = format!("the path of a unix socket is longer than 107 bytes: {shown}");
            assert_eq!(text, is_too_long.then_some(want), "{name}");
            server.id().close(lp);
            Socket::connect(lp, Target::path(&path), recorder()).expect("it is a path");
        });
        log.retain(|line| line.contains("ENAMETOOLONG"));
        log.sort();
        let want: &[&str] = if is_too_long { &["- ENAMETOOLONG", "server: - ENAMETOOLONG"] } else { &[] };
        assert_eq!(log, want, "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_shown_with_an_at_sign_in_every_error() {
    struct Texts(Log);
    impl Handler for Texts {
        fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
            self.0.borrow_mut().push(error.to_string());
        }
    }
    let log = Log::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    let target = Target::path("\0bucle-no-server-here");
    assert_eq!(target.to_string(), "@bucle-no-server-here");
    event_loop.enter(|lp| Socket::connect(lp, target, Texts(log.clone())).map(drop).expect("a good target"));
    event_loop.run().expect("the poll works");
    assert_eq!(log.take(), ["connect ECONNREFUSED @bucle-no-server-here"]);
}

#[test]
fn an_empty_host_means_no_host() {
    let log = run(|lp, recorder| {
        let server = Server::new(lp, ServerOptions::default(), recorder());
        server.id().listen(lp, ("", 0)).expect("a good port");
        let address = server.id().address(lp).expect("it is bound immediately, as without a host");
        assert!(matches!(address, LocalAddress::Ip(address) if address.ip().is_unspecified()));
        Socket::connect(lp, ("", address.port().expect("it is no path")), recorder()).expect("a good target");
        server.id().unref(lp);
    });
    assert!(log.contains(&"lookup".to_owned()) && log.contains(&"hola".to_owned()), "{log:?}");
}

/// All ways to write an address mean the same, so a program does not have to take apart an address that it has read.
#[test]
fn an_address_can_be_written_in_many_ways() {
    let ip: IpAddr = "::1".parse().expect("an address");
    let six: Ipv6Addr = "::1".parse().expect("an address");
    let targets: [Target; 8] = [
        ("::1", 80).into(),
        ("::1", 80u16).into(),
        ("::1".to_owned(), 80).into(),
        (ip, 80).into(),
        (six, 80).into(),
        SocketAddr::new(ip, 80).into(),
        SocketAddrV6::new(six, 80, 0, 0).into(),
        LocalAddress::Ip((ip, 80).into()).into(),
    ];
    for target in &targets {
        assert_eq!((target, target.to_string()), (&targets[0], "[::1]:80".to_owned()));
    }
    let table: &[(Listen, &str)] = &[
        (80.into(), "[::]:80"),
        (("", 80).into(), "[::]:80"),
        (("localhost", 80).into(), "localhost:80"),
        (("127.0.0.1", 80).into(), "127.0.0.1:80"),
        (("fe80::1%eth0", 80).into(), "[fe80::1%eth0]:80"),
        (Listen::path("/run/app.sock"), "/run/app.sock"),
    ];
    for (on, want) in table {
        assert_eq!(on.to_string(), *want);
    }
    assert_eq!(Target::from(80), ("", 80).into());
    assert_eq!(Target::from(80).to_string(), "localhost:80");
    assert_ne!(Listen::from(80), Listen::from(80).backlog(1));
}
