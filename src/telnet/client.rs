//! The handle of a telnet client: its operations, and its state.
//!
//! Most clients have no state beyond the line that they are in the middle of. The others have a [`ClientState`], an
//! entry of the loop's table for that type, so that the handle reaches it from every callback:
//!
//! ```text
//!   an option is on, being negotiated, or was refused ─┐
//!   the client does not read its answers ──────────────┼─▶ ClientState, until none of these is true
//!   the program has called `set_echo` ─────────────────┤
//!   our FIN was sent ──────────────────────────────────┘
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::codec;
use super::codec::option::{ECHO, SGA};
use super::edit::{Change, Screen};
use super::negotiation::{Negotiation, Outcome, Policy, Side};
use crate::net::Socket;
use crate::{Loop, TimerId};

/// How long after our FIN a client may take to read the rest and answer with its own FIN.
pub const LINGER: Duration = Duration::from_secs(5);

/// The handle of a telnet client: a [`Socket`] whose writes follow telnet's rules.
///
/// 8 bytes, `Copy`; it works in every callback, every timer and every other server of the loop. After the connection
/// has ended or closed, writes do nothing. A handle never names another client later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(pub(super) Socket);

/// Which side shows what a client types. For [`Client::set_echo`].
///
/// | | the client sends | its screen shows what is typed |
/// |---|---|---|
/// | [`ByClient`](Self::ByClient) | lines | the client, or its terminal |
/// | [`ByServer`](Self::ByServer) | each key | the server |
/// | [`Hidden`](Self::Hidden) | the same as before; BusyBox sends each key | nothing |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Echo {
    /// The client shows it: so every connection starts.
    ByClient,
    /// The server shows it: this is "character mode".
    ByServer,
    /// Neither side shows it: for a password.
    Hidden,
}

/// The state of a client, except its unfinished line. Kept only while it differs from the default.
#[derive(Default, Debug)]
pub(super) struct ClientState {
    negotiation: Negotiation,
    /// The client does not read its answers, so the server has stopped reading from it.
    throttle: Option<Throttle>,
    /// Destroys the connection some time after our FIN. It is cleared if the client closes first, as nearly all do:
    /// otherwise a server that thousands of clients leave in a second would keep thousands of timers for [`LINGER`].
    linger_timer: Option<TimerId>,
    /// After a [`Client::set_echo`], until it is [`Echo::ByClient`] again.
    screen: Option<Screen>,
    /// [`Echo::ByServer`]: what is typed is shown once the client has agreed.
    shows_keys: bool,
}

const _: () = assert!(size_of::<ClientState>() <= 56, "a client with an option that is on costs this much more");

/// The socket is paused by this layer. The program may have paused the client as well: then the socket stays paused
/// when this layer would resume it.
#[derive(Default, Debug)]
struct Throttle {
    is_paused_by_program: bool,
}

impl ClientState {
    fn is_default(&self) -> bool {
        self.negotiation.is_idle() && self.throttle.is_none() && self.linger_timer.is_none() && self.screen.is_none()
    }

    /// Whether this side shows what is typed now: the program wants it, and the client has agreed to show nothing and
    /// to send each key.
    fn is_echoing(&self) -> bool {
        let is_on = |option| self.negotiation.is_enabled(Side::Us, option);
        self.shows_keys && is_on(ECHO) && is_on(SGA)
    }
}

/// The client on a socket whose handler is a [`Telnet`](super::Telnet).
impl From<Socket> for Client {
    fn from(socket: Socket) -> Client {
        Client(socket)
    }
}

impl Client {
    /// The client's connection. Bytes that are written to the socket directly are not escaped, and [`Socket::end`] does
    /// not start the time limit [`LINGER`].
    ///
    /// Pause and resume the client, not the socket: this layer pauses the socket too, while the client does not read
    /// its answers. A handler of another protocol that gets the socket by [`Socket::upgrade`] resumes it in
    /// `on_upgrade`. [`Socket::set_encoding`] has no use here: lines are still delivered, but telnet's commands become
    /// U+FFFD.
    pub fn socket(self) -> Socket {
        self.0
    }

