//! Lesson 5: what happens if a fast producer ignores the result of `write`.
//!
//! Two producers send 64 MiB each. The patient one writes until `write` returns `false`, then it returns to the loop
//! and continues in `on_drain`. The impatient one writes everything in a single callback. Both lose nothing: `false`
//! does not mean that bytes were refused. The difference is the memory.
//!
//! Run: `cargo run --example 05_backpressure_and_drain`
//!
//! Expect (the kernel takes a varying amount, so sizes are printed as a range between two powers of two):
//!
//! ```text
//! patient: write returned false, so I stop
//! patient: drain, so I continue
//! patient: at most 16 to 32 KiB were queued
//! consumer: received 65536 KiB
//! impatient: at most 32768 to 65536 KiB were queued
//! consumer: received 65536 KiB
//! ```
//!
//! Why: there is only one thread, so the consumer cannot read before the producer's callback returns, and the kernel
//! takes a few megabytes at most. All other bytes are queued in the process: little more than the high-water mark of
//! 16 KiB for the patient producer, nearly everything for the impatient one.

use bucle::net::{self, Handler, Socket};
use bucle::{Loop, Result};

const CHUNK: &[u8] = &[b'.'; 1024];
const CHUNKS: usize = 64 * 1024;

struct Producer {
    name: &'static str,
    is_patient: bool,
    written: usize,
    most_queued: usize,
    has_drained: bool,
}

impl Producer {
    fn produce(&mut self, lp: &mut Loop, socket: Socket) {
        while self.written < CHUNKS {
            let may_continue = socket.write(lp, CHUNK);
            self.written += 1;
            self.most_queued = self.most_queued.max(socket.writable_length(lp));
            if self.is_patient && !may_continue {
                if !self.has_drained {
                    println!("{}: write returned false, so I stop", self.name);
                }
                return;
            }
        }
        let above = (self.most_queued + 1).next_power_of_two() / 1024;
        println!("{}: at most {} to {above} KiB were queued", self.name, above / 2);
        socket.end(lp);
    }
}

impl Handler for Producer {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.produce(lp, socket);
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        if !std::mem::replace(&mut self.has_drained, true) {
            println!("{}: drain, so I continue", self.name);
        }
        self.produce(lp, socket);
    }
}

struct Consumer(usize);

impl Handler for Consumer {
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.0 += chunk.len();
    }

    fn on_end(&mut self, _: &mut Loop, _: Socket) {
        println!("consumer: received {} KiB", self.0 / 1024);
    }
}

fn main() -> Result<()> {
    for (name, is_patient) in [("patient", true), ("impatient", false)] {
        bucle::run(|lp| {
            let server = net::listen(lp, ("127.0.0.1", 0), Consumer(0))?;
            server.unref(lp); // Only the connection keeps the loop alive.
            let address = server.address(lp).expect("a listening server has an address");
            let producer = Producer { name, is_patient, written: 0, most_queued: 0, has_drained: false };
            Socket::connect(lp, address, producer)
        })?;
    }
    Ok(())
}
