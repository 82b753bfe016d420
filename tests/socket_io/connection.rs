//! A client joins: order, handshake, credentials, data; files and pages beside the server.

use std::time::Duration;

use bucle::http::{self, Exchange, Request};
use bucle::socket_io::{self, ClientFiles, Options};
use bucle::{Loop, engine_io};
use serde::{Deserialize, Serialize};

use super::{Site, Talk, client};

#[test]
fn the_answer_to_connect_comes_before_what_on_connection_sends() {
    let mut site = Site::with_defaults();
    let io = site.io;
    site.enter(|lp| {
        io.on_connection(lp, |lp, socket| {
            assert!(socket.is_connected(lp));
            assert!(socket.emit(lp, "first", ()));
            assert!(socket.emit(lp, "second", 2));
        });
    });
    let peer = site.session();
    site.expect_nothing(peer);
    site.text(peer, "40");
    let id = client(peer, &site.received(peer)[2..]).id;
    assert_eq!(id.len(), 20);
    site.expect(peer, r#"42["first"]"#);
    site.expect(peer, r#"42["second",2]"#);

    let polling = site.open();
    site.posted(&polling, "40");
    let body = site.polled(&polling);
    let packets: Vec<&str> = body.split('\x1e').collect();
    assert!(packets[0].starts_with("40{"), "{body}");
    assert_eq!(packets[1..], [r#"42["first"]"#, r#"42["second",2]"#]);
}

#[test]
fn events_right_behind_connect_are_delivered_after_on_connection() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        let told = story.clone();
        io.on_connection(lp, move |_, _| told.add("connection"));
        io.on(lp, "hola", move |_, _, event| story.add(format!("hola {}", event.arguments().as_json())));
    });
    let polling = site.open();
    site.posted(&polling, "40\x1e42[\"hola\",1]\x1e42[\"hola\",2]");
    site.expect_story(&["connection", "hola 1", "hola 2"]);
}

#[test]
fn the_id_of_a_socket_is_not_the_id_of_its_session() {
    let mut site = Site::with_defaults();
    let (peer, open) = site.open_websocket();
    let client = site.enter_namespace(peer, "/", "");
    assert_ne!(open["sid"], client.id.as_str());
    let socket = site.socket(&client);
    let session = site.enter(|lp| socket.session(lp).and_then(|session| session.id(lp))).expect("it is open");
    assert_eq!(open["sid"], session.as_str());
}

#[test]
fn a_client_that_joins_no_namespace_in_45_s_is_closed() {
    let mut site = Site::with_defaults();
    let (silent, joined) = (site.session(), site.join());
    site.pass(Duration::from_millis(24_900));
    site.pass(Duration::from_millis(200));
    site.expect(silent, "2");
    site.text(silent, "3");
    site.expect(joined.peer, "2");
    site.text(joined.peer, "3");
    site.pass(Duration::from_millis(19_700));
    site.expect_nothing(silent);
    site.pass(Duration::from_millis(300));
    site.expect_close(silent, 1005);
    site.expect_nothing(joined.peer);
}

#[test]
fn a_client_that_is_refused_and_does_not_try_again_is_closed_after_45_s() {
    let options = Options { connect_timeout: Duration::from_secs(5), ..Options::default() };
    let mut site = Site::new(options);
    let peer = site.session();
    site.text(peer, "40/unknown,");
    site.expect(peer, r#"44/unknown,{"message":"Invalid namespace"}"#);
    site.pass(Duration::from_secs(5));
    site.expect_close(peer, 1005);
}

#[test]
fn a_packet_that_breaks_the_protocol_closes_the_session() {
    let many = "[".repeat(100) + &"]".repeat(100);
    let table = [
        ("an event before CONNECT", "", "42[\"hola\"]".to_owned()),
        ("a disconnect before CONNECT", "", "41".to_owned()),
        ("an acknowledgement before CONNECT", "", "430[]".to_owned()),
        ("a CONNECT whose payload is no object", "", "40[1]".to_owned()),
        ("a CONNECT whose payload is text", "", "40\"abc\"".to_owned()),
        ("no packet", "40", "4".to_owned()),
        ("an unknown type", "40", "47".to_owned()),
        ("a letter", "40", "4x".to_owned()),
        ("a second CONNECT", "40", "40".to_owned()),
        ("a CONNECT_ERROR", "40", r#"44{"message":"no"}"#.to_owned()),
        ("an event for a namespace that was not joined", "40", r#"42/other,["hola"]"#.to_owned()),
        ("an event without data", "40", "42".to_owned()),
        ("an event without a name", "40", "42[]".to_owned()),
        ("an event whose data is an object", "40", r#"42{"0":"hola"}"#.to_owned()),
        ("an event whose name is an object", "40", "42[{}]".to_owned()),
        ("a reserved name", "40", r#"42["disconnect"]"#.to_owned()),
        ("JSON that is not complete", "40", r#"42["hola""#.to_owned()),
        ("JSON that is too deep", "40", format!("42[\"hola\",{many}]")),
        ("bytes behind the JSON", "40", r#"42["hola"]x"#.to_owned()),
        ("a number that is too large", "40", r#"429007199254740992["hola"]"#.to_owned()),
        ("text while an attachment is due", "40", "451-[\"hola\",{\"_placeholder\":true,\"num\":0}]".to_owned()),
        ("a placeholder without its attachment", "40", r#"450-["hola",{"_placeholder":true,"num":0}]"#.to_owned()),
        ("too many attachments", "40", "4511-[\"hola\"]".to_owned()),
    ];
    for (name, first, packet) in table {
        let mut site = Site::with_defaults();
        let (io, story) = (site.io, site.story.clone());
        site.enter(|lp| {
            let told = story.clone();
            io.on_any(lp, move |_, _, event| told.add(event.name()));
            io.on_disconnect(lp, move |_, _, reason| story.add(reason.as_str()));
        });
        let peer = site.session();
        if !first.is_empty() {
            site.text(peer, first);
            site.received(peer);
        }
        site.text(peer, &packet);
        site.text(peer, r#"42["more"]"#);
        let frame = site.frame(peer);
        assert_eq!(frame.first, crate::wire::CLOSE, "{name}: {frame:?}");
        site.talk.settle();
        let story = site.story.0.borrow().clone();
        let is_told = match story.as_slice() {
            [] => first.is_empty(),
            [reason] => !first.is_empty() && **reason == *"forced close",
            _ => false,
        };
        assert!(is_told, "{name}: {story:?}");
        assert_eq!(site.enter(|lp| (io.socket_count(lp), io.engine().session_count(lp))), (0, 0), "{name}");
    }
}

#[test]
fn a_binary_frame_that_no_packet_waits_for_closes_the_session() {
    let mut site = Site::with_defaults();
    let client = site.join();
    site.binary(client.peer, &[1, 2, 3]);
    site.expect_close(client.peer, 1005);
}

#[derive(Deserialize, PartialEq, Debug)]
struct Credentials {
    token: String,
}

#[test]
fn the_handshake_and_the_credentials_of_a_client_can_be_read() {
    let mut site = Site::with_defaults();
    let target = format!("{}&room=caf%C3%A9", site.target("websocket", None));
    let (peer, answer) = site.upgrade(&target, "Origin: http://a.example\r\nX-Thing: yes\r\n");
    assert_eq!(answer.status, 101);
    site.received(peer);
    let client = site.enter_namespace(peer, "/", r#"{"token":"abc"}"#);
    let socket = site.socket(&client);
    site.enter(|lp| {
        let handshake = socket.handshake(lp).expect("it is connected");
        assert_eq!(handshake.url(), target);
        assert_eq!(handshake.query_value("room").as_deref(), Some("café"));
        assert_eq!((handshake.header("x-thing"), handshake.xdomain()), (Some("yes"), true));
        assert!(handshake.address().is_some_and(|address| address.ip().is_loopback()));
        assert_eq!(socket.auth::<Credentials>(lp), Some(Credentials { token: "abc".to_owned() }));
        assert_eq!(socket.auth::<u32>(lp), None);
        assert_eq!(socket.transport(lp), Some(engine_io::Transport::WebSocket));
        assert_eq!(socket.rooms(lp), [client.id.as_str()]);
    });
}

#[derive(Serialize, PartialEq, Debug)]
struct Profile {
    name: String,
    age: u32,
}

#[test]
fn the_data_of_a_socket_has_the_type_of_the_program() {
    let mut site = Site::with_defaults();
    let client = site.join();
    let socket = site.socket(&client);
    site.enter(|lp| {
        assert_eq!(socket.data::<Profile>(lp), None);
        socket.set_data(lp, Profile { name: "Ana".to_owned(), age: 40 });
        socket.data_mut::<Profile>(lp).expect("it is there").age += 1;
        assert_eq!(socket.data(lp), Some(&Profile { name: "Ana".to_owned(), age: 41 }));
        assert_eq!(socket.data::<String>(lp), None);
    });
    site.cut(client.peer);
    site.settle();
    site.enter(|lp| assert_eq!(socket.data::<Profile>(lp), None));
}

#[test]
fn binary_values_at_any_depth_go_both_ways() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on(lp, "file", move |lp, socket, event| {
            let arguments = event.arguments();
            story.add(format!("{:?} {}", arguments.binary(0), arguments.len()));
            socket.emit(lp, "back", arguments);
            event.ack(lp, socket_io::Binary(vec![9]));
        });
    });
    let peer = site.join().peer;
    let data = r#"{"_placeholder":true,"num":0},{"a":[{"_placeholder":true,"num":1}]}"#;
    site.text(peer, &format!(r#"452-7["file",{data}]"#));
    site.binary(peer, &[1, 2]);
    site.expect_nothing(peer);
    site.binary(peer, &[3]);
    site.expect(peer, &format!(r#"452-["back",{data}]"#));
    site.expect_binary(peer, &[1, 2]);
    site.expect_binary(peer, &[3]);
    site.expect(peer, r#"461-7[{"_placeholder":true,"num":0}]"#);
    site.expect_binary(peer, &[9]);
    site.expect_story(&["Some([1, 2]) 2"]);

    let (polling, _) = site.join_polling();
    site.posted(&polling, &format!("452-[\"file\",{data}]\x1ebAQI=\x1ebAw=="));
    assert_eq!(site.polled(&polling), format!("452-[\"back\",{data}]\x1ebAQI=\x1ebAw=="));
}

#[test]
fn a_client_that_polls_keeps_its_sockets_when_it_upgrades() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on_upgrade(lp, move |lp, socket| story.add(format!("upgrade {:?}", socket.transport(lp))));
        io.on(lp, "hola", |lp, socket, _| {
            socket.emit(lp, "hola", ());
        });
    });
    let (polling, joined) = site.join_polling();
    let ws = site.upgraded(&polling);
    site.text(ws, r#"42["hola"]"#);
    site.expect(ws, r#"42["hola"]"#);
    site.expect_story(&["upgrade Some(WebSocket)"]);
    let socket = site.socket(&joined);
    assert_eq!(site.enter(|lp| socket.id(lp)).map(|id| id.to_string()), Some(joined.id));
}

/// A page beside the server.
struct Page;

impl http::Handler for Page {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, _: &Request) {
        exchange.respond(lp, http::Response::new("the page"));
    }
}

#[test]
fn a_server_works_beside_another_http_handler() {
    let mut joined = None;
    let mut talk = Talk::new("/socket.io/", |lp| {
        let options = Options::default();
        let io = socket_io::Server::new(lp, options.clone());
        joined = Some(io);
        let http = socket_io::listen_with(lp, ("127.0.0.1", 0), &options, io.attach(Page)).expect("a free port");
        http.port(lp).expect("it is bound")
    });
    let io = joined.expect("it was made");
    assert_eq!(talk.get("/").body(), "the page");
    let (peer, _) = talk.open_websocket();
    talk.text(peer, "40");
    talk.received(peer);
    assert_eq!(talk.get("/socket.io").status, 400);
    assert_eq!(talk.get("/socket.iox").body(), "the page");
    talk.enter(|lp| assert_eq!(io.socket_count(lp), 1));
}

#[test]
fn the_scripts_of_the_client_are_served_with_an_etag() {
    let folder = std::env::temp_dir().join(format!("bucle-client-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("socket.io.js"), "// the client").expect("a file");
    std::fs::write(folder.join("socket.io.js.map"), "{}").expect("a file");
    std::fs::write(folder.join("secret.txt"), "a secret").expect("a file");
    let client_files = ClientFiles::from_folder(&folder);
    std::fs::remove_dir_all(&folder).expect("it is there");
    let mut options = Options::default();
    options.engine.client_files = client_files.expect("it has scripts");
    let mut site = Site::new(options);
    let answer = site.get("/socket.io/socket.io.js");
    assert_eq!((answer.status, &*answer.body()), (200, "// the client"));
    assert_eq!(answer.header("content-type"), Some("application/javascript; charset=utf-8"));
    let etag = answer.header("etag").expect("an etag").to_owned();
    let answer = site.request("GET", "/socket.io/socket.io.js", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((answer.status, &*answer.body()), (304, ""));
    let answer = site.get("/socket.io/socket.io.js.map?x=y");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json; charset=utf-8")));
    for other in ["secret.txt", "socket.io.min.js", "../secret.txt", ""] {
        assert_eq!(site.get(&format!("/socket.io/{other}")).status, 400, "{other}");
    }
    assert!(ClientFiles::from_folder("/no/such/folder").is_err());
}

#[test]
fn close_disconnects_all_clients() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.of(lp, "/other");
        io.on_disconnect(lp, move |_, _, reason| story.add(reason.as_str()));
    });
    let client = site.join();
    let (polling, _) = site.join_polling();
    site.poll(&polling);
    let silent = site.session();
    site.enter(|lp| io.close(lp));
    site.expect_close(client.peer, 1005);
    site.expect_close(silent, 1005);
    assert_eq!(site.packets(&polling), "1");
    site.expect_story(&["server shutting down", "server shutting down"]);
    assert_eq!(site.enter(|lp| (io.socket_count(lp), io.engine().session_count(lp))), (0, 0));
}

#[test]
fn the_program_sees_requests_that_are_refused_and_can_refuse_them() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.allow_request(lp, |_, request| match request.header("x-refuse") {
            Some(message) => Err(message.to_owned()),
            None => Ok(()),
        });
        io.on_connection_error(lp, move |_, error, request| {
            story.add(format!("{} {error} {}", error.code.number(), request.path()));
        });
        io.on_headers(lp, |_, headers, _, is_initial| {
            headers.insert("x-initial", is_initial.to_string().parse().expect("a value"));
        });
    });
    let answer = site.request("GET", "/socket.io/?EIO=4&transport=polling", "X-Refuse: no\r\n");
    assert_eq!((answer.status, &*answer.body()), (403, r#"{"code":4,"message":"no"}"#));
    // As in Node, a refusal does not get these headers.
    assert_eq!(site.get("/socket.io/?EIO=4&transport=x").header("x-initial"), None);
    let (_, answer) = site.open_with("", "");
    assert_eq!(answer.header("x-initial"), Some("true"));
    site.expect_story(&["4 no /socket.io/", "0 Transport unknown /socket.io/"]);
}
