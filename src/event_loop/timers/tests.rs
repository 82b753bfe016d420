//! Node's rules for timers, one by one.

use std::collections::BTreeSet;

use super::*;

/// Runs a pass in which every timer is a timeout: it is removed after it has fired.
fn fire<T>(timers: &mut Timers<T>, now: i64) -> Vec<T> {
    fire_with(timers, now, |_, _| {})
}

/// As `fire`, calling `callback` for each timer that fires.
fn fire_with<T>(timers: &mut Timers<T>, now: i64, mut callback: impl FnMut(&mut Timers<T>, TimerId)) -> Vec<T> {
    let mut fired = Vec::new();
    timers.begin_pass(now);
    while let Some(id) = timers.next_due() {
        callback(timers, id);
        if !timers.is_armed(id) {
            fired.extend(timers.remove(id));
        }
        timers.settle();
        timers.check();
    }
    fired
}

impl<T> Timers<T> {
    /// Checks that links, lists and heap are consistent.
    pub(super) fn check(&self) {
        let mut armed = BTreeSet::new();
        for (key, list) in &self.lists.slots {
            let key = key as u32;
            assert_eq!(self.lists.by_delay.get(&list.delay), Some(&key));
            assert_eq!(self.lists.heap[list.position as usize].list, key);
            let (mut prev, mut index) = (NIL, list.first);
            while index != NIL {
                let entry = &self.entries[index];
                assert_eq!((entry.list, entry.prev, entry.delay), (key, prev, list.delay));
                assert!(armed.insert(index), "linked twice");
                (prev, index) = (index, entry.next);
            }
            assert_eq!(list.last, prev);
        }
        assert_eq!(self.lists.by_delay.len(), self.lists.slots.len());
        assert_eq!(self.lists.heap.len(), self.lists.slots.len());
        for child in 1..self.lists.heap.len() {
            assert!(self.lists.heap[(child - 1) / 2] < self.lists.heap[child]);
        }
        for (key, entry) in self.entries.iter() {
            let index = key.slot();
            assert_eq!(entry.list != NIL, armed.contains(&(index as u32)));
        }
        let referenced = armed.iter().filter(|&&index| self.entries[index].is_referenced).count();
        assert_eq!(self.referenced, referenced);
    }
}

#[test]
fn delays_are_whole_milliseconds_from_1_to_the_maximum() {
    let table: &[(&str, Duration, u32)] = &[
        ("zero is one", Duration::ZERO, 1),
        ("less than one is one", Duration::from_micros(999), 1),
        ("one point nine is one", Duration::from_micros(1900), 1),
        ("two", Duration::from_millis(2), 2),
        ("the maximum", Duration::from_millis(0x7fff_ffff), 0x7fff_ffff),
        ("within a millisecond of the maximum", Duration::from_micros(0x7fff_ffff * 1000 + 999), 0x7fff_ffff),
        ("above the maximum is one", Duration::from_millis(0x8000_0000), 1),
        ("a value that would wrap is one", Duration::from_millis((1 << 32) + 5), 1),
        ("the longest duration is one", Duration::MAX, 1),
    ];
    for (name, delay, want) in table {
        assert_eq!(delay_ms(*delay), *want, "{name}");
    }
}

