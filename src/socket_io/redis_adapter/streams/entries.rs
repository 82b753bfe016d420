//! Entries of the stream, and the events of this node that wait for theirs.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Shared;
use super::log::Kept;
use crate::Loop;
use crate::redis::Entry;
use crate::socket_io::Namespace;
use crate::socket_io::adapter::{BroadcastPacket, Target};
use crate::socket_io::redis_adapter::member::packet;
use crate::socket_io::redis_adapter::message::{self, Body};
use crate::socket_io::redis_adapter::wire::{Broadcast, Flags};

/// The field with the number of an own event. Other nodes do not look at it.
pub(super) const NUMBER: &str = "number";

/// Events that this node has added to the stream and not read yet. Redis keeps the order in which they were added.
#[derive(Default)]
pub(super) struct Pending {
    last: u64,
    list: VecDeque<Waiting>,
}

struct Waiting {
    number: u64,
    broadcast: Rc<Broadcast>,
    /// Redis has not taken it. It is delivered behind the events before it.
    has_failed: bool,
}

impl Pending {
    fn push(&mut self, broadcast: Rc<Broadcast>) -> u64 {
        self.last += 1;
        self.list.push_back(Waiting { number: self.last, broadcast, has_failed: false });
        self.last
    }

    /// Takes the first event, if its number is not greater than this one.
    fn pop(&mut self, number: u64) -> Option<(u64, Rc<Broadcast>)> {
        self.list.front().filter(|first| first.number <= number)?;
        self.list.pop_front().map(|first| (first.number, first.broadcast))
    }

    /// Notes that Redis has not taken an event.
    fn fail(&mut self, number: u64) {
        if let Ok(at) = self.list.binary_search_by_key(&number, |waiting| waiting.number) {
            self.list[at].has_failed = true;
        }
    }

    /// Takes the first event, if Redis has not taken it.
    fn pop_failed(&mut self) -> Option<Rc<Broadcast>> {
        self.list.front().filter(|first| first.has_failed)?;
        self.list.pop_front().map(|first| first.broadcast)
    }
}

impl Shared {
    /// Sends an event that clients can miss: through the stream, also to the sockets of this node.
    pub(super) fn broadcast_kept(
        self: &Rc<Self>,
        lp: &mut Loop,
        namespace: Namespace,
        target: &Target,
        packet: BroadcastPacket<'_>,
    ) {
        let broadcast = Rc::new(Broadcast {
            name: packet.name.to_owned(),
            arguments: packet.arguments.clone(),
            target: target.clone(),
            flags: Flags { compress: packet.compress, ..Flags::default() },
            ..Broadcast::default()
        });
        let message = message::encode_broadcast(self.member.outgoing(target, packet, None), None);
        let (shared, link) = (self.clone(), self.member.link);
        if link.is_ready(lp) {
            let number = self.pending.borrow_mut().push(broadcast);
            link.command(lp, &self.add_command(&message, Some(number)), move |lp, reply| {
                if reply.is_err() {
                    shared.pending.borrow_mut().fail(number);
                    shared.deliver_failed(lp, namespace);
                }
            });
        } else {
            let waits = link.execute(lp, &self.add_command(&message, None));
            // In a tick, because this is a method of the adapter.
            lp.next_tick(move |lp| match waits {
                true => deliver_uncertain(lp, namespace, &broadcast),
                false => deliver_alone(lp, namespace, &broadcast),
            });
        }
    }

    fn deliver_failed(&self, lp: &mut Loop, namespace: Namespace) {
        let next = || self.pending.borrow_mut().pop_failed();
        while let Some(broadcast) = next() {
            deliver_uncertain(lp, namespace, &broadcast);
        }
    }

    /// The link is lost: own sockets do not wait.
    pub(super) fn deliver_all_pending(&self, lp: &mut Loop, namespace: Namespace) {
        let next = || self.pending.borrow_mut().pop(u64::MAX);
        while let Some((_, broadcast)) = next() {
            deliver_uncertain(lp, namespace, &broadcast);
        }
    }

    /// An entry for this namespace.
    pub(super) fn on_entry(self: &Rc<Self>, lp: &mut Loop, namespace: Namespace, entry: &Entry<'_>) {
        if self.keeps.get() {
            self.log.borrow_mut().note(entry.id);
        }
        match entry.field("uid") {
            Some(uid) if uid == self.member.uid.as_bytes() => self.on_own_entry(lp, namespace, entry),
            Some(uid) => self.on_other_entry(lp, namespace, &String::from_utf8_lossy(uid), entry),
            None => {}
        }
        if self.keeps.get() {
            self.wake_waiters(lp, entry.id);
        }
    }

