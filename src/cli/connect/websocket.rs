//! The session over WebSocket: messages.
//!
//! ```text
//!   a line of the input ─▶ text message ─────────────────────────────────────▶ server
//!   a line on standard output ◀─ text message, or with `--hex` a binary one ◀──┘
//! ```
//!
//! * **One line is one message**, in both directions. A line break inside a received message is written as `\n` or
//!   `\r`, except with `--raw`. Input that is not UTF-8 cannot be sent.
//! * **At the end of the input** the client waits for answers ([`Answers`]) and then closes with 1000.
//! * **A binary message** ends the connection with 1003, unless `--hex` shows it.
//! * **The close code** decides the exit code: 1000, 1001 (the server shuts down) and none at all are success.
//!
//! With `--reconnect` a connection that was made and is lost is opened again, after a wait that doubles with each
//! attempt. Meanwhile no input is read. A close with 1000 is the end all the same. Lines that were sent shortly before
//! the loss may be lost.
//!
//! With `sio://` the messages are packets of Socket.IO, and a line is an event: see `events.rs` and `websocket/`. The
//! packets are sent over a WebSocket connection, or by polling if there is no such connection. The connection is made
//! when the namespace is joined. All of the above is true for these lines, too. A line that is no event ends the input,
//! unless it was typed.

mod link;
mod socket_io;

use std::net::IpAddr;
use std::str;
use std::time::{Duration, Instant};

use bucle::http::StatusCode;
use bucle::http::head::ResponseHead;
use bucle::net::{Error, Shared};
use bucle::telnet::lines::Lines;
use bucle::websocket::handshake::{BadUrl, Target, parse_url};
use bucle::websocket::{self, ClientOptions, CloseCode, Endpoint, Message, Options, WebSocket};
use bucle::{Loop, Result};

pub(super) use self::link::Link;
use self::link::{Failure, is_of_handshake};
use super::answers::Answers;
use super::events::{Events, hex};
use super::session::{Connection, Session, is_exit};
use crate::cli::advice::{self, words_for};
use crate::cli::escape::shown_in_line;
use crate::cli::exit_code;
use crate::cli::socket_io::TransportChoice;
use crate::cli::stderr::print_error;
use crate::cli::target::Address;
use crate::cli::target::words::without_secrets;

/// How long a closed connection waits for more input. A program that writes without a pause fills its pipe faster.
const REST_LIMIT: Duration = Duration::from_millis(100);

/// The longest message, in both directions. It bounds the memory for a line of the input that does not end.
const MAX_MESSAGE: usize = 64 << 20;

/// How often the client looks, after the end of the input, whether the answers are complete.
const CHECK: Duration = Duration::from_millis(50);

/// The first wait before a lost connection is opened again. It doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);

const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How much of the first line of a refusal is shown.
const MAX_EXCERPT: usize = 200;

/// Sends lines as messages.
struct Writer {
    /// With `sio://`.
    events: Option<Events>,
    answers: Answers,
}

/// The state of a session over WebSocket.
pub(super) struct Messages {
    /// As it was typed, but without what may be a secret.
    url: String,
    /// That of the WebSocket connection.
    ws_url: String,
    address: Address,
    path: String,
    shows_hex: bool,
    linger: Duration,
    /// Puts the lines of the input together.
    lines: Lines,
    /// How many lines of the input were read.
    line_count: u64,
    writer: Writer,
    /// More input is read when the queued messages are sent.
    waits_for_drain: bool,
    /// Input was read that could not be sent, because the connection was closing.
    has_lost_input: bool,
    /// The connection is closed, and it is not known yet whether there is more input.
    awaits_rest: bool,
    /// The failure that ended the connection is reported.
    is_reported: bool,
    /// `--reconnect`: how long to wait before the next attempt.
    wait: Option<Duration>,
    /// Why the connection is lost, if it will be opened again.
    loss: Option<String>,
    /// Input that came while the connection was closing, for the next one.
    kept: Vec<u8>,
    /// Socket.IO: the namespace is joined on this connection.
    is_joined: bool,
    /// Socket.IO: the server has disconnected this client.
    is_sent_away: bool,
    /// Socket.IO: how the next connection is made.
    transport: TransportChoice,
    /// Socket.IO: why the WebSocket handshake has failed, if polling was tried instead.
    failure: Option<Failure>,
    /// Socket.IO: polling is tried when this connection is closed.
    falls_back: bool,
}

