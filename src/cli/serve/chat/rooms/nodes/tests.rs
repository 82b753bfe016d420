//! Nodes of a cluster in one process, with a Redis that is a few tables. The tests decide when each message moves.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// The nodes, and Redis between them. Member 12 is the one with number 2 on node 1.
struct Cluster {
    nodes: Vec<Node>,
    /// The owners of nicks.
    keys: BTreeMap<String, usize>,
    now: Duration,
}

#[derive(Default)]
struct Node {
    rooms: Rooms<usize>,
    /// Whether it can reach Redis.
    is_up: bool,
    /// Orders that Redis has not got yet.
    sent: VecDeque<Order>,
    /// What Redis has sent back.
    replies: VecDeque<(String, Answer)>,
    messages: VecDeque<String>,
    /// The lines of each member.
    lines: BTreeMap<usize, Vec<String>>,
    /// The members who were disconnected.
    ended: BTreeSet<usize>,
}

const MAX_TEXT: usize = 100_000;

impl Cluster {
    fn of(count: usize) -> Cluster {
        let nodes = (0..count).map(|number| {
            let mut node = Node::default();
            node.rooms.join_cluster(NodeId(number as u64), number as u64, MAX_TEXT);
            node
        });
        let nodes = nodes.collect();
        let mut cluster = Cluster { nodes, keys: BTreeMap::new(), now: Duration::from_secs(1) };
        (0..count).for_each(|node| cluster.connect(node));
        cluster.settle();
        cluster
    }

    /// Each node has one member in the lobby, with these nicks. What they were sent is forgotten.
    fn with(nicks: &[&str]) -> Cluster {
        let mut cluster = Cluster::of(nicks.len());
        for (node, nick) in nicks.iter().enumerate() {
            cluster.enter(node * 10);
            cluster.say(node * 10, &format!("/nick {nick}"));
            cluster.settle();
        }
        cluster.forget_lines();
        cluster
    }

    fn call<R>(
        &mut self,
        node: usize,
        f: impl FnOnce(&mut Rooms<usize>, Duration, &mut dyn FnMut(To<'_, usize>, String)) -> R,
    ) -> R {
        let Node { rooms, lines, sent, .. } = &mut self.nodes[node];
        let result = f(rooms, self.now, &mut |to, line| match to {
            To::One(member) => lines.entry(member).or_default().push(line),
            To::Room(members) => {
                members.iter().for_each(|&member| lines.entry(member).or_default().push(line.clone()));
            }
        });
        sent.extend(rooms.take_orders());
        result
    }

    fn enter(&mut self, member: usize) {
        self.call(member / 10, |rooms, _, send| rooms.enter(member, send));
    }

    fn say(&mut self, member: usize, line: &str) -> Next {
        self.call(member / 10, |rooms, _, send| rooms.receive_line(member, line, send))
    }

    fn leave(&mut self, member: usize) {
        self.call(member / 10, |rooms, _, send| rooms.leave(member, send));
    }

    fn connect(&mut self, node: usize) {
        self.nodes[node].is_up = true;
        self.call(node, |rooms, now, send| rooms.link_is_up(now, send));
        self.hold_all(node);
    }

    /// What is under way on the node's connections is lost.
    fn disconnect(&mut self, node: usize) {
        self.nodes[node].is_up = false;
        self.nodes[node].messages.clear();
        self.call(node, |rooms, _, send| rooms.link_is_lost(send));
        let replies = std::mem::take(&mut self.nodes[node].replies).into_iter().map(|(nick, _)| nick);
        let sent = std::mem::take(&mut self.nodes[node].sent).into_iter();
        let unanswered = sent.filter_map(|order| if let Order::Hold(nick) = order { Some(nick) } else { None });
        for nick in replies.chain(unanswered).collect::<Vec<_>>() {
            self.answer(node, &nick, Answer::Failed);
        }
    }

    fn hold_all(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.sent.extend(node.rooms.nicks().map(|nick| Order::Hold(nick.to_owned())));
    }

    fn answer(&mut self, node: usize, nick: &str, answer: Answer) {
        let ended = self.call(node, |rooms, _, send| rooms.answer(nick, answer, send));
        self.nodes[node].ended.extend(ended);
    }

    /// Redis gets one order of a node. Returns `false` if there is none.
    fn serve(&mut self, node: usize) -> bool {
        if !self.nodes[node].is_up {
            self.nodes[node].sent.clear();
        }
        match self.nodes[node].sent.pop_front() {
            None => return false,
            Some(Order::Publish(message)) => {
                for node in self.nodes.iter_mut().filter(|node| node.is_up) {
                    node.messages.push_back(message.clone());
                }
            }
            Some(Order::Hold(nick)) => {
                let owner = *self.keys.entry(nick.clone()).or_insert(node);
                let answer = if owner == node { Answer::Held } else { Answer::Taken };
                self.nodes[node].replies.push_back((nick, answer));
            }
            Some(Order::Release(nick)) => {
                if self.keys.get(&nick) == Some(&node) {
                    self.keys.remove(&nick);
                }
            }
            Some(Order::SendStateIn(delay)) => {
                self.now += delay;
                self.call(node, |rooms, now, _| rooms.send_state(now));
            }
        }
        true
    }

    /// A node reads one message. Returns `false` if there is none.
    fn read(&mut self, node: usize) -> bool {
        let Some(message) = self.nodes[node].messages.pop_front() else { return false };
        let result = self.call(node, |rooms, now, send| rooms.receive(now, message.as_bytes(), send));
        assert_eq!(result, Ok(()), "{message}");
        true
    }

    /// A node reads one reply. Returns `false` if there is none.
    fn read_reply(&mut self, node: usize) -> bool {
        let Some((nick, answer)) = self.nodes[node].replies.pop_front() else { return false };
        self.answer(node, &nick, answer);
        true
    }

    /// Moves everything until nothing is under way.
    fn settle(&mut self) {
        let count = self.nodes.len();
        while (0..count).any(|node| self.serve(node) || self.read(node) || self.read_reply(node)) {}
    }

    fn tick(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now += Duration::from_secs(1);
            for node in 0..self.nodes.len() {
                self.call(node, |rooms, now, send| rooms.tick(now, send));
            }
            self.settle();
        }
    }

    fn forget_lines(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.lines.clear());
    }

