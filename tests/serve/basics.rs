//! `bucle serve` as a user runs it: its servers, its signals, and its error messages.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Output;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::retry::retry;
use super::served::{LIMIT, Served, bucle};

/// Runs a command that ends without a signal.
fn run(args: &[&str]) -> Output {
    bucle(args).output().expect("the program starts")
}

/// A folder for one test, in the target folder.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn echo_returns_every_byte() {
    let server = Served::start(&["echo"]);
    assert!(server.line.starts_with("echo listening on 127.0.0.1:"), "{}", server.line);
    let mut peer = server.connect();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut writer = peer.0.try_clone().expect("a descriptor");
    let sent = bytes.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).expect("the server reads");
        writer.shutdown(Shutdown::Write).expect("it is open");
    });
    assert!(peer.rest() == bytes, "the bytes and nothing else, no greeting");
    writing.join().expect("it was written");
}

/// The client sends eight times what the kernel buffers for a connection. The server must neither lose bytes nor
/// store them all.
#[test]
fn echo_stops_reading_from_a_peer_that_does_not_read() {
    let server = Served::start(&["echo"]);
    let mut peer = server.connect();
    peer.0.set_write_timeout(Some(Duration::from_millis(500))).expect("a socket");
    let chunk = [b'x'; 64 * 1024];
    let mut sent = 0;
    loop {
        match retry(|| peer.0.write(&chunk)) {
            Ok(n) => sent += n,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                break;
            }
        }
        assert!(sent < 256 * 1024 * 1024, "the server went on reading");
    }
    peer.finish();
    assert!(peer.rest() == vec![b'x'; sent], "every byte is returned");
}

#[test]
fn lines_returns_each_line_with_its_line_break() {
    let server = Served::start(&["lines"]);
    let mut peer = server.connect();
    for part in ["ho", "la\r\nuno\ndos\r", "\n\r\n", "¡ñandú €!\nlast"] {
        peer.send(part);
    }
    peer.finish();
    let answer = String::from_utf8(peer.rest()).expect("as sent");
    assert_eq!(answer, "hola\r\nuno\ndos\r\n\r\n¡ñandú €!\nlast");
}

#[test]
fn relay_sends_each_line_to_every_member() {
    let server = Served::start(&["relay"]);
    let mut a = server.connect();
    a.send("a is in\n");
    assert_eq!(a.bytes(8), b"a is in\n");
    let mut b = server.connect();
    b.send("b is in\n");
    assert_eq!([a.bytes(8), b.bytes(8)], [b"b is in\n"; 2]);
    b.send("x\r\nhola\r\nyy");
    assert_eq!([a.bytes(9), b.bytes(9)], [b"x\r\nhola\r\n"; 2]);
    b.finish();
    assert_eq!(b.rest(), b"yy\r\n");
    assert_eq!(a.bytes(4), b"yy\r\n");
    a.send("still here\n");
    assert_eq!(a.bytes(11), b"still here\n");
}

#[test]
fn discard_answers_nothing() {
    let server = Served::start(&["discard"]);
    let mut peer = server.connect();
    peer.send(vec![b'x'; 1024 * 1024]);
    peer.finish();
    assert_eq!(peer.rest(), b"");
}

#[test]
fn tutorial_answers_each_line_and_broadcasts_a_bye() {
    let server = Served::start(&["tutorial"]);
    let (mut a, mut b) = (server.greeted(), server.greeted());
    for part in ["ho", "la\r\nuno\r\ndos\n"] {
        a.send(part);
    }
    assert_eq!([a.line(), a.line(), a.line()], ["server: hola", "server: uno", "server: dos"]);
    a.send("¡Bienvenido! ñandú €\r\nbye\r\n");
    assert_eq!([a.line(), a.line(), a.line()], ["server: ¡Bienvenido! ñandú €", "server: bye", "Broadcasting bye"]);
    assert_eq!(b.line(), "Broadcasting bye");
    b.send("last");
    b.finish();
    assert_eq!(b.rest(), b"server: last\r\n");
}

