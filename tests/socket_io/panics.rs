//! A panic in a callback of the program, on a loop that catches panics: it ends one client at most.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bucle::Loop;
use bucle::socket_io::adapter::{Adapter, BroadcastPacket, Target};
use bucle::socket_io::{Namespace, Options, RecoveryOptions};

use super::Site;

/// A server whose callbacks panic on purpose when a client asks for it.
fn fragile() -> Site {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.to_string().contains("on purpose") {
            hook(info);
        }
    }));
    let recovery = RecoveryOptions { max_disconnection: Duration::from_secs(2), ..RecoveryOptions::default() };
    let mut site = Site::new(Options { recovery: Some(recovery), ..Options::default() });
    site.event_loop.catch_panics(true);
    let io = site.io;
    site.enter(|lp| {
        io.use_middleware(lp, |lp, socket, next| {
            let auth = socket.auth::<serde_json::Value>(lp).unwrap_or_default();
            assert!(auth["panic"] != "middleware", "on purpose");
            next.allow(lp);
        });
        io.on_connection(lp, |lp, socket| {
            let auth = socket.auth::<serde_json::Value>(lp).unwrap_or_default();
            assert!(auth["panic"] != "connection", "on purpose");
        });
        io.on(lp, "panic", |_, _, _| panic!("on purpose"));
        io.on(lp, "ask", |lp, socket, _| {
            socket.emit_with_ack(lp, "question", (), Duration::from_secs(1), |_, _, _| panic!("on purpose"));
        });
        io.on_disconnect(lp, |lp, socket, _| {
            let auth = socket.auth::<serde_json::Value>(lp).unwrap_or_default();
            assert!(auth["panic"] != "disconnect", "on purpose");
        });
        io.on_session_expired(lp, |_, _| panic!("on purpose"));
        io.on(lp, "hola", |lp, _, event| {
            event.ack(lp, "hola");
        });
    });
    site
}

/// Checks that a client that has done nothing wrong is served.
#[track_caller]
fn expect_served(site: &mut Site, client: &super::Client) {
    site.text(client.peer, r#"427["hola"]"#);
    site.expect(client.peer, r#"437["hola"]"#);
}

#[test]
fn a_panic_in_a_listener_leaves_the_other_clients_alone() {
    let mut site = fragile();
    let (client, other) = (site.join(), site.join());
    site.text(client.peer, r#"42["panic"]"#);
    site.settle();
    expect_served(&mut site, &other);
    let (polling, _) = site.join_polling();
    site.begin_post(&polling, r#"42["panic"]"#);
    site.settle();
    expect_served(&mut site, &other);
    assert_eq!(site.enter(|lp| lp.caught_panics()), 2);
    let later = site.join();
    expect_served(&mut site, &later);
}

#[test]
fn a_panic_while_a_client_connects_leaves_the_other_clients_alone() {
    for place in ["middleware", "connection"] {
        let mut site = fragile();
        let other = site.join();
        let peer = site.session();
        site.text(peer, &format!(r#"40{{"panic":"{place}"}}"#));
        site.settle();
        expect_served(&mut site, &other);
        let later = site.join();
        expect_served(&mut site, &later);
    }
}

#[test]
fn a_panic_at_the_end_of_a_client_leaves_the_other_clients_alone() {
    let mut site = fragile();
    let other = site.join();
    let client = site.join_with("/", r#"{"panic":"disconnect"}"#);
    site.text(client.peer, "41");
    site.settle();
    expect_served(&mut site, &other);
    let client = site.join_with("/", r#"{"panic":"disconnect"}"#);
    site.cut(client.peer);
    site.settle();
    expect_served(&mut site, &other);
    let io = site.io;
    assert_eq!(site.enter(|lp| io.socket_count(lp)), 1);
}

#[test]
fn a_panic_in_the_result_of_a_question_leaves_the_other_clients_alone() {
    let mut site = fragile();
    let (answers, silent, other) = (site.join(), site.join(), site.join());
    for client in [&answers, &silent] {
        site.text(client.peer, r#"42["ask"]"#);
    }
    site.expect(answers.peer, r#"420["question"]"#);
    site.text(answers.peer, "430[]");
    site.settle();
    expect_served(&mut site, &other);
    // The silent one's time is over.
    site.pass(Duration::from_secs(1));
    expect_served(&mut site, &other);
    assert_eq!(site.enter(|lp| lp.caught_panics()), 2);
}

#[test]
fn a_panic_when_a_lost_client_has_expired_leaves_the_other_clients_alone() {
    let mut site = fragile();
    let (client, other) = (site.join(), site.join());
    site.cut(client.peer);
    site.pass(Duration::from_secs(3));
    expect_served(&mut site, &other);
    assert_eq!(site.enter(|lp| lp.caught_panics()), 1);
    let later = site.join();
    expect_served(&mut site, &later);
}

/// Panics for one event, and counts the others.
struct Fragile(Rc<Cell<u32>>);

impl Adapter for Fragile {
    fn broadcast(&mut self, _: &mut Loop, _: Namespace, _: &Target, packet: BroadcastPacket<'_>) {
        assert!(packet.name != "panic", "on purpose");
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_panic_in_an_adapter_leaves_it_in_its_place() {
    let mut site = fragile();
    let (io, carried) = (site.io, Rc::<Cell<u32>>::default());
    let count = carried.clone();
    let client = site.join();
    site.enter(|lp| {
        io.set_adapter(lp, move |_, _| Box::new(Fragile(count.clone())));
        io.emit(lp, "panic", ());
        io.emit(lp, "news", ());
    });
    assert_eq!((carried.get(), site.enter(|lp| lp.caught_panics())), (1, 1));
    for event in ["panic", "news"] {
        assert!(site.received(client.peer).contains(event));
    }
}
