//! Telnet: the protocol between a line server and a person at a terminal.
//!
//! The bytes on the wire are text with commands in between, and a read may end anywhere. A program wants whole lines,
//! and wants to write text. Three small state machines per connection do the translation. Each has a file of its own
//! and does not know sockets:
//!
//! ```text
//!   socket ─▶ codec ──data──▶ lines, edit ───────────▶ on_line(client, "hola")
//!               ├──command───────────────────────────▶ on_command      (AYT is answered here)
//!               ├──subnegotiation────────────────────▶ on_subnegotiation
//!               └──verb──▶ negotiation ───settled────▶ on_option
//!                              └────answer────▶ socket
//!   socket ◀───────────────── 255 doubled ◀─────────── client.write
//! ```
//!
//! [`Telnet`] is the [`net::Handler`](crate::net::Handler) that feeds received bytes to these machines (`session.rs`)
//! and calls *your* [`Handler`] with the results. Each event of `net` either reaches your handler or is used up in
//! `forward.rs`. [`listen`] makes a server:
//!
//! ```
//! use bucle::telnet::{self, Client};
//! use bucle::{Loop, net};
//!
//! /// Answers each line with the same line in capitals.
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
//!     // A client that sends one line and ends.
//!     let client = net::on()
//!         .connect(|lp, socket| socket.end_with(lp, "hola\r\n"))
//!         .data(move |_, _, chunk| screen.borrow_mut().push_str(&String::from_utf8_lossy(chunk)));
//!     let port = server.port(lp).expect("it is bound");
//!     net::Socket::connect(lp, ("127.0.0.1", port), client)?;
//!     server.unref(lp); // A real server would keep the loop running.
//!     Ok(())
//! })?;
//! assert_eq!(*shown.borrow(), "¡Bienvenido!\r\nHOLA\r\n");
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Real clients
//!
//! * On Ctrl-C, Debian's telnets send `IAC IP, IAC DO TIMING-MARK` and *hide all output* until the mark is answered. It
//!   is answered with WONT, and the session goes on.
//! * PuTTY's `plink -telnet` starts with seven negotiations. Each is refused, and none appears as text.
//! * `nc` does not speak telnet. It ends its lines with `\n` and its input with a FIN, often without a last line break:
//!   the bytes before such a FIN are a line too.
//! * Ctrl-D in a telnet is the byte `04` without a line break. On an empty line it means "end of input" and is treated
//!   like a FIN.
//! * BusyBox's telnet sends each key from the first WILL ECHO on, until a WONT ECHO; then it sends lines, and agrees to
//!   no further WILL ECHO. The telnet of Windows and many MUD clients send each key always. For these the server edits
//!   the line, see below.
//!
//! # Keys
//!
//! A client that sends each key also sends mistakes and their corrections. So Backspace, Delete, Ctrl-W, Ctrl-U and the
//! commands EC and EL erase a character, a word or the line on the server (`edit.rs` has the table), and
//! [`Handler::on_line`] gets the result. This needs no call; [`Options::edits_lines`] switches it off.
//!
//! By default the server sends nothing back. After [`Client::set_echo`] with [`Echo::ByServer`] it shows what is typed,
//! and takes what is erased from the screen; with [`Echo::Hidden`] it shows nothing for a while.
//!
//! # Synch
//!
//! A client that wants to get rid of what it has sent (`telnet> send synch`; Ctrl-C after `toggle autosynch`) sends the
//! command DM, "Data Mark", as an urgent byte of TCP. A [`Telnet`] obeys RFC 854 ("The TELNET Synch Signal") and RFC
//! 1123, 3.2.4: when the kernel reports the urgent byte, all data that was not delivered yet is discarded, up to the
//! Data Mark. That includes lines that wait behind a [`Client::pause`]. Commands and negotiations in between are
//! obeyed. The unfinished line stays as it is, because its bytes were delivered to the line splitter before.
//!
//! ```text
//!   read before          in the kernel, with the urgent mark       behind the mark
//!   "one\r\nho"          "xyz\r\n" IAC AYT "tw"  IAC DM            "la\r\n"
//!   on_line "one"        on_command AYT            on_command DM   on_line "hola"
//! ```
//!
//! The urgent byte must stay in its place among the data (`SO_OOBINLINE`): otherwise its IAC would take the next byte
//! for a command. [`server_options`] set this for a listener, and a `Telnet` on another server's socket, or on a
//! client's, sets it itself ([`Socket::set_urgent_in_line`](crate::net::Socket::set_urgent_in_line)). It stays set if
//! the socket is upgraded to another protocol. Where the urgent mark is lost (some firewalls clear it), and on systems
//! other than Linux, a Data Mark is a command without effect. An urgent byte that is no Data Mark is data.
//!
//! # Options
//!
//! Each option that a client asks for is refused unless [`Options::policy`] allows it. The server asks for an option
//! with [`Client::enable`]. Then [`Handler::on_option`] gets the result, and [`Handler::on_subnegotiation`] the
//! details:
//!
//! | a server that wants | enables | and gets |
//! |---|---|---|
//! | to hide a password | [`Side::Us`], [`option::ECHO`] (RFC 857), or [`Client::set_echo`] | lines, as before; the client does not show them |
//! | to show each key itself | [`Client::set_echo`] with [`Echo::ByServer`]: `ECHO` and [`option::SGA`] (RFC 858) | lines, as before |
//! | the size of the window | [`Side::Him`], [`option::NAWS`] (RFC 1073) | four bytes, and again when the size changes |
//! | the type of the terminal | [`Side::Him`], [`option::TTYPE`] (RFC 1091) | `0` and a name, after it has sent `1` with [`Client::subnegotiate`] |
//!
//! # Bounds
//!
//! | memory or time | limit | when it is reached |
//! |---|---|---|
//! | a connection between two lines | no memory; in the middle of a line 48 bytes and the line | |
//! | a client with options that are on, being negotiated, or refused | 256 options: some 350 bytes, and 4 for each option | |
//! | requests for an option that is refused | [`REFUSAL_LIMIT`](negotiation::REFUSAL_LIMIT), 64, are answered | further ones are not answered; the connection goes on |
//! | a client after [`Client::set_echo`] | 12 bytes more | |
//! | an echo | less than ten bytes for each typed byte; it is queued like an answer | as with answers that the client does not read |
//! | an unfinished line | [`Options::max_line`], 64 KiB | [`Handler::on_long_line`]: the client gets a message, and the connection ends |
//! | a subnegotiation | 1 KiB is kept | the rest is skipped |
//! | answers that the client does not read | the socket's high-water mark | the server stops reading from the client until they are sent |
//! | text of *other* clients that the client does not read | [`OUTBOX_LIMIT`], 1 MiB, with [`server_options`] | it is disconnected |
//! | a client that does not answer our FIN | [`LINGER`], 5 s | it is disconnected |
//! | a client that takes nothing of what waits in front of our FIN | 30 s | it is disconnected |

