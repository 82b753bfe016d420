//! Looks up the target's name, before the plan is made.

use std::cell::RefCell;
use std::net::{IpAddr, ToSocketAddrs};
use std::rc::Rc;

use bucle::net::{Socket, SocketOptions, on};

/// The target's addresses, or the error code of the look-up.
pub(crate) fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
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
    let code = Rc::new(RefCell::new("ENOTFOUND".to_owned()));
    let found_code = code.clone();
    let looking = bucle::run(|lp| {
        let lookup = on().error(|_, _, _| {}).lookup(move |lp, socket, result| match result {
            Err(error) => *found_code.borrow_mut() = error.code().to_owned(),
            // This time there is an address. Nothing may be connected yet.
            Ok(_) => socket.destroy(lp),
        });
        Socket::new(lp, SocketOptions::default(), lookup).connect_to(lp, (host, 1))
    });
    // If the loop cannot start, the code stays the usual one.
    let _ = looking;
    code.take()
}
