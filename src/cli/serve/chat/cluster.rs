//! The chat on several nodes: processes or machines that are connected by Redis. Members of all nodes are in the same
//! rooms.
//!
//! ```text
//!   node A                                    Redis                                       node B
//!   ana types a line ─▶ rooms ─▶ members of A
//!                         └─▶ PUBLISH ──▶ channel bucle:chat:0 ──▶ message ─▶ rooms ─▶ members of B
//!
//!   bo types /nick eva ─▶ rooms ─▶ EVAL ──▶ key bucle:chat:0:nick:eva, with the name of the node and a lease
//! ```
//!
//! # One channel
//!
//! All nodes publish on one channel and subscribe to it. Redis sends the messages of one connection in their order, so
//! the lines of each sender stay in order, and its messages about members are in the same order as its lines. The price
//! is that each line goes to each node, also to one without members in the room.
//!
//! `cluster/wire.rs` is the format of the messages, and `cluster/view.rs` has the state of the other nodes. Nothing in
//! a message is trusted: it is checked, and counted and ignored if it is malformed. A node does not read its own
//! messages.
//!
//! # Nicks
//!
//! A nick has one owner in the cluster, because it has one key. Its value is the name of the node, and the node itself
//! ensures that only one of its members has the nick. The key is taken with `SET … NX PX`, renewed every [`RENEW`], and
//! deleted when its member has another nick or leaves. A script does each of these, so that only the owner renews or
//! deletes a key (`cluster/commands.rs`). If a node is killed, its keys expire with their leases.
//!
//! # When Redis is away
//!
//! The node goes on with its own members, and informs them once. Their lines of this time are not sent later. When
//! Redis is there again, each node sends its state, and takes the keys of its nicks again: see `rooms/nodes.rs` for two
//! members who have got the same nick. A lost connection is noticed within three [pings](PING), and a new one is made
//! within [`MAX_DELAY`] after Redis is there again.
//!
//! A line is delivered at most once: exactly once while Redis is there and no node falls behind by more than Redis
//! keeps for it.
//!
//! # Bounds
//!
//! | | limit | when it is reached |
//! |---|---|---|
//! | bytes that Redis does not take | [`PAUSE_AT`], 1 MiB | members who send lines are not read; clients of Socket.IO are |
//! | the same | [`MAX_QUEUED`], 16 MiB | messages are dropped and counted; the others detect the gap, and request the state |
//! | messages, other nodes, their members | see `cluster/wire.rs` and `cluster/view.rs` | they are ignored |
//! | lines that wait for a nick | see `cluster/node.rs` | the member gets a message that a line is lost |

pub(crate) mod commands;
pub(crate) mod node;
pub(crate) mod view;
pub(crate) mod wire;

use std::mem;
use std::time::Duration;

use bucle::net::Shared;
use bucle::redis::url::Address;
use bucle::redis::{self, Link, Reply};
use bucle::{Loop, Result};

use super::Chat;
use super::members::Member;
use super::names::NAME_LIMIT;
use commands::{Cluster, KEYS_AT_ONCE};
use node::{Answer, Order};
use wire::{Ignored, NodeId};

/// How many descriptors the link needs.
pub(crate) const DESCRIPTORS: usize = 2;

/// How often a node sends a message at least, and looks for nodes that are gone.
const BEAT: Duration = Duration::from_secs(1);

/// How often the keys of nicks are renewed: three times within a lease, so that two attempts may fail.
const RENEW: Duration = Duration::from_secs(3);

/// How often the connections are checked. One that is silent for three pings is lost. So an attempt to connect that
/// hangs while Redis comes back costs at most 1.5 s of the 2 s in which the nodes are one chat again.
const PING: Duration = Duration::from_millis(500);

/// How many bytes may wait for Redis. The state of a node with 400,000 members must fit.
const MAX_QUEUED: usize = 16 * 1024 * 1024;

/// If so many bytes wait for Redis, no more lines are read from the members who send some. They are read again when
/// less than half of it waits.
const PAUSE_AT: usize = 1024 * 1024;

