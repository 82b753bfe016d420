//! Checks a fan-out: each message reaches every connection, exactly once, in order per sender.
//!
//! The server may put text before a message (a nick, a time), so a line belongs to a message if it *ends* with the
//! message. The beginning of the message, `{conn}:{seq} `, shows where it starts. A line without a message, such as a
//! greeting or an announcement, is ignored.
//!
//! ```text
//!   on connection 9:   "ana> 3:17 hola"   ──▶   message 17 of connection 3 has reached connection 9
//! ```

mod receivers;

use std::collections::VecDeque;

use super::finding::{Fanout, Finding, Pending, Rules, Verdict};
use super::lines::without_break;
use receivers::{Bits, Missed};

/// All messages that have not reached every receiver, and the receivers that have not got them.
#[derive(Debug)]
pub(crate) struct Room {
    kind: Fanout,
    senders: Vec<Sender>,
    missed: Missed,
    /// Senders of messages that are finished, until the next [`Room::take_freed`].
    freed: Vec<u64>,
}

#[derive(Debug, Default)]
struct Sender {
    next_seq: u64,
    /// The messages from the oldest unfinished one on.
    messages: VecDeque<Message>,
    /// For each receiver, one more than the highest number of these messages that it has got. Empty while only the
    /// oldest message has been delivered, which is the usual case.
    newest: Box<[u64]>,
}

#[derive(Debug)]
struct Message {
    pending: Pending,
    /// Receivers that have not got it.
    owed: Bits,
    /// How many bits of `owed` are set.
    left: usize,
}

impl Room {
    pub(crate) fn new(kind: Fanout, members: usize) -> Room {
        let senders = (0..members).map(|_| Sender::default()).collect();
        Room { kind, senders, missed: Missed::new(members), freed: Vec::new() }
    }

    /// Adds a message that is sent to the `living` connections, and returns how many of them have to receive it.
    pub(crate) fn begin(&mut self, sender: u64, pending: Pending, living: impl Iterator<Item = u64>) -> usize {
        let members = self.senders.len();
        let mut message = Message { pending, owed: Bits::new(members), left: 0 };
        for receiver in living.filter(|&receiver| self.kind == Fanout::Everybody || receiver != sender) {
            message.owed.set(receiver);
            message.left += 1;
        }
        let left = message.left;
        let sender = &mut self.senders[sender as usize];
        sender.next_seq = pending.seq + 1;
        sender.messages.push_back(message);
        left
    }

    /// The kernel has taken the first byte of a message.
    pub(crate) fn started(&mut self, sender: u64, seq: u64, now: u64) {
        if let Some(message) = self.senders[sender as usize].find(seq) {
            message.pending.started = now;
        }
    }

