//! What the benches share: servers to compare, loads that check every byte, and the contest between them.

#![allow(dead_code, reason = "every bench takes its part of it")]

use std::time::Duration;

use criterion::Criterion;

pub mod contest;
pub mod cpu;
pub mod inside;
pub mod load;
pub mod machine;
pub mod peers;

/// Criterion for many small questions: all of `cargo bench` is to end within ten minutes.
pub fn in_short() -> Criterion<cpu::Cpu> {
    wall_time().with_measurement(cpu::Cpu)
}

/// The same, by the clock on the wall.
pub fn wall_time() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .nresamples(10_000)
        .without_plots()
}
