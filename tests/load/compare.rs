//! `--compare`: before and after, with the spread.

use crate::command::{Ended, Run, load};
use crate::server::Server;

/// A file with a name of its own, which is removed at the end.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let path = std::env::temp_dir().join(format!("bucle-load-compare-{name}-{}", std::process::id()));
        std::fs::write(&path, text).expect("a file can be written");
        File(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().expect("a name")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const ARGS: [&str; 6] = ["-c", "2", "-d", "600ms", "--warmup", "0"];

#[test]
fn before_and_after_are_shown_with_the_spread() {
    let server = Server::echo();
    let measure = || load(&server, &[&ARGS[..], &["--json"]].concat()).json(0).to_string();
    let one = File::new("one", &measure());
    let run = load(&server, &[&ARGS[..], &["--compare", one.name()]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let (_, compared) = run.stdout.split_once("  compared with ").expect("a comparison");
    let rows: Vec<&str> = compared.lines().skip(3).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(rows, ["replies/s", "p50", "p99", "p99.9", "max", "connect", "failures"], "{compared}");
    let judged = compared.matches(", within the spread\n").count() + compared.matches(", beyond the spread\n").count();
    assert_eq!(judged, 3, "{compared}");
    assert!(compared.lines().skip(1).all(|line| line.chars().count() <= 100), "{compared}");

    // Several reports, one after the other: their median, and their spread.
    let three = File::new("three", &(0..3).map(|_| measure() + "\n").collect::<String>());
    let report = load(&server, &[&ARGS[..], &["--compare", three.name(), "--json"]].concat()).json(0);
    let compare = &report["compare"];
    assert_eq!((&compare["runs"], &compare["file"]), (&3.into(), &three.name().into()));
    let rate = |side: &str, name: &str| compare["figures"]["replies/s"][side][name].as_f64().expect("a number");
    assert!(rate("before", "low") <= rate("before", "value") && rate("before", "value") <= rate("before", "high"));
    assert_eq!(rate("after", "value"), report["rate"]);
}

#[test]
fn another_plan_and_other_files_are_refused_before_anything_is_connected() {
    let server = Server::echo();
    let old = File::new("old", &load(&server, &[&ARGS[..], &["--json"]].concat()).json(0).to_string());
    let before = server.ledger().connections;
    let refused = |file: &str, args: &[&str], want: &str| {
        let Ended { code, stdout, stderr } = load(&server, &[args, &["--compare", file]].concat());
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(want), "{want:?} is not in {stderr}");
    };
    refused(
        old.name(),
        &["-c", "3", "-d", "600ms", "--warmup", "0"],
        "connections 2 there and 3 here\n  try:  bucle load … -c 2 --compare ",
    );
    refused(
        old.name(),
        &[&ARGS[..], &["-m", "x\\n"]].concat(),
        "another plan: other messages\n  try:  bucle load … --json > ",
    );
    refused(
        old.name(),
        &[&ARGS[..], &["-r", "5"]].concat(),
        "model closed there and open here, rate_target none there",
    );
    refused(
        "/nowhere/at/all",
        &ARGS,
        "cannot read /nowhere/at/all: there is no such file\n  try:  bucle load … --json > /nowhere/at/all  ",
    );
    for text in ["", "{}", "no json", r#"{"schema":"bucle-load-plan/1"}"#] {
        refused(
            File::new("bad", text).name(),
            &ARGS,
            "is not a report of bucle load --json\n  try:  bucle load … --json > FILE  ",
        );
    }
    for (option, want) in [("--skip-line", "skip_line false there and true here"), ("--telnet", "telnet false there")] {
        refused(old.name(), &[&ARGS[..], &[option]].concat(), want);
    }
    let other = &[&ARGS[..], &["--procs", "2", "--source", "127.0.0.2-127.0.0.3"]].concat();
    let want = "another plan: procs 1 there and 2 here, source none there and 127.0.0.2-127.0.0.3 here\n  \
                try:  bucle load … --procs 1 --source auto --compare ";
    refused(old.name(), other, want);
    let mut ended: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(old.name()).expect("it is there")).expect("JSON");
    ended["ended_early"] = serde_json::json!({ "after_ns": 1, "of_ns": 2, "why": "fail_fast" });
    let want = "has a run that was interrupted or ended early: measure again\n  try:  bucle load … --json > ";
    refused(File::new("early", &ended.to_string()).name(), &ARGS, want);
    let older = File::new("older", r#"{"schema":"bucle-load/1","rate":1}"#);
    refused(older.name(), &ARGS, "by an older bucle");
    assert_eq!(server.ledger().connections, before);
    // A ramp is in the report as it is typed.
    for ramp in ["10ms", "1k/s"] {
        let report = load(&server, &["-c", "2", "-n", "2", "--ramp", ramp, "--json"]).json(0);
        let typed = report["plan"]["ramp"].as_str().expect("a text").to_owned();
        let old = File::new("ramp", &report.to_string());
        let run = load(&server, &["-c", "2", "-n", "2", "--ramp", &typed, "--compare", old.name()]);
        assert_eq!(run.code, Some(0), "{typed}: {}", run.stderr);
        refused(old.name(), &["-c", "2", "-n", "2"], &format!("try:  bucle load … --ramp {typed} --compare "));
    }
    // Another target may be compared.
    let other = Server::echo();
    let run = Run::start(&[&[&*format!(":{}", other.port)], &ARGS[..], &["--compare", old.name()]].concat()).end();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}
