use ::http::header::{CONNECTION, UPGRADE};
use proptest::prelude::*;

use super::*;
use crate::http::properties::{End, read_requests, read_response};

const LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, headers: 100 };

fn request(bytes: &[u8]) -> (Request, Framing) {
    let shown = String::from_utf8_lossy(bytes);
    let (request, framing, used) =
        parse_request(bytes, &LIMITS).expect("it is accepted").unwrap_or_else(|| panic!("incomplete: {shown}"));
    assert_eq!(used, bytes.len(), "{shown}");
    (request, framing)
}

fn response(bytes: &[u8], method: &Method) -> Result<(ResponseHead, Framing), &'static str> {
    let (head, framing, used) =
        parse_response(bytes, &LIMITS, method).map_err(|malformed| malformed.reason)?.expect("it is complete");
    assert_eq!(used, bytes.len());
    Ok((head, framing))
}

/// The status with which the bytes are refused, and after how many bytes at the earliest. The result is the same when
/// they arrive one by one.
fn refused(bytes: &[u8], limits: &HeadLimits) -> Option<(u16, usize)> {
    let whole = parse_request(bytes, limits).err();
    let mut parser = HeadParser::default();
    let early =
        (0..=bytes.len()).find_map(|len| parser.request(&bytes[..len], limits).err().map(|refusal| (refusal, len)));
    assert_eq!(early.map(|(refusal, _)| refusal), whole, "{}", String::from_utf8_lossy(bytes));
    early.map(|(refusal, len)| (refusal.status.as_u16(), len))
}