    /// Sends `text`, which contains its own line breaks: `\r\n` (RFC 854). A byte 255, which does not occur in UTF-8,
    /// is sent twice.
    ///
    /// Returns `false` when as many bytes are queued as the high-water mark, or the connection has ended. As with
    /// [`Socket::write`] this is advice: the text is queued in the first case. The server's or the socket's
    /// [`Limits`](crate::net::Limits) limit the queued bytes.
    pub fn write(self, lp: &mut Loop, text: impl AsRef<[u8]>) -> bool {
        self.send(lp, &escaped(text.as_ref()))
    }

    /// Sends `text` and a line break. Both are sent together, with everything else that is written in this phase.
    pub fn write_line(self, lp: &mut Loop, text: impl AsRef<[u8]>) -> bool {
        self.write(lp, text);
        self.write(lp, "\r\n")
    }

    /// Ends the connection: queued bytes are sent, then the FIN. No further line is delivered, and a client that has
    /// not answered with a FIN after [`LINGER`] is disconnected. (A destroy right after our FIN could lose the last
    /// bytes: if the client is sending, the kernel answers with a reset, and the client's kernel then drops what the
    /// client has not read.)
    pub fn end(self, lp: &mut Loop) {
        if self.is_leaving(lp) {
            return;
        }
        let socket = self.0;
        // Bytes that still arrive are read and dropped. If they were not read, the client's FIN behind them would not
        // be seen.
        socket.resume(lp);
        socket.end(lp);
        let timer = lp.start_leave_timer(socket, LINGER);
        self.with_state(lp, |state| {
            state.throttle = None;
            state.linger_timer = Some(timer);
        });
    }

    /// Disconnects the client now. Bytes that have not reached the kernel are lost.
    pub fn destroy(self, lp: &mut Loop) {
        self.0.destroy(lp);
    }

    /// No line is delivered after this until [`resume`](Self::resume), not even the next line of the same read.
    pub fn pause(self, lp: &mut Loop) {
        self.0.pause(lp);
        if let Some(throttle) = self.throttle(lp) {
            throttle.is_paused_by_program = true;
        }
    }

    /// Lines are delivered again, beginning in the next tick. If the client has not read its answers, they are
    /// delivered when it has.
    pub fn resume(self, lp: &mut Loop) {
        match self.throttle(lp) {
            Some(throttle) => throttle.is_paused_by_program = false,
            None => self.0.resume(lp),
        }
    }

    /// Asks for an option: with WILL, that this side does it ([`Side::Us`]), or with DO, that the client does it
    /// ([`Side::Him`]). It need not be allowed by the policy.
    ///
    /// [`Handler::on_option`](super::Handler::on_option) gets the result. There may be none: `nc` does not speak
    /// telnet. If the option is on already, nothing is sent. If the answer to an earlier request is still to come, the
    /// request is sent after that answer, if it is still necessary. A timing mark is not an option and cannot be
    /// enabled.
    ///
    /// ```
    /// use bucle::telnet::{self, Client, Side, option};
    /// use bucle::{Loop, net};
    ///
    /// /// Hides a password: this side promises to echo what is typed, and then does not.
    /// struct Door;
    ///
    /// impl telnet::Handler for Door {
    ///     fn on_open(&mut self, lp: &mut Loop, client: Client) {
    ///         client.enable(lp, Side::Us, option::ECHO);
    ///         client.write(lp, "Password: ");
    ///     }
    ///     fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
    ///         client.disable(lp, Side::Us, option::ECHO);
    ///         // The Enter was not echoed either.
    ///         client.write_line(lp, if line == b"sesame" { "\r\nCome in" } else { "\r\nNo" });
    ///     }
    /// }
    ///
    /// # let shown = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    /// # let screen = shown.clone();
    /// bucle::run(|lp| {
    ///     let server = telnet::listen(lp, ("127.0.0.1", 0), telnet::Options::default(), Door)?;
    ///     // A client that agrees (DO ECHO), sends the password, and ends.
    ///     let client = net::on()
    ///         .connect(|lp, socket| socket.end_with(lp, b"\xff\xfd\x01sesame\r\n"))
    ///         .data(move |_, _, chunk| screen.borrow_mut().extend_from_slice(chunk));
    ///     let port = server.port(lp).expect("it is bound");
    ///     net::Socket::connect(lp, ("127.0.0.1", port), client)?;
    ///     server.unref(lp);
    ///     Ok(())
    /// })?;
    /// // WILL ECHO, the question, WONT ECHO, the answer.
    /// assert_eq!(*shown.borrow(), b"\xff\xfb\x01Password: \xff\xfc\x01\r\nCome in\r\n");
    /// # Ok::<(), bucle::Error>(())
    /// ```
    pub fn enable(self, lp: &mut Loop, side: Side, option: u8) {
        self.negotiate(lp, |negotiation| negotiation.enable(side, option));
    }

