//! The report for programs: schema `bucle-load/1`. Keys may be added, never changed.

use serde_json::{Map, Value, json};

use super::compare::Before;
use super::counts::{Counts, QUANTILES};
use super::fingerprint::Fingerprint;
use super::ledger::{EarlyEnd, FinishedRun, Ledger};
use super::options::{Length, Load, Model, Ramp};
use super::report;
use super::units::{nanos, typed_time};

/// The whole report as one object.
pub(crate) fn report(load: &Load, run: &FinishedRun, before: Option<&Before>) -> Value {
    let mut report = measured(load, run);
    report["compare"] = before.map(|before| before.value(&report)).into();
    report
}

/// The part of the report that is known before the run: runs that differ in it cannot be compared. `procs`: the number
/// of processes.
pub(crate) fn plan(load: &Load, procs: u64) -> Value {
    let (duration, requests) = match load.length {
        Length::For(time) => (Some(nanos(time)), None),
        Length::Messages(count) => (None, Some(count)),
    };
    let in_flight = match load.model {
        Model::Closed { in_flight } => Some(in_flight),
        _ => None,
    };
    let ramp = match load.ramp {
        Ramp::AtOnce => None,
        Ramp::Over(time) => Some(typed_time(nanos(time))),
        Ramp::PerSecond(rate) => Some(format!("{rate}/s")),
    };
    let mut message = Fingerprint::new();
    match &load.model {
        Model::Hold => {}
        Model::Script(script) => script.add_to(&mut message),
        _ => load.messages.add_to(&mut message),
    }
    let message = (!matches!(load.model, Model::Hold)).then(|| message.text());
    let socket_io = load.protocol.socket_io();
    json!({
        "protocol": load.protocol.name(),
        "model": load.model.name(),
        "expect": load.expect_name(),
        "rate_target": load.model.rate(),
        "plan": {
            "connections": load.connections, "in_flight": in_flight, "duration_ns": duration, "requests": requests,
            "warmup_ns": nanos(load.warmup), "ramp": ramp, "message": message, "timeout_ns": nanos(load.timeout),
            "reconnect": load.reconnect, "procs": procs, "source": load.sources.name(),
            "telnet": load.telnet, "skip_line": load.skip_line, "binary": load.protocol.is_binary(),
            "event": socket_io.map(|it| &it.event), "auth": socket_io.is_some_and(|it| it.auth.is_some()),
        },
    })
}

fn measured(load: &Load, run: &FinishedRun) -> Value {
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
        "transport": load.protocol.transport(),
        "started": run.started,
        "model": load.model.name(),
        "unit": if matches!(load.model, Model::Script(_)) { "pass" } else { "message" },
        "plan": plan(load, run.procs)["plan"],
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
        "parts": parts(ledger),
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

/// The time over which the rate is calculated, in up to five parts. Their differences show how much the figures vary.
fn parts(ledger: &Ledger) -> Value {
    const PARTS: usize = 5;
    let cuts = ledger.timeline.load.cuts_between(ledger.warmup_ns, ledger.warmup_ns + ledger.elapsed_ns);
    let count = cuts.len().min(PARTS);
    let part = |at: usize| {
        let cuts = &cuts[cuts.len() * at / count..cuts.len() * (at + 1) / count];
        let ns: u64 = cuts.iter().map(|cut| cut.to - cut.from).sum();
        let mut response = Counts::coarse();
        for (value, count) in cuts.iter().flat_map(|cut| cut.slice.counts().buckets()) {
            response.record_n(value, count);
        }
        // A slice also counts the replies to messages of the warm-up, but its response times are of the steady phase.
        let exact = response.total();
        let rate = exact as f64 * 1e9 / ns.max(1) as f64;
        json!({
            "ns": ns, "exact": exact, "rate": rate,
            "p50_ns": response.quantile(0.5), "p99_ns": response.quantile(0.99),
        })
    };
    (0..count).map(part).collect()
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
