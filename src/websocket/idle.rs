//! Idle connections: pings to those from which nothing arrives, and the end of those that do not answer.
//!
//! A timer for each connection would cost as much as the connection. So an endpoint has one timer, which checks all of
//! its connections at once, three times within [`Options::idle_limit`](super::Options::idle_limit), or twice if it
//! sends no pings:
//!
//! ```text
//!   bytes arrive ─▶ (no mark) ── a check ──▶ QUIET ── a check: ping ──▶ QUIET, PINGED ── a check ──▶ disconnected
//!                       ▲                      │                            │
//!                       └────────── bytes arrive, of whichever frame ───────┘
//! ```
//!
//! So a connection that is dead is disconnected after two thirds of the limit at the earliest, and after the limit at
//! the latest. Without pings a connection may be quiet for the whole limit, and is closed within half as long again.

use std::time::Duration;

use super::close::CloseCode;
use super::frame::Opcode;
use super::{WebSocket, tag};
use crate::{Loop, TimerId};

/// How many checks there are within an idle limit, if they send pings: a connection that is dead is found within the
/// limit.
const CHECKS: u32 = 3;

/// The same without pings: a connection is idle for the whole limit, and for one and a half of it at most.
const CHECKS_WITHOUT_PINGS: u32 = 2;

/// The longest time between two checks: that of a timer.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

/// Starts the checks of an endpoint whose handler is in `slot`.
pub(super) fn start(lp: &mut Loop, slot: u32, limit: Duration, sends_pings: bool) -> TimerId {
    let checks = if sends_pings { CHECKS } else { CHECKS_WITHOUT_PINGS };
    let period = (limit / checks).clamp(Duration::from_millis(1), LONGEST);
    let timer = lp.set_internal_interval(period, move |lp| check(lp, slot, sends_pings));
    lp.unref(timer);
    timer
}

fn check(lp: &mut Loop, slot: u32, sends_pings: bool) {
    /// A connection is not read: the program has paused it, or the peer does not read its answers (then it has the
    /// write timeout). The answer to a ping would not be seen.
    const NOT_READ: u16 = tag::PAUSED | tag::THROTTLED;
    const EXEMPT: u16 = tag::CLOSE_SENT | NOT_READ;
    const OPEN: u16 = tag::OPEN;
    const QUIET: u16 = tag::OPEN | tag::QUIET;
    const PINGED: u16 = tag::OPEN | tag::QUIET | tag::PINGED;
    let (mut pings, mut dead) = (Vec::new(), Vec::new());
    lp.update_tags(slot, |socket, tag| match tag & (PINGED | EXEMPT) {
        OPEN => tag | tag::QUIET,
        QUIET => {
            pings.push(WebSocket(socket));
            tag | tag::PINGED
        }
        PINGED => {
            dead.push(WebSocket(socket));
            tag
        }
        // A connection gets the whole time again when it goes on.
        _ if tag & NOT_READ != 0 => tag & !(tag::QUIET | tag::PINGED),
        // Not open yet, or closing: these have time limits of their own.
        _ => tag,
    });
    if sends_pings {
        for ws in pings {
            ws.send_control(lp, Opcode::Ping, &[]);
        }
    }
    for ws in dead {
        if sends_pings {
            log::debug!(target: "bucle::websocket", "{ws} has not answered a ping, disconnecting");
            super::closing::remember(lp, ws, CloseCode::ABNORMAL, "no answer to a ping");
            ws.terminate(lp);
        } else {
            ws.close(lp, CloseCode::GOING_AWAY, "idle for too long");
        }
    }
}
