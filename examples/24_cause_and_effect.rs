//! Lesson 24: why did this happen? The trace leads from the bytes that were sent back to the poll.
//!
//! The stack trace of a callback shows only the loop: the function that armed the timer returned long ago. So each
//! record of the loop's trace (lesson 23) also names the record that caused it. Deferred work keeps its cause, so the
//! chain continues through timers, ticks and queued bytes:
//!
//! ```text
//!   poll ─▶ ready ─▶ on_data ─▶ armed ····· turns later ·····▶ timer ─▶ write ─▶ sent
//! ```
//!
//! Run: `cargo run --example 24_cause_and_effect` (needs the feature `trace`, which is on by default)
//!
//! Expect:
//!
//! ```text
//! why were 6 bytes sent on #3?
//!   phase poll
//!   poll    ready #3
//!   poll    on_data #3, 4 bytes
//!   poll    a timer of 5 ms was armed
//!   timers  the timer fired
//!   timers  write #3, 6 bytes
//!   timers  sent #3, 6 bytes
//! ```
//!
//! Why: the server answers each message 5 ms later. The bytes were written by a timer, the timer was armed by
//! `on_data`, and that was called because the poll reported the socket as ready. (The trace is a ring of fixed size: it
//! can stay on in production, because new records replace the oldest ones.)

use bucle::net::{self, Socket, on};
use bucle::trace::{Kind, Record, Trace};
use bucle::{EventLoop, Loop, Result};
use std::{collections::BTreeMap, time::Duration};

const DELAY: Duration = Duration::from_millis(5);

/// A server that answers late, and a client that sends one message.
fn conversation(lp: &mut Loop) -> Result<()> {
    lp.start_trace(4096);
    let late_answer = |lp: &mut Loop, socket: Socket, _: &[u8]| {
        lp.set_timeout(DELAY, move |lp| {
            socket.write(lp, "adiós");
        });
    };
    let server = net::listen(lp, ("127.0.0.1", 0), on().data(late_answer))?;
    server.unref(lp); // Only the connection keeps the loop alive.
    let address = server.address(lp).expect("a listening server has an address");
    let client = Socket::connect(lp, address, on().data(|lp, socket, _| socket.end(lp)))?;
    client.write(lp, "hola");
    Ok(())
}

fn explain(trace: &Trace) {
    let Some((number, sent)) = trace.records().filter(|(_, record)| record.kind == Kind::Sent).last() else { return };
    println!("why were {} bytes sent on #{}?", sent.size, sent.subject);
    for record in causes(trace, number) {
        println!("  {}", describe(&record));
    }
}

/// The chain of causes up to record `last`, the first cause first. A record without a cause names itself.
fn causes(trace: &Trace, last: u64) -> Vec<Record> {
    let records: BTreeMap<u32, Record> = trace.records().map(|(number, record)| (number as u32, *record)).collect();
    let mut chain = Vec::new();
    let mut next = last as u32;
    while let Some(record) = records.get(&next) {
        chain.insert(0, *record);
        if record.cause == next {
            break;
        }
        next = record.cause;
    }
    chain
}

fn describe(record: &Record) -> String {
    let phase = record.phase.as_str();
    let what = match (record.kind, record.size) {
        (Kind::Phase, _) => return format!("phase {phase}"),
        (Kind::Armed, ms) => format!("a timer of {ms} ms was armed"),
        (Kind::Timer, _) => "the timer fired".to_owned(),
        (kind, 0) => format!("{kind} #{}", record.subject),
        (kind, bytes) => format!("{kind} #{}, {bytes} bytes", record.subject),
    };
    format!("{phase:7} {what}")
}

fn main() -> Result<()> {
    let mut event_loop = EventLoop::new()?;
    event_loop.enter(conversation)?;
    event_loop.run()?;
    let trace = event_loop.enter(|lp| lp.stop_trace()).expect("the conversation started the trace");
    explain(&trace);
    Ok(())
}
