//! WebSocket connections: the handshake, frames that arrive, pings, and the close.
//!
//! ```text
//!   Connecting ── connected: request ──▶ 101 ──▶ Ready ── our close frame ──▶ Closing ── the server's ──▶ FIN, Gone
//!        └── another answer: failed                └── a close frame, a broken rule, a FIN: lost, with a reason
//! ```
//!
//! RFC 6455, 7.1.1 wants the server to close the TCP connection first. So our FIN follows the server's close frame.

use bucle::Loop;
use bucle::net::Socket;
use bucle::websocket::frame::{Opcode, Role};
use bucle::websocket::receiver::{Event, Message, Receiver, Settings, whole_message};
use bucle::websocket::{CloseCode, Violation};

use super::conn::{ConnState, Loss, WebSocket, Wire};
use super::connection::Incoming;
use super::run::{Run, random};
use super::sending::note_reply;
use crate::cli::load::check::{Finding, Reason};
use crate::cli::load::message::show;
use crate::cli::load::options::Protocol;
use crate::cli::load::websocket::{BAD_RESPONSE, Failed, Opening, Progress, put_close, put_frame};
use crate::cli::socket_io::PONG;

/// How many bytes of a frame that breaks a rule are kept for the report.
pub(super) const SHOWN: usize = 1000;

/// The room for what is around the argument in a packet of Socket.IO: its type, its namespace, its number.
const PACKET: usize = 1024;

/// The end of a WebSocket, by the server.
pub(super) enum Ending {
    Close {
        code: Option<CloseCode>,
        reason: String,
    },
    /// The server broke a rule, with these bytes. Our close frame has the code.
    Violation {
        code: CloseCode,
        why: String,
        bytes: Vec<u8>,
    },
    /// Socket.IO: the server has refused the namespace.
    Refused(Failed),
    /// Socket.IO: the server has ended the session.
    Left(&'static str),
}

/// The result of the frames of a chunk.
enum Received {
    /// All of them are processed.
    All,
    /// Socket.IO: the namespace is joined. This many bytes of the chunk are left.
    Joined {
        left: usize,
    },
    Ended(Ending),
}

impl Run {
    /// The TCP connection is made: sends the request of the handshake. Returns whether there is a handshake.
    pub(super) fn begin_handshake(&mut self, lp: &mut Loop, at: usize, socket: Socket) -> bool {
        let (Protocol::WebSocket { target, .. }, Wire::WebSocket(ws)) =
            (&self.job.load.protocol, &mut self.conns[at].wire)
        else {
            return false;
        };
        let (opening, request) = Opening::new(target, random(&mut self.masks));
        ws.opening = Some(Box::new(opening));
        let now = self.now();
        self.write(lp, at, socket, &request, now);
        true
    }

    /// Bytes have arrived before the connection is open. Returns the frames behind the answer, if it opens the
    /// connection.
    pub(super) fn receive_answer<'a>(
        &mut self,
        lp: &mut Loop,
        at: usize,
        socket: Socket,
        chunk: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let Wire::WebSocket(ws) = &mut self.conns[at].wire else { return None };
        if ws.is_joining {
            return Some(chunk);
        }
        match ws.opening.as_mut()?.feed(chunk) {
            Progress::Waits => None,
            Progress::Failed(failed) => {
                self.handshake_failed(lp, at, failed);
                None
            }
            Progress::Opened { rest } => {
                ws.opening = None;
                ws.is_joining = self.job.load.protocol.socket_io().is_some();
                if !ws.is_joining {
                    self.opened(lp, at);
                }
                let frames = chunk.len() - rest;
                (rest > 0 && self.is_current_socket(at, socket) && !self.is_cut_short).then(|| &mut chunk[frames..])
            }
        }
    }

    /// The server has ended the connection: the failure of the handshake, if it was under way.
    pub(super) fn handshake_end(&self, at: usize) -> Option<Failed> {
        let why = "the server closed the connection before it accepted the namespace";
        self.failed_handshake(at, Opening::end, BAD_RESPONSE, why)
    }

