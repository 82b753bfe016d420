//! Long answers are spread over the turns of the watched loop.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bucle::Loop;
use bucle::inspect::{Checked, Lesson, Lessons, Options};
use serde_json::json;

use crate::client::{Kept, Watched};

/// How many requests arrive together.
const TOGETHER: usize = 12;

/// Notes in which turn of the watched loop each of its lessons has run.
struct NotesTurns {
    turns: Arc<AtomicU64>,
    ran: Arc<Mutex<Vec<u64>>>,
}

impl Lessons for NotesTurns {
    fn list(&self, _: &str) -> Vec<Lesson> {
        Vec::new()
    }

    fn check(&self, _: usize, order: &[usize], _: &str) -> Result<Checked, String> {
        self.ran.lock().expect("no test panics with it").push(self.turns.load(Ordering::Relaxed));
        Ok(Checked { is_right: true, order: order.to_vec(), text: String::new() })
    }
}

/// Counts the turns of a loop, and keeps it turning.
fn count_turns(lp: &mut Loop, turns: Arc<AtomicU64>) {
    lp.set_immediate(move |lp| {
        turns.fetch_add(1, Ordering::Relaxed);
        count_turns(lp, turns);
    });
}

fn are_different(turns: &[u64]) -> bool {
    turns.iter().collect::<HashSet<_>>().len() == turns.len()
}

#[test]
fn between_two_lessons_the_watched_loop_has_its_turn() {
    let (turns, ran): (Arc<AtomicU64>, Arc<Mutex<Vec<u64>>>) = Default::default();
    let lessons = NotesTurns { turns: Arc::clone(&turns), ran: Arc::clone(&ran) };
    let watched = Watched::with_lessons(lessons, |lp| count_turns(lp, turns));
    let lesson = json!({ "lesson": 0, "order": [] }).to_string();
    let mut clients: Vec<Kept> = (0..TOGETHER).map(|_| watched.page.open()).collect();
    watched.while_busy(|| clients.iter_mut().for_each(|client| client.send("POST", "/lesson", &lesson)));
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
    // And many on one connection.
    (0..TOGETHER).for_each(|_| clients[0].send("POST", "/lesson", &lesson));
    (0..TOGETHER).for_each(|_| assert_eq!(clients[0].answer().status, 200));
    let ran = ran.lock().expect("no test panics with it");
    assert!(ran.len() == 2 * TOGETHER && are_different(&ran), "{ran:?}");
}

#[test]
fn between_two_traces_the_watched_loop_has_its_turn() {
    let watched = Watched::with(Options::default(), |lp| count_turns(lp, Arc::default()));
    let mut clients: Vec<Kept> = (0..TOGETHER).map(|_| watched.page.open()).collect();
    watched.while_busy(|| clients.iter_mut().for_each(|client| client.send("GET", "/trace.json?last=0s", "")));
    let newest_turn = |client: &mut Kept| {
        let events = client.answer().json();
        let turns = events.as_array().expect("a list").iter().filter_map(|event| event["args"]["turn"].as_u64());
        turns.max().expect("a record")
    };
    let written: Vec<u64> = clients.iter_mut().map(newest_turn).collect();
    assert!(are_different(&written), "{written:?}");
}

#[test]
fn requests_that_follow_each_other_are_answered_also_while_the_loop_is_paused() {
    let lessons = NotesTurns { turns: Arc::default(), ran: Arc::default() };
    let watched = Watched::with_lessons(lessons, |_| {});
    watched.page.pause();
    let mut client = watched.page.open();
    let lesson = json!({ "lesson": 0, "order": [] }).to_string();
    for _ in 0..TOGETHER {
        client.send("POST", "/lesson", &lesson);
        client.send("GET", "/state.json", "");
    }
    for _ in 0..TOGETHER {
        assert_eq!(client.answer().json()["right"], true);
        assert_eq!(client.answer().json()["state"], "paused");
    }
}
