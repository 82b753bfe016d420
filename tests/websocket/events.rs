//! Every event of `net` reaches the WebSocket handler or is used up.

use std::fs;

fn source(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect("a source")
}

#[test]
fn every_event_of_net_is_forwarded_or_named() {
    let handler = source("src/net/handler.rs");
    let start = handler.find("pub trait Handler").expect("the trait");
    let end = start + handler[start..].find("\n}\n").expect("its end");
    let events: Vec<&str> =
        handler[start..end].lines().filter_map(|line| line.strip_prefix("    fn ")?.split('(').next()).collect();
    assert!(events.len() > 15, "{events:?}");
    let forward = source("src/websocket/forward.rs");
    for event in events {
        assert!(forward.contains(&format!("    fn {event}(")), "src/websocket/forward.rs does not implement {event}");
    }
}
