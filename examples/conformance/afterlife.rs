//! What is left of a socket after its close.
//!
//! A handle finds nothing once `on_close` has passed, but a scenario may go on using the socket, as JavaScript can go on
//! using an object. So the runner takes down at the end of `on_close` what it would have to answer, and answers itself.

use bucle::net::{Error, Socket, SocketInfo};
use bucle::{Loop, Result};

/// What a socket would say if it could still be asked.
pub struct Afterlife {
    pub info: SocketInfo,
    had_error: bool,
    refusal: Error,
}

impl Afterlife {
    /// At the end of `on_close`. `None` if the socket lives on, connected again.
    pub fn of(lp: &mut Loop, socket: Socket, had_error: bool) -> Option<Afterlife> {
        let info = socket.info(lp)?;
        let refusal = socket.write_refusal(lp)?;
        info.destroyed.then_some(Afterlife { info, had_error, refusal })
    }

    /// What the callback of a write is told.
    pub fn write(&self) -> Result<()> {
        Err(self.refusal.clone())
    }

    /// What the callback of an end is told. `None`: the first end of a socket that was destroyed without one is taken
    /// note of, and its callback is never called.
    pub fn end(&mut self, has_payload: bool) -> Option<Result<()>> {
        if has_payload {
            // Not what a write of its own is told: after the peer's end that is another story (`EPIPE`).
            let destroyed = Error::Destroyed { action: "write" };
            return Some(Err(if self.info.writable_ended { Error::WriteAfterEnd } else { destroyed }));
        }
        if self.info.writable_finished {
            return Some(Err(Error::AlreadyFinished));
        }
        if self.info.writable_ended || self.had_error {
            return Some(Err(Error::Destroyed { action: "end" }));
        }
        self.info.writable_ended = true;
        self.refusal = Error::WriteAfterEnd;
        None
    }
}
