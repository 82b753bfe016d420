//! The adapter in the format of `@socket.io/redis-adapter`, and the emitter.

use std::sync::mpsc;
use std::time::Instant;

use bucle::socket_io::Binary;
use bucle::socket_io::redis_adapter::{self, Emitter};
use serde_json::{Value, json};

use super::{Cluster, LIMIT, Loop, Node, RedisServer, events_until, join, publish};

#[test]
fn a_broadcast_reaches_each_client_of_each_node_once_and_in_order() {
    let redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let (mut a, mut b, mut c) = (cluster.client(0), cluster.client(1), cluster.client(1));
    join(&mut b, "r");
    join(&mut c, "r");
    let c_id = c.id.clone();
    cluster.enter(move |lp, nodes| {
        let one = nodes[0].io;
        for number in 0..3 {
            one.emit(lp, "all", (number, "é", json!({ "a": [null, 1.5] })));
        }
        one.to("r").emit(lp, "room", ());
        one.to(["r", "other"]).emit(lp, "rooms", ());
        one.to("r").except(c_id.as_str()).emit(lp, "except", ());
        one.to(c_id).emit(lp, "id", ());
        one.local().emit(lp, "local", ());
        one.emit(lp, "end", ());
    });
    let all = |number| format!(r#"42["all",{number},"é",{{"a":[null,1.5]}}]"#);
    let want = |rest: &[&str]| {
        let rest = rest.iter().map(|name| format!("42{}", json!([name])));
        (0..3).map(all).chain(rest).collect::<Vec<_>>()
    };
    assert_eq!(events_until(&mut a, "end"), want(&["local"]));
    assert_eq!(events_until(&mut b, "end"), want(&["room", "rooms", "except"]));
    assert_eq!(events_until(&mut c, "end"), want(&["room", "rooms", "id"]));
    // All clients are ready to take it.
    cluster.enter(|lp, nodes| nodes[0].io.volatile().compress(false).emit(lp, "volatile", ()));
    for client in [&mut a, &mut b, &mut c] {
        assert_eq!(client.next(), r#"42["volatile"]"#);
    }
    // Binary values at any depth are attachments on the other node, too.
    cluster.enter(|lp, nodes| nodes[1].io.emit(lp, "file", (vec![Binary(vec![1, 2])], Binary(vec![3]))));
    for client in [&mut a, &mut b] {
        let placeholder = |number| json!({ "_placeholder": true, "num": number });
        assert_eq!(client.next(), format!("452-{}", json!(["file", [placeholder(0)], placeholder(1)])));
    }
}

#[test]
fn rooms_and_disconnections_reach_the_sockets_of_all_nodes() {
    let redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let (mut a, mut b) = (cluster.client(0), cluster.client(1));
    join(&mut b, "r");
    let rooms = |lp: &mut Loop, nodes: &[Node]| -> Vec<usize> {
        nodes.iter().flat_map(|node| ["x", "y"].map(|room| node.io.room_size(lp, room))).collect()
    };
    cluster.enter(|lp, nodes| nodes[0].io.sockets_join(lp, ["x", "y"]));
    cluster.until("the sockets join", move |lp, nodes| rooms(lp, nodes) == [1, 1, 1, 1]);
    cluster.enter(|lp, nodes| nodes[0].io.to("r").sockets_leave(lp, "x"));
    cluster.until("a socket leaves", move |lp, nodes| rooms(lp, nodes) == [1, 1, 0, 1]);
    cluster.enter(|lp, nodes| nodes[0].io.to("r").disconnect_sockets(lp, false));
    assert_eq!(b.next(), "41");
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "end", ()));
    assert_eq!(events_until(&mut a, "end"), Vec::<String>::new());
}

#[test]
fn sockets_of_all_nodes_are_fetched() {
    let redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let (a, mut b) = (cluster.client(0), cluster.client(1));
    join(&mut b, "r");
    cluster.enter(|lp, nodes| {
        let sockets = nodes[1].io.sockets(lp);
        sockets[0].set_data(lp, json!({ "nick": "ana" }));
    });
    let found = cluster.result(|lp, nodes, sender| {
        nodes[0].io.fetch_sockets(lp, move |_, found| sender.send(found).expect("the test waits"));
    });
    assert_eq!(found.iter().map(|socket| &socket.id).collect::<Vec<_>>(), [&a.id, &b.id]);
    assert_eq!((&found[1].rooms, &found[1].data), (&vec![b.id.clone(), "r".to_owned()], &json!({ "nick": "ana" })));
    assert!(found[1].handshake["url"].as_str().is_some_and(|url| url.contains("EIO=4")));
    let found = cluster.result(|lp, nodes, sender| {
        nodes[0].io.to("r").fetch_sockets(lp, move |_, found| sender.send(found).expect("the test waits"));
    });
    assert_eq!(found.iter().map(|socket| &socket.id).collect::<Vec<_>>(), [&b.id]);
}

