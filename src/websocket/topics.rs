//! Topics: which members receive what is published.
//!
//! A *member* is a connection, named by a small value such as a handle. A *topic* is a name. It exists as long as it
//! has subscribers:
//!
//! ```text
//!   by topic     "room:1"  ──▶  {a, b}      who receives a publication
//!                "room:2"  ──▶  {b}
//!   by member    a ──▶ "room:1"             what to remove when a member leaves
//!                b ──▶ "room:1", "room:2"
//! ```
//!
//! # Publishing
//!
//! Sending to a member may close it, and a closed member leaves all topics. So a program does not hold a borrow of the
//! topics while it sends. It copies some members, sends to them, and continues behind the last one
//! ([`subscribers_after`](Topics::subscribers_after)). Members that leave or join meanwhile do no harm, because the
//! order is that of the members themselves:
//!
//! ```
//! use bucle::websocket::topics::Topics;
//!
//! /// Calls `send` for each subscriber. Nothing is allocated.
//! fn publish(topics: &mut Topics<u64>, topic: &str, mut send: impl FnMut(&mut Topics<u64>, u64)) {
//!     let (mut some, mut last) = ([0; 64], None);
//!     loop {
//!         let mut len = 0;
//!         for (place, member) in some.iter_mut().zip(topics.subscribers_after(topic, last)) {
//!             (*place, len) = (member, len + 1);
//!         }
//!         for &member in &some[..len] {
//!             send(topics, member);
//!         }
//!         if len < some.len() {
//!             return;
//!         }
//!         last = some.last().copied();
//!     }
//! }
//!
//! let mut topics = Topics::default();
//! (1..=100).for_each(|member| drop(topics.subscribe(member, "news")));
//! let mut received = Vec::new();
//! publish(&mut topics, "news", |topics, member| {
//!     received.push(member);
//!     topics.leave_all(member); // As if the connection had failed.
//! });
//! assert_eq!(received, Vec::from_iter(1..=100));
//! assert_eq!(topics.count("news"), 0);
//! ```
//!
//! # Bounds
//!
//! A member without topics costs nothing. A subscription costs about 40 bytes, and a topic about 280 bytes and its
//! name. All of it is freed when members leave. The number of topics and the length of names are not limited here: a
//! program that takes names from its peers limits them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::rc::Rc;

/// The subscriptions of members to topics. `M` names a member.
///
/// Invariant: a pair of member and topic is in `topics` if and only if it is in `subscriptions`; `names` has exactly
/// the names in `topics`; no topic is without subscribers.
#[derive(Debug)]
pub struct Topics<M> {
    topics: HashMap<Rc<str>, Topic<M>>,
    /// The same names in the order in which the topics were created.
    names: BTreeMap<u64, Rc<str>>,
    /// Each subscription as a member and the serial of a topic, so that those of one member are neighbours.
    subscriptions: BTreeSet<(M, u64)>,
    next_serial: u64,
}

#[derive(Debug)]
struct Topic<M> {
    /// Names this topic in `names` and `subscriptions`. A serial is given out once.
    serial: u64,
    subscribers: BTreeSet<M>,
}

impl<M> Default for Topics<M> {
    fn default() -> Topics<M> {
        Topics { topics: HashMap::new(), names: BTreeMap::new(), subscriptions: BTreeSet::new(), next_serial: 0 }
    }
}

impl<M: Copy + Ord> Topics<M> {
    /// Returns `false` if the member was subscribed already.
    pub fn subscribe(&mut self, member: M, topic: &str) -> bool {
        let entry = match self.topics.get_mut(topic) {
            Some(entry) => entry,
            None => {
                let (name, serial) = (Rc::<str>::from(topic), self.next_serial);
                self.next_serial += 1;
                self.names.insert(serial, name.clone());
                self.topics.entry(name).or_insert(Topic { serial, subscribers: BTreeSet::new() })
            }
        };
        self.subscriptions.insert((member, entry.serial));
        entry.subscribers.insert(member)
    }

