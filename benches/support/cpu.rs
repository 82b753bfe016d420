//! A measurement of processor time instead of wall time: how long a thread ran, without the time that it waited to run.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};

use super::machine::thread_cpu;

/// Criterion's measurement of the bench's own thread. It costs a system call, so it measures many iterations at a time.
pub struct Cpu;

impl Measurement for Cpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_cpu()
    }

    fn end(&self, start: Duration) -> Duration {
        thread_cpu() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
