//! `bucle serve` as a process: what it serves, prints, costs and refuses. The other commands have tests of their own:
//! `tests/connect/`, `tests/load.rs`, `tests/quiz.rs`.

#![cfg(feature = "cli")]

#[path = "../support/retry.rs"]
mod retry;
#[path = "../support/socket_io.rs"]
mod socket_io_client;

mod activation;
mod basics;
mod descriptors;
#[cfg(target_os = "linux")]
mod idle;
mod limits;
mod log;
mod real_clients;
mod served;
mod socket_io;
mod trace_file;
#[cfg(target_os = "linux")]
mod unreachable;
mod web_events;
