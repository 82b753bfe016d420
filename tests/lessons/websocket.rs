//! Lessons 26 to 28, WebSocket servers.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, reset, rest_of, send, send_until_stuck};

pub const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The request of RFC 6455, 1.3, for any path.
fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

pub fn open(port: u16, path: &str) -> TcpStream {
    let stream = connect(port);
    send(&stream, request(path));
    expect(&stream, ANSWER);
    stream
}

/// A masked frame. `first` is its first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => frame.extend([&[0xfe], &(len as u16).to_be_bytes()[..]].concat()),
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Reads a frame from a server: its first byte and its payload.
pub fn read_frame(mut stream: &TcpStream) -> (u8, Vec<u8>) {
    let mut read = |len: usize| {
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).expect("the lesson sends a frame");
        bytes
    };
    let header = read(2);
    let len = match header[1] {
        126 => u16::from_be_bytes(read(2).try_into().expect("two bytes")).into(),
        127 => u64::from_be_bytes(read(8).try_into().expect("eight bytes")) as usize,
        len => len.into(),
    };
    (header[0], read(len))
}

pub fn read_text(stream: &TcpStream) -> String {
    let (first, payload) = read_frame(stream);
    assert_eq!(first, TEXT, "{payload:?}");
    String::from_utf8(payload).expect("text is UTF-8")
}

#[test]
fn websocket_by_hand_answers_frames_and_prints_them() {
    let (lesson, port) = Lesson::serve("26_websocket_by_hand");
    let client = connect(port);
    // The first frame comes right behind the request, and all of it in single bytes.
    for byte in [request("/").as_bytes(), b"\x81\x84\x37\xfa\x21\x3d\x5f\x95\x4d\x5c"].concat() {
        send(&client, [byte]);
    }
    expect(&client, ANSWER);
    assert_eq!(read_frame(&client), (TEXT, b"hola".to_vec()));
    send(&client, frame(CLOSE, b"\x03\xe8bye"));
    assert_eq!(read_frame(&client), (CLOSE, b"\x03\xe8".to_vec()));
    assert_eq!(rest_of(&client), b"");
    let printed: Vec<String> = (0..5).map(|_| lesson.next_line()).collect();
    let header = crate::headers::expected("26_websocket_by_hand").replace("code: …", "code: Some(CloseCode(1000))");
    assert_eq!(printed, header.lines().collect::<Vec<_>>());
}

#[test]
fn websocket_by_hand_joins_fragments_and_answers_pings() {
    let (_lesson, port) = Lesson::serve("26_websocket_by_hand");
    let client = open(port, "/");
    let frames = [frame(0x01, b"ho"), frame(PING, b"?"), frame(0x80, "lañ".as_bytes()), frame(BINARY, b"\xff")];
    send(&client, frames.concat());
    assert_eq!(read_frame(&client), (PONG, b"?".to_vec()));
    assert_eq!(read_frame(&client), (TEXT, "holañ".into()));
    assert_eq!(read_frame(&client), (BINARY, vec![0xff]));
    client.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(rest_of(&client), b"");
}