    /// Switches an option off: with WONT or DONT, which a client cannot refuse. It counts as off immediately;
    /// [`Handler::on_option`](super::Handler::on_option) is called when the client has confirmed it.
    pub fn disable(self, lp: &mut Loop, side: Side, option: u8) {
        self.negotiate(lp, |negotiation| negotiation.disable(side, option));
    }

    /// Changes which side shows what the client types, by the options [`ECHO`](codec::option::ECHO) (RFC 857) and
    /// [`SGA`](codec::option::SGA) (RFC 858). A client that does not speak telnet, or refuses, goes on showing it
    /// itself.
    ///
    /// * [`Echo::ByServer`] asks for both options. When the client has agreed, each typed character is sent back, and
    ///   taken from the screen again when it is erased (backspace, space and backspace for each of its columns).
    ///   Control characters are shown as [`lines::printable`](super::lines::printable) does, a tab as one space. A
    ///   client that agrees to `ECHO` only goes back to [`Echo::ByClient`].
    /// * [`Echo::Hidden`] asks for `ECHO`, and sends nothing back. The Enter is not shown either, so the program begins
    ///   with a line break. This is the same as [`enable`](Self::enable) with `ECHO`, but also works in character mode.
    /// * [`Echo::ByClient`] takes both options back.
    ///
    /// [`Handler::on_option`](super::Handler::on_option) reports the client's answers. An option that the program
    /// switches with [`enable`](Self::enable) does not make this side echo. Lines are edited in all modes, unless
    /// [`Options::edits_lines`](super::Options::edits_lines) is `false`: then nothing is sent back.
    ///
    /// ```
    /// use bucle::telnet::{self, Client, Echo};
    /// use bucle::{Loop, net};
    ///
    /// /// Asks for a name, which it shows as it is typed, and for a password, which it does not.
    /// #[derive(Default)]
    /// struct Login { name: Option<String> }
    ///
    /// impl telnet::Handler for Login {
    ///     fn on_open(&mut self, lp: &mut Loop, client: Client) {
    ///         client.set_echo(lp, Echo::ByServer);
    ///         client.write(lp, "Name: ");
    ///     }
    ///     fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
    ///         match &self.name {
    ///             None => {
    ///                 self.name = Some(String::from_utf8_lossy(line).into());
    ///                 client.set_echo(lp, Echo::Hidden);
    ///                 client.write(lp, "Password: ");
    ///             }
    ///             Some(name) => {
    ///                 client.set_echo(lp, Echo::ByServer);
    ///                 client.write_line(lp, format!("\r\n{name}, {} letters", line.len()));
    ///             }
    ///         }
    ///     }
    /// }
    ///
    /// # let shown = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    /// # let screen = shown.clone();
    /// bucle::run(|lp| {
    ///     let server = telnet::listen(lp, ("127.0.0.1", 0), telnet::Options::default(), Login::default())?;
    ///     // A client that agrees (DO ECHO, DO SGA), and whose user corrects a mistake in both answers.
    ///     let client = net::on()
    ///         .connect(|lp, socket| socket.end_with(lp, b"\xff\xfd\x01\xff\xfd\x03ane\x7fa\r\0sese\x7f\x7fcret\r\0"))
    ///         .data(move |_, _, chunk| screen.borrow_mut().extend_from_slice(chunk));
    ///     let port = server.port(lp).expect("it is bound");
    ///     net::Socket::connect(lp, ("127.0.0.1", port), client)?;
    ///     server.unref(lp);
    ///     Ok(())
    /// })?;
    /// let shown = String::from_utf8_lossy(&shown.borrow()).replace("\x08 \x08", "<");
    /// assert!(shown.ends_with("Name: ane<a\r\nPassword: \r\nana, 6 letters\r\n"), "{shown}");
    /// # Ok::<(), bucle::Error>(())
    /// ```
    pub fn set_echo(self, lp: &mut Loop, echo: Echo) {
        if self.is_leaving(lp) {
            return;
        }
        let requests = self.with_state(lp, |state| {
            if echo == Echo::ByClient && state.screen.is_none() {
                return [None, None];
            }
            state.shows_keys = echo == Echo::ByServer;
            match echo {
                Echo::ByClient => {
                    state.screen = None;
                    [state.negotiation.disable(Side::Us, ECHO), state.negotiation.disable(Side::Us, SGA)]
                }
                Echo::ByServer => {
                    state.screen.get_or_insert_with(Screen::new);
                    [state.negotiation.enable(Side::Us, ECHO), state.negotiation.enable(Side::Us, SGA)]
                }
                Echo::Hidden => {
                    state.screen.get_or_insert_with(Screen::new);
                    [state.negotiation.enable(Side::Us, ECHO), None]
                }
            }
        });
        for request in requests.iter().flatten() {
            self.send(lp, request);
        }
    }

