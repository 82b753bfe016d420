//! Redis, a node or the way between them is lost, stands still or is slow.

use std::sync::mpsc;
use std::thread;

use super::member::{ALONE, TOGETHER};
use super::vitals::MIB;
use super::*;

#[test]
fn without_redis_the_nodes_go_on_alone_and_are_one_chat_again_when_it_is_back() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    for round in 1..=2 {
        redis.kill();
        for (member, nick) in [(&mut ana, "ana"), (&mut bo, "bo")] {
            member.until(ALONE);
            member.wait_for_members(&[nick]);
        }
        ana.say("alone");
        ana.until("ana: alone");
        bo.say("/nick ana");
        bo.until("-- ana is taken; try another nick");
        let mut late = Member::enter(&nodes[1], Door::Web);
        assert_eq!(late.line(), ALONE, "a member who comes now is told, too");
        drop(late);
        redis.restart();
        let begin = Instant::now();
        ana.until(TOGETHER);
        ana.wait_for_members(&["ana", "bo"]);
        eprintln!("round {round}: one chat again {:?} after the return of Redis", begin.elapsed());
        bo.wait_for_members(&["ana", "bo"]);
        bo.say("again");
        let lines = ana.until("bo: again");
        assert!(lines.iter().all(|line| line != ALONE && line != TOGETHER), "it is said once: {lines:?}");
        ana.say("and again");
        let lines = bo.until("ana: and again");
        assert!(!lines.contains(&"ana: alone".to_owned()), "what was said alone is not sent later: {lines:?}");
        assert_eq!(bo.lines_so_far(), [""; 0], "nothing comes twice");
    }
    for node in &nodes {
        wait_until("the log has the second loss", || node.log().matches("cannot be used").count() >= 2);
        let log = node.log();
        assert_eq!(log.matches("cannot be used").count(), 2, "one line for each loss: {log}");
    }
}

#[test]
fn nodes_that_start_without_redis_find_each_other_when_it_comes() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    redis.kill();
    let nodes = nodes(redis.port(), 2);
    let mut ana = Member::enter(&nodes[0], Door::Telnet);
    let mut bo = Member::enter(&nodes[1], Door::Telnet);
    ana.until(ALONE);
    ana.rename("ana");
    bo.rename("bo");
    redis.restart();
    ana.until(TOGETHER);
    ana.wait_for_members(&["ana", "bo"]);
    bo.say("/nick ana");
    bo.until("-- ana is taken; try another nick");
}

#[test]
fn a_redis_that_hangs_is_away_and_comes_back() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    redis.signal("STOP");
    // Until the nodes notice it, lines are on their way. They arrive later or never, and not twice.
    let mut said = 0;
    wait_until("the node notices it", || {
        said += 1;
        ana.say(&format!("number {said}"));
        ana.until(&format!("ana: number {said}")).contains(&ALONE.to_owned())
    });
    bo.until(ALONE);
    redis.signal("CONT");
    for member in [&mut ana, &mut bo] {
        member.until(TOGETHER);
        member.wait_for_members(&["ana", "bo"]);
    }
    ana.say("end");
    let numbers: Vec<u32> =
        bo.until("ana: end").iter().filter_map(|line| line.strip_prefix("ana: number ")?.parse().ok()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn a_node_that_cannot_reach_redis_is_alone_and_the_others_are_not() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let proxy = Proxy::start(redis.port());
    let nodes = [node(proxy.port), node(redis.port()), node(redis.port())];
    let [mut ana, mut bo, mut eva] = members(&nodes, ["ana", "bo", "eva"]);
    for attempt in ["cut", "stopped"] {
        match attempt {
            "cut" => proxy.cut(),
            _ => proxy.stop(true),
        }
        ana.until(ALONE);
        bo.say("are you there?");
        eva.until("bo: are you there?");
        ana.say("no");
        ana.until("ana: no");
        proxy.mend();
        proxy.stop(false);
        ana.until(TOGETHER);
        for member in [&mut ana, &mut bo, &mut eva] {
            member.wait_for_members(&["ana", "bo", "eva"]);
        }
        ana.say("now");
        for member in [&mut bo, &mut eva] {
            let lines = member.until("ana: now");
            assert!(!lines.iter().any(|line| line == ALONE || line == TOGETHER || line == "ana: no"), "{lines:?}");
        }
    }
}

