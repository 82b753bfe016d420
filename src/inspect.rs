//! The live page: a real event loop, seen while it turns. It can be paused, and stepped callback by callback.
//!
//! [`start`] serves a page about a loop, in the thread of that loop:
//!
//! ```text
//!   browser ──▶ inner loop: HTTP server of the page (site)          ┐
//!                  │ requests                                       │ one thread
//!                  ▼                                                │
//!               gate (observer) ── looks at, holds, lets go ──▶ the watched loop ◀── the program's clients
//! ```
//!
//! The page's server runs on an event loop of its own, the *inner* loop. The watched loop turns it inside its wait for
//! the kernel, and while it is held; see [`Gate`](crate::trace::Gate). The inner loop is in no record, count or
//! connection list of the watched one. The share of time that it takes is shown on the page.
//!
//! While the loop is paused its clock stands still, so afterwards no timer is late. Other threads, timers of the kernel
//! and the timeouts of peers are not held. SIGINT and SIGTERM let a paused loop go on for good, so that the program can
//! close in order. They do so only if the program itself handles them.
//!
//! # Endpoints
//!
//! | request | answer |
//! |---|---|
//! | `GET /?t=TOKEN` | sets the cookie, and leads to the page |
//! | `GET /state.json` | one snapshot |
//! | `GET /events` | snapshots as server-sent events, at most ten a second; 503 for the fifth viewer |
//! | `POST /control` | `{"do":"pause"}`, `{"do":"resume"}`, `{"do":"step","unit":"callback"}` (or `phase`, `turn`), `{"do":"speed","per_second":4}`; the answer is the snapshot when the loop stands again, or after a second; 409 if the command makes no sense now |
//! | `GET /trace.json?last=5s&records=1000` | the records that have not ended before, at most 16,384, as Chrome trace JSON |
//! | `GET /metrics` | the loop's numbers for Prometheus |
//! | `GET /lessons.json?lang=en` | the lessons of [`start_with_lessons`] |
//! | `POST /lesson?lang=en` | `{"lesson":7,"order":[1,0]}`; the answer is the order of a run, and the reason of the first difference |
//!
//! Scripts send the token as a cookie or as `Authorization: Bearer TOKEN`.
//!
//! # Safety
//!
//! The page shows who is connected, and can stop the program. So the inspector listens on loopback only, unless
//! [`Options::allow_remote`] is set; it checks `Host`, `Origin` and `Sec-Fetch-Site`, so that pages of other sites
//! cannot use it; and it wants a token of 128 random bits. It never shows bytes of connections.
//!
//! The cookie contains the token. Browsers send a cookie to all ports of its host, so other servers of the same host
//! that the browser opens get the token. An address that no other server has, such as 127.0.0.2, prevents this.
//!
//! # Bounds
//!
//! | what | limit |
//! |---|---|
//! | records of the watched loop | a ring of 65,536, 2 MiB |
//! | connections of viewers | 16; four of them may be event streams. If all are taken, the oldest one that has not shown the token is closed |
//! | body of a command | 4 KiB, then 413 |
//! | answers that take milliseconds (`/trace.json`, lessons) | one between two turns of the watched loop, and a fifth of its time |
//! | a snapshot | 64 KiB, 200 connections |
//! | bytes that wait for a viewer | 8 MiB, or 30 s without progress; then it is disconnected |
//! | snapshots for a viewer that does not read | dropped |

mod access;
mod answers;
mod control;
mod lessons;
mod metrics_text;
mod observer;
mod pacing;
mod rates;
mod site;
mod snapshot;
mod working;

use std::net::{Ipv4Addr, SocketAddr};

use crate::http::{self, Http};
use crate::net::{Limits, Listen, LocalAddress, Server, ServerOptions};
use crate::process::{self, Signal};
use crate::{Error, EventLoop, Loop, Result};
use access::Access;
pub use lessons::{Checked, Lesson, Lessons};
use observer::Observer;
use site::{MAX_CONNECTIONS, Site};
pub use working::is_working;
use working::while_working;

/// The port of [`Options::default`].
pub const PORT: u16 = 9339;

/// How many records of the watched loop are kept.
const RECORDS: usize = 64 * 1024;

/// How many bytes the body of a command may have.
const MAX_BODY: usize = 4 * 1024;

/// How many bytes may wait for a viewer: the largest `/trace.json` must have room.
const OUTBOX_LIMIT: usize = 8 * 1024 * 1024;

/// How many file descriptors the inspector uses at most: its poll, its waker, the pipe of signals, its listener, and
/// connections.
pub const DESCRIPTORS: usize = MAX_CONNECTIONS + 8;

/// Where the inspector listens and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The address to listen on. Default: 127.0.0.1, port 9339. Port 0 picks a free one.
    pub address: SocketAddr,
    /// A TCP socket that listens already ([`Listen::from_fd`]), used instead of `address`. Default: `None`.
    pub listen: Option<Listen>,
    /// Allows an address that other machines reach. Default: no. The connection is not encrypted: everyone on the way
    /// can read the token.
    pub allow_remote: bool,
    /// Commands are refused with 403: the page shows the loop and cannot stop it. Default: no.
    pub read_only: bool,
    /// The title of the page; its first 200 characters are shown. Default: `bucle`.
    pub title: String,
}

impl Default for Options {
    fn default() -> Self {
        let address = (Ipv4Addr::LOCALHOST, PORT).into();
        Options { address, listen: None, allow_remote: false, read_only: false, title: "bucle".to_owned() }
    }
}

