//! Socket.IO with `--http`: clients of the chat in one room with all others, and the tutorial.

use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use super::served::{LIMIT, Peer, bucle};
use super::socket_io_client::{Client, Poller, request};

/// A server with `--http`. Dropping it kills the process.
struct Served {
    child: Child,
    /// The lines that it prints after its addresses.
    lines: Receiver<String>,
    port: u16,
    web: u16,
}

impl Served {
    /// Starts a server on free ports and waits until both of its listeners are ready.
    fn start(args: &[&str]) -> Served {
        let mut all = vec!["serve"];
        all.extend(args);
        all.extend(["--port", "0", "--http", "0"]);
        let mut child = bucle(&all).spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut served = Served { child, lines, port: 0, web: 0 };
        let port_of = |line: String| {
            let (_, port) = line.rsplit_once(':').expect("an address");
            port.parse().unwrap_or_else(|_| panic!("a port: {line:?}"))
        };
        served.port = port_of(served.line());
        served.web = port_of(served.line());
        served
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line on stdout")
    }

    /// A telnet client, which has read its greeting.
    fn telnet(&self) -> Peer {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        let mut peer = Peer(stream);
        assert!(peer.line().contains("¡Bienvenido!"));
        peer
    }

    fn terminate(&self) {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.expect("kill is there").success());
    }

    /// Waits for the end of the process. Returns whether it was a success, and its stderr.
    fn end(mut self) -> (bool, String) {
        let mut stderr = self.child.stderr.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            sender.send(text)
        });
        let text = receiver.recv_timeout(LIMIT).expect("it ends");
        (self.child.wait().expect("it is a child").success(), text)
    }

    /// The status of the answer to a handshake with these headers, and its body.
    fn handshake(&self, host: &str, headers: &str) -> (u16, String) {
        let head = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nConnection: close";
        request(self.web, &format!("{head}\r\nHost: {host}\r\n{headers}\r\n"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The event that carries a line.
fn said(line: &str) -> String {
    format!(r#"42["chat message","{line}"]"#)
}

#[test]
fn clients_of_all_protocols_and_versions_are_in_one_room() {
    let served = Served::start(&["chat"]);
    let mut ana = served.telnet();
    let mut bo = Client::connect(served.web);
    assert!(bo.next().contains("You are guest2, in the lobby"));
    let mut eva = Client::connect_version_2(served.web);
    assert!(eva.next().contains("You are guest3"));
    let mut leo = Poller::connect(served.web);
    assert!(leo.next().contains("You are guest4"));
    for nick in ["guest2", "guest3", "guest4"] {
        assert_eq!(ana.line(), format!("-- {nick} has joined"));
    }
    assert_eq!([bo.next(), bo.next()], [said("-- guest3 has joined"), said("-- guest4 has joined")]);
    assert_eq!(eva.next(), said("-- guest4 has joined"));

    ana.send("hola \"a\"\r\n");
    assert_eq!(ana.line(), "guest1: hola \"a\"");
    assert_eq!([bo.next(), eva.next(), leo.next()], [(); 3].map(|()| said(r#"guest1: hola \"a\""#)));
    for (at, message) in ["buenas", r"a\r\nb\u001b", "/me baila"].into_iter().enumerate() {
        let (line, event) = [
            ("guest2: buenas", "guest2: buenas"),
            ("guest3: a␍␊b␛", "guest3: a␍␊b␛"),
            ("* guest4 baila", "* guest4 baila"),
        ][at];
        match at {
            0 => bo.send(&said(message)),
            1 => eva.send(&said(message)),
            _ => leo.send(&said(message)),
        }
        assert_eq!(ana.line(), line);
        assert_eq!([bo.next(), eva.next(), leo.next()], [(); 3].map(|()| said(event)));
    }

    // An event may ask for an acknowledgement, and other events are ignored.
    bo.send(r#"42["hola"]"#);
    bo.send(r#"427["chat message","/nick Bo"]"#);
    assert_eq!([bo.next(), bo.next()], [said("-- guest2 is now called Bo"), "437[]".to_owned()]);
    assert_eq!(ana.line(), "-- guest2 is now called Bo");
    bo.send(&said("/quit"));
    assert_eq!([bo.next(), bo.next()], [said("-- good-bye"), "41".to_owned()]);
    assert_eq!(bo.close_code(), 1005);
    assert_eq!(ana.line(), "-- Bo has left");
    // Leaving the namespace is leaving the chat, and ends the session.
    eva.send("41");
    assert_eq!(eva.close_code(), 1005);
    assert_eq!(ana.line(), "-- guest3 has left");
    leo.send("41");
    assert_eq!(ana.line(), "-- guest4 has left");
}

#[test]
fn pages_of_other_sites_cannot_connect() {
    let served = Served::start(&["chat", "--origin", "https://chat.example"]);
    let own = format!("127.0.0.1:{}", served.web);
    let table = [
        ("no browser", &*own, "", 200),
        ("the page", &*own, "Sec-Fetch-Site: same-origin\r\n", 200),
        ("a listed site", &*own, "Origin: https://chat.example\r\nSec-Fetch-Site: cross-site\r\n", 200),
        ("the host of a listed site", "chat.example", "", 200),
        ("another name", "evil.example", "", 403),
        ("another site", &*own, "Origin: http://evil.example\r\n", 403),
        ("a site that is a file", &*own, "Origin: null\r\n", 403),
        ("an image on another site", &*own, "Sec-Fetch-Site: cross-site\r\n", 403),
    ];
    for (name, host, headers, status) in table {
        let (got, body) = served.handshake(host, headers);
        assert_eq!(got, status, "{name}: {body}");
        assert_eq!(body.contains("\"sid\""), status == 200, "{name}: {body}");
    }
    let mut upgrade = TcpStream::connect(("127.0.0.1", served.web)).expect("it listens");
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    write!(upgrade, "{head}Host: {own}\r\nOrigin: http://evil.example\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    upgrade.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("this origin is not allowed"), "{answer}");
}

#[test]
fn a_line_that_is_too_long_or_no_string_disconnects_its_client_with_a_reason() {
    let served = Served::start(&["chat", "--line-limit", "100"]);
    let long = "x".repeat(101);
    let table = [
        (said(&"x".repeat(100)), None),
        (said(&long), Some("-- the line is too long")),
        (r#"42["chat message",7]"#.to_owned(), Some("-- this chat takes events with one string")),
        (r#"42["chat message","a","b"]"#.to_owned(), Some("-- this chat takes events with one string")),
        (r#"42["chat message"]"#.to_owned(), Some("-- this chat takes events with one string")),
    ];
    for (event, reason) in table {
        let mut client = Client::connect(served.web);
        assert!(client.next().contains("You are"));
        client.send(&event);
        match reason {
            None => assert!(client.next().contains(": xxx"), "it is a line"),
            Some(reason) => {
                assert_eq!([client.next(), client.next()], [said(reason), "41".to_owned()], "{event}");
                assert_eq!(client.close_code(), 1005, "{event}");
            }
        }
    }
    // A message that is longer than every line is not read as a packet.
    let mut client = Client::connect(served.web);
    assert!(client.next().contains("You are"));
    client.send(&said(&"x".repeat(1000)));
    assert_eq!(client.close_code(), 1009);
}

#[test]
fn a_client_that_sends_nothing_is_disconnected_after_the_idle_timeout() {
    let served = Served::start(&["chat", "--idle-timeout", "300ms"]);
    let mut client = Client::connect(served.web);
    assert!(client.next().contains("You are"));
    assert_eq!([client.next(), client.next()], [said("-- idle for too long, good-bye"), "41".to_owned()]);
    assert_eq!(client.close_code(), 1005);
}

#[test]
fn a_client_that_does_not_poll_is_disconnected_at_the_outbox_limit() {
    let served = Served::start(&["chat"]);
    let mut ana = served.telnet();
    let _silent = Poller::connect(served.web);
    assert_eq!(ana.line(), "-- guest2 has joined");
    let text = "x".repeat(50_000);
    let lines = (0..100).find(|_| {
        ana.send(format!("{text}\r\n"));
        let line = ana.line();
        if line == "-- guest2 has left" {
            assert!(ana.line().ends_with(&text));
            return true;
        }
        line == "-- guest2 has left"
    });
    assert!(lines.is_some_and(|lines| lines >= 15), "after a megabyte: {lines:?} lines of 50 kB");
    served.terminate();
    drop(ana);
    let (is_success, log) = served.end();
    assert!(is_success && log.contains("does not fetch its packets"), "{log}");
}

#[test]
fn a_connection_over_the_limit_is_answered_with_503() {
    let served = Served::start(&["chat", "--max-connections", "2"]);
    let _clients = [Client::connect(served.web), Client::connect(served.web)];
    let (status, _) = served.handshake(&format!("127.0.0.1:{}", served.web), "");
    assert_eq!(status, 503);
}

#[test]
fn the_end_of_the_server_ends_sessions_of_both_transports() {
    let served = Served::start(&["chat"]);
    let mut client = Client::connect(served.web);
    let mut poller = Poller::connect(served.web);
    assert!(poller.next().contains("You are"));
    // Sent before the signal: the server accepts what waits then, and no more.
    let poll = poller.begin("GET", "");
    while !client.next().contains("guest2 has joined") {}
    served.terminate();
    assert_eq!(client.close_code(), 1001);
    // Its poll is answered, with the news of the end or with an error.
    let (status, body) = poll.answer();
    assert!(status == 200 || status == 400 || status == 503, "{status} {body}");
    let (is_success, log) = served.end();
    assert!(is_success, "{log}");
}

#[test]
fn the_tutorial_speaks_socket_io_beside_lines() {
    let served = Served::start(&["tutorial"]);
    let _telnet = served.telnet();
    let mut ana = Client::connect(served.web);
    let mut bo = Client::connect_version_2(served.web);
    let mut eva = Poller::connect(served.web);
    assert_eq!([ana.next(), bo.next(), eva.next()], [(); 3].map(|()| r#"42["messageClient","Welcome"]"#.to_owned()));
    ana.send(r#"42["messageServer"," ¡hola!\n"]"#);
    assert_eq!(served.line(), format!("client{}: ¡hola!", ana.id));
    bo.send(r#"451-["messageServer",{"_placeholder":true,"num":0}]"#);
    bo.send_binary(b"\x04a\x1bb\r\n");
    assert_eq!(served.line(), format!("client{}: a␛b", bo.id));
    let long = "ñ".repeat(501);
    ana.send(&format!(r#"42["messageServer","{long}"]"#));
    assert_eq!(served.line(), format!("client{}: {}…", ana.id, "ñ".repeat(500)));
    ana.send(r#"42["messageServer","bye"]"#);
    assert_eq!([bo.next(), eva.next()], [(); 2].map(|()| r#"42["event","Bye everybody"]"#.to_owned()));
    let head = "GET / HTTP/1.1\r\nConnection: close";
    let (status, body) = request(served.web, &format!("{head}\r\nHost: 127.0.0.1:{}\r\n\r\n", served.web));
    assert_eq!((status, &*body), (404, "there is nothing here; Socket.IO is at /socket.io/\n"));
}

/// Sends a line, and closes the connection when it comes back.
const NODE_CLIENT: &str = r"
    const [name, port] = process.argv.slice(1);
    const socket = require(name)(`http://127.0.0.1:${port}`);
    socket.on('chat message', (line) => {
        console.log(line);
        if (line.includes('You are')) socket.emit('chat message', '¡hola!');
        if (line.endsWith(': ¡hola!')) socket.close();
    });
";

#[test]
fn the_clients_of_npm_chat() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let packages = ["socket.io-client", "socket.io-client-v2"];
    let is_installed = Command::new("node").arg("--version").output().is_ok()
        && packages.iter().all(|package| folder.join("node_modules").join(package).join("package.json").exists());
    if !is_installed {
        let what = "Node and the packages socket.io-client and socket.io-client-v2 (npm install in tests/interop)";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "not installed: {what}");
        return eprintln!("skipped, not installed: {what}");
    }
    let served = Served::start(&["chat"]);
    let mut ana = served.telnet();
    for (package, nick) in iter::zip(packages, ["guest2", "guest3"]) {
        let web = served.web.to_string();
        let mut node = Command::new("node");
        node.args(["-e", NODE_CLIENT, package, &web]).current_dir(&folder).stdin(Stdio::null());
        let output = node.output().expect("it is installed");
        let lines = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && lines.ends_with(&format!("{nick}: ¡hola!\n")), "{package}: {output:?}");
        let news = [format!("-- {nick} has joined"), format!("{nick}: ¡hola!"), format!("-- {nick} has left")];
        assert_eq!([ana.line(), ana.line(), ana.line()], news, "{package}");
    }
}
