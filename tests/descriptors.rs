//! No descriptor left: who is connected is served, nobody is lost, and it goes on as soon as one is free.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(20);

struct Limited(Child);

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn answers(client: &mut TcpStream) {
    client.write_all(b"hola").expect("it is connected");
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"hola");
}

#[test]
fn without_descriptors_the_connected_are_served_and_the_others_wait() {
    const DESCRIPTORS: usize = 24;
    let serve = format!("ulimit -n {DESCRIPTORS}; exec {} serve echo --port 0", env!("CARGO_BIN_EXE_bucle"));
    let child = Command::new("sh")
        .args(["-c", &serve])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    let mut server = Limited(child);
    let mut line = String::new();
    let stdout = server.0.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("it says that it listens");
    let port: u16 = line.trim_end().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    // More than there are descriptors: the last ones stand in the kernel's backlog.
    let connect = |_| {
        let client = TcpStream::connect(("127.0.0.1", port)).expect("the backlog has room");
        client.set_read_timeout(Some(LIMIT)).expect("a socket");
        client
    };
    let mut clients: Vec<TcpStream> = (0..DESCRIPTORS + 10).map(connect).collect();
    for client in &mut clients[..8] {
        answers(client);
    }
    // Who leaves makes room: in the end everybody has had an answer.
    for mut client in clients {
        answers(&mut client);
    }
}
