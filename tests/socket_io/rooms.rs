//! Rooms, broadcasts, and what is done to many sockets at once.

use bucle::Loop;
use bucle::socket_io::{Broadcast, Socket};

use super::{Client, Site};

/// Four clients: 0 is in `a`, 1 in `a` and `b`, 2 in `b`, 3 in no room.
fn four() -> (Site, Vec<Client>, Vec<Socket>) {
    let mut site = Site::with_defaults();
    let clients: Vec<Client> = (0..4).map(|_| site.join()).collect();
    let sockets: Vec<Socket> = clients.iter().map(|client| site.socket(client)).collect();
    site.enter(|lp| {
        sockets[0].join(lp, "a");
        sockets[1].join(lp, ["a", "b"]);
        sockets[2].join(lp, "b");
    });
    (site, clients, sockets)
}

/// The numbers of the clients that have got an event once.
#[track_caller]
fn receivers(site: &mut Site, clients: &[Client], event: &str) -> Vec<usize> {
    site.settle();
    let mut found = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        if !site.rest(client.peer).is_empty() {
            site.expect(client.peer, event);
            found.push(number);
        }
        site.expect_nothing(client.peer);
    }
    found
}

#[test]
fn a_broadcast_reaches_each_socket_that_it_names_once() {
    let (mut site, clients, sockets) = four();
    let io = site.io;
    type Make = fn(&Loop, bucle::socket_io::Server, Socket, &[Client]) -> Broadcast;
    let table: [(&str, Make, &[usize]); 15] = [
        ("all", |_, io, _, _| io.broadcast(), &[0, 1, 2, 3]),
        ("a room", |_, io, _, _| io.to("a"), &[0, 1]),
        ("two rooms", |_, io, _, _| io.to("a").to("b"), &[0, 1, 2]),
        ("two rooms at once", |_, io, _, _| io.to(["a", "b"]), &[0, 1, 2]),
        ("a room that does not exist", |_, io, _, _| io.to("c"), &[]),
        ("all except a room", |_, io, _, _| io.except("a"), &[2, 3]),
        ("a room except another one", |_, io, _, _| io.to("a").except("b"), &[0]),
        ("two rooms except one of them", |_, io, _, _| io.to(["a", "b"]).except("b"), &[0]),
        ("a single socket", |_, io, _, clients| io.to(&clients[3].id), &[3]),
        ("all except a single socket", |_, io, _, clients| io.except(&clients[0].id), &[1, 2, 3]),
        ("this node", |_, io, _, _| io.local(), &[0, 1, 2, 3]),
        ("a room of this node", |_, io, _, _| io.local().to("a"), &[0, 1]),
        ("from a socket to the others", |lp, _, socket, _| socket.broadcast(lp), &[1, 2, 3]),
        ("from a socket to its room", |lp, _, socket, _| socket.to(lp, "a"), &[1]),
        ("from a socket except a room", |lp, _, socket, _| socket.except(lp, "b"), &[3]),
    ];
    for (name, make, want) in table {
        let sent = site.enter(|lp| make(lp, io, sockets[0], &clients).emit(lp, "news", name));
        let got = receivers(&mut site, &clients, &format!(r#"42["news","{name}"]"#));
        assert_eq!((sent.receivers, &*got), (want.len(), want), "{name}");
        let named = site.enter(|lp| make(lp, io, sockets[0], &clients).sockets(lp));
        let want: Vec<Socket> = want.iter().map(|number| sockets[*number]).collect();
        assert_eq!(named, want, "{name}");
    }
}

#[test]
fn a_broadcast_reaches_clients_of_both_transports() {
    let mut site = Site::with_defaults();
    let io = site.io;
    let (polling, _) = site.join_polling();
    let client = site.join();
    site.poll(&polling);
    site.enter(|lp| {
        io.emit(lp, "file", bucle::socket_io::Binary(vec![1, 2, 3]));
        io.emit(lp, "text", "¡hola!");
    });
    let file = r#"451-["file",{"_placeholder":true,"num":0}]"#;
    assert_eq!(site.packets(&polling), format!("{file}\x1ebAQID\x1e42[\"text\",\"¡hola!\"]"));
    site.expect(client.peer, file);
    site.expect_binary(client.peer, &[1, 2, 3]);
    site.expect(client.peer, r#"42["text","¡hola!"]"#);
}

#[test]
fn a_socket_that_has_left_a_room_does_not_get_its_events() {
    let (mut site, clients, sockets) = four();
    let io = site.io;
    site.enter(|lp| {
        sockets[1].leave(lp, "a");
        assert_eq!(sockets[1].rooms(lp), [&*clients[1].id, "b"]);
        assert_eq!((io.room_size(lp, "a"), io.room_size(lp, "b"), io.room_size(lp, "c")), (1, 2, 0));
        io.to("a").emit(lp, "news", ());
    });
    assert_eq!(receivers(&mut site, &clients, r#"42["news"]"#), [0]);
    site.cut(clients[0].peer);
    site.settle();
    site.enter(|lp| {
        assert_eq!(io.to("a").emit(lp, "news", ()).receivers, 0);
        assert_eq!(io.rooms(lp), ["b"], "a room without sockets is gone");
    });
}

#[test]
fn a_volatile_event_is_dropped_for_a_client_that_is_not_ready() {
    let mut site = Site::with_defaults();
    let io = site.io;
    let client = site.join();
    let (polling, joined) = site.join_polling();
    let socket = site.socket(&joined);
    site.settle();
    // No poll waits.
    site.enter(|lp| {
        assert_eq!(io.volatile().emit(lp, "price", 1).receivers, 1);
        assert!(!socket.emit_volatile(lp, "price", 2));
    });
    site.expect(client.peer, r#"42["price",1]"#);
    site.poll(&polling);
    assert!(site.is_waiting(&polling));
    site.enter(|lp| assert!(socket.emit_volatile(lp, "price", 3)));
    assert_eq!(site.packets(&polling), r#"42["price",3]"#);
    site.poll(&polling);
    assert!(site.is_waiting(&polling));
    site.enter(|lp| assert_eq!(io.volatile().emit(lp, "price", 4).receivers, 2));
    assert_eq!(site.packets(&polling), r#"42["price",4]"#);
    site.expect(client.peer, r#"42["price",4]"#);
}

#[test]
fn many_sockets_join_and_leave_rooms_at_once() {
    let (mut site, clients, sockets) = four();
    let io = site.io;
    site.enter(|lp| {
        io.to("a").sockets_join(lp, ["c", "d"]);
        assert_eq!((io.room_size(lp, "c"), io.room_size(lp, "d")), (2, 2));
        io.except("b").sockets_leave(lp, "c");
        assert_eq!(sockets[0].rooms(lp), [&*clients[0].id, "a", "d"]);
        assert_eq!(sockets[1].rooms(lp), [&*clients[1].id, "a", "b", "c", "d"]);
        io.sockets_leave(lp, "d");
        assert_eq!(io.room_size(lp, "d"), 0);
    });
}

#[test]
fn many_sockets_are_disconnected_at_once() {
    let (mut site, clients, _) = four();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on_disconnect(lp, move |_, _, reason| story.add(reason.as_str()));
        io.to("a").disconnect_sockets(lp, false);
        io.to("b").disconnect_sockets(lp, true);
        assert_eq!(io.socket_count(lp), 1);
    });
    for client in &clients[..3] {
        site.expect(client.peer, "41");
    }
    site.expect_close(clients[2].peer, 1005);
    site.expect_nothing(clients[0].peer);
    site.expect_nothing(clients[3].peer);
    site.expect_story(&["server namespace disconnect"; 3]);
}

#[test]
fn the_sockets_of_a_room_can_be_fetched_with_their_rooms_data_and_handshake() {
    let (mut site, clients, sockets) = four();
    let (io, story, so_far) = (site.io, site.story.clone(), site.story.clone());
    site.enter(|lp| {
        sockets[1].set_data(lp, serde_json::json!({ "name": "Ana" }));
        io.to("b").fetch_sockets(lp, move |_, found| {
            for socket in &found {
                story.add(format!("{} {:?} {} {}", socket.id, socket.rooms, socket.data, socket.handshake["url"]));
            }
        });
        assert!(so_far.0.borrow().is_empty(), "a method never calls back");
    });
    let (one, two) = (&clients[1].id, &clients[2].id);
    let url = r#""/socket.io/?EIO=4&transport=websocket""#;
    site.expect_story(&[
        &format!(r#"{one} ["{one}", "a", "b"] {{"name":"Ana"}} {url}"#),
        &format!(r#"{two} ["{two}", "b"] {{}} {url}"#),
    ]);
}