    /// Returns `false` if the member was not subscribed.
    pub fn unsubscribe(&mut self, member: M, topic: &str) -> bool {
        let Some(entry) = self.topics.get(topic) else { return false };
        let subscription = (member, entry.serial);
        let was_subscribed = self.subscriptions.remove(&subscription);
        if was_subscribed {
            self.remove_from_topic(subscription);
        }
        was_subscribed
    }

    /// Ends all subscriptions of a member.
    pub fn leave_all(&mut self, member: M) {
        while let Some(&subscription) = self.subscriptions.range((member, 0)..=(member, u64::MAX)).next() {
            self.subscriptions.remove(&subscription);
            self.remove_from_topic(subscription);
        }
    }

    /// Removes a member from a topic, and the topic if it was the last one.
    fn remove_from_topic(&mut self, (member, serial): (M, u64)) {
        let name = &self.names[&serial];
        let topic = self.topics.get_mut(name).expect("`names` has the names of `topics` only");
        topic.subscribers.remove(&member);
        if topic.subscribers.is_empty() {
            self.topics.remove(name);
            self.names.remove(&serial);
            // A hash map keeps its memory unless it is asked to shrink.
            if self.topics.capacity() > 4 * self.topics.len().max(16) {
                self.topics.shrink_to(2 * self.topics.len());
            }
        }
    }

