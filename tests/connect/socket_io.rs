//! `bucle connect sio://…`: against `bucle serve`, and against a server of the library in the test.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bucle::http::Request;
use bucle::socket_io::{self, Binary, EventError, Options};
use serde_json::Value;

use super::editing::{PROMPT, User};
use super::websocket::{Peer, Served};
use super::{BUCLE, Client, Exit, accept, server};

const TEXT: u8 = 1;

/// A server in a thread that ends with the test program. It pings often. Returns its port.
fn serve() -> u16 {
    serve_with(|_| Ok(()))
}

/// A server that opens no session over WebSocket, like one behind a proxy that does not forward it.
fn serve_polling() -> u16 {
    serve_with(|request| match request.target().contains("transport=websocket") {
        true => Err("no WebSocket here".to_owned()),
        false => Ok(()),
    })
}

fn serve_with(allow: fn(&Request) -> Result<(), String>) -> u16 {
    let (sender, port) = mpsc::channel();
    thread::spawn(move || {
        bucle::run(|lp| {
            let mut options = Options::default();
            options.engine.ping_interval = Duration::from_millis(50);
            options.engine.ping_timeout = Duration::from_secs(2);
            let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), options)?;
            io.allow_request(lp, move |_, request| allow(request));
            let admin = io.of(lp, "/admin");
            admin.use_middleware(lp, |lp, socket, next| match socket.auth::<Value>(lp) {
                Some(auth) if auth["token"] == "secret" => next.allow(lp),
                _ => next.refuse(lp, EventError::new("not \u{1b} authorized")),
            });
            for namespace in [io.main(), admin] {
                namespace.on(lp, "echo", |lp, socket, event| {
                    let arguments = event.arguments();
                    match event.wants_ack() {
                        true => event.ack(lp, arguments),
                        false => socket.emit(lp, "echo back", arguments),
                    };
                });
                namespace.on(lp, "say", |lp, socket, event| {
                    let arguments = event.arguments();
                    socket.emit(lp, "other", 7);
                    socket.emit(lp, "say", arguments);
                    event.ack(lp, "said");
                });
                namespace.on(lp, "bytes", |lp, socket, _| {
                    socket.emit(lp, "bytes", (Binary::from([0, 255]), 7));
                });
                namespace.on(lp, "bye", |lp, socket, _| socket.disconnect(lp, true));
            }
            let _ = sender.send(server.port(lp).unwrap_or_default());
            Ok(())
        })
        .expect("the loop runs");
    });
    port.recv().expect("a port")
}

/// Runs the client with this input, and returns how it has ended.
fn connect(url: &str, options: &[&str], input: &str) -> Exit {
    let mut command = Command::new(BUCLE);
    command.args(["connect", url]).args(options).env_remove("RUST_LOG").stdin(Stdio::piped());
    let mut client = Client::start(&mut command);
    // A client that has ended does not read.
    let _ = client.stdin().write_all(input.as_bytes());
    client.end()
}