    /// The lines of a member since the last call.
    fn lines(&mut self, member: usize) -> Vec<String> {
        self.nodes[member / 10].lines.remove(&member).unwrap_or_default()
    }

    /// The reply to a command of a member.
    fn asked(&mut self, member: usize, command: &str) -> String {
        self.lines(member);
        self.say(member, command);
        self.lines(member).concat()
    }

    /// All members of all nodes: nick in lower case, and room.
    fn truth(&self) -> Vec<(String, String)> {
        let members = self.nodes.iter().flat_map(|node| node.rooms.members.values());
        let mut members: Vec<_> = members.map(|member| (member.nick.to_lowercase(), member.room.clone())).collect();
        members.sort();
        members
    }

    /// The same, as one node sees it.
    fn seen_by(&self, node: usize) -> Vec<(String, String)> {
        let rooms = &self.nodes[node].rooms;
        let view = &rooms.node.as_ref().expect("it is a node").view;
        let own = rooms.members.values().map(|member| (member.nick.to_lowercase(), member.room.clone()));
        let names: Vec<String> = view.rooms().keys().map(|&room| room.to_owned()).collect();
        let others =
            names.iter().flat_map(|room| view.nicks_in(room).map(move |nick| (nick.to_lowercase(), room.clone())));
        let mut seen: Vec<_> = own.chain(others).collect();
        seen.sort();
        seen
    }
}

#[test]
fn a_line_reaches_the_room_on_all_nodes_once() {
    let mut cluster = Cluster::with(&["ana", "bo", "eva"]);
    cluster.say(20, "/join rust");
    cluster.settle();
    cluster.forget_lines();
    cluster.say(0, "hola");
    cluster.say(10, "/me waves");
    assert_eq!(cluster.lines(0), ["ana: hola"], "the own node does not wait for Redis");
    cluster.settle();
    assert_eq!(cluster.lines(0), ["* bo waves"]);
    assert_eq!(cluster.lines(10), ["* bo waves", "ana: hola"]);
    assert_eq!(cluster.lines(20), [""; 0]);
}

