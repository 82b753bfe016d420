//! `bucle connect` at a terminal and in a pipe, against servers in the test.
#![cfg(all(unix, feature = "cli"))]

#[path = "../support/retry.rs"]
mod retry;

mod editing;
mod history;
mod options;
mod socket_io;
mod websocket;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{env, fs, process, thread};

use retry::retry;

/// How long one step may take before the test fails. No test waits this long when it passes.
const LIMIT: Duration = Duration::from_secs(60);

const BUCLE: &str = env!("CARGO_BIN_EXE_bucle");

/// A running client. Dropping it kills the process.
struct Client {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
}

/// The exit status and the output of a client that has ended.
struct Exit {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Client {
    fn start(command: &mut Command) -> Client {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stdout = in_background(child.stdout.take().map(read_all).expect("it is piped"));
        let stderr = in_background(child.stderr.take().map(read_all).expect("it is piped"));
        Client { child, stdout, stderr }
    }

    fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it is piped, and taken once")
    }

    fn end(mut self) -> Exit {
        let stdout = self.stdout.recv_timeout(LIMIT).expect("the client ends");
        let stderr = self.stderr.recv_timeout(LIMIT).expect("the client ends");
        let status = self.child.wait().expect("it is our child").code();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Exit { status, stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Exit {
    #[track_caller]
    fn is(&self, status: i32, stdout: &str, stderr: &str) {
        assert_eq!((self.status, &*self.stdout, &*self.stderr), (Some(status), stdout, stderr));
    }

    /// Checks that the client has failed with this status and an error message that contains `parts`.
    #[track_caller]
    fn complains(&self, status: i32, parts: &[&str]) {
        assert_eq!((self.status, &*self.stdout), (Some(status), ""), "{}", self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {:?}", self.stderr);
        }
        for debug in ["Error", "Some(", "Os {", "panicked"] {
            assert!(!self.stderr.contains(debug), "{}", self.stderr);
        }
    }
}

fn connect(target: &str, stdin: impl Into<Stdio>) -> Client {
    Client::start(Command::new(BUCLE).args(["connect", target]).stdin(stdin))
}

/// `script`, with the default actions of the signals: the tests may run in the background, where they are ignored.
fn script_command() -> Command {
    if !cfg!(target_os = "linux") {
        return Command::new("script");
    }
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,HUP,QUIT,TERM", "script"]);
    command
}

/// A shell script on its own terminal. Bytes written to the client's standard input are typed on that terminal.
fn in_terminal(shell_script: &str) -> Client {
    Client::start(
        script_command()
            .args(["--quiet", "--flush", "--return", "--command", shell_script, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("XDG_STATE_HOME", "/dev/null")
            .stdin(Stdio::piped()),
    )
}

/// `bucle connect` on a terminal. Afterwards the shell shows the exit status, also after Ctrl-C.
fn connect_in_terminal(target: &str, flags: &str) -> Client {
    in_terminal(&format!("trap : INT; '{BUCLE}' connect {target} {flags}; echo status $?"))
}

fn in_background<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(f()));
    result
}

fn read_all(mut from: impl Read + Send + 'static) -> impl FnOnce() -> Vec<u8> + Send + 'static {
    move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("the stream may end, not fail");
        bytes
    }
}

/// A server on a free port, and the target to type for it.
fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, format!(":{port}"))
}

fn accept(listener: &TcpListener) -> TcpStream {
    let listener = listener.try_clone().expect("there are descriptors");
    let (stream, _) =
        in_background(move || listener.accept()).recv_timeout(LIMIT).expect("a connection").expect("no error");
    stream.set_read_timeout(Some(LIMIT)).expect("it is open");
    stream.set_write_timeout(Some(LIMIT)).expect("it is open");
    stream
}

/// Reads from the stream up to and including `end`.
fn read_until(mut stream: &TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A name for a file of this test. The file is removed when this is dropped.
struct TempPath(PathBuf);

impl TempPath {
    fn new(name: &str) -> TempPath {
        TempPath(env::temp_dir().join(format!("bucle-connect-{name}-{}", process::id())))
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn some_bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn piped_input_is_sent_and_the_reply_printed() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect(&target, Stdio::piped());
    let mut peer = accept(&listener);
    client.stdin().write_all(b"a\nb\n")?;
    // The end of the input ends our side; the server can still reply.
    let mut received = String::new();
    peer.read_to_string(&mut received)?;
    assert_eq!(received, "a\nb\n");
    peer.write_all(b"one\ntwo\n")?;
    drop(peer);
    client.end().is(0, "one\ntwo\n", "");
    Ok(())
}

#[test]
fn exit_in_piped_input_is_data() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect(&target, Stdio::piped());
    let mut peer = accept(&listener);
    client.stdin().write_all(b"exit\nmore\n")?;
    let mut received = String::new();
    peer.read_to_string(&mut received)?;
    assert_eq!(received, "exit\nmore\n");
    drop(peer);
    client.end().is(0, "", "");
    Ok(())
}

#[test]
fn the_server_may_end_first() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect(&target, Stdio::piped());
    let stdin = client.stdin();
    let mut peer = accept(&listener);
    peer.write_all("¡adiós!".as_bytes())?;
    drop((peer, stdin));
    client.end().is(0, "¡adiós!", "");
    Ok(())
}

/// The client does not wait for the input without an end: a program that keeps its pipe open may wait for the client.
#[test]
fn input_that_does_not_end_after_the_servers_end_is_reported() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect(&target, Stdio::piped());
    let mut stdin = client.stdin();
    let mut peer = accept(&listener);
    stdin.write_all(b"a\n")?;
    peer.shutdown(Shutdown::Write)?;
    let mut received = String::new();
    peer.read_to_string(&mut received)?;
    assert_eq!(received, "a\n");
    client.end().complains(1, &["ended its side, and no more input came for 5s: later input is not sent\n"]);
    Ok(())
}