    /// As [`handshake_end`](Self::handshake_end), when the connection is not open in time.
    pub(super) fn handshake_time_out(&self, at: usize) -> Option<Failed> {
        let why = "the server accepted the connection, but not the namespace in time";
        self.failed_handshake(at, Opening::time_out, "ETIMEDOUT", why)
    }

    fn failed_handshake(&self, at: usize, of: fn(&Opening) -> Failed, code: &str, why: &str) -> Option<Failed> {
        let Wire::WebSocket(ws) = &self.conns[at].wire else { return None };
        let joining = || ws.is_joining.then(|| Failed { code: code.to_owned(), why: why.to_owned() });
        ws.opening.as_deref().map(of).or_else(joining)
    }

    /// Counts a failed handshake as a failed connect.
    pub(super) fn handshake_failed(&mut self, lp: &mut Loop, at: usize, failed: Failed) {
        let Failed { code, why } = failed;
        self.book.ledger.first_refusal.get_or_insert(why);
        self.connect_failed(lp, at, &code);
    }

    /// Checks the messages in the chunk and answers pings. Returns the end of the connection, if it is in the chunk.
    pub(super) fn receive_websocket(
        &mut self,
        lp: &mut Loop,
        at: usize,
        socket: Socket,
        mut ws: Box<WebSocket>,
        mut chunk: &mut [u8],
        now: u64,
    ) -> Option<Ending> {
        loop {
            let received = self.receive_frames(lp, at, &mut ws, chunk, now);
            self.conns[at].wire = Wire::WebSocket(ws);
            let left = match received {
                Received::All => return None,
                Received::Ended(ending) => return Some(ending),
                Received::Joined { left } => left,
            };
            self.opened(lp, at);
            if !self.is_current_socket(at, socket) || self.is_cut_short {
                return None;
            }
            let begin = chunk.len() - left;
            chunk = &mut chunk[begin..];
            match std::mem::take(&mut self.conns[at].wire) {
                Wire::WebSocket(taken) => ws = taken,
                _ => return None,
            }
        }
    }

    fn receive_frames(&mut self, lp: &mut Loop, at: usize, ws: &mut WebSocket, chunk: &mut [u8], now: u64) -> Received {
        let socket_io = self.job.load.protocol.socket_io().cloned();
        let max_message = match socket_io {
            // JSON escapes a byte with up to six.
            Some(_) => self.rules.max_reply.saturating_mul(6).saturating_add(PACKET),
            None => self.rules.max_reply,
        };
        let settings = Settings { role: Role::Client, max_message, deflate: false };
        let len = chunk.len();
        let mut rest = &mut chunk[..];
        let WebSocket { receiver, ping, is_closed_by_server, is_joining, session, .. } = ws;
        loop {
            let left = rest.len();
            match next_event(receiver, &settings, &mut rest) {
                Ok(None) => return Received::All,
                Ok(Some(Event::Message(message))) if let Some(socket_io) = &socket_io => {
                    let Message::Text(text) = message else { continue };
                    match self.receive_packet(lp, at, socket_io, text, *is_joining, session, now) {
                        Ok(false) => {}
                        Ok(true) => {
                            *is_joining = false;
                            return Received::Joined { left: rest.len() };
                        }
                        Err(ending) => return Received::Ended(ending),
                    }
                }
                Ok(Some(Event::Message(Message::Text(text)))) => {
                    self.process(at, Incoming::Message(Opcode::Text, text.as_bytes()), now);
                }
                Ok(Some(Event::Message(Message::Binary(bytes)))) => {
                    self.process(at, Incoming::Message(Opcode::Binary, bytes), now);
                }
                Ok(Some(Event::Ping(payload))) => self.answer_ping(lp, at, payload, ping),
                // A pong answers nothing here. Compression was not offered, so RSV1 is a violation.
                Ok(Some(Event::Pong(_) | Event::Compressed { .. })) => {}
                Ok(Some(Event::Close { code, reason })) => {
                    *is_closed_by_server = true;
                    return Received::Ended(Ending::Close { code, reason: reason.to_owned() });
                }
                Err(violation) => {
                    *is_closed_by_server = true;
                    let bytes = &chunk[len - left..];
                    return Received::Ended(broken(&violation, &bytes[..bytes.len().min(SHOWN)]));
                }
            }
        }
    }

