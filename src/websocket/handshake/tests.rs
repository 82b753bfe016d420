use std::error::Error;

use ::http::header::HeaderName;
use ::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use proptest::prelude::*;

use super::server::is_key;
use super::*;
use crate::websocket::deflate::{BadAnswer, DeflateOptions, Params};

/// The key of RFC 6455, 1.3, and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Headers from lines `name: value`.
fn headers(lines: &[&str]) -> HeaderMap {
    let field = |line: &&str| {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a legal value");
        (name.parse::<HeaderName>().expect("a legal name"), value)
    };
    lines.iter().map(field).collect()
}

/// The request of RFC 6455, 1.2, without `Host`, which is passed separately.
const SAMPLE: [&str; 6] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Origin: http://example.com",
    "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Version: 13",
];

/// The sample without the header of `name`, with `lines` in its place.
fn sample_with(name: &str, lines: &[&str]) -> HeaderMap {
    let others = SAMPLE.iter().filter(|line| !line.starts_with(&format!("{name}: ")));
    headers(&others.chain(lines).copied().collect::<Vec<_>>())
}

fn check(headers: &HeaderMap) -> Result<Opening, Refused> {
    let host = Some("server.example.com");
    check_request(RequestParts { method: &Method::GET, version: Version::HTTP_11, headers, host })
}

#[test]
fn the_sample_of_rfc_6455_section_1_2_is_accepted() {
    let opening = check(&headers(&SAMPLE)).expect("a good request");
    assert_eq!(opening.accept, ACCEPT);
    assert_eq!(opening.protocols, ["chat", "superchat"]);
}

#[test]
fn legal_variants_are_accepted() {
    let table: &[(&str, &str, &[&str])] = &[
        ("capitals", "Upgrade", &["Upgrade: WebSocket"]),
        ("an upgrade to one of several", "Upgrade", &["Upgrade: h2c, websocket"]),
        ("Firefox: a list", "Connection", &["Connection: keep-alive, Upgrade"]),
        ("a list with tabs", "Connection", &["Connection: keep-alive\t,\tupgrade"]),
        ("a list in two headers", "Connection", &["Connection: keep-alive", "Connection: Upgrade"]),
        ("a list with empty elements", "Connection", &["Connection: ,,Upgrade,"]),
        ("unused bits in the last character", "Sec-WebSocket-Key", &["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB=="]),
        ("all characters of base64", "Sec-WebSocket-Key", &["Sec-WebSocket-Key: +/09azAZ+/09azAZ+/09aw=="]),
        ("no subprotocols", "Sec-WebSocket-Protocol", &[]),
        ("no origin", "Origin", &[]),
        ("extensions that nobody knows", "Origin", &["Sec-WebSocket-Extensions: foo; bar=1"]),
    ];
    for (name, replaced, lines) in table {
        assert!(check(&sample_with(replaced, lines)).is_ok(), "{name}");
    }
}

#[test]
fn subprotocols_keep_the_client_s_order() {
    let lines = ["Sec-WebSocket-Protocol: b,a", "Sec-WebSocket-Protocol:  ,C.1\t, A"];
    let opening = check(&sample_with("Sec-WebSocket-Protocol", &lines)).expect("a good request");
    assert_eq!(opening.protocols, ["b", "a", "C.1", "A"]);
}

