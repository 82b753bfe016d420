//! What sockets and servers put off to the tick queue, in one line with the ticks of the program.

use super::server::ServerTick;
use super::{Error, ServerId, Socket, WriteCallback};
use crate::event_loop::Loop;

/// What a socket or server put off to the tick queue.
pub(crate) enum NetTick {
    /// Makes the `connect` call of an attempt, for an IP address.
    Connect(Socket, u64),
    Resume(Socket),
    /// The new handler of a socket gets `on_upgrade` and its first bytes.
    Upgrade(Socket),
    /// The inbox is empty and the FIN was read: `on_end`.
    End(Socket),
    /// Ends the destination of a pipe that was laid when its source had ended.
    EndPipe {
        from: Socket,
        to: Socket,
        ends: bool,
    },
    /// Answers the peer's end with our own.
    AnswerEnd(Socket),
    /// The shutdown is done: end callbacks, `on_finish`.
    Finish(Socket),
    /// Writes that the kernel took at once: `on_drain` if owed, then their callbacks.
    AfterWrite(Socket, Vec<WriteCallback>),
    /// The socket was destroyed while writes or ends waited.
    FailQueued(Socket),
    WriteFailed(Socket, Box<(Vec<WriteCallback>, Error)>),
    /// A refused write or end, or an end that had finished.
    Callback(Socket, Box<(WriteCallback, crate::Result<()>)>),
    /// Destroys a socket whose name was not found.
    Destroy(Socket, Box<Error>),
    Error(Socket, Box<Error>),
    /// The close of a socket that never had a connection.
    CloseUnopened(Socket),
    Server(ServerId, ServerTick),
}

impl Loop {
    /// One entry of the tick queue that is a socket's or a server's.
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
            NetTick::CloseUnopened(socket) => self.close_socket(socket, false),
            NetTick::Server(server, tick) => self.run_server_tick(server, tick),
        }
    }
}
