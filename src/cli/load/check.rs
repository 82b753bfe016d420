//! Matches replies to messages, and finds what is wrong with them.
//!
//! The input is the bytes of one connection, in any pieces, or whole messages if the protocol has messages. The output
//! is a list of findings:
//!
//! ```text
//!   unanswered   7, 8, 9            received       finding
//!                7                  "…:7 …\n"      7 exact
//!                8, 9               "…:9 …\n"      9 exact
//!                8                  "…:8 …\n"      8 out of order
//!                –                  "…:8 …\n"      duplicate
//! ```
//!
//! This module is pure: it uses no socket and no clock, and time is an argument in nanoseconds. It stores the numbers
//! and times of a connection's unanswered messages, but not their texts, which [`Messages`] can write again.

pub(crate) mod fanout;
mod finding;
mod lines;

use std::collections::VecDeque;

use memchr::memchr;

use super::message::Agreement;
pub(crate) use finding::{Expect, Fanout, Finding, Pending, Phase, Reason, Rules, Verdict};
use lines::without_break;
pub(crate) use lines::{Lines, behind_line};

/// An unfinished reply of this many bytes is not compared with other messages at each read, but when it is an eighth
/// longer, so that the cost of a reply is linear in its length. Below, the delay of a result would be noticed.
const LONG: usize = 64 * 1024;

/// By how many bytes the numbers in two texts of a template make their lengths differ: three numbers of 20 digits.
const LONGEST_NUMBERS: usize = 60;

/// How many messages a reply is compared with, if it is not the expected one and its number does not name its message:
/// this many of the oldest unanswered messages, of those that were counted as missing, and of the last ones. So the
/// cost of a wrong reply does not depend on how many messages are unanswered.
const REMEMBERED: u64 = 1024;

/// How many missing messages of a connection are remembered, so that a late reply is recognised. A long run against a
/// server that answers nothing needs no more memory.
const MOST_MISSED: usize = 64 * 1024;

/// The replies of one connection, and its unanswered messages.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    /// Received bytes that are not a whole reply yet.
    buf: Vec<u8>,
    /// How far `buf` has been searched for line breaks, and how many were found.
    searched: usize,
    breaks: usize,
    /// How many of the bytes are those of the oldest unanswered message.
    agreed: usize,
    /// A long unfinished reply is judged again when it has this length.
    judge_at: usize,
    /// How many line breaks belong to a reply that was too long and is being skipped.
    skips: usize,
    /// The unanswered messages, by ascending number.
    pending: VecDeque<Pending>,
    /// Numbers below this have been used.
    next_seq: u64,
    /// The highest number whose reply has been received.
    newest: Option<u64>,
    /// Numbers that were counted as missing and have not been received since; ascending, the latest [`MOST_MISSED`].
    missed: VecDeque<u64>,
    /// How many replies were taken for those of the oldest unanswered message although they may be late replies to a
    /// missing one: replies that do not name their message cannot be told apart.
    doubtful: u64,
    /// Missing messages below this number may have been forgotten.
    forgotten: u64,
}

/// The kind of a whole reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    /// Lines of a stream.
    Line,
    /// A message of a protocol with messages.
    Message,
}

/// Which message of the connection a reply belongs to.
enum Known {
    /// An unanswered message: its index in `pending`.
    Pending(usize),
    /// A message that was counted as missing: its index in `missed`.
    Missed(usize),
    /// An old message, about which it is not remembered whether it was missing: its number.
    Forgotten(u64),
    /// A message that has already been answered: its number.
    Answered(u64),
}

impl Replies {
    /// The number of the next message.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Uses the next number for a message that needs no reply.
    pub(crate) fn skip_seq(&mut self) {
        self.next_seq += 1;
    }

    /// The last number was not used after all.
    pub(crate) fn give_back_seq(&mut self, seq: u64) {
        self.next_seq = seq;
    }

    /// Adds a message that is being sent.
    pub(crate) fn begin(&mut self, message: Pending) {
        self.next_seq = message.seq + 1;
        self.pending.push_back(message);
        self.judge_at = 0;
    }

