//! Middlewares decide who may join a namespace.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bucle::socket_io::{EventError, Next, Options};
use serde_json::json;

use super::Site;

#[test]
fn middlewares_are_called_in_their_order_and_then_the_client_is_connected() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        for number in 1..=3 {
            let told = story.clone();
            io.use_middleware(lp, move |lp, socket, next| {
                assert!(!socket.is_connected(lp));
                assert!(!socket.emit(lp, "too early", ()));
                told.add(format!("middleware {number}"));
                next.allow(lp);
            });
        }
        io.on_connection(lp, move |_, _| story.add("connection"));
    });
    let client = site.join();
    site.expect_nothing(client.peer);
    site.expect_story(&["middleware 1", "middleware 2", "middleware 3", "connection"]);
}

#[test]
fn a_middleware_refuses_with_a_message_and_data() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.use_middleware(lp, |lp, socket, next| match socket.auth::<serde_json::Value>(lp) {
            None => next.refuse(lp, "not authorized"),
            Some(auth) if auth["token"] == "wrong" => {
                next.refuse(lp, EventError::new("not \"authorized\"").with_data(json!({ "retry": [1, 2] })));
            }
            Some(_) => next.allow(lp),
        });
        let told = story.clone();
        io.use_middleware(lp, move |lp, _, next| {
            told.add("second");
            next.allow(lp);
        });
        let told = story.clone();
        io.on_connection(lp, move |_, _| told.add("connection"));
        io.on_disconnect(lp, move |_, _, _| story.add("disconnect"));
    });
    let peer = site.session();
    site.text(peer, "40");
    site.expect(peer, r#"44{"message":"not authorized"}"#);
    site.text(peer, r#"40{"token":"wrong"}"#);
    site.expect(peer, r#"44{"message":"not \"authorized\"","data":{"retry":[1,2]}}"#);
    site.expect_story(&[]);
    // The session goes on, so the client can try again.
    site.enter_namespace(peer, "/", r#"{"token":"right"}"#);
    site.expect_story(&["second", "connection"]);
}

#[test]
fn a_middleware_can_decide_later() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    let pending: Rc<RefCell<Vec<Next>>> = Rc::default();
    site.enter(|lp| {
        let kept = pending.clone();
        io.use_middleware(lp, move |_, _, next| kept.borrow_mut().push(next));
        io.on_connection(lp, move |_, _| story.add("connection"));
    });
    let peer = site.session();
    site.text(peer, "40");
    site.expect_nothing(peer);
    let next = pending.borrow_mut().pop().expect("it was called");
    site.enter(|lp| next.allow(lp));
    assert!(site.received(peer).starts_with("40{"));
    site.expect_story(&["connection"]);

    let peer = site.session();
    site.text(peer, "40");
    site.expect_nothing(peer);
    let next = pending.borrow_mut().pop().expect("it was called");
    site.enter(|lp| next.refuse(lp, "no"));
    site.expect(peer, r#"44{"message":"no"}"#);
    site.expect_story(&[]);
}

#[test]
fn a_decision_for_a_client_that_has_gone_is_of_no_consequence() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    let pending: Rc<RefCell<Vec<Next>>> = Rc::default();
    site.enter(|lp| {
        let kept = pending.clone();
        io.use_middleware(lp, move |_, _, next| kept.borrow_mut().push(next));
        let told = story.clone();
        io.on_connection(lp, move |_, _| told.add("connection"));
        io.on_disconnect(lp, move |_, _, _| story.add("disconnect"));
    });
    for _ in 0..2 {
        let peer = site.session();
        site.text(peer, "40");
        site.settle();
        site.cut(peer);
        site.settle();
    }
    let mut kept = pending.take();
    site.enter(|lp| {
        kept.pop().expect("it was called").allow(lp);
        kept.pop().expect("it was called").refuse(lp, "no");
    });
    site.expect_story(&[]);
}

#[test]
fn a_client_whose_middleware_never_decides_is_closed_after_the_connect_timeout() {
    let options = Options { connect_timeout: Duration::from_secs(5), ..Options::default() };
    let mut site = Site::new(options);
    let io = site.io;
    site.enter(|lp| {
        io.use_middleware(lp, |_, _, _| {});
    });
    let peer = site.session();
    site.text(peer, "40");
    site.expect_nothing(peer);
    site.pass(Duration::from_secs(5));
    site.expect_close(peer, 1005);
    assert_eq!(site.enter(|lp| (io.socket_count(lp), io.engine().session_count(lp))), (0, 0));
}

#[test]
fn a_packet_before_the_decision_closes_the_session() {
    let mut site = Site::with_defaults();
    let io = site.io;
    site.enter(|lp| {
        io.use_middleware(lp, |_, _, _| {});
    });
    let peer = site.session();
    site.text(peer, "40");
    site.expect_nothing(peer);
    site.text(peer, r#"42["hola"]"#);
    site.expect_close(peer, 1005);
}

#[test]
fn a_middleware_can_set_the_data_and_the_rooms_of_a_socket_are_there_in_on_connection() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.use_middleware(lp, |lp, socket, next| {
            socket.set_data(lp, 7_u32);
            next.allow(lp);
        });
        io.on_connection(lp, move |lp, socket| story.add(format!("{:?}", socket.data::<u32>(lp))));
    });
    site.join();
    site.expect_story(&["Some(7)"]);
}

#[test]
fn middlewares_belong_to_their_namespace() {
    let mut site = Site::with_defaults();
    let io = site.io;
    site.enter(|lp| {
        let admin = io.of(lp, "/admin");
        admin.use_middleware(lp, |lp, _, next| next.refuse(lp, "no"));
    });
    let peer = site.join().peer;
    site.text(peer, "40/admin,");
    site.expect(peer, r#"44/admin,{"message":"no"}"#);
}
