//! Progress while the run goes on: on a terminal a line that is redrawn, in a file a line every ten seconds, and to a
//! parent process a line every 200 ms.

use std::io::{self, IsTerminal};

use bucle::process;

use super::ledger::MessageCounts;
use super::options::{Load, Model};
use super::stage::Stage;
use super::units::grouped;
use crate::cli::stderr;

/// The present state of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) stage: Option<Stage>,
    pub(crate) living: u64,
    /// Counted in the [`Unit`] of the run.
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) errors: u64,
}

/// What the progress of a run counts, besides connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Unit {
    #[default]
    Replies,
    /// Passes of a script.
    Passes,
    /// Sent messages, because replies are not checked.
    Sent,
    /// Nothing, because connections are only held.
    None,
}

impl Unit {
    pub(crate) fn of(load: &Load) -> Unit {
        match load.model {
            Model::Hold => Unit::None,
            Model::Script(_) => Unit::Passes,
            _ if load.is_checked() => Unit::Replies,
            _ => Unit::Sent,
        }
    }

    pub(crate) fn count(self, messages: &MessageCounts) -> u64 {
        match self {
            Unit::Replies | Unit::Passes => messages.exact,
            Unit::Sent => messages.sent,
            Unit::None => 0,
        }
    }
}

/// Where progress is written.
#[derive(Debug)]
pub(crate) enum Progress {
    /// To a terminal on stderr: one line that is redrawn.
    Terminal(Shown),
    /// To stderr, if that is not a terminal.
    Plain(Shown),
    /// To a parent process, on stdout.
    Parent(Shown),
    /// Nowhere: the report is next.
    Over,
}

/// When progress was last written, and what.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    at: u64,
    done: u64,
    is_drawn: bool,
    unit: Unit,
}

const SECOND: u64 = 1_000_000_000;

impl Progress {
    pub(crate) fn to_stderr(load: &Load) -> Progress {
        let shown = Shown { unit: Unit::of(load), ..Shown::default() };
        if io::stderr().is_terminal() { Progress::Terminal(shown) } else { Progress::Plain(shown) }
    }

    pub(crate) fn to_parent() -> Progress {
        Progress::Parent(Shown::default())
    }

    /// Writes the progress, if enough time has passed since the last time.
    pub(crate) fn show(&mut self, now: u64, snapshot: impl FnOnce() -> Snapshot) {
        let (shown, pause) = match self {
            Progress::Terminal(shown) => (shown, SECOND / 5),
            Progress::Plain(shown) => (shown, 10 * SECOND),
            Progress::Parent(shown) => (shown, SECOND / 5),
            Progress::Over => return,
        };
        let since = now.saturating_sub(shown.at);
        if since < pause {
            return;
        }
        let snapshot = snapshot();
        let rate = snapshot.done.saturating_sub(shown.done) as f64 * SECOND as f64 / since as f64;
        (shown.at, shown.done) = (now, snapshot.done);
        let unit = shown.unit;
        match self {
            Progress::Terminal(shown) => {
                shown.is_drawn = true;
                let line = line(now, &snapshot, unit, rate);
                write_to_stderr(&format!("\r\x1b[K{}", cut(&line, process::columns_of(&io::stderr()))));
            }
            Progress::Plain(_) => write_to_stderr(&format!("{}\n", line(now, &snapshot, unit, rate))),
            Progress::Parent(_) => write_to_parent(&format!(
                "progress {} {} {} {}\n",
                snapshot.living, snapshot.done, snapshot.failed, snapshot.errors
            )),
            Progress::Over => {}
        }
    }

    /// Reports to a parent that every connect has succeeded or failed.
    pub(crate) fn connected(&self) {
        if let Progress::Parent(_) = self {
            write_to_parent("connected\n");
        }
    }

    /// Writes a line to standard error, above the progress.
    pub(crate) fn note(&mut self, line: &str) {
        match self {
            Progress::Terminal(Shown { is_drawn: true, .. }) => write_to_stderr(&format!("\r\x1b[K{line}\n")),
            _ => write_to_stderr(&format!("{line}\n")),
        }
    }

