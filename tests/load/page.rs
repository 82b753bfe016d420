//! The page of `--html`: the order of its parts, and curves that agree with the run.

use std::io::Write;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use crate::command::Run;
use crate::server::{self, Server};

/// Runs `bucle load` against the server and returns the page.
#[track_caller]
fn page(server: &Server, name: &str, exit: i32, args: &[&str]) -> String {
    let path: PathBuf = std::env::temp_dir().join(format!("bucle-load-{name}-{}.html", process::id()));
    let (target, file) = (format!(":{}", server.port), path.to_str().expect("a name"));
    let run = Run::start(&[&[&target, "--html", file], args].concat()).end();
    assert_eq!(run.code, Some(exit), "{}{}", run.stdout, run.stderr);
    let html = std::fs::read_to_string(&path).expect("the page was written");
    std::fs::remove_file(path).expect("it is there");
    for bad in ["<script", "http", "src=", "url(", "\x1b"] {
        assert!(!html.contains(bad), "{bad}: {html}");
    }
    for drawing in html.split("<svg").skip(1).filter_map(|rest| rest.split("</svg>").next()) {
        assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{drawing}");
    }
    html
}

/// The drawing with this title.
fn drawing<'a>(html: &'a str, title: &str) -> Option<&'a str> {
    let (_, behind) = html.split_once(&format!("<title>{title}</title>"))?;
    behind.split_once("</svg>").map(|(drawing, _)| drawing)
}

/// The heights of a stepped curve, measured from the top; the drawing is 400 high.
fn heights(drawing: &str, class: &str) -> Vec<f64> {
    let (_, behind) = drawing.split_once(&format!("class=\"curve {class}\" d=\"")).expect("it is drawn");
    let path = behind.split('"').next().unwrap_or_default();
    let first = path.split(['M', ' ', 'H']).nth(2);
    let others = path.split('V').skip(1).map(|part| part.split('H').next().unwrap_or_default());
    first.into_iter().chain(others).map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn the_verdict_comes_first() {
    let server = Server::lines(|seq, line, _| if seq == 3 { b"<i>no</i>\n".to_vec() } else { line.to_vec() });
    let html = page(&server, "verdict", 4, &["-c", "1", "-n", "10", "--fail-if", "wrong>0", "--fail-if", "p99>60"]);
    let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} is not in {html}"));
    assert!(place("verdict bad") < place("Not every reply was right (exit 4)"));
    assert!(place("failed: --fail-if wrong &gt; 0: it was 1") < place("passed: --fail-if p99 &gt; 60.0 s"));
    assert!(place("class=\"tiles\"") < place("The first failure") && place("The first failure") < place("<svg"));
    for want in
        ["name=\"viewport\"", "prefers-color-scheme:dark", "&lt;i&gt;no&lt;/i&gt;", "<div class=\"scroll\"><table>"]
    {
        place(want);
    }
    let html = page(&Server::echo(), "fine", 0, &["-c", "1", "-n", "10"]);
    assert!(html.contains("verdict good") && html.contains("All right (exit 0)"));
}

/// The curve is level to its end, and the end of the warm-up is marked.
#[test]
fn a_steady_run_is_drawn_level() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, _, line| stream.write_all(line));
    });
    let args = ["-c", "5", "-r", "100", "-d", "1250ms", "--warmup", "500ms"];
    // On a busy machine a slice may be empty, which is drawn; one of twenty runs has no empty slice.
    let html = (0..20).map(|_| page(&server, "steady", 0, &args)).find(|html| {
        let replies = drawing(html, "Right replies a second").expect("there were replies");
        // At 100 messages a second each slice has about ten, the last one too.
        heights(replies, "green").iter().all(|&height| height < 350.0)
    });
    let html = html.expect("one of them is level");
    let replies = drawing(&html, "Right replies a second").expect("there were replies");
    assert!(replies.contains("class=\"line\"") && html.contains(">warm-up ends</span>"));
    assert!(drawing(&html, "Failures").is_none() && drawing(&html, "Open connections").is_none());
}

