//! Lesson 35, a page about the loop of the program.

use std::net::TcpStream;
use std::sync::mpsc::TryRecvError;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, reset, rest_of, send};

/// The inspector of the lesson: its port and its token.
struct Page(u16, String);

impl Page {
    /// Sends a command, and returns the snapshot that answers it.
    fn control(&self, command: &str) -> serde_json::Value {
        let Page(port, token) = self;
        let stream: TcpStream = connect(*port);
        let length = command.len();
        let head = format!("POST /control HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n");
        send(&stream, format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{command}"));
        let answer = String::from_utf8(rest_of(&stream)).expect("it is text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).expect("it is JSON")
    }

    fn step(&self) -> serde_json::Value {
        self.control(r#"{"do":"step","unit":"callback"}"#)
    }
}

fn start() -> (Lesson, u16, Page) {
    let lesson = Lesson::start("35_live_page", &["0", "0"]);
    let port_of = |line: &str| line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let port = port_of(&lesson.next_line());
    let line = lesson.next_line();
    let (address, token) = line.split_once("/?t=").expect("a URL with a token");
    let page = Page(port_of(address), token.to_owned());
    (lesson, port, page)
}

#[test]
fn live_page_holds_each_callback_until_it_is_stepped() {
    let (lesson, port, page) = start();
    let client = connect(port);
    // The connection is accepted when its first answer has come.
    send(&client, "hey");
    expect(&client, "hey");
    for line in ["on_data: 3 bytes", "tick", "immediate", "timer: the answer is written"] {
        assert_eq!(lesson.next_line(), line);
    }
    let mut now = page.control(r#"{"do":"pause"}"#);
    send(&client, "hola\n");
    for (kind, line) in [
        ("on_data", "on_data: 5 bytes"),
        ("tick", "tick"),
        ("immediate", "immediate"),
        ("timer", "timer: the answer is written"),
    ] {
        while now["next"]["kind"] == "wait" || now["state"] == "stepping" {
            now = if now["state"] == "stepping" { page.control(r#"{"do":"pause"}"#) } else { page.step() };
        }
        assert_eq!(now["next"]["kind"], kind, "{now}");
        assert_eq!(lesson.stdout.try_recv(), Err(TryRecvError::Empty), "{kind} is held");
        now = page.step();
        assert_eq!(lesson.next_line(), line);
    }
    page.control(r#"{"do":"resume"}"#);
    expect(&client, "hola\n");
}

#[test]
fn live_page_survives_clients_that_reset() {
    let (lesson, port, _page) = start();
    let [client, other] = [connect(port), connect(port)];
    send(&client, "hola");
    lesson.wait_for_line("on_data: 4 bytes");
    reset(client);
    lesson.wait_for_line("timer: the answer is written");
    send(&other, "hey");
    expect(&other, "hey");
}
