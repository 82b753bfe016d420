//! A proxy between a node and Redis, which can refuse, stop and slow down.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

#[derive(Default)]
struct State {
    /// Nothing moves. New connections are accepted, and hang.
    is_stopped: Mutex<bool>,
    /// Signalled when `is_stopped` changes.
    has_changed: Condvar,
    /// New connections are closed.
    is_cut: AtomicBool,
    /// Replies to `XREAD`, and all behind them, do not move.
    are_entries_held: AtomicBool,
    /// `XADD`, and all behind it, does not move.
    are_adds_held: AtomicBool,
    /// How many bytes go to Redis every 10 ms. Zero: any number.
    bytes_at_once: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

impl State {
    fn wait_while_stopped(&self) {
        let is_stopped = self.is_stopped.lock().expect("no thread panics");
        drop(self.has_changed.wait_while(is_stopped, |is_stopped| *is_stopped).expect("no thread panics"));
    }

    fn wait_while(&self, is_held: &AtomicBool) {
        let guard = self.is_stopped.lock().expect("no thread panics");
        drop(self.has_changed.wait_while(guard, |_| is_held.load(Ordering::SeqCst)).expect("no thread panics"));
    }
}

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub fn start(redis_port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        // The kernel must not hide that the proxy is slow. Connections inherit it.
        SockRef::from(&listener).set_recv_buffer_size(64 * 1024).expect("a socket");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::<State>::default();
        let shared = state.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(("127.0.0.1", redis_port)).ok();
                let mut streams = shared.streams.lock().expect("no thread panics");
                let Some(far) = far.filter(|_| !shared.is_cut.load(Ordering::SeqCst)) else { continue };
                // Whether the client reads streams on this connection.
                let reads = Arc::<AtomicBool>::default();
                for (from, to, to_redis) in [(&near, &far, true), (&far, &near, false)] {
                    let (from, to) = (from.try_clone().expect("a descriptor"), to.try_clone().expect("a descriptor"));
                    let (state, reads) = (shared.clone(), reads.clone());
                    thread::spawn(move || copy(&state, from, to, to_redis, &reads));
                }
                streams.extend([near, far]);
            }
        });
        Proxy { port, state }
    }

    pub fn stop(&self, is_stopped: bool) {
        *self.state.is_stopped.lock().expect("no thread panics") = is_stopped;
        self.state.has_changed.notify_all();
    }

    /// Holds entries of streams back that a client reads, and nothing else.
    #[allow(dead_code, reason = "not all that share this file need it")]
    pub fn hold_entries(&self, are_held: bool) {
        self.hold(&self.state.are_entries_held, are_held);
    }

    /// Holds entries of streams back that a client adds, and what it sends behind them on the same connection.
    #[allow(dead_code, reason = "not all that share this file need it")]
    pub fn hold_adds(&self, are_held: bool) {
        self.hold(&self.state.are_adds_held, are_held);
    }

    fn hold(&self, what: &AtomicBool, is_held: bool) {
        let guard = self.state.is_stopped.lock().expect("no thread panics");
        what.store(is_held, Ordering::SeqCst);
        drop(guard);
        self.state.has_changed.notify_all();
    }

    /// Closes all connections, and refuses new ones until it is mended.
    pub fn cut(&self) {
        // With the lock: a connection that is accepted now is in the list, or is refused.
        let mut streams = self.state.streams.lock().expect("no thread panics");
        self.state.is_cut.store(true, Ordering::SeqCst);
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }

    /// Limits what goes to Redis to so many bytes every 10 ms.
    pub fn slow_down(&self, bytes: usize) {
        self.state.bytes_at_once.store(bytes, Ordering::SeqCst);
    }
}

fn copy(state: &State, mut from: TcpStream, mut to: TcpStream, to_redis: bool, reads: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        state.wait_while_stopped();
        let limit = match state.bytes_at_once.load(Ordering::SeqCst) {
            limit @ 1.. if to_redis => {
                // The rate of a slow network, not a wait for something.
                thread::sleep(Duration::from_millis(10));
                limit.min(buffer.len())
            }
            _ => buffer.len(),
        };
        match from.read(&mut buffer[..limit]) {
            Ok(len @ 1..) => {
                state.wait_while_stopped();
                let contains = |name: &[u8]| buffer[..len].windows(name.len()).any(|bytes| bytes == name);
                if to_redis && contains(b"XREAD") {
                    reads.store(true, Ordering::SeqCst);
                }
                if to_redis && contains(b"XADD") {
                    state.wait_while(&state.are_adds_held);
                }
                if !to_redis && reads.load(Ordering::SeqCst) {
                    state.wait_while(&state.are_entries_held);
                }
                if to.write_all(&buffer[..len]).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
