//! Who does what: telnet options, negotiated by the Q method (RFC 1143).
//!
//! Either side may say WILL and DO whenever it likes, requests and answers look the same, and they cross on the way.
//! Answer everything, and two programs thank each other for ever; RFC 1143 tells how to never do that: remember for
//! each option and side what was asked, and **answer only what changes something**.
//!
//! ```text
//!   state           he says yes         he says no       we want it on     we want it off
//!   No              agreed: Yes, "yes"  ·                WantYes, "yes"    ·
//!                   refused: "no"
//!   Yes             ·                   No, "no"         ·                 WantNo, "no"
//!   WantYes         Yes                 No               ·                 WantYesThenNo
//!   WantYesThenNo   WantNo, "no"        No               WantYes           ·
//!   WantNo          No (his mistake)    No               WantNoThenYes     ·
//!   WantNoThenYes   Yes (his mistake)   WantYes, "yes"   ·                 WantNo
//! ```
//!
//! In quotes what we say. While an answer is on its way to us we ask nothing more: a second thought is noted
//! (`Then…`) and said when the answer has come.
//!
//! The same holds for both sides, with other words:
//!
//! | | he says | we say |
//! |---|---|---|
//! | what we do ([`Side::Us`]) | DO, DONT | WILL, WONT |
//! | what he does ([`Side::Him`]) | WILL, WONT | DO, DONT |
//!
//! A timing mark (RFC 860) looks like an option and is none: "DO TIMING-MARK" asks whether we have read as far as this.
//! Both telnets of Debian ask it after Ctrl-C and *show nothing more* until they are answered, so it is answered each
//! time. With WONT: WILL would promise that all before the mark has been dealt with, which nobody knows here.
//!
//! Bounds: 24 bytes, plus 3 per option that is on or being talked about. He can switch on only what the [`Policy`]
//! allows, so what he costs is ours to say; refusing leaves no trace. There are 255 options and the timing mark.

use super::codec::{Verb, negotiation, option::TIMING_MARK};

/// Who an option is about: RFC 1143's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// What this end of the connection does.
    Us,
    /// What the other end does.
    Him,
}

impl Side {
    /// How this side's options are switched on and off from here.
    fn say(self, on: bool) -> Verb {
        match (self, on) {
            (Side::Us, true) => Verb::Will,
            (Side::Us, false) => Verb::Wont,
            (Side::Him, true) => Verb::Do,
            (Side::Him, false) => Verb::Dont,
        }
    }
}

/// Which options we agree to when he asks: none, unless allowed. One serves all connections of a server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Policy {
    us: OptionSet,
    him: OptionSet,
}

/// One bit for each of the 256 options.
type OptionSet = [u64; 4];

impl Policy {
    /// Refuses everything: `DO x` is answered with `WONT x`, `WILL x` with `DONT x`.
    pub const REFUSE_ALL: Policy = Policy { us: [0; 4], him: [0; 4] };

    /// The same, but with `option` agreed to on that side.
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

    /// Whether we agree when he asks for it.
    pub const fn allows(&self, side: Side, option: u8) -> bool {
        let set = match side {
            Side::Us => &self.us,
            Side::Him => &self.him,
        };
        set[option as usize / 64] >> (option % 64) & 1 == 1
    }
}

/// The options of one connection: what is on, and what has been asked.
///
/// 24 bytes, and no heap as long as all options are off.
#[derive(Default, Debug)]
pub struct Negotiation {
    /// Invariant: sorted by option, each at most once, and none of which both sides are [`State::No`].
    entries: Vec<Entry>,
}

const _: () = assert!(size_of::<Negotiation>() <= 24 && size_of::<Entry>() == 3);

#[derive(Clone, Copy, Debug)]
struct Entry {
    option: u8,
    us: State,
    him: State,
}

/// RFC 1143, section 7; a `Want` state "then" something is the RFC's queue bit set to OPPOSITE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    No,
    Yes,
    WantNo,
    WantNoThenYes,
    WantYes,
    WantYesThenNo,
}

/// What a word from the peer comes to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    /// What to send him, if anything.
    pub answer: Option<[u8; 3]>,
    /// Whose option it was about, and whether that is on now; if the word has changed something and nothing more is to come.
    ///
    /// So each wish of ours is settled once: by his yes, or by his no, which leaves off what was off. A second thought is
    /// settled together with the first.
    pub settled: Option<(Side, bool)>,
}

/// What to do about a word or a wish: the state after it, and whether to say yes (`true`), no (`false`) or nothing.
type Step = (State, Option<bool>);

impl State {
    /// Whether it is on, unless that is still being talked about.
    fn settled(self) -> Option<bool> {
        match self {
            State::Yes => Some(true),
            State::No => Some(false),
            _ => None,
        }
    }

