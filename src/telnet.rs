//! Telnet: what a person at a terminal speaks to a line server.
//!
//! On the wire it is text with commands in between, cut anywhere; a program wants to hear whole lines and to say text.
//! Between the two stand three small machines per connection, each in a file of its own that knows no sockets:
//!
//! ```text
//!   socket ─▶ codec ──data──▶ lines ─────────────────▶ on_line(client, "hola")
//!               │ ├─command──────────────────────────▶ on_command      (AYT is answered here)
//!               │ └─negotiation─▶ options ──answer───▶ socket
//!   socket ◀───────────────── 255 doubled ◀─────────── client.write
//! ```
//!
//! This file is the glue: [`Telnet`] is a [`net::Handler`] that feeds what it reads through the machines and calls
//! *your* [`Handler`] with the outcome. [`listen`] puts the two together:
//!
//! ```
//! use bucle::Loop;
//! use bucle::telnet::{self, Client};
//!
//! /// Answers each line with itself, shouted.
//! struct Shout;
//!
//! impl telnet::Handler for Shout {
//!     fn on_open(&mut self, lp: &mut Loop, client: Client) {
//!         client.write_line(lp, "¡Bienvenido!");
//!     }
//!     fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
//!         client.write_line(lp, String::from_utf8_lossy(line).to_uppercase());
//!     }
//! }
//!
//! bucle::run(|lp| {
//!     let server = telnet::listen(lp, ("127.0.0.1", 0), telnet::Options::default(), Shout)?;
//!     server.close(lp); // A real server would stay.
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Real clients
//!
//! * Debian's telnets send `IAC IP, IAC DO TIMING-MARK` on Ctrl-C and *hide all output* until the mark is answered; it
//!   is, with WONT, and the session goes on.
//! * PuTTY's `plink -telnet` opens with seven negotiations. Each is refused, none shows up as text.
//! * `nc` speaks no telnet, ends its lines with `\n` and its input with a FIN, often without a last line break: what
//!   stands there is a line too.
//! * Ctrl-D from a telnet is the byte `04` without a line break. On an empty line it means good-bye, and is treated like
//!   a FIN.
//!
//! # Bounds
//!
//! | what | limit | then |
//! |---|---|---|
//! | a connection between two lines | nothing; in the middle of one 72 bytes and the line | |
//! | an unfinished line | [`Options::max_line`], 64 KiB | [`Handler::on_long_line`]: told, and closed |
//! | a subnegotiation | 1 KiB kept | the rest is skipped |
//! | answers that the client does not read | the socket's high-water mark | nothing more is read from it until they are out |
//! | what *others* say to a client that does not read | [`OUTBOX_LIMIT`], 1 MiB, with [`server_options`] | it is disconnected |
//! | a client that does not answer our FIN | [`LINGER`], 5 s | it is disconnected |

pub mod codec;
pub mod lines;
pub mod options;

use std::any::Any;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{self, Error, Limits, Listen, Server, ServerId, ServerOptions, Socket};
use crate::{Loop, Result};
use codec::{Decoder, Event, command};
use lines::{LineTooLong, Lines};
use options::Policy;

/// How much may wait for one client that does not read what others say to it; then it is disconnected with
/// [`Error::TooSlow`].
///
/// Its own answers never come that far: from the high-water mark on nothing more is read from it. So this is about
/// broadcasts: a thousand lines of a chat, or a minute of a busy one, before a stuck reader is given up.
pub const OUTBOX_LIMIT: usize = 1024 * 1024;

/// How long after our FIN a client may take to read the rest and answer with its own.
pub const LINGER: Duration = Duration::from_secs(5);

/// How much larger than what is in it the table of sessions may be when somebody leaves, and from when on it is looked at.
const SPARSE: usize = 8;
const FEW_SESSIONS: usize = 32;

/// The byte that Ctrl-D is (ASCII: end of transmission).
const CTRL_D: u8 = 0x04;

