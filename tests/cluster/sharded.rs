//! The adapter over sharded channels.

use bucle::socket_io::Binary;
use serde_json::json;

use super::{Cluster, Kind, Loop, Node, RedisServer, events_until, join};

fn subscriptions(lp: &mut Loop, nodes: &[Node]) -> Vec<usize> {
    nodes.iter().map(|node| node.link.subscription_count(lp)).collect()
}

#[test]
fn a_node_subscribes_to_a_room_while_it_has_a_socket_in_it() {
    let redis = redis_or_return!();
    let cluster = Cluster::of(Kind::Sharded, [redis.port(); 2]);
    assert_eq!(cluster.enter(subscriptions), [2, 2]);
    let (mut a, mut b, mut c) = (cluster.client(0), cluster.client(1), cluster.client(1));
    assert_eq!(cluster.enter(subscriptions), [2, 2], "the rooms of ids have no channels");
    join(&mut b, "r");
    join(&mut c, "r");
    join(&mut c, "s");
    join(&mut c, "a name of 20 letters");
    assert_eq!(cluster.enter(subscriptions), [2, 4]);
    ["r", "s"].into_iter().for_each(|room| cluster.until_subscribed(room, 1));
    cluster.enter(|lp, nodes| {
        let one = nodes[0].io;
        one.to("r").emit(lp, "r", Binary(vec![1]));
        one.to("s").emit(lp, "s", ());
        one.to(["r", "s"]).emit(lp, "both", ());
        one.to("a name of 20 letters").emit(lp, "long", ());
        one.to("nobody").emit(lp, "never", ());
        one.emit(lp, "end", ());
    });
    assert_eq!(events_until(&mut a, "end"), Vec::<String>::new());
    let event = |name: &str| format!("42{}", json!([name]));
    let file = r#"451-["r",{"_placeholder":true,"num":0}]"#.to_owned();
    assert_eq!(events_until(&mut b, "end"), [file.clone(), event("both")]);
    assert_eq!(events_until(&mut c, "end"), [file, event("s"), event("both"), event("long")]);
    cluster.enter(|lp, nodes| nodes[1].io.to("s").disconnect_sockets(lp, true));
    assert_eq!(c.next(), "41");
    cluster.until("its only room is left", |lp, nodes| nodes[1].link.subscription_count(lp) == 3);
    cluster.enter(|lp, nodes| nodes[1].io.sockets_leave(lp, "r"));
    cluster.until("the other room is left", |lp, nodes| nodes[1].link.subscription_count(lp) == 2);
}

#[test]
fn a_socket_that_joins_when_redis_is_away_gets_the_events_of_its_room_when_it_is_back() {
    let mut redis = redis_or_return!();
    let cluster = Cluster::of(Kind::Sharded, [redis.port(); 2]);
    let mut b = cluster.client(1);
    redis.kill();
    cluster.until("both links are lost", |lp, nodes| !nodes.iter().any(|node| node.link.is_ready(lp)));
    join(&mut b, "r");
    redis.restart();
    cluster.until("both links are ready", |lp, nodes| nodes.iter().all(|node| node.link.is_ready(lp)));
    cluster.until_subscribed("r", 1);
    cluster.enter(|lp, nodes| nodes[0].io.to("r").emit(lp, "hola", ()));
    assert_eq!(b.next(), r#"42["hola"]"#);
}