mod client;
pub mod codec;
mod columns;
pub(crate) mod edit;
mod forward;
pub mod lines;
pub mod negotiation;
mod session;

use std::any::Any;
use std::net::IpAddr;

pub use client::{Client, Echo, LINGER, broadcast};
pub use codec::option;
pub use negotiation::{Policy, Side};

use crate::net::{Dropped, Error, Limits, Listen, Server, ServerId, ServerOptions, listen_with};
use crate::{Loop, Result};
use lines::{LineTooLong, Lines};

/// How many bytes may be queued for one client. A client that reads so slowly that there would be more is disconnected
/// with [`Error::TooSlow`].
///
/// Answers to the client's own lines do not reach this limit: at the high-water mark the server stops reading from the
/// client. So the limit is for broadcasts: about a thousand lines of a chat.
pub const OUTBOX_LIMIT: usize = 1024 * 1024;

/// Handles the events of telnet clients and of their server. Every method has a default body.
#[expect(unused_variables, reason = "the names are for implementors")]
pub trait Handler: Any {
    /// A client is connected, or a connected socket was upgraded to telnet. The first event of a client, except
    /// [`on_lookup`](Self::on_lookup) and a failure to connect.
    fn on_open(&mut self, lp: &mut Loop, client: Client) {}
    /// As [`net::Handler::on_lookup`](crate::net::Handler::on_lookup).
    fn on_lookup(&mut self, lp: &mut Loop, client: Client, result: std::result::Result<IpAddr, &Error>) {}
    /// As [`net::Handler::on_ready`](crate::net::Handler::on_ready).
    fn on_ready(&mut self, lp: &mut Loop, client: Client) {}
    /// A whole line has arrived, without its line break (with it, if [`Options::keeps_breaks`] is set). It may contain
    /// any bytes, except those of keys that [edit](Options::edits_lines) it: [`lines::printable`] makes text of it that
    /// is safe to show to others.
    ///
    /// After [`Client::pause`] no further line is delivered until [`Client::resume`]; after [`Client::end`] and
    /// [`Client::destroy`] none at all. After [`Socket::upgrade`](crate::net::Socket::upgrade) the new handler gets the
    /// rest. All this includes lines that have been read already.
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {}
    /// A telnet command of one byte ([`codec::command`]), such as IP for Ctrl-C. "Are you there" is answered before
    /// this call.
    fn on_command(&mut self, lp: &mut Loop, client: Client, command: u8) {}
    /// The negotiation of an option is complete: the option is on or off now, for `side`. This is the result of
    /// [`Client::enable`] and [`Client::disable`] (off, if the client refuses), and of a request of the client that
    /// [`Options::policy`] allows. A client that does not speak telnet never completes a negotiation.
    ///
    /// Do not enable an option again that was just refused: the client would refuse it again, without end.
    fn on_option(&mut self, lp: &mut Loop, client: Client, side: Side, option: u8, is_on: bool) {}
    /// The details of an option (RFC 855); each doubled byte 255 is one byte here. Delivered only if the option is on,
    /// for either side, and only if there are not more than [`SUBNEGOTIATION_LIMIT`](codec::SUBNEGOTIATION_LIMIT)
    /// bytes.
    ///
    /// ```
    /// /// Columns and rows, from the bytes of `option::NAWS` (RFC 1073).
    /// fn window_size(bytes: &[u8]) -> Option<(u16, u16)> {
    ///     let &[a, b, c, d] = bytes else { return None };
    ///     Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    /// }
    /// assert_eq!(window_size(&[0, 80, 0, 24]), Some((80, 24)));
    /// ```
    fn on_subnegotiation(&mut self, lp: &mut Loop, client: Client, option: u8, bytes: &[u8]) {}
    /// A line is longer than the limit. The default sends a message to the client and ends the connection. An
    /// implementation of your own should end it too: no further line is delivered.
    fn on_long_line(&mut self, lp: &mut Loop, client: Client, error: LineTooLong) {
        log::warn!(target: "bucle::telnet", "{client}: {error}, closing");
        client.write_line(lp, format!("{error}, good-bye"));
        client.end(lp);
    }
    /// All queued bytes are sent, after a write has returned `false`.
    fn on_drain(&mut self, lp: &mut Loop, client: Client) {}
    /// The client has ended, by a FIN or by Ctrl-D. This method may still write to it; then this side ends too. It is
    /// not called if this side has ended first.
    fn on_end(&mut self, lp: &mut Loop, client: Client) {}
    /// As [`net::Handler::on_finish`](crate::net::Handler::on_finish): after [`Client::end`], or after the client's own
    /// end.
    fn on_finish(&mut self, lp: &mut Loop, client: Client) {}
    /// As [`net::Handler::on_timeout`](crate::net::Handler::on_timeout).
    fn on_timeout(&mut self, lp: &mut Loop, client: Client) {}
    /// Something failed; `on_close` follows. The default logs the error. A connection that was lost is common and
    /// logged at level debug; a client that this side has disconnected is logged as a warning.
    fn on_error(&mut self, lp: &mut Loop, client: Client, error: Error) {
        let is_by_this_side = matches!(error, Error::Custom { .. } | Error::TooSlow { .. });
        if is_by_this_side {
            lp.report_unhandled("bucle::telnet", &client, &error, "telnet::Handler::on_error");
        } else {
            log::debug!(target: "bucle::telnet", "{client}: {error}");
        }
    }
    /// As [`net::Handler::on_going_away`](crate::net::Handler::on_going_away): the server has begun to drain.
    fn on_going_away(&mut self, lp: &mut Loop, client: Client) {}
    /// As [`net::Handler::is_busy`](crate::net::Handler::is_busy): whether an answer is still being prepared.
    fn is_busy(&self, lp: &Loop, client: Client) -> bool {
        false
    }
    /// The connection is closed, for whatever reason. The last event of a client.
    fn on_close(&mut self, lp: &mut Loop, client: Client, had_error: bool) {}

