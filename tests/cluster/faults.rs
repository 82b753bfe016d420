//! The promises about events hold when Redis, a node or the network fails. The tests record all events.
//!
//! | | own clients | clients of other nodes |
//! |---|---|---|
//! | always | each event once, in the order of its sender | at most once, in this order |
//! | while Redis is reachable | the same | each event once |
//! | over a stream, if only the network fails | the same | each event once, also those of that time |

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::proxy::Proxy;
use super::{Client, Cluster, Kind, LIMIT, Loop, Node, RedisServer, ask, join};

const KINDS: [Kind; 3] = [Kind::Classic, Kind::Sharded, Kind::Streams];

/// How many events each node sends in each phase.
const EVENTS: u32 = 200;

/// Both nodes send the events of a phase.
fn send_all(cluster: &Cluster, phase: u32) {
    cluster.enter(move |lp, nodes| {
        for number in phase * EVENTS..(phase + 1) * EVENTS {
            for (sender, node) in nodes.iter().enumerate() {
                node.io.to("r").emit(lp, "n", (sender, number));
            }
        }
    });
}

fn are_ready(lp: &mut Loop, nodes: &[Node]) -> bool {
    nodes.iter().all(|node| node.link.is_ready(lp))
}

/// The numbers that a client has received from each of two senders, up to the last one of the phase.
fn receive(client: &mut Client, ledger: &mut [Vec<u32>; 2], last_phase: u32) {
    let last = (last_phase + 1) * EVENTS - 1;
    while ledger.iter().any(|numbers| numbers.last() != Some(&last)) {
        let packet = client.next();
        let data: Value = serde_json::from_str(packet.trim_start_matches("42")).expect("an event");
        assert_eq!(data[0], "n", "{packet}");
        let (sender, number) = (data[1].as_u64().expect("a sender"), data[2].as_u64().expect("a number"));
        ledger[usize::try_from(sender).expect("a sender")].push(u32::try_from(number).expect("a number"));
    }
}

/// Each number once and in order, and all of these phases.
fn check(what: &str, numbers: &[u32], whole_phases: &[u32]) {
    assert!(numbers.is_sorted_by(|one, other| one < other), "{what}: at most once, and in order: {numbers:?}");
    for phase in whole_phases {
        let got = numbers.iter().filter(|&&number| number / EVENTS == *phase).count();
        assert_eq!(got, EVENTS as usize, "{what}: all of phase {phase}");
    }
}

/// Two clients in a cluster, before, in and after a fault. `begin` returns when the nodes have noticed it, and events
/// were sent since it began.
fn with_fault(kind: Kind, ports: [u16; 2], fault: impl FnOnce(&Cluster), foreign: [&[u32]; 2]) {
    let cluster = Cluster::of(kind, ports);
    let mut clients = [cluster.client(0), cluster.client(1)];
    let mut ledgers = [[Vec::new(), Vec::new()], [Vec::new(), Vec::new()]];
    clients.iter_mut().for_each(|client| join(client, "r"));
    if kind == Kind::Sharded {
        cluster.until_subscribed("r", 2);
    }
    send_all(&cluster, 0);
    for (client, ledger) in clients.iter_mut().zip(&mut ledgers) {
        receive(client, ledger, 0);
    }
    fault(&cluster);
    cluster.until("both links are ready", are_ready);
    send_all(&cluster, 3);
    for (client, ledger) in clients.iter_mut().zip(&mut ledgers) {
        receive(client, ledger, 3);
    }
    for (number, ledger) in ledgers.iter().enumerate() {
        check(&format!("{kind:?}, own events of node {number}"), &ledger[number], &[0, 1, 2, 3]);
        check(&format!("{kind:?}, events of the other node for {number}"), &ledger[1 - number], foreign[number]);
    }
}

#[test]
fn when_redis_is_killed_nothing_comes_twice_and_before_and_after_everything_comes_once() {
    for kind in KINDS {
        let mut redis = redis_or_return!();
        let ports = [redis.port(); 2];
        let fault = |cluster: &Cluster| {
            // Events are on their way when it dies.
            send_all(cluster, 1);
            redis.kill();
            cluster.until("both links are lost", |lp, nodes| !nodes.iter().any(|node| node.link.is_ready(lp)));
            send_all(cluster, 2);
            redis.restart();
        };
        with_fault(kind, ports, fault, [&[0, 3], &[0, 3]]);
    }
}