    /// He said yes: DO or WILL.
    fn on_yes(self, we_agree: bool) -> Step {
        match self {
            State::No if we_agree => (State::Yes, Some(true)),
            State::No => (State::No, Some(false)),
            State::Yes => (State::Yes, None),
            // He answers our no with yes, which nobody may: "Error: DONT answered by WILL" in the RFC.
            State::WantNo => (State::No, None),
            State::WantNoThenYes => (State::Yes, None),
            State::WantYes => (State::Yes, None),
            State::WantYesThenNo => (State::WantNo, Some(false)),
        }
    }

    /// He said no: DONT or WONT. It cannot be refused.
    fn on_no(self) -> Step {
        match self {
            State::No => (State::No, None),
            State::Yes => (State::No, Some(false)),
            State::WantNo => (State::No, None),
            State::WantNoThenYes => (State::WantYes, Some(true)),
            State::WantYes | State::WantYesThenNo => (State::No, None),
        }
    }

    /// We want it on.
    fn enable(self) -> Step {
        match self {
            State::No => (State::WantYes, Some(true)),
            State::WantNo => (State::WantNoThenYes, None),
            State::WantYesThenNo => (State::WantYes, None),
            State::Yes | State::WantYes | State::WantNoThenYes => (self, None),
        }
    }

