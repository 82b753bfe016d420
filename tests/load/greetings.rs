//! `--skip-line`: greetings, and the hints when one is missing or taken for a reply.

use std::io::Write;

use serde_json::Value;

use crate::command::{Run, Served, load};
use crate::server::{self, Server};
use crate::{counters, is_consistent};

#[test]
fn a_greeting_is_skipped() {
    let server = Server::start(|mut stream, ledger| {
        // In two parts, as a slow server may send it.
        let sent = stream.write_all(b"welcome to ").and_then(|()| stream.write_all(b"the test\r\n"));
        sent.expect("the client reads");
        server::each_line(&stream, ledger, |stream, _, line| stream.write_all(line));
    });
    let report = load(&server, &["-c", "3", "-n", "30", "--skip-line", "--json"]).json(0);
    assert_eq!(counters(&report), "exact 30");
    let report = load(&server, &["-c", "3", "-n", "30", "--json"]).json(4);
    is_consistent(&report);
    let surplus = ["unexpected", "wrong", "duplicate"].map(|name| report["messages"][name].as_u64().expect("a count"));
    assert!(surplus.iter().sum::<u64>() >= 3, "{surplus:?}");
    let silent = Server::start(|stream, _| std::mem::forget(stream));
    let report = load(&silent, &["-c", "2", "-d", "1s", "--skip-line", "--timeout", "200ms", "--json"]).json(4);
    is_consistent(&report);
    assert_eq!(report["warmup"]["messages"]["unsent"], 2, "no greeting, no message");
}

#[test]
fn without_a_greeting_nothing_is_sent_and_the_run_fails() {
    let table: [&[&str]; 5] =
        [&["-d", "100ms"], &["-d", "3s"], &["-n", "4"], &["-d", "100ms", "-r", "1k"], &["-d", "100ms", "--churn"]];
    for args in table {
        let server = Server::echo();
        let args = [&["-c", "3", "--skip-line", "--timeout", "200ms"], args].concat();
        let report = load(&server, &[&args[..], &["--json"]].concat()).json(4);
        is_consistent(&report);
        let unsent = |messages: &Value| messages["unsent"].as_u64().expect("a count");
        assert!(unsent(&report["messages"]) + unsent(&report["warmup"]["messages"]) >= 3, "{args:?}: {report}");
        assert_eq!((&report["messages"]["sent"], server.ledger().lines), (&0.into(), 0), "{args:?}");
        let hint = report["hints"][0].as_str().unwrap_or_default();
        assert!(hint.starts_with("no first line came in 200 ms on "), "{args:?}: {hint}");
        assert!(hint.ends_with("the server sends no greeting; leave out --skip-line"), "{args:?}: {hint}");
    }
    let relay = Served::start(&["relay", "--port", "0"]);
    let target = format!(":{}", relay.port);
    let args = [&target, "-c", "20", "--skip-line", "--expect", "fanout", "-d", "300ms", "--timeout", "500ms"];
    let run = Run::start(&args).end();
    assert_eq!(run.code, Some(4), "{}", run.stdout);
    for want in [
        "0 sent",
        "20 unsent",
        "the generator was not the limit: ",
        "no first line came in 500 ms on 20 of 20 connections",
        "no message was sent (exit 4)",
    ] {
        assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("all right"), "{}", run.stdout);
}

#[test]
fn a_greeting_taken_for_a_reply_gives_a_hint() {
    let chat = Served::start(&["chat", "--port", "0"]);
    let target = format!(":{}", chat.port);
    let run = Run::start(&[&target, "-c", "4", "-n", "40", "--timeout", "5s"]).end();
    assert_eq!(run.code, Some(4), "{}", run.stdout);
    let want = "the first line on 4 of 4 connections was not a reply: if it is a greeting, add --skip-line";
    assert!(run.stdout.contains(want), "{}", run.stdout);
    let report = Run::start(&[&target, "-c", "4", "-n", "40", "--skip-line", "--expect", "fanout", "--json"]).end();
    assert_eq!(report.json(0)["hints"], serde_json::json!([]));
    // One wrong reply among many is not taken for a greeting.
    let server = Server::lines(|seq, line, _| if seq == 3 { b"no\n".to_vec() } else { line.to_vec() });
    let report = load(&server, &["-c", "4", "-n", "40", "--json"]).json(4);
    assert_eq!(report["hints"], serde_json::json!([]));
}

