//! `bucle connect` on a terminal: editing the line that is being typed, and restoring the terminal's settings.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::retry::retry;
use super::{BUCLE, LIMIT, accept, read_until, script_command, server};

/// A user at a terminal of 80 columns, on which a shell script runs. The terminal is read only during `see`.
pub(super) struct User {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    /// Text that was shown, and that `see` has not consumed yet.
    shown: String,
}

impl User {
    pub(super) fn at(shell_script: &str) -> User {
        let mut child = script_command()
            .args(["--quiet", "--flush", "--return", "--command", shell_script, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            // No history of earlier sessions, unless the script sets a folder.
            .env("XDG_STATE_HOME", "/dev/null")
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
            while let Ok(n @ 1..) = retry(|| stdout.read(&mut buf))
                && shows.send(buf[..n].to_vec()).is_ok()
            {}
        });
        User { child, keyboard, screen, shown: String::new() }
    }

    /// Connects and waits for the prompt. At the end the shell shows the exit status.
    fn connected_to(target: &str) -> User {
        let mut user = User::at(&format!("trap : INT QUIT; '{BUCLE}' connect {target}; echo status $?"));
        user.see(PROMPT);
        user
    }

    pub(super) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal reads");
    }

    /// Waits until `text` is shown, and returns the text before it.
    #[track_caller]
    pub(super) fn see(&mut self, text: &str) -> String {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.shown.find(text) {
                let before = self.shown[..at].to_owned();
                self.shown.drain(..at + text.len());
                return before;
            }
            assert!(Instant::now() < limit, "{text:?} is not shown: {:?}", self.shown);
            match self.screen.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the terminal has closed without {text:?}: {:?}", self.shown)
                }
            }
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An erased row with the prompt and no text.
pub(super) const PROMPT: &str = "\r\x1b[K> ";

#[track_caller]
fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().expect("kill is installed").success());
}

/// Waits until the process has ended: a signal was sent, but it takes time.
#[track_caller]
fn wait_for_end(pid: &str, name: &str) {
    let limit = Instant::now() + LIMIT;
    let is_running =
        || Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().is_ok_and(|it| it.success());
    while is_running() {
        assert!(Instant::now() < limit, "the client does not end: {name}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_line_is_edited_before_it_is_sent() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::connected_to(&target);
    let peer = accept(&listener);
    let table = [
        ("Left", "hla\x1b[D\x1b[Do\r", "hola"),
        ("Home and End", "ol\x1b[Hh\x1b[Fa\r", "hola"),
        ("Home and End of tmux", "ol\x1b[1~h\x1b[4~a\r", "hola"),
        ("Ctrl-A and Ctrl-E", "ol\x01h\x05a\r", "hola"),
        ("Backspace takes a whole letter", "hoñ\x7fla\r", "hola"),
        ("Delete", "xhola\x01\x1b[3~\r", "hola"),
        ("Ctrl-D on a line with text", "xhola\x01\x04\r", "hola"),
        ("Ctrl-W", "hola mundo\x17\r", "hola "),
        ("Ctrl-U", "mundo\x15hola\r", "hola"),
        ("Ctrl-K", "holamundo\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x0b\r", "hola"),
        ("Up", "\x1b[A\r", "hola"),
        ("Up twice, changed", "uno\r\x1b[A\x1b[A!\r", "uno\nhola!"),
        ("keys that the editor does not know", "ho\x1b[15~\x1b[5~\x07la\r", "hola"),
        ("letters of every width", "ñ日本e\u{301}😀\r", "ñ日本e\u{301}😀"),
    ];
    for (name, keys, want) in table {
        user.types(keys);
        for line in want.split('\n') {
            assert_eq!(read_until(&peer, "\n"), format!("{line}\n"), "{name}");
        }
    }
    Ok(())
}

/// A read may end inside a key or a character.
#[test]
fn keys_may_come_in_pieces() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::connected_to(&target);
    let peer = accept(&listener);
    for byte in "ñl\x1b[Do\x1b[1;5D¡\x1b[F😀\r".bytes() {
        user.keyboard.write_all(&[byte])?;
        // The result does not depend on this time: it only makes several reads likely.
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(read_until(&peer, "\n"), "¡ñol😀\n");
    Ok(())
}

#[test]
fn text_from_the_server_keeps_a_long_typed_line() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::at(&format!("stty cols 20; '{BUCLE}' connect {target}"));
    user.see(PROMPT);
    let mut peer = accept(&listener);
    let long = "a line longer than the terminal is wide, and longer than two rows of it";
    user.types(long);
    // The window follows the cursor.
    user.see(" of it");
    user.types("\x01");
    user.see("> \x1b7a line longer tha>\x1b8");
    peer.write_all(b"hola\n")?;
    user.see("\r\x1b[Khola\r\n> \x1b7a line longer tha>\x1b8");
    user.types("\x1b[C!\r");
    let line = format!("a!{}", &long[1..]);
    assert_eq!(read_until(&peer, "\n"), format!("{line}\n"));
    // A line that was sent is shown whole.
    user.see(&format!("\r\x1b[K> {line}\r\n> "));
    Ok(())
}

#[test]
fn the_log_is_shown_above_the_prompt() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::at(&format!("'{BUCLE}' connect -vvv {target}"));
    user.see(PROMPT);
    let mut peer = accept(&listener);
    user.types("half a");
    user.see("half a");
    peer.write_all(b"hola\n")?;
    let log = user.see("hola\r\n> half a");
    assert!(log.contains("read 5 bytes\r\n\r\x1b[K"), "{log:?}");
    user.types(" line\r");
    // The send is logged after the new prompt is drawn, so the prompt is drawn again.
    user.see("> half a line\r\n> ");
    user.see("sent 12 bytes\r\n");
    user.see(PROMPT);
    Ok(())
}

