//! Bytes ⇄ telnet events (RFC 854, RFC 855).
//!
//! Telnet is text with commands in between. A command starts with the byte 255, "interpret as command":
//!
//! ```text
//!   h o l a \r \n │ ff f6    │ ff fd 01    │ ff fa 1f  00 50 00 18  ff f0    │ ff ff
//!   data          │ IAC AYT  │ IAC DO ECHO │ IAC SB NAWS  80 × 24   IAC SE   │ one data byte 255
//! ```
//!
//! A read may end anywhere, so the [`Decoder`] remembers its state between two reads:
//!
//! ```text
//!   state                  byte           event                    next state
//!   Data                   IAC                                     Command
//!                          others         Data, up to the next IAC Data
//!   Command                IAC            Data, from this byte on  Data
//!                          WILL … DONT                             Negotiate
//!                          SB                                      Subnegotiation
//!                          others         Command                  Data
//!   Negotiate              any            Negotiate                Data
//!   Subnegotiation         IAC                                     SubnegotiationCommand
//!                          others                                  Subnegotiation
//!   SubnegotiationCommand  IAC            (one byte 255 in it)     Subnegotiation
//!                          SE             Subnegotiation           Data
//!                          DM             Command                  Subnegotiation
//!                          others         Subnegotiation           Command, which reads the byte again
//! ```
//!
//! The last row is a mistake of the peer: only IAC or SE may follow there. This decoder treats it as BSD's telnetd
//! does: the subnegotiation ends, and the byte is read as a command. So a lost SE does not swallow all that follows. If
//! a peer starts a subnegotiation and never ends it, everything that it sends is skipped, and the memory is bounded.
//!
//! The row of the Data Mark is an exception: a client may send a Synch while it is in the middle of a subnegotiation,
//! and then goes on with it. Otherwise the rest of the subnegotiation would become text.
//!
//! No input is an error. The rules for *answers* are in [`negotiation`](super::negotiation).

use memchr::memchr;

/// "Interpret as command": the next byte is a command, not data. A data byte 255 is sent twice (RFC 854).
pub const IAC: u8 = 255;

/// How many parameter bytes of a subnegotiation are kept. The rest is skipped, and the event has `truncated` set.
///
/// Twice the limit of BSD's telnetd and curl (`SUBBUFSIZE`, 512). A window size has 4 bytes (RFC 1073), a terminal type
/// at most 41 (RFC 1091).
pub const SUBNEGOTIATION_LIMIT: usize = 1024;

/// The bytes that may follow an [`IAC`].
pub mod command {
    /// End of file (RFC 1184).
    pub const EOF: u8 = 236;
    /// Suspend the process (RFC 1184).
    pub const SUSP: u8 = 237;
    /// Abort the process (RFC 1184).
    pub const ABORT: u8 = 238;
    /// End of record (RFC 885).
    pub const EOR: u8 = 239;
    /// End of subnegotiation. This one and all below: RFC 854, "TELNET Command Structure".
    pub const SE: u8 = 240;
    /// No operation; some clients send it to keep a connection alive.
    pub const NOP: u8 = 241;
    /// Data mark: the end of the data that a Synch discards, if it is urgent. Otherwise it has no effect.
    pub const DM: u8 = 242;
    /// Break: the key of that name.
    pub const BRK: u8 = 243;
    /// Interrupt process: Ctrl-C.
    pub const IP: u8 = 244;
    /// Abort output.
    pub const AO: u8 = 245;
    /// Are you there? The answer is any visible text.
    pub const AYT: u8 = 246;
    /// Erase character: the last one of the unfinished line.
    pub const EC: u8 = 247;
    /// Erase line: the unfinished one.
    pub const EL: u8 = 248;
    /// Go ahead: your turn to type.
    pub const GA: u8 = 249;
    /// Start of subnegotiation.
    pub const SB: u8 = 250;
    /// See [`Verb::Will`](super::Verb::Will).
    pub const WILL: u8 = 251;
    /// See [`Verb::Wont`](super::Verb::Wont).
    pub const WONT: u8 = 252;
    /// See [`Verb::Do`](super::Verb::Do).
    pub const DO: u8 = 253;
    /// See [`Verb::Dont`](super::Verb::Dont).
    pub const DONT: u8 = 254;
}

