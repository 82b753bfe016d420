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

use std::net::IpAddr;
use std::str;
use std::time::{Duration, Instant};

use bucle::http::StatusCode;
use bucle::http::head::ResponseHead;
use bucle::net::{Error, Shared};
use bucle::telnet::lines::Lines;
use bucle::websocket::handshake::{BadUrl, parse_url};
use bucle::websocket::{self, ClientOptions, CloseCode, Endpoint, Message, Options, WebSocket};
use bucle::{Loop, Result};

use super::answers::Answers;
use super::session::{Connection, Session, is_exit};
use crate::cli::advice::{self, words_for};
use crate::cli::escape::shown_in_line;
use crate::cli::exit_code;
use crate::cli::stderr::print_error;
use crate::cli::target::Address;

/// The longest message, in both directions. It bounds the memory for a line of the input that does not end.
const MAX_MESSAGE: usize = 64 << 20;

/// How often the client looks, after the end of the input, whether the answers are complete.
const CHECK: Duration = Duration::from_millis(50);

/// How much of the first line of a refusal is shown.
const MAX_EXCERPT: usize = 200;

/// The state of a session over WebSocket.
pub(super) struct Messages {
    url: String,
    address: Address,
    path: String,
    shows_hex: bool,
    linger: Duration,
    /// Puts the lines of the input together.
    lines: Lines,
    /// How many lines of the input were read.
    line_count: u64,
    answers: Answers,
    /// More input is read when the queued messages are sent.
    waits_for_drain: bool,
    /// Input was read that could not be sent, because the connection was closing.
    has_lost_input: bool,
    /// The failure that ended the connection is reported.
    is_reported: bool,
}

impl Messages {
    /// # Errors
    /// When `url` cannot be connected to.
    pub(super) fn new(url: &str, shows_hex: bool, linger: Duration) -> Result<Messages, BadUrl> {
        let target = parse_url(url)?;
        Ok(Messages {
            url: url.to_owned(),
            address: Address::Tcp(target.host, target.port),
            path: target.path_and_query,
            shows_hex,
            linger,
            lines: Lines::with_limit(MAX_MESSAGE),
            line_count: 0,
            answers: Answers::new(Instant::now()),
            waits_for_drain: false,
            has_lost_input: false,
            is_reported: false,
        })
    }

