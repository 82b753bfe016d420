//! The option `--cluster`: what it takes, and that a password stays secret.

use std::process::{Command, Output, Stdio};

use super::*;

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bucle"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null()).output().expect("the program starts")
}

#[test]
fn only_the_chat_has_a_cluster() {
    for kind in ["echo", "lines", "relay", "tutorial", "discard"] {
        let output = run(&["serve", kind, "--cluster", "redis://:s3cret@localhost"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("only the chat can be a node of a cluster, not {kind}")), "{stderr}");
        assert!(stderr.contains("try:  bucle serve chat --cluster redis://localhost"), "{stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
}

#[test]
fn a_malformed_url_is_explained_without_its_password() {
    let table = [
        ("localhost:6379", "must begin with redis://"),
        ("rediss://:s3cret@localhost", "there is no TLS"),
        ("redis://:s3cret@", "has no host"),
        ("redis://:s3cret@localhost:0", "the port in the URL"),
        ("redis://:s3cret@localhost/x", "the number of a database"),
        ("redis://:s3cret%zz@localhost", "a wrong %-escape"),
    ];
    for (url, why) in table {
        let output = run(&["serve", "chat", "--cluster", url]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{url}: {stderr}");
        assert!(stderr.contains(why) && stderr.contains("try:  bucle serve chat --cluster"), "{url}: {stderr}");
        assert!(!stderr.contains("s3cret"), "{url}: {stderr}");
    }
}

#[test]
fn a_password_is_used_and_never_logged() {
    let Some(redis) = RedisServer::start(&["--requirepass", "s3cret"]) else { return };
    let start = |password: &str| {
        let url = format!("redis://:{password}@127.0.0.1:{}", redis.port());
        Server::start(&["chat", "-vvv", "--cluster", &url])
    };
    let nodes = [start("s3cret"), start("s3cret")];
    members(&nodes, ["ana", "bo"]);
    let wrong = start("wr0ng");
    wait_until("the log says why", || wrong.log().contains("Redis does not accept the user and the password"));
    let mut alone = Member::enter(&wrong, Door::Telnet);
    alone.say("hola");
    alone.until(&format!("{}: hola", alone.nick.clone()));
    for node in nodes.iter().chain([&wrong]) {
        assert!(!node.log().contains("s3cret") && !node.log().contains("wr0ng"), "{}", node.log());
    }
}

#[test]
fn messages_that_redis_refuses_do_not_fill_the_log() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    assert_eq!(ask_redis(redis.port(), "ACL SETUSER default -publish"), "+OK");
    let nodes = nodes(redis.port(), 1);
    let mut ana = Member::enter(&nodes[0], Door::Telnet);
    wait_until("Redis refuses messages", || {
        nodes[0].log().contains("Redis refuses a message, number 1 so far: NOPERM")
    });
    for number in 1..=500 {
        ana.say(&format!("number {number}"));
    }
    wait_until("the log tells of many", || nodes[0].log().contains("number 256 so far"));
    // The nick is taken behind all of them.
    ana.rename("ana");
    let log = nodes[0].log();
    assert!(log.matches("refuses a message").count() < 12, "{log}");
}

/// The rights that docs/cluster.md names.
#[test]
fn a_user_of_redis_needs_few_rights() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let docs = include_str!("../../docs/cluster.md");
    let command = docs.lines().find(|line| line.starts_with("ACL SETUSER chat ")).expect("the documentation has it");
    assert_eq!(ask_redis(redis.port(), command), "+OK");
    assert_eq!(ask_redis(redis.port(), "ACL SETUSER default off"), "+OK");
    let url = format!("redis://chat:PASSWORD@127.0.0.1:{}/1", redis.port());
    let nodes = [(); 2].map(|()| Server::start(&["chat", "--cluster", &url]));
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    bo.say("/nick ana");
    bo.until("-- ana is taken; try another nick");
    ana.rename("eva");
    bo.until("-- ana is now called eva");
    bo.rename("ana");
    for node in &nodes {
        assert!(!node.log().contains("WARN"), "{}", node.log());
    }
}
