//! Properties of the negotiation, for any requests of the peer and any wishes of this side.

use super::*;
use crate::fuzzing::input::Input;
use crate::telnet::codec::{Decoder, Event};

/// The options of wishes and policies. The peer may send any option.
const KNOWN: [u8; 8] = [0, 1, 3, TIMING_MARK, 24, 31, 34, 255];

/// The first two bytes are the policy, one bit for each known option, first for us and then for the peer. The rest is
/// what the peer sends. A command in it stands for a wish of this side: eight options, two sides, on and off.
pub(crate) fn hold_for(input: &[u8]) {
    let mut input = Input(input);
    let policy = policy(input.byte(), input.byte());
    let (mut decoder, mut options, mut plain) = (Decoder::default(), Negotiation::default(), Plain::default());
    for mut chunk in input.chunks() {
        let answered_before = plain.messages;
        let len = chunk.len();
        while let Some(event) = decoder.next_event(&mut chunk) {
            match event {
                Event::Negotiate { verb, option } => {
                    let side = if matches!(verb, Verb::Do | Verb::Dont) { Side::Us } else { Side::Him };
                    let before = plain.option(side, option).0;
                    let outcome = options.receive(verb, option, &policy);
                    assert_eq!(outcome.answer, plain.receive(verb, option, &policy), "{verb:?} {option}");
                    let settled = match plain.option(side, option).0 {
                        after if after == before => None,
                        Q::Yes => Some((side, true)),
                        Q::No => Some((side, false)),
                        Q::WantNo | Q::WantYes => None,
                    };
                    assert_eq!(outcome.settled, settled, "{verb:?} {option}");
                    agree(&options, &plain, option);
                }
                Event::Command(wish) => {
                    let option = KNOWN[usize::from(wish & 7)];
                    let side = if wish & 8 == 0 { Side::Us } else { Side::Him };
                    let is_on = wish & 16 != 0;
                    let message = if is_on { options.enable(side, option) } else { options.disable(side, option) };
                    assert_eq!(message, plain.wish(side, option, is_on), "{side:?} {option} {is_on}");
                    agree(&options, &plain, option);
                }
                Event::Data(_) | Event::Subnegotiation { .. } => {}
            }
            let are_on = options.entries.iter().filter(|entry| (entry.us, entry.him) != (State::No, State::No));
            assert!(are_on.count() <= KNOWN.len(), "the peer switches on only what the policy allows");
        }
        // A wish takes two bytes and a request of the peer three, of which the first may have come before.
        assert!(plain.messages - answered_before <= len.div_ceil(2), "at most one message for each of the peer's");
        assert!(options.entries.is_sorted_by(|a, b| a.option < b.option));
        assert!(options.entries.iter().all(|entry| !entry.is_new()), "an entry without content is not kept");
        assert_eq!(options.is_idle(), plain.is_idle());
        assert!(!options.is_idle() || options.entries.capacity() == 0);
    }
}

fn policy(us: u8, him: u8) -> Policy {
    let mut policy = Policy::REFUSE_ALL;
    for (bit, &option) in KNOWN.iter().enumerate() {
        for (side, bits) in [(Side::Us, us), (Side::Him, him)] {
            if bits >> bit & 1 == 1 {
                policy = policy.allow(side, option);
            }
        }
    }
    policy
}

fn agree(options: &Negotiation, plain: &Plain, option: u8) {
    for side in [Side::Us, Side::Him] {
        let is_enabled = plain.option(side, option).0 == Q::Yes;
        assert_eq!(options.is_enabled(side, option), is_enabled, "{side:?} {option}");
    }
}

