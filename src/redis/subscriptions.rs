//! The channels and patterns of a link, with what their messages call. They outlive the connection: after a loss they
//! are subscribed again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::rc::Rc;

/// A channel, or a pattern of names of channels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Topic {
    Channel(Rc<[u8]>),
    Pattern(Rc<[u8]>),
    /// A channel of sharded publishing, which Redis keeps apart from the others.
    Shard(Rc<[u8]>),
}

impl Topic {
    /// The name or the pattern.
    pub fn name(&self) -> &[u8] {
        match self {
            Topic::Channel(name) | Topic::Pattern(name) | Topic::Shard(name) => name,
        }
    }

    /// The command that subscribes to it, or ends the subscription.
    pub fn command(&self, subscribe: bool) -> &'static str {
        match (self, subscribe) {
            (Topic::Channel(_), true) => "SUBSCRIBE",
            (Topic::Channel(_), false) => "UNSUBSCRIBE",
            (Topic::Pattern(_), true) => "PSUBSCRIBE",
            (Topic::Pattern(_), false) => "PUNSUBSCRIBE",
            (Topic::Shard(_), true) => "SSUBSCRIBE",
            (Topic::Shard(_), false) => "SUNSUBSCRIBE",
        }
    }

    /// Whether a message of this kind and with this name confirms such a command.
    pub fn is_confirmed_by(&self, subscribe: bool, kind: &[u8], name: Option<&[u8]>) -> bool {
        name == Some(self.name()) && kind.eq_ignore_ascii_case(self.command(subscribe).as_bytes())
    }
}

/// As the log names it.
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Topic::Channel(_) => "channel",
            Topic::Pattern(_) => "pattern",
            Topic::Shard(_) => "sharded channel",
        };
        write!(f, "the {kind} {:?}", String::from_utf8_lossy(self.name()))
    }
}

/// How many topics one command names.
const TOPICS_AT_ONCE: usize = 512;

/// The subscriptions, by topic and in the order in which they were made. `F` is called with messages.
pub(super) struct Subscriptions<F> {
    by_topic: BTreeMap<Topic, Vec<(u64, F)>>,
    /// The topics of the subscriptions: an adapter may have one for each room.
    by_id: HashMap<u64, Topic>,
    last: u64,
    /// The topics to which Redis has not let the link subscribe when it was asked last.
    refused: BTreeSet<Topic>,
}

impl<F> Default for Subscriptions<F> {
    fn default() -> Self {
        Subscriptions { by_topic: BTreeMap::new(), by_id: HashMap::new(), last: 0, refused: BTreeSet::new() }
    }
}

impl<F: Clone> Subscriptions<F> {
    /// Adds a subscription. Returns its number, and whether it is the first one for the topic.
    pub fn insert(&mut self, topic: Topic, call: F) -> (u64, bool) {
        self.last += 1;
        self.by_id.insert(self.last, topic.clone());
        let list = self.by_topic.entry(topic).or_default();
        list.push((self.last, call));
        (self.last, list.len() == 1)
    }

    /// Removes a subscription. Returns the topic if it was its last one.
    pub fn remove(&mut self, id: u64) -> Option<Topic> {
        let topic = self.by_id.remove(&id)?;
        let list = self.by_topic.get_mut(&topic)?;
        list.retain(|(other, _)| *other != id);
        if !list.is_empty() {
            return None;
        }
        self.by_topic.remove(&topic);
        self.refused.remove(&topic);
        Some(topic)
    }

    /// Whether there is a subscription for a topic.
    pub fn contains(&self, topic: &Topic) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// Notes whether Redis refuses a topic. Returns whether that has changed.
    pub fn set_refused(&mut self, topic: &Topic, is_refused: bool) -> bool {
        match is_refused {
            true => self.contains(topic) && self.refused.insert(topic.clone()),
            false => self.refused.remove(topic),
        }
    }

    /// The first subscription for a topic after the one of number `after`. A caller that asks again after each call
    /// calls neither one that was removed meanwhile, nor one twice.
    pub fn next(&self, topic: &Topic, after: u64) -> Option<(u64, F)> {
        self.by_topic.get(topic)?.iter().find(|(id, _)| *id > after).cloned()
    }

    /// The commands that subscribe to everything, each as its topics, which are of one kind. Redis refuses a whole
    /// command for one of its topics, so those that it has refused before are alone.
    pub fn commands(&self) -> Vec<Vec<Topic>> {
        let mut commands: Vec<Vec<Topic>> = Vec::new();
        // The topics of one kind are beside each other.
        for topic in self.by_topic.keys().filter(|topic| !self.refused.contains(*topic)) {
            match commands.last_mut() {
                Some(last) if last[0].command(true) == topic.command(true) && last.len() < TOPICS_AT_ONCE => {
                    last.push(topic.clone());
                }
                _ => commands.push(vec![topic.clone()]),
            }
        }
        commands.extend(self.refused.iter().map(|topic| vec![topic.clone()]));
        commands
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_topic.len()
    }
}

