//! The kernel is the limit: what a message costs in system calls, counted by strace and exact.
//!
//! Two runs that differ only in the number of messages; what the longer one makes more of, the messages cost. Skipped
//! where there is no strace; with `CI=true` that is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Calls that a turn or a message makes; the rest (logging, memory, signals) is not counted.
const COUNTED: &[&str] = &["recvfrom", "sendto", "writev", "sendmsg", "epoll_wait", "epoll_ctl", "read", "write"];

fn has_strace() -> bool {
    let works = Command::new("strace").args(["-V"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if works.is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(std::env::var("CI").is_err(), "strace is not installed; .ci/run installs it");
    eprintln!("skipped: strace is not installed");
    false
}

/// Serves `server` under strace while `messages` are sent and answered one after the other.
fn calls(server: &str, message: &[u8], messages: usize) -> BTreeMap<String, i64> {
    let out = std::env::temp_dir().join(format!("bucle-strace-{}-{server}-{messages}", std::process::id()));
    let mut child = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(&out)
        .args([env!("CARGO_BIN_EXE_bucle"), "serve", server, "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .spawn()
        .expect("strace runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
    let port: u16 = line.trim_end().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    client.set_nodelay(true).expect("a socket");
    let mut answer = vec![0; message.len()];
    for _ in 0..messages {
        client.write_all(message).expect("it reads");
        client.read_exact(&mut answer).expect("it answers");
        assert_eq!(answer, message);
    }
    client.shutdown(Shutdown::Write).expect("a socket");
    client.read_to_end(&mut Vec::new()).expect("the server ends too");
    // strace's child, the server, is the one to end; strace then writes its table.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).expect("it runs");
    let server_pid = children.split_whitespace().next().expect("strace has a child");
    Command::new("kill").args(["-TERM", server_pid]).status().expect("kill is there");
    child.wait().expect("it ends");
    let table = fs::read_to_string(&out).expect("strace wrote it");
    let _ = fs::remove_file(&out);
    let row = |line: &str| {
        let (name, calls) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), calls.trim().parse().ok()?))
    };
    table.lines().filter_map(row).filter(|(name, _)| COUNTED.contains(&name.as_str())).collect()
}

/// What `messages` more messages cost, per message; calls that they cost nothing of are left out.
fn cost(server: &str, message: &[u8]) -> BTreeMap<String, f64> {
    const FEW: usize = 50;
    const MORE: usize = 500;
    let few = calls(server, message, FEW);
    let more = calls(server, message, FEW + MORE);
    let per_message = |(name, calls): (&String, &i64)| {
        let extra = calls - few.get(name).copied().unwrap_or(0);
        (name.clone(), extra as f64 / MORE as f64)
    };
    more.iter().map(per_message).filter(|(_, calls)| *calls != 0.0).collect()
}

/// One read and one write to the message, exactly, nothing else of the kind, and one wait: give or take the one more
/// or less that the end of a conversation takes, when its FIN comes with the last message or after it.
fn assert_three_calls(mut cost: BTreeMap<String, f64>) {
    let waits = cost.remove("epoll_wait").unwrap_or(0.0);
    assert!((0.99..=1.01).contains(&waits), "{waits} waits to the message");
    assert_eq!(cost, BTreeMap::from([("recvfrom".to_owned(), 1.0), ("sendto".to_owned(), 1.0)]));
}

#[test]
fn an_echoed_message_costs_a_wait_a_read_and_a_write() {
    if has_strace() {
        assert_three_calls(cost("echo", &[b'x'; 64]));
    }
}

#[test]
fn sixteen_lines_cost_no_more_than_one() {
    if has_strace() {
        assert_three_calls(cost("lines", "0123456789abcde\n".repeat(16).as_bytes()));
    }
}
