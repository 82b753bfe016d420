//! The answer to one request.
//!
//! ```text
//!   respond ──────────────────────────────▶ head with a length, and the body           ┐
//!   begin ─▶ write ─▶ write ─▶ … ─▶ end ──▶ head, chunks as they are written, the last  ├─▶ the next request
//!   upgrade ──────────────────────────────▶ 101, and the connection changes its protocol┘
//! ```
//!
//! Everything that is written in one phase leaves in one system call, also the answers to several requests.

use std::fmt::Write as _;

use ::http::header::UPGRADE;
use memchr::memchr2;

use super::answer::{date, has_body, push_status, set_text};
use super::body::LAST_CHUNK;
use super::connection::{Answer, Connection, Progress};
use super::fields::{is_of_the_connection, push_header};
use super::head::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use super::session::{GOING_AWAY, close_after_answer, start_timer};
use super::{Response, session};
use crate::Loop;
use crate::net::{IntoHandler, Socket};

/// A handle of a request and its answer. 12 bytes, `Copy`; callbacks get it as an argument.
///
/// The answer may be sent in the callback or later: from a timer, or when another socket has answered. After the answer
/// is complete, or the connection is gone, the handle refers to nothing and its methods do nothing; it never names a
/// later request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Exchange {
    pub(super) socket: Socket,
    pub(super) number: u32,
}

/// How an answer says where its body ends.
enum Length {
    Bytes(usize),
    Chunked,
    /// Nothing is said: there is no body, or it ends with the connection.
    Unstated,
}

impl Exchange {
    /// The connection.
    ///
    /// Bytes that are written to the socket directly would be taken for a part of an answer.
    pub fn socket(self) -> Socket {
        self.socket
    }

    /// Whether an answer can still be sent or continued.
    pub fn is_open(self, lp: &Loop) -> bool {
        self.socket.entry::<Connection>(lp).is_some_and(|connection| connection.is_answerable(self.number))
            && self.socket.write_refusal(lp).is_none()
    }

    /// Sends a whole answer. Returns what [`Socket::write`] returns.
    ///
    /// `Content-Length`, `Date` and `Connection` are added; the first and the last cannot be set by the program. An
    /// answer to HEAD has the same head as one to GET and no body. After an answer to a request whose body was not
    /// received, the connection is closed. An answer with `Upgrade`, such as 426, names it in `Connection`.
    ///
    /// Does nothing if an answer was begun already. A status of the form 1xx is no answer (RFC 9110, 15.2): the client
    /// gets 500, and the log a line. [`upgrade`](Self::upgrade) answers with 101.
    pub fn respond<B: AsRef<[u8]>>(self, lp: &mut Loop, response: Response<B>) -> bool {
        let (parts, body) = response.into_parts();
        let body = body.as_ref();
        if parts.status.is_informational() {
            return self.refuse_status(lp, parts.status);
        }
        let Some(answer) = self.unstarted_answer(lp) else { return false };
        let has_body = has_body(parts.status);
        let length = if has_body { Length::Bytes(body.len()) } else { Length::Unstated };
        let bytes = self.head(lp, answer, parts.status, &parts.headers, length);
        let body = if has_body && !answer.is_head { body } else { &[] };
        let is_low = self.socket.write_parts(lp, bytes, body);
        self.finish(lp);
        is_low
    }

    /// The program answers with a status behind which the client waits for another answer.
    #[cold]
    fn refuse_status(self, lp: &mut Loop, status: StatusCode) -> bool {
        log::error!(target: "bucle::http", "{}: {status} is no answer to a request", self.socket);
        let mut response = Response::new(&[][..]);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        self.respond(lp, response)
    }

    /// As [`respond`](Self::respond), and closes the connection behind the answer, which says so (RFC 9112, 9.6). For
    /// clients that have broken the protocol on top of HTTP.
    pub fn respond_and_close<B: AsRef<[u8]>>(self, lp: &mut Loop, response: Response<B>) -> bool {
        if self.unstarted_answer(lp).is_some()
            && let Some(answer) = self.connection(lp).and_then(Connection::current_answer)
        {
            answer.keeps_alive = false;
        }
        self.respond(lp, response)
    }

    /// Sends an answer of plain text: for errors.
    pub fn respond_text(self, lp: &mut Loop, status: StatusCode, text: impl AsRef<str>) -> bool {
        let mut response = Response::new(text.as_ref().as_bytes().to_vec());
        *response.status_mut() = status;
        set_text(response.headers_mut());
        self.respond(lp, response)
    }

