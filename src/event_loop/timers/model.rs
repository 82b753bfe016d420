//! Compares the timers with a plain copy of Node's, for random programs.

use proptest::prelude::*;

use super::*;

/// A step of a program: it changes timers, or lets time pass. `ago` counts back from the newest timer, which is 0.
/// `lag` is how far the program's clock is behind, or ahead if negative.
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
    /// Like a socket's idle timer: it is kept after it has fired.
    Kept,
}

#[derive(Clone, Debug)]
struct Program {
    /// The steps before each pass.
    turns: Vec<Vec<Act>>,
    /// The steps of the first, second, … callback that runs, of any timer, and those of its ticks.
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

/// Everything that a program can observe.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Fired { nth: usize, at: i64, expiry: i64 },
    State { next_expiry: Option<i64>, referenced: usize, len: usize },
    Result(bool),
}

/// Timers, named by the order in which they were made. Implemented for ours and for the plain ones.
trait Subject {
    fn insert(&mut self, start: i64, delay: u32);
    fn clear(&mut self, nth: usize) -> bool;
    /// Frees a timeout that has run.
    fn free(&mut self, nth: usize);
    fn rearm(&mut self, nth: usize, start: i64, delay: Option<u32>) -> bool;
    fn reference(&mut self, nth: usize, is_referenced: bool);
    /// Whether the timer is armed; `None` if it does not exist.
    fn is_armed(&self, nth: usize) -> Option<bool>;
    fn expiry(&self, nth: usize) -> i64;
    fn next_expiry(&self) -> Option<i64>;
    fn referenced(&self) -> usize;
    fn len(&self) -> usize;
    fn pass(run: &mut Run<Self>, now: i64)
    where
        Self: Sized;
}

/// A program that runs on a subject.
struct Run<'p, S> {
    subject: S,
    program: &'p Program,
    clock: i64,
    kinds: Vec<(Kind, u32)>,
    calls: usize,
    seen: Vec<Seen>,
}

impl<'p, S: Subject> Run<'p, S> {
    /// A callback may make several timers, so their number would grow without bound.
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
                    let result = self.subject.clear(self.made(ago));
                    self.seen.push(Seen::Result(result));
                }
                Act::ClearAll => {
                    for nth in 0..self.kinds.len() {
                        self.subject.clear(nth);
                    }
                }
                Act::Refresh { ago, lag } => {
                    let result = self.subject.rearm(self.made(ago), self.clock - lag, None);
                    self.seen.push(Seen::Result(result));
                }
                Act::Rearm { ago, lag, delay } => {
                    let result = self.subject.rearm(self.made(ago), self.clock - lag, Some(delay));
                    self.seen.push(Seen::Result(result));
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

    /// Runs a timer that was just disarmed, and returns the steps of its ticks.
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

/// Node's timers.js, translated as literally as possible: slow, and simple enough to be trusted.
struct Plain {
    /// Node reads the clock at each start, so no start is before the last pass.
    last_pass: i64,
    timers: Vec<Option<PlainTimer>>,
    /// The contents of both `timerListMap` and `timerListQueue`, unordered.
    lists: Vec<PlainList>,
    next_list_id: u64,
}

struct PlainTimer {
    start: i64,
    delay: u32,
    is_referenced: bool,
}

struct PlainList {
    /// Stands for the identity of the JavaScript object.
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

    /// Node's `insert`. Its `L.append` also removes the timer from its former list.
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
        let timer = self.timer(nth).expect("the caller has checked that it exists");
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
                // Node goes on with the timer from before the ticks, even if a tick has refreshed it. Ours looks the
                // first timer up again, and so does this.
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

    /// Node's `processTimers`.
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
    fn any_program_observes_the_same_as_in_node(program in program()) {
        let ours = Run::new(&program, Ours { timers: Timers::new(), ids: Vec::new() }).run();
        let plain = Run::new(&program, Plain::new()).run();
        prop_assert_eq!(ours, plain);
    }
}
