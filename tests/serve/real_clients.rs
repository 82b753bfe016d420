//! Common clients: Debian's telnet in a terminal, OpenBSD's nc in a pipe, PuTTY's plink.
//!
//! A test prints a note and skips a client that is not installed; `.ci/run` installs them.

use std::io::{ErrorKind, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::retry::retry;
use super::served::{LIMIT, Served};

/// A client that is not installed is an error in CI, where every client must be tested.
fn skip(program: &str) {
    eprintln!("skipped: {program} is not installed");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{program} is not installed");
}

/// A client as a child process, and the text that it has shown.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    shown: String,
}

impl Client {
    /// Starts a client. Returns `None` if it is not installed.
    fn start(program: &str, args: &[&str]) -> Option<Client> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skip(program);
                return None;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let mut stdout = child.stdout.take().expect("it is piped");
        let (shows, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = retry(|| stdout.read(&mut buf)) {
                let _ = shows.send(buf[..n].to_vec());
            }
        });
        Some(Client { stdin: child.stdin.take(), child, output, shown: String::new() })
    }

    /// Starts a telnet client in a terminal of its own, which `script` provides.
    fn in_terminal(program: &str, port: u16) -> Option<Client> {
        let is_there = Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok();
        if !is_there {
            skip(program);
            return None;
        }
        Client::start("script", &["-qec", &format!("{program} 127.0.0.1 {port}"), "/dev/null"])
    }

    fn type_in(&mut self, text: &str) {
        self.stdin.as_mut().expect("it is open").write_all(text.as_bytes()).expect("it reads");
    }

    /// Waits until `text` has been shown, and drops everything up to its end.
    fn wait_for(&mut self, text: &str) {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            assert!(Instant::now() < limit, "{text:?} is not shown: {:?}", self.shown);
            match self.output.recv_timeout(Duration::from_millis(100)) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the client has ended without {text:?}: {:?}", self.shown)
                }
            }
        }
    }

    /// Waits for the end of the client. Returns the text that it has shown since.
    fn rest(&mut self) -> String {
        loop {
            match self.output.recv_timeout(LIMIT) {
                Ok(bytes) => self.shown += &String::from_utf8_lossy(&bytes),
                Err(RecvTimeoutError::Disconnected) => return std::mem::take(&mut self.shown),
                Err(RecvTimeoutError::Timeout) => panic!("the client does not end: {:?}", self.shown),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn telnet_in_a_terminal_talks_to_the_tutorial() {
    let server = Served::start(&["tutorial"]);
    for program in ["inetutils-telnet", "telnet"] {
        let Some(mut telnet) = Client::in_terminal(program, server.port()) else { continue };
        telnet.wait_for("¡Bienvenido!\r\n");
        telnet.type_in("¡Bienvenido! ñandú €\n");
        telnet.wait_for("server: ¡Bienvenido! ñandú €\r\n");
        // Ctrl-C: from now on telnet shows nothing until its timing mark is answered.
        telnet.type_in("\x03");
        telnet.type_in("after\n");
        telnet.wait_for("server: after\r\n");
        // Ctrl-D on an empty line.
        telnet.type_in("\x04");
        let rest = telnet.rest();
        assert!(rest.contains("Connection closed by foreign host"), "{program}: {rest:?}");
    }
}

#[test]
fn telnet_in_a_terminal_joins_the_chat() {
    let server = Served::start(&["chat"]);
    let Some(mut telnet) = Client::in_terminal("telnet", server.port()) else { return };
    telnet.wait_for("¡Bienvenido! You are guest1");
    telnet.type_in("/nick ñandú\n");
    telnet.wait_for("-- guest1 is now called ñandú\r\n");
    telnet.type_in("hola €\n");
    telnet.wait_for("ñandú: hola €\r\n");
    telnet.type_in("/quit\n");
    assert!(telnet.rest().contains("-- good-bye"));
}

/// `send synch` and `toggle autosynch` send a Data Mark as an urgent byte.
#[test]
fn telnet_sends_a_synch_and_the_next_line_arrives_whole() {
    let server = Served::start(&["tutorial"]);
    for program in ["inetutils-telnet", "telnet"] {
        let Some(mut telnet) = Client::in_terminal(program, server.port()) else { continue };
        telnet.wait_for("¡Bienvenido!\r\n");
        for round in 0..3 {
            telnet.type_in("\x1d");
            telnet.wait_for("telnet> ");
            telnet.type_in("send synch\n");
            telnet.type_in(&format!("hola {round}\n"));
            telnet.wait_for(&format!("server: hola {round}\r\n"));
        }
        telnet.type_in("\x1d");
        telnet.wait_for("telnet> ");
        telnet.type_in("toggle autosynch\n");
        telnet.wait_for("Will send interrupt characters in urgent mode.");
        for round in 0..3 {
            // Ctrl-C, now with a Synch. The timing mark behind it must not be lost either: telnet waits for it.
            telnet.type_in("\x03");
            telnet.type_in(&format!("adios {round}\n"));
            telnet.wait_for(&format!("server: adios {round}\r\n"));
        }
    }
}

/// BusyBox asks the server to show what is typed, is refused, and sends lines.
#[test]
fn busybox_in_a_terminal_joins_the_chat() {
    let server = Served::start(&["chat"]);
    let is_there = Command::new("busybox").arg("telnet").stdin(Stdio::null()).output().is_ok();
    if !is_there {
        return skip("busybox");
    }
    let command = format!("busybox telnet 127.0.0.1 {}", server.port());
    let Some(mut telnet) = Client::start("script", &["-qec", &command, "/dev/null"]) else { return };
    telnet.wait_for("¡Bienvenido! You are guest1");
    telnet.type_in("/nick anx\x7fa\n");
    // Its terminal makes `\r\r\n` of a line break.
    telnet.wait_for("-- guest1 is now called ana\r");
    telnet.type_in("hok\x7fla €\n");
    telnet.wait_for("ana: hola €\r");
    telnet.type_in("/quit\n");
    telnet.wait_for("-- good-bye");
}

/// A terminal in raw mode sends each key, and `\r` for Enter: the server edits the line.
#[test]
fn a_raw_terminal_corrects_its_lines_in_the_chat() {
    let server = Served::start(&["chat"]);
    if Command::new("nc").arg("-h").stdin(Stdio::null()).output().is_err() {
        return skip("nc");
    }
    let command = format!("stty raw -echo; nc 127.0.0.1 {}", server.port());
    let Some(mut nc) = Client::start("script", &["-qec", &command, "/dev/null"]) else { return };
    nc.wait_for("¡Bienvenido! You are guest1");
    for (typed, line) in [
        ("hok\x7fla\r", "hola"),
        ("ñandú€\x08\x08ú\r", "ñandú"),
        ("uno dos\x17tres\r", "uno tres"),
        ("uno dos\x15tres\r", "tres"),
        ("\x7f\x08\x15\x17fin\r", "fin"),
    ] {
        nc.type_in(typed);
        nc.wait_for(&format!("guest1: {line}\r\n"));
    }
}

#[test]
fn nc_gets_greeting_and_answer() {
    let server = Served::start(&["tutorial"]);
    for text in ["hola\n", "hola"] {
        let Some(mut nc) = Client::start("nc", &["-N", "127.0.0.1", &server.port().to_string()]) else { return };
        nc.type_in(text);
        drop(nc.stdin.take());
        assert_eq!(nc.rest(), "¡Bienvenido!\r\nserver: hola\r\n", "{text:?}");
    }
}

#[test]
fn the_negotiation_of_plink_is_not_text() {
    let server = Served::start(&["tutorial"]);
    let port = server.port().to_string();
    let Some(mut plink) = Client::start("plink", &["-telnet", "-P", &port, "127.0.0.1"]) else { return };
    plink.wait_for("¡Bienvenido!");
    plink.type_in("hola\n");
    plink.wait_for("\nserver: hola\r\n");
}
