//! Leaving: in every way TCP has, at every moment, one by one and all at once.

use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::thread;

use super::peer::{Peer, reset, said};
use super::server::signal;
use super::siege::{Siege, faults, scaled};
use super::talk::Listener;

faults! {
    resets_after_the_greeting on "chat" within 4 MiB;
    resets_in_the_middle_of_a_line on "relay" within 4 MiB;
    resets_with_answers_queued on "relay" within 8 MiB;
    a_fin_in_the_middle_of_a_line on "chat" within 4 MiB;
    a_half_close_by_who_still_listens on "chat" within 4 MiB;
    a_half_close_by_who_still_talks on "relay" within 8 MiB;
    a_process_that_is_stopped_and_killed on "chat" within 8 MiB;
    a_storm_of_disconnects_in_a_broadcast on "relay" within 80 MiB;
    thousands_who_come_and_leave_in_four_ways on "relay" within 8 MiB;
}

/// How many do the same at the same time.
const MANY: usize = 100;

fn resets_after_the_greeting(siege: &Siege) {
    for _ in 0..3 {
        let members: Vec<Peer> = (0..MANY).map(|_| siege.member()).collect();
        members.into_iter().for_each(Peer::reset);
    }
}

/// What was not ended by a line break nor by a FIN was not said.
fn resets_in_the_middle_of_a_line(siege: &Siege) {
    for _ in 0..3 {
        let members: Vec<Peer> = (0..MANY).map(|_| siege.member()).collect();
        members.iter().for_each(|member| member.send("never said to the en"));
        members.into_iter().for_each(Peer::reset);
    }
}

/// They talk and do not listen, until the server has stopped reading; then they are gone, with all that waits for them.
fn resets_with_answers_queued(siege: &Siege) {
    let line = format!("{}\n", "x".repeat(999));
    let talk = line.repeat(scaled(1_000));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let member = siege.stuck_member();
                member.send_until_stuck(talk.as_bytes(), std::time::Duration::from_millis(300));
                member.reset();
            });
        }
    });
}

/// `printf hola | nc`: the line lacks its break, and is one.
fn a_fin_in_the_middle_of_a_line(siege: &Siege) {
    let mut listener = siege.member();
    for at in 0..MANY {
        let mut member = siege.member();
        let text = format!("last words {at}");
        member.send(&text);
        member.finish();
        listener.hear(&text);
        member.rest();
    }
}

/// What was asked before the FIN is answered after it.
fn a_half_close_by_who_still_listens(siege: &Siege) {
    for at in 0..20 {
        let mut member = siege.member();
        let lines: Vec<String> = (0..100).map(|line| format!("half {at} {line}")).collect();
        member.send(lines.join("\r\n") + "\r\n");
        member.finish();
        let heard = member.rest();
        let heard = heard.split(|&byte| byte == b'\n').map(|line| said(line.strip_suffix(b"\r").unwrap_or(line)));
        let own: Vec<_> = heard.filter(|line| line.starts_with(b"half ")).map(String::from_utf8_lossy).collect();
        assert_eq!(own, lines);
    }
}

/// Our side cannot know that nobody listens until it is told so by a reset.
fn a_half_close_by_who_still_talks(siege: &Siege) {
    let mut listener = siege.member();
    for at in 0..20 {
        let member = siege.member();
        member.stream().shutdown(Shutdown::Read).expect("it is open");
        for line in 0..100 {
            member.send(format!("deaf {at} {line}\n"));
        }
        listener.hear(&format!("deaf {at} 99"));
    }
}

/// A client that hangs, then one that crashes: the first is silent, the second leaves as its kernel closes for it.
fn a_process_that_is_stopped_and_killed(siege: &Siege) {
    let mut members: Vec<_> = (0..4)
        .map(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
            command.args(["connect", &siege.server.address.to_string()]);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("the program starts")
        })
        .collect();
    let mut listener = siege.member();
    for member in &mut members {
        use std::io::Write;
        let mut stdin = member.stdin.as_ref().expect("it is piped");
        stdin.write_all(b"I am here\n").expect("it reads");
        listener.hear("I am here");
        signal(member.id(), "STOP");
    }
    siege.talk(scaled(1024 * 1024), &[]);
    for member in &mut members {
        member.kill().expect("it is our child");
        member.wait().expect("it is our child");
    }
    listener.reset();
}

/// Half of the members leave while each line goes to all of them.
fn a_storm_of_disconnects_in_a_broadcast(siege: &Siege) {
    let listener = Listener::of(siege.server.address, siege.is_chat());
    for round in 0..3 {
        let members: Vec<Peer> = (0..2 * MANY).map(|_| siege.visitor()).collect();
        members.last().expect("there are some").send("all of us are in\n");
        thread::scope(|scope| {
            scope.spawn(|| siege.talk(256 * 1024, &[&listener]));
            scope.spawn(move || {
                for (at, member) in members.into_iter().enumerate() {
                    if (at + round) % 2 == 0 { member.reset() } else { drop(member) }
                }
            });
        });
    }
    listener.end();
}

fn thousands_who_come_and_leave_in_four_ways(siege: &Siege) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for at in 0..scaled(10_000) / 4 {
                    let visitor = siege.visitor();
                    match at % 4 {
                        0 => reset(siege.bare()),
                        // A polite one: says a line, its FIN, and hears everything to the end.
                        1 => leave_politely(visitor),
                        // A FIN while it is being answered.
                        2 => visitor.send("gone before the answer\n"),
                        // Closes with something unread: its kernel resets.
                        _ => {
                            let mut visitor = visitor;
                            visitor.send("gone while answered\n");
                            visitor.line();
                        }
                    }
                }
            });
        }
    });
}

fn leave_politely(mut visitor: Peer) {
    visitor.send("good-bye");
    visitor.finish();
    visitor.rest();
}
