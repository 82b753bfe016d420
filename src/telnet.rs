//! Telnet: what a person at a terminal speaks to a line server.
//!
//! On the wire it is text with commands in between, cut anywhere; a program wants to hear whole lines and to say text.
//! Between the two stand three small machines per connection, each in a file of its own that knows no sockets:
//!
//! ```text
//!   socket ─▶ codec ──data──▶ lines ─────────────────▶ on_line(client, "hola")
//!               ├──command───────────────────────────▶ on_command      (AYT is answered here)
//!               ├──subnegotiation────────────────────▶ on_subnegotiation
//!               └──word──▶ negotiation ───settled────▶ on_option
//!                              └────answer────▶ socket
//!   socket ◀───────────────── 255 doubled ◀─────────── client.write
//! ```
//!
//! This file is the glue: [`Telnet`] is a [`net::Handler`] that feeds what it reads through the machines and calls
//! *your* [`Handler`] with the outcome. [`listen`] puts the two together:
//!
//! ```
//! use bucle::telnet::{self, Client};
//! use bucle::{Loop, net};
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
//! # let shown = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
//! # let screen = shown.clone();
//! bucle::run(|lp| {
//!     let server = telnet::listen(lp, ("127.0.0.1", 0), telnet::Options::default(), Shout)?;
//!     // A client that says one line and leaves.
//!     let client = net::on()
//!         .connect(|lp, socket| socket.end_with(lp, "hola\r\n"))
//!         .data(move |_, _, chunk| screen.borrow_mut().push_str(&String::from_utf8_lossy(chunk)));
//!     let port = server.port(lp).expect("it is bound");
//!     net::Socket::connect(lp, ("127.0.0.1", port), client)?;
//!     server.unref(lp); // A real server would stay.
//!     Ok(())
//! })?;
//! assert_eq!(*shown.borrow(), "¡Bienvenido!\r\nHOLA\r\n");
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
//! # Options
//!
//! What a client asks for is refused, each option, unless [`Options::policy`] allows it; who wants one asks with
//! [`Client::enable`]. Then [`Handler::on_option`] hears what has become of it, [`Handler::on_subnegotiation`] the details:
//!
//! | a server that wants | asks for | and hears |
//! |---|---|---|
//! | to hide a password | [`Side::Us`], [`option::ECHO`] (RFC 857) | lines, as before; the client does not show them |
//! | the size of the window | [`Side::Him`], [`option::NAWS`] (RFC 1073) | four bytes, and again when it changes |
//! | the type of the terminal | [`Side::Him`], [`option::TTYPE`] (RFC 1091) | `0` and a name, when it has said `1` with [`Client::subnegotiate`] |
//!
//! # Bounds
//!
//! | what | limit | then |
//! |---|---|---|
//! | a connection between two lines | nothing; in the middle of one 48 bytes and the line | |
//! | a client with options on, or talked about | what the program asks for and the policy allows, 256 at most: some 350 bytes, and 3 for each option | |
//! | an unfinished line | [`Options::max_line`], 64 KiB | [`Handler::on_long_line`]: told, and closed |
//! | a subnegotiation | 1 KiB kept | the rest is skipped |
//! | answers that the client does not read | the socket's high-water mark | nothing more is read from it until they are out |
//! | what *others* say to a client that does not read | [`OUTBOX_LIMIT`], 1 MiB, with [`server_options`] | it is disconnected |
//! | a client that does not answer our FIN | [`LINGER`], 5 s | it is disconnected |

mod client;
pub mod codec;
pub mod lines;
pub mod negotiation;

use std::any::Any;
use std::time::Duration;

pub use client::{Client, broadcast};
pub use codec::option;
pub use negotiation::{Policy, Side};

use crate::net::{self, Dropped, Error, Limits, Listen, Server, ServerId, ServerOptions, Socket};
use crate::{Loop, Result};
use codec::{Decoder, Event, SUBNEGOTIATION_LIMIT, command};
use lines::{LineTooLong, Lines};

/// How much may wait for one client that does not read what others say to it; then it is disconnected with
/// [`Error::TooSlow`].
///
/// Its own answers never come that far: from the high-water mark on nothing more is read from it. So this is about
/// broadcasts: a thousand lines of a chat, or a minute of a busy one, before a stuck reader is given up.
pub const OUTBOX_LIMIT: usize = 1024 * 1024;