#[test]
fn fires_in_nodes_order() {
    /// Start, delay, label.
    type Timer = (i64, u32, &'static str);
    /// Its time, and the labels of what fires.
    type Pass = (i64, &'static str);
    let table: &[(&str, &[Timer], &[Pass])] = &[
        (
            "by expiry, equal delays as created",
            &[(0, 120, "120a"), (0, 60, "60a"), (0, 120, "120b"), (0, 1, "1a"), (0, 60, "60b")],
            &[(200, "1a 60a 60b 120a 120b")],
        ),
        ("not before its time, and once", &[(5, 10, "a")], &[(14, ""), (15, "a"), (16, "")]),
        (
            "equal expiry: the list made first fires first",
            &[(0, 30, "30"), (10, 20, "20"), (20, 10, "10")],
            &[(30, "30 20 10")],
        ),
        (
            "a list runs ahead of another",
            &[(0, 100, "100a"), (50, 100, "100b-at-150"), (0, 120, "120")],
            &[(200, "100a 100b-at-150 120")],
        ),
        (
            "equal expiry: the list moved last fires last",
            &[(0, 10, "10a"), (5, 10, "10b-at-15"), (5, 10, "10c-at-15"), (0, 15, "15")],
            &[(10, "10a"), (15, "15 10b-at-15 10c-at-15")],
        ),
        ("a start after the pass's time", &[(105, 1, "a")], &[(100, ""), (105, ""), (106, "a")]),
        (
            "a start after the pass's time, behind a due timer",
            &[(0, 10, "a"), (105, 10, "b")],
            &[(100, "a"), (114, ""), (115, "b")],
        ),
        ("behind a later start, a little late", &[(9, 10, "a"), (7, 10, "b")], &[(17, ""), (18, ""), (19, "a b")]),
    ];
    for (name, inserts, passes) in table {
        let mut timers = Timers::new();
        for &(start, delay, label) in *inserts {
            timers.insert(start, delay, label);
        }
        for (now, want) in *passes {
            assert_eq!(fire(&mut timers, *now).join(" "), *want, "{name}, at {now}");
        }
        assert_eq!((timers.len(), timers.next_expiry(), timers.referenced()), (0, None, 0), "{name}");
    }
}

#[test]
fn a_timer_made_in_a_pass_waits_for_the_next() {
    let mut timers = Timers::new();
    timers.insert(0, 1, "outer");
    let fired = fire_with(&mut timers, 50, |timers, _| {
        timers.insert(50, 1, "same list");
        timers.insert(0, 2, "stale clock");
    });
    assert_eq!(fired, ["outer"]);
    assert_eq!(timers.next_expiry(), Some(51));
    assert_eq!(fire(&mut timers, 52), ["same list", "stale clock"]);
}

#[test]
fn a_due_timer_cleared_in_the_pass_does_not_run() {
    let mut timers = Timers::new();
    timers.insert(0, 10, "first");
    let others = [timers.insert(0, 10, "same list"), timers.insert(0, 11, "other list")];
    let fired = fire_with(&mut timers, 20, |timers, _| {
        for id in others {
            timers.remove(id);
        }
    });
    assert_eq!(fired, ["first"]);
}

#[test]
fn a_list_that_is_emptied_and_made_again_in_its_pass_is_a_new_list() {
    let mut timers = Timers::new();
    let ids = [timers.insert(0, 10, "a"), timers.insert(0, 10, "b"), timers.insert(0, 12, "c")];
    let fired = fire_with(&mut timers, 15, |timers, id| {
        if id == ids[0] {
            assert_eq!(timers.remove(ids[1]), Some("b"));
            assert_eq!(timers.remove(ids[0]), Some("a"));
            timers.insert(15, 10, "a again");
        }
    });
    assert_eq!(fired, ["c"]);
    assert_eq!(timers.next_expiry(), Some(25));
    assert_eq!(fire(&mut timers, 25), ["a again"]);
}

#[test]
fn an_interval_does_not_catch_up() {
    let mut timers = Timers::new();
    let id = timers.insert(0, 10, "interval");
    timers.begin_pass(35);
    assert_eq!((timers.next_due(), timers.expiry(id)), (Some(id), Some(10)));
    // The callback takes from 36 to 99.
    assert!(timers.refresh(id, 36));
    assert_eq!(timers.next_due(), None, "an overrunning callback is not repeated in the pass");
    assert_eq!(timers.next_expiry(), Some(46));
}

#[test]
fn an_interval_counts_from_before_its_callback_even_if_refreshed_in_it() {
    let mut timers = Timers::new();
    let id = timers.insert(0, 10, "interval");
    timers.begin_pass(10);
    assert_eq!(timers.next_due(), Some(id));
    timers.refresh(id, 18);
    timers.rearm(id, 11, 10);
    timers.settle();
    assert_eq!((timers.expiry(id), timers.next_expiry()), (Some(21), Some(21)));
}

#[test]
fn refresh_moves_behind_the_others_and_leaves_the_heap_alone() {
    let mut timers = Timers::new();
    let a = timers.insert(0, 10, "a");
    timers.insert(4, 10, "b");
    assert!(timers.refresh(a, 5));
    assert_eq!((timers.expiry(a), timers.next_expiry()), (Some(15), Some(10)), "too early, but never too late");
    assert_eq!(fire(&mut timers, 10), [""; 0]);
    assert_eq!(timers.next_expiry(), Some(14));
    assert_eq!(fire(&mut timers, 15), ["b", "a"]);
}

#[test]
fn refresh_arms_a_fired_timer_again_and_keeps_its_reference_state() {
    for is_referenced in [true, false] {
        let mut timers = Timers::new();
        let id = timers.insert(0, 10, "a");
        timers.set_referenced(id, is_referenced);
        timers.begin_pass(10);
        assert_eq!(timers.next_due(), Some(id));
        timers.settle();
        assert_eq!((timers.is_armed(id), timers.referenced(), timers.next_expiry()), (false, 0, None));
        assert!(timers.contains(id));

        assert!(timers.refresh(id, 12));
        assert_eq!((timers.is_armed(id), timers.is_referenced(id)), (true, is_referenced));
        assert_eq!((timers.referenced(), timers.next_expiry()), (usize::from(is_referenced), Some(22)));
    }
}

#[test]
fn rearm_changes_the_delay_of_an_armed_timer() {
    let mut timers = Timers::new();
    let id = timers.insert(0, 10, "a");
    assert!(timers.rearm(id, 1, 5));
    assert_eq!((timers.expiry(id), timers.next_expiry(), timers.referenced()), (Some(6), Some(6), 1));
    timers.check();
}

/// Node moves the list when the callback returns, before the ticks. Otherwise the timer of the tick would fire first.
#[test]
fn a_list_takes_its_next_place_before_the_ticks() {
    let mut timers = Timers::new();
    timers.insert(0, 10, "a");
    timers.insert(3, 10, "b");
    timers.begin_pass(10);
    let a = timers.next_due().expect("a is due");
    timers.remove(a);
    timers.settle();
    timers.insert(10, 3, "made in a tick");
    assert_eq!(timers.next_due(), None);
    assert_eq!(fire(&mut timers, 13), ["b", "made in a tick"]);
}

#[test]
fn references_count_while_armed() {
    let mut timers = Timers::new();
    let id = timers.insert(0, 10, ());
    for (is_referenced, want) in [(true, 1), (false, 0), (false, 0), (true, 1)] {
        timers.set_referenced(id, is_referenced);
        assert_eq!((timers.is_referenced(id), timers.referenced()), (is_referenced, want));
    }
    timers.begin_pass(10);
    timers.next_due();
    timers.set_referenced(id, false);
    timers.set_referenced(id, true);
    assert_eq!(timers.referenced(), 0, "a fired timer keeps nothing alive");
    timers.refresh(id, 10);
    timers.remove(id);
    assert_eq!(timers.referenced(), 0);
}

#[test]
fn a_stale_id_finds_nothing() {
    let mut timers = Timers::new();
    let old = timers.insert(0, 10, "old");
    assert_eq!(timers.remove(old), Some("old"));
    let new = timers.insert(0, 10, "new");
    assert_eq!((new.index, timers.len()), (old.index, 1), "the slot is used again");

    assert_eq!(timers.remove(old), None);
    assert!(!timers.refresh(old, 5) && !timers.rearm(old, 5, 5));
    assert!(!timers.contains(old) && !timers.is_armed(old) && !timers.is_referenced(old));
    assert_eq!(timers.payload_mut(old), None);
    assert_eq!(timers.expiry(old), None);
    timers.set_referenced(old, false);
    assert_eq!(timers.payload_mut(new), Some(&mut "new"));
    assert_eq!((timers.referenced(), timers.expiry(new)), (1, Some(10)));
}

#[test]
fn serials_wrap_around_zero() {
    let mut timers = Timers::new();
    timers.next_serial = NonZeroU32::MAX;
    assert_eq!(timers.insert(0, 1, ()).serial, NonZeroU32::MAX);
    assert_eq!(timers.insert(0, 1, ()).serial, NonZeroU32::MIN);
}

#[cfg(feature = "trace")]
#[test]
fn late_timers_are_counted_in_all_lists() {
    let mut timers = Timers::new();
    assert_eq!(timers.late(1000), None);
    for (start, delay) in [(0, 10), (5, 10), (30, 10), (0, 20), (0, 500)] {
        timers.insert(start, delay, ());
    }
    assert_eq!(timers.late(9), None, "nothing is due");
    assert_eq!(timers.late(10), Some((1, 0)), "a timer that has just become due is 0 ms late");
    assert_eq!(timers.late(21), Some((3, 11)));
    assert_eq!(fire(&mut timers, 21).len(), 3);
    assert_eq!(timers.late(21), None, "they have fired");
}

#[test]
fn setting_and_clearing_repeatedly_takes_no_more_memory() {
    let mut timers = Timers::new();
    let capacities =
        |timers: &Timers<u32>| (timers.entries.capacity(), timers.lists.slots.capacity(), timers.lists.heap.capacity());
    let mut ids: Vec<TimerId> = (0..100).map(|n| timers.insert(0, 1 + n % 10, n)).collect();
    let before = capacities(&timers);
    let table_before = timers.lists.by_delay.capacity();
    for n in 0..100_000_u32 {
        let id = &mut ids[(n % 100) as usize];
        timers.remove(*id);
        *id = timers.insert(i64::from(n), 1 + n % 7919 % 10, n);
    }
    for id in ids {
        timers.remove(id);
    }
    // A delay never used before each time: lists come and go.
    for n in 1..100_000 {
        let id = timers.insert(0, n, n);
        timers.remove(id);
    }
    assert_eq!(capacities(&timers), before);
    assert!(
        timers.lists.by_delay.capacity() <= 2 * table_before + 1,
        "the table may grow once, to remove deleted entries"
    );
    assert_eq!((timers.len(), timers.lists.slots.len()), (0, 0));
    timers.check();
}

#[test]
fn after_many_timers_memory_is_given_back_and_ids_still_find_their_timers() {
    let mut timers = Timers::new();
    let first = timers.insert(0, 1, 1);
    let others: Vec<_> = (0..10_000).map(|_| timers.insert(0, 1, 0)).collect();
    let last = timers.insert(0, 1, 2);
    for id in others {
        assert_eq!(timers.remove(id), Some(0));
    }
    assert_eq!(timers.remove(last), Some(2));
    assert!(timers.entries.capacity() > 10_000);
    timers.shrink();
    assert!(timers.entries.capacity() < 100, "{}", timers.entries.capacity());
    assert_eq!((timers.remove(last), timers.remove(first)), (None, Some(1)));
}