#[test]
fn members_come_go_and_change_their_names_on_all_nodes() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    cluster.enter(1);
    cluster.say(1, "/nick leo");
    cluster.settle();
    let lines = cluster.lines(10);
    assert!(
        matches!(&lines[..], [joined, called] if joined.ends_with(" has joined") && called.ends_with(" is now called leo")),
        "{lines:?}"
    );
    cluster.say(1, "/nick LEO");
    cluster.say(1, "/join rust");
    cluster.settle();
    assert_eq!(cluster.lines(10), ["-- leo is now called LEO", "-- LEO has gone to rust"]);
    assert_eq!(cluster.asked(10, "/rooms"), "-- rooms: lobby (2), rust (1)");
    assert_eq!(cluster.asked(10, "/who"), "-- in lobby: bo, ana");
    cluster.say(10, "/join rust");
    cluster.settle();
    assert_eq!(cluster.lines(1).last().map(String::as_str), Some("-- bo has joined rust"));
    cluster.leave(1);
    cluster.settle();
    assert_eq!(cluster.lines(10).last().map(String::as_str), Some("-- LEO has left"));
    assert_eq!(cluster.keys.keys().collect::<Vec<_>>(), ["ana", "bo"]);
}

#[test]
fn a_private_message_finds_its_receiver_on_another_node() {
    let mut cluster = Cluster::with(&["ana", "Bo", "eva"]);
    assert_eq!(cluster.asked(0, "/msg bO  psst, hola"), "ana (to Bo only): psst, hola");
    cluster.settle();
    assert_eq!(cluster.lines(10), ["ana (to you only): psst, hola"]);
    assert_eq!(cluster.lines(20), [""; 0]);
    assert_eq!(cluster.asked(0, "/msg leo hey"), "-- there is no leo; /who lists the members of this room");
}

#[test]
fn a_nick_has_one_owner_in_the_cluster() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    cluster.say(10, "/nick ANA");
    cluster.settle();
    assert_eq!(cluster.lines(10), ["-- ANA is taken; try another nick"]);
    // Both ask at the same moment. The first one that Redis reads has it.
    cluster.say(0, "/nick eva");
    cluster.say(10, "/nick eva");
    cluster.serve(1);
    cluster.settle();
    assert_eq!(cluster.lines(10), ["-- bo is now called eva"]);
    assert_eq!(cluster.lines(0), ["-- eva is taken; try another nick", "-- bo is now called eva"]);
    cluster.say(0, "/nick bo");
    cluster.settle();
    assert_eq!(cluster.lines(0), ["-- ana is now called bo"], "a nick is free when its owner has another one");
    assert_eq!(cluster.keys, BTreeMap::from([("bo".to_owned(), 0), ("eva".to_owned(), 1)]));
}

#[test]
fn two_members_of_one_node_do_not_wait_for_the_same_nick() {
    let mut cluster = Cluster::with(&["ana"]);
    cluster.enter(1);
    cluster.settle();
    cluster.forget_lines();
    cluster.say(0, "/nick eva");
    cluster.say(1, "/nick Eva");
    assert_eq!(cluster.lines(1), ["-- Eva is taken; try another nick"]);
    cluster.settle();
    assert_eq!(cluster.lines(0), ["-- ana is now called eva"]);
}

#[test]
fn lines_that_are_typed_before_the_answer_are_said_under_the_new_nick() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    for line in ["/nick eva", "one", "/nick bo", "two", "/nick leo", "three", "/quit"] {
        assert_eq!(cluster.say(0, line), Next::Stay);
    }
    assert_eq!(cluster.lines(0), [""; 0]);
    cluster.settle();
    let want = [
        "-- ana is now called eva",
        "eva: one",
        "eva: two",
        "-- eva is now called leo",
        "leo: three",
        "-- leo has left",
    ];
    assert_eq!(cluster.lines(10), want);
    assert_eq!(cluster.nodes[0].ended, BTreeSet::from([0]));
    assert_eq!(cluster.keys.keys().collect::<Vec<_>>(), ["bo"]);
}

#[test]
fn a_member_who_leaves_before_the_answer_says_its_lines_under_the_old_nick() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    for line in ["/nick eva", "one", "/nick leo", "two"] {
        cluster.say(0, line);
    }
    cluster.leave(0);
    cluster.settle();
    assert_eq!(cluster.lines(10), ["ana: one", "ana: two", "-- ana has left"]);
    assert_eq!(cluster.keys.keys().collect::<Vec<_>>(), ["bo"], "nicks that were asked for are given back");
}

#[test]
fn the_lines_that_wait_for_a_nick_are_limited() {
    let mut cluster = Cluster::with(&["ana"]);
    cluster.say(0, "/nick eva");
    let long = "x".repeat(60_000);
    cluster.say(0, &long);
    cluster.say(0, "y");
    assert_eq!(cluster.lines(0), [""; 0]);
    cluster.say(0, &long);
    assert_eq!(cluster.lines(0), [TOO_FAST]);
    cluster.settle();
    assert_eq!(cluster.lines(0), ["-- ana is now called eva".to_owned(), format!("eva: {long}"), "eva: y".to_owned()]);
}

