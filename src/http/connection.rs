//! One connection as a state machine: bytes in, requests out, one request at a time.
//!
//! ```text
//!                    a head with a body                    all of the body
//!   Head ──────────────────────────────▶ Body ─────────────────────────────┐
//!    ▲ └──────────── a head without a body ─────────────────────────────┐  │
//!    │                                                                  ▼  ▼
//!    └──────────────── the answer is complete ──────────────────────── Answering
//!                                                                          │ the answer closes the connection,
//!                                                                          ▼ or a request is refused
//!                                                                       Closing
//! ```
//!
//! A client may send the next requests before the first one is answered (*pipelining*, RFC 9112, 9.3.2). Their bytes
//! are kept until then, so the answers leave in the order of the requests.

use std::mem;
use std::time::Duration;

use ::http::header::{CONNECTION, UPGRADE};

use super::body::{BodyDecoder, Framing};
use super::head::{HeadParser, Method, Request, StatusCode, Version};
use super::{Options, Refusal};
use crate::net::Socket;
use crate::{Loop, TimerId};

/// How many bytes of later requests are kept while a request is being answered. With more the connection is not read
/// until the answer is complete.
pub(super) const KEPT: usize = 64 * 1024;

/// How many requests of one connection are received at a time. Then other connections have their turn. With fewer, more
/// of a read must be kept, for each of many such connections.
pub(super) const REQUESTS_AT_ONCE: usize = 512;

/// The state of a connection, from its first byte to its upgrade or close.
pub(super) struct Connection {
    stage: Stage,
    /// Bytes that were received and do not belong to an earlier request.
    pub kept: Vec<u8>,
    /// Where the search for the end of the head goes on.
    parser: HeadParser,
    /// The number of the request that is being received or answered. An [`Exchange`](super::Exchange) of an earlier one
    /// finds nothing.
    number: u32,
    /// The time limit of the stage.
    pub timer: Option<TimerId>,
    /// The time limit is that of a head.
    pub is_head_timed: bool,
    /// How long it may wait for the next request.
    pub keep_alive: Duration,
    /// Calls the handler with the bytes that are kept, when an answer is complete.
    pub go_on: fn(&mut Loop, Socket),
    /// Runs when the time limit of the stage is reached.
    pub timed_out: fn(&mut Loop, Socket),
    /// `receive` is running and goes on by itself when an answer is complete.
    pub is_receiving: bool,
    /// The socket is paused because the client does not read its answers, or sends too many requests ahead.
    pub is_throttled: bool,
    /// Requests wait for the next turn, because many were received in this one.
    pub is_yielding: bool,
    /// The client has sent its FIN.
    pub has_ended: bool,
    /// It has made a request.
    pub has_requested: bool,
}

enum Stage {
    Head,
    Body {
        request: Option<Box<Request>>,
        decoder: BodyDecoder,
        body: Vec<u8>,
        answer: Answer,
        /// The head has stated a length over the limit. The body is refused when the handler has seen the head.
        is_too_large: bool,
    },
    Answering(Answer),
    Closing,
}

/// The properties of a request that its answer depends on, and the answer's progress.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    /// The request's method was HEAD: the answer has no body.
    pub is_head: bool,
    pub version: Version,
    /// The client wants to send further requests on this connection.
    pub keeps_alive: bool,
    /// The client asks for another protocol.
    pub asks_for_upgrade: bool,
    pub progress: Progress,
}

/// How far an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    NotStarted,
    /// The head was sent; the parts of the body follow as chunks.
    Chunks,
    /// The head was sent; the parts of the body follow as they are, up to the FIN (HTTP/1.0).
    UntilClose,
    /// The head was sent and there is no body, though the handler writes one: HEAD, 204, 304.
    Bodyless,
}

/// A part of a request that is complete.
pub(super) enum Event {
    /// The head of a request that has a body. The caller gives it back with [`Connection::expect_body`].
    Head(Box<Request>),
    /// A whole request.
    Request(Box<Request>),
}

impl Connection {
    /// `number` is that of the first request.
    pub fn new(
        number: u32,
        keep_alive: Duration,
        go_on: fn(&mut Loop, Socket),
        timed_out: fn(&mut Loop, Socket),
    ) -> Connection {
        Connection {
            stage: Stage::Head,
            kept: Vec::new(),
            parser: HeadParser::default(),
            number,
            timer: None,
            is_head_timed: false,
            keep_alive,
            go_on,
            timed_out,
            is_receiving: false,
            is_throttled: false,
            is_yielding: false,
            has_ended: false,
            has_requested: false,
        }
    }

