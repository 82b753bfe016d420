//! Timers as in Node: one list per duration, and a heap of lists.
//!
//! A server has very many timers and very few durations: for example, a hundred thousand sockets with the same idle
//! limit, each of which restarts its timer at every read. Timers of one duration are due in the order in which they
//! were started, so a first-in, first-out list is always sorted. Only the *lists* have to be compared with each other.
//!
//! ```text
//!   heap of lists, by (expiry, order)        timers of a list, by start
//!
//!       40 ms, expiry 1040 ────────────────▶ a 1000
//!        ├─ 5 s, expiry 5200 ──────────────▶ b 200 ⇄ c 200 ⇄ d 950
//!        └─ 120 s, expiry 120500 ──────────▶ e 600 ⇄ f 1010
//!                          └ too early: its timer was refreshed; e expires at 120600
//! ```
//!
//! A list's expiry is that of its first timer *when the list was last placed in the heap*. It is too early if that
//! timer has since been cleared or refreshed. A pass that reaches such a list finds nothing due there, moves the list
//! to its right place, and continues. So a refresh is cheap: it does not change the heap.
//!
//! | action | cost |
//! |---|---|
//! | insert, remove | a hash look-up, a list link; O(log durations) for the first and last timer of a duration |
//! | refresh | two list links, for any number of timers; most of the cost is cache misses at the neighbours |
//! | next_expiry | reads the top of the heap |
//! | a pass | one link per timer that fires, O(log durations) per list that it visits |
//!
//! Memory is allocated only when there are more timers or durations at the same time than ever before.
//!
//! Time is passed in as an argument: a number of milliseconds since the loop was made. The rules are those of Node 20's
//! `lib/internal/timers.js`. One of them is surprising: a pass runs all due timers of a list before it visits another
//! list, so a timer may fire before one of another duration that expired earlier.
//!
//! There is one difference: Node keeps the empty list after an unreferenced timer was cleared, while this module
//! removes it. This affects only the order of timers that expire in the same millisecond.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use slab::Slab;

use super::slots::{HasSerial, Slots};
use super::token::Key;

/// Names a timer: its slot, and a serial that differs from those of the former timers in that slot.
///
/// Invariant: a serial is used once (it wraps after 2^32 − 1 timers). So an id that is kept after its timer was cleared
/// finds nothing, and never another timer.
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

/// Converts a delay to Node's whole milliseconds: truncated, and 1 if it is below 1 or above 2^31 − 1.
pub(crate) const fn delay_ms(delay: Duration) -> u32 {
    match delay.as_millis() {
        ms @ 1..=LONGEST => ms as u32,
        _ => 1,
    }
}

/// Converts a socket's time limit to whole milliseconds, from 1 to 2^31 − 1. A longer limit becomes the longest, as in
/// Node's `socket.setTimeout`; a longer delay of `setTimeout` becomes 1.
pub(crate) fn limit_ms(limit: Duration) -> u32 {
    limit.as_millis().clamp(1, LONGEST) as u32
}

/// All timers of a loop. Each has a payload `T`: what to do when it fires.
///
/// A timer is *armed* while it waits for its time. Firing disarms it but keeps its slot. The caller then rearms it (an
/// interval), [`remove`](Self::remove)s it (a timeout), or keeps it for a later [`refresh`](Self::refresh).
///
/// A pass looks like this. The callback and the ticks are user code, which may change any timer:
///
/// ```text
///   timers.begin_pass(now);
///   while let Some(id) = timers.next_due() {
///       …run the callback; rearm an interval; remove a timeout that is not armed again…
///       timers.settle();
///       …run the ticks…
///   }
/// ```
pub(crate) struct Timers<T> {
    entries: Slots<Entry<T>>,
    lists: Lists,
    next_serial: NonZeroU32,
    /// How many entries are armed and referenced.
    referenced: usize,
    /// The time of the last pass.
    ///
    /// No timer is armed with an earlier start. So a timer that is armed during a pass is not due in it, and a list
    /// that is made during a pass comes after those that still have to run. Therefore a pass needs no other state: its
    /// current list stays on top of the heap.
    now: i64,
    /// The `order` of the list of the last due timer.
    running: u64,
}

