//! Lesson 35: a page about the loop of this program. Pause it, and step from callback to callback.
//!
//! `inspect::start` serves a live page about the loop that it is called on, from the same thread: the page's server
//! runs on a second loop, inside the wait of the first. The page shows phases, queues and connections, and it can hold
//! the loop before each callback and each wait. While it is held, the clock of the loop stands still:
//!
//! ```text
//!   browser ──▶ inner loop: the page     ┐
//!                  ▼ gate                │ one thread
//!   client ───▶ the loop of this program ┘
//! ```
//!
//! Run: `cargo run --example 35_live_page` (needs the feature `inspect`, which is on by default; another port for the
//! server, then one for the page, as arguments; 0 is any free one). Open the printed URL in a browser. In another
//! terminal run `nc localhost 8080`. Press `space` on the page to pause the loop, type `hola` in `nc`, and press `n`
//! for each step.
//!
//! Expect these lines, one for each callback. The page names a callback before it runs:
//!
//! ```text
//! on_data: 5 bytes
//! tick
//! immediate
//! timer: the answer is written
//! ```
//!
//! Why: `on_data` schedules the rest of its work in three ways. The page names the next callback and its cause, so you
//! see the order of the loop: ticks right after the callback, the immediate in the check phase, the timer when its time
//! has come. The pause does not count for the timer. Resume with `space`: no callback runs twice, and none is lost.

use bucle::inspect::{self, Options};
use bucle::net::{self, Socket, on};
use bucle::{Error, Loop, Result};
use std::{env, time::Duration};

const DELAY: Duration = Duration::from_millis(100);

/// Answers with the same bytes, later.
fn on_data(lp: &mut Loop, socket: Socket, chunk: &[u8]) {
    println!("on_data: {} bytes", chunk.len());
    let answer = chunk.to_vec();
    lp.set_timeout(DELAY, move |lp| {
        println!("timer: the answer is written");
        // If the client is gone by now, the handle finds no socket and the write does nothing.
        if !socket.write(lp, &answer) {
            socket.pause(lp); // A slow reader: its next message waits for `drain`.
        }
    });
    lp.set_immediate(|_| println!("immediate"));
    lp.next_tick(|_| println!("tick"));
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1).map(|text| text.parse::<u16>());
    let usage = |_| Error::custom("E_USAGE", "usage: 35_live_page [PORT [PORT-OF-THE-PAGE]]");
    let port = args.next().unwrap_or(Ok(8080)).map_err(usage)?;
    let page = args.next().unwrap_or(Ok(inspect::PORT)).map_err(usage)?;
    bucle::run(|lp| {
        let handler = on().data(on_data).drain(|lp, socket| socket.resume(lp));
        let server = net::listen(lp, ("127.0.0.1", port), handler)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        let options =
            Options { address: ([127, 0, 0, 1], page).into(), title: "lesson 35".to_owned(), ..Options::default() };
        let inspector = inspect::start(lp, options)?;
        println!("inspector listening on {}", inspector.url());
        Ok(())
    })
}