/// Answers the events of telnet clients and of the server they came to. Every method has a default body.
#[expect(unused_variables, reason = "the names are for who implements it")]
pub trait Handler: Any {
    /// A client is there.
    fn on_open(&mut self, lp: &mut Loop, client: Client) {}
    /// A whole line has come, without its break (with it, if [`Options::keeps_breaks`] is set). Bytes, because nobody
    /// knows what a client sends: [`lines::printable`] makes text of it that is safe to show to others.
    ///
    /// After [`Client::pause`] no further line comes until [`Client::resume`], after [`Client::end`] and
    /// [`Client::destroy`] none at all, not even those that have been read already.
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {}
    /// A telnet command of one byte ([`codec::command`]), such as IP for Ctrl-C. "Are you there" has been answered.
    fn on_command(&mut self, lp: &mut Loop, client: Client, command: u8) {}
    /// A line went over the limit. What is not overridden tells the client so and ends the conversation; a method of
    /// your own should end it too, for no further line will come.
    fn on_long_line(&mut self, lp: &mut Loop, client: Client, error: LineTooLong) {
        log::warn!(target: "bucle::telnet", "{client}: {error}, closing");
        client.write_line(lp, format!("{error}, good-bye"));
        client.end(lp);
    }
    /// Everything is written, after a write had answered `false`.
    fn on_drain(&mut self, lp: &mut Loop, client: Client) {}
    /// The client says good-bye: its FIN, or Ctrl-D. It may still be written to from here; then this side ends too. It
    /// does not come when this side ended first.
    fn on_end(&mut self, lp: &mut Loop, client: Client) {}
    /// As [`net::Handler::on_timeout`].
    fn on_timeout(&mut self, lp: &mut Loop, client: Client) {}
    /// Something failed; `on_close` follows. Unless you write this method, it is logged: clients that vanish are
    /// everyday life and only mentioned, what this side did to them is a warning.
    fn on_error(&mut self, lp: &mut Loop, client: Client, error: Error) {
        let is_our_doing = matches!(error, Error::Custom { .. } | Error::TooSlow { .. });
        let level = if is_our_doing { log::Level::Warn } else { log::Level::Debug };
        log::log!(target: "bucle::telnet", level, "{client}: {error}");
    }
    /// A client's last word, whichever way it went.
    fn on_close(&mut self, lp: &mut Loop, client: Client, had_error: bool) {}

    /// As [`net::Handler::on_listening`].
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {}
    /// As [`net::Handler::on_server_error`].
    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        log::warn!(target: "bucle::telnet", "{server}: {error}");
    }
    /// As [`net::Handler::on_server_close`].
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {}
}

/// How lines are taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many bytes a line may have, its break not counted. Default: [`Lines::LIMIT`], 64 KiB.
    pub max_line: usize,
    /// Lines come with their break as it was sent, and only `\n` ends one: for those who send lines on untouched. A
    /// Ctrl-D is data then. Default: no.
    pub keeps_breaks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_line: Lines::LIMIT, keeps_breaks: false }
    }
}

/// Makes a telnet server and has it listen. It is bound when this returns, as with [`net::listen`].
///
/// For others than [`server_options`] give [`Telnet::new`] to [`Server::new`].
///
/// # Errors
/// As [`net::listen`].
pub fn listen<H: Handler>(
    lp: &mut Loop,
    on: impl Into<Listen>,
    options: Options,
    handler: H,
) -> Result<Server<Telnet<H>>> {
    let server = Server::new(lp, server_options(), Telnet::new(options, handler));
    match server.id().listen_now(lp, on) {
        Ok(()) => Ok(server),
        Err(error) => {
            server.id().remove(lp);
            Err(error)
        }
    }
}

/// What a telnet server is made with: `no_delay`, because small answers to people who wait for them need not be gathered a
/// second time in the kernel; and at most [`OUTBOX_LIMIT`] bytes that wait for one client.
pub fn server_options() -> ServerOptions {
    let limits = Limits { outbox_bytes: Some(OUTBOX_LIMIT), ..Limits::NONE };
    ServerOptions { no_delay: true, limits, ..ServerOptions::default() }
}

/// Names a telnet client, for ever: a [`Socket`] that is written to as telnet wants it.
///
/// 8 bytes, `Copy`; it works from every callback, every timer and every other server of the loop. When the client is
/// gone, or on its way out, what is said to it is not sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(Socket);

impl Client {
    /// The connection beneath. Bytes that are written there directly are not escaped.
    pub fn socket(self) -> Socket {
        self.0
    }

    /// Sends `text`, which has its line breaks in it: `\r\n` (RFC 854). A byte 255, which UTF-8 does not have, is sent
    /// twice.
    ///
    /// The answer is advice, as with [`Socket::write`]: `false` when a high-water mark of bytes waits, or the client is
    /// on its way out. What may wait for a client is limited by the server's or the socket's [`Limits`].
    pub fn write(self, lp: &mut Loop, text: impl AsRef<[u8]>) -> bool {
        self.send(lp, &escaped(text.as_ref()))
    }

