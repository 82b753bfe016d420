//! The session over TCP or a unix socket: bytes.
//!
//! The end of our input ends our side of the connection, and the client waits until the server ends its side. A server
//! may end its side first.

use std::time::Duration;

use bucle::net::{Error, Handler, Shared, Socket, SocketOptions, Target};
use bucle::{Loop, Result, TimerId};

use super::breaks::Breaks;
use super::session::{Connection, Session, is_exit};
use crate::cli::advice::{self, words_for};
use crate::cli::exit_code;
use crate::cli::keep_alive::{KEEP_ALIVE_DELAY, USER_TIMEOUT};
use crate::cli::stderr::print_error;
use crate::cli::target::Address;

/// How long an unfinished line is held back before it is shown. Longer than the time between two packets that carry
/// parts of one line, shorter than a person notices.
const LINE_WAIT: Duration = Duration::from_millis(50);

/// How long the client goes on sending typed lines after the server has ended its side. A server that no longer reads
/// would never take the rest.
const FINAL_SEND_LIMIT: Duration = Duration::from_millis(500);

/// How often the client looks at the progress of piped input after the server has ended its side.
const CHECK: Duration = Duration::from_millis(100);

/// After the server has ended its side: how long piped input may wait for a server that takes nothing of it.
const STUCK_LIMIT: Duration = Duration::from_secs(30);

/// After the server has ended its side: how long the client waits for more piped input. A server that has closed the
/// whole connection cannot be told from one that still reads, and a program that keeps its end of the pipe open would
/// wait for the client. Input that has not ended by then is not sent, which is reported.
const INPUT_LIMIT: Duration = Duration::from_secs(5);

/// The state of a session over TCP.
pub(super) struct Tcp {
    address: Address,
    /// The line breaks that are sent.
    breaks: Breaks,
    /// The server has ended its side.
    server_ended: Option<ServerEnded>,
    /// Shows an unfinished line when the rest of it does not arrive in time.
    line_timer: Option<TimerId>,
}

#[derive(Clone, Copy)]
struct ServerEnded {
    /// The server had not read everything that we had to send, or more input may come.
    had_unsent: bool,
}

impl Tcp {
    pub(super) fn new(address: Address, crlf: bool) -> Tcp {
        Tcp { address, breaks: Breaks::new(crlf), server_ended: None, line_timer: None }
    }

    fn target(&self) -> Target {
        match &self.address {
            Address::Tcp(host, port) => Target::from((host.as_str(), *port)),
            Address::Unix(path) => Target::path(path),
        }
    }
}

/// Begins to connect.
pub(super) fn open(lp: &mut Loop, shared: Shared<Session<Socket>>) -> Result<()> {
    let is_typed = shared.with(lp, |session, _| session.is_typed).unwrap_or(false);
    let options = SocketOptions {
        allow_half_open: !is_typed,
        keep_alive: true,
        keep_alive_initial_delay: KEEP_ALIVE_DELAY,
        user_timeout: USER_TIMEOUT,
        ..SocketOptions::default()
    };
    let socket = Socket::new(lp, options, shared);
    let target = shared.with(lp, |session, _| {
        session.connection = Some(socket);
        session.state.target()
    });
    target.map_or(Ok(()), |target| socket.connect_to(lp, target))
}

impl Connection for Socket {
    type State = Tcp;

    fn pause(self, lp: &mut Loop) {
        self.pause(lp);
    }

    fn resume(self, lp: &mut Loop) {
        self.resume(lp);
    }

    fn destroy(self, lp: &mut Loop) {
        self.destroy(lp);
    }

    fn give_up(self, lp: &mut Loop, _: &mut Session<Self>, timeout: Duration) {
        self.destroy_with(lp, Error::custom("ETIMEDOUT", format!("no connection in {timeout:?}")));
    }

    fn needs_drain(self, lp: &Loop) -> bool {
        self.needs_drain(lp)
    }

    fn send_line(self, lp: &mut Loop, tcp: &mut Tcp, line: &str, _: &mut Vec<String>) -> bool {
        let bytes = tcp.breaks.convert(format!("{line}\n").as_bytes()).into_owned();
        self.write(lp, bytes)
    }

    /// Sends bytes of a pipe unchanged, and lines that the terminal has edited up to an `exit`. The terminal usually
    /// hands over one line per read.
    fn send_chunk(self, lp: &mut Loop, session: &mut Session<Self>, chunk: &[u8]) -> bool {
        if !session.is_typed {
            return self.write(lp, session.state.breaks.convert(chunk));
        }
        let mut takes_more = true;
        for line in chunk.split_inclusive(|&byte| byte == b'\n') {
            if is_exit(line) {
                session.end(lp, self);
                return false;
            }
            takes_more = self.write(lp, session.state.breaks.convert(line));
        }
        takes_more
    }

