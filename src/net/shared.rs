//! Shared state: it is stored in the loop, and any number of callbacks reach it through a handle that can be copied.
//!
//! The sockets of a server share one handler. A [`Shared`] is for state that more than one server or client needs: the
//! clients of a pool, the two sides of a proxy, a chat that is reached by telnet and by a web page.
//!
//! ```text
//!   Shared<Rooms> ──▶ rooms ◀── with ── handler of the telnet server
//!                           ◀── with ── handler of the web server
//!
//!   Shared<Pool> ──▶ pool, a Handler ◀── events ── socket #1 (a client), socket #2, server #3 and its sockets
//! ```
//!
//! Any type can be shared. If it is a [`Handler`], its `Shared` can also be given wherever a handler is expected; then
//! all these sockets and servers have one handler.
//!
//! # Borrowing
//!
//! [`Shared::with`] lends the state and the loop to a closure. While it is lent, the state is out of its place: `with`
//! on the *same* `Shared` inside the closure returns `None`. `with` on another `Shared` works. There is no lock and no
//! reference count, so a cycle of `Shared` names leaks nothing: the loop owns the state and drops it at its end, or
//! after [`Shared::release`].
//!
//! ```
//! use bucle::net::{self, Shared};
//!
//! /// Plain data. It knows nothing about sockets.
//! #[derive(Default)]
//! struct Visitors(u32);
//!
//! bucle::run(|lp| {
//!     let visitors = Shared::new(lp, Visitors::default());
//!     for _ in 0..2 {
//!         let server = net::listen(lp, ("127.0.0.1", 0), net::on().connection(move |lp, socket| {
//!             let number = visitors.with(lp, |visitors, _| {
//!                 visitors.0 += 1;
//!                 visitors.0
//!             });
//!             socket.end_with(lp, format!("visitor {number:?}\r\n"));
//!         }))?;
//!         server.close(lp); // A real server would stay.
//!     }
//!     assert_eq!(visitors.with(lp, |visitors, _| visitors.0), Some(0));
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # As a handler
//!
//! ```
//! use bucle::net::{self, Handler, Shared, Socket};
//! use bucle::Loop;
//!
//! /// Three clients that share one counter.
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

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;

use super::Handler;
use crate::event_loop::Loop;

/// Names state that is kept in the loop; made by [`Shared::new`].
///
/// 8 bytes, `Copy`. If `T` is a [`Handler`], it can be given wherever a handler is expected:
/// [`Socket::connect`](super::Socket::connect), [`Socket::set_handler`](super::Socket::set_handler),
/// [`listen`](super::listen).
///
/// The state lives until [`release`](Self::release), and after that as long as a socket or a server has it as its
/// handler.
pub struct Shared<T> {
    slot: u32,
    serial: NonZeroU32,
    state: PhantomData<fn() -> T>,
}

impl<T: 'static> Shared<T> {
    /// Moves `state` into the loop.
    pub fn new(lp: &mut Loop, state: T) -> Shared<T> {
        let slot = lp.add_handler(Box::new(PlainState(Box::new(state))));
        let serial = lp.net.name_handler(slot);
        Shared { slot, serial, state: PhantomData }
    }

    /// Lends the state and the loop to `f` and returns what `f` returns.
    ///
    /// `None`, without calling `f`, if the state is lent already: inside `with` on the same `Shared`, and inside the
    /// state's own callbacks, where it is `self`. Also `None` after [`release`](Self::release).
    pub fn with<R>(self, lp: &mut Loop, f: impl FnOnce(&mut T, &mut Loop) -> R) -> Option<R> {
        if !self.exists(lp) {
            return None;
        }
        let result = lp.with_handler(self.slot, |kept, lp| {
            let kept: &mut dyn Any = kept;
            let state = if kept.is::<PlainState>() {
                kept.downcast_mut::<PlainState>()?.0.downcast_mut::<T>()?
            } else {
                kept.downcast_mut::<T>()?
            };
            Some(f(state, lp))
        });
        // `f` may have given this name to a socket as its handler. Only now the state is back in its slot.
        lp.become_handler(self.slot);
        result?
    }

    /// Releases the name: from now on `with` returns `None`. Sockets and servers that have the state as their handler
    /// keep it. The state is dropped when no socket or server uses it, and not before the call that it is lent to has
    /// returned.
    pub fn release(self, lp: &mut Loop) {
        if self.exists(lp) {
            lp.net.handlers[self.slot as usize].name = None;
            lp.release_handler(self.slot);
        }
    }

    /// The slot of the state, as [`Socket::handler_slot`](super::Socket::handler_slot) returns it for sockets that have
    /// it as their handler.
    #[cfg(feature = "websocket")]
    pub(crate) fn handler_slot(self) -> u32 {
        self.slot
    }

    /// Whether the name was not released.
    pub(crate) fn exists(self, lp: &Loop) -> bool {
        lp.net.handlers.get(self.slot as usize).is_some_and(|slot| slot.name == Some(self.serial))
    }
}

