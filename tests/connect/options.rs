//! `--crlf`, `--timeout` and `--color`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{BUCLE, Client, accept, connect_in_terminal, server};

/// A client without input.
fn connect_with(target: &str, flags: &[&str]) -> Client {
    Client::start(Command::new(BUCLE).args(["connect", target]).args(flags).stdin(Stdio::null()))
}

#[test]
fn with_crlf_lines_of_a_pipe_and_typed_lines_end_in_cr_and_lf() {
    let (listener, target) = server();
    let command = &mut Command::new(BUCLE);
    let mut client = Client::start(command.args(["connect", &target, "--crlf"]).stdin(Stdio::piped()));
    let mut stream = accept(&listener);
    client.stdin().write_all(b"GET / HTTP/1.0\nHost: a\r\n\n").expect("the client reads");
    let mut sent = Vec::new();
    stream.read_to_end(&mut sent).expect("the client sends");
    assert_eq!(String::from_utf8_lossy(&sent), "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    drop(stream);
    client.end().is(0, "", "");

    let mut client = connect_in_terminal(&target, "--crlf");
    let mut stream = accept(&listener);
    let mut stdin = client.stdin();
    stdin.write_all(b"hola\rexit\r").expect("the terminal reads");
    let mut sent = Vec::new();
    stream.read_to_end(&mut sent).expect("the client sends");
    assert_eq!(sent, b"hola\r\n");
    drop((stream, stdin));
    assert!(client.end().stdout.contains("status 0"));

    connect_with("ws://127.0.0.1:1/", &["--crlf"]).end().complains(2, &["--crlf is for TCP only"]);
}

/// A listener whose accept queue is full drops the SYN. A WebSocket server may also not answer the handshake.
#[test]
fn with_a_timeout_the_client_gives_up() {
    let (listener, target) = server();
    let address = listener.local_addr().expect("it is bound");
    let fill = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
    let waiting: Vec<TcpStream> = std::iter::from_fn(fill).take(10_000).collect();
    connect_with(&target, &["--timeout", "200ms"])
        .end()
        .complains(3, &[&format!("cannot connect to 127.0.0.1{target}: no response; "), "(ETIMEDOUT)\n"]);
    drop((waiting, listener));

    let (listener, target) = server();
    let client = connect_with(&format!("ws://127.0.0.1{target}/"), &["--timeout", "200ms"]);
    let silent = accept(&listener);
    client.end().complains(3, &[&format!("cannot connect to ws://127.0.0.1{target}/: no connection in 200ms\n")]);
    drop(silent);
    connect_with(&target, &["--timeout", "0"]).end().complains(2, &["it must be more than 0"]);
}

/// Without a `--timeout` the limits of the handshake, of the session and of the namespace are ten and twenty seconds.
#[test]
fn a_longer_timeout_also_lets_a_slow_server_answer() {
    let (listener, target) = server();
    let clients = ["ws://127.0.0.1{}/", "sio://127.0.0.1{}/", "sio://127.0.0.1{} --transport polling"].map(|words| {
        let words = words.replace("{}", &target);
        let (url, flags) = words.split_once(' ').unwrap_or((&words, ""));
        let flags: Vec<&str> = flags.split_whitespace().chain(["--timeout", "22s"]).collect();
        (url.to_owned(), connect_with(url, &flags))
    });
    // They do not answer.
    let silent = clients.each_ref().map(|_| accept(&listener));
    for (url, client) in clients {
        client.end().complains(3, &[&format!("cannot connect to {url}: no connection in 22s\n")]);
    }
    drop(silent);
}

#[test]
fn a_connection_that_is_made_is_not_limited() {
    let (listener, target) = server();
    let client = connect_with(&target, &["--timeout", "2s"]);
    let mut stream = accept(&listener);
    // More than the limit. The client reads this only if it has not given up.
    std::thread::sleep(Duration::from_millis(2200));
    stream.write_all(b"late\n").expect("the client reads");
    drop(stream);
    client.end().is(0, "late\n", "");
}

#[test]
fn color_is_on_a_terminal_unless_it_is_refused() {
    let (listener, target) = server();
    let logged = |prefix: &str, flags: &str| {
        let script = format!("{prefix} '{BUCLE}' connect {target} -vv --raw {flags} </dev/null 2>&1");
        let client = super::in_terminal(&script);
        drop(accept(&listener));
        let exit = client.end();
        assert!(exit.stdout.contains("INFO") || exit.stdout.contains("DEBUG"), "{}", exit.stdout);
        exit.stdout.contains("\x1b[3")
    };
    assert!(logged("", ""));
    assert!(!logged("", "--color never"));
    assert!(!logged("NO_COLOR=1", ""));
    assert!(!logged("TERM=dumb", ""));
    assert!(logged("NO_COLOR=1", "--color always"));
    // In a pipe.
    let piped = |flags: &[&str]| {
        let client = connect_with(&target, &[&["-vv"], flags].concat());
        drop(accept(&listener));
        client.end().stderr.contains("\x1b[")
    };
    assert!(!piped(&[]) && piped(&["--color=always"]));
    connect_with(&target, &["--color", "pink"]).end().complains(2, &["invalid value 'pink'"]);
}

#[test]
fn no_message_has_the_query_of_the_url_or_the_credentials() {
    let (listener, target) = server();
    drop(listener);
    let table: [(&str, &[&str], i32, &str); 8] = [
        ("ws://127.0.0.1{}/room?token=s3cret", &[], 3, "cannot connect to ws://127.0.0.1{}/room: "),
        ("sio://127.0.0.1{}/admin?token=s3cret", &[], 3, "cannot connect to sio://127.0.0.1{}/admin: "),
        ("wss://h/room?token=s3cret", &[], 2, "'wss://h/room': "),
        ("ws://me:s3cret@h/", &[], 2, "'ws://h/': "),
        ("ws://h/?token=s3cret", &["2"], 2, "'ws://h/ 2': write ws://h:2/"),
        ("ws://h/?token=s3cret", &["--crlf"], 2, "'ws://h/' is not"),
        ("ws://h/?token=s3cret", &["--ack"], 2, "'ws://h/' is not"),
        (
            "sio://h",
            &["--auth", r#"{"token":"s3cret""#],
            2,
            "invalid value '…' for '--auth <JSON>': write a JSON object",
        ),
    ];
    for (url, flags, status, want) in table {
        let exit = connect_with(&url.replace("{}", &target), flags).end();
        exit.complains(status, &[&want.replace("{}", &target)]);
        assert!(!exit.stderr.contains("s3cret"), "{}", exit.stderr);
    }
}