impl Messages {
    /// # Errors
    /// When `url` cannot be connected to.
    pub(super) fn new(url: &str, shows_hex: bool, linger: Duration) -> Result<Messages, BadUrl> {
        Ok(Messages::of(url, url.to_owned(), parse_url(url)?, shows_hex, linger))
    }

    /// Messages that are packets of Socket.IO.
    pub(super) fn of_events(url: &str, events: Events, linger: Duration) -> Messages {
        let target = events.place.target.clone();
        let ws_url = format!("ws://{}{}", target.authority, target.path_and_query);
        let mut messages = Messages::of(url, ws_url, target, false, linger);
        messages.transport = events.transport();
        messages.writer.events = Some(events);
        messages
    }

    fn of(url: &str, ws_url: String, target: Target, shows_hex: bool, linger: Duration) -> Messages {
        Messages {
            url: without_secrets(url),
            ws_url,
            address: Address::Tcp(target.host, target.port),
            path: target.path_and_query,
            shows_hex,
            linger,
            lines: Lines::with_limit(MAX_MESSAGE),
            line_count: 0,
            writer: Writer { events: None, answers: Answers::new(Instant::now()) },
            waits_for_drain: false,
            has_lost_input: false,
            awaits_rest: false,
            is_reported: false,
            wait: None,
            loss: None,
            kept: Vec::new(),
            is_joined: false,
            is_sent_away: false,
            transport: TransportChoice::WebSocket,
            failure: None,
            falls_back: false,
        }
    }

    /// A lost connection is opened again.
    pub(super) fn reconnecting(self) -> Messages {
        Messages { wait: Some(FIRST_WAIT), ..self }
    }

    /// Commands to try when the server has answered with this status.
    fn advice_for(&self, status: StatusCode) -> Vec<String> {
        let is_other_path = matches!(status, StatusCode::OK | StatusCode::NOT_FOUND) && self.path != "/ws";
        if is_other_path && self.writer.events.is_none() {
            vec![format!("bucle connect ws://{}/ws      or another path", self.address)]
        } else {
            Vec::new()
        }
    }

