//! Timers as Node keeps them: one list per duration, a heap of lists.
//!
//! A server has a great many timers and very few durations: a hundred thousand sockets, each with the same idle limit,
//! each restarting its timer at every read. Timers of one duration fall due in the order they were started, so a plain
//! first-in first-out list keeps them sorted for nothing; only the *lists* have to be compared with each other.
//!
//! ```text
//!   heap of lists, by (expiry, order)        timers of a list, by start
//!
//!       40 ms, expiry 1040 ────────────────▶ a 1000
//!        ├─ 5 s, expiry 5200 ──────────────▶ b 200 ⇄ c 200 ⇄ d 950
//!        └─ 120 s, expiry 120500 ──────────▶ e 600 ⇄ f 1010
//!                          └ of a timer refreshed since; e's 120600 will be found out at 120500
//! ```
//!
//! A list's expiry is that of its first timer *when the list was last put in its place*. It becomes too early once that
//! timer is cleared or refreshed. A pass that comes to such a list finds nothing due there, puts it in its right place
//! and goes on. This is what makes a refresh cheap: it does not touch the heap.
//!
//! | action | cost |
//! |---|---|
//! | insert, remove | a hash look-up, a list link; O(log durations) for the first and last timer of a duration |
//! | refresh | two list links, whatever the number of timers; what it costs is reaching the neighbours in memory |
//! | next_expiry | a look at the top of the heap |
//! | a pass | one link per timer fired, O(log durations) per list looked at |
//!
//! Nothing is allocated once the tables have grown to the largest number of timers and durations alive at a time.
//!
//! Time is a number here, milliseconds since the loop's birth, and comes in as an argument. The rules are those of Node
//! 20's `lib/internal/timers.js`, including the surprising one: all due timers of a list run before another list is
//! looked at, so a timer may overtake one of another duration that expired earlier. One difference: Node keeps the
//! empty list of a cleared unreferenced timer, here it goes like any other. That shows only in the order of two timers
//! which expire in the same millisecond.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use slab::Slab;

/// Names one timer for ever: which slot it sits in, and which tenant of that slot it is.
///
/// Invariant: a serial is given out once (it wraps after 2^32 − 1 timers), so an id kept after its timer was cleared
/// finds nothing, never a stranger's timer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct TimerId {
    index: u32,
    serial: NonZeroU32,
}

const _: () = assert!(size_of::<Option<TimerId>>() == 8);

/// A delay in Node's whole milliseconds: truncated, and 1 when below 1 or above 2^31 − 1.
pub(crate) const fn delay_ms(delay: Duration) -> u32 {
    /// Node's `TIMEOUT_MAX`, a little under 25 days.
    const MAX: u128 = (1 << 31) - 1;
    match delay.as_millis() {
        ms @ 1..=MAX => ms as u32,
        _ => 1,
    }
}

/// All timers of a loop, each with a payload `T`: what to do when it fires.
///
/// A timer is *armed* while it waits for its time. Firing disarms it and leaves its slot, for the caller to rearm (an
/// interval), to [`remove`](Self::remove) (a timeout), or to keep for a later [`refresh`](Self::refresh).
///
/// A pass, with user code where the dots are, which may do anything to any timer:
///
/// ```text
///   timers.begin_pass(now);
///   while let Some(id) = timers.next_due() {
///       …the callback, then refresh an interval, or remove a timeout that nobody armed again…
///       timers.settle();
///       …ticks…
///   }
/// ```
pub(crate) struct Timers<T> {
    entries: Slab<Entry<T>>,
    lists: Lists,
    next_serial: NonZeroU32,
    /// How many entries are armed and referenced.
    referenced: usize,
    /// The time of the last pass to begin. No timer is armed with an earlier start, so none that is armed during a
    /// pass can be due in it, and no list made during a pass can come before those still to be run. This is why a
    /// pass needs no memory beyond this number: the list it is at stays on top of the heap.
    now: i64,
    /// The `order` of the list the last due timer came from.
    running: u64,
}

struct Entry<T> {
    start: i64,
    serial: NonZeroU32,
    delay: u32,
    /// The list this is linked into, [`NIL`] when disarmed.
    list: u32,
    prev: u32,
    next: u32,
    is_referenced: bool,
    payload: T,
}

