//! Socket activation and the messages to the service manager, without systemd: the test holds the sockets and starts
//! the server as systemd does (sd_listen_fds(3), sd_notify(3)). While the server restarts, no connection attempt fails.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use super::retry::retry;
use super::served::{LIMIT, Served};

/// A command that runs `bucle` with one or two sockets as descriptors 3 and 4. A shell moves them there from standard
/// input and standard error: any other way needs unsafe code. With two sockets nothing is read from standard error.
fn activated(first: impl Into<OwnedFd>, second: Option<OwnedFd>, variables: &str, args: &str) -> Command {
    let (moves, count, stderr) = match second {
        Some(second) => ("exec 3<&0 4<&2 </dev/null 2>/dev/null", 2, Stdio::from(second)),
        None => ("exec 3<&0 </dev/null", 1, Stdio::piped()),
    };
    // `exec` keeps the process, so `$$` is the number of the server.
    let program = env!("CARGO_BIN_EXE_bucle");
    let line = format!("{moves}; LISTEN_PID=$$ LISTEN_FDS={count} {variables} exec {program} {args}");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env_remove("RUST_LOG").stdin(first.into()).stdout(Stdio::piped()).stderr(stderr);
    command
}

fn loopback() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// A path for a socket of one test.
fn path(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// Reads the greeting of the tutorial. The error names what happened to the connection instead.
fn read_greeting(mut stream: impl Read) -> Result<(), String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        let mut byte = [0];
        match retry(|| stream.read(&mut byte)) {
            Ok(0) => return Err(format!("ended after {text:?}")),
            Ok(_) => text.extend(byte),
            Err(error) => return Err(format!("{error} after {text:?}")),
        }
    }
    Ok(())
}

