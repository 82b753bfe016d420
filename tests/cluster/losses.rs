//! Recovery over a stream when both fail: a client and the way of its node to Redis.

use serde_json::{Value, json};

use super::proxy::Proxy;
use super::recovery::{Recoverable, command, connect, event};
use super::{Client, Cluster, Kind, RedisServer, join};

/// Cuts a node from Redis, sends an event to the clients in `r` there, and lets it reach Redis again.
fn send_while_cut(cluster: &Cluster, proxy: &Proxy, meanwhile: impl FnOnce()) {
    proxy.cut();
    cluster.until("its link is lost", |lp, nodes| !nodes[0].link.is_ready(lp));
    cluster.enter(|lp, nodes| nodes[0].io.to("r").emit(lp, "away", 1));
    meanwhile();
    proxy.mend();
    cluster.until("its link is ready", |lp, nodes| nodes[0].link.is_ready(lp));
}

/// Whether a client with these credentials gets its socket back. Returns also the client.
fn comes_back(cluster: &Cluster, node: usize, auth: &Value, id: &str) -> (bool, Client) {
    let (client, answer) = connect(cluster.ports[node], auth);
    (answer["sid"].as_str() == Some(id), client)
}

#[test]
fn a_client_comes_back_before_its_node_reads_what_the_node_has_sent_alone_and_gets_it_once() {
    let redis = redis_or_return!();
    let proxy = Proxy::start(redis.port());
    let cluster = Cluster::of(Kind::Streams, [proxy.port, redis.port()]);
    let lost = Recoverable::connect(&cluster, 0);
    let id = lost.client.id.clone();
    let auth = lost.lose(&cluster);
    let mut other = cluster.client(1);
    send_while_cut(&cluster, &proxy, || proxy.hold_entries(true));
    // The event is in the stream, because commands are done in their order, and the node has not read it.
    let (is_back, mut again) = comes_back(&cluster, 0, &auth, &id);
    assert!(is_back);
    cluster.enter(|lp, nodes| nodes[0].io.to("r").volatile().emit(lp, "mark", 1));
    assert_eq!(again.next(), r#"42["away",1]"#, "its offset is not known");
    assert_eq!(again.next(), r#"42["mark",1]"#);
    proxy.hold_entries(false);
    cluster.enter(|lp, nodes| nodes[1].io.emit(lp, "together", ()));
    while event(&other.next()).0 != r#"["together"]"# {}
    assert_eq!(event(&again.next()).0, r#"["together"]"#);
}

/// Breaks the connection of a client. When both nodes have read the whole stream, the client comes to each of them, and
/// must begin anew.
fn begins_anew(cluster: &Cluster, here: Recoverable) {
    let (id, auth) = (here.client.id.clone(), json!({ "pid": here.pid, "offset": here.offset }));
    drop(here);
    cluster.until("it is lost", |lp, nodes| nodes[0].io.socket_count(lp) == 0);
    let mut witnesses = [cluster.client(0), cluster.client(1)];
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "together", ()));
    for witness in &mut witnesses {
        while event(&witness.next()).0 != r#"["together"]"# {}
    }
    for node in [0, 1] {
        let (is_back, _) = comes_back(cluster, node, &auth, &id);
        assert!(!is_back, "it would get an event again, from node {node}");
    }
}

#[test]
fn a_client_that_has_got_an_event_alone_does_not_get_it_again_behind_a_later_offset() {
    for is_lost_first in [true, false] {
        let redis = redis_or_return!();
        let proxy = Proxy::start(redis.port());
        let cluster = Cluster::of(Kind::Streams, [proxy.port, redis.port()]);
        let mut here = Recoverable::connect(&cluster, 0);
        send_while_cut(&cluster, &proxy, || {
            // It is in the stream before the event of the node that is cut off, which reads before it adds.
            cluster.enter(|lp, nodes| nodes[1].io.to("r").emit(lp, "before", ()));
            proxy.hold_adds(true);
        });
        assert_eq!(here.client.next(), r#"42["away",1]"#);
        assert_eq!(here.next(), r#"["before"]"#);
        if is_lost_first {
            let (id, auth) = (here.client.id.clone(), json!({ "pid": here.pid, "offset": here.offset }));
            drop(here);
            cluster.until("it is lost", |lp, nodes| nodes[0].io.socket_count(lp) == 0);
            proxy.hold_adds(false);
            let mut witness = cluster.client(1);
            cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "together", ()));
            while event(&witness.next()).0 != r#"["together"]"# {}
            let (is_back, _) = comes_back(&cluster, 1, &auth, &id);
            assert!(!is_back, "it would get the event again");
        } else {
            proxy.hold_adds(false);
            begins_anew(&cluster, here);
        }
    }
}

#[test]
fn a_client_does_not_get_an_event_again_that_the_network_has_held_back_for_long() {
    let redis = redis_or_return!();
    let proxy = Proxy::start(redis.port());
    let cluster = Cluster::of(Kind::Streams, [proxy.port, redis.port()]);
    let mut here = Recoverable::connect(&cluster, 0);
    proxy.hold_adds(true);
    cluster.enter(|lp, nodes| nodes[0].io.to("r").emit(lp, "away", 1));
    assert_eq!(here.client.next(), r#"42["away",1]"#, "Redis has not answered in time");
    cluster.until("its link is ready", |lp, nodes| nodes[0].link.is_ready(lp));
    // What was uncertain seems to be settled.
    for number in 0..10 {
        cluster.enter(move |lp, nodes| nodes[1].io.to("r").emit(lp, "live", number));
        assert_eq!(here.next(), format!(r#"["live",{number}]"#));
    }
    let mut witness = cluster.client(1);
    join(&mut witness, "r");
    proxy.hold_adds(false);
    while event(&witness.next()).0 != r#"["away",1]"# {}
    cluster.until_both_have_read();
    drop(witness);
    begins_anew(&cluster, here);
}

#[test]
fn a_client_that_has_got_an_event_alone_comes_back_when_it_has_got_one_behind_it() {
    let redis = redis_or_return!();
    let proxy = Proxy::start(redis.port());
    let cluster = Cluster::of(Kind::Streams, [proxy.port, redis.port()]);
    for reaches_redis in [true, false] {
        let mut here = Recoverable::connect(&cluster, 0);
        let id = here.client.id.clone();
        if reaches_redis {
            send_while_cut(&cluster, &proxy, || {});
        } else {
            // It is on its way when the network stops, and is lost there.
            proxy.stop(true);
            cluster.enter(|lp, nodes| nodes[0].io.to("r").emit(lp, "away", 1));
            cluster.until("its link is lost", |lp, nodes| !nodes[0].link.is_ready(lp));
            proxy.cut();
            proxy.stop(false);
            proxy.mend();
            cluster.until("its link is ready", |lp, nodes| nodes[0].link.is_ready(lp));
        }
        assert_eq!(here.client.next(), r#"42["away",1]"#);
        // The node asked for the end of the stream when its link was ready. It knows it now.
        command(&cluster, &["PING"]);
        // The first one settles what is in the stream, and later ones are behind it.
        for number in 0..3 {
            cluster.enter(move |lp, nodes| nodes[1].io.to("r").emit(lp, "live", number));
            assert_eq!(here.next(), format!(r#"["live",{number}]"#));
        }
        let auth = here.lose(&cluster);
        cluster.enter(|lp, nodes| nodes[1].io.to("r").emit(lp, "missed", ()));
        let (is_back, mut again) = comes_back(&cluster, 1, &auth, &id);
        assert!(is_back, "the event has reached Redis: {reaches_redis}");
        assert_eq!(event(&again.next()).0, r#"["missed"]"#);
        cluster.until_both_have_read();
    }
}

#[test]
fn a_client_that_needs_what_its_node_has_never_read_begins_anew() {
    let redis = redis_or_return!();
    let proxy = Proxy::start(redis.port());
    let cluster = Cluster::of(Kind::Streams, [proxy.port, redis.port()]);
    let lost = Recoverable::connect(&cluster, 0);
    let id = lost.client.id.clone();
    let auth = lost.lose(&cluster);
    let mut witness = Recoverable::connect(&cluster, 0);
    proxy.cut();
    cluster.until("its link is lost", |lp, nodes| !nodes[0].link.is_ready(lp));
    let mut other = cluster.client(1);
    cluster.enter(|lp, nodes| {
        for number in 0..10 {
            nodes[1].io.to("r").emit(lp, "dropped", number);
        }
        nodes[1].io.emit(lp, "end", ());
    });
    while event(&other.next()).0 != r#"["end"]"# {}
    cluster.result(|lp, nodes, sender| {
        nodes[1].link.command(lp, &["XTRIM", "socket.io", "MAXLEN", "1"], move |_, reply| {
            sender.send(reply.is_ok()).expect("the test waits");
        });
    });
    proxy.mend();
    cluster.until("its link is ready", |lp, nodes| nodes[0].link.is_ready(lp));
    assert_eq!(witness.next(), r#"["end"]"#);
    let statistics = cluster.enter(|lp, nodes| nodes[0].link.statistics(lp)).expect("it is open");
    assert_eq!(statistics.gaps, 1);
    let (is_back, _) = comes_back(&cluster, 0, &auth, &id);
    assert!(!is_back, "it has missed events, and this node does not know them");
    // A client that has an event from behind the gap comes back.
    let id = witness.client.id.clone();
    let auth = witness.lose(&cluster);
    let (is_back, _) = comes_back(&cluster, 0, &auth, &id);
    assert!(is_back);
}

/// What happens to a client of node 0, which can be cut off from Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Event,
    ClientLost,
    ClientBack,
    RedisLost,
    RedisBack,
}

/// All orders of the steps in which a loss is before the return.
fn orders() -> Vec<Vec<Step>> {
    let mut orders = vec![Vec::new()];
    for step in [Step::RedisLost, Step::RedisBack, Step::ClientLost, Step::ClientBack, Step::Event] {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<Step>| (0..=order.len()).map(|at| [&order[..at], &[step], &order[at..]].concat()))
            .collect();
    }
    let at = |order: &[Step], step| order.iter().position(|other| *other == step);
    let is_right = |order: &Vec<Step>| {
        at(order, Step::RedisLost) < at(order, Step::RedisBack)
            && at(order, Step::ClientLost) < at(order, Step::ClientBack)
    };
    orders.retain(is_right);
    orders
}

/// Goes through the steps in this order; the client comes back to this node. Returns whether it has its socket again,
/// and how often it has got the event.
fn go_through(cluster: &Cluster, proxy: &Proxy, steps: &[Step], node: usize) -> (bool, usize) {
    let mut here = Some(Recoverable::connect(cluster, 0));
    let (mut again, mut is_back, mut is_reachable, mut count) = (None, false, true, 0);
    let (mut id, mut auth) = (String::new(), Value::Null);
    for step in steps {
        match step {
            Step::Event => {
                cluster.enter(|lp, nodes| nodes[0].io.to("r").emit(lp, "event", 1));
                if is_reachable {
                    // Commands are done in their order: Redis has the event. If it were still on its way to Redis, a
                    // loss would be its end.
                    command(cluster, &["PING"]);
                }
                if let Some(here) = &mut here {
                    // It reads the event, without an offset if Redis is away.
                    let packet = here.client.next();
                    assert!(packet.starts_with(r#"42["event",1"#), "{packet}");
                    if is_reachable {
                        here.offset = event(&packet).1;
                    }
                    count += 1;
                }
            }
            Step::ClientLost => {
                let Recoverable { client, pid, offset } = here.take().expect("it is there");
                (id, auth) = (client.id.clone(), json!({ "pid": pid, "offset": offset }));
                drop(client);
                cluster.until("it is lost", |lp, nodes| nodes[0].io.socket_count(lp) == 0);
                if is_reachable {
                    // The same for the session, if there is one.
                    command(cluster, &["PING"]);
                }
            }
            Step::ClientBack => {
                let (is_same, client) = comes_back(cluster, node, &auth, &id);
                (is_back, again) = (is_same, Some(client));
            }
            Step::RedisLost => {
                proxy.cut();
                cluster.until("its link is lost", |lp, nodes| !nodes[0].link.is_ready(lp));
                // The link has several connections. One turn later it has noticed the loss of all of them.
                cluster.enter(|_, _| ());
                is_reachable = false;
            }
            Step::RedisBack => {
                proxy.mend();
                cluster.until("its link is ready", |lp, nodes| nodes[0].link.is_ready(lp));
                command(cluster, &["PING"]);
                is_reachable = true;
            }
        }
    }
    let mut again = again.expect("it has come back");
    cluster.enter(|lp, nodes| nodes[0].io.emit(lp, "end", 1));
    loop {
        let packet = again.next();
        if packet.starts_with(r#"42["end""#) {
            break;
        }
        count += usize::from(packet.starts_with(r#"42["event""#));
    }
    drop(again);
    cluster.until("it has gone", |lp, nodes| nodes.iter().all(|node| node.io.socket_count(lp) == 0));
    cluster.until_both_have_read();
    (is_back, count)
}

#[test]
fn in_every_order_of_losses_a_client_that_comes_back_has_each_event_once() {
    let redis = redis_or_return!();
    let proxy = Proxy::start(redis.port());
    let cluster = Cluster::of(Kind::Streams, [proxy.port, redis.port()]);
    let orders = orders();
    assert_eq!(orders.len(), 30);
    for steps in orders {
        let at = |step| steps.iter().position(|other| *other == step);
        let without_redis = at(Step::RedisLost)..at(Step::RedisBack);
        let is_away = |step| without_redis.contains(&at(step));
        for node in [0, 1] {
            let (is_back, count) = go_through(&cluster, &proxy, &steps, node);
            // The first node keeps sessions and takes them when it reaches Redis. The event that it has sent alone is
            // not behind an offset that the client has.
            let is_kept = !is_away(Step::ClientLost) || at(Step::ClientBack) > at(Step::RedisBack);
            let can_ask = node == 1 || !is_away(Step::ClientBack);
            let is_uncertain = is_away(Step::Event) && at(Step::Event) < at(Step::ClientLost);
            assert_eq!(is_back, is_kept && can_ask && !is_uncertain, "{steps:?}, node {node}");
            assert!(if is_back { count == 1 } else { count <= 1 }, "{steps:?}, node {node}: {count} times");
        }
    }
}
