//! A cluster of two servers, one of this crate and one of Node with `@socket.io/redis-adapter`, and an emitter. The
//! clients are those of npm.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::peers;
use crate::redis_server::RedisServer;
use crate::root;

/// A server of the contract, ended with the test.
struct Node {
    child: Child,
    port: String,
}

impl Node {
    fn start(command: &mut Command, redis: &RedisServer, adapter: &str) -> Node {
        let url = format!("redis://127.0.0.1:{}", redis.port());
        command
            .env("PORT", "0")
            .env("REDIS_URL", url)
            .env("REDIS_ADAPTER", adapter)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let port = line.trim_end().strip_prefix("listening on 127.0.0.1:").expect("it listens").to_owned();
        // Nothing that it prints later fills the pipe.
        thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(drop));
        Node { child, port }
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is a child of this process").is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example `socketio_contract`, which is built with the tests.
fn contract() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("it is target/PROFILE/deps/interop-…");
    profile.join("examples").join("socketio_contract")
}

/// The packages that the clusters need.
const PACKAGES: &[&str] = &[
    "@socket.io/redis-adapter",
    "@socket.io/redis-emitter",
    "@socket.io/redis-streams-adapter",
    "ioredis",
    "socket.io",
    "socket.io-client",
];

/// Runs clients of npm, which print a line for every check.
fn run_script(name: &str, arguments: &[&str], least_checks: usize) {
    let script = Command::new("node")
        .arg(root().join("tests/interop").join(name))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("node is there");
    let report = String::from_utf8_lossy(&script.stdout);
    assert!(script.status.success(), "{report}{}", String::from_utf8_lossy(&script.stderr));
    assert!(report.matches("ok ").count() >= least_checks, "it has checked everything: {report}");
}

/// Both servers as one cluster, before and after a restart of Redis.
fn check_cluster(adapter: &str, least_checks: usize) {
    if !peers::has_packages(PACKAGES) {
        return;
    }
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    let scripts = root().join("tests/interop");
    let mut ours = Node::start(&mut Command::new(contract()), &redis, adapter);
    let mut theirs = Node::start(Command::new("node").arg(scripts.join("socketio_contract.js")), &redis, adapter);
    for _ in 0..2 {
        let script = Command::new("node")
            .arg(scripts.join("redis_cluster.js"))
            .args([&ours.port, &theirs.port, &redis.port().to_string(), adapter])
            .stdin(Stdio::null())
            .output()
            .expect("node is there");
        let report = String::from_utf8_lossy(&script.stdout);
        assert!(script.status.success(), "{report}{}", String::from_utf8_lossy(&script.stderr));
        assert!(report.matches("ok ").count() >= least_checks, "it has checked everything: {report}");
        redis.restart();
    }
    assert!(ours.is_running() && theirs.is_running());
}

#[test]
fn servers_of_this_crate_and_of_node_are_one_cluster_also_after_redis_has_restarted() {
    check_cluster("classic", 35);
}

#[test]
fn servers_of_this_crate_and_of_node_are_one_cluster_over_sharded_channels() {
    check_cluster("sharded", 30);
}

#[test]
fn servers_of_this_crate_and_of_node_are_one_cluster_over_a_stream() {
    check_cluster("streams", 30);
}

#[test]
fn a_client_that_was_lost_at_a_server_of_this_crate_comes_back_at_one_of_node_and_the_other_way_round() {
    if !peers::has_packages(PACKAGES) {
        return;
    }
    let Some(redis) = RedisServer::start(&[]) else { return };
    let ours = Node::start(Command::new(contract()).env("RECOVERY", "1"), &redis, "streams");
    let script = root().join("tests/interop/socketio_contract.js");
    let theirs = Node::start(Command::new("node").arg(script).env("RECOVERY", "1"), &redis, "streams");
    run_script("redis_recovery.js", &[&ours.port, &theirs.port], 8);
}