    fn on_own_entry(&self, lp: &mut Loop, namespace: Namespace, entry: &Entry<'_>) {
        // Without a number it was applied when it was sent.
        let number = entry.field(NUMBER).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let next = || self.pending.borrow_mut().pop(number?);
        let mut is_kept = false;
        while let Some((first, broadcast)) = next() {
            if Some(first) == number {
                is_kept = true;
                self.deliver_kept(lp, namespace, Kept { id: entry.id, broadcast });
            } else {
                // Its entry was dropped from the stream before it was read.
                deliver_uncertain(lp, namespace, &broadcast);
            }
        }
        if !is_kept {
            self.keep_delivered(entry);
        }
        if number.is_some() {
            self.deliver_failed(lp, namespace);
        }
    }

    /// An own entry whose event the sockets of this node have got without waiting for it, because the link was lost.
    /// Clients that were lost before have not got it.
    fn keep_delivered(&self, entry: &Entry<'_>) {
        if self.keeps.get()
            && let Ok(Some(Body::Broadcast { broadcast, request_id: None, is_numbered: false })) = body(entry)
            && !broadcast.flags.volatile
        {
            self.log.borrow_mut().push(Kept { id: entry.id, broadcast: Rc::new(broadcast) });
        }
    }

    fn on_other_entry(self: &Rc<Self>, lp: &mut Loop, namespace: Namespace, uid: &str, entry: &Entry<'_>) {
        match body(entry) {
            Ok(Some(Body::Broadcast { broadcast, request_id: None, is_numbered: false }))
                if self.keeps.get() && !broadcast.flags.volatile =>
            {
                self.deliver_kept(lp, namespace, Kept { id: entry.id, broadcast: Rc::new(broadcast) });
            }
            Ok(Some(body)) => self.member.receive(lp, namespace, uid, body),
            Ok(None) => {}
            Err(malformed) => self.member.ignore(lp, malformed),
        }
    }

    fn deliver_kept(&self, lp: &mut Loop, namespace: Namespace, kept: Kept) {
        self.log.borrow_mut().push(kept.clone());
        let offset = kept.id.to_string();
        namespace.receive_broadcast(lp, &kept.broadcast.target, packet(&kept.broadcast, Some(&offset)));
    }
}

/// Reads an entry. `None`: its type is not known.
pub(super) fn body(entry: &Entry<'_>) -> Result<Option<Body>, crate::socket_io::Malformed> {
    let kind = entry.field("type").and_then(|kind| std::str::from_utf8(kind).ok()?.parse().ok());
    // Heartbeats of older versions have no data.
    let Some(data) = entry.field("data").filter(|data| !data.is_empty()) else { return Ok(None) };
    message::decode_field(kind.unwrap_or_default(), data)
}

/// Sends an event to own sockets. Whether it is in the stream is not known.
fn deliver_uncertain(lp: &mut Loop, namespace: Namespace, broadcast: &Broadcast) {
    deliver_alone(lp, namespace, broadcast);
    namespace.receive_uncertain(lp, &broadcast.target);
}

/// Sends an event to own sockets that is not in the stream.
fn deliver_alone(lp: &mut Loop, namespace: Namespace, broadcast: &Broadcast) {
    namespace.receive_broadcast(lp, &broadcast.target, packet(broadcast, None));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_in_their_order_also_those_that_redis_has_not_taken() {
        let mut pending = Pending::default();
        let numbers: Vec<u64> = (0..5).map(|_| pending.push(Rc::default())).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        pending.fail(2);
        pending.fail(4);
        pending.fail(7);
        assert!(pending.pop_failed().is_none(), "the first one is still on its way");
        let pop = |pending: &mut Pending, number| pending.pop(number).map(|(number, _)| number);
        assert_eq!([pop(&mut pending, 1), pop(&mut pending, 1)], [Some(1), None]);
        assert!(pending.pop_failed().is_some() && pending.pop_failed().is_none());
        assert_eq!([pop(&mut pending, 5), pop(&mut pending, 5), pop(&mut pending, 5)], [Some(3), Some(4), Some(5)]);
        assert_eq!(pending.push(Rc::default()), 6, "a number is not given twice");
    }
}
