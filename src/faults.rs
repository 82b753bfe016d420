//! Fault injection: no sequence of kernel answers makes the loop panic, leak, reorder bytes or close twice.
//!
//! Programs run here on a [simulated kernel](crate::net::simulated) with scripted answers. A [`World`] holds a loop
//! on that kernel, the peers at the other ends, and a [`Ledger`]. The ledger records what the program does with each
//! socket and which events the socket gets, and panics at the first violation:
//!
//! ```text
//!   peers ── steps ──▶ Kernel ◀── calls ── loop ── events ──▶ Ledger ──▶ the program
//!                        ▲                  ▲                                │
//!                        └── the script     └──────── calls, through the Ledger
//! ```
//!
//! * `replays`: recorded sessions, run again for every call to the kernel with every fault of that call.
//! * `chance`: programs, peers and a kernel whose actions are chosen by bytes, which a property test or a fuzzer makes.
//! * `found`: a regression test for each bug that these two have found.
//! * `requests`: the same for the HTTP client.
//! * `web`: the same for HTTP and WebSocket. Its sockets have no ledger; it checks requests and messages instead.

pub mod chance;
#[cfg(test)]
mod found;
mod ledger;
#[cfg(test)]
mod replays;
#[cfg(feature = "http")]
pub mod requests;
#[cfg(feature = "websocket")]
pub mod web;

use std::collections::VecDeque;
use std::time::Duration;

use crate::net::simulated::{Holdings, Kernel, Peer};
use crate::net::{Handler, Server, ServerId, ServerOptions};
use crate::{EventLoop, Loop, ManualClock};
use ledger::{Ledger, Watched};

/// How many turns a program may take until nothing keeps its loop alive. The longest programs here take a tenth of
/// this.
const TURNS: usize = 20_000;

/// After this number of turns in which only time passes, [`World::run`] does the next thing to make the loop end.
const IDLE_TURNS: usize = 6;

/// How much time passes in such a turn: more than any timer here waits.
const IDLE_TIME: Duration = Duration::from_secs(2);

/// At the end: how often all connections are reset, or all sockets destroyed, until none is open.
const CLEANUP_ROUNDS: usize = 20;

/// What a peer does in one turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Fin,
    Reset,
    /// From now on takes no more than this number of bytes without [`Step::Take`].
    Window(usize),
    Take(usize),
    /// Completes a connect of the loop.
    Accept,
    /// Fails a connect of the loop.
    Refuse(&'static str),
    /// Sends these bytes when this number of requests has arrived.
    #[cfg(feature = "http")]
    Respond(usize, Vec<u8>),
    /// Answers the request for a WebSocket connection when it is complete, with these bytes behind the answer.
    #[cfg(feature = "websocket")]
    Switch(Vec<u8>),
    /// Sends bytes with the id of a session, by the number of the session, when the loop has opened it.
    #[cfg(feature = "socket-io")]
    Fill(usize, Vec<u8>),
    /// Answers the request of this number as a server of Engine.IO; later replies of a WebSocket connection are
    /// messages.
    #[cfg(feature = "socket-io")]
    Reply(usize, web::clients::Reply),
    Wait,
}

struct ActivePeer {
    peer: Peer,
    steps: VecDeque<Step>,
}

type Cleanup = Box<dyn FnOnce(&mut Loop)>;

/// A loop, the kernel below it, the peers at the other ends, and the ledger.
pub(crate) struct World {
    event_loop: EventLoop,
    pub kernel: Kernel,
    pub ledger: Ledger,
    clock: ManualClock,
    servers: Vec<ServerId>,
    /// The peers that connect to the first server, each with the turn in which it connects and its steps.
    clients: VecDeque<(usize, Vec<Step>)>,
    /// The steps of the peers that the program connects to, in the order of the connects.
    remote_servers: VecDeque<Vec<Step>>,
    active_peers: Vec<ActivePeer>,
    /// Frees what the program has in the loop besides sockets and servers.
    cleanups: Vec<Cleanup>,
    /// Checked when nothing happens any more, and the peers have read everything, and have not ended yet.
    #[cfg(feature = "socket-io")]
    when_quiet: Option<fn(&Kernel)>,
}