#[test]
fn websocket_by_hand_closes_with_the_code_of_the_rule() {
    let (_lesson, port) = Lesson::serve("26_websocket_by_hand");
    let table: [(&str, Vec<u8>, u16); 6] = [
        ("a frame without a mask", b"\x81\x04hola".to_vec(), 1002),
        ("a continuation of nothing", frame(0x80, b"hola"), 1002),
        ("compression that was not agreed", frame(0xc1, b"hola"), 1002),
        ("text that is not UTF-8", frame(TEXT, b"\xff"), 1007),
        ("a message over 1000 bytes", frame(TEXT, &[b'x'; 1001]), 1009),
        ("a fragmented one", [frame(0x01, &[b'x'; 600]), frame(0x80, &[b'x'; 600])].concat(), 1009),
    ];
    for (name, bytes, code) in table {
        let client = open(port, "/");
        send(&client, bytes);
        let (first, payload) = read_frame(&client);
        assert_eq!((first, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]), "{name}");
        assert_eq!(rest_of(&client), b"", "{name}");
    }
    let table = [
        ("no WebSocket", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "HTTP/1.1 426 "),
        ("another version", request("/").replace("13", "12"), "HTTP/1.1 426 "),
        ("a bad key", request("/").replace("==", "="), "HTTP/1.1 400 "),
        ("no HTTP", "hola\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
    ];
    for (name, request, status) in table {
        let client = connect(port);
        send(&client, request);
        let answer = String::from_utf8_lossy(&rest_of(&client)).into_owned();
        assert!(
            answer.starts_with(status) && answer.contains("\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            "{name}: {answer}"
        );
    }
}

#[test]
fn websocket_by_hand_does_not_read_from_a_client_that_does_not_read() {
    let (_lesson, port) = Lesson::serve("26_websocket_by_hand");
    let [stuck, healthy] = [open(port, "/"), open(port, "/")];
    let frames = frame(TEXT, &[b'x'; 1000]).repeat(40_000);
    let sent = send_until_stuck(&stuck, &frames);
    send(&healthy, frame(TEXT, b"hola"));
    assert_eq!(read_text(&healthy), "hola");
    // The client reads after all: the lesson goes on, and no message is lost.
    let whole = sent / frame(TEXT, &[b'x'; 1000]).len();
    for _ in 0..whole {
        assert_eq!(read_text(&stuck), "x".repeat(1000));
    }
    reset(stuck);
    send(&healthy, frame(TEXT, b"adios"));
    assert_eq!(read_text(&healthy), "adios");
}

#[test]
fn live_board_sends_the_topics_that_were_subscribed_to() {
    let (lesson, port) = Lesson::serve("27_live_board");
    let client = open(port, "/any/path");
    assert_eq!(lesson.next_line(), "#2 is open");
    assert_eq!(read_text(&client), "topics: red, green, blue");
    send(&client, frame(TEXT, b"red"));
    assert_eq!(read_text(&client), "subscribed to: red");
    let beats = [(); 3].map(|()| beat_of(&read_text(&client), "red", 3));
    assert_eq!(beats.map(|beat| beat - beats[0]), [0, 3, 6], "every third beat is red's");
    send(&client, frame(TEXT, b"pink"));
    while read_text(&client) != "there is no such topic" {}
    for (topic, answer) in [("blue", "subscribed to: red, blue"), ("red", "subscribed to: blue")] {
        send(&client, frame(TEXT, topic.as_bytes()));
        while read_text(&client) != answer {}
    }
    beat_of(&read_text(&client), "blue", 3);
    send(&client, frame(BINARY, b"red"));
    let closed = loop {
        match read_frame(&client) {
            (TEXT, _) => {}
            (first, payload) => break (first, payload[..2].to_vec()),
        }
    };
    assert_eq!(closed, (CLOSE, 1003u16.to_be_bytes().to_vec()));
    send(&client, frame(CLOSE, b"\x03\xeb"));
    assert_eq!(rest_of(&client), b"");
    assert_eq!(lesson.next_line(), "#2 has closed: 1003 (unsupported data)");
    reset(open(port, "/"));
    lesson.wait_for_line("#3 has closed: 1006 (abnormal)");
}

/// Reads the beat from a message. The scores of a team have as many points as it had beats.
fn beat_of(message: &str, team: &str, players: usize) -> usize {
    let (head, scores) = message.split_once(": ").unwrap_or_else(|| panic!("{message:?}"));
    let beat: usize = head.strip_prefix(&format!("{team} ")).and_then(|beat| beat.parse().ok()).expect("team and beat");
    let scores: Vec<usize> = scores.split(' ').map(|score| score.parse().expect("a score is a number")).collect();
    assert_eq!((scores.len(), scores.iter().sum()), (players, beat.div_ceil(3)), "the scores belong to their beat");
    beat
}

#[test]
fn live_board_skips_a_slow_subscriber() {
    const PLAYERS: usize = 100_000;
    let lesson = Lesson::start("27_live_board", &["0", &PLAYERS.to_string()]);
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("the first line names the port");
    let [slow, quick] = [open(port, "/"), open(port, "/")];
    for client in [&slow, &quick] {
        assert_eq!(read_text(client), "topics: red, green, blue");
        send(client, frame(TEXT, b"green"));
    }
    let quick = thread::spawn(move || {
        assert_eq!(read_text(&quick), "subscribed to: green");
        // They are examined later, so that this client is quick.
        (0..40).map(|_| read_text(&quick)).collect::<Vec<_>>()
    });
    lesson.wait_for_line("green: 1 skipped, 1 sent");
    assert_eq!(read_text(&slow), "subscribed to: green");
    let mut beats = vec![beat_of(&read_text(&slow), "green", PLAYERS)];
    while beats.windows(2).all(|pair| pair[1] == pair[0] + 3) {
        beats.push(beat_of(&read_text(&slow), "green", PLAYERS));
    }
    assert!(beats.is_sorted(), "a skipped message is skipped whole: {beats:?}");
    let messages = quick.join().expect("the messages of the quick client are whole");
    let beats: Vec<usize> = messages.iter().map(|message| beat_of(message, "green", PLAYERS)).collect();
    assert!(beats.windows(2).all(|pair| pair[1] == pair[0] + 3), "the quick client misses nothing: {beats:?}");
}

/// Starts lesson 28, and returns the ports of telnet and of the page.
fn start_room() -> (Lesson, u16, u16) {
    let lesson = Lesson::start("28_one_room_two_doors", &["0", "0"]);
    let ports = ["listening on 127.0.0.1:", "listening on http://127.0.0.1:"].map(|prefix| {
        let line = lesson.next_line();
        line.strip_prefix(prefix).and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line:?}"))
    });
    (lesson, ports[0], ports[1])
}

