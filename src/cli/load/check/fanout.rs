//! A fan-out: each message reaches every connection, exactly once, in order per sender.
//!
//! The server may put something before a message (a nick, a time), so a line belongs to a message when it *ends* with
//! it; the message's own beginning, `{conn}:{seq} `, says where to look. A line that no message is found in is somebody
//! else's business: a greeting, an announcement.
//!
//! ```text
//!   on connection 9:   "ana> 3:17 hola"   ──▶   message 17 of connection 3 has reached connection 9
//! ```

use std::collections::{HashSet, VecDeque};

use super::{Fanout, Finding, Pending, Rules, Verdict, without_break};

/// Every message that has not reached everybody, and who is still owed it.
#[derive(Debug)]
pub(crate) struct Room {
    kind: Fanout,
    senders: Vec<Sender>,
    /// Receiver, sender, number: counted missing, and not come since.
    missed: HashSet<(u64, u64, u64)>,
    /// Senders of messages that are through, until somebody asks.
    freed: Vec<u64>,
}

#[derive(Debug, Default)]
struct Sender {
    next_seq: u64,
    /// From the oldest that is not through on.
    messages: VecDeque<Message>,
}

#[derive(Debug)]
struct Message {
    pending: Pending,
    /// Who is owed it.
    owed: Bits,
    left: usize,
    /// Who has had it.
    had: Bits,
}

#[derive(Debug)]
struct Bits(Box<[u64]>);

impl Bits {
    fn new(len: usize) -> Bits {
        Bits(vec![0; len.div_ceil(64)].into())
    }
    fn has(&self, at: u64) -> bool {
        self.0.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
    fn set(&mut self, at: u64) {
        self.0[(at / 64) as usize] |= 1 << (at % 64);
    }
    /// Says whether it was there.
    fn take(&mut self, at: u64) -> bool {
        let had = self.has(at);
        if had {
            self.0[(at / 64) as usize] &= !(1 << (at % 64));
        }
        had
    }
    fn list(&self) -> Vec<u64> {
        (0..self.0.len() as u64 * 64).filter(|&at| self.has(at)).collect()
    }
}

impl Room {
    pub(crate) fn new(kind: Fanout, members: usize) -> Room {
        let senders = (0..members).map(|_| Sender::default()).collect();
        Room { kind, senders, missed: HashSet::new(), freed: Vec::new() }
    }

    /// A message is on its way to the `living`, and says how many of them are owed it.
    pub(crate) fn begin(&mut self, sender: u64, pending: Pending, living: impl Iterator<Item = u64>) -> usize {
        let members = self.senders.len();
        let mut message = Message { pending, owed: Bits::new(members), left: 0, had: Bits::new(members) };
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

    /// The kernel has its first byte.
    pub(crate) fn started(&mut self, sender: u64, seq: u64, now: u64) {
        if let Some(message) = self.senders[sender as usize].find(seq) {
            message.pending.started = now;
        }
    }

    /// Senders that may have a free place again.
    pub(crate) fn take_freed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.freed)
    }

    /// The kernel has all of it.
    pub(crate) fn sent(&mut self, sender: u64, seq: u64, now: u64) {
        if let Some(message) = self.senders[sender as usize].find(seq) {
            message.pending.sent = Some(now);
            if message.left == 0 {
                self.freed.push(sender);
            }
        }
        self.senders[sender as usize].sweep();
    }

    /// A message will not be sent after all.
    pub(crate) fn forget(&mut self, sender: u64, seq: u64) {
        let sender = &mut self.senders[sender as usize];
        sender.messages.retain(|message| message.pending.seq != seq);
        sender.sweep();
    }

    /// How many messages of a sender have not reached everybody.
    pub(crate) fn unanswered(&self, sender: u64) -> usize {
        self.senders[sender as usize].messages.iter().filter(|message| message.is_open()).count()
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.senders.iter().all(|sender| !sender.messages.iter().any(Message::is_open))
    }

    /// The run was interrupted: how many deliveries of sent messages are open, by message.
    pub(crate) fn interrupt(&mut self) -> Vec<(Pending, usize)> {
        let messages = self.senders.iter_mut().flat_map(|sender| std::mem::take(&mut sender.messages));
        let open = messages.filter(|message| message.pending.sent.is_some() && message.left > 0);
        open.map(|message| (message.pending, message.left)).collect()
    }

    /// What is overdue is missing.
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

    /// The same for one message, which is just being asked for.
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

    /// A receiver is gone: it gets nothing more.
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

    /// A line has come to `receiver`.
    pub(crate) fn line(
        &mut self,
        rules: &Rules,
        receiver: u64,
        line: &[u8],
        now: u64,
        emit: &mut dyn FnMut(Finding<'_>),
    ) {
        let text = without_break(line);
        let finding = |verdict, message, conn, seq| Finding { verdict, message, conn, seq: Some(seq), received: line };
        let mut garbled = None;
        for at in (0..text.len()).filter(|&at| text[at].is_ascii_digit()) {
            let Some((conn, seq)) = tag(&text[at..]) else { continue };
            if self.senders.get(conn as usize).is_none_or(|sender| seq >= sender.next_seq) {
                continue;
            }
            let want = rules.messages.text(conn, seq);
            let want = without_break(&want);
            if text[at..] == *want {
                self.expire_one(rules, conn, seq, now, emit);
                let (verdict, message) = self.deliver(receiver, conn, seq);
                return emit(finding(verdict, message, conn, seq));
            }
            if text.len() - at == want.len() {
                garbled = garbled.or(Some((conn, seq)));
            }
        }
        // As long as the message and with its number, but something else: only a reply gone wrong looks like that.
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
        let sender = &mut self.senders[conn as usize];
        let is_after_later = sender.messages.iter().any(|later| later.pending.seq > seq && later.had.has(receiver));
        if let Some(message) = sender.find(seq)
            && message.owed.take(receiver)
        {
            message.left -= 1;
            message.had.set(receiver);
            let pending = message.pending;
            if message.left == 0 {
                self.freed.push(conn);
            }
            sender.sweep();
            return (if is_after_later { Verdict::OutOfOrder } else { Verdict::Exact }, Some(pending));
        }
        if self.missed.remove(&(receiver, conn, seq)) {
            (Verdict::Late, None)
        } else if self.kind == Fanout::Others && receiver == conn {
            (Verdict::Unexpected, None)
        } else {
            (Verdict::Duplicate, None)
        }
    }
}

impl Message {
    fn is_open(&self) -> bool {
        self.left > 0 || self.pending.sent.is_none()
    }

    fn give_up(
        &mut self,
        receiver: u64,
        conn: u64,
        missed: &mut HashSet<(u64, u64, u64)>,
        emit: &mut dyn FnMut(Finding<'_>),
    ) {
        if !self.owed.take(receiver) {
            return;
        }
        self.left -= 1;
        let seq = self.pending.seq;
        missed.insert((receiver, conn, seq));
        let message = Some(self.pending);
        emit(Finding { verdict: Verdict::Missing, message, conn, seq: Some(seq), received: b"" });
    }
}

impl Sender {
    fn find(&mut self, seq: u64) -> Option<&mut Message> {
        let at = self.messages.binary_search_by_key(&seq, |message| message.pending.seq).ok()?;
        self.messages.get_mut(at)
    }

    /// Drops what is through, from the front: behind an open message it is still needed, to know the order.
    fn sweep(&mut self) {
        while self.messages.front().is_some_and(|front| !front.is_open()) {
            self.messages.pop_front();
        }
    }
}

/// The two numbers of `CONN:SEQ `, at the front.
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
