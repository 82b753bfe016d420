//! The seam to other nodes: two servers in one loop, joined by an adapter of the test.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bucle::Loop;
use bucle::socket_io::adapter::{
    Adapter, Answer, BroadcastPacket, LostSession, OnRestored, RequestId, RestoredSession, Target,
};
use bucle::socket_io::{Namespace, Options, OwnedArguments, RecoveryOptions, Server, ServerAnswer};

use super::{Client, Site, Story};

/// The main namespaces of the nodes.
type Nodes = Rc<RefCell<Vec<Namespace>>>;

/// Carries everything to the other nodes in a tick, as messages of a network would come.
struct Wire {
    nodes: Nodes,
    /// Nodes that count, and never answer.
    silent: usize,
    story: Story,
}

impl Wire {
    fn others(&self, namespace: Namespace) -> Vec<Namespace> {
        self.nodes.borrow().iter().copied().filter(|other| *other != namespace).collect()
    }

    fn carry(&self, lp: &mut Loop, from: Namespace, call: impl Fn(&mut Loop, Namespace) + 'static) {
        let others = self.others(from);
        lp.next_tick(move |lp| others.into_iter().for_each(|other| call(lp, other)));
    }
}

impl Adapter for Wire {
    fn nodes(&self) -> Option<usize> {
        Some(self.nodes.borrow().len() + self.silent)
    }

    fn broadcast(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, packet: BroadcastPacket<'_>) {
        let (target, name, arguments) = (target.clone(), packet.name.to_owned(), packet.arguments.clone());
        let (volatile, compress) = (packet.volatile, packet.compress);
        self.carry(lp, namespace, move |lp, other| {
            let packet = BroadcastPacket { name: &name, arguments: &arguments, volatile, compress, offset: None };
            other.receive_broadcast(lp, &target, packet);
        });
    }

    fn broadcast_with_ack(
        &mut self,
        lp: &mut Loop,
        namespace: Namespace,
        target: &Target,
        packet: BroadcastPacket<'_>,
        timeout: Duration,
        request: RequestId,
    ) {
        let (target, name, arguments) = (target.clone(), packet.name.to_owned(), packet.arguments.clone());
        self.carry(lp, namespace, move |lp, other| {
            let packet =
                BroadcastPacket { name: &name, arguments: &arguments, volatile: false, compress: true, offset: None };
            let count = other.receive_broadcast_with_ack(lp, &target, packet, timeout, move |lp, arguments| {
                namespace.answered(lp, request, Answer::Ack(arguments), false);
            });
            namespace.answered(lp, request, Answer::ClientCount(count), true);
        });
    }

    fn sockets_join(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, rooms: &[String]) {
        let (target, rooms) = (target.clone(), rooms.to_vec());
        self.carry(lp, namespace, move |lp, other| other.receive_rooms(lp, &target, &rooms, true));
    }

    fn sockets_leave(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, rooms: &[String]) {
        let (target, rooms) = (target.clone(), rooms.to_vec());
        self.carry(lp, namespace, move |lp, other| other.receive_rooms(lp, &target, &rooms, false));
    }

    fn disconnect_sockets(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, close: bool) {
        let target = target.clone();
        self.carry(lp, namespace, move |lp, other| other.receive_disconnect(lp, &target, close));
    }

    fn fetch_sockets(&mut self, lp: &mut Loop, namespace: Namespace, target: &Target, request: RequestId) {
        let target = target.clone();
        self.carry(lp, namespace, move |lp, other| {
            let found = other.local_sockets(lp, &target);
            namespace.answered(lp, request, Answer::Sockets(found), true);
        });
    }

    fn server_side_emit(
        &mut self,
        lp: &mut Loop,
        namespace: Namespace,
        name: &str,
        arguments: &OwnedArguments,
        request: Option<RequestId>,
    ) {
        let (name, arguments) = (name.to_owned(), arguments.clone());
        self.carry(lp, namespace, move |lp, other| {
            let answer = request.map(|request| -> ServerAnswer {
                Box::new(move |lp, value| namespace.answered(lp, request, Answer::Server(value), true))
            });
            other.receive_server_event(lp, &name, &arguments, answer);
        });
    }

    fn close(&mut self, _: &mut Loop, _: Namespace) {
        self.story.add("the adapter is closed");
    }
}

/// Two nodes, each with a client: `a` on the first, `b` on the second, which is in room `r`.
struct Cluster {
    one: Site,
    second: Server,
    a: Client,
    b: Client,
}

fn cluster(silent: usize) -> Cluster {
    let mut one = Site::with_defaults();
    let (first, story, nodes) = (one.io, one.story.clone(), Nodes::default());
    let mut port = 0;
    let second = one.enter(|lp| {
        let (http, second) = bucle::socket_io::listen(lp, ("127.0.0.1", 0), Options::default()).expect("a port");
        port = http.port(lp).expect("it is bound");
        for io in [first, second] {
            nodes.borrow_mut().push(io.main());
            let (nodes, story) = (nodes.clone(), story.clone());
            io.set_adapter(lp, move |_, name| {
                assert_eq!(name, "/");
                Box::new(Wire { nodes: nodes.clone(), silent, story: story.clone() })
            });
        }
        second
    });
    let a = one.join();
    let first_port = one.talk.set_port(port);
    let b = one.join();
    one.talk.set_port(first_port);
    one.enter(|lp| second.socket(lp, &b.id).expect("it is connected").join(lp, "r"));
    Cluster { one, second, a, b }
}

