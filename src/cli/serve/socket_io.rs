//! Shared by the servers that speak Socket.IO: limits, which pages may connect, and idle clients.
//!
//! | limit | option | a client that reaches it |
//! |---|---|---|
//! | sessions | `--max-connections` | gets 503 |
//! | events that wait for its polls | `--outbox-limit` | is disconnected and logged |
//! | time without an event from it | `--idle-timeout` | is sent a last event, and disconnected |
//!
//! The other limits are those of the listener and of HTTP: see `web.rs`. A dead connection is found by the pings of the
//! protocol.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bucle::Loop;
use bucle::engine_io::{Cors, CorsOrigin};
use bucle::http::Request;
use bucle::net::{ServerId, ServerOptions};
pub(super) use bucle::socket_io::Server;
use bucle::socket_io::{Options, Socket};

use super::options::Web;
use super::web::OwnHost;

/// How often clients are checked within `--idle-timeout`, as WebSocket connections are.
const IDLE_CHECKS: u32 = 3;

/// The listener of a server, which is known when it is made.
pub(super) type OwnListener = Rc<Cell<Option<ServerId>>>;

/// Makes a server of Socket.IO for clients of version 2 and later. `common` has what all servers of the command have.
pub(super) fn new_server(
    lp: &mut Loop,
    web: &Web,
    common: &ServerOptions,
    max_message: usize,
    listener: &OwnListener,
) -> (Server, Options) {
    let options = options(web, common, max_message);
    let io = Server::new(lp, options.clone());
    let (own_host, listener) = (OwnHost::new(web), listener.clone());
    io.allow_request(lp, move |lp, request: &Request| {
        let port = listener.get().and_then(|server| server.port(lp));
        own_host.check_session(request, port)
    });
    io.on_disconnect(lp, |lp, socket, _| {
        // There is one namespace. A session without it would be open for nothing.
        if let Some(session) = socket.session(lp) {
            session.close(lp);
        }
    });
    (io, options)
}

fn options(web: &Web, common: &ServerOptions, max_message: usize) -> Options {
    let mut options = Options::default();
    let engine = &mut options.engine;
    engine.allow_eio3 = true;
    engine.max_http_buffer_size = max_message;
    if let Some(bytes) = common.limits.outbox_bytes {
        // The engine adds the longest message to this.
        engine.max_queue = bytes.saturating_sub(max_message);
    }
    if let Some(count) = common.max_connections {
        engine.max_sessions = count;
    }
    if !web.origins.is_empty() {
        engine.cors = Some(Cors {
            origin: CorsOrigin::List(web.origins.clone()),
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            ..Cors::default()
        });
    }
    options
}

/// Which clients have sent nothing since some checks. A timer for each client would cost more than the client.
#[derive(Clone, Default)]
struct IdleClients {
    checks: Rc<RefCell<BTreeMap<Socket, u32>>>,
}

/// Disconnects clients that send nothing for this long; zero: no limit. `last_event` sends the reason to such a
/// client.
pub(super) fn disconnect_idle(
    lp: &mut Loop,
    io: Server,
    limit: Duration,
    last_event: impl Fn(&mut Loop, Socket) + 'static,
) {
    if limit.is_zero() {
        return;
    }
    let clients = IdleClients::default();
    let entered = clients.clone();
    io.on_connection(lp, move |_, socket| entered.mark_active(socket));
    let active = clients.clone();
    io.on_any(lp, move |_, socket, _| active.mark_active(socket));
    let left = clients.clone();
    io.on_disconnect(lp, move |_, socket, _| left.remove(socket));
    let timer = lp.set_interval((limit / IDLE_CHECKS).max(Duration::from_millis(1)), move |lp| {
        for socket in clients.check() {
            last_event(lp, socket);
            socket.disconnect(lp, true);
        }
    });
    lp.unref(timer);
}

impl IdleClients {
    fn remove(&self, socket: Socket) {
        self.checks.borrow_mut().remove(&socket);
    }

    fn mark_active(&self, socket: Socket) {
        self.checks.borrow_mut().insert(socket, 0);
    }

    /// Counts a check, and returns the clients that are idle for too long.
    fn check(&self) -> Vec<Socket> {
        let mut idle = Vec::new();
        for (socket, checks) in self.checks.borrow_mut().iter_mut() {
            *checks += 1;
            if *checks == IDLE_CHECKS {
                idle.push(*socket);
            }
        }
        idle
    }
}
