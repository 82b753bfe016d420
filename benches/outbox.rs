//! The work between a program's `write` and the kernel: gathering, and queueing for a peer that does not read.

use std::time::Duration;

use bucle::net::Socket;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

use crate::support::cpu::Cpu;
use crate::support::inside::{Inside, discard};
use crate::support::machine::thread_cpu;

mod support;

const MESSAGE: &[u8; 64] = &[b'x'; 64];

/// The cost of a short write and its share of the system call, by the number of writes that a phase gathers. 128
/// writes are 8 KiB: half of the high-water mark, from which on they would be sent before the end of the phase.
fn gathered(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("write of 64 bytes");
    group.sampling_mode(SamplingMode::Flat);
    for writes in [1, 16, 128] {
        group.bench_function(BenchmarkId::new("gathered", writes), |b| {
            let mut inside = Inside::with_clients(1);
            let socket = inside.socket();
            b.iter_custom(|iterations| {
                let phases = iterations.div_ceil(writes);
                let mut spent = Duration::ZERO;
                for _ in 0..phases {
                    let start = thread_cpu();
                    // As in any phase, the writes of the main body are sent at its end.
                    inside.event_loop.enter(|lp| {
                        for _ in 0..writes {
                            socket.write(lp, MESSAGE);
                        }
                    });
                    spent += thread_cpu() - start;
                    discard(&mut inside.clients[0], writes as usize * MESSAGE.len());
                }
                spent.mul_f64(iterations as f64 / (phases * writes) as f64)
            });
        });
    }
    group.finish();
}

/// A server and a peer that reads only when it is told to.
struct Blocked {
    inside: Inside,
    socket: Socket,
    /// Written bytes that the peer has not read.
    unread: usize,
    /// The processor time of the turns that sent queued bytes, and the number of these bytes.
    sending: (Duration, u64),
}

impl Blocked {
    fn new() -> Blocked {
        let mut inside = Inside::with_clients(1);
        let socket = inside.socket();
        Blocked { inside, socket, unread: 0, sending: (Duration::ZERO, 0) }
    }

    /// Writes until the kernel takes no more.
    fn fill(&mut self) {
        let piece = vec![b'x'; 64 * 1024];
        while !self.inside.event_loop.enter(|lp| self.socket.needs_drain(lp)) {
            self.inside.event_loop.enter(|lp| self.socket.write(lp, &piece));
            self.unread += piece.len();
        }
    }

    /// Adds short writes behind the bytes that wait already.
    fn write(&mut self, writes: u64) -> Duration {
        let start = thread_cpu();
        self.inside.event_loop.enter(|lp| {
            for _ in 0..writes {
                self.socket.write(lp, MESSAGE);
            }
        });
        self.unread += writes as usize * MESSAGE.len();
        thread_cpu() - start
    }

    /// The peer reads everything as fast as it arrives.
    fn drain(&mut self) {
        self.sending.1 += self.inside.event_loop.enter(|lp| self.socket.writable_length(lp)) as u64;
        while self.unread > 0 {
            let piece = self.unread.min(256 * 1024);
            discard(&mut self.inside.clients[0], piece);
            self.unread -= piece;
            let start = thread_cpu();
            self.inside.turn();
            self.sending.0 += thread_cpu() - start;
        }
    }
}

/// The same write when the kernel takes no more: its bytes are queued in the outbox, up to 4 MiB here. Also how fast
/// the queued bytes are sent, in the largest pieces that the kernel takes, once the peer reads.
fn blocked(c: &mut Criterion<Cpu>) {
    const WRITES: u64 = 64 * 1024;
    let mut group = c.benchmark_group("blocked");
    group.sampling_mode(SamplingMode::Flat);
    let mut blocked = Blocked::new();
    group.bench_function("write of 64 bytes", |b| {
        b.iter_custom(|iterations| {
            let (mut spent, mut done) = (Duration::ZERO, 0);
            while done < iterations {
                blocked.fill();
                spent += blocked.write(WRITES);
                blocked.drain();
                done += WRITES;
            }
            spent.mul_f64(iterations as f64 / done as f64)
        });
    });
    const PIECE: u64 = 64 * 1024;
    group.throughput(Throughput::Bytes(PIECE));
    group.bench_function("sending on", |b| {
        b.iter_custom(|iterations| {
            blocked.sending = (Duration::ZERO, 0);
            while blocked.sending.1 < iterations * PIECE {
                blocked.fill();
                blocked.write(WRITES);
                blocked.drain();
            }
            blocked.sending.0.mul_f64((iterations * PIECE) as f64 / blocked.sending.1 as f64)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::in_short();
    targets = gathered, blocked
}
criterion_main!(benches);
