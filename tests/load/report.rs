//! The report: its lines, its verdict, and the formats for programs.

use std::io::{BufRead, BufReader};

use crate::command::{Run, Served, load};
use crate::server::Server;

#[test]
fn the_text_report_and_the_page_escape_what_the_server_sent() {
    let server = Server::lines(|seq, line, _| if seq == 3 { b"\x1b[2J<b>\n".to_vec() } else { line.to_vec() });
    let page = std::env::temp_dir().join(format!("bucle-load-page-{}.html", std::process::id()));
    let name = page.to_str().expect("a name");
    let run = load(&server, &["-c", "1", "-n", "10", "--html", name]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    for want in ["9 exact of 10 expected", "1 wrong", "response:", "service:", "the generator was", "\\x1b[2J<b>"] {
        assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
    }
    assert!(run.stderr.starts_with("plan: 1 connection to 127.0.0.1:"), "{}", run.stderr);
    for text in [&run.stdout, &run.stderr] {
        assert!(!text.contains(['\r', '\x1b']), "{text:?}");
    }
    let html = std::fs::read_to_string(&page).expect("the page was written");
    std::fs::remove_file(page).expect("it is there");
    assert!(html.contains("<svg") && html.contains("&lt;b&gt;") && html.ends_with("</html>\n"));
    for bad in ["<script", "<b>", "http", "src=", "\x1b"] {
        assert!(!html.contains(bad), "{bad}");
    }
}

#[test]
fn lines_of_the_report_have_at_most_100_characters() {
    let chat = Served::start(&["chat", "--port", "0"]);
    let target = format!(":{}", chat.port);
    let args = ["-c", "2", "-r", "20", "-d", "300ms", "--timeout", "200ms", "--fail-if", "p99>5ms"];
    let run = Run::start(&[&[target.as_str()], &args[..]].concat()).end();
    assert!(run.code == Some(4) && run.stdout.contains("add --skip-line"), "{}", run.stdout);
    for line in run.stdout.lines() {
        assert!(line.chars().count() <= 100 || line.starts_with("    received"), "{line}");
    }
}

#[test]
fn a_threshold_is_reported_with_its_unit() {
    let server = Server::echo();
    let run = load(&server, &["-c", "1", "-n", "5", "--fail-if", "p99>60", "--fail-if", "rate<1M"]);
    assert_eq!(run.code, Some(5), "{}", run.stdout);
    for want in ["passed: --fail-if p99 > 60.0 s: it was ", "failed: --fail-if rate < 1,000,000 a second: it was "] {
        assert!(run.stdout.contains(want), "{want}: {}", run.stdout);
    }
    let help = Run::start(&["--help"]).end();
    assert!(help.stdout.contains("a number without a unit is seconds"), "{}", help.stdout);
}

#[test]
fn the_rate_of_unchecked_replies_is_that_of_sent_messages() {
    let server = Server::lines(|_, _, _| Vec::new());
    let args = ["-c", "1", "-n", "50", "--expect", "none", "--fail-if", "rate<1", "--fail-if", "rate<100M"];
    let report = load(&server, &[&args[..], &["--json"]].concat()).json(5);
    assert_eq!(report["failed"], serde_json::json!(["rate<100M"]));
    let run = load(&server, &args);
    assert!(run.stdout.contains("passed: --fail-if rate < 1 a second: it was "), "{}", run.stdout);
    let run = load(&server, &["-n", "5", "--expect", "none", "--fail-if", "p99>5ms"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
    assert!(run.stderr.contains("is about replies, which --expect none does not check"), "{}", run.stderr);
}

/// The server does not read, so a message is unsent.
#[test]
fn the_report_shows_failures_although_replies_are_not_checked() {
    let server = Server::start(|stream, _| std::mem::forget(stream));
    let args = ["-c", "1", "-n", "1", "--size", "16M", "--expect", "none", "--timeout", "300ms"];
    let run = load(&server, &args);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    for want in ["NOT CHECKED (--expect none)\n              NOT right: 1 unsent\n", "  no message was sent (exit 4)\n"]
    {
        assert!(run.stdout.contains(want), "{want:?} is not in {}", run.stdout);
    }
    let server = Server::start(|stream, _| drop(stream));
    let run = load(&server, &["-c", "1", "-d", "1s", "--hold"]);
    assert!(run.stdout.contains("  a connection failed or was lost (exit 1)\n"), "{}", run.stdout);
}

#[test]
fn a_run_without_a_message_fails() {
    let server = Server::echo();
    let run = load(&server, &["-c", "1", "-r", "1", "-d", "100ms", "--warmup", "500ms"]);
    assert!(run.code == Some(2) && run.stderr.contains("no message is due in the steady phase"), "{}", run.stderr);
    let script = std::env::temp_dir().join(format!("bucle-load-long-{}", std::process::id()));
    std::fs::write(&script, "send {seq}\\n\npause 1500ms\n").expect("a file can be written");
    let name = script.to_str().expect("a name");
    let report = load(&server, &["-c", "2", "--script", name, "-d", "100ms", "--json"]).json(4);
    assert_eq!((&report["messages"]["sent"], &report["warmup"]["messages"]["sent"]), (&0.into(), &2.into()));
    assert!(report["hints"][0].as_str().is_some_and(|hint| hint.contains("with -d")), "{report}");
    let run = load(&server, &["-c", "2", "--script", name, "-d", "100ms"]);
    assert!(run.stdout.contains("no message was sent in the steady phase (exit 4)"), "{}", run.stdout);
    std::fs::remove_file(script).expect("it is there");
    let report = load(&server, &["-c", "1", "--hold", "-d", "100ms", "--json"]).json(0);
    assert_eq!(report["hints"], serde_json::json!([]));
}

/// stdout has no progress line, and nothing after the newline.
#[test]
fn the_output_is_one_object_and_a_newline() {
    let server = Server::echo();
    let run = load(&server, &["-n", "5", "--json"]);
    assert!(run.stdout.ends_with("}\n"));
    assert_eq!(BufReader::new(run.stdout.as_bytes()).lines().count(), 1);
}