    /// The number of the request that is being received or answered.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether it waits for the first byte of a request. Line breaks in front of one are none (RFC 9112, 2.2).
    pub fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Head) && is_blank(&self.kept)
    }

    /// Whether it has the beginning of a head, and waits for its end.
    pub fn is_in_head(&self) -> bool {
        matches!(self.stage, Stage::Head) && !is_blank(&self.kept)
    }

    /// Whether it waits for bytes of a request, not for an answer.
    pub fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Head | Stage::Body { .. })
    }

    /// Whether it waits for the body of a request.
    pub fn is_in_body(&self) -> bool {
        matches!(self.stage, Stage::Body { .. })
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing)
    }

    /// The answer that is due, if this is the number of its request.
    pub fn answer(&mut self, number: u32) -> Option<&mut Answer> {
        match &mut self.stage {
            Stage::Answering(answer) | Stage::Body { answer, .. } if number == self.number => Some(answer),
            _ => None,
        }
    }

    /// Whether the request of this number can be answered.
    pub fn is_answerable(&self, number: u32) -> bool {
        number == self.number && matches!(self.stage, Stage::Answering(_) | Stage::Body { .. })
    }

    /// The answer that is due.
    pub fn current_answer(&mut self) -> Option<&mut Answer> {
        self.answer(self.number)
    }

    /// Takes the next complete part of a request out of `rest`. `None`: the rest is the beginning of one, or there is
    /// nothing to receive now. After an error nothing more is received.
    pub fn next(&mut self, rest: &mut &[u8], options: &Options) -> Result<Option<Event>, Refusal> {
        let event = self.next_part(rest, options);
        if event.is_err() {
            self.stage = Stage::Closing;
        }
        event
    }

    fn next_part(&mut self, rest: &mut &[u8], options: &Options) -> Result<Option<Event>, Refusal> {
        match &mut self.stage {
            Stage::Head => {
                let Some((request, framing, used)) = self.parser.request(rest, &options.head)? else {
                    return Ok(None);
                };
                *rest = &rest[used..];
                self.begin(request, framing, options)
            }
            // The head said how much follows, so nothing of it needs to be received.
            Stage::Body { is_too_large: true, .. } => Err(too_large()),
            Stage::Body { request, decoder, body, .. } => {
                while let Some(piece) = decoder.next(rest)? {
                    if piece.len() > options.max_body - body.len() {
                        return Err(too_large());
                    }
                    body.extend_from_slice(piece);
                }
                if !decoder.is_complete() {
                    return Ok(None);
                }
                // The head is given back before the next bytes are received.
                let Some(mut request) = request.take() else { return Ok(None) };
                request.set_body(mem::take(body));
                self.end_body();
                Ok(Some(Event::Request(request)))
            }
            Stage::Answering(_) | Stage::Closing => Ok(None),
        }
    }

    /// A head is complete.
    fn begin(&mut self, request: Request, framing: Framing, options: &Options) -> Result<Option<Event>, Refusal> {
        self.has_requested = true;
        let answer = Answer {
            is_head: request.method() == Method::HEAD,
            version: request.version(),
            keeps_alive: request.keeps_alive(),
            asks_for_upgrade: asks_for_upgrade(&request),
            progress: Progress::NotStarted,
        };
        let request = Box::new(request);
        if matches!(framing, Framing::None | Framing::Length(0)) {
            self.stage = Stage::Answering(answer);
            return Ok(Some(Event::Request(request)));
        }
        let is_too_large = matches!(framing, Framing::Length(length) if length > options.max_body as u64);
        let decoder = BodyDecoder::new(framing);
        self.stage = Stage::Body { request: None, decoder, body: Vec::new(), answer, is_too_large };
        Ok(Some(Event::Head(request)))
    }

    /// Whether the body is longer than the limit, as its head has stated.
    pub fn is_too_large(&self) -> bool {
        matches!(self.stage, Stage::Body { is_too_large: true, .. })
    }

    /// Gives the head of [`Event::Head`] back: its body is received from now on. Does nothing if the handler has
    /// answered the request meanwhile.
    pub fn expect_body(&mut self, head: Box<Request>) {
        if let Stage::Body { request, .. } = &mut self.stage {
            *request = Some(head);
        }
    }

    /// The body is complete, or is not received because the answer has begun: the answer is due.
    pub fn end_body(&mut self) {
        if let Stage::Body { answer, .. } = &self.stage {
            self.stage = Stage::Answering(*answer);
        }
    }

    /// The answer is complete. Returns whether another request may follow.
    pub fn end_answer(&mut self) -> bool {
        // The body of a request that was answered early is not received, so the bytes behind the head are no request.
        let goes_on = matches!(&self.stage, Stage::Answering(answer) if answer.keeps_alive);
        self.number = self.number.wrapping_add(1);
        self.stage = if goes_on { Stage::Head } else { Stage::Closing };
        goes_on
    }

    /// Nothing is received any more.
    pub fn close(&mut self) {
        self.stage = Stage::Closing;
        self.kept = Vec::new();
    }
}

/// Whether these are only line breaks.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Whether the client asks for another protocol (RFC 9110, 7.8).
pub(super) fn asks_for_upgrade(request: &Request) -> bool {
    request.version() == Version::HTTP_11
        && request.headers().contains_key(UPGRADE)
        && request.has_token(CONNECTION, "upgrade")
}

fn too_large() -> Refusal {
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, reason: "the body is larger than this server accepts" }
}

impl Answer {
    /// How the body of an answer with this status is sent in parts.
    pub fn begin_parts(&mut self, status: StatusCode) -> Progress {
        self.progress = if self.is_head || !super::answer::has_body(status) {
            Progress::Bodyless
        } else if self.version == Version::HTTP_11 {
            Progress::Chunks
        } else {
            self.keeps_alive = false;
            Progress::UntilClose
        };
        self.progress
    }
}
