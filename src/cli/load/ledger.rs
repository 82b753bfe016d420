//! The ledger: everything a run counts and measures, and how the ledgers of several processes are added up.
//!
//! The counters, the buckets of the histograms and the slices of the curves are all counts, so ledgers are merged by
//! adding. Nothing is averaged. A worker process prints its ledger as one line of JSON, and the parent adds it to its
//! own.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::check::{Phase, Verdict};
use super::counts::{Counts, u64_of};
use super::options::{Load, Model};
use super::threshold::Metric;
use super::timeline::Timeline;
use crate::cli::exit_code;

/// Figures are uncertain if the 99th percentile of the generator's lag is more than this, in nanoseconds.
pub(crate) const LATE: u64 = 1_000_000;

/// The generator is busy if it uses more than this part of a core.
pub(crate) const BUSY: f64 = 0.90;

/// The eleven counters of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageCounts {
    pub(crate) sent: u64,
    pub(crate) expected: u64,
    pub(crate) exact: u64,
    pub(crate) wrong: u64,
    pub(crate) missing: u64,
    pub(crate) out_of_order: u64,
    pub(crate) unfinished: u64,
    pub(crate) duplicate: u64,
    pub(crate) late: u64,
    pub(crate) unexpected: u64,
    pub(crate) unsent: u64,
}

impl MessageCounts {
    /// All counters with their names, in the order of the JSON report.
    pub(crate) fn list(&self) -> [(&'static str, u64); 11] {
        [
            ("sent", self.sent),
            ("expected", self.expected),
            ("exact", self.exact),
            ("wrong", self.wrong),
            ("missing", self.missing),
            ("out_of_order", self.out_of_order),
            ("unfinished", self.unfinished),
            ("duplicate", self.duplicate),
            ("late", self.late),
            ("unexpected", self.unexpected),
            ("unsent", self.unsent),
        ]
    }

    fn list_mut(&mut self) -> [(&'static str, &mut u64); 11] {
        [
            ("sent", &mut self.sent),
            ("expected", &mut self.expected),
            ("exact", &mut self.exact),
            ("wrong", &mut self.wrong),
            ("missing", &mut self.missing),
            ("out_of_order", &mut self.out_of_order),
            ("unfinished", &mut self.unfinished),
            ("duplicate", &mut self.duplicate),
            ("late", &mut self.late),
            ("unexpected", &mut self.unexpected),
            ("unsent", &mut self.unsent),
        ]
    }

    /// Adds one to the verdict's counter.
    pub(crate) fn count(&mut self, verdict: Verdict) {
        *match verdict {
            Verdict::Exact => &mut self.exact,
            Verdict::Wrong => &mut self.wrong,
            Verdict::Missing => &mut self.missing,
            Verdict::OutOfOrder => &mut self.out_of_order,
            Verdict::Duplicate => &mut self.duplicate,
            Verdict::Late => &mut self.late,
            Verdict::Unexpected => &mut self.unexpected,
            Verdict::Unsent => &mut self.unsent,
        } += 1;
    }

    /// How many of the messages make the run fail.
    pub(crate) fn failures(&self) -> u64 {
        self.wrong + self.missing + self.out_of_order + self.duplicate + self.unexpected + self.unsent
    }

    pub(crate) fn value(&self) -> Value {
        Value::Object(self.list().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect())
    }

    fn add(&mut self, value: &Value) {
        for (name, count) in self.list_mut() {
            *count += u64_of(&value[name]);
        }
    }
}

/// The connects by result. Invariant: `attempted` is the sum of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connects {
    pub(crate) ok: u64,
    pub(crate) refused: u64,
    pub(crate) timeout: u64,
    pub(crate) errno: BTreeMap<String, u64>,
    pub(crate) latency: Counts,
}

impl Connects {
    pub(crate) fn failed(&self) -> u64 {
        self.refused + self.timeout + self.errno.values().sum::<u64>()
    }

    /// The most frequent error code of the failed connects.
    pub(crate) fn commonest_failure(&self) -> Option<&str> {
        [("ECONNREFUSED", self.refused), ("ETIMEDOUT", self.timeout)]
            .into_iter()
            .chain(self.errno.iter().map(|(name, count)| (name.as_str(), *count)))
            .filter(|(_, count)| *count > 0)
            .max_by_key(|(_, count)| *count)
            .map(|(name, _)| name)
    }

