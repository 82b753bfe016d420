//! What a node knows of the others, from their messages.

use super::*;

const A: NodeId = NodeId(0xa);
const B: NodeId = NodeId(0xb);

fn at(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn place(nick: &str, room: &str) -> Place {
    (nick.into(), room.into())
}

/// A view that has the state of node A: ana and bo in the lobby, eva in rust. Its messages go on with 3.
fn view() -> View {
    let mut view = View::default();
    assert_eq!(view.hear(at(0), A, 1), Heard::New);
    assert_eq!(view.hear(at(0), A, 2), Heard::New);
    let members = [("ana", "lobby"), ("Bo", "lobby"), ("eva", "rust")];
    let difference = view.state(A, 1, 1, &members);
    assert_eq!(difference.came, [place("ana", "lobby"), place("Bo", "lobby"), place("eva", "rust")]);
    assert_eq!(difference.left, []);
    view
}

fn nicks(view: &View, room: &str) -> Vec<String> {
    view.nicks_in(room).map(str::to_owned).collect()
}

/// What must hold at any time.
fn check(view: &View) {
    let mut members = 0;
    for node in view.nodes.values() {
        let in_rooms: usize = node.table.rooms.values().map(BTreeSet::len).sum();
        assert_eq!(in_rooms, node.table.members.len());
        assert!(node.table.rooms.values().all(|members| !members.is_empty()));
        members += in_rooms + node.arriving.as_ref().map_or(0, |arriving| arriving.members.len());
    }
    assert_eq!(view.members, members);
}

#[test]
fn members_are_listed_by_room_and_found_by_nick_in_any_case() {
    let view = view();
    assert_eq!(nicks(&view, "lobby"), ["ana", "Bo"]);
    assert_eq!(nicks(&view, "nowhere"), [""; 0]);
    assert_eq!((view.count_in("lobby"), view.count_in("nowhere")), (2, 0));
    assert_eq!(view.rooms(), BTreeMap::from([("lobby", 2), ("rust", 1)]));
    assert_eq!(view.find("bO"), Some((A, "Bo")));
    assert_eq!(view.find("leo"), None);
    assert_eq!(view.node_count(), 1);
    check(&view);
}

#[test]
fn changes_of_a_node_whose_state_is_known_are_announced() {
    let mut view = view();
    assert!(view.enter(A, "leo", "lobby"));
    assert_eq!(view.move_to(A, "LEO", "rust"), Some(place("leo", "lobby")));
    assert_eq!(view.move_to(A, "leo", "rust"), None, "it is there already");
    assert_eq!(view.rename(A, "leo", "Lea"), Some(place("leo", "rust")));
    assert_eq!(view.leave(A, "lea"), Some(place("Lea", "rust")));
    assert_eq!(view.leave(A, "lea"), None);
    assert_eq!(view.rename(A, "nobody", "x"), None);
    assert_eq!(nicks(&view, "rust"), ["eva"]);
    check(&view);
}

#[test]
fn a_node_that_is_not_known_is_asked_for_its_state_once_a_second() {
    let mut view = View::default();
    assert_eq!(view.hear(at(5), A, 7), Heard::New);
    assert!(view.asks(at(5), A));
    assert!(!view.asks(at(5), A));
    assert!(!view.enter(A, "ana", "lobby"), "its state will have her");
    assert_eq!(view.find("ana"), None);
    assert_eq!(view.all_to_ask(at(6)), [A]);
    view.hear(at(6), A, 8);
    assert_eq!(view.state(A, 1, 1, &[("ana", "lobby")]).came, [place("ana", "lobby")]);
    assert_eq!(view.all_to_ask(at(9)), []);
    check(&view);
}

#[test]
fn a_gap_in_the_numbers_leads_to_the_state_and_what_differs_is_announced() {
    let mut view = view();
    assert_eq!(view.hear(at(1), A, 3), Heard::New);
    assert!(!view.asks(at(1), A));
    assert_eq!(view.hear(at(1), A, 5), Heard::New);
    assert!(view.asks(at(1), A), "4 is lost");
    assert_eq!(nicks(&view, "lobby"), ["ana", "Bo"], "it is listed meanwhile");
    view.hear(at(1), A, 6);
    let difference = view.state(A, 1, 1, &[("ana", "lobby"), ("eva", "lobby"), ("leo", "rust")]);
    assert_eq!(difference.came, [place("eva", "lobby"), place("leo", "rust")]);
    assert_eq!(difference.left, [place("Bo", "lobby"), place("eva", "rust")]);
    check(&view);
}

#[test]
fn a_message_that_was_there_is_old() {
    let mut view = view();
    assert_eq!(view.hear(at(1), A, 2), Heard::Old);
    assert_eq!(view.hear(at(1), A, 1), Heard::Old);
    assert_eq!(view.hear(at(1), B, 1), Heard::New, "each node counts its own");
}

#[test]
fn a_forged_number_does_not_silence_a_node() {
    for forged in [&[u64::MAX][..], &[u64::MAX - 1, u64::MAX], &[9, 1000, u64::MAX], &[5]] {
        let mut view = view();
        for &number in forged {
            assert_eq!(view.hear(at(1), A, number), Heard::New);
        }
        view.state(A, 1, 1, &[("nobody", "lobby")]);
        assert_eq!(view.hear(at(2), A, 3), Heard::New, "the node goes on, {forged:?}");
        assert!(view.asks(at(2), A), "what the forged message has changed is not believed");
        assert_eq!(view.hear(at(2), A, 4), Heard::New);
        view.state(A, 1, 1, &[("ana", "lobby")]);
        assert_eq!(nicks(&view, "lobby"), ["ana"]);
        check(&view);
    }
    // The first message of a node that is not known.
    let mut view = View::default();
    assert_eq!(view.hear(at(1), A, u64::MAX), Heard::New);
    assert_eq!([1, 2, 2].map(|number| view.hear(at(1), A, number)), [Heard::New, Heard::New, Heard::Old]);
    // The next number leaves no trace but the second message with it, which may be that of the node.
    let mut view = self::view();
    assert_eq!([3, 3].map(|number| view.hear(at(1), A, number)), [Heard::New, Heard::Old]);
    assert!(view.asks(at(1), A));
}

#[test]
fn numbers_that_were_skipped_long_ago_are_old() {
    let mut view = view();
    view.hear(at(1), A, 10);
    for second in 2..=11 {
        view.hear(at(second), A, 9 + second);
    }
    assert_eq!(view.hear(at(11), A, 5), Heard::Old);
}

#[test]
fn a_state_in_parts_is_used_when_all_are_there() {
    let mut view = view();
    view.hear(at(1), A, 3);
    assert_eq!(view.state(A, 1, 3, &[("x", "lobby")]), Difference::default());
    assert_eq!(view.state(A, 2, 3, &[("y", "lobby")]), Difference::default());
    assert_eq!(nicks(&view, "lobby"), ["ana", "Bo"]);
    check(&view);
    let difference = view.state(A, 3, 3, &[("eva", "rust")]);
    assert_eq!(difference.came, [place("x", "lobby"), place("y", "lobby")]);
    assert_eq!(difference.left, [place("ana", "lobby"), place("Bo", "lobby")]);
    check(&view);
}

#[test]
fn a_state_with_a_gap_is_asked_for_again() {
    let mut view = view();
    view.hear(at(1), A, 3);
    view.state(A, 1, 3, &[("x", "lobby")]);
    assert!(!view.asks(at(1), A), "it is arriving");
    view.hear(at(1), A, 5);
    assert_eq!(view.state(A, 3, 3, &[("z", "lobby")]), Difference::default());
    assert!(view.asks(at(2), A));
    check(&view);
    let mut view = self::view();
    view.hear(at(1), A, 3);
    assert_eq!(view.state(A, 2, 2, &[("z", "lobby")]), Difference::default());
    assert!(view.asks(at(1), A), "the first part is missing");
    assert_eq!(nicks(&view, "lobby"), ["ana", "Bo"]);
}

#[test]
fn a_node_that_is_not_heard_for_a_lease_is_gone_with_its_members() {
    let mut view = view();
    view.hear(at(4), A, 3);
    assert_eq!(view.expire(at(13)), []);
    assert_eq!(view.expire(at(14)), [place("ana", "lobby"), place("Bo", "lobby"), place("eva", "rust")]);
    assert_eq!((view.node_count(), view.members), (0, 0));
    assert_eq!(view.hear(at(20), A, 4), Heard::New, "it may come back");
    assert!(view.asks(at(20), A));
}

#[test]
fn a_node_that_has_slept_does_not_take_the_others_for_gone() {
    let mut view = view();
    view.wake_up(at(100));
    assert_eq!(view.expire(at(109)), []);
    assert_eq!(view.expire(at(110)).len(), 3);
}

#[test]
fn hidden_nodes_are_in_no_list_but_their_nicks_are_remembered() {
    let mut view = view();
    assert!(view.knows("bo") && !view.remembers("bo"));
    view.hide();
    assert_eq!((nicks(&view, "lobby"), view.find("ana"), view.rooms().len()), (vec![], None, 0));
    assert!(view.knows("bo") && view.remembers("bo") && !view.knows("leo"));
    view.restart(at(60));
    assert_eq!(view.all_to_ask(at(60)), [], "all were asked at once");
    assert_eq!(view.all_to_ask(at(61)), [A]);
    view.hear(at(61), A, 3);
    let difference = view.state(A, 1, 1, &[("ana", "lobby")]);
    assert_eq!((difference.came, difference.left), (vec![place("ana", "lobby")], vec![]));
    assert!(!view.knows("bo"));
    view.hide();
    view.restart(at(70));
    assert_eq!(view.expire(at(80)), [], "the members did not see it come back, so it is not announced that it is gone");
    assert!(!view.knows("ana"));
    check(&view);
}

#[test]
fn the_numbers_of_nodes_and_members_are_limited() {
    let mut view = View { max_members: 4, ..view() };
    assert!(view.enter(A, "leo", "lobby"));
    assert!(!view.enter(A, "lea", "lobby"), "there are four");
    view.hear(at(0), B, 1);
    view.state(B, 1, 1, &[("x", "lobby"), ("y", "lobby")]);
    assert!(!view.knows("x"));
    view.leave(A, "leo");
    view.state(B, 1, 2, &[("x", "lobby"), ("y", "lobby")]);
    view.state(B, 2, 2, &[("z", "lobby")]);
    assert_eq!((view.knows("x"), view.knows("y")), (true, false));
    check(&view);
    for id in 0..MAX_NODES as u64 {
        view.hear(at(0), NodeId(1000 + id), 1);
    }
    assert_eq!(view.hear(at(0), NodeId(1), 1), Heard::Full);
    assert_eq!(view.hear(at(0), B, 2), Heard::New, "known nodes go on");
}

#[test]
fn equal_nicks_in_a_state_are_one_member() {
    let mut view = View::default();
    view.hear(at(0), A, 1);
    view.state(A, 1, 1, &[("ana", "lobby"), ("ANA", "rust")]);
    assert_eq!((view.find("ana"), view.rooms()), (Some((A, "ANA")), BTreeMap::from([("rust", 1)])));
    check(&view);
    view.enter(A, "bo", "lobby");
    view.rename(A, "bo", "ana");
    check(&view);
    assert!(view.asks(at(5), A), "the node does not have two members with one nick, so something was lost");
}
