//! `--procs`: runs the same command in several worker processes and adds up their ledgers.
//!
//! ```text
//!   parent                                            worker (a child process)
//!   spawns it: same arguments, --worker I/N/SEED  ──▶
//!   the bytes of --file or --script, if given     ──▶ connects
//!                                  "connected"    ◀──
//!   when all are connected:              "go"     ──▶ warm-up, steady, drain, close
//!                                 "progress …"    ◀── five times a second
//!   on Ctrl-C:                         "stop"     ──▶ ends its run
//!   after a failure, --fail-fast:      "end"      ──▶ ends its run
//!                                   its ledger    ◀── and exits
//! ```
//!
//! A worker whose parent is gone reads the end of its standard input and exits. A parent that ends early kills its
//! workers.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use bucle::net::Shared;
use bucle::process::{self, Signal};
use bucle::{EventLoop, Loop};

use super::client::ONE_SIGNAL;
use super::handover;
use super::ledger::{Ledger, Why};
use super::progress::{self, Progress, Snapshot};
use super::units::nanos;
use crate::cli::exit_code;

/// Which share of the work a worker process does: the value of `--worker`. Only this file writes and reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Worker {
    pub(crate) index: u64,
    pub(crate) of: u64,
    pub(crate) seed: u64,
}

impl Worker {
    pub(crate) fn parse(text: &str) -> Option<Worker> {
        let mut numbers = text.split('/').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        let worker = Worker { index: next()?, of: next()?, seed: next()? };
        (worker.index < worker.of && worker.of <= 65_536).then_some(worker)
    }

    /// The command line of the worker: that of its parent, and `--worker`. It comes behind the word `load`, because
    /// words behind `--` are no options. An option before it has another value than `load`: `--color never`.
    fn words(self, parent: impl Iterator<Item = OsString>) -> Vec<OsString> {
        let mut words: Vec<OsString> = parent.collect();
        let behind = words.iter().position(|word| word == "load").map_or(words.len(), |at| at + 1);
        words.insert(behind, format!("--worker={}/{}/{}", self.index, self.of, self.seed).into());
        words
    }
}

/// The worker processes of a run. Dropping this kills those that still run.
struct Team {
    members: Vec<Member>,
    ledger: Ledger,
    progress: Progress,
    has_started: bool,
    trouble: Option<String>,
}

struct Member {
    child: Child,
    input: Option<ChildStdin>,
    is_connected: bool,
    has_reported: bool,
    snapshot: Snapshot,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `count` worker processes and adds up their ledgers. `input`: the bytes of `--file` or `--script`. `Err` is a
/// sentence.
pub(crate) fn run(count: u64, seed: u64, input: Option<&[u8]>, progress: Progress) -> Result<Ledger, String> {
    let mut event_loop = EventLoop::new().map_err(|error| format!("cannot start: {error}"))?;
    let team = Team { members: Vec::new(), ledger: Ledger::default(), progress, has_started: false, trouble: None };
    let team = event_loop.enter(|lp| Shared::new(lp, team));
    event_loop.enter(|lp| listen_to_signals(lp, team)).map_err(|error| format!("cannot start: {error}"))?;
    event_loop.enter(|lp| {
        (0..count).try_for_each(|index| spawn(lp, team, Worker { index, of: count, seed }, input))?;
        draw(lp, team);
        Ok::<_, String>(())
    })?;
    event_loop.run().map_err(|error| format!("the loop cannot continue: {error}"))?;
    let result = event_loop.enter(|lp| team.with(lp, |team, _| team.finish()));
    result.expect("the team is lent only inside a callback, and none is running")
}

/// The first Ctrl-C makes the workers end with a report; the second kills them and exits immediately.
fn listen_to_signals(lp: &mut Loop, team: Shared<Team>) -> bucle::Result<()> {
    let mut first = None;
    process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, _| {
        let since = first.get_or_insert_with(Instant::now).elapsed();
        team.with(lp, |team, _| {
            team.ledger.is_interrupted = true;
            team.progress.end();
            if since > ONE_SIGNAL {
                team.members.clear();
                std::process::exit(exit_code::INTERRUPTED.into());
            }
            team.send_all("stop\n");
        });
    })
    .map(drop)
}