/// A reference: section 7 of RFC 1143 as it is written there, with a state and a queue bit for each option and side.
struct Plain {
    us: [(Q, Queue); 256],
    him: [(Q, Queue); 256],
    /// How often each option was refused, up to the limit.
    refusals: [u8; 256],
    /// How many messages this side has sent.
    messages: usize,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Q {
    No,
    Yes,
    WantNo,
    WantYes,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Queue {
    Empty,
    Opposite,
}

use Queue::{Empty, Opposite};

impl Default for Plain {
    fn default() -> Self {
        Plain { us: [(Q::No, Empty); 256], him: [(Q::No, Empty); 256], refusals: [0; 256], messages: 0 }
    }
}

impl Plain {
    fn option(&self, side: Side, option: u8) -> (Q, Queue) {
        match side {
            Side::Us => self.us[usize::from(option)],
            Side::Him => self.him[usize::from(option)],
        }
    }

    fn is_idle(&self) -> bool {
        self.us.iter().chain(&self.him).all(|(q, _)| *q == Q::No) && self.refusals == [0; 256]
    }

    fn receive(&mut self, verb: Verb, option: u8, policy: &Policy) -> Option<[u8; 3]> {
        // RFC 860: a timing mark is a question and has no state.
        if option == TIMING_MARK {
            return if verb == Verb::Do { self.send(Side::Us, option, false) } else { None };
        }
        let side = if matches!(verb, Verb::Do | Verb::Dont) { Side::Us } else { Side::Him };
        let agrees = policy.allows(side, option);
        let (next, answer) = match (verb, self.option(side, option)) {
            // "Upon receipt of WILL", and likewise DO.
            (Verb::Will | Verb::Do, now) => match now {
                (Q::No, _) if agrees => ((Q::Yes, Empty), Some(true)),
                // Not in the RFC: no answer after many refusals.
                (Q::No, _) if self.refusals[usize::from(option)] == REFUSAL_LIMIT => (now, None),
                (Q::No, _) => {
                    self.refusals[usize::from(option)] += 1;
                    ((Q::No, Empty), Some(false))
                }
                (Q::Yes, _) => (now, None),
                (Q::WantNo, Empty) => ((Q::No, Empty), None),
                (Q::WantNo, Opposite) => ((Q::Yes, Empty), None),
                (Q::WantYes, Empty) => ((Q::Yes, Empty), None),
                (Q::WantYes, Opposite) => ((Q::WantNo, Empty), Some(false)),
            },
            // "Upon receipt of WONT", and likewise DONT.
            (Verb::Wont | Verb::Dont, now) => match now {
                (Q::No, _) => (now, None),
                (Q::Yes, _) => ((Q::No, Empty), Some(false)),
                (Q::WantNo, Empty) => ((Q::No, Empty), None),
                (Q::WantNo, Opposite) => ((Q::WantYes, Empty), Some(true)),
                (Q::WantYes, _) => ((Q::No, Empty), None),
            },
        };
        self.change_and_send(side, option, next, answer)
    }

    /// "If we decide to ask him to enable", or to disable.
    fn wish(&mut self, side: Side, option: u8, is_on: bool) -> Option<[u8; 3]> {
        if option == TIMING_MARK {
            return None;
        }
        let now = self.option(side, option);
        let (next, request) = match (is_on, now) {
            (true, (Q::No, _)) => ((Q::WantYes, Empty), Some(true)),
            (true, (Q::WantNo, _)) => ((Q::WantNo, Opposite), None),
            (true, (Q::WantYes, _)) => ((Q::WantYes, Empty), None),
            (false, (Q::Yes, _)) => ((Q::WantNo, Empty), Some(false)),
            (false, (Q::WantNo, _)) => ((Q::WantNo, Empty), None),
            (false, (Q::WantYes, _)) => ((Q::WantYes, Opposite), None),
            (true, (Q::Yes, _)) | (false, (Q::No, _)) => (now, None),
        };
        self.change_and_send(side, option, next, request)
    }

    fn change_and_send(&mut self, side: Side, option: u8, next: (Q, Queue), is_on: Option<bool>) -> Option<[u8; 3]> {
        match side {
            Side::Us => self.us[usize::from(option)] = next,
            Side::Him => self.him[usize::from(option)] = next,
        }
        is_on.and_then(|is_on| self.send(side, option, is_on))
    }

    fn send(&mut self, side: Side, option: u8, is_on: bool) -> Option<[u8; 3]> {
        self.messages += 1;
        let verb = match (side, is_on) {
            (Side::Us, true) => 251,
            (Side::Us, false) => 252,
            (Side::Him, true) => 253,
            (Side::Him, false) => 254,
        };
        Some([255, verb, option])
    }
}
