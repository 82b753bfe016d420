//! A proxy between a node and Redis, which can stop and be slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Open,
    /// Nothing passes, and no connection is closed.
    Stopped,
    /// A few bytes at a time.
    Slow,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    /// Connections of an older generation are broken.
    generation: u32,
}

impl Default for State {
    fn default() -> State {
        State { mode: Mode::Open, generation: 0 }
    }
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    pub fn start(redis_port: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(redis) = TcpStream::connect(("127.0.0.1", redis_port)) else { continue };
                let generation = of_thread.state.lock().expect("no thread panics").generation;
                for (from, to) in [(&client, &redis), (&redis, &client)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let shared = of_thread.clone();
                    thread::spawn(move || pump(from, to, generation, &shared));
                }
            }
        });
        Proxy { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn set(&self, mode: Mode) {
        let mut state = self.shared.state.lock().expect("no thread panics");
        // What was on its way when it stopped is lost, as behind a network that was cut for long.
        state.generation += u32::from(state.mode == Mode::Stopped);
        state.mode = mode;
        self.shared.changed.notify_all();
    }

    pub fn stop(&self) {
        self.set(Mode::Stopped);
    }

    pub fn slow_down(&self) {
        self.set(Mode::Slow);
    }

    pub fn heal(&self) {
        self.set(Mode::Open);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, generation: u32, shared: &Shared) {
    let mut buf = [0; 16 * 1024];
    loop {
        let len = match shared.state.lock().expect("no thread panics").mode {
            Mode::Slow => 256,
            _ => buf.len(),
        };
        let Ok(read @ 1..) = from.read(&mut buf[..len]) else { break };
        let mut state = shared.state.lock().expect("no thread panics");
        while state.mode == Mode::Stopped && state.generation == generation {
            state = shared.changed.wait(state).expect("no thread panics");
        }
        if state.generation != generation {
            break;
        }
        let is_slow = state.mode == Mode::Slow;
        drop(state);
        if is_slow {
            thread::sleep(Duration::from_micros(500));
        }
        if to.write_all(&buf[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
