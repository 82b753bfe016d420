//! Every example is a lesson, and does what its header says.
//!
//! Those that run by themselves print exactly what stands under "Expect". The servers are talked to as in the header, and
//! then as their readers' users will: a byte at a time, without reading for a while, and with a reset.
//!
//! Nothing here waits for time to pass: a test waits for bytes, or for the end of a process, and a limit that is never
//! reached when all is well turns a hang into a failure.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, UNIX_EPOCH};
use std::{fs, iter, thread};

/// How long anything may take before the test gives it up.
const LIMIT: Duration = Duration::from_secs(60);

/// A running lesson. It does not outlive its test.
struct Lesson {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Lesson {
    fn start(name: &'static str, args: &[&str]) -> Lesson {
        Lesson::start_logging("off", name, args)
    }

    fn start_logging(level: &str, name: &'static str, args: &[&str]) -> Lesson {
        let program = examples_dir().join(name);
        // `cargo test` builds the examples, `cargo test --test lessons` does not.
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(format!("{name}.rs"));
        let [built, written] =
            [&program, &source].map(|file| file.metadata().and_then(|file| file.modified()).unwrap_or(UNIX_EPOCH));
        assert!(built >= written, "{} is missing or old: `cargo build --examples`", program.display());
        let mut command = Command::new(program);
        command.args(args).env("RUST_LOG", level).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the example starts");
        let stdin = child.stdin.take();
        let stdout = lines_of(child.stdout.take().expect("it is piped"));
        let stderr = lines_of(child.stderr.take().expect("it is piped"));
        Lesson { name, child, stdin, stdout, stderr }
    }

    /// Starts a server, and says on which port it listens.
    fn serve(name: &'static str) -> (Lesson, u16) {
        let lesson = Lesson::start(name, &["0"]);
        let line = lesson.next_line();
        let port = line.strip_prefix("listening on 127.0.0.1:").and_then(|port| port.parse().ok());
        (lesson, port.unwrap_or_else(|| panic!("{name} begins with {line:?}")))
    }

    fn next_line(&self) -> String {
        match self.stdout.recv_timeout(LIMIT) {
            Ok(line) => line,
            Err(error) => {
                let stderr: Vec<String> = self.stderr.try_iter().collect();
                panic!("{}: no line on stdout: {error}; stderr: {stderr:?}", self.name)
            }
        }
    }

    /// Skips what comes before it.
    fn wait_for_line(&self, wanted: &str) {
        while self.next_line() != wanted {}
    }

    /// Waits for its end: all it has printed from here on, stdout and stderr, and whether it was content.
    fn finish(mut self) -> (String, String, bool) {
        drop(self.stdin.take());
        // Both are through when the process has closed them, that is at its end.
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(|pipe| {
            let mut text = String::new();
            loop {
                match pipe.recv_timeout(LIMIT) {
                    Ok(line) => text += &(line + "\n"),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return text,
                    Err(mpsc::RecvTimeoutError::Timeout) => panic!("{} does not end; so far: {text}", self.name),
                }
            }
        });
        let status = self.child.wait().expect("it is our child");
        (stdout, stderr, status.success())
    }
}

impl Drop for Lesson {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn examples_dir() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.parent().and_then(Path::parent).expect("it is target/PROFILE/deps/lessons-…");
    profile.join("examples")
}

/// Reads a pipe in a thread, so that the process never waits for us.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            if line.map_or(true, |line| lines.send(line).is_err()) {
                return;
            }
        }
    });
    receiver
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the lesson listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_nodelay(true).expect("TCP has it");
    stream
}

fn send(mut stream: &TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).expect("the lesson takes it");
}

/// Reads exactly as much as is wanted, and compares.
fn expect(mut stream: &TcpStream, wanted: &str) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).unwrap_or_else(|error| panic!("no {wanted:?}: {error}"));
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

/// Reads to the end.
fn rest_of(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it ends in order");
    rest
}

fn reset(stream: TcpStream) {
    let stream = socket2::Socket::from(stream);
    stream.set_linger(Some(Duration::ZERO)).expect("TCP has it");
}

/// A peer that reads nothing until its kernel and the lesson's take no more from it. Says how much it has sent of `bytes`.
fn send_until_stuck(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    // The one place where a pause means something: a server that holds back is seen only by nothing happening.
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a limit is not zero");
    let mut sent = 0;
    let stuck = loop {
        match stream.write(&bytes[sent..]) {
            Ok(0) => break false,
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("it should wait, not fail: {error}"),
        }
    };
    assert!(stuck, "the lesson has taken {sent} bytes from a peer that does not read");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit is not zero");
    sent
}

/// The lessons, by file name.
fn lessons() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut lessons: Vec<_> = fs::read_dir(dir)
        .expect("there are examples")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.file_stem().expect("it has a name").to_string_lossy().into_owned(), path))
        .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_digit()))
        .map(|(name, path)| (name, fs::read_to_string(path).expect("source is UTF-8")))
        .collect();
    lessons.sort();
    lessons
}

