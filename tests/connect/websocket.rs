//! `bucle connect ws://…`: against `bucle serve`, and against servers in the test that speak frames.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bucle::websocket::handshake::accept_key;

use super::editing::{PROMPT, User};
use super::retry::retry;
use super::{
    BUCLE, Client, Exit, LIMIT, TempPath, accept, connect, connect_in_terminal, in_background, read_until, server,
    shown, some_bytes,
};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The client on a path of a server in the test, with options and with standard input from a pipe.
fn client_of(target: &str, options: &[&str]) -> Client {
    let url = format!("ws://127.0.0.1{target}/room?x=1");
    Client::start(
        Command::new(BUCLE).args(["connect", &url]).args(options).env_remove("RUST_LOG").stdin(Stdio::piped()),
    )
}

/// A client on a path, connected to a server in the test.
fn opened(options: &[&str]) -> (Client, Peer) {
    let (listener, target) = server();
    let client = client_of(&target, options);
    (client, Peer::open(accept(&listener)))
}

/// The server's side of an open WebSocket, frame by frame.
pub(super) struct Peer(TcpStream);

impl Peer {
    /// Reads the request and accepts it.
    fn open(stream: TcpStream) -> Peer {
        Peer::open_at(stream, "/room?x=1")
    }

    /// As [`open`](Peer::open), with this target in the request.
    pub(super) fn open_at(stream: TcpStream, target: &str) -> Peer {
        let head = read_until(&stream, "\r\n\r\n");
        assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{head}");
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept_key(key)
        );
        let mut peer = Peer(stream);
        peer.0.write_all(answer.as_bytes()).expect("the client reads");
        peer
    }

    /// Sends a whole message, or a control frame.
    pub(super) fn send(&mut self, opcode: u8, payload: impl AsRef<[u8]>) {
        let payload = payload.as_ref();
        let len = u8::try_from(payload.len()).expect("a short message");
        assert!(len < 126, "the length has one byte");
        self.0.write_all(&[&[0x80 | opcode, len], payload].concat()).expect("the client reads");
    }

    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.send(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat());
    }

    /// Reads a frame, which must be masked. Returns its opcode and its payload.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut bytes = |count: usize| {
            let mut bytes = vec![0; count];
            self.0.read_exact(&mut bytes).expect("a frame");
            bytes
        };
        let head = bytes(2);
        assert_eq!((head[0] & 0x70, head[1] & 0x80), (0, 0x80), "no reserved bit, and a mask");
        let len = match head[1] & 0x7f {
            126 => bytes(2).iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
            127 => bytes(8).iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
            len => len.into(),
        };
        let mask = bytes(4);
        let mut payload = bytes(len);
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        (head[0] & 0x0f, payload)
    }

    #[track_caller]
    pub(super) fn takes_text(&mut self, want: &str) {
        let (opcode, payload) = self.frame();
        assert_eq!((opcode, &*String::from_utf8_lossy(&payload)), (TEXT, want));
    }

    /// The client sends nothing for this long, so it has not closed.
    #[track_caller]
    fn takes_nothing_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.0.set_read_timeout(Some(left)).expect("a socket");
            match self.0.peek(&mut [0]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => panic!("{other:?} instead of silence"),
            }
        }
        self.0.set_read_timeout(Some(LIMIT)).expect("a socket");
    }

    /// Reads the client's close frame.
    #[track_caller]
    pub(super) fn takes_close(&mut self, code: u16) {
        let (opcode, payload) = self.frame();
        assert_eq!((opcode, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]), "{payload:?}");
    }
}

/// A running `bucle serve` with `--http`. Dropping it kills the process.
pub(super) struct Served {
    child: Child,
    /// The URL of the second listener, without a path.
    pub(super) url: String,
}

