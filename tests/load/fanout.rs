//! `--expect fanout`: each message reaches every connection once.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::command::{Run, Served, load};
use crate::server::{self, Server};
use crate::{counters, is_consistent};

#[test]
fn a_fan_out_counts_one_delivery_per_receiver() {
    // The room makes its mistake with the first message of connection 1.
    type Row<'a> = (&'a str, bool, fn(usize) -> usize, &'a str, i32, &'a str);
    let table: &[Row<'_>] = &[
        ("reaches every connection", true, |_| 1, "fanout", 0, "exact 80"),
        ("reaches the others", false, |_| 1, "fanout:others", 0, "exact 60"),
        ("omits one", true, |nth| usize::from(nth != 2), "fanout", 4, "exact 79, missing 1"),
        ("doubles one", true, |nth| if nth == 2 { 2 } else { 1 }, "fanout", 4, "exact 80, duplicate 1"),
    ];
    for (name, to_itself, copies, mode, exit, want) in table {
        let server = Server::room(*to_itself, *copies);
        let args = ["-c", "4", "-n", "20", "--expect", mode, "--skip-line", "--timeout", "5s", "--json"];
        let report = load(&server, &args).json(*exit);
        is_consistent(&report);
        assert_eq!(counters(&report), *want, "a room that {name}");
        assert_eq!(report["messages"]["sent"], 20);
    }
}

/// One of two connections closes: the other one goes on sending, although no receiver is left.
#[test]
fn a_fan_out_without_receivers_ends() {
    let members = Arc::new(Mutex::new(0));
    let server = Server::start(move |mut stream, ledger| {
        stream.write_all(b"hello\n").expect("the client reads");
        let number = {
            let mut members = members.lock().expect("no thread panics");
            *members += 1;
            *members
        };
        server::each_line(&stream, ledger, |_, _, _| match number {
            1 => Err(std::io::Error::other("enough")),
            _ => Ok(()),
        });
    });
    let args = ["-c", "2", "-n", "50", "--expect", "fanout:others", "--skip-line", "--timeout", "5s", "--json"];
    let report = load(&server, &args).json(4);
    is_consistent(&report);
    assert_eq!(report["messages"]["sent"], 50);
    assert_eq!(report["lost"]["closed"], 1);
}

#[test]
fn bucle_serve_relay_passes_a_fan_out() {
    let relay = Served::start(&["relay", "--port", "0"]);
    let target = format!(":{}", relay.port);
    for args in [&["--in-flight", "3"], &["-r", "500"]] {
        let args = [&[target.as_str(), "-c", "30", "-n", "100", "--expect", "fanout", "--json"], &args[..]].concat();
        let report = Run::start(&args).end().json(0);
        is_consistent(&report);
        assert_eq!(counters(&report), "exact 3000");
    }
}