    /// Begins an answer whose length is not known yet. [`write`](Self::write) sends parts of the body, and
    /// [`end`](Self::end) completes it. Returns what [`Socket::write`] returns.
    ///
    /// The body is sent chunked (RFC 9112, 7.1). A client of HTTP/1.0 gets it up to the end of the connection. If the
    /// body of the request was not received yet, it is not received.
    pub fn begin(self, lp: &mut Loop, response: Response<()>) -> bool {
        let (parts, ()) = response.into_parts();
        if parts.status.is_informational() {
            return self.refuse_status(lp, parts.status);
        }
        let Some(answer) = self.unstarted_answer(lp) else { return false };
        let Some(kept) = self.connection(lp).and_then(Connection::current_answer) else { return false };
        let length = match kept.begin_parts(parts.status) {
            Progress::Chunks => Length::Chunked,
            // HEAD is answered as GET would be.
            Progress::Bodyless if has_body(parts.status) && answer.version == Version::HTTP_11 => Length::Chunked,
            _ => Length::Unstated,
        };
        let answer = *kept;
        let bytes = self.head(lp, answer, parts.status, &parts.headers, length);
        if let Some(connection) = self.connection(lp) {
            // A refusal of the body would come in the middle of this answer.
            connection.end_body();
        }
        self.socket.write(lp, bytes)
    }

    /// Begins a stream of server-sent events (`text/event-stream`), for [`send_event`](Self::send_event).
    ///
    /// Source: [HTML, 9.2 Server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
    pub fn begin_events(self, lp: &mut Loop) -> bool {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("content-type"), HeaderValue::from_static("text/event-stream"));
        headers.insert(HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store"));
        self.begin(lp, response)
    }

    /// Sends an event of a stream that [`begin_events`](Self::begin_events) has begun. An empty `name` means `message`.
    /// Line breaks in `data` are kept; a name ends at its first line break. Returns what [`Socket::write`] returns.
    pub fn send_event(self, lp: &mut Loop, name: &str, data: &str) -> bool {
        let mut text = String::with_capacity(name.len() + data.len() + 32);
        if let Some(name) = name.split(['\r', '\n']).next().filter(|name| !name.is_empty()) {
            let _ = writeln!(text, "event: {name}");
        }
        let mut rest = Some(data);
        while let Some(data) = rest {
            let (line, next) = first_line(data);
            text.push_str("data: ");
            text.push_str(line);
            text.push('\n');
            rest = next;
        }
        text.push('\n');
        self.write(lp, text)
    }

    /// Sends a part of the body. Returns `false` if the client reads more slowly than the program writes: then wait for
    /// [`Handler::on_drain`](super::Handler::on_drain).
    ///
    /// Does nothing before [`begin`](Self::begin) and after [`end`](Self::end).
    pub fn write(self, lp: &mut Loop, part: impl AsRef<[u8]>) -> bool {
        let part = part.as_ref();
        match self.progress(lp) {
            None | Some(Progress::NotStarted) => false,
            // An empty chunk would end the body.
            _ if part.is_empty() => true,
            Some(Progress::Bodyless) => true,
            Some(Progress::UntilClose) => self.socket.write(lp, part),
            Some(Progress::Chunks) => {
                self.socket.write_parts(lp, format!("{:x}\r\n", part.len()), part);
                self.socket.write(lp, "\r\n")
            }
        }
    }

    /// Completes an answer that [`begin`](Self::begin) has begun.
    pub fn end(self, lp: &mut Loop) {
        match self.progress(lp) {
            None | Some(Progress::NotStarted) => return,
            Some(Progress::Chunks) => {
                self.socket.write(lp, LAST_CHUNK);
            }
            Some(Progress::UntilClose | Progress::Bodyless) => {}
        }
        self.finish(lp);
    }

