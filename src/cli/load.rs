//! `bucle load`: many clients, and a check of every reply.
//!
//! ```text
//!   options ─▶ plan ─▶ client (in this process) ───────────────▶ ledger ─▶ report, json, html ─▶ exit status
//!                └───▶ procs ─▶ a client in each child ─▶ sums ────┘
//! ```
//!
//! | to read about | open |
//! |---|---|
//! | what counts as a reply | `check`, `message`, `script` |
//! | when a message is due | `schedule` |
//! | the stages of a run | `client` |
//! | the counters | `ledger`; by time, `timeline` |
//! | frames and handshakes of `ws://` | `websocket` |
//! | several processes | `procs`; the files that they share, `handover` |
//! | the limits of the machine | `plan`, which is given what `machine` reads |
//!
//! Imports point one way: `units`, `stage`, `counts`, `fingerprint`, `message` and `schedule` are at the bottom, this
//! file at the top.
//! Only `client` and the files below it use sockets.

mod check;
mod client;
mod compare;
mod counts;
mod fingerprint;
mod handover;
mod html;
mod json;
mod ledger;
mod machine;
mod message;
mod options;
mod plan;
mod procs;
mod progress;
mod report;
mod schedule;
mod script;
mod socket_io;
mod stage;
mod telnet;
mod threshold;
mod timeline;
mod units;
mod websocket;

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use super::stderr::print_error;
use super::usage::Usage;
use super::{advice, exit_code, stderr, wrap};
use bucle::process;
use client::Job;
use compare::Before;
use ledger::{FinishedRun, Ledger};
use options::Model;
pub(crate) use options::{Load, command, load_of, number, positive_time};
use plan::Plan;
use procs::Worker;
use progress::Progress;
pub(crate) use units::{count, size, time};

/// Plans, runs and reports.
pub(crate) fn run(load: Load) -> ExitCode {
    if let Some(text) = &load.worker {
        return match Worker::parse(text) {
            Some(worker) => work(load, worker),
            None => {
                Usage::new("--worker is set by the command for its own processes", "bucle load … --procs 2").report()
            }
        };
    }
    let targets = client::resolve(&load.place);
    let plan = Plan::new(&load, machine::limits(), targets.as_deref().unwrap_or_default());
    let before = match load.compare.as_deref().map(|path| earlier(&load, &plan, path)).transpose() {
        Ok(before) => before,
        Err(usage) => return usage.report(),
    };
    load.warnings.iter().for_each(|warning| warn(warning));
    if load.dry_run {
        return dry_run(&load, &plan, targets.err());
    }
    if !plan.is_fine() {
        print_error(&plan.problems().join("; "), &tries(&plan));
        return ExitCode::from(exit_code::MACHINE_LIMIT);
    }
    let page = match load.html.as_deref().map(html::create).transpose() {
        Ok(page) => page,
        Err(usage) => return usage.report(),
    };
    announce(&load, &plan);
    let started = utc(SystemTime::now());
    let ledger = match measure(load.clone(), &plan, targets) {
        Ok(ledger) => ledger,
        Err(why) => {
            print_error(&why, &[]);
            return ExitCode::from(exit_code::FAILURE);
        }
    };
    let (failed, exit) = (ledger.failed(&load), ledger.exit(&load));
    let mut finished = FinishedRun { ledger, started, procs: plan.procs, failed, exit, has_lost_page: false };
    if let Some(page) = page
        && let Err(error) = page.save(&web_page(&load, &finished, before.as_ref()))
    {
        print_error(&format!("cannot write the page of --html: {}", advice::words_for(&error)), &[]);
        finished.has_lost_page = true;
        finished.exit = if exit == 0 { exit_code::FAILURE } else { exit };
    }
    match write_report(&load, &finished, before.as_ref()) {
        Err(_) if finished.exit == 0 => ExitCode::from(exit_code::FAILURE),
        _ => ExitCode::from(finished.exit),
    }
}

/// The page of `--html`.
fn web_page(load: &Load, run: &FinishedRun, before: Option<&Before>) -> String {
    let compared = before.map(|before| before.text(&json::report(load, run, None), report::COLUMNS));
    html::page(load, run, compared.as_deref())
}

/// The reports of `--compare`, which must have the plan of this run.
fn earlier(load: &Load, plan: &Plan, path: &Path) -> Result<Before, Usage> {
    let before = Before::read(path)?;
    before.check(&json::plan(load, plan.procs)).map(|()| before)
}

/// Runs the load in this process, or in several.
fn measure(mut load: Load, plan: &Plan, targets: Result<Vec<IpAddr>, String>) -> Result<Ledger, String> {
    let seed = RandomState::new().hash_one(0);
    if plan.procs > 1 {
        return procs::run(plan.procs, seed, load.input.as_deref(), Progress::to_stderr(&load));
    }
    if let Model::Script(script) = &mut load.model {
        script.set_seed(seed);
    }
    let sources = if plan.binds { plan.sources.clone() } else { Vec::new() };
    let ports = assigned_ports(&load, plan);
    let progress = Progress::to_stderr(&load);
    let job = Job { load, index: 0, of: 1, seed, targets, sources, ports, is_worker: false };
    client::run(job, progress).map_err(|error| format!("the run cannot continue: {error}"))
}