const _: () = assert!(size_of::<Entry<()>>() == 32);

/// No list, no entry. A plain number because `Option<u32>` would double the links.
const NIL: u32 = u32::MAX;

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers {
            entries: Slab::new(),
            lists: Lists::default(),
            next_serial: NonZeroU32::MIN,
            referenced: 0,
            now: i64::MIN,
            running: 0,
        }
    }

    /// Arms a new, referenced timer that is due when `start + delay` has come.
    ///
    /// Here and in [`refresh`](Self::refresh) and [`rearm`](Self::rearm), a `start` before the last pass began is taken
    /// for that pass's time. Starts may be out of order otherwise, as with a clock read once per turn: a timer behind
    /// one with a later start fires with it, a little late.
    pub(crate) fn insert(&mut self, start: i64, delay: u32, payload: T) -> TimerId {
        let serial = self.next_serial;
        self.next_serial = serial.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let entry = Entry { start, serial, delay, list: NIL, prev: NIL, next: NIL, is_referenced: true, payload };
        let index = u32::try_from(self.entries.insert(entry)).expect("fewer than 2^32 timers at a time");
        self.arm(index, start, delay);
        TimerId { index, serial }
    }

    /// Clears a timer, armed or not, and gives its payload back.
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<T> {
        let entry = self.find(id)?;
        // A running timer has left its list, but takes that along if it was the last: one of the same delay started
        // later in the callback then makes a list of its own, which comes before any list made after it.
        let list = if entry.list == NIL { self.lists.find(entry.delay) } else { Some(self.disarm(id.index)) };
        if let Some(list) = list {
            self.lists.drop_if_empty(list);
        }
        Some(self.entries.remove(id.index as usize).payload)
    }

    /// Starts a timer again at `start` with the delay it has, behind all others of that delay. Also arms a timer that
    /// has fired. `false` if there is no such timer.
    pub(crate) fn refresh(&mut self, id: TimerId, start: i64) -> bool {
        let Some(entry) = self.find(id) else { return false };
        self.rearm(id, start, entry.delay)
    }

    /// Starts a timer again at `start`, with a delay of its own. `false` if there is no such timer.
    ///
    /// A timer that is armed already moves: in Node too an interval goes by the time before its callback, even if the
    /// callback has called `refresh`.
    pub(crate) fn rearm(&mut self, id: TimerId, start: i64, delay: u32) -> bool {
        let Some(entry) = self.find(id) else { return false };
        let is_armed = entry.list != NIL;
        if is_armed && entry.delay == delay {
            self.move_to_end(id.index, start);
            return true;
        }
        if is_armed {
            let list = self.disarm(id.index);
            self.lists.drop_if_empty(list);
        }
        self.arm(id.index, start, delay);
        true
    }

    /// Whether the timer's slot still lives.
    pub(crate) fn contains(&self, id: TimerId) -> bool {
        self.find(id).is_some()
    }

    pub(crate) fn is_armed(&self, id: TimerId) -> bool {
        self.find(id).is_some_and(|entry| entry.list != NIL)
    }

    pub(crate) fn payload_mut(&mut self, id: TimerId) -> Option<&mut T> {
        self.find_mut(id).map(|entry| &mut entry.payload)
    }

    /// When the timer is due, or was when it fired last.
    pub(crate) fn expiry(&self, id: TimerId) -> Option<i64> {
        self.find(id).map(|entry| entry.start + i64::from(entry.delay))
    }

    /// Says whether the timer, while armed, keeps the loop alive. It fires either way.
    pub(crate) fn set_referenced(&mut self, id: TimerId, is_referenced: bool) {
        let Some(entry) = self.find_mut(id) else { return };
        let was_referenced = mem::replace(&mut entry.is_referenced, is_referenced);
        if entry.list != NIL {
            self.referenced = self.referenced + usize::from(is_referenced) - usize::from(was_referenced);
        }
    }

    pub(crate) fn is_referenced(&self, id: TimerId) -> bool {
        self.find(id).is_some_and(|entry| entry.is_referenced)
    }

    /// How many timers keep the loop alive: those that are both armed and referenced.
    pub(crate) fn referenced(&self) -> usize {
        self.referenced
    }

    /// How many timers there are, the disarmed ones included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the next pass is worth the trouble, for referenced timers or others. It may find nothing due: the timer
    /// that was first is perhaps gone or refreshed.
    pub(crate) fn next_expiry(&self) -> Option<i64> {
        self.lists.top().map(|place| place.expiry)
    }

    /// Fixes the time for a pass: what is due by `now` fires, and no more, however long the callbacks take.
    ///
    /// Time does not run backwards: a `now` before the last pass's is taken for that.
    pub(crate) fn begin_pass(&mut self, now: i64) {
        self.now = self.now.max(now);
    }

    /// Disarms the next due timer of this pass and names it. The caller runs it.
    pub(crate) fn next_due(&mut self) -> Option<TimerId> {
        loop {
            let top = self.lists.top().filter(|top| top.expiry <= self.now)?;
            let Some(index) = self.first_due(top) else { continue };
            self.running = top.order;
            self.disarm(index);
            return Some(TimerId { index, serial: self.entries[index as usize].serial });
        }
    }

    /// Ends a callback, before the ticks are run: if that was the last due timer of its list, the list takes its next
    /// place now, ahead of lists of the same expiry that the ticks make.
    ///
    /// Only for that order; [`next_due`](Self::next_due) would do the same, later.
    pub(crate) fn settle(&mut self) {
        if let Some(top) = self.lists.top().filter(|top| top.order == self.running) {
            self.first_due(top);
        }
    }

    /// The first timer of the list on top of the heap, if that is due. If not, the list leaves the top: it moves to
    /// where its first timer belongs, which is after this pass, or goes if it is empty.
    fn first_due(&mut self, top: Place) -> Option<u32> {
        let first = self.lists[top.list].first;
        if first == NIL {
            self.lists.drop_if_empty(top.list);
            return None;
        }
        let entry = &self.entries[first as usize];
        let expiry = entry.start + i64::from(entry.delay);
        if expiry <= self.now {
            return Some(first);
        }
        self.lists.move_top_to(expiry);
        None
    }

    fn find(&self, id: TimerId) -> Option<&Entry<T>> {
        self.entries.get(id.index as usize).filter(|entry| entry.serial == id.serial)
    }

    fn find_mut(&mut self, id: TimerId) -> Option<&mut Entry<T>> {
        self.entries.get_mut(id.index as usize).filter(|entry| entry.serial == id.serial)
    }

    fn arm(&mut self, index: u32, start: i64, delay: u32) {
        debug_assert!(delay >= 1, "a timer of no delay could be due in the pass it is made in");
        let start = start.max(self.now);
        let list = self.lists.find_or_make(delay, start + i64::from(delay));
        self.append(list, index);
        let entry = &mut self.entries[index as usize];
        entry.start = start;
        entry.delay = delay;
        self.referenced += usize::from(entry.is_referenced);
    }

    /// Takes an armed timer out of its list, which may be empty then, and says which list that was.
    fn disarm(&mut self, index: u32) -> u32 {
        self.unlink(index);
        let entry = &mut self.entries[index as usize];
        self.referenced -= usize::from(entry.is_referenced);
        mem::replace(&mut entry.list, NIL)
    }

    fn move_to_end(&mut self, index: u32, start: i64) {
        let entry = &mut self.entries[index as usize];
        entry.start = start.max(self.now);
        if entry.next != NIL {
            let list = entry.list;
            self.unlink(index);
            self.append(list, index);
        }
    }

    fn append(&mut self, list: u32, index: u32) {
        let last = mem::replace(&mut self.lists[list].last, index);
        match last {
            NIL => self.lists[list].first = index,
            last => self.entries[last as usize].next = index,
        }
        let entry = &mut self.entries[index as usize];
        entry.list = list;
        entry.prev = last;
        entry.next = NIL;
    }

    fn unlink(&mut self, index: u32) {
        let &Entry { list, prev, next, .. } = &self.entries[index as usize];
        match prev {
            NIL => self.lists[list].first = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NIL => self.lists[list].last = prev,
            next => self.entries[next as usize].prev = prev,
        }
    }
}

