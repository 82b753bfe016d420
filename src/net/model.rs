//! Handles against a simple register under random programs: a handle finds its own socket or server, or nothing.

use proptest::prelude::*;

use super::*;
use crate::event_loop::token::TokenKind;
use crate::{EventLoop, ManualClock};

/// `ago` counts the sockets or servers made since: 0 is the newest.
#[derive(Clone, Debug)]
enum Act {
    Socket,
    Server,
    Destroy { ago: usize },
    Remove { ago: usize },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Socket),
        2 => Just(Act::Server),
        4 => (0..10_usize).prop_map(|ago| Act::Destroy { ago }),
        2 => (0..10_usize).prop_map(|ago| Act::Remove { ago }),
    ]
}

/// A handler that does nothing.
struct NoHandler;
impl Handler for NoHandler {}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Life {
    Alive,
    /// Destroyed; `on_close` comes after the current callback.
    Closing,
    Gone,
}

/// All sockets and servers ever made. Each has a number, which the loop stores in one of its options.
#[derive(Default)]
struct Register {
    sockets: Vec<(Socket, usize, Life)>,
    servers: Vec<(ServerId, usize, Life)>,
    made: usize,
}

fn ago<T>(all: &mut [T], ago: usize) -> Option<&mut T> {
    let at = all.len().checked_sub(1 + ago)?;
    all.get_mut(at)
}

impl Register {
    fn act(&mut self, lp: &mut Loop, act: &Act) {
        match *act {
            Act::Socket => {
                self.made += 1;
                let options = SocketOptions { high_water_mark: self.made, ..SocketOptions::default() };
                self.sockets.push((Socket::new(lp, options, NoHandler), self.made, Life::Alive));
            }
            Act::Server => {
                self.made += 1;
                let options = ServerOptions { max_connections: Some(self.made), ..ServerOptions::default() };
                self.servers.push((Server::new(lp, options, NoHandler).id(), self.made, Life::Alive));
            }
            Act::Destroy { ago: nth } => {
                if let Some((socket, _, life)) = ago(&mut self.sockets, nth) {
                    socket.destroy(lp);
                    if *life == Life::Alive {
                        *life = Life::Closing;
                    }
                }
            }
            Act::Remove { ago: nth } => {
                if let Some((server, _, life)) = ago(&mut self.servers, nth) {
                    server.remove(lp);
                    *life = Life::Gone;
                }
            }
        }
    }

    fn finish_closing(&mut self) {
        for (_, _, life) in self.sockets.iter_mut().filter(|(_, _, life)| *life == Life::Closing) {
            *life = Life::Gone;
        }
    }

    fn check(&self, lp: &mut Loop) {
        for &(socket, number, life) in &self.sockets {
            let want = (life != Life::Gone).then_some(number);
            let found = lp.net.socket(socket).map(|state| state.high_water_mark as usize);
            let info = socket.info(lp).map(|info| info.high_water_mark);
            assert_eq!((found, info), (want, want), "{socket:?}, which is {life:?}");
            if life == Life::Gone {
                // The handle is stale, so these calls must do nothing. If one reached another socket, that socket
                // would be destroyed, and a later check would miss it.
                assert!(!socket.write(lp, "hola"));
                socket.end(lp);
                socket.destroy(lp);
                socket.set_timeout(lp, std::time::Duration::from_secs(1));
            }
            assert_eq!(
                crate::event_loop::token::open(socket.0.token(TokenKind::Socket)),
                (TokenKind::Socket, socket.0)
            );
        }
        for &(server, number, life) in &self.servers {
            let want = (life != Life::Gone).then_some(number);
            let found = lp.net.server(server).map(|state| state.max_connections);
            let found_mut = lp.net.server_mut(server).map(|state| state.max_connections);
            assert_eq!((found, found_mut), (want, want), "{server:?}, which is {life:?}");
            if life == Life::Gone {
                server.remove(lp);
                server.close(lp);
            }
        }
        assert_eq!(lp.net.sockets.len(), self.sockets.iter().filter(|(_, _, life)| *life != Life::Gone).count());
        assert_eq!(lp.net.servers.len(), self.servers.iter().filter(|(_, _, life)| *life != Life::Gone).count());
    }
}

proptest! {
    /// Serials wrap during the program.
    #[test]
    fn a_handle_finds_its_own_socket_or_nothing(
        callbacks in prop::collection::vec(prop::collection::vec(act(), 1..12), 1..8),
        before_the_wrap in 0..30_u32,
    ) {
        let mut event_loop = EventLoop::with_clock(ManualClock::new()).expect("a loop");
        let mut register = Register::default();
        event_loop.enter(|lp| lp.net.next_serial = u32::MAX - before_the_wrap);
        for acts in &callbacks {
            event_loop.enter(|lp| {
                for act in acts {
                    register.act(lp, act);
                    register.check(lp);
                }
            });
            register.finish_closing();
            event_loop.enter(|lp| register.check(lp));
        }
    }
}