#[test]
fn hints_match_the_fault() {
    let upper = Server::lines(|_, line, _| line.to_ascii_uppercase());
    let said = Server::lines(|_, line, _| [b"you said ", line].concat());
    let greeted = Server::lines(|seq, line, _| if seq == 0 { [b"hello\n", line].concat() } else { line.to_vec() });
    let other = Server::lines(|_, _, _| b"OK\n".to_vec());
    let table: &[(&Server, &[&str], &str, &str)] = &[
        (&upper, &[], "the server answers with a text of its own; try --expect line", "--skip-line"),
        (&said, &[], "the server answers with a text of its own; try --expect line", "--skip-line"),
        (&greeted, &[], "if it is a greeting, add --skip-line; if every", "--expect line"),
        (&other, &[], "add --skip-line; if the server answers with other text, use --expect line; if", "no reply"),
        (
            &upper,
            &["-m", "hola"],
            "the messages do not end in a line break, for which a server of lines waits",
            "--skip",
        ),
    ];
    for (server, args, want, not) in table {
        let args = [&["-c", "2", "-n", "6", "--timeout", "2s", "--json"], *args].concat();
        let report = load(server, &args).json(4);
        let hint = report["hints"][0].as_str().unwrap_or_default();
        assert!(hint.contains(want) && !hint.contains(not), "{args:?}: {hint}");
    }
}

/// The hint comes while the run goes on, long before the time limit of the reply.
#[test]
fn a_server_of_lines_that_waits_for_a_line_break_gives_a_hint_at_once() {
    let server = Server::lines(|_, line, _| line.to_vec());
    for procs in ["1", "2"] {
        let run = load(&server, &["-c", "2", "-d", "1500ms", "--timeout", "1s", "-m", "hola", "--procs", procs]);
        assert_eq!(run.stderr.matches(r"hint: no reply yet: the messages do not end in a line break").count(), 1);
        assert!(run.stderr.contains(r"try -m 'TEXT\n'") && run.code == Some(4), "{}", run.stderr);
    }
    let server = Server::lines(|_, line, _| line.to_vec());
    let run = load(&server, &["-c", "2", "-n", "4", "-m", "hola", "--expect", "line"]);
    assert!(run.code == Some(0) && run.stderr.contains("a line break is added to -m"), "{}", run.stderr);
    assert_eq!(server.ledger().bytes_in, 4 * 5, "four messages, each with its line break");
}

#[test]
fn a_wrong_expectation_gives_a_hint() {
    let echo = Server::echo();
    let relay = Served::start(&["relay", "--port", "0"]);
    let table = [
        (echo.port, "prefix:zzz", "the server echoes, and --expect prefix:zzz does not accept that; try --expect echo"),
        (echo.port, "regex:^z", "the server echoes, and --expect regex:^z does not accept that; try --expect echo"),
        (relay.port, "fanout:others", "40 messages came back to their own sender"),
    ];
    for (port, mode, want) in table {
        let run = Run::start(&[&format!(":{port}"), "-c", "4", "-n", "40", "--expect", mode, "--json"]).end();
        let report = run.json(4);
        assert_eq!(report["hints"].as_array().map(Vec::len), Some(1), "{mode}: {}", report["hints"]);
        assert!(report["hints"][0].as_str().is_some_and(|hint| hint.contains(want)), "{mode}: {}", report["hints"]);
    }
    // A message that came back to its sender is unexpected, and that makes the run fail.
    let report =
        Run::start(&[&format!(":{}", relay.port), "-c", "2", "-n", "5", "--expect", "fanout:others", "--json"]);
    assert_eq!(counters(&report.end().json(4)), "exact 5, unexpected 5");
}

/// A server that replies with its own line end, whichever the message has.
#[test]
fn a_reply_that_differs_only_in_its_line_end_is_hinted_at() {
    let crlf = Server::lines(|_, line, _| [line.trim_ascii_end(), b"\r\n"].concat());
    let lf = Server::lines(|_, line, _| [line.trim_ascii_end(), b"\n"].concat());
    let table: [(&Server, &[&str], &[&str], &str); 2] = [
        (&crlf, &[], &["--crlf"], r"the server ends its lines with \r\n; try --crlf"),
        (&lf, &["--crlf"], &[], r"the server ends its lines with \n; let the messages end in \n, without --crlf"),
    ];
    for (server, wrong, right, want) in table {
        for procs in ["1", "2"] {
            let args = ["-c", "2", "-n", "6", "--json", "--procs", procs];
            let report = load(server, &[&args[..], wrong].concat()).json(4);
            let hint = report["hints"][0].as_str().unwrap_or_default();
            assert!(hint.starts_with("the first reply on 2 of 2 connections ") && hint.ends_with(want), "{hint}");
            assert_eq!(load(server, &[&args[..], right].concat()).json(0)["hints"], serde_json::json!([]));
        }
    }
}
