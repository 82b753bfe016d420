//! Upgrades to another protocol.

use std::io::Write;

use bucle::Loop;
use bucle::http::{Exchange, HeaderMap, HeaderValue};
use bucle::net;

use super::{Running, read_to_end, read_until};

/// Upgrades to a protocol that sends everything back in capitals.
pub(crate) fn shout(lp: &mut Loop, exchange: Exchange) {
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("b"));
    headers.insert("connection", HeaderValue::from_static("close"));
    let shout = net::on()
        .data(|lp, socket, chunk| {
            socket.write(lp, chunk.to_ascii_uppercase());
        })
        .end(|lp, socket| socket.end(lp));
    exchange.upgrade(lp, &HeaderValue::from_static("shout"), &headers, shout);
}

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\nx-a: b\r\n\r\n";

#[test]
fn bytes_behind_the_request_belong_to_the_new_protocol() {
    let running = Running::with_defaults();
    for path in ["/shout", "/shout-later"] {
        for rest in ["", "ho", "hola"] {
            let mut client = running.connect();
            write!(client, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: x, upgrade\r\nUpgrade: shout\r\n\r\n{rest}")
                .expect("it reads");
            assert_eq!(read_until(&mut client, "\r\n\r\n"), ANSWER);
            client.write_all(&b"hola!"[rest.len()..]).expect("it reads");
            assert_eq!(read_until(&mut client, "!"), "HOLA!", "{path}, {rest:?} behind the request");
            client.shutdown(std::net::Shutdown::Write).expect("a socket");
            assert_eq!(read_to_end(&mut client), "");
        }
        while let Ok(event) = running.events.try_recv() {
            assert_eq!(event, format!("upgrade {path}"), "the handler of the old protocol gets nothing more");
        }
    }
}

#[test]
fn a_request_for_an_upgrade_may_be_answered_in_another_way() {
    let running = Running::with_defaults();
    let upgrade = "Connection: upgrade\r\nUpgrade: shout\r\n";
    let answers = running.send(&format!(
        "GET /twice HTTP/1.1\r\nHost: a\r\n{upgrade}\r\nGET /later HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n\
         GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    let bodies: Vec<&str> = answers.split("\r\n\r\n").skip(1).collect();
    assert!(matches!(bodies[..], [one, two, ""] if one.starts_with("once") && two.starts_with("/later")), "{answers}");
    let events: Vec<String> = (0..5).map(|_| running.event()).collect();
    assert_eq!(events[..2], ["upgrade /twice", "GET /twice"]);
    assert_eq!(events[2..], ["upgrade /later", "GET /later", "GET /echo"]);
}

/// RFC 9110, 15.5.22: an answer 426 must name the protocol.
#[test]
fn an_answer_may_name_the_protocol_that_is_required() {
    let running = Running::with_defaults();
    for (version, more, connection) in
        [("1.1", "", "Upgrade"), ("1.1", "Connection: close\r\n", "Upgrade, close"), ("1.0", "", "Upgrade, close")]
    {
        let answer = running.converse(&format!("GET /upgrade-required HTTP/{version}\r\nHost: a\r\n{more}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("\r\nupgrade: shout\r\n"), "{answer}");
        assert!(answer.contains(&format!("\r\nConnection: {connection}\r\n")), "{answer}");
    }
}