    pub(crate) fn attempted(&self) -> u64 {
        self.ok + self.failed()
    }
}

/// A failure, as the reports show it; the ledger keeps the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Nanoseconds from the start of the run; in the ledger of a worker, from the start of its load.
    pub(crate) at: u64,
    pub(crate) conn: u64,
    pub(crate) seq: Option<u64>,
    pub(crate) kind: &'static str,
    /// The message; of a script, the text that was sent last. Control bytes are escaped, in the other texts too.
    pub(crate) sent: String,
    /// The text that a script's step was waiting for.
    pub(crate) expected: Option<String>,
    pub(crate) received: String,
    /// The line of the step in the script.
    pub(crate) line: Option<u64>,
    /// Why the reply is wrong, if that is not to be seen.
    pub(crate) reason: Option<String>,
}

/// A run whose steady phase ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EarlyEnd {
    /// The measured length of the steady phase; 0 if the run ended before it.
    pub(crate) after_ns: u64,
    /// The length that was asked for, if the options determine it.
    pub(crate) of_ns: Option<u64>,
    pub(crate) why: Why,
}

/// Why a run ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// No connection was left.
    NoConnection,
    /// `--fail-fast`, and a reply was not exact.
    FailFast,
    /// Ctrl-C.
    Interrupted,
}

impl Why {
    const ALL: [Why; 3] = [Why::NoConnection, Why::FailFast, Why::Interrupted];

    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Why::NoConnection => "no_connection",
            Why::FailFast => "fail_fast",
            Why::Interrupted => "interrupted",
        }
    }
}

impl EarlyEnd {
    pub(crate) fn value(self) -> Value {
        json!({ "after_ns": self.after_ns, "of_ns": self.of_ns, "why": self.why.name() })
    }

    fn of(value: &Value) -> Option<EarlyEnd> {
        let why = value["why"].as_str()?;
        let why = Why::ALL.into_iter().find(|known| known.name() == why)?;
        Some(EarlyEnd { after_ns: u64_of(&value["after_ns"]), of_ns: value["of_ns"].as_u64(), why })
    }

    /// The early end of a run of two parts. Without a connection in one part, the other goes on; the other reasons end
    /// the whole run.
    fn merged(one: Option<EarlyEnd>, other: Option<EarlyEnd>) -> Option<EarlyEnd> {
        let ends = [one, other];
        let last = ends.into_iter().flatten().max_by_key(|end| (end.why != Why::NoConnection, end.after_ns))?;
        (last.why != Why::NoConnection || ends.iter().all(Option::is_some)).then_some(last)
    }
}

const KINDS: [Verdict; 7] = [
    Verdict::Wrong,
    Verdict::Missing,
    Verdict::OutOfOrder,
    Verdict::Duplicate,
    Verdict::Late,
    Verdict::Unexpected,
    Verdict::Unsent,
];

/// Everything that a run counts and measures.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) warmup: MessageCounts,
    pub(crate) steady: MessageCounts,
    pub(crate) warmup_ns: u64,
    pub(crate) steady_ns: u64,
    /// From the start of the steady phase to its end, or to the last exact reply if that came later.
    pub(crate) elapsed_ns: u64,
    pub(crate) response: Counts,
    pub(crate) service: Counts,
    pub(crate) lag: Counts,
    pub(crate) connects: Connects,
    pub(crate) lost_closed: u64,
    pub(crate) lost_reset: u64,
    /// WebSocket: the close codes of the server other than 1000, and how often each came. 1005: the close frame had no
    /// code; 1006: there was no close frame.
    pub(crate) close_codes: BTreeMap<u16, u64>,
    /// WebSocket: why the first handshake has failed, as a sentence.
    pub(crate) first_refusal: Option<String>,
    /// With `--skip-line`: connections whose greeting did not come in time.
    pub(crate) ungreeted: u64,
    /// Connections whose first reply was wrong or unexpected.
    pub(crate) first_wrong: u64,
    /// Of these, the connections whose first reply was the message itself.
    pub(crate) echoed: u64,
    /// Of these, the connections whose first reply contains the message, perhaps in other case: the server answers with
    /// other text.
    pub(crate) answered: u64,
    /// Of these, the connections whose first reply was the message with another line end.
    pub(crate) other_end: u64,
    /// Replies that may be late ones to a message that was counted as missing.
    pub(crate) doubtful: u64,
    /// `fanout:others`: messages that came back to their sender, but should not.
    pub(crate) returned: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    /// CPU time ÷ wall time of the busiest process in the steady phase.
    pub(crate) cpu: f64,
    pub(crate) first_failure: Option<Failure>,
    pub(crate) is_interrupted: bool,
    pub(crate) ended_early: Option<EarlyEnd>,
    /// `--reconnect`: how many connections were opened anew.
    pub(crate) reconnects: u64,
    /// The sum over all connections of the time that they were lost or not made, from the start of the load to the end
    /// of the steady phase.
    pub(crate) away_ns: u64,
    /// Whether the ledger of a worker process has been added.
    is_merged: bool,
    pub(crate) timeline: Timeline,
}

