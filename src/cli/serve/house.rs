//! The house that every server of the command lives in: how many may enter, how long one may sit idle, and how it closes.
//!
//! A [`House`] is a handler around a handler. Most events go straight through; the few that concern the rules are looked
//! at on their way.
//!
//! | rule | limit | then |
//! |---|---|---|
//! | guests | `--max-connections` | the next one is told "server full" and turned away |
//! | silence | `--idle-timeout` | good-bye |
//! | a guest who does not read | `--outbox-limit`, `--write-timeout`, `--total-outbox-limit` | disconnected by the loop, logged here |
//! | closing | [`CLOSE_LIMIT`] | whoever is still there then is left behind |
//!
//! A guest who does not read is not told why it has to go: what it would be told stands behind all that it has not read.
//! It gets a reset, and the log has the numbers.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::Loop;
use bucle::net::{Error, Handler, Server, ServerId, Socket};

/// How many may be on their way out of a full house at the same time. Each is a descriptor, for which there is room among
/// those that are kept back; the next one is let go without waiting that it has read why.
const TURNED_AWAY_AT_ONCE: usize = 16;

/// The least time between two lines of the log about a full house: a storm of newcomers is one event.
const FULL_REPORT: Duration = Duration::from_secs(1);

/// The least time between two lines of the log about guests who were idle: a crowd that falls silent is one event.
const IDLE_REPORT: Duration = Duration::from_secs(1);

/// How long a guest on the way out may take to say good-bye, if everything was sent to it.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long guests whose words keep coming are listened to while the house closes.
const LAST_ORDERS: Duration = Duration::from_secs(1);

/// How often it is looked, while the house closes, who has nothing more to say. Silence of that length is the end of what
/// had arrived: what waits in the kernel, here or on the way, comes in far less.
const LAST_ROUND: Duration = Duration::from_millis(10);

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
    /// How many there are. Who they are the server knows: see [`ServerId::sockets`].
    guests: usize,
    /// Newcomers of a full house that have not left yet, at most.
    turned_away: Vec<Socket>,
    /// When a line of the log said last that the house is full, and how many were turned away since.
    full: Option<(Instant, u64)>,
    /// While a line about idle guests is too young for another: how many were idle since.
    idle: Rc<Cell<Option<u64>>>,
    closing: Option<Closing>,
}

/// While the house closes.
#[derive(Default)]
struct Closing {
    /// Those who have said something since the last round: there may be more of it.
    talking: HashSet<Socket>,
    /// Those to whom good-bye was said. They are not listened to any more.
    leaving: HashSet<Socket>,
}

/// Closes in order: whoever stands at the door comes in, and nobody after that; what has arrived is answered; everybody
/// gets what was written and a FIN. When all have left, or the limit is over, the loop has nothing to do any more and ends.
pub(crate) fn close<H: Handler>(lp: &mut Loop, server: Server<House<H>>) {
    server.with(lp, |house, _| house.closing = Some(Closing::default()));
    // Two immediates lie a whole poll apart, in which those at the door are let in.
    lp.set_immediate(move |lp| {
        lp.set_immediate(move |lp| server.id().close(lp));
    });
    let rounds = lp.set_interval(LAST_ROUND, move |lp| {
        let guests = server.sockets(lp);
        server.with(lp, |house, lp| house.make_a_last_round(lp, &guests));
    });
    let last_orders = lp.set_timeout(LAST_ORDERS, move |lp| {
        lp.clear(rounds);
        let guests = server.sockets(lp);
        server.with(lp, |house, lp| house.say_good_bye(lp, &guests));
    });
    let farewell = lp.set_timeout(LAST_ORDERS + FAREWELL, move |lp| {
        for guest in server.sockets(lp) {
            if guest.writable_length(lp) == 0 {
                // It has got everything, and does not say good-bye.
                guest.destroy(lp);
            }
        }
    });
    let limit = lp.set_timeout(CLOSE_LIMIT, Loop::stop);
    for timer in [rounds, last_orders, farewell, limit] {
        lp.unref(timer);
    }
}

impl<H> House<H> {
    pub(crate) fn new(rules: Rules, handler: H) -> Self {
        House { rules, handler, guests: 0, turned_away: Vec::new(), full: None, idle: Rc::default(), closing: None }
    }

    /// Sends somebody away who came when all places were taken.
    fn turn_away(&mut self, lp: &mut Loop, socket: Socket) {
        self.report_full(lp, socket);
        self.turned_away.retain(|socket| socket.exists(lp));
        // From its next event on it has nothing to do with this house.
        socket.set_handler(lp, TurnedAway);
        socket.set_timeout(lp, Duration::ZERO);
        if self.rules.says_why {
            socket.end_with(lp, "server full, try again later\r\n");
        } else {
            socket.end(lp);
        }
        if self.turned_away.len() >= TURNED_AWAY_AT_ONCE {
            return socket.destroy_soon(lp);
        }
        self.turned_away.push(socket);
        let timer = lp.set_timeout(FAREWELL, move |lp| socket.destroy(lp));
        lp.unref(timer);
    }

