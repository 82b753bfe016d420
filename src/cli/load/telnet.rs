//! `--telnet`: takes commands out of received bytes, and refuses all options.
//!
//! ```text
//!   received   "hel" DO NAWS "lo" ─▶ "hello"
//!                      └─▶ WONT NAWS ─▶ written, or kept until the socket has sent its queued bytes
//! ```
//!
//! A server that negotiates without an end and does not read costs a bounded amount of memory: while the socket has
//! unsent bytes, one refusal of each option is kept. This module uses no sockets.

use bucle::telnet::codec::{Decoder, Event, Verb, negotiation};

/// The telnet of a connection.
#[derive(Debug, Default)]
pub(crate) struct Telnet {
    decoder: Decoder,
    /// Refusals that wait until the socket has no unsent bytes.
    kept: Refusals,
}

/// A received chunk without telnet commands, and the refusals that answer its negotiations.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Decoded {
    pub(crate) data: Vec<u8>,
    /// The refusals to write.
    pub(crate) answers: Vec<u8>,
}

impl Telnet {
    /// Takes the commands out of a chunk. If the socket is blocked the refusals are kept.
    pub(crate) fn decode(&mut self, chunk: &[u8], is_blocked: bool) -> Decoded {
        let (mut rest, mut data, mut answers) = (chunk, Vec::with_capacity(chunk.len()), Vec::new());
        while let Some(event) = self.decoder.next_event(&mut rest) {
            let (verb, option) = match event {
                Event::Data(run) => {
                    data.extend_from_slice(run);
                    continue;
                }
                Event::Negotiate { verb: Verb::Do, option } => (Verb::Wont, option),
                Event::Negotiate { verb: Verb::Will, option } => (Verb::Dont, option),
                _ => continue,
            };
            match is_blocked {
                true => self.kept.add(verb, option),
                false => answers.extend_from_slice(&negotiation(verb, option)),
            }
        }
        Decoded { data, answers }
    }

    /// Removes the refusals that were kept, and returns them as they are written.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        self.kept.take()
    }
}

/// The options that are refused with WONT, and those with DONT: a bit each.
#[derive(Debug, Default)]
struct Refusals {
    wont: [u128; 2],
    dont: [u128; 2],
}

impl Refusals {
    fn add(&mut self, verb: Verb, option: u8) {
        let options = if verb == Verb::Wont { &mut self.wont } else { &mut self.dont };
        options[usize::from(option / 128)] |= 1 << (option % 128);
    }

    fn take(&mut self) -> Vec<u8> {
        let Refusals { wont, dont } = std::mem::take(self);
        let has = |options: [u128; 2], option: u8| options[usize::from(option / 128)] >> (option % 128) & 1 == 1;
        let all = [(Verb::Wont, wont), (Verb::Dont, dont)].into_iter().flat_map(|(verb, options)| {
            (0..=u8::MAX).filter(move |&option| has(options, option)).map(move |option| negotiation(verb, option))
        });
        all.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_out_and_options_refused_in_their_order() {
        let mut telnet = Telnet::default();
        let decoded = telnet.decode(b"\xff\xfd\x18a\xff\xfb\x01b\xff\xfd\x18\xff\xff", false);
        assert_eq!(
            (&decoded.data[..], &decoded.answers[..]),
            (&b"ab\xff"[..], &b"\xff\xfc\x18\xff\xfe\x01\xff\xfc\x18"[..])
        );
        assert_eq!(telnet.take_kept(), b"");
    }

    #[test]
    fn one_refusal_of_each_option_is_kept_while_the_socket_is_blocked() {
        let mut telnet = Telnet::default();
        for _ in 0..1000 {
            let decoded = telnet.decode(b"\xff\xfb\x01a\xff\xfd\x1f\xff\xfd\xff\xff\xfd\x80", true);
            assert_eq!((&decoded.data[..], &decoded.answers[..]), (&b"a"[..], &b""[..]));
        }
        assert_eq!(telnet.take_kept(), b"\xff\xfc\x1f\xff\xfc\x80\xff\xfc\xff\xff\xfe\x01");
        assert_eq!(telnet.take_kept(), b"");
        for (verb, option) in [Verb::Do, Verb::Will].into_iter().flat_map(|verb| (0..=255).map(move |it| (verb, it))) {
            telnet.decode(&negotiation(verb, option), true);
        }
        assert_eq!(telnet.take_kept().len(), 2 * 256 * 3);
    }
}
