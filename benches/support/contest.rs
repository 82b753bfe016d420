//! The comparison: the same work for several servers, side by side.
//!
//! ```text
//!   this process: the load, on one processor          a process per peer, on another
//!   ┌───────────────────────────────────┐             ┌───────┐ ┌───────┐ ┌───────┐
//!   │ sends, and checks every byte back │ ◀─ TCP ──▶  │ floor │ │ bucle │ │ tokio │ …
//!   └───────────────────────────────────┘             └───────┘ └───────┘ └───────┘
//!                                            processor time of each, read by the load
//! ```
//!
//! Criterion reports the wall time per operation, which two processes share and any other program on the machine
//! disturbs. So when criterion is done, the peers run once more in turns, A B C A B C …, with the same number of
//! operations each. A table then shows the processor time of each *server*: nanoseconds for the floor, and for the
//! others the ratio to the floor in the same round.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};

use super::peers::{Peer, Role, Served};

/// Rounds of the table. An odd number, so that the median is one of the rounds.
const ROUNDS: usize = 9;

/// How long the floor should take for a round; the others do the same number of operations.
const ROUND: Duration = Duration::from_millis(80);

/// The load of a question.
pub trait Load {
    /// Does at least this number of operations. Returns their exact number.
    fn exchange(&mut self, operations: u64) -> u64;
}

/// A question: the same work for all peers.
pub struct Question<'a> {
    /// The group of criterion.
    pub group: &'a str,
    /// The value of the parameter that varies in the group.
    pub parameter: String,
    pub role: Role,
    /// Bytes of an operation, in groups that are about bytes.
    pub bytes: Option<u64>,
    /// The servers to compare, the floor first.
    pub peers: &'a [Peer],
}

/// Criterion, and the tables that criterion does not make.
pub struct Contest {
    criterion: Criterion,
    /// With `--test` everything runs once, and there is no table.
    only_tests: bool,
    /// The tables as Markdown, ready for a document.
    table: String,
}

/// The processor time of one peer per operation, in nanoseconds: one value for each round.
struct Usage {
    peer: Peer,
    ns: Vec<f64>,
}

/// The body of a bench: criterion, then the tables. A process that was started as a server serves instead.
pub fn main(questions: impl FnOnce(&mut Contest)) {
    super::machine::raise_descriptor_limit();
    if super::peers::is_server() {
        return;
    }
    super::machine::pin(std::process::id(), super::machine::Side::Load);
    let criterion = super::wall_time().configure_from_args();
    let only_tests = std::env::args().any(|arg| arg == "--test");
    let mut contest = Contest { criterion, only_tests, table: String::new() };
    questions(&mut contest);
    contest.criterion.final_summary();
    println!("{}", contest.table);
}

impl Contest {
    /// Runs a question for all peers that are installed and not filtered out. `load` makes a client for the server at
    /// a port.
    pub fn run<L: Load>(&mut self, question: &Question, load: impl Fn(u16) -> L) {
        let mut group = self.criterion.benchmark_group(question.group);
        group.sampling_mode(SamplingMode::Flat);
        if let Some(bytes) = question.bytes {
            group.throughput(Throughput::Bytes(bytes));
        }
        let mut running: Vec<(Usage, Served, L)> = Vec::new();
        for &peer in question.peers.iter().filter(|peer| peer.is_installed()) {
            let mut client = None;
            group.bench_function(BenchmarkId::new(peer.name(), &question.parameter), |b| {
                // Start the server only when criterion runs this bench: a filter may leave it out.
                let (_, load) = client.get_or_insert_with(|| {
                    let served = Served::start(peer, question.role);
                    let load = load(served.port);
                    (served, load)
                });
                b.iter_custom(|operations| {
                    let start = Instant::now();
                    let done = load.exchange(operations);
                    start.elapsed().mul_f64(operations as f64 / done as f64)
                });
            });
            if let Some((served, load)) = client {
                running.push((Usage { peer, ns: Vec::new() }, served, load));
            }
        }
        group.finish();
        if running.is_empty() || self.only_tests {
            return;
        }
        let operations = operations_of_a_round(&mut running[0].2);
        for _ in 0..ROUNDS {
            for (usage, served, load) in &mut running {
                let before = served.cpu();
                let done = load.exchange(operations);
                usage.ns.push((served.cpu() - before).as_nanos() as f64 / done as f64);
            }
        }
        if self.table.is_empty() {
            self.table = head(question.peers);
        }
        let usages: Vec<Usage> = running.into_iter().map(|(usage, ..)| usage).collect();
        self.table += &row(question, &usages);
    }
}

/// The number of operations that the floor does in the time of a round.
fn operations_of_a_round(floor: &mut impl Load) -> u64 {
    let mut operations = 1;
    loop {
        let start = Instant::now();
        let done = floor.exchange(operations);
        let elapsed = start.elapsed();
        if elapsed >= ROUND / 4 {
            return (done as f64 * ROUND.as_secs_f64() / elapsed.as_secs_f64()).ceil() as u64;
        }
        operations = done * 2;
    }
}

fn head(peers: &[Peer]) -> String {
    let names: Vec<&str> = peers.iter().map(|peer| peer.name()).collect();
    format!("\n| processor time of the server | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(peers.len()))
}

/// The nanoseconds of the first peer, and the ratios of the others. Medians, with the middle seven of nine in
/// parentheses.
fn row(question: &Question, usages: &[Usage]) -> String {
    let mut text = format!("| {}, {} |", question.group, question.parameter);
    let first = &usages[0].ns;
    for peer in question.peers {
        let Some(usage) = usages.iter().find(|usage| usage.peer == *peer) else {
            text += " not run |";
            continue;
        };
        if *peer == usages[0].peer {
            let (median, low, high) = middle(first.clone());
            text += &format!(" {} ns ({}–{}) |", with_commas(median), with_commas(low), with_commas(high));
        } else {
            let (median, low, high) = middle(usage.ns.iter().zip(first).map(|(ns, first)| ns / first).collect());
            text += &format!(" {median:.2} × ({low:.2}–{high:.2}) |");
        }
    }
    text + "\n"
}

/// The median, and the range without the lowest and the highest value.
fn middle(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[1], values[values.len() - 2])
}

/// `12,345`.
fn with_commas(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