#[test]
fn of_held_connections_only_their_number_is_drawn() {
    let server = Server::start(|stream, _| {
        let mut stream = stream;
        let _ = std::io::Read::read(&mut stream, &mut [0]);
    });
    let html = page(&server, "hold", 0, &["-c", "20", "--hold", "-d", "1s"]);
    let connections = drawing(&html, "Open connections").expect("they were open");
    let heights = heights(connections, "blue");
    // The number of connections rises to twenty and stays there to the end.
    assert!(heights.is_sorted_by(|a, b| a >= b) && heights.last() == Some(&0.0), "{connections}");
    for bad in ["Latency", "Right replies", "Response time", "warm-up ends"] {
        assert!(!html.contains(bad), "{bad}");
    }
    assert_eq!(html.matches("<svg").count(), 1);
}

#[test]
fn one_reply_is_drawn_as_a_dot_and_a_short_run_without_curves() {
    let html = page(&Server::echo(), "one", 0, &["-c", "1", "-n", "1"]);
    assert!(drawing(&html, "Latency by percentile").is_some_and(|drawing| drawing.contains("class=\"dot red\"")));
    assert!(html.contains("too short for a curve") && html.matches("<svg").count() == 1);
}

#[test]
fn failures_are_drawn() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, seq, line| {
            std::thread::sleep(Duration::from_millis(5));
            if seq % 10 == 3 { stream.write_all(b"no\n") } else { stream.write_all(line) }
        });
    });
    let html = page(&server, "failures", 4, &["-c", "2", "-d", "600ms", "--warmup", "0"]);
    assert!(drawing(&html, "Failures").is_some_and(|drawing| drawing.contains("class=\"bars red\" d=\"M")));
}

#[test]
fn equal_response_and_service_times_have_one_row() {
    let html = page(&Server::echo(), "closed", 0, &["-c", "2", "-n", "50"]);
    assert!(html.contains("<th>response</th>") && !html.contains("<th>service</th>"));
    let html = page(&Server::echo(), "open", 0, &["-c", "2", "-n", "50", "-r", "1k"]);
    assert!(html.contains("<th>response</th>") && html.contains("<th>service</th>"));
}

#[test]
fn without_a_connection_the_page_gives_the_reason() {
    let path = std::env::temp_dir().join(format!("bucle-load-refused-{}.html", process::id()));
    let (target, file) = (format!(":{}", Server::echo().closed_port()), path.to_str().expect("a name"));
    let run = Run::start(&[&target, "-c", "3", "-n", "1", "--html", file]).end();
    assert_eq!(run.code, Some(3), "{}", run.stdout);
    let html = std::fs::read_to_string(&path).expect("the page was written");
    std::fs::remove_file(path).expect("it is there");
    assert!(html.contains("No connection could be made (exit 3)") && html.contains("no server is listening there"));
    assert!(!html.contains("<svg") && !html.contains("class=\"tiles\""), "{html}");
}

/// Only an earlier page, or an empty file, is overwritten. Nothing is connected otherwise.
#[test]
fn a_file_that_is_no_page_is_left_alone() {
    let server = Server::echo();
    let path = std::env::temp_dir().join(format!("bucle-load-notes-{}.txt", process::id()));
    let name = path.to_str().expect("a name");
    let args = ["-c", "1", "-n", "1", "--html", name];
    let report = "<!doctype html>\n<html lang=\"en\"><head><title>bucle load is good</title>";
    for text in ["precious", "x", "<!doctype html>\n<html>", report] {
        std::fs::write(&path, text).expect("a file can be written");
        let run = crate::command::load(&server, &args);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{}", run.stderr);
        assert!(
            run.stderr.contains(" exists and is not such a page\n  try:  bucle load … --html OTHER.html\n"),
            "{}",
            run.stderr
        );
        assert_eq!(std::fs::read_to_string(&path).expect("it is still there"), text);
    }
    assert_eq!(server.ledger().connections, 0);
    std::fs::write(&path, "").expect("a file can be written");
    for _ in 0..2 {
        let run = crate::command::load(&server, &args);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(std::fs::read_to_string(&path).is_ok_and(|page| page.ends_with("</html>\n")));
    }
    std::fs::remove_file(path).expect("it is there");
}

