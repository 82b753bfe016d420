//! Tests of all programs: what is shown, and what they print.

use super::explain::Owner;
use super::language::Language;
use super::programs;
use super::question::Program;
use super::questions::questions;
use super::stage;

/// How often each program runs: its order must be the same each time, on any machine.
const TIMES: usize = 20;

#[test]
fn a_program_prints_the_same_order_every_time() {
    for question in questions(Language::English) {
        let title = &question.title;
        let mut orders = Vec::new();
        for _ in 0..TIMES {
            let run = stage::run(|lp| question.program.start(lp), question.time).expect("the program runs");
            orders.push(run.order().into_iter().map(str::to_owned).collect::<Vec<_>>());
        }
        if question.is_race() {
            orders.iter_mut().for_each(|order| order.sort_unstable());
        }
        assert!(orders.iter().all(|order| *order == orders[0]), "{title}: {orders:?}");
    }
}

#[test]
fn each_line_of_a_program_is_printed_once_and_is_in_the_trace() {
    for question in questions(Language::English) {
        let run = stage::run(|lp| question.program.start(lp), question.time).expect("the program runs");
        let (mut printed, mut written) = (run.order(), question.texts());
        printed.sort_unstable();
        written.sort_unstable();
        assert_eq!(printed, written, "{}", question.title);
        let table = run.table(Language::English, 200, |_| 'x', |_| None);
        assert_eq!(table.lines().count(), printed.len(), "{}: {table}", question.title);
    }
}

#[test]
fn the_call_of_a_callback_is_found() {
    let table = [
        (programs::DRAINED, "much", Some(("write", Some(0)))),
        (programs::DRAINED, "little", Some(("write", Some(1)))),
        (programs::WRITTEN, "written", Some(("write", None))),
        (programs::FINISH_END_CLOSE, "callback", Some(("end", None))),
        (programs::RACE, "timeout", None),
        (programs::RACE, "not a line of the program", None),
    ];
    for (program, text, want) in table {
        let want = want.map(|(method, nth)| Owner { method: method.to_owned(), nth });
        assert_eq!(program.owner_of_callback(text), want, "{text}");
    }
}

#[test]
fn a_listing_is_the_function_with_letters() {
    for question in questions(Language::English) {
        let (source, listing) = (question.program.source(), question.listing());
        assert!(source.starts_with("fn ") && source.ends_with("\n    Ok(())\n}"), "{source}");
        assert_eq!(source.matches("\nfn ").count(), 0, "one function: {source}");
        let without_margin: Vec<_> = listing.lines().map(|line| line.get(6..).unwrap_or_default()).collect();
        assert_eq!(without_margin.join("\n"), source);
        let letters: String = listing.lines().flat_map(|line| line.chars().take(4)).filter(|c| *c != ' ').collect();
        assert!("abcdefghijklmnopqrstuvwxyz".starts_with(&letters), "{letters}");
        assert_eq!(letters.len(), question.texts().len(), "{listing}");
    }
}