/// What stands under "Expect" in the header.
fn expected(name: &str) -> String {
    let (_, source) = lessons().into_iter().find(|(lesson, _)| lesson == name).expect("it is a lesson");
    let header =
        source.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.strip_prefix(' ').unwrap_or(""));
    let under_expect = header.skip_while(|line| !line.starts_with("Expect"));
    let fenced =
        under_expect.skip_while(|line| !line.starts_with("```")).skip(1).take_while(|line| !line.starts_with("```"));
    fenced.map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn lessons_are_short_and_say_how_to_run_them() {
    let lessons = lessons();
    assert!(lessons.len() >= 24, "{} lessons", lessons.len());
    for (place, (name, source)) in iter::zip(1.., &lessons) {
        assert!(name.starts_with(&format!("{place:02}_")), "{name} is number {place}");
        let header = source.lines().take_while(|line| line.starts_with("//!")).count();
        let code = source.lines().skip(header).filter(|line| !line.is_empty()).count();
        assert!(header <= 35 && (20..=80).contains(&code), "{name}: {code} lines, and {header} of header");
        assert!(source.starts_with(&format!("//! Lesson {place}: ")), "{name} says which lesson it is");
        for part in ["//! Run: `cargo run --example ", "//! Expect", "//! ```text"] {
            assert!(source.contains(part), "{name} has {part:?} in its header");
        }
        assert!(!source.contains(".unwrap()"), "{name} unwraps");
    }
}

#[test]
fn lessons_that_run_by_themselves_print_what_their_headers_say() {
    let names = [
        "01_order_of_ticks_and_timers",
        "02_immediate_against_timeout",
        "05_backpressure_and_drain",
        "06_limits_for_slow_readers",
        "08_slots_and_serials",
        "09_half_open_end_close",
        "11_timers_for_sockets",
        "19_starvation_by_ticks",
        "20_interval_drift",
        "21_testing_by_hand_driven_time",
        #[cfg(feature = "trace")]
        "23_a_slow_callback",
        #[cfg(feature = "trace")]
        "24_cause_and_effect",
    ];
    let running = names.map(|name| (name, Lesson::start(name, &[])));
    for (name, lesson) in running {
        assert_eq!(lesson.finish(), (expected(name), String::new(), true), "{name}");
    }
}

/// `examples/README.md` is the list of lessons, in their order, each with how to run it.
#[test]
fn the_readme_lists_every_lesson() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/README.md");
    let readme = fs::read_to_string(readme).expect("it is there");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| [")).collect();
    let lessons = lessons();
    assert_eq!(rows.len(), lessons.len());
    for (row, (name, _)) in iter::zip(rows, lessons) {
        let link = format!("| [{}]({name}.rs) |", &name[..2]);
        assert!(row.starts_with(&link) && row.contains(&format!("--example {name}")), "{row}");
    }
}

#[test]
fn a_bad_port_is_told() {
    let names = [
        "03_echo",
        "04_chunks_and_lines",
        "07_chat",
        #[cfg(feature = "process")]
        "10_client",
        "12_telnet_lines",
        #[cfg(feature = "process")]
        "13_shutdown_on_signals",
        "14_proxy",
        "15_pool",
        "16_other_threads",
        "17_live_statistics",
        "18_stock",
    ];
    for name in names {
        let (_, stderr, success) = Lesson::start(name, &["seventy"]).finish();
        assert!(!success && stderr.contains(&format!("usage: {name}")), "{name}: {stderr}");
    }
}

#[test]
fn echo_gives_back_what_it_gets() {
    let (lesson, port) = Lesson::serve("03_echo");
    let stream = connect(port);
    assert_eq!(lesson.next_line(), "#2 is here");
    send(&stream, "hola\r\n");
    expect(&stream, "hola\r\n");
    for byte in "¡byte a byte!".as_bytes() {
        send(&stream, [*byte]);
        let mut got = [0];
        (&stream).read_exact(&mut got).expect("each byte comes back");
        assert_eq!(got[0], *byte);
    }
    send(&stream, "last words");
    stream.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(rest_of(&stream), b"last words");
    assert_eq!(lesson.next_line(), "#2 is gone");
}

