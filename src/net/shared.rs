//! One handler for many: sockets and servers that share their state.
//!
//! The sockets of a server share its handler anyway. A [`Shared`] is for those that no server has accepted, or that several
//! have: the clients of a pool, the two sides of a proxy, a chat that listens on a port and on a path.
//!
//! ```text
//!   Shared ──▶ handler ◀── socket #1 (a client), socket #2 (another), server #3 and all that it accepts
//! ```
//!
//! ```
//! use bucle::net::{self, Handler, Shared, Socket};
//! use bucle::Loop;
//!
//! /// Three clients that count together.
//! #[derive(Default)]
//! struct Pool {
//!     connected: usize,
//! }
//!
//! impl Handler for Pool {
//!     fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
//!         self.connected += 1;
//!         socket.end(lp);
//!     }
//! }
//!
//! let mut pool = None;
//! let mut event_loop = bucle::EventLoop::new()?;
//! event_loop.enter(|lp| -> bucle::Result<()> {
//!     let server = net::listen(lp, ("127.0.0.1", 0), net::on())?;
//!     server.unref(lp);
//!     let port = server.port(lp).expect("it is bound");
//!     let shared = *pool.insert(Shared::new(lp, Pool::default()));
//!     for _ in 0..3 {
//!         Socket::connect(lp, ("127.0.0.1", port), shared)?;
//!     }
//!     Ok(())
//! })?;
//! event_loop.run()?;
//! let connected = event_loop.enter(|lp| pool.and_then(|pool| pool.with(lp, |pool, _| pool.connected)));
//! assert_eq!(connected, Some(3));
//! # Ok::<(), bucle::Error>(())
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;

use super::Handler;
use crate::event_loop::Loop;

/// Names a handler that many may share; from [`Shared::new`].
///
/// 8 bytes, `Copy`, and good wherever a handler is asked for: [`Socket::connect`](super::Socket::connect),
/// [`Socket::set_handler`](super::Socket::set_handler), [`listen`](super::listen). The handler lives until
/// [`release`](Self::release), and after that as long as a socket or server has it.
pub struct Shared<H> {
    slot: u32,
    serial: NonZeroU32,
    handler: PhantomData<fn() -> H>,
}

impl<H: Handler> Shared<H> {
    /// Gives the handler to the loop.
    pub fn new(lp: &mut Loop, handler: H) -> Shared<H> {
        let slot = lp.add_handler(Box::new(handler));
        let serial = lp.net.name_handler(slot);
        Shared { slot, serial, handler: PhantomData }
    }

    /// Lends the handler to `f`, from a timer or somebody else's callback. `None` inside its own callbacks, where `self` is
    /// the handler, and after [`release`](Self::release).
    pub fn with<R>(self, lp: &mut Loop, f: impl FnOnce(&mut H, &mut Loop) -> R) -> Option<R> {
        if !self.exists(lp) {
            return None;
        }
        lp.with_handler_as(self.slot, f)
    }

    /// Gives the name up. Who has the handler keeps it; when nobody has it any more, it is dropped.
    pub fn release(self, lp: &mut Loop) {
        if self.exists(lp) {
            lp.net.handlers[self.slot as usize].name = None;
            lp.release_handler(self.slot);
        }
    }

    fn exists(self, lp: &Loop) -> bool {
        lp.net.handlers.get(self.slot as usize).is_some_and(|slot| slot.name == Some(self.serial))
    }
}

impl<H> Clone for Shared<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Shared<H> {}

impl<H> PartialEq for Shared<H> {
    fn eq(&self, other: &Self) -> bool {
        (self.slot, self.serial) == (other.slot, other.serial)
    }
}

impl<H> Eq for Shared<H> {}

impl<H> fmt::Debug for Shared<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared#{}", self.serial)
    }
}

/// What can answer for a socket or a server: every [`Handler`], and the [`Shared`] name of one.
pub trait IntoHandler: sealed::IntoSlot {
    /// Whose state it is.
    type Handler: Handler;
}

impl<H: Handler> IntoHandler for H {
    type Handler = H;
}

impl<H: Handler> IntoHandler for Shared<H> {
    type Handler = H;
}

pub(crate) mod sealed {
    use super::*;

    /// Nobody outside has to know where handlers are kept.
    pub trait IntoSlot {
        /// Its slot, with one user more.
        fn into_slot(self, lp: &mut Loop) -> u32;
    }

    impl<H: Handler> IntoSlot for H {
        fn into_slot(self, lp: &mut Loop) -> u32 {
            lp.add_handler(Box::new(self))
        }
    }

    /// After [`Shared::release`] there is nobody to share with: then every event has its default answer.
    impl<H: Handler> IntoSlot for Shared<H> {
        fn into_slot(self, lp: &mut Loop) -> u32 {
            if !self.exists(lp) {
                return lp.add_handler(Box::new(super::super::on()));
            }
            lp.share_handler(self.slot);
            self.slot
        }
    }
}
