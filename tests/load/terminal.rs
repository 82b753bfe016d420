//! What a person at a terminal sees, which is stdout and stderr on one screen.

use std::sync::mpsc;

use crate::command::Run;
use crate::server::{self, Server};

/// What is written at once, between two movements of the cursor back to the beginning of a row.
fn rows(screen: &str) -> Vec<&str> {
    screen.split(['\r', '\n']).collect()
}

#[test]
fn progress_fits_its_row_and_is_gone_before_the_report() {
    const COLUMNS: u32 = 30;
    for procs in ["1", "2"] {
        let (tell, told) = mpsc::channel();
        let server = Server::start(move |stream, ledger| {
            let tell = tell.clone();
            // A second's worth of lines, so that progress has been drawn.
            server::each_line(&stream, ledger, move |stream, seq, line| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                if seq == 100 {
                    let _ = tell.send(());
                }
                std::io::Write::write_all(stream, line)
            });
        });
        let target = format!(":{}", server.port);
        let args = [&target, "-c", "2", "-d", "1h", "--warmup", "0", "--procs", procs];
        let Some(mut run) = Run::in_terminal(COLUMNS, &args) else { return };
        told.recv().expect("the connections talk");
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
fn the_plan_is_said_once() {
    let server = Server::echo();
    let target = format!(":{}", server.port);
    let Some(run) = Run::in_terminal(120, &[&target, "-c", "2", "-n", "4"]) else { return };
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.stdout.matches("2 connections to ").count(), 1, "{}", ended.stdout);
    // Into a file each has it.
    let run = Run::start(&[&target, "-c", "2", "-n", "4"]).end();
    assert!(run.stdout.starts_with("2 connections to ") && run.stderr.starts_with("plan: 2 connections to "));
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    for procs in ["1", "2"] {
        let (tell, told) = mpsc::channel();
        let server = Server::start(move |stream, ledger| {
            let tell = tell.clone();
            // It never answers and never ends, so that the farewell takes its time.
            server::each_line(&stream, ledger, move |_, _, _| tell.send(()).map_err(std::io::Error::other));
            std::mem::forget(stream);
        });
        let target = format!(":{}", server.port);
        let args = [&target, "-c", "2", "-d", "1h", "--warmup", "0", "--timeout", "1h", "--procs", procs];
        // On a busy machine the farewell may be over before the second one is typed, or the two may come as one.
        let is_cut_short = (0..5).any(|_| {
            let Some(mut run) = Run::in_terminal(80, &args) else { return true };
            (0..2).for_each(|_| told.recv().expect("each connection sends one message"));
            run.type_in(b"\x03");
            std::thread::sleep(std::time::Duration::from_millis(50));
            run.type_in(b"\x03");
            let ended = run.end();
            assert_eq!(ended.code, Some(130), "{}", ended.stdout);
            !ended.stdout.contains("interrupted")
        });
        assert!(is_cut_short, "--procs {procs}");
    }
}
