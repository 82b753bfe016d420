//! Processor time instead of wall time: what a thread used, not how long it had to wait for its turn.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};

use super::machine::thread_cpu;

/// Criterion's measurement of what the bench's own thread does. To be had for a system call, so for many iterations at once.
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
