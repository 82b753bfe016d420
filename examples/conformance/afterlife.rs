//! The results of calls on a socket that is closed.
//!
//! After `on_close` a handle finds nothing. But a scenario may continue to use the socket, as JavaScript can continue
//! to use the object. So the runner keeps a copy of the socket's state at the end of `on_close`, and answers from it.

use bucle::net::{Error, Socket, SocketInfo};
use bucle::{Loop, Result};

/// The state of a closed socket.
pub struct Afterlife {
    pub info: SocketInfo,
    had_error: bool,
    refusal: Error,
}

impl Afterlife {
    /// Copies the state, at the end of `on_close`. `None` if a rule has connected the socket again.
    pub fn of(lp: &mut Loop, socket: Socket, had_error: bool) -> Option<Afterlife> {
        let info = socket.info(lp)?;
        let refusal = socket.write_refusal(lp)?;
        info.destroyed.then_some(Afterlife { info, had_error, refusal })
    }

    /// The result that the callback of a write gets.
    pub fn write(&self) -> Result<()> {
        Err(self.refusal.clone())
    }

    /// The result that the callback of an end gets. `None` for the first `end` of a socket that was destroyed without
    /// one: Node records it, and never calls its callback.
    pub fn end(&mut self, has_payload: bool) -> Option<Result<()>> {
        if has_payload {
            // A plain write can get another error here: `EPIPE`, after the peer's end.
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
