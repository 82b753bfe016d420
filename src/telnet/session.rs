//! Received bytes go through the codec and the line splitter, and the handler gets the results.
//!
//! Most reads end between two lines. Then nothing has to be kept, and a connection has no [`Session`]. A read that ends
//! in the middle of a line or a command leaves one in the loop's table until the next read:
//!
//! ```text
//!   read "hola\r\nadi" ─▶ on_line "hola", and a session with "adi" is kept
//!   read "os\r\n" ──────▶ the session is taken, on_line "adios", nothing is kept
//! ```
//!
//! The handler may stop the delivery in any callback. If it pauses, or upgrades the socket, the rest of the chunk is
//! put back into the socket's inbox ([`Socket::unshift`]). It comes again after the resume, or to the new handler.
//! After an end or a destroy the rest is dropped.

use super::codec::{self, Decoder, Event, IAC, SUBNEGOTIATION_LIMIT, command};
use super::edit::{CTRL_D, Key, next_key};
use super::lines::Lines;
use super::{Client, Handler, Options, Telnet};
use crate::Kind;
use crate::Loop;
use crate::net::{Socket, Urgent};

/// The bit of a socket's tag that is set while its [`Session`] is in the loop's table.
const HAS_SESSION: u16 = 1;

/// The state of a connection between two reads, if the first one ended in the middle of a line or a command.
#[derive(Debug)]
pub(super) struct Session {
    decoder: Decoder,
    lines: Lines,
}

const _: () = assert!(size_of::<Session>() <= 48, "a connection in the middle of a line costs this much, and the line");

impl Session {
    fn new(options: &Options) -> Session {
        Session { decoder: Decoder::default(), lines: Lines::with_limit(options.max_line) }
    }

    fn is_idle(&self) -> bool {
        self.decoder.is_idle() && self.lines.is_idle()
    }

    /// Takes the session of a socket out of the loop's table, if there is one.
    pub(super) fn take(lp: &mut Loop, socket: Socket) -> Option<Session> {
        if socket.tag(lp) & HAS_SESSION == 0 {
            return None;
        }
        socket.change_tag(lp, 0, HAS_SESSION);
        socket.take_entry(lp)
    }

    /// Puts the session into the loop's table, unless there is nothing to keep.
    fn keep(self, lp: &mut Loop, socket: Socket) {
        if self.is_idle() {
            return;
        }
        socket.set_entry(lp, self);
        // If a callback has replaced the handler, the tag is the new handler's. If that is a `Telnet`, it finds the
        // session in `adopt`; otherwise the session is dropped with the socket.
        if socket.has_running_handler(lp) {
            socket.change_tag(lp, HAS_SESSION, 0);
        }
    }

    /// After an upgrade from one `Telnet` to another: goes on with the session of the old one, under the limit of the
    /// new one.
    pub(super) fn adopt(lp: &mut Loop, socket: Socket, options: &Options) {
        if let Some(mut session) = socket.take_entry::<Session>(lp) {
            session.lines.set_limit(options.max_line);
            session.keep(lp, socket);
        }
    }

    /// The client sends no more: its last line, if that has no line break.
    pub(super) fn last_line(&mut self) -> Option<&[u8]> {
        self.lines.finish()
    }
}

impl Options {
    /// Whether the client's keys edit the line.
    fn edits(&self) -> bool {
        self.edits_lines && !self.keeps_breaks
    }
}

/// What to do with the rest of a chunk.
enum Rest {
    Deliver,
    /// The client is paused, or the socket was upgraded: the rest is delivered later.
    PutBack,
    /// This side has ended or destroyed the connection: nothing more is delivered.
    Drop,
}

impl<H: Handler> Telnet<H> {
    /// Bytes have arrived.
    pub(super) fn receive(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        let client = Client(socket);
        if !socket.is_ready_for_more(lp) && client.is_leaving(lp) {
            return;
        }
        let mut session = Session::take(lp, socket).unwrap_or_else(|| Session::new(&self.options));
        self.deliver(lp, client, &mut session, chunk);
        session.keep(lp, socket);
    }