impl Served {
    pub(super) fn start(args: &[&str]) -> Served {
        let mut child = Command::new(BUCLE)
            .arg("serve")
            .args(args)
            .args(["--port", "0", "--http", "0"])
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let lines = in_background(move || BufReader::new(stdout).lines().take(2).collect::<Result<Vec<_>, _>>());
        let mut served = Served { child, url: String::new() };
        let lines = lines.recv_timeout(LIMIT).expect("two lines").expect("text");
        let (_, authority) = lines[1].split_once("://").expect("a URL");
        served.url = format!("ws://{}", authority.trim_end_matches('/'));
        served
    }

    /// Runs the client with this input, and returns how it has ended.
    fn answers(&self, path: &str, options: &[&str], input: &[u8]) -> Exit {
        let url = format!("{}{path}", self.url);
        let mut client = Client::start(Command::new(BUCLE).args(["connect", &url]).args(options).stdin(Stdio::piped()));
        client.stdin().write_all(input).expect("the client reads its input");
        client.end()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_line_is_a_message_and_each_message_a_line() {
    let served = Served::start(&["echo"]);
    let table: [(&str, &[u8], &str); 6] = [
        ("two lines", b"a\nb\n", "a\nb\n"),
        ("the last line has no line break", b"a\nb", "a\nb\n"),
        ("CR LF", b"a\r\nb\r\n", "a\nb\n"),
        ("a CR that ends no line", b"a\rb\n", "a\\rb\n"),
        ("empty lines", b"\n\na\n", "\n\na\n"),
        ("no input", b"", ""),
    ];
    for (name, input, want) in table {
        let exit = served.answers("/any/path", &[], input);
        assert_eq!((exit.status, &*exit.stdout, &*exit.stderr), (Some(0), want, ""), "{name}");
    }
    // More than the kernel's buffers: both sides wait for each other, and go on.
    let lines: String = (0..20_000).map(|n| format!("{n} {}\n", "ñ€x".repeat(n % 200))).collect();
    let exit = served.answers("", &[], lines.as_bytes());
    assert_eq!((exit.status, &*exit.stderr), (Some(0), ""));
    assert!(exit.stdout == lines, "{} bytes came back, of {}", exit.stdout.len(), lines.len());
}

#[test]
fn a_member_of_the_chat_leaves_with_a_command() {
    let served = Served::start(&["chat"]);
    let exit = served.answers("/ws", &[], "/nick ana\nqué tal\n/quit\n".as_bytes());
    assert_eq!((exit.status, &*exit.stderr), (Some(0), ""), "{}", exit.stdout);
    let lines: Vec<&str> = exit.stdout.lines().collect();
    assert!(lines.first().is_some_and(|line| line.starts_with("¡Bienvenido!")), "{lines:?}");
    assert!(lines.contains(&"ana: qué tal"), "{lines:?}");
    served.answers("/", &[], b"").complains(3, &["the server answered 200 OK", "/ws      or another path"]);
    served.answers("/no", &[], b"").complains(3, &["404 Not Found: there is nothing here; the chat is at /\n"]);
}

/// The server answers long after the input has ended. The client closes after the last answer.
#[test]
fn a_slow_answer_is_waited_for() {
    let (mut client, mut peer) = opened(&[]);
    client.stdin().write_all(b"one\ntwo\n").expect("the client reads its input");
    peer.takes_text("one");
    peer.takes_text("two");
    peer.send(TEXT, "1");
    // Longer than the quiet time after which answers are taken for complete.
    peer.takes_nothing_for(Duration::from_millis(1200));
    peer.send(TEXT, "2");
    peer.takes_close(1000);
    peer.close(1000, "");
    drop(peer);
    client.end().is(0, "1\n2\n", "");
}

#[test]
fn without_a_linger_the_client_closes_at_once() {
    let (mut client, mut peer) = opened(&["--linger", "0"]);
    client.stdin().write_all(b"hola\n").expect("the client reads its input");
    peer.takes_text("hola");
    peer.takes_close(1000);
    peer.send(CLOSE, "");
    drop(peer);
    client.end().is(0, "", "");
}

#[test]
fn a_ping_is_answered() {
    let (mut client, mut peer) = opened(&[]);
    peer.send(PING, "still there?");
    assert_eq!(peer.frame(), (PONG, b"still there?".to_vec()));
    drop(client.stdin());
    peer.takes_close(1000);
    peer.close(1000, "");
    drop(peer);
    client.end().is(0, "", "");
}

#[test]
fn one_message_is_one_line() {
    let message = "a\nb\r\nc\t\x1b[31m\r";
    let table = [("escaped", &[][..], "a\\nb\\r\\nc\t\x1b[31m\\r\n"), ("raw", &["--raw"], "a\nb\r\nc\t\x1b[31m\r\n")];
    for (name, options, want) in table {
        let (client, mut peer) = opened(options);
        peer.send(TEXT, message);
        peer.close(1000, "");
        peer.takes_close(1000);
        drop(peer);
        let exit = client.end();
        assert_eq!((exit.status, &*exit.stdout, &*exit.stderr), (Some(0), want, ""), "{name}");
    }
}

#[test]
fn binary_messages_are_shown_in_hexadecimal_or_refused() {
    let (client, mut peer) = opened(&["--hex"]);
    peer.send(BINARY, b"\x00\x0f\xf0\xff\n");
    peer.send(TEXT, "text");
    peer.send(BINARY, b"");
    peer.close(1000, "");
    drop(peer);
    client.end().is(0, "000ff0ff0a\ntext\n\n", "");

    let (client, mut peer) = opened(&[]);
    peer.send(BINARY, b"\x00\x0f\xf0\xff\n");
    peer.send(TEXT, "not shown");
    peer.takes_close(1003);
    peer.close(1003, "");
    drop(peer);
    client.end().complains(1, &["a binary message of 5 bytes; --hex shows binary messages\n"]);
}

#[test]
fn the_close_code_decides_the_exit_code() {
    let table: [(&str, &[u8], i32, &str); 8] = [
        ("normal", b"\x03\xe8", 0, ""),
        ("normal, with a reason", b"\x03\xe8bye", 0, ""),
        ("the server shuts down", b"\x03\xe9", 0, "the connection was closed with 1001 (going away)\n"),
        ("no code", b"", 0, "the server closed the connection without a code\n"),
        ("a policy", b"\x03\xf0no guests", 1, " was closed with 1008 (policy violation): no guests\n"),
        ("the server failed", b"\x03\xf3", 1, " was closed with 1011 (internal error)\n"),
        ("a code of the program", b"\x0f\xa1gone", 1, " was closed with 4001: gone\n"),
        ("control bytes in the reason", b"\x03\xf0a\nb\x1b[31m", 1, ": a\\nb\\x1b[31m\n"),
    ];
    for (name, close, status, want) in table {
        let (mut client, mut peer) = opened(&[]);
        // The input does not end.
        let stdin = client.stdin();
        peer.send(TEXT, "hola");
        peer.send(CLOSE, close);
        let (opcode, _) = peer.frame();
        assert_eq!(opcode, CLOSE, "{name}");
        drop(peer);
        let exit = client.end();
        drop(stdin);
        assert_eq!((exit.status, &*exit.stdout), (Some(status), "hola\n"), "{name}: {}", exit.stderr);
        assert!(exit.stderr.ends_with(want) && exit.stderr.is_empty() == want.is_empty(), "{name}: {}", exit.stderr);
        assert_eq!(exit.stderr.starts_with("error: the connection to ws://"), status != 0, "{name}: {}", exit.stderr);
    }
}

/// The server closes the TCP connection without reading the client's close frame, so its system resets the connection.
/// With `--reconnect` the client does not come back either.
#[test]
fn a_close_with_1000_is_the_end_also_if_the_server_does_not_read_the_answer() {
    for options in [&[][..], &["--reconnect"]] {
        let (mut client, mut peer) = opened(options);
        let stdin = client.stdin();
        peer.close(1000, "");
        retry(|| peer.0.peek(&mut [0])).expect("the client answers");
        drop(peer);
        let exit = client.end();
        drop(stdin);
        assert_eq!((exit.status, &*exit.stderr), (Some(0), ""), "{options:?}");
    }
}

#[test]
fn an_end_without_a_close_frame_is_an_error() -> std::io::Result<()> {
    let (mut client, mut peer) = opened(&[]);
    client.stdin().write_all(b"hola\n")?;
    peer.takes_text("hola");
    drop(peer);
    client.end().complains(1, &["the connection to ws://127.0.0.1:", "/room ended without a close frame\n"]);

    let (mut client, mut peer) = opened(&[]);
    client.stdin().write_all(b"hola\n")?;
    peer.takes_text("hola");
    socket2::SockRef::from(&peer.0).set_linger(Some(Duration::ZERO))?;
    drop(peer);
    client.end().complains(1, &["the connection to ws://127.0.0.1:", " was lost: ", "(ECONNRESET)\n"]);

    // The server breaks a rule: its frame has a mask.
    let (client, mut peer) = opened(&[]);
    peer.0.write_all(b"\x81\x81abcd\0")?;
    peer.takes_close(1002);
    drop(peer);
    client.end().complains(1, &[" was closed with 1002 (protocol error): "]);
    Ok(())
}

#[test]
fn a_refused_handshake_shows_the_status_and_the_first_line() -> std::io::Result<()> {
    let long = format!("HTTP/1.1 502 Oops\r\nContent-Length: 5000\r\n\r\n{}", "x".repeat(5000));
    let table: [(&str, &str, &[&str]); 7] = [
        (
            "with a length",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 23\r\n\r\n\x1bno entry\nfor strangers\n",
            &["cannot connect to ws://127.0.0.1:", "the server answered 403 Forbidden: \\x1bno entry\n"],
        ),
        (
            "chunked",
            "HTTP/1.1 401 Who\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nlog\r\n5\r\n in\nx\r\n0\r\n\r\n",
            &["401 Unauthorized: log in\n"],
        ),
        (
            "until the end",
            "HTTP/1.1 503 Full\r\nRetry-After: 1\r\n\r\ntry later",
            &["503 Service Unavailable: try later\n"],
        ),
        (
            "without a body",
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            &["404 Not Found\n  try:  bucle connect ws://"],
        ),
        ("a long line", &long, &["502 Bad Gateway: xxx"]),
        ("no HTTP", "220 mail.example.org ESMTP\r\n\r\n", &["no HTTP response"]),
        (
            "a wrong key",
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n",
            &["Sec-WebSocket-Accept"],
        ),
    ];
    for (name, answer, parts) in table {
        let (listener, target) = server();
        let client = client_of(&target, &[]);
        let mut stream = accept(&listener);
        read_until(&stream, "\r\n\r\n");
        stream.write_all(answer.as_bytes())?;
        drop(stream);
        let exit = client.end();
        exit.complains(3, parts);
        assert!(exit.stderr.len() < 500, "{name}: {}", exit.stderr);
        assert_eq!(exit.stderr.matches("error: ").count(), 1, "{name}: {}", exit.stderr);
    }
    let (listener, target) = server();
    let client = client_of(&target, &[]);
    read_until(&accept(&listener), "\r\n\r\n");
    client.end().complains(3, &["cannot connect to ws://127.0.0.1:", "closed the connection without an answer"]);
    drop(listener);
    client_of(&target, &[]).end().complains(3, &["no server is listening there", "  try:  bucle serve echo --http "]);
    Ok(())
}

/// The lines before it are sent, and their answers are shown.
#[test]
fn input_that_is_not_utf_8_is_an_error() {
    let served = Served::start(&["echo"]);
    for input in [&b"hola\n\xff\xfe\nmore\n"[..], b"hola\n\xc3"] {
        let exit = served.answers("/", &[], input);
        assert_eq!((exit.status, &*exit.stdout), (Some(1), "hola\n"), "{}", exit.stderr);
        assert_eq!(exit.stderr, "error: line 2 of the input is not UTF-8, which a text message must be\n");
    }
}

#[test]
fn a_message_that_is_too_long_for_the_server_is_told() {
    let served = Served::start(&["echo", "--message-limit", "1K"]);
    let exit = served.answers("/", &[], &b"x".repeat(2000));
    exit.complains(1, &[" was closed with 1009 (message too big)"]);
    served.answers("/", &[], &b"x".repeat(1024)).is(0, &("x".repeat(1024) + "\n"), "");
}

/// The server closes with 1000 after the first message, and there is more input than it could have read.
#[test]
fn input_that_the_server_does_not_wait_for_is_reported() {
    let (mut client, mut peer) = opened(&[]);
    let mut stdin = client.stdin();
    let written = in_background(move || (0..64 << 10).try_for_each(|_| stdin.write_all(&[b'\n'; 1024])));
    peer.takes_text("");
    peer.close(1000, "");
    while peer.frame().0 != CLOSE {}
    drop(peer);
    client.end().complains(1, &["/room closed the connection before it had read all of the input\n"]);
    assert!(written.recv_timeout(LIMIT).expect("the pipe is closed").is_err());
}

#[test]
fn a_closed_output_pipe_is_not_an_error() -> std::io::Result<()> {
    let served = Served::start(&["echo"]);
    let mut child = Command::new(BUCLE)
        .args(["connect", &served.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("it is piped");
    // The first write to a pipe without a reader fails; the input goes on until then.
    while stdin.write_all(&[b'\n'; 1024]).is_ok() {}
    let output = in_background(move || child.wait_with_output()).recv_timeout(LIMIT).expect("the client ends")?;
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    Ok(())
}

/// The client reads its input no faster than the server reads, so memory does not grow.
#[test]
fn a_slow_server_slows_the_messages_down() -> std::io::Result<()> {
    const LINES: usize = 48 << 10;
    let (mut client, mut peer) = opened(&["--linger", "0"]);
    let mut stdin = client.stdin();
    let line = "x".repeat(1023) + "\n";
    let written: Receiver<std::io::Result<()>> =
        in_background(move || (0..LINES).try_for_each(|_| stdin.write_all(line.as_bytes())));
    let mut taken = 0;
    while let (TEXT, payload) = peer.frame() {
        assert_eq!(payload.len(), 1023);
        taken += 1;
    }
    assert_eq!(taken, LINES);
    written.recv_timeout(LIMIT).expect("everything is sent")?;
    if cfg!(target_os = "linux") {
        let status = std::fs::read_to_string(format!("/proc/{}/status", client.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel reports it");
        let peak_kib: usize = peak.trim().trim_end_matches(" kB").parse().expect("it is a number");
        assert!(peak_kib < 32 << 10, "{peak_kib} KiB");
    }
    peer.close(1000, "");
    drop(peer);
    client.end().is(0, "", "");
    Ok(())
}

#[test]
fn long_messages_pass_in_both_directions() -> std::io::Result<()> {
    let served = Served::start(&["echo", "--message-limit", "16M"]);
    let text: String = some_bytes(3_000_000).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    let path = TempPath::new("long-message");
    std::fs::write(&path.0, &text)?;
    let client = connect(&served.url, std::fs::File::open(&path.0)?);
    let exit = client.end();
    assert_eq!((exit.status, &*exit.stderr), (Some(0), ""));
    assert!(exit.stdout.strip_suffix('\n') == Some(&*text), "{} bytes came back", exit.stdout.len());
    Ok(())
}

#[test]
fn an_invalid_url_is_explained() {
    let table = [
        ("wss://example.org/chat", "TLS is not supported", "bucle connect ws://example.org/chat"),
        ("WSS://example.org", "TLS is not supported", "bucle connect ws://example.org"),
        ("ws://", "the URL is malformed", "bucle connect ws://127.0.0.1:8081/"),
        ("ws://host:0/", "a number from 1 to 65535", "bucle connect ws://127.0.0.1:8081/"),
        ("ws://me:secret@host/", "user or a password", "bucle connect ws://127.0.0.1:8081/"),
    ];
    for (url, why, advice) in table {
        let shown = url.replace("me:secret@", "");
        connect(url, Stdio::null()).end().complains(2, &[&shown, why, &format!("  try:  {advice}\n")]);
    }
    for options in [&["--hex"][..], &["--linger", "1s"], &["--reconnect"]] {
        let mut command = Command::new(BUCLE);
        let exit = Client::start(command.args(["connect", ":8080"]).args(options).stdin(Stdio::null())).end();
        exit.complains(2, &[options[0], "is for WebSocket and Socket.IO only, and ':8080' is plain TCP"]);
    }
}

#[test]
fn typed_lines_are_messages() {
    let (listener, target) = server();
    let mut user = User::at(&format!("'{BUCLE}' connect 'ws://127.0.0.1{target}/room?x=1'; echo status $?"));
    let mut peer = Peer::open(accept(&listener));
    user.see("connected to ws://127.0.0.1:");
    user.see(PROMPT);
    user.types("ñaandú\x1b[D\x1b[D\x1b[D\x1b[D\x7f\r");
    peer.takes_text("ñandú");
    user.see("> ñandú");
    // The message is shown above the line that is being typed.
    user.types("hal");
    user.see("> hal");
    peer.send(TEXT, "eva: \x1b[31m¿qué\ntal?");
    user.see("eva: \\x1b[31m¿qué\\ntal?\r\n> hal");
    user.types("\x7f\x7fola\r");
    peer.takes_text("hola");
    // Up brings back a line.
    user.types("\x1b[A\x1b[A!\r");
    peer.takes_text("ñandú!");
    user.types("exit\r");
    peer.takes_close(1000);
    peer.close(1000, "");
    drop(peer);
    user.see("status 0");
}

#[test]
fn a_typing_user_is_told_how_the_connection_ended() {
    let table: [(u16, &str, &[&str]); 3] = [
        (1000, "", &["the server closed the connection\n", "status 0"]),
        (1001, "see you", &["1001 (going away): see you\n", "status 0"]),
        (1008, "no", &["error: ", "1008 (policy violation): no\n", "status 1"]),
    ];
    for (code, reason, parts) in table {
        let (listener, target) = server();
        for flags in ["", "--raw"] {
            let mut client = connect_in_terminal(&format!("'ws://127.0.0.1{target}/room?x=1'"), flags);
            let mut keyboard = client.stdin();
            let mut peer = Peer::open(accept(&listener));
            keyboard.write_all(b"hola\nhalf").expect("the terminal reads");
            peer.takes_text("hola");
            peer.close(code, reason);
            peer.takes_close(code);
            drop(peer);
            let text = shown(&client.end().stdout);
            for part in parts {
                assert!(text.contains(part), "{code} {flags}: {part:?} is not in {text:?}");
            }
        }
    }
}

/// The terminal is not read. The text of both connections would have to be queued for it.
#[test]
fn a_full_terminal_pauses_also_the_connection_after_a_loss() -> std::io::Result<()> {
    let (listener, target) = server();
    let _user = User::at(&format!("'{BUCLE}' connect --reconnect 'ws://127.0.0.1{target}/room?x=1'"));
    // More than the terminal takes, and nothing else, so that the client notices the reset.
    let mut peer = Peer::open(accept(&listener));
    let len = 300_000_u64;
    peer.0.write_all(&[&[0x80 | TEXT, 127][..], &len.to_be_bytes(), &vec![b'x'; 300_000]].concat())?;
    // The result does not depend on this time: it only makes it likely that the client has read the message.
    std::thread::sleep(Duration::from_millis(200));
    socket2::SockRef::from(&peer.0).set_linger(Some(Duration::ZERO))?;
    drop(peer);

    const FRAMES: usize = 16 << 10;
    let frame = [&[0x80 | TEXT, 126, 0x0f, 0xff], &[b'y'; 0xfff][..]].concat();
    let mut peer = Peer::open(accept(&listener));
    peer.0.set_write_timeout(Some(Duration::from_millis(300)))?;
    // Until the write times out: a client whose terminal is full does not read from the socket.
    let taken = (0..FRAMES).take_while(|_| peer.0.write_all(&frame).is_ok()).count();
    assert!(taken < FRAMES, "the client has read 64 MiB");
    Ok(())
}

#[test]
fn a_long_message_is_shown_above_the_prompt() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut user = User::at(&format!("'{BUCLE}' connect 'ws://127.0.0.1{target}/room?x=1'; echo status $?"));
    let mut peer = Peer::open(accept(&listener));
    user.see(PROMPT);
    user.types("half");
    user.see("> half");
    let message = "\u{1}x\n".repeat(100_000);
    let len = message.len() as u64;
    peer.0.write_all(&[&[0x80 | TEXT, 127][..], &len.to_be_bytes(), message.as_bytes()].concat())?;
    peer.send(TEXT, "hola");
    user.see("\r\x1b[K");
    let shown = user.see("\r\n> half");
    assert!(shown == r"\x01x\n".repeat(100_000), "{} bytes", shown.len());
    user.see("\r\x1b[Khola\r\n> half");
    Ok(())
}

/// Notes about the connection come above the prompt, and the typed line stays.
#[test]
fn a_half_typed_line_survives_the_loss_of_the_connection() {
    let (listener, target) = server();
    let script = format!("'{BUCLE}' connect --reconnect 'ws://127.0.0.1{target}/room?x=1'; echo status $?");
    let mut user = User::at(&script);
    let peer = Peer::open(accept(&listener));
    user.see(PROMPT);
    user.types("half");
    user.see("> half");
    drop(peer);
    user.see("\r\x1b[Kthe connection to ws://127.0.0.1:");
    user.see("connecting again in 1 s\r\n\r\x1b[K> half");
    let mut peer = Peer::open(accept(&listener));
    user.see("\r\x1b[Kconnected to ws://127.0.0.1:");
    user.see(" again\r\n\r\x1b[K> half");
    user.types(" a line\rnext");
    peer.takes_text("half a line");
    user.see("> next");
    peer.close(1000, "");
    peer.takes_close(1000);
    drop(peer);
    user.see("\r\x1b[K> next\r\nthe server closed the connection\r\n");
    user.see("status 0");
}

#[test]
fn ctrl_c_ends_the_client_without_a_close_frame() {
    let (listener, target) = server();
    let mut client = connect_in_terminal(&format!("'ws://127.0.0.1{target}/room?x=1'"), "");
    let mut keyboard = client.stdin();
    let mut peer = Peer::open(accept(&listener));
    keyboard.write_all(b"hola\n").expect("the terminal reads");
    peer.takes_text("hola");
    keyboard.write_all(b"half a line\x03").expect("the terminal reads");
    let rest = retry(|| peer.0.read(&mut [0; 8]));
    assert!(!matches!(rest, Ok(1..)), "an unfinished line is not sent");
    let text = shown(&client.end().stdout);
    assert!(text.contains("status 130"), "{text:?}");
}

#[test]
fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let target = format!(":{}", listener.local_addr().expect("it is bound").port());
    let client = client_of(&target, &[]);
    let stream = accept(&listener);
    // The limit of the handshake is ten seconds.
    client.end().complains(3, &["the server has not answered the WebSocket handshake in time\n"]);
    drop(stream);
}
