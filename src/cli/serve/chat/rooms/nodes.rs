//! The rooms as a node of a cluster: nicks that other nodes may have, what other nodes send, and the time without
//! Redis. Without a cluster these methods do nothing.
//!
//! # Nicks
//!
//! While Redis is reachable, Redis decides: a nick belongs to the node that has its key. A member with a new nick waits
//! for the answer. While Redis is away, each node decides: a nick is taken if a member of this node has it, or if
//! another node had it at its last message. So two members may get the same nick in that time. When Redis is there
//! again, each node takes the keys of its nicks: the first one keeps the nick, and the other member becomes a guest
//! again and gets a message about it.
//!
//! Guests do not choose their nick, so their numbers are random in a cluster. The key is taken afterwards. In the rare
//! case that another node has it, the guest gets another number.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Deliver, Next, Rooms, To, taken, to_you_only};
use crate::cli::serve::chat::cluster::node::{Answer, Claim, Link, Order, ThisNode};
use crate::cli::serve::chat::cluster::view::{Heard, Place};
use crate::cli::serve::chat::cluster::wire::{Event, Ignored, Message, NodeId, decode};
use crate::cli::serve::chat::names::listed;

#[cfg(test)]
mod tests;

/// Sent when Redis is away, and to members who come then.
const ALONE: &str =
    "-- the other nodes of this chat cannot be reached; only members on this node read your lines for now";

/// Sent when Redis is there again.
const TOGETHER: &str = "-- the other nodes of this chat can be reached again";

/// Sent when Redis does not take a nick although it is there.
const NO_NICK: &str = "-- nicks cannot be changed now; try again later";

/// Sent when too much is held.
const TOO_FAST: &str = "-- this line is lost: your new nick is not confirmed yet";

/// The numbers of guests have so many values, and more if those are taken.
const GUEST_NUMBERS: u64 = 90_000;
const MORE_GUEST_NUMBERS: u64 = 900_000_000;
const FEW_ATTEMPTS: u32 = 16;

/// A number for a new guest. It has as many digits as [`GUEST_NUMBERS`], or [`MORE_GUEST_NUMBERS`].
pub(super) fn guest_number<M: Copy + Ord>(node: &mut ThisNode<M>, attempts: u32) -> u64 {
    let numbers = if attempts < FEW_ATTEMPTS { GUEST_NUMBERS } else { MORE_GUEST_NUMBERS };
    numbers / 9 + node.random(numbers)
}

impl<M: Copy + Ord> Rooms<M> {
    /// Makes these rooms those of a node. `seed` is random, and a line of text has at most `max_text` bytes.
    pub(crate) fn join_cluster(&mut self, id: NodeId, seed: u64, max_text: usize) {
        self.node = Some(ThisNode::new(id, seed, max_text));
    }

    /// What is to be done in Redis, in this order.
    pub(crate) fn take_orders(&mut self) -> Vec<Order> {
        self.node.as_mut().map(ThisNode::take_orders).unwrap_or_default()
    }

    /// The nicks in lower case, whose keys are to be taken or renewed.
    pub(crate) fn nicks(&self) -> impl Iterator<Item = &str> {
        self.nicks.keys().map(String::as_str)
    }

    /// How many other nodes are known.
    pub(crate) fn node_count(&self) -> usize {
        self.node.as_ref().map_or(0, |node| node.view.node_count())
    }

    /// Redis is there. The keys of all [`nicks`](Self::nicks) are to be taken after this.
    pub(crate) fn link_is_up(&mut self, now: Duration, send: Deliver<'_, M>) {
        let Some(node) = &mut self.node else { return };
        let was_away = node.link == Link::Away;
        node.link = Link::Up;
        node.view.restart(now);
        node.publish(&Event::Ask(None));
        self.send_state(now);
        if was_away {
            self.send_to_all(TOGETHER, send);
        }
    }

    /// Redis is away.
    pub(crate) fn link_is_lost(&mut self, send: Deliver<'_, M>) {
        let Some(node) = &mut self.node else { return };
        if node.link != Link::Away {
            node.link = Link::Away;
            node.view.hide();
            self.send_to_all(ALONE, send);
        }
    }

    /// To be called every second: removes nodes that are gone, and sends a message, so that the others know that this
    /// node is there.
    pub(crate) fn tick(&mut self, now: Duration, send: Deliver<'_, M>) {
        let Some(node) = self.node.as_mut().filter(|node| node.is_up()) else { return };
        node.note_tick(now);
        let gone = node.view.expire(now);
        for id in node.view.all_to_ask(now) {
            node.publish(&Event::Ask(Some(id)));
        }
        node.publish(&Event::Beat);
        self.announce_to_rooms(&gone, "gone with another node", send);
    }