#[test]
fn without_redis_the_nodes_go_on_alone_and_say_so_once() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    for node in [0, 1, 0] {
        cluster.disconnect(node);
    }
    assert_eq!(cluster.lines(0), [ALONE]);
    assert_eq!(cluster.asked(0, "/who"), "-- in lobby: ana");
    assert_eq!(cluster.asked(0, "/msg bo hey"), "-- there is no bo; /who lists the members of this room");
    cluster.say(0, "alone");
    cluster.enter(1);
    assert_eq!(cluster.lines(1)[1..], [ALONE]);
    cluster.settle();
    cluster.forget_lines();
    for node in [1, 0] {
        cluster.connect(node);
    }
    cluster.settle();
    let [together, here] = &cluster.lines(10)[..] else { panic!("two lines") };
    assert_eq!(together, TOGETHER);
    assert!(here.starts_with("-- now here, from another node: ana, guest"), "{here}");
    assert_eq!(cluster.lines(0), [TOGETHER, "-- now here, from another node: bo"]);
    cluster.say(0, "again");
    cluster.settle();
    assert_eq!(cluster.lines(10), ["ana: again"]);
}

#[test]
fn a_member_who_waits_for_a_nick_when_redis_goes_away_gets_it_from_the_node() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    cluster.enter(1);
    cluster.settle();
    cluster.say(0, "/nick eva");
    cluster.say(0, "hola");
    cluster.say(1, "/nick bo");
    cluster.forget_lines();
    cluster.disconnect(0);
    assert_eq!(cluster.lines(0), [ALONE, "-- ana is now called eva", "eva: hola"]);
    assert_eq!(cluster.lines(1)[2..], ["eva: hola", "-- bo is taken; try another nick"]);
}

#[test]
fn nicks_that_were_known_elsewhere_stay_taken_while_redis_is_away() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    cluster.disconnect(0);
    assert_eq!(cluster.asked(0, "/nick BO"), "-- BO is taken; try another nick");
    // Redis is there, but has forgotten everything, and the other node has not come yet.
    cluster.disconnect(1);
    cluster.keys.clear();
    cluster.connect(0);
    cluster.settle();
    assert_eq!(cluster.asked(0, "/nick bo"), "-- bo is taken; try another nick");
    cluster.connect(1);
    cluster.settle();
    assert_eq!(cluster.keys, BTreeMap::from([("ana".to_owned(), 0), ("bo".to_owned(), 1)]));
}

#[test]
fn of_two_members_with_one_nick_the_first_to_be_back_keeps_it() {
    for first in [0, 1] {
        let mut cluster = Cluster::with(&["ana", "bo"]);
        (0..2).for_each(|node| cluster.disconnect(node));
        cluster.say(0, "/nick eva");
        cluster.say(10, "/nick Eva");
        cluster.forget_lines();
        let second = 1 - first;
        cluster.connect(first);
        cluster.settle();
        cluster.connect(second);
        cluster.settle();
        assert_eq!(cluster.keys["eva"], first);
        let lines = cluster.lines(10 * second);
        let nick = if second == 0 { "eva" } else { "Eva" };
        assert!(
            lines.contains(&format!("-- {nick} belongs to a member on another node, so you get another nick")),
            "{lines:?}"
        );
        assert!(lines.iter().any(|line| line.contains(&format!("{nick} is now called guest"))), "{lines:?}");
        let truth = cluster.truth();
        assert!(truth[0].0 == "eva" && truth[1].0.starts_with("guest"), "{truth:?}");
        assert_eq!((cluster.seen_by(0), cluster.seen_by(1)), (truth.clone(), truth));
    }
}

#[test]
fn a_node_that_is_silent_for_a_lease_is_gone_with_its_members() {
    let mut cluster = Cluster::with(&["ana", "bo", "eva"]);
    cluster.tick(9);
    // It ends without a message.
    cluster.nodes[1].is_up = false;
    cluster.nodes[1].rooms = Rooms::default();
    cluster.tick(9);
    assert_eq!(cluster.asked(0, "/who"), "-- in lobby: ana, bo, eva");
    cluster.tick(1);
    assert_eq!(cluster.lines(0), ["-- gone with another node: bo"]);
    assert_eq!(cluster.asked(0, "/who"), "-- in lobby: ana, eva");
}