/// The file system takes no more bytes in one file than an earlier page has: the new page does not fit.
#[test]
fn an_earlier_page_is_kept_until_the_new_one_is_whole() {
    let server = Server::echo();
    let folder = std::env::temp_dir().join(format!("bucle-load-pages-{}", process::id()));
    std::fs::create_dir(&folder).expect("a new folder");
    let path = folder.join("page.html");
    let (target, name) = (format!(":{}", server.port), path.to_str().expect("a name"));
    let args = [&target, "-c", "1", "-n", "3", "--html", name];
    assert_eq!(Run::start(&args).end().code, Some(0));
    let earlier = std::fs::read(&path).expect("the page was written");
    let run = |limit: &str, args: &[&str]| {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" load \"$@\"");
        let mut command = process::Command::new("sh");
        Run::start_with(command.args(["-c", &script, env!("CARGO_BIN_EXE_bucle")]).args(args)).end()
    };
    let ended = run("1", &args);
    assert!(ended.code == Some(1) && ended.stderr.contains("cannot write the page of --html"), "{}", ended.stderr);
    // A limit is too low, so that nothing is measured.
    let ended = run("unlimited; ulimit -n 12", &args);
    assert_eq!(ended.code, Some(6), "{}", ended.stderr);
    let files = || std::fs::read_dir(&folder).expect("it is there").count();
    assert_eq!((std::fs::read(&path).expect("it is there"), files()), (earlier.clone(), 1));
    assert_eq!(Run::start(&args).end().code, Some(0));
    assert!(std::fs::read(&path).is_ok_and(|page| page != earlier && page.ends_with(b"</html>\n")) && files() == 1);
    // A new page that does not fit is not left behind.
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!((run("1", &args).code, files()), (Some(1), 0));
    std::fs::remove_dir_all(folder).expect("it is there");
}

#[test]
fn a_page_and_the_report_fit_into_one_file() {
    let server = Server::echo();
    let path = std::env::temp_dir().join(format!("bucle-load-both-{}", process::id()));
    let file = std::fs::File::create(&path).expect("a new file");
    let (target, program) = (format!(":{}", server.port), env!("CARGO_BIN_EXE_bucle"));
    let args = ["load", &target, "-c", "1", "-n", "3", "--html", "/dev/stdout"];
    let status = process::Command::new(program)
        .args(args)
        .stdout(file)
        .stderr(process::Stdio::null())
        .status()
        .expect("it starts");
    let text = std::fs::read_to_string(&path).expect("it was written");
    std::fs::remove_file(path).expect("it is there");
    assert!(status.success() && text.starts_with("<!doctype html>"), "{text}");
    assert!(text.split_once("</html>\n").is_some_and(|(_, report)| report.contains("all right")), "{text}");
}

#[test]
fn a_page_has_the_comparison() {
    let server = Server::echo();
    let args = ["-c", "1", "-n", "20"];
    let old = std::env::temp_dir().join(format!("bucle-load-page-old-{}.json", process::id()));
    let report = crate::command::load(&server, &[&args[..], &["--json"]].concat()).json(0);
    std::fs::write(&old, report.to_string()).expect("a file can be written");
    let name = old.to_str().expect("a name");
    let html = page(&server, "compared", 0, &[&args[..], &["--compare", name]].concat());
    let (_, behind) = html.split_once("<h2>Before and after</h2>\n<pre>  compared with ").expect("a comparison");
    assert!(behind.contains("replies/s ") && behind.contains("failures "), "{html}");
    std::fs::remove_file(old).expect("it is there");
}

#[test]
#[cfg(target_os = "linux")]
fn a_page_that_cannot_be_written_is_an_error() {
    let table: &[(&str, i32, &str)] =
        &[("100", 1, "all right, but the page of --html could not be written (exit 1)"), ("1k", 4, "not every reply")];
    for (count, code, verdict) in table {
        let server = Server::lines(|seq, line, _| if seq == 500 { b"no\n".to_vec() } else { line.to_vec() });
        let args = ["-c", "1", "-n", count, "--html", "/dev/full"];
        let run = crate::command::load(&server, &args);
        assert_eq!(run.code, Some(*code), "{}{}", run.stdout, run.stderr);
        assert!(
            run.stderr.contains("error: cannot write the page of --html: the disk is full (ENOSPC)"),
            "{}",
            run.stderr
        );
        assert!(run.stdout.contains(verdict), "{}", run.stdout);
        let run = crate::command::load(&server, &[&args[..], &["--json"]].concat());
        run.json(*code);
    }
}
