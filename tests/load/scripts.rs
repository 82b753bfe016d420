//! `--script` and `--telnet`: conversations.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use crate::command::load;
use crate::retry::retry;
use crate::server::{self, Server};
use crate::{counters, is_consistent};

/// A script in a file with a name of its own, which is removed at the end.
struct Script(std::path::PathBuf);

impl Script {
    fn new(name: &str, text: &str) -> Script {
        let path = std::env::temp_dir().join(format!("bucle-load-{name}-{}", std::process::id()));
        std::fs::write(&path, text).expect("a file can be written");
        Script(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().expect("a name")
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_script_runs_its_steps_in_order() {
    let server = Server::start(|mut stream, ledger| {
        stream.write_all(b"hello\nlogin: ").expect("the client reads");
        server::each_line(&stream, ledger, |stream, _, line| match line {
            b"quit\n" => Ok(()),
            line => stream.write_all(&[b"welcome ", line].concat()),
        });
    });
    let script = std::env::temp_dir().join(format!("bucle-load-script-{}", std::process::id()));
    let text = "# a visit\nexpect login:\nsend ana{conn}.{seq}\\n\nexpect welcome ana{conn}.{seq}\npause 1ms\nsend quit\\n\nclose\n";
    std::fs::write(&script, text).expect("a file can be written");
    let name = script.to_str().expect("a name");
    let report = load(&server, &["-c", "3", "-n", "12", "--script", name, "--json"]).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 12");
    assert_eq!((report["model"].as_str(), server.ledger().lines), (Some("script"), 24));
    std::fs::write(&script, "expect logout").expect("a file can be written");
    let report = load(&server, &["-c", "1", "-n", "2", "--script", name, "--timeout", "5s", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "missing 2");
    let first = &report["first_failure"];
    assert_eq!((&first["sent"], &first["expected"], &first["line"]), (&"".into(), &"logout".into(), &1.into()));
    std::fs::remove_file(script).expect("it is there");
}

/// The second step that expects text fails. In the other script nothing is sent before the first step waits.
#[test]
fn a_failed_script_reports_what_it_sent_and_expected() {
    let server = Server::lines(|_, line, _| line.to_vec());
    let script = std::env::temp_dir().join(format!("bucle-load-failing-{}", std::process::id()));
    let name = script.to_str().expect("a name");
    let table = [
        ("send one {seq}\\n\nexpect one\n\n# then\nsend two {seq}\\n\nexpect three\n", "two 0\\x0a", "three", 6),
        ("expect done\n", "", "done", 1),
    ];
    for (text, sent, expected, line) in table {
        std::fs::write(&script, text).expect("a file can be written");
        let args = ["-c", "1", "-n", "1", "--script", name, "--timeout", "5s"];
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
        is_consistent(&report);
        let first = &report["first_failure"];
        assert_eq!((first["kind"].as_str(), first["sent"].as_str()), (Some("missing"), Some(sent)), "{text}");
        assert_eq!((first["expected"].as_str(), first["line"].as_u64()), (Some(expected), Some(line)), "{text}");
        let run = load(&server, &args);
        for want in [format!("pass 0, line {line} of the script"), format!("    expected  {expected}\n")] {
            assert!(run.stdout.contains(&want), "{want}: {}", run.stdout);
        }
    }
    std::fs::write(&script, "send {seq}\\n\npause 10ms\nexpect 0\n").expect("a file can be written");
    let report = load(&server, &["-c", "1", "-n", "2", "--script", name, "--timeout", "5s", "--json"]).json(4);
    assert_eq!((&report["first_failure"]["sent"], &report["first_failure"]["seq"]), (&"1\\x0a".into(), &1.into()));
    std::fs::remove_file(script).expect("it is there");
    // Without a script the message is what is expected, so `expected` and `line` are null.
    let server = Server::lines(|_, _, _| b"no\n".to_vec());
    let report = load(&server, &["-c", "1", "-n", "1", "--json"]).json(4);
    assert!(report["first_failure"]["expected"].is_null() && report["first_failure"]["line"].is_null(), "{report}");
}

/// The server negotiates first, puts commands into its replies, and expects that the byte 255 is doubled.
#[test]
fn telnet_commands_are_removed_from_replies() {
    let (send, received) = mpsc::channel();
    let server = Server::start(move |mut stream, _| {
        stream.write_all(b"\xff\xfd\x18\xff\xfb\x01hello\n").expect("the client reads");
        let mut answers = [0; 6];
        stream.read_exact(&mut answers).expect("the client answers");
        send.send(answers).expect("the test waits for it");
        let mut buf = [0; 256];
        while let Ok(n @ 1..) = retry(|| stream.read(&mut buf)) {
            let (head, tail) = buf[..n].split_at(2);
            if stream.write_all(&[head, b"\xff\xf1", tail].concat()).is_err() {
                return;
            }
        }
    });
    let args = ["-c", "1", "-n", "10", "--telnet", "--skip-line", "-m", r"no{seq}\xff\xff\n", "--json"];
    let report = load(&server, &args).json(0);
    assert_eq!(counters(&report), "exact 10");
    assert_eq!(received.recv().expect("it has answered"), *b"\xff\xfc\x18\xff\xfe\x01");
}

/// The server does not read while it negotiates an option again and again. The client keeps one refusal of it, and
/// sends it when the server reads.
#[test]
fn refusals_that_the_server_does_not_read_are_kept_once() {
    const TIMES: usize = 6_000_000;
    let (send, received) = mpsc::channel();
    let server = Server::start(move |mut stream, _| {
        stream.write_all(&b"\xff\xfd\x01".repeat(TIMES)).expect("the client reads");
        stream.write_all(b"\xff\xfd\x18").expect("the client reads");
        let mut refusals = Vec::new();
        let mut buf = vec![0; 1 << 20];
        while !refusals.ends_with(b"\xff\xfc\x18") {
            let Ok(n @ 1..) = retry(|| stream.read(&mut buf)) else { break };
            refusals.extend_from_slice(&buf[..n]);
        }
        send.send(refusals).expect("the test waits for it");
        stream.write_all(b"done").expect("the client reads");
    });
    let script = Script::new("negotiation", "expect done\n");
    let args = ["-c", "1", "-n", "1", "--telnet", "--script", script.name(), "--timeout", "60s", "--json"];
    let report = load(&server, &args).json(0);
    assert_eq!(counters(&report), "exact 1");
    let refusals = received.recv().expect("the server has sent them");
    assert!(refusals.len() < TIMES * 3, "{} refusals", refusals.len() / 3);
    assert!(refusals.chunks(3).all(|refusal| matches!(refusal, b"\xff\xfc\x01" | b"\xff\xfc\x18")));
}

/// The pauses of an hour end with `-d`. A pass that has only pauses left was right; any other is unfinished, and one
/// that has not begun to send is not counted.
#[test]
fn the_duration_bounds_pauses() {
    let script = std::env::temp_dir().join(format!("bucle-load-hour-{}", std::process::id()));
    let name = script.to_str().expect("a name");
    let table = [
        ("send a\\n\nexpect a\npause 1h\n", "exact 2", 0),
        ("send a\\n\nexpect a\npause 1h\npause 1h\nclose\n", "exact 2", 0),
        ("send a\\n\npause 1h\n", "exact 2", 0),
        ("send a\\n\nexpect a\npause 1h\nsend b\\n\nexpect b\n", "unfinished 2", 0),
        ("send a\\n\npause 1h\nexpect a\n", "unfinished 2", 0),
        ("pause 1h\nsend a\\n\nexpect a\n", "", 4),
        // The pause comes after the end of the steady phase.
        ("send slow\\n\nexpect slow\npause 1h\nsend b\\n\n", "unfinished 2", 0),
    ];
    let server = Server::lines(|_, line, _| {
        if line == b"slow\n" {
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
        line.to_vec()
    });
    for (text, want, code) in table {
        std::fs::write(&script, text).expect("a file can be written");
        let args = ["-c", "2", "-d", "200ms", "--warmup", "0", "--script", name];
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(code);
        is_consistent(&report);
        assert_eq!(counters(&report), want, "{text}");
        let run = load(&server, &args);
        assert!(run.code == Some(code) && !run.stdout.contains("NOT right"), "{text}: {}", run.stdout);
    }
    // In the warm-up too.
    std::fs::write(&script, table[0].0).expect("a file can be written");
    let args = ["-c", "2", "-d", "100ms", "--warmup", "100ms", "--script", name, "--json"];
    let report = load(&server, &args).json(4);
    assert_eq!((&report["warmup"]["messages"]["exact"], counters(&report).as_str()), (&2.into(), ""));
    std::fs::remove_file(script).expect("it is there");
}

/// Passes with pauses of a second and immediate replies: no response time has the second.
#[test]
fn a_pause_is_no_response_time() {
    let script = std::env::temp_dir().join(format!("bucle-load-rest-{}", std::process::id()));
    let name = script.to_str().expect("a name");
    let server = Server::lines(|_, line, _| line.to_vec());
    for text in [
        "pause 1s\nsend a\\n\nexpect a\n",
        "send a\\n\npause 1s\nexpect a\n",
        "send a\\n\nexpect a\npause 500ms\nsend b\\n\npause 500ms\nexpect b\n",
        "send a\\n\nexpect a\npause 1s\n",
        "send a\\n\npause 1s\n",
    ] {
        std::fs::write(&script, text).expect("a file can be written");
        let report = load(&server, &["-c", "3", "-n", "3", "--script", name, "--json"]).json(0);
        assert_eq!(counters(&report), "exact 3", "{text}");
        for kind in ["response", "service"] {
            let max = report["latency_ns"][kind]["max"].as_u64().expect("a time");
            assert!(max < 900_000_000, "{kind} of {text}: {max}");
        }
    }
    std::fs::remove_file(script).expect("it is there");
}

#[test]
fn the_report_of_a_script_counts_passes() {
    let server = Server::echo();
    let script = std::env::temp_dir().join(format!("bucle-load-passes-{}", std::process::id()));
    std::fs::write(&script, "send a\\n\nexpect a\nsend b\\n\nexpect b\n").expect("a file can be written");
    let run = load(&server, &["-c", "2", "-n", "6", "--script", script.to_str().expect("a name")]);
    std::fs::remove_file(script).expect("it is there");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for want in [
        "until 6 passes are made",
        "passes      6 of the script begun",
        "6 as the script says, of 6 expected",
        " passes a second",
    ] {
        assert!(run.stdout.contains(want), "{want:?} is not in {}", run.stdout);
    }
    assert!(!run.stdout.contains("messages"), "{}", run.stdout);
}

#[test]
fn a_script_may_begin_with_a_byte_order_mark() {
    let script = std::env::temp_dir().join(format!("bucle-load-mark-{}", std::process::id()));
    std::fs::write(&script, "\u{feff}send a{seq}\\n\nexpect a{seq}\n").expect("a file can be written");
    let server = Server::lines(|_, line, _| line.to_vec());
    let report = load(&server, &["-c", "1", "-n", "3", "--script", script.to_str().expect("a name"), "--json"]).json(0);
    std::fs::remove_file(script).expect("it is there");
    assert_eq!(counters(&report), "exact 3");
}

/// The server sends a prompt before each command, the first one before any pass. It arrives with the reply to the
/// command before, and the next pass expects it.
#[test]
fn a_pass_begins_with_the_bytes_that_the_pass_before_has_left() {
    let server = Server::start(|mut stream, ledger| {
        stream.write_all(b"> ").expect("the client reads");
        server::each_line(&stream, ledger, |stream, _, _| stream.write_all(b"ok\n> "));
    });
    let script = Script::new("prompt", "expect > \nsend cmd {seq}\\n\nexpect ok\n");
    let report = load(&server, &["-c", "2", "-n", "6", "--script", script.name(), "--timeout", "2s", "--json"]).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 6");
    assert_eq!((server.ledger().lines, server.ledger().connections), (6, 2));
}

/// A pass ends with `close`. Bytes of the old connection are no reply on the new one.
#[test]
fn a_pass_on_a_new_connection_begins_with_no_bytes() {
    let number = AtomicU64::new(0);
    let server = Server::start(move |mut stream, ledger| {
        if number.fetch_add(1, Ordering::Relaxed) == 0 {
            stream.write_all(b"ok rest").expect("the client reads");
        }
        server::each_line(&stream, ledger, |_, _, _| Ok(()));
    });
    let script = Script::new("fresh", "expect ok\nclose\n");
    let args = ["-c", "1", "-n", "2", "--script", script.name(), "--timeout", "5s", "--json"];
    let report = load(&server, &args).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 1, missing 1");
    assert_eq!(report["first_failure"]["received"], "");
}

/// The server sends without an end. While no step waits for a text, at most `--max-reply` bytes are kept.
#[test]
fn a_pass_for_which_too_many_bytes_come_is_wrong() {
    let server = Server::start(|mut stream, _| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    for text in ["send a\\n\npause 1h\nexpect b\n", "pause 1h\nexpect b\n"] {
        let script = Script::new("flood", text);
        let args = ["-c", "1", "-n", "2", "--max-reply", "1M", "--script", script.name()];
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
        is_consistent(&report);
        assert_eq!(counters(&report), "wrong 2", "{text}");
        let reason = report["first_failure"]["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("more than 1,000,000 bytes, the limit of --max-reply, came while no "), "{reason}");
        let run = load(&server, &args);
        assert!(run.stdout.contains("not every pass of the script was right (exit 4)"), "{}", run.stdout);
    }
}

/// A step that waits skips more than `--max-reply` bytes. Bytes after the last step are dropped.
#[test]
fn skipped_bytes_and_bytes_after_the_last_pass_have_no_limit() {
    let server = Server::start(|mut stream, _| {
        if stream.write_all(&[&vec![b'x'; 500_000][..], b"ok"].concat()).is_ok() {
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }
    });
    let script = Script::new("skip", "expect ok\n");
    let slow = Script::new("slow", "expect ok\nexpect no\n");
    let args = ["-c", "1", "-n", "1", "--max-reply", "200k", "--timeout", "5s", "--json"];
    let report = load(&server, &[&args[..], &["--script", script.name()]].concat()).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 1");
    let report = load(&server, &[&args[..], &["--script", slow.name()]].concat()).json(4);
    assert_eq!((counters(&report).as_str(), &report["first_failure"]["line"]), ("missing 1", &2.into()));
}
