//! The connection that subscribes: messages, and which subscriptions Redis has made or refused.
//!
//! ```text
//!   SUBSCRIBE a b c ──▶ a message for each of the three that confirms it
//!                   └─▶ or one error, for all three ──▶ SUBSCRIBE a, SUBSCRIBE b, SUBSCRIBE c ──▶ each has an answer
//! ```

use super::Link;
use super::errors::{is_about_topics, refusal, unexpected_reply};
use super::frame::{self, Reply};
use super::links::{Expected, Links, Stage, Topics};
use super::subscriptions::Topic;
use crate::net::Error;
use crate::{Kind, Loop};

/// Subscribes to a topic or leaves it, if there is a connection. If not, the greeting does it.
pub(super) fn change_topic(lp: &mut Loop, link: Link, topic: &Topic, subscribe: bool) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    let side = &mut state.subscriber;
    let Some(socket) = side.socket.filter(|_| side.stage != Stage::Away) else { return };
    let mut bytes = Vec::new();
    side.expected.push_back(push_topics(&mut bytes, vec![topic.clone()], subscribe));
    socket.write(lp, bytes);
}

/// Appends a command that subscribes to topics of one kind, or ends their subscriptions. Returns what is expected for
/// it.
pub(super) fn push_topics(bytes: &mut Vec<u8>, topics: Vec<Topic>, subscribe: bool) -> Expected {
    let command = topics.first().map(|topic| topic.command(subscribe).as_bytes());
    let parts: Vec<&[u8]> = command.into_iter().chain(topics.iter().map(Topic::name)).collect();
    frame::push_command(bytes, &parts);
    Expected::Topics(Box::new(Topics { subscribe, unconfirmed: topics.into() }))
}

/// A message or a reply on this connection. Returns whether the connection is ready with it.
pub(super) fn received(lp: &mut Loop, link: Link, reply: Reply<'_>) -> Result<bool, Error> {
    let kind = reply.items().first().and_then(Reply::bytes);
    let part = |at: usize| reply.items().get(at).and_then(Reply::bytes);
    match (kind, part(1), part(2), part(3)) {
        (Some(b"message"), Some(channel), Some(message), None) => {
            deliver(lp, link, &Topic::Channel(channel.into()), channel, message);
            return Ok(false);
        }
        (Some(b"pmessage"), Some(pattern), Some(channel), Some(message)) => {
            deliver(lp, link, &Topic::Pattern(pattern.into()), channel, message);
            return Ok(false);
        }
        (Some(b"smessage"), Some(channel), Some(message), None) => {
            deliver(lp, link, &Topic::Shard(channel.into()), channel, message);
            return Ok(false);
        }
        (
            Some(
                kind @ (b"subscribe" | b"psubscribe" | b"ssubscribe" | b"unsubscribe" | b"punsubscribe"
                | b"sunsubscribe"),
            ),
            name,
            ..,
        ) => {
            confirmed(lp, link, kind, name);
            return Ok(false);
        }
        _ => {}
    }
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return Ok(false) };
    match (state.subscriber.expected.pop_front(), reply) {
        (Some(Expected::Topics(topics)), Reply::Error(text)) if is_about_topics(text) => {
            refused(lp, link, *topics, text);
            Ok(false)
        }
        (Some(Expected::Nothing), _) => Ok(false),
        (Some(expected), Reply::Error(text)) => Err(refusal(&expected, text)),
        (Some(Expected::Greeting), _) => Ok(true),
        (Some(Expected::Login), _) => Ok(false),
        (Some(_) | None, _) => Err(unexpected_reply()),
    }
}

/// A subscription was made or ended. A message that belongs to no command is ignored: a node of a Redis Cluster sends
/// some when it gives shards away.
fn confirmed(lp: &mut Loop, link: Link, kind: &[u8], name: Option<&[u8]>) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    let Some(Expected::Topics(topics)) = state.subscriber.expected.front_mut() else { return };
    let subscribe = topics.subscribe;
    let is_next = |topic: &mut Topic| topic.is_confirmed_by(subscribe, kind, name);
    let Some(topic) = topics.unconfirmed.pop_front_if(is_next) else { return };
    if topics.unconfirmed.is_empty() {
        state.subscriber.expected.pop_front();
    }
    if subscribe && state.subscriptions.set_refused(&topic, false) {
        log::info!(target: "bucle::redis", "Redis accepts the subscription to {topic} now");
    }
}

/// Redis does not let the link subscribe to topics. One of them is enough for that, so each of several is tried alone.
/// A topic that is refused alone is tried again with the next connection.
#[cold]
fn refused(lp: &mut Loop, link: Link, topics: Topics, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if !topics.subscribe {
        // Its messages still come, and call nothing.
        return log::debug!(target: "bucle::redis", "Redis does not end a subscription: {text}");
    }
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    if let (Some(topic), 1) = (topics.unconfirmed.front(), topics.unconfirmed.len()) {
        if state.subscriptions.set_refused(topic, true) {
            state.statistics.refused_subscriptions += 1;
            let count = state.statistics.refused_subscriptions;
            // An adapter may subscribe for each room, and the log must not be filled with that.
            if count.is_power_of_two() {
                log::warn!(
                    target: "bucle::redis",
                    "Redis refuses the subscription to {topic}, number {count} so far; the others are not affected: {text}",
                );
            }
        }
        return;
    }
    let mut bytes = Vec::new();
    let expected = &mut state.subscriber.expected;
    for topic in topics.unconfirmed.into_iter().filter(|topic| state.subscriptions.contains(topic)) {
        expected.push_back(push_topics(&mut bytes, vec![topic], true));
    }
    // The connection is ready behind these subscriptions.
    if let Some(greeting) = expected.iter_mut().find(|expected| matches!(expected, Expected::Greeting)) {
        *greeting = Expected::Nothing;
        frame::push_command(&mut bytes, &[b"PING"]);
        expected.push_back(Expected::Greeting);
    }
    if let Some(socket) = state.subscriber.socket {
        socket.write(lp, bytes);
    }
}

/// Calls the subscriptions of a topic.
fn deliver(lp: &mut Loop, link: Link, topic: &Topic, channel: &[u8], message: &[u8]) {
    let Some(state) = lp.layer_mut::<Links>().get_mut(link) else { return };
    state.statistics.received += 1;
    let mut last = 0;
    while let Some((id, call)) =
        lp.layer_mut::<Links>().get(link).and_then(|state| state.subscriptions.next(topic, last))
    {
        last = id;
        if let Ok(mut call) = call.try_borrow_mut() {
            lp.in_layer_callback(Kind::OnMessage, link.0.serial(), message.len(), |lp| call(lp, channel, message));
        }
    }
}