/// State that no socket or server has as its handler yet, stored in a handler's slot.
///
/// Handlers are stored as `Box<dyn Handler>`. `T` need not be a handler, so it is boxed as `dyn Any`, and this wrapper
/// is what the slot holds. No event reaches it.
struct PlainState(Box<dyn Any>);

impl Handler for PlainState {}

impl PlainState {
    /// Unwraps the state, so that events reach it. Does nothing if it is unwrapped already.
    fn into_handler<H: Handler>(kept: Box<dyn Handler>) -> Box<dyn Handler> {
        if !(&*kept as &dyn Any).is::<PlainState>() {
            return kept;
        }
        let plain: Box<dyn Any> = kept;
        let plain = plain.downcast::<PlainState>().expect("checked above");
        plain.0.downcast::<H>().expect("a Shared<H> names an H")
    }
}

impl Loop {
    /// Makes the state of a slot a handler that gets events: now, or if it is lent, in
    /// [`become_handler`](Self::become_handler) when it is back.
    fn make_handler<H: Handler>(&mut self, slot: u32) {
        self.net.handlers[slot as usize].conversion = Some(PlainState::into_handler::<H>);
        self.become_handler(slot);
    }

    /// Carries out a conversion that `make_handler` has requested, unless the state is lent.
    fn become_handler(&mut self, slot: u32) {
        let Some(entry) = self.net.handlers.get_mut(slot as usize) else { return };
        if let Some(conversion) = entry.conversion
            && let Some(kept) = entry.handler.take()
        {
            entry.handler = Some(conversion(kept));
            entry.conversion = None;
        }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.slot, self.serial) == (other.slot, other.serial)
    }
}

impl<T> Eq for Shared<T> {}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared#{}", self.serial)
    }
}

/// The types that can be given as a handler: every [`Handler`], and every [`Shared`] that names one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` handles no events of servers and sockets",
    label = "not a `net::Handler`",
    note = "closures become a handler with `net::on()`: `net::on().connection(|lp, socket| …).data(|lp, socket, chunk| …)`",
    note = "or implement `bucle::net::Handler` for a struct that holds the state"
)]
pub trait IntoHandler: sealed::IntoSlot {
    /// The handler's type.
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

    /// Hides from users of the crate where handlers are kept.
    pub trait IntoSlot {
        /// The handler's slot, with its count of users one higher.
        fn into_slot(self, lp: &mut Loop) -> u32;
    }

    impl<H: Handler> IntoSlot for H {
        fn into_slot(self, lp: &mut Loop) -> u32 {
            lp.add_handler(Box::new(self))
        }
    }

    /// After [`Shared::release`] the state cannot be found. Then the handler is an empty [`on`](super::super::on()).
    impl<H: Handler> IntoSlot for Shared<H> {
        fn into_slot(self, lp: &mut Loop) -> u32 {
            if !self.exists(lp) {
                return lp.add_handler(Box::new(super::super::on()));
            }
            lp.share_handler(self.slot);
            lp.make_handler::<H>(self.slot);
            self.slot
        }
    }
}
