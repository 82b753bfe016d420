//! The real server against hostile peers and a hostile machine.
//!
//! A *fault* is something bad that peers do to the server, on purpose or by accident. Each fault is a function over a
//! [`Harness`](harness::Harness): a running `bucle serve` and a healthy client, which must be served at all times.
//! Each fault has a test of its own; [`whole`] runs all faults against one process.
//!
//! ```text
//! cargo test --test hostile                                                   a third of the full size
//! HOSTILE_SCALE=1 cargo test --release --test hostile whole -- --nocapture    the full size, with its figures
//! ```

#![cfg(all(target_os = "linux", feature = "cli"))]

#[path = "../support/retry.rs"]
mod retry;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/vitals.rs"]
mod vitals;

mod harness;
mod healthy;
mod peer;
mod talk;
mod web_peer;

mod bytes;
mod connecting;
mod floods;
mod http;
mod leaving;
mod machine;
mod slow;
mod socket_io;
mod websocket;
mod whole;
