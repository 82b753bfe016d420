//! How fast telnet's pure parts are: cutting lines, taking commands out.

use std::hint::black_box;

use bucle::telnet::codec::{Decoder, Event};
use bucle::telnet::lines::Lines;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const CHUNK: usize = 64 * 1024;

/// How fast lines are cut, by line length: short lines are the chat case, long ones a paste.
fn cut_lines(c: &mut Criterion) {
    let mut group = c.benchmark_group("lines");
    for line_bytes in [16, 128, 1000] {
        let mut line = vec![b'x'; line_bytes - 1];
        line.push(b'\n');
        let chunk = line.repeat(CHUNK / line_bytes);
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(line_bytes), &chunk, |b, chunk| {
            let mut lines = Lines::default();
            b.iter(|| {
                lines.feed(chunk, |line| {
                    black_box(line);
                })
            });
        });
    }
    group.finish();
}

/// How fast data is told from telnet commands, by the share of IAC: none is the rule, all a flood.
fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("telnet codec");
    for (name, piece) in [
        ("no IAC", &[b'x'; 64][..]),
        ("one command in 64 bytes", &[&[0xff, 0xf1][..], &[b'x'; 62]].concat()),
        ("only doubled IAC", &[0xff; 64]),
        ("only negotiations", &[0xff, 0xfd, 0x01].repeat(21)),
    ] {
        let chunk = piece.repeat(CHUNK / piece.len());
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &chunk, |b, chunk| {
            let mut decoder = Decoder::default();
            b.iter(|| {
                let mut rest = &chunk[..];
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
    group.finish();
}

criterion_group!(benches, cut_lines, decode);
criterion_main!(benches);
