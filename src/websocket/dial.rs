//! A client's connection, from the connect to the server's answer.
//!
//! ```text
//!   connect ─▶ the request ─▶ the server's answer ─┬─ 101 ────────────▶ on_upgrade, on_open
//!                                                  └─ another status ─▶ its body ─▶ on_unexpected_response, on_error
//! ```

use std::mem;

use super::deflate::{self, DeflateOptions};
use super::handshake::{self, Target};
use super::registry::Registry;
use super::{Connections, Endpoint, Handler, Options, WebSocket, tag};
use crate::http::body::{BodyDecoder, Framing};
use crate::http::head::{HeadLimits, HeadParser, Method, ResponseHead};
use crate::http::{HeaderMap, StatusCode};
use crate::net::{Error, Socket, SocketOptions};
use crate::{Loop, Result, TimerId};

/// How much of the body of an unexpected response is kept.
const MAX_BODY: usize = 4096;

/// The options of one client connection. Those of the endpoint hold, too.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Further headers of the request, such as `Authorization`, `Cookie` or `Origin`. Those of the handshake itself
    /// cannot be set.
    pub headers: HeaderMap,
    /// The subprotocols that are offered, in the order of preference.
    pub protocols: Vec<String>,
    /// Connects to this host and port instead of the URL's, which still goes into the request.
    pub address: Option<(String, u16)>,
}

/// A client's connection before it is open.
struct Dialing {
    request: Vec<u8>,
    key: String,
    protocols: Vec<String>,
    deflate: Option<DeflateOptions>,
    received: Vec<u8>,
    parser: HeadParser,
    timer: Option<TimerId>,
    /// The server has refused: its answer, of which the body is still to come.
    refused: Option<Refused>,
}

struct Refused {
    head: ResponseHead,
    decoder: BodyDecoder,
    body: Vec<u8>,
}

impl<H: Handler> Endpoint<H> {
    /// Connects to `ws://host:port/path`. [`Handler::on_open`] follows, or [`Handler::on_error`] and
    /// [`Handler::on_close`].
    ///
    /// # Errors
    /// `ERR_INVALID_URL`: the URL is not one of a WebSocket server, or a header or subprotocol is not valid. `wss://`
    /// is refused: there is no TLS.
    #[doc(alias = "WebSocket")]
    pub fn connect(self, lp: &mut Loop, url: &str, options: &ClientOptions) -> Result<WebSocket> {
        let target = handshake::parse_url(url).map_err(|error| invalid(&error))?;
        let endpoint = self.options(lp).ok_or(Error::Gone)?;
        let key = lp.layer_mut::<Registry>().masks.random()?;
        let key = handshake::key(key);
        let extensions = endpoint.deflate.as_ref().map(deflate::offer);
        let request = handshake::request(&target, &key, &options.protocols, extensions.as_deref(), &options.headers)
            .map_err(|error| invalid(&error))?;
        let (host, port) = options.address.clone().unwrap_or_else(|| {
            let Target { host, port, .. } = &target;
            (host.clone(), *port)
        });
        let socket_options = SocketOptions {
            high_water_mark: super::HIGH_WATER_MARK,
            limits: super::CLIENT_LIMITS,
            ..SocketOptions::default()
        };
        let socket = Socket::connect_with(lp, (host.as_str(), port), socket_options, self.connections)?;
        socket.set_no_delay(lp, true);
        socket.change_tag(lp, tag::CLIENT, 0);
        socket.set_entry(
            lp,
            Dialing {
                request,
                key,
                protocols: options.protocols.clone(),
                deflate: endpoint.deflate.clone(),
                received: Vec::new(),
                parser: HeadParser::default(),
                timer: None,
                refused: None,
            },
        );
        if !endpoint.handshake_timeout.is_zero() {
            let timer = socket.start_layer_timer(lp, endpoint.handshake_timeout, timed_out::<H>);
            if let Some(dialing) = socket.entry_mut::<Dialing>(lp) {
                dialing.timer = Some(timer);
            }
        }
        Ok(WebSocket(socket))
    }
}

/// Connects one handler to a server, with the default options: an [`Endpoint`] for a single connection.
///
/// # Errors
/// As [`Endpoint::connect`].
pub fn connect<H: Handler>(lp: &mut Loop, url: &str, handler: H) -> Result<WebSocket> {
    let endpoint = Endpoint::new(lp, Options::default(), handler);
    let ws = endpoint.connect(lp, url, &ClientOptions::default());
    endpoint.release(lp);
    ws
}

fn invalid(error: &dyn std::fmt::Display) -> Error {
    Error::custom("ERR_INVALID_URL", error.to_string())
}

/// The connection is made: sends the request.
pub(super) fn connected(lp: &mut Loop, socket: Socket) {
    if let Some(dialing) = socket.entry_mut::<Dialing>(lp) {
        let request = mem::take(&mut dialing.request);
        socket.write(lp, request);
    }
}

pub(super) fn stop_timer(lp: &mut Loop, socket: Socket) {
    if let Some(timer) = socket.entry_mut::<Dialing>(lp).and_then(|dialing| dialing.timer.take()) {
        lp.clear(timer);
    }
}