    /// Answers with 101 and the given headers, and gives the connection to the handler of another protocol
    /// ([`Socket::upgrade`]). Bytes behind the request are the `head` of the new protocol. `Upgrade: <protocol>` and
    /// `Connection: Upgrade` are added.
    ///
    /// Returns the socket, or `None` if the request does not ask for another protocol (RFC 9110, 7.8), has a body that
    /// is still to come, or cannot be answered any more.
    pub fn upgrade(
        self,
        lp: &mut Loop,
        protocol: &HeaderValue,
        headers: &HeaderMap,
        handler: impl IntoHandler,
    ) -> Option<Socket> {
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
        push_header(&mut bytes, "Upgrade", protocol.as_bytes());
        push_header(&mut bytes, "Connection", b"Upgrade");
        for (name, value) in headers.iter().filter(|(name, _)| !is_of_the_connection(name) && *name != UPGRADE) {
            push_header(&mut bytes, name.as_str(), value.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        self.upgrade_with(lp, &bytes, handler)
    }

    /// As [`upgrade`](Self::upgrade), with an answer that is made already.
    pub(crate) fn upgrade_with(self, lp: &mut Loop, answer: &[u8], handler: impl IntoHandler) -> Option<Socket> {
        let asks_for_upgrade = self.unstarted_answer(lp)?.asks_for_upgrade;
        if !asks_for_upgrade || self.connection(lp)?.is_in_body() {
            return None;
        }
        let connection = self.socket.take_entry::<Connection>(lp)?;
        if let Some(timer) = connection.timer {
            lp.clear(timer);
        }
        self.socket.write(lp, answer);
        if connection.is_throttled {
            self.socket.resume(lp);
        }
        self.socket.upgrade(lp, handler, connection.kept);
        Some(self.socket)
    }

    /// The connection, if this request is being received or answered.
    fn connection(self, lp: &mut Loop) -> Option<&mut Connection> {
        self.socket.entry_mut::<Connection>(lp).filter(|connection| connection.is_answerable(self.number))
    }

    /// The answer, if nothing of it was sent yet and something can be sent.
    fn unstarted_answer(self, lp: &mut Loop) -> Option<Answer> {
        if self.socket.write_refusal(lp).is_some() {
            return None;
        }
        let answer = *self.connection(lp)?.current_answer()?;
        (answer.progress == Progress::NotStarted).then_some(answer)
    }

    fn progress(self, lp: &mut Loop) -> Option<Progress> {
        if self.socket.write_refusal(lp).is_some() {
            return None;
        }
        self.connection(lp)?.current_answer().map(|answer| answer.progress)
    }

    /// The head of an answer. If the connection closes after it, that is noted and said.
    fn head(self, lp: &mut Loop, answer: Answer, status: StatusCode, headers: &HeaderMap, length: Length) -> Vec<u8> {
        let is_going_away = self.socket.tag(lp) & GOING_AWAY != 0;
        // The body of a request that is answered early is not received.
        let is_early = self.connection(lp).is_none_or(|connection| connection.is_in_body());
        let keeps_alive = answer.keeps_alive && !is_going_away && !is_early;
        if !keeps_alive && let Some(kept) = self.connection(lp).and_then(Connection::current_answer) {
            kept.keeps_alive = false;
        }
        let mut bytes = Vec::with_capacity(256);
        push_status(&mut bytes, status);
        for (name, value) in headers.iter().filter(|(name, _)| !is_of_the_connection(name)) {
            push_header(&mut bytes, name.as_str(), value.as_bytes());
        }
        if !headers.contains_key("date") {
            push_header(&mut bytes, "Date", date(lp).as_bytes());
        }
        match length {
            Length::Bytes(len) => push_header(&mut bytes, "Content-Length", len.to_string().as_bytes()),
            Length::Chunked => push_header(&mut bytes, "Transfer-Encoding", b"chunked"),
            Length::Unstated => {}
        }
        let lasting = match answer.version {
            _ if !keeps_alive => Some("close"),
            Version::HTTP_10 => Some("keep-alive"),
            _ => None,
        };
        // A header `Upgrade` is valid only if `Connection` names it (RFC 9110, 7.8).
        let upgrade = headers.contains_key(UPGRADE).then_some("Upgrade");
        let options: Vec<&str> = [upgrade, lasting].into_iter().flatten().collect();
        if !options.is_empty() {
            push_header(&mut bytes, "Connection", options.join(", ").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The answer is complete: the next request is received, or the connection is closed.
    fn finish(self, lp: &mut Loop) {
        let Some(connection) = self.connection(lp) else { return };
        if !connection.end_answer() {
            return close_after_answer(lp, self.socket);
        }
        let (is_receiving, keep_alive) = (connection.is_receiving, connection.keep_alive);
        start_timer(lp, self.socket, keep_alive);
        if !is_receiving {
            session::go_on_later(lp, self.socket);
        }
    }
}

/// The first line of a text, without its break (CRLF, LF or a lone CR), and what follows the break. `None` if there is
/// no break.
fn first_line(text: &str) -> (&str, Option<&str>) {
    let Some(end) = memchr2(b'\r', b'\n', text.as_bytes()) else { return (text, None) };
    let (line, rest) = text.split_at(end);
    (line, Some(rest.strip_prefix("\r\n").unwrap_or(&rest[1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart_at_each_kind_of_line_break() {
        let table: &[(&str, &[&str])] = &[
            ("", &[""]),
            ("hola", &["hola"]),
            ("a\nb", &["a", "b"]),
            ("a\r\nb\rc\n", &["a", "b", "c", ""]),
            ("\r\r\n\n", &["", "", "", ""]),
            ("á\ré", &["á", "é"]),
        ];
        for (text, want) in table {
            let (mut lines, mut rest) = (Vec::new(), Some(*text));
            while let Some(text) = rest {
                let (line, next) = first_line(text);
                lines.push(line);
                rest = next;
            }
            assert_eq!(lines, *want, "{text:?}");
            assert_eq!(lines, text.replace("\r\n", "\n").split(['\r', '\n']).collect::<Vec<_>>(), "{text:?}");
        }
    }
}
