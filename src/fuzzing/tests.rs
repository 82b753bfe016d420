//! Runs the properties over the seeds and over mutated inputs, which are the same in every run.

use std::fs;
use std::path::Path;

type Property = fn(&[u8]);

/// Each property with the number of mutated inputs: some seconds of work in all.
const PROPERTIES: &[(&str, Property, usize)] = &[
    ("telnet_codec", super::telnet_codec, 3000),
    ("lines", super::lines, 3000),
    ("utf8", super::utf8, 3000),
    #[cfg(feature = "http")]
    ("http_head", super::http_head, 1000),
    #[cfg(feature = "http")]
    ("http_body", super::http_body, 3000),
    #[cfg(feature = "http")]
    ("http_client", super::http_client, 2000),
    ("server", super::server, 300),
    #[cfg(feature = "websocket")]
    ("ws_frame", super::ws_frame, 3000),
    #[cfg(feature = "websocket")]
    ("ws_receiver", super::ws_receiver, 1500),
    #[cfg(feature = "websocket")]
    ("ws_deflate", super::ws_deflate, 200),
    #[cfg(feature = "http")]
    ("web_client", super::web_client, 300),
    #[cfg(feature = "websocket")]
    ("web_server", super::web_server, 300),
    #[cfg(feature = "socket-io")]
    ("sio_session", super::sio_session, 300),
    #[cfg(feature = "socket-io")]
    ("eio_packet", super::eio_packet, 3000),
    #[cfg(feature = "socket-io")]
    ("eio_payload", super::eio_payload, 3000),
    #[cfg(feature = "socket-io")]
    ("eio_cookies", super::eio_cookies, 3000),
    #[cfg(feature = "socket-io")]
    ("sio_packet", super::sio_packet, 3000),
    #[cfg(feature = "socket-io")]
    ("sio_decoder", super::sio_decoder, 3000),
    #[cfg(feature = "socket-io")]
    ("sio_client", super::sio_client, 300),
    #[cfg(feature = "redis")]
    ("redis_frame", super::redis_frame, 3000),
    #[cfg(feature = "redis")]
    ("redis_messages", super::redis_messages, 3000),
];

/// Longest mutated input. Longer ones are left to the fuzz targets.
const MAX_LEN: usize = 1536;

#[test]
fn the_properties_hold_for_the_seeds_and_for_mutated_inputs() {
    for &(name, property, mutants) in PROPERTIES {
        let seeds = seeds(name);
        for seed in &seeds {
            property(seed);
        }
        let mut mutator = Mutator { state: 0x9E37_79B9_7F4A_7C15 };
        let mut pool = seeds;
        for _ in 0..mutants {
            let mutant = mutator.mutant_of(&pool);
            property(&mutant);
            // Keep some mutants in the pool, so that changes accumulate.
            if mutator.below(8) == 0 {
                let replaced = mutator.below(pool.len());
                pool[replaced] = mutant;
            }
        }
    }
}

/// The contents of the files in `fuzz/seeds/<name>`, in the order of their names.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let Ok(entries) = fs::read_dir(&folder) else {
        // A packaged crate does not contain the seeds.
        assert!(std::env::var_os("CI").is_none(), "{} is missing", folder.display());
        eprintln!("skipped: {} is missing; mutants start from an empty input", folder.display());
        return vec![Vec::new()];
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| fs::read(path).expect("a seed can be read")).collect()
}

/// A simple fuzzer: it mutates inputs without looking at coverage, and always in the same way.
struct Mutator {
    state: u64,
}

impl Mutator {
    /// Byte sequences that these parsers treat specially.
    const TOKENS: [&[u8]; 40] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\0",
        b"\xff",
        b"\xff\xff",
        b"\xff\xfa",
        b"\xff\xf0",
        b"\xff\xfa\x18\x00xterm\xff\xf0",
        b"\xff\xfb\x1f",
        b"\xff\xfc\x01",
        b"\xff\xfd\x06",
        b"\xff\xfe\x03",
        b"\xff\xf8",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xed\xa0",
        b"\xf0\x9f\x98\x80",
        b"\xf4\x90",
        b"\x04",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"4;x\r\nhola\r\n",
        b"Host: a\r\n",
        b"GET / HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: 4\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\x1e4",
        b"2:4a",
        b"6:b4AQID",
        b"\0\x02\xff4a",
        b"\x01\x02\xff\x04a",
        b"; Max-Age=9",
        b"; Expires=Sun, 06 Nov 1994 08:49:37 GMT",
        b"$4\r\nhola\r\n",
        b"*2\r\n",
        b"\xc4\x01\x02",
        b"\x81\xa1a",
        b"{\"_placeholder\":true,\"num\":0}",
    ];

    fn mutant_of(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = pool[self.below(pool.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(6) {
                0 => input.insert(at, self.next() as u8),
                1 => drop(input.splice(at..at, Self::TOKENS[self.below(Self::TOKENS.len())].iter().copied())),
                2 => drop(input.drain(at..(at + 1 + self.below(4)).min(input.len()).max(at))),
                3 if at < input.len() => input[at] ^= 1 << self.below(8),
                4 => {
                    let other = &pool[self.below(pool.len())];
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                _ => {
                    let repeated = input[at..(at + self.below(40)).min(input.len())].to_vec();
                    drop(input.splice(at..at, repeated));
                }
            }
        }
        input.truncate(MAX_LEN);
        input
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Xorshift (Marsaglia, 2003).
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}
