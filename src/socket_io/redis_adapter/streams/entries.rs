//! Entries of the stream, and the events of this node that wait for theirs.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::Shared;
use super::log::{Kept, missed_in};
use crate::Loop;
use crate::redis::{Entry, EntryId};
use crate::socket_io::Namespace;
use crate::socket_io::adapter::{BroadcastPacket, MissedEvent, Placement, Target};
use crate::socket_io::redis_adapter::member::packet;
use crate::socket_io::redis_adapter::message::{self, Body};
use crate::socket_io::redis_adapter::wire::{Broadcast, Flags};

/// The field with the number of an own event. Other nodes do not look at it.
pub(super) const NUMBER: &str = "number";

/// After how long a fence is asked for again that Redis has refused.
const FENCE_AGAIN: Duration = Duration::from_millis(500);

/// The events of this node whose entries it has not read yet.
///
/// ```text
///   sent ──▶ waiting ── its entry is read ──▶ own sockets, with its offset
///     │         │
///     │         └ the link is lost ─▶ own sockets, without an offset ─▶ unplaced ── its entry is read, or ──▶ gone
///     └ there is no link ───────────▶ (the same)                                    it certainly has none
/// ```
#[derive(Default)]
pub(super) struct Pending {
    last: u64,
    /// Events that own sockets have not got. Redis keeps the order in which they were added.
    waiting: VecDeque<Waiting>,
    /// Events that own sockets have got, by their numbers. Their entries may come at any time, also behind those of
    /// other nodes that were sent later.
    unplaced: VecDeque<(u64, Rc<Broadcast>)>,
}

struct Waiting {
    number: u64,
    broadcast: Rc<Broadcast>,
    /// Redis has not answered, or has refused it. It is delivered behind the events before it.
    failed: Option<Failed>,
}

/// Why it is not known that an event has an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failed {
    /// Redis has not taken it.
    Refused,
    /// The connection was lost before Redis has answered.
    Unanswered,
}

impl Pending {
    /// Whether there is no event whose place is not known.
    pub fn is_placed(&self) -> bool {
        self.unplaced.is_empty()
    }

    /// A number for an event.
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn push(&mut self, broadcast: Rc<Broadcast>) -> u64 {
        let number = self.number();
        self.waiting.push_back(Waiting { number, broadcast, failed: None });
        number
    }

    /// Takes the first event that waits, if its number is not greater than this one.
    fn pop(&mut self, number: u64) -> Option<(u64, Rc<Broadcast>)> {
        let first = self.waiting.pop_front_if(|first| first.number <= number)?;
        Some((first.number, first.broadcast))
    }

    /// Notes that an event has failed.
    fn fail(&mut self, number: u64, failed: Failed) {
        if let Ok(at) = self.waiting.binary_search_by_key(&number, |waiting| waiting.number) {
            self.waiting[at].failed = Some(failed);
        }
    }

    /// Takes the first event that waits, if it has failed.
    fn pop_failed(&mut self) -> Option<(u64, Rc<Broadcast>, Failed)> {
        let first = self.waiting.pop_front_if(|first| first.failed.is_some())?;
        Some((first.number, first.broadcast, first.failed?))
    }