    /// We want it off.
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
    /// Takes in a negotiation from the peer and returns what to answer, if anything.
    ///
    /// At most one answer to each word, and none to an answer, so that no peer can start a loop.
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
            // WILL, WONT and DONT are answers to a question that we never ask.
            let answer = (verb == Verb::Do).then_some(negotiation(Verb::Wont, TIMING_MARK));
            return Outcome { answer, settled: None };
        }
        let mut settled = None;
        let answer = self.step(side, option, |before| {
            let (after, say) = if on { before.on_yes(policy.allows(side, option)) } else { before.on_no() };
            if after != before {
                settled = after.settled().map(|is_on| (side, is_on));
            }
            (after, say)
        });
        Outcome { answer, settled }
    }

    /// We want `option` on: returns what to send, if anything. It is on when he has agreed.
    ///
    /// Asking agrees: no policy has to allow it. A timing mark is no option and cannot be asked for.
    pub fn enable(&mut self, side: Side, option: u8) -> Option<[u8; 3]> {
        if option == TIMING_MARK {
            return None;
        }
        self.step(side, option, State::enable)
    }

    /// We want `option` off: returns what to send, if anything. It counts as off from now on.
    pub fn disable(&mut self, side: Side, option: u8) -> Option<[u8; 3]> {
        self.step(side, option, State::disable)
    }

    /// Whether `option` is on for that side: both have agreed, and nobody has taken it back.
    pub fn is_enabled(&self, side: Side, option: u8) -> bool {
        let Ok(at) = self.find(option) else { return false };
        self.entries[at].state(side) == State::Yes
    }

    /// Whether all are off and none is being talked about, as with a fresh one.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, option: u8) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&option, |entry| entry.option)
    }

    fn step(&mut self, side: Side, option: u8, step: impl FnOnce(State) -> Step) -> Option<[u8; 3]> {
        let at = self.find(option);
        let mut entry = match at {
            Ok(at) => self.entries[at],
            Err(_) => Entry { option, us: State::No, him: State::No },
        };
        let (state, say) = step(entry.state(side));
        *entry.state_mut(side) = state;
        match (at, entry.is_off()) {
            (Ok(at), false) => self.entries[at] = entry,
            (Err(at), false) => self.entries.insert(at, entry),
            (Ok(_), true) if self.entries.len() == 1 => self.entries = Vec::new(),
            (Ok(at), true) => drop(self.entries.remove(at)),
            (Err(_), true) => {}
        }
        say.map(|on| negotiation(side.say(on), option))
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

    fn is_off(&self) -> bool {
        self.us == State::No && self.him == State::No
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
        // What happens, and what is said to that; then whether it is on for us, and for him.
        type Row = (&'static str, Policy, &'static [(Act, Option<Verb>)], bool, bool);
        let table: &[Row] = &[
            ("DO refused, each time", REFUSE, &[(Receive(Do), Some(Wont)), (Receive(Do), Some(Wont))], false, false),
            ("WILL refused", REFUSE, &[(Receive(Will), Some(Dont)), (Receive(Will), Some(Dont))], false, false),
            ("off already", REFUSE, &[(Receive(Dont), None), (Receive(Wont), None)], false, false),
            ("DO agreed, once", AGREE, &[(Receive(Do), Some(Will)), (Receive(Do), None)], true, false),
            ("WILL agreed, once", AGREE, &[(Receive(Will), Some(Do)), (Receive(Will), None)], false, true),
            ("both sides", AGREE, &[(Receive(Do), Some(Will)), (Receive(Will), Some(Do))], true, true),
            (
                "ended by him",
                AGREE,
                &[(Receive(Will), Some(Do)), (Receive(Wont), Some(Dont)), (Receive(Wont), None)],
                false,
                false,
            ),
            ("asked, agreed", REFUSE, &[(Enable(Us), Some(Will)), (Receive(Do), None)], true, false),
            ("asked, refused", REFUSE, &[(Enable(Him), Some(Do)), (Receive(Wont), None)], false, false),
            ("asked twice", REFUSE, &[(Enable(Us), Some(Will)), (Enable(Us), None)], false, false),
            ("asked, and on already", AGREE, &[(Receive(Do), Some(Will)), (Enable(Us), None)], true, false),
            ("asked off, and off already", AGREE, &[(Disable(Us), None)], false, false),
            (
                "asked off",
                AGREE,
                &[(Receive(Do), Some(Will)), (Disable(Us), Some(Wont)), (Receive(Dont), None)],
                false,
                false,
            ),
            (
                "second thoughts: on, then off",
                REFUSE,
                &[(Enable(Him), Some(Do)), (Disable(Him), None), (Receive(Will), Some(Dont)), (Receive(Wont), None)],
                false,
                false,
            ),
            (
                "on, off, and on again while the no is on its way",
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
                "second thoughts, and he refuses anyway",
                REFUSE,
                &[(Enable(Him), Some(Do)), (Disable(Him), None), (Receive(Wont), None)],
                false,
                false,
            ),
            (
                "third thoughts: on, off, on",
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
                "DONT answered by WILL, and wanted again",
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
            assert_eq!(options.is_enabled(Him, option::ECHO), *him, "{name}: him");
        }
    }

    /// Each wish once, each of his that is agreed to, and nothing that is still being talked about.
    #[test]
    fn says_what_is_settled() {
        const REFUSE: Policy = Policy::REFUSE_ALL;
        const AGREE: Policy = Policy::REFUSE_ALL.allow(Us, option::ECHO);
        // What happens, and what is settled by it.
        type Row = (&'static str, Policy, &'static [(Act, Option<bool>)]);
        let table: &[Row] = &[
            ("refused by us", REFUSE, &[(Receive(Do), None)]),
            ("agreed, said twice", AGREE, &[(Receive(Do), Some(true)), (Receive(Do), None)]),
            (
                "taken back, said twice",
                AGREE,
                &[(Receive(Do), Some(true)), (Receive(Dont), Some(false)), (Receive(Dont), None)],
            ),
            ("a wish", REFUSE, &[(Enable(Us), None), (Receive(Do), Some(true))]),
            ("a wish refused", REFUSE, &[(Enable(Us), None), (Receive(Dont), Some(false))]),
            (
                "switched off",
                REFUSE,
                &[(Enable(Us), None), (Receive(Do), Some(true)), (Disable(Us), None), (Receive(Dont), Some(false))],
            ),
            (
                "a second thought",
                REFUSE,
                &[(Enable(Us), None), (Disable(Us), None), (Receive(Do), None), (Receive(Dont), Some(false))],
            ),
            (
                "a second thought that he forestalls",
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
                "no answered by yes",
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

    /// RFC 860, and the telnets that show nothing before they are answered.
    #[test]
    fn a_timing_mark_is_answered_each_time_and_never_a_state() {
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
    fn plink_is_refused_everything() {
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
    fn owns_heap_only_for_options_that_are_on() {
        let mut policy = Policy::REFUSE_ALL;
        let mut options = Negotiation::default();
        for option in 0..=255 {
            for verb in VERBS {
                options.receive(verb, option, &policy);
            }
            assert_eq!(options.entries.capacity(), 0, "refusing {option} leaves no trace");
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
            assert_eq!(options.is_enabled(Him, 255), option < 255, "the others stay as they were");
        }
        assert_eq!(options.entries.capacity(), 0);
    }

    #[derive(Default)]
    struct End {
        options: Negotiation,
        policy: Policy,
        inbox: VecDeque<[u8; 3]>,
    }

    /// Lets one word arrive at `to`; whether there was one.
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
        /// Two of these, whatever they want and however the words cross, fall silent, and agree on what is on.
        #[test]
        fn two_ends_go_quiet_and_agree(
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
            // Each wish costs a request and an answer, and each answer may let out one wish that was noted.
            let mut words = 0;
            while deliver(&mut a, &mut b) | deliver(&mut b, &mut a) {
                words += 1;
                prop_assert!(words <= 4 * acts.len(), "they go on for ever");
            }
            for option in [option::ECHO, option::SGA, TIMING_MARK] {
                prop_assert_eq!(a.options.is_enabled(Us, option), b.options.is_enabled(Him, option));
                prop_assert_eq!(a.options.is_enabled(Him, option), b.options.is_enabled(Us, option));
            }
            for entry in a.options.entries.iter().chain(&b.options.entries) {
                prop_assert!(SIDES.iter().all(|side| matches!(entry.state(*side), State::Yes | State::No)));
            }
        }

        /// Whatever a peer says, it gets nothing for a no about what is off, and its costs stay within the policy.
        #[test]
        fn a_storm_is_answered_sparingly(
            policy in any_policy(),
            words in prop::collection::vec((prop::sample::select(&VERBS[..]), any::<u8>().prop_map(|byte| byte % 8)), 0..200),
        ) {
            let mut options = Negotiation::default();
            for (verb, option) in words {
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
                prop_assert!(options.entries.len() <= 2, "only what the policy allows");
            }
        }
    }
}