    /// Splits a chunk into events and lines and calls the handler with each. Every call may stop the delivery, so this
    /// asks [`rest_of_chunk`] after each.
    fn deliver(&mut self, lp: &mut Loop, client: Client, session: &mut Session, chunk: &[u8]) {
        let Telnet { handler, options } = self;
        let Session { decoder, lines } = session;
        let mut is_synching = is_synching(lp, client, decoder, chunk);
        let mut rest = chunk;
        while let Some(event) = decoder.next_event(&mut rest) {
            let mut data = &[][..];
            match event {
                Event::Data(bytes) if is_synching => {
                    log::trace!(target: "bucle::telnet", "{client}: a synch discards {} bytes", bytes.len());
                    if !options.keeps_breaks {
                        lines.skip(bytes);
                    }
                }
                Event::Data(bytes) => data = bytes,
                Event::Command(command) => {
                    if command == command::DM && is_synching {
                        is_synching = client.socket().found_urgent(lp);
                    }
                    log::trace!(target: "bucle::telnet", "{client} sent command {command}");
                    if command == command::AYT {
                        client.write_line(lp, "[yes]");
                    }
                    if let Some(key) = Key::of_command(command)
                        && options.edits()
                        && !is_synching
                    {
                        lines.erase(key, &mut |change| client.echo(lp, &change));
                    }
                    handler.on_command(lp, client, command);
                }
                Event::Negotiate { verb, option } => {
                    if let Some((side, is_on)) = client.receive_negotiation(lp, verb, option, &options.policy) {
                        handler.on_option(lp, client, side, option, is_on);
                    }
                }
                Event::Subnegotiation { option, parameters, truncated } => {
                    if !client.has_option_on(lp, option) {
                        log::trace!(target: "bucle::telnet", "{client} sent details of option {option}, which is off");
                    } else if truncated {
                        log::debug!(target: "bucle::telnet", "{client} sent more than {SUBNEGOTIATION_LIMIT} bytes for option {option}, skipped");
                    } else {
                        handler.on_subnegotiation(lp, client, option, parameters);
                    }
                }
            }
            let has_keys = options.edits() && next_key(data).is_some();
            loop {
                match rest_of_chunk(lp, client) {
                    Rest::Deliver => {}
                    Rest::PutBack => {
                        // `rest` is still as it was sent, but `data` was decoded, so it is encoded again.
                        let mut bytes = Vec::new();
                        codec::escape(data, &mut bytes);
                        bytes.extend_from_slice(rest);
                        return client.socket().unshift(lp, bytes);
                    }
                    Rest::Drop => return,
                }
                let line = if options.keeps_breaks {
                    lines.next_raw_line(&mut data)
                } else if has_keys || client.has_screen(lp) && options.edits() {
                    lines.next_edited_line(&mut data, &mut |change| client.echo(lp, &change))
                } else {
                    lines.next_line(&mut data)
                };
                match line {
                    Some(Ok(line)) => {
                        log::trace!(target: "bucle::telnet", "{client} sent a line of {} bytes", line.len());
                        // A callback of its own: a trace shows each line of a chunk, and a gate can stop before it.
                        lp.in_layer_callback(Kind::OnLine, client.socket().serial(), line.len(), |lp| {
                            handler.on_line(lp, client, line);
                        });
                    }
                    Some(Err(error)) => return handler.on_long_line(lp, client, error),
                    None => break,
                }
            }
        }
        if !options.keeps_breaks && lines.unfinished() == [CTRL_D] {
            lines.finish();
            log::debug!(target: "bucle::telnet", "{client} sent Ctrl-D");
            handler.on_end(lp, client);
            // After an upgrade in `on_end` the connection belongs to the new protocol.
            if !client.socket().is_upgrading(lp) {
                client.end(lp);
            }
        }
    }
}

/// Whether data is discarded: the client has sent a Synch, and its Data Mark, which is urgent, has not been found yet
/// (RFC 854, "The TELNET Synch Signal"; RFC 1123, 3.2.4).
///
/// If the urgent byte is here and is no Data Mark, the client does not mean a Synch: all data is delivered.
fn is_synching(lp: &mut Loop, client: Client, decoder: &Decoder, chunk: &[u8]) -> bool {
    match client.socket().urgent(lp) {
        Urgent::None => false,
        Urgent::Ahead => true,
        Urgent::First => {
            let is_data_mark = match chunk {
                [command::DM, ..] => decoder.is_after_iac(),
                // By RFC 1122, 4.2.2.4, senders differ by one in the byte that they mark.
                [IAC] | [IAC, command::DM, ..] => true,
                _ => false,
            };
            is_data_mark || client.socket().found_urgent(lp)
        }
    }
}

/// What to do with the rest of a chunk after a call of the handler. Checked for every line, so the usual answer is
/// inline.
#[inline(always)]
fn rest_of_chunk(lp: &mut Loop, client: Client) -> Rest {
    if client.socket().is_ready_for_more(lp) { Rest::Deliver } else { rest_of_stopped_chunk(lp, client) }
}

#[cold]
#[inline(never)]
fn rest_of_stopped_chunk(lp: &mut Loop, client: Client) -> Rest {
    let socket = client.socket();
    if client.is_leaving(lp) {
        return Rest::Drop;
    }
    if socket.is_paused(lp) || socket.is_upgrading(lp) {
        return Rest::PutBack;
    }
    if socket.needs_drain(lp) {
        client.throttle_reading(lp);
        return Rest::PutBack;
    }
    Rest::Deliver
}
