//! Test servers with the faults that a test needs, which count what they receive. They use one plain thread per
//! connection.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::retry::retry;

/// What a server has received and sent.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ledger {
    pub connections: u64,
    pub lines: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

pub type Shared = Arc<Mutex<Ledger>>;

/// A server on a free port of this machine. Its threads end with the test program.
pub struct Server {
    pub port: u16,
    ledger: Shared,
}

impl Server {
    pub fn start(serve: impl Fn(TcpStream, Shared) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let ledger = Shared::default();
        let (shared, serve) = (ledger.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.set_nodelay(true);
                shared.lock().expect("no thread panics").connections += 1;
                let (shared, serve) = (shared.clone(), serve.clone());
                thread::spawn(move || serve(stream, shared));
            }
        });
        Server { port, ledger }
    }

    /// A server that sends every byte back.
    pub fn echo() -> Server {
        Server::start(|stream, ledger| {
            let mut reader = BufReader::new(&stream);
            let mut writer = &stream;
            while let Ok(len @ 1..) = retry(|| reader.fill_buf().map(<[u8]>::len)) {
                let bytes = reader.buffer();
                {
                    let mut ledger = ledger.lock().expect("no thread panics");
                    ledger.lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
                    ledger.bytes_in += len as u64;
                    ledger.bytes_out += len as u64;
                }
                if writer.write_all(bytes).is_err() {
                    return;
                }
                reader.consume(len);
            }
        })
    }

    /// A server that sends what `answer` returns for each line. It gets the line's number, its bytes, and a buffer that
    /// it may keep bytes in.
    pub fn lines(answer: fn(u64, &[u8], &mut Vec<u8>) -> Vec<u8>) -> Server {
        Server::start(move |stream, ledger| {
            let mut kept = Vec::new();
            each_line(&stream, ledger, move |stream, seq, line| {
                let answer = answer(seq, line, &mut kept);
                if answer.is_empty() { Ok(()) } else { stream.write_all(&answer) }
            });
        })
    }

    /// A chat room that sends every line to every connection, in the same order. Of the first message of connection 1
    /// it sends `copies(n)` copies to the `n`th connection.
    pub fn room(to_itself: bool, copies: fn(usize) -> usize) -> Server {
        let members: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        Server::start(move |stream, ledger| {
            let own = stream.try_clone().expect("a descriptor");
            let peer = stream.peer_addr().expect("it is connected");
            {
                let mut members = members.lock().expect("no thread panics");
                members.push(own);
                (&stream).write_all(b"12:30 welcome\n").expect("the client reads");
            }
            let members = members.clone();
            each_line(&stream, ledger, move |_, _, line| {
                let is_special = line.starts_with(b"1:0 ");
                let members = members.lock().expect("no thread panics");
                for (nth, mut member) in members.iter().enumerate() {
                    if !to_itself && member.peer_addr().is_ok_and(|other| other == peer) {
                        continue;
                    }
                    for _ in 0..if is_special { copies(nth) } else { 1 } {
                        member.write_all(&[b"ana> ", line].concat())?;
                    }
                }
                Ok(())
            });
        })
    }

    pub fn ledger(&self) -> Ledger {
        *self.ledger.lock().expect("no thread panics")
    }

    /// A port that no server listens on.
    pub fn closed_port(&self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        listener.local_addr().expect("it is bound").port()
    }
}

/// Calls `f` with each line of a connection, its break included, until the peer ends or `f` fails.
pub fn each_line(stream: &TcpStream, ledger: Shared, mut f: impl FnMut(&mut TcpStream, u64, &[u8]) -> io::Result<()>) {
    let mut writer = stream.try_clone().expect("a descriptor");
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    for seq in 0.. {
        line.clear();
        if !reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            return;
        }
        {
            let mut ledger = ledger.lock().expect("no thread panics");
            ledger.lines += 1;
            ledger.bytes_in += line.len() as u64;
        }
        if f(&mut writer, seq, &line).is_err() {
            return;
        }
    }
}