#[test]
fn lines_are_events_in_both_directions() {
    let port = serve();
    let main = format!("sio://127.0.0.1:{port}");
    let admin = format!("sio://127.0.0.1:{port}/admin");
    let table: [(&str, &str, &[&str], &str, &str); 9] = [
        ("an event", &main, &[], r#"echo "hola" {"a":[1]} 7"#, "\"echo back\" \"hola\" {\"a\":[1]} 7\n"),
        ("an acknowledgement", &main, &[], "echo \"hola\" 7 ?\n", "echo ? \"hola\" 7\n"),
        ("acknowledgements of all", &main, &["--ack"], "echo 1\necho 2\n", "echo ? 1\necho ? 2\n"),
        ("several events", &main, &[], "say 1\n\n  say 2\n", "other 7\nsay 1\nother 7\nsay 2\n"),
        ("a text of one event", &main, &["--event", "say"], "hola \"ana\" ?\n", "hola \"ana\" ?\n"),
        ("a text, and its acknowledgement", &main, &["--event", "say", "--ack"], "hola\n", "hola\nsaid\n"),
        ("binary values", &main, &["--hex"], "bytes\n", "bytes \"00ff\" 7\n"),
        ("binary values without --hex", &main, &[], "bytes\n", "bytes {\"_placeholder\":true,\"num\":0} 7\n"),
        ("a namespace", &admin, &["--auth", r#"{"token":"secret"}"#], "echo 1 ?\n", "echo ? 1\n"),
    ];
    for (name, url, options, input, want) in table {
        for transport in ["auto", "polling"] {
            let exit = connect(url, &[options, &["--transport", transport]].concat(), input);
            assert_eq!((exit.status, &*exit.stdout, &*exit.stderr), (Some(0), want, ""), "{name}, {transport}");
        }
    }
}

#[test]
fn a_server_without_websocket_is_reached_by_polling() {
    let url = format!("sio://127.0.0.1:{}", serve_polling());
    connect(&url, &[], "echo 1 ?\n").is(0, "echo ? 1\n", "");
    connect(&url, &["--transport", "polling"], "echo 1 ?\n").is(0, "echo ? 1\n", "");
    let refused = format!("cannot connect to {url}: the server answered 400 Bad Request: ");
    connect(&url, &["--transport", "websocket"], "echo 1 ?\n").complains(3, &[&refused, "no WebSocket here"]);
    let mut user = User::at(&format!("'{BUCLE}' connect '{url}'; echo status $?"));
    user.see("connected to sio://127.0.0.1:");
    user.see(" by polling; exit or Ctrl-D ends it");
    user.types("echo \"hola\" ?\r");
    user.see("echo ? \"hola\"");
    user.types("exit\r");
    user.see("status 0");
}

#[test]
fn the_failure_of_the_handshake_is_reported_if_polling_fails_too() {
    let url = format!("sio://127.0.0.1:{}", serve_with(|_| Err("closed today".to_owned())));
    let exit = connect(&url, &[], "echo 1\n");
    exit.complains(3, &[&format!("cannot connect to {url}: the server answered 400 Bad Request: closed today")]);
    let by_polling = "the server has answered a poll with 403 Forbidden: closed today";
    connect(&url, &["--transport", "polling"], "").complains(3, &[by_polling]);
}

#[test]
fn the_end_of_a_session_that_polls_is_that_of_one_over_websocket() {
    let url = format!("sio://127.0.0.1:{}", serve());
    connect(&url, &["--transport", "polling"], "bye\n").is(0, "", "");
    let admin = format!("{url}/admin");
    let refused = format!("cannot connect to {admin}: the server refused the namespace: not ");
    connect(&admin, &["--transport", "polling"], "echo 1\n").complains(3, &[&refused]);
    connect("sio://127.0.0.1:1", &["--transport", "polling"], "").complains(3, &["no server is listening there"]);
}

#[test]
fn a_member_of_the_chat_leaves_with_a_command() {
    let served = Served::start(&["chat"]);
    let url = served.url.replace("ws://", "sio://");
    let exit = connect(&url, &["--event", "chat message"], "/nick ana\nqué tal\n/quit\n");
    assert_eq!((exit.status, &*exit.stderr), (Some(0), ""), "{}", exit.stdout);
    let lines: Vec<&str> = exit.stdout.lines().collect();
    assert!(lines.first().is_some_and(|line| line.starts_with("¡Bienvenido!")), "{lines:?}");
    assert!(lines.contains(&"ana: qué tal") && lines.last() == Some(&"-- good-bye"), "{lines:?}");
    let exit = connect(&url, &[], "\"chat message\" \"hola\"\n");
    assert!(exit.stdout.contains("\"chat message\" \"guest2: hola\"\n"), "{}", exit.stdout);
}

#[test]
fn a_namespace_that_is_not_joined_is_no_connection() {
    let port = serve();
    let refused = "the server refused the namespace: ";
    let table =
        [("/admin", format!(r"{refused}not \x1b authorized")), ("/nowhere", format!("{refused}Invalid namespace"))];
    for (namespace, want) in table {
        let url = format!("sio://127.0.0.1:{port}{namespace}");
        connect(&url, &[], "echo 1\n").complains(3, &[&format!("cannot connect to {url}: {want}\n")]);
    }
    let (listener, target) = server();
    let url = format!("sio://127.0.0.1{target}");
    let peer = thread::spawn(move || {
        let mut peer = Peer::open_at(accept(&listener), "/socket.io/?EIO=4&transport=websocket");
        peer.close(1011, "");
    });
    connect(&url, &[], "").complains(3, &[&url, "before it accepted the namespace (1011 (internal error))"]);
    peer.join().expect("the client connects");
    let advice = format!("bucle serve chat --http {}", &target[1..]);
    connect(&url, &[], "").complains(3, &["no server is listening there", &advice]);
}

#[test]
fn a_line_that_is_no_event_fails_with_its_number() {
    let url = format!("sio://127.0.0.1:{}", serve());
    for (line, why) in [
        ("echo hola", "line 2 of the input has an argument that is no JSON"),
        ("disconnect", "line 2 of the input has the event \"disconnect\": Socket.IO uses this name itself"),
        ("\"echo", "line 2 of the input begins with an event whose name is no JSON string"),
    ] {
        let exit = connect(&url, &[], &format!("echo 1\n{line}\necho 3\n"));
        assert_eq!((exit.status, &*exit.stdout), (Some(1), "\"echo back\" 1\n"), "{line}");
        assert!(exit.stderr.contains(why), "{line}: {}", exit.stderr);
    }
}

#[test]
fn the_end_of_the_session_decides_the_exit_code() {
    let port = serve();
    connect(&format!("sio://127.0.0.1:{port}"), &[], "bye\n").is(0, "", "");
    type End = fn(Peer);
    let table: [(&str, End, i32, &str); 3] = [
        (
            "the session is closed",
            |mut peer| {
                peer.send(TEXT, "1");
                peer.takes_close(1000);
                peer.close(1000, "");
            },
            0,
            "",
        ),
        ("a message that is no packet", |mut peer| peer.send(TEXT, "hola"), 1, "a message is no packet of Engine.IO"),
        ("an end without a close frame", drop, 1, "ended without a close frame"),
    ];
    for (name, end, status, want) in table {
        let (listener, target) = server();
        let peer = thread::spawn(move || {
            let mut peer = Peer::open_at(accept(&listener), "/socket.io/?EIO=4&transport=websocket&x=1");
            peer.send(TEXT, r#"0{"sid":"a"}"#);
            peer.takes_text("40/a,");
            peer.send(TEXT, r#"40/a,{"sid":"b"}"#);
            end(peer);
        });
        let mut command = Command::new(BUCLE);
        command.args(["connect", &format!("sio://127.0.0.1{target}/a?x=1")]).stdin(Stdio::piped());
        let mut client = Client::start(&mut command);
        let stdin = client.stdin();
        peer.join().expect("the client joins the namespace");
        let exit = client.end();
        drop(stdin);
        assert_eq!((exit.status, &*exit.stdout), (Some(status), ""), "{name}: {}", exit.stderr);
        assert!(exit.stderr.contains(want), "{name}: {}", exit.stderr);
    }
}

#[test]
fn wrong_options_are_explained() {
    let table: [(&[&str], &str); 11] = [
        (&["sio://"], "the URL is malformed"),
        (&["sio://h/a,b"], "no commas"),
        (&["sio://h", "--event", "connect"], "choose another one"),
        (&["sio://h", "--auth", "x"], "write a JSON object"),
        (&["sio://h", "--event", ""], "the name is empty"),
        (&["ws://h", "--event", "say"], "--event is for Socket.IO only, and 'ws://h' is not"),
        (&["ws://h", "--ack"], "--ack is for Socket.IO only"),
        (&[":8080", "--auth", "{}"], "--auth is for Socket.IO only"),
        (&["ws://h", "--transport", "polling"], "--transport is for Socket.IO only"),
        (&["sio://h", "--transport", "udp"], "auto, websocket, polling"),
        (&["sios://h"], "leave out sios://"),
    ];
    for (args, why) in table {
        let exit = Client::start(Command::new(BUCLE).arg("connect").args(args).stdin(Stdio::null())).end();
        assert_eq!(exit.status, Some(2), "{args:?}: {}", exit.stderr);
        assert!(exit.stderr.contains(why), "{args:?}: {}", exit.stderr);
    }
}

#[test]
fn a_user_can_type_a_wrong_line_again() {
    let url = format!("sio://127.0.0.1:{}", serve());
    let mut user = User::at(&format!("'{BUCLE}' connect '{url}'; echo status $?"));
    user.see("connected to sio://127.0.0.1:");
    user.see(PROMPT);
    user.types("echo hola ?\r");
    user.see("not sent, because the line has an argument that is no JSON");
    user.types("echo \"hola\" ?\r");
    user.see("echo ? \"hola\"");
    user.types("exit\r");
    user.see("status 0");
}

#[test]
fn a_lost_connection_is_opened_again_and_input_goes_on() {
    let (listener, target) = server();
    let mut command = Command::new(BUCLE);
    command.args(["connect", "--reconnect", &format!("sio://127.0.0.1{target}")]).stdin(Stdio::piped());
    let mut client = Client::start(&mut command);
    let mut stdin = client.stdin();
    let open = || {
        let mut peer = Peer::open_at(accept(&listener), "/socket.io/?EIO=4&transport=websocket");
        peer.send(TEXT, r#"0{"sid":"a"}"#);
        peer.takes_text("40");
        peer.send(TEXT, r#"40{"sid":"b"}"#);
        peer
    };
    let mut peer = open();
    stdin.write_all(b"one 1 ?\n").expect("it reads");
    peer.takes_text(r#"420["one",1]"#);
    // Without a close frame.
    drop(peer);
    stdin.write_all(b"two\n").expect("it reads");
    // An attempt that fails is not the last one.
    drop(accept(&listener));
    let mut peer = open();
    // The acknowledgement of the first connection is not asked for any longer.
    peer.send(TEXT, "430[1]");
    peer.send(TEXT, r#"42["news",7]"#);
    peer.takes_text(r#"42["two"]"#);
    drop(stdin);
    peer.takes_text("41");
    peer.takes_close(1000);
    peer.close(1000, "");
    drop(peer);
    let exit = client.end();
    assert_eq!((exit.status, &*exit.stdout), (Some(0), "news 7\n"), "{}", exit.stderr);
    for part in ["connecting again in 1 s\n", "connecting again in 2 s\n", "connected to sio://"] {
        assert!(exit.stderr.contains(part), "{part}: {}", exit.stderr);
    }
}

#[test]
fn a_server_that_disconnects_a_client_is_not_connected_to_again() {
    let url = format!("sio://127.0.0.1:{}", serve());
    connect(&url, &["--reconnect"], "bye\n").is(0, "", "");
    // The first connection must be made.
    let (listener, target) = server();
    drop(listener);
    connect(&format!("sio://127.0.0.1{target}"), &["--reconnect"], "").complains(3, &["no server is listening there"]);
}
