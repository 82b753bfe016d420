//! Faults in connecting: thousands of connections, most of them closed at the worst moments.

use std::net::Shutdown;
use std::thread;

use super::harness::{Harness, faults, scaled};
use super::peer::{Peer, reset};
use super::server::signal;

faults! {
    connections_closed_immediately on "relay" within 8 MiB;
    connections_reset_before_they_are_accepted on "chat" within 8 MiB;
    a_fin_before_the_greeting on "chat" within 4 MiB;
    thousands_of_silent_connections on "relay" within 16 MiB;
    a_thousand_members_of_a_chat on "chat" within 16 MiB;
}

/// How many threads connect at the same time.
const THREADS: usize = 4;

/// How many connections wait in the backlog while the server does not accept: the limit is 511, Node's default.
const BACKLOG: usize = 500;

fn connections_closed_immediately(harness: &Harness) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..scaled(10_000) / THREADS {
                    drop(harness.stream());
                }
            });
        }
    });
}

/// The server is stopped while the peers connect and reset: after that, all connections in its backlog have failed.
fn connections_reset_before_they_are_accepted(harness: &Harness) {
    for _ in 0..4 {
        signal(harness.server.pid(), "STOP");
        let peers: Vec<_> = (0..BACKLOG / 4).map(|_| harness.stream()).collect();
        peers.into_iter().for_each(reset);
        signal(harness.server.pid(), "CONT");
        harness.healthy.wait_for_lines(1);
    }
}

/// A peer that has sent its FIN may still read: it must receive the greeting, then the FIN.
fn a_fin_before_the_greeting(harness: &Harness) {
    signal(harness.server.pid(), "STOP");
    let mut peers: Vec<Peer> = (0..BACKLOG / 4).map(|_| harness.peer()).collect();
    peers.iter().for_each(Peer::send_fin);
    signal(harness.server.pid(), "CONT");
    for peer in &mut peers {
        let received = peer.read_to_end();
        if harness.is_chat() {
            assert!(received.starts_with("¡Bienvenido".as_bytes()), "{:?}", String::from_utf8_lossy(&received));
        }
    }
}

/// A chat notifies every member of each new one, so a chat gets only a tenth of the connections.
fn thousands_of_silent_connections(harness: &Harness) {
    let idle: Vec<_> = (0..scaled(if harness.is_chat() { 1_000 } else { 10_000 })).map(|_| harness.stream()).collect();
    harness.healthy.wait_for_lines(50);
    for stream in &idle {
        stream.shutdown(Shutdown::Both).expect("it is open");
    }
}

/// Every member is notified of every other member that comes or leaves.
fn a_thousand_members_of_a_chat(harness: &Harness) {
    let mut members: Vec<Peer> = (0..scaled(1_000)).map(|_| harness.peer()).collect();
    let (first, last) = (0, members.len() - 1);
    members[last].send_and_wait("I am the last one");
    members[first].wait_for_line("I am the last one");
    members[first].send_and_wait("and I am the first one");
    members[last].wait_for_line("and I am the first one");
    harness.healthy.wait_for_lines(10);
}
