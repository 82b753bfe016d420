//! Telnet options, negotiated by the Q method (RFC 1143).
//!
//! Either side may send WILL and DO at any time. Requests and answers look the same, and they may cross on the way. If
//! both sides answered everything, they would answer each other without end. RFC 1143 prevents that: remember for each
//! option and side what was requested, and **answer only what changes something**.
//!
//! ```text
//!   state           peer sends yes       peer sends no    enable            disable
//!   No              agreed: Yes, "yes"   ·                WantYes, "yes"    ·
//!                   refused: "no"
//!   Yes             ·                    No, "no"         ·                 WantNo, "no"
//!   WantYes         Yes                  No               ·                 WantYesThenNo
//!   WantYesThenNo   WantNo, "no"         No               WantYes           ·
//!   WantNo          No (peer's error)    No               WantNoThenYes     ·
//!   WantNoThenYes   Yes (peer's error)   WantYes, "yes"   ·                 WantNo
//! ```
//!
//! Each cell is the next state, and in quotes what we send. While an answer is on its way to us, we send no other
//! request for the option: it is noted (`Then…`) and sent when the answer has arrived.
//!
//! The table holds for both sides, with different verbs:
//!
//! | | the peer sends | we send |
//! |---|---|---|
//! | what we do ([`Side::Us`]) | DO, DONT | WILL, WONT |
//! | what the peer does ([`Side::Him`]) | WILL, WONT | DO, DONT |
//!
//! A timing mark (RFC 860) has the number of an option but no state: "DO TIMING-MARK" asks whether we have processed
//! everything up to here. Debian's telnets send it after Ctrl-C and *show nothing more* until they get an answer, so
//! each is answered. The answer is WONT: WILL would promise that all data before the mark was processed, which this
//! layer cannot know.
//!
//! The table does not stop a peer that answers each refusal with the same request again: RFC 1143 expects no such peer,
//! and two programs that do this would fill the network. So after [`REFUSAL_LIMIT`] refusals of one option its further
//! requests are not answered. The peer may take the silence for a refusal that is still on its way; the connection goes
//! on. Timing marks are not counted: each Ctrl-C sends one.
//!
//! Bounds: 24 bytes, and 4 for each option that is on, being negotiated, or was refused. There are 255 options and the
//! timing mark, so a peer can use 1 KiB.

use super::codec::{Verb, negotiation, option::TIMING_MARK};

/// The side of the connection that does what an option names. `Us` and `Him` are the names of the two states in RFC
/// 1143, so that the code can be compared with the RFC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// This side.
    Us,
    /// The peer: for a server, the client.
    Him,
}

impl Side {
    /// The verb that we send to switch an option of this side on or off.
    fn verb(self, on: bool) -> Verb {
        match (self, on) {
            (Side::Us, true) => Verb::Will,
            (Side::Us, false) => Verb::Wont,
            (Side::Him, true) => Verb::Do,
            (Side::Him, false) => Verb::Dont,
        }
    }
}

/// The options that a peer may switch on: none, unless allowed. One policy is used for all connections of a server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Policy {
    us: OptionSet,
    him: OptionSet,
}

/// How often the requests for one option are refused with an answer: DO with WONT and WILL with DONT, counted together.
/// Further requests get no answer.
///
/// A client asks once, or once each time that its user connects another program; 64 is far more than that. The number
/// is our own: RFC 1143 has none.
pub const REFUSAL_LIMIT: u8 = 64;

/// One bit for each of the 256 options.
type OptionSet = [u64; 4];

impl Policy {
    /// Refuses everything: `DO x` is answered with `WONT x`, `WILL x` with `DONT x`.
    pub const REFUSE_ALL: Policy = Policy { us: [0; 4], him: [0; 4] };

    /// The same policy, which also allows `option` for that side.
    ///
    /// ```
    /// use bucle::telnet::{codec::option, negotiation::{Policy, Side}};
    ///
    /// const POLICY: Policy = Policy::REFUSE_ALL.allow(Side::Us, option::SGA).allow(Side::Him, option::NAWS);
    /// assert!(POLICY.allows(Side::Him, option::NAWS));
    /// assert!(!POLICY.allows(Side::Us, option::NAWS));
    /// ```
    #[must_use]
    pub const fn allow(mut self, side: Side, option: u8) -> Policy {
        let set = match side {
            Side::Us => &mut self.us,
            Side::Him => &mut self.him,
        };
        set[option as usize / 64] |= 1 << (option % 64);
        self
    }