    /// Whether `option` is on for that side: both sides have agreed, and neither has switched it off since.
    pub fn is_enabled(self, lp: &Loop, side: Side, option: u8) -> bool {
        self.0.entry::<ClientState>(lp).is_some_and(|state| state.negotiation.is_enabled(side, option))
    }

    /// Sends the details of an option (RFC 855), such as "send your terminal type". The option must be on, for either
    /// side: otherwise nothing is sent, and this returns `false`. If it is on, this returns the same as
    /// [`write`](Self::write).
    pub fn subnegotiate(self, lp: &mut Loop, option: u8, parameters: impl AsRef<[u8]>) -> bool {
        if !self.has_option_on(lp, option) {
            return false;
        }
        let mut wire = Vec::new();
        codec::subnegotiation(option, parameters.as_ref(), &mut wire);
        self.send(lp, &wire)
    }

    /// The peer's address; `None` on a unix path.
    pub fn remote_address(self, lp: &Loop) -> Option<SocketAddr> {
        self.0.remote_address(lp)
    }

    /// Whether nothing can be written to the client: it is gone, or this side has ended.
    pub fn is_leaving(self, lp: &Loop) -> bool {
        self.0.write_refusal(lp).is_some()
    }

    /// Sends bytes that are escaped already.
    fn send(self, lp: &mut Loop, wire: &[u8]) -> bool {
        if !self.0.is_ready_for_more(lp) && self.is_leaving(lp) {
            return false;
        }
        self.0.write(lp, wire)
    }

    fn negotiate(self, lp: &mut Loop, change: impl FnOnce(&mut Negotiation) -> Option<[u8; 3]>) {
        if self.is_leaving(lp) {
            return;
        }
        if let Some(request) = self.with_state(lp, |state| change(&mut state.negotiation)) {
            self.send(lp, &request);
        }
    }