/// How often it is checked whether they are read again.
const RESUME_CHECK: Duration = Duration::from_millis(5);

/// The longest delay between two attempts to connect.
const MAX_DELAY: Duration = Duration::from_millis(300);

impl Cluster {
    /// A member has typed a line. If Redis is slower than the members, its next lines wait.
    pub(super) fn slow_down(self, lp: &mut Loop, member: Member) {
        if self.link.queued_bytes(lp) <= PAUSE_AT || !self.link.is_ready(lp) || !member.pause(lp) {
            return;
        }
        let is_first = self.paused.with(lp, |paused, _| {
            paused.push(member);
            paused.len() == 1
        });
        if is_first == Some(true) {
            self.resume_later(lp);
        }
    }

    fn resume_later(self, lp: &mut Loop) {
        let timer = lp.set_timeout(RESUME_CHECK, move |lp| {
            if self.link.queued_bytes(lp) > PAUSE_AT / 2 && self.link.is_ready(lp) {
                return self.resume_later(lp);
            }
            for member in self.paused.with(lp, |paused, _| mem::take(paused)).unwrap_or_default() {
                member.resume(lp);
            }
        });
        lp.unref(timer);
    }
}

impl Chat {
    /// A chat that is a node of the cluster at this Redis server. `line_limit` is how many bytes a line may have; it
    /// must be the same on all nodes.
    pub(crate) fn in_cluster(lp: &mut Loop, address: &Address, line_limit: usize) -> Chat {
        let options = redis::Options {
            address: address.clone(),
            max_waiting: MAX_QUEUED,
            ping_interval: PING,
            min_delay: MAX_DELAY / 6,
            max_delay: MAX_DELAY,
        };
        let link = Link::open(lp, options);
        // The servers keep the loop running.
        link.unref(lp);
        let cluster = Cluster {
            link,
            id: NodeId(random()),
            database: address.database,
            start: lp.now(),
            paused: Shared::new(lp, Vec::new()),
        };
        let chat = Chat { cluster: Some(cluster), ..Chat::new(lp) };
        // A line is up to three times as long when it is safe to show, and its sender's nick is in front of it.
        let max_text = line_limit.saturating_mul(3).saturating_add(4 * NAME_LIMIT + 16);
        chat.rooms.with(lp, |rooms, _| rooms.join_cluster(cluster.id, random(), max_text));
        link.subscribe(lp, cluster.channel(), move |lp, _, message| chat.receive(lp, cluster, message));
        link.on_ready(lp, move |lp| chat.link_is_up(lp, cluster));
        link.on_lost(lp, move |lp, _| chat.link_is_lost(lp));
        let mut nodes = 0;
        let beats = lp.set_interval(BEAT, move |lp| {
            let now = cluster.now(lp.now());
            let count = chat.call(lp, None, |rooms, send| {
                rooms.tick(now, send);
                rooms.node_count()
            });
            if let Some(count) = count.filter(|&count| count != nodes) {
                nodes = count;
                log::info!(target: "bucle::chat", "other nodes of the cluster: {count}");
            }
        });
        lp.unref(beats);
        let renewals = lp.set_interval(RENEW, move |lp| chat.hold_all(lp, cluster));
        lp.unref(renewals);
        chat
    }

    /// Carries out the orders of the rooms in Redis.
    pub(super) fn carry_out(self, lp: &mut Loop, cluster: Cluster, order: Order) {
        match order {
            // The link counts and logs what it drops.
            Order::Publish(message) => drop(cluster.link.publish(lp, cluster.channel(), message)),
            Order::Hold(nick) => self.hold(lp, cluster, nick),
            // Without an answer the key ends with its lease.
            Order::Release(nick) => cluster.link.command(lp, &cluster.release_command(&nick), |_, _| {}),
            Order::SendStateIn(delay) => {
                let timer = lp.set_timeout(delay, move |lp| {
                    let now = cluster.now(lp.now());
                    self.call(lp, None, |rooms, _| rooms.send_state(now));
                });
                lp.unref(timer);
            }
        }
    }