#[test]
fn echo_loses_nothing_of_a_peer_that_reads_late() {
    let (_lesson, port) = Lesson::serve("03_echo");
    let stream = connect(port);
    let bytes: Vec<u8> = (0..64 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let sent = send_until_stuck(&stream, &bytes);
    let mut reader = stream.try_clone().expect("there are descriptors");
    let echo = thread::spawn(move || {
        let mut echo = Vec::new();
        reader.read_to_end(&mut echo).map(|_| echo)
    });
    send(&stream, &bytes[sent..]);
    stream.shutdown(Shutdown::Write).expect("it is open");
    let echo = echo.join().expect("reading does not panic").expect("it ends in order");
    assert!(echo == bytes, "{} of {} bytes", echo.len(), bytes.len());
}

#[test]
fn echo_serves_on_after_resets() {
    let (lesson, port) = Lesson::serve("03_echo");
    let witness = connect(port);
    send(&witness, "before");
    expect(&witness, "before");
    let talker = connect(port);
    send(&talker, "hola");
    expect(&talker, "hola");
    reset(talker);
    lesson.wait_for_line("#3 failed: read ECONNRESET");
    assert_eq!(lesson.next_line(), "#3 is gone");
    let stuck = connect(port);
    send_until_stuck(&stuck, &vec![b'.'; 64 * 1024 * 1024]);
    reset(stuck);
    lesson.wait_for_line("#4 is gone");
    send(&witness, "after");
    expect(&witness, "after");
}

#[test]
fn chunks_become_lines_however_they_are_cut() {
    let (lesson, port) = Lesson::serve("04_chunks_and_lines");
    let stream = connect(port);
    // What the header types, with each piece sent when the one before has been seen.
    for piece in ["he", "llo\r\nwo", "rld\none\ntwo\nbye"] {
        send(&stream, piece);
        assert_eq!(lesson.next_line(), format!("#2 chunk: {piece:?}"));
    }
    stream.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(lesson.next_line(), "#2 end");
    let lines = "line 1: hello\r\nline 2: world\r\nline 3: one\r\nline 4: two\r\nline 5: bye\r\n";
    assert_eq!(String::from_utf8_lossy(&rest_of(&stream)), lines);

    let stream = connect(port);
    for byte in "ñandú\r\n\u{1b}[2J\n".as_bytes() {
        send(&stream, [*byte]);
    }
    expect(&stream, "line 1: ñandú\r\nline 2: ␛[2J\r\n");
}

#[test]
fn chunks_and_lines_bound_what_a_peer_can_fill() {
    let (lesson, port) = Lesson::serve("04_chunks_and_lines");
    let endless = connect(port);
    send(&endless, vec![b'x'; 64 * 1024 + 1]);
    expect(&endless, "line over 65536 bytes: good-bye\r\n");
    assert_eq!(rest_of(&endless), b"", "it has ended");
    send(&endless, "and on and on");
    drop(endless);

    let stream = connect(port);
    let line = "0123456789abcdef".repeat(64) + "\n";
    let count = 32 * 1024;
    let bytes = line.repeat(count);
    let sent = send_until_stuck(&stream, bytes.as_bytes());
    let writer = stream.try_clone().expect("there are descriptors");
    let rest = bytes.into_bytes().split_off(sent);
    let writer = thread::spawn(move || {
        send(&writer, rest);
        writer.shutdown(Shutdown::Write).expect("it is open");
    });
    let mut answers = BufReader::new(&stream).lines();
    for number in 1..=count {
        let answer = answers.next().expect("there is one for each line").expect("it can be read");
        assert_eq!(answer, format!("line {number}: {}", line.trim_end()));
    }
    assert!(answers.next().is_none(), "no more answers than lines");
    writer.join().expect("all was taken");
    drop(lesson);
}

#[test]
fn chat_tells_everybody() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    expect(&ana, "#3 is here\r\n");
    for byte in "¡hola!\r\n".as_bytes() {
        send(&ana, [*byte]);
    }
    for member in [&ana, &bob] {
        expect(member, "#2: ¡hola!\r\n");
    }
    send(&bob, "one\n\u{1b}[2Jtwo\nunfinished");
    bob.shutdown(Shutdown::Write).expect("it is open");
    let said = "#3: one\r\n#3: ␛[2Jtwo\r\n#3: unfinished\r\n";
    expect(&ana, &format!("{said}#3 has left\r\n"));
    assert_eq!(String::from_utf8_lossy(&rest_of(&bob)), said);
}

#[test]
fn chat_goes_on_when_a_member_is_reset_or_says_too_much_at_once() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&ana, "#3 is here\r\n");
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    reset(bob);
    expect(&ana, "#3 has left\r\n");
    let eva = connect(port);
    expect(&ana, "#4 is here\r\n");
    send(&eva, vec![b'x'; 64 * 1024 + 1]);
    expect(&eva, "¡Bienvenido! You are #4\r\nline over 65536 bytes\r\n");
    expect(&ana, "#4 has left\r\n");
    send(&ana, "alone\n");
    expect(&ana, "#2: alone\r\n");
}

#[test]
fn chat_drops_who_does_not_read_and_nobody_else() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let talker = connect(port);
    expect(&talker, "¡Bienvenido! You are #2\r\n");
    let listener = connect(port);
    expect(&listener, "¡Bienvenido! You are #3\r\n");
    let sleeper = connect(port);
    expect(&sleeper, "¡Bienvenido! You are #4\r\n");
    expect(&talker, "#3 is here\r\n#4 is here\r\n");
    expect(&listener, "#4 is here\r\n");

    // Everybody else hears everything, in order, before the sleeper is gone and after.
    let text = "x".repeat(60_000);
    let mut readers = [BufReader::new(&talker), BufReader::new(&listener)];
    let mut said_after = 0;
    for number in 0..4000 {
        send(&talker, format!("{number} {text}\n"));
        let said = format!("#2: {number} {text}\r\n");
        let [mut at_talker, mut at_listener] = readers.each_mut().map(heard);
        if said_after == 0 && at_talker == "#4 has left\r\n" {
            assert_eq!(at_listener, at_talker);
            [at_talker, at_listener] = readers.each_mut().map(heard);
            said_after = 1;
        } else if said_after > 0 {
            said_after += 1;
        }
        assert!(at_talker == said && at_listener == said, "line {number}");
        if said_after == 10 {
            return;
        }
    }
    panic!("the one who does not read has to go");
}