    /// The client has sent a verb about an option: answers it if necessary, and returns what is settled by it.
    #[cold]
    pub(super) fn receive_negotiation(
        self,
        lp: &mut Loop,
        verb: codec::Verb,
        option: u8,
        policy: &Policy,
    ) -> Option<(Side, bool)> {
        let (Outcome { answer, settled }, take_back) = self.with_state(lp, |state| {
            let outcome = state.negotiation.receive(verb, option, policy);
            // The client sends lines, and edits them: it should show them, too.
            let sends_lines = state.shows_keys && option == SGA && outcome.settled == Some((Side::Us, false));
            let take_back = if sends_lines { state.negotiation.disable(Side::Us, ECHO) } else { None };
            (outcome, take_back)
        });
        let no_answer = if answer.is_some() { "" } else { ", gets no answer" };
        log::trace!(target: "bucle::telnet", "{self} sent {verb:?} {option}{no_answer}");
        for bytes in [answer, take_back].iter().flatten() {
            self.send(lp, bytes);
        }
        settled
    }

    /// Whether the client's screen may have to be updated when its line changes.
    pub(super) fn has_screen(self, lp: &Loop) -> bool {
        self.0.entry::<ClientState>(lp).is_some_and(|state| state.screen.is_some())
    }

    /// The client's line has changed: shows it, if this side shows what is typed.
    pub(super) fn echo(self, lp: &mut Loop, change: &Change<'_>) {
        let Some(state) = self.0.entry_mut::<ClientState>(lp) else { return };
        let is_echoing = state.is_echoing();
        let Some(screen) = &mut state.screen else { return };
        if !is_echoing {
            return screen.skip(change);
        }
        let mut shown = Vec::new();
        screen.update(change, &mut shown);
        if !shown.is_empty() {
            self.send(lp, &shown);
        }
    }

    /// Whether an option is on for either side.
    pub(super) fn has_option_on(self, lp: &Loop, option: u8) -> bool {
        self.is_enabled(lp, Side::Us, option) || self.is_enabled(lp, Side::Him, option)
    }

    /// Stops reading from the client until it has read its answers.
    #[cold]
    pub(super) fn throttle_reading(self, lp: &mut Loop) {
        log::trace!(target: "bucle::telnet", "{self} does not read its answers: no reading from it until they are sent");
        self.0.pause(lp);
        self.with_state(lp, |state| {
            state.throttle.get_or_insert_default();
        });
    }

    /// The client has read its answers: reading goes on, unless the program has paused the client meanwhile.
    pub(super) fn end_throttle(self, lp: &mut Loop) {
        if self.throttle(lp).is_none() {
            return;
        }
        let throttle = self.with_state(lp, |state| state.throttle.take());
        if throttle.is_some_and(|throttle| !throttle.is_paused_by_program) {
            self.0.resume(lp);
        }
    }

    /// The connection is closed: drops the client's state and its timer.
    pub(super) fn forget(self, lp: &mut Loop) {
        if let Some(timer) = self.0.take_entry::<ClientState>(lp).and_then(|state| state.linger_timer) {
            lp.clear(timer);
        }
    }

    fn throttle(self, lp: &mut Loop) -> Option<&mut Throttle> {
        self.0.entry_mut::<ClientState>(lp)?.throttle.as_mut()
    }

    /// Lends the client's state to `f`, and keeps it afterwards unless it is the default again.
    fn with_state<R>(self, lp: &mut Loop, f: impl FnOnce(&mut ClientState) -> R) -> R {
        let Some(state) = self.0.entry_mut::<ClientState>(lp) else {
            let mut state = ClientState::default();
            let result = f(&mut state);
            if !state.is_default() {
                self.0.set_entry(lp, state);
            }
            return result;
        };
        let result = f(state);
        if state.is_default() {
            self.0.take_entry::<ClientState>(lp);
        }
        result
    }
}

/// Sends the same text to many clients, as [`Client::write`] to one. Nothing is allocated per client.
pub fn broadcast<'a>(lp: &mut Loop, clients: impl IntoIterator<Item = &'a Client>, text: impl AsRef<[u8]>) {
    let wire = escaped(text.as_ref());
    for client in clients {
        client.send(lp, &wire);
    }
}

/// The bytes that are sent for `text`: the same bytes, unless there is a byte 255.
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