    fn link_is_up(self, lp: &mut Loop, cluster: Cluster) {
        let now = cluster.now(lp.now());
        log::info!(target: "bucle::chat", "this is node {} of the cluster", cluster.id);
        self.call(lp, None, |rooms, send| rooms.link_is_up(now, send));
        self.hold_all(lp, cluster);
    }

    fn link_is_lost(self, lp: &mut Loop) {
        self.call(lp, None, |rooms, send| rooms.link_is_lost(send));
    }

    fn receive(self, lp: &mut Loop, cluster: Cluster, message: &[u8]) {
        let now = cluster.now(lp.now());
        let result = self.call(lp, None, |rooms, send| rooms.receive(now, message, send));
        let Some(Err(Ignored { why })) = result else { return };
        cluster.link.note_ignored(lp);
        let count = cluster.link.statistics(lp).map_or(0, |statistics| statistics.ignored);
        // A flood must not fill the log.
        if count.is_power_of_two() {
            log::warn!(
                target: "bucle::chat",
                "a message on the channel {} was ignored, number {count} so far: {why}",
                cluster.channel(),
            );
        }
    }

    /// Takes the key of a nick.
    fn hold(self, lp: &mut Loop, cluster: Cluster, nick: String) {
        let command = cluster.hold_command(&[&nick]);
        cluster.link.command(lp, &command, move |lp, reply| {
            let answer = match &reply {
                Ok(Reply::Array(taken)) if taken.is_empty() => Answer::Held,
                Ok(Reply::Array(_)) => Answer::Taken,
                _ => Answer::Failed,
            };
            self.note_result(lp, cluster, &reply);
            self.answer(lp, &nick, answer);
        });
    }

    /// Takes or renews the keys of all nicks.
    fn hold_all(self, lp: &mut Loop, cluster: Cluster) {
        if !cluster.link.is_ready(lp) {
            return;
        }
        let nicks = self.rooms.with(lp, |rooms, _| rooms.nicks().map(str::to_owned).collect::<Vec<_>>());
        for nicks in nicks.unwrap_or_default().chunks(KEYS_AT_ONCE) {
            let nicks: Vec<String> = nicks.to_vec();
            let command = cluster.hold_command(&nicks);
            cluster.link.command(lp, &command, move |lp, reply| {
                let taken = reply.as_ref().map(Reply::items).unwrap_or_default().iter().filter_map(Reply::integer);
                let taken = taken.filter_map(|index| nicks.get(usize::try_from(index).ok()?.checked_sub(1)?));
                let taken: Vec<&String> = taken.collect();
                for nick in taken {
                    self.answer(lp, nick, Answer::Taken);
                }
                self.note_result(lp, cluster, &reply);
            });
        }
    }

    /// Redis has answered about the key of a nick, or has not.
    fn answer(self, lp: &mut Loop, nick: &str, answer: Answer) {
        let leaving = self.call(lp, None, |rooms, send| rooms.answer(nick, answer, send));
        if let Some(member) = leaving.flatten() {
            member.end(lp);
        }
    }

    /// Whether Redis takes keys is logged when it changes. If the link is lost, the rooms must know that first.
    fn note_result(self, lp: &mut Loop, cluster: Cluster, reply: &Result<Reply<'_>>) {
        if reply.is_err() && !cluster.link.is_ready(lp) {
            return self.link_is_lost(lp);
        }
        let is_new = self.call(lp, None, |rooms, _| rooms.note_keys_refused(reply.is_err()));
        if let (Err(error), Some(true)) = (reply, is_new) {
            log::warn!(target: "bucle::chat", "Redis does not take the keys of nicks: {error}");
        }
    }
}

/// A random number. Without a random source it is the number of this process and the time.
fn random() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_ok() {
        return u64::from_le_bytes(bytes);
    }
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(std::process::id()) << 32 ^ u64::from(time.subsec_nanos())
}
