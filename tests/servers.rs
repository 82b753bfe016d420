//! Servers: the result of a close when the server is removed, and the limit of connections.

use std::cell::RefCell;
use std::net::TcpStream;
use std::rc::Rc;

use bucle::net::{Server, ServerId, ServerOptions, on};
use bucle::{EventLoop, Loop};

type Log = Rc<RefCell<Vec<String>>>;

/// Makes a server that logs its `on_server_close`.
fn server(lp: &mut Loop, log: &Log, options: ServerOptions) -> ServerId {
    let log = log.clone();
    let handler = on().server_close(move |_, _| log.borrow_mut().push("on_server_close".into()));
    Server::new(lp, options, handler).id()
}

fn port(lp: &Loop, server: ServerId) -> u16 {
    server.address(lp).and_then(|address| address.port()).expect("it is bound")
}

#[test]
fn a_callback_of_close_is_called_when_the_server_is_removed() {
    let table = [
        ("idle", true, 0, "Ok(())"),
        ("busy", true, 1, "ERR_SOCKET_CLOSED"),
        ("not listening", false, 0, "ERR_SERVER_NOT_RUNNING"),
    ];
    for (name, listens, peers, want) in table {
        let log = Log::default();
        let mut event_loop = EventLoop::new().expect("a loop");
        let server = event_loop.enter(|lp| {
            let server = server(lp, &log, ServerOptions::default());
            if listens {
                server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            }
            server
        });
        let connected: Vec<TcpStream> = (0..peers)
            .map(|_| event_loop.enter(|lp| TcpStream::connect(("127.0.0.1", port(lp, server))).expect("it listens")))
            .collect();
        while event_loop.enter(|lp| server.connections(lp) < peers) {
            event_loop.turn(None).expect("the poll works");
        }
        event_loop.enter(|lp| {
            let results = log.clone();
            server.close_then(lp, move |_, result| {
                let text = result.map_or_else(|error| error.code().to_owned(), |()| "Ok(())".to_owned());
                results.borrow_mut().push(text);
            });
            server.remove(lp);
            assert!(log.borrow().is_empty(), "{name}: not inside the call");
        });
        drop(connected);
        event_loop.run().expect("the poll works");
        assert_eq!(log.take(), [want], "{name}");
    }
}

#[test]
fn a_connection_limit_of_0_means_no_limit() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let options = ServerOptions { max_connections: Some(0), ..ServerOptions::default() };
    let server = event_loop.enter(|lp| {
        let server = server(lp, &Log::default(), options);
        server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server
    });
    let _peer = event_loop.enter(|lp| TcpStream::connect(("127.0.0.1", port(lp, server))).expect("it listens"));
    while event_loop.enter(|lp| server.connections(lp) == 0) {
        event_loop.turn(None).expect("the poll works");
    }
}
