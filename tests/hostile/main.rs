//! The real program against everything that peers and a machine can do to it, on purpose or not.
//!
//! Each fault is a function over a [`Siege`](siege::Siege), which is a running `bucle serve` and a healthy client that must be
//! served all the time. A test of its own tries each alone; [`whole`] does them all to one process.
//!
//! ```text
//! cargo test --test hostile                                              counts a third of the full size
//! HOSTILE_SCALE=1 cargo test --release --test hostile whole -- --nocapture    the full size, and its figures
//! ```

#![cfg(all(target_os = "linux", feature = "cli"))]

#[path = "../support/server.rs"]
mod server;
#[path = "../support/vitals.rs"]
mod vitals;

mod peer;
mod siege;
mod talk;
mod witness;

mod bytes;
mod connecting;
mod floods;
mod leaving;
mod machine;
mod slow;
mod whole;
