//! The machine: signals, processes that stop, descriptors that run out, a disk that is full, a log that nobody reads.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::peer::Peer;
use super::server::{Server, signal};
use super::siege::{Siege, faults, scaled, wait_until};
use super::witness::Witness;

faults! {
    a_server_that_is_stopped_for_a_while on "chat" within 8 MiB;
    signals_that_mean_nothing_to_a_server on "relay" within 2 MiB;
}

/// What came meanwhile waits in the kernel, and is answered in order.
fn a_server_that_is_stopped_for_a_while(siege: &Siege) {
    let mut members: Vec<Peer> = (0..20).map(|_| siege.member()).collect();
    signal(siege.server.pid(), "STOP");
    wait_until("it stops", || is_stopped(siege.server.pid()));
    let newcomers: Vec<Peer> = (0..20).map(|_| siege.visitor()).collect();
    for (at, peer) in members.iter().chain(&newcomers).enumerate() {
        peer.send(format!("meanwhile {at} 0\nmeanwhile {at} 1\n"));
    }
    signal(siege.server.pid(), "CONT");
    for (at, peer) in members.iter_mut().enumerate() {
        peer.hear(&format!("meanwhile {at} 0"));
        peer.hear(&format!("meanwhile {at} 1"));
    }
    members[0].say_and_hear("it goes on");
}

fn signals_that_mean_nothing_to_a_server(siege: &Siege) {
    let mut member = siege.member();
    for name in ["HUP", "PIPE"] {
        for _ in 0..10 {
            signal(siege.server.pid(), name);
        }
        member.say_and_hear(&format!("after SIG{name}"));
    }
}

/// Whether a signal has stopped it (proc(5)).
fn is_stopped(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    status.lines().any(|line| line.starts_with("State:\tT"))
}

/// Those who are in are served; those who are not wait in the kernel, cost no time, and are served when there is room. The
/// limit is lowered while it runs: what it had at the start, the server has reckoned with.
#[test]
fn descriptors_run_out_and_come_back() {
    let server = Server::start(&["relay"]);
    let witness = Witness::of(server.address, false);
    let mut crowd: Vec<Peer> = (0..20).map(|_| Peer::connect(server.address)).collect();
    crowd.iter_mut().for_each(|peer| peer.say_and_hear("I am in"));
    let vitals = server.vitals();
    let limit = Some(vitals.descriptors() as u64);
    let pid = Pid::from_raw(server.pid() as i32);
    prlimit(pid, Resource::Nofile, Rlimit { current: limit, maximum: limit }).expect("it is our child");
    let mut outside: Vec<Peer> = (0..100).map(|_| Peer::connect(server.address)).collect();
    witness.wait_for_lines(20);
    let used = witness.rest(|| {
        // It says after a second, and then less and less often, that it still cannot: that long it has nothing to do.
        let lines = || server.log().lines().filter(|line| line.contains("still cannot accept")).count();
        let (before, said) = (vitals.ticks(), lines());
        wait_until("it says that it still cannot accept", || lines() > said);
        vitals.ticks() - before
    });
    // At most as in ten seconds of one tick each; who spins has a hundred in one.
    assert!(used <= 10, "{used} ticks from one line to the next: it spins");
    crowd.drain(..10).for_each(Peer::reset);
    outside[9].say_and_hear("ten of us are in");
    outside.drain(..90).for_each(Peer::reset);
    outside[9].say_and_hear("all that are left are in");
    crowd[9].hear("all that are left are in");
    witness.end();
    let log = server.log();
    assert!(!log.contains("panic"), "{log}");
    assert!(log.lines().count() <= 40, "it says so now and then, not each time: {log}");
}

/// Everybody who is turned away is told why, and those inside notice nothing.
#[test]
fn a_full_house_under_a_storm() {
    let server = Server::start(&["relay", "--max-connections", "4"]);
    let witness = Witness::of(server.address, false);
    let mut inside: Vec<Peer> = (0..3).map(|_| Peer::connect(server.address)).collect();
    inside.iter_mut().for_each(|peer| peer.say_and_hear("I am in"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..scaled(2_000) / 4 {
                    let told = Peer::connect(server.address).rest();
                    assert_eq!(String::from_utf8_lossy(&told), "server full, try again later\r\n");
                }
            });
        }
    });
    inside.pop().expect("three").reset();
    // A place is free as soon as the server has noticed.
    loop {
        let mut peer = Peer::connect(server.address);
        peer.send("let me in\n");
        peer.finish();
        if peer.rest().starts_with(b"let me in") {
            break;
        }
    }
    witness.end();
    assert!(!server.log().contains("panic"), "{}", server.log());
}

