//! Response times, and whether the generator itself was the limit.

use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{Run, load};
use crate::server::{self, Server};
use crate::{counters, is_consistent, responses_from};

/// The server stops for 300 ms once. Messages that were due meanwhile had to wait, and their response times show it.
#[test]
fn a_stall_shows_in_the_response_time() {
    const STALL: Duration = Duration::from_millis(300);
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, seq, line| {
            if seq == 100 {
                thread::sleep(STALL);
            }
            stream.write_all(line)
        });
    });
    let report = load(&server, &["-c", "1", "-n", "1000", "-r", "1k", "--json"]).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 1000");
    assert!(report["latency_ns"]["response"]["max"].as_u64() >= Some(300_000_000));
    // Messages that were due in the first 200 ms of the stall waited for at least 100 ms.
    assert!(responses_from(&report, Duration::from_millis(100)) >= 199, "{}", report["latency_ns"]["response"]);
}

/// The generator itself is stopped for half a second. Messages that were due meanwhile are sent late, and their
/// response times count from their due time.
#[test]
fn a_generator_that_was_stopped_reports_its_lag() {
    let (send, received) = mpsc::channel();
    let server = Server::start(move |stream, ledger| {
        let send = send.clone();
        server::each_line(&stream, ledger, move |stream, seq, line| {
            if seq == 50 {
                send.send(()).map_err(std::io::Error::other)?;
            }
            stream.write_all(line)
        });
    });
    let target = format!(":{}", server.port);
    let run = Run::start(&[&target, "-c", "1", "-n", "1000", "-r", "1k", "--json"]);
    received.recv().expect("the run has begun");
    run.signal("STOP");
    thread::sleep(Duration::from_millis(500));
    run.signal("CONT");
    let report = run.end().json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 1000");
    assert_eq!(server.ledger().lines, 1000);
    assert!(responses_from(&report, Duration::from_millis(250)) >= 240, "{}", report["latency_ns"]["response"]);
    assert!(report["client"]["lag_p99_ns"].as_u64() >= Some(400_000_000) && report["client"]["saturated"] == true);
}

#[test]
fn the_generator_is_not_the_limit_when_nothing_is_due() {
    let script = std::env::temp_dir().join(format!("bucle-load-pause-{}", std::process::id()));
    std::fs::write(&script, "send {seq}\\n\npause 10ms\n").expect("a file can be written");
    let name = script.to_str().expect("a name");
    let table: [&[&str]; 2] = [&["-c", "20", "--hold", "-d", "1s"], &["-c", "20", "--script", name, "-d", "1s"]];
    for args in table {
        let server = Server::echo();
        let report = load(&server, &[args, &["--json"]].concat()).json(0);
        is_consistent(&report);
        assert_eq!((&report["client"]["lag_p99_ns"], &report["client"]["saturated"]), (&0.into(), &false.into()));
        let run = load(&server, args);
        assert!(run.stdout.contains("the generator was not the limit: "), "{args:?}: {}", run.stdout);
        assert!(run.stdout.contains("% of a core, and nothing had to be sent on time\n"), "{args:?}: {}", run.stdout);
        assert_eq!(server.ledger().connections, 40);
    }
    std::fs::remove_file(script).expect("it is there");
}

/// The server does not read for a while. Messages wait for the socket, and their response times count from their due
/// time.
#[test]
fn a_socket_that_blocks_shows_in_the_response_time() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, seq, line| {
            if seq == 10 {
                thread::sleep(Duration::from_millis(500));
            }
            stream.write_all(line)
        });
    });
    let args = ["-c", "1", "-n", "100", "-r", "200", "--size", "200k", "--timeout", "30s", "--json"];
    let report = load(&server, &args).json(0);
    is_consistent(&report);
    assert_eq!(counters(&report), "exact 100");
    assert!(responses_from(&report, Duration::from_millis(250)) >= 45, "{}", report["latency_ns"]["response"]);
}

#[test]
fn a_constant_delay_is_in_every_percentile() {
    let server = Server::start(|stream, ledger| {
        server::each_line(&stream, ledger, |stream, _, line| {
            thread::sleep(Duration::from_millis(20));
            stream.write_all(line)
        });
    });
    let report =
        load(&server, &["-c", "5", "-n", "50", "--json", "--fail-if", "p50>19ms", "--fail-if", "max<1ms"]).json(5);
    for name in ["response", "service"] {
        assert!(report["latency_ns"][name]["p50"].as_u64() >= Some(20_000_000));
    }
    assert_eq!(report["failed"], serde_json::json!(["p50>19ms"]));
}

