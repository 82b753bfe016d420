//! The loop's numbers in the text format of Prometheus. Pure.
//!
//! Numbers that Node's usual exporter (`prom-client`) has too have its names, so that dashboards for Node show them.
//! Source: [Exposition formats](https://prometheus.io/docs/instrumenting/exposition_formats/).

use std::fmt::Write as _;
use std::time::Duration;

use crate::trace::Queues;
use crate::{Histogram, Metrics};

/// The type of a metric.
const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// All metrics as text.
pub(super) fn text(metrics: &Metrics, queues: &Queues, turn_times: &Histogram, inspector: Duration) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    let delay = |percent| turn_times.percentile(percent).as_secs_f64();
    metric("nodejs_eventloop_utilization", GAUGE, "Active time as a share of all time.", metrics.utilization);
    metric("nodejs_eventloop_lag_p50_seconds", GAUGE, "The median duration of a turn without its wait.", delay(50.0));
    metric("nodejs_eventloop_lag_p90_seconds", GAUGE, "90 % of turns are not longer.", delay(90.0));
    metric("nodejs_eventloop_lag_p99_seconds", GAUGE, "99 % of turns are not longer.", delay(99.0));
    metric("nodejs_eventloop_lag_max_seconds", GAUGE, "The longest turn.", turn_times.max().as_secs_f64());
    metric("bucle_loop_turns_total", COUNTER, "Turns of the loop.", metrics.loop_count as f64);
    metric("bucle_loop_events_total", COUNTER, "Events that the kernel has reported.", metrics.events as f64);
    metric("bucle_loop_callbacks_total", COUNTER, "Callbacks that have run.", metrics.callbacks as f64);
    metric("bucle_loop_idle_seconds_total", COUNTER, "Time spent waiting.", metrics.idle.as_secs_f64());
    metric("bucle_loop_active_seconds_total", COUNTER, "Time spent not waiting.", metrics.active.as_secs_f64());
    metric("bucle_connections", GAUGE, "Sockets, connecting and closing ones included.", metrics.connections as f64);
    metric("bucle_queued_bytes", GAUGE, "Bytes that the kernel has not taken yet.", metrics.queued_bytes as f64);
    metric("bucle_received_bytes_total", COUNTER, "Bytes received.", metrics.bytes_read as f64);
    metric("bucle_written_bytes_total", COUNTER, "Bytes that the program has written.", metrics.bytes_written as f64);
    metric("bucle_inspector_seconds_total", COUNTER, "Time that the inspector has taken.", inspector.as_secs_f64());
    let _ = writeln!(text, "# HELP bucle_queue_length Entries of each queue of the loop.");
    let _ = writeln!(text, "# TYPE bucle_queue_length gauge");
    let lengths = [
        ("ticks", queues.ticks),
        ("microtasks", queues.microtasks),
        ("immediates", queues.immediates),
        ("timers", queues.timers),
        ("pending", queues.pending),
        ("closing", queues.closing),
        ("ready", queues.ready),
        ("unsent", queues.unsent),
        ("events", queues.events),
        ("posted", queues.posted),
    ];
    for (queue, length) in lengths {
        let _ = writeln!(text, "bucle_queue_length{{queue=\"{queue}\"}} {length}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_its_type_and_a_value() {
        let mut event_loop = crate::EventLoop::new().expect("a loop");
        let (metrics, queues) = event_loop.enter(|lp| {
            lp.set_immediate(|_| {});
            (lp.metrics(), lp.queues())
        });
        let text = text(&metrics, &queues, &Histogram::default(), Duration::from_millis(1500));
        let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(values.contains(&"bucle_queue_length{queue=\"immediates\"} 1"), "{text}");
        assert!(values.contains(&"bucle_inspector_seconds_total 1.5"), "{text}");
        for line in values {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let name = name.split('{').next().expect("a name");
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
            assert!(text.contains(&format!("# TYPE {name} ")) && text.contains(&format!("# HELP {name} ")), "{line}");
        }
    }
}