/// A log that cannot be written is no reason to stop.
#[test]
fn the_disk_of_the_log_is_full() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
    let server = Server::spawn(command.args(["serve", "relay", "-vvv", "--port", "0"]).stderr(full));
    let witness = Witness::of(server.address, false);
    let mut peer = Peer::connect(server.address);
    for at in 0..1_000 {
        peer.say_and_hear(&format!("line {at}"));
    }
    witness.end();
    drop(peer);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
}

/// Nobody reads the log: `bucle serve -vvv 2>&1 | less`, and the terminal left alone.
#[test]
fn nobody_reads_the_log() {
    let (unread, stderr) = std::io::pipe().expect("a pipe");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
    let server = Server::spawn(command.args(["serve", "relay", "-vvv", "--port", "0"]).stderr(stderr));
    drop(command);
    let witness = Witness::of(server.address, false);
    let mut peer = Peer::connect(server.address);
    // A pipe holds 64 KiB; this is logged in megabytes.
    for at in 0..5_000 {
        peer.say_and_hear(&format!("line {at}"));
    }
    witness.end();
    drop(peer);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    drop(unread);
}

/// Every line that had arrived is answered, whoever else is stuck, and the end comes.
#[test]
fn a_signal_while_some_are_stuck() {
    let server = Server::start(&["relay"]);
    let mut members: Vec<Peer> = (0..20).map(|_| Peer::connect(server.address)).collect();
    members.iter_mut().for_each(|member| member.say_and_hear("I am in"));
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
        let heard = member.rest();
        let own = format!("before the signal {at} ");
        let own: Vec<_> = heard.split(|&byte| byte == b'\n').filter(|line| line.starts_with(own.as_bytes())).collect();
        assert_eq!(own.len(), 100, "member {at} heard {}", String::from_utf8_lossy(&heard));
    }
    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("panic"), "{log}");
    drop((members, stuck));
}

/// Whoever leaves while the server says good-bye, in whichever way, does not keep it.
#[test]
fn resets_while_the_server_says_good_bye() {
    for kind in ["chat", "echo", "relay"] {
        let server = Server::start(&[kind]);
        let mut members: Vec<Peer> = (0..50).map(|_| Peer::connect(server.address)).collect();
        members.iter_mut().for_each(|member| member.say_and_hear("hola"));
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

/// A storm that does not stop for the signal.
#[test]
fn a_signal_in_a_storm_of_connects() {
    let server = Server::start(&["chat"]);
    let address = server.address;
    let (is_over, came) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (status, log) = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    if let Ok(stream) = std::net::TcpStream::connect(address) {
                        let _ = (&stream).write_all(b"hola\n");
                        came.fetch_add(1, Ordering::Release);
                    }
                }
            });
        }
        wait_until("the storm is on", || came.load(Ordering::Acquire) >= 100);
        server.signal("TERM");
        // It goes on through all the good-byes.
        let end = server.end();
        is_over.store(true, Ordering::Release);
        end
    });
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("panic"), "{log}");
}

/// All that had arrived before the signal is answered, however many turns that takes; then each hears its FIN.
#[test]
fn a_signal_finds_thousands_of_lines_unread_and_all_are_answered() {
    let server = Server::start(&["lines"]);
    let mut guests: Vec<Peer> = (0..scaled(6_000)).map(|_| Peer::connect(server.address)).collect();
    guests.iter_mut().for_each(|guest| guest.say_and_hear("I am in"));
    signal(server.pid(), "STOP");
    wait_until("it stops", || is_stopped(server.pid()));
    for (at, guest) in guests.iter().enumerate() {
        guest.send(format!("line {at}\n"));
    }
    signal(server.pid(), "TERM");
    signal(server.pid(), "CONT");
    for (at, mut guest) in guests.into_iter().enumerate() {
        assert_eq!(String::from_utf8_lossy(&guest.rest()), format!("line {at}\n"));
    }
    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
}