#[test]
fn one_room_has_members_by_telnet_and_by_browser() {
    let (_lesson, telnet, web) = start_room();
    let terminal = connect(telnet);
    expect(&terminal, "¡Bienvenido! You are #3\r\n");
    let page = open(web, "/ws");
    assert_eq!(read_text(&page), "¡Bienvenido! You are #4");
    expect(&terminal, "#4 has joined\r\n");
    for piece in ["ho", "la\r", "\n"] {
        send(&terminal, piece);
    }
    send(&page, frame(TEXT, "buenas\r\n#3: ¡adiós\u{1b}[2J".as_bytes()));
    expect(&terminal, "#3: hola\r\n#4: buenas␍␊#3: ¡adiós␛[2J\r\n");
    assert_eq!(read_text(&page), "#3: hola");
    assert_eq!(read_text(&page), "#4: buenas␍␊#3: ¡adiós␛[2J");
    send(&page, frame(CLOSE, b"\x03\xe9"));
    assert_eq!(read_frame(&page), (CLOSE, b"\x03\xe9".to_vec()));
    expect(&terminal, "#4 has left\r\n");
    let other = open(web, "/ws");
    expect(&terminal, "#5 has joined\r\n");
    reset(terminal);
    assert_eq!([read_text(&other), read_text(&other)], ["¡Bienvenido! You are #5", "#3 has left"]);
}

#[test]
fn one_room_has_a_page_of_its_own_and_no_members_from_other_pages() {
    let (_lesson, _telnet, web) = start_room();
    let table = [
        (
            "the page",
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\r\n",
        ),
        ("no upgrade", "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "HTTP/1.1 426 "),
        ("another path", request("/hola").replace("Connection: Upgrade", "Connection: close"), "HTTP/1.1 404 "),
        (
            "a foreign page",
            request("/ws").replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n"),
            "HTTP/1.1 403 ",
        ),
    ];
    for (name, request, status) in table {
        let client = connect(web);
        send(&client, request);
        client.shutdown(Shutdown::Write).expect("the connection is open");
        let answer = String::from_utf8_lossy(&rest_of(&client)).into_owned();
        assert!(answer.starts_with(status), "{name}: {answer}");
        assert_eq!(answer.contains("new WebSocket(`ws://${location.host}/ws`)"), name == "the page", "{name}");
    }
    let own_page = connect(web);
    send(&own_page, request("/ws").replace("\r\n\r\n", "\r\nOrigin: http://localhost\r\n\r\n"));
    expect(&own_page, ANSWER);
}

#[test]
fn one_room_disconnects_a_browser_that_does_not_read() {
    let (_lesson, telnet, web) = start_room();
    let sleeper = open(web, "/ws");
    let talker = open(web, "/ws");
    assert_eq!(read_text(&talker), "¡Bienvenido! You are #4");
    let terminal = connect(telnet);
    expect(&terminal, "¡Bienvenido! You are #5\r\n");
    assert_eq!(read_text(&talker), "#5 has joined");
    let text = "x".repeat(990);
    let messages = frame(TEXT, text.as_bytes()).repeat(64);
    let has_left = (0..200).any(|_| {
        send(&talker, &messages);
        let mut has_left = false;
        for _ in 0..64 {
            if read_text(&talker) == "#3 has left" {
                has_left = true;
                read_text(&talker);
            }
            let line = format!("#4: {text}\r\n");
            let mut got = [0; 4];
            (&terminal).read_exact(&mut got).expect("the lesson sends a line");
            if got.starts_with(b"#3 h") {
                expect(&terminal, "as left\r\n");
                expect(&terminal, &line);
            } else {
                expect(&terminal, &line[4..]);
            }
        }
        has_left
    });
    assert!(has_left, "the browser that does not read was not disconnected");
    drop(sleeper);
}
