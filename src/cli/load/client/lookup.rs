//! Looks up the target's name, before the plan is made.

use std::net::{IpAddr, ToSocketAddrs};

use bucle::net::{Error, Handler, Shared, Socket, SocketOptions};
use bucle::{EventLoop, Loop};

use crate::cli::target::Address;

/// The target's addresses, or the error code of the look-up. A unix socket has none.
pub(crate) fn resolve(place: &Address) -> Result<Vec<IpAddr>, String> {
    match place {
        Address::Tcp(host, _) => look_up(host),
        Address::Unix(_) => Ok(Vec::new()),
    }
}

fn look_up(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(ip) = host.parse() {
        return Ok(vec![ip]);
    }
    let mut list: Vec<IpAddr> = Vec::new();
    let found = (host, 0).to_socket_addrs();
    for address in found.as_ref().map(|addresses| addresses.as_slice()).unwrap_or_default() {
        if !list.contains(&address.ip()) {
            list.push(address.ip());
        }
    }
    if list.is_empty() { Err(why_not_found(host)) } else { Ok(list) }
}

/// Node's error code for a name without an address. The standard library does not give it, so the name is looked up
/// again through `net`, which does.
fn why_not_found(host: &str) -> String {
    // If the loop cannot start, the code is the usual one.
    look_up_again(host).ok().flatten().unwrap_or_else(|| "ENOTFOUND".to_owned())
}

fn look_up_again(host: &str) -> bucle::Result<Option<String>> {
    let mut event_loop = EventLoop::new()?;
    let lookup = event_loop.enter(|lp| {
        let lookup = Shared::new(lp, Lookup::default());
        Socket::new(lp, SocketOptions::default(), lookup).connect_to(lp, (host, 1)).map(|()| lookup)
    })?;
    event_loop.run()?;
    Ok(event_loop.enter(|lp| lookup.with(lp, |lookup, _| lookup.code.take())).flatten())
}

/// The handler of a socket that only looks up a name.
#[derive(Default)]
struct Lookup {
    code: Option<String>,
}

impl Handler for Lookup {
    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, result: Result<IpAddr, &Error>) {
        match result {
            Err(error) => self.code = Some(error.code().to_owned()),
            // This time there is an address. Nothing may be connected yet.
            Ok(_) => socket.destroy(lp),
        }
    }

    // Without this method the error would be logged. `on_lookup` has received it already.
    fn on_error(&mut self, _: &mut Loop, _: Socket, _: Error) {}
}
