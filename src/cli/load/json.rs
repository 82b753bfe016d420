//! The report as JSON, for programs: schema `bucle-load/1`. Keys may be added, but never changed.

use serde_json::{Map, Value, json};

use super::check::Expect;
use super::counts::{Counts, QUANTILES};
use super::options::{Load, Model};
use super::{Outcome, target_url};

/// The whole report as one object.
pub(crate) fn report(load: &Load, outcome: &Outcome) -> Value {
    let ledger = &outcome.ledger;
    let errno: Map<String, Value> =
        ledger.connects.errno.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
    let failure = ledger.first_failure.as_ref().map(|failure| {
        json!({
            "conn": failure.conn, "seq": failure.seq, "kind": failure.kind,
            "sent": failure.sent, "expected": failure.expected, "received": failure.received, "line": failure.line,
        })
    });
    json!({
        "schema": "bucle-load/1",
        "bucle": env!("CARGO_PKG_VERSION"),
        "target": target_url(load),
        "started": outcome.started,
        "model": load.model.name(),
        "expect": expect_name(load),
        "checked": is_checked(load),
        "rate_target": load.model.rate(),
        "steady_ns": ledger.steady_ns,
        "elapsed_ns": ledger.elapsed_ns,
        "rate": ledger.rate_of(ledger.steady.exact),
        "rate_sent": ledger.rate_of(ledger.steady.sent),
        "messages": ledger.steady.value(),
        "warmup": { "ns": ledger.warmup_ns, "messages": ledger.warmup.value() },
        "bytes": { "out": ledger.bytes_out, "in": ledger.bytes_in },
        "latency_ns": { "response": latency(&ledger.response), "service": latency(&ledger.service) },
        "connect": {
            "attempted": ledger.connects.attempted(),
            "ok": ledger.connects.ok,
            "refused": ledger.connects.refused,
            "timeout": ledger.connects.timeout,
            "errno": errno,
            "latency_ns": quantiles(&ledger.connects.latency, &["p50", "p99", "max"]),
        },
        "lost": { "closed": ledger.lost_closed, "reset": ledger.lost_reset },
        "client": {
            "procs": outcome.procs,
            "cpu": ledger.cpu,
            "lag_p99_ns": ledger.lag_p99(),
            "saturated": ledger.is_saturated(),
        },
        "first_failure": failure,
        "hints": ledger.hints(load),
        "failed": outcome.failed,
        "interrupted": ledger.is_interrupted,
        "exit": outcome.exit,
    })
}

/// Whether replies are checked.
pub(crate) fn is_checked(load: &Load) -> bool {
    match load.model {
        Model::Hold => false,
        Model::Script(_) => true,
        _ => !matches!(load.expect, Expect::None),
    }
}

pub(crate) fn expect_name(load: &Load) -> String {
    match load.model {
        Model::Script(_) => "script".to_owned(),
        _ => load.expect.name(),
    }
}

fn quantiles(counts: &Counts, names: &[&str]) -> Value {
    let wanted = QUANTILES.into_iter().filter(|(name, _)| names.contains(name));
    Value::Object(wanted.map(|(name, quantile)| (name.to_owned(), counts.quantile(quantile).into())).collect())
}

fn latency(counts: &Counts) -> Value {
    let mut value = quantiles(counts, &QUANTILES.map(|(name, _)| name));
    value["histogram"] = counts.buckets().into_iter().map(|(value, count)| json!([value, count])).collect();
    value
}