/// The server greets, ends its side and goes on reading. It gets all of the input, over TCP and over a unix socket.
#[test]
fn a_server_that_ends_its_side_first_gets_all_of_the_input() -> std::io::Result<()> {
    for len in [0, 1, 3_000_000] {
        let bytes = some_bytes(len);
        let input = TempPath::new(&format!("input-{len}"));
        fs::write(&input.0, &bytes)?;
        let (listener, target) = server();
        let client = connect(&target, File::open(&input.0)?);
        let mut peer = accept(&listener);
        peer.write_all(b"ready\n")?;
        peer.shutdown(Shutdown::Write)?;
        let mut received = Vec::new();
        peer.read_to_end(&mut received)?;
        assert!(received == bytes, "{} of {len} bytes came", received.len());
        client.end().is(0, "ready\n", "");

        let path = TempPath::new(&format!("half-{len}"));
        let listener = std::os::unix::net::UnixListener::bind(&path.0)?;
        let client = connect(&format!("unix:{}", path.0.display()), File::open(&input.0)?);
        let (mut peer, _) = in_background(move || listener.accept()).recv_timeout(LIMIT).expect("a connection")?;
        peer.shutdown(Shutdown::Write)?;
        received.clear();
        peer.read_to_end(&mut received)?;
        assert!(received == bytes, "{} of {len} bytes came", received.len());
        client.end().is(0, "", "");
    }
    Ok(())
}

/// Each line of the input is written after the server has read the line before.
#[test]
fn input_that_comes_after_the_servers_end_is_sent() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect(&target, Stdio::piped());
    let mut stdin = client.stdin();
    let mut peer = accept(&listener);
    peer.write_all(b"ready\n")?;
    peer.shutdown(Shutdown::Write)?;
    assert_eq!(client.stdout.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout), "the client goes on");
    for line in ["one\n", "two\n", "three\n"] {
        stdin.write_all(line.as_bytes())?;
        assert_eq!(read_until(&peer, "\n"), line);
    }
    drop(stdin);
    assert_eq!(retry(|| peer.read(&mut [0; 8]))?, 0);
    client.end().is(0, "ready\n", "");
    Ok(())
}