/// The options that clients ask for without being asked, or that a line server may want.
pub mod option {
    /// The side that does this shows what the other side types (RFC 857). A server that does it can hide a password.
    pub const ECHO: u8 = 1;
    /// Suppress go ahead (RFC 858): both sides may send at any time. If the server does this and [`ECHO`], clients send
    /// each key as it is typed.
    pub const SGA: u8 = 3;
    /// Timing mark (RFC 860): not a state but a question, "have you processed everything up to here?".
    pub const TIMING_MARK: u8 = 6;
    /// Terminal type (RFC 1091).
    pub const TTYPE: u8 = 24;
    /// Negotiate about window size (RFC 1073): four bytes, width and height.
    pub const NAWS: u8 = 31;
    /// Terminal speed (RFC 1079).
    pub const TSPEED: u8 = 32;
    /// Line mode (RFC 1184): the client edits lines by the server's rules.
    pub const LINEMODE: u8 = 34;
    /// Environment variables (RFC 1572).
    pub const NEW_ENVIRON: u8 = 39;
}

/// The four verbs of a negotiation (RFC 854). WILL and WONT are about what the sender does, DO and DONT about what the
/// receiver does. Each verb is a request or an answer to one; which of the two depends on what was sent before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Verb {
    /// "I want to do this", or "yes, I do it from now on".
    Will = command::WILL,
    /// "I stop doing this", or "no, I won't".
    Wont = command::WONT,
    /// "Please do this", or "yes, do it".
    Do = command::DO,
    /// "Stop doing this", or "no, don't".
    Dont = command::DONT,
}

impl Verb {
    fn from_byte(byte: u8) -> Option<Verb> {
        match byte {
            command::WILL => Some(Verb::Will),
            command::WONT => Some(Verb::Wont),
            command::DO => Some(Verb::Do),
            command::DONT => Some(Verb::Dont),
            _ => None,
        }
    }
}

/// One event in the received bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// Data, at least one byte, lent from the chunk. Where data is cut into events has no meaning.
    Data(&'a [u8]),
    /// A command of one byte, see [`command`]. Unknown commands are events too: RFC 854 leaves them without effect.
    Command(u8),
    /// A request about an option or the answer to one; see [`negotiation`](super::negotiation).
    Negotiate {
        /// WILL, WONT, DO or DONT.
        verb: Verb,
        /// The option, see [`option`].
        option: u8,
    },
    /// The details of an option (RFC 855), such as the window's size.
    Subnegotiation {
        /// The option, see [`option`].
        option: u8,
        /// The details; each doubled byte 255 is one byte here.
        parameters: &'a [u8],
        /// There were more than [`SUBNEGOTIATION_LIMIT`] bytes; the rest was skipped.
        truncated: bool,
    },
}

/// Splits telnet into events. It does not matter where the reads cut the bytes.
///
/// 16 bytes, and no heap unless a subnegotiation has begun: then at most 2 KiB.
#[derive(Default, Debug)]
pub struct Decoder {
    state: State,
    /// The subnegotiation so far. Boxed, because few connections ever have one.
    ///
    /// Invariant: `None`, except in the two states of a subnegotiation and while the last event lends it.
    collected: Option<Box<Collected>>,
}

const _: () = assert!(size_of::<Decoder>() <= 16);

/// The states of the table in the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum State {
    #[default]
    Data,
    Command,
    Negotiate(Verb),
    Subnegotiation,
    SubnegotiationCommand,
}