/// The lists, found by delay and ordered by expiry.
///
/// Invariant: between passes no list is empty. Within one only the list whose timer is running can be.
#[derive(Default)]
struct Lists {
    slots: Slab<List>,
    by_delay: HashMap<u32, u32, BuildHasherDefault<DelayHasher>>,
    /// A binary heap, smallest place first. Every list has one place in it, and knows where.
    heap: Vec<Place>,
    /// The last `order` given out.
    order: u64,
}

struct List {
    delay: u32,
    first: u32,
    last: u32,
    /// Where in the heap its place is.
    position: u32,
}

/// What lists are ordered by. `order` is given out once, whenever a list is made or moved, and decides between lists of
/// equal expiry; so `list` never does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    expiry: i64,
    order: u64,
    list: u32,
}

impl Index<u32> for Lists {
    type Output = List;

    fn index(&self, list: u32) -> &List {
        &self.slots[list as usize]
    }
}

impl IndexMut<u32> for Lists {
    fn index_mut(&mut self, list: u32) -> &mut List {
        &mut self.slots[list as usize]
    }
}

impl Lists {
    fn top(&self) -> Option<Place> {
        self.heap.first().copied()
    }

    fn find(&self, delay: u32) -> Option<u32> {
        self.by_delay.get(&delay).copied()
    }

