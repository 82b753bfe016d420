//! Shared by the benches: servers to compare, loads that check every byte, and the comparison itself.

#![allow(dead_code, reason = "every bench uses only a part of it")]

use std::time::Duration;

use criterion::Criterion;

pub mod contest;
pub mod cpu;
pub mod inside;
pub mod load;
pub mod machine;
pub mod peers;

/// Criterion's settings for many small questions, so that all of `cargo bench` ends within ten minutes.
pub fn in_short() -> Criterion<cpu::Cpu> {
    wall_time().with_measurement(cpu::Cpu)
}

/// The same, with wall time instead of processor time.
pub fn wall_time() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .nresamples(10_000)
        .without_plots()
}
