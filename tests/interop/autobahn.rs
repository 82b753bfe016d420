//! Autobahn|Testsuite against our server and our client. It needs Python 2.7 and many minutes, so the tests print a
//! note and end unless `autobahn.sh` runs them, also in CI. It sets these variables:
//!
//! | variable | meaning |
//! |---|---|
//! | `AUTOBAHN` | the program `wstest` |
//! | `AUTOBAHN_CASES` | which cases, for example `1.*,6.4.*`; all by default |

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bucle::websocket::{ClientOptions, DeflateOptions, Options};
use serde_json::{Value, json};

use crate::client::{Client, Event, Mode};
use crate::server::Running;
use crate::{LIMIT, work};

/// How long one case may take. The limits of the suite are shorter.
const CASE_LIMIT: Duration = Duration::from_secs(600);

/// One run: a name for the report, the options of our side, and the cases.
type Run = (&'static str, Options, &'static [&'static str]);

/// All cases, by default with context takeover. Many of those that negotiate compression (13.*) switch it off. The
/// second run does so by default.
fn runs() -> [Run; 2] {
    // Every message is compressed. The largest one of the suite has 16 MiB.
    let without = DeflateOptions { threshold: 0, ..DeflateOptions::default() };
    let with =
        DeflateOptions { server_no_context_takeover: false, client_no_context_takeover: false, ..without.clone() };
    let options = |deflate| Options {
        max_message: 16 * 1024 * 1024,
        idle_limit: Duration::ZERO,
        deflate: Some(deflate),
        ..Options::default()
    };
    [("bucle", options(with), &["*"]), ("bucle without context takeover", options(without), &["12.1.*", "12.2.*"])]
}

/// The cases of a run.
fn cases(of_run: &[&str]) -> Vec<String> {
    match std::env::var("AUTOBAHN_CASES") {
        Ok(cases) => cases.split(',').map(str::to_owned).collect(),
        Err(_) => of_run.iter().map(|&cases| cases.to_owned()).collect(),
    }
}

/// The program of the suite, if `autobahn.sh` runs this test.
fn wstest() -> Option<String> {
    let wstest = std::env::var("AUTOBAHN").ok();
    if wstest.is_none() {
        eprintln!("skipped: tests/interop/autobahn.sh runs it, in half an hour and with Python 2.7");
    }
    wstest
}

/// The suite as a child process, with its report.
struct Suite {
    child: Child,
    reports: PathBuf,
}

impl Suite {
    fn start(wstest: &str, mode: &str, run: &str, mut spec: Value) -> Suite {
        let reports = work().join("autobahn-reports").join(format!("{mode}-{}", run.replace(' ', "-")));
        let _ = fs::remove_dir_all(&reports);
        fs::create_dir_all(&reports).expect("target can be written");
        spec["outdir"] = json!(reports);
        let spec_file = reports.join("spec.json");
        fs::write(&spec_file, spec.to_string()).expect("target can be written");
        let child = Command::new(wstest)
            .args(["--mode", mode, "--webport", "0", "--spec"])
            .arg(&spec_file)
            .stdin(Stdio::null())
            .stdout(fs::File::create(reports.join("log")).expect("target can be written"))
            .spawn()
            .expect("wstest is installed");
        Suite { child, reports }
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prints how many cases had which result, and returns those that are not as they should be. A case has two results:
/// one for the messages, and one for the close.
fn bad_cases(mode: &str, run: &str, reports: &Path) -> Vec<String> {
    let index = fs::read_to_string(reports.join("index.json")).expect("a report");
    let index: Value = serde_json::from_str(&index).expect("JSON");
    let cases = index[run].as_object().expect("the cases of this run");
    assert!(!cases.is_empty());
    let mut counts = BTreeMap::new();
    let mut bad = Vec::new();
    for (case, result) in cases {
        let [behavior, close] = ["behavior", "behaviorClose"].map(|key| result[key].as_str().expect("a text"));
        *counts.entry(behavior.to_owned()).or_insert(0) += 1;
        *counts.entry(format!("{close} (close)")).or_insert(0) += 1;
        if [behavior, close].iter().any(|result| !matches!(*result, "OK" | "INFORMATIONAL")) {
            bad.push(format!("{mode} {run} {case}: {behavior}, close {close}, {}", result["remoteCloseCode"]));
        }
    }
    println!("{mode}, {run}: {} cases, {counts:?}", cases.len());
    bad
}

#[test]
fn autobahn_finds_no_fault_in_the_server() {
    let Some(wstest) = wstest() else { return };
    let mut bad = Vec::new();
    for (name, options, of_run) in runs() {
        let server = Running::new(vec![options]);
        let url = format!("ws://127.0.0.1:{}", server.ports[0]);
        let mut suite = Suite::start(
            &wstest,
            "fuzzingclient",
            name,
            json!({ "servers": [{ "agent": name, "url": url }], "cases": cases(of_run) }),
        );
        assert!(suite.child.wait().expect("it is our child").success(), "wstest has failed");
        bad.extend(bad_cases("server", name, &suite.reports));
    }
    assert_eq!(bad, Vec::<String>::new());
}

#[test]
fn autobahn_finds_no_fault_in_the_client() {
    let Some(wstest) = wstest() else { return };
    let mut bad = Vec::new();
    for (name, options, of_run) in runs() {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).expect("a port").port();
        let url = format!("ws://127.0.0.1:{port}");
        let suite = Suite::start(&wstest, "fuzzingserver", name, json!({ "url": url, "cases": cases(of_run) }));
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < LIMIT, "wstest does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        let count = number_of_cases(&url);
        let client = Client::new(options, Mode::Echo);
        let agent = name.replace(' ', "%20");
        for case in 1..=count {
            converse(&client, &format!("{url}/runCase?case={case}&agent={agent}"));
        }
        converse(&client, &format!("{url}/updateReports?agent={agent}"));
        bad.extend(bad_cases("client", name, &suite.reports));
    }
    assert_eq!(bad, Vec::<String>::new());
}

/// The suite's server sends the number of its cases as a text.
fn number_of_cases(url: &str) -> u32 {
    let client = Client::new(Options::default(), Mode::Report);
    client.connect(&format!("{url}/getCaseCount"), ClientOptions::default());
    assert!(matches!(client.next(), Event::Open(..)));
    let Event::Text(count) = client.next() else { panic!("no count") };
    count.parse().expect("a number")
}

/// Connects and sends every message back, until the connection is closed.
fn converse(client: &Client, url: &str) {
    client.connect(url, ClientOptions::default());
    while !matches!(client.event_within(CASE_LIMIT).1, Event::Close(..)) {}
}
