//! The programs of README.es.md: the twins of the tutorial's programs, as processes, and their text in the document.
#![cfg(all(feature = "cli", feature = "process", feature = "socket-io"))]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long a test waits for something that must come. Only a failing test waits this long.
const LIMIT: Duration = Duration::from_secs(60);

/// A running program. It is killed when it is dropped.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn example(name: &str, port: u16) -> Program {
        let test = std::env::current_exe().expect("the test has a path");
        let profile = test.parent().and_then(Path::parent).expect("it is target/PROFILE/deps/tutorial-…");
        let program = profile.join("examples").join(name);
        assert!(program.exists(), "{} is missing: run `cargo build --examples`", program.display());
        Program::start(Command::new(program).arg(port.to_string()))
    }

    /// Starts a server of the tutorial, and returns its port.
    fn serve(name: &str) -> (Program, u16) {
        let program = Program::example(name, 0);
        let line = program.line();
        let port = line.strip_prefix("El servidor está escuchando en el puerto ").and_then(|port| port.parse().ok());
        (program, port.unwrap_or_else(|| panic!("{name}: the first line is {line:?}")))
    }

    fn start(command: &mut Command) -> Program {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Program { child, lines }
    }

    fn type_in(&mut self, text: &str) {
        self.child.stdin.as_mut().expect("it is open").write_all(text.as_bytes()).expect("it reads");
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line")
    }

    /// The program ends with success, and prints nothing more. Returns its stderr.
    fn end(mut self) -> String {
        assert_eq!(self.lines.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
        assert!(self.child.wait().expect("it was started").success());
        let mut errors = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut errors).expect("it is text");
        errors
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_document_has_the_text_of_the_programs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("README.es.md")).expect("it is there");
    for name in ["tutorial_server", "tutorial_client", "tutorial_socketio"] {
        let source = fs::read_to_string(root.join("examples").join(format!("{name}.rs"))).expect("it is there");
        let (_, program) = source.split_once("\n\n").expect("a program follows the header");
        assert!(document.contains(&format!("```rust,no_run\n{program}```")), "README.es.md has {name} in another form");
    }
}

#[test]
fn the_server_greets_prints_what_arrives_and_notices_the_end() {
    let (server, port) = Program::serve("tutorial_server");
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    client.set_read_timeout(Some(LIMIT)).expect("a limit");
    let mut greeting = vec![0; "¡Bienvenido!\r\n".len()];
    client.read_exact(&mut greeting).expect("a greeting");
    assert_eq!(String::from_utf8_lossy(&greeting), "¡Bienvenido!\r\n");
    client.write_all("hola \x1b[2J ñandú\r\n".as_bytes()).expect("it reads");
    assert_eq!(server.line(), "#2: hola ␛[2J ñandú");
    client.shutdown(Shutdown::Write).expect("it is open");
    assert_eq!(server.line(), "#2 se ha desconectado");
    assert_eq!(client.read(&mut greeting).expect("it ends, too"), 0);
}

#[test]
fn the_client_talks_to_the_server_and_ends_with_exit() {
    let (server, port) = Program::serve("tutorial_server");
    let mut client = Program::example("tutorial_client", port);
    assert_eq!(client.line(), "Cliente conectado al servidor");
    assert_eq!(client.line(), "¡Bienvenido!");
    client.type_in("hola\n");
    assert_eq!(server.line(), "#2: hola");
    client.type_in("exit\n");
    assert_eq!(server.line(), "#2 se ha desconectado");
    assert_eq!(client.line(), "Servidor desconectado");
    assert_eq!(client.end(), "");
}

#[test]
fn the_client_ends_when_the_server_ends() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let client = Program::example("tutorial_client", listener.local_addr().expect("it is bound").port());
    let (server, _) = listener.accept().expect("it connects");
    assert_eq!(client.line(), "Cliente conectado al servidor");
    drop(server);
    assert_eq!(client.line(), "Servidor desconectado");
    assert_eq!(client.end(), "");
}

#[test]
fn the_client_names_the_error_if_there_is_no_server() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let errors = Program::example("tutorial_client", port).end();
    assert_eq!(errors, format!("Error: connect ECONNREFUSED 127.0.0.1:{port}\n"));
}

#[test]
fn the_server_of_socket_io_greets_and_prints_events() {
    let (server, port) = Program::serve("tutorial_socketio");
    let url = format!("sio://127.0.0.1:{port}");
    let mut client = Program::start(Command::new(env!("CARGO_BIN_EXE_bucle")).args(["connect", &url]));
    assert_eq!(client.line(), "mensajeClientePersonalizado \"Bienvenido\"");
    client.type_in("mensajeServidorPersonalizado \"hola\"\n");
    let line = server.line();
    assert!(line.ends_with(": hola"), "{line}");
}
