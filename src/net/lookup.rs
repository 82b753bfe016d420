//! Name lookups, on helper threads.
//!
//! ```text
//!   the loop               look_up ─▶ queue ─┐                          ┌─▶ poll phase: on_result(lp, addresses)
//!   helper threads, up to 4                  └─▶ getaddrinfo ─▶ Remote ─┘
//! ```
//!
//! The system's resolver blocks, so it runs on up to [`THREADS`] helper threads. A thread is started when it is needed
//! and ends after [`IDLE_LIMIT`] without work. The result reaches the loop in the poll phase, through a
//! [`Remote`]. libuv does the same. The queue has no limit: only the program adds to it.

use std::collections::VecDeque;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error_codes;
use crate::event_loop::Remote;
use crate::{Error, Loop};

/// How many names are looked up at a time: the size of libuv's thread pool.
const THREADS: usize = 4;

/// How long a thread waits for another name before it ends.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// The addresses of a name, each with the requested port. A link-local address has its zone.
pub(super) type LookupResult = Result<Vec<SocketAddr>, Error>;
type OnResult = Box<dyn FnOnce(&mut Loop, LookupResult) + Send>;

/// A name to look up, and what to call with the result.
struct Request {
    host: String,
    port: u16,
    remote: Remote,
    on_result: OnResult,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    /// Threads that run, the idle ones included.
    threads: usize,
    /// Threads that wait for a request.
    idle: usize,
}

/// The queue, as the loop and the helper threads share it.
#[derive(Default)]
struct LookupQueue {
    queue: Mutex<Queue>,
    submitted: Condvar,
}

/// Looks up names without blocking the loop.
#[derive(Default)]
pub(super) struct Resolver {
    lookups: Arc<LookupQueue>,
}

impl Resolver {
    /// Looks up `host` and posts `on_result` to the loop. If no thread can be started, the result is an error.
    pub fn look_up(
        &self,
        (host, port): (&str, u16),
        remote: Remote,
        on_result: impl FnOnce(&mut Loop, LookupResult) + Send + 'static,
    ) {
        let request = Request { host: host.to_owned(), port, remote, on_result: Box::new(on_result) };
        let mut queue = self.lookups.lock();
        queue.requests.push_back(request);
        // A notified thread counts as idle until it has taken its request, so compare with all queued requests.
        if queue.idle < queue.requests.len() && queue.threads < THREADS {
            let lookups = self.lookups.clone();
            let spawned = thread::Builder::new().name("bucle-lookup".into()).spawn(move || lookups.serve());
            match spawned {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => {
                    log::error!(target: "bucle::net", "no thread for a name lookup: {error}");
                    let Some(request) = queue.requests.pop_back() else { return };
                    request.finish(Err(Error::Lookup { code: "EAI_AGAIN", host: host.into() }));
                }
                Err(_) => {} // The threads that run will serve the request.
            }
        }
        drop(queue);
        self.lookups.submitted.notify_one();
    }
}

impl Request {
    fn finish(self, result: LookupResult) {
        let on_result = self.on_result;
        self.remote.post_internal(|lp| on_result(lp, result));
    }
}

impl LookupQueue {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of a helper thread.
    fn serve(&self) {
        while let Some(request) = self.next_request() {
            let result = resolve(&request.host, request.port);
            request.finish(result);
        }
    }

    /// Waits for the next request; `None` when the thread has been idle for too long.
    fn next_request(&self) -> Option<Request> {
        let mut queue = self.lock();
        loop {
            if let Some(request) = queue.requests.pop_front() {
                return Some(request);
            }
            queue.idle += 1;
            let (woken, timeout) =
                self.submitted.wait_timeout(queue, IDLE_LIMIT).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if timeout.timed_out() && queue.requests.is_empty() {
                queue.threads -= 1;
                return None;
            }
        }
    }
}

/// Looks up `host` with the system's resolver, which blocks. The order of the addresses is the system's, as in Node
/// since version 17.
pub(super) fn resolve(host: &str, port: u16) -> LookupResult {
    let failed = |code| Error::Lookup { code, host: host.into() };
    let addresses = (host, port).to_socket_addrs().map_err(|error| failed(error_codes::lookup_code(&error)))?;
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() { Err(failed("ENOTFOUND")) } else { Ok(addresses) }
}
