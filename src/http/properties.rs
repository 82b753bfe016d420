//! Properties of heads and bodies, for any bytes and any cuts between reads.

use super::body::{BodyDecoder, Framing, LAST_CHUNK, OVERHEAD_LIMIT, push_chunk};
use super::client::response::{BadResponse, ResponseReader};
use super::head::{
    HeadLimits, HeadParser, Method, Request, ResponseHead, StatusCode, Version, parse_request, parse_response,
};
use super::refusal::{Malformed, Refusal};
use crate::fuzzing::input::{Input, arrivals};

/// How the messages on one connection end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End<E> {
    /// Between two messages.
    Clean,
    /// Inside a message.
    CutOff,
    /// By a mistake of the peer.
    Mistake(E),
}

/// The first byte of the input chooses the limits: 0 means the default, others a small number of bytes and fields.
pub(crate) fn hold_for_heads(input: &[u8]) {
    let mut input = Input(input);
    let limits = match input.byte() {
        0 => HeadLimits::default(),
        few => HeadLimits { bytes: usize::from(few) * 4, headers: usize::from(few) % 8 },
    };
    let chunks = input.chunks();
    let bytes = chunks.concat();

    let want = read_requests(&[&bytes], &limits);
    for (arrival, chunks) in arrivals(&bytes, &chunks) {
        assert_eq!(read_requests(&chunks, &limits), want, "{arrival}");
    }
    for request in &want.0 {
        means_the_same_again(request, &limits);
    }
    if let Ok(Some((request, framing, used))) = parse_request(&bytes, &limits) {
        assert!(used <= limits.bytes && request.headers().len() <= limits.headers, "the limits hold");
        is_read_in_the_same_way_by_a_plain_reader(&bytes[..used], &request, framing);
    }

    for method in [Method::GET, Method::HEAD] {
        let want = read_response(&[&bytes], &limits, &method);
        for (arrival, chunks) in arrivals(&bytes, &chunks) {
            assert_eq!(read_response(&chunks, &limits, &method), want, "a response to {method}, {arrival}");
        }
    }
}

/// Reads the requests on a connection, as a server does: it keeps what is not used, and parses again with each read.
pub(crate) fn read_requests(chunks: &[&[u8]], limits: &HeadLimits) -> (Vec<Request>, End<Refusal>) {
    let (mut parser, mut received, mut requests) = (HeadParser::default(), Vec::new(), Vec::new());
    let mut current: Option<(Request, BodyDecoder, Vec<u8>)> = None;
    for chunk in chunks {
        received.extend_from_slice(chunk);
        loop {
            let Some((mut request, mut decoder, mut body)) = current.take() else {
                match parser.request(&received, limits) {
                    Ok(Some((request, framing, used))) => {
                        received.drain(..used);
                        current = Some((request, BodyDecoder::new(framing), Vec::new()));
                        // A parser between two heads has no state, so a fresh one must do as well.
                        parser = HeadParser::default();
                        continue;
                    }
                    Ok(None) => break,
                    Err(refusal) => {
                        assert_eq!(parser.request(&received, limits), Err(refusal), "an error stays");
                        return (requests, End::Mistake(refusal));
                    }
                }
            };
            let mut rest = &received[..];
            loop {
                match decoder.next(&mut rest) {
                    Ok(Some(data)) => body.extend_from_slice(data),
                    Ok(None) => break,
                    Err(refusal) => {
                        assert_eq!(decoder.next(&mut rest), Err(refusal), "an error stays");
                        return (requests, End::Mistake(refusal));
                    }
                }
            }
            received = rest.to_vec();
            if !decoder.is_complete() {
                assert!(received.is_empty(), "`None` means that the input is used up");
                current = Some((request, decoder, body));
                break;
            }
            request.set_body(body);
            requests.push(request);
        }
    }
    let is_clean = current.is_none() && received.is_empty();
    (requests, if is_clean { End::Clean } else { End::CutOff })
}

/// A response as a client reads it: the head as text, its framing, the body, and how the message ends.
type Response = (Option<(String, Framing)>, Vec<u8>, End<Malformed>);

