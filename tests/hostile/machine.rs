//! Faults of the machine: signals, stopped processes, no free descriptors, a full disk, a log without a reader.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::harness::{Harness, faults, scaled, wait_until};
use super::healthy::HealthyClient;
use super::peer::Peer;
use super::server::{Server, signal};

faults! {
    a_server_that_is_stopped_for_a_while on "chat" within 8 MiB;
    signals_that_a_server_ignores on "relay" within 2 MiB;
}

/// Everything that peers send meanwhile waits in the kernel, and is answered in order.
fn a_server_that_is_stopped_for_a_while(harness: &Harness) {
    let mut members: Vec<Peer> = (0..20).map(|_| harness.member()).collect();
    signal(harness.server.pid(), "STOP");
    wait_until("the server is stopped", || is_stopped(harness.server.pid()));
    let new_peers: Vec<Peer> = (0..20).map(|_| harness.peer()).collect();
    for (at, peer) in members.iter().chain(&new_peers).enumerate() {
        peer.send(format!("meanwhile {at} 0\nmeanwhile {at} 1\n"));
    }
    signal(harness.server.pid(), "CONT");
    for (at, peer) in members.iter_mut().enumerate() {
        peer.wait_for_line(&format!("meanwhile {at} 0"));
        peer.wait_for_line(&format!("meanwhile {at} 1"));
    }
    members[0].send_and_wait("it goes on");
}

fn signals_that_a_server_ignores(harness: &Harness) {
    let mut member = harness.member();
    for name in ["HUP", "PIPE"] {
        for _ in 0..10 {
            signal(harness.server.pid(), name);
        }
        member.send_and_wait(&format!("after SIG{name}"));
    }
}

/// Whether a signal has stopped the process (proc(5)).
fn is_stopped(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    status.lines().any(|line| line.starts_with("State:\tT"))
}

/// Connected members are still served. Other connections wait in the kernel without costing processor time, and are
/// served when a descriptor is free. The limit is lowered while the server runs, because at its start it limits its
/// connections by the number of descriptors.
#[test]
fn descriptors_run_out_and_come_back() {
    let server = Server::start(&["relay"]);
    let healthy = HealthyClient::of(server.address, false);
    let mut members: Vec<Peer> = (0..20).map(|_| Peer::connect(server.address)).collect();
    members.iter_mut().for_each(|peer| peer.send_and_wait("I am in"));
    let vitals = server.vitals();
    let limit = Some(vitals.descriptors() as u64);
    let pid = Pid::from_raw(server.pid() as i32);
    prlimit(pid, Resource::Nofile, Rlimit { current: limit, maximum: limit }).expect("it is our child");
    let mut outside: Vec<Peer> = (0..100).map(|_| Peer::connect(server.address)).collect();
    healthy.wait_for_lines(20);
    let used = healthy.pause_while(|| {
        // The server logs after a second, and then less and less often, that it still cannot accept. It is idle in
        // between.
        let lines = || server.log().lines().filter(|line| line.contains("still cannot accept")).count();
        let (before, logged) = (vitals.ticks(), lines());
        wait_until("the server logs that it still cannot accept", || lines() > logged);
        vitals.ticks() - before
    });
    // As much as ten seconds of one tick each. A server that spins uses a hundred ticks a second.
    assert!(used <= 10, "{used} ticks from one log line to the next: the server spins");
    members.drain(..10).for_each(Peer::reset);
    outside[9].send_and_wait("ten of us are in");
    outside.drain(..90).for_each(Peer::reset);
    outside[9].send_and_wait("all others are in");
    members[9].wait_for_line("all others are in");
    healthy.end();
    let log = server.log();
    assert!(!log.contains("panic"), "{log}");
    assert!(log.lines().count() <= 40, "too many log lines: {log}");
}

/// Every refused connection gets the message, and connected members notice nothing.
#[test]
fn connections_over_the_limit_are_refused_with_a_message() {
    let server = Server::start(&["relay", "--max-connections", "4"]);
    let healthy = HealthyClient::of(server.address, false);
    let mut inside: Vec<Peer> = (0..3).map(|_| Peer::connect(server.address)).collect();
    inside.iter_mut().for_each(|peer| peer.send_and_wait("I am in"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..scaled(2_000) / 4 {
                    let received = Peer::connect(server.address).read_to_end();
                    assert_eq!(String::from_utf8_lossy(&received), "server full, try again later\r\n");
                }
            });
        }
    });
    inside.pop().expect("three").reset();
    // The free place is available when the server has noticed the reset.
    loop {
        let mut peer = Peer::connect(server.address);
        peer.send("let me in\n");
        peer.send_fin();
        if peer.read_to_end().starts_with(b"let me in") {
            break;
        }
    }
    healthy.end();
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// The server must not stop because its log cannot be written.
#[test]
fn the_log_is_on_a_full_disk() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
    let server = Server::spawn(command.args(["serve", "relay", "-vvv", "--port", "0"]).stderr(full));
    let healthy = HealthyClient::of(server.address, false);
    let mut peer = Peer::connect(server.address);
    for at in 0..1_000 {
        peer.send_and_wait(&format!("line {at}"));
    }
    healthy.end();
    drop(peer);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
}

