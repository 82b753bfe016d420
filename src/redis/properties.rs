//! Properties of frames, for any bytes.

use super::frame::{MAX_DEPTH, Reply, decode, frame_len, push_command};
use crate::fuzzing::input::Input;

/// A frame is that of a plain version. What comes first decides, or more bytes are needed. A reply that is written out
/// is the same reply, and a command arrives as it was sent.
pub(crate) fn hold_for(input: &[u8]) {
    let bytes = Input(input).0;
    let decoded = decode(bytes);
    assert_eq!(decoded.as_ref().ok().map(|frame| frame.as_ref().map(|(_, len)| *len)).is_none(), decoded.is_err());
    match &decoded {
        Ok(Some((reply, len))) => {
            assert_eq!(plainly(bytes, 0), Some((reply.clone(), *len)));
            for cut in cuts(*len) {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
            let mut again = Vec::new();
            push_reply(&mut again, reply);
            assert_eq!(decode(&again), Ok(Some((reply.clone(), again.len()))));
        }
        Ok(None) => {
            assert_eq!(plainly(bytes, 0), None);
            for cut in cuts(bytes.len()) {
                assert_eq!(frame_len(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
        }
        Err(_) => {
            // Whatever follows, it stays wrong.
            assert!(decode(&[bytes, b"\r\n$1\r\na\r\n"].concat()).is_err());
        }
    }

    let chunks = Input(input).chunks();
    let mut command = Vec::new();
    push_command(&mut command, &chunks);
    let (reply, len) = decode(&command).expect("a frame").expect("it is whole");
    assert_eq!(len, command.len());
    assert!(reply.items().iter().map(Reply::bytes).eq(chunks.iter().map(|chunk| Some(*chunk))));
}

/// Some places in front of the end.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |at| *at < 64 || at + 16 > len || at % 61 == 0)
}

/// The grammar, from left to right. `None`: it is not whole, or wrong.
fn plainly(bytes: &[u8], depth: usize) -> Option<(Reply<'_>, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, after) = (bytes.get(1..end)?, end + 2);
    let number = || str::from_utf8(line).ok()?.parse::<i64>().ok();
    Some(match bytes.first()? {
        b'+' => (Reply::Status(line), after),
        b'-' => (Reply::Error(line), after),
        b':' => (Reply::Integer(number()?), after),
        b'$' | b'*' if number()? == -1 => (Reply::Nil, after),
        b'$' => {
            let len = usize::try_from(number()?).ok()?;
            let value = bytes.get(after..)?.get(..len)?;
            let end = bytes.get(after + len..)?.get(..2)?;
            (end == b"\r\n").then_some((Reply::Bytes(value), after + len + 2))?
        }
        b'*' => {
            let count = usize::try_from(number()?).ok()?;
            if count > 0 && depth == MAX_DEPTH {
                return None;
            }
            let (mut items, mut at) = (Vec::new(), after);
            for _ in 0..count {
                let (item, len) = plainly(bytes.get(at..)?, depth + 1)?;
                items.push(item);
                at += len;
            }
            (Reply::Array(items), at)
        }
        _ => return None,
    })
}

fn push_reply(out: &mut Vec<u8>, reply: &Reply<'_>) {
    let mut line = |kind: &str, value: &[u8]| out.extend([kind.as_bytes(), value, b"\r\n"].concat());
    match reply {
        Reply::Status(text) => line("+", text),
        Reply::Error(text) => line("-", text),
        Reply::Integer(number) => line(":", number.to_string().as_bytes()),
        Reply::Nil => line("$", b"-1"),
        Reply::Bytes(bytes) => {
            line("$", bytes.len().to_string().as_bytes());
            line("", bytes);
        }
        Reply::Array(items) => {
            line("*", items.len().to_string().as_bytes());
            items.iter().for_each(|item| push_reply(out, item));
        }
    }
}