    /// Sends `text` and a line break. Both leave together with whatever else this phase writes.
    pub fn write_line(self, lp: &mut Loop, text: impl AsRef<[u8]>) -> bool {
        self.write(lp, text);
        self.write(lp, "\r\n")
    }

    /// Says good-bye: what is written is sent, then the FIN. No further line comes, and who has not answered with a FIN
    /// after [`LINGER`] is disconnected. (To destroy it right after our FIN would lose it the last words, if it was
    /// sending: the kernel answers data for a closed socket with a reset, which throws away what was not read.)
    pub fn end(self, lp: &mut Loop) {
        if self.is_leaving(lp) {
            return;
        }
        let socket = self.0;
        // What still comes is read and thrown away; unread it would hold up the FIN behind it.
        socket.resume(lp);
        socket.end(lp);
        let timer = lp.set_timeout(LINGER, move |lp| socket.destroy(lp));
        lp.unref(timer);
    }

    /// Disconnects it now. What has not reached the kernel is lost.
    pub fn destroy(self, lp: &mut Loop) {
        self.0.destroy(lp);
    }

    /// No line comes after this until [`resume`](Self::resume); not even the next of those that came in the same read.
    pub fn pause(self, lp: &mut Loop) {
        self.0.pause(lp);
    }

    /// Lets lines come again, beginning in the next tick.
    pub fn resume(self, lp: &mut Loop) {
        self.0.resume(lp);
    }

    /// The peer's address; `None` on a unix path.
    pub fn remote_address(self, lp: &Loop) -> Option<SocketAddr> {
        self.0.remote_address(lp)
    }

    /// Sends what is escaped already.
    fn send(self, lp: &mut Loop, wire: &[u8]) -> bool {
        if !self.0.is_at_work(lp) && self.is_leaving(lp) {
            return false;
        }
        self.0.write(lp, wire)
    }

    /// Whether nothing can be said to it any more: gone, or this side has ended.
    pub fn is_leaving(self, lp: &Loop) -> bool {
        self.0.write_refusal(lp).is_some()
    }
}

/// Says the same to many, as [`Client::write`] does to one. Nothing is allocated per client.
pub fn broadcast<'a>(lp: &mut Loop, clients: impl IntoIterator<Item = &'a Client>, text: impl AsRef<[u8]>) {
    let wire = escaped(text.as_ref());
    for client in clients {
        client.send(lp, &wire);
    }
}

/// What is sent for `text`: itself, unless there is a byte 255 in it.
fn escaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(codec::IAC, text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut wire = Vec::new();
    codec::escape(text, &mut wire);
    Cow::Owned(wire)
}

/// `#41`, as in the logs.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client{}", self.0)
    }
}

/// A [`net::Handler`] that speaks telnet to its sockets, and lines to `H`.
///
/// For a server ([`Server::new`]), for one socket that becomes telnet ([`Socket::set_handler`]), or for a client
/// ([`Socket::connect`]).
#[derive(Debug)]
pub struct Telnet<H> {
    handler: H,
    options: Options,
    /// Of the sockets that stand in the middle of something: a line, a command, a negotiation. Those that stand between
    /// two lines, which is where most stand most of the time, have nothing to be remembered and no entry.
    sessions: HashMap<Socket, Session>,
    /// Clients that were paused here for not reading their answers, to be resumed when they have. Mostly empty.
    throttled: HashSet<Socket>,
}

/// What is remembered of one connection between two reads.
#[derive(Debug)]
struct Session {
    decoder: Decoder,
    options: options::Options,
    lines: Lines,
}

const _: () = assert!(size_of::<Session>() <= 72, "the middle of a line costs this much, and the line");

impl Session {
    fn new(options: &Options) -> Session {
        Session {
            decoder: Decoder::default(),
            options: options::Options::default(),
            lines: Lines::with_limit(options.max_line),
        }
    }

    fn is_idle(&self) -> bool {
        self.decoder.is_idle() && self.options.is_idle() && self.lines.is_idle()
    }
}

/// Whether the next line of a chunk may be delivered now.
enum Next {
    Go,
    /// It paused, or was paused for not reading: the rest of the chunk waits.
    Wait,
    /// It has ended or was destroyed: the rest is for nobody.
    Stop,
}

impl<H: Handler> Telnet<H> {
    /// Wraps `handler`.
    pub fn new(options: Options, handler: H) -> Self {
        Telnet { handler, options, sessions: HashMap::new(), throttled: HashSet::new() }
    }

