//! The runner: the state of a running scenario, and the reaction to events.
//!
//! Every event arrives at [`Runner::event`], inside the callback in which the crate reports it. The actions of the
//! matching rules run immediately, inside the same callback. Only a scenario's own actions defer anything.
//!
//! The state is never borrowed while actions run, because the actions borrow it too.

use std::cell::{RefCell, RefMut};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::net::{BlockList, LocalAddress, ServerId, Socket};
use bucle::{ImmediateId, Loop, TimerId};

use crate::afterlife::Afterlife;
use crate::scenario::{Action, Actions, Condition, Scenario};
use crate::trace::{Chunk, Trace};

/// Runs one scenario. All handlers and callbacks share it.
pub struct Runner {
    pub scenario: Scenario,
    jitter_ms: f64,
    /// Whether each write is sent at once, in a system call of its own.
    pub sends_each_write: bool,
    state: RefCell<State>,
}

/// The state that changes while a scenario runs.
pub struct State {
    trace: Trace,
    pub objects: HashMap<String, Object>,
    pub block_lists: HashMap<String, BlockList>,
    /// The names of the sockets, to trace their events.
    pub socket_names: HashMap<Socket, String>,
    /// How many data listeners each socket has. Each of them gets every chunk, so without one the data is dropped.
    pub listeners: HashMap<String, usize>,
    /// The states of closed sockets.
    pub afterlives: HashMap<String, Afterlife>,
    /// The address of each server when a socket first connected to it.
    pub remembered: HashMap<String, LocalAddress>,
    paths: HashMap<String, PathBuf>,
    counts: HashMap<String, u64>,
    received: HashMap<String, u64>,
    /// How often each rule has run.
    uses: Vec<Uses>,
    step: usize,
    /// Whether the timer of the next step is set.
    is_step_armed: bool,
}

/// An object that was named by `as`.
#[derive(Clone, Copy)]
pub enum Object {
    Timer(TimerId),
    Immediate(ImmediateId),
    Server(ServerId),
    Socket(Socket),
}

#[derive(Default)]
struct Uses {
    count: u64,
    objects: HashSet<String>,
}

/// The event inside which actions run. Deferred actions keep it.
#[derive(Clone, Default)]
pub struct Context {
    /// `$self`
    object: Option<Rc<str>>,
    /// `$chunk`
    pub chunk: Option<Rc<[u8]>>,
}

impl Context {
    /// The name of the object in an action's argument.
    pub fn name<'a>(&'a self, action: &'a Action, key: &str) -> &'a str {
        match action.name_of(key) {
            "$self" => self.object.as_deref().expect("scenario error: $self outside of an event"),
            name => name,
        }
    }
}

impl Runner {
    pub fn new(scenario: Scenario) -> Rc<Runner> {
        let is_set = |name| std::env::var_os(name).is_some_and(|text| !text.is_empty());
        let jitter_ms = std::env::var("JITTER").ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let sends_each_write = is_set("EACH_WRITE");
        let state = State {
            trace: Trace::new(scenario.lanes.clone(), is_set("LIVE"), is_set("RECEIVED")),
            objects: HashMap::new(),
            block_lists: HashMap::new(),
            socket_names: HashMap::new(),
            listeners: HashMap::new(),
            afterlives: HashMap::new(),
            remembered: HashMap::new(),
            paths: HashMap::new(),
            counts: HashMap::new(),
            received: HashMap::new(),
            uses: scenario.rules.iter().map(|_| Uses::default()).collect(),
            step: 0,
            is_step_armed: false,
        };
        Rc::new(Runner { scenario, jitter_ms, sends_each_write, state: RefCell::new(state) })
    }

    /// The main body of the program.
    pub fn main(self: &Rc<Self>, lp: &mut Loop) {
        self.run(lp, &self.scenario.main, &Context::default());
        self.check_steps(lp);
    }

    /// The loop has ended: adds the last lines, and prints the trace.
    pub fn finish(&self) {
        let left = self.scenario.steps.len() - self.state().step;
        if left > 0 {
            self.line("main", &format!("unfinished-steps {left}"));
        }
        self.line("main", "exit");
        self.print();
    }

    /// Prints the trace up to now, and ends the process immediately.
    pub fn abort(&self) -> ! {
        self.line("main", "abort");
        self.print();
        std::process::exit(0);
    }

    fn print(&self) {
        for path in self.state().paths.values() {
            _ = std::fs::remove_file(path);
        }
        print!("{}", self.state().trace);
    }

    pub fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    pub fn line(&self, object: &str, text: &str) {
        self.state().trace.line(object, text);
    }

    /// Reports an event without data. An event without a text is not traced.
    pub fn event(self: &Rc<Self>, lp: &mut Loop, object: &str, event: &str, text: Option<&str>) {
        self.jitter();
        let count = self.count(object, event);
        if let Some(text) = text
            && !self.scenario.hide.contains(&format!("{object}.{event}"))
        {
            self.line(object, format!("{event} {text}").trim_end());
        }
        self.run_rules(lp, object, event, count, None);
    }