    /// Erases the line on a terminal, and stops writing progress.
    pub(crate) fn end(&mut self) {
        if let Progress::Terminal(Shown { is_drawn: true, .. }) = std::mem::replace(self, Progress::Over) {
            write_to_stderr("\r\x1b[K");
            // Waits until it is written: the report comes next, on the same terminal.
            stderr::finish();
        }
    }
}

/// Cuts the line so that the cursor, and the `^C` that a terminal echoes, fit into the same row. A longer line would
/// continue in the next row, and redrawing would not erase its first row.
fn cut(line: &str, columns: Option<usize>) -> &str {
    let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub("^C".len() + 1));
    line.char_indices().nth(room).map_or(line, |(end, _)| &line[..end])
}

/// Parses the progress line of a child process.
pub(crate) fn parse(line: &str) -> Option<Snapshot> {
    let mut numbers = line.strip_prefix("progress ")?.split(' ').map(|word| word.trim().parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some(Snapshot { stage: None, living: next()?, done: next()?, failed: next()?, errors: next()? })
}

fn line(now: u64, snapshot: &Snapshot, unit: Unit, rate: f64) -> String {
    let stage = match snapshot.stage {
        Some(Stage::Connecting | Stage::Settling | Stage::Waiting) => "connecting, ",
        Some(Stage::Warmup) => "warm-up, ",
        Some(Stage::Drain | Stage::Closing | Stage::Over) => "draining, ",
        Some(Stage::Steady) | None => "",
    };
    let mut line = format!("{:>4} s  {stage}{} open", now / SECOND, grouped(snapshot.living));
    let name = match unit {
        Unit::Replies => Some("replies"),
        Unit::Passes => Some("passes"),
        Unit::Sent => Some("sent"),
        Unit::None => None,
    };
    if let Some(name) = name {
        line += &format!(", {} {name}, {}/s", grouped(snapshot.done), grouped(rate.round() as u64));
    }
    if snapshot.failed > 0 {
        line += &format!(", {} wrong or missing", grouped(snapshot.failed));
    }
    if snapshot.errors > 0 {
        line += &format!(", {} connections failed", grouped(snapshot.errors));
    }
    line
}

/// Writes to stderr without waiting for its reader.
fn write_to_stderr(text: &str) {
    stderr::write(text.as_bytes());
}

/// Writes to the parent process.
fn write_to_parent(text: &str) {
    // The error is ignored: standard input shows that the parent is gone.
    let _ = process::write_stdout(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_line_is_parsed() {
        let snapshot = parse("progress 1 2 3 4\n").unwrap();
        assert_eq!((snapshot.living, snapshot.done, snapshot.failed, snapshot.errors), (1, 2, 3, 4));
        assert!(parse("progress 1 2").is_none() && parse("{}").is_none());
    }

    #[test]
    fn a_line_fits_into_a_row() {
        let table = [
            ("12345", None, "12345"),
            ("12345", Some(80), "12345"),
            ("12345", Some(8), "12345"),
            ("12345", Some(7), "1234"),
            ("a·b", Some(5), "a·"),
            ("12345", Some(1), ""),
        ];
        for (text, columns, want) in table {
            assert_eq!(cut(text, columns), want, "{text} in {columns:?}");
        }
    }

    #[test]
    fn a_line_shows_what_the_run_counts() {
        let well = Snapshot { stage: Some(Stage::Steady), living: 2000, done: 12_345, failed: 0, errors: 0 };
        let badly = Snapshot { failed: 3, errors: 4, ..well };
        let table = [
            (Unit::Replies, well, "  10 s  2,000 open, 12,345 replies, 1,235/s"),
            (Unit::Sent, well, "  10 s  2,000 open, 12,345 sent, 1,235/s"),
            (Unit::None, well, "  10 s  2,000 open"),
            (
                Unit::Replies,
                badly,
                "  10 s  2,000 open, 12,345 replies, 1,235/s, 3 wrong or missing, 4 connections failed",
            ),
            (Unit::None, Snapshot { failed: 0, ..badly }, "  10 s  2,000 open, 4 connections failed"),
        ];
        for (unit, snapshot, want) in table {
            assert_eq!(line(10 * SECOND, &snapshot, unit, 1234.5), want);
        }
    }
}
