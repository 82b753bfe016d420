//! Lesson 5: a producer faster than its consumer, and what it costs not to listen to `write`.
//!
//! Both producers send 64 MiB. The patient one writes until `write` answers `false`, returns, and goes on in `on_drain`;
//! the impatient one writes everything in one go. Nothing is lost either way: `false` does not mean refused. What differs
//! is how much waits in the process meanwhile: little more than the high-water mark of 16 KiB, or nearly all of it.
//! (There is one thread, so nobody reads before the callback returns, and the kernel takes a few megabytes at the most.)
//!
//! Run: `cargo run --example 05_backpressure_and_drain`
//!
//! Expect (how much the kernel takes varies, so amounts are given between two powers of two):
//!
//! ```text
//! patient: write says false, so I wait
//! patient: drain, so I go on
//! patient: the most that waited for the kernel was 16 to 32 KiB
//! consumer: got 65536 KiB
//! impatient: the most that waited for the kernel was 32768 to 65536 KiB
//! consumer: got 65536 KiB
//! ```

use bucle::net::{self, Handler, Socket};
use bucle::{Loop, Result};

const CHUNK: &[u8] = &[b'.'; 1024];
const CHUNKS: usize = 64 * 1024;

struct Producer {
    name: &'static str,
    is_patient: bool,
    written: usize,
    most_waiting: usize,
    has_drained: bool,
}

impl Producer {
    fn produce(&mut self, lp: &mut Loop, socket: Socket) {
        while self.written < CHUNKS {
            let may_go_on = socket.write(lp, CHUNK);
            self.written += 1;
            self.most_waiting = self.most_waiting.max(socket.writable_length(lp));
            if self.is_patient && !may_go_on {
                if !self.has_drained {
                    println!("{}: write says false, so I wait", self.name);
                }
                return;
            }
        }
        let above = (self.most_waiting + 1).next_power_of_two() / 1024;
        println!("{}: the most that waited for the kernel was {} to {above} KiB", self.name, above / 2);
        socket.end(lp);
    }
}

impl Handler for Producer {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.produce(lp, socket);
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        if !std::mem::replace(&mut self.has_drained, true) {
            println!("{}: drain, so I go on", self.name);
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
        println!("consumer: got {} KiB", self.0 / 1024);
    }
}

fn main() -> Result<()> {
    for (name, is_patient) in [("patient", true), ("impatient", false)] {
        bucle::run(|lp| {
            let server = net::listen(lp, ("127.0.0.1", 0), Consumer(0))?;
            server.unref(lp); // The loop ends with the connection.
            let address = server.address(lp).expect("listen has bound it");
            let producer = Producer { name, is_patient, written: 0, most_waiting: 0, has_drained: false };
            Socket::connect(lp, address, producer)
        })?;
    }
    Ok(())
}