fn dial(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = retry(|| TcpStream::connect(address))?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// The first line of the answer to a request.
fn status_of(address: SocketAddr) -> String {
    let mut stream = dial(address).expect("it listens");
    write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it is connected");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_passed_tcp_socket_replaces_the_address() {
    let (listener, address) = loopback();
    let server = Served::of(activated(listener, None, "", "serve tutorial --port 1"));
    assert_eq!(server.line, format!("tutorial listening on {address}"));
    read_greeting(dial(address).expect("it listens")).expect("a greeting");
}

#[test]
fn the_file_of_a_passed_unix_socket_stays() {
    let path = path("passed");
    let listener = UnixListener::bind(&path).expect("a free path");
    let server = Served::of(activated(listener, None, "", "serve tutorial"));
    assert_eq!(server.line, format!("tutorial listening on {}", path.display()));
    read_greeting(UnixStream::connect(&path).expect("it listens")).expect("a greeting");
    server.signal("-TERM");
    assert_eq!(server.end().0, Some(0));
    assert!(path.exists(), "the file belongs to the one who has bound the socket");
    fs::remove_file(path).expect("it is there");
}

#[test]
fn a_socket_named_http_is_for_the_option_http() {
    let path = path("main");
    let main = UnixListener::bind(&path).expect("a free path");
    let (web, address) = loopback();
    let names = "LISTEN_FDNAMES=http:bucle.socket";
    let server = Served::of(activated(web, Some(main.into()), names, "serve tutorial --http"));
    assert_eq!(server.line, format!("tutorial listening on {}", path.display()));
    read_greeting(UnixStream::connect(&path).expect("it listens")).expect("a greeting");
    assert!(status_of(address).starts_with("HTTP/1.1 "), "it speaks HTTP");
    fs::remove_file(path).expect("it is there");
}

#[test]
fn http_on_a_unix_socket_is_served_and_announced() {
    let path = path("web");
    let web = UnixListener::bind(&path).expect("a free path");
    let mut server = Served::of(activated(web, None, "LISTEN_FDNAMES=http", "serve chat --port 0 --http"));
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it is connected");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let hint = server.heard().recv_timeout(LIMIT).expect("a hint");
    assert!(hint.contains("bucle connect :"), "{hint}");
    fs::remove_file(path).expect("it is there");
}

#[test]
fn a_socket_named_inspect_is_for_the_option_inspect() {
    let (listener, address) = loopback();
    let names = "LISTEN_FDNAMES=inspect";
    let _server = Served::of(activated(listener, None, names, "serve echo --port 0 --inspect"));
    let status = status_of(address);
    assert!(status.starts_with("HTTP/1.1 40"), "the page wants a token: {status}");
}

#[test]
fn sockets_for_another_process_are_ignored() {
    let (listener, address) = loopback();
    let server = Served::of(activated(listener, None, "LISTEN_PID=1", "serve echo --port 0"));
    assert_ne!(server.port(), address.port());
}

#[test]
fn passed_sockets_that_do_not_fit_are_errors_with_advice_and_status_3() {
    let tcp = || OwnedFd::from(loopback().0);
    let (_peer, address) = loopback();
    let connection = TcpStream::connect(address).map(OwnedFd::from).expect("it listens");
    let null = File::open("/dev/null").expect("it is there");
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let table: [(&str, OwnedFd, &str, &str, &str); 8] = [
        ("a file", null.into(), "", "serve", "descriptor 3 was passed (LISTEN_FDS), but is no TCP or unix socket"),
        ("UDP", udp.into(), "", "serve", "descriptor 3 was passed (LISTEN_FDS), but is no TCP or unix socket"),
        ("a connection", connection, "", "serve", "the socket that was passed (LISTEN_FDS): it does not listen"),
        (
            "too many",
            tcp(),
            "LISTEN_FDS=4",
            "serve",
            "4 sockets were passed (LISTEN_FDS); a server takes at most three",
        ),
        ("one is missing", tcp(), "LISTEN_FDS=2 LISTEN_FDNAMES=a:http", "serve --http", "descriptor 4 was passed"),
        ("two main ones", tcp(), "LISTEN_FDS=2", "serve", "2 sockets were passed for the same listener"),
        ("no --http", tcp(), "LISTEN_FDNAMES=http", "serve echo", "\n  try:  bucle serve echo --http\n"),
        ("no --inspect", tcp(), "LISTEN_FDNAMES=inspect", "serve lines", "\n  try:  bucle serve lines --inspect\n"),
    ];
    for (name, socket, variables, args, want) in table {
        let output = activated(socket, None, variables, args).output().expect("a shell");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{name}: {stderr}");
        assert!(stderr.starts_with("error: cannot listen") && stderr.contains(want), "{name}: {stderr}");
        assert!(output.stdout.is_empty(), "{name}");
    }
}

#[test]
fn the_service_manager_is_told_when_the_server_is_ready_that_it_turns_and_when_it_stops() {
    let path = path("notify");
    let manager = UnixDatagram::bind(&path).expect("a free path");
    manager.set_read_timeout(Some(LIMIT)).expect("a socket");
    let next = || {
        let mut bytes = [0; 512];
        let len = retry(|| manager.recv(&mut bytes)).expect("a message");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    let (listener, address) = loopback();
    let variables = "WATCHDOG_USEC=20000 WATCHDOG_PID=$$";
    let mut command = activated(listener, None, variables, "serve tutorial --inspect 0");
    command.env("NOTIFY_SOCKET", &path);
    let server = Served::of(command);
    let ready = next();
    assert!(ready.starts_with(&format!("READY=1\nSTATUS=tutorial listening on {address}, inspector ")), "{ready}");
    assert!(!ready.contains("t="), "the token is secret: {ready}");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1", "the loop turns");
    }
    server.signal("-TERM");
    let last = std::iter::repeat_with(next).find(|message| message != "WATCHDOG=1").expect("messages go on");
    assert!(last.starts_with("STOPPING=1\n"), "{last}");
    assert_eq!(server.end().0, Some(0));
    fs::remove_file(path).expect("it is there");
}

#[test]
fn a_server_that_cannot_notify_serves_all_the_same() {
    let (listener, address) = loopback();
    let mut command = activated(listener, None, "", "serve tutorial");
    command.env("NOTIFY_SOCKET", "/nowhere/notify");
    let mut server = Served::of(command);
    read_greeting(dial(address).expect("it listens")).expect("a greeting");
    let log = server.heard();
    let warning = std::iter::from_fn(|| log.recv_timeout(LIMIT).ok()).find(|line| line.contains("/nowhere/notify"));
    assert!(warning.is_some_and(|line| line.contains("cannot notify the service manager")));
}

/// Four clients connect again and again, while the server is replaced six times. In every other round the next server
/// starts when the last one has ended, so for a while there is none.
#[test]
fn a_restart_loses_no_connection_attempt() {
    let (listener, address) = loopback();
    let start = || Served::of(activated(listener.try_clone().expect("a descriptor"), None, "", "serve tutorial"));
    let is_over = Arc::new(AtomicBool::new(false));
    let (sender, greetings) = mpsc::channel();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (is_over, sender) = (is_over.clone(), sender.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let result = dial(address).map_err(|error| format!("connect: {error}")).and_then(read_greeting);
                    let _ = sender.send(result);
                }
            })
        })
        .collect();
    let mut attempts = 0;
    let mut expect_greetings = |count| {
        for _ in 0..count {
            attempts += 1;
            let result = greetings.recv_timeout(LIMIT).expect("the clients go on");
            assert_eq!(result, Ok(()), "attempt {attempts}");
        }
    };
    let mut server = start();
    for round in 0..6 {
        expect_greetings(40);
        let next = (round % 2 == 0).then(start);
        server.signal("-TERM");
        let (status, stderr) = server.end();
        assert_eq!(status, Some(0), "{stderr}");
        server = next.unwrap_or_else(start);
    }
    expect_greetings(40);
    is_over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client does not panic"));
    for result in greetings.try_iter() {
        assert_eq!(result, Ok(()));
    }
    drop(server);
}

/// A server that is killed loses its connections. Those that it has not accepted wait for the next one.
#[test]
fn a_connection_that_waits_when_the_server_is_killed_is_accepted_by_the_next_one() {
    let (listener, address) = loopback();
    let start = || Served::of(activated(listener.try_clone().expect("a descriptor"), None, "", "serve tutorial"));
    let server = start();
    // A stopped server accepts nothing.
    server.signal("-STOP");
    let waiting = dial(address).expect("the kernel accepts it");
    server.signal("-KILL");
    drop(server);
    let _next = start();
    read_greeting(waiting).expect("a greeting");
}