fn timed_out<H: Handler>(lp: &mut Loop, socket: Socket) {
    let Some(dialing) = socket.entry_mut::<Dialing>(lp) else { return };
    dialing.timer = None;
    if dialing.refused.is_none() {
        let error = Error::custom("ETIMEDOUT", "the server has not answered the WebSocket handshake in time");
        return socket.destroy_with(lp, error);
    }
    // The body of a refusal is not complete: what has arrived is reported.
    socket.call_layer::<Connections<H>>(lp, |connections, lp| connections.report_refusal(lp, socket));
}

impl<H: Handler> Connections<H> {
    /// Bytes have arrived before the connection is open: the server's answer.
    pub(super) fn receive_answer(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        let Some(mut dialing) = socket.take_entry::<Dialing>(lp) else { return };
        if dialing.refused.is_some() {
            return self.receive_refusal(lp, socket, dialing, chunk);
        }
        dialing.received.extend_from_slice(chunk);
        // How many bytes of interim responses are in front. They are removed together, so that thousands of them cost
        // no more than their bytes.
        let mut start = 0;
        loop {
            match dialing.parser.response(&dialing.received[start..], &HeadLimits::default(), &Method::GET) {
                Ok(None) => {
                    dialing.received.drain(..start);
                    return socket.set_entry(lp, dialing);
                }
                Ok(Some((head, framing, used))) => {
                    start += used;
                    let status = head.status();
                    if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                        let rest = dialing.received.split_off(start);
                        return self.receive_head(lp, socket, dialing, head, framing, rest);
                    }
                    // An interim response is followed by another one (RFC 9110, 15.2).
                }
                Err(error) => {
                    socket.set_entry(lp, dialing);
                    let message = format!("no HTTP response: {error}");
                    return socket.destroy_with(lp, Error::custom("E_BAD_RESPONSE", message));
                }
            }
        }
    }

    /// The head of the final response has arrived.
    fn receive_head(
        &mut self,
        lp: &mut Loop,
        socket: Socket,
        mut dialing: Dialing,
        head: ResponseHead,
        framing: Framing,
        mut rest: Vec<u8>,
    ) {
        if head.status() != StatusCode::SWITCHING_PROTOCOLS {
            let decoder = BodyDecoder::new(framing);
            dialing.refused = Some(Refused { head, decoder, body: Vec::new() });
            return self.receive_refusal(lp, socket, dialing, &rest);
        }
        let deflate = dialing.deflate.as_ref();
        match handshake::check_response(head.status(), head.headers(), &dialing.key, &dialing.protocols, deflate) {
            Ok(agreed) => {
                if let Some(timer) = dialing.timer {
                    lp.clear(timer);
                }
                let ws = WebSocket(socket);
                socket.change_tag(lp, tag::OPEN, 0);
                if let Some(params) = agreed.params {
                    ws.agree_on_deflate(lp, params);
                }
                if let Some(protocol) = agreed.protocol {
                    ws.set_protocol(lp, protocol);
                }
                self.handler.on_upgrade(lp, ws, &head);
                self.opened(lp, socket);
                // The server's first frames may come with its answer. `on_open` may have paused the connection.
                if socket.is_ready_for_more(lp) {
                    self.receive(lp, socket, &mut rest);
                } else {
                    socket.unshift(lp, rest);
                }
            }
            Err(error) => {
                socket.set_entry(lp, dialing);
                socket.destroy_with(lp, Error::custom("E_BAD_RESPONSE", error.to_string()));
            }
        }
    }

    /// A part of the body of a refusal has arrived.
    fn receive_refusal(&mut self, lp: &mut Loop, socket: Socket, mut dialing: Dialing, mut chunk: &[u8]) {
        let Some(refused) = &mut dialing.refused else { return };
        while let Ok(Some(piece)) = refused.decoder.next(&mut chunk) {
            let room = MAX_BODY - refused.body.len();
            refused.body.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        let is_complete = refused.decoder.is_complete() || refused.body.len() >= MAX_BODY || !chunk.is_empty();
        socket.set_entry(lp, dialing);
        if is_complete {
            self.report_refusal(lp, socket);
        }
    }

    fn report_refusal(&mut self, lp: &mut Loop, socket: Socket) {
        let Some(Refused { head, body, .. }) =
            socket.entry_mut::<Dialing>(lp).and_then(|dialing| dialing.refused.take())
        else {
            return;
        };
        self.handler.on_unexpected_response(lp, WebSocket(socket), &head, &body);
        let message = format!("the server answered {} instead of 101 Switching Protocols", head.status());
        socket.destroy_with(lp, Error::custom("E_UNEXPECTED_RESPONSE", message));
    }

    /// The server has ended the connection before it was open.
    pub(super) fn answer_ended(&mut self, lp: &mut Loop, socket: Socket) {
        if socket.entry::<Dialing>(lp).is_some_and(|dialing| dialing.refused.is_some()) {
            return self.report_refusal(lp, socket);
        }
        let message = "the server has closed the connection without an answer to the WebSocket handshake";
        socket.destroy_with(lp, Error::custom("E_BAD_RESPONSE", message));
    }
}