    fn report_full(&mut self, lp: &Loop, socket: Socket) {
        let now = lp.now();
        match &mut self.full {
            Some((said, unsaid)) if now.duration_since(*said) < FULL_REPORT => *unsaid += 1,
            full => {
                let places = self.guests;
                let since = full.map_or(0, |(_, unsaid)| unsaid);
                let others = if since > 0 { format!(", and {since} before") } else { String::new() };
                log::warn!(target: "bucle::serve", "{socket} turned away{others}: {places} are here already");
                *full = Some((now, 0));
            }
        }
    }

    /// The first one by name and at once, those of the second after it by number.
    fn report_idle(&mut self, lp: &mut Loop, socket: Socket) {
        let limit = self.rules.idle_timeout;
        log::debug!(target: "bucle::serve", "{socket} was idle for {limit:?}, closing");
        if let Some(unsaid) = self.idle.get() {
            return self.idle.set(Some(unsaid + 1));
        }
        if !log::log_enabled!(target: "bucle::serve", log::Level::Info) {
            return;
        }
        log::info!(target: "bucle::serve", "idle for {limit:?}: {socket} is closed");
        say_how_many_are_idle(lp, &self.idle, limit);
    }

    /// Says good-bye to those who have had all their answers and have said nothing since the last round.
    fn make_a_last_round(&mut self, lp: &mut Loop, guests: &[Socket]) {
        let Some(closing) = &mut self.closing else { return };
        for &guest in guests {
            let has_more = closing.talking.remove(&guest) || guest.is_paused(lp) || guest.needs_drain(lp);
            if !has_more && closing.leaving.insert(guest) {
                guest.end(lp);
            }
        }
    }

    /// Says good-bye to everybody, whether they have finished or not.
    fn say_good_bye(&mut self, lp: &mut Loop, guests: &[Socket]) {
        let Some(closing) = &mut self.closing else { return };
        for &guest in guests {
            if closing.leaving.insert(guest) {
                guest.end(lp);
                // Those who were paused are read again, to hear their FIN.
                guest.resume(lp);
            }
        }
    }

    /// Whether what this guest says or does is still anybody's concern.
    fn is_leaving(&self, guest: Socket) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.leaving.contains(&guest))
    }
}

impl<H: Handler> Handler for House<H> {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        if self.guests >= self.rules.max_connections {
            return self.turn_away(lp, socket);
        }
        self.guests += 1;
        self.handler.on_connection(lp, socket);
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if self.is_leaving(socket) {
            return;
        }
        if let Some(closing) = &mut self.closing {
            closing.talking.insert(socket);
        }
        self.handler.on_data(lp, socket, chunk);
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_drain(lp, socket);
    }

    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        if !self.is_leaving(socket) {
            self.handler.on_end(lp, socket);
        }
    }

    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        self.report_idle(lp, socket);
        // Once is enough: it has a second to leave, and is silent meanwhile.
        socket.set_timeout(lp, Duration::ZERO);
        if self.rules.says_why && socket.write_refusal(lp).is_none() {
            socket.write(lp, "idle for too long, good-bye\r\n");
        }
        socket.end(lp);
        let timer = lp.set_timeout(FAREWELL, move |lp| socket.destroy(lp));
        lp.unref(timer);
    }

    /// Peers that vanish are everyday life; what this side did to them is worth a warning.
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        let is_our_doing = matches!(error, Error::Custom { .. } | Error::TooSlow { .. });
        let level = if is_our_doing { log::Level::Warn } else { log::Level::Debug };
        log::log!(target: "bucle::serve", level, "{socket}: {error}");
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, had_error: bool) {
        self.guests -= 1;
        if let Some(closing) = &mut self.closing {
            closing.talking.remove(&socket);
            closing.leaving.remove(&socket);
        }
        self.handler.on_close(lp, socket, had_error);
    }

    fn on_server_error(&mut self, _: &mut Loop, server: ServerId, error: Error) {
        log::error!(target: "bucle::serve", "{server}: {error}");
    }
}

/// A second after a line about idle guests: how many there were since. As long as there are any, again.
fn say_how_many_are_idle(lp: &mut Loop, idle: &Rc<Cell<Option<u64>>>, limit: Duration) {
    idle.set(Some(0));
    let idle = Rc::clone(idle);
    let timer = lp.set_timeout(IDLE_REPORT, move |lp| match idle.take() {
        None | Some(0) => {}
        Some(count) => {
            log::info!(target: "bucle::serve", "idle for {limit:?}: {count} more are closed");
            say_how_many_are_idle(lp, &idle, limit);
        }
    });
    lp.unref(timer);
}

/// Answers for those who were turned away: with nothing, until they are gone.
struct TurnedAway;

impl Handler for TurnedAway {
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log::debug!(target: "bucle::serve", "{socket}, turned away: {error}");
    }
}
