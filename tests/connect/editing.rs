//! `bucle connect` on a terminal: the line that is being typed, and that the terminal is always given back as it was.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{BUCLE, LIMIT, accept, read_until, server};

/// Somebody at a terminal of 80 columns, on which a shell script runs. While nobody looks, nobody reads the terminal.
struct Person {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    /// What has been shown and not been looked for.
    shown: String,
}

impl Person {
    fn at(shell_script: &str) -> Person {
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", shell_script, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let keyboard = child.stdin.take().expect("it is piped");
        let mut stdout = child.stdout.take().expect("it is piped");
        let (shows, screen) = mpsc::sync_channel(0);
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buf)
                && shows.send(buf[..n].to_vec()).is_ok()
            {}
        });
        Person { child, keyboard, screen, shown: String::new() }
    }

    /// Connects and waits for the prompt. The exit status is shown at the end.
    fn connected_to(target: &str) -> Person {
        let mut person = Person::at(&format!("trap : INT QUIT; '{BUCLE}' connect {target}; echo status $?"));
        person.see(PROMPT);
        person
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("it reads");
    }

    /// Waits until `text` is shown, and gives what came before it.
    #[track_caller]
    fn see(&mut self, text: &str) -> String {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.shown.find(text) {
                let before = self.shown[..at].to_owned();
                self.shown.drain(..at + text.len());
                return before;
            }
            assert!(Instant::now() < limit, "{text:?} does not come: {:?}", self.shown);
            match self.screen.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it has ended without {text:?}: {:?}", self.shown),
            }
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty row with the prompt in it.
const PROMPT: &str = "\r\x1b[K> ";

#[track_caller]
fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().expect("kill is there").success());
}

/// Until the process is gone, and not only told to go.
#[track_caller]
fn wait_for_end(pid: &str, name: &str) {
    let limit = Instant::now() + LIMIT;
    let is_there =
        || Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().is_ok_and(|it| it.success());
    while is_there() {
        assert!(Instant::now() < limit, "it does not end: {name}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_line_is_edited_before_it_is_sent() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::connected_to(&target);
    let peer = accept(&listener);
    let table = [
        ("Left", "hla\x1b[D\x1b[Do\r", "hola"),
        ("Home and End", "ol\x1b[Hh\x1b[Fa\r", "hola"),
        ("tmux's", "ol\x1b[1~h\x1b[4~a\r", "hola"),
        ("Ctrl-A and Ctrl-E", "ol\x01h\x05a\r", "hola"),
        ("Backspace takes a whole letter", "hoñ\x7fla\r", "hola"),
        ("Delete", "xhola\x01\x1b[3~\r", "hola"),
        ("Ctrl-D where something is typed", "xhola\x01\x04\r", "hola"),
        ("Ctrl-W", "hola mundo\x17\r", "hola "),
        ("Ctrl-U", "mundo\x15hola\r", "hola"),
        ("Ctrl-K", "holamundo\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x0b\r", "hola"),
        ("Up", "\x1b[A\r", "hola"),
        ("Up twice, changed", "uno\r\x1b[A\x1b[A!\r", "uno\nhola!"),
        ("keys that are none here", "ho\x1b[15~\x1b[5~\x07la\r", "hola"),
        ("letters of every width", "ñ日本e\u{301}😀\r", "ñ日本e\u{301}😀"),
    ];
    for (name, keys, want) in table {
        person.types(keys);
        for line in want.split('\n') {
            assert_eq!(read_until(&peer, "\n"), format!("{line}\n"), "{name}");
        }
    }
    Ok(())
}

/// Reads cut keys and letters anywhere.
#[test]
fn keys_may_come_in_pieces() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::connected_to(&target);
    let peer = accept(&listener);
    for byte in "ñl\x1b[Do\x1b[1;5D¡\x1b[F😀\r".bytes() {
        person.keyboard.write_all(&[byte])?;
        // No test of ours depends on its length: it makes several reads likely.
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(read_until(&peer, "\n"), "¡ñol😀\n");
    Ok(())
}

#[test]
fn what_comes_in_leaves_a_long_line_whole() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::at(&format!("stty cols 20; '{BUCLE}' connect {target}"));
    person.see(PROMPT);
    let mut peer = accept(&listener);
    let long = "a line longer than the terminal is wide, and longer than two rows of it";
    person.types(long);
    // The window is where the cursor is.
    person.see(" of it");
    person.types("\x01");
    person.see("> \x1b7a line longer tha>\x1b8");
    peer.write_all(b"hola\n")?;
    person.see("\r\x1b[Khola\r\n> \x1b7a line longer tha>\x1b8");
    person.types("\x1b[C!\r");
    let line = format!("a!{}", &long[1..]);
    assert_eq!(read_until(&peer, "\n"), format!("{line}\n"));
    // Sent, it is all there to be read.
    person.see(&format!("\r\x1b[K> {line}\r\n> "));
    Ok(())
}

#[test]
fn the_log_goes_above_the_prompt_too() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::at(&format!("'{BUCLE}' connect -vvv {target}"));
    person.see(PROMPT);
    let mut peer = accept(&listener);
    person.types("half a");
    person.see("half a");
    peer.write_all(b"hola\n")?;
    let log = person.see("hola\r\n> half a");
    assert!(log.contains("read 5 bytes\r\n\r\x1b[K"), "{log:?}");
    person.types(" line\r");
    // What is logged of the sending comes after the new prompt, which is drawn anew.
    person.see("> half a line\r\n> ");
    person.see("sent 12 bytes\r\n");
    person.see(PROMPT);
    Ok(())
}

