//! `bucle serve` from outside, as a process: what it serves, what it says, what it costs and what it refuses. The other
//! commands have files of their own: `tests/connect/`, `tests/load.rs`, `tests/quiz.rs`.

#![cfg(feature = "cli")]

mod bounds;
#[cfg(target_os = "linux")]
mod dark;
mod descriptors;
#[cfg(target_os = "linux")]
mod idle;
mod log;
mod manners;
mod real_clients;
mod served;
mod trace_file;