    /// Reports received data.
    pub fn received(self: &Rc<Self>, lp: &mut Loop, object: &str, chunk: Chunk<'_>) {
        let bytes = chunk.bytes();
        *self.state().received.entry(object.to_owned()).or_default() += bytes.len() as u64;
        self.state().trace.data(object, chunk);
        self.jitter();
        let count = self.count(object, "data");
        self.run_rules(lp, object, "data", count, Some(bytes));
    }

    /// Counts an event that steps can wait for, but that has no rules.
    pub fn noted(self: &Rc<Self>, lp: &mut Loop, object: &str, event: &str) {
        self.count(object, event);
        self.check_steps(lp);
    }

    fn count(&self, object: &str, event: &str) -> u64 {
        let mut state = self.state();
        let count = state.counts.entry(format!("{object}.{event}")).or_default();
        *count += 1;
        *count
    }

    /// Runs the rules of an event, then checks whether a step is due.
    fn run_rules(self: &Rc<Self>, lp: &mut Loop, object: &str, event: &str, count: u64, chunk: Option<&[u8]>) {
        for (place, rule) in self.scenario.rules.iter().enumerate() {
            if !rule.is_for(object, event) || rule.nth.is_some_and(|nth| nth != count) {
                continue;
            }
            if self.use_rule(place, object) {
                let context = Context { object: Some(object.into()), chunk: chunk.map(Rc::from) };
                self.run(lp, &rule.actions, &context);
            }
        }
        self.check_steps(lp);
    }

    /// Whether a rule's limits allow it to run again. Counts the run if so.
    fn use_rule(&self, place: usize, object: &str) -> bool {
        let rule = &self.scenario.rules[place];
        let state = &mut *self.state();
        let uses = &mut state.uses[place];
        let received = state.received.get(object).copied().unwrap_or(0);
        if rule.bytes.is_some_and(|bytes| received < bytes || uses.objects.contains(object))
            || rule.times.is_some_and(|times| uses.count >= times)
        {
            return false;
        }
        uses.count += 1;
        uses.objects.insert(object.to_owned());
        true
    }

    /// Sets the timer of the next step, if all of its conditions are true.
    pub fn check_steps(self: &Rc<Self>, lp: &mut Loop) {
        let mut state = self.state();
        let Some(step) = self.scenario.steps.get(state.step) else { return };
        if state.is_step_armed || !step.after.iter().all(|condition| state.holds(condition)) {
            return;
        }
        state.is_step_armed = true;
        drop(state);
        let runner = Rc::clone(self);
        lp.set_timeout(milliseconds(step.delay_ms), move |lp| runner.run_step(lp));
    }

    fn run_step(self: &Rc<Self>, lp: &mut Loop) {
        let step = self.state().step;
        self.state().step += 1;
        self.state().is_step_armed = false;
        self.run(lp, &self.scenario.steps[step].actions, &Context::default());
        self.check_steps(lp);
    }

    pub fn run(self: &Rc<Self>, lp: &mut Loop, actions: &Actions, context: &Context) {
        for action in actions.iter() {
            let is_known = self.loop_action(lp, action, context)
                || self.server_action(lp, action, context)
                || self.socket_action(lp, action, context)
                || self.pure_action(action);
            assert!(is_known, "scenario error: unknown action {}", action.name);
        }
    }

    /// The `then` of an action, as a callback.
    pub fn then(self: &Rc<Self>, action: &Action, context: &Context) -> impl FnMut(&mut Loop) + 'static {
        let (runner, actions, context) = (Rc::clone(self), Rc::clone(&action.then), context.clone());
        move |lp| runner.run(lp, &actions, &context)
    }

    /// The object of a name.
    pub fn object(&self, name: &str) -> Object {
        *self.state().objects.get(name).unwrap_or_else(|| panic!("scenario error: no object {name}"))
    }

    /// Traces a call that failed immediately.
    pub fn refused(&self, object: &str, what: &str, code: &str) {
        self.line(object, &format!("{what} ! {code}"));
    }

    /// The file of a symbolic path.
    pub fn path(&self, name: &str) -> PathBuf {
        let file = || std::env::temp_dir().join(format!("conf-{}-{name}.sock", std::process::id()));
        self.state().paths.entry(name.to_owned()).or_insert_with(file).clone()
    }

    /// The symbolic path of a file.
    pub fn symbol(&self, path: &Path) -> String {
        let state = self.state();
        let name = state.paths.iter().find(|(_, file)| *file == path).map(|(name, _)| format!("<{name}>"));
        name.unwrap_or_else(|| path.display().to_string())
    }

    /// Disturbs the timing, if `JITTER` is set: the trace must not depend on it.
    pub fn jitter(&self) {
        if self.jitter_ms > 0.0 {
            // A new hasher is seeded at random.
            let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
            busy(milliseconds(random * self.jitter_ms));
        }
    }
}

impl State {
    fn holds(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Bytes(object, n) => self.received.get(object).copied().unwrap_or(0) >= *n,
            Condition::Events(event, n) => self.counts.get(event).copied().unwrap_or(0) >= *n,
        }
    }
}

/// Keeps the thread busy for `time`.
pub fn busy(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {}
}

/// A duration in JavaScript's milliseconds: a fraction is allowed, and a negative number is 0.
pub fn milliseconds(ms: f64) -> Duration {
    Duration::from_micros((ms * 1000.0) as u64)
}