/// Whatever a server does slowly, the generator is not blamed for it. Other programs can keep it from running for a
/// moment; it is late then, and says so rightly. So one run in three may blame it, but not more.
#[test]
fn a_slow_server_is_not_blamed_on_the_generator() {
    let stalls = || {
        Server::start(|stream, ledger| {
            server::each_line(&stream, ledger, |stream, seq, line| {
                if seq == 20 {
                    thread::sleep(Duration::from_millis(800));
                }
                stream.write_all(line)
            });
        })
    };
    let waits = || {
        Server::start(|stream, ledger| {
            server::each_line(&stream, ledger, |stream, _, line| {
                thread::sleep(Duration::from_millis(400));
                stream.write_all(line)
            });
        })
    };
    let silent = || Server::lines(|_, _, _| Vec::new());
    type Row<'a> = (&'a str, &'a dyn Fn() -> Server, &'a [&'a str], i32);
    let table: &[Row<'_>] = &[
        ("stalls", &stalls, &["-c", "1", "-r", "100", "-d", "1s", "--warmup", "0"], 0),
        ("waits", &waits, &["-c", "4", "-d", "500ms", "--warmup", "0"], 0),
        ("waits, on schedule", &waits, &["-c", "4", "-r", "8", "-d", "500ms", "--warmup", "0"], 0),
        ("is silent", &silent, &["-c", "4", "-d", "300ms", "--warmup", "0", "--timeout", "200ms"], 4),
    ];
    for (name, server, args, code) in table {
        let (mut runs, mut blamed) = (0, 0);
        while runs < 3 || 3 * blamed > runs {
            assert!(runs < 9, "a server that {name}: blamed in {blamed} of {runs} runs");
            let report = load(&server(), &[*args, &["--json"]].concat()).json(*code);
            runs += 1;
            blamed += i32::from(report["client"]["saturated"] == true);
        }
        let text = load(&server(), args).stdout;
        assert!(text.contains("the generator was "), "a server that {name}: {text}");
    }
}

/// The server replies after 300 ms. So replies to messages of the warm-up come in the steady phase, and half of the
/// replies come after it.
#[test]
fn the_parts_of_a_run_add_up_to_its_figures() {
    let late = || {
        Server::start(|stream, ledger| {
            let (send, due) = mpsc::channel::<(Instant, Vec<u8>)>();
            let mut writer = stream.try_clone().expect("a descriptor");
            thread::spawn(move || {
                for (time, line) in due {
                    thread::sleep(time.saturating_duration_since(Instant::now()));
                    if writer.write_all(&line).is_err() {
                        return;
                    }
                }
            });
            server::each_line(&stream, ledger, |_, _, line| {
                let time = Instant::now() + Duration::from_millis(300);
                send.send((time, line.to_vec())).map_err(std::io::Error::other)
            });
        })
    };
    let table: &[(&dyn Fn() -> Server, &[&str])] = &[
        (&late, &["-c", "4", "-r", "100", "-d", "600ms", "--warmup", "400ms"]),
        (&late, &["-c", "4", "-r", "100", "-d", "600ms", "--warmup", "400ms", "--procs", "2"]),
        (&Server::echo, &["-c", "2", "-d", "500ms", "--warmup", "270ms"]),
        (&Server::echo, &["-c", "2", "-n", "3"]),
    ];
    for (server, args) in table {
        let report = load(&server(), &[*args, &["--json"]].concat()).json(0);
        let parts = report["parts"].as_array().expect("a list");
        let sum = |name: &str| parts.iter().filter_map(|part| part[name].as_u64()).sum::<u64>();
        assert_eq!(report["messages"]["exact"], sum("exact"), "{args:?}: {report}");
        assert_eq!(report["elapsed_ns"], sum("ns"), "{args:?}: {report}");
        let rates = || parts.iter().filter_map(|part| part["rate"].as_f64());
        let (low, high) = (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max));
        let rate = report["rate"].as_f64().expect("a number");
        assert!(low * 0.999 <= rate && rate <= high * 1.001, "{args:?}: {rate} is not in {low} to {high}");
        assert!(parts.iter().all(|part| part["p50_ns"].is_null() == (part["exact"] == 0)), "{args:?}: {report}");
    }
}
