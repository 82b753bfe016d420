use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\n";

fn reader() -> ResponseReader {
    ResponseReader::new(Method::GET, 100)
}

/// The result after the bytes; after the end of the connection if they leave the response open.
fn read(chunks: &[&[u8]]) -> Result<Received, BadResponse> {
    let mut reader = reader();
    for chunk in chunks {
        if let Some(received) = reader.receive(chunk)? {
            return Ok(received);
        }
    }
    Ok(reader.finish()?.expect("a response or an error"))
}

#[test]
fn a_body_ends_by_its_length_by_its_last_chunk_or_with_the_connection() {
    let table = [
        ("by length", "Content-Length: 4\r\n\r\nhola", "hola", true),
        ("empty", "Content-Length: 0\r\n\r\n", "", true),
        ("in chunks", "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nho\r\n2\r\nla\r\n0\r\nA: b\r\n\r\n", "hola", true),
        ("until the end", "\r\nhola", "hola", false),
        ("until the end, empty", "\r\n", "", false),
        ("the server closes", "Connection: close\r\nContent-Length: 4\r\n\r\nhola", "hola", false),
        ("bytes behind it", "Content-Length: 4\r\n\r\nhola!", "hola", false),
        ("a response behind it", "Content-Length: 4\r\n\r\nholaHTTP/1.1 200 OK\r\n", "hola", false),
    ];
    for (name, rest, body, is_reusable) in table {
        let bytes = format!("{OK}{rest}");
        let received = read(&[bytes.as_bytes()]).expect(name);
        assert_eq!((received.response.status(), received.is_reusable), (StatusCode::OK, is_reusable), "{name}");
        assert_eq!(received.response.body, body.as_bytes(), "{name}");
    }
}

