//! Lost sessions: how they are kept in Redis, and how a client gets what it has missed.
//!
//! ```text
//!   GETDEL sio:session:<pid> ──▶ is its last entry read by this node? ──▶ the log has all behind it ─────▶ restored
//!                                           │ no: it waits                   │ no
//!                                                                            └▶ XRANGE up to the log ──▶ restored
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Shared;
use super::entries::body;
use super::log::Kept;
use crate::redis::{Entry, EntryId, Reply};
use crate::socket_io::adapter::{LostSession, MissedEvent, OnRestored, RestoredSession};
use crate::socket_io::redis_adapter::message::Body;
use crate::socket_io::redis_adapter::msgpack::{self, Reader};
use crate::{Loop, TimerId};

/// How long a client that comes back waits for Redis and for this node. Then it begins anew.
const LIMIT: Duration = Duration::from_secs(5);

/// How many entries Redis sends at a time, and how often it is asked. Node asks as often.
const ENTRIES_AT_ONCE: usize = 1000;
const MAX_REPLIES: usize = 100;

/// A client that comes back.
pub(super) struct Restoring {
    shared: Rc<Shared>,
    offset: EntryId,
    done: RefCell<Option<(OnRestored, TimerId)>>,
}

/// A client that has received entries which this node has not read yet. If it were connected, it would get them twice.
pub(super) struct Waiter {
    restoring: Rc<Restoring>,
    session: LostSession,
}

/// A session as Node writes it: MessagePack as base64.
fn encode_session(session: &LostSession) -> String {
    let LostSession { sid, pid, rooms, data } = session;
    let mut bytes = Vec::new();
    let text = json!({ "sid": sid, "pid": pid, "rooms": rooms, "data": data }).to_string();
    msgpack::push_json(&mut bytes, &text, &[]);
    STANDARD.encode(bytes)
}

fn decode_session(text: &[u8]) -> Option<LostSession> {
    let bytes = STANDARD.decode(text).ok()?;
    let mut json = String::new();
    let mut reader = Reader::new(&bytes);
    reader.json(&mut json, &mut Vec::new()).ok()?;
    reader.finish().ok()?;
    let mut session: Value = serde_json::from_str(&json).ok()?;
    let text = |name: &str| session.get(name).and_then(Value::as_str).map(str::to_owned);
    let rooms = session.get("rooms")?.as_array()?.iter().map(|room| room.as_str().map(str::to_owned));
    let (sid, pid, rooms) = (text("sid")?, text("pid")?, rooms.collect::<Option<_>>()?);
    Some(LostSession { sid, pid, rooms, data: session.get_mut("data").map(Value::take).unwrap_or_default() })
}

impl Shared {
    fn session_key(&self, pid: &str) -> String {
        format!("{}{pid}", self.options.session_key_prefix)
    }

    pub(super) fn persist(&self, lp: &mut Loop, session: &LostSession, lifetime: Duration) {
        let (key, milliseconds) = (self.session_key(&session.pid), lifetime.as_millis().max(1).to_string());
        self.member.link.execute(lp, &["SET", &key, &encode_session(session), "PX", &milliseconds]);
    }

    pub(super) fn restore(self: &Rc<Self>, lp: &mut Loop, pid: &str, offset: &str, done: OnRestored) {
        let link = self.member.link;
        // There is no entry with the least id.
        let offset = offset.parse().ok().filter(|offset| *offset != EntryId::default());
        let Some(offset) = offset.filter(|_| link.is_ready(lp)) else {
            return lp.next_tick(|lp| done(lp, None));
        };
        let restoring = Rc::new(Restoring { shared: self.clone(), offset, done: RefCell::new(None) });
        let late = restoring.clone();
        let timer = lp.set_timeout(LIMIT, move |lp| {
            late.finish(lp, None);
            late.shared.waiters.borrow_mut().retain(|waiter| !Rc::ptr_eq(&waiter.restoring, &late));
        });
        *restoring.done.borrow_mut() = Some((done, timer));
        link.command(lp, &["GETDEL", &self.session_key(pid)], move |lp, reply| {
            match reply.ok().and_then(|reply| decode_session(reply.bytes()?)) {
                Some(session) => restoring.found(lp, session),
                None => restoring.finish(lp, None),
            }
        });
    }

    /// The adapter is closed: clients that wait begin anew here, or come back at another node.
    pub(super) fn give_waiters_back(&self, lp: &mut Loop) {
        for Waiter { restoring, session } in self.waiters.take() {
            restoring.give_back(lp, &session);
        }
    }

    /// This node has read an entry.
    pub(super) fn wake_waiters(&self, lp: &mut Loop, read: EntryId) {
        let is_due = |waiter: &mut Waiter| waiter.restoring.offset <= read;
        let due: Vec<Waiter> = self.waiters.borrow_mut().extract_if(.., is_due).collect();
        for Waiter { restoring, session } in due {
            restoring.found(lp, session);
        }
    }
}

impl Restoring {
    fn finish(&self, lp: &mut Loop, restored: Option<RestoredSession>) {
        let done = self.done.borrow_mut().take();
        if let Some((done, timer)) = done {
            lp.clear(timer);
            done(lp, restored);
        }
    }

    /// The adapter is closed: the session, which was taken, is kept again.
    fn give_back(&self, lp: &mut Loop, session: &LostSession) {
        self.shared.persist(lp, session, self.shared.lifetime.get());
        self.finish(lp, None);
    }