#[test]
fn a_change_of_width_draws_the_line_again() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::at(&format!("stty cols 40; tty; '{BUCLE}' connect {target}"));
    let tty = user.see("\r\n");
    user.see(PROMPT);
    let _peer = accept(&listener);
    user.types("abcdefghijklmnopqrstuvwxyz\x01");
    user.see("> \x1b7abcdefghijklmnopqrstuvwxyz\x1b8");
    assert!(Command::new("stty").args(["-F", &tty, "cols", "20"]).status()?.success());
    user.see("\r\x1b[K> \x1b7abcdefghijklmnopq>\x1b8");
    Ok(())
}

/// Text that was typed for the server must not become a command of the shell.
#[test]
fn typed_text_is_discarded_when_the_server_closes() -> io::Result<()> {
    for (settings, flags) in [("", ""), ("TERM=dumb", ""), ("", "--raw")] {
        let (listener, target) = server();
        let script =
            format!("{settings} '{BUCLE}' connect {target} {flags}; echo status $?; read line; echo \"got [$line]\"");
        let mut user = User::at(&script);
        user.see("ends it\r\n");
        let peer = accept(&listener);
        user.types("rm -r");
        user.see("rm -r");
        drop(peer);
        user.see("the server closed the connection\r\nstatus 0");
        user.types("alive\n");
        user.see("got [alive]");
    }
    Ok(())
}

#[test]
fn text_typed_after_exit_is_for_the_shell() -> io::Result<()> {
    for end in ["exit\r", "exit \r", "\x04"] {
        let (listener, target) = server();
        let mut user = User::at(&format!("'{BUCLE}' connect {target}; read line; echo \"got [$line]\""));
        user.see(PROMPT);
        let mut peer = accept(&listener);
        user.types(end);
        assert_eq!(retry(|| peer.read(&mut [0; 8]))?, 0);
        user.types("alive\n");
        user.see("alive");
        drop(peer);
        user.see("got [alive]");
    }
    Ok(())
}

/// Each row: how the client ends, and the exit status that the shell gets.
#[test]
fn the_terminal_is_restored_however_the_client_ends() -> io::Result<()> {
    type Way = fn(&mut User, &str);
    let table: &[(&str, Way, &str)] = &[
        ("exit", |user, _| user.types("\x15exit\r"), "0"),
        ("Ctrl-D", |user, _| user.types("\x15\x04"), "0"),
        ("Ctrl-C", |user, _| user.types("\x03"), "130"),
        ("Ctrl-\\", |user, _| user.types("\x1c"), "131"),
        ("kill", |_, pid| kill("-TERM", pid), "143"),
        ("kill -HUP", |_, pid| kill("-HUP", pid), "129"),
    ];
    for (name, end, status) in table {
        let (listener, target) = server();
        let script = format!(
            "trap : INT QUIT; stty -g; sh -c 'echo pid $$; exec \"{BUCLE}\" connect {target}'; echo status $?; stty -g"
        );
        let mut user = User::at(&script);
        let before = user.see("\r\n");
        user.see("pid ");
        let pid = user.see("\r\n");
        user.see(PROMPT);
        let peer = accept(&listener);
        user.types("half a line");
        user.see("half a line");
        end(&mut user, &pid);
        if *status == "0" {
            assert_eq!(retry(|| (&peer).read(&mut [0; 8]))?, 0, "{name}");
        } else {
            // The unsent line stays visible, and nothing is written after it.
            user.see("\r\x1b[K> half a line\r\n");
        }
        drop(peer);
        user.see(&format!("status {status}\r\n"));
        assert_eq!(user.see("\r\n"), before, "{name}");
    }
    Ok(())
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored_at_the_prompt() -> io::Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let (listener, target) = server();
    let script = format!("trap '' HUP; sh -c 'echo pid $$; exec \"{BUCLE}\" connect {target}'; echo status $?");
    let mut user = User::at(&script);
    user.see("pid ");
    let pid = user.see("\r\n");
    user.see(PROMPT);
    let peer = accept(&listener);
    kill("-HUP", &pid);
    user.types("hola\r");
    assert_eq!(read_until(&peer, "\n"), "hola\n");
    kill("-TERM", &pid);
    user.see("status 143");
    Ok(())
}