/// The server ends its side, reads a little, and closes the connection while the client still sends.
#[test]
fn input_that_cannot_be_delivered_is_reported() -> std::io::Result<()> {
    for reads in [1, 500_000] {
        let (listener, target) = server();
        let mut client = connect(&target, Stdio::piped());
        let mut stdin = client.stdin();
        let mut peer = accept(&listener);
        peer.shutdown(Shutdown::Write)?;
        // More than the buffers of both kernels.
        let written = in_background(move || stdin.write_all(&vec![b'x'; 64 << 20]));
        peer.read_exact(&mut vec![0; reads])?;
        drop(peer);
        client.end().complains(1, &["closed the connection before it had read all of the input\n"]);
        assert!(written.recv_timeout(LIMIT).expect("the pipe is closed").is_err());
    }
    // The server closes the whole connection, and the input goes on until the client has noticed.
    let (listener, target) = server();
    let mut client = connect(&target, Stdio::piped());
    let mut stdin = client.stdin();
    let mut peer = accept(&listener);
    peer.write_all(b"so long\n")?;
    drop(peer);
    while stdin.write_all(b"too late\n").is_ok() {}
    let exit = client.end();
    assert_eq!((exit.status, &*exit.stdout), (Some(1), "so long\n"), "{}", exit.stderr);
    Ok(())
}

#[test]
fn bytes_pass_unchanged() -> std::io::Result<()> {
    let bytes = some_bytes(3_000_000);
    let (listener, target) = server();
    let path = TempPath::new("bytes");
    fs::write(&path.0, &bytes)?;
    let mut command = Command::new(BUCLE);
    let client = Client::start(command.args(["connect", &target]).stdin(File::open(&path.0)?));
    let peer = accept(&listener);
    let back = in_background(move || std::io::copy(&mut &peer, &mut &peer));
    let stdout = client.stdout.recv_timeout(LIMIT).expect("the client ends");
    assert!(stdout == bytes, "{} bytes came back, of {}", stdout.len(), bytes.len());
    back.recv_timeout(LIMIT).expect("the echo ends")?;
    Ok(())
}

#[test]
fn empty_input_ends_our_side() -> std::io::Result<()> {
    let (listener, target) = server();
    let client = connect(&target, Stdio::null());
    let mut peer = accept(&listener);
    assert_eq!(retry(|| peer.read(&mut [0; 8]))?, 0);
    peer.write_all(b"hola\n")?;
    drop(peer);
    client.end().is(0, "hola\n", "");
    Ok(())
}

/// The client reads its input no faster than the server reads, so memory does not grow.
#[test]
fn a_slow_server_slows_the_input_down() -> std::io::Result<()> {
    const TOTAL: usize = 256 << 20;
    let (listener, target) = server();
    let mut client = connect(&target, Stdio::piped());
    let mut stdin = client.stdin();
    let peer = accept(&listener);
    let written = in_background(move || {
        let chunk = some_bytes(1 << 20);
        (0..TOTAL >> 20).try_for_each(|_| stdin.write_all(&chunk))
    });
    let mut taken = 0;
    let mut buf = vec![0; 1 << 20];
    loop {
        match retry(|| (&peer).read(&mut buf))? {
            0 => break,
            len => taken += len,
        }
    }
    assert_eq!(taken, TOTAL);
    written.recv_timeout(LIMIT).expect("everything is sent")?;
    if cfg!(target_os = "linux") {
        let status = fs::read_to_string(format!("/proc/{}/status", client.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel reports it");
        let peak_kib: usize = peak.trim().trim_end_matches(" kB").parse().expect("it is a number");
        assert!(peak_kib < 32 << 10, "{peak_kib} KiB");
    }
    drop(peer);
    client.end().is(0, "", "");
    Ok(())
}

#[test]
fn a_closed_output_pipe_is_not_an_error() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut child = Command::new(BUCLE)
        .args(["connect", &target])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let _open = child.stdin.take();
    drop(child.stdout.take());
    let mut peer = accept(&listener);
    // The first write to a pipe without a reader fails; the server sends until then.
    while peer.write_all(b"one more line\n").is_ok() {}
    let output = in_background(move || child.wait_with_output()).recv_timeout(LIMIT).expect("the client ends")?;
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    Ok(())
}

#[test]
fn a_full_disk_is_reported() -> std::io::Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let (listener, target) = server();
    let child = Command::new(BUCLE)
        .args(["connect", &target])
        .stdin(Stdio::null())
        .stdout(File::options().write(true).open("/dev/full")?)
        .stderr(Stdio::piped())
        .spawn()?;
    let mut peer = accept(&listener);
    peer.write_all(b"hola\n")?;
    let output = in_background(move || child.wait_with_output()).recv_timeout(LIMIT).expect("the client ends")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr, "error: cannot write to standard output: the disk is full (ENOSPC)\n");
    Ok(())
}