#[test]
fn telnet_commands_are_handled() {
    let server = Served::start(&["tutorial"]);
    let mut peer = server.greeted();
    peer.send(b"\xff\xf4\xff\xfd\x06");
    assert_eq!(peer.bytes(3), b"\xff\xfc\x06", "Ctrl-C");
    peer.send(b"ho\xff\xfb\x1fla\r\n");
    assert_eq!(peer.bytes(3), b"\xff\xfe\x1f", "window size refused");
    assert_eq!(peer.line(), "server: hola");
    peer.send(b"\x04");
    assert_eq!(peer.rest(), b"", "Ctrl-D");
}

#[test]
fn chat_sends_each_line_to_the_room() {
    let server = Served::start(&[]);
    assert!(server.line.starts_with("chat listening on 127.0.0.1:"), "{}", server.line);
    let mut ana = server.greeted();
    let mut bo = server.greeted();
    assert_eq!(ana.line(), "-- guest2 has joined");
    ana.send("/nick ana\r\nhola\r\n");
    for peer in [&mut ana, &mut bo] {
        assert_eq!([peer.line(), peer.line()], ["-- guest1 is now called ana", "ana: hola"]);
    }
    bo.send("/nick ANA\r\n/nick bo\r\n/who\r\n/me waves\r\n");
    let received = [bo.line(), bo.line(), bo.line(), bo.line()];
    let want =
        ["-- ANA is taken; try another nick", "-- guest2 is now called bo", "-- in lobby: ana, bo", "* bo waves"];
    assert_eq!(received, want);
    assert_eq!([ana.line(), ana.line()], ["-- guest2 is now called bo", "* bo waves"]);

    ana.send("/msg BO psst, you\r\n/msg nobody hey\r\n/msg bo\r\n");
    assert_eq!(bo.line(), "ana (to you only): psst, you");
    assert_eq!(ana.line(), "ana (to bo only): psst, you");
    assert!(ana.line().contains("there is no nobody"));
    assert!(ana.line().contains("text is missing"));

    bo.send("/join Rust\r\nanybody?\r\n/rooms\r\n");
    assert_eq!(
        [bo.line(), bo.line(), bo.line()],
        ["-- bo has joined rust", "bo: anybody?", "-- rooms: lobby (1), rust (1)"]
    );
    assert_eq!(ana.line(), "-- bo has gone to rust");
    bo.send("/join lobby\r\n/quit\r\nnever said\r\n");
    assert_eq!(bo.line(), "-- bo has joined lobby");
    assert_eq!(bo.rest(), b"-- good-bye\r\n");
    assert_eq!([ana.line(), ana.line()], ["-- bo has joined lobby", "-- bo has left"]);
    ana.send("/rooms\r\n/what\r\n/NICK\r\n/msg\r\n//hi\r\n/help\r\n");
    assert_eq!(ana.line(), "-- rooms: lobby (1)", "an empty room is gone");
    assert!(ana.line().contains("there is no /what; see /help"));
    assert_eq!(ana.line(), "-- /nick NAME        change your name to NAME");
    assert_eq!(ana.line(), "-- /msg NICK TEXT    send TEXT to NICK only");
    assert_eq!(ana.line(), "ana: /hi");
    assert!(ana.line().contains("/nick NAME"));
}

#[test]
fn chat_replaces_the_control_bytes_of_other_members() {
    let server = Served::start(&["chat"]);
    let (mut ana, mut bo) = (server.greeted(), server.greeted());
    bo.send(b"a\x1b]0;title\x07 \xc3(\x00 \xc2\x9b2J\r\n/me \x1b[2J\r\n/nick e\x1b[31m\r\n/nick 123456789012345678901\r\n/join two words\r\n");
    let want = ["guest2: a␛]0;title␇ \u{fffd}(␀ \u{fffd}2J", "* guest2 ␛[2J"];
    assert_eq!([bo.line(), bo.line()], want);
    assert_eq!([ana.line(), ana.line(), ana.line()], ["-- guest2 has joined", want[0], want[1]]);
    assert_eq!(bo.line(), "-- a nick is made of letters and digits, without spaces");
    assert_eq!(bo.line(), "-- a nick has at most 20 characters");
    assert_eq!(bo.line(), "-- a room's name is made of letters and digits, without spaces");
    // A member whose connection ends has left too, and a last line without a line break counts.
    bo.send("adios");
    bo.finish();
    assert_eq!([ana.line(), ana.line()], ["guest2: adios", "-- guest2 has left"]);
}