    /// As [`net::Handler::on_listening`](crate::net::Handler::on_listening).
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {}
    /// As [`net::Handler::on_drop`](crate::net::Handler::on_drop).
    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {}
    /// As [`net::Handler::on_server_error`](crate::net::Handler::on_server_error).
    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        lp.report_unhandled("bucle::telnet", &server, &error, "telnet::Handler::on_server_error");
    }
    /// As [`net::Handler::on_server_close`](crate::net::Handler::on_server_close).
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {}
}

/// How lines are split, and which options are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many bytes a line may have, without its line break. Default: [`Lines::LIMIT`], 64 KiB.
    pub max_line: usize,
    /// Lines are delivered with their line break as it was sent, and only `\n` ends a line: for servers that forward
    /// lines unchanged. Ctrl-D and all other keys are data then. Default: `false`.
    pub keeps_breaks: bool,
    /// Backspace, Ctrl-W and Ctrl-U, and the commands EC and EL, edit the line that the client is typing: needed by
    /// clients that send each key. The bytes `08`, `7f`, `15` and `17` are then never part of a line. Has no effect
    /// with [`keeps_breaks`](Self::keeps_breaks). Default: `true`.
    pub edits_lines: bool,
    /// Which telnet options a client may switch on. Default: [`Policy::REFUSE_ALL`]. [`Client::enable`] does not need a
    /// policy.
    pub policy: Policy,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_line: Lines::LIMIT, keeps_breaks: false, edits_lines: true, policy: Policy::REFUSE_ALL }
    }
}