    /// The handler inside, for [`Server::with`].
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Takes a chunk apart. Stops between two lines when it has to, and has the rest come again after the resume.
    fn take_apart(&mut self, lp: &mut Loop, client: Client, session: &mut Session, chunk: &[u8]) {
        let socket = client.socket();
        let Telnet { handler, options, throttled, .. } = self;
        let Session { decoder, options: negotiated, lines } = session;
        let mut rest = chunk;
        while let Some(event) = decoder.next_event(&mut rest) {
            let mut data = &[][..];
            match event {
                Event::Data(bytes) => data = bytes,
                Event::Command(command) => {
                    log::trace!(target: "bucle::telnet", "{client} sent the command {command}");
                    if command == command::AYT {
                        client.write_line(lp, "[yes]");
                    }
                    handler.on_command(lp, client, command);
                }
                Event::Negotiate { verb, option } => {
                    let answer = negotiated.receive(verb, option, &Policy::REFUSE_ALL);
                    let silence = if answer.is_some() { "" } else { ": needs no answer" };
                    log::trace!(target: "bucle::telnet", "{client} says {verb:?} {option}{silence}");
                    if let Some(answer) = answer {
                        socket.write(lp, answer);
                    }
                }
                // Details of an option that was never agreed to.
                Event::Subnegotiation { .. } => {}
            }
            loop {
                match Self::next_step(throttled, lp, client) {
                    Next::Go => {}
                    Next::Wait => {
                        // The decoder is between two events: a part of a data event goes back as it would be sent.
                        let mut undelivered = Vec::new();
                        codec::escape(data, &mut undelivered);
                        undelivered.extend_from_slice(rest);
                        return socket.unshift(lp, undelivered);
                    }
                    Next::Stop => return,
                }
                let line =
                    if options.keeps_breaks { lines.next_raw_line(&mut data) } else { lines.next_line(&mut data) };
                match line {
                    Some(Ok(line)) => {
                        log::trace!(target: "bucle::telnet", "{client} line of {} bytes", line.len());
                        handler.on_line(lp, client, line);
                    }
                    Some(Err(error)) => return handler.on_long_line(lp, client, error),
                    None => break,
                }
            }
        }
        if !options.keeps_breaks && lines.unfinished() == [CTRL_D] {
            lines.finish();
            log::debug!(target: "bucle::telnet", "{client} says good-bye: Ctrl-D");
            handler.on_end(lp, client);
            client.end(lp);
        }
    }

    fn next_step(throttled: &mut HashSet<Socket>, lp: &mut Loop, client: Client) -> Next {
        let socket = client.socket();
        if socket.is_at_work(lp) {
            return Next::Go;
        }
        if client.is_leaving(lp) {
            return Next::Stop;
        }
        if socket.is_paused(lp) {
            return Next::Wait;
        }
        if socket.needs_drain(lp) {
            log::trace!(target: "bucle::telnet", "{client} does not read its answers, and is not read from until it has");
            throttled.insert(socket);
            socket.pause(lp);
            return Next::Wait;
        }
        Next::Go
    }
}

impl<H: Handler> net::Handler for Telnet<H> {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_open(lp, Client(socket));
    }

    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_open(lp, Client(socket));
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        let client = Client(socket);
        if client.is_leaving(lp) {
            return;
        }
        let remembered = if self.sessions.is_empty() { None } else { self.sessions.remove(&socket) };
        let mut session = remembered.unwrap_or_else(|| Session::new(&self.options));
        self.take_apart(lp, client, &mut session, chunk);
        if !session.is_idle() {
            self.sessions.insert(socket, session);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        if self.throttled.remove(&socket) {
            socket.resume(lp);
        }
        self.handler.on_drain(lp, Client(socket));
    }

    /// The FIN. A last line that lacks its break is delivered first.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        let client = Client(socket);
        if client.is_leaving(lp) {
            return;
        }
        if let Some(mut session) = self.sessions.remove(&socket)
            && let Some(line) = session.lines.finish()
        {
            self.handler.on_line(lp, client, line);
        }
        if !client.is_leaving(lp) {
            self.handler.on_end(lp, client);
        }
    }

    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_timeout(lp, Client(socket));
    }

    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.handler.on_error(lp, Client(socket), error);
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, had_error: bool) {
        self.sessions.remove(&socket);
        self.throttled.remove(&socket);
        if self.sessions.capacity() > SPARSE * self.sessions.len().max(FEW_SESSIONS) {
            self.sessions.shrink_to(2 * self.sessions.len());
        }
        self.handler.on_close(lp, Client(socket), had_error);
    }

    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_listening(lp, server);
    }

    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        self.handler.on_server_error(lp, server, error);
    }

    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_server_close(lp, server);
    }
}