/// A worker process: does its part of the work and prints its ledger as one line.
fn work(mut load: Load, worker: Worker) -> ExitCode {
    let targets = client::resolve(&load.place);
    let plan = Plan::new(&load, machine::limits(), targets.as_deref().unwrap_or_default());
    if let Model::Script(script) = &mut load.model {
        script.set_seed(worker.seed.wrapping_add(worker.index));
    }
    let ports = assigned_ports(&load, &plan);
    let sources = if plan.binds { plan.sources } else { Vec::new() };
    let Worker { index, of, seed } = worker;
    let job = Job { load, index, of, seed, targets, sources, ports, is_worker: true };
    match client::run(job, Progress::to_parent()) {
        Ok(ledger) => {
            // If the write fails the parent is gone, and nothing reads an error message either.
            let _ = process::write_stdout(format!("{}\n", ledger.to_line()).as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            print_error(&format!("a process of the run cannot continue: {error}"), &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// The source ports to assign, unless the model closes and reopens connections: a port that was just used stays in
/// TIME-WAIT and cannot be used again for a while.
fn assigned_ports(load: &Load, plan: &Plan) -> Option<(u16, u64)> {
    let stays = !matches!(load.model, Model::Churn | Model::Script(_)) && !load.reconnect;
    plan.assigned_ports().filter(|_| stays)
}

/// Prints the plan. `unknown` is the error code if the target has no address; a run would fail, but a plan only warns.
fn dry_run(load: &Load, plan: &Plan, unknown: Option<String>) -> ExitCode {
    if let Some(code) = &unknown {
        let (what, _) = report::cannot_connect(load, code);
        warn(&format!("{what}; a run would exit with {}", exit_code::NO_CONNECTION));
    }
    let exit = if plan.is_fine() { 0 } else { exit_code::MACHINE_LIMIT };
    let text = if load.json {
        let mut plan = plan.json(exit);
        plan["lookup"] = unknown.into();
        format!("{plan}\n")
    } else {
        let lines: String = tries(plan).iter().map(|line| format!("try          {line}\n")).collect();
        format!("plan         {}\n{}{lines}", report::describe(load), plan.text())
    };
    match print(&text) {
        Err(_) if exit == 0 => ExitCode::from(exit_code::FAILURE),
        _ => ExitCode::from(exit),
    }
}

/// The plan's suggestions, as commands.
fn tries(plan: &Plan) -> Vec<String> {
    plan.tries
        .iter()
        .map(|flags| if flags.starts_with('-') { format!("bucle load … {flags}") } else { flags.clone() })
        .collect()
}

/// Writes the plan to stderr, in one line, before the run.
fn announce(load: &Load, plan: &Plan) {
    let mut text = format!("plan: {}", report::describe(load));
    if plan.procs > 1 {
        text += &format!(", {} processes", plan.procs);
    }
    if plan.binds {
        text += &format!(", {} source addresses", plan.sources.len());
    }
    stderr::print_wrapped(&text);
    if let Some(warning) = plan.warning() {
        warn(&warning);
    }
}

fn warn(warning: &str) {
    stderr::print_wrapped(&format!("warning: {warning}"));
}

/// Whether stdout and stderr are the same terminal, pipe or file. Then the report does not repeat the line that the
/// plan has printed.
fn is_one_stream() -> bool {
    fn place(stream: impl AsFd + IsTerminal) -> Option<(u64, u64)> {
        let is_terminal = stream.is_terminal();
        let meta = File::from(stream.as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
        // One terminal may be open under several names.
        Some(if is_terminal { (0, meta.rdev()) } else { (meta.dev(), meta.ino()) })
    }
    let places = (place(io::stdout()), place(io::stderr()));
    places.0.is_some() && places.0 == places.1
}

/// Writes the report to stdout.
fn write_report(load: &Load, run: &FinishedRun, before: Option<&Before>) -> Result<(), bucle::Error> {
    let report = json::report(load, run, before);
    if load.json {
        return print(&format!("{report}\n"));
    }
    let width = wrap::width(report::COLUMNS);
    let head = if is_one_stream() { String::new() } else { report::describe(load) + "\n" };
    let compared = before.map_or(String::new(), |before| format!("\n{}", before.text(&report, width)));
    print(&format!("{head}\n{}{compared}", report::text(load, run, width)))
}

/// Writes to stdout. A closed pipe is not an error, because the reader chose to stop; a full disk is.
fn print(text: &str) -> Result<(), bucle::Error> {
    match process::write_stdout(text.as_bytes()) {
        Err(error) if error.code() != "EPIPE" => {
            print_error(&format!("cannot write to the standard output: {error}"), &[]);
            Err(error)
        }
        _ => Ok(()),
    }
}

/// `2026-11-22T10:00:00Z`.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to a date, with years that begin in March, so that the leap day is the last of its year. See
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_341_600, "2026-11-22T10:00:00Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ];
        for (seconds, want) in table {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), want);
        }
    }
}
