//! Errors that nothing handles, in a program without a logger: each layer has a line on standard error for them.
//!
//! The program is this test binary once more: a test starts itself in a child process and reads its standard error.
//! (`tests/lessons/unhandled.rs` has the tests for `net` alone and for programs with a logger.)

use std::env;
use std::process::{self, Command, Stdio};

/// Set in the child process.
const IS_CHILD: &str = "BUCLE_TEST_IS_CHILD";

/// The exit status of a child whose program has ended. A child that finds no test with its name ends with 0.
const HAS_RUN: i32 = 7;

/// Runs `program` in a child process, which runs only the test `name`, the caller. Returns what the program wrote to
/// standard error.
fn stderr_of(name: &str, program: impl FnOnce()) -> String {
    if env::var_os(IS_CHILD).is_some() {
        program();
        process::exit(HAS_RUN);
    }
    let this = env::current_exe().expect("the test binary has a path");
    let output = Command::new(this)
        .args(["--exact", "--nocapture", name])
        .env(IS_CHILD, "1")
        .stdout(Stdio::null())
        .output()
        .expect("the child starts");
    let stderr = String::from_utf8(output.stderr).expect("the lines are text");
    assert_eq!(output.status.code(), Some(HAS_RUN), "{name}: {stderr}");
    stderr
}

/// The address `127.0.0.1:1`, on which no server listens.
const CLOSED: (&str, u16) = ("127.0.0.1", 1);

mod net {
    use bucle::net::{Handler, Shared, Socket, on};
    use bucle::{EventLoop, ManualClock};

    fn twelve_clients() {
        let mut event_loop = EventLoop::with_clock(ManualClock::new()).expect("a loop");
        event_loop.enter(|lp| {
            for _ in 0..12 {
                Socket::connect(lp, super::CLOSED, on()).expect("the attempt begins");
            }
        });
        event_loop.run().expect("the poll works");
    }

    #[test]
    fn no_more_than_ten_lines_a_second_are_written() {
        let stderr = super::stderr_of("net::no_more_than_ten_lines_a_second_are_written", twelve_clients);
        assert_eq!(stderr.lines().count(), 10, "{stderr}");
    }

    struct Closes;

    impl Handler for Closes {}

    fn a_shared_handler() {
        bucle::run(|lp| {
            let shared = Shared::new(lp, Closes);
            Socket::connect(lp, super::CLOSED, shared).map(drop)
        })
        .expect("the loop runs");
    }

    #[test]
    fn a_handler_that_is_shared_state_reports_too() {
        let want = "bucle: #1: connect ECONNREFUSED 127.0.0.1:1; not handled: net::Handler::on_error, or \
                    net::on().error(…)\n";
        assert_eq!(super::stderr_of("net::a_handler_that_is_shared_state_reports_too", a_shared_handler), want);
    }
}

mod telnet {
    use bucle::telnet::{self, Handler, Telnet};

    struct Quiet;

    impl Handler for Quiet {}

    fn a_server() {
        bucle::run(|lp| {
            let telnet = Telnet::new(telnet::Options::default(), Quiet);
            let server = bucle::net::Server::new(lp, bucle::net::ServerOptions::default(), telnet);
            server.listen(lp, ("203.0.113.1", 8080))
        })
        .expect("the loop runs");
    }

    #[test]
    fn a_server_that_cannot_listen_reports_it() {
        let want = "bucle: server #1: listen EADDRNOTAVAIL: address not available 203.0.113.1:8080; not handled: \
                    telnet::Handler::on_server_error\n";
        assert_eq!(super::stderr_of("telnet::a_server_that_cannot_listen_reports_it", a_server), want);
    }
}

#[cfg(feature = "http")]
mod http {
    use std::cell::RefCell;
    use std::rc::Rc;

    use bucle::http::{Client, ClientOptions, ClientRequest};

    fn a_client() {
        let code = Rc::new(RefCell::new(String::new()));
        let seen = code.clone();
        bucle::run(|lp| {
            let client = Client::new(lp, ClientOptions::default());
            client.request(lp, ClientRequest::get("http://127.0.0.1:1/"), move |_, result| {
                *seen.borrow_mut() = result.expect_err("no server").code().to_owned();
            })?;
            client.release(lp);
            Ok(())
        })
        .expect("the loop runs");
        assert_eq!(*code.borrow(), "ECONNREFUSED");
    }

    #[test]
    fn a_client_gives_the_error_to_its_callback_and_writes_nothing() {
        assert_eq!(super::stderr_of("http::a_client_gives_the_error_to_its_callback_and_writes_nothing", a_client), "");
    }
}

#[cfg(feature = "websocket")]
mod websocket {
    use bucle::websocket::{self, Handler, WebSocket};
    use bucle::{Error, Loop};

    struct Quiet;

    impl Handler for Quiet {}

    struct Handles;

    impl Handler for Handles {
        fn on_error(&mut self, _: &mut Loop, _: WebSocket, _: Error) {}
    }

    fn connect(handler: impl Handler) {
        bucle::run(|lp| websocket::connect(lp, "ws://127.0.0.1:1/", handler).map(drop)).expect("the loop runs");
    }

    #[test]
    fn a_client_that_cannot_connect_reports_it() {
        let want = "bucle: #1: connect ECONNREFUSED 127.0.0.1:1; not handled: websocket::Handler::on_error\n";
        assert_eq!(super::stderr_of("websocket::a_client_that_cannot_connect_reports_it", || connect(Quiet)), want);
    }

    #[test]
    fn a_client_with_its_own_on_error_writes_nothing() {
        assert_eq!(
            super::stderr_of("websocket::a_client_with_its_own_on_error_writes_nothing", || connect(Handles)),
            ""
        );
    }
}

#[cfg(feature = "socket-io")]
mod socket_io {
    use std::time::Duration;

    use bucle::socket_io::{ClientOptions, connect};

    /// A client that makes two attempts, the second one by reconnection.
    fn run(has_listener: bool) {
        bucle::run(|lp| {
            let options = ClientOptions {
                reconnection_attempts: Some(1),
                reconnection_delay: Duration::from_millis(1),
                ..ClientOptions::default()
            };
            let client = connect(lp, "http://127.0.0.1:1", options)?;
            if has_listener {
                client.on_connect_error(lp, |_, _, _| {});
            }
            Ok(())
        })
        .expect("the loop runs");
    }

    #[test]
    fn of_several_failed_attempts_in_a_row_only_the_first_is_reported() {
        let stderr =
            super::stderr_of("socket_io::of_several_failed_attempts_in_a_row_only_the_first_is_reported", || {
                run(false)
            });
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.starts_with("bucle: client #") && stderr.contains("connect ECONNREFUSED 127.0.0.1:1"),
            "{stderr}"
        );
        assert!(stderr.ends_with("; not handled: socket_io::Client::on_connect_error\n"), "{stderr}");
    }

    #[test]
    fn a_client_with_a_listener_for_failed_attempts_writes_nothing() {
        assert_eq!(
            super::stderr_of("socket_io::a_client_with_a_listener_for_failed_attempts_writes_nothing", || run(true)),
            ""
        );
    }
}