/// The terminal is full because it is not read, or Ctrl-S holds its output.
#[test]
fn signals_end_the_client_while_the_terminal_is_full() -> io::Result<()> {
    type Way = fn(&mut User, &TcpStream);
    let not_read: Way = |_, mut peer| {
        peer.set_write_timeout(Some(Duration::from_millis(300))).expect("it is open");
        // Until the write times out: a client whose terminal is full does not read from the socket.
        while retry(|| peer.write(&[b"y".repeat(999), b"\n".to_vec()].concat())).is_ok() {}
    };
    let ctrl_s: Way = |user, peer| {
        user.types("hola\r\x13");
        assert_eq!(read_until(peer, "\n"), "hola\n");
    };
    let table: &[(&str, Way, &str, &str)] = &[
        ("not read, kill", not_read, "-TERM", "143"),
        ("not read, Ctrl-C", not_read, "-INT", "130"),
        ("Ctrl-S, kill", ctrl_s, "-TERM", "143"),
        ("Ctrl-S, the terminal closes", ctrl_s, "-HUP", "129"),
        ("Ctrl-S, Ctrl-\\", ctrl_s, "-QUIT", "131"),
    ];
    for (name, hold, signal, status) in table {
        let (listener, target) = server();
        let script = format!(
            "trap : INT QUIT; stty -g; sh -c 'echo pid $$; exec \"{BUCLE}\" connect -v {target}'; echo status $?; stty -g"
        );
        let mut user = User::at(&script);
        let before = user.see("\r\n");
        user.see("pid ");
        let pid = user.see("\r\n");
        user.see(PROMPT);
        let peer = accept(&listener);
        hold(&mut user, &peer);
        kill(signal, &pid);
        wait_for_end(&pid, name);
        user.types("\x11");
        user.see(&format!("status {status}\r\n"));
        assert_eq!(user.see("\r\n"), before, "{name}");
    }
    Ok(())
}

/// Text that the terminal does not take immediately is neither lost nor reordered, and the client ends only after it is
/// shown.
#[test]
fn text_that_is_queued_for_the_terminal_is_shown_before_the_end() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::connected_to(&target);
    let mut peer = accept(&listener);
    let sent: Vec<String> = (0..40_000).map(|n| format!("this is line {n}")).collect();
    let all = sent.join("\n") + "\n";
    let (first, second) = all.split_at(all.len() / 2);
    let second = second.to_owned();
    peer.write_all(first.as_bytes())?;
    user.types("hola\r");
    let writing = thread::spawn(move || {
        peer.write_all(second.as_bytes()).map(|()| assert_eq!(read_until(&peer, "\n"), "hola\n"))
        // Then the server closes the connection.
    });
    let shown = user.see("status 0");
    writing.join().expect("the server does not panic")?;
    // A line whose rest is late has two rows, so the rows are joined; those of the prompt are left out.
    let rows = shown.split(['\n', '\r']).map(|row| row.trim_start_matches("\x1b[K"));
    let text: String = rows.filter(|row| !row.starts_with("> ")).collect();
    assert!(text.contains(&sent.concat()), "{shown:?}");
    assert!(shown.contains("> hola\r\n"));
    Ok(())
}

/// Ctrl-S, and Ctrl-Q after a while.
#[test]
fn ctrl_q_resumes_the_session() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::connected_to(&target);
    let mut peer = accept(&listener);
    user.types("hola\r\x13");
    assert_eq!(read_until(&peer, "\n"), "hola\n");
    peer.write_all(b"uno\n")?;
    user.types("half a");
    // The result does not depend on this time: it only makes it likely that the client meets the stopped terminal.
    thread::sleep(Duration::from_millis(20));
    user.types("\x11");
    user.see("uno\r\n> ");
    user.see("half a");
    user.types(" line\r");
    assert_eq!(read_until(&peer, "\n"), "half a line\n");
    drop(peer);
    user.see("status 0");
    Ok(())
}