#[test]
fn an_input_that_cannot_be_read_is_reported() -> std::io::Result<()> {
    let (listener, target) = server();
    let client = connect(&target, File::open("/")?);
    let mut peer = accept(&listener);
    assert_eq!(retry(|| peer.read(&mut [0; 8]))?, 0);
    drop(peer);
    client.end().complains(1, &["cannot read standard input: it is a directory (EISDIR)"]);
    Ok(())
}

#[test]
fn a_reset_is_reported() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect(&target, Stdio::piped());
    let mut stdin = client.stdin();
    let peer = accept(&listener);
    stdin.write_all(b"hola\n")?;
    assert_eq!(read_until(&peer, "\n"), "hola\n");
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO))?;
    drop(peer);
    client.end().complains(1, &[&format!("the connection to 127.0.0.1{target} was lost: "), "(ECONNRESET)\n"]);
    Ok(())
}

#[test]
fn a_failed_connect_is_explained() {
    let (listener, target) = server();
    drop(listener);
    let port = target.trim_start_matches(':');
    let refused = format!("cannot connect to 127.0.0.1:{port}: no server is listening there (ECONNREFUSED)\n");
    connect(&target, Stdio::null()).end().complains(3, &[&refused, &format!("  try:  bucle serve --port {port}")]);
    connect(&format!("localhost:{port}"), Stdio::null()).end().complains(3, &["(ECONNREFUSED)\n", "  try:  "]);
    connect("no-such-host.invalid", Stdio::null()).end().complains(3, &["no-such-host.invalid:8080: ", "  try:  "]);
    for (url, kind) in [(format!("ws://127.0.0.1:{port}/chat"), "echo"), (format!("sio://localhost:{port}/"), "chat")] {
        let refused = format!("cannot connect to {url}: no server is listening there (ECONNREFUSED)\n");
        let advice = format!("  try:  bucle serve {kind} --http {port}  ");
        connect(&url, Stdio::null()).end().complains(3, &[&refused, &advice]);
    }
    let unknown = "sio://no-such-host.invalid/admin";
    connect(unknown, Stdio::null()).end().complains(3, &[&format!("cannot connect to {unknown}: there is no host")]);
}

#[test]
fn a_host_and_a_port_may_be_two_words() {
    let (listener, target) = server();
    let port = target.trim_start_matches(':').to_owned();
    let serving = thread::spawn(move || {
        for _ in 0..3 {
            let mut stream = accept(&listener);
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("the client sends");
            stream.write_all(text.as_bytes()).expect("the client reads");
        }
    });
    for words in [vec!["127.0.0.1", &port], vec!["127.0.0.1", "-p", &port], vec!["--port", &port]] {
        let mut client = Client::start(Command::new(BUCLE).arg("connect").args(&words).stdin(Stdio::piped()));
        client.stdin().write_all(b"hola\n").expect("the client reads");
        client.end().is(0, "hola\n", "");
    }
    serving.join().expect("it serves");
    let refused: &[(&[&str], &str)] = &[
        (&["a", "b"], "cannot understand the target 'a b': the port is a number from 1 to 65535\n"),
        (&["a:1", "2"], "there are two ports, 1 and 2"),
        (&["unix:/tmp/x", "2"], "a unix socket has no port"),
        (&["ws://h/chat", "2"], "write ws://h:2/chat"),
    ];
    for (words, want) in refused {
        Client::start(Command::new(BUCLE).arg("connect").args(*words).stdin(Stdio::null())).end().complains(2, &[want]);
    }
}