#[test]
fn chat_holds_back_who_talks_and_does_not_read() {
    let (_lesson, port) = Lesson::serve("07_chat");
    let talker = connect(port);
    expect(&talker, "¡Bienvenido! You are #2\r\n");
    let text = "x".repeat(1000);
    let count = 64 * 1024;
    let bytes: Vec<u8> = (0..count).flat_map(|number| format!("{number} {text}\n").into_bytes()).collect();
    let sent = send_until_stuck(&talker, &bytes);
    let writer = talker.try_clone().expect("there are descriptors");
    let writer = thread::spawn(move || send(&writer, &bytes[sent..]));
    let mut reader = BufReader::new(&talker);
    for number in 0..count {
        assert_eq!(heard(&mut reader), format!("#2: {number} {text}\r\n"));
    }
    writer.join().expect("all was taken");
}

fn heard(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("it can be read");
    line
}

#[cfg(feature = "process")]
#[test]
fn client_sends_its_arguments_and_prints_the_answers() {
    let (_server, port) = Lesson::serve("03_echo");
    let client = Lesson::start("10_client", &[&port.to_string(), "hola", "ñandú €"]);
    let stderr = format!("connected to 127.0.0.1:{port}\nthe server has closed the connection\n");
    assert_eq!(client.finish(), ("hola\nñandú €\n".to_owned(), stderr, true));
}

#[cfg(feature = "process")]
#[test]
fn client_sends_what_is_typed() {
    let (_server, port) = Lesson::serve("03_echo");
    for last in ["exit\n", "", "unfinished"] {
        let mut client = Lesson::start("10_client", &[&port.to_string()]);
        let keyboard = client.stdin.as_mut().expect("it is piped");
        for line in ["hola", "", "adiós"] {
            keyboard.write_all(format!("{line}\n").as_bytes()).expect("it reads");
            assert_eq!(client.stdout.recv_timeout(LIMIT).as_deref(), Ok(line), "answered before more is typed");
        }
        keyboard.write_all(last.as_bytes()).expect("it reads");
        let (stdout, stderr, success) = client.finish();
        assert_eq!(stdout, if last == "unfinished" { "unfinished\n" } else { "" });
        assert!(success && stderr.ends_with("the server has closed the connection\n"), "{stderr}");
    }
}

#[cfg(feature = "process")]
#[test]
fn client_takes_a_long_file_on_its_standard_input() {
    let (_server, port) = Lesson::serve("03_echo");
    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let file: String = (0..2000).map(|number| format!("{number} {}\n", "x".repeat(5000))).collect();
    let mut keyboard = client.stdin.take().expect("it is piped");
    let typed = file.clone();
    let typing = thread::spawn(move || keyboard.write_all(typed.as_bytes()));
    let (stdout, stderr, success) = client.finish();
    typing.join().expect("typing does not panic").expect("it reads all");
    assert!(success && stdout == file, "{} of {} bytes; {stderr}", stdout.len(), file.len());
}

#[cfg(feature = "process")]
#[test]
fn client_puts_characters_together_that_come_in_pieces() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let client = Lesson::start("10_client", &[&port.to_string(), "hola"]);
    let (stream, _) = listener.accept().expect("the client comes");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    stream.set_nodelay(true).expect("TCP has it");
    assert_eq!(rest_of(&stream), b"hola\n");
    for byte in "ñandú €\n".as_bytes() {
        send(&stream, [*byte]);
    }
    drop(stream);
    assert_eq!(client.finish().0, "ñandú €\n");
}

#[cfg(feature = "process")]
#[test]
fn client_says_when_the_server_is_gone() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let keyboard = client.stdin.take(); // Nobody types; the keyboard stays open.
    let (stream, _) = listener.accept().expect("the client comes");
    send(&stream, "adiós\n");
    drop(stream);
    let stderr = format!("connected to 127.0.0.1:{port}\nthe server has closed the connection\n");
    assert_eq!(client.finish(), ("adiós\n".to_owned(), stderr, true));

    let mut client = Lesson::start("10_client", &[&port.to_string()]);
    let keyboards = (keyboard, client.stdin.take());
    let (stream, _) = listener.accept().expect("the client comes");
    // A reset that overtakes the news of the connection would be a failure to connect.
    assert_eq!(client.stderr.recv_timeout(LIMIT), Ok(format!("connected to 127.0.0.1:{port}")));
    reset(stream);
    let stderr = "connection lost: read ECONNRESET\n".to_owned();
    assert_eq!(client.finish(), (String::new(), stderr, false));
    drop(keyboards);
}

#[cfg(feature = "process")]
#[test]
fn client_gives_advice_when_nobody_listens() {
    let (_bound, port) = unheard_port();
    let stderr = format!(
        "cannot connect: connect ECONNREFUSED 127.0.0.1:{port}\nis the server running? try: cargo run --example 03_echo\n"
    );
    assert_eq!(Lesson::start("10_client", &[&port.to_string()]).finish(), (String::new(), stderr, false));
}