    /// Sends a pong, or keeps the payload if the socket has unsent bytes. Only the latest ping needs an answer (RFC
    /// 6455,
    /// 5.5.3), so a server that pings and does not read costs a bounded amount of memory.
    fn answer_ping(&mut self, lp: &mut Loop, at: usize, payload: &[u8], kept: &mut Option<Vec<u8>>) {
        let conn = &self.conns[at];
        let Some(socket) = conn.socket.filter(|_| conn.is_living()) else { return };
        if socket.unsent_length(lp) > 0 {
            *kept = Some(payload.to_vec());
            return;
        }
        self.write_control(lp, at, socket, |out, mask| {
            put_frame(out, Opcode::Pong, mask, payload.len(), |out| out.extend_from_slice(payload));
        });
    }

    /// The socket has sent everything: answers the ping that had to wait.
    pub(super) fn answer_kept_ping(&mut self, lp: &mut Loop, at: usize) {
        let Wire::WebSocket(ws) = &mut self.conns[at].wire else { return };
        let owes_pong = std::mem::take(&mut ws.session.owes_pong);
        if let Some(payload) = ws.ping.take() {
            let mut kept = None;
            self.answer_ping(lp, at, &payload, &mut kept);
        }
        if owes_pong {
            self.send_packet(lp, at, PONG);
        }
    }

    /// Socket.IO: sends a packet that is no message of the run.
    pub(super) fn send_packet(&mut self, lp: &mut Loop, at: usize, packet: &str) {
        let Some(socket) = self.conns[at].socket else { return };
        self.write_control(lp, at, socket, |out, mask| {
            put_frame(out, Opcode::Text, mask, packet.len(), |out| out.extend_from_slice(packet.as_bytes()));
        });
    }

    /// Writes a frame, which is no message of the run.
    fn write_control(&mut self, lp: &mut Loop, at: usize, socket: Socket, put: impl FnOnce(&mut Vec<u8>, [u8; 4])) {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        put(&mut frame, random(&mut self.masks));
        let now = self.now();
        self.conns[at].written += frame.len() as u64;
        socket.write(lp, &frame[..]);
        self.scratch = frame;
        self.update_taken(lp, at, now);
    }

    /// Sends our close frame.
    pub(super) fn send_close(&mut self, lp: &mut Loop, at: usize, socket: Socket, code: CloseCode) {
        self.write_control(lp, at, socket, |out, mask| put_close(out, code, mask));
    }

    /// The server has sent a close frame, or has broken a rule.
    pub(super) fn websocket_ended(&mut self, lp: &mut Loop, at: usize, socket: Socket, ending: Ending) {
        if let Ending::Close { code, .. } = ending {
            self.count_close(code.unwrap_or(CloseCode::NO_STATUS));
        }
        if !self.is_current_socket(at, socket) || self.is_cut_short {
            return;
        }
        if self.conns[at].state == ConnState::Connecting {
            let failed = match ending {
                Ending::Refused(failed) => failed,
                Ending::Violation { why, .. } => Failed { code: BAD_RESPONSE.to_owned(), why },
                Ending::Close { .. } | Ending::Left(_) => match self.handshake_end(at) {
                    Some(failed) => failed,
                    None => return,
                },
            };
            return self.handshake_failed(lp, at, failed);
        }
        let is_closing = self.conns[at].state == ConnState::Closing;
        match ending {
            // A namespace that is joined cannot be refused.
            Ending::Refused(_) => {}
            Ending::Left(_) if is_closing => {}
            Ending::Left(why) => {
                self.send_close(lp, at, socket, CloseCode::NORMAL);
                self.lost_websocket(lp, at, why.to_owned(), true);
            }
            // It answers ours. The server's FIN follows.
            Ending::Close { .. } if is_closing => socket.end(lp),
            Ending::Close { code, reason } => {
                let code = code.unwrap_or(CloseCode::NO_STATUS);
                let mut why = format!("the server closed the connection before the end: {code}");
                if !reason.is_empty() {
                    why += &format!(": {}", show(reason.as_bytes(), SHOWN));
                }
                self.send_close(lp, at, socket, code);
                let is_restart = matches!(
                    code,
                    CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::SERVICE_RESTART | CloseCode::TRY_AGAIN_LATER
                );
                self.lost_websocket(lp, at, why, is_restart);
            }
            Ending::Violation { code, why, bytes } => {
                let reason = match code {
                    CloseCode::MESSAGE_TOO_BIG => Reason::TooLong,
                    _ => Reason::Words(&why),
                };
                self.refuse(at, &bytes, reason);
                if !is_closing {
                    self.send_close(lp, at, socket, code);
                    self.conns[at].fault = Some(why);
                    return self.connection_lost(lp, at, Loss::GivenUp);
                }
                self.finished_closing(lp, at);
            }
        }
        self.is_over_by_failure(lp);
    }

