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

use super::slots::{HasSerial, Slots};
use super::token::Key;

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

impl TimerId {
    #[inline]
    fn key(self) -> Key {
        Key::new(self.index as usize, self.serial.get())
    }
}

/// Node's `TIMEOUT_MAX` in milliseconds, a little under 25 days.
const LONGEST: u128 = (1 << 31) - 1;

/// A delay in Node's whole milliseconds: truncated, and 1 when below 1 or above 2^31 − 1.
pub(crate) const fn delay_ms(delay: Duration) -> u32 {
    match delay.as_millis() {
        ms @ 1..=LONGEST => ms as u32,
        _ => 1,
    }
}

/// A socket's limit in whole milliseconds, at least 1. What is longer than 2^31 − 1 is that long: as Node's
/// `socket.setTimeout`, and other than its `setTimeout`.
pub(crate) fn limit_ms(limit: Duration) -> u32 {
    limit.as_millis().clamp(1, LONGEST) as u32
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
    entries: Slots<Entry<T>>,
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

impl<T> HasSerial for Entry<T> {
    #[inline]
    fn serial(&self) -> u32 {
        self.serial.get()
    }
}

/// No list, no entry. A plain number because `Option<u32>` would double the links.
const NIL: u32 = u32::MAX;

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Timers {
            entries: Slots::default(),
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
        let index = self.entries.insert(entry).index();
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
        Some(self.entries.remove(id.key())?.payload)
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
    #[cfg(test)]
    pub(crate) fn contains(&self, id: TimerId) -> bool {
        self.find(id).is_some()
    }

    #[cfg(test)]
    pub(crate) fn is_armed(&self, id: TimerId) -> bool {
        self.find(id).is_some_and(|entry| entry.list != NIL)
    }

    pub(crate) fn payload_mut(&mut self, id: TimerId) -> Option<&mut T> {
        self.find_mut(id).map(|entry| &mut entry.payload)
    }

    /// When the timer is due, or was when it fired last.
    #[cfg(any(test, feature = "trace"))]
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
    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the next pass is worth the trouble, for referenced timers or others. It may find nothing due: the timer
    /// that was first is perhaps gone or refreshed.
    pub(crate) fn next_expiry(&self) -> Option<i64> {
        self.lists.top().map(|place| place.expiry)
    }

    /// How many timers should have fired by `now`, and how late the latest is.
    #[cfg(feature = "trace")]
    pub(crate) fn late(&self, now: i64) -> Option<(usize, u64)> {
        let (mut count, mut latest) = (0, 0);
        for (_, list) in &self.lists.slots {
            let mut index = list.first;
            while index != NIL {
                let entry = &self.entries[index];
                let late = now - entry.start - i64::from(entry.delay);
                if late < 0 {
                    break;
                }
                (count, latest) = (count + 1, late.max(latest));
                index = entry.next;
            }
        }
        (count > 0).then_some((count, latest as u64))
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
            return Some(TimerId { index, serial: self.entries[index].serial });
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
        let entry = &self.entries[first];
        let expiry = entry.start + i64::from(entry.delay);
        if expiry <= self.now {
            return Some(first);
        }
        self.lists.move_top_to(expiry);
        None
    }

    fn find(&self, id: TimerId) -> Option<&Entry<T>> {
        self.entries.get(id.key())
    }

    fn find_mut(&mut self, id: TimerId) -> Option<&mut Entry<T>> {
        self.entries.get_mut(id.key())
    }

    fn arm(&mut self, index: u32, start: i64, delay: u32) {
        debug_assert!(delay >= 1, "a timer of no delay could be due in the pass it is made in");
        let start = start.max(self.now);
        let list = self.lists.find_or_make(delay, start + i64::from(delay));
        self.append(list, index);
        let entry = &mut self.entries[index];
        entry.start = start;
        entry.delay = delay;
        self.referenced += usize::from(entry.is_referenced);
    }

    /// Takes an armed timer out of its list, which may be empty then, and says which list that was.
    fn disarm(&mut self, index: u32) -> u32 {
        self.unlink(index);
        let entry = &mut self.entries[index];
        self.referenced -= usize::from(entry.is_referenced);
        mem::replace(&mut entry.list, NIL)
    }

    fn move_to_end(&mut self, index: u32, start: i64) {
        let entry = &mut self.entries[index];
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
            last => self.entries[last].next = index,
        }
        let entry = &mut self.entries[index];
        entry.list = list;
        entry.prev = last;
        entry.next = NIL;
    }

    fn unlink(&mut self, index: u32) {
        let &Entry { list, prev, next, .. } = &self.entries[index];
        match prev {
            NIL => self.lists[list].first = next,
            prev => self.entries[prev].next = next,
        }
        match next {
            NIL => self.lists[list].last = prev,
            next => self.entries[next].prev = prev,
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
mod model;
#[cfg(test)]
mod tests;