    /// The list of `delay`; a new one expires at `expiry`, one that exists keeps what it has.
    fn find_or_make(&mut self, delay: u32, expiry: i64) -> u32 {
        if let Some(list) = self.find(delay) {
            return list;
        }
        let position = self.heap.len();
        let list = List { delay, first: NIL, last: NIL, position: position as u32 };
        let list = self.slots.insert(list) as u32;
        self.by_delay.insert(delay, list);
        let order = self.next_order();
        self.heap.push(Place { expiry, order, list });
        self.sift_up(position);
        list
    }

    fn drop_if_empty(&mut self, list: u32) {
        let &List { delay, first, position, .. } = &self[list];
        if first != NIL {
            return;
        }
        self.slots.remove(list as usize);
        self.by_delay.remove(&delay);
        let position = position as usize;
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.sift_up(position);
            self.sift_down(position);
        }
    }

    /// Puts the list on top of the heap behind all others that expire by `expiry`.
    fn move_top_to(&mut self, expiry: i64) {
        let order = self.next_order();
        self.heap[0] = Place { expiry, order, ..self.heap[0] };
        self.sift_down(0);
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    fn sift_up(&mut self, mut position: usize) {
        let place = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.heap[parent] < place {
                break;
            }
            self.put(position, self.heap[parent]);
            position = parent;
        }
        self.put(position, place);
    }

    fn sift_down(&mut self, mut position: usize) {
        let place = self.heap[position];
        loop {
            let children = 2 * position + 1..self.heap.len().min(2 * position + 3);
            let Some(child) = children.min_by_key(|&child| self.heap[child]) else { break };
            if place < self.heap[child] {
                break;
            }
            self.put(position, self.heap[child]);
            position = child;
        }
        self.put(position, place);
    }

    fn put(&mut self, position: usize, place: Place) {
        self.heap[position] = place;
        self[place.list].position = position as u32;
    }
}

/// Spreads delays over a hash table by one multiplication (Knuth's, "multiplicative hashing").
///
/// The delays are the program's own, so nobody can pick them to collide and the standard SipHash would be paid for
/// nothing. The table looks at the lowest and the highest bits; the good ones of a product are the high ones, so they
/// are folded down.
#[derive(Default)]
struct DelayHasher(u64);

