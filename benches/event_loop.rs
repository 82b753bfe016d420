//! What the loop's own work costs: timers, ticks, immediates.

use std::hint::black_box;
use std::time::Duration;

use bucle::{EventLoop, TimerId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const MINUTE: Duration = Duration::from_secs(60);

/// A loop with so many timers of a minute, and one of them.
fn with_timers(count: usize) -> (EventLoop, TimerId) {
    let mut event_loop = EventLoop::new().expect("a loop");
    let id =
        event_loop.enter(|lp| (0..count).map(|_| lp.set_timer(MINUTE, |_| {})).last().expect("at least one timer"));
    (event_loop, id)
}

/// What a timer costs to set and clear, and to refresh, by how many there are already. Each looks at the clock.
fn timers(c: &mut Criterion) {
    let mut group = c.benchmark_group("timers");
    for count in [1, 1_000, 1_000_000] {
        let (mut event_loop, id) = with_timers(count);
        event_loop.enter(|lp| {
            group.bench_function(BenchmarkId::new("set and clear", count), |b| {
                b.iter(|| {
                    let id = lp.set_timeout(MINUTE, |_| {});
                    lp.clear(id);
                });
            });
            group.bench_function(BenchmarkId::new("refresh", count), |b| b.iter(|| black_box(lp.refresh(id))));
        });
    }
    group.finish();
}

/// How fast ticks and immediates go round, a thousand at a time.
fn ticks_and_immediates(c: &mut Criterion) {
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

criterion_group!(benches, timers, ticks_and_immediates);
criterion_main!(benches);