/// A pattern that matches only this text: `*`, `?`, `[`, `]` and `\` are escaped.
pub fn escape_pattern(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Topic {
        Topic::Channel(name.as_bytes().into())
    }

    fn pattern(name: &str) -> Topic {
        Topic::Pattern(name.as_bytes().into())
    }

    #[test]
    fn a_topic_is_subscribed_with_its_first_subscription_and_left_with_its_last() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.insert(channel("a"), 'x'), (1, true));
        assert_eq!(subscriptions.insert(channel("a"), 'y'), (2, false));
        assert_eq!(subscriptions.insert(pattern("a"), 'z'), (3, true), "a pattern is not a channel");
        assert_eq!(subscriptions.remove(1), None);
        assert_eq!(subscriptions.remove(1), None);
        assert_eq!(subscriptions.remove(2), Some(channel("a")));
        assert_eq!((subscriptions.next(&channel("a"), 0), subscriptions.len()), (None, 1));
    }

    #[test]
    fn subscriptions_are_called_in_their_order_and_removed_ones_are_not() {
        let mut subscriptions = Subscriptions::default();
        for call in ['x', 'y', 'z'] {
            subscriptions.insert(channel("a"), call);
        }
        assert_eq!(subscriptions.next(&channel("a"), 0), Some((1, 'x')));
        subscriptions.remove(2);
        subscriptions.insert(channel("a"), 'w');
        assert_eq!(subscriptions.next(&channel("a"), 1), Some((3, 'z')));
        assert_eq!(subscriptions.next(&channel("a"), 3), Some((4, 'w')));
        assert_eq!(subscriptions.next(&channel("a"), 4), None);
    }

    #[test]
    fn everything_is_subscribed_again_with_few_commands() {
        let mut subscriptions = Subscriptions::default();
        for number in 0..600 {
            subscriptions.insert(channel(&format!("c{number}")), ());
        }
        subscriptions.insert(pattern("p*"), ());
        subscriptions.insert(pattern("p*"), ());
        subscriptions.insert(Topic::Shard((*b"s").into()), ());
        let commands = subscriptions.commands();
        let lens: Vec<usize> = commands.iter().map(Vec::len).collect();
        assert_eq!(lens, [512, 88, 1, 1]);
        assert_eq!(commands[2], [pattern("p*")]);
        assert_eq!(commands[3], [Topic::Shard((*b"s").into())]);
    }

    #[test]
    fn a_refused_topic_is_asked_for_alone_until_it_is_accepted_or_left() {
        let mut subscriptions = Subscriptions::default();
        let ids = ["a", "b", "c"].map(|name| subscriptions.insert(channel(name), ()).0);
        assert!(subscriptions.set_refused(&channel("b"), true));
        assert!(!subscriptions.set_refused(&channel("b"), true), "it is known");
        assert!(!subscriptions.set_refused(&channel("x"), true), "there is no such topic");
        assert_eq!(subscriptions.commands(), [vec![channel("a"), channel("c")], vec![channel("b")]]);
        assert!(subscriptions.set_refused(&channel("b"), false));
        assert_eq!(subscriptions.commands(), [["a", "b", "c"].map(channel)]);
        subscriptions.set_refused(&channel("b"), true);
        subscriptions.remove(ids[1]);
        assert_eq!(subscriptions.commands(), [["a", "c"].map(channel)]);
    }

    #[test]
    fn a_confirmation_names_the_command_and_the_topic() {
        let shard = Topic::Shard((*b"a").into());
        assert!(shard.is_confirmed_by(true, b"ssubscribe", Some(b"a")));
        for (subscribe, kind, name) in [
            (false, &b"ssubscribe"[..], Some(&b"a"[..])),
            (true, b"subscribe", Some(b"a")),
            (true, b"ssubscribe", None),
        ] {
            assert!(!shard.is_confirmed_by(subscribe, kind, name));
        }
        assert!(channel("é").is_confirmed_by(false, b"unsubscribe", Some("é".as_bytes())));
    }

    #[test]
    fn a_pattern_of_escaped_text_has_no_wildcards() {
        assert_eq!(escape_pattern(r"/a*b?[c]\d"), r"/a\*b\?\[c\]\\d");
    }
}
