//! Making the connections: when each connect begins, from which address, and what happens when it fails.
//!
//! A server's accept queue has a limit. The kernel drops a SYN that comes while the queue is full, and the client
//! repeats it after a second. So connects begin in waves that fit in the queue; each one that is finished makes room
//! for another.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bucle::Loop;
use bucle::net::{Socket, SocketOptions, Target};

use super::conn::{Conn, ConnState, Wire};
use super::connection::ConnHandler;
use super::run::Run;
use crate::cli::load::check::Lines;
use crate::cli::load::options::{Protocol, Ramp};
use crate::cli::load::stage::Stage;
use crate::cli::target::Address;

/// How long a fan-out waits after the last connect. The kernel completes a connection before the server accepts it; a
/// message that is sent in between does not reach the new connection, and would be counted as missing although the
/// server is right.
const SETTLE: Duration = Duration::from_millis(200);

/// How many connects a wave may have under way: half of Node's default backlog (511).
const WAVE: usize = 256;

/// After this time the next wave begins although the connects of the previous one are not finished.
const WAVE_NS: u64 = 20_000_000;

/// How long `--churn` and `--script` wait after a failed connect before the next.
const REST: Duration = Duration::from_millis(10);

/// How long a connect to a unix socket waits for room in the server's accept queue before it is repeated.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

impl Run {
    /// The target's name has no address: counts every connect as failed with this code, and goes on to the end.
    pub(crate) fn no_address(&mut self, lp: &mut Loop, code: &str) {
        let connects = &mut self.book.ledger.connects;
        *connects.errno.entry(code.to_owned()).or_default() += self.conns.len() as u64;
        self.conns.iter_mut().for_each(|conn| conn.state = ConnState::Gone);
        self.launched = self.conns.len();
        self.connected(lp);
    }

    /// Begins the connects that the ramp and the wave allow now.
    pub(crate) fn launch(&mut self, lp: &mut Loop) {
        if self.stage != Stage::Connecting {
            return;
        }
        let now = self.now();
        if now - self.wave_began_at >= WAVE_NS || self.connecting == 0 {
            self.wave_began_at = now;
            self.wave_left = WAVE;
        }
        while self.launched < self.conns.len() && self.wave_left > 0 && self.launch_time(self.launched) <= now {
            self.wave_left -= 1;
            let at = self.launched;
            self.launched += 1;
            self.connect(lp, at);
        }
        if self.launched < self.conns.len() {
            let call = self.later(|run, lp| run.launch(lp));
            lp.set_timeout(Duration::from_millis(1), call);
        }
        self.check_connected(lp);
    }

