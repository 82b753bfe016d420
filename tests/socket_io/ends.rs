//! The end of a socket: the reason, the rooms, the order of the callbacks.

use std::time::Duration;

use bucle::socket_io::Options;

use super::Site;

/// A server that tells of each end: the phase, the reason, and how many rooms the socket is in.
fn told() -> Site {
    let mut site = Site::new(Options::default());
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on_connection(lp, |lp, socket| socket.join(lp, "room"));
        let told = story.clone();
        io.on_disconnecting(lp, move |lp, socket, reason| {
            assert!(!socket.is_connected(lp));
            told.add(format!("disconnecting {reason}, {} rooms", socket.rooms(lp).len()));
        });
        io.on_disconnect(lp, move |lp, socket, reason| {
            assert!(!socket.emit(lp, "too late", ()));
            assert!(socket.id(lp).is_some() && socket.handshake(lp).is_some(), "it can still be asked");
            story.add(format!("disconnect {reason}, {} rooms", socket.rooms(lp).len()));
        });
    });
    site
}

#[track_caller]
fn expect_reason(site: &mut Site, reason: &str) {
    let (first, second) = (format!("disconnecting {reason}, 2 rooms"), format!("disconnect {reason}, 0 rooms"));
    site.expect_story(&[&first, &second]);
    let io = site.io;
    site.enter(|lp| {
        assert_eq!((io.socket_count(lp), io.room_size(lp, "room"), io.rooms(lp).len()), (0, 0, 0));
        assert!(io.sockets(lp).is_empty());
    });
}

#[test]
fn a_client_that_leaves_the_namespace() {
    let mut site = told();
    let client = site.join();
    site.text(client.peer, "41");
    expect_reason(&mut site, "client namespace disconnect");
    site.expect_nothing(client.peer);
}

#[test]
fn a_client_that_the_program_disconnects_from_the_namespace() {
    let mut site = told();
    let client = site.join();
    let socket = site.socket(&client);
    site.enter(|lp| {
        socket.disconnect(lp, false);
        socket.disconnect(lp, false);
    });
    expect_reason(&mut site, "server namespace disconnect");
    site.expect(client.peer, "41");
    site.expect_nothing(client.peer);
}

#[test]
fn a_client_that_the_program_disconnects_from_everything() {
    let mut site = told();
    let io = site.io;
    site.enter(|lp| io.of(lp, "/other"));
    let client = site.join();
    site.enter_namespace(client.peer, "/other", "");
    let socket = site.socket(&client);
    site.enter(|lp| socket.disconnect(lp, true));
    expect_reason(&mut site, "server namespace disconnect");
    site.expect(client.peer, "41");
    site.expect(client.peer, "41/other,");
    site.expect_close(client.peer, 1005);
}

#[test]
fn a_client_whose_connection_is_lost() {
    let mut site = told();
    let client = site.join();
    site.cut(client.peer);
    expect_reason(&mut site, "transport close");
}

#[test]
fn a_client_that_closes_its_websocket_connection() {
    let mut site = told();
    let client = site.join();
    site.send(client.peer, crate::wire::masked(crate::wire::CLOSE, 1000_u16.to_be_bytes()));
    site.expect_close(client.peer, 1000);
    site.cut(client.peer);
    expect_reason(&mut site, "transport close");
}

#[test]
fn a_client_that_closes_its_session() {
    let mut site = told();
    let (polling, _) = site.join_polling();
    site.posted(&polling, "1");
    expect_reason(&mut site, "transport close");
}

#[test]
fn a_client_whose_waiting_poll_is_lost() {
    let mut site = told();
    let (polling, _) = site.join_polling();
    site.poll(&polling);
    site.settle();
    site.cut(polling.get);
    expect_reason(&mut site, "transport error");
}

#[test]
fn a_client_that_does_not_answer_a_ping() {
    let mut site = told();
    site.join();
    site.pass(Duration::from_secs(25));
    site.pass(Duration::from_secs(20));
    expect_reason(&mut site, "ping timeout");
}

#[test]
fn a_client_that_breaks_the_protocol() {
    let mut site = told();
    let client = site.join();
    site.text(client.peer, "4abc");
    expect_reason(&mut site, "forced close");
    site.expect_close(client.peer, 1005);
}

#[test]
fn a_client_that_sends_a_packet_that_is_not_allowed() {
    let mut site = told();
    let client = site.join();
    site.text(client.peer, "40");
    expect_reason(&mut site, "forced close");
}

#[test]
fn a_session_that_the_program_closes() {
    let mut site = told();
    let client = site.join();
    let socket = site.socket(&client);
    site.enter(|lp| socket.session(lp).expect("it is open").close(lp));
    expect_reason(&mut site, "forced close");
}

#[test]
fn a_server_that_closes() {
    let mut site = told();
    let io = site.io;
    site.join();
    site.enter(|lp| io.close(lp));
    expect_reason(&mut site, "server shutting down");
}

#[test]
fn a_socket_has_a_listener_of_its_own_for_its_end() {
    let mut site = Site::with_defaults();
    let client = site.join();
    let (socket, story) = (site.socket(&client), site.story.clone());
    site.enter(|lp| socket.on_disconnect(lp, move |_, _, reason| story.add(reason.as_str())));
    site.join();
    site.cut(client.peer);
    site.expect_story(&["transport close"]);
    site.enter(|lp| {
        assert_eq!((socket.id(lp), socket.namespace(lp), socket.session(lp)), (None, None, None));
        assert!(!socket.emit(lp, "too late", ()));
        socket.join(lp, "room");
        socket.disconnect(lp, true);
        assert!(socket.rooms(lp).is_empty());
        assert_eq!(socket.broadcast(lp).emit(lp, "too late", ()).receivers, 0);
    });
}

#[test]
fn a_handle_of_a_socket_that_is_gone_never_names_another_one() {
    let mut site = Site::with_defaults();
    let client = site.join();
    let old = site.socket(&client);
    site.cut(client.peer);
    site.settle();
    let client = site.join();
    let new = site.socket(&client);
    assert_ne!(old, new);
    site.enter(|lp| assert!(!old.is_connected(lp) && new.is_connected(lp)));
}
