//! `bucle serve chat --cluster`: nodes as processes, over a real Redis. They are one chat, also after faults of nodes
//! and of Redis.

#![cfg(all(feature = "cli", target_os = "linux"))]

mod bad_input;
mod ledger;
mod losses;
mod member;
mod nicks;
mod options;
mod proxy;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod rooms;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/vitals.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod vitals;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use member::{Door, Member};
use proxy::Proxy;
use redis_server::RedisServer;
use server::{LIMIT, Server};

/// Starts nodes of a cluster. Each has all doors.
fn nodes(redis_port: u16, count: usize) -> Vec<Server> {
    (0..count).map(|_| node(redis_port)).collect()
}

fn node(redis_port: u16) -> Server {
    node_with(redis_port, &[])
}

fn node_with(redis_port: u16, options: &[&str]) -> Server {
    let redis = format!("redis://127.0.0.1:{redis_port}");
    Server::start(&[&["chat", "--http", "0", "--cluster", &redis], options].concat())
}

/// A node that never takes a member for too slow. On a busy machine a test reads late what comes in a burst.
fn patient_node(redis_port: u16) -> Server {
    node_with(redis_port, &["--outbox-limit", "32M"])
}

/// A member on each node, by telnet, with these nicks. All of them know all others, and have no unread lines.
fn members<const N: usize>(nodes: &[Server], nicks: [&str; N]) -> [Member; N] {
    let mut members = nicks.map(|_| None);
    for ((node, nick), member) in nodes.iter().zip(nicks).zip(&mut members) {
        let member: &mut Option<Member> = member;
        member.insert(Member::enter(node, Door::Telnet)).rename(nick);
    }
    let mut members = members.map(|member| member.expect("a node for each nick"));
    for member in &mut members {
        member.wait_for_members(&nicks);
        member.lines_so_far();
    }
    members
}

/// The answer of Redis to a command in one line.
fn ask_redis(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer");
    line.trim_end().to_owned()
}

/// Publishes messages on the channel of the cluster.
fn publish(port: u16, messages: impl IntoIterator<Item = Vec<u8>>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    let mut count = 0;
    for message in messages {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n$12\r\nbucle:chat:0\r\n${}\r\n", message.len());
        stream.write_all(&[head.as_bytes(), &message, b"\r\n"].concat()).expect("it reads");
        count += 1;
    }
    let mut replies = BufReader::new(stream).take(1 << 20);
    for _ in 0..count {
        let mut line = String::new();
        replies.read_line(&mut line).expect("an answer");
        assert!(line.starts_with(':'), "{line}");
    }
}

/// Waits until something is true.
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_true() {
        assert!(begin.elapsed() < LIMIT, "this has not come: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
