//! The house that every server of the command lives in: how many may enter, how long one may sit idle, who is shown the
//! door for never reading, and how it closes.
//!
//! A [`House`] is a handler around a handler. Most events go straight through; the few that concern the rules are looked
//! at on their way.
//!
//! | rule | limit | then |
//! |---|---|---|
//! | guests | `--max-connections` | the next one is told "server full" and turned away |
//! | silence | `--idle-timeout` | good-bye |
//! | a guest who does not read | no progress for [`STALL_LIMIT`] | disconnected |
//! | closing | [`CLOSE_LIMIT`] | whoever is still there then is left behind |

use std::collections::HashSet;
use std::time::Duration;

use bucle::Loop;
use bucle::net::{Error, Handler, Server, ServerId, Socket};

/// How long bytes may wait for a guest who reads none of them.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// How often it is looked whose bytes wait.
const ROUND: Duration = Duration::from_secs(10);

/// How many may be on their way out of a full house at the same time. Each is a descriptor; the next one is let go without
/// waiting that it has read why.
const TURNED_AWAY_AT_ONCE: usize = 32;

/// How long a guest on the way out may take to say good-bye, if everything was sent to it.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long closing may take, whatever the guests do. Half a second under the five that the command promises.
const CLOSE_LIMIT: Duration = Duration::from_millis(4500);

/// What holds for everybody in the house.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) max_connections: usize,
    /// Zero is never.
    pub(crate) idle_timeout: Duration,
    /// A guest who is sent away is told why, in a line.
    pub(crate) says_why: bool,
}

pub(crate) struct House<H> {
    rules: Rules,
    handler: H,
    guests: HashSet<Socket>,
    /// Those for whom bytes were waiting at the last round: their idle limit is the stall limit for the time being.
    suspects: HashSet<Socket>,
    /// Newcomers of a full house that have not left yet, at most.
    turned_away: Vec<Socket>,
    is_closing: bool,
}

/// Has the slow looked after, again and again, as long as the server is there.
pub(crate) fn look_after<H: Handler>(lp: &mut Loop, server: Server<House<H>>) {
    let rounds = lp.set_interval(ROUND, move |lp| {
        server.with(lp, House::make_a_round);
    });
    lp.unref(rounds);
}

/// Closes in order: nobody comes in any more, what has arrived is answered, everybody gets what was written and a FIN.
/// When all have left, or the limit is over, the loop has nothing to do any more and ends.
pub(crate) fn close<H: Handler>(lp: &mut Loop, server: Server<House<H>>) {
    server.id().close(lp);
    // Two immediates lie a whole poll apart: what had arrived before the signal has been read and answered then.
    lp.set_immediate(move |lp| {
        lp.set_immediate(move |lp| {
            server.with(lp, House::say_good_bye);
        });
    });
    let farewell = lp.set_timeout(FAREWELL, move |lp| {
        server.with(lp, House::let_go);
    });
    let limit = lp.set_timeout(CLOSE_LIMIT, Loop::stop);
    lp.unref(farewell);
    lp.unref(limit);
}

impl<H> House<H> {
    pub(crate) fn new(rules: Rules, handler: H) -> Self {
        House {
            rules,
            handler,
            guests: HashSet::new(),
            suspects: HashSet::new(),
            turned_away: Vec::new(),
            is_closing: false,
        }
    }

    /// Sends somebody away who came when all places were taken.
    fn turn_away(&mut self, lp: &mut Loop, socket: Socket) {
        log::warn!(target: "bucle::serve", "{socket} turned away: {} are here already", self.guests.len());
        self.turned_away.retain(|socket| socket.exists(lp));
        // From its next event on it has nothing to do with this house.
        socket.set_handler(lp, TurnedAway);
        socket.set_timeout(lp, Duration::ZERO);
        socket.end_with(lp, "server full, try again later\r\n");
        if self.turned_away.len() >= TURNED_AWAY_AT_ONCE {
            return socket.destroy_soon(lp);
        }
        self.turned_away.push(socket);
        let timer = lp.set_timeout(FAREWELL, move |lp| socket.destroy(lp));
        lp.unref(timer);
    }

    /// Looks whose bytes wait, and has the loop watch those for progress.
    fn make_a_round(&mut self, lp: &mut Loop) {
        for &guest in &self.guests {
            let waits = guest.writable_length(lp) > 0;
            if waits && self.suspects.insert(guest) {
                guest.set_timeout(lp, STALL_LIMIT);
            } else if !waits && self.suspects.remove(&guest) {
                guest.set_timeout(lp, self.rules.idle_timeout);
            }
        }
    }

    fn say_good_bye(&mut self, lp: &mut Loop) {
        self.is_closing = true;
        for &guest in &self.guests {
            guest.end(lp);
            // Those who were paused are read again, to hear their FIN.
            guest.resume(lp);
        }
    }

    /// Waits no longer for guests who have got everything and do not say good-bye.
    fn let_go(&mut self, lp: &mut Loop) {
        for &guest in &self.guests {
            if guest.writable_length(lp) == 0 {
                guest.destroy(lp);
            }
        }
    }
}

impl<H: Handler> Handler for House<H> {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        if self.guests.len() >= self.rules.max_connections {
            return self.turn_away(lp, socket);
        }
        self.guests.insert(socket);
        self.handler.on_connection(lp, socket);
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if !self.is_closing {
            self.handler.on_data(lp, socket, chunk);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_drain(lp, socket);
    }

    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        if !self.is_closing {
            self.handler.on_end(lp, socket);
        }
    }

    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        if self.suspects.remove(&socket) {
            if socket.writable_length(lp) > 0 {
                let seconds = STALL_LIMIT.as_secs();
                let message = format!("too slow: has read nothing for {seconds} s");
                return socket.destroy_with(lp, Error::custom("E_TOO_SLOW", message));
            }
            return socket.set_timeout(lp, self.rules.idle_timeout);
        }
        log::debug!(target: "bucle::serve", "{socket} was idle for {:?}, closing", self.rules.idle_timeout);
        if self.rules.says_why && socket.write_refusal(lp).is_none() {
            socket.write(lp, "idle for too long, good-bye\r\n");
        }
        socket.end(lp);
        let timer = lp.set_timeout(FAREWELL, move |lp| socket.destroy(lp));
        lp.unref(timer);
    }

    /// Peers that vanish are everyday life; what this side did to them is worth a warning.
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        let level = if matches!(error, Error::Custom { .. }) { log::Level::Warn } else { log::Level::Debug };
        log::log!(target: "bucle::serve", level, "{socket}: {error}");
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, had_error: bool) {
        self.guests.remove(&socket);
        self.suspects.remove(&socket);
        self.handler.on_close(lp, socket, had_error);
    }

    fn on_server_error(&mut self, _: &mut Loop, server: ServerId, error: Error) {
        log::error!(target: "bucle::serve", "{server}: {error}");
    }
}

/// Answers for those who were turned away: with nothing, until they are gone.
struct TurnedAway;

impl Handler for TurnedAway {
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log::debug!(target: "bucle::serve", "{socket}, turned away: {error}");
    }
}