    /// Sends the members of this node to the others.
    pub(crate) fn send_state(&mut self, now: Duration) {
        let Some(node) = &mut self.node else { return };
        let members: Vec<_> = self.members.values().map(|member| (&*member.nick, &*member.room)).collect();
        node.publish_state(now, &members);
    }

    /// A message on the channel of the cluster. The error says why it is ignored.
    pub(crate) fn receive(&mut self, now: Duration, message: &[u8], send: Deliver<'_, M>) -> Result<(), Ignored> {
        // Until this node is up it does not announce itself, and its members must not read what they cannot answer.
        let Some(node) = self.node.as_mut().filter(|node| node.is_up()) else { return Ok(()) };
        let Some(Message { from, number, event }) = decode(message, node.id, node.max_text)? else { return Ok(()) };
        match node.view.hear(now, from, number) {
            Heard::New => {}
            Heard::Old => return Err(Ignored { why: "a later message of its node has come before it" }),
            Heard::Full => return Err(Ignored { why: "there are too many nodes" }),
        }
        let view = &mut node.view;
        match event {
            Event::Beat => {}
            Event::Ask(asked) => {
                if asked.is_none() {
                    // It has just come, and its state follows.
                    view.expect_state(now, from);
                }
                if asked.is_none_or(|asked| asked == node.id) && node.is_state_due(now) {
                    self.send_state(now);
                }
            }
            Event::State { part, parts, members } => {
                let difference = view.state(from, part, parts, &members);
                self.announce_to_rooms(&difference.left, "gone with another node", send);
                self.announce_to_rooms(&difference.came, "now here, from another node", send);
            }
            Event::Enter { nick, room } => {
                if view.enter(from, nick, room) {
                    self.announce_enter(nick, room, send);
                }
            }
            Event::Leave { nick } => {
                if let Some((nick, room)) = view.leave(from, nick) {
                    self.announce_leave(&nick, &room, send);
                }
            }
            Event::Move { nick, room } => {
                if let Some((nick, old)) = view.move_to(from, nick, room) {
                    self.announce_gone_to(&nick, &old, room, send);
                    self.announce_moved(&nick, room, send);
                }
            }
            Event::Nick { old, new } => {
                if let Some((old, room)) = view.rename(from, old, new) {
                    self.announce_nick(&old, new, &room, send);
                }
            }
            Event::Line { room, text } => self.send_to_room(room, text.into_owned(), send),
            Event::Msg { node: to_node, to, from, text } => {
                if to_node == node.id
                    && let Some(&member) = self.nicks.get(&to.to_lowercase())
                {
                    send(To::One(member), to_you_only(from, &text));
                }
            }
        }
        if let Some(node) = &mut self.node
            && node.view.asks(now, from)
        {
            node.publish(&Event::Ask(Some(from)));
        }
        Ok(())
    }

    /// Redis has answered about the key of a nick, which is in lower case, or the answer is lost. Returns a member
    /// whose connection is to be ended.
    pub(crate) fn answer(&mut self, nick: &str, answer: Answer, send: Deliver<'_, M>) -> Option<M> {
        let node = self.node.as_mut()?;
        let Some(claim) = node.take_claim(nick) else {
            match (answer, self.nicks.get(nick)) {
                (Answer::Taken, Some(&member)) => self.lose_nick(member, send),
                // Its member has left meanwhile.
                (Answer::Held, None) => self.release_nick(nick),
                _ => {}
            }
            return None;
        };
        let is_decided_here = answer == Answer::Failed && !node.is_up();
        let Claim { member, nick: wanted, held } = claim;
        match answer {
            Answer::Taken => send(To::One(member), taken(&wanted)),
            Answer::Failed if !is_decided_here => send(To::One(member), NO_NICK.to_owned()),
            Answer::Failed if self.is_known_elsewhere(nick) => send(To::One(member), taken(&wanted)),
            Answer::Held | Answer::Failed => self.set_nick(member, &wanted, send),
        }
        let leaves = held.iter().any(|line| self.receive_line(member, line, send) == Next::Leave);
        leaves.then_some(member)
    }

