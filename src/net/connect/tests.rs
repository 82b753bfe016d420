use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::EventLoop;
use crate::net::on;
use crate::net::simulated::Kernel;

type Log = Rc<RefCell<Vec<String>>>;

fn addresses(texts: &str) -> Vec<SocketAddr> {
    texts.split_whitespace().map(|text| literal(text, 80, "connect").unwrap().unwrap()).collect()
}

#[test]
fn families_take_turns_and_every_address_one() {
    let table = [
        ("both", "::1 ::2 1.1.1.1", "::1 1.1.1.1 ::2"),
        ("four first", "1.1.1.1 1.1.1.2 ::1", "1.1.1.1 ::1 1.1.1.2"),
        ("one family", "::1 ::2", "::1 ::2"),
        ("equal ones", "::1 1.1.1.1 ::1 1.1.1.1 ::2", "::1 1.1.1.1 ::2"),
        ("none", "", ""),
    ];
    for (name, given, want) in table {
        assert_eq!(in_turns(addresses(given)), addresses(want), "{name}");
    }
}

#[test]
fn of_a_family_only_the_first_is_tried() {
    let table = [
        ("any", "::1 1.1.1.1", None, "::1 1.1.1.1"),
        ("four", "::1 1.1.1.1 1.1.1.2", Some(Family::V4), "1.1.1.1"),
        ("six", "1.1.1.1 ::1", Some(Family::V6), "::1"),
    ];
    for (name, given, family, want) in table {
        assert_eq!(of_family(addresses(given), family, "name"), Ok(addresses(want)), "{name}");
    }
    let none = of_family(addresses("::1"), Some(Family::V4), "name").map_err(|error| error.to_string());
    assert_eq!(none, Err("getaddrinfo ENOTFOUND name".to_owned()));
}

#[test]
fn a_name_without_an_address_of_the_family_is_not_found() {
    let log = Log::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let kernel = Kernel::default();
        kernel.set_addresses(vec!["127.0.0.1".parse().expect("an address")]);
        lp.simulate(kernel);
        let (looked_up, failed) = (log.clone(), log.clone());
        let handler = on()
            .lookup(move |_, _, result| looked_up.borrow_mut().push(format!("{result:?}")))
            .error(move |_, _, error| failed.borrow_mut().push(error.to_string()));
        let target = Target::from(("localhost", 80)).family(Family::V6);
        Socket::connect(lp, target, handler).expect("a good target");
    });
    event_loop.run().expect("the poll works");
    assert_eq!(log.take(), ["Err(getaddrinfo ENOTFOUND localhost)", "getaddrinfo ENOTFOUND localhost"]);
}

#[test]
fn every_address_is_heard_of_in_the_systems_order() {
    let log = Log::default();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let kernel = Kernel::default();
        kernel.set_addresses(addresses("::1 ::1 ::2 127.0.0.1").iter().map(SocketAddr::ip).collect());
        lp.simulate(kernel);
        let heard = log.clone();
        let handler = on().lookup(move |_, _, result| heard.borrow_mut().push(format!("{result:?}")));
        let socket = Socket::connect(lp, ("localhost", 80), handler).expect("a good target");
        lp.set_immediate(move |lp| socket.destroy(lp));
    });
    event_loop.run().expect("the poll works");
    assert_eq!(log.take(), ["Ok(::1)", "Ok(::1)", "Ok(::2)", "Ok(127.0.0.1)"]);
}