/// The bytes of a subnegotiation so far. The first byte is the option.
#[derive(Default, Debug)]
struct Collected {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Decoder {
    /// Takes one event from the front of `chunk`; `None` when `chunk` is used up.
    ///
    /// The caller may stop after any event (pause, close) and pass the rest of `chunk` later. To keep the end of an
    /// [`Event::Data`] as well, [escape] it and put it in front of that rest: a data event leaves the decoder in the
    /// state in which data begins.
    ///
    /// ```
    /// use bucle::telnet::codec::{Decoder, Event, command};
    ///
    /// let (mut decoder, mut chunk) = (Decoder::default(), &b"hola\xff\xf6\r\n"[..]);
    /// assert_eq!(decoder.next_event(&mut chunk), Some(Event::Data(b"hola")));
    /// assert_eq!(decoder.next_event(&mut chunk), Some(Event::Command(command::AYT)));
    /// assert_eq!(decoder.next_event(&mut chunk), Some(Event::Data(b"\r\n")));
    /// assert_eq!(decoder.next_event(&mut chunk), None);
    /// ```
    pub fn next_event<'a, 'chunk: 'a>(&'a mut self, chunk: &mut &'chunk [u8]) -> Option<Event<'a>> {
        if !matches!(self.state, State::Subnegotiation | State::SubnegotiationCommand) {
            self.collected = None;
        }
        loop {
            let first = *chunk.first()?;
            match self.state {
                State::Data if first != IAC => return Some(take_data(chunk)),
                State::Data => self.state = State::Command,
                State::Command => {
                    self.state = State::Data;
                    match first {
                        // The second IAC of a pair is a data byte, and the data goes on behind it.
                        IAC => return Some(take_data(chunk)),
                        command::SB => self.state = State::Subnegotiation,
                        _ => match Verb::from_byte(first) {
                            Some(verb) => self.state = State::Negotiate(verb),
                            None => {
                                skip_one(chunk);
                                return Some(Event::Command(first));
                            }
                        },
                    }
                }
                State::Negotiate(verb) => {
                    self.state = State::Data;
                    skip_one(chunk);
                    return Some(Event::Negotiate { verb, option: first });
                }
                State::Subnegotiation => {
                    let len = memchr(IAC, chunk).unwrap_or(chunk.len());
                    self.collect(&chunk[..len]);
                    *chunk = &chunk[len..];
                    if chunk.is_empty() {
                        return None;
                    }
                    self.state = State::SubnegotiationCommand;
                }
                State::SubnegotiationCommand if first == IAC => {
                    self.collect(&[IAC]);
                    self.state = State::Subnegotiation;
                }
                State::SubnegotiationCommand if first == command::DM => {
                    self.state = State::Subnegotiation;
                    skip_one(chunk);
                    return Some(Event::Command(first));
                }
                State::SubnegotiationCommand => {
                    let is_proper_end = first == command::SE;
                    self.state = if is_proper_end { State::Data } else { State::Command };
                    if is_proper_end {
                        skip_one(chunk);
                    }
                    if self.collected.is_some() {
                        return self.collected.as_deref().and_then(Collected::event);
                    }
                    // `IAC SB IAC SE` does not name an option: there is no event.
                    continue;
                }
            }
            skip_one(chunk);
        }
    }

    /// Whether the decoder is between two events, like a new one: it need not be kept.
    pub fn is_idle(&self) -> bool {
        self.state == State::Data
    }

    /// Whether the last byte was an IAC, so that the next one is a command.
    pub(super) fn is_after_iac(&self) -> bool {
        matches!(self.state, State::Command | State::SubnegotiationCommand)
    }

    fn collect(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        let collected = self.collected.get_or_insert_default();
        // One more than the limit, because the option is the first byte.
        let room = 1 + SUBNEGOTIATION_LIMIT - collected.bytes.len();
        collected.truncated |= part.len() > room;
        collected.bytes.extend_from_slice(&part[..part.len().min(room)]);
    }
}

impl Collected {
    fn event(&self) -> Option<Event<'_>> {
        let (&option, parameters) = self.bytes.split_first()?;
        Some(Event::Subnegotiation { option, parameters, truncated: self.truncated })
    }
}

/// The bytes up to the next IAC. The first byte is data even if it is an IAC.
fn take_data<'chunk>(chunk: &mut &'chunk [u8]) -> Event<'chunk> {
    let len = memchr(IAC, &chunk[1..]).map_or(chunk.len(), |at| 1 + at);
    let (data, rest) = chunk.split_at(len);
    *chunk = rest;
    Event::Data(data)
}

fn skip_one(chunk: &mut &[u8]) {
    *chunk = &chunk[1..];
}

/// The three bytes of a negotiation.
pub const fn negotiation(verb: Verb, option: u8) -> [u8; 3] {
    [IAC, verb as u8, option]
}

/// Appends `data` to `out`, each byte 255 doubled.
///
/// UTF-8 has no byte 255, so a `str` need not be escaped.
pub fn escape(mut data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len());
    while let Some(at) = memchr(IAC, data) {
        out.extend_from_slice(&data[..=at]);
        out.push(IAC);
        data = &data[at + 1..];
    }
    out.extend_from_slice(data);
}