impl World {
    pub fn new() -> World {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("the system gives a poll");
        let kernel = Kernel::default();
        event_loop.enter(|lp| lp.simulate(kernel.clone()));
        World {
            event_loop,
            ledger: Ledger::new(kernel.clone()),
            kernel,
            clock,
            servers: Vec::new(),
            clients: VecDeque::new(),
            remote_servers: VecDeque::new(),
            active_peers: Vec::new(),
            cleanups: Vec::new(),
            #[cfg(feature = "socket-io")]
            when_quiet: None,
        }
    }

    /// Starts a server that clients can connect to. The ledger watches it. It is closed when all peers have done
    /// their steps.
    pub fn serve<H: Handler>(&mut self, options: ServerOptions, handler: H) -> Server<Watched<H>> {
        let handler = Watched::new(self.ledger.clone(), handler);
        self.serve_unwatched(options, handler)
    }

    /// As [`serve`](Self::serve), without the ledger.
    pub fn serve_unwatched<H: Handler>(&mut self, options: ServerOptions, handler: H) -> Server<H> {
        let server = self.event_loop.enter(|lp| {
            let server = Server::new(lp, options, handler);
            server.id().listen(lp, 23).expect("it is not listening yet");
            server
        });
        self.servers.push(server.id());
        server
    }

    /// Adds a peer that connects to the first server in the given turn.
    pub fn client(&mut self, turn: usize, steps: impl Into<Vec<Step>>) {
        self.clients.push_back((turn, steps.into()));
    }

    /// Adds a peer that the program will connect to.
    pub fn remote_server(&mut self, steps: impl Into<Vec<Step>>) {
        self.remote_servers.push_back(steps.into());
    }

    /// Runs `cleanup` after the program has ended.
    #[cfg(feature = "http")]
    pub fn at_the_end(&mut self, cleanup: impl FnOnce(&mut Loop) + 'static) {
        self.cleanups.push(Box::new(cleanup));
    }

    pub fn enter<T>(&mut self, f: impl FnOnce(&mut Loop) -> T) -> T {
        self.event_loop.enter(f)
    }

    /// Turns until nothing keeps the loop alive. Each peer does one step a turn. When no steps are left the servers
    /// are closed; then the peers read everything and send FIN; and if the loop still runs, they reset every
    /// connection.
    pub fn run(&mut self) {
        let (mut idle, mut stage) = (0, 0);
        for turn in 0..TURNS {
            let has_news = self.kernel.has_events();
            let result = self.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
            if !result.is_alive && self.peers_are_done() {
                return;
            }
            let has_acted = self.peers_act(turn);
            if has_acted || has_news {
                idle = 0;
                continue;
            }
            self.clock.advance(IDLE_TIME);
            idle += 1;
            if idle < IDLE_TURNS {
                continue;
            }
            (idle, stage) = (0, stage + 1);
            match stage {
                1 => self.close_servers(),
                2 => self.every_peer(|kernel, peer| kernel.take(peer, usize::MAX)),
                3 => {
                    #[cfg(feature = "socket-io")]
                    if let Some(check) = self.when_quiet {
                        // A peer that waited for bytes may have acted since then, and may not read any longer.
                        if self.kernel.peers().into_iter().any(|peer| self.kernel.has_window(peer)) {
                            self.every_peer(|kernel, peer| kernel.take(peer, usize::MAX));
                            stage = 2;
                            continue;
                        }
                        check(&self.kernel);
                    }
                    self.every_peer(Kernel::fin);
                }
                // Several rounds: a program may connect again when its connection is reset.
                4..CLEANUP_ROUNDS => self.every_peer(|kernel, peer| kernel.reset(peer, "ECONNRESET")),
                _ => break,
            }
        }
        let holdings = self.enter(|lp| lp.holdings());
        panic!("the loop does not end: {holdings:?}\n{:?}\n{:?}", self.kernel, self.ledger);
    }

    /// Whether no peer has a step left.
    fn peers_are_done(&self) -> bool {
        self.clients.is_empty() && self.active_peers.iter().all(|active| active.steps.is_empty())
    }

    fn close_servers(&mut self) {
        let servers = self.servers.clone();
        self.enter(|lp| servers.into_iter().for_each(|server| server.close(lp)));
    }