    /// Notes whether Redis refuses the keys of nicks. Returns whether that has changed.
    pub(crate) fn note_keys_refused(&mut self, is_refused: bool) -> bool {
        self.node.as_mut().is_some_and(|node| std::mem::replace(&mut node.are_keys_refused, is_refused) != is_refused)
    }

    /// Sends a line to a new member if the other nodes cannot be reached.
    pub(super) fn notify_if_alone(&self, member: M, send: Deliver<'_, M>) {
        if self.node.as_ref().is_some_and(|node| node.link == Link::Away) {
            send(To::One(member), ALONE.to_owned());
        }
    }

    pub(super) fn publish(&mut self, event: &Event<'_>) {
        if let Some(node) = &mut self.node {
            node.publish(event);
        }
    }

    pub(super) fn hold_nick(&mut self, nick: &str) {
        if let Some(node) = &mut self.node {
            node.hold(nick);
        }
    }

    pub(super) fn release_nick(&mut self, nick: &str) {
        if let Some(node) = &mut self.node {
            node.release(nick);
        }
    }

    /// Whether a nick in lower case belongs to a member of another node, or a member waits for it.
    pub(super) fn is_known_elsewhere(&self, nick: &str) -> bool {
        self.node.as_ref().is_some_and(|node| node.is_claimed(nick) || node.view.knows(nick))
    }

    /// Whether a member gets a nick that no other member of this node has. `false`: it gets the reason, or it waits for
    /// the answer of Redis.
    pub(super) fn claim_nick(&mut self, member: M, nick: &str, send: Deliver<'_, M>) -> bool {
        let key = nick.to_lowercase();
        let is_known = self.is_known_elsewhere(&key);
        match &mut self.node {
            None => return true,
            // Redis decides, not the view, which may still have a member who has left. But a node that was hidden since
            // Redis was away may not have taken its keys again.
            Some(node) if node.is_up() && !node.is_claimed(&key) && !node.view.remembers(&key) => {
                node.claim(member, nick);
            }
            Some(_) if is_known => send(To::One(member), taken(nick)),
            Some(_) => return true,
        }
        false
    }

    /// Holds a line of a member who waits for a nick. `false`: the member does not wait.
    pub(super) fn holds_line(&mut self, member: M, line: &str, send: Deliver<'_, M>) -> bool {
        let held = self.node.as_mut().and_then(|node| node.hold_line(member, line));
        if held == Some(false) {
            send(To::One(member), TOO_FAST.to_owned());
        }
        held.is_some()
    }

    /// A member leaves, and its claims end. Its held lines are sent under its old nick.
    pub(super) fn end_claims(&mut self, member: M, send: Deliver<'_, M>) {
        // A held line may ask for the next nick. Keys are given back when Redis has answered.
        while let Some(claim) = self.node.as_mut().and_then(|node| node.take_claim_of(member)) {
            for line in claim.held {
                self.receive_line(member, &line, send);
            }
        }
    }

    /// Another node has the key of a member's nick: the member gets another one.
    fn lose_nick(&mut self, member: M, send: Deliver<'_, M>) {
        let Some(lost) = self.members.get(&member).map(|member| member.nick.clone()) else { return };
        let nick = self.free_nick();
        send(To::One(member), format!("-- {lost} belongs to a member on another node, so you get another nick"));
        self.hold_nick(&nick);
        self.set_nick(member, &nick, send);
    }

    /// Sends the nick of a member of this node with a text to one of another node. Returns the exact nick of that
    /// member, or `None` if it is not known.
    pub(super) fn send_to_other_node(&mut self, from: &str, to: &str, text: &str) -> Option<String> {
        let node = self.node.as_mut()?;
        let (id, to) = node.view.find(to)?;
        let to = to.to_owned();
        node.publish(&Event::Msg { node: id, to: &to, from, text: Cow::from(text) });
        Some(to)
    }

    /// Announces members that came or left with others, in one line for each room.
    fn announce_to_rooms(&self, places: &[Place], what: &str, send: Deliver<'_, M>) {
        let mut nicks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (nick, room) in places.iter().filter(|(_, room)| self.rooms.contains_key(&**room)) {
            nicks.entry(room).or_default().push(nick);
        }
        for (room, nicks) in nicks {
            let list = listed(nicks.iter().copied().map(Cow::from), nicks.len());
            self.send_to_room(room, format!("-- {what}: {list}"), send);
        }
    }

    fn send_to_all(&self, line: &str, send: Deliver<'_, M>) {
        for members in self.rooms.values() {
            send(To::Room(members), line.to_owned());
        }
    }
}
