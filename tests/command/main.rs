//! `bucle serve` from outside, as a process: what it serves, what it says, what it costs and what it refuses.

mod bounds;
mod descriptors;
#[cfg(target_os = "linux")]
mod idle;
mod log;
mod real_clients;
mod serve;
mod served;
mod trace_file;