#[test]
fn a_terminal_of_another_width_gets_the_line_anew() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::at(&format!("stty cols 40; tty; '{BUCLE}' connect {target}"));
    let tty = person.see("\r\n");
    person.see(PROMPT);
    let _peer = accept(&listener);
    person.types("abcdefghijklmnopqrstuvwxyz\x01");
    person.see("> \x1b7abcdefghijklmnopqrstuvwxyz\x1b8");
    assert!(Command::new("stty").args(["-F", &tty, "cols", "20"]).status()?.success());
    person.see("\r\x1b[K> \x1b7abcdefghijklmnopq>\x1b8");
    Ok(())
}

/// What was typed for the server is no command for the shell.
#[test]
fn a_server_that_vanishes_leaves_nothing_to_the_shell() -> io::Result<()> {
    for (settings, flags) in [("", ""), ("TERM=dumb", ""), ("", "--raw")] {
        let (listener, target) = server();
        let script =
            format!("{settings} '{BUCLE}' connect {target} {flags}; echo status $?; read line; echo \"got [$line]\"");
        let mut person = Person::at(&script);
        person.see("ends it\r\n");
        let peer = accept(&listener);
        person.types("rm -r");
        person.see("rm -r");
        drop(peer);
        person.see("the server closed the connection\r\nstatus 0");
        person.types("alive\n");
        person.see("got [alive]");
    }
    Ok(())
}

#[test]
fn what_is_typed_after_exit_is_the_shells() -> io::Result<()> {
    for end in ["exit\r", "exit \r", "\x04"] {
        let (listener, target) = server();
        let mut person = Person::at(&format!("'{BUCLE}' connect {target}; read line; echo \"got [$line]\""));
        person.see(PROMPT);
        let mut peer = accept(&listener);
        person.types(end);
        assert_eq!(peer.read(&mut [0; 8])?, 0);
        person.types("alive\n");
        person.see("alive");
        drop(peer);
        person.see("got [alive]");
    }
    Ok(())
}

/// In which way it ends, and the exit status that the shell sees.
#[test]
fn the_terminal_is_restored_whatever_ends_it() -> io::Result<()> {
    type Way = fn(&mut Person, &str);
    let table: &[(&str, Way, &str)] = &[
        ("exit", |person, _| person.types("\x15exit\r"), "0"),
        ("Ctrl-D", |person, _| person.types("\x15\x04"), "0"),
        ("Ctrl-C", |person, _| person.types("\x03"), "130"),
        ("Ctrl-\\", |person, _| person.types("\x1c"), "131"),
        ("kill", |_, pid| kill("-TERM", pid), "143"),
        ("kill -HUP", |_, pid| kill("-HUP", pid), "129"),
    ];
    for (name, end, status) in table {
        let (listener, target) = server();
        let script = format!(
            "trap : INT QUIT; stty -g; sh -c 'echo pid $$; exec \"{BUCLE}\" connect {target}'; echo status $?; stty -g"
        );
        let mut person = Person::at(&script);
        let before = person.see("\r\n");
        person.see("pid ");
        let pid = person.see("\r\n");
        person.see(PROMPT);
        let peer = accept(&listener);
        person.types("half a line");
        person.see("half a line");
        end(&mut person, &pid);
        if *status == "0" {
            assert_eq!((&peer).read(&mut [0; 8])?, 0, "{name}");
        } else {
            // What was not sent stays to be seen, and nothing is written behind it.
            person.see("\r\x1b[K> half a line\r\n");
        }
        drop(peer);
        person.see(&format!("status {status}\r\n"));
        assert_eq!(person.see("\r\n"), before, "{name}");
    }
    Ok(())
}

