//! Nothing of an adapter remains when its server is closed or gets another adapter.

use serde_json::json;

use super::recovery::{Recoverable, connect, event, streams};
use super::{Client, Cluster, Kind, Loop, Node, RedisServer, join, set_adapter, start_node};

/// Whether the link does nothing for an adapter.
fn is_idle(lp: &mut Loop, node: Node) -> bool {
    node.link.subscription_count(lp) == 0 && node.link.stream_position(lp, "socket.io").is_none()
}

#[test]
fn after_close_a_link_has_no_subscription_and_reads_no_stream() {
    for kind in [Kind::Classic, Kind::Sharded, Kind::Streams] {
        let redis = redis_or_return!();
        let cluster = Cluster::of(kind, [redis.port(); 2]);
        let mut client = cluster.client(0);
        client.send("40/tenant,");
        assert!(client.next().starts_with("40/tenant,"));
        join(&mut client, "r");
        cluster.enter(|lp, nodes| {
            assert!(!is_idle(lp, nodes[0]));
            nodes[0].io.close(lp);
        });
        cluster.until("the adapters are closed", |lp, nodes| is_idle(lp, nodes[0]));
        // The server can still be used, without a cluster.
        let mut again = cluster.client(0);
        join(&mut again, "r");
        cluster.enter(|lp, nodes| {
            nodes[1].io.emit(lp, "never", ());
            assert_eq!(nodes[0].io.to("r").emit(lp, "here", ()).receivers, 1);
            assert!(is_idle(lp, nodes[0]), "it has no new adapter");
        });
        assert!(again.next().starts_with(r#"42["here""#), "{kind:?}");
    }
}

#[test]
fn after_close_a_program_whose_links_have_no_reference_ends() {
    for kind in [Kind::Classic, Kind::Sharded, Kind::Streams] {
        let redis = redis_or_return!();
        let mut cluster = Cluster::of(kind, [redis.port(); 2]);
        let mut client = cluster.client(0);
        join(&mut client, "r");
        cluster.enter(|lp, nodes| {
            for node in nodes {
                node.io.close(lp);
                node.http.close(lp);
                node.link.unref(lp);
            }
        });
        drop(client);
        let thread = cluster.thread.take().expect("it runs");
        // It ends without being stopped.
        thread.join().expect("the loop has not panicked");
    }
}

#[test]
fn a_client_of_a_server_that_is_closed_comes_back_on_another_node() {
    let redis = redis_or_return!();
    let cluster = streams(&redis);
    let here = Recoverable::connect(&cluster, 0);
    let id = here.client.id.clone();
    cluster.enter(|lp, nodes| nodes[0].io.close(lp));
    let auth = here.lose(&cluster);
    cluster.enter(|lp, nodes| nodes[1].io.to("r").emit(lp, "missed", ()));
    let (mut again, answer) = connect(cluster.ports[1], &auth);
    assert_eq!(answer["sid"].as_str(), Some(&*id));
    assert_eq!(event(&again.next()).0, r#"["missed"]"#);
}

#[test]
fn a_second_server_uses_the_link_of_one_that_was_closed() {
    for kind in [Kind::Classic, Kind::Sharded, Kind::Streams] {
        let redis = redis_or_return!();
        let cluster = Cluster::of(kind, [redis.port(); 2]);
        let redis_port = redis.port();
        let port = cluster.enter(move |lp, nodes| {
            let (first, port) = (nodes[0], start_node(lp, kind, redis_port));
            let second = super::NODES.with_borrow(|nodes| nodes[2]);
            second.link.unref(lp);
            // Both servers on one link; then the first one goes.
            set_adapter(lp, kind, second.io, first.link);
            first.io.close(lp);
            port
        });
        cluster.until("the links are ready", |lp, nodes| nodes.iter().all(|node| node.link.is_ready(lp)));
        let (mut a, mut b) = (Client::connect(port), cluster.client(1));
        cluster.until("both nodes are known", |lp, nodes| nodes[0].link.is_ready(lp));
        join(&mut a, "r");
        join(&mut b, "r");
        if kind == Kind::Sharded {
            cluster.until_subscribed("r", 2);
        }
        cluster.enter(|lp, nodes| nodes[1].io.to("r").emit(lp, "one", ()));
        for client in [&mut a, &mut b] {
            assert!(client.next().starts_with(r#"42["one""#), "{kind:?}");
        }
        cluster.enter(|lp, nodes| nodes[2].io.to("r").emit(lp, "two", ()));
        for client in [&mut a, &mut b] {
            assert!(client.next().starts_with(r#"42["two""#), "{kind:?}");
        }
    }
}

#[test]
fn with_another_adapter_events_come_once_and_the_first_one_is_gone() {
    let redis = redis_or_return!();
    for (old, new) in [(Kind::Streams, Kind::Streams), (Kind::Streams, Kind::Classic), (Kind::Sharded, Kind::Streams)] {
        let cluster = Cluster::of(old, [redis.port(); 2]);
        let mut client = cluster.client(0);
        join(&mut client, "r");
        cluster.enter(move |lp, nodes| {
            nodes[0].io.to("r").emit(lp, "before", ());
            nodes.iter().for_each(|node| set_adapter(lp, new, node.io, node.link));
            nodes[0].io.to("r").emit(lp, "behind", ());
        });
        cluster.until("the links are ready", |lp, nodes| nodes.iter().all(|node| node.link.is_ready(lp)));
        cluster.enter(|lp, nodes| nodes[1].io.to("r").emit(lp, "end", ()));
        let mut names = Vec::new();
        while names.last().is_none_or(|last| *last != json!("end")) {
            let packet = client.next();
            let data: serde_json::Value = serde_json::from_str(packet.trim_start_matches("42")).expect("an event");
            names.push(data[0].clone());
        }
        assert_eq!(names, ["before", "behind", "end"], "{old:?}, then {new:?}");
        let subscriptions = cluster.enter(|lp, nodes| {
            let stream = nodes[0].link.stream_position(lp, "socket.io").is_some();
            (nodes[0].link.subscription_count(lp), stream)
        });
        assert_eq!(subscriptions, if new == Kind::Streams { (2, true) } else { (4, false) }, "{old:?}, then {new:?}");
    }
}