    /// Takes the list of senders that may send another message.
    pub(crate) fn take_freed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.freed)
    }

    /// The kernel has taken the last byte of a message.
    pub(crate) fn sent(&mut self, sender: u64, seq: u64, now: u64) {
        if let Some(message) = self.senders[sender as usize].find(seq) {
            message.pending.sent = Some(now);
            if message.left == 0 {
                self.freed.push(sender);
            }
        }
        self.senders[sender as usize].sweep();
    }

    /// Removes a message that will not be sent, and returns how many of its deliveries were not counted yet.
    pub(crate) fn forget(&mut self, sender: u64, seq: u64) -> usize {
        let sender = &mut self.senders[sender as usize];
        let left = sender.find(seq).map_or(0, |message| message.left);
        sender.messages.retain(|message| message.pending.seq != seq);
        sender.sweep();
        left
    }

    /// How many messages of a sender have not reached every receiver.
    pub(crate) fn unanswered(&self, sender: u64) -> usize {
        self.senders[sender as usize].messages.iter().filter(|message| message.is_open()).count()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.senders.iter().all(|sender| !sender.messages.iter().any(Message::is_open))
    }

    /// The run was interrupted: removes all messages, and returns those that were sent, with their missing deliveries.
    pub(crate) fn interrupt(&mut self) -> Vec<(Pending, usize)> {
        let messages = self.senders.iter_mut().flat_map(|sender| std::mem::take(&mut sender.messages));
        let open = messages.filter(|message| message.pending.sent.is_some() && message.left > 0);
        open.map(|message| (message.pending, message.left)).collect()
    }

    /// Counts the deliveries of overdue messages as missing.
    pub(crate) fn expire(&mut self, rules: &Rules, now: u64, emit: &mut dyn FnMut(Finding<'_>)) {
        for (conn, sender) in self.senders.iter_mut().enumerate() {
            let conn = conn as u64;
            for message in sender.messages.iter_mut().filter(|message| message.pending.is_overdue(now, rules.timeout)) {
                for receiver in message.owed.list() {
                    message.give_up(receiver, conn, &mut self.missed, emit);
                }
                self.freed.push(conn);
            }
            sender.sweep();
        }
    }

    /// Does the same for one message, before a delivery of it is judged.
    fn expire_one(&mut self, rules: &Rules, conn: u64, seq: u64, now: u64, emit: &mut dyn FnMut(Finding<'_>)) {
        let sender = &mut self.senders[conn as usize];
        let Some(message) = sender.find(seq).filter(|message| message.pending.is_overdue(now, rules.timeout)) else {
            return;
        };
        for receiver in message.owed.list() {
            message.give_up(receiver, conn, &mut self.missed, emit);
        }
        self.freed.push(conn);
        sender.sweep();
    }

    /// A receiver has disconnected: the deliveries to it are missing.
    pub(crate) fn left(&mut self, receiver: u64, emit: &mut dyn FnMut(Finding<'_>)) {
        for (conn, sender) in self.senders.iter_mut().enumerate() {
            for message in &mut sender.messages {
                message.give_up(receiver, conn as u64, &mut self.missed, emit);
                if message.left == 0 {
                    self.freed.push(conn as u64);
                }
            }
            sender.sweep();
        }
    }

    /// Judges a line that `receiver` has received.
    pub(crate) fn line(
        &mut self,
        rules: &Rules,
        receiver: u64,
        line: &[u8],
        now: u64,
        emit: &mut dyn FnMut(Finding<'_>),
    ) {
        let text = without_break(line);
        let finding = |verdict, message, conn, seq| Finding {
            verdict,
            message,
            conn,
            seq: Some(seq),
            received: line,
            reason: None,
        };
        let mut garbled = None;
        for at in (0..text.len()).filter(|&at| text[at].is_ascii_digit()) {
            let Some((conn, seq)) = tag(&text[at..]) else { continue };
            if self.senders.get(conn as usize).is_none_or(|sender| seq >= sender.next_seq) {
                continue;
            }
            // The line's break may be another one than the message's.
            let want = rules.messages.len(conn, seq) - rules.messages.break_len(seq);
            let is_as_long = text.len() - at == want;
            if is_as_long && rules.messages.compare(conn, seq, &text[at..], 0).agreed == want {
                self.expire_one(rules, conn, seq, now, emit);
                let (verdict, message) = self.deliver(receiver, conn, seq);
                return emit(finding(verdict, message, conn, seq));
            }
            if is_as_long {
                garbled = garbled.or(Some((conn, seq)));
            }
        }
        // A line with the number and the length of a message, but another text, is a damaged delivery of that message.
        let Some((conn, seq)) = garbled else { return };
        let sender = &mut self.senders[conn as usize];
        let Some(message) = sender.find(seq) else { return };
        if message.owed.take(receiver) {
            message.left -= 1;
            let pending = message.pending;
            if message.left == 0 {
                self.freed.push(conn);
            }
            sender.sweep();
            emit(finding(Verdict::Wrong, Some(pending), conn, seq));
        }
    }

    fn deliver(&mut self, receiver: u64, conn: u64, seq: u64) -> (Verdict, Option<Pending>) {
        let members = self.senders.len();
        let sender = &mut self.senders[conn as usize];
        if let Some(message) = sender.find(seq)
            && message.owed.take(receiver)
        {
            message.left -= 1;
            let (pending, left) = (message.pending, message.left);
            let is_after_later = sender.is_after_later(receiver, seq, members);
            if left == 0 {
                self.freed.push(conn);
            }
            sender.sweep();
            return (if is_after_later { Verdict::OutOfOrder } else { Verdict::Exact }, Some(pending));
        }
        if self.kind == Fanout::Others && receiver == conn {
            (Verdict::Unexpected, None)
        } else if self.missed.take(receiver, conn, seq) {
            (Verdict::Late, None)
        } else {
            (Verdict::Duplicate, None)
        }
    }
}

impl Message {
    fn is_open(&self) -> bool {
        self.left > 0 || self.pending.sent.is_none()
    }

    /// Counts the delivery to `receiver` as missing, unless it has been received.
    fn give_up(&mut self, receiver: u64, conn: u64, missed: &mut Missed, emit: &mut dyn FnMut(Finding<'_>)) {
        if !self.owed.take(receiver) {
            return;
        }
        self.left -= 1;
        let seq = self.pending.seq;
        missed.add(receiver, conn, seq);
        let message = Some(self.pending);
        let verdict = Verdict::Missing;
        emit(Finding { verdict, message, conn, seq: Some(seq), received: b"", reason: None });
    }
}

impl Sender {
    fn find(&mut self, seq: u64) -> Option<&mut Message> {
        let at = self.messages.binary_search_by_key(&seq, |message| message.pending.seq).ok()?;
        self.messages.get_mut(at)
    }

    /// Records that `receiver` has got a message, and returns whether it had got a later one before. The cost does not
    /// depend on the number of open messages.
    fn is_after_later(&mut self, receiver: u64, seq: u64, members: usize) -> bool {
        // As long as only the oldest open message arrives, none can be out of order, and the table is not needed.
        let is_oldest = self.messages.front().is_some_and(|oldest| oldest.pending.seq == seq);
        if self.newest.is_empty() && !is_oldest {
            self.newest = vec![0; members].into();
        }
        let Some(newest) = self.newest.get_mut(receiver as usize) else { return false };
        let is_after_later = *newest > seq + 1;
        *newest = (seq + 1).max(*newest);
        is_after_later
    }

    /// Drops finished messages from the front.
    fn sweep(&mut self) {
        while self.messages.front().is_some_and(|front| !front.is_open()) {
            self.messages.pop_front();
        }
        if self.messages.is_empty() {
            self.newest = Box::default();
        }
    }
}

/// Parses `CONN:SEQ ` at the beginning of `text`.
fn tag(text: &[u8]) -> Option<(u64, u64)> {
    let (conn, rest) = number(text)?;
    let (seq, rest) = number(rest.strip_prefix(b":")?)?;
    rest.starts_with(b" ").then_some((conn, seq))
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}
