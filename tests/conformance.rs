//! Every scenario prints the same trace as Node.
//!
//! The scenarios, the traces recorded from Node and the format of both are in `tests/conformance/`. The example
//! `conformance` runs a scenario on this crate. Each run is a separate process, and two run at a time.
//!
//! ```text
//!   cargo test --test conformance                        also builds the runner, if it is missing or old
//!   CONFORMANCE_TIMES=20 cargo test --test conformance   runs each scenario 20 times
//!   JITTER=3 …                                           with a random delay of up to 3 ms before every event
//! ```

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::Duration;
use std::{env, fs, thread};

/// The time limit of one run.
const LIMIT: Duration = Duration::from_secs(60);

/// How many scenarios run at a time. More of them would disturb each other's timing.
const RUNS_AT_A_TIME: usize = 2;

/// Scenarios with this text need a write that the kernel does not take as a whole. Linux enlarges the buffer of a fast
/// connection, where `tcp_rmem` allows it to more than these 16 MiB, so on a busy machine the kernel may take all of
/// it.
const LARGE_WRITE: &str = "\"fill\": 16777216";

/// Scenarios with this text are busy for some milliseconds between two timers. If the machine stops one of them for
/// longer than these timers are apart, they fire in the other order, in Node, too.
const BUSY: &str = "\"do\": \"busy\"";

/// Scenarios with one of these texts have timeouts of sockets, intervals or refreshed timers between other timers, which
/// are 50 ms to 200 ms apart. The same holds for them.
const TIMEOUT: &str = "\"do\": \"set_timeout\"";
const INTERVAL: &str = "\"do\": \"interval\"";
const REFRESH: &str = "\"do\": \"refresh\"";

/// How often a scenario of these kinds may run until its trace is that of Node.
const RUNS: usize = 3;

/// How many equal lines are shown before the first difference.
const CONTEXT_LINES: usize = 4;

#[test]
fn scenarios_of_milestone_1() {
    let runner = runner();
    check(&scenarios(|milestone| milestone == 1), || Command::new(&runner));
}

#[test]
fn scenarios_of_milestone_2() {
    let runner = runner();
    check(&scenarios(|milestone| milestone == 2), || Command::new(&runner));
}

#[test]
fn every_scenario_has_its_trace() {
    let names = |directory: &str, extension: &str| -> BTreeSet<String> {
        let files = fs::read_dir(home().join(directory)).expect("the directory exists").flatten();
        let paths = files.map(|file| file.path()).filter(|path| path.extension() == Some(OsStr::new(extension)));
        paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    };
    assert_eq!(names("scenarios", "json"), names("golden", "trace"));
}

/// Node still prints the recorded traces. A few scenarios are enough, because all traces were recorded from Node.
#[test]
fn node_agrees_with_the_traces() {
    let Ok(version) = Command::new("node").arg("--version").output() else {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "node is not installed");
        eprintln!("skipped: node is not installed");
        return;
    };
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    if !version.starts_with("v20.") {
        eprintln!("skipped: the traces are from node v20, but this is {version}");
        return;
    }
    let names = ["loop-main-order", "loop-close-phase", "net-echo", "net-is-ip", "net-refused", "net-utf8-split"];
    check(&names.map(str::to_owned), || {
        let mut command = Command::new("node");
        command.arg(home().join("oracle.js"));
        command
    });
}

#[test]
fn a_difference_is_shown_after_some_equal_lines() {
    let table = [
        ("no difference", "a\nb\n", "a\nb\n", None),
        ("one other line", "a\nb\nc\n", "a\nx\nc\n", Some("line 2\n    a\n  - b\n  + x")),
        ("one line less", "a\nb\n", "a\n", Some("line 2\n    a\n  - b\n  + ")),
        ("no line break at the end", "a\n", "a", Some("line 2\n    a\n  - \n  + (the end)")),
        (
            "a late difference",
            "1\n2\n3\n4\n5\n6",
            "1\n2\n3\n4\n5\n7",
            Some("line 6\n    2\n    3\n    4\n    5\n  - 6\n  + 7"),
        ),
    ];
    for (name, want, got, difference) in table {
        assert_eq!(first_difference(want, got).as_deref(), difference, "{name}");
    }
}

