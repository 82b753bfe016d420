//! The ticks of sockets and servers.
//!
//! Node reports many things in a tick: inside a method of the socket user code must not be called. These ticks share
//! one queue with the ticks of the program, because their order against each other is part of Node's behaviour. They
//! are values of an enum and not closures, so that they need no heap block.

use super::server::ServerTick;
use super::{Error, ServerId, Socket, WriteCallback};
use crate::event_loop::Loop;
#[cfg(feature = "socket-io")]
use crate::event_loop::token::Key;

/// A tick of a socket or server.
pub(crate) enum NetTick {
    /// Begins the attempt of this number, for an IP address.
    Connect(Socket, u64),
    /// Delivers the inbox and goes on reading.
    Resume(Socket),
    /// The new handler of a socket gets `on_upgrade` and its first bytes.
    Upgrade(Socket),
    /// `on_end`, if the inbox is still empty.
    End(Socket),
    /// Ends the destination of a pipe whose source had ended when it was added.
    EndPipe {
        from: Socket,
        to: Socket,
        ends: bool,
    },
    /// Ends this side because the peer has ended.
    AnswerEnd(Socket),
    /// The FIN is sent: end callbacks, `on_finish`.
    Finish(Socket),
    /// The kernel took writes inside the call: `on_drain` if a write returned `false`, then their callbacks.
    AfterWrite(Socket, Vec<WriteCallback>),
    /// The socket was destroyed while writes or ends waited: their callbacks get an error.
    FailQueued(Socket),
    /// A write failed inside the call: its callbacks, then the socket's error.
    WriteFailed(Socket, Box<(Vec<WriteCallback>, Error)>),
    /// The callback of a write or end whose result was known inside the call.
    Callback(Socket, Box<(WriteCallback, crate::Result<()>)>),
    /// Destroys a socket whose target has no usable address.
    Destroy(Socket, Box<Error>),
    /// `on_error`.
    Error(Socket, Box<Error>),
    /// From here on a destroyed socket does not deliver its inbox.
    StopDelivery(Socket),
    /// `on_close` of a socket that was never connected.
    CloseUnopened(Socket),
    /// A tick of a protocol above `net`.
    #[cfg(feature = "http")]
    Layer(Socket, fn(&mut Loop, Socket)),
    /// A tick of an object of a protocol above `net` that is no socket.
    #[cfg(feature = "socket-io")]
    Keyed(Key, fn(&mut Loop, Key)),
    Server(ServerId, ServerTick),
}

impl Loop {
    /// Runs a tick of a socket or server. The tick queue calls it, so no boundary follows.
    pub(crate) fn run_net_tick(&mut self, tick: NetTick) {
        match tick {
            NetTick::Connect(socket, attempt) => self.begin_attempt(socket, attempt),
            NetTick::Resume(socket) => self.resume_now(socket),
            NetTick::Upgrade(socket) => self.upgrade_now(socket),
            NetTick::End(socket) => self.end_reached(socket),
            NetTick::EndPipe { from, to, ends } => self.end_pipe(from, to, ends),
            NetTick::AnswerEnd(socket) => self.answer_end(socket),
            NetTick::Finish(socket) => self.finished(socket),
            NetTick::AfterWrite(socket, callbacks) => self.after_write(socket, callbacks),
            NetTick::FailQueued(socket) => self.fail_queued(socket),
            NetTick::WriteFailed(socket, failed) => {
                let (callbacks, error) = *failed;
                self.report_now(socket, callbacks, error);
            }
            NetTick::Callback(socket, call) => {
                let (callback, result) = *call;
                self.run_write_callback(socket, callback, result);
            }
            NetTick::Destroy(socket, error) => self.destroy_socket(socket, Some(*error)),
            NetTick::Error(socket, error) => self.emit_error(socket, *error),
            NetTick::StopDelivery(socket) => self.stop_delivery(socket),
            NetTick::CloseUnopened(socket) => self.close_socket(socket, false),
            #[cfg(feature = "http")]
            NetTick::Layer(socket, run) => run(self, socket),
            #[cfg(feature = "socket-io")]
            NetTick::Keyed(key, run) => _ = self.guarded(|lp| run(lp, key)),
            NetTick::Server(server, tick) => self.run_server_tick(server, tick),
        }
    }
}
