//! The examples `socketio_tutorial`, `socketio_client` and `chat` do what they promise: for a client that speaks the
//! frames itself, and for the clients of npm, of version 4 and 2.
//!
//! The packages of npm are those of `tests/interop`; without them these tests are skipped, and with `CI=true` they
//! fail. The page of the chat is tested in Chromium, in `tests/browser.rs`.

#![cfg(feature = "socket-io")]

#[path = "support/socket_io.rs"]
mod socket_io;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use socket_io::{Client, Poller, request};

/// How long a test waits for something that must come. Only a failing test waits this long.
const LIMIT: Duration = Duration::from_secs(60);

/// A running example. It is killed when it is dropped.
struct Example {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Example {
    /// Starts a server.
    fn start(name: &str) -> Example {
        let mut example = Example::run(name, &[]);
        let line = example.line();
        let port = line.strip_prefix("listening on 127.0.0.1:").and_then(|port| port.parse().ok());
        example.port = port.unwrap_or_else(|| panic!("{name}: the first line is {line:?}"));
        example
    }

    fn run(name: &str, arguments: &[&str]) -> Example {
        let test = std::env::current_exe().expect("the test has a path");
        let profile = test.parent().and_then(Path::parent).expect("it is target/PROFILE/deps/socket_io_examples-…");
        let program = profile.join("examples").join(name);
        assert!(program.exists(), "{} is missing: run `cargo build --examples`", program.display());
        let mut command = Command::new(program);
        command.args(arguments).env("PORT", "0").env_remove("CLIENT_DIST");
        command.stdin(if arguments.is_empty() { Stdio::null() } else { Stdio::piped() }).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Example { child, lines, port: 0 }
    }

    /// Types into its terminal.
    #[cfg(feature = "process")]
    fn type_in(&mut self, text: &str) {
        use std::io::Write;
        self.child.stdin.as_mut().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    }

    /// The program has ended, without a failure and without another line.
    #[cfg(feature = "process")]
    fn expect_end(&mut self) {
        assert_eq!(self.lines.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Disconnected));
        assert!(self.child.wait().expect("it was started").success());
    }

