//! Lessons 30 to 33, Socket.IO servers, with a client that sends and reads packets.

use std::net::TcpStream;

use crate::headers::expected;
use crate::lesson::Lesson;
use crate::peer::{connect, reset, rest_of, send};
use crate::websocket::{CLOSE, TEXT, frame, open, read_frame, read_text};

/// Opens a session over WebSocket and joins the namespace `/`.
fn join(port: u16) -> TcpStream {
    let client = open(port, "/socket.io/?EIO=4&transport=websocket");
    let session = read_text(&client);
    assert!(session.starts_with(r#"0{"sid":""#) && session.contains(r#""pingInterval":25000"#), "{session}");
    emit(&client, "40");
    let joined = read_text(&client);
    assert!(joined.starts_with(r#"40{"sid":""#), "{joined}");
    client
}

fn emit(client: &TcpStream, packet: &str) {
    send(client, frame(TEXT, packet.as_bytes()));
}

/// Waits until the lesson has received everything that the client has sent.
fn settle(client: &TcpStream) {
    emit(client, "40/nowhere,");
    assert_eq!(read_text(client), r#"44/nowhere,{"message":"Invalid namespace"}"#);
}

#[test]
fn custom_events_reach_their_listeners_and_are_acknowledged() {
    let (lesson, port) = Lesson::serve("30_custom_events");
    let [client, other] = [join(port), join(port)];
    for client in [&client, &other] {
        assert_eq!(read_text(client), r#"42["messageClient","¡Bienvenido!"]"#);
    }
    assert_eq!([lesson.next_line(), lesson.next_line()], ["socket #2 is connected", "socket #3 is connected"]);
    emit(&client, r#"421["messageServer","hola"]"#);
    assert_eq!(read_text(&client), r#"431["received"]"#);
    emit(&client, r#"42["messageServer","not\u001b[2J acknowledged"]"#);
    emit(&client, r#"42["messageServer",7]"#);
    emit(&client, r#"42["unknown"]"#);
    emit(&client, r#"422["messageServer","bye"]"#);
    assert_eq!(read_text(&client), r#"432["received"]"#);
    assert_eq!(read_text(&other), r#"42["event","Bye everybody"]"#);
    emit(&client, "41");
    let lines = [(); 5].map(|()| lesson.next_line());
    assert_eq!(lines[..2], ["socket #2: hola", "socket #2: not␛[2J acknowledged"]);
    assert!(lines[2].starts_with("socket #2: argument 0: "), "{lines:?}");
    assert_eq!(lines[3..], ["socket #2: bye", "socket #2 is disconnected: client namespace disconnect"]);
    // A reset, and a packet that breaks the protocol.
    reset(other);
    assert_eq!(lesson.next_line(), "socket #3 is disconnected: transport error");
    let bad = join(port);
    emit(&bad, "42[");
    assert_eq!(lesson.next_line(), "socket #4 is connected");
    assert_eq!(lesson.next_line(), "socket #4 is disconnected: forced close");
    let header = expected("30_custom_events");
    assert_eq!(
        header,
        "socket #2 is connected\nsocket #2: hola\nsocket #2 is disconnected: client namespace disconnect\n"
    );
}

#[test]
fn custom_events_work_by_polling() {
    let (_lesson, port) = Lesson::serve("30_custom_events");
    /// Sends a request on a connection of its own, and returns the body of the answer.
    fn ask(port: u16, method: &str, sid: &str, body: &str) -> String {
        let client = connect(port);
        let target = format!("/socket.io/?EIO=4&transport=polling{sid}");
        let length = body.len();
        send(&client, format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"));
        send(&client, format!("Content-Length: {length}\r\n\r\n{body}"));
        let answer = String::from_utf8(rest_of(&client)).expect("the answers are text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }
    let opened = ask(port, "GET", "", "");
    let sid = opened.strip_prefix(r#"0{"sid":""#).and_then(|rest| rest.split('"').next()).expect("an id");
    let sid = format!("&sid={sid}");
    assert_eq!(ask(port, "POST", &sid, "40\u{1e}421[\"messageServer\",\"hola\"]"), "ok");
    let answer = ask(port, "GET", &sid, "");
    let packets: Vec<&str> = answer.split('\u{1e}').collect();
    assert!(packets[0].starts_with("40{"), "{packets:?}");
    assert_eq!(packets[1..], [r#"42["messageClient","¡Bienvenido!"]"#, r#"431["received"]"#]);
}

#[test]
fn rooms_get_events_of_their_members() {
    let (_lesson, port) = Lesson::serve("31_rooms");
    let [ana, luis, eva] = [join(port), join(port), join(port)];
    emit(&ana, r#"42["join","red"]"#);
    assert_eq!(read_text(&ana), r#"42["joined","red",1]"#);
    emit(&luis, r#"42["join","red"]"#);
    assert_eq!([read_text(&ana), read_text(&luis)], [r#"42["joined","red",2]"#; 2]);
    // A socket outside of the room cannot send to it.
    emit(&eva, r#"42["say","red","ignored"]"#);
    emit(&eva, r#"42["leave","red"]"#);
    emit(&eva, r#"42["join",7]"#);
    emit(&eva, r#"42["join","blue"]"#);
    assert_eq!(read_text(&eva), r#"42["joined","blue",1]"#);
    emit(&luis, r#"42["say","red","hola \"tú\""]"#);
    assert_eq!(read_text(&ana), r#"42["said","red","hola \"tú\"","socket #3"]"#);
    emit(&luis, r#"42["leave","red"]"#);
    assert_eq!(read_text(&ana), r#"42["left","red","socket #3"]"#);
    emit(&luis, r#"42["join","red"]"#);
    assert_eq!(read_text(&ana), r#"42["joined","red",2]"#);
    reset(luis);
    assert_eq!(read_text(&ana), r#"42["left","red","socket #3"]"#);
    for room in 0..20 {
        emit(&eva, &format!(r#"42["join","{room}"]"#));
    }
    emit(&eva, r#"42["leave","blue"]"#);
    emit(&eva, r#"42["join","red"]"#);
    for room in 0..9 {
        assert_eq!(read_text(&eva), format!(r#"42["joined","{room}",1]"#), "ten rooms are the most");
    }
    assert_eq!(read_text(&eva), r#"42["joined","red",2]"#);
    let header = expected("31_rooms");
    let packets = [r#"42["joined","red",1]"#, r#"42["joined","red",2]"#];
    let others = [r#"42["said","red","hola","socket #3"]"#, r#"42["left","red","socket #3"]"#];
    assert_eq!(header, [packets, others].concat().join("\n") + "\n");
}

#[test]
fn rooms_lose_a_member_that_does_not_read() {
    let (_lesson, port) = Lesson::serve("31_rooms");
    let [ana, luis] = [join(port), join(port)];
    emit(&luis, r#"42["join","red"]"#);
    assert_eq!(read_text(&luis), r#"42["joined","red",1]"#);
    emit(&ana, r#"42["join","red"]"#);
    assert_eq!(read_text(&ana), r#"42["joined","red",2]"#);
    let packet = format!(r#"42["say","red","{}"]"#, "x".repeat(60_000));
    let has_left = (0..1000).any(|_| {
        emit(&ana, &packet);
        emit(&ana, "40/nowhere,");
        let answer = read_text(&ana);
        let has_left = answer.contains("left");
        assert!(has_left || answer.starts_with("44/nowhere,"), "{answer}");
        has_left
    });
    assert!(has_left, "the member that does not read was not disconnected");
    settle(&ana);
}

#[test]
fn who_answered_names_those_that_answer_and_those_that_do_not() {
    let lesson = Lesson::start("32_who_answered", &["0", "60000"]);
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("the first line names the port");
    let mut acks = 0..;
    let mut named = |name: &str| {
        let client = join(port);
        let ack = acks.next().unwrap_or(0);
        assert_eq!(read_text(&client), format!(r#"42{ack}["name?"]"#));
        emit(&client, &format!(r#"43{ack}["{name}"]"#));
        settle(&client);
        client
    };
    let [ana, luis, eva] = [named("ana"), named("luis"), named("eva")];
    emit(&ana, r#"427["ask","lunch?"]"#);
    for client in [&luis, &eva] {
        assert_eq!(read_text(client), r#"423["question","lunch?"]"#);
    }
    emit(&luis, r#"433["pizza"]"#);
    emit(&luis, r#"433["twice"]"#);
    emit(&luis, r#"4399["nothing waits for this"]"#);
    // A client that leaves cannot answer, so the result does not wait for the time limit.
    reset(eva);
    assert_eq!(read_text(&ana), r#"437[["luis: pizza","eva has not answered"]]"#);
    emit(&luis, r#"428["ask","and now?"]"#);
    assert_eq!(read_text(&ana), r#"424["question","and now?"]"#);
    emit(&ana, "434[]");
    assert_eq!(read_text(&luis), r#"438[["ana: "]]"#);
}

#[test]
fn who_answered_waits_no_longer_than_its_limit() {
    let lesson = Lesson::start("32_who_answered", &["0", "300"]);
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("the first line names the port");
    let [ana, luis] = [join(port), join(port)];
    for (number, client, name) in [(0, &ana, "ana"), (1, &luis, "luis")] {
        assert_eq!(read_text(client), format!(r#"42{number}["name?"]"#));
        emit(client, &format!(r#"43{number}["{name}"]"#));
        settle(client);
    }
    emit(&ana, r#"427["ask","lunch?"]"#);
    assert_eq!(read_text(&ana), r#"437[["luis has not answered"]]"#);
    let header = expected("32_who_answered");
    assert_eq!(header, "437[[\"luis: pizza\"]]\n437[[\"luis has not answered\"]]\n");
    // A client that does not tell its name is disconnected.
    let silent = join(port);
    assert_eq!(read_text(&silent), r#"423["name?"]"#);
    assert_eq!(read_text(&silent), "41");
    assert_eq!(read_frame(&silent).0, CLOSE);
}

/// Reads the next position of the ball.
fn read_ball(client: &TcpStream) -> [f64; 2] {
    loop {
        let packet = read_text(client);
        if let Some(rest) = packet.strip_prefix(r#"42["ball","#) {
            let (x, y) = rest.trim_end_matches(']').split_once(',').expect("a position has two parts");
            return [x, y].map(|part| part.parse().expect("a part is a number"));
        }
    }
}

#[test]
fn moving_page_moves_for_all_and_can_be_kicked() {
    let (_lesson, port) = Lesson::serve("33_moving_page");
    let page = connect(port);
    send(&page, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let page = String::from_utf8(rest_of(&page)).expect("the page is UTF-8");
    assert!(
        page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("/socket.io/?EIO=4&transport=websocket"),
        "{page}"
    );
    let [one, two] = [join(port), join(port)];
    while read_text(&one) != r#"42["visitors",2]"# {}
    let positions = [(); 20].map(|()| read_ball(&two));
    assert!(positions.iter().flatten().all(|part| (0.0..=1.0).contains(part)), "{positions:?}");
    assert!(positions.windows(2).all(|pair| pair[0] != pair[1]), "the ball moves: {positions:?}");
    // Kicked from one corner, then from the other: it flies away from both.
    for (corner, sign) in [(0, 1.0), (1, -1.0)] {
        emit(&one, &format!(r#"42["kick",{corner},{corner}]"#));
        let mut before = read_ball(&two);
        loop {
            let now = read_ball(&two);
            if (now[0] - before[0]) * sign > 0.0 && (now[1] - before[1]) * sign > 0.0 {
                break;
            }
            before = now;
        }
    }
    emit(&one, r#"42["kick","left"]"#);
    emit(&one, r#"42["kick",1e308,-1e308]"#);
    reset(one);
    while read_text(&two) != r#"42["visitors",1]"# {}
    read_ball(&two);
}