fn spawn(lp: &mut Loop, team: Shared<Team>, worker: Worker, bytes: Option<&[u8]>) -> Result<(), String> {
    let why = |error: std::io::Error| format!("cannot start process {} of {}: {error}", worker.index + 1, worker.of);
    let program = std::env::current_exe().map_err(why)?;
    let mut child = Command::new(program)
        .args(worker.words(std::env::args_os().skip(1)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(why)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let index = worker.index as usize;
    let member = Member { child, input, is_connected: false, has_reported: false, snapshot: Snapshot::default() };
    team.with(lp, |team, _| {
        team.members.push(member);
        let stdin = team.members.last_mut().and_then(|member| member.input.as_mut());
        // A worker reads them before it does anything else.
        stdin.zip(bytes).map_or(Ok(()), |(stdin, bytes)| handover::send(stdin, bytes))
    })
    .transpose()
    .map_err(why)?;
    let remote = lp.remote();
    let hold = remote.hold();
    std::thread::spawn(move || {
        let _alive = hold;
        let post = |line: Option<String>| {
            remote.post(move |lp| {
                team.with(lp, |team, lp| team.line_received(lp, index, line));
            });
        };
        if let Some(output) = output {
            BufReader::new(output).lines().map_while(Result::ok).for_each(|line| post(Some(line)));
        }
        post(None);
    });
    Ok(())
}

/// Draws the sum of all workers' progress, ten times a second.
fn draw(lp: &mut Loop, team: Shared<Team>) {
    let start = Instant::now();
    let timer = lp.set_interval(Duration::from_millis(100), move |lp| {
        team.with(lp, |team, _| team.show_progress(nanos(start.elapsed())));
    });
    lp.unref(timer);
}

impl Team {
    fn show_progress(&mut self, now: u64) {
        let Team { members, progress, .. } = self;
        let sum = |field: fn(&Snapshot) -> u64| members.iter().map(|member| field(&member.snapshot)).sum();
        progress.show(now, || Snapshot {
            stage: None,
            living: sum(|snapshot| snapshot.living),
            done: sum(|snapshot| snapshot.done),
            failed: sum(|snapshot| snapshot.failed),
            errors: sum(|snapshot| snapshot.errors),
        });
    }

    /// A worker has printed a line, or (`None`) has closed its stdout.
    fn line_received(&mut self, lp: &mut Loop, index: usize, line: Option<String>) {
        let Some(member) = self.members.get_mut(index) else { return };
        match line.as_deref() {
            Some("connected") => member.is_connected = true,
            Some(line) if line.starts_with('{') => {
                member.has_reported = self.ledger.add_line(line).is_ok();
                member.input = None;
                if self.ledger.ended_early.is_some_and(|end| end.why == Why::FailFast) {
                    self.send_all("end\n");
                }
            }
            Some(line) => {
                if let Some(snapshot) = progress::parse(line) {
                    member.snapshot = snapshot;
                }
            }
            None if member.has_reported => {}
            // Ctrl-C killed the worker before it began to ignore the signal. It had done nothing yet.
            None if self.ledger.is_interrupted => member.has_reported = true,
            None => {
                let status = member.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                self.trouble.get_or_insert(format!("process {} ended without a report ({status})", index + 1));
                // The sum of the other workers would not be the whole run, so there is no report.
                self.members.clear();
                return lp.stop();
            }
        }
        if !self.has_started && self.members.iter().all(|member| member.is_connected || member.has_reported) {
            self.has_started = true;
            self.send_all("go\n");
        }
        if self.members.iter().all(|member| member.has_reported) {
            for member in &mut self.members {
                let _ = member.child.wait();
            }
            lp.stop();
        }
    }

    /// The sum of all ledgers. `Err` is a sentence.
    fn finish(&mut self) -> Result<Ledger, String> {
        self.progress.end();
        match self.trouble.take() {
            Some(trouble) => Err(trouble),
            None => Ok(std::mem::take(&mut self.ledger)),
        }
    }

    /// Writes a command to every worker that has not reported.
    fn send_all(&mut self, word: &str) {
        for input in self.members.iter_mut().filter_map(|member| member.input.as_mut()) {
            // If the worker is gone the write fails; its reader thread notices the end too.
            let _ = input.write_all(word.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_a_worker_keeps_the_options_before_its_command() {
        let table = [
            ("load", "load --worker=1/3/99"),
            ("load :8080 --procs 3", "load --worker=1/3/99 :8080 --procs 3"),
            ("--color never load -- load", "--color never load --worker=1/3/99 -- load"),
            ("--color=never load -c 2", "--color=never load --worker=1/3/99 -c 2"),
        ];
        for (typed, want) in table {
            let words = Worker { index: 1, of: 3, seed: 99 }.words(typed.split(' ').map(OsString::from));
            assert_eq!(words.join(std::ffi::OsStr::new(" ")), want, "{typed}");
        }
    }

    #[test]
    fn a_workers_share_is_read() {
        assert_eq!(Worker::parse("1/3/99"), Some(Worker { index: 1, of: 3, seed: 99 }));
        for text in ["", "1", "3/3/1", "1/2", "a/b/c", "0/99999999/1"] {
            assert_eq!(Worker::parse(text), None, "{text:?}");
        }
    }
}
