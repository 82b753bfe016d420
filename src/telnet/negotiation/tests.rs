//! Negotiation against the table of RFC 1143, and two sides that answer each other.

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
        assert_eq!(answers(&mut options, &[Will], option::NAWS, &refuse, 1), 1, "{name}: other options are answered");
        assert_eq!(answers(&mut options, &[Do], TIMING_MARK, &refuse, 1000), 1000, "{name}: timing marks are, too");
        // The option can still be switched on, by either side.
        assert_eq!(options.enable(Him, option::TTYPE), Some(negotiation(Do, option::TTYPE)), "{name}");
        assert_eq!(options.receive(Will, option::TTYPE, &refuse).settled, Some((Him, true)), "{name}");
        let agree = Policy::REFUSE_ALL.allow(Us, option::TTYPE);
        assert_eq!(options.receive(Do, option::TTYPE, &agree).answer, Some(negotiation(Will, option::TTYPE)), "{name}");
        assert_eq!(
            options.receive(Dont, option::TTYPE, &agree).answer,
            Some(negotiation(Wont, option::TTYPE)),
            "{name}"
        );
        assert_eq!(answers(&mut options, &[Do], option::TTYPE, &refuse, 10), 0, "{name}: it was refused often enough");
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
    prop::collection::vec(allowed, 0..5)
        .prop_map(|all| all.into_iter().fold(Policy::REFUSE_ALL, |policy, (side, option)| policy.allow(side, option)))
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