/// Reads one response, as a client does.
pub(super) fn read_response(chunks: &[&[u8]], limits: &HeadLimits, method: &Method) -> Response {
    let (mut parser, mut received) = (HeadParser::default(), Vec::new());
    let mut chunks = chunks.iter();
    let (head, framing, used) = loop {
        match parser.response(&received, limits, method) {
            Ok(Some(found)) => break found,
            Ok(None) => match chunks.next() {
                Some(chunk) => received.extend_from_slice(chunk),
                None => return (None, Vec::new(), if received.is_empty() { End::Clean } else { End::CutOff }),
            },
            Err(malformed) => return (None, Vec::new(), End::Mistake(malformed)),
        }
    };
    received.drain(..used);
    received.extend(chunks.copied().flatten());
    let head = Some((format!("{head:?}"), framing));
    let (body, _, end) = decode(&[&received], framing);
    let end = match end {
        End::Clean => End::Clean,
        End::CutOff => End::CutOff,
        End::Mistake(refusal) => End::Mistake(refusal.into()),
    };
    (head, body, end)
}

/// The first byte of the input chooses the limit of the body. Then comes what a server sends: the client reads the same
/// response however it arrives, and the same as a reader that has all bytes at hand.
pub(crate) fn hold_for_client(input: &[u8]) {
    let mut input = Input(input);
    let max_body = usize::from(input.byte());
    let chunks = input.chunks();
    let bytes = chunks.concat();
    for method in [Method::GET, Method::HEAD] {
        let want = read_plainly(&bytes, &method, max_body);
        for (arrival, chunks) in arrivals(&bytes, &chunks) {
            assert_eq!(read_as_client(&chunks, &method, max_body), want, "a response to {method}, {arrival}");
        }
    }
}

/// Reads the final response of a connection and its end, as a client does.
fn read_as_client(chunks: &[&[u8]], method: &Method, max_body: usize) -> Result<(ResponseHead, Vec<u8>), BadResponse> {
    let mut reader = ResponseReader::new(method.clone(), max_body);
    for chunk in chunks {
        if let Some(received) = reader.receive(chunk)? {
            let is_lasting = received.response.head.keeps_alive();
            assert!(!received.is_reusable || is_lasting, "the server closes the connection");
            return Ok((received.response.head, received.response.body));
        }
    }
    let received = reader.finish()?.expect("a response that was cut off is an error");
    assert!(!received.is_reusable, "the connection has ended");
    Ok((received.response.head, received.response.body))
}

/// The same from all bytes at once.
fn read_plainly(mut bytes: &[u8], method: &Method, max_body: usize) -> Result<(ResponseHead, Vec<u8>), BadResponse> {
    loop {
        let (head, framing, used) =
            parse_response(bytes, &HeadLimits::default(), method)?.ok_or(BadResponse::CutOff)?;
        bytes = &bytes[used..];
        if head.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(BadResponse::Switched);
        }
        if head.status().is_informational() {
            continue;
        }
        let (body, _, end) = decode(&[bytes], framing);
        let is_claimed = matches!(framing, Framing::Length(len) if len > max_body as u64);
        return match end {
            _ if is_claimed || body.len() > max_body => Err(BadResponse::TooLarge),
            End::Clean => Ok((head, body)),
            End::CutOff => Err(BadResponse::CutOff),
            End::Mistake(refusal) => Err(refusal.into()),
        };
    }
}