/// RFC 9112, section 2.1, and section 3.2.2.
#[test]
fn parses_requests() {
    let (hello, framing) = request(
        b"GET /hello.txt?a=b HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\n\
          Accept-Language: en, mi\r\n\r\n",
    );
    assert_eq!((hello.method(), hello.target()), (&Method::GET, "/hello.txt?a=b"));
    assert_eq!((hello.path(), hello.query(), hello.version()), ("/hello.txt", Some("a=b"), Version::HTTP_11));
    assert_eq!((hello.host(), hello.header("accept-language")), (Some("www.example.com"), Some("en, mi")));
    assert_eq!((hello.header("Cookie"), hello.headers().len(), framing), (None, 3, Framing::None));

    let (absolute, _) = request(b"GET http://one.example:81/a HTTP/1.1\r\nHost: two.example\r\n\r\n");
    assert_eq!((absolute.host(), absolute.path()), (Some("one.example:81"), "/a"), "the target wins over the field");
    let (options, _) = request(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((options.path(), options.query()), ("*", None));
    let (old, _) = request(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.host(), old.version()), (None, Version::HTTP_10));
    let (unknown, _) = request(b"brew /pot HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(unknown.method().as_str(), "brew");
    let (after_a_body, _) = request(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(after_a_body.path(), "/", "two empty lines are skipped (2.2)");

    let (values, _) =
        request(b"GET / HTTP/1.1\r\nHost:a\r\nA:\r\nB: \t x y\t \r\nB: z\r\nC: \xe9\r\nD: \xc3\xa9\r\n\r\n");
    assert_eq!((values.host(), values.header("a"), values.header("b")), (Some("a"), Some(""), Some("x y")));
    assert_eq!((values.header("c"), values.header("d")), (None, Some("é")), "text is UTF-8");
    assert_eq!(values.headers()["c"].as_bytes(), b"\xe9");
    assert_eq!(values.headers().get_all("b").iter().count(), 2);

    let mut with_body = hello.clone();
    with_body.set_body(b"hola".to_vec());
    assert_eq!((hello.body(), with_body.body()), (&b""[..], &b"hola"[..]));
}

/// RFC 9112, section 6.3.
#[test]
fn finds_the_framing_of_requests() {
    let table = [
        ("nothing", "", Framing::None),
        ("a length", "Content-Length: 5\r\n", Framing::Length(5)),
        ("a length of 0", "Content-Length: 0\r\n", Framing::Length(0)),
        ("zeros before the number", "content-length: 010\r\n", Framing::Length(10)),
        ("the longest body", "Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("chunked", "Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("codings are not case-sensitive", "transfer-encoding:\tCHUNKED \r\n", Framing::Chunked),
    ];
    for (name, fields, want) in table {
        let (_, framing) = request(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        assert_eq!(framing, want, "{name}");
    }
}

/// The number is the status.
#[test]
fn refuses_heads() {
    let with = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    let host = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes();
    let table: Vec<(&str, Vec<u8>, u16)> = vec![
        ("three empty lines", b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400),
        ("a bare LF before the request line", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400),
        ("a bare CR before the request line", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400),
        ("a blank before the method", line(" GET / HTTP/1.1"), 400),
        ("two blanks behind the method", line("GET  / HTTP/1.1"), 400),
        ("two blanks behind the target", line("GET /  HTTP/1.1"), 400),
        ("a tab behind the method", line("GET\t/ HTTP/1.1"), 400),
        ("a tab behind the target", line("GET /\tHTTP/1.1"), 400),
        ("a blank behind the version", line("GET / HTTP/1.1 "), 400),
        ("a method that is no token", line("G@T / HTTP/1.1"), 400),
        ("a method of 33 bytes", line(&format!("{} / HTTP/1.1", "M".repeat(33))), 501),
        ("CONNECT", line("CONNECT a:80 HTTP/1.1"), 405),
        ("TRACE", line("TRACE / HTTP/1.1"), 405),
        ("a fragment in the target", line("GET /a#b HTTP/1.1"), 400),
        ("a target that is not ASCII", line("GET /é HTTP/1.1"), 400),
        ("DEL in the target", line("GET /\x7f HTTP/1.1"), 400),
        ("a relative target", line("GET a HTTP/1.1"), 400),
        ("a star for GET", line("GET * HTTP/1.1"), 400),
        ("no version (HTTP/0.9)", b"GET /\r\n\r\n".to_vec(), 400),
        ("a version in small letters", line("GET / http/1.1"), 400),
        ("a version without a minor number", line("GET / HTTP/2"), 400),
        ("a longer version", line("GET / HTTP/1.10"), 400),
        ("another protocol", line("GET / RTSP/1.0"), 400),
        ("HTTP/1.2", line("GET / HTTP/1.2"), 505),
        ("HTTP/0.9 as a version", line("GET / HTTP/0.9"), 505),
        ("HTTP/2.0", line("GET / HTTP/2.0"), 505),
        ("the preface of HTTP/2 (RFC 9113, 3.4)", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
        ("a bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n".to_vec(), 400),
        ("a bare CR behind the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n".to_vec(), 400),
        ("a bare LF behind a field", with("A: b\nC: d\r\n"), 400),
        ("a bare LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n".to_vec(), 400),
        ("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n".to_vec(), 400),
        ("a bare CR inside a value", with("A: b\rC: d\r\n"), 400),
        ("a bare CR at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\rGET".to_vec(), 400),
        ("two CR behind a field", with("A: b\r\r\n"), 400),
        ("NUL in a value", with("A: b\0c\r\n"), 400),
        ("a vertical tab in a value", with("A: b\x0bc\r\n"), 400),
        ("DEL in a value", with("A: b\x7f\r\n"), 400),
        ("ESC at the beginning of a value", with("A: \x1b[31m\r\n"), 400),
        ("NUL in a name", with("A\0: b\r\n"), 400),
        ("a blank before the colon", with("A : b\r\n"), 400),
        ("a tab before the colon", with("A\t: b\r\n"), 400),
        ("a blank inside a name", with("A B: c\r\n"), 400),
        ("a name that is not ASCII", with("é: b\r\n"), 400),
        ("no name", with(": b\r\n"), 400),
        ("no colon", with("A\r\n"), 400),
        ("a folded field", with("A: b\r\n c\r\n"), 400),
        ("a field folded by a tab", with("A: b\r\n\tc\r\n"), 400),
        ("a blank before the first field", host(" Host: a\r\n"), 400),
        ("no Host", host(""), 400),
        ("no Host, but an absolute target", b"GET http://a/ HTTP/1.1\r\n\r\n".to_vec(), 400),
        ("two Host", host("Host: a\r\nHost: b\r\n"), 400),
        ("two equal Host", host("Host: a\r\nhost: a\r\n"), 400),
        ("two Host in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n".to_vec(), 400),
        ("an empty Host", host("Host:\r\n"), 400),
        ("a Host that is a list", host("Host: a, b\r\n"), 400),
        ("a Host that is a URI", host("Host: http://a\r\n"), 400),
        ("a Host with a user name", host("Host: user@a\r\n"), 400),
        ("a Host that is not UTF-8", b"GET / HTTP/1.0\r\nHost: \xe9\r\n\r\n".to_vec(), 400),
        ("another expectation", with("Expect: 200-ok\r\n"), 417),
        ("another expectation in a list", with("Expect: 100-continue, gzip\r\n"), 417),
        ("a length of 65 bits", with("Content-Length: 18446744073709551616\r\n"), 413),
        ("a coding before chunked", with("Transfer-Encoding: gzip, chunked\r\n"), 501),
        ("chunked twice, behind a coding", with("Transfer-Encoding: gzip, chunked, chunked\r\n"), 400),
        ("an empty coding before chunked", with("Transfer-Encoding: , chunked\r\n"), 400),
        (
            "a coding before chunked, in two fields",
            with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
            501,
        ),
    ];
    for (name, bytes, status) in table {
        assert_eq!(refused(&bytes, &LIMITS).map(|(status, _)| status), Some(status), "{name}");
    }
}

/// Neither 16 KiB nor ten seconds have to pass before such a peer is refused.
#[test]
fn refuses_garbage_at_its_first_wrong_byte() {
    let table: &[(&str, &[u8], usize)] = &[
        ("TLS: a client hello", b"\x16\x03\x01\x02\x00\x01\x00", 1),
        ("a bare LF", b"\n", 1),
        ("NUL", b"\0\0\0\0", 1),
        ("telnet: a negotiation", b"\xff\xfd\x01", 1),
        ("an SSH client", b"SSH-2.0-OpenSSH_9.6\r\n", 20),
        ("a line of a chat", b"hola a todos\r\n", 8),
        ("a word without an end", b"GETGETGETGETGETGETGETGETGETGETGETGET", 33),
        ("a third empty line", b"\r\n\r\n\r\n", 5),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 14),
        ("a bare LF in the fields", b"GET / HTTP/1.1\r\nA: b\nC", 21),
        ("a folded field", b"GET / HTTP/1.1\r\nA: b\r\n c", 23),
    ];
    for (name, bytes, len) in table {
        assert_eq!(refused(bytes, &LIMITS).map(|(_, len)| len), Some(*len), "{name}");
    }
}

#[test]
fn limits_heads() {
    let limits = HeadLimits { bytes: 60, headers: 3 };
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A:\r\n".repeat(count)).into_bytes();
    let value = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "v".repeat(len)).into_bytes();
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "t".repeat(len)).into_bytes();
    type Row<'a> = (&'a str, Vec<u8>, Option<(u16, usize)>);
    let table: Vec<Row> = vec![
        ("as many fields as there may be", fields(2), None),
        ("a field more: at its first byte", fields(3), Some((431, 34))),
        ("as many bytes as there may be", value(28), None),
        ("a byte more", value(29), Some((431, 60))),
        ("many bytes more", value(10_000), Some((431, 60))),
        ("a target that fills the head", target(33), None),
        ("a target and the rest", target(34), Some((431, 60))),
        ("a target that is too long alone", target(55), Some((414, 60))),
        ("a target of many bytes", target(10_000), Some((414, 60))),
        (
            "a head without an end",
            b"GET / HTTP/1.1\r\nA: this has the length of the limit, without CR".to_vec(),
            Some((431, 60)),
        ),
    ];
    for (name, bytes, want) in table {
        assert_eq!(refused(&bytes, &limits), want, "{name}");
    }
    let default = HeadLimits::default();
    assert_eq!(refused(&fields(99), &default), None, "100 fields with Host");
    assert_eq!(refused(&fields(100), &default).map(|(status, _)| status), Some(431));
    assert_eq!(refused(&value(16_384), &default), Some((431, 16_384)));
    let huge = HeadLimits { bytes: usize::MAX, headers: usize::MAX };
    assert_eq!(parse_request(&fields(33_000), &huge).map(|_| ()).map_err(|refusal| refusal.status.as_u16()), Err(431));
}

/// A pipeline of all framings, with data that looks like the end of a head.
const PIPELINE: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n\r\n\r\nGET\r\nPUT /b HTTP/1.1\r\nHost: a\r\n\
    Transfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\nX: y\r\n\r\nGET /c HTTP/1.0\r\n\r\n";

#[test]
fn where_the_reads_fall_does_not_matter() {
    let (requests, end) = read_requests(&[PIPELINE], &LIMITS);
    assert_eq!(end, End::Clean);
    let short: Vec<_> = requests.iter().map(|one| (one.method().as_str(), one.path(), one.body())).collect();
    assert_eq!(short, [("POST", "/a", &b"\r\n\r\nGET"[..]), ("PUT", "/b", b"\r\n\r\n"), ("GET", "/c", b"")]);
    for i in 0..=PIPELINE.len() {
        for j in i..=PIPELINE.len() {
            let chunks = [&PIPELINE[..i], &PIPELINE[i..j], &PIPELINE[j..]];
            assert_eq!(read_requests(&chunks, &LIMITS), (requests.clone(), End::Clean), "cut at {i} and {j}");
        }
    }
    let bytes: Vec<&[u8]> = PIPELINE.chunks(1).collect();
    assert_eq!(read_requests(&bytes, &LIMITS), (requests, End::Clean), "byte by byte");
}

/// RFC 9110, sections 5.6.1 and 7.8; RFC 9112, section 9.3.
#[test]
fn reads_lists() {
    let table = [
        ("one word", "HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, true),
        ("case", "HTTP/1.1", "connection: UPGRADE\r\nupgrade: WebSocket\r\n", true, true),
        ("a list", "HTTP/1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, websocket\r\n", true, true),
        ("tabs around commas", "HTTP/1.1", "Connection: a\t,\tupgrade\t, b\r\nUpgrade: websocket\r\n", true, true),
        ("no blanks", "HTTP/1.1", "Connection: a,upgrade,b\r\nUpgrade: websocket\r\n", true, true),
        (
            "two fields",
            "HTTP/1.1",
            "Connection: a\r\nConnection: upgrade\r\nUpgrade: x\r\nUpgrade: websocket\r\n",
            true,
            true,
        ),
        ("empty members", "HTTP/1.1", "Connection: ,, upgrade,\r\nUpgrade: ,websocket\r\n", true, true),
        ("a part of a word", "HTTP/1.1", "Connection: upgraded\r\nUpgrade: websocket\r\n", true, false),
        ("another protocol", "HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket2\r\n", true, false),
        ("not in the list", "HTTP/1.1", "Upgrade: websocket\r\n", true, false),
        ("no protocol", "HTTP/1.1", "Connection: upgrade\r\n", true, false),
        ("HTTP/1.0", "HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false, false),
        ("close", "HTTP/1.1", "Connection: x, Close\r\n", false, false),
        ("close in a second field", "HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false, false),
        ("keep-alive in HTTP/1.0", "HTTP/1.0", "Connection: Keep-Alive\r\n", true, false),
        ("both in HTTP/1.0", "HTTP/1.0", "Connection: keep-alive, close\r\n", false, false),
        ("nothing in HTTP/1.0", "HTTP/1.0", "", false, false),
        ("nothing", "HTTP/1.1", "", true, false),
    ];
    for (name, version, fields, keeps_alive, upgrades) in table {
        let (got, _) = request(format!("GET / {version}\r\nHost: a\r\n{fields}\r\n").as_bytes());
        assert_eq!((got.keeps_alive(), got.upgrades_to("websocket")), (keeps_alive, upgrades), "{name}");
        let (got, _) =
            response(format!("{version} 101 Switching\r\n{fields}\r\n").as_bytes(), &Method::GET).expect("it is valid");
        let upgrades = upgrades || name == "HTTP/1.0";
        assert_eq!((got.keeps_alive(), got.upgrades_to("websocket")), (keeps_alive, upgrades), "{name}, a response");
    }
    let (got, _) = request(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: a/1, b\r\n\r\n");
    assert!(got.has_token(UPGRADE, "A/1") && !got.has_token(UPGRADE, "a") && !got.has_token(CONNECTION, "b"));
}

/// RFC 9110, section 10.1.1.
#[test]
fn reads_expectations() {
    let table = [
        ("as it is sent", "HTTP/1.1", "Expect: 100-continue\r\n", true),
        ("case", "HTTP/1.1", "expect: 100-Continue\r\n", true),
        ("nothing", "HTTP/1.1", "", false),
        ("an empty field", "HTTP/1.1", "Expect:\r\n", false),
        ("ignored in HTTP/1.0", "HTTP/1.0", "Expect: 100-continue\r\n", false),
    ];
    for (name, version, fields, want) in table {
        let (got, _) = request(format!("PUT / {version}\r\nHost: a\r\n{fields}Content-Length: 1\r\n\r\n").as_bytes());
        assert_eq!(got.expects_continue(), want, "{name}");
    }
}

/// RFC 9112, section 6.3.
#[test]
fn finds_the_framing_of_responses() {
    use Framing::{Chunked, Length, None, UntilClose};
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    let table: &[(&str, Method, &str, Result<Framing, &str>)] = &[
        ("a length", Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Ok(Length(5))),
        ("chunked", Method::GET, chunked, Ok(Chunked)),
        ("neither", Method::GET, "HTTP/1.1 200 OK\r\n", Ok(UntilClose)),
        ("HTTP/1.0", Method::GET, "HTTP/1.0 200 OK\r\n", Ok(UntilClose)),
        ("to HEAD", Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Ok(None)),
        ("to HEAD, chunked", Method::HEAD, chunked, Ok(None)),
        ("100", Method::PUT, "HTTP/1.1 100 Continue\r\n", Ok(None)),
        ("101", Method::GET, "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n", Ok(None)),
        ("204", Method::GET, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n", Ok(None)),
        ("304", Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", Ok(None)),
        ("a tunnel", Method::CONNECT, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Ok(None)),
        ("no tunnel", Method::CONNECT, "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n", Ok(Length(5))),
        (
            "both",
            Method::GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Err("both Content-Length and Transfer-Encoding"),
        ),
        (
            "two lengths",
            Method::GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
            Err("two Content-Length fields"),
        ),
        ("a bad length", Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n", Err("a bad Content-Length")),
        (
            "an unknown coding",
            Method::GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
            Err("Transfer-Encoding does not end with chunked"),
        ),
        (
            "chunked in HTTP/1.0",
            Method::GET,
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
            Err("Transfer-Encoding in HTTP/1.0"),
        ),
    ];
    for (name, method, head, want) in table {
        let got = response(format!("{head}\r\n").as_bytes(), method).map(|(_, framing)| framing);
        assert_eq!(got, *want, "{name}");
    }
}

#[test]
fn parses_responses() {
    let (head, _) = response(b"HTTP/1.1 404 Not Found\r\nServer: a\r\nServer: b\r\n\r\n", &Method::GET).expect("valid");
    assert_eq!((head.status(), head.reason(), head.version()), (StatusCode::NOT_FOUND, "Not Found", Version::HTTP_11));
    assert_eq!((head.header("server"), head.headers().len(), head.keeps_alive()), (Some("a"), 2, true));
    assert!(head.has_token(HeaderName::from_static("server"), "B"));
    let table: &[(&str, &[u8], u16, &str)] = &[
        ("without a reason", b"HTTP/1.1 200 \r\n\r\n", 200, ""),
        ("without the blank, as some servers send it", b"HTTP/1.1 200\r\n\r\n", 200, ""),
        ("a reason that is not ASCII", b"HTTP/1.1 200 \xe9\r\n\r\n", 200, ""),
        ("an unknown status", b"HTTP/1.0 799 Odd one\r\n\r\n", 799, "Odd one"),
    ];
    for (name, bytes, status, reason) in table {
        let (head, _) = response(bytes, &Method::GET).expect(name);
        assert_eq!((head.status().as_u16(), head.reason()), (*status, *reason), "{name}");
    }
}

#[test]
fn refuses_responses() {
    let table: &[(&str, &[u8])] = &[
        ("garbage", b"\x15\x03\x01"),
        ("an empty line", b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
        ("HTTP/2", b"HTTP/2.0 200 OK\r\n\r\n"),
        ("no blank behind the version", b"HTTP/1.1\t200 OK\r\n\r\n"),
        ("no status", b"HTTP/1.1 OK\r\n\r\n"),
        ("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
        ("a status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
        ("a status below 100", b"HTTP/1.1 099 OK\r\n\r\n"),
        ("a bare LF behind the status", b"HTTP/1.1 200 OK\nA: b\r\n\r\n"),
        ("a bare CR in the reason", b"HTTP/1.1 200 O\rK\r\n\r\n"),
        ("NUL in the reason", b"HTTP/1.1 200 O\0K\r\n\r\n"),
        ("a blank before a colon", b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n"),
        ("a blank before the first field", b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n"),
        ("a folded field", b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"),
        ("a bare LF at the end", b"HTTP/1.1 200 OK\r\n\n"),
    ];
    for (name, bytes) in table {
        let (head, _, end) = read_response(&[bytes], &LIMITS, &Method::GET);
        assert!(head.is_none() && matches!(end, End::Mistake(_)), "{name}: {end:?}");
        let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read_response(&one_by_one, &LIMITS, &Method::GET).2, end, "{name}, byte by byte");
    }
    let long = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'v'; 16_384]].concat();
    assert!(matches!(read_response(&[&long], &LIMITS, &Method::GET).2, End::Mistake(_)), "a long head");
}

/// The bytes behind a 101 belong to the next protocol.
#[test]
fn bytes_behind_a_101_are_not_used() {
    let wire = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01a";
    let (head, framing, used) =
        parse_response(wire, &LIMITS, &Method::GET).expect("it is valid").expect("it is complete");
    assert!(head.upgrades_to("websocket") && framing == Framing::None);
    assert_eq!(&wire[used..], b"\x81\x01a");
}

#[test]
fn errors_are_shown_with_their_status() {
    let refusal = parse_request(b"\0", &LIMITS).expect_err("it is refused");
    assert_eq!(refusal.to_string(), "400 Bad Request: not a head of HTTP/1.1");
    let malformed = parse_response(b"\0", &LIMITS, &Method::GET).expect_err("it is refused");
    assert_eq!(malformed.to_string(), "malformed response: not a head of HTTP/1.1");
}

/// Parts of requests, most of them valid.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fixed: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST /b?c HTTP/1.1\r\nHost: a:1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: 4\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"4\r\nhola\r\n0\r\n\r\n",
        b"\r\n",
        b"\r\n",
        b"hola",
        b"\r",
        b"\n",
        b" ",
        b":",
    ];
    prop_oneof![
        12 => prop::sample::select(fixed).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn heads_hold_their_properties(
        limits in prop_oneof![3 => Just(0u8), 1 => any::<u8>()],
        cuts in prop::collection::vec(0u8..40, 0..8),
        pieces in prop::collection::vec(piece(), 0..10),
    ) {
        let mut input = vec![limits, cuts.len() as u8];
        input.extend_from_slice(&cuts);
        input.extend(pieces.concat());
        crate::http::properties::hold_for_heads(&input);
    }
}
