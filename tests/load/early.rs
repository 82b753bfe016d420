//! Replies that come before the kernel has taken their message whole. The messages are larger than the buffers of a
//! connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier, mpsc};

use crate::command::{Run, load};
use crate::retry::retry;
use crate::server::Server;
use crate::{counters, is_consistent};

/// A server that replies to the first bytes of a connection, and then does something else.
fn hasty(reply: &'static [u8], then: fn(TcpStream)) -> Server {
    Server::start(move |mut stream, _| {
        let mut bytes = [0; 10];
        if stream.read_exact(&mut bytes).is_ok() && stream.write_all(reply).is_ok() {
            then(stream);
        }
    })
}

/// It never reads again.
fn keep(stream: TcpStream) {
    std::mem::forget(stream);
}

fn read_all(mut stream: TcpStream) {
    let mut buf = vec![0; 1 << 20];
    while let Ok(1..) = retry(|| stream.read(&mut buf)) {}
}

#[test]
fn a_message_that_was_answered_but_not_sent_whole_is_unsent() {
    let models: [&[&str]; 3] = [&[], &["-r", "10"], &["--churn"]];
    // Bytes that were not read make the kernel reset the connection when it is dropped.
    for (then, expect, reply) in [(keep as fn(TcpStream), "line", "ok"), (drop, "line", "ok"), (keep, "echo", "no")] {
        for model in models {
            let reply: &[u8] = if reply == "ok" { b"ok\n" } else { b"no\n" };
            let server = hasty(reply, then);
            let args = ["-c", "1", "-n", "1", "--size", "16M", "--timeout", "500ms", "--expect", expect, "--json"];
            let report = load(&server, &[&args[..], model].concat()).json(4);
            is_consistent(&report);
            assert_eq!(counters(&report), "unsent 1", "{expect} {model:?}");
            assert_eq!((&report["messages"]["sent"], &report["first_failure"]["kind"]), (&0.into(), &"unsent".into()));
        }
    }
}

#[test]
fn the_early_reply_to_an_unsent_message_is_shown() {
    let server = hasty(b"too large\n", keep);
    let args = ["-c", "1", "-n", "1", "--size", "16M", "--timeout", "5s", "--json"];
    let first = &load(&server, &args).json(4)["first_failure"];
    assert_eq!((&first["kind"], &first["received"]), (&"unsent".into(), &"too large\\x0a".into()));
    assert_eq!(first["reason"], "a reply came before the message was sent whole");
}

#[test]
fn an_early_reply_counts_when_its_message_is_sent_whole() {
    for (reply, args, want, code) in
        [(&b"ok\n"[..], ["--expect", "line"], "exact 2", 0), (b"no\n", ["--expect", "echo"], "wrong 2", 4)]
    {
        let server = hasty(reply, read_all);
        let plan = ["-c", "2", "-n", "2", "--size", "16M", "--timeout", "60s", "--json"];
        let report = load(&server, &[&plan[..], &args[..]].concat()).json(code);
        is_consistent(&report);
        assert_eq!((counters(&report).as_str(), &report["messages"]["sent"]), (want, &2.into()));
    }
}

/// A receiver leaves while a message to it is not sent whole. The delivery to it is missing, and so it is expected.
#[test]
fn deliveries_of_an_unsent_message_that_were_counted_are_expected() {
    let both_have_begun = Arc::new(Barrier::new(2));
    let server = Server::start(move |mut stream, _| {
        if stream.read_exact(&mut [0]).is_ok() && !both_have_begun.wait().is_leader() {
            keep(stream);
        }
    });
    let args = ["-c", "2", "-n", "2", "--size", "16M", "--timeout", "5s", "--expect", "fanout", "--json"];
    let report = load(&server, &args).json(4);
    is_consistent(&report);
    assert_eq!(counters(&report), "missing 1, unsent 2");
}

#[test]
fn an_interrupted_run_counts_no_reply_to_a_message_that_is_not_sent_whole() {
    let (send, received) = mpsc::channel();
    let server = Server::start(move |mut stream, _| {
        if stream.read_exact(&mut [0; 10]).is_ok() && stream.write_all(b"ok\n").is_ok() {
            keep(stream);
            let _ = send.send(());
        }
    });
    let args = ["-c", "2", "-d", "1h", "--warmup", "0", "--size", "16M", "--timeout", "1h", "--expect", "line"];
    let run = Run::start(&[&[&*format!(":{}", server.port), "--json"], &args[..]].concat());
    (0..2).for_each(|_| received.recv().expect("each connection sends one message"));
    run.signal("INT");
    let report = run.end().json(130);
    is_consistent(&report);
    assert_eq!((counters(&report).as_str(), &report["messages"]["sent"]), ("", &0.into()));
}

/// A receiver has left, so a delivery was counted as missing before the interrupt.
#[test]
fn an_interrupted_fan_out_expects_the_deliveries_that_were_counted() {
    let (send, received) = mpsc::channel();
    let both_have_begun = Arc::new(Barrier::new(2));
    let server = Server::start(move |mut stream, _| {
        if stream.read_exact(&mut [0]).is_ok() {
            if !both_have_begun.wait().is_leader() {
                return keep(stream);
            }
            drop(stream);
            let _ = send.send(());
        }
    });
    let args = ["-c", "2", "-d", "1h", "--warmup", "0", "--size", "16M", "--timeout", "1h", "--expect", "fanout"];
    let run = Run::start(&[&[&*format!(":{}", server.port), "--json"], &args[..]].concat());
    received.recv().expect("the first connection is dropped");
    run.signal("INT");
    is_consistent(&run.end().json(130));
}