/// A run that has ended: what the reports are made of.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    pub(crate) ledger: Ledger,
    /// Date and time of the start in UTC, as ISO 8601 writes them.
    pub(crate) started: String,
    pub(crate) procs: u64,
    /// The `--fail-if` conditions that were true, as they were typed.
    pub(crate) failed: Vec<String>,
    /// The exit status.
    pub(crate) exit: u8,
    /// Whether the page of `--html` could not be written.
    pub(crate) has_lost_page: bool,
}

impl Ledger {
    pub(crate) fn phase(&mut self, phase: Phase) -> &mut MessageCounts {
        match phase {
            Phase::Warmup => &mut self.warmup,
            Phase::Steady => &mut self.steady,
        }
    }

    /// Records the times of an exact reply of the steady phase.
    pub(crate) fn measured(&mut self, response: u64, service: u64) {
        self.response.record(response);
        self.service.record(service);
        self.timeline.response(response);
    }

    /// Keeps the failure if it is the first.
    pub(crate) fn fail_first(&mut self, failure: impl FnOnce() -> Failure) {
        if self.first_failure.is_none() {
            self.first_failure = Some(failure());
        }
    }

    /// Counts the time of the first failure from the start of the load. Worker processes are started one after the
    /// other, but they begin the load together, so only this time can be compared with that of another process.
    pub(crate) fn count_from_load(&mut self, load_began: u64) {
        if let Some(failure) = &mut self.first_failure {
            failure.at = failure.at.saturating_sub(load_began);
        }
    }

    /// `count` as a rate in messages a second; 0 if no time has passed.
    pub(crate) fn rate_of(&self, count: u64) -> f64 {
        if self.elapsed_ns == 0 { 0.0 } else { count as f64 * 1e9 / self.elapsed_ns as f64 }
    }

    /// Whether response and service times are equal, because no message had to wait before it was sent.
    pub(crate) fn has_one_time(&self) -> bool {
        self.response == self.service
    }

    pub(crate) fn lag_p99(&self) -> u64 {
        self.lag.quantile(0.99).unwrap_or(0)
    }

    /// Whether the generator was the limit, not the server: it was busy, or its own lateness explains most of the
    /// response times. If a server takes a second, it does not matter that some messages were sent 2 ms late.
    pub(crate) fn is_saturated(&self) -> bool {
        let lag = self.lag_p99();
        let explains = self.response.quantile(0.99).is_some_and(|p99| lag > p99 / 2);
        self.cpu > BUSY || lag > LATE && explains
    }

    /// Whether there is anything to report about the steady phase: not if Ctrl-C came before it.
    pub(crate) fn has_steady(&self) -> bool {
        let is_before = |end: EarlyEnd| end.why == Why::Interrupted && end.after_ns == 0;
        !self.ended_early.is_some_and(is_before) || self.steady != MessageCounts::default()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.connects.failed() + self.lost_closed + self.lost_reset
    }