#[test]
fn a_line_over_the_limit_ends_only_its_own_connection() {
    let server = Served::start(&["chat"]);
    let (mut ana, mut bo) = (server.greeted(), server.greeted());
    assert_eq!(ana.line(), "-- guest2 has joined");
    bo.send(vec![b'x'; 65 * 1024]);
    assert_eq!(bo.line(), "line over 65536 bytes, good-bye");
    assert_eq!(bo.rest(), b"");
    drop(bo);
    assert_eq!(ana.line(), "-- guest2 has left");
}

#[test]
fn a_full_server_refuses_with_a_message_until_there_is_room() {
    let server = Served::start(&["tutorial", "--max-connections", "1"]);
    let mut first = server.greeted();
    let mut second = server.connect();
    assert_eq!(second.rest(), b"server full, try again later\r\n");
    first.send("hola\n");
    assert_eq!(first.line(), "server: hola", "the connected client is still served");
    first.finish();
    assert_eq!(first.rest(), b"");
    drop(first);
    server.greeted();
}

/// `bucle serve` takes the same notations of numbers and times as `bucle load`.
#[test]
fn numbers_take_units_and_times_take_fractions() {
    let server = Served::start(&["tutorial", "--max-connections", "1k", "--idle-timeout", "1.5h", "--spin", "0.5ms"]);
    server.greeted();
}

#[test]
fn an_idle_client_gets_a_message_and_is_disconnected() {
    let server = Served::start(&["chat", "--idle-timeout", "300ms"]);
    let mut peer = server.greeted();
    assert_eq!(peer.rest(), b"idle for too long, good-bye\r\n");
    let server = Served::start(&["echo", "--idle-timeout", "300ms"]);
    assert_eq!(server.connect().rest(), b"", "an echo server writes no message");
}

#[test]
fn a_signal_drains_the_connections_first() {
    for signal in ["-TERM", "-INT"] {
        let server = Served::start(&["tutorial"]);
        let (mut a, mut b) = (server.greeted(), server.greeted());
        a.send("before\n");
        server.signal(signal);
        assert_eq!(a.rest(), b"server: before\r\n", "lines that have arrived are answered before the FIN");
        assert_eq!(b.rest(), b"");
        drop((a, b));
        let (status, stderr) = server.end();
        assert_eq!(status, Some(0), "{signal}: {stderr}");
    }
}

#[test]
fn stuck_peers_do_not_delay_the_end() {
    let server = Served::start(&["echo"]);
    let mut stuck = server.connect();
    stuck.0.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket");
    while retry(|| stuck.0.write(&[b'x'; 64 * 1024])).is_ok() {}
    let silent = server.connect();
    server.signal("-TERM");
    let (status, stderr) = server.end();
    assert_eq!(status, Some(0), "{stderr}");
    drop((stuck, silent));
}