#[test]
fn a_node_that_has_missed_messages_gets_the_state() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    cluster.enter(1);
    while cluster.serve(0) {}
    // Redis has dropped them: the node was too slow.
    cluster.nodes[1].messages.clear();
    cluster.settle();
    assert_ne!(cluster.seen_by(1), cluster.truth());
    cluster.tick(1);
    assert_eq!(cluster.seen_by(1), cluster.truth());
}

#[test]
fn a_state_is_sent_once_to_all_who_ask_at_the_same_moment() {
    let mut cluster = Cluster::with(&["ana", "bo"]);
    cluster.tick(1);
    for number in 1..=50 {
        let ask = format!("bucle1 {:016x} 1 ask", 1000 + number);
        let result = cluster.call(0, |rooms, now, send| rooms.receive(now, ask.as_bytes(), send));
        assert_eq!(result, Ok(()));
    }
    let states =
        cluster.nodes[0].sent.iter().filter(|order| matches!(order, Order::Publish(text) if text.contains(" state ")));
    assert_eq!(states.count(), 1);
    let delays = cluster.nodes[0].sent.iter().filter(|order| matches!(order, Order::SendStateIn(_)));
    assert_eq!(delays.count(), 1, "and once more soon");
}

#[test]
fn what_another_node_sends_is_checked() {
    let mut cluster = Cluster::with(&["ana"]);
    let mut receive = |message: &str| cluster.call(0, |rooms, now, send| rooms.receive(now, message.as_bytes(), send));
    assert!(receive("hola").is_err());
    assert_eq!(receive("bucle1 00000000000000ff 5 line lobby x: \u{1b}[2J"), Ok(()));
    assert!(receive("bucle1 00000000000000ff 5 line lobby x: again").is_err(), "the number was there");
    assert_eq!(receive("bucle1 0000000000000000 1 line lobby x: from this node"), Ok(()));
    assert_eq!(receive("bucle1 00000000000000ff 6 msg 0000000000000000 nobody x hola"), Ok(()));
    assert_eq!(receive("bucle1 00000000000000ff 7 msg 0000000000000009 ana x hola"), Ok(()));
    assert_eq!(cluster.lines(0), ["x: ␛[2J"]);
}

#[test]
fn a_refusal_of_redis_is_not_an_owner() {
    let mut cluster = Cluster::with(&["ana"]);
    cluster.say(0, "/nick eva");
    cluster.nodes[0].sent.clear();
    cluster.answer(0, "eva", Answer::Failed);
    assert_eq!(cluster.lines(0), [NO_NICK]);
    assert!(cluster.call(0, |rooms, _, _| rooms.note_keys_refused(true)));
    assert!(!cluster.call(0, |rooms, _, _| rooms.note_keys_refused(true)));
    assert!(cluster.call(0, |rooms, _, _| rooms.note_keys_refused(false)));
}

/// What may happen. Numbers choose a node or a member.
#[derive(Clone, Debug)]
enum Step {
    Enter(usize),
    Leave(usize),
    Nick(usize, usize),
    Join(usize, usize),
    Say(usize),
    Serve(usize),
    Read(usize),
    ReadReply(usize),
    Tick,
    Renew(usize),
    Cut(usize),
    Mend(usize),
    /// Redis forgets its keys, and all links are cut.
    Restart,
}

fn steps(with_losses: bool) -> impl Strategy<Value = Vec<Step>> {
    let member = (0usize..3, 0usize..3).prop_map(|(node, number)| node * 10 + number);
    let usual = prop_oneof![
        2 => member.clone().prop_map(Step::Enter),
        1 => member.clone().prop_map(Step::Leave),
        3 => (member.clone(), 0usize..4).prop_map(|(member, nick)| Step::Nick(member, nick)),
        2 => (member.clone(), 0usize..3).prop_map(|(member, room)| Step::Join(member, room)),
        4 => member.prop_map(Step::Say),
        8 => (0usize..3).prop_map(Step::Serve),
        8 => (0usize..3).prop_map(Step::Read),
        6 => (0usize..3).prop_map(Step::ReadReply),
        1 => Just(Step::Tick),
        1 => (0usize..3).prop_map(Step::Renew),
    ];
    let loss = prop_oneof![
        3 => (0usize..3).prop_map(Step::Cut),
        4 => (0usize..3).prop_map(Step::Mend),
        1 => Just(Step::Restart),
    ];
    let step = if with_losses { prop_oneof![12 => usual, 1 => loss].boxed() } else { usual.boxed() };
    prop::collection::vec(step, 0..200)
}