/// Makes a telnet server that listens. It is bound when this returns, as with [`net::listen`](crate::net::listen).
///
/// For other options than [`server_options`], pass a [`Telnet::new`] to [`Server::new`].
///
/// # Errors
/// As [`net::listen`](crate::net::listen).
pub fn listen<H: Handler>(
    lp: &mut Loop,
    on: impl Into<Listen>,
    options: Options,
    handler: H,
) -> Result<Server<Telnet<H>>> {
    listen_with(lp, on, server_options(), Telnet::new(options, handler))
}

/// The options of a telnet server. `no_delay` is set: the loop gathers small writes already, so the kernel should not
/// delay them again. At most [`OUTBOX_LIMIT`] bytes may be queued for one client. `urgent_in_line` is set: a [`Telnet`]
/// needs it for the Synch, and would otherwise set it for each connection.
pub fn server_options() -> ServerOptions {
    let limits = Limits { outbox_bytes: Some(OUTBOX_LIMIT), ..Limits::NONE };
    ServerOptions { no_delay: true, urgent_in_line: true, limits, ..ServerOptions::default() }
}

/// A [`net::Handler`](crate::net::Handler) that speaks telnet to its sockets, and calls `H` with lines.
///
/// For a server ([`Server::new`]), for a client ([`Socket::connect`](crate::net::Socket::connect)), or for a socket
/// that is upgraded to telnet ([`Socket::upgrade`](crate::net::Socket::upgrade)). An upgrade from one `Telnet` to
/// another keeps the options that are on, and the unfinished line.
#[derive(Debug)]
pub struct Telnet<H> {
    handler: H,
    options: Options,
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
}