/// The peer reads nothing, so it gets no FIN and sends none. The wait has to be reported.
#[test]
fn after_a_signal_the_server_says_what_it_waits_for() {
    let mut server = Served::start(&["echo"]);
    let lines = server.heard();
    let mut stuck = server.connect();
    stuck.0.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket");
    while retry(|| stuck.0.write(&[b'x'; 64 * 1024])).is_ok() {}
    server.signal("-INT");
    let want = "waiting up to 4.5 s for 1 connection to end; Ctrl-C again exits at once";
    let line = std::iter::from_fn(|| lines.recv_timeout(LIMIT).ok()).find(|line| line.starts_with("waiting"));
    assert_eq!(line.as_deref(), Some(want));
    server.signal("-INT");
    assert_eq!(server.child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn hints_fit_into_80_columns() {
    for args in [["chat", "--http=0"], ["echo", "--http=127.0.0.1:0"], ["tutorial", "--http=0"], ["echo", "--spin=0s"]]
    {
        let mut server = Served::start(&args);
        let lines = server.heard();
        let hint: Vec<String> = std::iter::from_fn(|| lines.recv_timeout(LIMIT).ok())
            .take_while(|line| !line.contains("Ctrl-C here ends the server"))
            .collect();
        assert!(hint[0].starts_with("  try:  bucle connect :"), "{hint:?}");
        assert!(hint.iter().all(|line| line.chars().count() <= 80), "{hint:?}");
    }
}

/// `serve echo 9000`, `serve echo HOST:PORT`, `serve 9000` and `serve echo unix:PATH`.
#[test]
fn where_to_listen_can_be_one_word() {
    let path = folder("word").join("echo.sock");
    let path = format!("unix:{}", path.display());
    let table = [
        (vec!["echo", "0"], "echo listening on 127.0.0.1:"),
        (vec!["echo", "0.0.0.0:0"], "echo listening on 0.0.0.0:"),
        (vec!["0"], "chat listening on 127.0.0.1:"),
        (vec![":0", "--idle-timeout", "1s"], "chat listening on 127.0.0.1:"),
        (vec!["--idle-timeout", "1s", "0"], "chat listening on 127.0.0.1:"),
        (vec!["echo", &path], "echo listening on /"),
    ];
    for (args, want) in table {
        let server = Served::of(bucle(&[&["serve"], &args[..]].concat()));
        assert!(server.line.starts_with(want), "{args:?}: {}", server.line);
    }
    let table: &[(&[&str], &str)] = &[
        (
            &["serve", "echo", "70000"],
            "error: cannot listen on '70000': the port is a number from 1 to 65535, or 0 for any free one\n  \
             try:  bucle serve echo 8080",
        ),
        (&["serve", "echo", "::1:80"], "did you mean [::1]:80?"),
        (&["serve", "echo", "9000", "--port", "1"], "cannot be used with '--port <PORT>'"),
        (&["serve", "echo", "9000", "--unix", "x"], "cannot be used with '--unix <PATH>'"),
        (&["serve", "9000", "--host", "::1"], "two places, '9000' and that of --host\n  try:  bucle serve 9000  "),
        (&["serve", "9000", "echo"], "the server comes before the place '9000'\n  try:  bucle serve echo 9000\n"),
        (&["serve", "--http", "echo"], "comes before this option\n  try:  bucle serve echo --http\n"),
    ];
    for (args, want) in table {
        let output = run(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && stderr.contains(want), "{args:?}: {stderr}");
    }
}

#[test]
fn a_second_signal_ends_the_process_immediately() {
    let server = Served::start(&["echo"]);
    let mut stuck = server.connect();
    stuck.send("hola");
    assert_eq!(stuck.bytes(4), b"hola");
    server.signal("-INT");
    assert_eq!(stuck.rest(), b"", "the first signal has been handled");
    server.signal("-INT");
    let (status, stderr) = server.end();
    assert_eq!(status, Some(130), "{stderr}");
}

#[test]
fn a_hangup_signal_does_not_end_the_server() {
    let server = Served::start(&["echo"]);
    server.signal("-HUP");
    let mut peer = server.connect();
    peer.send("hola");
    assert_eq!(peer.bytes(4), b"hola");
    server.signal("-TERM");
    drop(peer);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_closed_stdout_does_not_stop_the_server() {
    let mut child = bucle(&["serve", "echo", "--port", "0", "-v"]).spawn().expect("it starts");
    drop(child.stdout.take());
    // Nothing reads stdout, so take the port from the log.
    let stderr = child.stderr.take().expect("it is piped");
    let mut server = Served { child, line: String::new() };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    while !server.line.contains(" listening on ") {
        server.line = receiver.recv_timeout(LIMIT).expect("a line of the log");
    }
    let mut peer = server.connect();
    peer.send("hola");
    assert_eq!(peer.bytes(4), b"hola");
}

/// The line with the port cannot be written to stdout, so the server writes it to stderr.
#[test]
fn a_full_disk_behind_stdout_is_reported() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut command = bucle(&["serve", "echo", "--port", "0"]);
    command.stdout(fs::File::options().write(true).open("/dev/full").expect("Linux has it"));
    let mut server = Served { child: command.spawn().expect("it starts"), line: String::new() };
    let log = server.heard();
    let warning = log.recv_timeout(LIMIT).expect("a line");
    assert!(
        warning.contains("echo listening on 127.0.0.1:") && warning.ends_with("the disk is full (ENOSPC)"),
        "{warning}"
    );
    assert!(log.recv_timeout(LIMIT).expect("a line").starts_with("  try:  bucle connect :"));
}

/// The suggested command depends on the server and on its address.
#[test]
fn the_suggested_client_fits_the_server() {
    for (args, want) in [
        (&["chat"][..], "  try:  bucle connect :PORT      or  telnet 127.0.0.1 PORT"),
        (&["echo", "--host", "0.0.0.0"], "  try:  bucle connect :PORT      or  nc localhost PORT"),
        (&["chat", "--host", "127.0.0.2"], "  try:  bucle connect 127.0.0.2:PORT      or  telnet 127.0.0.2 PORT"),
    ] {
        let mut server = Served::start(args);
        let first = server.heard().recv_timeout(LIMIT).expect("a line");
        assert_eq!(first, want.replace("PORT", &server.port().to_string()));
    }
}

#[test]
fn a_unix_socket_is_created_and_removed() {
    let path = folder("unix").join("chat.sock");
    let text = path.to_str().expect("a path in UTF-8");
    let server = Served::start(&["echo", "--unix", text]);
    assert_eq!(server.line, format!("echo listening on {text}"));
    let mut peer = UnixStream::connect(&path).expect("it listens");
    peer.set_read_timeout(Some(LIMIT)).expect("a socket");
    peer.write_all(b"hola").expect("it reads");
    let mut answer = [0; 4];
    peer.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"hola");

    let output = run(&["serve", "--unix", text]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("a server is listening there already (EADDRINUSE)"), "{stderr}");

    drop(peer);
    server.signal("-TERM");
    assert_eq!(server.end().0, Some(0));
    assert!(!path.exists(), "its file is removed with the server");
}

#[test]
fn a_stale_socket_file_is_replaced_and_any_other_file_is_not() {
    let folder = folder("stale");
    let stale = folder.join("stale.sock");
    drop(UnixListener::bind(&stale).expect("a new file"));
    assert!(stale.exists(), "the standard library does not remove it");
    let server = Served::start(&["echo", "--unix", stale.to_str().expect("a path in UTF-8")]);
    drop(UnixStream::connect(&stale).expect("it listens"));
    drop(server);

    let plain = folder.join("plain");
    fs::write(&plain, "precious").expect("a file");
    let output = run(&["serve", "--unix", plain.to_str().expect("a path in UTF-8")]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(fs::read_to_string(&plain).expect("it is still there"), "precious");
}

/// All servers find the same old file. One replaces it and is reached there; the others report that a server listens.
#[test]
fn of_servers_that_start_at_once_on_a_stale_file_one_listens() {
    const SERVERS: usize = 6;
    let folder = folder("at-once");
    for round in 0..3 {
        let path = folder.join(format!("{round}.sock"));
        drop(UnixListener::bind(&path).expect("a new file"));
        let args = ["serve", "echo", "--unix", path.to_str().expect("a path in UTF-8")];
        let children: Vec<_> = (0..SERVERS).map(|_| bucle(&args).spawn().expect("the program starts")).collect();
        let (mut listening, mut refused) = (Vec::new(), 0);
        for mut child in children {
            let mut line = String::new();
            let stdout = child.stdout.take().expect("it is piped");
            BufReader::new(stdout).read_line(&mut line).expect("a line, or the end");
            if line.contains("listening on ") {
                listening.push(Served { child, line });
                continue;
            }
            let output = child.wait_with_output().expect("it is our child");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{stderr}");
            assert!(stderr.contains("a server is listening there already"), "{stderr}");
            refused += 1;
        }
        let mut peer = UnixStream::connect(&path);
        let answer = peer.as_mut().map(|peer| {
            peer.set_read_timeout(Some(LIMIT)).expect("a socket");
            peer.write_all(b"hola").and_then(|()| peer.read_exact(&mut [0; 4])).expect("the server answers");
        });
        assert_eq!((listening.len(), refused, answer.is_ok()), (1, SERVERS - 1, true));
    }
}

/// The file is removed or replaced while its server runs; a later server listens at the same path.
#[test]
fn an_old_server_leaves_the_socket_of_a_new_one_alone() {
    let folder = folder("successor");
    let path = folder.join("a.sock");
    let args = ["echo", "--unix", path.to_str().expect("a path in UTF-8")];
    let end = |mut server: Served| {
        server.signal("-TERM");
        assert!(server.child.wait().expect("it is our child").success());
    };
    let old = Served::start(&args);
    fs::remove_file(&path).expect("it is there");
    let new = Served::start(&args);
    end(old);
    drop(UnixStream::connect(&path).expect("the new server is reached"));
    // A file that is no socket, and a renamed socket, are no files of this server either.
    fs::rename(&path, folder.join("b.sock")).expect("it is there");
    fs::write(&path, "precious").expect("a file");
    end(new);
    assert_eq!(fs::read_to_string(&path).expect("it is still there"), "precious");
    fs::remove_file(&path).expect("it is there");
    end(Served::start(&args));
    assert!(!path.exists(), "its own file is removed");
}

#[test]
fn errors_are_reported_with_advice() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let missing = folder("missing").join("none").join("a.sock");
    let missing = missing.to_str().expect("a path in UTF-8");
    let long = format!("/tmp/{}", "x".repeat(200));
    type Row<'a> = (&'a str, &'a [&'a str], i32, &'a [&'a str]);
    let table: &[Row] = &[
        (
            "port in use",
            &["serve", "--port", &port],
            3,
            &[
                &format!("error: cannot listen on 127.0.0.1:{port}: the port is already in use (EADDRINUSE)\n"),
                "\n  try:  bucle serve --port ",
                "or  --port 0 to get a free one\n",
            ],
        ),
        ("port in use, echo", &["serve", "echo", "--port", &port], 3, &["  try:  bucle serve echo --port "]),
        (
            "not our address",
            &["serve", "--host", "192.0.2.1", "--port", "0"],
            3,
            &["no such address (EADDRNOTAVAIL)", "--host 127.0.0.1"],
        ),
        (
            "no such name",
            &["serve", "--host", "no-such-host.invalid"],
            3,
            &["no-such-host.invalid", "check the spelling"],
        ),
        ("no directory", &["serve", "--unix", missing], 3, &["there is no directory", "(ENOENT)", "mkdir -p"]),
        (
            "a port in the host",
            &["serve", "echo", "--host", "127.0.0.1:90"],
            2,
            &["the port goes to --port", "  try:  bucle serve echo --host 127.0.0.1 --port 90\n"],
        ),
        (
            "a port that is not shared",
            &["serve", "--port", &port, "--reuse-port"],
            3,
            &["does not share it (EADDRINUSE)", "start the other server with --reuse-port too"],
        ),
        ("path too long", &["serve", "--unix", &long], 3, &["205 bytes", "at most 107", "try:  bucle serve --unix"]),
        ("no such server", &["serve", "ecco"], 2, &["ecco", "echo"]),
        ("no such port", &["serve", "--port", "65536"], 2, &["65536"]),
        ("no such flag", &["serve", "--prot", "1"], 2, &["--port"]),
        ("no port", &["serve", "--port", "-1"], 2, &["the port is a number from 1 to 65535, or 0 for any free one"]),
        ("no such time", &["serve", "--idle-timeout", "soon"], 2, &["500us, 20ms, 10s, 5m or 1h"]),
        ("a negative time", &["serve", "--write-timeout", "-5s"], 2, &["'-5s'", "500us, 20ms, 10s, 5m or 1h"]),
        ("a very long time", &["serve", "--idle-timeout", "1000h"], 2, &["the longest time is 24 days"]),
        ("invalid spin time", &["serve", "--spin", "abc"], 2, &["50us or 1ms"]),
        ("spin time too long", &["serve", "--spin", "1h"], 2, &["at most 1s"]),
        ("no connections at all", &["serve", "--max-connections", "0"], 2, &["it must be 1 or more"]),
        (
            "a negative number of connections",
            &["serve", "--max-connections", "-5"],
            2,
            &["a whole number, 1 or more: 500, 10k, 1M"],
        ),
        ("as in load", &["load", "-c", "-5"], 2, &["a whole number, 1 or more: 500, 10k, 1M"]),
        ("no limit", &["serve", "--line-limit", "-1K"], 2, &["64M, 500K or 2G"]),
        (
            "a file forgotten",
            &["serve", "--port", "0", "--trace", "--reuse-port"],
            2,
            &["a value is required for '--trace <FILE>'"],
        ),
        ("a host forgotten", &["serve", "--host", "--reuse-port"], 2, &["a value is required for '--host <HOST>'"]),
        ("a path forgotten", &["serve", "--unix", "-v"], 2, &["a value is required for '--unix <PATH>'"]),
        (
            "a port forgotten",
            &["serve", "--port", "--reuse-port"],
            2,
            &["the port is a number from 1 to 65535, or 0 for any free one"],
        ),
        ("a page forgotten", &["load", "--html", "--json"], 2, &["a value is required for '--html <FILE>'"]),
        ("two addresses", &["serve", "--unix", "a.sock", "--port", "1"], 2, &["--unix"]),
        ("no such command", &["dance"], 2, &["dance"]),
    ];
    for (name, args, status, words) in table {
        let output = run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*status), "{name}: {stderr}");
        for word in *words {
            assert!(stderr.contains(word), "{name}: {word:?} is not in {stderr:?}");
        }
        assert!(output.stdout.is_empty(), "{name}: stdout must be empty for scripts");
        assert!(!stderr.contains("Error {") && !stderr.contains("SystemError"), "{name}: {stderr}");
    }
}