    fn every_peer(&self, f: impl Fn(&Kernel, Peer)) {
        for peer in self.kernel.peers() {
            f(&self.kernel, peer);
        }
    }

    /// Does one step of each peer. Returns whether any peer had a step left.
    fn peers_act(&mut self, turn: usize) -> bool {
        let mut has_acted = false;
        while self.clients.front().is_some_and(|(when, _)| *when <= turn) {
            let Some((_, steps)) = self.clients.pop_front() else { break };
            if let Some(peer) = self.kernel.incoming_connection(0) {
                self.active_peers.push(ActivePeer { peer, steps: steps.into() });
            }
            has_acted = true;
        }
        for peer in self.kernel.peers() {
            if self.kernel.is_connecting(peer) && !self.active_peers.iter().any(|active| active.peer == peer) {
                let steps = self.remote_servers.pop_front().unwrap_or_else(|| vec![Step::Refuse("ECONNREFUSED")]);
                self.active_peers.push(ActivePeer { peer, steps: steps.into() });
            }
        }
        for active in &mut self.active_peers {
            let (kernel, peer) = (&self.kernel, active.peer);
            #[cfg(feature = "websocket")]
            if matches!(active.steps.front(), Some(Step::Switch(_))) && web::must_wait(kernel, peer) {
                continue;
            }
            #[cfg(feature = "http")]
            if matches!(active.steps.front(), Some(Step::Respond(number, _)) if requests::must_wait(kernel, peer, *number))
            {
                continue;
            }
            #[cfg(feature = "socket-io")]
            if matches!(active.steps.front(), Some(Step::Fill(number, bytes)) if web::sessions::must_wait(kernel, peer, *number, bytes))
            {
                continue;
            }
            #[cfg(feature = "socket-io")]
            if matches!(active.steps.front(), Some(Step::Reply(number, _)) if web::clients::must_wait(kernel, peer, *number))
            {
                continue;
            }
            let Some(step) = active.steps.pop_front() else { continue };
            has_acted = true;
            match step {
                Step::Send(bytes) => kernel.send(peer, &bytes),
                Step::Fin => kernel.fin(peer),
                Step::Reset => kernel.reset(peer, "ECONNRESET"),
                Step::Window(bytes) => kernel.set_window(peer, bytes),
                Step::Take(bytes) => kernel.take(peer, bytes),
                Step::Accept => kernel.accept(peer),
                Step::Refuse(error) => kernel.reset(peer, error),
                #[cfg(feature = "http")]
                Step::Respond(_, bytes) => kernel.send(peer, &bytes),
                #[cfg(feature = "websocket")]
                Step::Switch(behind) => web::switch(kernel, peer, &behind),
                #[cfg(feature = "socket-io")]
                Step::Fill(number, bytes) => kernel.send(peer, &web::sessions::filled(kernel, number, bytes)),
                #[cfg(feature = "socket-io")]
                Step::Reply(_, reply) => web::clients::reply(kernel, peer, &reply),
                Step::Wait => {}
            }
        }
        has_acted || !self.clients.is_empty()
    }

    /// Cleans up after the loop has ended, and checks that nothing is left in the loop or in the kernel. Sockets may
    /// still be open, because unreferenced or paused sockets do not keep the loop alive.
    pub fn finish(mut self) -> Ledger {
        let servers = self.servers.clone();
        self.enter(|lp| servers.into_iter().for_each(|server| server.remove(lp)));
        // A callback of a destroyed socket may open another socket, but only a limited number of times.
        for _ in 0..CLEANUP_ROUNDS {
            let open = self.enter(|lp| lp.open_sockets());
            let was_last = open.is_empty();
            self.enter(|lp| open.into_iter().for_each(|socket| socket.destroy(lp)));
            // Unreferenced timers must fire too, such as the one that accepts again after a failed accept.
            self.clock.advance(IDLE_TIME * 60);
            self.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
            self.run();
            if was_last && self.enter(|lp| lp.open_sockets()).is_empty() {
                break;
            }
        }
        for cleanup in std::mem::take(&mut self.cleanups) {
            self.enter(cleanup);
        }
        let holdings = self.enter(|lp| lp.holdings());
        assert_eq!(holdings, Holdings::default(), "the loop still holds something");
        self.ledger.check_at_the_end();
        self.ledger
    }
}
