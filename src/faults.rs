//! No sequence of kernel answers makes the loop panic, leak, lose order or close twice.
//!
//! Programs run here on a [simulated kernel](crate::net::simulated) that is told what to answer. A [`World`] holds a loop
//! on that kernel, the peers at the other ends, and a [`Ledger`] which writes down what every socket is asked and what it
//! hears, and panics at the first thing that may not be:
//!
//! ```text
//!   peers ── steps ──▶ Kernel ◀── calls ── loop ── events ──▶ Ledger ──▶ the program
//!                        ▲                  ▲                                │
//!                        └── the script     └──────── calls, through the Ledger
//! ```
//!
//! * `replays`: recorded sessions, held again for every call to the kernel and every way in which it can go wrong.
//! * `chance`: programs, peers and a kernel that do whatever the bytes say that they are given, from a property test or
//!   a fuzzer.
//! * `found`: what these two have found, each by its behaviour.

pub mod chance;
#[cfg(test)]
mod found;
mod ledger;
#[cfg(test)]
mod replays;

use std::collections::VecDeque;
use std::time::Duration;

use crate::net::simulated::{Holdings, Kernel, Peer};
use crate::net::{Handler, Server, ServerId, ServerOptions};
use crate::{EventLoop, Loop, ManualClock};
use ledger::{Ledger, Watched};

/// How many turns a program may take until nothing keeps its loop alive. The longest here take a tenth of that.
const TURNS: usize = 20_000;

/// How many turns in a row have to pass in which nothing happens but time, until more is done to make the loop end.
const IDLE_TURNS: usize = 6;

/// How much time passes in such a turn; more than any timer here waits for.
const IDLE_TIME: Duration = Duration::from_secs(2);

/// How often everything is broken, or destroyed, at the end, until nothing is open.
const FAREWELLS: usize = 20;

/// What a peer does in one turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Fin,
    Reset,
    /// From now on takes no more than this without [`Step::Take`].
    Window(usize),
    Take(usize),
    /// A connect succeeds.
    Accept,
    /// A connect fails.
    Refuse(&'static str),
    Wait,
}

struct Actor {
    peer: Peer,
    steps: VecDeque<Step>,
}

/// A loop, the kernel below it, the peers beyond, and the books.
pub(crate) struct World {
    event_loop: EventLoop,
    pub kernel: Kernel,
    pub ledger: Ledger,
    clock: ManualClock,
    servers: Vec<ServerId>,
    /// The peers of servers, each with the turn in which it knocks.
    visitors: VecDeque<(usize, Vec<Step>)>,
    /// What those do whom the program connects to, in the order of the connects.
    hosts: VecDeque<Vec<Step>>,
    actors: Vec<Actor>,
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
            visitors: VecDeque::new(),
            hosts: VecDeque::new(),
            actors: Vec::new(),
        }
    }

    /// A server that the peers can knock at, under the eyes of the ledger. It is closed when they have all done what they
    /// had to do.
    pub fn serve<H: Handler>(&mut self, options: ServerOptions, handler: H) -> Server<Watched<H>> {
        let handler = Watched::new(self.ledger.clone(), handler);
        let server = self.event_loop.enter(|lp| {
            let server = Server::new(lp, options, handler);
            server.id().listen(lp, 23).expect("it is not listening yet");
            server
        });
        self.servers.push(server.id());
        server
    }

    /// Somebody who knocks at the first server in the given turn.
    pub fn visitor(&mut self, turn: usize, steps: impl Into<Vec<Step>>) {
        self.visitors.push_back((turn, steps.into()));
    }

    /// Somebody whom the program is going to connect to.
    pub fn host(&mut self, steps: impl Into<Vec<Step>>) {
        self.hosts.push_back(steps.into());
    }

    pub fn enter<T>(&mut self, f: impl FnOnce(&mut Loop) -> T) -> T {
        self.event_loop.enter(f)
    }

    /// Turns until nothing keeps the loop alive. Peers act once a turn. When they have nothing left to do the servers are
    /// closed, then the peers take what waits and end what is open, and if that does not do they break it.
    pub fn run(&mut self) {
        let (mut idle, mut stage) = (0, 0);
        for turn in 0..TURNS {
            let has_news = self.kernel.has_events();
            let result = self.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
            if !result.is_alive && self.is_deserted() {
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
                3 => self.every_peer(Kernel::fin),
                // Who hears of it may connect anew.
                4..FAREWELLS => self.every_peer(|kernel, peer| kernel.reset(peer, "ECONNRESET")),
                _ => break,
            }
        }
        let holdings = self.enter(|lp| lp.holdings());
        panic!("the loop does not end: {holdings:?}\n{:?}\n{:?}", self.kernel, self.ledger);
    }

    /// Whether no peer has anything left to do.
    fn is_deserted(&self) -> bool {
        self.visitors.is_empty() && self.actors.iter().all(|actor| actor.steps.is_empty())
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

    /// One step of each peer. Says whether any had one left.
    fn peers_act(&mut self, turn: usize) -> bool {
        let mut has_acted = false;
        while self.visitors.front().is_some_and(|(when, _)| *when <= turn) {
            let Some((_, steps)) = self.visitors.pop_front() else { break };
            if let Some(peer) = self.kernel.knock(0) {
                self.actors.push(Actor { peer, steps: steps.into() });
            }
            has_acted = true;
        }
        for peer in self.kernel.peers() {
            if self.kernel.is_connecting(peer) && !self.actors.iter().any(|actor| actor.peer == peer) {
                let steps = self.hosts.pop_front().unwrap_or_else(|| vec![Step::Refuse("ECONNREFUSED")]);
                self.actors.push(Actor { peer, steps: steps.into() });
            }
        }
        for actor in &mut self.actors {
            let Some(step) = actor.steps.pop_front() else { continue };
            has_acted = true;
            let (kernel, peer) = (&self.kernel, actor.peer);
            match step {
                Step::Send(bytes) => kernel.send(peer, &bytes),
                Step::Fin => kernel.fin(peer),
                Step::Reset => kernel.reset(peer, "ECONNRESET"),
                Step::Window(bytes) => kernel.set_window(peer, bytes),
                Step::Take(bytes) => kernel.take(peer, bytes),
                Step::Accept => kernel.accept(peer),
                Step::Refuse(error) => kernel.reset(peer, error),
                Step::Wait => {}
            }
        }
        has_acted || !self.visitors.is_empty()
    }

    /// The loop has ended by itself. What it left open it may have left: it was unreferenced, or nobody read from it. Then
    /// everything is destroyed and removed, and nothing may be left of it, in the loop or in the kernel.
    pub fn finish(mut self) -> Ledger {
        let servers = self.servers.clone();
        self.enter(|lp| servers.into_iter().for_each(|server| server.remove(lp)));
        // What is destroyed may open others, but not for ever.
        for _ in 0..FAREWELLS {
            let open = self.ledger.open_sockets();
            let was_last = open.is_empty();
            self.enter(|lp| open.into_iter().for_each(|socket| socket.destroy(lp)));
            // Timers that keep nothing alive, such as the one that has a server accept again, come to their end too.
            self.clock.advance(IDLE_TIME * 60);
            self.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
            self.run();
            if was_last && self.ledger.open_sockets().is_empty() {
                break;
            }
        }
        let holdings = self.enter(|lp| lp.holdings());
        assert_eq!(holdings, Holdings::default(), "the loop holds on to something");
        self.ledger.check_at_the_end();
        self.ledger
    }
}
