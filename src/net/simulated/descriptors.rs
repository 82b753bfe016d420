//! Descriptors of the simulated kernel: streams and listeners. Each call takes its answer from the script first.

use std::io::{self, IoSlice};
use std::mem;
use std::net::SocketAddr;

use mio::Token;

use super::{Answer, Call, EventSource, Kernel, Peer, failure};
use crate::net::stream::Stream;

/// The descriptor of a connection.
pub(in crate::net) struct SimulatedStream {
    pub(super) kernel: Kernel,
    pub(super) id: usize,
}

impl SimulatedStream {
    pub fn peer(&self) -> Peer {
        Peer(self.id)
    }

    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.kernel.state.borrow_mut();
        let wanted = match state.next_answer_on(self.id, Call::Read) {
            Answer::Fail(error) => return Err(failure(error)),
            Answer::Short(n) => n.clamp(1, buf.len()),
            _ => buf.len(),
        };
        let connection = &mut state.connections[self.id];
        let result = connection.read(&mut buf[..wanted]);
        if result.is_ok() && !connection.incoming.is_empty() {
            // The script cut the read short: report the remaining bytes as new ones.
            state.wake(EventSource::Connection(self.id));
        }
        result
    }

    pub fn write_pieces(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(&pieces.iter().map(|piece| &**piece).collect::<Vec<&[u8]>>().concat())
    }

    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.kernel.state.borrow_mut();
        let offered = match state.next_answer_on(self.id, Call::Write) {
            Answer::Fail(error) => {
                state.connections[self.id].was_refused |= error == "EAGAIN";
                return Err(failure(error));
            }
            Answer::Short(n) => n.max(1).min(bytes.len()),
            _ => bytes.len(),
        };
        state.connections[self.id].write(&bytes[..offered])
    }

    pub fn shutdown(&self) -> io::Result<()> {
        let mut state = self.kernel.state.borrow_mut();
        if let Answer::Fail(_) | Answer::ResetFirst = state.next_answer(Call::Shutdown) {
            // The connection is gone, and the poll has not reported it yet.
            state.connections[self.id].reset("ECONNRESET");
        }
        let connection = &mut state.connections[self.id];
        connection.is_shut = true;
        let result = if connection.is_reset { Err(failure("ENOTCONN")) } else { Ok(()) };
        state.wake(EventSource::Connection(self.id));
        result
    }

    pub fn address(&self) -> Option<SocketAddr> {
        let is_connected =
            self.kernel.look(Peer(self.id), |connection| !connection.is_connecting && !connection.is_reset);
        let port = u16::try_from(self.id + 1).unwrap_or(u16::MAX);
        is_connected.then(|| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let mut state = self.kernel.state.borrow_mut();
        match state.next_answer_on(self.id, Call::Outcome) {
            Answer::Fail(error) if error != "EINTR" && error != "EAGAIN" => Ok(Some(failure(error))),
            _ => Ok(state.connections[self.id].error.take().map(failure)),
        }
    }

    pub fn register(&self, token: Token) -> io::Result<()> {
        let mut state = self.kernel.state.borrow_mut();
        if let Answer::Fail(error) = state.next_answer(Call::Register) {
            return Err(failure(error));
        }
        state.connections[self.id].token = Some(token);
        state.wake(EventSource::Connection(self.id));
        Ok(())
    }
}

impl Drop for SimulatedStream {
    fn drop(&mut self) {
        self.kernel.state.borrow_mut().connections[self.id].closes += 1;
    }
}

/// A descriptor that accepts connections.
pub(in crate::net) struct SimulatedListener {
    pub(super) kernel: Kernel,
    pub(super) id: usize,
}

impl SimulatedListener {
    pub fn register(&self, token: Token) -> io::Result<()> {
        self.kernel.state.borrow_mut().listeners[self.id].token = Some(token);
        Ok(())
    }

    pub fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        let mut state = self.kernel.state.borrow_mut();
        if state.listeners[self.id].backlog.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let answer = state.next_answer(Call::Accept);
        match answer {
            Answer::Fail("EAGAIN") => {
                state.wake(EventSource::Listener(self.id));
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Answer::Fail(error @ ("ECONNABORTED" | "EPROTO")) => {
                // This error belongs to the first connection of the backlog, which is gone now.
                if let Some(id) = state.listeners[self.id].backlog.pop_front() {
                    state.connections[id].reset(error);
                }
                return Err(failure(error));
            }
            Answer::Fail(error) => return Err(failure(error)),
            _ => {}
        }
        let Some(id) = state.listeners[self.id].backlog.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let connection = &mut state.connections[id];
        connection.has_fin |= answer == Answer::FinFirst;
        if answer == Answer::ResetFirst {
            connection.reset("ECONNRESET");
        }
        let stream = self.kernel.open(&mut state, id);
        drop(state);
        let address = match &stream {
            Stream::Simulated(stream) => stream.address(),
            _ => None,
        };
        Ok((stream, address))
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        let state = &mut *self.kernel.state.borrow_mut();
        let listener = &mut state.listeners[self.id];
        listener.is_closed = true;
        for id in mem::take(&mut listener.backlog) {
            state.connections[id].reset("ECONNRESET");
        }
    }
}