#[test]
fn other_requests_are_refused() {
    let table: &[(&str, u16, &str, &[&str])] = &[
        ("no upgrade", 426, "Upgrade", &[]),
        ("another upgrade", 426, "Upgrade", &["Upgrade: h2c"]),
        ("a part of the token", 426, "Upgrade", &["Upgrade: websockets"]),
        ("no connection", 400, "Connection", &[]),
        ("a proxy's connection", 400, "Connection", &["Connection: close"]),
        ("a part of the token", 400, "Connection", &["Connection: no-upgrade"]),
        ("no version", 426, "Sec-WebSocket-Version", &[]),
        ("an old version", 426, "Sec-WebSocket-Version", &["Sec-WebSocket-Version: 8"]),
        ("a list of versions", 426, "Sec-WebSocket-Version", &["Sec-WebSocket-Version: 13, 8"]),
        ("the version with a zero", 426, "Sec-WebSocket-Version", &["Sec-WebSocket-Version: 013"]),
        ("two versions", 426, "Sec-WebSocket-Version", &["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"]),
        ("no key", 400, "Sec-WebSocket-Key", &[]),
        ("an empty key", 400, "Sec-WebSocket-Key", &["Sec-WebSocket-Key: "]),
        ("two keys", 400, "None", &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]),
        ("a key of 15 bytes", 400, "Sec-WebSocket-Key", &["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"]),
        ("a key of 17 bytes", 400, "Sec-WebSocket-Key", &["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="]),
        ("a key without padding", 400, "Sec-WebSocket-Key", &["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA"]),
        ("a key with a blank", 400, "Sec-WebSocket-Key", &["Sec-WebSocket-Key: AAAAAAAAAA AAAAAAAAAAA=="]),
        ("a key in base64url", 400, "Sec-WebSocket-Key", &["Sec-WebSocket-Key: -_09azAZ+/09azAZ+/09aw=="]),
        ("a key that is not ASCII", 400, "Sec-WebSocket-Key", &["Sec-WebSocket-Key: ñAAAAAAAAAAAAAAAAAAAA=="]),
        ("a subprotocol twice", 400, "Sec-WebSocket-Protocol", &["Sec-WebSocket-Protocol: a, b, a"]),
        ("a subprotocol in two headers", 400, "None", &["Sec-WebSocket-Protocol: chat"]),
        ("a subprotocol with a blank", 400, "Sec-WebSocket-Protocol", &["Sec-WebSocket-Protocol: a b"]),
        ("a subprotocol with a delimiter", 400, "Sec-WebSocket-Protocol", &["Sec-WebSocket-Protocol: a/b"]),
        ("a subprotocol that is not ASCII", 400, "Sec-WebSocket-Protocol", &["Sec-WebSocket-Protocol: ñ"]),
        ("malformed extensions", 400, "None", &["Sec-WebSocket-Extensions: permessage-deflate;"]),
    ];
    for (name, status, replaced, lines) in table {
        let refused = check(&sample_with(replaced, lines)).expect_err(name);
        assert_eq!(refused.status.as_u16(), *status, "{name}");
    }
}

#[test]
fn method_version_and_host_are_checked() {
    let headers = headers(&SAMPLE);
    let good = RequestParts { method: &Method::GET, version: Version::HTTP_11, headers: &headers, host: Some("a") };
    assert!(check_request(good).is_ok());
    let table = [
        ("POST", 405, RequestParts { method: &Method::POST, ..good }),
        ("HTTP/1.0", 505, RequestParts { version: Version::HTTP_10, ..good }),
        ("HTTP/2", 505, RequestParts { version: Version::HTTP_2, ..good }),
        ("no host", 400, RequestParts { host: None, ..good }),
        ("an empty host", 400, RequestParts { host: Some(""), ..good }),
    ];
    for (name, status, parts) in table {
        assert_eq!(check_request(parts).expect_err(name).status.as_u16(), status, "{name}");
    }
}

#[test]
fn a_refusal_names_what_the_client_can_do() {
    let named = |refused: Refused| -> Vec<String> {
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        refused.headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
    };
    let plain = check(&sample_with("Upgrade", &[])).expect_err("no handshake");
    assert_eq!(plain.to_string(), "426: this address is for WebSocket connections");
    assert_eq!(named(plain), ["upgrade: websocket"]);
    let old = check(&sample_with("Sec-WebSocket-Version", &[])).expect_err("no version");
    assert_eq!(named(old), ["upgrade: websocket", "sec-websocket-version: 13"], "RFC 6455, 4.4");
    let headers = headers(&SAMPLE);
    let post = RequestParts { method: &Method::POST, version: Version::HTTP_11, headers: &headers, host: Some("a") };
    assert_eq!(named(check_request(post).expect_err("a POST")), ["allow: GET"]);
}

#[test]
fn the_client_s_order_of_subprotocols_decides() {
    let names = |list: &[&str]| list.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let table: &[(&[&str], &[&str], Option<&str>)] = &[
        (&["b", "a"], &["a", "b"], Some("b")),
        (&["x", "a"], &["a", "b"], Some("a")),
        (&["A"], &["a"], None),
        (&[], &["a"], None),
        (&["a"], &[], None),
    ];
    for (offered, supported, want) in table {
        assert_eq!(choose_protocol(&names(offered), &names(supported)).as_deref(), *want, "{offered:?} {supported:?}");
    }
}

