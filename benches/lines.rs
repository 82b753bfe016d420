//! The speed of telnet's pure parts: splitting lines, and decoding commands.

use std::hint::black_box;

use bucle::telnet::codec::{Decoder, Event, IAC, escape};
use bucle::telnet::lines::Lines;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use crate::support::cpu::Cpu;

mod support;

const CHUNK: usize = 64 * 1024;

/// How fast lines are split, by line length: chat lines are short, pasted lines are long. A line in many chunks must
/// also be collected.
fn cut_lines(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("lines");
    for line_bytes in [16, 128, 1000, 4 * CHUNK] {
        let mut line = vec![b'x'; line_bytes - 1];
        line.push(b'\n');
        let bytes = line.repeat((4 * CHUNK).div_ceil(line_bytes));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(line_bytes), &bytes, |b, bytes| {
            let mut lines = Lines::with_limit(4 * CHUNK);
            b.iter(|| {
                for chunk in bytes.chunks(CHUNK) {
                    let fed = lines.feed(chunk, |line| {
                        black_box(line);
                    });
                    fed.expect("no line is too long");
                }
            });
        });
    }
    group.finish();
}

/// Bytes of which one in `period` is 255. On the wire, 255 in data is doubled.
fn doubled(period: usize) -> Vec<u8> {
    (0..CHUNK).map(|i| if i % period == 0 { IAC } else { b'x' }).collect()
}

/// How fast data is separated from telnet commands, by the share of IAC: usually none, and in a flood all. Also how
/// fast data is escaped for sending.
fn codec(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("telnet codec");
    let text = vec![b'x'; CHUNK];
    let one_in = |period| doubled(period);
    let cases = [
        ("none", text),
        ("1 in 1000", one_in(1000)),
        ("1 in 100", one_in(100)),
        ("1 in 10", one_in(10)),
        ("all", one_in(1)),
    ];
    for (share, plain) in &cases {
        let mut wire = Vec::new();
        escape(plain, &mut wire);
        group.throughput(Throughput::Bytes(wire.len() as u64));
        decode(&mut group, BenchmarkId::new("decode, IAC", share), &wire);
        group.throughput(Throughput::Bytes(plain.len() as u64));
        group.bench_with_input(BenchmarkId::new("escape, IAC", share), plain, |b, plain| {
            b.iter(|| {
                wire.clear();
                escape(plain, &mut wire);
                black_box(wire.len())
            });
        });
    }
    let negotiations = [0xff, 0xfd, 0x01].repeat(CHUNK / 3);
    group.throughput(Throughput::Bytes(negotiations.len() as u64));
    decode(&mut group, BenchmarkId::new("decode", "negotiations"), &negotiations);
    group.finish();
}

fn decode(group: &mut criterion::BenchmarkGroup<Cpu>, id: BenchmarkId, wire: &[u8]) {
    group.bench_with_input(id, wire, |b, wire| {
        let mut decoder = Decoder::default();
        b.iter(|| {
            let mut rest = wire;
            let mut bytes = 0;
            while let Some(event) = decoder.next_event(&mut rest) {
                if let Event::Data(data) = event {
                    bytes += data.len();
                }
            }
            black_box(bytes)
        });
    });
}

criterion_group! {
    name = benches;
    config = support::in_short();
    targets = cut_lines, codec
}
criterion_main!(benches);