/// Appends a subnegotiation to `out`: IAC SB `option` `parameters` IAC SE.
pub fn subnegotiation(option: u8, parameters: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[IAC, command::SB]);
    escape(&[option], out);
    escape(parameters, out);
    out.extend_from_slice(&[IAC, command::SE]);
}

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::properties::Owned::{self, Command, Data, Negotiate, Subnegotiation};
    use super::properties::{decode, decode_hesitantly, encode, push};
    use super::*;

    fn data(bytes: &[u8]) -> Owned {
        Data(bytes.to_vec())
    }

    #[test]
    fn decodes() {
        let table: &[(&str, &[u8], &[Owned])] = &[
            ("nothing", b"", &[]),
            ("plain text", b"hola\r\n", &[data(b"hola\r\n")]),
            ("RFC 854: 255 is sent twice", b"a\xff\xffb", &[data(b"a\xffb")]),
            ("two of them, and nothing else", b"\xff\xff\xff\xff", &[data(b"\xff\xff")]),
            ("a doubled 255, then a command", b"\xff\xff\xff\xf1", &[data(b"\xff"), Command(command::NOP)]),
            ("a command between data", b"a\xff\xf6b", &[data(b"a"), Command(command::AYT), data(b"b")]),
            ("an unknown command", b"\xff\x00a", &[Command(0), data(b"a")]),
            ("an SE out of place", b"\xff\xf0a", &[Command(command::SE), data(b"a")]),
            ("a negotiation", b"\xff\xfd\x01a", &[Negotiate(Verb::Do, option::ECHO), data(b"a")]),
            ("RFC 861: option 255 is not doubled here", b"\xff\xfe\xffa", &[Negotiate(Verb::Dont, 255), data(b"a")]),
            (
                "Ctrl-C in the Debian telnets",
                b"\xff\xf4\xff\xfd\x06",
                &[Command(command::IP), Negotiate(Verb::Do, option::TIMING_MARK)],
            ),
            (
                "RFC 1073: 80 by 24",
                b"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0a",
                &[Subnegotiation(option::NAWS, vec![0, 80, 0, 24], false), data(b"a")],
            ),
            (
                "RFC 1073: 255 columns, doubled",
                b"\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0",
                &[Subnegotiation(option::NAWS, vec![0, 255, 0, 24], false)],
            ),
            ("no parameters", b"\xff\xfa\x18\xff\xf0", &[Subnegotiation(option::TTYPE, vec![], false)]),
            ("about option 255", b"\xff\xfa\xff\xff\x01\xff\xf0", &[Subnegotiation(255, vec![1], false)]),
            ("about nothing", b"\xff\xfa\xff\xf0a", &[data(b"a")]),
            (
                "SE forgotten before a command",
                b"\xff\xfa\x18\x00\xff\xf6a",
                &[Subnegotiation(24, vec![0], false), Command(command::AYT), data(b"a")],
            ),
            (
                "SE forgotten before a negotiation",
                b"\xff\xfa\x18\x00\xff\xfb\x03",
                &[Subnegotiation(24, vec![0], false), Negotiate(Verb::Will, option::SGA)],
            ),
            (
                "SE forgotten before the next subnegotiation",
                b"\xff\xfa\x18\x00\xff\xfa\x18\x01\xff\xf0",
                &[Subnegotiation(24, vec![0], false), Subnegotiation(24, vec![1], false)],
            ),
            ("SE forgotten, about nothing", b"\xff\xfa\xff\xf1a", &[Command(command::NOP), data(b"a")]),
            (
                "a data mark inside",
                b"\xff\xfa\x1f\x00\xff\xf2\x50\x00\x18\xff\xf0a",
                &[Command(command::DM), Subnegotiation(option::NAWS, vec![0, 80, 0, 24], false), data(b"a")],
            ),
            (
                "data marks at both ends",
                b"\xff\xfa\xff\xf2\x18\xff\xf2\xff\xf0a",
                &[Command(command::DM), Command(command::DM), Subnegotiation(24, vec![], false), data(b"a")],
            ),
            ("never ended", b"\xff\xfa\x18 all of this is parameters", &[]),
            (
                "plink's opening",
                b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03",
                &[
                    Negotiate(Verb::Will, option::NAWS),
                    Negotiate(Verb::Will, option::TSPEED),
                    Negotiate(Verb::Will, option::TTYPE),
                    Negotiate(Verb::Will, option::NEW_ENVIRON),
                    Negotiate(Verb::Do, option::ECHO),
                    Negotiate(Verb::Will, option::SGA),
                    Negotiate(Verb::Do, option::SGA),
                ],
            ),
        ];
        for (name, input, want) in table {
            assert_eq!(decode(&[input]), *want, "{name}");
            for i in 0..=input.len() {
                for j in i..=input.len() {
                    let cut = decode(&[&input[..i], &input[i..j], &input[j..]]);
                    assert_eq!(cut, *want, "{name}, cut at {i} and {j}");
                }
            }
        }
    }

    #[test]
    fn data_is_lent_in_the_longest_runs() {
        let mut chunk = &b"one\xff\xfftwo\xff\xf1three"[..];
        let range = chunk.as_ptr_range();
        let mut decoder = Decoder::default();
        let mut runs = Vec::new();
        while let Some(event) = decoder.next_event(&mut chunk) {
            if let Event::Data(run) = event {
                assert!(range.contains(&run.as_ptr()), "lent from the chunk");
                runs.push(run.to_vec());
            }
        }
        assert_eq!(runs, [&b"one"[..], b"\xfftwo", b"three"]);
    }

    #[test]
    fn a_long_subnegotiation_is_cut_at_the_limit() {
        let table = [
            ("one below", SUBNEGOTIATION_LIMIT - 1, false),
            ("exactly", SUBNEGOTIATION_LIMIT, false),
            ("one above", SUBNEGOTIATION_LIMIT + 1, true),
            ("far above", 100_000, true),
        ];
        for (name, len, truncated) in table {
            for byte in [b'x', IAC] {
                let parameters = vec![byte; len];
                let mut wire = Vec::new();
                subnegotiation(option::TTYPE, &parameters, &mut wire);
                wire.extend_from_slice(b"hola");
                let kept = parameters[..len.min(SUBNEGOTIATION_LIMIT)].to_vec();
                let want = [Subnegotiation(option::TTYPE, kept, truncated), data(b"hola")];
                assert_eq!(decode(&[&wire]), want, "{name}, whole");
                let bytes: Vec<&[u8]> = wire.chunks(1).collect();
                assert_eq!(decode(&bytes), want, "{name}, byte by byte");
            }
        }
    }

    #[test]
    fn can_stop_inside_data_and_go_on_later() {
        let input = b"one\xff\xfftwo\xff\xfa\x18\x00\xff\xff\xff\xf0\xff\xf1three";
        assert_eq!(decode_hesitantly(&[input]), decode(&[input]));
    }

    #[test]
    fn encodes() {
        assert_eq!(negotiation(Verb::Wont, option::TIMING_MARK), *b"\xff\xfc\x06");
        let table: &[(&str, &[u8], &[u8])] = &[
            ("nothing", b"", b""),
            ("nothing to double", b"hola", b"hola"),
            ("one", b"a\xffb", b"a\xff\xffb"),
            ("at both ends", b"\xffa\xff", b"\xff\xffa\xff\xff"),
            ("in a row", b"\xff\xff", b"\xff\xff\xff\xff"),
        ];
        for (name, raw, want) in table {
            let mut out = b">".to_vec();
            escape(raw, &mut out);
            assert_eq!(out, [b">", *want].concat(), "{name}");
        }
        let mut out = Vec::new();
        subnegotiation(option::NAWS, &[0, 255, 0, 24], &mut out);
        assert_eq!(out, b"\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0", "RFC 1073 doubles 255 as well");
    }

    /// Mostly bytes with a meaning, and some without.
    fn wire_byte() -> impl Strategy<Value = u8> {
        prop_oneof![4 => Just(IAC), 4 => 236u8..=254, 2 => any::<u8>()]
    }

    fn event() -> impl Strategy<Value = Owned> {
        let verb = prop::sample::select(vec![Verb::Will, Verb::Wont, Verb::Do, Verb::Dont]);
        prop_oneof![
            prop::collection::vec(wire_byte(), 1..20).prop_map(Data),
            (0..=command::GA).prop_map(Command),
            (verb, any::<u8>()).prop_map(|(verb, option)| Negotiate(verb, option)),
            (any::<u8>(), prop::collection::vec(wire_byte(), 0..20)).prop_map(|(o, p)| Subnegotiation(o, p, false)),
        ]
    }

    proptest! {
        #[test]
        fn where_the_reads_fall_does_not_matter(
            chunks in prop::collection::vec(prop::collection::vec(wire_byte(), 0..12), 0..12),
        ) {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(decode(&chunks), decode(&[&chunks.concat()]));
        }

        #[test]
        fn what_is_encoded_is_decoded(events in prop::collection::vec(event(), 0..12)) {
            let mut want = Vec::new();
            for one in &events {
                match one {
                    Data(bytes) => push(&mut want, Event::Data(bytes)),
                    other => want.push(other.clone()),
                }
            }
            prop_assert_eq!(decode(&[&encode(&events)]), want);
        }
    }
}
