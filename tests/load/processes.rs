//! `--procs` and Ctrl-C: results are added up, and an interrupted run reports.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use crate::command::{Run, load};
use crate::server::{self, Server};
use crate::{counters, is_consistent};

#[test]
fn results_of_several_processes_are_added_up() {
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let collect = seen.clone();
    let server = Server::start(move |stream, ledger| {
        let collect = collect.clone();
        server::each_line(&stream, ledger, move |stream, _, line| {
            let text = String::from_utf8_lossy(line);
            let conn = text.split(':').next().unwrap_or_default().to_owned();
            collect.lock().expect("no thread panics").insert(conn);
            stream.write_all(line)
        });
    });
    for model in [&["--in-flight", "2"], &["-r", "2k"]] {
        seen.lock().expect("no thread panics").clear();
        let before = server.ledger().lines;
        let args = [&["-c", "10", "-n", "501", "--procs", "3", "--json"], &model[..]].concat();
        let report = load(&server, &args).json(0);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 501");
        assert_eq!(server.ledger().lines - before, 501);
        assert_eq!((&report["client"]["procs"], &report["connect"]["ok"]), (&3.into(), &10.into()));
        let all: BTreeSet<String> = (0..10).map(|conn| conn.to_string()).collect();
        assert_eq!(*seen.lock().expect("no thread panics"), all, "{{conn}} is unique over all processes");
    }
}

#[test]
fn options_before_the_word_load_are_kept_with_several_processes() {
    let server = Server::echo();
    let target = format!(":{}", server.port);
    for color in [&["--color", "never"][..], &["--color=never"], &[]] {
        let args = [color, &["load", "--json", "-c", "2", "-n", "4", "--procs", "2", "--", &target]].concat();
        let run = Run::start_with(Command::new(env!("CARGO_BIN_EXE_bucle")).args(&args).stdin(Stdio::null()));
        assert_eq!(counters(&run.end().json(0)), "exact 4", "{args:?}");
    }
}

/// A pipe can be read once, and standard input is another file in each worker.
#[test]
fn a_file_or_a_script_from_a_pipe_or_standard_input_is_shared_by_several_processes() {
    let server = Server::echo();
    let target = format!(":{}", server.port);
    let text = "hola {conn} {seq}\n".repeat(20_000);
    let path = std::env::temp_dir().join(format!("bucle-load-input-{}", std::process::id()));
    for (option, text) in [("--file", &*text), ("--script", "send hola\\n\nexpect hola\n")] {
        std::fs::write(&path, text).expect("a file can be written");
        let run = |stdin: Stdio, feed: bool| {
            let args = ["load", &target, "-c", "2", "-n", "4", "--json", option, "/dev/stdin", "--procs", "2"];
            let mut run = Run::start_with(Command::new(env!("CARGO_BIN_EXE_bucle")).args(args).stdin(stdin));
            if feed {
                run.type_in(text.as_bytes());
                run.close_stdin();
            }
            counters(&run.end().json(0))
        };
        assert_eq!(run(Stdio::piped(), true), "exact 4", "{option}");
        let file = std::fs::File::open(&path).expect("it is there");
        assert_eq!(run(file.into(), false), "exact 4", "{option}");
    }
    std::fs::remove_file(path).expect("it is there");
}

/// A run of four connections, each of which has sent a message that is never answered. Its processes are a group.
fn four_that_wait(options: &[&str]) -> Run {
    let (send, received) = mpsc::channel();
    let server = Server::start(move |stream, ledger| {
        let send = send.clone();
        server::each_line(&stream, ledger, move |_, _, _| send.send(()).map_err(std::io::Error::other));
    });
    let target = format!(":{}", server.port);
    let run = Run::start_in_group(&[&[&*target, "-c", "4", "-d", "1h", "--timeout", "1h"], options].concat());
    (0..4).for_each(|_| received.recv().expect("each connection sends one message"));
    run
}

#[test]
fn an_interrupted_run_reports() {
    for procs in ["1", "2"] {
        let run = four_that_wait(&["--warmup", "0", "--json", "--procs", procs]);
        run.signal("INT");
        let report = run.end().json(130);
        is_consistent(&report);
        assert_eq!(counters(&report), "unfinished 4");
        assert_eq!(report["interrupted"], true);
    }
}

/// A terminal and `timeout` signal the workers too.
#[test]
fn a_run_whose_process_group_is_signalled_reports() {
    for (signal, procs) in [("INT", "1"), ("INT", "2"), ("TERM", "1"), ("TERM", "2")] {
        let run = four_that_wait(&["--warmup", "0", "--json", "--procs", procs]);
        run.signal_group(signal);
        let report = run.end().json(130);
        is_consistent(&report);
        assert_eq!((counters(&report).as_str(), &report["connect"]["ok"]), ("unfinished 4", &4.into()), "{signal}");
    }
}

/// `timeout` sends its signal to its child and then to the group, so that the child gets it twice.
#[test]
fn a_signal_that_is_sent_twice_at_once_is_one() {
    for procs in ["1", "2"] {
        let has_reported = |_: &u32| {
            let run = four_that_wait(&["--warmup", "0", "--json", "--procs", procs]);
            run.signal_group_twice("TERM");
            let ended = run.end();
            assert_eq!(ended.code, Some(130), "{}", ended.stderr);
            !ended.stdout.is_empty()
        };
        // On a busy machine one pair of signals may be apart.
        assert!((0..10).filter(has_reported).count() >= 9, "--procs {procs}");
    }
}

#[test]
fn a_run_interrupted_while_connecting_reports() {
    let (send, received) = mpsc::channel();
    let server = Server::start(move |stream, _| {
        std::mem::forget(stream);
        let _ = send.send(());
    });
    let target = format!(":{}", server.port);
    let run = Run::start(&[&target, "-c", "100", "--ramp", "1h", "--json"]);
    received.recv().expect("the first connection comes immediately");
    run.signal("INT");
    let report = run.end().json(130);
    is_consistent(&report);
    assert_eq!((&report["messages"]["sent"], &report["interrupted"]), (&0.into(), &true.into()));
}

#[test]
fn a_run_interrupted_in_the_warm_up_says_that_nothing_was_measured() {
    for procs in ["1", "2"] {
        let run = four_that_wait(&["--warmup", "1h", "--procs", procs]);
        run.signal("INT");
        let ended = run.end();
        assert_eq!(ended.code, Some(130), "{}", ended.stdout);
        let want = "\n  run         nothing was measured: interrupted in the warm-up\n  warm-up     4 sent, ";
        assert!(ended.stdout.contains(want), "{}", ended.stdout);
        let want = "\n              4 unfinished in the warm-up when the run ended\n";
        assert!(ended.stdout.contains(want), "{}", ended.stdout);
        for row in ["messages  ", "rate  ", "the generator "] {
            assert!(!ended.stdout.contains(row), "{row}: {}", ended.stdout);
        }
    }
}
