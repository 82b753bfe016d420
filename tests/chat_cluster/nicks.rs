//! A nick has one owner in the cluster, and a key with a lease in Redis.

use super::*;

fn key(port: u16, nick: &str) -> String {
    ask_redis(port, &format!("EXISTS bucle:chat:0:nick:{nick}"))
}

#[test]
fn a_nick_is_taken_in_the_whole_cluster_until_it_is_given_back() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["Ana", "bo"]);
    bo.say("/nick aNA");
    bo.until("-- aNA is taken; try another nick");
    ana.rename("ANA");
    ana.rename("eva");
    bo.until("-- ANA is now called eva");
    bo.rename("ana");
    ana.say("/nick ana");
    ana.until("-- ana is taken; try another nick");
    // It leaves, and takes its key with it.
    bo.say("/quit");
    assert!(bo.ends());
    wait_until("the key is deleted", || key(redis.port(), "ana") == ":0");
    ana.rename("ana");
    // So does one whose connection is lost.
    drop(ana);
    wait_until("the key is deleted", || key(redis.port(), "ana") == ":0");
}

#[test]
fn the_key_of_a_nick_has_a_lease_that_is_renewed() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 1);
    let [_ana] = members(&nodes, ["ana"]);
    let lease = || {
        let answer = ask_redis(redis.port(), "PTTL bucle:chat:0:nick:ana");
        answer.strip_prefix(':').and_then(|time| time.parse::<i64>().ok()).expect("a number")
    };
    // It becomes shorter, and longer again. On a busy machine a node may be too late to renew it. Then the key is gone
    // (-2) and set again, which is no renewal.
    const LONG: i64 = 1_000_000;
    let mut before = LONG;
    wait_until("the lease is renewed", || {
        let now = lease();
        assert!(now == -2 || (1..=10_000).contains(&now), "{now}");
        std::mem::replace(&mut before, if now == -2 { LONG } else { now }) + 1000 < now
    });
}

#[test]
fn only_the_owner_deletes_or_renews_a_key() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 1);
    let [mut ana] = members(&nodes, ["ana"]);
    // Another node has got the key: it was lost in between.
    assert_eq!(ask_redis(redis.port(), "SET bucle:chat:0:nick:ana another PX 60000"), "+OK");
    let lines = ana.until("-- ana belongs to a member on another node, so you get another nick");
    assert_eq!(lines, [""; 0]);
    assert!(ana.line().starts_with("-- ana is now called guest"));
    assert_eq!(key(redis.port(), "ana"), ":1");
    ana.say("/nick ana");
    ana.until("-- ana is taken; try another nick");
}

#[test]
fn what_is_typed_behind_a_nick_is_said_under_it() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut leo, mut bo] = members(&nodes, ["leo", "bo"]);
    leo.say("/nick ana\r\none\r\n/join rust\r\ntwo\r\n/join lobby\r\n/nick eva\r\nthree\r\n/quit");
    bo.until("-- leo is now called ana");
    let want = [
        "ana: one",
        "-- ana has gone to rust",
        "-- ana has joined lobby",
        "-- ana is now called eva",
        "eva: three",
        "-- eva has left",
    ];
    for line in want {
        assert_eq!(bo.line(), line);
    }
    assert!(leo.ends());
}

#[test]
fn a_member_who_leaves_with_its_nick_not_confirmed_loses_no_line() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let proxy = Proxy::start(redis.port());
    let nodes = [node(proxy.port)];
    let mut bo = Member::enter(&nodes[0], Door::Telnet);
    let mut ana = Member::enter(&nodes[0], Door::Telnet);
    let guest = ana.nick.clone();
    bo.until(&format!("-- {guest} has joined"));
    wait_until("the node is in the cluster", || key(redis.port(), &guest) == ":1");
    proxy.stop(true);
    ana.say("/nick ana\r\none\r\ntwo");
    ana.finish();
    for line in [format!("{guest}: one"), format!("{guest}: two"), format!("-- {guest} has left")] {
        assert_eq!(bo.line(), line);
    }
    proxy.stop(false);
}
