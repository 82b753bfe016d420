//! What holds for the decoder and the encoders, whatever comes and wherever the reads cut it.

use super::*;
use crate::fuzzing::{Input, arrivals};
use Owned::{Command, Data, Negotiate, Subnegotiation};

/// An event that owns its bytes, to be compared with others.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Owned {
    Data(Vec<u8>),
    Command(u8),
    Negotiate(Verb, u8),
    Subnegotiation(u8, Vec<u8>, bool),
}

/// All of the input is what the peer sends.
pub(crate) fn hold_for(input: &[u8]) {
    let chunks = Input(input).chunks();
    let bytes = chunks.concat();
    let want = decode_plainly(&bytes);
    for (arrival, chunks) in arrivals(&bytes, &chunks) {
        assert_eq!(decode(&chunks), want, "{arrival}");
        assert_eq!(decode_hesitantly(&chunks), want, "{arrival}, stopped inside data");
    }
    let (again, whole) = (encode(&want), kept_whole(want));
    assert_eq!(decode(&[&again]), whole, "what is encoded is decoded");
    assert_eq!(encode(&whole), again);
}

/// What the chunks say. Neighbouring data is joined, because how it is cut means nothing.
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
            // Nothing has to be remembered of it: a fresh one does as well.
            decoder = Decoder::default();
        }
    }
    out
}

/// As a program decodes that takes half of each run of data and puts the others back in front of the rest.
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

/// Appends an event, or joins it to the data before it.
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

/// The decoder again, as a grammar: all bytes at hand, no states, no memchr.
fn decode_plainly(mut rest: &[u8]) -> Vec<Owned> {
    let mut out = Vec::new();
    loop {
        rest = match rest {
            [] | [IAC] | [IAC, command::WILL..=command::DONT] => return out,
            [IAC, IAC, after @ ..] => {
                push(&mut out, Event::Data(&[IAC]));
                after
            }
            [IAC, command::SB, inside @ ..] => match subnegotiation_plainly(inside) {
                (_, None) => return out,
                (said, Some(after)) => {
                    if let Some((&option, parameters)) = said.split_first() {
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

/// What stands between `IAC SB` and the end, and what comes after; `None` if there is no end.
fn subnegotiation_plainly(mut rest: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut said = Vec::new();
    loop {
        let (byte, after) = match rest {
            [] | [IAC] => return (said, None),
            [IAC, IAC, after @ ..] => (IAC, after),
            [IAC, command::SE, after @ ..] => return (said, Some(after)),
            // No SE: it ends here all the same, and the command is read as one.
            [IAC, ..] => return (said, Some(rest)),
            [byte, after @ ..] => (*byte, after),
        };
        said.push(byte);
        rest = after;
    }
}

pub(super) fn encode(said: &[Owned]) -> Vec<u8> {
    let mut wire = Vec::new();
    for one in said {
        match one {
            Data(bytes) => escape(bytes, &mut wire),
            Command(byte) => wire.extend_from_slice(&[IAC, *byte]),
            Negotiate(verb, option) => wire.extend_from_slice(&negotiation(*verb, *option)),
            Subnegotiation(option, parameters, _) => subnegotiation(*option, parameters, &mut wire),
        }
    }
    wire
}

/// What is encoded of a truncated subnegotiation is not truncated.
fn kept_whole(said: Vec<Owned>) -> Vec<Owned> {
    let whole = |one| match one {
        Subnegotiation(option, parameters, _) => Subnegotiation(option, parameters, false),
        other => other,
    };
    said.into_iter().map(whole).collect()
}