    /// The kernel has taken the first byte of a message.
    pub(crate) fn started(&mut self, seq: u64, now: u64) {
        if let Ok(at) = self.pending.binary_search_by_key(&seq, |message| message.seq) {
            self.pending[at].started = now;
        }
    }

    /// The kernel has taken the last byte of a message.
    pub(crate) fn sent(&mut self, seq: u64, now: u64) {
        if let Ok(at) = self.pending.binary_search_by_key(&seq, |message| message.seq) {
            self.pending[at].sent = Some(now);
        }
    }

    /// Removes a message that will not be sent.
    pub(crate) fn forget(&mut self, seq: u64) {
        if let Ok(at) = self.pending.binary_search_by_key(&seq, |message| message.seq) {
            self.pending.remove(at);
            (self.agreed, self.judge_at) = (0, 0);
        }
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.pending.len()
    }

    /// The number of doubtful replies since the last call.
    pub(crate) fn take_doubtful(&mut self) -> u64 {
        std::mem::take(&mut self.doubtful)
    }

    /// The run was interrupted: removes all messages, and returns those that were sent whole but not answered.
    pub(crate) fn interrupt(&mut self) -> impl Iterator<Item = Pending> {
        std::mem::take(&mut self.pending).into_iter().filter(|message| message.sent.is_some())
    }

