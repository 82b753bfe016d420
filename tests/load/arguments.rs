//! The command line and the plan: what is refused before anything is connected.

use crate::command::{Run, load};
use crate::counters;
use crate::server::Server;

#[test]
fn a_target_is_written_as_for_connect() {
    let server = Server::echo();
    for target in [server.port.to_string(), format!(":{}", server.port), format!("localhost:{}", server.port)] {
        let report = Run::start(&[&target, "-c", "1", "-n", "2", "--json"]).end().json(0);
        assert_eq!(counters(&report), "exact 2", "{target}");
    }
    let plan = Run::start(&["localhost", "--dry-run"]).end();
    assert!(plan.stdout.contains("to localhost:8080,"), "{} {}", plan.stdout, plan.stderr);
    let port = server.port.to_string();
    for words in [vec!["localhost", &port], vec!["-p", &port], vec!["127.0.0.1", "--port", &port]] {
        let report = Run::start(&[&words[..], &["-c", "1", "-n", "2", "--json"]].concat()).end().json(0);
        assert_eq!(counters(&report), "exact 2", "{words:?}");
    }
    let refused: &[(&[&str], &str)] = &[
        (&["/tmp/x"], "cannot understand the target '/tmp/x': a path is written as unix:/tmp/x"),
        (&["a", "b"], "cannot understand the target 'a b': the port is a number from 1 to 65535"),
        (&["a:1", "2"], "there are two ports, 1 and 2"),
        (&["ws://h/p", "-p", "2"], "write ws://h:2/p"),
        (&["a", "1", "-p", "2"], "cannot be used with"),
        (&["unix:/tmp/x", "--source", "127.0.0.2"], "a unix socket has no source address"),
    ];
    for (words, want) in refused {
        let run = Run::start(words).end();
        assert!(run.code == Some(2) && run.stderr.contains(want), "{words:?}: {}", run.stderr);
    }
}

/// More connections than the accept queue of a unix socket holds (128 in the standard library): a connect to a full
/// queue fails at once, and is repeated.
#[test]
fn a_unix_socket_is_a_target() {
    let path = std::env::temp_dir().join(format!("bucle-load-{}.sock", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a new file");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let target = format!("unix:{}", path.display());
    let report = Run::start(&[&target, "-c", "300", "-n", "600", "--json"]).end().json(0);
    assert_eq!((counters(&report).as_str(), &report["target"]), ("exact 600", &target.as_str().into()));
    assert_eq!((&report["connect"]["ok"], &report["connect"]["errno"]), (&300.into(), &serde_json::json!({})));
    let plan = Run::start(&[&target, "-c", "60k", "--procs", "auto", "--dry-run"]).end();
    assert!(plan.code == Some(0) && !plan.stdout.contains("ports"), "{}", plan.stdout);
    std::fs::remove_file(&path).expect("it is there");
    let run = Run::start(&[&target, "-c", "1", "-n", "1"]).end();
    assert!(run.code == Some(3) && run.stdout.contains("there is no such file (ENOENT)"), "{}", run.stdout);
}

#[test]
fn usage_and_limits_leave_stdout_empty() {
    let table: &[(&[&str], i32, &str)] = &[
        (&["-n", "1", "-d", "1s"], 2, "cannot be used with"),
        (&["-c", "0"], 2, "it must be 1 or more"),
        (&["-c", "-1"], 2, "a count is a whole number, 1 or more"),
        (&["-n", "-5"], 2, "a count is a whole number, 1 or more"),
        (&["-d", "-1s"], 2, "a time cannot be negative"),
        (&["-r", "1.5/s"], 2, "a rate is a whole number of messages a second"),
        (&["sio://127.0.0.1:1/", "--event", ""], 2, "the name is empty"),
        (&["-m", "\\q"], 2, "-m: unknown escape \\q"),
        (&["--expect", "fanout", "-m", "hola\\n"], 2, "{conn}:{seq} "),
        (&["--file", "/nowhere"], 2, "cannot read /nowhere"),
        (&["--html", "/nowhere/page.html"], 2, "/page.html: its folder does not exist\n  try:  mkdir -p /nowhere\n"),
        (&["--script", "/nowhere"], 2, "there is no such file\n  try:  printf "),
        (&["-c", "100M"], 6, "--procs"),
        (&["-c", "100M", "--json"], 6, "--procs"),
    ];
    for (args, exit, want) in table {
        let run = Run::start(args).end();
        assert_eq!((run.code, run.stdout.as_str()), (Some(*exit), ""), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(want), "{args:?}: {}", run.stderr);
        assert!(!run.stderr.contains("try:  bucle load --help"), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn a_mistyped_placeholder_gives_a_warning() {
    let server = Server::echo();
    let warned = |message: &str| load(&server, &["-c", "1", "-n", "1", "-m", message]).stderr.contains("warning: ");
    for (message, want) in
        [("{con}\\n", true), ("{foo} {conn}\\n", true), ("{\"a\":{seq}}\\n", false), ("{}\\n", false)]
    {
        assert_eq!(warned(message), want, "{message}");
    }
    let run = load(&server, &["-c", "1", "-n", "1", "-m", "{con}\\n"]);
    let want =
        "warning: {con} is not a placeholder and is sent as it is; the placeholders are {conn}, {seq} and {rand:N}\n";
    assert!(run.code == Some(0) && run.stderr.starts_with(want), "{}", run.stderr);
}

#[test]
fn a_dry_run_prints_the_plan() {
    let run = Run::start(&["-c", "5", "--dry-run", "--json"]).end();
    let plan = run.json(0);
    assert_eq!((plan["schema"].as_str(), &plan["fds"]["needed"]), (Some("bucle-load-plan/1"), &69.into()));
    assert_eq!((&plan["ports"]["needed"], &plan["ok"], &plan["exit"]), (&5.into(), &true.into(), &0.into()));
    let plan = Run::start(&["-c", "50M", "--dry-run", "--json"]).end().json(6);
    assert!(plan["try"][0].as_str().is_some_and(|text| text.contains("--procs ")), "{plan}");
    assert_eq!((&plan["fds"]["ok"], &plan["exit"]), (&false.into(), &6.into()));
    let run = Run::start(&["-c", "5", "--dry-run"]).end();
    assert!(run.code == Some(0) && run.stdout.contains("descriptors"), "{}", run.stdout);
    // With an unknown host a run would fail; a plan only warns.
    let run = Run::start(&["no-such-host.invalid:80", "-c", "2", "--dry-run", "--json"]).end();
    assert_eq!(run.json(0)["lookup"], "ENOTFOUND");
    assert!(run.stderr.starts_with("warning: cannot connect to no-such-host.invalid:80: "), "{}", run.stderr);
}

#[test]
fn a_plan_groups_the_digits_of_every_number() {
    let run = Run::start(&["-c", "50M", "--dry-run"]).end();
    assert_eq!(run.code, Some(6), "{}", run.stderr);
    for want in ["plan         50,000,000 connections", "connections  50,000,000 in ", "ports        50,000,000 of "] {
        assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
    }
    let run = Run::start(&["-c", "50M"]).end();
    assert!(run.code == Some(6) && run.stderr.contains("50,000,000 connections in one process"), "{}", run.stderr);
}