#[test]
fn a_unix_socket_can_be_connected_to() -> std::io::Result<()> {
    let path = TempPath::new("socket");
    let target = format!("unix:{}", path.0.display());
    connect(&target, Stdio::null())
        .end()
        .complains(3, &["there is no such file (ENOENT)\n", "  try:  bucle serve --unix "]);

    let listener = std::os::unix::net::UnixListener::bind(&path.0)?;
    let mut client = connect(&target, Stdio::piped());
    client.stdin().write_all(b"hola\n")?;
    let accepted = listener.try_clone()?;
    let (mut peer, _) = in_background(move || accepted.accept()).recv_timeout(LIMIT).expect("a connection")?;
    let mut received = String::new();
    peer.read_to_string(&mut received)?;
    assert_eq!(received, "hola\n");
    peer.write_all(b"qu\xc3\xa9 tal\n")?;
    drop(peer);
    client.end().is(0, "qué tal\n", "");

    // The file of a server stays after the server has ended.
    drop(listener);
    connect(&target, Stdio::null()).end().complains(3, &["no server is listening on it", "(ECONNREFUSED)\n"]);
    connect(&format!("unix:{}", "x".repeat(200)), Stdio::null()).end().complains(3, &["too long"]);
    Ok(())
}

#[test]
fn an_invalid_target_is_explained() {
    for (target, part, meant) in [
        ("host:http", "the port is a number from 1 to 65535", "127.0.0.1:8080"),
        (":0", "the port is a number from 1 to 65535", "127.0.0.1:8080"),
        ("/run/app.sock", "a path is written as unix:/run/app.sock", "unix:/run/app.sock"),
        ("http://127.0.0.1:80/", "leave out http://", "127.0.0.1:80"),
    ] {
        let advice = format!("  try:  bucle connect {meant}\n");
        connect(target, Stdio::null()).end().complains(2, &[target, part, &advice]);
    }
    connect("::1:9032", Stdio::null())
        .end()
        .complains(2, &["'::1:9032': did you mean [::1]:9032?", "  try:  bucle connect [::1]:9032"]);
}

/// The text that a terminal shows, without escape sequences.
fn shown(terminal: &str) -> String {
    let mut text = terminal.replace('\r', "");
    for sequence in ["\x1bD", "\x1b[A", "\x1b7", "\x1b[L", "\x1b8", "\x1b[B", "\x1b[K"] {
        text = text.replace(sequence, "");
    }
    text
}

#[test]
fn typed_lines_go_to_the_server() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect_in_terminal(&target, "");
    let mut keyboard = client.stdin();
    let mut peer = accept(&listener);
    keyboard.write_all("ñandú\n".as_bytes())?;
    assert_eq!(read_until(&peer, "\n"), "ñandú\n");
    // A character cut in two, a colour, and a line without an end.
    peer.write_all(b"\xc3")?;
    peer.write_all(b"\xb1and\xc3\xba\r\n\x1b[31m!\n\xff\xfd\x06 name?")?;
    keyboard.write_all(b"exit\n")?;
    assert_eq!(retry(|| peer.read(&mut [0; 8]))?, 0, "exit is not sent");
    peer.write_all(b"bye\n")?;
    drop(peer);
    let terminal = client.end();
    let text = shown(&terminal.stdout);
    for part in ["connected to 127.0.0.1:", "> ", "ñandú", "\\x1b[31m!", "\\xff\\xfd\\x06 name?", "bye\n", "status 0"]
    {
        assert!(text.contains(part), "{part:?} is not in {:?}", terminal.stdout);
    }
    Ok(())
}

#[test]
fn ctrl_d_ends_our_side() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect_in_terminal(&target, "");
    let mut keyboard = client.stdin();
    let mut peer = accept(&listener);
    keyboard.write_all(b"hola\n")?;
    assert_eq!(read_until(&peer, "\n"), "hola\n");
    keyboard.write_all(b"\x04")?;
    assert_eq!(retry(|| peer.read(&mut [0; 8]))?, 0);
    peer.write_all(b"until soon\n")?;
    drop(peer);
    let text = shown(&client.end().stdout);
    assert!(text.contains("until soon\n") && text.contains("status 0"), "{text:?}");
    Ok(())
}