#[test]
fn rooms_of_all_nodes_are_found() {
    let redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let (mut a, mut b) = (cluster.client(0), cluster.client(1));
    join(&mut a, "both");
    join(&mut b, "both");
    join(&mut b, "there");
    let rooms = cluster.result(|lp, nodes, sender| {
        nodes[0].io.all_rooms(lp, move |_, rooms| sender.send(rooms).expect("the test waits"));
    });
    let mut want = vec!["both".to_owned(), "there".to_owned(), a.id.clone(), b.id.clone()];
    want.sort();
    assert_eq!(rooms, want);
}

#[test]
fn answers_of_clients_and_servers_of_all_nodes_are_collected() {
    let redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let (mut a, mut b) = (cluster.client(0), cluster.client(1));
    let (sender, result) = mpsc::channel();
    cluster.enter(move |lp, nodes| {
        nodes[0].io.emit_with_ack(lp, "ask", 7, move |_, answers| {
            let answered = answers.answered.into_iter();
            let answered: Vec<_> = answered
                .map(|(id, arguments)| (id.map(|id| id.to_string()), arguments.as_arguments().as_json().to_owned()))
                .collect();
            sender.send((answered, answers.is_complete)).expect("the test waits");
        });
    });
    for (client, answer) in [(&mut b, "\"b\""), (&mut a, "\"a\"")] {
        let packet = client.next();
        let number = packet.strip_prefix("42").and_then(|rest| rest.strip_suffix(r#"["ask",7]"#)).expect("the event");
        client.send(&format!("43{number}[{answer}]"));
    }
    let (mut answered, is_complete) = result.recv_timeout(LIMIT).expect("a result comes");
    answered.sort();
    assert_eq!(answered, [(None, "\"b\"".to_owned()), (Some(a.id), "\"a\"".to_owned())]);
    assert!(is_complete);

    let answers = cluster.result(|lp, nodes, sender| {
        nodes[1].io.server_side_emit_with_ack(lp, "who", (1, "x"), LIMIT, move |_, answers| {
            sender.send(answers).expect("the test waits");
        });
    });
    assert_eq!((answers.answers, answers.is_complete), (vec![Value::from("asked 1,\"x\"")], true));
}

#[test]
fn an_emitter_reaches_the_clients_and_servers_of_all_nodes() {
    let redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let (mut a, mut b) = (cluster.client(0), cluster.client(1));
    join(&mut b, "r");
    cluster.enter(|lp, nodes| {
        for node in nodes {
            let io = node.io;
            io.on_server_event(lp, "tell", move |lp, event| {
                io.local().emit(lp, "told", event.arguments());
            });
        }
        let emitter = Emitter::new(nodes[0].link, redis_adapter::Options::default());
        assert!(emitter.emit(lp, "all", (1, Binary(vec![7]))));
        assert!(emitter.clone().to("r").compress(false).emit(lp, "room", ()));
        assert!(emitter.clone().except("r").emit(lp, "except", ()));
        assert!(!emitter.emit(lp, "disconnect", ()), "the name is reserved");
        assert!(emitter.clone().of("other").emit(lp, "never", ()));
        assert!(emitter.server_side_emit(lp, "tell", "x"));
        assert!(emitter.clone().to("r").sockets_join(lp, "s"));
        assert!(emitter.clone().to("s").sockets_leave(lp, "r"));
        assert!(emitter.clone().to("r").emit(lp, "never", ()));
        assert!(emitter.clone().to("s").disconnect_sockets(lp, false));
    });
    for (client, event) in [(&mut a, "except"), (&mut b, "room")] {
        assert_eq!(client.next(), r#"451-["all",1,{"_placeholder":true,"num":0}]"#);
        assert_eq!(client.next(), format!("42{}", json!([event])));
        assert_eq!(client.next(), r#"42["told","x"]"#);
    }
    assert_eq!(b.next(), "41");
}

#[test]
fn a_namespace_has_channels_of_its_own_and_gives_them_back() {
    let redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let subscriptions = |lp: &mut Loop, nodes: &[Node]| nodes[0].link.subscription_count(lp);
    let before = cluster.enter(subscriptions);
    let (mut a, mut b, mut other) = (cluster.client(0), cluster.client(1), cluster.client(1));
    for client in [&mut a, &mut b] {
        client.send("40/t*,");
        assert!(client.next().starts_with("40/t*,"));
    }
    other.send("40/tx,");
    assert!(other.next().starts_with("40/tx,"));
    // Both nodes have subscribed when each has an answer of the other.
    cluster.until("the namespaces are one", |lp, nodes| nodes[0].link.subscription_count(lp) == 8);
    let begin = Instant::now();
    loop {
        a.send(r#"42/t*,["all"]"#);
        assert_eq!(a.next(), r#"42/t*,["to all"]"#);
        let is_there = cluster.result(|lp, nodes, sender| {
            nodes[1].link.command(lp, &["PUBSUB", "NUMSUB", "socket.io-request#/t*#"], move |_, reply| {
                let count = reply.ok().and_then(|reply| reply.items()[1].integer());
                sender.send(count == Some(2)).expect("the test waits");
            });
        });
        if is_there {
            break;
        }
        assert!(begin.elapsed() < LIMIT);
    }
    a.send(r#"42/t*,["all"]"#);
    assert_eq!(b.next(), r#"42/t*,["to all"]"#);
    a.send("41/t*,");
    cluster.until("the channels are given back", move |lp, nodes| nodes[0].link.subscription_count(lp) == 4);
    assert_eq!(before, 4);
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "end", ()));
    assert_eq!(events_until(&mut other, "end"), Vec::<String>::new(), "`*` is no wildcard");
}

#[test]
fn what_cannot_be_read_is_counted_and_ignored() {
    let redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let (mut a, mut b) = (cluster.client(0), cluster.client(1));
    join(&mut b, "r");
    let nested = [0x91; 100_000];
    let garbage: &[&[u8]] = &[b"", b"hola", b"{\"type\":", b"\x93\xa1a\xc0\xc0", &nested, b"\xdd\xff\xff\xff\xff"];
    for channel in ["socket.io#/#", "socket.io#/#r#", "socket.io-request#/#", "socket.io-response#/#"] {
        for message in garbage {
            publish(&redis, channel, message);
        }
    }
    // Channels that only look like those of the namespace.
    publish(&redis, "socket.io#/#\u{fffd}#", b"hola");
    publish(&redis, "socket.io#/#nobody#", b"hola");
    cluster.until("they are counted", |lp, nodes| {
        let ignored: Vec<u64> = nodes.iter().filter_map(|node| Some(node.link.statistics(lp)?.ignored)).collect();
        ignored == [18, 24]
    });
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "end", ()));
    for client in [&mut a, &mut b] {
        assert_eq!(events_until(client, "end"), Vec::<String>::new());
    }
}

#[test]
fn without_redis_each_node_goes_on_and_with_it_they_are_one_again() {
    let mut redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let (mut a, mut b) = (cluster.client(0), cluster.client(1));
    for round in 0..3 {
        redis.kill();
        cluster.until("both links are lost", |lp, nodes| !nodes.iter().any(|node| node.link.is_ready(lp)));
        cluster.enter(|lp, nodes| {
            nodes[0].io.local().emit(lp, "alone", ());
            nodes[1].io.local().emit(lp, "alone", ());
        });
        // Operations that need other nodes return the answers of this node at once, and say that they are not complete.
        let found = cluster.result(|lp, nodes, sender| {
            nodes[0].io.timeout(2 * LIMIT).fetch_sockets(lp, move |_, found| drop(sender.send(found)));
        });
        assert_eq!(found.iter().map(|socket| &socket.id).collect::<Vec<_>>(), [&a.id]);
        let answers = cluster.result(|lp, nodes, sender| {
            nodes[0]
                .io
                .server_side_emit_with_ack(lp, "who", (), 2 * LIMIT, move |_, answers| drop(sender.send(answers)));
        });
        assert_eq!((answers.answers.len(), answers.is_complete), (0, false));
        redis.restart();
        cluster.until("both links are ready", |lp, nodes| nodes.iter().all(|node| node.link.is_ready(lp)));
        cluster.enter(move |lp, nodes| {
            nodes[0].io.emit(lp, "from a", round);
            nodes[1].io.emit(lp, "from b", round);
        });
        let want = |name: &str| format!("42{}", json!([name, round]));
        for (client, name) in [(&mut a, "a"), (&mut b, "b")] {
            let received = [client.next(), client.next(), client.next()];
            assert_eq!(received[0], r#"42["alone"]"#);
            let mut rest = received[1..].to_vec();
            rest.sort();
            assert_eq!(rest, [want("from a"), want("from b")], "once each, {name}");
        }
    }
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "end", ()));
    for client in [&mut a, &mut b] {
        assert_eq!(events_until(client, "end"), Vec::<String>::new());
    }
}

#[test]
fn what_waits_for_redis_is_bounded() {
    let mut redis = redis_or_return!();
    let cluster = Cluster::start(&redis);
    let mut b = cluster.client(1);
    redis.kill();
    cluster.until("both links are lost", |lp, nodes| !nodes.iter().any(|node| node.link.is_ready(lp)));
    let dropped = cluster.enter(|lp, nodes| {
        for number in 0..10_000 {
            nodes[0].io.emit(lp, "while away", number);
        }
        nodes[0].link.statistics(lp).expect("it is open").dropped
    });
    assert!(dropped > 9_000, "{dropped}");
    redis.restart();
    cluster.until("both links are ready", |lp, nodes| nodes.iter().all(|node| node.link.is_ready(lp)));
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "end", ()));
    // Those that have waited come once each and in their order. The first ones are lost if they are published before
    // the other node is back.
    let received = events_until(&mut b, "end");
    let of = |number: usize| format!("42{}", json!(["while away", number]));
    let first =
        received.first().map_or(0, |first| (0..10_000).find(|&number| of(number) == *first).expect("one of them"));
    let want: Vec<String> = (first..).map(of).take(received.len()).collect();
    assert_eq!(received, want);
    assert!(received.len() <= 1_000);
}
