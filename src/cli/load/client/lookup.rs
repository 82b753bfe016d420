//! The addresses of the target's name, looked up before the plan is made.

use std::cell::RefCell;
use std::net::{IpAddr, ToSocketAddrs};
use std::rc::Rc;

use bucle::net::{Socket, SocketOptions, on};

/// The target's addresses, or the code of why there are none.
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

/// Asks once more, through the library, which knows Node's code for each of the resolver's reasons.
fn why_not_found(host: &str) -> String {
    let code = Rc::new(RefCell::new("ENOTFOUND".to_owned()));
    let found_code = code.clone();
    let looking = bucle::run(|lp| {
        let lookup = on().error(|_, _, _| {}).lookup(move |lp, socket, result| match result {
            Err(error) => *found_code.borrow_mut() = error.code().to_owned(),
            // It is there after all. Nothing shall be connected yet.
            Ok(_) => socket.destroy(lp),
        });
        Socket::new(lp, SocketOptions::default(), lookup).connect_to(lp, (host, 1))
    });
    // Without a loop it stays what it nearly always is.
    let _ = looking;
    code.take()
}
