//! What is said while the run goes on: to a person, a line that is drawn anew; to a file, a line every ten seconds; to a
//! parent process, a line a second.

use std::io::{self, IsTerminal};

use bucle::process;

use super::client::Stage;
use crate::cli::stderr;

/// How a run stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) stage: Option<Stage>,
    pub(crate) living: u64,
    pub(crate) exact: u64,
    pub(crate) failed: u64,
    pub(crate) errors: u64,
}

/// Whom it is said to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A terminal on stderr: one line, drawn over.
    Terminal(Shown),
    /// Anything else on stderr.
    Plain(Shown),
    /// A parent, on stdout.
    Parent(Shown),
}

/// When it was last said, and what.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    at: u64,
    exact: u64,
    is_drawn: bool,
}

const SECOND: u64 = 1_000_000_000;

impl Progress {
    pub(crate) fn to_stderr() -> Progress {
        if io::stderr().is_terminal() {
            Progress::Terminal(Shown::default())
        } else {
            Progress::Plain(Shown::default())
        }
    }

    pub(crate) fn to_parent() -> Progress {
        Progress::Parent(Shown::default())
    }

    /// Says how it stands, if it is time to.
    pub(crate) fn show(&mut self, now: u64, snapshot: impl FnOnce() -> Snapshot) {
        let (shown, pause) = match self {
            Progress::Terminal(shown) => (shown, SECOND / 5),
            Progress::Plain(shown) => (shown, 10 * SECOND),
            Progress::Parent(shown) => (shown, SECOND / 5),
        };
        let since = now.saturating_sub(shown.at);
        if since < pause {
            return;
        }
        let snapshot = snapshot();
        let rate = snapshot.exact.saturating_sub(shown.exact) as f64 * SECOND as f64 / since as f64;
        (shown.at, shown.exact) = (now, snapshot.exact);
        match self {
            Progress::Terminal(shown) => {
                shown.is_drawn = true;
                say(&format!("\r\x1b[K{}", line(now, &snapshot, rate)));
            }
            Progress::Plain(_) => say(&format!("{}\n", line(now, &snapshot, rate))),
            Progress::Parent(_) => tell(&format!(
                "progress {} {} {} {}\n",
                snapshot.living, snapshot.exact, snapshot.failed, snapshot.errors
            )),
        }
    }

    /// To a parent: everything is connected that will be.
    pub(crate) fn connected(&self) {
        if let Progress::Parent(_) = self {
            tell("connected\n");
        }
    }

    /// Takes away what was drawn.
    pub(crate) fn end(&mut self) {
        if let Progress::Terminal(shown) = self
            && std::mem::take(&mut shown.is_drawn)
        {
            say("\r\x1b[K");
            // The report comes after it, on the same terminal.
            stderr::finish();
        }
    }
}

/// The parent's snapshot, out of a child's line.
pub(crate) fn parse(line: &str) -> Option<Snapshot> {
    let mut numbers = line.strip_prefix("progress ")?.split(' ').map(|word| word.trim().parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Snapshot { stage: None, living: next()?, exact: next()?, failed: next()?, errors: next()? })
}

fn line(now: u64, snapshot: &Snapshot, rate: f64) -> String {
    let stage = match snapshot.stage {
        Some(Stage::Connecting | Stage::Settling | Stage::Waiting) => "connecting, ",
        Some(Stage::Warmup) => "warm-up, ",
        Some(Stage::Drain | Stage::Closing | Stage::Over) => "draining, ",
        Some(Stage::Steady) | None => "",
    };
    let mut line =
        format!("{:>4} s  {stage}{} open, {} replies, {rate:.0}/s", now / SECOND, snapshot.living, snapshot.exact);
    if snapshot.failed + snapshot.errors > 0 {
        line += &format!(", {} wrong or missing, {} connections failed", snapshot.failed, snapshot.errors);
    }
    line
}

/// On stderr, whether anybody reads it or not.
fn say(text: &str) {
    stderr::say(text.as_bytes());
}

fn tell(text: &str) {
    // A parent that is gone is noticed at the standard input.
    let _ = process::write_stdout(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_line() {
        let snapshot = parse("progress 1 2 3 4\n").unwrap();
        assert_eq!((snapshot.living, snapshot.exact, snapshot.failed, snapshot.errors), (1, 2, 3, 4));
        assert!(parse("progress 1 2").is_none() && parse("{}").is_none());
    }
}