    /// When the ramp allows the connection to connect.
    pub(crate) fn launch_time(&self, at: usize) -> u64 {
        let load = &self.job.load;
        let number = u128::from(self.conns[at].id);
        let time = match load.ramp {
            Ramp::AtOnce => 0,
            Ramp::Over(time) => time.as_nanos() * number / u128::from(load.connections),
            Ramp::PerSecond(rate) => number * 1_000_000_000 / u128::from(rate),
        };
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// Ends the stage `Connecting` if no connect and no greeting is awaited.
    pub(crate) fn check_connected(&mut self, lp: &mut Loop) {
        let is_waiting = self.launched < self.conns.len() || self.connecting + self.ungreeted > 0;
        if self.stage != Stage::Connecting || is_waiting {
            return;
        }
        if self.room.is_some() && self.living > 0 {
            self.stage = Stage::Settling;
            let call = self.later(|run, lp| run.settled(lp));
            lp.set_timeout(SETTLE, call);
            return;
        }
        self.connected(lp);
    }

    fn settled(&mut self, lp: &mut Loop) {
        if self.stage == Stage::Settling {
            self.connected(lp);
        }
    }

    pub(crate) fn connect(&mut self, lp: &mut Loop, at: usize) {
        let Some(run) = self.handle else { return };
        // With a high-water mark of one byte, `write` returns `false` whenever the kernel did not take everything.
        let options =
            SocketOptions { allow_half_open: true, high_water_mark: 1, no_delay: true, ..SocketOptions::default() };
        let socket = Socket::new(lp, options, ConnHandler { run, at });
        let target = self.target(at);
        let now = self.now();
        let wire = match &self.job.load.protocol {
            Protocol::WebSocket { .. } => Wire::WebSocket(Box::default()),
            Protocol::Tcp if self.job.load.telnet => Wire::Telnet(Box::default()),
            Protocol::Tcp => Wire::Plain,
        };
        let conn = &mut self.conns[at];
        conn.state = ConnState::Connecting;
        conn.socket = Some(socket);
        conn.since = now;
        (conn.written, conn.taken) = (0, 0);
        conn.lines = Lines::default();
        conn.has_replied = false;
        (conn.unread, conn.has_dropped) = (Vec::new(), false);
        conn.last_sent = None;
        conn.wire = wire;
        conn.fault = None;
        self.connecting += 1;
        if let Err(error) = socket.connect_to(lp, target) {
            self.connect_failed(lp, at, error.code());
        }
    }

    pub(crate) fn connect_succeeded(&mut self, lp: &mut Loop, at: usize, socket: Socket) {
        if self.is_current_socket(at, socket) && !self.begin_handshake(lp, at, socket) {
            self.opened(lp, at);
        }
    }

    /// The connection is made, with its handshake if there is one: it may send.
    pub(crate) fn opened(&mut self, lp: &mut Loop, at: usize) {
        let now = self.now();
        self.connecting -= 1;
        self.wave_left = (self.wave_left + 1).min(WAVE);
        self.living += 1;
        let skips_line = self.job.load.skip_line;
        let connects = &mut self.book.ledger.connects;
        connects.ok += 1;
        connects.latency.record(now - self.conns[at].since);
        self.came_back(at, now);
        let conn = &mut self.conns[at];
        conn.state = if skips_line { ConnState::Greeting } else { ConnState::Ready };
        conn.since = now;
        if self.stage >= Stage::Closing {
            return self.end(lp, at);
        }
        if skips_line && self.stage == Stage::Connecting {
            self.conns[at].delays_start = true;
            self.ungreeted += 1;
        }
        self.check_connected(lp);
        self.continue_conn(lp, at);
        // Messages that were due while there was no connection.
        self.send_due(lp);
    }

    /// The greeting has come, is overdue, or cannot come any longer: it does not delay the start of the load.
    pub(crate) fn stop_awaiting_greeting(&mut self, lp: &mut Loop, at: usize) {
        if std::mem::take(&mut self.conns[at].delays_start) {
            self.ungreeted -= 1;
            self.check_connected(lp);
        }
    }

    /// The accept queue of a unix socket is full. TCP would wait for room; this connect has to be repeated, until
    /// `--timeout`.
    fn connect_again_soon(&mut self, lp: &mut Loop, at: usize) {
        if let Some(socket) = self.conns[at].socket.take() {
            socket.destroy(lp);
        }
        let call = self.later(move |run, lp| {
            let Conn { state: ConnState::Connecting, socket: None, since, .. } = run.conns[at] else { return };
            run.connecting -= 1;
            run.connect(lp, at);
            run.conns[at].since = since;
        });
        lp.set_timeout(QUEUE_PAUSE, call);
    }

    /// Counts a failed connect by its error code.
    pub(crate) fn connect_failed(&mut self, lp: &mut Loop, at: usize, code: &str) {
        if code == "EAGAIN" && matches!(self.job.load.place, Address::Unix(_)) {
            return self.connect_again_soon(lp, at);
        }
        let was_assigned = self.job.ports.is_some() && std::mem::take(&mut self.conns[at].uses_assigned_port);
        if was_assigned && matches!(code, "EADDRINUSE" | "EADDRNOTAVAIL") {
            // Another socket uses the assigned port. Nothing was sent yet, so this is not counted as a connect: it is
            // repeated with a port that the system chooses.
            self.connecting -= 1;
            self.drop_socket(lp, at);
            return self.connect(lp, at);
        }
        let connects = &mut self.book.ledger.connects;
        match code {
            "ECONNREFUSED" => connects.refused += 1,
            "ETIMEDOUT" => connects.timeout += 1,
            code => *connects.errno.entry(code.to_owned()).or_default() += 1,
        }
        self.connecting -= 1;
        self.wave_left = (self.wave_left + 1).min(WAVE);
        self.drop_socket(lp, at);
        self.pass_not_begun(at);
        self.set_busy(at, false);
        self.went_away(at, self.now());
        if self.job.load.reconnect {
            self.reconnect_later(lp, at);
        } else if self.reopens() {
            let call = self.later(move |run, lp| run.reopen(lp, at));
            if self.stage > Stage::Connecting && self.stage < Stage::Drain {
                lp.set_timeout(REST, call);
            }
        }
        self.check_connected(lp);
        self.after_end(lp);
    }

    fn target(&self, at: usize) -> Target {
        let (host, port) = match &self.job.load.place {
            Address::Tcp(host, port) => (host.as_str(), *port),
            Address::Unix(path) => return Target::from(path.as_path()),
        };
        let addresses = self.job.targets.as_deref().unwrap_or_default();
        let source = match &self.job.sources[..] {
            [] => None,
            sources => Some(sources[(self.conns[at].id % sources.len() as u64) as usize]),
        };
        let fits = |address: &&IpAddr| source.is_none_or(|source| source.is_ipv4() == address.is_ipv4());
        let target = match addresses.iter().filter(fits).collect::<Vec<_>>()[..] {
            // Several addresses: `net` finds out which of them answers.
            [_, _, ..] if source.is_none() => Target::from((host, port)),
            [&address, ..] => Target::from(SocketAddr::new(address, port)),
            [] => Target::from((host, port)),
        };
        let Some(source) = source else { return target };
        let target = target.local_address(source.to_string());
        match self.job.ports {
            Some((first, count)) if self.conns[at].uses_assigned_port => {
                let number = self.conns[at].id / self.job.sources.len() as u64 % count;
                target.local_port(first.saturating_add(u16::try_from(number).unwrap_or(0)))
            }
            _ => target,
        }
    }
}