#[test]
fn of_two_members_who_took_a_nick_without_redis_one_keeps_it() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    redis.kill();
    for member in [&mut ana, &mut bo] {
        member.until(ALONE);
        member.rename("eva");
    }
    redis.restart();
    for member in [&mut ana, &mut bo] {
        member.until(TOGETHER);
    }
    let told = "-- eva belongs to a member on another node, so you get another nick";
    let mut renamed = 0;
    wait_until("the two have different nicks", || {
        let lists = [&mut ana, &mut bo].map(|member| {
            member.say("/who");
            let mut answer = String::new();
            while !answer.starts_with("-- in lobby: ") {
                renamed += usize::from(answer == told);
                answer = member.line();
            }
            let mut nicks: Vec<String> = answer["-- in lobby: ".len()..].split(", ").map(str::to_owned).collect();
            nicks.sort();
            nicks
        });
        lists[0] == lists[1] && lists[0].len() == 2 && lists[0][0] == "eva" && lists[0][1].starts_with("guest")
    });
    assert_eq!(renamed, 1, "one of them is told");
}

#[test]
fn a_node_that_is_killed_disappears_after_its_lease() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let mut nodes = nodes(redis.port(), 2);
    let [_ana, mut bo] = members(&nodes, ["ana", "bo"]);
    let node = nodes.remove(0);
    node.signal("KILL");
    assert_eq!(node.end().0, None);
    bo.say("/nick ana");
    bo.until("-- ana is taken; try another nick");
    bo.until("-- gone with another node: ana");
    bo.wait_for_members(&["bo"]);
    wait_until("the nick is free", || {
        bo.say("/nick ana");
        bo.line() == "-- bo is now called ana"
    });
}

#[test]
fn a_node_that_hangs_is_gone_and_comes_back() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    nodes[0].signal("STOP");
    bo.until("-- gone with another node: ana");
    nodes[0].signal("CONT");
    for member in [&mut ana, &mut bo] {
        member.wait_for_members(&["ana", "bo"]);
    }
    ana.say("back");
    bo.until("ana: back");
    let lines = ana.lines_so_far();
    assert!(
        !lines.iter().any(|line| line.starts_with("-- gone with")),
        "it does not take the others for gone: {lines:?}"
    );
}

