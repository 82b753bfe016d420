//! Rooms, lines and lists over all nodes and doors.

use std::collections::BTreeMap;
use std::thread;

use super::*;

#[test]
fn members_of_all_doors_on_all_nodes_are_in_the_same_rooms() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 3);
    let mut ana = Member::enter(&nodes[0], Door::Telnet);
    ana.rename("ana");
    let mut bo = Member::enter(&nodes[1], Door::Web);
    bo.rename("Bo");
    let mut eva = Member::enter(&nodes[2], Door::SocketIo);
    eva.rename("eva");
    for member in [&mut ana, &mut bo, &mut eva] {
        member.wait_for_members(&["ana", "Bo", "eva"]);
    }
    ana.say("hola");
    for member in [&mut ana, &mut bo, &mut eva] {
        member.until("ana: hola");
    }
    bo.say("/me waves");
    for member in [&mut ana, &mut bo, &mut eva] {
        member.until("* Bo waves");
    }
    eva.say("/msg bo  psst");
    eva.until("eva (to Bo only): psst");
    bo.until("eva (to you only): psst");
    assert_eq!(ana.lines_so_far(), [""; 0], "it is for one member");
    eva.say("/join rust");
    ana.until("-- eva has gone to rust");
    assert_eq!(ana.ask("/rooms", "-- rooms: "), "-- rooms: lobby (2), rust (1)");
    ana.say("/join rust");
    eva.until("-- ana has joined rust");
    eva.wait_for_members(&["ana", "eva"]);
    ana.say("in rust");
    eva.until("ana: in rust");
    bo.say("in the lobby");
    bo.until("Bo: in the lobby");
    bo.say("/msg ana done");
    ana.until("Bo (to you only): done");
    let lines = ana.lines_so_far();
    assert!(!lines.contains(&"Bo: in the lobby".to_owned()), "{lines:?}");
    eva.say("/quit");
    assert!(eva.ends());
    ana.until("-- eva has left");
    bo.say("/nick bo");
    bo.say("/who");
    bo.wait_for_members(&["bo"]);
}

/// Each line of each sender, once and in the order of the sender, to everyone. `CHAT_CLUSTER_LINES` sets how many lines
/// each of the 15 members says: with many, and with `--release`, this is a load test, and prints the rate.
#[test]
fn every_line_reaches_every_member_on_three_nodes_once_and_in_the_order_of_its_sender() {
    let line_count = std::env::var("CHAT_CLUSTER_LINES").map_or(400, |count| count.parse().expect("a number"));
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes = nodes(redis.port(), 3);
    let mut members: Vec<Member> = Vec::new();
    for node in &nodes {
        for (door, count) in [(Door::Telnet, 3), (Door::Web, 1), (Door::SocketIo, 1)] {
            members.extend((0..count).map(|_| Member::enter(node, door)));
        }
    }
    let nicks: Vec<String> = members.iter().map(|member| member.nick.clone()).collect();
    let all: Vec<&str> = nicks.iter().map(String::as_str).collect();
    members.iter_mut().for_each(|member| member.wait_for_members(&all));
    let count = members.len();
    let begin = Instant::now();
    let threads: Vec<_> = members
        .into_iter()
        .map(|mut member| {
            thread::spawn(move || {
                // The others say a line at a time, so that reading and writing alternate everywhere.
                let mut heard: BTreeMap<String, Vec<usize>> = BTreeMap::new();
                let mut total = 0;
                for number in 0..line_count {
                    member.say(&number.to_string());
                    while total < (number + 1).min(line_count) * count / 2 {
                        total += usize::from(note(&mut heard, &member.line()));
                    }
                }
                while total < line_count * count {
                    total += usize::from(note(&mut heard, &member.line()));
                }
                (member, heard)
            })
        })
        .collect();
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("the member goes on")).collect();
    let rate = (line_count * count) as f64 / begin.elapsed().as_secs_f64();
    eprintln!("{rate:.0} lines a second through Redis, each to {count} members");
    let in_order: Vec<usize> = (0..line_count).collect();
    for (mut member, mut heard) in results {
        // A line that comes twice would be before this answer.
        for line in member.lines_so_far() {
            note(&mut heard, &line);
        }
        assert_eq!(heard.len(), count);
        for (sender, numbers) in heard {
            assert_eq!(numbers, in_order, "{} has heard {sender}", member.nick);
        }
    }
    for node in &nodes {
        assert!(!node.log().contains("WARN"), "{}", node.log());
    }
}

/// Notes the number that a member has said.
fn note(heard: &mut BTreeMap<String, Vec<usize>>, line: &str) -> bool {
    let Some((sender, number)) = line.split_once(": ").filter(|(sender, _)| !sender.starts_with('-')) else {
        return false;
    };
    heard.entry(sender.to_owned()).or_default().push(number.parse().expect("a number"));
    true
}

#[test]
fn a_node_that_ends_in_order_takes_its_members_with_it_at_once() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let mut nodes = nodes(redis.port(), 2);
    let [mut ana, mut bo] = members(&nodes, ["ana", "bo"]);
    let node = nodes.remove(0);
    node.signal("TERM");
    bo.until("-- ana has left");
    assert!(ana.ends());
    let (status, log) = node.end();
    assert_eq!(status, Some(0), "{log}");
    bo.rename("ana");
}

#[test]
fn nodes_with_different_databases_are_different_chats() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let nodes: Vec<Server> = (0..2)
        .map(|database| {
            let url = format!("redis://127.0.0.1:{}/{database}", redis.port());
            Server::start(&["chat", "--cluster", &url])
        })
        .collect();
    let mut ana = Member::enter(&nodes[0], Door::Telnet);
    let mut other = Member::enter(&nodes[1], Door::Telnet);
    ana.rename("ana");
    other.rename("ana");
    ana.wait_for_members(&["ana"]);
    other.wait_for_members(&["ana"]);
}
