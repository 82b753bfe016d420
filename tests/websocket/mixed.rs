//! Everything at once, at random: messages of all lengths in fragments, compressed or not, pings between them, reads
//! that end anywhere, pauses of the program, and a peer that stops reading. Each message must come back, in order.

use super::*;
use bucle::websocket::DeflateOptions;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Random numbers, the same in every run.
struct Random(u64);

impl Random {
    /// splitmix64, "Fast Splittable Pseudorandom Number Generators" by Steele, Lea and Flood.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A message, and the bytes that send it.
fn message(random: &mut Random, compress: Option<&mut Compress>, out: &mut Vec<u8>) -> (u8, Vec<u8>) {
    let len = match random.below(20) {
        0 => random.below(200_000),
        1..4 => random.below(20_000),
        _ => random.below(300),
    };
    let is_text = random.one_in(2);
    let payload: Vec<u8> = if is_text {
        let words = ["a", "\u{f1}", "\u{20ac}", "\u{1f600}", "hola "];
        let mut text = String::new();
        while text.len() < len {
            text.push_str(words[random.below(5)]);
        }
        text.into_bytes()
    } else {
        (0..len).map(|_| random.below(9) as u8).collect()
    };
    let first = if is_text { FIRST_TEXT } else { FIRST_BINARY };
    let (mut first, opcode, mut wire) = (first, first | LAST, payload.clone());
    if let Some(compress) = compress.filter(|_| random.one_in(2)) {
        let mut compressed = Vec::with_capacity(payload.len() * 2 + 100);
        compress.compress_vec(&payload, &mut compressed, FlushCompress::Sync).expect("it compresses");
        compressed.truncate(compressed.len() - 4);
        (wire, first) = (compressed, first | RSV1);
    }
    loop {
        let len = if random.one_in(3) { random.below(wire.len() + 1) } else { wire.len() };
        let is_last = len == wire.len();
        out.extend(masked(first | if is_last { LAST } else { 0 }, wire.drain(..len).as_slice()));
        if is_last {
            return (opcode, payload);
        }
        first = MIDDLE;
        if random.one_in(3) {
            out.extend(masked(PING, "between"));
        }
    }
}

fn converse(seed: u64) {
    let mut random = Random(seed);
    let deflate = DeflateOptions {
        threshold: [0, 100][random.below(2)],
        server_no_context_takeover: random.one_in(2),
        client_no_context_takeover: false,
        ..DeflateOptions::default()
    };
    let is_compressing = random.one_in(2);
    let mut decompress = Decompress::new(false);
    let mut compress = Compress::new(Compression::fast(), false);
    let keeps_context = !deflate.server_no_context_takeover;
    let mut talk = Talk::server(Options { deflate: Some(deflate), ..Options::default() }, Scribe::default());
    talk.open(if is_compressing { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" });
    let ws = talk.ws(0);
    let (mut bytes, mut want) = (Vec::new(), VecDeque::new());
    for _ in 0..150 {
        want.push_back(message(&mut random, is_compressing.then_some(&mut compress), &mut bytes));
    }
    let mut rest = &bytes[..];
    let mut is_paused = false;
    let limit = Instant::now() + LIMIT;
    while !want.is_empty() {
        assert!(Instant::now() < limit, "seed {seed}: {} messages are missing", want.len());
        if talk.peers[0].unsent.is_empty() {
            let len = match random.below(4) {
                0 => random.below(20),
                1 => random.below(1_000),
                _ => random.below(100_000),
            };
            let (now, later) = rest.split_at(len.min(rest.len()));
            talk.send(0, now);
            rest = later;
        }
        if random.one_in(10) {
            talk.peers[0].reads = !talk.peers[0].reads;
        }
        if random.one_in(10) {
            is_paused = !is_paused;
            talk.enter(|lp| if is_paused { ws.pause(lp) } else { ws.resume(lp) });
        }
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        talk.peers[0].work();
        let waiting = talk.enter(|lp| ws.buffered_amount(lp));
        assert!(waiting < 600_000, "seed {seed}: {waiting} bytes wait");
        while let Some((frame, len)) = parse(talk.peers[0].rest()) {
            talk.peers[0].taken += len;
            if frame.first == PONG {
                continue;
            }
            let (opcode, payload) = want.pop_front().expect("no message more than were sent");
            let mut received = frame.payload;
            if frame.first & RSV1 != 0 {
                let mut inflated = Vec::with_capacity(payload.len() + 100);
                received.extend_from_slice(&[0, 0, 0xff, 0xff]);
                decompress.decompress_vec(&received, &mut inflated, FlushDecompress::Sync).expect("it is DEFLATE");
                received = inflated;
                if !keeps_context {
                    decompress.reset(false);
                }
            }
            assert_eq!(frame.first & !RSV1, opcode, "seed {seed}");
            assert!(received == payload, "seed {seed}: {} bytes, not {}", received.len(), payload.len());
        }
    }
    assert_eq!(talk.peers[0].end, None, "seed {seed}");
    // The pings between are all answered before their messages are.
    assert_eq!(show_rest(&talk.peers[0]), "", "seed {seed}");
}

#[test]
fn random_conversations_lose_nothing() {
    (0..40).for_each(converse);
}