#[test]
fn when_the_network_of_a_node_stops_nothing_comes_twice_and_before_and_after_everything_comes_once() {
    for kind in KINDS {
        let redis = redis_or_return!();
        let proxy = Proxy::start(redis.port());
        let fault = |cluster: &Cluster| {
            proxy.stop(true);
            send_all(cluster, 1);
            cluster.until("one link is lost", |lp, nodes| !nodes[0].link.is_ready(lp));
            send_all(cluster, 2);
            assert!(cluster.enter(|lp, nodes| nodes[1].link.is_ready(lp)), "the other node has Redis");
            // What was on its way when it stopped is lost.
            proxy.cut();
            proxy.stop(false);
            proxy.mend();
        };
        // The node reads what the other one has added to the stream meanwhile.
        let of_the_other_node: &[u32] = if kind == Kind::Streams { &[0, 1, 2, 3] } else { &[0, 3] };
        with_fault(kind, [proxy.port, redis.port()], fault, [of_the_other_node, &[0, 3]]);
    }
}

#[test]
fn over_a_slow_redis_everything_comes_once() {
    for kind in KINDS {
        let redis = redis_or_return!();
        let proxy = Proxy::start(redis.port());
        let fault = |cluster: &Cluster| {
            proxy.slow_down(4096);
            send_all(cluster, 1);
            send_all(cluster, 2);
        };
        with_fault(kind, [proxy.port, redis.port()], fault, [&[0, 1, 2, 3], &[0, 1, 2, 3]]);
        proxy.slow_down(0);
    }
}

/// A node of its own process: the example `socketio_contract`, which is built with the tests.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    fn start(redis: &RedisServer, adapter: &str) -> Process {
        let test = std::env::current_exe().expect("the test has a path");
        let profile = test.parent().and_then(|deps| deps.parent()).expect("it is target/PROFILE/deps/cluster-…");
        let program: PathBuf = profile.join("examples").join("socketio_contract");
        let mut child = Command::new(program)
            .env("PORT", "0")
            .env("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port()))
            .env("REDIS_ADAPTER", adapter)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo builds the examples with the tests");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
        let port = line.trim_end().rsplit(':').next().and_then(|port| port.parse().ok()).expect("it listens");
        Process { child, port }
    }

    /// A client in the room `r`.
    fn client(&self) -> Client {
        let mut client = Client::connect(self.port);
        assert!(client.next().starts_with(r#"42["welcome""#));
        client.send(r#"420["join","r"]"#);
        assert_eq!(client.next(), r#"430[["r"]]"#);
        client
    }
}

impl Drop for Process {
    /// With SIGKILL.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next `said`, as its number and its sender. Other events are those of leaving clients.
fn next_said(client: &mut Client) -> (u32, String) {
    loop {
        let packet = client.next();
        let data: Value = serde_json::from_str(packet.trim_start_matches("42")).expect("an event");
        if data[0] == "said" {
            let number = data[2].as_u64().and_then(|number| u32::try_from(number).ok()).expect("a number");
            return (number, data[3].as_str().expect("an id").to_owned());
        }
    }
}

#[test]
fn when_a_node_is_killed_the_others_go_on_and_what_it_has_sent_comes_at_most_once() {
    for adapter in ["classic", "sharded", "streams"] {
        let redis = redis_or_return!();
        let nodes = [(); 2].map(|()| Process::start(&redis, adapter));
        let killed = Process::start(&redis, adapter);
        let [mut a, mut b] = [nodes[0].client(), nodes[1].client()];
        let mut victim = killed.client();
        // Redis learns the rooms of a node behind the answer to the client that joins.
        let subscribed = || ask(&redis, &[b"PUBSUB", b"SHARDNUMSUB", b"socket.io#/#r#"]);
        let begin = Instant::now();
        while adapter == "sharded" && !subscribed().ends_with(":3\r\n") {
            assert!(begin.elapsed() < LIMIT, "not all nodes have subscribed");
        }
        let say = |number: u32| format!("42{}", json!(["say", "r", number]));
        victim.send(&say(0));
        for client in [&mut a, &mut b, &mut victim] {
            assert_eq!(next_said(client).0, 0);
        }
        for number in 1..1000 {
            a.send(&say(number));
            victim.send(&say(number));
        }
        let of_victim = victim.id.clone();
        drop(killed);
        for number in 1000..1100 {
            a.send(&say(number));
        }
        for (name, client) in [("a", &mut a), ("b", &mut b)] {
            let (mut of_a, mut of_killed) = (Vec::new(), vec![0]);
            while of_a.last() != Some(&1099) {
                let (number, from) = next_said(client);
                if from == of_victim { of_killed.push(number) } else { of_a.push(number) }
            }
            assert_eq!(of_a, (1..1100).collect::<Vec<_>>(), "{adapter}: {name} has all of the node that lives");
            let whole: Vec<u32> = (0..).take(of_killed.len()).collect();
            assert_eq!(of_killed, whole, "{adapter}: {name} has the begin of what the killed node has sent");
        }
    }
}