    /// Counts overdue messages as missing.
    pub(crate) fn expire(&mut self, rules: &Rules, conn: u64, now: u64, emit: &mut dyn FnMut(Finding<'_>)) {
        while let Some(message) = self.pending.front().copied().filter(|front| front.is_overdue(now, rules.timeout)) {
            self.pending.pop_front();
            self.missing(message, conn, emit);
        }
    }

    fn missing(&mut self, message: Pending, conn: u64, emit: &mut dyn FnMut(Finding<'_>)) {
        self.missed.push_back(message.seq);
        if self.missed.len() > MOST_MISSED
            && let Some(oldest) = self.missed.pop_front()
        {
            self.forgotten = oldest + 1;
        }
        (self.agreed, self.judge_at) = (0, 0);
        let finding = Finding {
            verdict: Verdict::Missing,
            message: Some(message),
            conn,
            seq: Some(message.seq),
            received: &self.buf,
            reason: None,
        };
        emit(finding);
    }

    /// The connection has ended: unanswered messages are missing, and bytes that belong to no message are unexpected.
    pub(crate) fn end(&mut self, conn: u64, emit: &mut dyn FnMut(Finding<'_>)) {
        for message in std::mem::take(&mut self.pending) {
            if message.sent.is_some() {
                self.missing(message, conn, emit);
            }
        }
        // If a message is missing, the bytes are the beginning of its reply, and no finding of their own.
        if !self.buf.is_empty() && self.missed.is_empty() {
            let received = &self.buf;
            emit(Finding { verdict: Verdict::Unexpected, message: None, conn, seq: None, received, reason: None });
        }
        self.buf = Vec::new();
        self.skips = 0;
        self.begin_reply();
        // A new connection in this place cannot receive the replies of the old one.
        self.missed.clear();
        self.forgotten = 0;
    }

    /// Takes in received bytes, and emits a finding for each reply that is complete.
    pub(crate) fn feed(&mut self, rules: &Rules, conn: u64, chunk: &[u8], now: u64, emit: &mut dyn FnMut(Finding<'_>)) {
        if matches!(rules.expect, Expect::None) {
            return;
        }
        self.expire(rules, conn, now, emit);
        let mut buf = std::mem::take(&mut self.buf);
        buf.extend_from_slice(chunk);
        let mut head = 0;
        while head < buf.len() {
            let rest = &buf[head..];
            let Some(len) = self.judge_next(rules, conn, rest, emit) else { break };
            self.begin_reply();
            head += len;
        }
        buf.drain(..head);
        if buf.is_empty() && buf.capacity() > 16 * 1024 {
            // Frees the memory of a large reply.
            buf = Vec::new();
        }
        self.buf = buf;
    }

    /// Takes in a reply that is a whole message of its protocol, and emits its finding.
    pub(crate) fn message(
        &mut self,
        rules: &Rules,
        conn: u64,
        reply: &[u8],
        now: u64,
        emit: &mut dyn FnMut(Finding<'_>),
    ) {
        if matches!(rules.expect, Expect::None) {
            return;
        }
        self.expire(rules, conn, now, emit);
        let known = self.identify_reply(rules, conn, reply, Unit::Message);
        self.settle(known, conn, reply, emit);
    }

    /// Takes in a reply that names its message by number, and emits its finding.
    pub(crate) fn acknowledgement(
        &mut self,
        rules: &Rules,
        conn: u64,
        seq: u64,
        reply: &[u8],
        now: u64,
        emit: &mut dyn FnMut(Finding<'_>),
    ) {
        if matches!(rules.expect, Expect::None) {
            return;
        }
        self.expire(rules, conn, now, emit);
        let is_right = match &rules.expect {
            Expect::Echo => rules.messages.is_text(conn, seq, reply),
            Expect::Prefix(prefix) => reply.starts_with(prefix),
            Expect::Regex(regex) => regex.is_match(reply),
            _ => true,
        };
        let known = self.place_of(seq);
        match known {
            // A number that no message has had.
            _ if seq >= self.next_seq => self.settle(None, conn, reply, emit),
            Known::Pending(at) if !is_right => self.settle_wrong(at, conn, reply, emit),
            known => self.settle(Some(known), conn, reply, emit),
        }
    }

    /// The unanswered message at this index has got a wrong reply.
    fn settle_wrong(&mut self, at: usize, conn: u64, received: &[u8], emit: &mut dyn FnMut(Finding<'_>)) {
        let Some(message) = self.pending.remove(at) else { return };
        let (verdict, seq) = (Verdict::Wrong, Some(message.seq));
        emit(Finding { verdict, message: Some(message), conn, seq, received, reason: None });
    }

    /// Received bytes that cannot be a reply: they are the wrong reply to the oldest unanswered message, or unexpected.
    pub(crate) fn refuse(&mut self, conn: u64, received: &[u8], reason: Reason<'_>, emit: &mut dyn FnMut(Finding<'_>)) {
        self.settle_as(None, conn, received, Some(reason), emit);
    }

    /// Nothing of the next reply has been looked at.
    fn begin_reply(&mut self) {
        (self.searched, self.breaks, self.agreed, self.judge_at) = (0, 0, 0, 0);
    }

    /// Judges the first reply in `rest` and returns its length; `None` if it is not complete.
    fn judge_next(
        &mut self,
        rules: &Rules,
        conn: u64,
        rest: &[u8],
        emit: &mut dyn FnMut(Finding<'_>),
    ) -> Option<usize> {
        if self.skips > 0 {
            let len = self.find_lines(rest, self.skips);
            self.skips -= self.breaks;
            return Some(len.unwrap_or(rest.len()));
        }
        let expected = self.pending.front().map_or(self.next_seq.saturating_sub(1), |oldest| oldest.seq);
        let lines = if matches!(rules.expect, Expect::Echo) { rules.messages.lines(expected) } else { 1 };
        if lines == 0 {
            return self.judge_bytes(rules, conn, rest, expected, emit);
        }
        let len = match self.find_lines(rest, lines) {
            Some(len) if len <= rules.max_reply => len,
            None if rest.len() <= rules.max_reply => return None,
            len => {
                self.skips = lines - self.breaks;
                let len = len.unwrap_or(rest.len());
                self.settle_as(None, conn, &rest[..len], Some(Reason::TooLong), emit);
                return Some(len);
            }
        };
        let line = &rest[..len];
        let known = self.identify_reply(rules, conn, line, Unit::Line);
        self.settle(known, conn, line, emit);
        Some(len)
    }

    /// The message that a whole reply answers.
    fn identify_reply(&mut self, rules: &Rules, conn: u64, reply: &[u8], unit: Unit) -> Option<Known> {
        let is_right = match &rules.expect {
            Expect::Echo => return self.identify_echo(rules, conn, reply, unit),
            Expect::Prefix(prefix) => reply.starts_with(prefix),
            Expect::Regex(regex) => regex.is_match(without_break(reply)),
            _ => true,
        };
        // Replies of these kinds do not name their message, so each answers the oldest one.
        match is_right {
            true if !self.pending.is_empty() => {
                self.doubtful += u64::from(!self.missed.is_empty());
                Some(Known::Pending(0))
            }
            true if !self.missed.is_empty() => Some(Known::Missed(0)),
            _ => None,
        }
    }

    /// The length of the first `lines` lines, if they are complete.
    fn find_lines(&mut self, rest: &[u8], lines: usize) -> Option<usize> {
        while let Some(at) = memchr(b'\n', &rest[self.searched..]) {
            self.searched += at + 1;
            self.breaks += 1;
            if self.breaks >= lines {
                return Some(self.searched);
            }
        }
        self.searched = rest.len();
        None
    }

    /// Judges a reply without a line break, which has as many bytes as its message.
    ///
    /// It is compared with the unanswered messages, the oldest first, and then with earlier messages.
    fn judge_bytes(
        &mut self,
        rules: &Rules,
        conn: u64,
        rest: &[u8],
        expected: u64,
        emit: &mut dyn FnMut(Finding<'_>),
    ) -> Option<usize> {
        if rest.len() < self.judge_at {
            return None;
        }
        let mut is_beginning = false;
        for at in 0..self.pending.len().min(REMEMBERED as usize) {
            if at > 0 && self.is_repeated(rules, at) {
                continue;
            }
            let from = if at == 0 { self.agreed } else { 0 };
            let Agreement { agreed, len } = rules.messages.compare(conn, self.pending[at].seq, rest, from);
            if agreed == len {
                let is_text = |&seq: &u64| rules.messages.is_text(conn, seq, &rest[..len]);
                self.doubtful += u64::from(at == 0 && self.missed.back().is_some_and(is_text));
                self.settle(Some(Known::Pending(at)), conn, &rest[..len], emit);
                return Some(len);
            }
            is_beginning |= agreed == rest.len();
            // The expected reply has begun: wait for the rest of it before trying younger messages.
            if at == 0 && is_beginning {
                self.agreed = agreed;
                return None;
            }
        }
        let usual = rules.messages.len(conn, expected);
        if let Some((seq, len)) = self.identify_bytes(rules, conn, rest) {
            let known = self.place_of(seq);
            self.settle(Some(known), conn, &rest[..len], emit);
            return Some(len);
        }
        if is_beginning || rest.len() < usual || self.begins_longer(rules, conn, rest) {
            if rest.len() >= LONG && rest.len() < usual {
                // Near the usual length each byte may be the last one of a reply.
                let eighth = rest.len() + rest.len() / 8;
                self.judge_at = eighth.min(usual.saturating_sub(LONGEST_NUMBERS));
            }
            return None;
        }
        self.settle(None, conn, &rest[..usual], emit);
        Some(usual)
    }

    fn identify_echo(&mut self, rules: &Rules, conn: u64, reply: &[u8], unit: Unit) -> Option<Known> {
        let fits = |seq| unit == Unit::Message || rules.messages.lines(seq) > 0;
        let is_text = |seq| fits(seq) && rules.messages.is_text(conn, seq, reply);
        if self.pending.front().is_some_and(|oldest| is_text(oldest.seq)) {
            self.doubtful += u64::from(self.missed.back().is_some_and(|&seq| is_text(seq)));
            return Some(Known::Pending(0));
        }
        if rules.messages.are_numbered() {
            let seq = match unit {
                Unit::Line => rules.messages.recognize(conn, reply, self.next_seq),
                Unit::Message => rules.messages.recognize_whole(conn, reply, self.next_seq),
            };
            return seq.map(|seq| self.place_of(seq));
        }
        let mut places = 0..self.pending.len().min(REMEMBERED as usize);
        if let Some(at) = places.find(|&at| !self.is_repeated(rules, at) && is_text(self.pending[at].seq)) {
            return Some(Known::Pending(at));
        }
        let remembered = self.next_seq.saturating_sub(REMEMBERED);
        if let Some(at) = self.missed.iter().rev().take(REMEMBERED as usize).position(|&seq| is_text(seq)) {
            return Some(Known::Missed(self.missed.len() - 1 - at));
        }
        rules.messages.distinct(remembered, self.next_seq).find(|&seq| is_text(seq)).map(Known::Answered)
    }

    /// Whether an older unanswered message has the same text as the one at this index. Equal texts answer the oldest
    /// one, so the others need no comparison.
    fn is_repeated(&self, rules: &Rules, at: usize) -> bool {
        rules.messages.same_before(self.pending[at].seq).is_some_and(|older| self.is_pending(older))
    }

    fn is_pending(&self, seq: u64) -> bool {
        self.pending.binary_search_by_key(&seq, |message| message.seq).is_ok()
    }

    /// The number and length of an earlier message, if `rest` begins with it.
    fn identify_bytes(&self, rules: &Rules, conn: u64, rest: &[u8]) -> Option<(u64, usize)> {
        let seq = if rules.messages.are_numbered() {
            rules.messages.recognize(conn, rest, self.next_seq)?
        } else {
            let remembered = self.next_seq.saturating_sub(REMEMBERED);
            let is_text = |seq: &u64| rules.messages.begins_with_text(conn, *seq, rest);
            let missed = self.missed.iter().rev().take(REMEMBERED as usize).copied().find(is_text);
            missed.or_else(|| rules.messages.distinct(remembered, self.next_seq).find(is_text))?
        };
        Some((seq, rules.messages.len(conn, seq)))
    }

    /// Whether `rest` may be the beginning of an earlier message that is longer than the expected one: `<10>` is longer
    /// than `<9>`.
    fn begins_longer(&self, rules: &Rules, conn: u64, rest: &[u8]) -> bool {
        let remembered = self.next_seq.saturating_sub(REMEMBERED);
        let latest = rules.messages.distinct(remembered, self.next_seq);
        let agreements = latest.map(|seq| rules.messages.compare(conn, seq, rest, 0));
        // Texts grow with their numbers, so the first that is not longer ends the search. Usually that is the first
        // one.
        agreements.take_while(|text| text.len > rest.len()).any(|text| text.agreed == rest.len())
    }

    fn place_of(&self, seq: u64) -> Known {
        if let Ok(at) = self.pending.binary_search_by_key(&seq, |message| message.seq) {
            return Known::Pending(at);
        }
        match self.missed.binary_search(&seq) {
            Ok(at) => Known::Missed(at),
            Err(_) if seq < self.forgotten => Known::Forgotten(seq),
            Err(_) => Known::Answered(seq),
        }
    }

    /// Emits the finding for a reply, given the message that it belongs to.
    fn settle(&mut self, known: Option<Known>, conn: u64, received: &[u8], emit: &mut dyn FnMut(Finding<'_>)) {
        self.settle_as(known, conn, received, None, emit);
    }

    fn settle_as(
        &mut self,
        known: Option<Known>,
        conn: u64,
        received: &[u8],
        reason: Option<Reason<'_>>,
        emit: &mut dyn FnMut(Finding<'_>),
    ) {
        let finding =
            |verdict, message: Option<Pending>, seq| Finding { verdict, message, conn, seq, received, reason };
        match known {
            Some(Known::Pending(at)) => {
                let Some(message) = self.pending.remove(at) else { return };
                let is_late_in_turn = self.newest.is_some_and(|newest| newest > message.seq);
                self.newest = self.newest.max(Some(message.seq));
                let verdict = if is_late_in_turn { Verdict::OutOfOrder } else { Verdict::Exact };
                emit(finding(verdict, Some(message), Some(message.seq)));
            }
            Some(Known::Missed(at)) => {
                let seq = self.missed.remove(at);
                emit(finding(Verdict::Late, None, seq));
            }
            Some(Known::Forgotten(seq)) => emit(finding(Verdict::Late, None, Some(seq))),
            Some(Known::Answered(seq)) => emit(finding(Verdict::Duplicate, None, Some(seq))),
            None => match self.pending.pop_front() {
                Some(oldest) => emit(finding(Verdict::Wrong, Some(oldest), Some(oldest.seq))),
                None => emit(finding(Verdict::Unexpected, None, None)),
            },
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