#[test]
fn origins_are_compared_with_the_host() {
    let list =
        || Origins::List(["https://Example.com", "http://localhost:3000", "null", "app://x"].map(String::from).into());
    // The origin, the host, and whether each of `SameHost` and the list allows it.
    let table: &[(&str, &str, bool, bool)] = &[
        ("http://127.0.0.1:8081", "127.0.0.1:8081", true, true),
        ("https://chat.example.com", "chat.example.com", true, true),
        ("HTTP://Chat.Example.com", "chat.EXAMPLE.com", true, true),
        ("http://a", "a:80", true, true),
        ("http://a:80", "a", true, true),
        ("https://a", "a:443", true, true),
        ("https://a:443", "a", true, true),
        ("http://[::1]:8081", "[::1]:8081", true, true),
        ("http://[::1]", "[::1]:80", true, true),
        ("http://a", "a:443", false, false),
        ("https://a", "a:80", false, false),
        ("http://a:8080", "a:80", false, false),
        ("http://a:8080", "a", false, false),
        ("http://evil.example", "a", false, false),
        ("http://a.evil.example", "a", false, false),
        ("http://evila", "a", false, false),
        ("http://a@evil.example", "a", false, false),
        ("http://a/", "a", false, false),
        ("http://a, http://b", "a", false, false),
        ("ftp://a", "a", false, false),
        ("a", "a", false, false),
        ("http://", "", false, false),
        ("", "", false, false),
        ("://", "", false, false),
        ("null", "a", false, true),
        ("null", "null", false, true),
        ("https://example.com", "a", false, true),
        ("https://example.com:443", "a", false, true),
        ("http://example.com", "a", false, false),
        ("https://example.com:444", "a", false, false),
        ("http://localhost:3000", "a", false, true),
        ("http://localhost", "a", false, false),
        ("app://x", "a", false, true),
        ("app://x:80", "a", false, false),
        ("ñ", "ñ", false, false),
    ];
    for (origin, host, is_same, is_listed) in table {
        let headers = headers(&[&format!("Origin: {origin}")]);
        let is_allowed = |origins| check_origin(&headers, Some(host), &origins).is_ok();
        assert_eq!(is_allowed(Origins::SameHost), *is_same, "{origin} at {host}");
        assert_eq!(is_allowed(list()), *is_listed, "{origin} at {host}, with a list");
        assert!(is_allowed(Origins::Any), "{origin} at {host}, any");
    }
}

#[test]
fn no_origin_is_allowed_and_two_are_not() {
    for origins in [Origins::Any, Origins::SameHost, Origins::List(Vec::new())] {
        assert_eq!(check_origin(&headers(&[]), None, &origins), Ok(()), "{origins:?}");
        let two = headers(&["Origin: http://a", "Origin: http://a"]);
        let refused = check_origin(&two, Some("a"), &origins).expect_err("two origins");
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{origins:?}");
    }
    let one = headers(&["Origin: http://a"]);
    let refused = check_origin(&one, None, &Origins::SameHost).expect_err("no host to compare with");
    assert_eq!(refused.to_string(), "403: this origin is not allowed");
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("ASCII")
}

#[test]
fn a_response_is_written_whole() {
    let plain = text(response(ACCEPT, None, None, &HeaderMap::new()));
    let start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    assert_eq!(plain, format!("{start}\r\n"), "RFC 6455, 1.2");
    let extra = headers(&[
        "Set-Cookie: a=1",
        "Set-Cookie: b=2",
        "Connection: close",
        "Upgrade: h2c",
        "Sec-WebSocket-Accept: x",
        "Sec-WebSocket-Protocol: x",
        "Sec-WebSocket-Extensions: x",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Server: bucle",
    ]);
    let full = text(response(ACCEPT, Some("chat"), Some("permessage-deflate"), &extra));
    let rest = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
        set-cookie: a=1\r\nset-cookie: b=2\r\nserver: bucle\r\n\r\n";
    assert_eq!(full, format!("{start}{rest}"));
}

#[test]
fn urls_are_taken_apart() {
    let table = [
        ("ws://a", ("a", 80, "a", "/")),
        ("WS://a/", ("a", 80, "a", "/")),
        ("ws://a:80/chat", ("a", 80, "a", "/chat")),
        ("ws://a:8080/chat?room=1&x=%20", ("a", 8080, "a:8080", "/chat?room=1&x=%20")),
        ("ws://a?x=1", ("a", 80, "a", "/?x=1")),
        ("ws://a:/", ("a", 80, "a", "/")),
        ("ws://a:1/", ("a", 1, "a:1", "/")),
        ("ws://a:65535", ("a", 65535, "a:65535", "/")),
        ("ws://127.0.0.1:8081/ws", ("127.0.0.1", 8081, "127.0.0.1:8081", "/ws")),
        ("ws://[::1]/", ("::1", 80, "[::1]", "/")),
        ("ws://[2001:db8::1]:8081/ws", ("2001:db8::1", 8081, "[2001:db8::1]:8081", "/ws")),
        ("ws://a/path:with@signs", ("a", 80, "a", "/path:with@signs")),
    ];
    for (url, (host, port, authority, path)) in table {
        let want =
            Target { host: host.to_owned(), port, authority: authority.to_owned(), path_and_query: path.to_owned() };
        assert_eq!(parse_url(url), Ok(want), "{url}");
    }
}

