//! Actions on the loop: ticks, immediates, timers, and a callback of the poll phase.

use std::cell::Cell;
use std::rc::Rc;

use bucle::net::Shared;
use bucle::{Loop, TimerOrImmediate};

use crate::runner::{Context, Object, Runner, busy, milliseconds};
use crate::scenario::Action;

impl Runner {
    /// Runs `action` if it belongs to this file.
    pub fn loop_action(self: &Rc<Self>, lp: &mut Loop, action: &Action, context: &Context) -> bool {
        let then = self.then(action, context);
        match action.name.as_str() {
            "log" => self.log(lp, action.text("lane").unwrap_or("main"), action.name_of("text")),
            "busy" => busy(milliseconds(action.number("ms"))),
            "next_tick" => lp.next_tick(then),
            "microtask" => lp.queue_microtask(then),
            "immediate" => {
                let id = lp.set_immediate(then);
                self.keep(action, Object::Immediate(id));
            }
            "timeout" => {
                let delay = milliseconds(action.number("ms"));
                // A named timer may be refreshed after it has fired, so it needs `set_timer`.
                let id = if action.has("as") { lp.set_timer(delay, then) } else { lp.set_timeout(delay, then) };
                self.keep(action, Object::Timer(id));
            }
            "interval" => self.interval(lp, action, then),
            "tick_chain" => tick_chain(lp, action.count("n").unwrap_or(1), then),
            "immediate_chain" => immediate_chain(lp, action.count("n").unwrap_or(1), then),
            "poll" => {
                // A posted closure must be `Send`, and a callback of a scenario is not. So the callback stays in the
                // loop, and the posted closure has its name.
                let callback = Shared::new(lp, then);
                lp.remote().post(move |lp| {
                    callback.with(lp, |then, lp| then(lp));
                    callback.release(lp);
                });
            }
            "clear" => {
                if let Some(id) = self.alarm(action) {
                    lp.clear(id);
                }
            }
            "refresh" => {
                if let Object::Timer(id) = self.object(action.name_of("on")) {
                    lp.refresh(id);
                }
            }
            "ref" => match self.object(context.name(action, "on")) {
                Object::Timer(id) => lp.ref_(id),
                Object::Immediate(id) => lp.ref_(id),
                Object::Server(server) => server.ref_(lp),
                Object::Socket(socket) => socket.ref_(lp),
            },
            "unref" => match self.object(context.name(action, "on")) {
                Object::Timer(id) => lp.unref(id),
                Object::Immediate(id) => lp.unref(id),
                Object::Server(server) => server.unref(lp),
                Object::Socket(socket) => socket.unref(lp),
            },
            "has_ref" => {
                let has_ref = self.alarm(action).is_some_and(|id| lp.has_ref(id));
                self.line("main", &format!("{} has_ref -> {has_ref}", action.name_of("on")));
            }
            "abort" => self.abort(),
            _ => return false,
        }
        true
    }

    fn log(self: &Rc<Self>, lp: &mut Loop, lane: &str, text: &str) {
        self.jitter();
        self.line(lane, &format!("log {text}"));
        self.noted(lp, "log", text);
    }

    /// Stores the object that an action made, under the name of `as`.
    fn keep(&self, action: &Action, object: Object) {
        if let Some(name) = action.text("as") {
            self.state().objects.insert(name.to_owned(), object);
        }
    }

    /// The timer or immediate that `on` names.
    fn alarm(&self, action: &Action) -> Option<TimerOrImmediate> {
        match self.object(action.name_of("on")) {
            Object::Timer(id) => Some(id.into()),
            Object::Immediate(id) => Some(id.into()),
            _ => None,
        }
    }

    fn interval(&self, lp: &mut Loop, action: &Action, mut then: impl FnMut(&mut Loop) + 'static) {
        let mut left = action.count("times").unwrap_or(usize::MAX);
        let own_id = Rc::new(Cell::new(None));
        let id = lp.set_interval(milliseconds(action.number("ms")), {
            let own_id = Rc::clone(&own_id);
            move |lp| {
                then(lp);
                left -= 1;
                if let (0, Some(id)) = (left, own_id.get()) {
                    lp.clear(TimerOrImmediate::Timer(id));
                }
            }
        });
        own_id.set(Some(id));
        self.keep(action, Object::Timer(id));
    }
}

/// A chain of `n` ticks, each scheduled by the previous one. The last one runs `last`.
fn tick_chain(lp: &mut Loop, n: usize, mut last: impl FnMut(&mut Loop) + 'static) {
    lp.next_tick(move |lp| if n > 1 { tick_chain(lp, n - 1, last) } else { last(lp) });
}

/// A chain of `n` immediates, each scheduled by the previous one. The last one runs `last`.
fn immediate_chain(lp: &mut Loop, n: usize, mut last: impl FnMut(&mut Loop) + 'static) {
    lp.set_immediate(move |lp| if n > 1 { immediate_chain(lp, n - 1, last) } else { last(lp) });
}