    /// There is a session.
    fn found(self: Rc<Self>, lp: &mut Loop, session: LostSession) {
        let Shared { member, stream, log, waiters, .. } = &*self.shared;
        if self.done.borrow().is_none() {
            // Redis has answered too late. A waiter would wait for ever, because its time is over.
            return;
        }
        if self.shared.is_closed.get() {
            return self.give_back(lp, &session);
        }
        let position = member.link.stream_position(lp, stream).unwrap_or_default();
        if position < self.offset || log.borrow().has_gap() {
            return waiters.borrow_mut().push(Waiter { restoring: self.clone(), session });
        }
        let start = log.borrow_mut().start(position);
        if self.offset >= start {
            let since = self.offset.to_string();
            return self.finish(lp, Some(RestoredSession { session, missed: Vec::new(), since }));
        }
        let range = Range { last: self.offset, until: start, replies: 0, bytes: 0, missed: Vec::new() };
        self.read_range(lp, session, range);
    }

    /// Asks for entries that are older than the log.
    fn read_range(self: Rc<Self>, lp: &mut Loop, session: LostSession, mut range: Range) {
        if range.replies == MAX_REPLIES {
            return self.finish(lp, None);
        }
        range.replies += 1;
        let Shared { member, stream, .. } = &*self.shared;
        let [last, until] = [range.last, range.until].map(|id| id.to_string());
        let command = ["XRANGE", stream, &last, &until, "COUNT", &ENTRIES_AT_ONCE.to_string()];
        let (link, restoring) = (member.link, self.clone());
        link.command(lp, &command, move |lp, reply| {
            let state = reply.ok().map(|reply| range.take(&restoring.shared, &session, &reply));
            match state {
                _ if restoring.shared.is_closed.get() => restoring.give_back(lp, &session),
                Some(RangeState::More) => restoring.read_range(lp, session, range),
                Some(RangeState::Complete) => {
                    let since = range.until.to_string();
                    restoring.finish(lp, Some(RestoredSession { session, missed: range.missed, since }));
                }
                Some(RangeState::Impossible) | None => restoring.finish(lp, None),
            }
        });
    }
}

/// The entries between the offset of a client and the log.
struct Range {
    /// The last one that was read: at first that of the offset.
    last: EntryId,
    until: EntryId,
    replies: usize,
    bytes: usize,
    missed: Vec<MissedEvent>,
}

enum RangeState {
    More,
    Complete,
    /// Entries are gone, or there are too many.
    Impossible,
}

impl Range {
    /// Takes the entries of a reply, which begins with the last one of the reply before. Older entries are dropped
    /// first: if that one is there, all behind it are.
    fn take(&mut self, shared: &Shared, session: &LostSession, reply: &Reply<'_>) -> RangeState {
        let replies = reply.items();
        let mut entries = replies.iter().filter_map(Entry::from_reply);
        if entries.next().is_none_or(|first| first.id != self.last) {
            return RangeState::Impossible;
        }
        let before = self.last;
        for entry in entries {
            self.last = entry.id;
            if entry.field("nsp") != Some(shared.member.namespace.as_bytes()) {
                continue;
            }
            let Ok(Some(Body::Broadcast { broadcast, request_id: None, is_numbered: false })) = body(&entry) else {
                continue;
            };
            let kept = Kept { id: entry.id, broadcast: Rc::new(broadcast) };
            if let Some(event) = kept.missed_in(&session.rooms).filter(|_| !kept.broadcast.flags.volatile) {
                self.bytes += kept.cost();
                self.missed.push(event);
            }
        }
        match (self.bytes > shared.log.borrow().max_bytes(), replies.len() < ENTRIES_AT_ONCE) {
            (true, _) => RangeState::Impossible,
            (false, true) => RangeState::Complete,
            (false, false) if self.last == before => RangeState::Impossible,
            (false, false) => RangeState::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_written_as_node_writes_it() {
        let session = LostSession {
            sid: "AAAAAAAAAAAAAAAAAAAA".to_owned(),
            pid: "BBBBBBBBBBBBBBBBBBBB".to_owned(),
            rooms: vec!["AAAAAAAAAAAAAAAAAAAA".to_owned(), "r".to_owned()],
            data: json!({ "nick": "ana" }),
        };
        // `Buffer.from(encode(session)).toString("base64")` with @msgpack/msgpack 2.8.
        let node = "hKNzaWS0QUFBQUFBQUFBQUFBQUFBQUFBQUGjcGlktEJCQkJCQkJCQkJCQkJCQkJCQkJCpXJvb21zkrRBQUFBQUFBQUFBQUFBQUFBQUFBQaFypGRhdGGBpG5pY2ujYW5h";
        assert_eq!(encode_session(&session), node);
        assert_eq!(decode_session(node.as_bytes()), Some(session));
    }

    #[test]
    fn what_is_no_session_is_none() {
        let encode = |value: Value| {
            let mut bytes = Vec::new();
            msgpack::push_json(&mut bytes, &value.to_string(), &[]);
            STANDARD.encode(bytes)
        };
        for text in [
            String::new(),
            "é".to_owned(),
            "gA==".to_owned(),
            encode(json!([])),
            encode(json!({ "sid": 1, "pid": "p", "rooms": [] })),
            encode(json!({ "sid": "s", "pid": "p", "rooms": [1] })),
            encode(json!({ "sid": "s", "pid": "p" })),
        ] {
            assert_eq!(decode_session(text.as_bytes()), None, "{text}");
        }
    }
}
