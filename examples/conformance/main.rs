//! Runs one conformance scenario on this crate and prints its trace.
//!
//! ```text
//!   cargo run --example conformance -- tests/conformance/scenarios/net-echo.json
//!   LIVE=1 …      also prints every event to stderr, when it happens and unsorted
//!   JITTER=ms …   keeps the thread busy for a random time before every event; the trace must not change
//!   RECEIVED=1 …  also prints all received bytes to stderr, in hexadecimal
//!   EACH_WRITE=1 … sends each write at once, as Node does, instead of all writes of a phase in one system call
//! ```
//!
//! A scenario is a program in JSON (`tests/conformance/FORMAT.md`). `oracle.js` beside it runs the same file on Node,
//! and both must print the same bytes. This runner uses only the public interface of the crate. So it also shows which
//! call of the crate stands for which call of Node:
//!
//! ```text
//!   scenario ── main, rules, steps ──▶ Runner ── actions ──▶ Loop, Socket, ServerId
//!                                        ▲                          │
//!   trace ◀── lines, data ───────────────┴──── event ◀── Watcher ◀──┘
//! ```

mod afterlife;
mod loop_actions;
mod pure_actions;
mod runner;
mod scenario;
mod server_actions;
mod socket_actions;
mod trace;
mod watcher;

use std::process::ExitCode;

use runner::Runner;
use scenario::Scenario;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: conformance SCENARIO.json");
        return ExitCode::from(2);
    };
    let scenario = std::fs::read_to_string(path).map_err(|error| error.to_string());
    let runner = match scenario.and_then(|text| Scenario::parse(&text)) {
        Ok(scenario) => Runner::new(scenario),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let result = bucle::run(|lp| {
        runner.main(lp);
        Ok(())
    });
    if let Err(error) = result {
        eprintln!("{error}");
        return ExitCode::from(3);
    }
    runner.finish();
    ExitCode::SUCCESS
}