/// The server says more than anybody reads, or Ctrl-S holds the output.
#[test]
fn a_terminal_that_takes_nothing_holds_up_no_signal() -> io::Result<()> {
    type Way = fn(&mut Person, &TcpStream);
    let nobody_reads: Way = |_, mut peer| {
        peer.set_write_timeout(Some(Duration::from_millis(300))).expect("it is open");
        // Until it waits, for the client does not read either.
        while peer.write(&[b"y".repeat(999), b"\n".to_vec()].concat()).is_ok() {}
    };
    let ctrl_s: Way = |person, peer| {
        person.types("hola\r\x13");
        assert_eq!(read_until(peer, "\n"), "hola\n");
    };
    let table: &[(&str, Way, &str, &str)] = &[
        ("nobody reads, kill", nobody_reads, "-TERM", "143"),
        ("nobody reads, Ctrl-C", nobody_reads, "-INT", "130"),
        ("Ctrl-S, kill", ctrl_s, "-TERM", "143"),
        ("Ctrl-S, the terminal goes", ctrl_s, "-HUP", "129"),
        ("Ctrl-S, Ctrl-\\", ctrl_s, "-QUIT", "131"),
    ];
    for (name, hold, signal, status) in table {
        let (listener, target) = server();
        let script = format!(
            "trap : INT QUIT; stty -g; sh -c 'echo pid $$; exec \"{BUCLE}\" connect -v {target}'; echo status $?; stty -g"
        );
        let mut person = Person::at(&script);
        let before = person.see("\r\n");
        person.see("pid ");
        let pid = person.see("\r\n");
        person.see(PROMPT);
        let peer = accept(&listener);
        hold(&mut person, &peer);
        kill(signal, &pid);
        wait_for_end(&pid, name);
        person.types("\x11");
        person.see(&format!("status {status}\r\n"));
        assert_eq!(person.see("\r\n"), before, "{name}");
    }
    Ok(())
}

/// What the terminal did not take at once is neither lost nor out of order, and at the end it is waited for.
#[test]
fn what_waits_for_the_terminal_is_shown_in_the_end() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::connected_to(&target);
    let mut peer = accept(&listener);
    let said: Vec<String> = (0..40_000).map(|n| format!("this is line {n}")).collect();
    let all = said.join("\n") + "\n";
    let (first, second) = all.split_at(all.len() / 2);
    let second = second.to_owned();
    peer.write_all(first.as_bytes())?;
    person.types("hola\r");
    let writing = thread::spawn(move || {
        peer.write_all(second.as_bytes()).map(|()| assert_eq!(read_until(&peer, "\n"), "hola\n"))
        // And the server is gone.
    });
    let shown = person.see("status 0");
    writing.join().expect("the server fares well")?;
    let lines: Vec<&str> =
        shown.split(['\n', '\r']).filter_map(|row| row.find("this is").map(|at| &row[at..])).collect();
    assert_eq!(lines, said);
    assert!(shown.contains("> hola\r\n"));
    Ok(())
}

/// Ctrl-S, and Ctrl-Q after a while.
#[test]
fn after_ctrl_q_all_goes_on() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::connected_to(&target);
    let mut peer = accept(&listener);
    person.types("hola\r\x13");
    assert_eq!(read_until(&peer, "\n"), "hola\n");
    peer.write_all(b"uno\n")?;
    person.types("half a");
    thread::sleep(Duration::from_millis(20));
    person.types("\x11");
    person.see("uno\r\n> ");
    person.see("half a");
    person.types(" line\r");
    assert_eq!(read_until(&peer, "\n"), "half a line\n");
    drop(peer);
    person.see("status 0");
    Ok(())
}