/// A tip of clap names the option whose letters are nearest, which is often a wrong one.
#[test]
fn a_mistyped_option_gets_a_tip_only_if_it_fits() {
    let table: &[(&[&str], &str)] = &[
        (&["serve", "--reconnect"], "\n  tip: '--reconnect' is an option of 'bucle connect' and 'bucle load'\n"),
        (&["connect", "--host", "x"], "\n  tip: the target is a word without an option: HOST:PORT, "),
        (&["load", "--raw"], "\n  tip: '--raw' is an option of 'bucle connect'\n"),
        (&["load", "--connect-timeout=3s"], "\n  tip: use '--timeout'\n"),
        (&["load", "-v"], "\n  tip: '-v' is an option of 'bucle serve' and 'bucle connect'\n"),
        (&["--inspect"], "\n  tip: '--inspect' is an option of 'bucle serve'\n"),
        (&["chat"], "\n  tip: use 'bucle serve chat'\n"),
        (&["quiz", "--list"], "\n  tip: use 'bucle quiz list'\n"),
        (&["connect", "--wat"], ""),
        (&["connect", "-x"], ""),
    ];
    for (args, want) in table {
        let output = run(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(want) && stderr.contains("tip:") != want.is_empty(), "{args:?}: {stderr}");
        assert!(stderr.contains("\nUsage: bucle "), "{args:?}: {stderr}");
    }
}