    /// The entry of an event is read. Returns whether own sockets have got the event before, as the last one of this
    /// kind.
    fn place(&mut self, number: u64) -> bool {
        let Some(at) = self.unplaced.iter().position(|(other, _)| *other == number) else { return false };
        self.unplaced.remove(at);
        self.unplaced.is_empty()
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
                let Err(error) = reply else { return };
                let is_refused = matches!(error.code(), "E_REDIS_REPLY" | "E_REDIS_FULL");
                let failed = if is_refused { Failed::Refused } else { Failed::Unanswered };
                shared.pending.borrow_mut().fail(number, failed);
                shared.deliver_failed(lp, namespace);
            });
        } else {
            let number = self.pending.borrow_mut().number();
            let waits = link.execute(lp, &self.add_command(&message, Some(number)));
            // In a tick, because this is a method of the adapter.
            lp.next_tick(move |lp| match waits {
                true => shared.deliver_unplaced(lp, namespace, number, broadcast),
                false => deliver_alone(lp, namespace, &broadcast),
            });
        }
    }

    fn deliver_failed(&self, lp: &mut Loop, namespace: Namespace) {
        let next = || self.pending.borrow_mut().pop_failed();
        while let Some((number, broadcast, failed)) = next() {
            match failed {
                Failed::Refused => deliver_alone(lp, namespace, &broadcast),
                Failed::Unanswered => self.deliver_unplaced(lp, namespace, number, broadcast),
            }
        }
    }

    /// Own sockets do not wait for entries any more: the link is lost, or the adapter is closed.
    pub(super) fn deliver_all_pending(&self, lp: &mut Loop, namespace: Namespace) {
        self.fence.set(None);
        let next = || self.pending.borrow_mut().pop(u64::MAX);
        while let Some((number, broadcast)) = next() {
            self.deliver_unplaced(lp, namespace, number, broadcast);
        }
    }

    /// Sends an event to own sockets that may be in the stream, or come into it later.
    fn deliver_unplaced(&self, lp: &mut Loop, namespace: Namespace, number: u64, broadcast: Rc<Broadcast>) {
        deliver_alone(lp, namespace, &broadcast);
        namespace.receive_uncertain(lp, &broadcast.target, Placement::Unknown);
        self.pending.borrow_mut().unplaced.push_back((number, broadcast));
    }

    /// The link is ready again. Commands that have waited for it are done before the next one, so their entries are not
    /// behind the one that is the last now: the fence. Behind it no event without an offset is uncertain.
    ///
    /// A command that was not answered on the old connection may still be on its way, if the network holds it back.
    /// Then its entry comes later, and makes its receivers uncertain once more ([`place`](Self::place)).
    pub(super) fn ask_for_fence(self: &Rc<Self>, lp: &mut Loop, namespace: Namespace) {
        if self.pending.borrow().unplaced.is_empty() {
            return;
        }
        let (shared, link) = (self.clone(), self.member.link);
        link.command(lp, &["XREVRANGE", &self.stream, "+", "-", "COUNT", "1"], move |lp, reply| match reply {
            Ok(reply) => {
                let last = reply.items().first().and_then(Entry::from_reply).map_or(EntryId::default(), |last| last.id);
                shared.fence.set(Some(last));
                shared.pass_fence(lp, namespace);
            }
            // If the link is lost, the fence is asked for when it is ready again.
            Err(_) if !link.is_ready(lp) => {}
            Err(_) => {
                let timer = lp.set_timeout(FENCE_AGAIN, move |lp| shared.ask_for_fence(lp, namespace));
                lp.unref(timer);
            }
        });
    }

    /// Checks whether this node has read the entry of the fence.
    pub(super) fn pass_fence(&self, lp: &mut Loop, namespace: Namespace) {
        let position = self.member.link.stream_position(lp, &self.stream);
        if self.fence.get().is_some_and(|fence| position >= Some(fence)) {
            self.settle(lp, namespace);
        }
    }

    fn settle(&self, lp: &mut Loop, namespace: Namespace) {
        self.fence.set(None);
        self.pending.borrow_mut().unplaced = VecDeque::new();
        namespace.settle_uncertain(lp);
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
        let Some(number) = number else { return };
        let next = || self.pending.borrow_mut().pop(number);
        let mut is_kept = false;
        while let Some((first, broadcast)) = next() {
            if first == number {
                is_kept = true;
                self.deliver_kept(lp, namespace, Kept { id: entry.id, broadcast });
            } else {
                // Redis has refused it, or has dropped its entry before it was read.
                deliver_alone(lp, namespace, &broadcast);
                namespace.receive_uncertain(lp, &broadcast.target, Placement::Before);
            }
        }
        if !is_kept {
            self.place(lp, namespace, number, entry);
        }
        self.deliver_failed(lp, namespace);
    }

    /// An own entry whose event the sockets of this node have got without waiting for it. Clients that were lost
    /// before, and are not back yet, have not got it.
    fn place(&self, lp: &mut Loop, namespace: Namespace, number: u64, entry: &Entry<'_>) {
        if self.keeps.get()
            && let Ok(Some(Body::Broadcast { broadcast, request_id: None, is_numbered: false })) = body(entry)
        {
            namespace.receive_uncertain(lp, &broadcast.target, Placement::Before);
            self.log.borrow_mut().push(Kept { id: entry.id, broadcast: Rc::new(broadcast) });
        }
        let is_last = self.pending.borrow_mut().place(number);
        if is_last {
            self.settle(lp, namespace);
        }
    }

    /// The events that a socket in these rooms has missed: those in the log, and those that other sockets have got
    /// without an offset.
    pub(super) fn missed_since(&self, since: EntryId, rooms: &[String]) -> Option<Vec<MissedEvent>> {
        let mut missed = self.log.borrow().missed_since(since, rooms)?;
        let pending = self.pending.borrow();
        missed.extend(pending.unplaced.iter().filter_map(|(_, broadcast)| missed_in(broadcast, rooms, || None)));
        Some(missed)
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

/// Sends an event to own sockets without an offset.
fn deliver_alone(lp: &mut Loop, namespace: Namespace, broadcast: &Broadcast) {
    namespace.receive_broadcast(lp, &broadcast.target, packet(broadcast, None));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_in_their_order_also_those_that_have_failed() {
        let mut pending = Pending::default();
        let numbers: Vec<u64> = (0..5).map(|_| pending.push(Rc::default())).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        pending.fail(2, Failed::Refused);
        pending.fail(4, Failed::Unanswered);
        pending.fail(7, Failed::Refused);
        assert!(pending.pop_failed().is_none(), "the first one is still on its way");
        let pop = |pending: &mut Pending, number| pending.pop(number).map(|(number, _)| number);
        assert_eq!([pop(&mut pending, 1), pop(&mut pending, 1)], [Some(1), None]);
        let failed = |pending: &mut Pending| pending.pop_failed().map(|(number, _, failed)| (number, failed));
        assert_eq!([failed(&mut pending), failed(&mut pending)], [Some((2, Failed::Refused)), None]);
        assert_eq!(pop(&mut pending, 3), Some(3));
        assert_eq!(failed(&mut pending), Some((4, Failed::Unanswered)));
        assert_eq!([pop(&mut pending, 5), pop(&mut pending, 5)], [Some(5), None]);
        assert_eq!((pending.number(), pending.push(Rc::default())), (6, 7), "a number is not given twice");
    }

    #[test]
    fn events_without_an_offset_are_placed_in_any_order() {
        let mut pending = Pending::default();
        pending.unplaced.extend([(3, Rc::default()), (4, Rc::default())]);
        assert_eq!([2, 4, 4, 3, 3].map(|number| pending.place(number)), [false, false, false, true, false]);
    }
}
