//! Counters and timings of the loop.
//!
//! ```text
//!   … callbacks ─┤ wait for the kernel ├─ callbacks of a turn ─┤ wait ├─ callbacks …
//!                 idle                  active, longest_turn     idle
//! ```
//!
//! Counting costs an addition and is always on. Reading the clock costs more, so the times per phase and the histogram
//! of the loop's delay are optional. A histogram has a fixed size.

use std::time::Duration;

use super::{Loop, Phase, TimerId, delay_ms};

/// The loop's numbers since it was made; from [`Loop::metrics`]. The names are those of Node's `perf_hooks` if it has
/// them
/// ([`uvMetricsInfo`](https://nodejs.org/docs/latest-v20.x/api/perf_hooks.html#performancenodetiminguvmetricsinfo),
/// [`eventLoopUtilization`](https://nodejs.org/docs/latest-v20.x/api/perf_hooks.html#performanceeventlooputilizationutilization1-utilization2)).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Number of turns.
    pub loop_count: u64,
    /// Number of events that the kernel has reported.
    pub events: u64,
    /// Number of callbacks that have run: handlers, timers, ticks, immediates, posted closures.
    pub callbacks: u64,
    /// Time spent waiting for the kernel.
    pub idle: Duration,
    /// Time spent on everything else.
    pub active: Duration,
    /// The longest turn, without the time it waited for the kernel. An event may have been delayed that long by others.
    pub longest_turn: Duration,
    /// Active time as a share of all time: 0 is always idle, 1 is always busy.
    pub utilization: f64,
    /// Bytes received on all sockets.
    pub bytes_read: u64,
    /// Bytes that the program has written to all sockets.
    pub bytes_written: u64,
    /// Number of sockets, including connecting and closing ones.
    pub connections: usize,
    /// Queued bytes of all sockets: bytes that the kernel has not taken yet. Counting them visits every socket.
    pub queued_bytes: u64,
    /// Time per phase in the order of [`Phase`], without waiting, while [`Loop::time_phases`] is on. See
    /// [`phase`](Self::phase).
    pub phases: [Duration; 6],
}

impl Metrics {
    /// Time spent in `phase`, without waiting, while [`Loop::time_phases`] is on.
    pub fn phase(&self, phase: Phase) -> Duration {
        self.phases[phase as usize]
    }
}

/// The program has called [`Loop::time_phases`].
const BY_PROGRAM: u8 = 1;

/// An inspector shows the time per phase.
#[cfg(feature = "inspect")]
const BY_INSPECTOR: u8 = 2;

/// The loop's counters.
#[derive(Default)]
pub(crate) struct Counters {
    pub turns: u64,
    pub events: u64,
    pub callbacks: u64,
    pub idle: Duration,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub longest_turn: Duration,
    /// How many events of the running poll phase have been served, or are being served.
    pub events_served: usize,
    /// How many closures of other threads have been taken out of their queue and not been called yet.
    pub posted_left: usize,
    /// When the running wait began, if a gate is served in it.
    pub waiting_since: Option<Duration>,
    /// When the last wait for the kernel ended.
    pub polled_at: Duration,
    /// The time per phase is measured while a bit is set: `BY_PROGRAM` or `BY_INSPECTOR`.
    pub times_phases: u8,
    pub phases: [Duration; 6],
    delay: Option<Box<DelayMonitor>>,
}

struct DelayMonitor {
    histogram: Histogram,
    timer: TimerId,
    due: Duration,
}

impl Loop {
    /// The loop's present numbers.
    #[doc(alias = "eventLoopUtilization")]
    pub fn metrics(&self) -> Metrics {
        let counters = &self.counters;
        let total = self.clock.elapsed();
        let idle = counters.idle + self.waited_so_far(total);
        let active = total.saturating_sub(idle);
        let utilization = if total.is_zero() { 0.0 } else { active.as_secs_f64() / total.as_secs_f64() };
        Metrics {
            loop_count: counters.turns,
            events: counters.events,
            callbacks: counters.callbacks,
            idle,
            active,
            longest_turn: counters.longest_turn,
            utilization,
            bytes_read: counters.bytes_read,
            bytes_written: counters.bytes_written,
            connections: self.net.connections(),
            queued_bytes: self.net.queued_bytes(),
            phases: counters.phases,
        }
    }