#[test]
fn a_broadcast_reaches_the_sockets_of_all_nodes() {
    let Cluster { mut one, second, a, b } = cluster(0);
    let first = one.io;
    one.enter(|lp| assert_eq!(first.emit(lp, "all", 1).receivers, 1, "those of this node are counted"));
    one.expect(a.peer, r#"42["all",1]"#);
    one.expect(b.peer, r#"42["all",1]"#);
    one.enter(|lp| {
        first.to("r").emit(lp, "room", bucle::socket_io::Binary(vec![1, 2]));
        first.local().emit(lp, "local", ());
        first.except("r").emit(lp, "except", ());
        second.to(&a.id).emit(lp, "id", ());
    });
    one.expect(a.peer, r#"42["local"]"#);
    one.expect(a.peer, r#"42["except"]"#);
    one.expect(a.peer, r#"42["id"]"#);
    one.expect(b.peer, r#"451-["room",{"_placeholder":true,"num":0}]"#);
    one.expect_binary(b.peer, &[1, 2]);
    let socket = one.socket(&a);
    one.enter(|lp| {
        let broadcast = socket.broadcast(lp);
        broadcast.emit(lp, "from a", ());
    });
    one.expect(b.peer, r#"42["from a"]"#);
    one.expect_nothing(a.peer);
    one.expect_nothing(b.peer);
}

#[test]
fn rooms_and_disconnections_reach_the_sockets_of_all_nodes() {
    let Cluster { mut one, second, a, b } = cluster(0);
    let first = one.io;
    one.enter(|lp| first.sockets_join(lp, ["x", "y"]));
    one.settle();
    one.enter(|lp| assert_eq!((first.room_size(lp, "x"), second.room_size(lp, "x")), (1, 1)));
    one.enter(|lp| first.to("r").sockets_leave(lp, "x"));
    one.settle();
    one.enter(|lp| assert_eq!((first.room_size(lp, "x"), second.room_size(lp, "x")), (1, 0)));
    one.enter(|lp| first.to("r").disconnect_sockets(lp, true));
    one.expect(b.peer, "41");
    one.expect_close(b.peer, 1005);
    one.expect_nothing(a.peer);
}

#[test]
fn sockets_of_all_nodes_are_fetched() {
    let Cluster { mut one, a, b, .. } = cluster(0);
    let (first, story) = (one.io, one.story.clone());
    one.enter(|lp| {
        let told = story.clone();
        first.fetch_sockets(lp, move |_, found| {
            told.add(found.iter().map(|socket| socket.id.as_str()).collect::<Vec<_>>().join(" "));
        });
        first.local().fetch_sockets(lp, move |_, found| story.add(format!("{} here", found.len())));
    });
    one.settle();
    let mut told: Vec<String> = one.story.0.borrow_mut().drain(..).collect();
    told.sort();
    let mut want = [format!("{} {}", a.id, b.id), "1 here".to_owned()];
    want.sort();
    assert_eq!(told, want);
}

#[test]
fn a_node_that_does_not_answer_costs_the_time_limit_and_no_more() {
    let Cluster { mut one, a, .. } = cluster(1);
    let (first, story) = (one.io, one.story.clone());
    one.enter(|lp| {
        let told = story.clone();
        first.timeout(Duration::from_secs(1)).fetch_sockets(lp, move |_, found| told.add(format!("{}", found.len())));
        let told = story.clone();
        first.server_side_emit_with_ack(lp, "ask", (), Duration::from_secs(2), move |_, answers| {
            told.add(format!("{} {}", answers.answers.len(), answers.is_complete));
        });
        first.timeout(Duration::from_secs(3)).to("nobody").emit_with_ack(lp, "ask", (), move |_, answers| {
            story.add(format!("{} {}", answers.answered.len(), answers.is_complete));
        });
    });
    one.expect_story(&[]);
    one.pass(Duration::from_secs(1));
    one.expect_story(&["2"]);
    one.pass(Duration::from_secs(1));
    one.expect_story(&["0 false"]);
    one.pass(Duration::from_secs(1));
    one.expect_story(&["0 false"]);
    one.expect_nothing(a.peer);
}

#[test]
fn a_broadcast_collects_the_answers_of_all_nodes() {
    let Cluster { mut one, a, b, .. } = cluster(0);
    let (first, story) = (one.io, one.story.clone());
    one.enter(|lp| {
        first.emit_with_ack(lp, "ask", (), move |_, answers| {
            for (id, arguments) in &answers.answered {
                let id = id.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
                story.add(format!("{id} {}", arguments.as_arguments().as_json()));
            }
            story.add(format!("{}", answers.is_complete));
        });
    });
    one.expect(a.peer, r#"420["ask"]"#);
    one.expect(b.peer, r#"420["ask"]"#);
    one.text(b.peer, r#"430["b"]"#);
    one.settle();
    one.expect_story(&[]);
    one.text(a.peer, r#"430["a"]"#);
    // A node does not tell which socket has answered.
    one.expect_story(&[r#"? "b""#, &format!(r#"{} "a""#, a.id), "true"]);
}

#[test]
fn servers_send_events_to_each_other_and_answer() {
    let Cluster { mut one, second, .. } = cluster(0);
    let (first, story, so_far) = (one.io, one.story.clone(), one.story.clone());
    one.enter(|lp| {
        let told = story.clone();
        first.on_server_event(lp, "ping", move |_, _| told.add("never: nothing happens on the node that sends"));
        let told = story.clone();
        second.on_server_event(lp, "ping", move |lp, event| {
            told.add(format!("ping {} {}", event.arguments().as_json(), event.wants_ack()));
            event.ack(lp, (serde_json::json!({ "pong": true }), "only the first argument is the answer"));
        });
        first.server_side_emit(lp, "ping", (1, "a"));
        first.server_side_emit_with_ack(lp, "ping", 2, Duration::from_secs(1), move |_, answers| {
            story.add(format!("{} {}", serde_json::json!(answers.answers), answers.is_complete));
        });
        assert!(so_far.0.borrow().is_empty(), "a method never calls back");
    });
    one.expect_story(&[r#"ping 1,"a" false"#, "ping 2 true", r#"[{"pong":true}] true"#]);
}

#[test]
fn without_other_nodes_a_server_side_event_is_complete_in_a_tick() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.server_side_emit_with_ack(lp, "ping", (), Duration::from_secs(1), move |_, answers| {
            story.add(format!("{} {}", answers.answers.len(), answers.is_complete));
        });
    });
    site.expect_story(&["0 true"]);
}

#[test]
fn the_adapter_is_closed_with_its_server() {
    let Cluster { mut one, .. } = cluster(0);
    let first = one.io;
    one.enter(|lp| first.close(lp));
    one.expect_story(&["the adapter is closed"]);
}

/// Keeps no session, and says so when the test wants it.
struct Forgetful(Rc<RefCell<Vec<OnRestored>>>);

impl Adapter for Forgetful {
    fn keep_sessions(&mut self, _: &RecoveryOptions) -> bool {
        true
    }

    fn restore_session(&mut self, _: &mut Loop, _: Namespace, _: &str, _: &str, done: OnRestored) {
        self.0.borrow_mut().push(done);
    }
}

#[test]
fn a_namespace_whose_only_client_has_gone_before_it_was_restored_is_gone() {
    let recovery = Some(RecoveryOptions::default());
    let mut site = Site::new(Options { max_dynamic_namespaces: 1, recovery, ..Options::default() });
    let io = site.io;
    let asked = Rc::new(RefCell::new(Vec::new()));
    let adapters = asked.clone();
    site.enter(|lp| {
        io.set_adapter(lp, move |_, _| Box::new(Forgetful(adapters.clone())));
        io.of_matching(lp, |name| name.starts_with("/t"));
    });
    for number in 0..3 {
        let peer = site.session();
        site.text(peer, &format!(r#"40/t{number},{{"pid":"AAAAAAAAAAAAAAAAAAAA","offset":"1-0"}}"#));
        site.settle();
        site.cut(peer);
        site.settle();
        let done = asked.borrow_mut().pop().unwrap_or_else(|| panic!("/t{number} was refused"));
        site.enter(|lp| done(lp, None));
    }
    site.join_with("/t", "");
}

#[test]
fn a_restored_client_whose_missed_events_are_gone_is_closed_before_it_is_connected() {
    let mut site = Site::new(Options { recovery: Some(RecoveryOptions::default()), ..Options::default() });
    let (io, story, asked) = (site.io, site.story.clone(), Rc::new(RefCell::new(Vec::new())));
    let adapters = asked.clone();
    site.enter(|lp| {
        io.set_adapter(lp, move |_, _| Box::new(Forgetful(adapters.clone())));
        let of_end = story.clone();
        io.on_disconnect(lp, move |_, _, reason| of_end.add(reason.to_string()));
        io.on_connection(lp, move |_, _| story.add("connection"));
    });
    let (id, pid) = ("B".repeat(20), "A".repeat(20));
    let peer = site.ask(&format!(r#"{{"pid":"{pid}","offset":"1-0"}}"#));
    site.settle();
    let done = asked.borrow_mut().pop().expect("the adapter was asked");
    let session = LostSession { sid: id.clone(), pid, rooms: vec![id], ..LostSession::default() };
    // `missed_since` of this adapter has nothing any more.
    let restored = RestoredSession { session, missed: Vec::new(), since: "1-0".to_owned() };
    site.enter(|lp| done(lp, Some(restored)));
    site.settle();
    // The client comes again, and begins anew.
    site.expect_close(peer, 1005);
    site.expect_story(&[]);
    site.join();
    site.expect_story(&["connection"]);
}