/// How long after our FIN a client may take to read the rest and answer with its own.
pub const LINGER: Duration = Duration::from_secs(5);

/// The byte that Ctrl-D is (ASCII: end of transmission).
const CTRL_D: u8 = 0x04;

/// Answers the events of telnet clients and of the server they came to. Every method has a default body.
#[expect(unused_variables, reason = "the names are for who implements it")]
pub trait Handler: Any {
    /// A client is there. Comes before everything else.
    fn on_open(&mut self, lp: &mut Loop, client: Client) {}
    /// A whole line has come, without its break (with it, if [`Options::keeps_breaks`] is set). Bytes, because nobody
    /// knows what a client sends: [`lines::printable`] makes text of it that is safe to show to others.
    ///
    /// After [`Client::pause`] no further line comes until [`Client::resume`], after [`Client::end`] and
    /// [`Client::destroy`] none at all, not even those that have been read already.
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {}
    /// A telnet command of one byte ([`codec::command`]), such as IP for Ctrl-C. "Are you there" has been answered.
    fn on_command(&mut self, lp: &mut Loop, client: Client, command: u8) {}
    /// What was said about an option is settled: it is on now, or off, on the side of us or of him. So is each wish of this
    /// side ([`Client::enable`], [`Client::disable`]), also if the client refuses it (off), and what the client asks for and
    /// [`Options::policy`] allows. A client that speaks no telnet settles nothing.
    ///
    /// Do not ask again for what was just refused: it would be refused again, and so on for ever.
    fn on_option(&mut self, lp: &mut Loop, client: Client, side: Side, option: u8, is_on: bool) {}
    /// The details of an option (RFC 855), its doubled 255s made single. Only of one that is on, for either side, and only
    /// whole: what is longer than [`SUBNEGOTIATION_LIMIT`] is not delivered.
    ///
    /// ```
    /// /// Columns and rows, out of what comes for `option::NAWS` (RFC 1073).
    /// fn window_size(bytes: &[u8]) -> Option<(u16, u16)> {
    ///     let &[a, b, c, d] = bytes else { return None };
    ///     Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    /// }
    /// assert_eq!(window_size(&[0, 80, 0, 24]), Some((80, 24)));
    /// ```
    fn on_subnegotiation(&mut self, lp: &mut Loop, client: Client, option: u8, bytes: &[u8]) {}
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
    /// As [`net::Handler::on_going_away`].
    fn on_going_away(&mut self, lp: &mut Loop, client: Client) {}
    /// As [`net::Handler::is_busy`].
    fn is_busy(&self, lp: &Loop, client: Client) -> bool {
        false
    }
    /// A client's last word, whichever way it went.
    fn on_close(&mut self, lp: &mut Loop, client: Client, had_error: bool) {}

    /// As [`net::Handler::on_listening`].
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {}
    /// As [`net::Handler::on_drop`].
    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {}
    /// As [`net::Handler::on_server_error`].
    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        log::warn!(target: "bucle::telnet", "{server}: {error}");
    }
    /// As [`net::Handler::on_server_close`].
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {}
}

/// How lines are taken in, and what is agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many bytes a line may have, its break not counted. Default: [`Lines::LIMIT`], 64 KiB.
    pub max_line: usize,
    /// Lines come with their break as it was sent, and only `\n` ends one: for those who send lines on untouched. A
    /// Ctrl-D is data then. Default: no.
    pub keeps_breaks: bool,
    /// Which telnet options are agreed to when a client asks for them. Default: [`Policy::REFUSE_ALL`]. What this side asks
    /// for with [`Client::enable`] needs no policy.
    pub policy: Policy,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_line: Lines::LIMIT, keeps_breaks: false, policy: Policy::REFUSE_ALL }
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

/// A [`net::Handler`] that speaks telnet to its sockets, and lines to `H`.
///
/// For a server ([`Server::new`]), for a client ([`Socket::connect`]), or for a socket whose protocol changes to
/// telnet ([`Socket::upgrade`]).
#[derive(Debug)]
pub struct Telnet<H> {
    handler: H,
    options: Options,
}

/// The bit of a socket's tag that says that its [`Session`] is in the loop's table.
const HAS_SESSION: u16 = 1;

