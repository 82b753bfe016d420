//! Requests and their answers.

use std::io::Write;
use std::net::Shutdown;

use super::{Running, read_to_end, read_until, without_date};

const GET: &str = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn an_answer_has_a_length_and_a_date_and_the_connection_stays_open() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    for _ in 0..3 {
        client.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhola").expect("it reads");
        let answer = read_until(&mut client, "hola");
        assert_eq!(without_date(&answer), "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhola");
    }
}

#[test]
fn answers_by_method_and_status_have_a_body_or_none() {
    let running = Running::with_defaults();
    let table = [
        ("HEAD has the length of the body", "HEAD /twice", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"),
        ("204 has no length", "GET /empty", "HTTP/1.1 204 No Content\r\nx-a: b\r\n"),
        ("a second answer is not sent", "GET /twice", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"),
        (
            "not found",
            "GET /no?x=1",
            "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain; charset=utf-8\r\nContent-Length: 7\r\n",
        ),
    ];
    for (name, line, head) in table {
        let answer = without_date(&running.send(&format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")));
        let body = if line.contains("GET /twice") { "once" } else { "" };
        let body = if line.contains("/no") { "no /no\n" } else { body };
        assert_eq!(answer, format!("{head}Connection: close\r\n\r\n{body}"), "{name}");
    }
}

#[test]
fn the_connection_closes_when_either_side_says_so() {
    let running = Running::with_defaults();
    let table = [
        ("1.1", "", true, ""),
        ("1.1", "Connection: close\r\n", false, "Connection: close\r\n"),
        ("1.1", "Connection: x, Close\r\n", false, "Connection: close\r\n"),
        ("1.0", "", false, "Connection: close\r\n"),
        ("1.0", "Connection: keep-alive\r\n", true, "Connection: keep-alive\r\n"),
    ];
    for (version, header, stays, answered) in table {
        let mut client = running.connect();
        write!(client, "GET /twice HTTP/{version}\r\nHost: a\r\n{header}\r\n").expect("it reads");
        let answer = without_date(&read_until(&mut client, "once"));
        assert_eq!(answer, format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n{answered}\r\nonce"), "{version} {header}");
        if stays {
            client.write_all(GET.as_bytes()).expect("it is open");
            read_until(&mut client, "\r\n\r\n");
        } else {
            assert_eq!(read_to_end(&mut client), "");
        }
    }
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let running = Running::with_defaults();
    let paths = ["/later?1", "/echo", "/stream", "/later?2", "/twice"];
    let requests: String = paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).concat();
    let want = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n/later?1\
        HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n/later?2\
        HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nonce";
    // In one write, and in pieces that end anywhere.
    for piece in [requests.len(), 1, 7, 50] {
        let mut client = running.connect();
        client.set_nodelay(true).expect("a socket");
        for piece in requests.as_bytes().chunks(piece) {
            client.write_all(piece).expect("it reads");
        }
        assert_eq!(without_date(&read_until(&mut client, "\r\n\r\nonce")), want, "in pieces of {piece} bytes");
    }
}

#[test]
fn requests_before_a_fin_are_answered_before_the_servers_fin() {
    let running = Running::with_defaults();
    let answers = running.converse(
        &["/later?1", "/later?2", "/twice"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).concat(),
    );
    let want = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n/later?1\
        HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n/later?2\
        HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nonce";
    assert_eq!(without_date(&answers).replace("Connection: close\r\n", ""), want);
}

#[test]
fn a_body_by_length_or_in_chunks_is_received_whole() {
    let running = Running::with_defaults();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let body = "x".repeat(100_000);
    let by_length = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n186A0;a=b\r\n{body}\r\n0\r\nx: y\r\n\r\n");
    for request in [by_length, chunked] {
        let answer = running.send(&request);
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{} bytes", answer.len());
        assert_eq!([running.event(), running.event()], ["head /echo", "POST /echo"]);
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it_unless_it_is_refused() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    client
        .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .expect("it reads");
    assert_eq!(read_until(&mut client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hola").expect("it reads");
    assert!(read_until(&mut client, "hola").starts_with("HTTP/1.1 200 OK\r\n"));
    let refused =
        running.send("POST /forbidden HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("\r\nConnection: close\r\n"), "{refused}");
}

#[test]
fn a_stream_is_chunked_and_for_http_1_0_it_ends_with_the_connection() {
    let running = Running::with_defaults();
    let chunked = running.send("GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(chunked.ends_with("\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"), "{chunked}");
    let plain = running.send("GET /stream HTTP/1.0\r\n\r\n");
    assert!(plain.ends_with("\r\nConnection: close\r\n\r\nonethree") && !plain.contains("chunked"), "{plain}");
    let head = running.send("HEAD /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.ends_with("\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"), "{head}");
}

#[test]
fn events_are_streamed_until_their_reader_goes() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    client.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    let events = read_until(&mut client, "lines\n\n\r\n");
    assert!(events.contains("content-type: text/event-stream\r\n"), "{events}");
    assert!(events.ends_with("\r\ndata: hola\n\n\r\n23\r\nevent: news\ndata: two\ndata: lines\n\n\r\n"), "{events}");
    client.shutdown(Shutdown::Write).expect("a socket");
    assert!(read_to_end(&mut client).ends_with("0\r\n\r\n"));
    assert_eq!([running.event(), running.event()], ["GET /events", "end"]);
}

#[test]
fn a_file_is_sent_once_and_then_known_by_its_etag() {
    let running = Running::with_defaults();
    let get = |method: &str, header: &str| {
        running.send(&format!("{method} /asset HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}\r\n"))
    };
    let answer = get("GET", "");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n¡Bienvenido!"), "{answer}");
    assert!(answer.contains("x-extra: yes\r\n") && answer.contains("cache-control: no-cache\r\n"), "{answer}");
    let etag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an etag");
    let table = [
        ("the same", format!("If-None-Match: {etag}\r\n"), "304"),
        ("weak, in a list", format!("If-None-Match: \"x\", W/{etag}\r\n"), "304"),
        ("any", "If-None-Match: *\r\n".to_owned(), "304"),
        ("another", "If-None-Match: \"x\"\r\n".to_owned(), "200"),
    ];
    for (name, header, status) in table {
        let answer = get("GET", &header);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
        assert_eq!(answer.contains("¡Bienvenido!"), status == "200", "{name}");
    }
    assert!(get("HEAD", "").contains("Content-Length: 13\r\n"));
    let refused = get("POST", "");
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD\r\n"), "{refused}");
}

#[test]
fn a_client_that_goes_before_its_answer_is_reported() {
    let running = Running::with_defaults();
    let mut client = running.connect();
    client.write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    assert_eq!(running.event(), "GET /never");
    socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).expect("a socket");
    drop(client);
    assert_eq!(running.event(), "abort");
}