    fn end(self, lp: &mut Loop, session: &mut Session<Self>) {
        let is_watched = !session.is_typed && session.state.server_ended.is_some();
        if !is_watched {
            self.end(lp);
        }
    }
}

impl Session<Socket> {
    /// Piped input after the server has ended its side: looks at the progress until the input has ended and is sent.
    ///
    /// `seen` are the bytes that were written and those that the kernel had not taken at the last look, and `quiet` is
    /// how long they have not changed.
    fn watch_sending(&self, lp: &mut Loop, socket: Socket, seen: (u64, usize), quiet: Duration) {
        let look = self.callback(move |session, lp| {
            let Some(info) = socket.info(lp) else { return };
            let unsent = socket.unsent_length(lp);
            let now = (info.bytes_written, unsent);
            let quiet = if now == seen && !session.is_held { quiet + CHECK } else { Duration::ZERO };
            if unsent > 0 && quiet >= STUCK_LIMIT {
                return socket.destroy_with(lp, Error::custom("ETIMEDOUT", "the server no longer reads"));
            }
            // Our FIN follows the last bytes by one look: if the server has closed the whole connection, its reset
            // arrives in this time and is reported.
            let is_over = unsent == 0 && (session.has_ended && quiet >= CHECK || quiet >= INPUT_LIMIT);
            if is_over {
                if !session.has_ended {
                    session.display.fail(&format!(
                        "{} ended its side, and no more input came for {INPUT_LIMIT:?}: later input is not sent",
                        session.state.address
                    ));
                    session.state.server_ended = Some(ServerEnded { had_unsent: false });
                }
                session.has_ended = true;
                session.close_stdin(lp);
                return socket.end(lp);
            }
            session.watch_sending(lp, socket, now, quiet);
        });
        lp.set_timeout(CHECK, look);
    }

    /// Each part of an unfinished line starts the wait for the rest again.
    fn wait_for_line(&mut self, lp: &mut Loop, socket: Socket) {
        match self.state.line_timer {
            Some(timer) => drop(lp.refresh(timer)),
            None => {
                let show = self.callback(move |session, lp| {
                    if session.display.show_unfinished().is_err() {
                        socket.destroy(lp);
                    }
                });
                self.state.line_timer = Some(lp.set_timer(LINE_WAIT, show));
            }
        }
    }
}

impl Handler for Session<Socket> {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        let name = self.state.address.to_string();
        self.connected(lp, socket, &name);
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if self.display.show(chunk).is_err() {
            return socket.destroy(lp);
        }
        if self.display.has_unfinished_line() {
            self.wait_for_line(lp, socket);
        }
        // Not only before the next turn: this turn may read much more.
        self.hold_if_behind(lp);
    }

    fn on_drain(&mut self, lp: &mut Loop, _: Socket) {
        self.resume_stdin(lp);
    }

    /// With typed input the socket ends our side in response, and closes when everything is sent. Piped input is sent
    /// to its end.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        let had_unsent = socket.writable_length(lp) > 0;
        if !self.is_typed {
            self.state.server_ended = Some(ServerEnded { had_unsent: had_unsent || !self.has_ended });
            self.display.finish();
            return self.watch_sending(lp, socket, (0, 0), Duration::ZERO);
        }
        self.state.server_ended = Some(ServerEnded { had_unsent });
        self.close_stdin(lp);
        self.display.finish();
        if !self.has_ended {
            self.display.inform("the server closed the connection");
        }
        lp.set_timeout(FINAL_SEND_LIMIT, move |lp| {
            socket.destroy_with(lp, Error::custom("ETIMEDOUT", "the server no longer reads"));
        });
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        let address = &self.state.address;
        self.display.finish();
        if !self.is_connected {
            let (what, tries) = advice::cannot_connect(address, &error);
            print_error(&what, &tries);
            self.display.exit_code = exit_code::NO_CONNECTION;
            return;
        }
        match self.state.server_ended {
            None => self.display.fail(&format!("the connection to {address} was lost: {}", words_for(&error))),
            Some(ServerEnded { had_unsent: true }) => {
                self.display.fail(&format!("{address} closed the connection before it had read all of the input"));
            }
            // Everything was sent and received: an error after that does not matter.
            Some(ServerEnded { had_unsent: false }) => {}
        }
    }

    fn on_close(&mut self, lp: &mut Loop, _: Socket, _: bool) {
        self.closed(lp);
    }
}