#[test]
fn a_slow_redis_slows_down_members_who_send_much_and_no_line_is_lost() {
    for door in [Door::Telnet, Door::Web] {
        // On a busy machine Redis may be silent for so long that a node takes it for lost, and lines with it.
        let outcome = (0..5).map(|_| send_much(door)).find(|outcome| *outcome != Outcome::RedisLost);
        match outcome {
            Some(Outcome::Skipped) => return,
            outcome => assert_eq!(outcome, Some(Outcome::Complete), "Redis is lost each time"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Complete,
    /// A node has lost Redis.
    RedisLost,
    /// There is no Redis.
    Skipped,
}

/// A member sends 20 MB through a way that takes 4 MB a second.
fn send_much(door: Door) -> Outcome {
    const LINES: usize = 20_000;
    let Some(redis) = RedisServer::start(&[]) else { return Outcome::Skipped };
    let proxy = Proxy::start(redis.port());
    let nodes = [node(proxy.port), patient_node(redis.port())];
    let [ana, mut bo] = members(&nodes, ["ana", "bo"]);
    let mut leo = Member::enter(&nodes[0], door);
    leo.rename("leo");
    bo.wait_for_members(&["ana", "bo", "leo"]);
    proxy.slow_down(40_000);
    let before = nodes[0].vitals().memory();
    let readers = [ana, bo].map(|mut member| {
        thread::spawn(move || {
            let mut next = 0;
            while next < LINES {
                if let Some(line) = member.line().strip_prefix("leo: ") {
                    assert_eq!(line.split_once(' ').and_then(|(number, _)| number.parse().ok()), Some(next));
                    next += 1;
                }
            }
            member
        })
    });
    let padding = "x".repeat(1000);
    for number in 0..LINES {
        leo.say(&format!("{number} {padding}"));
    }
    let grown = nodes[0].vitals().memory().saturating_sub(before);
    assert!(grown < 4 * MIB, "it has grown by {grown} KiB");
    let readers = readers.map(thread::JoinHandle::join);
    let has_lost_redis = || nodes.iter().any(|node| node.log().contains("cannot be used"));
    if has_lost_redis() {
        return Outcome::RedisLost;
    }
    let [mut ana, mut bo] = readers.map(|reader| reader.expect("no reader has failed"));
    proxy.slow_down(0);
    for member in [&mut ana, &mut bo] {
        let lines = member.lines_so_far();
        assert!(lines.iter().all(|line| !line.starts_with("leo: ") && line != ALONE), "{lines:?}");
    }
    leo.say("/quit");
    bo.until("-- leo has left");
    drop([leo, ana]);
    bo.wait_for_members(&["bo"]);
    if has_lost_redis() {
        return Outcome::RedisLost;
    }
    for node in &nodes {
        assert!(!node.log().contains("WARN"), "{}", node.log());
    }
    Outcome::Complete
}

/// The events of a client of Socket.IO come, also when they are too many. 20 MB of them, and a way that takes 2 MB a
/// second.
#[test]
fn a_slow_redis_costs_lines_of_socket_io_but_neither_memory_nor_order() {
    const LINES: usize = 20_000;
    let Some(redis) = RedisServer::start(&[]) else { return };
    let proxy = Proxy::start(redis.port());
    let nodes = [node(proxy.port), patient_node(redis.port())];
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    let mut leo = Member::enter(&nodes[0], Door::SocketIo);
    leo.rename("leo");
    bo.wait_for_members(&["ana", "bo", "leo"]);
    let before = nodes[0].vitals().memory();
    proxy.slow_down(20_000);
    let padding = "x".repeat(1000);
    // The sender stops when the node has not yet handled so many lines. Its pong waits behind them, and must not be late.
    const AHEAD: usize = 500;
    let (read, has_read) = mpsc::sync_channel(AHEAD);
    (0..AHEAD).for_each(|_| read.send(()).expect("it has room"));
    let reader = thread::spawn(move || {
        let mut last = None;
        loop {
            let line = ana.line();
            if line == "leo: end" {
                return ana;
            }
            let number = line.strip_prefix("leo: ").and_then(|line| line.split_once(' ')?.0.parse::<usize>().ok());
            if let Some(number) = number {
                assert_eq!(number, last.map_or(0, |last| last + 1), "the own node gets everything");
                last = Some(number);
                let _ = read.try_send(());
            }
        }
    });
    for number in 0..LINES {
        has_read.recv_timeout(LIMIT).expect("the reader goes on");
        leo.say(&format!("{number} {padding}"));
    }
    leo.say("end");
    let mut ana = reader.join().expect("the reader goes on");
    let grown = nodes[0].vitals().memory().saturating_sub(before);
    assert!(grown < 48 * MIB, "it has grown by {grown} KiB");
    proxy.slow_down(0);
    ana.rename_at_last("eva");
    bo.wait_for_members(&["eva", "bo", "leo"]);
    // A line that is said now arrives: perhaps not the first one, if Redis was away.
    let mut received = Vec::new();
    let mut attempt = 0;
    wait_until("lines go through again", || {
        attempt += 1;
        leo.say(&format!("attempt {attempt}"));
        bo.say("/nick");
        received.extend(bo.until("-- /nick NAME        change your name to NAME"));
        received.iter().any(|line| line.starts_with("leo: attempt"))
    });
    let numbers: Vec<usize> =
        received.iter().filter_map(|line| line.strip_prefix("leo: ")?.split_once(" x")?.0.parse().ok()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "once, and in their order");
    assert!(!nodes[1].log().contains("WARN"), "{}", nodes[1].log());
}
