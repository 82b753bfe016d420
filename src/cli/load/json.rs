//! The report for programs: schema `bucle-load/1`. Keys may be added, never changed.

use serde_json::{Map, Value, json};

use super::counts::{Counts, QUANTILES};
use super::ledger::{EarlyEnd, FinishedRun};
use super::options::Load;
use super::report;

/// The whole report as one object.
pub(crate) fn report(load: &Load, run: &FinishedRun) -> Value {
    let ledger = &run.ledger;
    let errno: Map<String, Value> =
        ledger.connects.errno.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
    let failure = ledger.first_failure.as_ref().map(|failure| {
        json!({
            "conn": failure.conn, "seq": failure.seq, "kind": failure.kind,
            "sent": failure.sent, "expected": failure.expected, "received": failure.received, "line": failure.line,
            "reason": failure.reason,
        })
    });
    json!({
        "schema": "bucle-load/1",
        "bucle": env!("CARGO_PKG_VERSION"),
        "target": load.target_url(),
        "protocol": load.protocol.name(),
        "started": run.started,
        "model": load.model.name(),
        "expect": load.expect_name(),
        "checked": load.is_checked(),
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
            "refusal": ledger.first_refusal,
            "latency_ns": quantiles(&ledger.connects.latency, &["p50", "p99", "max"]),
        },
        "lost": { "closed": ledger.lost_closed, "reset": ledger.lost_reset },
        "close_codes": ledger.close_codes_value(),
        "client": {
            "procs": run.procs,
            "cpu": ledger.cpu,
            "lag_p99_ns": ledger.lag_p99(),
            "saturated": ledger.is_saturated(),
        },
        "first_failure": failure,
        "hints": report::hints(load, ledger),
        "failed": run.failed,
        "interrupted": ledger.is_interrupted,
        "ended_early": ledger.ended_early.map(EarlyEnd::value),
        "reconnects": ledger.reconnects,
        "away_ns": ledger.away_ns,
        "exit": run.exit,
    })
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
