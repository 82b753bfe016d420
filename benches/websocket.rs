//! The speed of WebSocket's pure parts: frames, masks, text and compression, by size.

use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::str;

use bucle::websocket::Message;
use bucle::websocket::deflate::{Deflater, Inflater};
use bucle::websocket::frame::{Header, Opcode, Role};
use bucle::websocket::mask::apply_mask;
use bucle::websocket::receiver::{Settings, whole_message};
use bucle::websocket::utf8;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use crate::support::cpu::Cpu;

mod support;

const CHUNK: usize = 64 * 1024;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A text message from a client, as often as it fits in one read.
fn masked_messages(len: usize) -> Vec<u8> {
    let header = Header { fin: true, rsv1: false, opcode: Opcode::Text, mask: Some(MASK), len: len as u64 };
    let mut frame = header.encode().as_ref().to_vec();
    let mut payload = text(len);
    apply_mask(&mut payload, MASK, 0);
    frame.extend_from_slice(&payload);
    frame.repeat((CHUNK / frame.len()).max(1))
}

/// ASCII that does not repeat soon.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|n| b' ' + (n * n % 89) as u8).collect()
}

/// A connection in memory: a read gets the next part of `wire`, and writes go nowhere.
struct Memory {
    wire: Vec<u8>,
    at: usize,
}

impl Read for Memory {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = &self.wire[self.at..];
        if rest.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        self.at += len;
        Ok(len)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How fast a read of messages is parsed, unmasked, checked and echoed, by message length: short messages are the chat
/// case. One read of 64 KiB at a time. tungstenite does the same work on the same bytes.
fn echo(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("websocket echo");
    for len in [20, 125, 1024, 16 * 1024, 60 * 1024] {
        let wire = masked_messages(len);
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_with_input(BenchmarkId::new("bucle", len), &wire, |b, wire| {
            let settings = Settings { role: Role::Server, max_message: 1024 * 1024, deflate: false };
            let (mut read, mut written) = (wire.clone(), Vec::with_capacity(2 * CHUNK));
            b.iter(|| {
                read.copy_from_slice(wire);
                written.clear();
                let mut rest = &mut read[..];
                while let Some(message) = whole_message(&settings, &mut rest) {
                    let message = message.expect("a correct frame");
                    let opcode = if matches!(message, Message::Text(_)) { Opcode::Text } else { Opcode::Binary };
                    let payload = message.as_bytes();
                    let header = Header { fin: true, rsv1: false, opcode, mask: None, len: payload.len() as u64 };
                    written.extend_from_slice(header.encode().as_ref());
                    written.extend_from_slice(payload);
                }
                black_box(&written);
            });
        });
        group.bench_with_input(BenchmarkId::new("tungstenite", len), &wire, |b, wire| {
            let memory = Memory { wire: wire.clone(), at: 0 };
            let role = tungstenite::protocol::Role::Server;
            let mut socket = tungstenite::WebSocket::from_raw_socket(memory, role, None);
            b.iter(|| {
                socket.get_mut().at = 0;
                while let Ok(message) = socket.read() {
                    socket.write(message).expect("the memory takes everything");
                }
                socket.flush().expect("the memory takes everything");
            });
        });
    }
    group.finish();
}

/// How fast a payload is masked, compared with one byte at a time.
fn mask(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("websocket mask");
    for len in [16, 125, 1024, 64 * 1024] {
        let mut payload = text(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("bucle", len), |b| {
            b.iter(|| apply_mask(black_box(&mut payload), MASK, 0));
        });
        group.bench_function(BenchmarkId::new("byte by byte", len), |b| {
            b.iter(|| {
                for (place, byte) in black_box(&mut payload).iter_mut().enumerate() {
                    *byte ^= MASK[place % 4];
                }
            });
        });
    }
    group.finish();
}

/// How fast text is checked, in ASCII and with characters of one to four bytes, compared with the standard library.
fn check_text(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("websocket text");
    for len in [20, 1024, 64 * 1024] {
        let mixed = "año 中文 😀 ".repeat(len / 20 + 1).into_bytes();
        for (kind, bytes) in [("ASCII", text(len)), ("mixed", mixed)] {
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_with_input(BenchmarkId::new(format!("bucle, {kind}"), len), &bytes, |b, bytes| {
                b.iter(|| black_box(utf8::check(black_box(bytes)).is_ok()));
            });
            group.bench_with_input(BenchmarkId::new(format!("std, {kind}"), len), &bytes, |b, bytes| {
                b.iter(|| black_box(str::from_utf8(black_box(bytes)).is_ok()));
            });
        }
    }
    group.finish();
}

/// A list of objects with small differences, as a server sends it.
fn json(len: usize) -> Vec<u8> {
    let objects =
        (0..).map(|n| format!(r#"{{"id":{n},"name":"user {}","online":{},"score":{}}},"#, n * 7, n % 3 == 0, n * n));
    objects.flat_map(String::into_bytes).take(len).collect()
}

/// How fast a message is compressed and inflated without context takeover, by length and level.
fn deflate(c: &mut Criterion<Cpu>) {
    let mut group = c.benchmark_group("websocket deflate");
    for len in [128, 1024, 16 * 1024] {
        let payload = json(len);
        group.throughput(Throughput::Bytes(len as u64));
        let mut compressed = Vec::new();
        for level in [1, 6] {
            let mut deflater = Deflater::new(level, 15);
            group.bench_function(BenchmarkId::new(format!("compress, level {level}"), len), |b| {
                b.iter(|| {
                    compressed.clear();
                    deflater.deflate(&payload, &mut compressed, false);
                });
            });
        }
        compressed.clear();
        Deflater::new(1, 15).deflate(&payload, &mut compressed, false);
        group.bench_function(BenchmarkId::new("inflate", len), |b| {
            let (mut inflater, mut inflated) = (Inflater::new(), Vec::new());
            b.iter(|| {
                inflated.clear();
                inflater.inflate(&compressed, &mut inflated, len, false).expect("it was compressed");
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::in_short();
    targets = echo, mask, check_text, deflate
}
criterion_main!(benches);