    /// Whether a request of the peer for `option` is agreed to.
    pub const fn allows(&self, side: Side, option: u8) -> bool {
        let set = match side {
            Side::Us => &self.us,
            Side::Him => &self.him,
        };
        set[option as usize / 64] >> (option % 64) & 1 == 1
    }
}

/// The options of one connection: which are on, which are being negotiated, and how often others were refused.
///
/// 24 bytes, and no heap while all options are off and none was refused.
#[derive(Default, Debug)]
pub struct Negotiation {
    /// Invariant: sorted by option, each option at most once, and no entry that is like a new one.
    entries: Vec<Entry>,
}

const _: () = assert!(size_of::<Negotiation>() <= 24 && size_of::<Entry>() == 4);

#[derive(Clone, Copy, Debug)]
struct Entry {
    option: u8,
    us: State,
    him: State,
    /// How many requests of the peer were refused, for either side. Never more than [`REFUSAL_LIMIT`].
    refusals: u8,
}

/// The states of RFC 1143, section 7. `Want…Then…` is the RFC's state with the queue bit OPPOSITE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    No,
    Yes,
    WantNo,
    WantNoThenYes,
    WantYes,
    WantYesThenNo,
}

/// The result of a received verb.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    /// The bytes to send to the peer, if any.
    pub answer: Option<[u8; 3]>,
    /// Set if the verb has completed a negotiation: the option's side, and whether the option is on now.
    ///
    /// Each request of ours is settled once, by the peer's yes or no. If `enable` and `disable` were called again
    /// before the answer came, all these calls are settled together.
    pub settled: Option<(Side, bool)>,
}

/// One step of the table: the next state, and what to send: yes (`true`), no (`false`) or nothing.
type Step = (State, Option<bool>);

impl State {
    /// Whether the option is on; `None` while it is being negotiated.
    fn settled(self) -> Option<bool> {
        match self {
            State::Yes => Some(true),
            State::No => Some(false),
            _ => None,
        }
    }

    /// The peer has sent yes: DO or WILL.
    fn on_yes(self, we_agree: bool) -> Step {
        match self {
            State::No if we_agree => (State::Yes, Some(true)),
            State::No => (State::No, Some(false)),
            State::Yes => (State::Yes, None),
            // The peer answers our no with yes, which is not allowed: "Error: DONT answered by WILL" in the RFC.
            State::WantNo => (State::No, None),
            State::WantNoThenYes => (State::Yes, None),
            State::WantYes => (State::Yes, None),
            State::WantYesThenNo => (State::WantNo, Some(false)),
        }
    }

    /// The peer has sent no: DONT or WONT. It cannot be refused.
    fn on_no(self) -> Step {
        match self {
            State::No => (State::No, None),
            State::Yes => (State::No, Some(false)),
            State::WantNo => (State::No, None),
            State::WantNoThenYes => (State::WantYes, Some(true)),
            State::WantYes | State::WantYesThenNo => (State::No, None),
        }
    }

    /// The program wants the option on.
    fn enable(self) -> Step {
        match self {
            State::No => (State::WantYes, Some(true)),
            State::WantNo => (State::WantNoThenYes, None),
            State::WantYesThenNo => (State::WantYes, None),
            State::Yes | State::WantYes | State::WantNoThenYes => (self, None),
        }
    }

    /// The program wants the option off.
    fn disable(self) -> Step {
        match self {
            State::Yes => (State::WantNo, Some(false)),
            State::WantYes => (State::WantYesThenNo, None),
            State::WantNoThenYes => (State::WantNo, None),
            State::No | State::WantNo | State::WantYesThenNo => (self, None),
        }
    }
}

