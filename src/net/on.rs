//! A handler made of closures, for short programs and examples.
//!
//! The macro below is the list of all events: for each one a field, a method of [`On`] that sets it, and the method of
//! [`Handler`] that calls it.

use super::{Dropped, Error, Handler, ServerId, Socket};
use crate::event_loop::Loop;

macro_rules! closures {
    ($($(#[$doc:meta])* $event:ident / $method:ident($($name:ident: $kind:ty),*);)*) => {
        /// A [`Handler`] made of closures; from [`on`].
        ///
        /// Closures can share state only through `Rc<RefCell<_>>`. A handler with state should be a struct that
        /// implements [`Handler`].
        #[derive(Default)]
        pub struct On {
            $($event: Option<Box<dyn FnMut(&mut Loop, $($kind),*)>>,)*
        }

        impl On {
            $(
                $(#[$doc])*
                pub fn $event(mut self, f: impl FnMut(&mut Loop, $($kind),*) + 'static) -> Self {
                    self.$event = Some(Box::new(f));
                    self
                }
            )*
        }

        impl Handler for On {
            $(
                fn $method(&mut self, lp: &mut Loop, $($name: $kind),*) {
                    match &mut self.$event {
                        Some(f) => f(lp, $($name),*),
                        None => NoClosure.$method(lp, $($name),*),
                    }
                }
            )*
        }
    };
}

/// Has the default methods of [`Handler`], which are called for events without a closure.
struct NoClosure;

impl Handler for NoClosure {}

closures! {
    /// [`Handler::on_connection`].
    connection / on_connection(socket: Socket);
    /// [`Handler::on_lookup`].
    lookup / on_lookup(socket: Socket, result: Result<std::net::IpAddr, &Error>);
    /// [`Handler::on_connect`].
    connect / on_connect(socket: Socket);
    /// [`Handler::on_ready`].
    ready / on_ready(socket: Socket);
    /// [`Handler::on_upgrade`].
    upgrade / on_upgrade(socket: Socket);
    /// [`Handler::on_data`].
    data / on_data(socket: Socket, chunk: &[u8]);
    /// [`Handler::on_text`].
    text / on_text(socket: Socket, text: &str);
    /// [`Handler::on_drain`].
    drain / on_drain(socket: Socket);
    /// [`Handler::on_end`].
    end / on_end(socket: Socket);
    /// [`Handler::on_finish`].
    finish / on_finish(socket: Socket);
    /// [`Handler::on_timeout`].
    timeout / on_timeout(socket: Socket);
    /// [`Handler::on_error`].
    error / on_error(socket: Socket, error: Error);
    /// [`Handler::on_close`].
    close / on_close(socket: Socket, had_error: bool);
    /// [`Handler::on_going_away`].
    going_away / on_going_away(socket: Socket);
    /// [`Handler::on_listening`].
    listening / on_listening(server: ServerId);
    /// [`Handler::on_drop`].
    drop / on_drop(server: ServerId, dropped: Dropped);
    /// [`Handler::on_server_error`].
    server_error / on_server_error(server: ServerId, error: Error);
    /// [`Handler::on_server_close`].
    server_close / on_server_close(server: ServerId);
}

/// A handler without closures. Its methods add them, one for each event.
///
/// ```
/// use bucle::net::{self, on};
///
/// bucle::run(|lp| {
///     let server = net::listen(lp, ("127.0.0.1", 0), on()
///         .connection(|lp, socket| { socket.write(lp, "¡Bienvenido!\r\n"); })
///         .data(|lp, socket, message| { socket.write(lp, message); })
///         .end(|_, socket| println!("{socket} left")))?;
///     server.close(lp); // A real server would go on.
///     Ok(())
/// })?;
/// # Ok::<(), bucle::Error>(())
/// ```
pub fn on() -> On {
    On::default()
}

impl std::fmt::Debug for On {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("On").finish_non_exhaustive()
    }
}