    /// The value of a metric of `--fail-if`; of a percentile in nanoseconds. If replies are not checked, the rate is
    /// that of sent messages.
    pub(crate) fn measure(&self, load: &Load, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Percentile(quantile) => self.response.quantile(quantile).map(|ns| ns as f64),
            Metric::Rate if !load.is_checked() => Some(self.rate_of(self.steady.sent)),
            Metric::Rate => Some(self.rate_of(self.steady.exact)),
            Metric::Wrong => Some(self.steady.wrong as f64),
            Metric::Missing => Some(self.steady.missing as f64),
            Metric::Errors => Some(self.errors() as f64),
        }
    }

    /// The conditions of `--fail-if` that are true, as they were typed.
    pub(crate) fn failed(&self, load: &Load) -> Vec<String> {
        let failed = load.fail_if.iter().filter(|threshold| threshold.is_true(|metric| self.measure(load, metric)));
        failed.map(|threshold| threshold.text.clone()).collect()
    }

    /// The exit status: the first that applies.
    pub(crate) fn exit(&self, load: &Load) -> u8 {
        if self.is_interrupted {
            exit_code::INTERRUPTED
        } else if self.connects.ok == 0 {
            exit_code::NO_CONNECTION
        } else if self.warmup.failures() + self.steady.failures() > 0 || self.has_sent_nothing(load) {
            exit_code::CHECK_FAILED
        } else if !self.failed(load).is_empty() {
            exit_code::THRESHOLD
        } else if self.errors() > 0 {
            exit_code::FAILURE
        } else {
            0
        }
    }

    /// Whether no message was sent in the steady phase although the model sends messages. Such a run has shown nothing,
    /// so it fails.
    pub(crate) fn has_sent_nothing(&self, load: &Load) -> bool {
        self.steady.sent == 0 && !matches!(load.model, Model::Hold)
    }

    /// The close codes, as an object.
    pub(crate) fn close_codes_value(&self) -> Value {
        Value::Object(self.close_codes.iter().map(|(code, count)| (code.to_string(), (*count).into())).collect())
    }

    /// The ledger as one line of JSON, for the parent process.
    pub(crate) fn to_line(&self) -> String {
        let failure = self.first_failure.as_ref().map(|failure| {
            json!({
                "at": failure.at, "conn": failure.conn, "seq": failure.seq, "kind": failure.kind,
                "sent": failure.sent, "expected": failure.expected, "received": failure.received, "line": failure.line,
                "reason": failure.reason,
            })
        });
        let errno: Map<String, Value> =
            self.connects.errno.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
        let value = json!({
            "warmup": self.warmup.value(), "steady": self.steady.value(),
            "warmup_ns": self.warmup_ns, "steady_ns": self.steady_ns, "elapsed_ns": self.elapsed_ns,
            "response": self.response.value(), "service": self.service.value(), "lag": self.lag.value(),
            "ok": self.connects.ok, "refused": self.connects.refused, "timeout": self.connects.timeout,
            "errno": errno, "connect": self.connects.latency.value(),
            "lost_closed": self.lost_closed, "lost_reset": self.lost_reset,
            "close_codes": self.close_codes_value(), "first_refusal": self.first_refusal,
            "ungreeted": self.ungreeted, "first_wrong": self.first_wrong,
            "echoed": self.echoed, "answered": self.answered, "other_end": self.other_end, "doubtful": self.doubtful,
            "returned": self.returned,
            "bytes_out": self.bytes_out, "bytes_in": self.bytes_in, "cpu": self.cpu,
            "first_failure": failure, "is_interrupted": self.is_interrupted,
            "ended_early": self.ended_early.map(EarlyEnd::value),
            "reconnects": self.reconnects, "away_ns": self.away_ns, "timeline": self.timeline.value(),
        });
        value.to_string()
    }

    /// Whether nothing came that could be a reply.
    pub(crate) fn has_no_reply(&self) -> bool {
        let came = |counts: &MessageCounts| {
            counts.exact + counts.wrong + counts.out_of_order + counts.duplicate + counts.late + counts.unexpected
        };
        came(&self.warmup) + came(&self.steady) == 0
    }

    /// Adds the ledger of a worker process.
    pub(crate) fn add_line(&mut self, line: &str) -> Result<(), serde_json::Error> {
        let value: Value = serde_json::from_str(line)?;
        self.warmup.add(&value["warmup"]);
        self.steady.add(&value["steady"]);
        self.warmup_ns = self.warmup_ns.max(u64_of(&value["warmup_ns"]));
        self.steady_ns = self.steady_ns.max(u64_of(&value["steady_ns"]));
        self.elapsed_ns = self.elapsed_ns.max(u64_of(&value["elapsed_ns"]));
        self.response.add(&value["response"]);
        self.service.add(&value["service"]);
        self.lag.add(&value["lag"]);
        self.connects.ok += u64_of(&value["ok"]);
        self.connects.refused += u64_of(&value["refused"]);
        self.connects.timeout += u64_of(&value["timeout"]);
        for (name, count) in value["errno"].as_object().into_iter().flatten() {
            *self.connects.errno.entry(name.clone()).or_default() += u64_of(count);
        }
        self.connects.latency.add(&value["connect"]);
        self.lost_closed += u64_of(&value["lost_closed"]);
        self.lost_reset += u64_of(&value["lost_reset"]);
        for (code, count) in value["close_codes"].as_object().into_iter().flatten() {
            *self.close_codes.entry(code.parse().unwrap_or_default()).or_default() += u64_of(count);
        }
        if self.first_refusal.is_none() {
            self.first_refusal = value["first_refusal"].as_str().map(str::to_owned);
        }
        self.ungreeted += u64_of(&value["ungreeted"]);
        self.first_wrong += u64_of(&value["first_wrong"]);
        self.echoed += u64_of(&value["echoed"]);
        self.answered += u64_of(&value["answered"]);
        self.other_end += u64_of(&value["other_end"]);
        self.doubtful += u64_of(&value["doubtful"]);
        self.returned += u64_of(&value["returned"]);
        self.bytes_out += u64_of(&value["bytes_out"]);
        self.bytes_in += u64_of(&value["bytes_in"]);
        self.cpu = self.cpu.max(value["cpu"].as_f64().unwrap_or(0.0));
        self.is_interrupted |= value["is_interrupted"].as_bool().unwrap_or(false);
        let ended_early = EarlyEnd::of(&value["ended_early"]);
        self.ended_early = if self.is_merged { EarlyEnd::merged(self.ended_early, ended_early) } else { ended_early };
        self.is_merged = true;
        self.reconnects += u64_of(&value["reconnects"]);
        self.away_ns += u64_of(&value["away_ns"]);
        if let Some(failure) = failure_of(&value["first_failure"])
            && self.first_failure.as_ref().is_none_or(|first| failure.at < first.at)
        {
            self.first_failure = Some(failure);
        }
        self.timeline.add(&value["timeline"]);
        Ok(())
    }
}

