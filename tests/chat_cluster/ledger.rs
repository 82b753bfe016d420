//! A ledger of every line, while one thing after the other fails: each line reaches each member at most once and in the
//! order of its sender, and exactly once when nothing fails.
//!
//! `CHAT_CLUSTER_ROUNDS` sets how many things fail; six by default, each of them once.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::*;

/// How many lines each member says while something fails, and when all nodes are one chat again.
const LINES: usize = 40;

const NODES: usize = 3;
const MEMBERS_OF_A_NODE: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Failure {
    RedisIsKilled,
    RedisStandsStill,
    TheWayIsCut,
    TheWayStandsStill,
    TheWayIsSlow,
    ANodeIsKilled,
}

const FAILURES: [Failure; 6] = [
    Failure::TheWayIsCut,
    Failure::RedisIsKilled,
    Failure::TheWayIsSlow,
    Failure::RedisStandsStill,
    Failure::ANodeIsKilled,
    Failure::TheWayStandsStill,
];

struct Cluster {
    redis: RedisServer,
    proxies: Vec<Proxy>,
    nodes: Vec<Server>,
    members: Vec<Talker>,
    /// How many members there have been, for their names.
    count: usize,
}

/// A member, with all that it has said and heard.
struct Talker {
    member: Member,
    node: usize,
    said: usize,
    /// The numbers of each sender, in the order in which they came.
    heard: BTreeMap<String, Vec<usize>>,
}

impl Talker {
    fn say_next(&mut self) {
        self.said += 1;
        let line = format!("number {}", self.said);
        self.member.say(&line);
    }

    /// Reads a line, and notes it.
    fn read(&mut self) -> String {
        let line = self.member.line();
        if let Some((sender, number)) = line.split_once(": number ") {
            let number = number.parse().expect("a number");
            let heard = self.heard.entry(sender.to_owned()).or_default();
            assert!(
                heard.last().is_none_or(|&last| last < number),
                "{} hears {line:?} after {heard:?}",
                self.member.nick
            );
            heard.push(number);
        }
        line
    }

    /// Who is in the room.
    fn ask_who(&mut self) -> Vec<String> {
        self.member.say("/who");
        loop {
            if let Some(list) = self.read().strip_prefix("-- in lobby: ") {
                let mut nicks: Vec<String> = list.split(", ").map(str::to_owned).collect();
                nicks.sort();
                return nicks;
            }
        }
    }
}

impl Cluster {
    fn start(redis: RedisServer) -> Cluster {
        let proxies: Vec<Proxy> = (0..NODES).map(|_| Proxy::start(redis.port())).collect();
        let nodes = proxies.iter().map(|proxy| node(proxy.port)).collect();
        let mut cluster = Cluster { redis, proxies, nodes, members: Vec::new(), count: 0 };
        (0..NODES).for_each(|node| cluster.add_members(node));
        cluster
    }

    fn add_members(&mut self, node: usize) {
        for door in [Door::Telnet, Door::Web, Door::SocketIo].into_iter().cycle().take(MEMBERS_OF_A_NODE) {
            let mut member = Member::enter(&self.nodes[node], door);
            member.rename(&format!("m{}", self.count));
            self.count += 1;
            self.members.push(Talker { member, node, said: 0, heard: BTreeMap::new() });
        }
    }

    fn begin(&mut self, failure: Failure, node: usize) {
        match failure {
            Failure::RedisIsKilled => self.redis.kill(),
            Failure::RedisStandsStill => self.redis.signal("STOP"),
            Failure::TheWayIsCut => self.proxies[node].cut(),
            Failure::TheWayStandsStill => self.proxies[node].stop(true),
            Failure::TheWayIsSlow => self.proxies[node].slow_down(20),
            Failure::ANodeIsKilled => self.nodes[node].signal("KILL"),
        }
    }

    fn end(&mut self, failure: Failure, node: usize) {
        match failure {
            Failure::RedisIsKilled => self.redis.restart(),
            Failure::RedisStandsStill => self.redis.signal("CONT"),
            Failure::TheWayIsCut => self.proxies[node].mend(),
            Failure::TheWayStandsStill => self.proxies[node].stop(false),
            Failure::TheWayIsSlow => self.proxies[node].slow_down(0),
            Failure::ANodeIsKilled => {
                self.members.retain(|talker| talker.node != node);
                self.nodes[node] = super::node(self.proxies[node].port);
                self.add_members(node);
            }
        }
    }

    /// Everyone says a line, often. Returns when all have said them. With a pause between them the lines come before,
    /// while and after a node notices the failure.
    fn talk(&mut self, pause: Duration) {
        for _ in 0..LINES {
            self.members.iter_mut().for_each(Talker::say_next);
            thread::sleep(pause);
        }
    }

    /// Waits until everyone sees everyone.
    fn wait_for_all(&mut self) {
        let mut nicks: Vec<String> = self.members.iter().map(|talker| talker.member.nick.clone()).collect();
        nicks.sort();
        for talker in &mut self.members {
            wait_until(&format!("{} sees all", talker.member.nick), || talker.ask_who() == nicks);
        }
    }

    /// Waits until everyone has heard everything from now on: `before` has what each had said until now.
    fn wait_for_lines(&mut self, before: &BTreeMap<String, usize>) {
        let said: Vec<(String, usize)> =
            self.members.iter().map(|talker| (talker.member.nick.clone(), talker.said)).collect();
        for talker in &mut self.members {
            for (sender, said) in &said {
                while talker.heard.get(sender).and_then(|heard| heard.last()) != Some(said) {
                    talker.read();
                }
                let first = before[sender] + 1;
                let heard: Vec<usize> =
                    talker.heard[sender].iter().copied().filter(|&number| number >= first).collect();
                let all: Vec<usize> = (first..=*said).collect();
                assert_eq!(heard, all, "{} hears {sender}", talker.member.nick);
            }
        }
    }

    fn said(&self) -> BTreeMap<String, usize> {
        self.members.iter().map(|talker| (talker.member.nick.clone(), talker.said)).collect()
    }
}

#[test]
fn whatever_fails_each_line_comes_at_most_once_and_exactly_once_when_nothing_fails() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let rounds = std::env::var("CHAT_CLUSTER_ROUNDS").map_or(6, |rounds| rounds.parse().expect("a number"));
    let mut cluster = Cluster::start(redis);
    cluster.wait_for_all();
    for round in 0..rounds {
        let failure = FAILURES[round % FAILURES.len()];
        let node = round % NODES;
        cluster.begin(failure, node);
        if let Failure::ANodeIsKilled = failure {
            cluster.members.retain(|talker| talker.node != node);
        }
        // Long enough for the nodes to notice it: for most of them 1.5 seconds.
        cluster.talk(Duration::from_millis(50));
        cluster.end(failure, node);
        let begin = Instant::now();
        cluster.wait_for_all();
        eprintln!("{failure:?}: one chat again {:.1?} later", begin.elapsed());
        let before = cluster.said();
        cluster.talk(Duration::ZERO);
        cluster.wait_for_lines(&before);
    }
}