#[test]
fn ctrl_z_and_fg_keep_the_typed_line() -> io::Result<()> {
    let (listener, target) = server();
    let script = format!("set -m; stty -g; '{BUCLE}' connect {target}; stty -g; echo stopped; read go; fg; stty -g");
    let mut user = User::at(&script);
    let before = user.see("\r\n");
    user.see(PROMPT);
    let mut peer = accept(&listener);
    user.types("half a");
    user.see("half a");
    user.types("\x1a");
    user.see("\r\x1b[K");
    user.see(&before);
    user.see("stopped");
    peer.write_all(b"meanwhile\n")?;
    user.types("\n");
    user.see("meanwhile\r\n> half a");
    user.types(" line\r");
    assert_eq!(read_until(&peer, "\n"), "half a line\n");
    user.types("exit\r");
    assert_eq!(retry(|| peer.read(&mut [0; 8]))?, 0);
    drop(peer);
    user.see(&before);
    Ok(())
}

/// A shell that edits lines uses other terminal settings while its jobs are in the background. Those must not be
/// restored.
#[test]
fn the_settings_of_the_shell_are_not_restored() -> io::Result<()> {
    // How the client comes to be stopped in the background, and what the shell does meanwhile.
    let table = [
        ("started in the background", "RAW; CLIENT &", ""),
        ("started in the background, and continued there", "RAW; CLIENT &", "bg; echo gone; read go;"),
        ("continued in the background after Ctrl-Z", "CLIENT;", "RAW; bg; echo gone; read go;"),
    ];
    for (name, start, meanwhile) in table {
        let (listener, target) = server();
        let script = format!(
            "set -m; cooked=$(stty -g); echo $cooked; {start} read go; {meanwhile} stty $cooked; fg; echo done; stty -g"
        );
        let client = format!("sh -c 'echo pid $$; exec \"{BUCLE}\" connect {target}'");
        let script = script.replace("RAW", "stty -icanon -echo -icrnl").replace("CLIENT", &client);
        let mut user = User::at(&script);
        let before = user.see("\r\n");
        user.see("pid ");
        let pid = user.see("\r\n");
        let peer = accept(&listener);
        if start.ends_with(';') {
            user.see(PROMPT);
            user.types("\x1a");
        }
        wait_until_stopped(&pid, name);
        user.types("\n");
        if !meanwhile.is_empty() {
            user.see("gone");
            wait_until_stopped(&pid, name);
            user.types("\n");
        }
        user.see(PROMPT);
        user.types("hola\r");
        assert_eq!(read_until(&peer, "\n"), "hola\n", "{name}");
        user.types("exit\r");
        assert_eq!(retry(|| (&peer).read(&mut [0; 8]))?, 0, "{name}");
        drop(peer);
        user.see("done\r\n");
        assert_eq!(user.see("\r\n"), before, "{name}");
    }
    Ok(())
}

/// Waits until all threads of the client are stopped: one that reads the keyboard could still take what is typed next.
#[track_caller]
fn wait_until_stopped(pid: &str, name: &str) {
    let limit = Instant::now() + LIMIT;
    let states = || {
        let ps = Command::new("ps").args(["-L", "-o", "state=", "-p", pid]).output().expect("ps is installed");
        String::from_utf8_lossy(&ps.stdout).into_owned()
    };
    let are_stopped = |states: String| !states.is_empty() && states.lines().all(|state| state.starts_with('T'));
    while !are_stopped(states()) {
        assert!(Instant::now() < limit, "the client does not stop: {name}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Without a shell that could continue the client, Ctrl-Z does not stop it.
#[test]
fn ctrl_z_without_a_shell_does_not_stop_the_client() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::at(&format!("exec '{BUCLE}' connect {target}"));
    user.see(PROMPT);
    let peer = accept(&listener);
    user.types("still");
    user.see("still");
    // The terminal driver discards input that was not read, as it does for every program.
    user.types("\x1a");
    user.see("> still");
    user.types(" here\r");
    assert_eq!(read_until(&peer, "\n"), "still here\n");
    Ok(())
}

/// `kill -STOP` cannot be handled, but the continuation after it can.
#[test]
fn a_client_that_was_stopped_by_sigstop_draws_its_prompt_again() -> io::Result<()> {
    let (listener, target) = server();
    let mut user = User::at(&format!("sh -c 'echo pid $$; exec \"{BUCLE}\" connect {target}'"));
    user.see("pid ");
    let pid = user.see("\r\n");
    user.see(PROMPT);
    let peer = accept(&listener);
    user.types("half a");
    user.see("half a");
    kill("-STOP", &pid);
    kill("-CONT", &pid);
    user.see("\r\x1b[K> half a");
    user.types(" line\r");
    assert_eq!(read_until(&peer, "\n"), "half a line\n");
    Ok(())
}