#[test]
fn the_user_is_told_that_the_server_has_closed() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect_in_terminal(&target, "");
    let _keyboard = client.stdin();
    let mut peer = accept(&listener);
    peer.write_all(b"so long")?;
    drop(peer);
    let text = shown(&client.end().stdout);
    assert!(text.contains("so long"), "{text:?}");
    assert!(text.contains("the server closed the connection\n") && text.contains("status 0"), "{text:?}");
    Ok(())
}

#[test]
fn ctrl_c_ends_the_client_immediately() -> std::io::Result<()> {
    for flags in ["", "--raw"] {
        let (listener, target) = server();
        let mut client = connect_in_terminal(&target, flags);
        let mut keyboard = client.stdin();
        let mut peer = accept(&listener);
        keyboard.write_all(b"hola\n")?;
        assert_eq!(read_until(&peer, "\n"), "hola\n");
        keyboard.write_all(b"half a line\x03")?;
        let rest = retry(|| peer.read(&mut [0; 8]));
        assert!(!matches!(rest, Ok(1..)), "an unfinished line is not sent");
        let text = shown(&client.end().stdout);
        assert!(text.contains("status 130"), "{text:?}");
    }
    Ok(())
}

/// A shell without job control starts a command with `&` like this.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() -> std::io::Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let (listener, target) = server();
    let script = r#"trap '' INT; exec "$0" connect "$1""#;
    let mut client = Client::start(Command::new("sh").args(["-c", script, BUCLE, &target]).stdin(Stdio::piped()));
    let mut peer = accept(&listener);
    let pid = client.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status()?.success());
    peer.write_all(b"hola\n")?;
    drop((client.stdin(), peer));
    client.end().is(0, "hola\n", "");
    Ok(())
}

/// With piped input there is no prompt, but output to a terminal is still escaped.
#[test]
fn a_pipe_to_a_terminal_shows_text() -> std::io::Result<()> {
    let (listener, target) = server();
    let client = in_terminal(&format!("printf 'a\\n' | '{BUCLE}' connect {target}; echo status $?"));
    let mut peer = accept(&listener);
    assert_eq!(read_until(&peer, "\n"), "a\n");
    peer.write_all(b"\x1b[31mred \xe2\x82")?;
    peer.write_all(b"\xac\n")?;
    drop(peer);
    let text = client.end().stdout;
    assert!(text.contains("\\x1b[31mred €\r\nstatus 0"), "{text:?}");
    Ok(())
}

#[test]
fn raw_writes_the_servers_bytes_unchanged() -> std::io::Result<()> {
    let (listener, target) = server();
    let mut client = connect_in_terminal(&target, "--raw");
    let mut keyboard = client.stdin();
    let mut peer = accept(&listener);
    peer.write_all(b"\x1b[31mred\x1b[0m\n")?;
    keyboard.write_all(b"exit\n")?;
    assert_eq!(retry(|| peer.read(&mut [0; 8]))?, 0);
    drop(peer);
    let text = client.end().stdout;
    assert!(text.contains("\x1b[31mred\x1b[0m\r\n") && text.contains("status 0"), "{text:?}");
    Ok(())
}

/// After the client has ended the terminal has the same settings and flags as before.
#[test]
fn the_terminal_is_left_as_it_was() -> std::io::Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let look = "stty -g; grep flags /proc/self/fdinfo/0";
    let (listener, target) = server();
    let mut client = in_terminal(&format!("{look}; '{BUCLE}' connect {target}; echo; {look}"));
    let mut keyboard = client.stdin();
    let peer = accept(&listener);
    keyboard.write_all(b"hola\n")?;
    assert_eq!(read_until(&peer, "\n"), "hola\n");
    drop(peer);
    let text = shown(&client.end().stdout);
    // `stty -g` prints one word of many numbers between colons; the kernel's flags are on a line of their own.
    let state: Vec<_> =
        text.lines().filter(|line| line.starts_with("flags:") || line.matches(':').count() > 10).collect();
    assert_eq!(state.len(), 4, "{text:?}");
    assert_eq!(state[..2], state[2..]);
    Ok(())
}