/// A request that was accepted, written out again with a length, is the same request.
fn means_the_same_again(request: &Request, limits: &HeadLimits) {
    let mut wire = format!("{} {} {:?}\r\n", request.method(), request.target(), request.version()).into_bytes();
    for (name, value) in request.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        wire.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    if request.headers().contains_key("transfer-encoding") {
        wire.extend_from_slice(format!("Content-Length: {}\r\n", request.body().len()).as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(request.body());
    // Blanks may be longer than they were.
    let limits = HeadLimits { bytes: 4 * limits.bytes + wire.len(), ..*limits };
    let (again, end) = read_requests(&[&wire], &limits);
    assert_eq!((again.len(), end), (1, End::Clean));
    let again = &again[0];
    assert_eq!((again.method(), again.target(), again.body()), (request.method(), request.target(), request.body()));
    assert_eq!((again.path(), again.query(), again.host()), (request.path(), request.query(), request.host()));
    assert_eq!(again.keeps_alive(), request.keeps_alive());
    assert!(request.path().starts_with('/') || request.path() == "*");
    assert!(request.host().is_some() || request.version() == Version::HTTP_10);
}

/// A second reader of an accepted head: it splits the text, and has no states and no httparse.
///
/// Smuggling needs two readers that disagree, so this reader looks for lengths in the simplest way there is.
fn is_read_in_the_same_way_by_a_plain_reader(head: &[u8], request: &Request, framing: Framing) {
    let text: String = head.iter().copied().map(char::from).collect();
    let text = text.trim_start_matches("\r\n");
    let lines: Vec<&str> = text.split("\r\n").collect();
    let (start_line, [fields @ .., "", ""]) = (lines[0], &lines[1..]) else { panic!("no empty line ends the head") };
    assert!(text.chars().all(|c| matches!(c, '\r' | '\n' | '\t') || !c.is_ascii_control()), "no control bytes");
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])), "no line break but CRLF");
    let words = [request.method().as_str(), request.target(), &format!("{:?}", request.version())];
    assert_eq!(start_line.split(' ').collect::<Vec<_>>(), words);

    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    assert_eq!(fields.len(), request.headers().len());
    for field in fields {
        let (name, value) = field.split_once(':').expect("a field has a colon");
        let value = value.trim_matches([' ', '\t']);
        let mut values = request.headers().get_all(name).iter();
        assert!(values.any(|known| known.as_bytes().iter().copied().map(char::from).eq(value.chars())), "{name}");
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value.to_ascii_lowercase()),
            _ => {}
        }
    }
    match framing {
        Framing::None => assert!(lengths.is_empty() && codings.is_empty()),
        Framing::Length(len) => assert!(lengths.len() == 1 && lengths[0].parse() == Ok(len) && codings.is_empty()),
        Framing::Chunked => assert!(lengths.is_empty() && codings == ["chunked"]),
        Framing::UntilClose => panic!("no request lasts until the connection closes"),
    }
}

/// The first byte of the input chooses the framing; its low bits are the length. Then comes what the peer sends.
pub(crate) fn hold_for_bodies(input: &[u8]) {
    let mut input = Input(input);
    let framing = match input.byte() {
        0 => Framing::None,
        1 => Framing::UntilClose,
        len @ 2..64 => Framing::Length(len.into()),
        _ => Framing::Chunked,
    };
    let chunks = input.chunks();
    let bytes = chunks.concat();
    let want = decode_plainly(&bytes, framing);
    for (arrival, chunks) in arrivals(&bytes, &chunks) {
        let (data, used, end) = decode(&chunks, framing);
        let end = match end {
            End::Clean => End::Clean,
            End::CutOff => End::CutOff,
            End::Mistake(_) => End::Mistake(()),
        };
        assert_eq!((data, used, end), want, "{framing:?}, {arrival}");
    }
    let mut wire = Vec::new();
    for chunk in &chunks {
        push_chunk(&mut wire, chunk);
    }
    wire.extend_from_slice(LAST_CHUNK);
    let len = wire.len();
    wire.extend_from_slice(b"GET /");
    assert_eq!(decode(&[&wire], Framing::Chunked), (bytes, len, End::Clean), "chunks are decoded again");
}

