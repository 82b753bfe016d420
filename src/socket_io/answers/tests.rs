use super::*;
use proptest::prelude::*;
use std::time::Duration;

/// The socket, and its id.
fn asked(sockets: impl IntoIterator<Item = u8>) -> Vec<(u8, SocketId)> {
    sockets.into_iter().map(|socket| (socket, id(socket))).collect()
}

fn id(socket: u8) -> SocketId {
    format!("id {socket}").as_str().into()
}

fn missing(collection: &Collection<u8, &str>) -> Vec<SocketId> {
    collection.missing().cloned().collect()
}

#[test]
fn an_acknowledgement_is_taken_once_and_only_by_its_socket() {
    let mut acks = Acks::default();
    let first = acks.insert(1, None, "first");
    let second = acks.insert(2, Some(Instant::now()), "second");
    assert_eq!(acks.take(2, first), None, "another socket was asked");
    assert_eq!(acks.take(1, 99), None, "no such number");
    assert_eq!((acks.take(1, first), acks.take(1, first)), (Some("first"), None));
    assert_eq!((acks.take(2, second), acks.take(2, second)), (Some("second"), None));
    assert!(acks.is_empty() && acks.next_deadline().is_none());
}

#[test]
fn a_number_is_given_once_in_a_namespace() {
    let mut acks = Acks::default();
    let ids = [acks.insert(1, None, ()), acks.insert(2, None, ()), acks.new_id(), acks.insert(1, None, ())];
    assert_eq!(ids, [0, 1, 2, 3]);
    acks.take(1, 3);
    assert_eq!(acks.insert(1, None, ()), 4, "a number that was answered is not used again");
}

#[test]
fn acknowledgements_expire_by_deadline_and_then_by_number() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut acks = Acks::default();
    acks.insert(1, None, "never");
    acks.insert(9, Some(at(20)), "b");
    acks.insert(1, Some(at(20)), "c");
    acks.insert(5, Some(at(10)), "a");
    let late = acks.insert(5, Some(at(21)), "d");
    assert_eq!((acks.next_deadline(), acks.expired(at(9))), (Some(at(10)), vec![]));
    assert_eq!(acks.expired(at(20)), [(5, "a"), (9, "b"), (1, "c")]);
    assert_eq!((acks.next_deadline(), acks.len()), (Some(at(21)), 2));
    assert_eq!(acks.expired(at(30)), [(5, "d")]);
    assert_eq!(acks.take(5, late), None, "the answer is late");
    assert_eq!((acks.next_deadline(), acks.expired(at(1_000_000)), acks.len()), (None, vec![], 1));
}

#[test]
fn a_socket_that_closes_takes_its_acknowledgements_along() {
    let now = Instant::now();
    let mut acks = Acks::default();
    for (socket, deadline, name) in [(1, Some(now), "a"), (2, Some(now), "b"), (1, None, "c"), (0, None, "d")] {
        acks.insert(socket, deadline, name);
    }
    assert_eq!(acks.drain(1), ["a", "c"]);
    assert_eq!(acks.drain(1), [""; 0]);
    assert_eq!((acks.len(), acks.expired(now)), (2, vec![(2, "b")]));
}

proptest! {
    /// A list is the reference.
    #[test]
    fn any_calls_have_the_effect_of_a_list(calls in proptest::collection::vec((0u8..5, 0u8..4, 0u64..20), 0..60)) {
        let start = Instant::now();
        let (mut acks, mut list, mut now) = (Acks::default(), Vec::new(), 0);
        for (call, socket, number) in calls {
            match call {
                0 | 1 => {
                    let deadline = (number < 15).then_some(now + number);
                    let id = acks.insert(socket, deadline.map(|ms| start + Duration::from_millis(ms)), (socket, number));
                    list.push((id, socket, deadline, (socket, number)));
                }
                2 => {
                    let at = list.iter().position(|&(id, other, ..)| (id, other) == (number, socket));
                    prop_assert_eq!(acks.take(socket, number), at.map(|at| list.remove(at).3));
                }
                3 => {
                    let want: Vec<_> = list.extract_if(.., |entry| entry.1 == socket).map(|entry| entry.3).collect();
                    prop_assert_eq!(acks.drain(socket), want);
                }
                _ => {
                    now += number;
                    let mut want: Vec<_> =
                        list.extract_if(.., |entry| entry.2.is_some_and(|deadline| deadline <= now)).collect();
                    want.sort_by_key(|&(id, _, deadline, _)| (deadline, id));
                    let want: Vec<_> = want.into_iter().map(|(_, socket, _, callback)| (socket, callback)).collect();
                    prop_assert_eq!(acks.expired(start + Duration::from_millis(now)), want);
                }
            }
            let earliest = list.iter().filter_map(|entry| entry.2).min();
            prop_assert_eq!(acks.next_deadline(), earliest.map(|ms| start + Duration::from_millis(ms)));
            prop_assert_eq!((acks.len(), acks.is_empty()), (list.len(), list.is_empty()));
        }
    }
}