struct Entry<T> {
    start: i64,
    serial: NonZeroU32,
    delay: u32,
    /// The list that contains this timer; [`NIL`] while it is disarmed.
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

/// No list or no entry. It is a plain number, because an `Option<u32>` is twice as large.
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

    /// Arms a new, referenced timer that is due at `start + delay`.
    ///
    /// Here and in [`refresh`](Self::refresh) and [`rearm`](Self::rearm), a `start` before the time of the last pass is
    /// replaced by that time. Otherwise starts may be out of order: a timer behind one with a later start fires
    /// together with it, a little late.
    pub(crate) fn insert(&mut self, start: i64, delay: u32, payload: T) -> TimerId {
        let serial = self.next_serial;
        self.next_serial = serial.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let entry = Entry { start, serial, delay, list: NIL, prev: NIL, next: NIL, is_referenced: true, payload };
        let index = self.entries.insert(entry).index();
        self.arm(index, start, delay);
        TimerId { index, serial }
    }

    /// Clears a timer, armed or not, and returns its payload.
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<T> {
        let entry = self.find(id)?;
        // A running timer is no longer in its list. If the list is empty, it is removed here all the same: a timer of
        // the same delay that the callback starts next then makes a new list, with an `order` of that moment.
        let list = if entry.list == NIL { self.lists.find(entry.delay) } else { Some(self.disarm(id.index)) };
        if let Some(list) = list {
            self.lists.drop_if_empty(list);
        }
        Some(self.entries.remove(id.key())?.payload)
    }

    /// Starts a timer again at `start` with its present delay, behind all others of that delay. This also arms a timer
    /// that has fired. Returns `false` if the timer does not exist.
    pub(crate) fn refresh(&mut self, id: TimerId, start: i64) -> bool {
        let Some(entry) = self.find(id) else { return false };
        self.rearm(id, start, entry.delay)
    }

    /// Starts a timer again at `start`, with a new delay. Returns `false` if the timer does not exist.
    ///
    /// A timer that is already armed is moved. As in Node, an interval is measured from the time before its callback,
    /// even if the callback has called `refresh`.
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

    /// Whether the timer exists, armed or not.
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

    /// When the timer is due, or was due when it last fired.
    #[cfg(any(test, feature = "trace"))]
    pub(crate) fn expiry(&self, id: TimerId) -> Option<i64> {
        self.find(id).map(|entry| entry.start + i64::from(entry.delay))
    }

    /// Sets whether the timer keeps the loop alive while it is armed. It fires in both cases.
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

    /// How many timers keep the loop alive: those that are armed and referenced.
    pub(crate) fn referenced(&self) -> usize {
        self.referenced
    }

    /// Frees the memory behind the last timer, after many timers have ended.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// How many timers there are, including the disarmed ones.
    #[cfg(any(test, fuzzing, feature = "trace"))]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the next pass is needed, for referenced and unreferenced timers. It may be too early, never too late: the
    /// first timer may have been cleared or refreshed.
    pub(crate) fn next_expiry(&self) -> Option<i64> {
        self.lists.top().map(|top| top.expiry)
    }

    /// How many timers should have fired by `now`, and how many milliseconds late the latest is.
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

    /// Begins a pass. It fires the timers that are due at `now`, and no others, however long the callbacks take.
    ///
    /// A `now` before that of the last pass is replaced by it, so time never runs backwards.
    pub(crate) fn begin_pass(&mut self, now: i64) {
        self.now = self.now.max(now);
    }

    /// Disarms the next due timer of this pass and returns its id. The caller runs it.
    pub(crate) fn next_due(&mut self) -> Option<TimerId> {
        loop {
            let top = self.lists.top().filter(|top| top.expiry <= self.now)?;
            let Some(index) = self.first_due(top) else { continue };
            self.running = top.order;
            self.disarm(index);
            return Some(TimerId { index, serial: self.entries[index].serial });
        }
    }

    /// Ends a callback, before the ticks run. If that was the last due timer of its list, the list moves to its next
    /// place now, ahead of lists of the same expiry that the ticks will make.
    ///
    /// This is needed only for that order: [`next_due`](Self::next_due) would move the list too, but after the ticks.
    pub(crate) fn settle(&mut self) {
        if let Some(top) = self.lists.top().filter(|top| top.order == self.running) {
            self.first_due(top);
        }
    }

