//! A parsed scenario: actions, rules for events, and steps.

use std::collections::HashSet;
use std::rc::Rc;

use serde_json::{Map, Value};

/// Actions to run one after the other. Shared, because a rule may start again while its actions run.
pub type Actions = Rc<[Action]>;

/// One file.
pub struct Scenario {
    /// Objects that share a lane: the order of their lines is compared.
    pub lanes: Vec<Vec<String>>,
    /// Optional events to trace.
    pub show: HashSet<String>,
    /// Events not to trace, as `object.event`.
    pub hide: HashSet<String>,
    pub main: Actions,
    pub rules: Vec<Rule>,
    pub steps: Vec<Step>,
}

/// A `do` and its arguments.
pub struct Action {
    pub name: String,
    /// The actions to run later, in the callback of this action.
    pub then: Actions,
    arguments: Map<String, Value>,
}

/// Actions to run inside an event.
pub struct Rule {
    object: String,
    is_prefix: bool,
    event: String,
    /// Run only for occurrence number `nth` of this event on this object.
    pub nth: Option<u64>,
    /// Run at most this many times.
    pub times: Option<u64>,
    /// Run once per object, when it has received this many bytes.
    pub bytes: Option<u64>,
    pub actions: Actions,
}

/// Actions to run in a timer, which is set when all conditions are true.
pub struct Step {
    pub after: Vec<Condition>,
    pub delay_ms: f64,
    pub actions: Actions,
}

/// A condition of a step.
pub enum Condition {
    /// `object:N`
    Bytes(String, u64),
    /// `object.event`, `object.event*N`
    Events(String, u64),
}

/// The default delay of a step.
const STEP_DELAY_MS: f64 = 20.0;

impl Scenario {
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let scenario: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if scenario["format"] != 1 {
            return Err("unsupported format".to_owned());
        }
        let lanes = list(&scenario["lanes"]).iter().map(strings).collect();
        Ok(Scenario {
            lanes,
            show: strings(&scenario["show"]),
            hide: strings(&scenario["hide"]),
            main: actions(&scenario["main"]),
            rules: list(&scenario["on"]).iter().map(Rule::parse).collect(),
            steps: list(&scenario["steps"]).iter().map(Step::parse).collect(),
        })
    }
}

impl Action {
    fn parse(value: &Value) -> Action {
        let arguments = value.as_object().cloned().unwrap_or_default();
        Action { name: string(&value["do"]), then: actions(&value["then"]), arguments }
    }

    /// An argument; `Null` if it is missing.
    pub fn get(&self, key: &str) -> &Value {
        self.arguments.get(key).unwrap_or(&Value::Null)
    }

    /// Whether an argument is present, even as `null`.
    pub fn has(&self, key: &str) -> bool {
        self.arguments.contains_key(key)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).as_str()
    }

    /// A text argument that the action requires.
    pub fn name_of(&self, key: &str) -> &str {
        self.text(key).unwrap_or_else(|| panic!("scenario error: {} without {key}", self.name))
    }

    /// A number; 0 if it is missing.
    pub fn number(&self, key: &str) -> f64 {
        self.get(key).as_f64().unwrap_or(0.0)
    }

    /// A whole number, 0 or more.
    pub fn count(&self, key: &str) -> Option<usize> {
        self.get(key).as_u64().map(|n| n as usize)
    }

    pub fn flag(&self, key: &str) -> bool {
        self.get(key).as_bool().unwrap_or(false)
    }
}

impl Rule {
    fn parse(value: &Value) -> Rule {
        let pattern = string(&value["event"]);
        let (object, event) = pattern.rsplit_once('.').unwrap_or(("", &pattern));
        Rule {
            object: object.trim_end_matches('*').to_owned(),
            is_prefix: object.ends_with('*'),
            event: event.to_owned(),
            nth: value["nth"].as_u64(),
            times: value["times"].as_u64(),
            bytes: value["bytes"].as_u64(),
            actions: actions(&value["do"]),
        }
    }

    pub fn is_for(&self, object: &str, event: &str) -> bool {
        let is_object = if self.is_prefix { object.starts_with(&self.object) } else { object == self.object };
        is_object && event == self.event
    }
}

impl Step {
    fn parse(value: &Value) -> Step {
        Step {
            after: list(&value["after"]).iter().map(|text| Condition::parse(&string(text))).collect(),
            delay_ms: value["delay"].as_f64().unwrap_or(STEP_DELAY_MS),
            actions: actions(&value["do"]),
        }
    }
}

impl Condition {
    fn parse(text: &str) -> Condition {
        let numbered = |mark| {
            let (subject, number) = text.rsplit_once(mark)?;
            Some((subject.to_owned(), number.parse().ok()?))
        };
        if let Some((object, n)) = numbered(':') {
            return Condition::Bytes(object, n);
        }
        let (event, n) = numbered('*').unwrap_or((text.to_owned(), 1));
        Condition::Events(event, n)
    }
}

fn actions(value: &Value) -> Actions {
    list(value).iter().map(Action::parse).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn strings<C: FromIterator<String>>(value: &Value) -> C {
    list(value).iter().map(string).collect()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
