//! Lesson 33: a page that moves: volatile events.
//!
//! A ball moves, and its position is sent to all pages thirty times a second. Each position makes the ones before it
//! worthless. So it is sent *volatile*: a client that is not ready to take it now does not get it. A kick changes where
//! the ball goes. It must not get lost, so it is a normal event:
//!
//! ```text
//!   io.volatile().emit("ball", (x, y))       ─▶  a page on a slow line skips some positions, and is never late
//!   page: emit("kick", x, y)                 ─▶  every kick arrives, in order
//!   io.emit("visitors", n)                   ─▶  every change arrives
//! ```
//!
//! The page, `33_page.html`, needs no library. It is a client of Socket.IO in some twenty lines of JavaScript: it
//! answers pings, shows the packets, notices that a server is silent, and connects again.
//!
//! Run: `cargo run --example 33_moving_page` (another port as an argument; 0 is any free one). Open
//! http://localhost:8080 in two windows, and click beside the ball. Then stop the server, and start it again.
//!
//! Expect the ball in the same place in both windows, and below it packets like these:
//!
//! ```text
//! ◀ 40{"sid":"…"}
//! ◀ 42["visitors",2]
//! ▶ 42["kick",0.31,0.62]
//! ```
//!
//! Why: queued positions would make a slow client see the past, and cost the server memory.

use bucle::http::{self, Asset, Exchange, Request, StatusCode};
use bucle::socket_io::{self, Options, Server};
use bucle::{Error, Loop, Result, net::Shared};
use std::{env, time::Duration};

/// Positions are fractions of the page's width and height. The speed is per step.
struct Ball {
    position: [f64; 2],
    speed: [f64; 2],
}

impl Ball {
    fn step(&mut self) {
        for (position, speed) in self.position.iter_mut().zip(&mut self.speed) {
            *position += *speed;
            if !(0.0..=1.0).contains(position) {
                *position = position.clamp(0.0, 1.0);
                *speed = -*speed;
            }
        }
    }

    /// The ball flies away from the place of the kick.
    fn kick(&mut self, from: [f64; 2]) {
        let away = [self.position[0] - from[0], self.position[1] - from[1]];
        let distance = away[0].hypot(away[1]).max(0.01);
        self.speed = away.map(|part| part / distance * 0.012);
    }
}

struct Page(Asset);

impl http::Handler for Page {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match request.path() {
            "/" => _ = exchange.serve(lp, request, &self.0),
            _ => _ = exchange.respond_text(lp, StatusCode::NOT_FOUND, "the page is at /\n"),
        }
    }
}

fn main() -> Result<()> {
    let port = env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 33_moving_page [PORT]"))?;
    bucle::run(|lp| {
        let options = Options::default();
        let io = Server::new(lp, options.clone());
        let page = Page(Asset::new("text/html; charset=utf-8", include_str!("33_page.html")));
        let server = socket_io::listen_with(lp, ("127.0.0.1", port), &options, io.attach(page))?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        let ball = Shared::new(lp, Ball { position: [0.5, 0.5], speed: [0.007, 0.005] });
        io.on_connection(lp, move |lp, _| _ = io.emit(lp, "visitors", io.socket_count(lp)));
        io.on_disconnect(lp, move |lp, _, _| _ = io.emit(lp, "visitors", io.socket_count(lp)));
        io.on(lp, "kick", move |lp, _, event| {
            if let Ok((x, y)) = event.parse::<(f64, f64)>() {
                ball.with(lp, |ball, _| ball.kick([x.clamp(0.0, 1.0), y.clamp(0.0, 1.0)]));
            }
        });
        lp.set_interval(Duration::from_millis(33), move |lp| {
            let Some([x, y]) = ball.with(lp, |ball, _| (ball.step(), ball.position).1) else { return };
            io.volatile().emit(lp, "ball", (x, y));
        });
        Ok(())
    })
}
