//! What a node of the chat uses in Redis: a channel, keys, and the commands for keys.

use std::time::{Duration, Instant};

use bucle::net::Shared;
use bucle::redis::Link;

use super::view::LEASE;
use super::wire::NodeId;
use crate::cli::serve::chat::members::Member;

/// How many keys one command takes or renews. Redis does nothing else meanwhile: some tenths of a millisecond.
pub(crate) const KEYS_AT_ONCE: usize = 256;

/// Takes keys for an owner, or renews those that it has. Returns the indexes of the keys that others have.
const HOLD: &str = "\
local taken = {}
for i, key in ipairs(KEYS) do
  if redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then
  elseif redis.call('GET', key) == ARGV[1] then
    redis.call('PEXPIRE', key, ARGV[2])
  else
    taken[#taken + 1] = i
  end
end
return taken";

/// Deletes a key if it belongs to an owner.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0";

/// This node's part in a cluster.
#[derive(Clone, Copy)]
pub(crate) struct Cluster {
    pub(crate) link: Link,
    pub(crate) id: NodeId,
    /// The number of the database. Redis has the same channels in all databases, so it is in the name of the channel.
    pub(crate) database: u32,
    /// Times are counted from this one.
    pub(crate) start: Instant,
    /// The members whose lines are not read, because Redis is slower than they are.
    pub(crate) paused: Shared<Vec<Member>>,
}

impl Cluster {
    /// The channel of all nodes.
    pub(crate) fn channel(self) -> String {
        format!("bucle:chat:{}", self.database)
    }

    /// The key of a nick in lower case.
    fn key(self, nick: &str) -> String {
        format!("bucle:chat:{}:nick:{nick}", self.database)
    }

    /// A time for the rooms.
    pub(crate) fn now(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// Takes or renews the keys of these nicks, at most [`KEYS_AT_ONCE`].
    pub(crate) fn hold_command<S: AsRef<str>>(self, nicks: &[S]) -> Vec<String> {
        let mut command = vec!["EVAL".to_owned(), HOLD.to_owned(), nicks.len().to_string()];
        command.extend(nicks.iter().map(|nick| self.key(nick.as_ref())));
        command.extend([self.id.to_string(), LEASE.as_millis().to_string()]);
        command
    }

    /// Gives the key of a nick back.
    pub(crate) fn release_command(self, nick: &str) -> [String; 5] {
        ["EVAL".to_owned(), RELEASE.to_owned(), "1".to_owned(), self.key(nick), self.id.to_string()]
    }
}