/// A running inspector; from [`start`]. It runs as long as the loop, or until [`stop`](Self::stop). Dropping this value
/// does not stop it.
#[derive(Clone, Debug)]
pub struct Inspector {
    address: SocketAddr,
    token: String,
    base_url: String,
}

impl Inspector {
    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that requests need.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The URL of the page, with the token.
    pub fn url(&self) -> String {
        format!("{}?t={}", self.base_url, self.token)
    }

    /// Stops the inspector. A loop that it holds goes on. What the program itself records or measures, and a gate that
    /// it has set since, stay.
    ///
    /// Does nothing if the inspector was stopped already, or another one of this loop was started since.
    pub fn stop(self, lp: &mut Loop) {
        if lp.layer::<Running>().is_some_and(|running| running.0.as_ref() == Some(&self.token)) {
            stop_running(lp);
        }
    }
}

/// The token of the inspector that inspects a loop.
#[derive(Default)]
struct Running(Option<String>);

/// Stops the inspector of a loop, if there is one.
fn stop_running(lp: &mut Loop) {
    if lp.layer_mut::<Running>().0.take().is_none() {
        return;
    }
    if lp.has_gate::<Observer>() {
        drop(lp.take_gate());
    }
    lp.stop_trace();
    lp.time_phases_for_inspector(false);
}

/// Starts an inspector of this loop. It records the loop ([`Loop::start_trace`]), measures its phases
/// ([`Loop::time_phases`]) and is its gate ([`Loop::set_gate`]), in place of another one.
///
/// The inspector does not keep the loop alive. A second inspector of a loop stops the first one.
///
/// ```
/// use bucle::inspect::{self, Options};
///
/// bucle::run(|lp| {
///     let options = Options { address: ([127, 0, 0, 1], 0).into(), ..Options::default() };
///     let inspector = inspect::start(lp, options)?;
///     println!("inspector listening on {}", inspector.url());
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
///
/// # Errors
/// `ERR_INVALID_ARG_VALUE` for an address that other machines reach, without [`Options::allow_remote`], and for a
/// socket that is not TCP. Otherwise the error of [`net::listen`](crate::net::listen), or when the system gives no
/// random bytes or no descriptors.
pub fn start(lp: &mut Loop, options: Options) -> Result<Inspector> {
    start_site(lp, options, None)
}

/// As [`start`], with lessons for a further screen of the page.
///
/// # Errors
/// As [`start`].
pub fn start_with_lessons(lp: &mut Loop, options: Options, lessons: Box<dyn Lessons>) -> Result<Inspector> {
    start_site(lp, options, Some(lessons))
}

fn start_site(lp: &mut Loop, options: Options, lessons: Option<Box<dyn Lessons>>) -> Result<Inspector> {
    if options.listen.is_none() {
        check_address(options.address, options.allow_remote)?;
    }
    let mut inner = EventLoop::new()?;
    inner.catch_panics(true);
    let token = new_token()?;
    let (server, address, base_url) = while_working(|| inner.enter(|lp| serve(lp, &options, &token, lessons)))?;
    stop_running(lp);
    // The ring first: a gate without records could name no causes.
    lp.start_trace(RECORDS);
    lp.time_phases_for_inspector(true);
    lp.layer_mut::<Running>().0 = Some(token.clone());
    if let Err(error) = lp.set_gate(Observer::new(inner, server, options.title, options.read_only)) {
        stop_running(lp);
        return Err(error);
    }
    Ok(Inspector { address, token, base_url })
}

fn check_address(address: SocketAddr, allow_remote: bool) -> Result<()> {
    if address.ip().is_loopback() || allow_remote {
        return Ok(());
    }
    let text = format!("an inspector at {address} could be reached by other machines");
    Err(Error::custom("ERR_INVALID_ARG_VALUE", text))
}

/// Starts the server of the page on the inner loop.
fn serve(
    lp: &mut Loop,
    options: &Options,
    token: &str,
    lessons: Option<Box<dyn Lessons>>,
) -> Result<(Server<Http<Site>>, SocketAddr, String)> {
    let limits = Limits { outbox_bytes: Some(OUTBOX_LIMIT), reads_per_turn: 1, ..http::server_options().limits };
    let server_options = ServerOptions { max_connections: Some(MAX_CONNECTIONS), limits, ..http::server_options() };
    let http_options = http::Options { max_body: MAX_BODY, ..http::Options::default() };
    // The site knows its address, whose port may be picked only when the server is bound.
    let listen = options.listen.clone().unwrap_or_else(|| options.address.into());
    let access = |address| Access::new(address, token.to_owned());
    let site = Site::new(access(options.address), options.read_only, lessons);
    let server = Server::new(lp, server_options, Http::new(http_options, site));
    server.listen_now(lp, listen)?;
    let Some(LocalAddress::Ip(address)) = server.address(lp) else {
        return Err(Error::custom("ERR_INVALID_ARG_VALUE", "an inspector listens on TCP only"));
    };
    check_address(address, options.allow_remote)?;
    server.with(lp, |http, _| http.handler().set_access(access(address)));
    process::notice(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, _| {
        server.with(lp, |http, _| http.handler().has_signal = true);
    })?;
    let base_url = Access::new(address, String::new()).base_url();
    Ok((server, address, base_url))
}

/// 128 random bits in hexadecimal.
fn new_token() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::custom("ERR_CRYPTO_OPERATION_FAILED", error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