    /// Sets whether [`Metrics::phases`] is measured, which reads the clock twice per phase. Default: no.
    pub fn time_phases(&mut self, times: bool) {
        self.set_times_phases(BY_PROGRAM, times);
    }

    /// As [`time_phases`](Self::time_phases), for the inspector. What the program has set stays.
    #[cfg(feature = "inspect")]
    pub(crate) fn time_phases_for_inspector(&mut self, times: bool) {
        self.set_times_phases(BY_INSPECTOR, times);
    }

    fn set_times_phases(&mut self, who: u8, times: bool) {
        let others = self.counters.times_phases & !who;
        self.counters.times_phases = if times { others | who } else { others };
    }

    /// Starts measuring the loop's delay: an unreferenced timer fires every `resolution`, and a histogram records how
    /// much too late it fires ([Node:
    /// `monitorEventLoopDelay`](https://nodejs.org/docs/latest-v20.x/api/perf_hooks.html#perf_hooksmonitoreventloopdelayoptions)).
    ///
    /// The resolution is in whole milliseconds, at least one; Node's default is 10 ms. A second call starts a new
    /// histogram.
    #[doc(alias = "monitorEventLoopDelay")]
    pub fn monitor_event_loop_delay(&mut self, resolution: Duration) {
        if let Some(old) = self.counters.delay.take() {
            self.clear(old.timer);
        }
        // Rounded as the timer rounds it. A longer `due` than the timer's would hide delays.
        let resolution = Duration::from_millis(delay_ms(resolution).into());
        let timer = self.set_internal_interval(resolution, move |lp| {
            let now = lp.clock.elapsed();
            if let Some(monitor) = &mut lp.counters.delay {
                monitor.histogram.record(now.saturating_sub(monitor.due));
                monitor.due = now + resolution;
            }
        });
        self.unref(timer);
        let due = self.clock.elapsed() + resolution;
        self.counters.delay = Some(Box::new(DelayMonitor { histogram: Histogram::default(), timer, due }));
    }

    /// The delays measured so far; `None` before [`monitor_event_loop_delay`](Self::monitor_event_loop_delay).
    pub fn event_loop_delay(&self) -> Option<&Histogram> {
        self.counters.delay.as_ref().map(|monitor| &monitor.histogram)
    }

