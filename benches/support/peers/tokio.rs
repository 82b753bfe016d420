//! tokio with the current-thread runtime and a task per connection, as in its guide and examples.

use std::io::Result;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

use super::Role;

/// The size of each task's buffer. A larger one is faster for bulk data; a smaller one is faster for short
/// connections and saves memory.
const READ: usize = 16 * 1024;

/// How many lines a member of the relay may be behind.
const BACKLOG: usize = 4096;

pub fn serve(role: Role, buffered: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(accept(role, buffered)).expect("it accepts without errors");
}

async fn accept(role: Role, buffered: bool) -> Result<()> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(4096)?;
    super::announce(listener.local_addr()?.port());
    let (members, _) = broadcast::channel(BACKLOG);
    loop {
        let (stream, _) = listener.accept().await?;
        match (role, buffered) {
            (Role::Echo, _) => drop(tokio::spawn(echo(stream))),
            (Role::Lines, false) => drop(tokio::spawn(lines(stream))),
            (Role::Lines, true) => drop(tokio::spawn(buffered_lines(stream))),
            (Role::Relay, _) => drop(tokio::spawn(relay(stream, members.clone(), buffered))),
            (Role::Messages | Role::Events, _) => unreachable!("tokio has no messages"),
        }
    }
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    let mut buf = vec![0; READ];
    loop {
        let n = stream.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buf[..n]).await?;
    }
}

async fn lines(mut stream: TcpStream) -> Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    while read.read_until(b'\n', &mut line).await? > 0 {
        write.write_all(&line).await?;
        line.clear();
    }
    Ok(())
}

async fn buffered_lines(mut stream: TcpStream) -> Result<()> {
    let (read, write) = stream.split();
    let (mut read, mut write) = (BufReader::new(read), BufWriter::new(write));
    let mut line = Vec::new();
    while read.read_until(b'\n', &mut line).await? > 0 {
        write.write_all(&line).await?;
        line.clear();
        if read.buffer().is_empty() {
            write.flush().await?;
        }
    }
    Ok(())
}

/// The channel hands a counted reference to each member, not a copy. Buffered, all waiting lines are sent in one write.
async fn relay(stream: TcpStream, members: broadcast::Sender<std::sync::Arc<[u8]>>, buffered: bool) -> Result<()> {
    let mut lines = members.subscribe();
    let (read, mut write) = stream.into_split();
    let writer = tokio::spawn(async move {
        let mut waiting = Vec::new();
        while let Ok(line) = lines.recv().await {
            if !buffered {
                write.write_all(&line).await?;
                continue;
            }
            waiting.extend_from_slice(&line);
            while let Ok(line) = lines.try_recv() {
                waiting.extend_from_slice(&line);
            }
            write.write_all(&waiting).await?;
            waiting.clear();
        }
        Result::Ok(())
    });
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    while read.read_until(b'\n', &mut line).await? > 0 {
        let _ = members.send(line.as_slice().into());
        line.clear();
    }
    writer.abort();
    Ok(())
}