    /// The subscribers of a topic, in the order of `M`.
    pub fn subscribers(&self, topic: &str) -> impl Iterator<Item = M> + '_ {
        self.subscribers_after(topic, None)
    }

    /// The subscribers that follow `member` in the order of `M`; all of them after `None`. `member` itself need not be
    /// subscribed any longer.
    ///
    /// The start takes logarithmic time, each further subscriber constant time.
    pub fn subscribers_after(&self, topic: &str, member: Option<M>) -> impl Iterator<Item = M> + '_ {
        let start = member.map_or(Bound::Unbounded, Bound::Excluded);
        let topic = self.topics.get(topic);
        topic.into_iter().flat_map(move |topic| topic.subscribers.range((start, Bound::Unbounded)).copied())
    }

    /// How many subscribers a topic has.
    pub fn count(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, |topic| topic.subscribers.len())
    }

    /// All topics, in the order in which they were created.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(|name| &**name)
    }

    /// The topics of a member, in the order in which they were created.
    pub fn topics_of(&self, member: M) -> impl Iterator<Item = &str> {
        self.subscriptions.range((member, 0)..=(member, u64::MAX)).map(|(_, serial)| &*self.names[serial])
    }

    /// Whether a member is subscribed to a topic.
    pub fn is_subscribed(&self, member: M, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.subscribers.contains(&member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subscribers(topics: &Topics<u8>, topic: &str) -> Vec<u8> {
        topics.subscribers(topic).collect()
    }

    #[test]
    fn subscriptions_come_and_go() {
        let mut topics = Topics::default();
        assert!(topics.subscribe(2, "a"));
        assert!(topics.subscribe(1, "a"));
        assert!(!topics.subscribe(1, "a"), "subscribed already");
        assert!(topics.subscribe(1, "b"));
        assert_eq!((subscribers(&topics, "a"), topics.count("a")), (vec![1, 2], 2));
        assert_eq!(topics.topics_of(1).collect::<Vec<_>>(), ["a", "b"]);
        assert!(topics.is_subscribed(1, "b") && !topics.is_subscribed(2, "b") && !topics.is_subscribed(1, "c"));
        assert!(topics.unsubscribe(1, "a"));
        assert!(!topics.unsubscribe(1, "a"), "not subscribed");
        assert!(!topics.unsubscribe(2, "b"), "not subscribed, to a topic of others");
        assert!(!topics.unsubscribe(1, "c"), "no such topic");
        topics.leave_all(1);
        topics.leave_all(3);
        assert_eq!((topics.topics().collect::<Vec<_>>(), subscribers(&topics, "a")), (vec!["a"], vec![2]));
        assert_eq!((subscribers(&topics, "b"), topics.count("b")), (vec![], 0));
    }

    #[test]
    fn topics_are_listed_in_the_order_of_their_creation() {
        let mut topics = Topics::default();
        for topic in ["c", "a", "b"] {
            topics.subscribe(1, topic);
        }
        topics.subscribe(2, "b");
        topics.subscribe(2, "a");
        assert_eq!(topics.topics().collect::<Vec<_>>(), ["c", "a", "b"]);
        assert_eq!(topics.topics_of(2).collect::<Vec<_>>(), ["a", "b"]);
        topics.unsubscribe(1, "c");
        topics.subscribe(1, "c");
        assert_eq!(topics.topics().collect::<Vec<_>>(), ["a", "b", "c"], "a topic that is created again is last");
    }

    #[test]
    fn iteration_continues_behind_a_member() {
        let mut topics = Topics::default();
        for member in [10, 20, 30] {
            topics.subscribe(member, "a");
        }
        let after = |topics: &Topics<u8>, member| topics.subscribers_after("a", member).collect::<Vec<_>>();
        assert_eq!(after(&topics, None), [10, 20, 30]);
        assert_eq!(after(&topics, Some(10)), [20, 30]);
        assert_eq!(after(&topics, Some(30)), [0u8; 0]);
        topics.leave_all(10);
        topics.subscribe(15, "a");
        assert_eq!(after(&topics, Some(10)), [15, 20, 30], "the member has left");
    }

    #[test]
    fn memory_returns_when_members_leave() {
        let mut topics = Topics::default();
        for member in 0..2_000u32 {
            topics.subscribe(member, &format!("user:{member}"));
            topics.subscribe(member, "all");
        }
        assert_eq!(topics.count("all"), 2_000);
        (0..2_000).for_each(|member| topics.leave_all(member));
        assert!(topics.topics.is_empty() && topics.names.is_empty() && topics.subscriptions.is_empty());
        assert!(topics.topics.capacity() <= 64, "{}", topics.topics.capacity());
    }

    proptest! {
        /// A list of pairs is the reference.
        #[test]
        fn any_calls_have_the_effect_of_a_list_of_pairs(
            calls in proptest::collection::vec((0u8..4, 0u8..6, 0u8..5), 0..60),
        ) {
            let (mut topics, mut pairs) = (Topics::default(), BTreeSet::new());
            for (call, member, topic) in calls {
                let name = format!("topic {topic}");
                match call {
                    0 | 1 => prop_assert_eq!(topics.subscribe(member, &name), pairs.insert((name, member))),
                    2 => prop_assert_eq!(topics.unsubscribe(member, &name), pairs.remove(&(name, member))),
                    _ => {
                        topics.leave_all(member);
                        pairs.retain(|(_, other)| *other != member);
                    }
                }
                let mut names: Vec<&str> = topics.topics().collect();
                names.sort_unstable();
                let pairs_of = |name| topics.subscribers(name).map(move |member| (str::to_owned(name), member));
                let got: BTreeSet<_> = names.iter().copied().flat_map(pairs_of).collect();
                prop_assert_eq!(&got, &pairs);
                for member in 0..6 {
                    let mut got: Vec<&str> = topics.topics_of(member).collect();
                    got.sort_unstable();
                    let want: Vec<&str> =
                        pairs.iter().filter(|(_, other)| *other == member).map(|(name, _)| name.as_str()).collect();
                    prop_assert_eq!(got, want);
                }
                for name in names {
                    prop_assert_eq!(topics.count(name), pairs.iter().filter(|(other, _)| other == name).count());
                    prop_assert!(topics.count(name) > 0, "a topic without subscribers is gone");
                }
            }
        }
    }
}