#[test]
fn other_urls_are_refused() {
    use BadUrl::*;
    let table = [
        ("", Scheme),
        ("a", Scheme),
        ("a:8081/ws", Scheme),
        ("ws:a", Scheme),
        ("http://a", Scheme),
        ("https://a", Scheme),
        (" ws://a", Scheme),
        ("wss://a", Tls),
        ("WSS://a", Tls),
        ("ws://", Malformed),
        ("ws:///chat", Malformed),
        ("ws://:80", Malformed),
        ("ws://[]", Malformed),
        ("ws://[::1", Malformed),
        ("ws://a b", Malformed),
        ("ws://a/b c", Malformed),
        ("ws://a/\r\nX: y", Malformed),
        ("ws://a/ñ", Malformed),
        ("ws://ñ", Malformed),
        ("ws://a:0", Port),
        ("ws://a:65536", Port),
        ("ws://a:99999999999", Port),
        ("ws://user@a", UserInfo),
        ("ws://user:password@a:80", UserInfo),
        ("ws://a/#x", Fragment),
        ("ws://a#", Fragment),
    ];
    for (url, want) in table {
        assert_eq!(parse_url(url), Err(want), "{url}");
    }
    for url in [
        "ws://a:x",
        "ws://a:+80",
        "ws://a:-1",
        "ws://a:8 0",
        "ws://a:80:80",
        "ws://[::1]80",
        "ws://[::1]8080",
        "ws://[::1]:x",
    ] {
        assert!(matches!(parse_url(url), Err(Port | Malformed)), "{url}: {:?}", parse_url(url));
    }
}

#[test]
fn the_request_is_written_whole_and_a_server_accepts_it() {
    let target = parse_url("ws://server.example.com/chat?room=1").expect("a good URL");
    let protocols = ["chat", "superchat"].map(str::to_owned);
    let extra = headers(&["Origin: http://example.com", "Host: x", "Connection: close", "Sec-WebSocket-Key: x"]);
    let head = request(&target, KEY, &protocols, Some("permessage-deflate"), &extra).map(text);
    let want = "GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
        origin: http://example.com\r\n\r\n";
    assert_eq!(head.as_deref(), Ok(want));
    let lines: Vec<&str> = want.trim_end().split("\r\n").skip(1).collect();
    let opening = check(&headers(&lines)).expect("a good request");
    assert_eq!((opening.accept.as_str(), &opening.protocols[..]), (ACCEPT, &protocols[..]));
    let plain = request(&target, KEY, &[], None, &HeaderMap::new()).map(text).expect("a good request");
    assert!(!plain.contains("Protocol") && !plain.contains("Extensions") && plain.ends_with("13\r\n\r\n"));
}

#[test]
fn bad_subprotocols_are_not_offered() {
    let target = parse_url("ws://a").expect("a good URL");
    for protocols in [&["a b"][..], &[""], &["a\r\nX: y"], &["a", "b", "a"]] {
        let protocols: Vec<String> = protocols.iter().map(|name| name.to_string()).collect();
        assert_eq!(request(&target, KEY, &protocols, None, &HeaderMap::new()), Err(BadProtocol), "{protocols:?}");
    }
}

#[test]
fn a_key_is_sixteen_bytes_in_base64() {
    assert_eq!(key(*b"the sample nonce"), KEY, "RFC 6455, 1.3");
    assert!(is_key(&key([0xff; 16])));
}

/// A good answer, without the headers of `name`, with `lines` in their place.
fn answer_with(name: &str, lines: &[&str]) -> HeaderMap {
    let good = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="];
    let others = good.iter().filter(|line| !line.starts_with(&format!("{name}: ")));
    headers(&others.chain(lines).copied().collect::<Vec<_>>())
}