    /// Why a connection could not be made, and commands to try.
    fn cannot_connect(&self, error: &Error) -> (String, Vec<String>) {
        // The system's error codes have a sentence each. Those of the handshake bring their own.
        if let Error::Custom { message, .. } = error {
            return (format!("cannot connect to {}: {message}", self.url), Vec::new());
        }
        let (what, tries) = advice::cannot_connect(&self.address, error);
        let what = what.replacen(&self.address.to_string(), &self.url, 1);
        let is_socket_io = self.writer.events.is_some();
        match &self.address {
            Address::Tcp(host, port) if error.code() == "ECONNREFUSED" && is_this_machine(host) => {
                let kind = if is_socket_io { "chat" } else { "echo" };
                (what, vec![format!("bucle serve {kind} --http {port}      in another terminal")])
            }
            _ => {
                let url = if is_socket_io { "sio://HOST:PORT/NAMESPACE" } else { "ws://HOST:PORT/PATH" };
                (what, tries.into_iter().map(|line| line.replace("HOST:PORT", url)).collect())
            }
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Begins to connect.
pub(super) fn open(lp: &mut Loop, shared: Shared<Session<Link>>) -> Result<()> {
    if shared.with(lp, |session, _| session.state.polls()).unwrap_or_default() {
        return Session::open_polling(lp, shared);
    }
    let options = Options { max_message: MAX_MESSAGE, ..Options::default() };
    let of_session =
        |session: &mut Session<Link>| (session.state.ws_url.clone(), session.step_limit(options.handshake_timeout));
    let (url, handshake_timeout) = shared.with(lp, |session, _| of_session(session)).unwrap_or_default();
    let options = Options { handshake_timeout, ..options };
    let endpoint = Endpoint::new(lp, options, Door(shared));
    let ws = endpoint.connect(lp, &url, &ClientOptions::default())?;
    endpoint.release(lp);
    shared.with(lp, |session, _| session.connection = Some(Link::WebSocket(ws)));
    Ok(())
}

/// A line of the input that cannot be sent.
enum BadLine {
    TooLong,
    NotText,
    /// Socket.IO: half a sentence about what is wrong.
    NotAnEvent(String),
}

impl Writer {
    /// Sends a line without its line break.
    fn send_text(&mut self, lp: &mut Loop, link: Link, line: &[u8]) -> Result<bool, BadLine> {
        let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
        self.send_message(lp, link, str::from_utf8(line).map_err(|_| BadLine::NotText)?)
    }

    fn send_message(&mut self, lp: &mut Loop, link: Link, line: &str) -> Result<bool, BadLine> {
        let message = match &mut self.events {
            None => return Ok(self.send(lp, link, line)),
            Some(events) => events.message(line).map_err(BadLine::NotAnEvent)?,
        };
        // A line without an event is skipped.
        Ok(message.is_none_or(|message| self.send(lp, link, &message)))
    }

    fn send(&mut self, lp: &mut Loop, link: Link, message: &str) -> bool {
        self.answers.sent(lp.now());
        link.send(lp, message)
    }
}

impl Connection for Link {
    type State = Messages;

    fn pause(self, lp: &mut Loop) {
        self.pause(lp);
    }

    fn resume(self, lp: &mut Loop) {
        self.resume(lp);
    }

    fn destroy(self, lp: &mut Loop) {
        self.terminate(lp);
    }

    /// Another way of connecting is not tried either.
    fn give_up(self, lp: &mut Loop, session: &mut Session<Self>, timeout: Duration) {
        session.state.falls_back = false;
        let what = format!("cannot connect to {}: no connection in {timeout:?}", session.state.url);
        session.not_connected(what, Vec::new(), false);
        self.terminate(lp);
    }

    fn needs_drain(self, lp: &Loop) -> bool {
        self.needs_drain(lp)
    }

    fn send_line(self, lp: &mut Loop, messages: &mut Messages, line: &str, notes: &mut Vec<String>) -> bool {
        if messages.wait.is_some() && !self.is_open(lp) {
            messages.kept.extend([line.as_bytes(), b"\n"].concat());
            return false;
        }
        let result = messages.writer.send_message(lp, self, line);
        if let Err(BadLine::NotAnEvent(why)) = &result {
            notes.push(not_sent(why));
        }
        result.unwrap_or(true)
    }

    fn send_chunk(self, lp: &mut Loop, session: &mut Session<Self>, mut chunk: &[u8]) -> bool {
        if session.state.awaits_rest {
            session.finish_rest(lp, true);
            return false;
        }
        if !self.is_open(lp) {
            match session.state.wait {
                Some(_) => session.state.kept.extend_from_slice(chunk),
                None => session.state.has_lost_input = true,
            }
            return false;
        }
        let mut takes_more = true;
        while let Some(line) = session.state.lines.next_raw_line(&mut chunk) {
            session.state.line_count += 1;
            let result = match line {
                Ok(line) if session.is_typed && is_exit(line) => {
                    session.end(lp, self);
                    return false;
                }
                Ok(line) => session.state.writer.send_text(lp, self, line),
                Err(_) => Err(BadLine::TooLong),
            };
            match result {
                Ok(more) => takes_more = more,
                Err(BadLine::NotAnEvent(why)) if session.is_typed => session.display.note(&not_sent(&why)),
                Err(bad) => {
                    session.refuse_line(&bad);
                    session.end(lp, self);
                    return false;
                }
            }
        }
        session.state.waits_for_drain = !takes_more;
        takes_more
    }

    /// Sends the last line if it has no line break, and closes when the answers have arrived.
    fn end(self, lp: &mut Loop, session: &mut Session<Self>) {
        if session.state.awaits_rest {
            return session.finish_rest(lp, false);
        }
        if let Some(line) = session.state.lines.finish() {
            session.state.line_count += 1;
            if let Err(bad) = session.state.writer.send_text(lp, self, line) {
                session.refuse_line(&bad);
            }
        }
        session.close_when_answered(lp, self);
    }
}

/// The note for the user, who can type the line again.
fn not_sent(why: &str) -> String {
    format!("not sent, because the line {why}")
}

impl Session<Link> {
    /// Reports a line that cannot be sent, and forgets the input after it.
    fn refuse_line(&mut self, bad: &BadLine) {
        let number = self.state.line_count;
        self.state.lines = Lines::with_limit(MAX_MESSAGE);
        self.display.fail(&match bad {
            BadLine::NotText => format!("line {number} of the input is not UTF-8, which a text message must be"),
            BadLine::TooLong => format!("line {number} of the input is longer than {} MiB", MAX_MESSAGE >> 20),
            BadLine::NotAnEvent(why) => format!("line {number} of the input {why}"),
        });
    }

    fn close_when_answered(&mut self, lp: &mut Loop, link: Link) {
        if !link.is_open(lp) {
            return;
        }
        let now = lp.now();
        if link.has_unsent(lp) || self.is_held {
            self.state.writer.answers.not_quiet(now);
        }
        if self.state.writer.answers.are_over(now, self.state.linger) {
            if let Some(events) = &self.state.writer.events {
                link.send(lp, &events.leave());
            }
            return link.close(lp, CloseCode::NORMAL, "");
        }
        let look_again = self.callback(move |session, lp| session.close_when_answered(lp, link));
        lp.set_timeout(CHECK, look_again);
    }

    /// How long one step of a connection may take, for example the handshake: `--timeout`, or else `default`. Zero: the
    /// time of the whole first connection is limited.
    fn step_limit(&self, default: Duration) -> Duration {
        match self.timeout {
            None => default,
            Some(timeout) if self.is_connected => timeout,
            Some(_) => Duration::ZERO,
        }
    }

    fn on_open(&mut self, lp: &mut Loop, link: Link) {
        if self.state.writer.events.is_some() {
            return self.await_join(lp, link);
        }
        self.ready(lp, link);
    }

    /// Lines can be sent.
    fn ready(&mut self, lp: &mut Loop, link: Link) {
        self.state.writer.answers = Answers::new(lp.now());
        if self.is_held {
            // The terminal has not taken the text of the last connection yet.
            link.pause(lp);
        }
        if self.is_connected {
            self.display.note(&format!("connected to {} again", self.state.url));
            self.state.wait = Some(FIRST_WAIT);
            let kept = std::mem::take(&mut self.state.kept);
            if kept.is_empty() || link.send_chunk(lp, self, &kept) {
                self.resume_stdin(lp);
            }
            return;
        }
        let by = if matches!(link, Link::Polling(_)) { " by polling" } else { "" };
        let name = format!("{}{by}", self.state.url);
        self.connected(lp, link, &name);
    }

    /// Whether a connection that is lost now will be opened again.
    fn is_reopened(&self) -> bool {
        let is_going_on = self.is_connected && !self.has_ended && !self.display.has_failed();
        self.state.wait.is_some() && is_going_on && !self.state.is_reported && !self.state.is_sent_away
    }

    /// Opens the lost connection again after a wait.
    fn connect_again(&mut self, lp: &mut Loop, why: &str) {
        let wait = self.state.wait.unwrap_or(FIRST_WAIT);
        self.state.wait = Some(LONGEST_WAIT.min(wait * 2));
        self.state.is_joined = false;
        if let Some(events) = &mut self.state.writer.events {
            events.reset();
        }
        self.connection = None;
        self.pause_stdin(lp);
        let (url, seconds) = (&self.state.url, wait.as_secs());
        self.display.note(&format!("the connection to {url} is lost ({why}); connecting again in {seconds} s"));
        let handle = self.handle;
        lp.set_timeout(wait, move |lp| {
            let Some(shared) = handle else { return };
            if let Err(error) = open(lp, shared) {
                shared.with(lp, |session, lp| session.connect_again(lp, words_for(&error).as_ref()));
            }
        });
    }

    fn on_message(&mut self, lp: &mut Loop, link: Link, message: Message<'_>) {
        if self.state.writer.events.is_some() {
            return self.on_packet(lp, link, message);
        }
        self.state.writer.answers.received(lp.now());
        match message {
            Message::Text(text) => self.show(lp, link, text),
            Message::Binary(bytes) if self.state.shows_hex => self.show(lp, link, &hex(bytes)),
            Message::Binary(bytes) => self.refuse_binary(lp, link, bytes.len()),
        }
    }

    fn show(&mut self, lp: &mut Loop, link: Link, line: &str) {
        if self.display.show_line(line).is_err() {
            return link.terminate(lp);
        }
        self.hold_if_behind(lp);
    }

    fn refuse_binary(&mut self, lp: &mut Loop, link: Link, len: usize) {
        self.report(|_| format!("the server sent a binary message of {len} bytes; --hex shows binary messages"));
        self.close_stdin(lp);
        link.close(lp, CloseCode::UNSUPPORTED_DATA, "this client takes text messages");
    }

    fn on_drain(&mut self, lp: &mut Loop) {
        self.state.waits_for_drain = false;
        self.resume_stdin(lp);
    }

    fn on_unexpected_response(&mut self, response: &ResponseHead, body: &[u8]) {
        let status = response.status();
        if self.is_reopened() {
            self.state.loss = Some(format!("the server answered {status}"));
            return;
        }
        let mut what = format!("cannot connect to {}: the server answered {status}", self.state.url);
        let line = body.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
        if !line.is_empty() {
            what += &format!(": {}", shown_in_line(&line[..line.len().min(MAX_EXCERPT)]));
        }
        self.not_connected(what, self.state.advice_for(status), true);
    }

    /// Reports that there is no connection, unless polling is tried first.
    fn not_connected(&mut self, what: String, tries: Vec<String>, is_of_handshake: bool) {
        if self.state.is_reported || self.state.falls_back {
            return;
        }
        if is_of_handshake && self.state.may_fall_back() {
            self.state.failure = Some((what, tries));
            self.state.falls_back = true;
            return;
        }
        // Polling has failed as well.
        let (what, tries) = self.state.failure.take().unwrap_or((what, tries));
        print_error(&what, &tries);
        self.display.exit_code = exit_code::NO_CONNECTION;
        self.state.is_reported = true;
    }

    fn on_error(&mut self, error: &Error) {
        if self.is_reopened() {
            self.state.loss.get_or_insert(words_for(error).to_string());
            return;
        }
        if self.is_connected {
            return self.report(|url| format!("the connection to {url} was lost: {}", words_for(error)));
        }
        let (what, tries) = self.state.cannot_connect(error);
        self.not_connected(what, tries, is_of_handshake(error));
    }

    /// Reports the end of the connection, unless the failure that has caused it is reported already.
    fn on_close(&mut self, lp: &mut Loop, code: CloseCode, reason: &str) {
        if std::mem::take(&mut self.state.falls_back) {
            return self.fall_back(lp);
        }
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", shown_in_line(reason.as_bytes())) };
        // Input was read and not sent, or the server had not read what was sent.
        let has_rest = self.state.has_lost_input || !self.state.kept.is_empty() || !self.state.lines.is_idle();
        let is_incomplete = self.state.waits_for_drain || has_rest && !self.has_ended;
        // This client has destroyed the connection: it cannot write the output, or not read the input.
        let is_by_client = self.display.has_failed() || code == CloseCode::ABNORMAL && self.display.exit_code != 0;
        let loss = self.state.loss.take();
        if self.is_reopened() && (loss.is_some() || code != CloseCode::NORMAL) {
            return self.connect_again(lp, &loss.unwrap_or_else(|| format!("{code}{reason}")));
        }
        if self.state.writer.events.is_some() && !self.is_connected && !is_by_client {
            self.refused(&format!("the server closed the connection before it accepted the namespace ({code})"));
        }
        if is_by_client || self.state.is_reported {
            return self.closed(lp);
        }
        self.display.finish();
        match code {
            CloseCode::NORMAL | CloseCode::NO_STATUS if self.has_ended => {}
            CloseCode::NORMAL | CloseCode::NO_STATUS if self.state.is_sent_away => {
                self.display.inform("the server has disconnected this client");
            }
            CloseCode::NORMAL => self.display.inform("the server closed the connection"),
            CloseCode::NO_STATUS => self.display.tell("the server closed the connection without a code"),
            CloseCode::GOING_AWAY => self.display.tell(&format!("the connection was closed with {code}{reason}")),
            CloseCode::ABNORMAL => {
                self.report(|url| format!("the connection to {url} ended without a close frame{reason}"));
            }
            _ => self.report(|url| format!("the connection to {url} was closed with {code}{reason}")),
        }
        if !self.is_typed && is_incomplete {
            return self.finish_rest(lp, true);
        }
        if !self.is_typed && !self.has_ended && matches!(code, CloseCode::NORMAL | CloseCode::NO_STATUS) {
            return self.await_rest(lp);
        }
        self.closed(lp);
    }

    /// The server has closed the connection in order, and the input has not ended: waits a moment for more of it, which
    /// the server then has not read.
    fn await_rest(&mut self, lp: &mut Loop) {
        let Some(handle) = self.handle else { return self.closed(lp) };
        self.state.awaits_rest = true;
        self.resume_stdin(lp);
        lp.set_timeout(REST_LIMIT, move |lp| {
            handle.with(lp, |session, lp| {
                if session.state.awaits_rest {
                    session.finish_rest(lp, false);
                }
            });
        });
    }

    /// Ends the session, and reports input that the server has not read.
    fn finish_rest(&mut self, lp: &mut Loop, has_rest: bool) {
        self.state.awaits_rest = false;
        if has_rest {
            self.report(|url| format!("{url} closed the connection before it had read all of the input"));
        }
        self.closed(lp);
    }

    /// Reports a failure with the URL of the connection, unless one is reported already.
    fn report(&mut self, what: impl FnOnce(&str) -> String) {
        if !self.state.is_reported {
            self.display.finish();
            self.display.fail(&what(&self.state.url));
            self.state.is_reported = true;
        }
    }
}

/// Passes the events of the connection to the session, which standard input and timers reach too.
struct Door(Shared<Session<Link>>);

impl websocket::Handler for Door {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.0.with(lp, |session, lp| session.on_open(lp, Link::WebSocket(ws)));
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        self.0.with(lp, |session, lp| session.on_message(lp, Link::WebSocket(ws), message));
    }

    fn on_drain(&mut self, lp: &mut Loop, _: WebSocket) {
        self.0.with(lp, |session, lp| session.on_drain(lp));
    }

    fn on_unexpected_response(&mut self, lp: &mut Loop, _: WebSocket, response: &ResponseHead, body: &[u8]) {
        self.0.with(lp, |session, _| session.on_unexpected_response(response, body));
    }

    fn on_error(&mut self, lp: &mut Loop, _: WebSocket, error: Error) {
        self.0.with(lp, |session, _| session.on_error(&error));
    }

    fn on_close(&mut self, lp: &mut Loop, _: WebSocket, code: CloseCode, reason: &str) {
        self.0.with(lp, |session, lp| session.on_close(lp, code, reason));
    }
}