    /// The server has ended the TCP connection without a close frame, or with a reset.
    pub(super) fn websocket_cut(&mut self, lp: &mut Loop, at: usize, loss: Loss) {
        let is_missing = self.count_missing_close(at);
        let why = "the server ended the connection without a close frame".to_owned();
        if self.conns[at].state != ConnState::Closing {
            return match loss {
                Loss::Closed => self.lost_websocket(lp, at, why, true),
                _ => self.connection_lost(lp, at, loss),
            };
        }
        if loss == Loss::Closed && is_missing {
            self.refuse(at, b"", Reason::Words(&why));
        }
        self.finished_closing(lp, at);
    }

    /// The server has closed the connection before the end. That is a failure: of the unanswered messages, or else of
    /// the connection. With `--reconnect`, a server `is_restart`ing with nothing unanswered is no failure.
    fn lost_websocket(&mut self, lp: &mut Loop, at: usize, why: String, is_restart: bool) {
        let conn = &self.conns[at];
        let has_unanswered = conn.pass.is_some() || conn.replies.unanswered() > 0;
        let is_expected = is_restart && self.job.load.reconnect;
        if !has_unanswered && !is_expected {
            self.refuse(at, b"", Reason::Words(&why));
        }
        self.conns[at].fault = Some(why);
        self.connection_lost(lp, at, Loss::Closed);
    }

    /// Counts a failure of the connection: the wrong reply to its oldest message, or unexpected bytes.
    fn refuse(&mut self, at: usize, received: &[u8], reason: Reason<'_>) {
        let now = self.now();
        let Run { conns, book, rules, .. } = self;
        let conn = &mut conns[at];
        // The pass fails when the connection is lost.
        if conn.pass.is_none() {
            let id = conn.id;
            let outbox = &mut conn.outbox;
            conn.replies.refuse(id, received, reason, &mut |finding: Finding<'_>| {
                note_reply(book, rules, outbox, &finding, now);
            });
        }
    }

    fn count_close(&mut self, code: CloseCode) {
        if code != CloseCode::NORMAL {
            *self.book.ledger.close_codes.entry(code.0).or_default() += 1;
        }
    }

    /// An open connection ends: counts the server's close frame as missing if it has not come, and returns that.
    /// After Ctrl-C close frames are not looked for.
    pub(super) fn count_missing_close(&mut self, at: usize) -> bool {
        let Wire::WebSocket(ws) = &mut self.conns[at].wire else { return false };
        let is_missing = !std::mem::replace(&mut ws.is_closed_by_server, true) && !self.is_cut_short;
        if is_missing {
            self.count_close(CloseCode::ABNORMAL);
        }
        is_missing
    }

    /// Whether the run speaks WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        self.job.load.protocol.is_websocket()
    }
}

fn broken(violation: &Violation, bytes: &[u8]) -> Ending {
    let why = format!("the server broke a rule: {violation}");
    Ending::Violation { code: violation.code, why, bytes: bytes.to_vec() }
}

/// The next event in `rest`. A message of one frame, whole in one read, does not touch the receiver.
fn next_event<'s, 'b: 's>(
    receiver: &'s mut Receiver,
    settings: &Settings,
    rest: &mut &'b mut [u8],
) -> Result<Option<Event<'s>>, Violation> {
    if receiver.is_idle()
        && let Some(message) = whole_message(settings, rest)
    {
        return message.map(|message| Some(Event::Message(message)));
    }
    receiver.next(settings, rest)
}