fn run(steps: &[Step]) -> Cluster {
    let mut cluster = Cluster::of(3);
    let mut said = 0;
    for step in steps {
        let up: Vec<bool> = cluster.nodes.iter().map(|node| node.is_up).collect();
        match *step {
            Step::Enter(member) if !cluster.nodes[member / 10].rooms.members.contains_key(&member) => {
                cluster.enter(member);
            }
            Step::Enter(_) => {}
            Step::Leave(member) => cluster.leave(member),
            Step::Nick(member, nick) => drop(cluster.say(member, ["/nick a", "/nick B", "/nick c", "/nick b"][nick])),
            Step::Join(member, room) => drop(cluster.say(member, ["/join lobby", "/join x", "/join y"][room])),
            Step::Say(member) => {
                said += 1;
                cluster.say(member, &format!("#{member} #{said}"));
            }
            Step::Serve(node) => drop(cluster.serve(node)),
            Step::Read(node) => drop(cluster.read(node)),
            Step::ReadReply(node) => drop(cluster.read_reply(node)),
            Step::Tick => {
                cluster.now += Duration::from_secs(1);
                for node in 0..3 {
                    cluster.call(node, |rooms, now, send| rooms.tick(now, send));
                }
            }
            Step::Renew(node) if up[node] => cluster.hold_all(node),
            Step::Cut(node) if up[node] => cluster.disconnect(node),
            Step::Mend(node) if !up[node] => cluster.connect(node),
            Step::Restart => {
                (0..3).filter(|&node| up[node]).for_each(|node| cluster.disconnect(node));
                cluster.keys.clear();
            }
            Step::Renew(_) | Step::Cut(_) | Step::Mend(_) => {}
        }
    }
    for node in 0..3 {
        if !cluster.nodes[node].is_up {
            cluster.connect(node);
        }
    }
    cluster.settle();
    // Two renewals: a member who has lost its nick takes another one, whose key may be lost, too.
    for _ in 0..2 {
        (0..3).for_each(|node| cluster.hold_all(node));
        cluster.settle();
    }
    cluster.tick(2);
    cluster
}

/// The lines that members have said, as one member has got them: sender and number.
fn said(lines: &[String]) -> Vec<(usize, u32)> {
    let said = lines.iter().filter_map(|line| line.split_once(": #")?.1.split_once(" #"));
    said.map(|(sender, number)| (sender.parse().expect("a member"), number.parse().expect("a number"))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_nodes_agree_in_the_end(steps in steps(true)) {
        let cluster = run(&steps);
        let truth = cluster.truth();
        for node in 0..3 {
            prop_assert_eq!(&cluster.seen_by(node), &truth, "node {}", node);
        }
        let nicks: BTreeSet<&String> = truth.iter().map(|(nick, _)| nick).collect();
        prop_assert_eq!(nicks.len(), truth.len(), "a nick has one owner");
        for (number, node) in cluster.nodes.iter().enumerate() {
            for nick in node.rooms.nicks() {
                prop_assert_eq!(cluster.keys.get(nick), Some(&number), "the key of {}", nick);
            }
        }
        for lines in cluster.nodes.iter().flat_map(|node| node.lines.values()) {
            let mut last = BTreeMap::new();
            for (sender, number) in said(lines) {
                let before = last.insert(sender, number);
                prop_assert!(before.is_none_or(|before| before < number), "once, and in the order of {}", sender);
            }
        }
    }

    #[test]
    fn without_losses_members_who_stay_get_each_line_once(steps in steps(false)) {
        let steps: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Leave(_) | Step::Join(..))).collect();
        // All members are there from the beginning.
        let everyone = (0..9).map(|number| Step::Enter(number / 3 * 10 + number % 3));
        let cluster = run(&everyone.chain(steps.iter().cloned()).collect::<Vec<_>>());
        let count = steps.iter().filter(|step| matches!(step, Step::Say(_))).count();
        for lines in cluster.nodes.iter().flat_map(|node| node.lines.values()) {
            let numbers: BTreeSet<u32> = said(lines).into_iter().map(|(_, number)| number).collect();
            prop_assert_eq!((numbers.len(), said(lines).len()), (count, count));
        }
        prop_assert_eq!(cluster.keys.len(), 9, "each member has one key");
    }
}