#[test]
fn answers_are_checked_as_in_rfc_6455_section_4_1() {
    use BadResponse::*;
    type Verdict<'a> = Result<Option<&'a str>, BadResponse>;
    let table: &[(&str, &str, &[&str], Verdict)] = &[
        ("a good answer", "None", &[], Ok(None)),
        ("a subprotocol", "None", &["Sec-WebSocket-Protocol: b"], Ok(Some("b"))),
        ("2. no upgrade", "Upgrade", &[], Err(Upgrade)),
        ("2. capitals", "Upgrade", &["Upgrade: WebSocket"], Ok(None)),
        ("2. another upgrade", "Upgrade", &["Upgrade: h2c"], Err(Upgrade)),
        ("2. two upgrades", "Upgrade", &["Upgrade: websocket, h2c"], Err(Upgrade)),
        ("3. no connection", "Connection", &[], Err(Connection)),
        ("3. a list", "Connection", &["Connection: keep-alive, upgrade"], Ok(None)),
        ("3. another connection", "Connection", &["Connection: close"], Err(Connection)),
        ("4. no accept", "Sec-WebSocket-Accept", &[], Err(Accept)),
        ("4. the key itself", "Sec-WebSocket-Accept", &["Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ=="], Err(Accept)),
        (
            "4. in other letters",
            "Sec-WebSocket-Accept",
            &["Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
            Err(Accept),
        ),
        ("4. two answers", "None", &["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="], Err(Accept)),
        (
            "5. an extension",
            "None",
            &["Sec-WebSocket-Extensions: permessage-deflate"],
            Err(Extensions(BadAnswer::NotOffered)),
        ),
        ("5. malformed", "None", &["Sec-WebSocket-Extensions: ;"], Err(Extensions(BadAnswer::Malformed))),
        ("6. a subprotocol that was not offered", "None", &["Sec-WebSocket-Protocol: c"], Err(Protocol)),
        ("6. in other letters", "None", &["Sec-WebSocket-Protocol: A"], Err(Protocol)),
        ("6. two subprotocols", "None", &["Sec-WebSocket-Protocol: a, b"], Err(Protocol)),
        ("6. two headers", "None", &["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"], Err(Protocol)),
    ];
    let offered = ["a", "b"].map(str::to_owned);
    for (name, replaced, lines, want) in table {
        let headers = answer_with(replaced, lines);
        let agreed = check_response(StatusCode::SWITCHING_PROTOCOLS, &headers, KEY, &offered, None);
        let want = want.map(|protocol| Agreed { protocol: protocol.map(str::to_owned), params: None });
        assert_eq!(agreed, want, "{name}");
    }
    for status in [StatusCode::OK, StatusCode::FOUND, StatusCode::UNAUTHORIZED, StatusCode::CONTINUE] {
        let got = check_response(status, &answer_with("None", &[]), KEY, &offered, None);
        assert_eq!(got, Err(Status(status)), "1. {status}");
    }
}

#[test]
fn a_client_learns_the_parameters_of_compression() {
    let options = DeflateOptions::default();
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover";
    let check = |lines: &[&str]| {
        let headers = answer_with("None", lines);
        check_response(StatusCode::SWITCHING_PROTOCOLS, &headers, KEY, &[], Some(&options)).map(|agreed| agreed.params)
    };
    let want = Params {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    assert_eq!(check(&[answer]), Ok(Some(want)));
    assert_eq!(check(&[]), Ok(None));
    let bad = check(&["Sec-WebSocket-Extensions: permessage-deflate"]).expect_err("a parameter is missing");
    assert_eq!(bad, BadResponse::Extensions(BadAnswer::ServerTakeover));
    assert!(bad.source().is_some());
}

proptest! {
    /// A client takes a server's answer to its own key, and no other.
    #[test]
    fn a_client_accepts_the_answer_to_its_own_key(random in any::<[u8; 16]>(), other in any::<[u8; 16]>()) {
        let (mine, others) = (key(random), key(other));
        prop_assert!(is_key(&mine));
        let line = format!("Sec-WebSocket-Accept: {}", accept_key(&mine));
        let headers = answer_with("Sec-WebSocket-Accept", &[&line]);
        let check = |key: &str| check_response(StatusCode::SWITCHING_PROTOCOLS, &headers, key, &[], None);
        prop_assert!(check(&mine).is_ok());
        prop_assert_eq!(check(&others).is_ok(), random == other);
    }

    /// Any text: no panic, and nothing in the target that could break a request line.
    #[test]
    fn a_url_cannot_break_the_request(rest in "[ -~\\r\\n\\t]{0,30}") {
        if let Ok(target) = parse_url(&format!("ws://{rest}")) {
            let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            prop_assert!(is_plain(&target.authority) && is_plain(&target.path_and_query));
            prop_assert!(target.path_and_query.starts_with('/') && !target.host.is_empty());
        }
    }
}
