//! The bytes of `--file` or `--script` on their way from a parent process to its workers.
//!
//! A pipe can be read only once, and `/dev/stdin` is another file in each process. So only the parent reads the file.
//! Before its first command it writes the bytes to the standard input of each worker, with their length before them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

/// Writes the bytes to a worker.
pub(crate) fn send(worker: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    worker.write_all(&(bytes.len() as u64).to_le_bytes())?;
    worker.write_all(bytes)
}

/// In a worker: reads the bytes from standard input. What comes behind them, the commands, stays unread.
pub(crate) fn receive() -> io::Result<Vec<u8>> {
    // `io::stdin()` would read ahead.
    read(&File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

fn read(mut parent: impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 8];
    parent.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    let mut bytes = Vec::new();
    parent.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_end_where_the_commands_begin() {
        let mut pipe = Vec::new();
        send(&mut pipe, b"hola\n").unwrap();
        pipe.extend_from_slice(b"go\n");
        let mut rest = &pipe[..];
        assert_eq!((read(&mut rest).unwrap(), rest), (b"hola\n".to_vec(), &b"go\n"[..]));
        assert!(read(&pipe[..10]).is_err() && read(&pipe[..3]).is_err());
    }
}
