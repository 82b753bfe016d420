//! Clients that are lost at one node and come back at another one, over a stream.

use std::time::Instant;

use serde_json::{Value, json};

use super::proxy::Proxy;
use super::{Client, Cluster, Kind, LIMIT, Loop, Node, RedisServer, join, start_node};

/// A client with what it needs to come back.
pub(super) struct Recoverable {
    pub client: Client,
    pub pid: String,
    pub offset: String,
}

/// Connects with credentials. Returns the client and the answer to CONNECT.
pub(super) fn connect(port: u16, auth: &Value) -> (Client, Value) {
    let (client, answer) = Client::connect_with(port, &auth.to_string());
    (client, serde_json::from_str(answer.trim_start_matches("40")).expect("JSON"))
}

/// An event as its name and arguments, without the offset, and the offset.
pub(super) fn event(packet: &str) -> (String, String) {
    let mut data: Vec<Value> = serde_json::from_str(packet.trim_start_matches("42")).expect("an event");
    let offset = data.pop().expect("an offset");
    (Value::from(data).to_string(), offset.as_str().expect("a string").to_owned())
}

impl Recoverable {
    /// A client in the room `r` that has received an event.
    pub fn connect(cluster: &Cluster, node: usize) -> Recoverable {
        let (mut client, answer) = connect(cluster.ports[node], &json!({}));
        join(&mut client, "r");
        let id = client.id.clone();
        cluster.enter(move |lp, nodes| nodes[node].io.to(id).emit(lp, "first", ()));
        let (first, offset) = event(&client.next());
        assert_eq!(first, r#"["first"]"#);
        Recoverable { client, pid: answer["pid"].as_str().expect("a pid").to_owned(), offset }
    }

    pub fn next(&mut self) -> String {
        let (event, offset) = event(&self.client.next());
        self.offset = offset;
        event
    }

    /// Breaks the connection. Returns when the node has noticed it, and Redis has the session.
    pub fn lose(self, cluster: &Cluster) -> Value {
        let auth = json!({ "pid": self.pid, "offset": self.offset });
        drop(self.client);
        until_kept(cluster, &self.pid);
        auth
    }
}

/// Waits until Redis has the session of a lost client.
fn until_kept(cluster: &Cluster, pid: &str) {
    let key = format!("sio:session:{pid}");
    let is_kept = || {
        let key = key.clone();
        cluster.result(move |lp, nodes, sender| {
            nodes[0].link.command(lp, &["EXISTS", &key], move |_, reply| {
                sender.send(reply.expect("a number").integer() == Some(1)).expect("the test waits");
            });
        })
    };
    let begin = Instant::now();
    while !is_kept() {
        assert!(begin.elapsed() < LIMIT, "the session of a lost client is not kept");
    }
}

pub(super) fn command(cluster: &Cluster, parts: &[&str]) {
    let parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
    cluster.result(move |lp, nodes, sender| {
        nodes[0].link.command(lp, &parts, move |_, reply| {
            assert!(reply.is_ok());
            sender.send(()).expect("the test waits");
        });
    });
}

/// Sends what a lost client in `r` misses, and what is not for it. Returns when a node has read the last entry.
fn send_missed(cluster: &Cluster, id: &str) {
    let mut witness = cluster.client(1);
    let id = id.to_owned();
    cluster.enter(move |lp, nodes| {
        let [one, other] = [nodes[0].io, nodes[1].io];
        one.to("r").emit(lp, "room", 1);
        one.to("other").emit(lp, "never", ());
        one.to(id.as_str()).emit(lp, "id", ("é", json!({ "a": [null] })));
        one.volatile().emit(lp, "never", ());
        one.except("r").emit(lp, "never", ());
        one.to(["r", id.as_str()]).emit(lp, "once", bucle::socket_io::Binary(vec![7]));
        other.local().emit(lp, "never", ());
        one.emit(lp, "all", ());
    });
    while event(&witness.next()).0 != r#"["all"]"# {}
}

/// Reads what [`send_missed`] has sent.
fn receive_missed(client: &mut Client) {
    assert_eq!(event(&client.next()).0, r#"["room",1]"#);
    assert_eq!(event(&client.next()).0, r#"["id","é",{"a":[null]}]"#);
    let binary = client.next();
    assert!(binary.starts_with(r#"451-["once",{"_placeholder":true,"num":0},""#), "{binary}");
    assert_eq!(event(&client.next()).0, r#"["all"]"#);
}

pub(super) fn streams(redis: &RedisServer) -> Cluster {
    Cluster::of(Kind::Streams, [redis.port(); 2])
}

#[test]
fn a_client_gets_on_any_node_what_it_has_missed_once_and_in_order() {
    let redis = redis_or_return!();
    let cluster = streams(&redis);
    for node in [1, 0] {
        let lost = Recoverable::connect(&cluster, 0);
        let id = lost.client.id.clone();
        let auth = lost.lose(&cluster);
        send_missed(&cluster, &id);
        let (mut again, answer) = connect(cluster.ports[node], &auth);
        assert_eq!((answer["sid"].as_str(), answer["pid"].as_str()), (Some(&*id), auth["pid"].as_str()));
        receive_missed(&mut again);
        // It is in its room, and the next event comes once.
        cluster.enter(|lp, nodes| nodes[0].io.to("r").emit(lp, "live", ()));
        assert_eq!(event(&again.next()).0, r#"["live"]"#);
        let is_recovered = cluster.enter(move |lp, nodes| {
            let socket = nodes[node].io.socket(lp, &id).expect("it is connected");
            socket.is_recovered(lp)
        });
        assert!(is_recovered);
        let (_, twice) = connect(cluster.ports[1 - node], &auth);
        assert_ne!(twice["sid"], answer["sid"], "a session is taken once");
        cluster.until_both_have_read();
    }
}

#[test]
fn a_node_that_was_started_later_reads_what_the_client_has_missed_from_redis() {
    let redis = redis_or_return!();
    let cluster = streams(&redis);
    let lost = Recoverable::connect(&cluster, 0);
    let id = lost.client.id.clone();
    let auth = lost.lose(&cluster);
    send_missed(&cluster, &id);
    // More than Redis sends at a time.
    cluster.enter(|lp, nodes| {
        for number in 0..2500 {
            nodes[0].io.to("other").emit(lp, "never", number);
        }
        nodes[0].io.to("r").emit(lp, "last", ());
    });
    let redis_port = redis.port();
    let port = cluster.enter(move |lp, _| start_node(lp, Kind::Streams, redis_port));
    cluster.until("the third node is ready", |lp, nodes| nodes[2].link.is_ready(lp));
    let (mut again, answer) = connect(port, &auth);
    assert_eq!(answer["sid"].as_str(), Some(&*id));
    receive_missed(&mut again);
    assert_eq!(event(&again.next()).0, r#"["last"]"#);
}

#[test]
fn a_client_whose_missed_events_are_gone_begins_anew() {
    let redis = redis_or_return!();
    let cluster = streams(&redis);
    let lost = Recoverable::connect(&cluster, 0);
    let id = lost.client.id.clone();
    let auth = lost.lose(&cluster);
    send_missed(&cluster, &id);
    command(&cluster, &["XTRIM", "socket.io", "MAXLEN", "1"]);
    let redis_port = redis.port();
    let port = cluster.enter(move |lp, _| start_node(lp, Kind::Streams, redis_port));
    cluster.until("the third node is ready", |lp, nodes| nodes[2].link.is_ready(lp));
    let (_, answer) = connect(port, &auth);
    assert_ne!(answer["sid"].as_str(), Some(&*id));
}

#[test]
fn credentials_and_sessions_that_cannot_be_read_are_no_obstacle() {
    let redis = redis_or_return!();
    let cluster = streams(&redis);
    let known = Recoverable::connect(&cluster, 0);
    let pid = known.pid.clone();
    let offset = known.offset.clone();
    let other = "B".repeat(20);
    for (key, value) in [(&pid, "garbage"), (&other, "gA=="), (&other, "hKNzaWShYQ==")] {
        command(&cluster, &["SET", &format!("sio:session:{key}"), value]);
        let (mut client, answer) = connect(cluster.ports[1], &json!({ "pid": key, "offset": offset }));
        assert!(answer["sid"].as_str().is_some_and(|id| id.len() == 20));
        join(&mut client, "r");
    }
    for auth in [
        json!({ "pid": other, "offset": offset }),
        json!({ "pid": other, "offset": "99999999999999-0" }),
        json!({ "pid": other, "offset": "-1" }),
        json!({ "pid": other }),
        json!({ "pid": "*", "offset": offset }),
        json!({ "pid": 7, "offset": 7 }),
    ] {
        let (mut client, _) = connect(cluster.ports[1], &auth);
        join(&mut client, "r");
    }
    // Entries that are no messages, and messages that are none of Node's.
    for fields in [
        &["nsp", "/", "uid", "x", "type", "3", "data", "garbage"][..],
        &["nsp", "/", "uid", "x", "type", "3", "data", "{\"packet\":{\"type\":2,\"data\":[]},\"opts\":{}}"],
        &["nsp", "/", "uid", "x", "type", "42", "data", "{}"],
        &["nsp", "/", "uid", "x", "type", "2"],
        &["nsp", "/"],
        &["x", "y"],
    ] {
        command(&cluster, &[&["XADD", "socket.io", "*"], fields].concat());
    }
    cluster.until("they are counted", |lp, nodes| {
        nodes.iter().all(|node| node.link.statistics(lp).is_some_and(|all| all.ignored == 2))
    });
    let mut known = known;
    cluster.enter(|lp, nodes| nodes[1].io.emit(lp, "end", ()));
    assert_eq!(known.next(), r#"["end"]"#);
}

#[test]
fn without_redis_events_come_at_once_and_a_client_with_such_an_event_begins_anew() {
    let mut redis = redis_or_return!();
    let cluster = streams(&redis);
    let mut here = Recoverable::connect(&cluster, 0);
    let is_away = |lp: &mut Loop, nodes: &[Node]| !nodes.iter().any(|node| node.link.is_ready(lp));
    redis.kill();
    cluster.until("both links are lost", is_away);
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "alone", 1));
    assert_eq!(here.client.next(), r#"42["alone",1]"#);
    let id = here.client.id.clone();
    let auth = json!({ "pid": here.pid, "offset": here.offset });
    drop(here);
    cluster.until("it is lost", |lp, nodes| nodes[0].io.socket_count(lp) == 0);
    let (mut again, answer) = connect(cluster.ports[0], &auth);
    assert_ne!(answer["sid"].as_str(), Some(&*id), "without Redis there are no sessions, and nobody waits for it");
    join(&mut again, "r");
    redis.restart();
    cluster.until("both links are ready", |lp, nodes| nodes.iter().all(|node| node.link.is_ready(lp)));
    let (_, answer) = connect(cluster.ports[1], &auth);
    assert_ne!(answer["sid"].as_str(), Some(&*id), "it could get the event twice");
    cluster.enter(|lp, nodes| nodes[1].io.to("r").emit(lp, "together", ()));
    while event(&again.next()).0 != r#"["together"]"# {}
}

#[test]
fn all_nodes_have_the_events_in_one_order() {
    let redis = redis_or_return!();
    let cluster = streams(&redis);
    let (mut a, mut b) = (cluster.client(0), cluster.client(1));
    for number in 0..300 {
        cluster.enter(move |lp, nodes| {
            nodes[0].io.emit(lp, "a", number);
            nodes[1].io.emit(lp, "b", number);
        });
    }
    let mut received = [&mut a, &mut b].map(|client| (0..600).map(|_| client.next()).collect::<Vec<_>>());
    assert_eq!(received[0], received[1]);
    let mut offsets = received[0].iter().map(|packet| event(packet).1).collect::<Vec<_>>();
    offsets.dedup();
    assert_eq!(offsets.len(), 600);
    received[0].sort();
    received[0].dedup();
    assert_eq!(received[0].len(), 600, "each once");
}

#[test]
fn a_lost_client_gets_on_its_node_what_the_node_has_sent_while_redis_was_away() {
    let redis = redis_or_return!();
    let proxy = Proxy::start(redis.port());
    let cluster = Cluster::of(Kind::Streams, [proxy.port, redis.port()]);
    let lost = [(); 2].map(|()| Recoverable::connect(&cluster, 0));
    let ids = lost.each_ref().map(|lost| lost.client.id.clone());
    let auths = lost.map(|lost| lost.lose(&cluster));
    let mut witness = cluster.client(0);
    proxy.cut();
    cluster.until("its link is lost", |lp, nodes| !nodes[0].link.is_ready(lp));
    // It is sent to the clients of the node at once, and waits for Redis.
    cluster.enter(|lp, nodes| nodes[0].io.to("r").emit(lp, "away", ()));
    proxy.mend();
    cluster.until("its link is ready", |lp, nodes| nodes[0].link.is_ready(lp));
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "together", ()));
    assert_eq!(event(&witness.next()).0, r#"["together"]"#);
    for (node, (id, auth)) in ids.iter().zip(&auths).enumerate() {
        let (mut again, answer) = connect(cluster.ports[node], auth);
        assert_eq!(answer["sid"].as_str(), Some(&**id));
        let missed = [(); 2].map(|()| event(&again.next()).0);
        assert_eq!(missed, [r#"["away"]"#, r#"["together"]"#], "node {node}");
    }
}

#[test]
fn a_client_comes_back_to_a_namespace_on_demand_whose_last_socket_leaves_meanwhile() {
    let redis = redis_or_return!();
    let proxy = Proxy::start(redis.port());
    let cluster = Cluster::of(Kind::Streams, [proxy.port, redis.port()]);
    let mut first = cluster.client(0);
    first.send("40/tenant,");
    let answer: Value = serde_json::from_str(first.next().trim_start_matches("40/tenant,")).expect("JSON");
    let pid = answer["pid"].as_str().expect("a pid").to_owned();
    first.send(r#"42/tenant,["all"]"#);
    let (_, offset) = event(first.next().trim_start_matches("42/tenant,"));
    drop(first);
    until_kept(&cluster, &pid);
    let (mut last, mut again) = (cluster.client(0), cluster.client(0));
    last.send("40/tenant,");
    assert!(last.next().starts_with("40/tenant,"));
    // Redis does not answer until the last socket has left.
    proxy.stop(true);
    again.send(&format!("40/tenant,{}", json!({ "pid": pid, "offset": offset })));
    // An answer of this client comes when its request was read.
    join(&mut again, "r");
    last.send("41/tenant,");
    join(&mut last, "r");
    proxy.stop(false);
    let back: Value = serde_json::from_str(again.next().trim_start_matches("40/tenant,")).expect("JSON");
    assert_eq!(back["sid"], answer["sid"]);
    again.send(r#"42/tenant,["all"]"#);
    assert!(again.next().starts_with(r#"42/tenant,["to all""#));
}