fn failure_of(value: &Value) -> Option<Failure> {
    let kind = value["kind"].as_str()?;
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Some(Failure {
        at: u64_of(&value["at"]),
        conn: u64_of(&value["conn"]),
        seq: value["seq"].as_u64(),
        kind: KINDS.into_iter().map(Verdict::name).find(|name| *name == kind)?,
        sent: text("sent"),
        expected: value["expected"].as_str().map(str::to_owned),
        received: text("received"),
        line: value["line"].as_u64(),
        reason: value["reason"].as_str().map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::super::counts::QUANTILES;
    use super::super::options::{command, load_of};
    use super::*;

    #[test]
    fn merging_loses_nothing() {
        let values = [0, 1, 999, 2047, 2048, 5_000_000, 123_456_789, 7_654_321_098];
        let (mut whole, mut merged) = (Ledger::default(), Ledger::default());
        let mut parts = [Ledger::default(), Ledger::default(), Ledger::default()];
        for (i, &value) in values.iter().cycle().take(1000).enumerate() {
            let value = value + i as u64;
            for ledger in [&mut whole, &mut parts[i % 3]] {
                ledger.measured(value, value / 2);
                ledger.steady.exact += 1;
                ledger.connects.ok += 1;
                *ledger.connects.errno.entry("EPIPE".to_owned()).or_default() += 2;
                ledger.doubtful += 1;
                *ledger.close_codes.entry(1001 + (i % 2) as u16).or_default() += 1;
            }
        }
        parts[2].fail_first(|| Failure {
            at: 5,
            conn: 1,
            seq: None,
            kind: "unexpected",
            sent: String::new(),
            expected: Some("y".to_owned()),
            received: "x".to_owned(),
            line: Some(3),
            reason: Some("z".to_owned()),
        });
        parts[1].first_refusal = Some("no".to_owned());
        for part in &parts {
            merged.add_line(&part.to_line()).unwrap();
        }
        assert_eq!(merged.response.buckets(), whole.response.buckets());
        assert_eq!(merged.service.buckets(), whole.service.buckets());
        assert_eq!(merged.steady, whole.steady);
        assert_eq!((merged.connects.attempted(), merged.doubtful), (3000, 1000));
        assert_eq!(merged.first_failure, parts[2].first_failure);
        assert_eq!(merged.close_codes, BTreeMap::from([(1001, 500), (1002, 500)]));
        assert_eq!(merged.first_refusal.as_deref(), Some("no"));
        for (_, quantile) in QUANTILES {
            assert_eq!(merged.response.quantile(quantile), whole.response.quantile(quantile));
        }
    }

    #[test]
    fn the_first_failure_of_several_processes_is_the_one_soonest_after_the_common_start() {
        let mut sum = Ledger::default();
        // The first process has started 430 ns before the others.
        for (conn, load_began, at) in [(0, 880, 900), (1, 450, 500), (2, 450, 480)] {
            let mut part = Ledger::default();
            part.fail_first(|| Failure {
                at,
                conn,
                seq: None,
                kind: "wrong",
                sent: String::new(),
                expected: None,
                received: String::new(),
                line: None,
                reason: None,
            });
            part.count_from_load(load_began);
            sum.add_line(&part.to_line()).unwrap();
        }
        assert_eq!(sum.first_failure.map(|failure| (failure.conn, failure.at)), Some((0, 20)));
    }

    #[test]
    fn the_generator_is_the_limit_only_if_it_explains_the_figures() {
        const MS: u64 = 1_000_000;
        let table = [
            ("a server that was stopped for a second", 0.01, 2 * MS, Some(1000 * MS), false),
            ("a server that waits 40 ms", 0.01, 19 * MS, Some(40 * MS), false),
            ("a server that never answers", 0.0, 500 * MS, None, false),
            ("a fast server, and a generator that is late", 0.3, 2 * MS, Some(3 * MS), true),
            ("a generator that was stopped", 0.1, 490 * MS, Some(500 * MS), true),
            ("a little late", 0.1, MS * 9 / 10, Some(MS), false),
            ("busy", 0.91, 0, Some(40 * MS), true),
            ("busy, and nothing answers", 0.91, 0, None, true),
        ];
        for (name, cpu, lag, response, want) in table {
            let mut ledger = Ledger { cpu, ..Ledger::default() };
            (0..100).for_each(|_| ledger.lag.record(lag));
            (0..100).for_each(|_| response.into_iter().for_each(|ns| ledger.measured(ns, ns)));
            assert_eq!(ledger.is_saturated(), want, "{name}");
        }
    }

    /// The ledger of a run that was right, and one change for each code. Of several the first applies.
    #[test]
    fn the_exit_code_is_the_first_that_applies() {
        let load = |args: &[&str]| {
            let matches = command().try_get_matches_from([&["load"], args].concat()).expect("the options are right");
            load_of(&matches).expect("the options are right")
        };
        let of_messages = load(&["--fail-if", "missing<1"]);
        let (right, held) = (load(&[]), load(&["--hold"]));
        let ledger = |codes: &[u8]| {
            let mut ledger = Ledger::default();
            ledger.connects.ok = u64::from(!codes.contains(&3));
            ledger.steady.sent = 1;
            ledger.steady.unexpected = u64::from(codes.contains(&4));
            ledger.lost_reset = u64::from(codes.contains(&1));
            ledger.is_interrupted = codes.contains(&130);
            ledger
        };
        let codes = [130, 3, 4, 5, 1];
        for (at, &code) in codes.iter().enumerate() {
            let load = if codes[at..].contains(&5) { &of_messages } else { &right };
            assert_eq!(ledger(&codes[at..]).exit(load), code);
        }
        assert_eq!(ledger(&[]).exit(&right), 0);
        // Nothing was sent, and a connection was lost.
        for lost_reset in [0, 1] {
            let silent = Ledger { steady: MessageCounts::default(), lost_reset, ..ledger(&[]) };
            assert_eq!((silent.exit(&right), silent.exit(&of_messages)), (4, 4));
            assert_eq!(u64::from(silent.exit(&held)), lost_reset);
        }
    }

    #[test]
    fn a_run_of_several_processes_ends_early_if_all_do_or_one_has_a_reason_for_all() {
        let end = |after_ns, why| Some(EarlyEnd { after_ns, of_ns: Some(9), why });
        let gone = |after_ns| end(after_ns, Why::NoConnection);
        let table = [
            (vec![None, None], None),
            (vec![gone(1), gone(3), gone(2)], gone(3)),
            (vec![gone(1), None, gone(2)], None),
            (vec![None, gone(2)], None),
            (vec![None, end(2, Why::FailFast), gone(5)], end(2, Why::FailFast)),
            (vec![end(1, Why::Interrupted), end(2, Why::Interrupted)], end(2, Why::Interrupted)),
        ];
        for (parts, want) in table {
            let mut sum = Ledger::default();
            for &ended_early in &parts {
                let part = Ledger { ended_early, reconnects: 2, away_ns: 5, ..Ledger::default() };
                sum.add_line(&part.to_line()).unwrap();
            }
            assert_eq!(sum.ended_early, want, "{parts:?}");
            assert_eq!((sum.reconnects, sum.away_ns), (2 * parts.len() as u64, 5 * parts.len() as u64));
        }
    }

    #[test]
    fn a_line_that_is_no_ledger_is_an_error() {
        assert!(Ledger::default().add_line("").is_err());
        assert!(Ledger::default().add_line("{").is_err());
    }
}
