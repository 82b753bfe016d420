//! The cost of the loop's own work: timers, ticks, immediates.

use std::hint::black_box;
use std::time::Duration;

use bucle::{EventLoop, Loop, ManualClock, TimerId};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

use crate::support::cpu::Cpu;
use crate::support::machine::thread_cpu;

mod support;

const MINUTE: Duration = Duration::from_secs(60);
const COUNTS: [usize; 4] = [1, 1_000, 100_000, 1_000_000];

/// A closure for a timer. It owns a value, as closures of real timers do, so it is in a heap block of its own.
fn start(lp: &mut Loop, n: usize) -> TimerId {
    lp.set_timer(MINUTE, move |_| {
        black_box(n);
    })
}

/// A loop with `count` timers of one minute, and their ids in an order that does not follow their place in memory.
fn with_timers(count: usize) -> (EventLoop, Vec<TimerId>) {
    let mut event_loop = EventLoop::new().expect("a loop");
    let mut ids: Vec<TimerId> = event_loop.enter(|lp| (0..count).map(|n| start(lp, n)).collect());
    // A shuffle (Fisher and Yates) with a simple generator (Knuth's MMIX).
    let mut state = 1_u64;
    for i in (1..ids.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ids.swap(i, (state >> 33) as usize % (i + 1));
    }
    (event_loop, ids)
}

/// The cost of setting, clearing and refreshing a timer, by the number of timers. Each operation reads the clock,
/// which is most of a refresh. *The same* uses one timer again and again; *any* uses all timers in random order,
/// which adds the cost of cache misses.
fn timers(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("timers");
    for count in COUNTS {
        let (mut event_loop, mut ids) = with_timers(count);
        event_loop.enter(|lp| {
            group.bench_function(BenchmarkId::new("set and clear the same", count), |b| {
                b.iter(|| {
                    let id = start(lp, count);
                    lp.clear(id);
                });
            });
            group.bench_function(BenchmarkId::new("refresh the same", count), |b| b.iter(|| lp.refresh(ids[0])));
            let mut turns = (0..count).cycle();
            let mut any = move || turns.next().expect("it never ends");
            group.bench_function(BenchmarkId::new("refresh any", count), |b| b.iter(|| lp.refresh(ids[any()])));
            group.bench_function(BenchmarkId::new("clear any and set", count), |b| {
                b.iter(|| {
                    let id = &mut ids[any()];
                    lp.clear(*id);
                    *id = start(lp, count);
                });
            });
        });
    }
    group.finish();
}

/// The cost of firing a timer, by the number of timers that are due at the same time and fire in one pass.
fn firing(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("timers");
    group.sampling_mode(SamplingMode::Flat);
    for count in COUNTS {
        group.bench_function(BenchmarkId::new("fire", count), |b| {
            b.iter_custom(|iterations| {
                let clock = ManualClock::new();
                let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
                let (mut spent, mut fired) = (Duration::ZERO, 0);
                while fired < iterations {
                    event_loop.enter(|lp| {
                        for n in 0..count {
                            lp.set_timeout(MINUTE, move |_| {
                                black_box(n);
                            });
                        }
                    });
                    clock.advance(MINUTE);
                    let start = thread_cpu();
                    event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
                    spent += thread_cpu() - start;
                    fired += count as u64;
                }
                assert!(!event_loop.is_alive(), "all have fired");
                spent.mul_f64(iterations as f64 / fired as f64)
            });
        });
    }
    group.finish();
}

/// The speed of ticks and immediates, a thousand at a time.
fn ticks_and_immediates(c: &mut Criterion<Cpu>) {
    const COUNT: u64 = 1000;
    let mut group = c.benchmark_group("queues");
    group.throughput(Throughput::Elements(COUNT));
    let mut event_loop = EventLoop::new().expect("a loop");
    group.bench_function("ticks", |b| {
        b.iter(|| {
            event_loop.enter(|lp| {
                for n in 0..COUNT {
                    lp.next_tick(move |_| {
                        black_box(n);
                    });
                }
            });
        });
    });
    group.bench_function("immediates", |b| {
        b.iter(|| {
            event_loop.enter(|lp| {
                for n in 0..COUNT {
                    lp.set_immediate(move |_| {
                        black_box(n);
                    });
                }
            });
            event_loop.turn(Some(Duration::ZERO)).expect("the poll works")
        });
    });
    group.finish();
}

/// A turn without work: one system call, and the loop's work around it.
fn empty_turn(c: &mut Criterion<Cpu>) {
    let mut event_loop = EventLoop::new().expect("a loop");
    c.bench_function("empty turn", |b| {
        b.iter(|| event_loop.turn(Some(Duration::ZERO)).expect("the poll works"));
    });
}

criterion_group! {
    name = benches;
    config = support::in_short();
    targets = timers, firing, ticks_and_immediates, empty_turn
}
criterion_main!(benches);
