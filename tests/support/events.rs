//! The events of `net`, and the check that a protocol forwards all of them.

use std::fs;
use std::path::Path;

/// The names of the methods of `net::Handler`, from its source.
pub fn events_of_net() -> Vec<String> {
    let source = source("src/net/handler.rs");
    let (_, from_trait) = source.split_once("pub trait Handler").expect("the trait is there");
    let (methods, _) = from_trait.split_once("\n}\n").expect("the trait ends");
    let events: Vec<String> = methods
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("fn "))
        .filter_map(|line| Some(line.split_once('(')?.0.to_owned()))
        .collect();
    assert!(
        events.len() >= 20 && events.iter().all(|event| event.starts_with("on_") || event == "is_busy"),
        "{events:?}"
    );
    events
}

fn source(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the source is there")
}

/// Checks that a file implements every event. A method that is missing there would not fail to compile: the trait has a
/// default for each.
pub fn assert_that_all_are_forwarded(file: &str) {
    let forward = source(file);
    for event in events_of_net() {
        assert!(forward.contains(&format!("    fn {event}(")), "{file} does not implement {event}");
    }
}
