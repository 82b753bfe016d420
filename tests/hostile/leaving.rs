//! Faults in closing: every way in which TCP closes a connection, at every moment, one at a time and many at once.

use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::thread;

use super::harness::{Harness, faults, scaled};
use super::peer::{Peer, reset, without_nick};
use super::server::signal;
use super::talk::Listener;

faults! {
    resets_after_the_greeting on "chat" within 4 MiB;
    resets_in_the_middle_of_a_line on "relay" within 4 MiB;
    resets_with_answers_queued on "relay" within 8 MiB;
    a_fin_in_the_middle_of_a_line on "chat" within 4 MiB;
    a_half_close_by_a_peer_that_still_reads on "chat" within 4 MiB;
    a_half_close_by_a_peer_that_still_writes on "relay" within 8 MiB;
    a_process_that_is_stopped_and_killed on "chat" within 8 MiB;
    a_storm_of_disconnects_in_a_broadcast on "relay" within 80 MiB;
    thousands_of_connections_closed_in_four_ways on "relay" within 8 MiB;
}

/// How many peers do the same at the same time.
const MANY: usize = 100;

fn resets_after_the_greeting(harness: &Harness) {
    for _ in 0..3 {
        let members: Vec<Peer> = (0..MANY).map(|_| harness.member()).collect();
        members.into_iter().for_each(Peer::reset);
    }
}

/// Text without a line break or a FIN behind it is not a line: other members must not receive it.
fn resets_in_the_middle_of_a_line(harness: &Harness) {
    for _ in 0..3 {
        let members: Vec<Peer> = (0..MANY).map(|_| harness.member()).collect();
        members.iter().for_each(|member| member.send("never sent to the en"));
        members.into_iter().for_each(Peer::reset);
    }
}

/// The peers write and do not read until the server stops reading. Then they reset, while bytes are queued for them.
fn resets_with_answers_queued(harness: &Harness) {
    let line = format!("{}\n", "x".repeat(999));
    let talk = line.repeat(scaled(1_000));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let member = harness.stuck_member();
                member.send_until_stuck(talk.as_bytes(), std::time::Duration::from_millis(300));
                member.reset();
            });
        }
    });
}

/// As from `printf hola | nc`: the last line has no line break, and is a line all the same.
fn a_fin_in_the_middle_of_a_line(harness: &Harness) {
    let mut listener = harness.member();
    for at in 0..MANY {
        let mut member = harness.member();
        let text = format!("last words {at}");
        member.send(&text);
        member.send_fin();
        listener.wait_for_line(&text);
        member.read_to_end();
    }
}

/// Lines before the FIN are answered after it.
fn a_half_close_by_a_peer_that_still_reads(harness: &Harness) {
    for at in 0..20 {
        let mut member = harness.member();
        let lines: Vec<String> = (0..100).map(|line| format!("half {at} {line}")).collect();
        member.send(lines.join("\r\n") + "\r\n");
        member.send_fin();
        let received = member.read_to_end();
        let received =
            received.split(|&byte| byte == b'\n').map(|line| without_nick(line.strip_suffix(b"\r").unwrap_or(line)));
        let own: Vec<_> = received.filter(|line| line.starts_with(b"half ")).map(String::from_utf8_lossy).collect();
        assert_eq!(own, lines);
    }
}

/// The server cannot know that the peer does not read until it gets an RST.
fn a_half_close_by_a_peer_that_still_writes(harness: &Harness) {
    let mut listener = harness.member();
    for at in 0..20 {
        let member = harness.member();
        member.stream().shutdown(Shutdown::Read).expect("it is open");
        for line in 0..100 {
            member.send(format!("deaf {at} {line}\n"));
        }
        listener.wait_for_line(&format!("deaf {at} 99"));
    }
}

/// Clients that are stopped and then killed. A stopped client does not read; the kernel of a killed client closes its
/// sockets.
fn a_process_that_is_stopped_and_killed(harness: &Harness) {
    let mut members: Vec<_> = (0..4)
        .map(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
            command.args(["connect", &harness.server.address.to_string()]);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("the program starts")
        })
        .collect();
    let mut listener = harness.member();
    for member in &mut members {
        use std::io::Write;
        let mut stdin = member.stdin.as_ref().expect("it is piped");
        stdin.write_all(b"I am here\n").expect("it reads");
        listener.wait_for_line("I am here");
        signal(member.id(), "STOP");
    }
    harness.talk(scaled(1024 * 1024), &[]);
    for member in &mut members {
        member.kill().expect("it is our child");
        member.wait().expect("it is our child");
    }
    listener.reset();
}

/// Half of the members leave while each line goes to all members.
fn a_storm_of_disconnects_in_a_broadcast(harness: &Harness) {
    let listener = Listener::of(harness.server.address, harness.is_chat());
    for round in 0..3 {
        let members: Vec<Peer> = (0..2 * MANY).map(|_| harness.peer()).collect();
        members.last().expect("there are some").send("all of us are in\n");
        thread::scope(|scope| {
            scope.spawn(|| harness.talk(256 * 1024, &[&listener]));
            scope.spawn(move || {
                for (at, member) in members.into_iter().enumerate() {
                    if (at + round) % 2 == 0 { member.reset() } else { drop(member) }
                }
            });
        });
    }
    listener.end();
}

fn thousands_of_connections_closed_in_four_ways(harness: &Harness) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for at in 0..scaled(10_000) / 4 {
                    let peer = harness.peer();
                    match at % 4 {
                        0 => reset(harness.stream()),
                        // Well behaved: it sends a line and its FIN, and reads everything.
                        1 => leave_well_behaved(peer),
                        // It closes while it is answered.
                        2 => peer.send("closed before the answer\n"),
                        // It closes with unread bytes, so its kernel sends an RST.
                        _ => {
                            let mut peer = peer;
                            peer.send("closed while answered\n");
                            peer.line();
                        }
                    }
                }
            });
        }
    });
}

fn leave_well_behaved(mut peer: Peer) {
    peer.send("good-bye");
    peer.send_fin();
    peer.read_to_end();
}