#[test]
fn each_socket_that_was_asked_answers_once() {
    let mut collection = Collection::new(asked([3, 1, 2]));
    assert!(collection.answer(2, "yes"));
    assert!(!collection.answer(2, "no"), "it has answered");
    assert!(!collection.answer(4, "no"), "it was not asked");
    assert_eq!((missing(&collection), collection.is_complete()), (vec![id(1), id(3)], false));
    assert!(collection.answer(1, "no") && collection.answer(3, "yes"));
    assert!(collection.is_complete() && missing(&collection).is_empty());
    let answer = |socket, value| Answer { from: Some(id(socket)), value };
    assert_eq!(collection.into_answers(), [answer(2, "yes"), answer(1, "no"), answer(3, "yes")]);
}

#[test]
fn a_broadcast_that_no_socket_received_is_complete() {
    assert!(Collection::<u8, &str>::new([]).is_complete());
}

#[test]
fn a_socket_that_closed_is_missing_but_not_waited_for() {
    let mut collection = Collection::new(asked([1, 2, 3]));
    collection.answer(1, "yes");
    collection.close(3);
    collection.close(1);
    collection.close(9);
    assert!(!collection.is_settled(), "socket 2 may answer");
    assert!(!collection.answer(3, "yes"), "it has closed");
    assert_eq!(missing(&collection), [id(3), id(2)]);
    collection.answer(2, "no");
    assert!(collection.is_settled() && !collection.is_complete());
    assert_eq!((missing(&collection), collection.answers().len()), (vec![id(3)], 2));
}

#[test]
fn answers_of_other_nodes_are_counted_in_any_order() {
    // In twenty orders. Only the last step can settle the collection, whichever it is.
    type Step = fn(&mut Collection<u8, &'static str>);
    let steps: [Step; 5] = [
        |collection| collection.expect_nodes(2),
        |collection| collection.node_reported(0),
        |collection| collection.node_reported(1),
        |collection| collection.node_answered("remote"),
        |collection| assert!(collection.answer(1, "local")),
    ];
    for first in 0..steps.len() {
        for distance in 1..steps.len() {
            let mut order: Vec<usize> = (0..steps.len()).map(|n| (first + n * distance) % steps.len()).collect();
            let mut collection = Collection::with_other_nodes(asked([1]));
            let last = order.pop();
            for step in order {
                steps[step](&mut collection);
                assert!(!collection.is_settled(), "{first} {distance} {step}");
            }
            last.into_iter().for_each(|step| steps[step](&mut collection));
            assert!(collection.is_complete(), "{first} {distance}");
            let froms: Vec<bool> = collection.answers().iter().map(|answer| answer.from.is_some()).collect();
            assert!(froms == [true, false] || froms == [false, true]);
        }
    }
}

#[test]
fn the_missing_answers_of_other_nodes_are_a_number() {
    let mut collection = Collection::<u8, &str>::with_other_nodes([]);
    collection.expect_nodes(1);
    assert_eq!(collection.missing_on_other_nodes(), 0, "not known yet");
    collection.node_reported(3);
    collection.node_answered("yes");
    assert_eq!((collection.missing_on_other_nodes(), collection.is_settled()), (2, false));
    collection.node_answered("yes");
    collection.node_answered("yes");
    assert_eq!((collection.missing_on_other_nodes(), collection.is_complete()), (0, true));
    collection.node_answered("one too many");
    assert_eq!((collection.missing_on_other_nodes(), collection.is_complete()), (0, true));
}

#[test]
fn acknowledgements_are_taken_by_their_numbers() {
    let mut acks = Acks::default();
    let now = Instant::now();
    let ids: Vec<u64> = (0..4).map(|number| acks.insert(7, Some(now), number)).collect();
    acks.insert(8, None, 4);
    assert_eq!(acks.drain_where(7, |id| id != ids[1] && id != ids[3]), [0, 2]);
    assert!(acks.drain_where(7, |_| false).is_empty());
    assert_eq!((acks.take(7, ids[0]), acks.take(7, ids[1])), (None, Some(1)));
    assert_eq!(acks.expired(now), [(7, 3)], "the deadlines of the others are gone");
    assert_eq!(acks.len(), 1);
}
