//! The output on a terminal, which shows stdout and stderr together.

use std::sync::mpsc;

use crate::command::Run;
use crate::server::{self, Server};

/// The screen's output, split at each return to the start of a row.
fn rows(screen: &str) -> Vec<&str> {
    screen.split(['\r', '\n']).collect()
}

#[test]
fn progress_fits_its_row_and_is_erased_before_the_report() {
    const COLUMNS: u32 = 30;
    for procs in ["1", "2"] {
        let (send, received) = mpsc::channel();
        let server = Server::start(move |stream, ledger| {
            let send = send.clone();
            // One hundred lines take a second, so that progress has been drawn.
            server::each_line(&stream, ledger, move |stream, seq, line| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                if seq == 100 {
                    let _ = send.send(());
                }
                std::io::Write::write_all(stream, line)
            });
        });
        let target = format!(":{}", server.port);
        let args = [&target, "-c", "2", "-d", "1h", "--warmup", "0", "--procs", procs];
        let Some(mut run) = Run::in_terminal(COLUMNS, &args) else { return };
        received.recv().expect("the connections send");
        run.type_in(b"\x03");
        let ended = run.end();
        assert_eq!(ended.code, Some(130), "{}", ended.stdout);
        let (before, report) = ended.stdout.rsplit_once("\x1b[K").expect("something was drawn");
        assert!(before.ends_with('\r') && report.contains("messages"), "{:?}", ended.stdout);
        assert!(!report.contains(" open, "), "{:?}", ended.stdout);
        let drawn = rows(before).into_iter().filter_map(|row| row.strip_prefix("\x1b[K")).collect::<Vec<_>>();
        assert!(drawn.iter().any(|row| row.contains(" open")), "{:?}", ended.stdout);
        for row in drawn {
            assert!(row.chars().count() < COLUMNS as usize, "{row:?}");
        }
    }
}

#[test]
fn the_plan_is_printed_once() {
    let server = Server::echo();
    let target = format!(":{}", server.port);
    let Some(run) = Run::in_terminal(120, &[&target, "-c", "2", "-n", "4"]) else { return };
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.stdout.matches("2 connections to ").count(), 1, "{}", ended.stdout);
    // As in `bucle load … 2>&1 | tee FILE`.
    let command = format!("exec '{}' load {target} -c 2 -n 4 2>&1", env!("CARGO_BIN_EXE_bucle"));
    let output = std::process::Command::new("sh").args(["-c", &command]).output().expect("the shell starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("2 connections to ").count(), 1);
    // Without a terminal both stdout and stderr have the line.
    let run = Run::start(&[&target, "-c", "2", "-n", "4"]).end();
    assert!(run.stdout.starts_with("2 connections to ") && run.stderr.starts_with("plan: 2 connections to "));
}

#[test]
fn a_second_ctrl_c_ends_the_process_immediately() {
    for procs in ["1", "2"] {
        let (send, received) = mpsc::channel();
        let server = Server::start(move |stream, ledger| {
            let send = send.clone();
            // It never answers and never closes, so that closing takes the full 200 ms.
            server::each_line(&stream, ledger, move |_, _, _| send.send(()).map_err(std::io::Error::other));
            std::mem::forget(stream);
        });
        let target = format!(":{}", server.port);
        let args = [&target, "-c", "2", "-d", "1h", "--warmup", "0", "--timeout", "1h", "--procs", procs];
        // On a busy machine the run may end before the second Ctrl-C is typed, or the two signals may arrive as one.
        let is_cut_short = (0..5).any(|_| {
            let Some(mut run) = Run::in_terminal(80, &args) else { return true };
            (0..2).for_each(|_| received.recv().expect("each connection sends one message"));
            run.type_in(b"\x03");
            std::thread::sleep(std::time::Duration::from_millis(100));
            run.type_in(b"\x03");
            let ended = run.end();
            assert_eq!(ended.code, Some(130), "{}", ended.stdout);
            !ended.stdout.contains("interrupted")
        });
        assert!(is_cut_short, "--procs {procs}");
    }
}

#[test]
fn the_report_is_as_wide_as_the_terminal() {
    let server = Server::echo();
    let target = format!(":{}", server.port);
    let first = Run::start(&[&target, "-c", "2", "-n", "40", "--json"]).end().json(0).to_string();
    let old = std::env::temp_dir().join(format!("bucle-load-narrow-{}.json", std::process::id()));
    std::fs::write(&old, first).expect("a file can be written");
    let args = [&target, "-c", "2", "-n", "40", "--compare", old.to_str().expect("a name"), "--fail-if", "rate<1"];
    for columns in [40, 80] {
        let Some(run) = Run::in_terminal(columns, &args) else { return };
        let ended = run.end();
        let text = &ended.stdout;
        assert!(ended.code == Some(0) && text.contains("response times") && text.contains("compared with"), "{text}");
        // A path is one word.
        let is_wide = |row: &&str| row.chars().count() > columns as usize && !row.contains("bucle-load-narrow");
        assert_eq!(rows(text).into_iter().find(is_wide), None, "{columns}: {text}");
    }
    let run = Run::in_terminal(40, &["-c", "1", "-d", "1s", "--compare", "/nowhere/at/all"]);
    let error = run.map(|run| run.end().stdout).unwrap_or_default();
    let want =
        "error: --compare: cannot read\r\n/nowhere/at/all: there is no such file\r\n  try:  bucle load … --json > ";
    assert!(error.starts_with(want), "{error:?}");
    std::fs::remove_file(old).expect("it is there");
}