/// Bytes behind the response may come in a later read, so whether the connection can be reused may depend on the cut.
#[test]
fn where_the_reads_fall_does_not_matter() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let inputs = [
        format!("{interim}{OK}Content-Length: 4\r\n\r\nhola"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nho\r\n2\r\nla\r\n0\r\n\r\n"),
        format!("{OK}\r\nhola"),
        format!("{OK}Content-Length: 9\r\n\r\nhola"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhoXX"),
        format!("{OK}Content-Length: x\r\n\r\n"),
        format!("{interim}HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ];
    for input in inputs {
        let input = input.as_bytes();
        let whole = read(&[input]);
        for i in 0..=input.len() {
            for j in i..=input.len() {
                assert_eq!(read(&[&input[..i], &input[i..j], &input[j..]]), whole, "cut at {i} and {j}");
            }
        }
    }
}

#[test]
fn a_response_without_a_body_by_its_status_or_method_is_complete_with_its_head() {
    for status in ["204 No Content", "304 Not Modified"] {
        let bytes = format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\n");
        let received = read(&[bytes.as_bytes()]).expect("a response");
        assert!(received.is_reusable && received.response.body.is_empty(), "{status}");
    }
    let mut reader = ResponseReader::new(Method::HEAD, 0);
    let received = reader.receive(format!("{OK}Content-Length: 4\r\n\r\n").as_bytes()).expect("a good response");
    assert!(received.is_some_and(|received| received.is_reusable && received.response.body.is_empty()));
}

#[test]
fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let body = |len: usize| "x".repeat(len);
    for (len, is_good) in [(100, true), (101, false)] {
        let table = [
            ("by length", format!("Content-Length: {len}\r\n\r\n{}", body(len))),
            ("in one chunk", format!("Transfer-Encoding: chunked\r\n\r\n{len:x}\r\n{}\r\n0\r\n\r\n", body(len))),
            (
                "in two",
                format!(
                    "Transfer-Encoding: chunked\r\n\r\n32\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                    body(50),
                    len - 50,
                    body(len - 50)
                ),
            ),
            ("until the end", format!("\r\n{}", body(len))),
        ];
        for (name, rest) in table {
            match read(&[format!("{OK}{rest}").as_bytes()]) {
                Ok(received) => assert!(is_good && received.response.body.len() == len, "{name}, {len} bytes"),
                Err(error) => assert!(!is_good && error == BadResponse::TooLarge, "{name}, {len} bytes: {error}"),
            }
        }
    }
    // The claim is enough: nothing of the body has arrived.
    let claim = format!("{OK}Content-Length: 18446744073709551615\r\n\r\n");
    assert_eq!(reader().receive(claim.as_bytes()), Err(BadResponse::TooLarge));
}

#[test]
fn what_is_no_response_is_an_error() {
    let malformed = [
        ("no HTTP", "hola\r\n\r\n".to_owned()),
        ("a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("HTTP/2", "HTTP/2 200 OK\r\n\r\n".to_owned()),
        ("two lengths", format!("{OK}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("a length and chunks", format!("{OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")),
        ("another coding", format!("{OK}Transfer-Encoding: gzip, chunked\r\n\r\n")),
        ("a bad chunk", format!("{OK}Transfer-Encoding: chunked\r\n\r\n-1\r\n")),
        ("an endless head", format!("{OK}x: {}", "y".repeat(20_000))),
        ("too many fields", format!("{OK}{}", "x: y\r\n".repeat(101))),
        ("an interim response, then none", "HTTP/1.1 100 Continue\r\n\r\nhola".to_owned()),
    ];
    for (name, bytes) in malformed {
        let bad = read(&[bytes.as_bytes()]).expect_err(name);
        assert!(matches!(bad, BadResponse::Malformed(_)) && bad.code() == "E_BAD_RESPONSE", "{name}: {bad}");
    }
    let switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(read(&[switched.as_bytes()]), Err(BadResponse::Switched));
}

#[test]
fn a_response_that_is_cut_off_is_an_error() {
    let table = [
        ("nothing", String::new()),
        ("half a head", "HTTP/1.1 200 O".to_owned()),
        ("only an interim response", "HTTP/1.1 100 Continue\r\n\r\n".to_owned()),
        ("half a body", format!("{OK}Content-Length: 4\r\n\r\nho")),
        ("half a chunk", format!("{OK}Transfer-Encoding: chunked\r\n\r\n4\r\nho")),
        ("no last chunk", format!("{OK}Transfer-Encoding: chunked\r\n\r\n4\r\nhola\r\n")),
        ("no end of the last chunk", format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n")),
    ];
    for (name, bytes) in table {
        assert_eq!(read(&[bytes.as_bytes()]), Err(BadResponse::CutOff), "{name}");
    }
    assert_eq!(BadResponse::CutOff.code(), "ECONNRESET");
}

#[test]
fn a_reader_has_begun_with_its_first_byte() {
    let mut reader = reader();
    assert_eq!((reader.receive(b""), reader.has_begun()), (Ok(None), false));
    assert_eq!((reader.receive(b"H"), reader.has_begun()), (Ok(None), true));
}

/// A copy for each of them would take minutes.
#[test]
fn a_hundred_thousand_interim_responses_cost_no_more_than_their_bytes() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000);
    let mut reader = reader();
    for chunk in interim.as_bytes().chunks(64 * 1024) {
        assert_eq!(reader.receive(chunk), Ok(None));
        assert!(reader.received.len() <= 64 * 1024 + 100);
    }
    assert!(
        reader.receive(format!("{OK}Content-Length: 0\r\n\r\n").as_bytes()).is_ok_and(|received| received.is_some())
    );
}

#[test]
fn the_hint_of_a_server_is_read_and_a_second_is_taken_off() {
    let table = [
        ("", None),
        ("Keep-Alive: timeout=5\r\n", Some(4)),
        ("Keep-Alive: max=10, Timeout=60\r\n", Some(59)),
        ("Keep-Alive: timeout=1\r\n", Some(0)),
        ("Keep-Alive: timeout=0\r\n", Some(0)),
        ("Keep-Alive: timeout=-1\r\n", None),
        ("Keep-Alive: timeout=x\r\n", None),
        ("Keep-Alive: timeout\r\n", None),
        ("Keep-Alive: 5\r\n", None),
        ("Keep-Alive: timeout=18446744073709551615\r\n", Some(u64::MAX - 1)),
    ];
    for (field, seconds) in table {
        let received = read(&[format!("{OK}Content-Length: 0\r\n{field}\r\n").as_bytes()]).expect("a response");
        assert_eq!(keep_alive_hint(&received.response.head), seconds.map(Duration::from_secs), "{field:?}");
    }
}