#[test]
fn ctrl_z_and_fg_leave_everything_as_it_was() -> io::Result<()> {
    let (listener, target) = server();
    let script = format!("set -m; stty -g; '{BUCLE}' connect {target}; stty -g; echo stopped; read go; fg; stty -g");
    let mut person = Person::at(&script);
    let before = person.see("\r\n");
    person.see(PROMPT);
    let mut peer = accept(&listener);
    person.types("half a");
    person.see("half a");
    person.types("\x1a");
    person.see("\r\x1b[K");
    person.see(&before);
    person.see("stopped");
    peer.write_all(b"meanwhile\n")?;
    person.types("\n");
    person.see("meanwhile\r\n> half a");
    person.types(" line\r");
    assert_eq!(read_until(&peer, "\n"), "half a line\n");
    person.types("exit\r");
    assert_eq!(peer.read(&mut [0; 8])?, 0);
    drop(peer);
    person.see(&before);
    Ok(())
}

/// A shell that edits lines has settings of its own while its jobs are in the background.
#[test]
fn what_is_restored_is_never_another_programs() -> io::Result<()> {
    // How it comes to be stopped in the background, and what the shell does while it is.
    let table = [
        ("started there", "RAW; CLIENT &", ""),
        ("started there, and let go on there", "RAW; CLIENT &", "bg; echo gone; read go;"),
        ("let go on there after Ctrl-Z", "CLIENT;", "RAW; bg; echo gone; read go;"),
    ];
    for (name, start, meanwhile) in table {
        let (listener, target) = server();
        let script = format!(
            "set -m; cooked=$(stty -g); echo $cooked; {start} read go; {meanwhile} stty $cooked; fg; echo done; stty -g"
        );
        let client = format!("sh -c 'echo pid $$; exec \"{BUCLE}\" connect {target}'");
        let script = script.replace("RAW", "stty -icanon -echo -icrnl").replace("CLIENT", &client);
        let mut person = Person::at(&script);
        let before = person.see("\r\n");
        person.see("pid ");
        let pid = person.see("\r\n");
        let peer = accept(&listener);
        if start.ends_with(';') {
            person.see(PROMPT);
            person.types("\x1a");
        }
        wait_until_stopped(&pid, name);
        person.types("\n");
        if !meanwhile.is_empty() {
            person.see("gone");
            wait_until_stopped(&pid, name);
            person.types("\n");
        }
        person.see(PROMPT);
        person.types("hola\r");
        assert_eq!(read_until(&peer, "\n"), "hola\n", "{name}");
        person.types("exit\r");
        assert_eq!((&peer).read(&mut [0; 8])?, 0, "{name}");
        drop(peer);
        person.see("done\r\n");
        assert_eq!(person.see("\r\n"), before, "{name}");
    }
    Ok(())
}

#[track_caller]
fn wait_until_stopped(pid: &str, name: &str) {
    let limit = Instant::now() + LIMIT;
    let state = || Command::new("ps").args(["-o", "state=", "-p", pid]).output().expect("ps is there").stdout;
    while !state().starts_with(b"T") {
        assert!(Instant::now() < limit, "it does not stop: {name}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Without a shell that could let it go on, Ctrl-Z stops nothing.
#[test]
fn ctrl_z_without_a_shell_is_no_end() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::at(&format!("exec '{BUCLE}' connect {target}"));
    person.see(PROMPT);
    let peer = accept(&listener);
    person.types("still");
    person.see("still");
    // It throws away what was not read, as everywhere.
    person.types("\x1a");
    person.see("> still");
    person.types(" here\r");
    assert_eq!(read_until(&peer, "\n"), "still here\n");
    Ok(())
}

/// As `kill -STOP` does it, from which nothing can be done.
#[test]
fn who_is_stopped_unasked_goes_on_all_the_same() -> io::Result<()> {
    let (listener, target) = server();
    let mut person = Person::at(&format!("sh -c 'echo pid $$; exec \"{BUCLE}\" connect {target}'"));
    person.see("pid ");
    let pid = person.see("\r\n");
    person.see(PROMPT);
    let peer = accept(&listener);
    person.types("half a");
    person.see("half a");
    kill("-STOP", &pid);
    kill("-CONT", &pid);
    person.see("\r\x1b[K> half a");
    person.types(" line\r");
    assert_eq!(read_until(&peer, "\n"), "half a line\n");
    Ok(())
}