/// Runs the scenarios by `command`, and panics with a list of all differences.
fn check(names: &[String], command: impl Fn() -> Command + Sync) {
    let _turn = take_turn();
    let times = env::var("CONFORMANCE_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let queue = Mutex::new(names.iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..RUNS_AT_A_TIME {
            scope.spawn(|| {
                while let Some(name) = next(&queue) {
                    let failed = (0..times).find_map(|_| compare(name, &command).err());
                    failures.lock().unwrap_or_else(PoisonError::into_inner).extend(failed);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "{} of {} differ\n\n{}", failures.len(), names.len(), failures.join("\n\n"));
}

fn next<'a>(queue: &Mutex<std::slice::Iter<'a, String>>) -> Option<&'a String> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Makes the tests of this file run one after the other, so that at most two scenarios run at a time.
fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one scenario once, or up to [`RUNS`] times. The error shows where its trace differs.
fn compare(name: &str, command: &impl Fn() -> Command) -> Result<(), String> {
    let scenario = fs::read_to_string(scenario_file(name)).map_err(|error| error.to_string())?;
    let runs = if [LARGE_WRITE, BUSY, TIMEOUT, INTERVAL, REFRESH].iter().any(|text| scenario.contains(text)) {
        RUNS
    } else {
        1
    };
    let mut result = Ok(());
    for _ in 0..runs {
        result = compare_once(name, command());
        if result.is_ok() {
            break;
        }
    }
    result
}

fn compare_once(name: &str, mut command: Command) -> Result<(), String> {
    let want = fs::read_to_string(home().join(format!("golden/{name}.trace"))).map_err(|error| error.to_string())?;
    command.arg(scenario_file(name)).env_remove("LIVE");
    let got = run(command).map_err(|error| format!("{name}: {error}"))?;
    first_difference(&want, &got).map_or(Ok(()), |difference| Err(format!("{name}: {difference}")))
}

/// Runs a program to its end and returns its output. Kills it after the time limit.
fn run(mut command: Command) -> Result<String, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("cannot start: {error}"))?;
    let output = read_output(&mut child);
    let (stdout, stderr) = output.recv_timeout(LIMIT).map_err(|_| {
        _ = child.kill();
        _ = child.wait();
        let (_, stderr) = output.recv().unwrap_or_default();
        format!("not done after {LIMIT:?}\n{stderr}")
    })?;
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(stdout) } else { Err(format!("{status}\n{stderr}")) }
}

/// Reads stdout and stderr to their end, on another thread.
fn read_output(child: &mut Child) -> mpsc::Receiver<(String, String)> {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        _ = stdout.as_mut().map(|pipe| pipe.read_to_end(&mut out));
        _ = stderr.as_mut().map(|pipe| pipe.read_to_end(&mut err));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        _ = sender.send((text(out), text(err)));
    });
    receiver
}

/// The first line that differs, after some equal lines. `None` if the texts are equal.
fn first_difference(want: &str, got: &str) -> Option<String> {
    if want == got {
        return None;
    }
    let (want, got): (Vec<&str>, Vec<&str>) = (want.split('\n').collect(), got.split('\n').collect());
    let place = want.iter().zip(&got).take_while(|(want, got)| want == got).count();
    let context = &want[place.saturating_sub(CONTEXT_LINES)..place];
    let context: String = context.iter().map(|line| format!("\n    {line}")).collect();
    let line = |lines: &[&str]| lines.get(place).copied().unwrap_or("(the end)").to_owned();
    Some(format!("line {}{context}\n  - {}\n  + {}", place + 1, line(&want), line(&got)))
}

/// The names of the scenarios of the wanted milestones.
fn scenarios(is_wanted: impl Fn(u64) -> bool) -> Vec<String> {
    let files = fs::read_dir(home().join("scenarios")).expect("the scenarios exist").flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| {
            let text = fs::read_to_string(file.path()).ok()?;
            let scenario: serde_json::Value = serde_json::from_str(&text).ok()?;
            let name = scenario["name"].as_str()?.to_owned();
            is_wanted(scenario["milestone"].as_u64()?).then_some(name)
        })
        .collect();
    assert!(!names.is_empty());
    names.sort();
    names
}

fn scenario_file(name: &str) -> PathBuf {
    home().join(format!("scenarios/{name}.json"))
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// The path of the runner. Cargo puts examples beside the directory of the tests: `debug/examples` beside `debug/deps`.
/// A whole `cargo test` builds the runner, but `cargo test --test conformance` does not.
fn runner() -> PathBuf {
    static RUNNER: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let exe = env::current_exe().expect("the test binary has a path");
        let profile = exe.ancestors().nth(2).expect("the test binary is target/PROFILE/deps/conformance-…");
        let runner = profile.join("examples").join(format!("conformance{}", env::consts::EXE_SUFFIX));
        if !runner.exists() || newer_source(&runner).is_some() {
            build_runner(profile);
        }
        assert!(runner.exists(), "{} is missing, although it was built", runner.display());
        if let Some(source) = newer_source(&runner) {
            panic!("{source} is newer than the runner, although it was built");
        }
        runner
    };
    RUNNER.get_or_init(find).clone()
}

/// Builds the runner in the profile of the tests: `target/debug` is the profile `dev`, `target/x` the profile `x`.
fn build_runner(directory: &Path) {
    let target = directory.parent().expect("a profile's directory is in the target directory");
    let profile = match directory.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", "conformance", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "cargo build --example conformance: {status:?}");
}

/// A source file that has changed since `program` was built, found by the list that Cargo writes beside the program. An
/// old runner would test an old version of the crate.
fn newer_source(program: &Path) -> Option<String> {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let list = fs::read_to_string(program.with_extension("d")).ok()?;
    let (_, sources) = list.trim_end().split_once(": ")?;
    let mut sources = sources.split(' ').map(str::to_owned);
    sources.find(|source| modified(Path::new(source)) > modified(program))
}