    /// Returns the first timer of the list on top of the heap, if it is due. If not, the list leaves the top: it is
    /// moved to the expiry of its first timer, which is after this pass, or removed if it is empty.
    fn first_due(&mut self, top: HeapEntry) -> Option<u32> {
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
        debug_assert!(delay >= 1, "a timer with a delay of 0 could be due in the pass that it is made in");
        let start = start.max(self.now);
        let list = self.lists.find_or_make(delay, start + i64::from(delay));
        self.append(list, index);
        let entry = &mut self.entries[index];
        entry.start = start;
        entry.delay = delay;
        self.referenced += usize::from(entry.is_referenced);
    }

    /// Takes an armed timer out of its list and returns the list, which may be empty now.
    fn disarm(&mut self, index: u32) -> u32 {
        self.unlink(index);
        let entry = &mut self.entries[index];
        self.referenced -= usize::from(entry.is_referenced);
        mem::replace(&mut entry.list, NIL)
    }

    fn move_to_end(&mut self, index: u32, start: i64) {
        let entry = &mut self.entries[index];
        entry.start = start.max(self.now);
        // The last timer of a list is in its place already.
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

/// The lists: found by delay, ordered by expiry.
///
/// Invariant: no list is empty, except that of the running timer during a pass.
#[derive(Default)]
struct Lists {
    slots: Slab<List>,
    by_delay: HashMap<u32, u32, BuildHasherDefault<DelayHasher>>,
    /// A binary heap, smallest entry first. Every list has one entry, and stores its position.
    heap: Vec<HeapEntry>,
    /// The last `order` that was assigned.
    order: u64,
}

struct List {
    delay: u32,
    first: u32,
    last: u32,
    /// The index of its entry in the heap.
    position: u32,
}

/// A list in the heap. Lists are ordered by expiry, then by `order`. A list gets a new `order` whenever it is made or
/// moved, so no two are equal and `list` never decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct HeapEntry {
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
    fn top(&self) -> Option<HeapEntry> {
        self.heap.first().copied()
    }

    fn find(&self, delay: u32) -> Option<u32> {
        self.by_delay.get(&delay).copied()
    }

    /// The list of `delay`. A new list gets `expiry`; an existing one keeps its own.
    fn find_or_make(&mut self, delay: u32, expiry: i64) -> u32 {
        if let Some(list) = self.find(delay) {
            return list;
        }
        let position = self.heap.len();
        let list = List { delay, first: NIL, last: NIL, position: position as u32 };
        let list = self.slots.insert(list) as u32;
        self.by_delay.insert(delay, list);
        let order = self.next_order();
        self.heap.push(HeapEntry { expiry, order, list });
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

    /// Moves the list on top of the heap to `expiry`, behind the lists that have the same.
    fn move_top_to(&mut self, expiry: i64) {
        let order = self.next_order();
        self.heap[0] = HeapEntry { expiry, order, ..self.heap[0] };
        self.sift_down(0);
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    fn sift_up(&mut self, mut position: usize) {
        let entry = self.heap[position];
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.heap[parent] < entry {
                break;
            }
            self.put(position, self.heap[parent]);
            position = parent;
        }
        self.put(position, entry);
    }

    fn sift_down(&mut self, mut position: usize) {
        let entry = self.heap[position];
        loop {
            let children = 2 * position + 1..self.heap.len().min(2 * position + 3);
            let Some(child) = children.min_by_key(|&child| self.heap[child]) else { break };
            if entry < self.heap[child] {
                break;
            }
            self.put(position, self.heap[child]);
            position = child;
        }
        self.put(position, entry);
    }

    fn put(&mut self, position: usize, entry: HeapEntry) {
        self.heap[position] = entry;
        self[entry.list].position = position as u32;
    }
}

/// Hashes a delay with one multiplication (Knuth, "multiplicative hashing").
///
/// A peer cannot choose the delays, so the table does not need the standard SipHash, which resists chosen collisions
/// but is slower. The table uses the lowest and the highest bits of a hash. In a product the high bits are mixed best,
/// so they are also folded into the low half.
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
