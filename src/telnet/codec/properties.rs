//! Properties of the decoder and the encoders, for any bytes and any cuts between reads.

use super::*;
use crate::fuzzing::input::{Input, arrivals};
use Owned::{Command, Data, Negotiate, Subnegotiation};

/// An event that owns its bytes, for comparisons.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Owned {
    Data(Vec<u8>),
    Command(u8),
    Negotiate(Verb, u8),
    Subnegotiation(u8, Vec<u8>, bool),
}

/// The whole input is what the peer sends.
pub(crate) fn hold_for(input: &[u8]) {
    let chunks = Input(input).chunks();
    let bytes = chunks.concat();
    let want = decode_plainly(&bytes);
    for (arrival, chunks) in arrivals(&bytes, &chunks) {
        assert_eq!(decode(&chunks), want, "{arrival}");
        assert_eq!(decode_hesitantly(&chunks), want, "{arrival}, stopped inside data");
    }
    let (again, whole) = (encode(&want), kept_whole(want));
    assert_eq!(decode(&[&again]), whole, "encoded events decode to the same events");
    assert_eq!(encode(&whole), again);
}

/// The events in the chunks. Neighbouring data is joined, because the cuts between data have no meaning.
pub(super) fn decode(chunks: &[&[u8]]) -> Vec<Owned> {
    let mut decoder = Decoder::default();
    let mut out = Vec::new();
    for mut chunk in chunks.iter().copied() {
        while let Some(event) = decoder.next_event(&mut chunk) {
            push(&mut out, event);
        }
        assert!(chunk.is_empty(), "`None` means that the chunk is used up");
        assert!(heap_bytes(&decoder) <= 2 * SUBNEGOTIATION_LIMIT + 2, "memory is bounded");
        let is_inside = matches!(decoder.state, State::Subnegotiation | State::SubnegotiationCommand);
        assert!(is_inside || decoder.collected.is_none(), "heap only inside a subnegotiation");
        if decoder.is_idle() {
            // An idle decoder has no state, so a fresh one must do as well.
            decoder = Decoder::default();
        }
    }
    out
}

/// Decodes as a program does that takes half of each run of data and puts the other half back.
pub(super) fn decode_hesitantly(chunks: &[&[u8]]) -> Vec<Owned> {
    let (mut decoder, mut out, mut left) = (Decoder::default(), Vec::new(), Vec::new());
    for chunk in chunks {
        left.extend_from_slice(chunk);
        loop {
            let offered = std::mem::take(&mut left);
            let mut chunk = &offered[..];
            match decoder.next_event(&mut chunk) {
                None => break,
                Some(Event::Data(run)) => {
                    let (taken, put_back) = run.split_at(run.len().div_ceil(2));
                    push(&mut out, Event::Data(taken));
                    escape(put_back, &mut left);
                }
                Some(event) => push(&mut out, event),
            }
            left.extend_from_slice(chunk);
        }
    }
    out
}

/// Appends an event, or joins data to the data before it.
pub(super) fn push(out: &mut Vec<Owned>, event: Event) {
    match (event, out.last_mut()) {
        (Event::Data(more), Some(Data(data))) => data.extend_from_slice(more),
        (Event::Data(data), _) => out.push(Data(data.to_vec())),
        (Event::Command(byte), _) => out.push(Command(byte)),
        (Event::Negotiate { verb, option }, _) => out.push(Negotiate(verb, option)),
        (Event::Subnegotiation { option, parameters, truncated }, _) => {
            out.push(Subnegotiation(option, parameters.to_vec(), truncated));
        }
    }
}

fn heap_bytes(decoder: &Decoder) -> usize {
    decoder.collected.as_ref().map_or(0, |collected| collected.bytes.capacity())
}

/// A reference decoder written as a grammar: it has all bytes at hand and needs neither states nor memchr.
fn decode_plainly(mut rest: &[u8]) -> Vec<Owned> {
    let mut out = Vec::new();
    loop {
        rest = match rest {
            [] | [IAC] | [IAC, command::WILL..=command::DONT] => return out,
            [IAC, IAC, after @ ..] => {
                push(&mut out, Event::Data(&[IAC]));
                after
            }
            [IAC, command::SB, inside @ ..] => match subnegotiation_plainly(inside, &mut out) {
                (_, None) => return out,
                (content, Some(after)) => {
                    if let Some((&option, parameters)) = content.split_first() {
                        let kept = parameters.len().min(SUBNEGOTIATION_LIMIT);
                        out.push(Subnegotiation(option, parameters[..kept].to_vec(), kept < parameters.len()));
                    }
                    after
                }
            },
            [IAC, verb @ command::WILL..=command::DONT, option, after @ ..] => {
                let verb = Verb::from_byte(*verb).expect("one of the four");
                out.push(Negotiate(verb, *option));
                after
            }
            [IAC, byte, after @ ..] => {
                out.push(Command(*byte));
                after
            }
            [byte, after @ ..] => {
                push(&mut out, Event::Data(&[*byte]));
                after
            }
        };
    }
}

/// The bytes between `IAC SB` and the end, and the bytes after it; `None` if there is no end.
fn subnegotiation_plainly<'a>(mut rest: &'a [u8], out: &mut Vec<Owned>) -> (Vec<u8>, Option<&'a [u8]>) {
    let mut content = Vec::new();
    loop {
        let (byte, after) = match rest {
            [] | [IAC] => return (content, None),
            [IAC, IAC, after @ ..] => (IAC, after),
            [IAC, command::SE, after @ ..] => return (content, Some(after)),
            [IAC, command::DM, after @ ..] => {
                out.push(Command(command::DM));
                rest = after;
                continue;
            }
            // There is no SE: the subnegotiation ends here all the same, and the command is decoded as a command.
            [IAC, ..] => return (content, Some(rest)),
            [byte, after @ ..] => (*byte, after),
        };
        content.push(byte);
        rest = after;
    }
}

pub(super) fn encode(content: &[Owned]) -> Vec<u8> {
    let mut wire = Vec::new();
    for one in content {
        match one {
            Data(bytes) => escape(bytes, &mut wire),
            Command(byte) => wire.extend_from_slice(&[IAC, *byte]),
            Negotiate(verb, option) => wire.extend_from_slice(&negotiation(*verb, *option)),
            Subnegotiation(option, parameters, _) => subnegotiation(*option, parameters, &mut wire),
        }
    }
    wire
}

/// Clears the flag `truncated`: encoded again, a truncated subnegotiation is a complete one.
fn kept_whole(content: Vec<Owned>) -> Vec<Owned> {
    let whole = |one| match one {
        Subnegotiation(option, parameters, _) => Subnegotiation(option, parameters, false),
        other => other,
    };
    content.into_iter().map(whole).collect()
}