impl Negotiation {
    /// Takes a verb from the peer and returns the answer, if any.
    ///
    /// There is at most one answer to each verb, and none to an answer. After [`REFUSAL_LIMIT`] refusals of an option
    /// no further request for it is answered, unless the policy allows the option by then.
    ///
    /// ```
    /// use bucle::telnet::{codec::{Verb, option}, negotiation::{Negotiation, Policy, Side}};
    ///
    /// let (mut negotiation, policy) = (Negotiation::default(), Policy::REFUSE_ALL.allow(Side::Him, option::NAWS));
    /// let outcome = negotiation.receive(Verb::Will, option::NAWS, &policy);
    /// assert_eq!(outcome.answer, Some(*b"\xff\xfd\x1f"));
    /// assert_eq!(outcome.settled, Some((Side::Him, true)));
    /// ```
    pub fn receive(&mut self, verb: Verb, option: u8, policy: &Policy) -> Outcome {
        let (side, on) = match verb {
            Verb::Do => (Side::Us, true),
            Verb::Dont => (Side::Us, false),
            Verb::Will => (Side::Him, true),
            Verb::Wont => (Side::Him, false),
        };
        if option == TIMING_MARK {
            // WILL, WONT and DONT would answer a question that we never send.
            let answer = (verb == Verb::Do).then_some(negotiation(Verb::Wont, TIMING_MARK));
            return Outcome { answer, settled: None };
        }
        let agrees = policy.allows(side, option);
        let mut settled = None;
        let answer = self.change(option, |entry| {
            let before = entry.state(side);
            let (after, answer) = if on { before.on_yes(agrees) } else { before.on_no() };
            *entry.state_mut(side) = after;
            if after != before {
                settled = after.settled().map(|is_on| (side, is_on));
            }
            let is_refusal = on && before == State::No && !agrees;
            if is_refusal && entry.refusals == REFUSAL_LIMIT {
                return None;
            }
            entry.refusals += u8::from(is_refusal);
            answer.map(|on| side.verb(on))
        });
        Outcome { answer, settled }
    }

    /// Requests `option`: returns the bytes to send, if any. The option is on when the peer has agreed.
    ///
    /// The policy need not allow it. A timing mark is not an option and cannot be requested.
    pub fn enable(&mut self, side: Side, option: u8) -> Option<[u8; 3]> {
        if option == TIMING_MARK {
            return None;
        }
        self.step(side, option, State::enable)
    }

    /// Switches `option` off: returns the bytes to send, if any. It counts as off from now on.
    pub fn disable(&mut self, side: Side, option: u8) -> Option<[u8; 3]> {
        self.step(side, option, State::disable)
    }

    /// Whether `option` is on for that side: both sides have agreed, and neither has switched it off since.
    pub fn is_enabled(&self, side: Side, option: u8) -> bool {
        let Ok(at) = self.find(option) else { return false };
        self.entries[at].state(side) == State::Yes
    }

    /// Whether all options are off, none is being negotiated and none was refused, as in a new one.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, option: u8) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&option, |entry| entry.option)
    }

    fn step(&mut self, side: Side, option: u8, step: impl FnOnce(State) -> Step) -> Option<[u8; 3]> {
        self.change(option, |entry| {
            let (state, answer) = step(entry.state(side));
            *entry.state_mut(side) = state;
            answer.map(|on| side.verb(on))
        })
    }

    /// Lends the entry of `option` to `change`, keeps it unless it is like a new one, and returns the bytes to send.
    fn change(&mut self, option: u8, change: impl FnOnce(&mut Entry) -> Option<Verb>) -> Option<[u8; 3]> {
        let at = self.find(option);
        let mut entry = match at {
            Ok(at) => self.entries[at],
            Err(_) => Entry { option, us: State::No, him: State::No, refusals: 0 },
        };
        let verb = change(&mut entry);
        match (at, entry.is_new()) {
            (Ok(at), false) => self.entries[at] = entry,
            (Err(at), false) => self.entries.insert(at, entry),
            (Ok(_), true) if self.entries.len() == 1 => self.entries = Vec::new(),
            (Ok(at), true) => drop(self.entries.remove(at)),
            (Err(_), true) => {}
        }
        verb.map(|verb| negotiation(verb, option))
    }
}

impl Entry {
    fn state(&self, side: Side) -> State {
        match side {
            Side::Us => self.us,
            Side::Him => self.him,
        }
    }

    fn state_mut(&mut self, side: Side) -> &mut State {
        match side {
            Side::Us => &mut self.us,
            Side::Him => &mut self.him,
        }
    }

    fn is_new(&self) -> bool {
        self.us == State::No && self.him == State::No && self.refusals == 0
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod tests;