    /// How long the running wait has lasted. Only a gate can look at the loop in the middle of a wait.
    fn waited_so_far(&self, now: Duration) -> Duration {
        self.counters.waiting_since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Begins the first turn: the time before it does not count as a turn.
    pub(crate) fn begin_counting(&mut self) {
        self.counters.polled_at = self.clock.elapsed();
    }

    /// Ends the last turn, which is not followed by a wait for the kernel.
    pub(crate) fn end_counting(&mut self) {
        let took = self.clock.elapsed().saturating_sub(self.counters.polled_at);
        self.counters.longest_turn = self.counters.longest_turn.max(took);
    }

    /// Counts a turn, at the end of a wait for the kernel that lasted `slept`. A turn is the time between two waits.
    #[inline]
    pub(crate) fn count_turn(&mut self, slept: Duration) {
        let counters = &mut self.counters;
        counters.turns += 1;
        counters.idle += slept;
        // From the end of the wait before to the beginning of this one.
        counters.longest_turn = counters.longest_turn.max(self.now.saturating_sub(counters.polled_at + slept));
        counters.polled_at = self.now;
    }

    /// Adds the time of a phase that began at `start` to [`Metrics::phases`].
    pub(crate) fn count_phase(&mut self, phase: Phase, start: Duration, idle_before: Duration) {
        let waited = self.counters.idle - idle_before;
        let took = self.clock.elapsed().saturating_sub(start).saturating_sub(waited);
        self.counters.phases[phase as usize] += took;
    }
}

/// Each power of two is divided into this many buckets, so a value is exact to one part in 16.
const STEPS: usize = 16;

/// Enough buckets for 2^40 nanoseconds, which are 18 minutes.
const BUCKETS: usize = (40 - 3) * STEPS;

/// Counts durations, with an error of at most about 6 %.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    total_ns: u128,
    min: Duration,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = vec![0; BUCKETS].into_boxed_slice();
        Histogram { counts, count: 0, total_ns: 0, min: Duration::MAX, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, value: Duration) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.total_ns += value.as_nanos();
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// The durations that were counted since `earlier`, a copy of this histogram from that time. Its shortest and
    /// longest durations are exact to a sixteenth, like its percentiles.
    ///
    /// ```
    /// use bucle::Histogram;
    /// use std::time::Duration;
    ///
    /// let mut histogram = Histogram::default();
    /// histogram.record(Duration::from_secs(1));
    /// let earlier = histogram.clone();
    /// histogram.record(Duration::from_millis(1));
    /// let since = histogram.since(&earlier);
    /// assert_eq!(since.count(), 1);
    /// assert!(since.max() < Duration::from_millis(2));
    /// ```
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let counts: Box<[u64]> =
            self.counts.iter().zip(&earlier.counts).map(|(now, before)| now.saturating_sub(*before)).collect();
        let used = |bucket: &usize| counts[*bucket] > 0;
        let min = (0..BUCKETS).find(used).map_or(Duration::MAX, highest);
        let max = (0..BUCKETS).rev().find(used).map_or(Duration::ZERO, highest).min(self.max);
        Histogram {
            count: counts.iter().sum(),
            total_ns: self.total_ns.saturating_sub(earlier.total_ns),
            min: min.min(max),
            max,
            counts,
        }
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The shortest duration; zero if there is none.
    pub fn min(&self) -> Duration {
        if self.count == 0 { Duration::ZERO } else { self.min }
    }

    /// The longest duration; zero if there is none.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The mean duration; zero if there is none.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos((self.total_ns / u128::from(self.count.max(1))) as u64)
    }

    /// The duration that `percent` of all durations (0 to 100) do not exceed; zero if there is none.
    pub fn percentile(&self, percent: f64) -> Duration {
        let wanted = (percent.clamp(0.0, 100.0) / 100.0 * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest(bucket).min(self.max);
            }
        }
        self.max
    }
}

/// The bucket of a duration: the position of its highest bit, and the next four bits.
fn bucket(value: Duration) -> usize {
    let ns = (value.as_nanos() as u64).max(1);
    let exponent = ns.ilog2() as usize;
    if exponent < 4 {
        return ns as usize;
    }
    let step = (ns >> (exponent - 4)) as usize & (STEPS - 1);
    ((exponent - 3) * STEPS + step).min(BUCKETS - 1)
}

/// The longest duration of a bucket.
fn highest(bucket: usize) -> Duration {
    if bucket < STEPS {
        return Duration::from_nanos(bucket as u64);
    }
    let (exponent, step) = (bucket / STEPS + 3, bucket % STEPS);
    let width = 1_u64 << (exponent - 4);
    Duration::from_nanos((STEPS + step) as u64 * width + width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_a_sixteenth_wide() {
        for ns in (1..5000).chain([1 << 20, 123_456_789, (1 << 39) + 7]) {
            let value = Duration::from_nanos(ns);
            let top = highest(bucket(value));
            assert!(top >= value && top.as_nanos() as u64 <= ns + ns / STEPS as u64, "{ns}: {top:?}");
        }
    }

    #[test]
    fn percentiles_are_close_to_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.percentile(50.0), histogram.mean(), histogram.min()), Default::default());
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        let table = [(50.0, 500), (90.0, 900), (99.0, 990), (100.0, 1000), (0.0, 1)];
        for (percent, want) in table {
            let got = histogram.percentile(percent).as_millis() as u64;
            assert!(got >= want && got <= want + want / 16 + 1, "p{percent}: {got}");
        }
        assert_eq!((histogram.count(), histogram.min().as_millis(), histogram.max().as_millis()), (1000, 1, 1000));
        assert_eq!(histogram.mean().as_micros(), 500_500);
    }
}
