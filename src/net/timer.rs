//! The timers of sockets and servers: limits on time, and attempts that are repeated.
//!
//! They are values of an enum and not closures, so that an idle limit costs no heap block. They are unreferenced: none
//! of them keeps the loop alive.

use super::tally::Tallied;
use super::{ServerId, Socket};
#[cfg(feature = "socket-io")]
use crate::event_loop::token::Key;
use crate::event_loop::{Loop, TimerId};

/// What a timer of `net` does when it fires.
#[derive(Clone, Copy)]
pub(crate) enum NetTimer {
    /// The idle limit of a socket ([`Socket::set_timeout`]).
    Idle(Socket),
    /// The write timeout of a socket ([`Limits::write_timeout`](super::Limits::write_timeout)).
    Write(Socket),
    /// One address of several has not answered in time. The number is that of the call of `connect_to`.
    Attempt(Socket, u64),
    /// A server whose accept call has failed accepts again.
    AcceptAgain(ServerId),
    /// Servers that had no free descriptor accept again.
    Shortage,
    /// A peer that this side wants gone has had its time to leave.
    Leave(Socket),
    /// The same, and the time begins when everything is sent.
    LeaveWhenSent(Socket),
    /// The next step of a drain.
    Drain(ServerId),
    /// A second has passed since the last line of the log about this.
    Tally(ServerId, Tallied),
    /// A time limit of a protocol above `net`; see [`Socket::start_layer_timer`].
    #[cfg(feature = "http")]
    Layer(Socket, fn(&mut Loop, Socket)),
    /// A time limit of an object of a protocol above `net` that is no socket; see [`Loop::start_keyed_timer`].
    #[cfg(feature = "socket-io")]
    Keyed(Key, fn(&mut Loop, Key)),
}

impl Loop {
    /// Runs a timer that has fired. The timer still exists: a limit may refresh it, and a timer that is used once is
    /// cleared.
    pub(crate) fn run_net_timer(&mut self, timer: NetTimer, id: TimerId) {
        match timer {
            NetTimer::Idle(socket) => self.idle_limit_reached(socket, id),
            NetTimer::Write(socket) => self.write_timed_out(socket, id),
            NetTimer::Attempt(socket, attempt) => {
                self.clear(id);
                self.attempt_timed_out(socket, attempt);
            }
            NetTimer::AcceptAgain(server) => {
                self.clear(id);
                self.accept_after_failure(server);
            }
            NetTimer::Shortage => self.retry_after_shortage(id),
            NetTimer::Leave(socket) => self.leave_limit_reached(socket, id),
            NetTimer::LeaveWhenSent(socket) => self.leave_limit_of_sender_reached(socket, id),
            NetTimer::Drain(server) => {
                self.clear(id);
                self.go_on_draining(server);
            }
            NetTimer::Tally(server, what) => {
                self.clear(id);
                self.report_tally(server, what);
            }
            #[cfg(feature = "http")]
            NetTimer::Layer(socket, run) => {
                self.clear(id);
                run(self, socket);
            }
            #[cfg(feature = "socket-io")]
            NetTimer::Keyed(key, run) => {
                self.clear(id);
                self.guarded(|lp| run(lp, key));
            }
        }
    }
}
