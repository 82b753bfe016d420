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
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::telnet::codec::{Decoder, Event, option};

    const VERBS: [Verb; 4] = [Verb::Will, Verb::Wont, Verb::Do, Verb::Dont];
    const SIDES: [Side; 2] = [Side::Us, Side::Him];

    /// What happens to one option.
    enum Act {
        Receive(Verb),
        Enable(Side),
        Disable(Side),
    }
    use Act::{Disable, Enable, Receive};
    use Side::{Him, Us};
    use Verb::{Do, Dont, Will, Wont};

    fn act(options: &mut Negotiation, act: &Act, option: u8, policy: &Policy) -> Option<[u8; 3]> {
        match *act {
            Receive(verb) => options.receive(verb, option, policy).answer,
            Enable(side) => options.enable(side, option),
            Disable(side) => options.disable(side, option),
        }
    }

    #[test]
    fn answers_by_rfc_1143() {
        const REFUSE: Policy = Policy::REFUSE_ALL;
        const AGREE: Policy = Policy::REFUSE_ALL.allow(Us, option::ECHO).allow(Him, option::ECHO);
        // Name, policy, each act with its answer; then whether the option is on for us, and for the peer.
        type Row = (&'static str, Policy, &'static [(Act, Option<Verb>)], bool, bool);
        let table: &[Row] = &[
            ("DO refused, each time", REFUSE, &[(Receive(Do), Some(Wont)), (Receive(Do), Some(Wont))], false, false),
            ("WILL refused", REFUSE, &[(Receive(Will), Some(Dont)), (Receive(Will), Some(Dont))], false, false),
            ("off already", REFUSE, &[(Receive(Dont), None), (Receive(Wont), None)], false, false),
            ("DO agreed, once", AGREE, &[(Receive(Do), Some(Will)), (Receive(Do), None)], true, false),
            ("WILL agreed, once", AGREE, &[(Receive(Will), Some(Do)), (Receive(Will), None)], false, true),
            ("both sides", AGREE, &[(Receive(Do), Some(Will)), (Receive(Will), Some(Do))], true, true),
            (
                "switched off by the peer",
                AGREE,
                &[(Receive(Will), Some(Do)), (Receive(Wont), Some(Dont)), (Receive(Wont), None)],
                false,
                false,
            ),
            ("requested, agreed", REFUSE, &[(Enable(Us), Some(Will)), (Receive(Do), None)], true, false),
            ("requested, refused", REFUSE, &[(Enable(Him), Some(Do)), (Receive(Wont), None)], false, false),
            ("requested twice", REFUSE, &[(Enable(Us), Some(Will)), (Enable(Us), None)], false, false),
            ("requested, and on already", AGREE, &[(Receive(Do), Some(Will)), (Enable(Us), None)], true, false),
            ("switched off, and off already", AGREE, &[(Disable(Us), None)], false, false),
            (
                "switched off by us",
                AGREE,
                &[(Receive(Do), Some(Will)), (Disable(Us), Some(Wont)), (Receive(Dont), None)],
                false,
                false,
            ),
            (
                "on, then off before the answer",
                REFUSE,
                &[(Enable(Him), Some(Do)), (Disable(Him), None), (Receive(Will), Some(Dont)), (Receive(Wont), None)],
                false,
                false,
            ),
            (
                "on, off, and on again while the answer to our no is on its way",
                REFUSE,
                &[
                    (Enable(Him), Some(Do)),
                    (Disable(Him), None),
                    (Receive(Will), Some(Dont)),
                    (Enable(Him), None),
                    (Receive(Wont), Some(Do)),
                    (Receive(Will), None),
                ],
                false,
                true,
            ),
            (
                "on, then off, and the peer refuses",
                REFUSE,
                &[(Enable(Him), Some(Do)), (Disable(Him), None), (Receive(Wont), None)],
                false,
                false,
            ),
            (
                "on, off, on before the answer",
                REFUSE,
                &[(Enable(Him), Some(Do)), (Disable(Him), None), (Enable(Him), None), (Receive(Will), None)],
                false,
                true,
            ),
            (
                "off, then on",
                AGREE,
                &[
                    (Receive(Will), Some(Do)),
                    (Disable(Him), Some(Dont)),
                    (Enable(Him), None),
                    (Receive(Wont), Some(Do)),
                    (Receive(Will), None),
                ],
                false,
                true,
            ),
            (
                "off, on, off",
                AGREE,
                &[
                    (Receive(Will), Some(Do)),
                    (Disable(Him), Some(Dont)),
                    (Enable(Him), None),
                    (Disable(Him), None),
                    (Receive(Wont), None),
                ],
                false,
                false,
            ),
            (
                "DONT answered by WILL",
                AGREE,
                &[(Receive(Will), Some(Do)), (Disable(Him), Some(Dont)), (Receive(Will), None)],
                false,
                false,
            ),
            (
                "DONT answered by WILL, and requested again",
                AGREE,
                &[(Receive(Will), Some(Do)), (Disable(Him), Some(Dont)), (Enable(Him), None), (Receive(Will), None)],
                false,
                true,
            ),
        ];
        for (name, policy, acts, us, him) in table {
            let mut options = Negotiation::default();
            for (at, (what, want)) in acts.iter().enumerate() {
                let got = act(&mut options, what, option::ECHO, policy);
                assert_eq!(got, want.map(|verb| negotiation(verb, option::ECHO)), "{name}, step {at}");
            }
            assert_eq!(options.is_enabled(Us, option::ECHO), *us, "{name}: us");
            assert_eq!(options.is_enabled(Him, option::ECHO), *him, "{name}: the peer");
        }
    }

    /// Each request of ours once, each request of the peer that is agreed to, and nothing that is still being
    /// negotiated.
    #[test]
    fn reports_what_is_settled() {
        const REFUSE: Policy = Policy::REFUSE_ALL;
        const AGREE: Policy = Policy::REFUSE_ALL.allow(Us, option::ECHO);
        // Name, policy, each act and what it settles.
        type Row = (&'static str, Policy, &'static [(Act, Option<bool>)]);
        let table: &[Row] = &[
            ("refused by us", REFUSE, &[(Receive(Do), None)]),
            ("agreed, sent twice", AGREE, &[(Receive(Do), Some(true)), (Receive(Do), None)]),
            (
                "switched off by the peer, sent twice",
                AGREE,
                &[(Receive(Do), Some(true)), (Receive(Dont), Some(false)), (Receive(Dont), None)],
            ),
            ("requested, agreed", REFUSE, &[(Enable(Us), None), (Receive(Do), Some(true))]),
            ("requested, refused", REFUSE, &[(Enable(Us), None), (Receive(Dont), Some(false))]),
            (
                "switched off",
                REFUSE,
                &[(Enable(Us), None), (Receive(Do), Some(true)), (Disable(Us), None), (Receive(Dont), Some(false))],
            ),
            (
                "on, then off before the answer",
                REFUSE,
                &[(Enable(Us), None), (Disable(Us), None), (Receive(Do), None), (Receive(Dont), Some(false))],
            ),
            (
                "on, then off, and the peer refuses",
                REFUSE,
                &[(Enable(Us), None), (Disable(Us), None), (Receive(Dont), Some(false))],
            ),
            (
                "off and on again",
                AGREE,
                &[
                    (Receive(Do), Some(true)),
                    (Disable(Us), None),
                    (Enable(Us), None),
                    (Receive(Dont), None),
                    (Receive(Do), Some(true)),
                ],
            ),
            (
                "our no answered by yes",
                AGREE,
                &[(Receive(Do), Some(true)), (Disable(Us), None), (Receive(Do), Some(false))],
            ),
        ];
        for (name, policy, acts) in table {
            let mut options = Negotiation::default();
            for (at, (what, want)) in acts.iter().enumerate() {
                let got = match *what {
                    Receive(verb) => options.receive(verb, option::ECHO, policy).settled,
                    _ => {
                        act(&mut options, what, option::ECHO, policy);
                        None
                    }
                };
                assert_eq!(got, want.map(|is_on| (Us, is_on)), "{name}, step {at}");
            }
        }
    }

    /// RFC 860, and Debian's telnets, which show nothing until they get an answer.
    #[test]
    fn a_timing_mark_is_answered_each_time_and_has_no_state() {
        let agree = Policy::REFUSE_ALL.allow(Us, TIMING_MARK).allow(Him, TIMING_MARK);
        for policy in [Policy::REFUSE_ALL, agree] {
            let mut options = Negotiation::default();
            for _ in 0..3 {
                assert_eq!(options.receive(Do, TIMING_MARK, &policy).answer, Some(*b"\xff\xfc\x06"));
            }
            for verb in [Will, Wont, Dont] {
                assert_eq!(options.receive(verb, TIMING_MARK, &policy), Outcome::default(), "{verb:?} is an answer");
            }
            assert_eq!(options.enable(Us, TIMING_MARK), None);
            assert!(!options.is_enabled(Us, TIMING_MARK) && options.entries.is_empty());
        }
    }

    #[test]
    fn all_options_of_plink_are_refused() {
        let mut opening = &b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03"[..];
        let (mut decoder, mut options, mut answers) = (Decoder::default(), Negotiation::default(), Vec::new());
        while let Some(event) = decoder.next_event(&mut opening) {
            let Event::Negotiate { verb, option } = event else { panic!("{event:?}: no data, no commands") };
            answers.extend(options.receive(verb, option, &Policy::REFUSE_ALL).answer);
        }
        assert_eq!(
            answers.as_flattened(),
            b"\xff\xfe\x1f\xff\xfe\x20\xff\xfe\x18\xff\xfe\x27\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03"
        );
    }

    #[test]
    fn owns_heap_only_for_options_that_are_on_or_were_refused() {
        let mut policy = Policy::REFUSE_ALL;
        let mut options = Negotiation::default();
        for option in 0..=255 {
            for verb in [Dont, Wont] {
                options.receive(verb, option, &policy);
            }
            assert_eq!(options.entries.capacity(), 0, "nothing to refuse, so {option} uses no memory");
            policy = policy.allow(Us, option).allow(Him, option);
        }
        for _ in 0..2 {
            for option in 0..=255 {
                options.receive(Do, option, &policy);
                options.receive(Will, option, &policy);
            }
        }
        assert_eq!(options.entries.len(), 255, "all but the timing mark, each once");
        assert!(options.entries.is_sorted_by_key(|entry| entry.option));
        for option in 0..=255 {
            options.receive(Dont, option, &policy);
            options.receive(Wont, option, &policy);
            assert_eq!(options.is_enabled(Him, 255), option < 255, "the other options do not change");
        }
        assert_eq!(options.entries.capacity(), 0);
        for _ in 0..100 {
            for option in 0..=255 {
                options.receive(Do, option, &Policy::REFUSE_ALL);
                options.receive(Will, option, &Policy::REFUSE_ALL);
            }
        }
        assert_eq!(options.entries.len(), 255, "each refused option once");
        assert!(options.entries.capacity() * size_of::<Entry>() <= 1024);
    }

    /// The number of answers to `times` rounds of requests for an option.
    fn answers(options: &mut Negotiation, round: &[Verb], option: u8, policy: &Policy, times: usize) -> usize {
        let mut count = 0;
        for _ in 0..times {
            for verb in round {
                count += usize::from(options.receive(*verb, option, policy).answer.is_some());
            }
        }
        count
    }

    #[test]
    fn after_64_refusals_of_an_option_further_requests_are_not_answered() {
        const LIMIT: usize = REFUSAL_LIMIT as usize;
        assert_eq!(LIMIT, 64);
        let refuse = Policy::REFUSE_ALL;
        let table: &[(&str, &[Verb])] = &[
            ("DO", &[Do]),
            ("WILL", &[Will]),
            ("both", &[Do, Will]),
            ("withdrawn in between", &[Do, Dont]),
            ("all verbs", &[Will, Wont, Do, Dont]),
        ];
        for (name, round) in table {
            let mut options = Negotiation::default();
            assert_eq!(answers(&mut options, round, option::TTYPE, &refuse, 1000), LIMIT, "{name}");
            assert_eq!(
                answers(&mut options, &[Will], option::NAWS, &refuse, 1),
                1,
                "{name}: other options are answered"
            );
            assert_eq!(answers(&mut options, &[Do], TIMING_MARK, &refuse, 1000), 1000, "{name}: timing marks are, too");
            // The option can still be switched on, by either side.
            assert_eq!(options.enable(Him, option::TTYPE), Some(negotiation(Do, option::TTYPE)), "{name}");
            assert_eq!(options.receive(Will, option::TTYPE, &refuse).settled, Some((Him, true)), "{name}");
            let agree = Policy::REFUSE_ALL.allow(Us, option::TTYPE);
            assert_eq!(
                options.receive(Do, option::TTYPE, &agree).answer,
                Some(negotiation(Will, option::TTYPE)),
                "{name}"
            );
            assert_eq!(
                options.receive(Dont, option::TTYPE, &agree).answer,
                Some(negotiation(Wont, option::TTYPE)),
                "{name}"
            );
            assert_eq!(
                answers(&mut options, &[Do], option::TTYPE, &refuse, 10),
                0,
                "{name}: it was refused often enough"
            );
        }
        // An option that is agreed to may be switched as often as the peer likes.
        let agree = Policy::REFUSE_ALL.allow(Us, option::ECHO);
        assert_eq!(answers(&mut Negotiation::default(), &[Do, Dont], option::ECHO, &agree, 1000), 2000);
    }

    #[derive(Default)]
    struct End {
        options: Negotiation,
        policy: Policy,
        inbox: VecDeque<[u8; 3]>,
    }

    /// Delivers one verb to `to`. Returns whether there was one.
    fn deliver(to: &mut End, from: &mut End) -> bool {
        let Some([_, verb, option]) = to.inbox.pop_front() else { return false };
        let verb = VERBS.into_iter().find(|known| *known as u8 == verb).expect("one of the four");
        from.inbox.extend(to.options.receive(verb, option, &to.policy).answer);
        true
    }

    fn few_options() -> impl Strategy<Value = u8> {
        prop::sample::select(vec![option::ECHO, option::SGA, TIMING_MARK])
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        let allowed = (prop::sample::select(&SIDES[..]), few_options());
        prop::collection::vec(allowed, 0..5).prop_map(|all| {
            all.into_iter().fold(Policy::REFUSE_ALL, |policy, (side, option)| policy.allow(side, option))
        })
    }

    proptest! {
        /// Two sides, with any requests that cross in any way, stop sending at some point and agree on which options
        /// are on.
        #[test]
        fn two_sides_stop_sending_and_agree(
            policies in (any_policy(), any_policy()),
            acts in prop::collection::vec((0..4, any::<bool>(), prop::sample::select(&SIDES[..]), few_options()), 0..40),
        ) {
            let mut a = End { policy: policies.0, ..End::default() };
            let mut b = End { policy: policies.1, ..End::default() };
            for (kind, swap, side, option) in &acts {
                let (me, you) = if *swap { (&mut b, &mut a) } else { (&mut a, &mut b) };
                match kind {
                    0 => you.inbox.extend(me.options.enable(*side, *option)),
                    1 => you.inbox.extend(me.options.disable(*side, *option)),
                    _ => drop(deliver(me, you)),
                }
            }
            // Each request needs a verb and an answer, and each answer may release one request that was noted.
            let mut verbs = 0;
            while deliver(&mut a, &mut b) | deliver(&mut b, &mut a) {
                verbs += 1;
                prop_assert!(verbs <= 4 * acts.len(), "they do not stop");
            }
            for option in [option::ECHO, option::SGA, TIMING_MARK] {
                prop_assert_eq!(a.options.is_enabled(Us, option), b.options.is_enabled(Him, option));
                prop_assert_eq!(a.options.is_enabled(Him, option), b.options.is_enabled(Us, option));
            }
            for entry in a.options.entries.iter().chain(&b.options.entries) {
                prop_assert!(SIDES.iter().all(|side| matches!(entry.state(*side), State::Yes | State::No)));
            }
        }

        /// Only a verb that changes something is answered, and the memory is bounded by the number of options.
        #[test]
        fn many_verbs_get_few_answers(
            policy in any_policy(),
            verbs in prop::collection::vec((prop::sample::select(&VERBS[..]), any::<u8>().prop_map(|byte| byte % 8)), 0..60),
        ) {
            let mut options = Negotiation::default();
            for (verb, option) in verbs {
                let was_on = match verb {
                    Will | Wont => options.is_enabled(Him, option),
                    Do | Dont => options.is_enabled(Us, option),
                };
                let answer = options.receive(verb, option, &policy).answer;
                let is_change = match verb {
                    Will | Do => !was_on,
                    Wont | Dont => was_on,
                };
                let is_timing = option == TIMING_MARK;
                prop_assert_eq!(answer.is_some(), if is_timing { verb == Do } else { is_change });
                prop_assert!(options.entries.len() <= 8, "an entry for each option");
            }
        }
    }
}