#[test]
fn telnet_lines_reach_everybody_and_commands_are_no_text() {
    let (_lesson, port) = Lesson::serve("12_telnet_lines");
    let ana = connect(port);
    expect(&ana, "¡Bienvenido! You are #2\r\n");
    let bob = connect(port);
    expect(&bob, "¡Bienvenido! You are #3\r\n");
    expect(&ana, "#3 is here\r\n");
    // "Will you echo?" in the middle of a word is refused, and is not part of it.
    for piece in [&b"ho"[..], b"\xff\xfd\x01l", b"a\r", b"\nwho\r\n"] {
        send(&bob, piece);
    }
    let mut refusal = [0; 3];
    (&bob).read_exact(&mut refusal).expect("it is answered");
    assert_eq!(refusal, *b"\xff\xfc\x01");
    expect(&bob, "#3: hola\r\nhere are #2, #3\r\n");
    send(&ana, "\u{1b}[2J\nquit\nnot heard\n");
    expect(&ana, "#3: hola\r\n#2: ␛[2J\r\nadiós\r\n");
    assert_eq!(rest_of(&ana), b"");
    expect(&bob, "#2: ␛[2J\r\n#2 has left\r\n");
    let eva = connect(port);
    expect(&bob, "#4 is here\r\n");
    // What Debian's telnet sends at Ctrl-C. The mark is refused, or it would go on hiding what comes.
    send(&eva, b"\xff\xf4\xff\xfd\x06");
    expect(&eva, "¡Bienvenido! You are #4\r\nadiós\r\n");
    expect(&bob, "#4 has left\r\n");
    send(&bob, "last words");
    bob.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(rest_of(&bob), b"#3: last words\r\n");
}

#[test]
fn telnet_lines_bound_what_a_peer_can_fill() {
    let (lesson, port) = Lesson::serve("12_telnet_lines");
    let talker = connect(port);
    expect(&talker, "¡Bienvenido! You are #2\r\n");
    let wordy = connect(port);
    send(&wordy, "x".repeat(1001));
    expect(&wordy, "¡Bienvenido! You are #3\r\nline over 1000 bytes, good-bye\r\n");
    assert_eq!(rest_of(&wordy), b"");
    drop(wordy);
    expect(&talker, "#3 is here\r\n#3 has left\r\n");
    let sleeper = connect(port);
    expect(&talker, "#4 is here\r\n");
    let text = "x".repeat(990);
    let mut reader = BufReader::new(&talker);
    let said = format!("#2: {text}\r\n");
    let lines = format!("{text}\n").repeat(64);
    for _ in 0..4000 {
        send(&talker, &lines);
        for _ in 0..64 {
            match heard(&mut reader) {
                line if line == said => {}
                line => {
                    assert_eq!((line.as_str(), heard(&mut reader)), ("#4 has left\r\n", said));
                    assert!(lesson.next_line().starts_with("#4 failed: too slow"));
                    drop(sleeper);
                    return;
                }
            }
        }
    }
    panic!("the one who does not read has to go");
}