/// The data of a body that arrives in `chunks`, how many bytes it took, and how it ends with the connection.
pub(super) fn decode(chunks: &[&[u8]], framing: Framing) -> (Vec<u8>, usize, End<Refusal>) {
    let (mut decoder, mut data, mut used) = (BodyDecoder::new(framing), Vec::new(), 0);
    for chunk in chunks {
        let mut rest = *chunk;
        loop {
            let taken = decoder.next(&mut rest);
            match taken {
                Ok(Some(run)) => {
                    assert!(!run.is_empty() && chunk.as_ptr_range().contains(&run.as_ptr()), "lent from the input");
                    data.extend_from_slice(run);
                }
                Ok(None) => break,
                Err(refusal) => {
                    assert_eq!(decoder.next(&mut rest), Err(refusal), "an error stays");
                    return (data, used + chunk.len() - rest.len(), End::Mistake(refusal));
                }
            }
        }
        assert!(rest.is_empty() || decoder.is_complete(), "`None` means that the input is used up");
        used += chunk.len() - rest.len();
    }
    let end = if decoder.finish().is_ok() { End::Clean } else { End::CutOff };
    assert_eq!(decoder.is_complete(), end == End::Clean);
    (data, used, end)
}

/// A reference decoder written as a grammar: it has all bytes at hand and needs no states.
fn decode_plainly(bytes: &[u8], framing: Framing) -> (Vec<u8>, usize, End<()>) {
    let len = match framing {
        Framing::None => 0,
        Framing::UntilClose => bytes.len(),
        Framing::Length(len) => len as usize,
        Framing::Chunked => {
            let (mut data, mut at) = (Vec::new(), 0);
            let end = chunks_plainly(bytes, &mut at, &mut data).err().unwrap_or(End::Clean);
            return (data, at, end);
        }
    };
    let taken = len.min(bytes.len());
    (bytes[..taken].to_vec(), taken, if taken == len { End::Clean } else { End::CutOff })
}

/// Reads a chunked body from `at` on, and leaves `at` behind its last good byte.
fn chunks_plainly(bytes: &[u8], at: &mut usize, data: &mut Vec<u8>) -> Result<(), End<()>> {
    let mut overhead = OVERHEAD_LIMIT;
    let is_text = |byte: u8| byte == b'\t' || byte >= b' ' && byte != 0x7F;
    let is_name = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    loop {
        let digits = many(bytes, at, 16, |byte| byte.is_ascii_hexdigit());
        let len = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        // After sixteen digits another one is a mistake, and so is anything but a digit at the beginning.
        let next = bytes.get(*at).ok_or(End::CutOff)?;
        let Some(len) = len else { return Err(End::Mistake(())) };
        if *next == b';' {
            let taken = many(bytes, at, overhead, is_text).len();
            overhead -= taken;
        }
        one(bytes, at, b'\r')?;
        one(bytes, at, b'\n')?;
        if len == 0 {
            break;
        }
        let rest = &bytes[*at..];
        let taken = usize::try_from(len).map_or(rest.len(), |len| len.min(rest.len()));
        data.extend_from_slice(&rest[..taken]);
        *at += taken;
        one(bytes, at, b'\r')?;
        one(bytes, at, b'\n')?;
    }
    while bytes.get(*at).is_some_and(|&byte| byte != b'\r') {
        let name = many(bytes, at, overhead, is_name).len();
        if name == 0 {
            return Err(End::Mistake(()));
        }
        overhead -= name;
        if overhead == 0 && *at < bytes.len() {
            return Err(End::Mistake(()));
        }
        one(bytes, at, b':')?;
        overhead -= 1;
        overhead -= many(bytes, at, overhead, is_text).len();
        one(bytes, at, b'\r')?;
        one(bytes, at, b'\n')?;
    }
    one(bytes, at, b'\r')?;
    one(bytes, at, b'\n')
}

/// Up to `limit` bytes of one kind.
fn many<'a>(bytes: &'a [u8], at: &mut usize, limit: usize, is_wanted: impl Fn(u8) -> bool) -> &'a [u8] {
    let rest = &bytes[*at..];
    let len = rest.iter().take(limit).take_while(|&&byte| is_wanted(byte)).count();
    *at += len;
    &rest[..len]
}

fn one(bytes: &[u8], at: &mut usize, wanted: u8) -> Result<(), End<()>> {
    let byte = *bytes.get(*at).ok_or(End::CutOff)?;
    if byte != wanted {
        return Err(End::Mistake(()));
    }
    *at += 1;
    Ok(())
}
