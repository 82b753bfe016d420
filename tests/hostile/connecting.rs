//! Coming in: by the thousand, only to leave, or before the server has had a chance to look.

use std::net::Shutdown;
use std::thread;

use super::peer::{Peer, reset};
use super::server::signal;
use super::siege::{Siege, faults, scaled};

faults! {
    connections_that_close_at_once on "relay" within 8 MiB;
    connections_reset_before_they_are_accepted on "chat" within 8 MiB;
    a_fin_before_the_greeting on "chat" within 4 MiB;
    thousands_who_say_nothing on "relay" within 16 MiB;
    a_crowd_in_the_lobby on "chat" within 16 MiB;
}

/// How many connect at the same time.
const STORMERS: usize = 4;

/// How many fit into the backlog while nobody accepts: 511, Node's default, and one.
const BACKLOG: usize = 500;

fn connections_that_close_at_once(siege: &Siege) {
    thread::scope(|scope| {
        for _ in 0..STORMERS {
            scope.spawn(|| {
                for _ in 0..scaled(10_000) / STORMERS {
                    drop(siege.bare());
                }
            });
        }
    });
}

/// The server sleeps while they come and go: when it wakes up, all it can accept are connections that failed.
fn connections_reset_before_they_are_accepted(siege: &Siege) {
    for _ in 0..4 {
        signal(siege.server.pid(), "STOP");
        let visitors: Vec<_> = (0..BACKLOG / 4).map(|_| siege.bare()).collect();
        visitors.into_iter().for_each(reset);
        signal(siege.server.pid(), "CONT");
        siege.witness.wait_for_lines(1);
    }
}

/// Who has said all it will say may hear all the same: the greeting, then the FIN.
fn a_fin_before_the_greeting(siege: &Siege) {
    signal(siege.server.pid(), "STOP");
    let mut visitors: Vec<Peer> = (0..BACKLOG / 4).map(|_| siege.visitor()).collect();
    visitors.iter().for_each(Peer::finish);
    signal(siege.server.pid(), "CONT");
    for visitor in &mut visitors {
        let heard = visitor.rest();
        if siege.is_chat() {
            assert!(heard.starts_with("¡Bienvenido".as_bytes()), "{:?}", String::from_utf8_lossy(&heard));
        }
    }
}

/// A chat tells each of them of each who comes after it: there a tenth is a crowd.
fn thousands_who_say_nothing(siege: &Siege) {
    let idle: Vec<_> = (0..scaled(if siege.is_chat() { 1_000 } else { 10_000 })).map(|_| siege.bare()).collect();
    siege.witness.wait_for_lines(50);
    for stream in &idle {
        stream.shutdown(Shutdown::Both).expect("it is open");
    }
}

/// Everybody hears of everybody who comes and who goes.
fn a_crowd_in_the_lobby(siege: &Siege) {
    let mut crowd: Vec<Peer> = (0..scaled(1_000)).map(|_| siege.visitor()).collect();
    let (first, last) = (0, crowd.len() - 1);
    crowd[last].say_and_hear("I am the last");
    crowd[first].hear("I am the last");
    crowd[first].say_and_hear("and I the first");
    crowd[last].hear("and I the first");
    siege.witness.wait_for_lines(10);
}
