//! `bucle load`, run as a process against test servers that count what they receive. The report must agree with the
//! server.
//!
//! No test depends on the speed of the machine: times are only compared with delays that a server really waited.
#![cfg(all(unix, feature = "cli"))]

mod arguments;
mod command;
mod compare;
mod connections;
mod early;
mod fanout;
mod frames;
mod greetings;
mod page;
mod processes;
mod replies;
mod report;
#[path = "../support/retry.rs"]
mod retry;
mod schema;
mod scripts;
mod server;
mod socket_io;
mod terminal;
mod times;
mod websocket;

use std::time::Duration;

use serde_json::Value;

/// The counters of a report that are not zero, without `sent` and `expected`.
fn counters(report: &Value) -> String {
    let messages = report["messages"].as_object().expect("an object");
    let is_shown = |name: &str, count: &Value| !matches!(name, "sent" | "expected") && *count != 0;
    let shown = messages.iter().filter(|(name, count)| is_shown(name, count));
    shown.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// Checks the sums that must be right in every report.
#[track_caller]
fn is_consistent(report: &Value) {
    for messages in [&report["messages"], &report["warmup"]["messages"]] {
        let count = |name: &str| messages[name].as_u64().expect("a count");
        let answered: u64 = ["exact", "wrong", "missing", "out_of_order", "unfinished"].into_iter().map(count).sum();
        assert_eq!(count("expected"), answered, "{messages}");
    }
    for name in ["response", "service"] {
        let latency = &report["latency_ns"][name];
        let buckets: Vec<(u64, u64)> = latency["histogram"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|bucket| (bucket[0].as_u64().expect("ns"), bucket[1].as_u64().expect("a count")))
            .collect();
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(buckets.iter().map(|bucket| bucket.1).sum::<u64>(), report["messages"]["exact"]);
        assert_eq!(latency["max"].as_u64(), buckets.last().map(|bucket| bucket.0));
    }
    let connect = &report["connect"];
    let count = |name: &str| connect[name].as_u64().expect("a count");
    let errno: u64 = connect["errno"].as_object().expect("an object").values().filter_map(Value::as_u64).sum();
    assert_eq!(count("attempted"), count("ok") + count("refused") + count("timeout") + errno);
}

/// How many response times were at least this long.
fn responses_from(report: &Value, time: Duration) -> u64 {
    let buckets = report["latency_ns"]["response"]["histogram"].as_array().expect("a list");
    let is_long = |bucket: &&Value| u128::from(bucket[0].as_u64().expect("ns")) >= time.as_nanos();
    buckets.iter().filter(is_long).filter_map(|bucket| bucket[1].as_u64()).sum()
}