#[cfg(feature = "process")]
fn signal(lesson: &Lesson, name: &str) {
    let status = Command::new("kill").args(["-s", name, &lesson.child.id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
}

#[cfg(feature = "process")]
#[test]
fn shutdown_sees_everybody_off() {
    for name in ["INT", "TERM"] {
        let (lesson, port) = Lesson::serve("13_shutdown_on_signals");
        let guest = connect(port);
        send(&guest, "hola\r\n");
        expect(&guest, "hola\r\n");
        signal(&lesson, name);
        expect(&guest, "good-bye\r\n");
        assert_eq!(rest_of(&guest), b"");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody comes in any more");
        drop(guest);
        let said = format!("SIG{name}: 1 to see off; once more ends it at once\n#2 has left\nall have left\n");
        assert_eq!(lesson.finish(), (said, String::new(), true));
    }
}

#[cfg(feature = "process")]
#[test]
fn shutdown_leaves_behind_who_does_not_read_and_a_second_signal_ends_it() {
    let stuck_guest = |port| {
        let guest = connect(port);
        send_until_stuck(&guest, &vec![b'.'; 64 * 1024 * 1024]);
        guest
    };
    let (lesson, port) = Lesson::serve("13_shutdown_on_signals");
    let guest = stuck_guest(port);
    signal(&lesson, "TERM");
    let said = "SIGTERM: 1 to see off; once more ends it at once\n#2 is left behind\n#2 has left\nall have left\n";
    let (stdout, stderr, success) = lesson.finish();
    assert_eq!((stdout.as_str(), stderr.as_str(), success), (said, "", true));
    drop(guest);

    let (mut lesson, port) = Lesson::serve("13_shutdown_on_signals");
    let guest = stuck_guest(port);
    signal(&lesson, "INT");
    assert_eq!(lesson.next_line(), "SIGINT: 1 to see off; once more ends it at once");
    signal(&lesson, "TERM");
    let status = lesson.child.wait().expect("it is our child");
    assert_eq!(status.code(), Some(128 + 15), "at once, and not when the deadline is over");
    drop(guest);
}

/// The proxy in front of that server: where it listens.
fn proxy(server: &str, blocked: &[&str]) -> (Lesson, u16) {
    let lesson = Lesson::start("14_proxy", &[&["0", server], blocked].concat());
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says where");
    (lesson, port)
}

#[test]
fn proxy_passes_on_both_ways_at_the_pace_of_the_slower() {
    let (_echo, port) = Lesson::serve("03_echo");
    let (lesson, port) = proxy(&port.to_string(), &[]);
    let stream = connect(port);
    assert_eq!(lesson.next_line(), "#2 is passed on as #3");
    send(&stream, "hola");
    expect(&stream, "hola");
    let bytes: Vec<u8> = (0..128 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let sent = send_until_stuck(&stream, &bytes);
    let mut reader = stream.try_clone().expect("there are descriptors");
    let echo = thread::spawn(move || {
        let mut echo = Vec::new();
        reader.read_to_end(&mut echo).map(|_| echo)
    });
    send(&stream, &bytes[sent..]);
    stream.shutdown(Shutdown::Write).expect("it is open");
    let echo = echo.join().expect("reading does not panic").expect("it ends in order");
    assert!(echo == bytes, "{} of {} bytes", echo.len(), bytes.len());
}

#[test]
fn proxy_passes_on_ends_and_resets() {
    let server = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let (_lesson, port) = proxy(&server.local_addr().expect("it is bound").port().to_string(), &[]);
    let pair = || {
        let guest = connect(port);
        let (server, _) = server.accept().expect("the proxy comes");
        server.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
        (guest, server)
    };
    // Who has ended gets an answer all the same.
    let (guest, server) = pair();
    send(&guest, "question");
    guest.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(rest_of(&server), b"question");
    send(&server, "answer");
    drop(server);
    assert_eq!(rest_of(&guest), b"answer");
    // Half an answer is not passed for a whole one, nor half a question.
    for is_guests in [false, true] {
        let (guest, server) = pair();
        send(&guest, "?");
        expect(&server, "?");
        send(&server, "half");
        expect(&guest, "half");
        let (breaks, mut other) = if is_guests { (guest, server) } else { (server, guest) };
        reset(breaks);
        let end = other.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
    }
}

#[test]
fn proxy_serves_on_when_the_server_is_not_there_and_keeps_out_who_may_not_come_in() {
    let (lesson, port) = proxy(&unheard_port().1.to_string(), &["127.0.0.2/31"]);
    let end = connect(port).read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    assert_eq!(lesson.next_line(), "#2 is passed on as #3");
    assert!(lesson.next_line().starts_with("#3 failed: connect ECONNREFUSED 127.0.0.1:"));
    // Linux has all of 127.0.0.0/8 for its own.
    if cfg!(target_os = "linux") {
        let stranger =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are descriptors");
        stranger.bind(&SocketAddr::from(([127, 0, 0, 3], 0)).into()).expect("there is a free port");
        stranger.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("it listens");
        lesson.wait_for_line("#4 may not come in: 127.0.0.3");
        assert_eq!(rest_of(&stranger.into()), b"");
    }
}

#[test]
fn proxy_finds_a_server_on_a_path() {
    let dir = std::env::temp_dir().join(format!("bucle-lessons-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("there is room");
    let path = dir.join("app.sock");
    let server = UnixListener::bind(&path).expect("the path is free");
    let (_lesson, port) = proxy(&path.to_string_lossy(), &[]);
    let guest = connect(port);
    let (mut server, _) = server.accept().expect("the proxy comes");
    server.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    send(&guest, "hola");
    let mut got = [0; 4];
    server.read_exact(&mut got).expect("it is passed on");
    assert_eq!(got, *b"hola");
    reset(guest);
    let end = server.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert_eq!(end, Ok(0), "a path has no reset");
    fs::remove_dir_all(dir).expect("it is ours");
}

/// A port that nobody listens on, and nobody else gets as long as the socket is there.
fn unheard_port() -> (socket2::Socket, u16) {
    let bound =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("there are descriptors");
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("there is a free port");
    let port = bound.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound").port();
    (bound, port)
}

/// The server side of a connection of the pool.
fn accept(server: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = server.accept().expect("the pool comes");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    BufReader::new(stream)
}

#[test]
fn pool_asks_again_whom_it_has_lost() {
    let (bound, port) = unheard_port();
    let lesson = Lesson::start("15_pool", &[&port.to_string()]);
    // Down at first: each failure makes the pauses longer.
    let refused = |number| format!("#{number} failed: connect ECONNREFUSED 127.0.0.1:{port}");
    let began: Vec<String> = iter::repeat_with(|| lesson.next_line()).take(5).collect();
    let pauses = ["the next one in 200ms".to_owned(), "the next one in 400ms".to_owned()];
    assert_eq!(began, [refused(2), refused(3), pauses[0].clone(), pauses[1].clone(), refused(4)]);
    bound.listen(8).expect("it is bound");
    let server = TcpListener::from(bound);

    let mut first = accept(&server);
    let mut second = accept(&server);
    assert_eq!([heard(&mut first), heard(&mut second)], ["question 1\r\n", "question 2\r\n"]);
    // An answer in pieces is one answer.
    for piece in ["one", "\r", "\n"] {
        send(first.get_ref(), piece);
    }
    lesson.wait_for_line("#5 answers: one");
    assert_eq!(heard(&mut first), "question 3\r\n");
    // Lost with a question: somebody else is asked.
    reset(second.into_inner());
    lesson.wait_for_line("#6 failed: read ECONNRESET");
    assert_eq!(lesson.next_line(), "the next one in 100ms");
    let mut third = accept(&server);
    for number in [2, 4, 5, 6, 7, 8, 9, 10] {
        assert_eq!(heard(&mut third), format!("question {number}\r\n"));
        send(third.get_ref(), "yes\r\n");
        lesson.wait_for_line("#7 answers: yes");
    }
    // Silent with a question: as good as lost, and who is free is asked at once.
    lesson.wait_for_line("#5 failed: no answer");
    assert_eq!(heard(&mut third), "question 3\r\n");
    let fourth = accept(&server);
    lesson.wait_for_line("#8 is connected");
    send(fourth.get_ref(), "nobody has asked\r\n");
    send(third.get_ref(), "yes\r\n");
    for mut server in [first, third, fourth] {
        assert_eq!(heard(&mut server), "", "it has ended");
    }
    let (stdout, stderr, success) = lesson.finish();
    assert_eq!((stdout.as_str(), stderr.as_str(), success), ("#7 answers: yes\n", "", true));
}

#[test]
fn other_threads_answer_the_one_who_asked() {
    let (_lesson, port) = Lesson::serve("16_other_threads");
    let asks = connect(port);
    send(&asks, "10\n1000\nten\n");
    expect(&asks, "no: 1 to 100000, please\r\nprime number 10 is 29\r\nprime number 1000 is 7919\r\n");
}

#[test]
fn other_threads_have_a_bounded_queue_and_never_hold_up_the_loop() {
    let (_lesson, port) = Lesson::serve("16_other_threads");
    let crowd = connect(port);
    send(&crowd, "20000\n".repeat(12));
    let leaves = connect(port);
    send(&leaves, "1\n");
    reset(leaves);
    // While the worker works others are served.
    let witness = connect(port);
    send(&witness, "0\n");
    expect(&witness, "no: 1 to 100000, please\r\n");
    let answers: Vec<String> = BufReader::new(&crowd).lines().take(12).map(|line| line.expect("it comes")).collect();
    let (busy, primes): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.starts_with("busy"));
    assert!(busy.iter().all(|answer| answer == "busy: not now"), "{busy:?}");
    assert!(primes.iter().all(|answer| answer == "prime number 20000 is 224737"), "{primes:?}");
    assert!((4..=6).contains(&primes.len()), "four wait, and one is worked on: {}", primes.len());
    send(&witness, "1\n");
    expect(&witness, "prime number 1 is 2\r\n");
}

#[test]
fn a_panic_costs_one_connection() {
    let name = "22_panics_and_metrics";
    let (stdout, stderr, success) = Lesson::start(name, &[]).finish();
    assert_eq!((stdout, success), (expected(name), true), "{stderr}");
    assert!(stderr.contains("attempt to divide by zero"), "{stderr}");
}

#[cfg(feature = "trace")]
#[test]
fn the_loop_warns_of_a_slow_callback_by_itself() {
    let (_, stderr, success) = Lesson::start_logging("warn", "23_a_slow_callback", &[]).finish();
    assert!(success && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.contains("slow callback: immediate took 30 ms; it made"), "{stderr}");
}

/// The number of a beat and the scores of a picture, which must add up to it: each beat somebody scores.
fn picture(line: &str) -> usize {
    let (beat, scores) = line.trim_end().split_once(": ").unwrap_or_else(|| panic!("half a picture: {line:?}"));
    let beat = beat.strip_prefix("beat ").and_then(|beat| beat.parse().ok());
    let sum = scores.split(' ').map(|score| score.parse::<usize>().expect("a score is a number")).sum();
    assert_eq!(beat, Some(sum), "the scores are those of their beat");
    sum
}

#[test]
fn live_statistics_come_by_themselves() {
    let (lesson, port) = Lesson::serve("17_live_statistics");
    let [one, two] = [connect(port), connect(port)];
    assert_eq!([lesson.next_line(), lesson.next_line()], ["#2 looks on", "#3 looks on"]);
    send(&one, vec![b'x'; 256 * 1024]); // Nobody wants to know.
    for stream in [&one, &two] {
        let mut reader = BufReader::new(stream);
        let first = picture(&heard(&mut reader));
        assert_eq!([2, 3, 4].map(|_| picture(&heard(&mut reader))), [first + 1, first + 2, first + 3]);
    }
    reset(two);
    lesson.wait_for_line("#3 is gone, and missed 0 beats");
    one.shutdown(Shutdown::Write).expect("it is open");
    lesson.wait_for_line("#2 is gone, and missed 0 beats");
    let rest = rest_of(&one);
    assert!(rest.is_empty() || rest.ends_with(b"\r\n"), "it ends with a whole picture");
}

#[test]
fn live_statistics_pass_over_who_is_slow_and_drop_who_does_not_come_back() {
    let lesson = Lesson::start("17_live_statistics", &["0", "100000"]);
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says where");
    let slow = connect(port);
    assert_eq!(lesson.next_line(), "#2 looks on");
    let passed_over = lesson.next_line();
    let passed_over = passed_over.strip_prefix("#2 is slow: beat ").and_then(|rest| rest.split(' ').next());
    let passed_over: usize = passed_over.and_then(|beat| beat.parse().ok()).expect("it says which beat");

    // Late, but not too late: the pictures that come are whole, those left out are left out whole.
    let mut reader = BufReader::new(&slow);
    let mut beats = vec![picture(&heard(&mut reader))];
    while beats.last() < Some(&passed_over) {
        beats.push(picture(&heard(&mut reader)));
    }
    assert!(beats.is_sorted_by(|a, b| a < b) && !beats.contains(&passed_over), "{beats:?}");

    let witness = connect(port);
    lesson.wait_for_line("#3 looks on");
    let witness = thread::spawn(move || {
        let mut reader = BufReader::new(&witness);
        let first = picture(&heard(&mut reader));
        iter::repeat_with(|| picture(&heard(&mut reader))).find(|beat| *beat > first + 20)
    });
    assert!(witness.join().expect("all its pictures are whole").is_some());
    lesson.wait_for_line("#2 is given up: none was taken for 5s");
    let gone = lesson.next_line();
    let missed = gone.strip_prefix("#2 is gone, and missed ").and_then(|rest| rest.strip_suffix(" beats"));
    assert!(missed.and_then(|missed| missed.parse::<u32>().ok()).is_some_and(|missed| missed > 0), "{gone}");
}

#[test]
fn stock_is_the_same_for_everybody_and_sold_once() {
    let (_lesson, port) = Lesson::serve("18_stock");
    let clients: Vec<TcpStream> = iter::repeat_with(|| connect(port)).take(4).collect();
    for client in &clients {
        expect(client, "stock: 1000000 grains, 5 lemons\r\n");
    }
    // All at once, each more than its share; what one cannot have another got.
    let buyers = clients.into_iter().map(|client| {
        thread::spawn(move || {
            for piece in ["buy lem", "ons 1\r\nbuy lemons 1\nbuy grains 400000", "\n"] {
                send(&client, piece);
            }
            let mut sold = Vec::new();
            let mut reader = BufReader::new(&client);
            while sold.len() < 5 + 2 {
                let line = heard(&mut reader);
                match line.split_once(": ") {
                    Some(("sold", _)) => sold.push(line),
                    Some(("no", why)) => assert!(why.starts_with("only "), "{why:?}"),
                    _ => panic!("half a line: {line:?}"),
                }
            }
            (sold, client)
        })
    });
    let ends: Vec<_> = buyers.collect::<Vec<_>>().into_iter().map(|buyer| buyer.join().expect("it buys")).collect();
    for (sold, _) in &ends {
        assert_eq!(sold, &ends[0].0, "everybody sees the same, in the same order");
    }
    let left = |item: &str| -> Vec<_> {
        let of_item = ends[0].0.iter().filter(|line| line.contains(item));
        of_item.map(|line| line.trim_end().rsplit(", ").next()).collect()
    };
    assert_eq!(left("lemons"), ["4 left", "3 left", "2 left", "1 left", "0 left"].map(Some));
    assert_eq!(left("grains"), ["600000 left", "200000 left"].map(Some));
    expect(&connect(port), "stock: 200000 grains, 0 lemons\r\n");
}

#[test]
fn stock_refuses_and_says_why() {
    let (_lesson, port) = Lesson::serve("18_stock");
    let client = connect(port);
    expect(&client, "stock: 1000000 grains, 5 lemons\r\n");
    for (order, why) in [
        ("buy lemons 6", "only 5 lemons left"),
        ("buy lemons 4294967296", "N is a number, 1 or more"),
        ("buy lemons -1", "N is a number, 1 or more"),
        ("buy lemons 0", "N is a number, 1 or more"),
        ("buy \u{1b}[2J 1", "there is no such item"),
        ("buy lemons", "say `buy ITEM N`"),
        ("", "say `buy ITEM N`"),
    ] {
        send(&client, format!("{order}\r\n"));
        expect(&client, &format!("no: {why}\r\n"));
    }
    let wordy = connect(port);
    send(&wordy, vec![b'x'; 101]);
    expect(&wordy, "stock: 1000000 grains, 5 lemons\r\nno: line over 100 bytes\r\n");
    assert_eq!(rest_of(&wordy), b"");
    reset(connect(port));
    send(&client, "buy lemons 5");
    client.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(rest_of(&client), b"sold: 5 lemons to #2, 0 left\r\n");
}

#[test]
fn stock_drops_who_does_not_read_and_holds_back_who_only_orders() {
    let (_lesson, port) = Lesson::serve("18_stock");
    let [buyer, witness, sleeper] = [connect(port), connect(port), connect(port)];
    for client in [&buyer, &witness, &sleeper] {
        expect(client, "stock: 1000000 grains, 5 lemons\r\n");
    }
    // The buyer does not read at first: it is held back, so the others are not flooded by it.
    let orders = "buy grains 1\n".repeat(1_000_000);
    let sent = send_until_stuck(&buyer, orders.as_bytes());
    let writer = buyer.try_clone().expect("there are descriptors");
    let writer = thread::spawn(move || send(&writer, &orders.as_bytes()[sent..]));
    let all: String = (0..1_000_000).rev().map(|left| format!("sold: 1 grains to #2, {left} left\r\n")).collect();
    let mut got = vec![0; 64 * 1024];
    for part in all.as_bytes().chunks(got.len()) {
        for mut client in [&buyer, &witness] {
            client.read_exact(&mut got[..part.len()]).expect("every change arrives");
            assert!(got[..part.len()] == *part, "and in order");
        }
    }
    writer.join().expect("all was taken");
    // Still a member, it would be given all of it now, and then the end.
    let _ = sleeper.shutdown(Shutdown::Write);
    let mut got = Vec::new();
    let end = (&sleeper).read_to_end(&mut got).map_err(|error| error.kind());
    assert!(
        end.is_ok_and(|size| size < all.len()) || end == Err(ErrorKind::ConnectionReset),
        "{end:?}: it was not dropped"
    );
}
