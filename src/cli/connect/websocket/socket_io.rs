//! Packets of Socket.IO: the namespace is joined, and lines are events.
//!
//! ```text
//!   WebSocket ── the handshake fails, with `--transport auto` ──▶ polling
//!       │                                                            │
//!       └─────────────────── 0, 40, and the answer 40 ───────────────┘──▶ ready
//! ```
//!
//! A server that was reached by polling is connected to by polling again.

use std::time::Duration;

use bucle::engine_io::{self, ClientHandler, ClientOptions, ClientSession, CloseReason, Transport};
use bucle::net::{Error, Shared};
use bucle::websocket::{CloseCode, Message};
use bucle::{Loop, Result};

use super::{Link, MAX_MESSAGE, Messages, Session};
use crate::cli::connect::events::Step;
use crate::cli::escape::shown_in_line;
use crate::cli::exit_code;
use crate::cli::socket_io::TransportChoice;
use crate::cli::stderr::print_error;

/// How long a server may take until the namespace is joined, unless `--timeout` is given.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Messages {
    /// Whether the next connection is made by polling.
    pub(super) fn polls(&self) -> bool {
        self.transport == TransportChoice::Polling
    }

    /// Whether polling is tried next, because this WebSocket handshake has failed.
    pub(super) fn may_fall_back(&self) -> bool {
        self.writer.events.is_some() && self.transport == TransportChoice::Auto && !self.is_joined
    }
}

impl Session<Link> {
    /// Begins to open a session that polls.
    pub(super) fn open_polling(lp: &mut Loop, shared: Shared<Session<Link>>) -> Result<()> {
        let default = ClientOptions::default();
        let of_session = |session: &mut Session<Link>| {
            (session.state.ws_url.replacen("ws://", "http://", 1), session.step_limit(default.timeout))
        };
        let (url, timeout) = shared.with(lp, |session, _| of_session(session)).unwrap_or_default();
        let options = ClientOptions {
            timeout,
            path: "/socket.io/".to_owned(),
            transports: vec![Transport::Polling],
            max_message: MAX_MESSAGE,
            ..default
        };
        let client = engine_io::connect(lp, &url, options, PollingDoor(shared))?;
        shared.with(lp, |session, _| session.connection = Some(Link::Polling(client)));
        Ok(())
    }

    /// The WebSocket handshake has failed: polling is tried.
    pub(super) fn fall_back(&mut self, lp: &mut Loop) {
        self.state.transport = TransportChoice::Polling;
        self.connection = None;
        let Some(shared) = self.handle else { return };
        // In a tick, because the session is borrowed now.
        lp.next_tick(move |lp| {
            if let Err(error) = Session::open_polling(lp, shared) {
                shared.with(lp, |session, lp| {
                    session.on_error(&error);
                    session.on_close(lp, CloseCode::ABNORMAL, "");
                });
            }
        });
    }

    /// The namespace must be joined in time.
    pub(super) fn await_join(&mut self, lp: &mut Loop, link: Link) {
        let limit = self.step_limit(JOIN_TIMEOUT);
        if limit.is_zero() {
            return;
        }
        let timed_out = self.callback(move |session, lp| session.join_timed_out(lp, link));
        let timer = lp.set_timeout(limit, timed_out);
        lp.unref(timer);
    }

    fn join_timed_out(&mut self, lp: &mut Loop, link: Link) {
        if self.connection != Some(link) || self.state.is_joined || !link.is_open(lp) {
            return;
        }
        let why = "the server did not accept the namespace in time";
        match self.is_reopened() {
            true => self.state.loss = Some(why.to_owned()),
            false => self.refused(why),
        }
        link.close(lp, CloseCode::NORMAL, "");
    }

    /// There is no connection, because the namespace is not joined.
    pub(super) fn refused(&mut self, why: &str) {
        if !self.state.is_reported {
            self.display.leave_prompt();
            print_error(&format!("cannot connect to {}: {why}", self.state.url), &[]);
            self.display.exit_code = exit_code::NO_CONNECTION;
            self.state.is_reported = true;
        }
    }

    /// A message has arrived.
    pub(super) fn on_packet(&mut self, lp: &mut Loop, link: Link, message: Message<'_>) {
        let Some(events) = &mut self.state.writer.events else { return };
        let step = match message {
            Message::Text(text) => events.receive_text(text),
            Message::Binary(bytes) => events.receive_binary(bytes),
        };
        match step {
            Ok(Step::Nothing) => {}
            Ok(Step::Send(message)) => drop(link.send(lp, &message)),
            Ok(Step::Joined) if self.state.is_joined => {}
            Ok(Step::Joined) => {
                self.state.is_joined = true;
                self.state.failure = None;
                self.ready(lp, link);
            }
            Ok(Step::Refused(message)) => {
                self.refused(&format!("the server refused the namespace: {}", shown_in_line(message.as_bytes())));
                link.close(lp, CloseCode::NORMAL, "");
            }
            Ok(Step::Show(line)) => {
                self.state.writer.answers.received(lp.now());
                self.show(lp, link, &line);
            }
            Ok(Step::Closed) if self.is_reopened() => {
                self.state.loss = Some("the server closed the session".to_owned());
                link.close(lp, CloseCode::NORMAL, "");
            }
            Ok(Step::Ended | Step::Closed) => {
                self.state.is_sent_away = true;
                self.close_stdin(lp);
                link.close(lp, CloseCode::NORMAL, "");
            }
            Err(why) => {
                self.report(|url| format!("{url} does not speak Socket.IO as this client does: {why}"));
                self.close_stdin(lp);
                link.close(lp, CloseCode::PROTOCOL_ERROR, "");
            }
        }
    }
}

/// Passes the events of a session that polls to the session of the command, as those of a WebSocket connection with the
/// same packets.
struct PollingDoor(Shared<Session<Link>>);

impl ClientHandler for PollingDoor {
    fn on_open(&mut self, lp: &mut Loop, client: ClientSession) {
        self.0.with(lp, |session, lp| {
            session.on_open(lp, Link::Polling(client));
            session.on_packet(lp, Link::Polling(client), Message::Text("0"));
        });
    }

    fn on_message(&mut self, lp: &mut Loop, client: ClientSession, message: Message<'_>) {
        let with_digit;
        let message = match message {
            Message::Text(text) => {
                with_digit = format!("4{text}");
                Message::Text(&with_digit)
            }
            Message::Binary(bytes) => Message::Binary(bytes),
        };
        self.0.with(lp, |session, lp| session.on_packet(lp, Link::Polling(client), message));
    }

    fn on_drain(&mut self, lp: &mut Loop, _: ClientSession) {
        self.0.with(lp, |session, lp| session.on_drain(lp));
    }

    fn on_close(&mut self, lp: &mut Loop, client: ClientSession, reason: CloseReason, error: &Error) {
        self.0.with(lp, |session, lp| {
            let code = match reason {
                CloseReason::ForcedClose => CloseCode::NORMAL,
                CloseReason::TransportClose => {
                    session.on_packet(lp, Link::Polling(client), Message::Text("1"));
                    CloseCode::NORMAL
                }
                _ => {
                    session.on_error(error);
                    CloseCode::ABNORMAL
                }
            };
            session.on_close(lp, code, "");
        });
    }

    fn on_error(&mut self, lp: &mut Loop, _: ClientSession, error: &Error) {
        self.0.with(lp, |session, lp| {
            session.on_error(error);
            session.on_close(lp, CloseCode::ABNORMAL, "");
        });
    }
}
