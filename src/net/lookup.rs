//! Names to addresses, on helper threads.
//!
//! The system's resolver blocks, so it runs beside the loop, on up to [`THREADS`] threads that are started when needed
//! and end when they have had nothing to do for a while. The answer comes back as any other thread's news does: through
//! a [`Remote`](crate::Remote), in the poll phase. libuv does the same.

use std::collections::VecDeque;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error_codes;
use crate::event_loop::Remote;
use crate::{Error, Loop};

/// How many names are looked up at a time; the size of libuv's thread pool.
const THREADS: usize = 4;

/// How long a thread waits for another name before it ends.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Addresses with the port that was asked for; a link-local one has its zone.
pub(super) type Answer = Result<Vec<SocketAddr>, Error>;
type OnAnswer = Box<dyn FnOnce(&mut Loop, Answer) + Send>;

struct Question {
    host: String,
    port: u16,
    remote: Remote,
    on_answer: OnAnswer,
}

#[derive(Default)]
struct Queue {
    questions: VecDeque<Question>,
    threads: usize,
    idle: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    asked: Condvar,
}

/// Looks names up without keeping the loop waiting.
#[derive(Default)]
pub(super) struct Resolver {
    shared: Arc<Shared>,
}

impl Resolver {
    /// Looks `host` up and has `on_answer` run on the loop. Without a thread to be had the answer is an error.
    pub fn look_up(
        &self,
        (host, port): (&str, u16),
        remote: Remote,
        on_answer: impl FnOnce(&mut Loop, Answer) + Send + 'static,
    ) {
        let question = Question { host: host.to_owned(), port, remote, on_answer: Box::new(on_answer) };
        let mut queue = self.shared.lock();
        queue.questions.push_back(question);
        if queue.idle < queue.questions.len() && queue.threads < THREADS {
            let shared = self.shared.clone();
            let spawned = thread::Builder::new().name("bucle-lookup".into()).spawn(move || shared.serve());
            match spawned {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => {
                    log::error!(target: "bucle::net", "no thread for a name lookup: {error}");
                    let Some(question) = queue.questions.pop_back() else { return };
                    question.answer(Err(Error::Lookup { code: "EAI_AGAIN", host: host.into() }));
                }
                Err(_) => {} // Those that run will come to it.
            }
        }
        drop(queue);
        self.shared.asked.notify_one();
    }
}

impl Question {
    fn answer(self, answer: Answer) {
        let on_answer = self.on_answer;
        self.remote.post(|lp| on_answer(lp, answer));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A helper thread: one question after the other.
    fn serve(&self) {
        while let Some(question) = self.next_question() {
            let answer = resolve(&question.host, question.port);
            question.answer(answer);
        }
    }

    fn next_question(&self) -> Option<Question> {
        let mut queue = self.lock();
        loop {
            if let Some(question) = queue.questions.pop_front() {
                return Some(question);
            }
            queue.idle += 1;
            let (woken, timeout) = self.asked.wait_timeout(queue, IDLE_LIMIT).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if timeout.timed_out() && queue.questions.is_empty() {
                queue.threads -= 1;
                return None;
            }
        }
    }
}

/// Asks the system, blocking. The order of the addresses is the system's, as in Node since version 17.
pub(super) fn resolve(host: &str, port: u16) -> Answer {
    let failed = |code| Error::Lookup { code, host: host.into() };
    let addresses = (host, port).to_socket_addrs().map_err(|error| failed(error_codes::lookup_code(&error)))?;
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() { Err(failed("ENOTFOUND")) } else { Ok(addresses) }
}
