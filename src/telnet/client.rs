//! The handle of a telnet client: what can be said to it, and what is remembered of it.
//!
//! Most clients have nothing that would have to be remembered beyond the line they are in the middle of. The others have
//! a [`ClientState`], an entry of the loop's table for that type, so that the handle reaches it from every callback:
//!
//! ```text
//!   an option is on, or talked about ─┐
//!   does not read its answers ────────┼─▶ ClientState, until none of these is true
//!   was sent our FIN ─────────────────┘
//! ```

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use super::negotiation::{Negotiation, Outcome, Policy, Side};
use super::{LINGER, codec};
use crate::net::Socket;
use crate::{Loop, TimerId};

/// Names a telnet client, for ever: a [`Socket`] that is written to as telnet wants it.
///
/// 8 bytes, `Copy`; it works from every callback, every timer and every other server of the loop. When the client is
/// gone, or on its way out, what is said to it is not sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(pub(super) Socket);

/// What is remembered of a client beyond its unfinished line. Kept only while it differs from the default.
#[derive(Default, Debug)]
pub(super) struct ClientState {
    negotiation: Negotiation,
    /// The client does not read its answers: it is not read from until it has.
    throttle: Option<Throttle>,
    /// Destroys the connection some time after our FIN. It is cleared if the client closes first, as nearly all do:
    /// otherwise a server that thousands of clients leave in a second would keep thousands of timers for [`LINGER`].
    linger_timer: Option<TimerId>,
}

const _: () = assert!(size_of::<ClientState>() <= 40, "a client with an option on costs this much more");

/// The socket is paused by this layer. The program may want that too; it is resumed when neither does.
#[derive(Default, Debug)]
struct Throttle {
    is_paused_by_program: bool,
}

impl ClientState {
    fn is_default(&self) -> bool {
        self.negotiation.is_idle() && self.throttle.is_none() && self.linger_timer.is_none()
    }
}

/// The client on a socket whose handler is a [`Telnet`](super::Telnet).
impl From<Socket> for Client {
    fn from(socket: Socket) -> Client {
        Client(socket)
    }
}

impl Client {
    /// The connection beneath. Bytes that are written there directly are not escaped, and an end there has no [`LINGER`].
    ///
    /// Pause and resume the client, not the socket, which is also paused for not reading. [`Socket::set_encoding`] has no
    /// use here: lines still come, but made of what the decoder makes of telnet's commands, U+FFFD.
    pub fn socket(self) -> Socket {
        self.0
    }

    /// Sends `text`, which has its line breaks in it: `\r\n` (RFC 854). A byte 255, which UTF-8 does not have, is sent
    /// twice.
    ///
    /// The answer is advice, as with [`Socket::write`]: `false` when a high-water mark of bytes waits, or the client is
    /// on its way out. What may wait for a client is limited by the server's or the socket's
    /// [`Limits`](crate::net::Limits).
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
        self.with_state(lp, |state| {
            state.throttle = None;
            state.linger_timer = Some(timer);
        });
    }

    /// Disconnects it now. What has not reached the kernel is lost.
    pub fn destroy(self, lp: &mut Loop) {
        self.0.destroy(lp);
    }

    /// No line comes after this until [`resume`](Self::resume); not even the next of those that came in the same read.
    pub fn pause(self, lp: &mut Loop) {
        self.0.pause(lp);
        if let Some(throttle) = self.throttle(lp) {
            throttle.is_paused_by_program = true;
        }
    }

    /// Lets lines come again, beginning in the next tick; from who does not read its answers, when it has read them.
    pub fn resume(self, lp: &mut Loop) {
        match self.throttle(lp) {
            Some(throttle) => throttle.is_paused_by_program = false,
            None => self.0.resume(lp),
        }
    }

    /// Asks for an option: with WILL to do it ([`Side::Us`]), with DO that the client does it ([`Side::Him`]).
    ///
    /// The answer comes to [`Handler::on_option`](super::Handler::on_option), and may never come: `nc` speaks no telnet. No
    /// policy has to allow what this side asks for. Nothing is sent that the client knows already, or if the answer to an
    /// earlier question is still to come; then the wish is noted. A timing mark is no option and is not asked for.
    ///
    /// ```
    /// use bucle::telnet::{self, Client, Side, option};
    /// use bucle::{Loop, net};
    ///
    /// /// A password is not to be seen: this side says that it will echo what is typed, and then does not.
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
    ///     // A client that agrees (DO ECHO), knows the word, and leaves.
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

    /// Takes an option back: with WONT or DONT, which nobody can refuse. It counts as off at once;
    /// [`Handler::on_option`](super::Handler::on_option) hears when the client knows.
    pub fn disable(self, lp: &mut Loop, side: Side, option: u8) {
        self.negotiate(lp, |negotiation| negotiation.disable(side, option));
    }

    /// Whether `option` is on for that side: both have agreed, and nobody has taken it back.
    pub fn is_enabled(self, lp: &Loop, side: Side, option: u8) -> bool {
        self.0.entry::<ClientState>(lp).is_some_and(|state| state.negotiation.is_enabled(side, option))
    }

    /// Says something about an option (RFC 855), such as "send your terminal type". Only what is on, for either side, may be
    /// talked about: otherwise nothing is sent, and the answer is `false`. Else it is that of [`write`](Self::write).
    pub fn subnegotiate(self, lp: &mut Loop, option: u8, parameters: impl AsRef<[u8]>) -> bool {
        if !self.has_agreed_to(lp, option) {
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

    /// Whether nothing can be said to it any more: gone, or this side has ended.
    pub fn is_leaving(self, lp: &Loop) -> bool {
        self.0.write_refusal(lp).is_some()
    }

    /// Sends what is escaped already.
    fn send(self, lp: &mut Loop, wire: &[u8]) -> bool {
        if !self.0.is_at_work(lp) && self.is_leaving(lp) {
            return false;
        }
        self.0.write(lp, wire)
    }

    fn negotiate(self, lp: &mut Loop, wish: impl FnOnce(&mut Negotiation) -> Option<[u8; 3]>) {
        if self.is_leaving(lp) {
            return;
        }
        if let Some(request) = self.with_state(lp, |state| wish(&mut state.negotiation)) {
            self.send(lp, &request);
        }
    }

    /// Takes in what the client says about an option, and answers it.
    #[cold]
    pub(super) fn hear(self, lp: &mut Loop, verb: codec::Verb, option: u8, policy: &Policy) -> Option<(Side, bool)> {
        let Outcome { answer, settled } = self.with_state(lp, |state| state.negotiation.receive(verb, option, policy));
        let silence = if answer.is_some() { "" } else { ": needs no answer" };
        log::trace!(target: "bucle::telnet", "{self} says {verb:?} {option}{silence}");
        if let Some(answer) = answer {
            self.send(lp, &answer);
        }
        settled
    }

    /// Whether an option is on for either side.
    pub(super) fn has_agreed_to(self, lp: &Loop, option: u8) -> bool {
        self.is_enabled(lp, Side::Us, option) || self.is_enabled(lp, Side::Him, option)
    }

    /// Stops reading from the client until it has read its answers.
    #[cold]
    pub(super) fn throttle_reading(self, lp: &mut Loop) {
        log::trace!(target: "bucle::telnet", "{self} does not read its answers: reading from it stops until it has");
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
