//! This node of a cluster: the state that the rooms need, and their orders for Redis. It is plain data, as the rooms
//! are: they leave [`Order`]s, which `cluster.rs` carries out.
//!
//! ```text
//!   link   Starting ──▶ Up ◀──▶ Away         only an Up node sends messages and asks for nicks
//!   claims bo → #3                           nicks that Redis was asked for, each with the member who wants it
//!   held   #3: "hola", "/join rust"          lines that #3 has typed since, in their order
//! ```
//!
//! A member who has typed `/nick` waits for Redis, for a millisecond or so. Lines typed meanwhile are held, so that
//! they are sent under the new nick, as on a server without a cluster. The lines of one member are held up to
//! [`HELD_LIMIT`].

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use super::view::{LEASE, View};
use super::wire::{Event, NodeId, STATE_MEMBERS, encode};

/// How many bytes of lines are held for one member, besides the first one.
const HELD_LIMIT: usize = 64 * 1024;

/// What a line costs besides its bytes.
const LINE_COST: usize = 64;

/// The shortest time between two states. All nodes may ask at the same moment; one answer is for all of them.
const STATE_PAUSE: Duration = Duration::from_millis(200);

/// Orders of the rooms for Redis, which are carried out in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Send this message to the other nodes.
    Publish(String),
    /// Take the key of a nick, which is in lower case, and pass the [`Answer`] to the rooms.
    Hold(String),
    /// Give the key of a nick back, if this node has it.
    Release(String),
    /// Call the rooms again after this time: the state is to be sent then.
    SendStateIn(Duration),
}

/// The result of taking the key of a nick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// This node has it.
    Held,
    /// Another node has it.
    Taken,
    /// Redis cannot be asked, or does not do it.
    Failed,
}

/// Whether this node is in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    /// Redis was never there.
    Starting,
    Up,
    /// The members know that the other nodes cannot be reached.
    Away,
}

/// A nick that a member wants.
pub(crate) struct Claim<M> {
    pub(crate) member: M,
    /// As the member has typed it.
    pub(crate) nick: String,
    /// What the member has typed since.
    pub(crate) held: VecDeque<String>,
}

/// This node. `M` names a member.
pub(crate) struct ThisNode<M> {
    pub(crate) id: NodeId,
    pub(crate) link: Link,
    pub(crate) view: View,
    /// How many bytes the text of a message may have.
    pub(crate) max_text: usize,
    /// Redis has refused the keys of nicks when it was asked last.
    pub(crate) are_keys_refused: bool,
    /// The number of the last message.
    number: u64,
    random: u64,
    orders: Vec<Order>,
    /// By nick in lower case.
    claims: BTreeMap<String, Claim<M>>,
    claimants: BTreeMap<M, String>,
    state_sent: Option<Duration>,
    state_is_due: bool,
    last_tick: Option<Duration>,
}

impl<M: Copy + Ord> ThisNode<M> {
    /// A node with a random name. `seed` is random, too.
    pub(crate) fn new(id: NodeId, seed: u64, max_text: usize) -> ThisNode<M> {
        ThisNode {
            id,
            link: Link::Starting,
            view: View::default(),
            max_text,
            are_keys_refused: false,
            number: 0,
            random: seed,
            orders: Vec::new(),
            claims: BTreeMap::new(),
            claimants: BTreeMap::new(),
            state_sent: None,
            state_is_due: false,
            last_tick: None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    pub(crate) fn take_orders(&mut self) -> Vec<Order> {
        mem::take(&mut self.orders)
    }

    /// Sends an event to the other nodes. While Redis is away they do not get it: later they get the state, which has
    /// the changes of the members.
    pub(crate) fn publish(&mut self, event: &Event<'_>) {
        if self.is_up() {
            self.number += 1;
            self.orders.push(Order::Publish(encode(self.id, self.number, event)));
        }
    }

    /// Sends the state, with `members` as nicks and rooms.
    pub(crate) fn publish_state(&mut self, now: Duration, members: &[(&str, &str)]) {
        (self.state_sent, self.state_is_due) = (Some(now), false);
        let parts = members.len().div_ceil(STATE_MEMBERS).max(1) as u32;
        for part in 1..=parts {
            let chunk = members.chunks(STATE_MEMBERS).nth(part as usize - 1).unwrap_or_default();
            self.publish(&Event::State { part, parts, members: chunk.to_vec() });
        }
    }

    /// Notes that a second has passed. If it was much longer, this process was stopped, or the machine was asleep, and
    /// the messages of the others wait to be read.
    pub(crate) fn note_tick(&mut self, now: Duration) {
        let last = self.last_tick.replace(now);
        if last.is_some_and(|last| now.saturating_sub(last) > LEASE / 2) {
            self.view.wake_up(now);
        }
    }

    /// Another node asks for the state. Returns whether it is to be sent now. If not, it will be sent soon.
    pub(crate) fn is_state_due(&mut self, now: Duration) -> bool {
        let since = self.state_sent.map_or(STATE_PAUSE, |sent| now.saturating_sub(sent));
        if since >= STATE_PAUSE {
            return true;
        }
        if !mem::replace(&mut self.state_is_due, true) {
            self.orders.push(Order::SendStateIn(STATE_PAUSE - since));
        }
        false
    }

    /// Takes the key of a nick in lower case, if Redis is there. If not, it is taken when Redis is there again.
    pub(crate) fn hold(&mut self, nick: &str) {
        if self.is_up() {
            self.orders.push(Order::Hold(nick.to_owned()));
        }
    }

    /// Gives the key of a nick back.
    pub(crate) fn release(&mut self, nick: &str) {
        if self.is_up() {
            self.orders.push(Order::Release(nick.to_owned()));
        }
    }

    /// Lets a member wait for a nick.
    pub(crate) fn claim(&mut self, member: M, nick: &str) {
        let key = nick.to_lowercase();
        self.hold(&key);
        self.claimants.insert(member, key.clone());
        self.claims.insert(key, Claim { member, nick: nick.to_owned(), held: VecDeque::new() });
    }

    /// Whether a member waits for this nick, which is in lower case.
    pub(crate) fn is_claimed(&self, nick: &str) -> bool {
        self.claims.contains_key(nick)
    }

    /// The claim for a nick in lower case, which ends with this.
    pub(crate) fn take_claim(&mut self, nick: &str) -> Option<Claim<M>> {
        let claim = self.claims.remove(nick)?;
        self.claimants.remove(&claim.member);
        Some(claim)
    }

    /// The claim of a member, which ends with this.
    pub(crate) fn take_claim_of(&mut self, member: M) -> Option<Claim<M>> {
        let nick = self.claimants.get(&member)?.clone();
        self.take_claim(&nick)
    }

    /// Holds a line of a member who waits for a nick. `None`: it does not wait. `Some(false)`: too much is held.
    pub(crate) fn hold_line(&mut self, member: M, line: &str) -> Option<bool> {
        let held = &mut self.claims.get_mut(self.claimants.get(&member)?)?.held;
        let bytes: usize = held.iter().map(|line| line.len() + LINE_COST).sum();
        let has_room = held.is_empty() || bytes + line.len() + LINE_COST <= HELD_LIMIT;
        if has_room {
            held.push_back(line.to_owned());
        }
        Some(has_room)
    }

    /// A random number below `limit` (SplitMix64).
    pub(crate) fn random(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
