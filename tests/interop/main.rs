//! Other implementations of WebSocket: as clients of this server, and as servers of this client.
//!
//! `socketio.rs` does the same for Socket.IO, and compares this server with Node's.
//!
//! The scripts `ws_*.js` use the package `ws` of npm, and `websockets_*.py` uses `websockets` of PyPI. Where one of
//! them is not installed, its tests print a note and are skipped; with `CI=true` they fail. `.ci/run` installs them.
//! `README.md` in this folder says more, also about Autobahn|Testsuite.

#![cfg(feature = "websocket")]

mod autobahn;
mod client;
mod compression;
mod ours_connects;
mod ours_serves;
mod peers;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
#[path = "../support/redis_server.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod redis_server;
mod server;
#[cfg(feature = "socket-io")]
mod socketio;
#[cfg(feature = "socket-io")]
mod socketio_client;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a test waits for something that must come. Only a failing test waits this long.
const LIMIT: Duration = Duration::from_secs(60);

/// The folder of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where packages and reports of these tests are.
fn work() -> PathBuf {
    root().join("target/interop")
}

/// Bytes in which a compressor finds no repetition.
fn random(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ length as u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