#[test]
fn an_argument_that_is_not_utf8_is_refused_with_a_sentence() {
    use std::os::unix::ffi::OsStrExt;
    for (command, word) in [("serve", &b"\xff"[..]), ("connect", b"\xff"), ("load", b"--\xff"), ("quiz", b"-\xff")] {
        let output = bucle(&[command]).arg(std::ffi::OsStr::from_bytes(word)).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && stderr.starts_with("error: "), "{command}: {stderr}");
    }
}

#[test]
fn without_arguments_it_shows_three_examples() {
    let output = run(&[]);
    let help = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(help.lines().filter(|line| line.starts_with("  bucle ")).count(), 3, "{help}");
    for (args, word) in [(["--help"], "serve"), (["--version"], env!("CARGO_PKG_VERSION"))] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains(word));
    }
}

/// `-h` is for people who want to begin; `--help` has every option.
#[test]
fn the_short_help_fits_one_screen_and_the_long_help_has_groups() {
    for command in ["serve", "connect", "load"] {
        let help = |flag: &str, columns: &str| {
            let output = bucle(&[command, flag]).env("COLUMNS", columns).output().expect("the program starts");
            assert_eq!(output.status.code(), Some(0));
            String::from_utf8(output.stdout).expect("text")
        };
        let short = help("-h", "80");
        assert!(short.lines().count() <= 24, "{command}: {} rows\n{short}", short.lines().count());
        assert!(short.lines().all(|row| row.chars().count() <= 80), "{short}");
        assert!(short.contains("--help") && short.contains("Examples:"), "{short}");
        let long = help("--help", "80");
        let headings = long.lines().filter(|row| row.ends_with(':') && !row.starts_with(' ')).count();
        assert!(headings >= 5 && long.contains("--color <WHEN>"), "{command}: {long}");
        // A narrow terminal breaks lines between words.
        let narrow = help("-h", "40");
        assert!(narrow.lines().filter(|row| row.starts_with("          ")).all(|row| row.chars().count() <= 40));
    }
}