    /// Commands to try when the server has answered with this status.
    fn advice_for(&self, status: StatusCode) -> Vec<String> {
        let is_other_path = matches!(status, StatusCode::OK | StatusCode::NOT_FOUND) && self.path != "/ws";
        if is_other_path {
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
        match (error.code(), &self.address) {
            ("ECONNREFUSED", Address::Tcp(host, port)) if is_this_machine(host) => {
                (what, vec![format!("bucle serve echo --http {port}      in another terminal")])
            }
            ("ECONNREFUSED", _) => {
                (what, vec!["bucle connect ws://HOST:PORT/PATH      with another host or port".to_owned()])
            }
            _ => (what, tries),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Begins to connect.
pub(super) fn open(lp: &mut Loop, shared: Shared<Session<WebSocket>>) -> Result<()> {
    let url = shared.with(lp, |session, _| session.state.url.clone()).unwrap_or_default();
    let options = Options { max_message: MAX_MESSAGE, ..Options::default() };
    let endpoint = Endpoint::new(lp, options, Door(shared));
    let ws = endpoint.connect(lp, &url, &ClientOptions::default())?;
    endpoint.release(lp);
    shared.with(lp, |session, _| session.connection = Some(ws));
    Ok(())
}

/// A line of the input that cannot be sent.
enum BadLine {
    TooLong,
    NotText,
}

/// Sends a line without its line break.
fn send_text(lp: &mut Loop, ws: WebSocket, line: &[u8]) -> Result<bool, BadLine> {
    let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
    let text = str::from_utf8(line).map_err(|_| BadLine::NotText)?;
    Ok(ws.send(lp, text))
}

impl Connection for WebSocket {
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

    fn needs_drain(self, lp: &Loop) -> bool {
        self.socket().needs_drain(lp)
    }

    fn send_line(self, lp: &mut Loop, messages: &mut Messages, line: &str) -> bool {
        messages.answers.sent(lp.now());
        self.send(lp, line)
    }

    fn send_chunk(self, lp: &mut Loop, session: &mut Session<Self>, mut chunk: &[u8]) -> bool {
        if !self.is_open(lp) {
            session.state.has_lost_input = true;
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
                Ok(line) => send_text(lp, self, line),
                Err(_) => Err(BadLine::TooLong),
            };
            match result {
                Ok(more) => takes_more = more,
                Err(bad) => {
                    session.refuse_line(&bad);
                    session.end(lp, self);
                    return false;
                }
            }
            session.state.answers.sent(lp.now());
        }
        session.state.waits_for_drain = !takes_more;
        takes_more
    }

    /// Sends the last line if it has no line break, and closes when the answers have arrived.
    fn end(self, lp: &mut Loop, session: &mut Session<Self>) {
        if let Some(line) = session.state.lines.finish() {
            session.state.line_count += 1;
            match send_text(lp, self, line) {
                Ok(_) => session.state.answers.sent(lp.now()),
                Err(bad) => session.refuse_line(&bad),
            }
        }
        session.close_when_answered(lp, self);
    }
}

impl Session<WebSocket> {
    /// Reports a line that cannot be sent, and forgets the input after it.
    fn refuse_line(&mut self, bad: &BadLine) {
        let number = self.state.line_count;
        self.state.lines = Lines::with_limit(MAX_MESSAGE);
        self.display.fail(&match bad {
            BadLine::NotText => format!("line {number} of the input is not UTF-8, which a text message must be"),
            BadLine::TooLong => format!("line {number} of the input is longer than {} MiB", MAX_MESSAGE >> 20),
        });
    }

    fn close_when_answered(&mut self, lp: &mut Loop, ws: WebSocket) {
        if !ws.is_open(lp) {
            return;
        }
        let now = lp.now();
        if ws.buffered_amount(lp) > 0 || self.is_held {
            self.state.answers.not_quiet(now);
        }
        if self.state.answers.are_over(now, self.state.linger) {
            return ws.close(lp, CloseCode::NORMAL, "");
        }
        let look_again = self.callback(move |session, lp| session.close_when_answered(lp, ws));
        lp.set_timeout(CHECK, look_again);
    }

    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.state.answers = Answers::new(lp.now());
        let name = self.state.url.clone();
        self.connected(lp, ws, &name);
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        self.state.answers.received(lp.now());
        let shown = match message {
            Message::Text(text) => self.display.show_line(text),
            Message::Binary(bytes) if self.state.shows_hex => self.display.show_line(&hex(bytes)),
            Message::Binary(bytes) => return self.refuse_binary(lp, ws, bytes.len()),
        };
        if shown.is_err() {
            return ws.terminate(lp);
        }
        self.hold_if_behind(lp);
    }

    fn refuse_binary(&mut self, lp: &mut Loop, ws: WebSocket, len: usize) {
        self.report(|_| format!("the server sent a binary message of {len} bytes; --hex shows binary messages"));
        self.close_stdin(lp);
        ws.close(lp, CloseCode::UNSUPPORTED_DATA, "this client takes text messages");
    }

    fn on_drain(&mut self, lp: &mut Loop) {
        self.state.waits_for_drain = false;
        self.resume_stdin(lp);
    }

    fn on_unexpected_response(&mut self, response: &ResponseHead, body: &[u8]) {
        let status = response.status();
        let mut what = format!("cannot connect to {}: the server answered {status}", self.state.url);
        let line = body.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
        if !line.is_empty() {
            what += &format!(": {}", shown_in_line(&line[..line.len().min(MAX_EXCERPT)]));
        }
        print_error(&what, &self.state.advice_for(status));
        self.display.exit_code = exit_code::NO_CONNECTION;
        self.state.is_reported = true;
    }

    fn on_error(&mut self, error: &Error) {
        if self.is_connected {
            return self.report(|url| format!("the connection to {url} was lost: {}", words_for(error)));
        }
        if !self.state.is_reported {
            let (what, tries) = self.state.cannot_connect(error);
            print_error(&what, &tries);
            self.display.exit_code = exit_code::NO_CONNECTION;
            self.state.is_reported = true;
        }
    }

    /// Reports the end of the connection, unless the failure that has caused it is reported already.
    fn on_close(&mut self, lp: &mut Loop, code: CloseCode, reason: &str) {
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", shown_in_line(reason.as_bytes())) };
        // Input was read and not sent, or the server had not read what was sent.
        let has_rest = self.state.has_lost_input || !self.state.lines.is_idle();
        let is_incomplete = self.state.waits_for_drain || has_rest && !self.has_ended;
        // This client has destroyed the connection: it cannot write the output, or not read the input.
        let is_by_client = self.display.has_failed() || code == CloseCode::ABNORMAL && self.display.exit_code != 0;
        if is_by_client || self.state.is_reported {
            return self.closed(lp);
        }
        match code {
            CloseCode::NORMAL | CloseCode::NO_STATUS if self.has_ended => {}
            CloseCode::NORMAL => self.display.inform("the server closed the connection"),
            CloseCode::NO_STATUS => self.display.tell("the server closed the connection without a code"),
            CloseCode::GOING_AWAY => self.display.tell(&format!("the connection was closed with {code}{reason}")),
            CloseCode::ABNORMAL => {
                self.report(|url| format!("the connection to {url} ended without a close frame{reason}"));
            }
            _ => self.report(|url| format!("the connection to {url} was closed with {code}{reason}")),
        }
        if !self.is_typed && is_incomplete {
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

/// Two digits for each byte.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Passes the events of the connection to the session, which standard input and timers reach too.
struct Door(Shared<Session<WebSocket>>);

impl websocket::Handler for Door {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.0.with(lp, |session, lp| session.on_open(lp, ws));
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        self.0.with(lp, |session, lp| session.on_message(lp, ws, message));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_hexadecimal() {
        let table: [(&[u8], &str); 3] = [(b"", ""), (b"\x00\x0f\xf0\xff", "000ff0ff"), (b"hola", "686f6c61")];
        for (bytes, want) in table {
            assert_eq!(hex(bytes), want, "{bytes:?}");
        }
    }
}
