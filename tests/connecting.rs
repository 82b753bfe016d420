//! Connecting: from an address of one's own, to abstract names, again after a close, and to where nobody is.

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bucle::net::{Error, Family, Handler, Listen, Server, ServerOptions, Socket, SocketOptions, Target, listen};
use bucle::{EventLoop, Loop};

type Log = Rc<RefCell<Vec<String>>>;

/// Writes down what happens, and ends what it accepts.
struct Diary(Log);

impl Diary {
    fn write(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }
}

impl Handler for Diary {
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
}

/// Runs `main` and what follows from it; everything that was written down.
fn run(main: impl FnOnce(&mut Loop, &dyn Fn() -> Diary)) -> Vec<String> {
    let log = Log::default();
    let diary = || Diary(log.clone());
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| main(lp, &diary));
    event_loop.run().expect("the poll works");
    drop(event_loop);
    log.take()
}

#[test]
fn a_client_may_choose_the_address_it_comes_from() {
    let log = run(|lp, diary| {
        let server = listen(lp, ("127.0.0.1", 0), diary()).expect("a free port");
        let address = server.id().address(lp).expect("it is bound");
        Socket::connect(lp, Target::from(address).local_address("127.0.0.7"), diary()).expect("a good target");
        server.id().unref(lp);
    });
    assert!(log.contains(&"accepted from 127.0.0.7".to_owned()), "{log:?}");
}

#[test]
fn an_address_that_is_not_ours_fails_to_bind() {
    let log = run(|lp, diary| {
        Socket::connect(lp, Target::from(("127.0.0.1", 9)).local_address("192.0.2.1"), diary())
            .expect("it is an address");
    });
    assert_eq!(log, ["bind EADDRNOTAVAIL", "close true"]);
}

#[test]
fn what_is_no_address_is_refused_at_once() {
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
    event_loop.run().expect("nothing is left behind");
}

#[test]
fn a_name_that_does_not_exist_is_an_error_event() {
    let log = run(|lp, diary| {
        Socket::connect(lp, ("nobody.invalid", 80), diary()).expect("a good target");
    });
    let code = log.first().and_then(|line| line.strip_prefix("lookup ")).expect("the lookup failed").to_owned();
    assert!(["ENOTFOUND", "EAI_AGAIN"].contains(&code.as_str()), "{code}");
    assert_eq!(log[1..], [format!("getaddrinfo {code}"), "close true".to_owned()]);
}

#[test]
fn a_name_is_looked_up_and_then_connected_to() {
    let log = run(|lp, diary| {
        let server = listen(lp, ("127.0.0.1", 0), diary()).expect("a free port");
        let port = server.id().address(lp).and_then(|address| address.port()).expect("it is bound");
        Socket::connect(lp, Target::from(("localhost", port)).family(Family::V4), diary()).expect("a good target");
        server.id().unref(lp);
    });
    assert_eq!(log[0], "lookup");
    assert!(log.contains(&"connect".to_owned()) && log.contains(&"hola".to_owned()), "{log:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_in_no_directory() {
    let name = PathBuf::from(format!("\0bucle-test-{}", std::process::id()));
    let log = run(|lp, diary| {
        let server = listen(lp, Listen::path(&name), diary()).expect("nobody has the name");
        assert!(listen(lp, Listen::path(&name), diary()).is_err_and(|error| error.code() == "EADDRINUSE"));
        Socket::connect(lp, Target::path(&name), diary()).expect("a good target");
        server.id().unref(lp);
    });
    assert!(log.contains(&"accepted from a path".to_owned()) && log.contains(&"hola".to_owned()), "{log:?}");
}

/// Connects again from inside `on_close`, so many times.
struct Again {
    target: Target,
    left: usize,
    log: Log,
}

impl Handler for Again {
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
fn a_closed_socket_can_be_connected_again_with_fresh_counters() {
    let log = Log::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    let socket = event_loop.enter(|lp| {
        let server = listen(lp, ("127.0.0.1", 0), Diary(Log::default())).expect("a free port");
        let target = Target::from(server.id().address(lp).expect("it is bound"));
        server.id().unref(lp);
        let again = Again { target: target.clone(), left: 2, log: log.clone() };
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
fn an_open_server_can_be_found_by_any_of_its_addresses() {
    let log = run(|lp, diary| {
        let options = ServerOptions { no_delay: true, keep_alive: true, ..ServerOptions::default() };
        let server = Server::new(lp, options, diary());
        server.id().listen_now(lp, 0).expect("a free port");
        let address = server.id().address(lp).expect("it is bound");
        let options = SocketOptions {
            no_delay: true,
            keep_alive: true,
            keep_alive_initial_delay: Duration::from_secs(60),
            ..SocketOptions::default()
        };
        let socket = Socket::new(lp, options, diary());
        socket.connect_to(lp, address).expect("it is new");
        server.id().unref(lp);
    });
    assert!(log.contains(&"hola".to_owned()), "{log:?}");
}
