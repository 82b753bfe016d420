//! A chat with nicknames and rooms. Every line goes to everyone in the room.
//!
//! ```text
//!   telnet client ── a line ────▶ chat/telnet.rs ────┐                which members receive a line
//!   browser ──────── a message ─▶ chat/web.rs ───────┼─▶ chat/rooms.rs ──▶ chat/members.rs ──▶ clients of all doors
//!   Socket.IO ────── an event ──▶ chat/socket_io.rs ─┘         ▲
//!                                                              └─▶ chat/cluster.rs ◀─▶ Redis ◀─▶ other nodes
//! ```
//!
//! The rooms are plain data without sockets. A *door* connects them with one protocol: it turns the lines of its
//! clients into calls. The doors share one [`Chat`], and a line goes to members of all doors, and with `--cluster` of
//! all nodes.

pub(crate) mod cluster;
pub(crate) mod members;
mod names;
pub(crate) mod rooms;
pub(crate) mod socket_io;
pub(crate) mod telnet;
pub(crate) mod web;

use bucle::Loop;
use bucle::net::Shared;

use self::cluster::commands::Cluster;
use members::{Member, deliver, log_change};
use rooms::{Next, Rooms, To};

/// The chat that all doors share.
#[derive(Clone, Copy)]
pub(crate) struct Chat {
    rooms: Shared<Rooms<Member>>,
    /// With `--cluster`.
    cluster: Option<Cluster>,
}

/// Takes one line for the members who receive it.
type Send<'a> = &'a mut dyn FnMut(To<'_, Member>, String);

impl Chat {
    /// A chat without other nodes.
    pub(crate) fn new(lp: &mut Loop) -> Chat {
        Chat { rooms: Shared::new(lp, Rooms::default()), cluster: None }
    }

    /// Lets a member in.
    pub(crate) fn enter(self, lp: &mut Loop, member: Member) {
        self.call(lp, Some(member), |rooms, send| rooms.enter(member, send));
    }

    /// A member has typed a line, which is safe to show. If it is `/quit`, the connection is ended.
    pub(crate) fn receive_line(self, lp: &mut Loop, member: Member, line: &str) {
        if self.call(lp, Some(member), |rooms, send| rooms.receive_line(member, line, send)) == Some(Next::Leave) {
            member.end(lp);
        }
        if let Some(cluster) = self.cluster {
            cluster.slow_down(lp, member);
        }
    }

    /// A member has left.
    pub(crate) fn leave(self, lp: &mut Loop, member: Member) {
        self.call(lp, Some(member), |rooms, send| rooms.leave(member, send));
    }

    /// Calls the rooms, on behalf of a member or of the cluster. Sends the lines that they have for their members, and
    /// carries out their orders for the cluster.
    fn call<R>(
        self,
        lp: &mut Loop,
        member: Option<Member>,
        f: impl FnOnce(&mut Rooms<Member>, Send<'_>) -> R,
    ) -> Option<R> {
        let (result, orders) = self.rooms.with(lp, |rooms, lp| {
            let logged = member.filter(|_| log::log_enabled!(target: "bucle::chat", log::Level::Debug));
            let before = logged.and_then(|member| rooms.describe(member));
            let result = f(rooms, &mut |to, text| deliver(lp, to, text));
            if let Some(member) = logged {
                log_change(member, before, rooms.describe(member));
            }
            (result, rooms.take_orders())
        })?;
        if let Some(cluster) = self.cluster {
            orders.into_iter().for_each(|order| self.carry_out(lp, cluster, order));
        }
        Some(result)
    }
}