    /// The next line that it prints.
    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_tutorial_prints_what_clients_send_and_announces_a_bye_to_the_others() {
    let example = Example::start("socketio_tutorial");
    let mut ana = Client::connect(example.port);
    assert_eq!(ana.next(), r#"42["messageClient","Welcome"]"#);
    let mut bo = Client::connect_version_2(example.port);
    assert_eq!(bo.next(), r#"42["messageClient","Welcome"]"#);
    let mut eva = Poller::connect(example.port);
    assert_eq!(eva.next(), r#"42["messageClient","Welcome"]"#);

    ana.send(r#"42["messageServer","  ¡hola!\n"]"#);
    assert_eq!(example.line(), format!("client{}: ¡hola!", ana.id));
    ana.send(r#"451-["messageServer",{"_placeholder":true,"num":0}]"#);
    ana.send_binary("señal\r\n".as_bytes());
    assert_eq!(example.line(), format!("client{}: señal", ana.id));
    ana.send(r#"42["messageServer",7]"#);
    assert_eq!(example.line(), format!("client{}: 7", ana.id));
    ana.send(r#"42["messageServer","a\u001b[2Jb"]"#);
    assert_eq!(example.line(), format!("client{}: a␛[2Jb", ana.id));
    bo.send(r#"42["messageServer","buenas"]"#);
    assert_eq!(example.line(), format!("client{}: buenas", bo.id));

    bo.send(r#"42["messageServer","bye\n"]"#);
    assert_eq!(ana.next(), r#"42["event","Bye everybody"]"#);
    assert_eq!(eva.next(), r#"42["event","Bye everybody"]"#);
    // The next event for the client that has sent it is that of another one.
    eva.send(r#"42["messageServer","bye"]"#);
    assert_eq!(bo.next(), r#"42["event","Bye everybody"]"#);
    assert_eq!(ana.next(), r#"42["event","Bye everybody"]"#);
}

#[cfg(feature = "process")]
#[test]
fn the_client_of_the_tutorial_sends_lines_and_ends_with_exit() {
    let server = Example::start("socketio_tutorial");
    let url = format!("http://127.0.0.1:{}", server.port);
    let mut client = Example::run("socketio_client", &[&url]);
    assert_eq!(client.line(), "client connected");
    assert_eq!(client.line(), "Server: Welcome");
    client.type_in("¡hola!\nbue");
    assert_eq!(client.line(), "send: ¡hola!");
    assert!(server.line().ends_with(": ¡hola!"));
    client.type_in("nas\r\n");
    assert_eq!(client.line(), "send: buenas");
    assert!(server.line().ends_with(": buenas"));
    client.type_in("exit\nnot sent\n");
    assert_eq!(client.line(), "client disconnected");
    client.expect_end();
}

#[cfg(feature = "process")]
#[test]
fn the_client_of_the_tutorial_sends_what_was_typed_before_it_was_connected() {
    let server = Example::start("socketio_tutorial");
    let url = format!("http://127.0.0.1:{}", server.port);
    let mut client = Example::run("socketio_client", &[&url]);
    client.type_in("uno\ndos\n");
    client.child.stdin = None;
    for text in ["uno", "dos"] {
        assert!(server.line().ends_with(text));
    }
    let mut printed: Vec<String> = client.lines.iter().collect();
    printed.retain(|line| line != "Server: Welcome");
    printed.sort();
    assert_eq!(printed, ["client connected", "client disconnected", "send: dos", "send: uno"]);
    assert!(client.child.wait().expect("it was started").success());
}

#[cfg(feature = "process")]
#[test]
fn the_client_of_the_tutorial_ends_without_a_server() {
    let mut client = Example::run("socketio_client", &["http://127.0.0.1:1"]);
    client.type_in("exit\n");
    client.expect_end();
}

#[test]
fn the_chat_answers_the_sender_and_everybody() {
    let example = Example::start("chat");
    let mut ana = Client::connect(example.port);
    let mut bo = Client::connect(example.port);
    for client in [&mut ana, &mut bo] {
        assert_eq!(client.next(), r#"42["chat message","Welcome"]"#);
        client.send(r#"42["chat message","hola"]"#);
        assert_eq!(client.next(), r#"42["chat message","server: hola"]"#);
    }
    ana.send(r#"42["chat message","everybody"]"#);
    let announcement = format!(r#"42["everybody","{}: everybody"]"#, ana.id);
    assert_eq!([ana.next(), bo.next()], [announcement.as_str(); 2]);
}

#[test]
fn the_chat_has_a_page_and_a_client_for_it() {
    let example = Example::start("chat");
    let get = |path: &str| {
        request(example.port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    };
    let (status, page) = get("/");
    assert_eq!(status, 200);
    for part in [r#"src="/socket.io/socket.io.js""#, "io()", r#"id="m""#, r#"id="messages""#] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let (status, script) = get("/socket.io/socket.io.js");
    assert_eq!(status, 200);
    assert!(script.contains("function io()"), "{script}");
    assert_eq!(get("/socket.io/socket.io.min.js").0, 400, "only one script is there");
    assert_eq!(get("/hola").0, 404);
}

#[test]
fn the_clients_of_npm_use_both_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let packages = ["socket.io-client", "socket.io-client-v2"];
    let is_installed = Command::new("node").arg("--version").output().is_ok()
        && packages.iter().all(|package| folder.join("node_modules").join(package).join("package.json").exists());
    if !is_installed {
        let what = "Node and the packages socket.io-client and socket.io-client-v2 (npm install in tests/interop)";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "not installed: {what}");
        return eprintln!("skipped, not installed: {what}");
    }
    for package in packages {
        let [tutorial, chat] = ["socketio_tutorial", "chat"].map(Example::start);
        let script = Command::new("node")
            .arg(folder.join("examples_client.js"))
            .args([package, &tutorial.port.to_string(), &chat.port.to_string()])
            .stdin(Stdio::null())
            .output()
            .expect("it is installed");
        let report = String::from_utf8_lossy(&script.stdout);
        assert!(script.status.success(), "{package}: {report}{}", String::from_utf8_lossy(&script.stderr));
        assert!(report.lines().any(|line| line.starts_with("ok ")), "it has checked something: {report}");
        assert!(tutorial.line().ends_with(": texto"));
        assert!(tutorial.line().ends_with(": bytes"));
    }
}