impl Hasher for DelayHasher {
    fn write_u32(&mut self, delay: u32) {
        /// 2^64 divided by the golden ratio.
        const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
        let product = u64::from(delay).wrapping_mul(MULTIPLIER);
        self.0 = product ^ (product >> 32);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a delay hashes as one u32")
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Runs a pass in which every timer is a timeout: it fires and is gone.
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
        /// The rules the links, the lists and the heap keep among themselves.
        fn check(&self) {
            let mut armed = BTreeSet::new();
            for (key, list) in &self.lists.slots {
                let key = key as u32;
                assert_eq!(self.lists.by_delay.get(&list.delay), Some(&key));
                assert_eq!(self.lists.heap[list.position as usize].list, key);
                let (mut prev, mut index) = (NIL, list.first);
                while index != NIL {
                    let entry = &self.entries[index as usize];
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
            for (index, entry) in &self.entries {
                assert_eq!(entry.list != NIL, armed.contains(&(index as u32)));
            }
            let referenced = armed.iter().filter(|&&index| self.entries[index as usize].is_referenced).count();
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
            ("what would wrap is one", Duration::from_millis((1 << 32) + 5), 1),
            ("for ever is one", Duration::MAX, 1),
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
                "of equal expiry the list made first",
                &[(0, 30, "30"), (10, 20, "20"), (20, 10, "10")],
                &[(30, "30 20 10")],
            ),
            (
                "a list runs ahead of another",
                &[(0, 100, "100a"), (50, 100, "100b-at-150"), (0, 120, "120")],
                &[(200, "100a 100b-at-150 120")],
            ),
            (
                "of equal expiry the list moved last comes last",
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
    fn a_list_emptied_and_made_again_in_its_pass_is_a_new_one() {
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
    fn an_interval_goes_by_the_time_before_its_callback_even_if_refreshed_there() {
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

    /// Node moves the list when the callback returns; the ticks come after. Without that the tick's timer came first.
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
        assert_eq!((new.index, timers.len()), (old.index, 1), "the slot has a new tenant");

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

    #[test]
    fn setting_and_clearing_for_ever_takes_no_more_memory() {
        let mut timers = Timers::new();
        let capacities = |timers: &Timers<u32>| {
            (timers.entries.capacity(), timers.lists.slots.capacity(), timers.lists.heap.capacity())
        };
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
        assert!(timers.lists.by_delay.capacity() <= 2 * table_before + 1, "the table may grow once, to clean up");
        assert_eq!((timers.len(), timers.lists.slots.len()), (0, 0));
        timers.check();
    }

    /// What a program may do to timers, from anywhere; or that time passes. `ago` counts the timers made since: 0 is
    /// the newest. `lag` is how far the clock the program goes by is behind, or ahead if negative.
    #[derive(Clone, Debug)]
    enum Act {
        Insert { lag: i64, delay: u32, kind: Kind },
        Clear { ago: usize },
        ClearAll,
        Refresh { ago: usize, lag: i64 },
        Rearm { ago: usize, lag: i64, delay: u32 },
        Reference { ago: usize, is_referenced: bool },
        Work { ms: i64 },
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Kind {
        Timeout,
        Interval,
        /// A socket's idle timer: stays when it has fired.
        Kept,
    }

    #[derive(Clone, Debug)]
    struct Program {
        /// What is done before each pass.
        turns: Vec<Vec<Act>>,
        /// What the callbacks do, whichever timer it is that calls first, second, …, and then their ticks.
        callbacks: Vec<(Vec<Act>, Vec<Act>)>,
    }

    fn act() -> impl Strategy<Value = Act> {
        let lag = || prop_oneof![5 => Just(0), 1 => -3..6_i64];
        let delay = || prop_oneof![8 => 1..6_u32, 1 => 6..40_u32];
        let kind = prop_oneof![4 => Just(Kind::Timeout), 1 => Just(Kind::Interval), 1 => Just(Kind::Kept)];
        let ago = || 0..12_usize;
        prop_oneof![
            8 => (lag(), delay(), kind).prop_map(|(lag, delay, kind)| Act::Insert { lag, delay, kind }),
            4 => ago().prop_map(|ago| Act::Clear { ago }),
            1 => Just(Act::ClearAll),
            4 => (ago(), lag()).prop_map(|(ago, lag)| Act::Refresh { ago, lag }),
            2 => (ago(), lag(), delay()).prop_map(|(ago, lag, delay)| Act::Rearm { ago, lag, delay }),
            1 => (ago(), any::<bool>()).prop_map(|(ago, is_referenced)| Act::Reference { ago, is_referenced }),
            6 => (0..8_i64).prop_map(|ms| Act::Work { ms }),
        ]
    }

    fn program() -> impl Strategy<Value = Program> {
        let acts = |most| prop::collection::vec(act(), 0..most);
        let turns = prop::collection::vec(acts(8), 1..25);
        let callbacks = prop::collection::vec((acts(4), acts(3)), 1..12);
        (turns, callbacks).prop_map(|(turns, callbacks)| Program { turns, callbacks })
    }

    /// Everything one can see of timers.
    #[derive(Clone, Debug, PartialEq)]
    enum Seen {
        Fired { nth: usize, at: i64, expiry: i64 },
        State { next_expiry: Option<i64>, referenced: usize, len: usize },
        Answer(bool),
    }

    /// Timers by the number they were made in; implemented by ours and by the plain ones.
    trait Subject {
        fn insert(&mut self, start: i64, delay: u32);
        fn clear(&mut self, nth: usize) -> bool;
        /// The end of a timeout that has run.
        fn free(&mut self, nth: usize);
        fn rearm(&mut self, nth: usize, start: i64, delay: Option<u32>) -> bool;
        fn reference(&mut self, nth: usize, is_referenced: bool);
        /// Whether it is armed, if it is there.
        fn is_armed(&self, nth: usize) -> Option<bool>;
        fn expiry(&self, nth: usize) -> i64;
        fn next_expiry(&self) -> Option<i64>;
        fn referenced(&self) -> usize;
        fn len(&self) -> usize;
        fn pass(run: &mut Run<Self>, now: i64)
        where
            Self: Sized;
    }

    /// A program running on a subject.
    struct Run<'p, S> {
        subject: S,
        program: &'p Program,
        clock: i64,
        kinds: Vec<(Kind, u32)>,
        calls: usize,
        seen: Vec<Seen>,
    }

    impl<'p, S: Subject> Run<'p, S> {
        /// A timer may make several: without a bound there would soon be billions.
        const MOST_TIMERS: usize = 20;

        fn new(program: &'p Program, subject: S) -> Self {
            Run { subject, program, clock: 0, kinds: Vec::new(), calls: 0, seen: Vec::new() }
        }

        fn run(mut self) -> Vec<Seen> {
            for acts in &self.program.turns {
                self.act(acts);
                let now = self.clock;
                S::pass(&mut self, now);
                self.look();
            }
            self.seen
        }

        fn act(&mut self, acts: &[Act]) {
            for act in acts {
                match *act {
                    Act::Insert { .. } if self.subject.len() >= Self::MOST_TIMERS => {}
                    Act::Insert { lag, delay, kind } => {
                        self.kinds.push((kind, delay));
                        self.subject.insert(self.clock - lag, delay);
                    }
                    Act::Clear { ago } => {
                        let answer = self.subject.clear(self.made(ago));
                        self.seen.push(Seen::Answer(answer));
                    }
                    Act::ClearAll => {
                        for nth in 0..self.kinds.len() {
                            self.subject.clear(nth);
                        }
                    }
                    Act::Refresh { ago, lag } => {
                        let answer = self.subject.rearm(self.made(ago), self.clock - lag, None);
                        self.seen.push(Seen::Answer(answer));
                    }
                    Act::Rearm { ago, lag, delay } => {
                        let answer = self.subject.rearm(self.made(ago), self.clock - lag, Some(delay));
                        self.seen.push(Seen::Answer(answer));
                    }
                    Act::Reference { ago, is_referenced } => self.subject.reference(self.made(ago), is_referenced),
                    Act::Work { ms } => self.clock += ms,
                }
                self.look();
            }
        }

        fn made(&self, ago: usize) -> usize {
            self.kinds.len().saturating_sub(1 + ago)
        }

        fn look(&mut self) {
            let subject = &self.subject;
            self.seen.push(Seen::State {
                next_expiry: subject.next_expiry(),
                referenced: subject.referenced(),
                len: subject.len(),
            });
        }

        /// Runs a timer that was just disarmed, and answers with its ticks.
        fn call(&mut self, nth: usize) -> &'p [Act] {
            self.seen.push(Seen::Fired { nth, at: self.clock, expiry: self.subject.expiry(nth) });
            let program = self.program;
            let (callback, ticks) = &program.callbacks[self.calls % program.callbacks.len()];
            self.calls += 1;
            let start = self.clock;
            self.act(callback);
            match (self.kinds[nth], self.subject.is_armed(nth)) {
                ((Kind::Interval, repeat), Some(_)) => {
                    self.subject.rearm(nth, start, Some(repeat));
                }
                ((Kind::Timeout, _), Some(false)) => self.subject.free(nth),
                _ => {}
            }
            ticks
        }
    }

    struct Ours {
        timers: Timers<usize>,
        ids: Vec<TimerId>,
    }

    impl Ours {
        fn id(&self, nth: usize) -> Option<TimerId> {
            self.ids.get(nth).copied()
        }
    }

    impl Subject for Ours {
        fn insert(&mut self, start: i64, delay: u32) {
            self.ids.push(self.timers.insert(start, delay, self.ids.len()));
        }

        fn clear(&mut self, nth: usize) -> bool {
            let Some(id) = self.id(nth) else { return false };
            let payload = self.timers.remove(id);
            assert!(payload.is_none_or(|payload| payload == nth));
            payload.is_some()
        }

        fn free(&mut self, nth: usize) {
            self.clear(nth);
        }

        fn rearm(&mut self, nth: usize, start: i64, delay: Option<u32>) -> bool {
            self.id(nth).is_some_and(|id| match delay {
                Some(delay) => self.timers.rearm(id, start, delay),
                None => self.timers.refresh(id, start),
            })
        }

        fn reference(&mut self, nth: usize, is_referenced: bool) {
            if let Some(id) = self.id(nth) {
                self.timers.set_referenced(id, is_referenced);
            }
        }

        fn is_armed(&self, nth: usize) -> Option<bool> {
            let id = self.id(nth)?;
            self.timers.contains(id).then(|| self.timers.is_armed(id))
        }

        fn expiry(&self, nth: usize) -> i64 {
            self.id(nth).and_then(|id| self.timers.expiry(id)).expect("a timer that is there")
        }

        fn next_expiry(&self) -> Option<i64> {
            self.timers.check();
            self.timers.next_expiry()
        }

        fn referenced(&self) -> usize {
            self.timers.referenced()
        }

        fn len(&self) -> usize {
            self.timers.len()
        }

        fn pass(run: &mut Run<Self>, now: i64) {
            run.subject.timers.begin_pass(now);
            while let Some(id) = run.subject.timers.next_due() {
                let nth = *run.subject.timers.payload_mut(id).expect("the slot of a due timer lives");
                let ticks = run.call(nth);
                run.subject.timers.settle();
                run.act(ticks);
            }
        }
    }

    /// Node's timers.js, word for word where it can be: slow, and plain enough to be believed.
    struct Plain {
        /// Node reads the clock at each start, so none lies before the last pass.
        last_pass: i64,
        timers: Vec<Option<PlainTimer>>,
        /// Both `timerListMap` and `timerListQueue`, in no order.
        lists: Vec<PlainList>,
        next_list_id: u64,
    }

    struct PlainTimer {
        start: i64,
        delay: u32,
        is_referenced: bool,
    }

    struct PlainList {
        /// Which object this is.
        identity: u64,
        delay: u32,
        expiry: i64,
        id: u64,
        timers: Vec<usize>,
    }

    impl Plain {
        fn new() -> Self {
            Plain { last_pass: i64::MIN, timers: Vec::new(), lists: Vec::new(), next_list_id: 0 }
        }

        fn list_id(&mut self) -> u64 {
            self.next_list_id += 1;
            self.next_list_id
        }

        fn list_of(&self, nth: usize) -> Option<usize> {
            self.lists.iter().position(|list| list.timers.contains(&nth))
        }

        fn timer(&mut self, nth: usize) -> Option<&mut PlainTimer> {
            self.timers.get_mut(nth)?.as_mut()
        }

        fn peek(&self) -> Option<&PlainList> {
            self.lists.iter().min_by_key(|list| (list.expiry, list.id))
        }

        /// `insert`: `L.append` at the end also takes it from where it was.
        fn start(&mut self, nth: usize, start: i64, delay: u32) {
            let start = start.max(self.last_pass);
            let former = self.list_of(nth);
            if !self.lists.iter().any(|list| list.delay == delay) {
                let id = self.list_id();
                let expiry = start + i64::from(delay);
                self.lists.push(PlainList { identity: id, delay, expiry, id, timers: Vec::new() });
            }
            if let Some(former) = former {
                self.lists[former].timers.retain(|&timer| timer != nth);
            }
            let list = self.lists.iter_mut().find(|list| list.delay == delay).expect("made if it was missing");
            list.timers.push(nth);
            if let Some(former) = former.filter(|&former| self.lists[former].timers.is_empty()) {
                self.lists.remove(former);
            }
            let timer = self.timer(nth).expect("asked by the caller");
            (timer.start, timer.delay) = (start, delay);
        }

        fn list_on_timeout<'p>(run: &mut Run<'p, Plain>, identity: u64, now: i64) -> &'p [Act] {
            let mut ticks: &[Act] = &[];
            loop {
                let plain = &mut run.subject;
                let new_id = plain.list_id();
                let Some(position) = plain.lists.iter().position(|list| list.identity == identity) else {
                    return ticks;
                };
                let Some(&nth) = plain.lists[position].timers.first() else {
                    plain.lists.remove(position);
                    return ticks;
                };
                let &PlainTimer { start, delay, .. } = plain.timers[nth].as_ref().expect("timers in lists live");
                let diff = now - start;
                if diff < i64::from(delay) {
                    plain.lists[position].expiry = (start + i64::from(delay)).max(now + 1);
                    plain.lists[position].id = new_id;
                    return ticks;
                }
                if !ticks.is_empty() {
                    run.act(mem::take(&mut ticks));
                    // Node goes on with the timer it has looked up before, even if a tick has just refreshed it.
                    continue;
                }
                plain.lists[position].timers.remove(0);
                ticks = run.call(nth);
            }
        }
    }

    impl Subject for Plain {
        fn insert(&mut self, start: i64, delay: u32) {
            self.timers.push(Some(PlainTimer { start, delay, is_referenced: true }));
            self.start(self.timers.len() - 1, start, delay);
        }

        fn clear(&mut self, nth: usize) -> bool {
            let Some(&mut PlainTimer { delay, .. }) = self.timer(nth) else { return false };
            if let Some(list) = self.list_of(nth) {
                self.lists[list].timers.retain(|&timer| timer != nth);
            }
            self.lists.retain(|list| list.delay != delay || !list.timers.is_empty());
            self.free(nth);
            true
        }

        fn free(&mut self, nth: usize) {
            self.timers[nth] = None;
        }

        fn rearm(&mut self, nth: usize, start: i64, delay: Option<u32>) -> bool {
            let Some(timer) = self.timer(nth) else { return false };
            let delay = delay.unwrap_or(timer.delay);
            self.start(nth, start, delay);
            true
        }

        fn reference(&mut self, nth: usize, is_referenced: bool) {
            if let Some(timer) = self.timer(nth) {
                timer.is_referenced = is_referenced;
            }
        }

        fn is_armed(&self, nth: usize) -> Option<bool> {
            self.timers[nth].as_ref().map(|_| self.list_of(nth).is_some())
        }

        fn expiry(&self, nth: usize) -> i64 {
            let timer = self.timers[nth].as_ref().expect("a timer that is there");
            timer.start + i64::from(timer.delay)
        }

        fn next_expiry(&self) -> Option<i64> {
            self.peek().map(|list| list.expiry)
        }

        fn referenced(&self) -> usize {
            let is_referenced = |nth: &&usize| self.timers[**nth].as_ref().is_some_and(|timer| timer.is_referenced);
            self.lists.iter().flat_map(|list| &list.timers).filter(is_referenced).count()
        }

        fn len(&self) -> usize {
            self.timers.iter().flatten().count()
        }

        /// `processTimers`.
        fn pass(run: &mut Run<Self>, now: i64) {
            run.subject.last_pass = now;
            let mut ticks: &[Act] = &[];
            while let Some(list) = run.subject.peek().filter(|list| list.expiry <= now) {
                let identity = list.identity;
                run.act(ticks);
                ticks = Plain::list_on_timeout(run, identity, now);
            }
            run.act(ticks);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn any_program_sees_what_it_would_see_in_node(program in program()) {
            let ours = Run::new(&program, Ours { timers: Timers::new(), ids: Vec::new() }).run();
            let plain = Run::new(&program, Plain::new()).run();
            prop_assert_eq!(ours, plain);
        }
    }
}