/// As with `bucle serve -vvv 2>&1 | less` when the user does not scroll.
#[test]
fn the_log_is_a_pipe_without_a_reader() {
    let (unread, stderr) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
    let server = Server::spawn(command.args(["serve", "relay", "-vvv", "--port", "0"]).stderr(stderr));
    drop(command);
    let healthy = HealthyClient::of(server.address, false);
    let mut peer = Peer::connect(server.address);
    // A pipe holds 64 KiB, and the log has megabytes.
    for at in 0..5_000 {
        peer.send_and_wait(&format!("line {at}"));
    }
    healthy.end();
    drop(peer);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    drop(unread);
}

/// Every line that had arrived is answered, and the server ends although some members are stuck.
#[test]
fn a_signal_while_some_members_are_stuck() {
    let server = Server::start(&["relay"]);
    let mut members: Vec<Peer> = (0..20).map(|_| Peer::connect(server.address)).collect();
    members.iter_mut().for_each(|member| member.send_and_wait("I am in"));
    let stuck: Vec<Peer> = (0..4).map(|_| Peer::with_small_window(server.address)).collect();
    for peer in &stuck {
        peer.send_until_stuck(&b"stuck\n".repeat(1 << 20), Duration::from_millis(200));
    }
    let mut late = members.split_off(10);
    for (at, member) in late.iter().enumerate() {
        let lines: Vec<String> = (0..100).map(|line| format!("before the signal {at} {line}\n")).collect();
        member.send(lines.concat());
    }
    server.signal("TERM");
    for (at, member) in late.iter_mut().enumerate() {
        let received = member.read_to_end();
        let own = format!("before the signal {at} ");
        let own: Vec<_> =
            received.split(|&byte| byte == b'\n').filter(|line| line.starts_with(own.as_bytes())).collect();
        assert_eq!(own.len(), 100, "member {at} received {}", String::from_utf8_lossy(&received));
    }
    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("panic"), "{log}");
    drop((members, stuck));
}

/// A peer that closes while the server drains, in any way, does not delay the end of the server.
#[test]
fn resets_while_the_server_drains() {
    for kind in ["chat", "echo", "relay"] {
        let server = Server::start(&[kind]);
        let mut members: Vec<Peer> = (0..50).map(|_| Peer::connect(server.address)).collect();
        members.iter_mut().for_each(|member| member.send_and_wait("hola"));
        server.signal("TERM");
        for (at, member) in members.into_iter().enumerate() {
            match at % 3 {
                0 => member.reset(),
                1 => drop(member.stream().write_all(b"too late\n")),
                _ => drop(member),
            }
        }
        let (status, log) = server.end();
        assert_eq!(status, Some(0), "{kind}: {log}");
        assert!(!log.contains("panic"), "{kind}: {log}");
    }
}

/// Clients go on connecting while the server drains.
#[test]
fn a_signal_in_a_storm_of_connects() {
    let server = Server::start(&["chat"]);
    let address = server.address;
    let (is_over, connects) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (status, log) = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    if let Ok(stream) = std::net::TcpStream::connect(address) {
                        let _ = (&stream).write_all(b"hola\n");
                        connects.fetch_add(1, Ordering::Release);
                    }
                }
            });
        }
        wait_until("clients connect", || connects.load(Ordering::Acquire) >= 100);
        server.signal("TERM");
        // The clients still connect while the server drains.
        let end = server.end();
        is_over.store(true, Ordering::Release);
        end
    });
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("panic"), "{log}");
}

/// Every line that arrived before the signal is answered, over several turns, and then the server sends its FIN.
#[test]
fn thousands_of_lines_unread_at_a_signal_are_answered() {
    let server = Server::start(&["lines"]);
    let mut peers: Vec<Peer> = (0..scaled(6_000)).map(|_| Peer::connect(server.address)).collect();
    peers.iter_mut().for_each(|peer| peer.send_and_wait("I am in"));
    signal(server.pid(), "STOP");
    wait_until("the server is stopped", || is_stopped(server.pid()));
    for (at, peer) in peers.iter().enumerate() {
        peer.send(format!("line {at}\n"));
    }
    signal(server.pid(), "TERM");
    signal(server.pid(), "CONT");
    for (at, mut peer) in peers.into_iter().enumerate() {
        assert_eq!(String::from_utf8_lossy(&peer.read_to_end()), format!("line {at}\n"));
    }
    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
}