/// What is remembered of a connection between two reads, if the first one ended in the middle of a line or a command. Most reads
/// end between two lines, and leave nothing to remember.
#[derive(Debug)]
struct Session {
    decoder: Decoder,
    lines: Lines,
}

const _: () = assert!(size_of::<Session>() <= 48, "the middle of a line costs this much, and the line");

impl Session {
    fn new(options: &Options) -> Session {
        Session { decoder: Decoder::default(), lines: Lines::with_limit(options.max_line) }
    }

    fn is_idle(&self) -> bool {
        self.decoder.is_idle() && self.lines.is_idle()
    }
}

/// Takes the session of a socket out of the loop's table, if there is one.
fn take_session(lp: &mut Loop, socket: Socket) -> Option<Session> {
    if socket.tag(lp) & HAS_SESSION == 0 {
        return None;
    }
    socket.change_tag(lp, 0, HAS_SESSION);
    socket.take_entry(lp)
}

/// Whether the next line of a chunk may be delivered now.
enum Next {
    Go,
    /// It is paused, or its handler was replaced: the rest of the chunk waits.
    Wait,
    /// It has ended or was destroyed: the rest is for nobody.
    Stop,
}

impl<H: Handler> Telnet<H> {
    /// Wraps `handler`.
    pub fn new(options: Options, handler: H) -> Self {
        Telnet { handler, options }
    }

    /// The handler inside, for [`Server::with`].
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Takes a chunk apart. Stops between two lines when it has to, and has the rest come again after the resume.
    fn take_apart(&mut self, lp: &mut Loop, client: Client, session: &mut Session, chunk: &[u8]) {
        let socket = client.socket();
        let Telnet { handler, options } = self;
        let Session { decoder, lines } = session;
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
                    if let Some((side, is_on)) = client.hear(lp, verb, option, &options.policy) {
                        handler.on_option(lp, client, side, option, is_on);
                    }
                }
                Event::Subnegotiation { option, parameters, truncated } => {
                    if !client.has_agreed_to(lp, option) {
                        log::trace!(target: "bucle::telnet", "{client} tells of option {option}, which is off");
                    } else if truncated {
                        log::debug!(target: "bucle::telnet", "{client} tells more than {SUBNEGOTIATION_LIMIT} bytes of option {option}");
                    } else {
                        handler.on_subnegotiation(lp, client, option, parameters);
                    }
                }
            }
            loop {
                match Self::next_step(lp, client) {
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

    fn next_step(lp: &mut Loop, client: Client) -> Next {
        let socket = client.socket();
        if socket.is_at_work(lp) {
            return Next::Go;
        }
        if client.is_leaving(lp) {
            return Next::Stop;
        }
        if socket.is_paused(lp) || socket.is_upgrading(lp) {
            return Next::Wait;
        }
        if socket.needs_drain(lp) {
            client.throttle_reading(lp);
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

    /// A socket that is still connecting is opened when it is connected.
    fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {
        if socket.was_connected(lp) {
            self.handler.on_open(lp, Client(socket));
        }
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        let client = Client(socket);
        if !socket.is_at_work(lp) && client.is_leaving(lp) {
            return;
        }
        let mut session = take_session(lp, socket).unwrap_or_else(|| Session::new(&self.options));
        self.take_apart(lp, client, &mut session, chunk);
        if !session.is_idle() {
            socket.change_tag(lp, HAS_SESSION, 0);
            socket.set_entry(lp, session);
        }
    }

    /// After [`Socket::set_encoding`], which has no use here. But a client that nobody hears would have even less.
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.on_data(lp, socket, text.as_bytes());
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        let client = Client(socket);
        client.end_throttle(lp);
        self.handler.on_drain(lp, client);
    }

    /// The FIN. A last line that lacks its break is delivered first.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        let client = Client(socket);
        if client.is_leaving(lp) {
            return;
        }
        if let Some(mut session) = take_session(lp, socket)
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
        let client = Client(socket);
        client.forget(lp);
        self.handler.on_close(lp, client, had_error);
    }

    fn on_going_away(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_going_away(lp, Client(socket));
    }

    fn is_busy(&self, lp: &Loop, socket: Socket) -> bool {
        self.handler.is_busy(lp, Client(socket))
    }

    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_listening(lp, server);
    }

    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {
        self.handler.on_drop(lp, server, dropped);
    }

    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        self.handler.on_server_error(lp, server, error);
    }

    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_server_close(lp, server);
    }
}
