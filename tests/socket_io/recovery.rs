//! Clients that were lost and come back find everything as it was.

use std::time::Duration;

use bucle::socket_io::{Options, RecoveryOptions};
use serde_json::Value;

use super::{Client, Site};

fn options(recovery: RecoveryOptions) -> Options {
    Options { recovery: Some(recovery), ..Options::default() }
}

/// A server that tells who has joined, and a client in room `r` with data.
fn lost(options: Options) -> (Site, Client, String) {
    let mut site = Site::new(options);
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        let told = story.clone();
        io.use_middleware(lp, move |lp, _, next| {
            told.add("middleware");
            next.allow(lp);
        });
        let told = story.clone();
        io.on_connection(lp, move |lp, socket| {
            let data = socket.data::<String>(lp).cloned().unwrap_or_default();
            told.add(format!("recovered: {}, {data:?}, {} rooms", socket.is_recovered(lp), socket.rooms(lp).len()));
        });
        io.on_session_expired(lp, move |_, id| story.add(format!("{id} expired")));
    });
    let client = site.join();
    let socket = site.socket(&client);
    site.enter(|lp| {
        socket.join(lp, "r");
        socket.set_data(lp, "kept".to_owned());
        io.emit(lp, "zero", ());
    });
    let (_, offset) = event(&mut site, &client);
    site.expect_story(&["middleware", "recovered: false, \"\", 1 rooms"]);
    (site, client, offset)
}

/// The next event: its name and its offset.
#[track_caller]
fn event(site: &mut Site, client: &Client) -> (String, String) {
    let text = site.received(client.peer);
    let items: Vec<Value> = serde_json::from_str(&text[2..]).unwrap_or_else(|_| panic!("no event: {text}"));
    let offset = items.last().and_then(Value::as_str).expect("an offset");
    (items[0].as_str().expect("a name").to_owned(), offset.to_owned())
}

fn auth(client: &Client, offset: &str) -> String {
    format!(r#"{{"pid":"{}","offset":"{offset}"}}"#, client.pid.as_deref().expect("a secret"))
}

#[test]
fn a_listener_of_disconnections_reads_and_changes_the_data_of_a_socket_that_is_kept() {
    let (mut site, client, offset) = lost(options(RecoveryOptions::default()));
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on_disconnect(lp, move |lp, socket, _| {
            story.add(format!("{:?}, {} rooms", socket.data::<String>(lp), socket.rooms(lp).len()));
            socket.set_data(lp, "changed".to_owned());
        });
    });
    site.cut(client.peer);
    site.settle();
    site.expect_story(&["Some(\"kept\"), 0 rooms"]);
    site.join_with("/", &auth(&client, &offset));
    site.expect_story(&["recovered: true, \"changed\", 2 rooms"]);
}

#[test]
fn a_client_that_comes_back_gets_what_it_has_missed_once_and_in_order() {
    let (mut site, client, offset) = lost(options(RecoveryOptions::default()));
    let io = site.io;
    let socket = site.socket(&client);
    // Sent and lost on the way: the client has not received it.
    site.enter(|lp| io.to("r").emit(lp, "one", 1));
    site.cut(client.peer);
    site.settle();
    site.enter(|lp| {
        io.emit(lp, "two", bucle::socket_io::Binary(vec![1, 2]));
        io.to("other").emit(lp, "not for it", ());
        io.to("r").except(&client.id).emit(lp, "not for it", ());
        io.to(&client.id).emit(lp, "three", ());
        io.volatile().emit(lp, "volatile", ());
        assert!(!socket.emit(lp, "to a socket that is gone", ()));
    });
    let peer = site.ask(&auth(&client, &offset));
    assert!(site.received(peer).starts_with(r#"42["one",1,""#));
    let two = site.received(peer);
    assert!(two.starts_with(r#"451-["two",{"_placeholder":true,"num":0},"#), "{two}");
    site.expect_binary(peer, &[1, 2]);
    assert!(site.received(peer).starts_with(r#"42["three",""#));
    let back = site.joined(peer, "/");
    assert_eq!((&back.id, &back.pid), (&client.id, &client.pid));
    site.expect_story(&["recovered: true, \"kept\", 2 rooms"]);
    site.enter(|lp| io.to("r").emit(lp, "four", ()));
    let (four, offset) = event(&mut site, &back);
    assert_eq!(four, "four");
    site.expect_nothing(back.peer);
    // It works again.
    site.cut(back.peer);
    site.settle();
    site.enter(|lp| io.emit(lp, "five", ()));
    let peer = site.ask(&auth(&back, &offset));
    assert!(site.received(peer).starts_with(r#"42["five",""#));
    assert_eq!(site.joined(peer, "/").id, client.id);
    site.expect_nothing(peer);
}

#[test]
fn what_a_client_has_missed_comes_before_the_answer_and_before_new_events() {
    let (mut site, client, offset) = lost(options(RecoveryOptions::default()));
    let io = site.io;
    site.cut(client.peer);
    site.settle();
    site.enter(|lp| {
        io.on_connection(lp, |lp, socket| {
            socket.emit(lp, "welcome", ());
        });
        io.emit(lp, "missed", ());
    });
    let peer = site.ask(&auth(&client, &offset));
    assert!(site.received(peer).starts_with(r#"42["missed",""#));
    let back = site.joined(peer, "/");
    assert_eq!(event(&mut site, &back).0, "welcome");
}

#[test]
fn a_client_that_a_middleware_refuses_gets_nothing_of_what_it_has_missed() {
    let recovery = RecoveryOptions { skip_middlewares: false, ..RecoveryOptions::default() };
    let (mut site, client, offset) = lost(options(recovery));
    let io = site.io;
    site.cut(client.peer);
    site.settle();
    site.enter(|lp| {
        io.use_middleware(lp, |lp, _, next| next.refuse(lp, "not any longer"));
        io.emit(lp, "missed", ());
    });
    let peer = site.ask(&auth(&client, &offset));
    site.expect(peer, r#"44{"message":"not any longer"}"#);
    site.expect_nothing(peer);
}

#[test]
fn middlewares_are_called_if_the_options_say_so() {
    let recovery = RecoveryOptions { skip_middlewares: false, ..RecoveryOptions::default() };
    let (mut site, client, offset) = lost(options(recovery));
    site.cut(client.peer);
    site.settle();
    assert_eq!(site.join_with("/", &auth(&client, &offset)).id, client.id);
    site.expect_story(&["middleware", "recovered: true, \"kept\", 2 rooms"]);
}

#[test]
fn a_client_that_has_left_is_new_when_it_comes_back() {
    type Leave = fn(&mut Site, &Client);
    let leave: [(&str, Leave); 3] = [
        ("the client has left", |site, client| site.text(client.peer, "41")),
        ("the program has disconnected it", |site, client| {
            let socket = site.socket(client);
            site.enter(|lp| socket.disconnect(lp, false));
        }),
        ("the program has disconnected everything", |site, client| {
            let socket = site.socket(client);
            site.enter(|lp| socket.disconnect(lp, true));
        }),
    ];
    for (name, leave) in leave {
        let (mut site, client, offset) = lost(options(RecoveryOptions::default()));
        leave(&mut site, &client);
        site.settle();
        site.cut(client.peer);
        site.settle();
        let back = site.join_with("/", &auth(&client, &offset));
        assert_ne!(back.id, client.id, "{name}");
        site.expect_story(&["middleware", "recovered: false, \"\", 1 rooms"]);
    }
}

#[test]
fn a_client_that_comes_back_too_late_is_new() {
    let recovery = RecoveryOptions { max_disconnection: Duration::from_secs(10), ..RecoveryOptions::default() };
    let (mut site, client, offset) = lost(options(recovery));
    site.cut(client.peer);
    site.settle();
    site.pass(Duration::from_millis(10_200));
    site.expect_story(&[&format!("{} expired", client.id)]);
    let back = site.join_with("/", &auth(&client, &offset));
    assert_ne!(back.id, client.id);
    assert!(back.pid.is_some() && back.pid != client.pid);
    site.expect_story(&["middleware", "recovered: false, \"\", 1 rooms"]);
    site.expect_nothing(back.peer);
}

#[test]
fn wrong_credentials_make_a_new_client() {
    let (mut site, client, offset) = lost(options(RecoveryOptions::default()));
    site.cut(client.peer);
    site.settle();
    let pid = client.pid.clone().expect("a secret");
    for auth in [
        format!(r#"{{"pid":"{}","offset":"{offset}"}}"#, "A".repeat(20)),
        format!(r#"{{"pid":7,"offset":"{offset}"}}"#),
        format!(r#"{{"offset":"{offset}"}}"#),
        "{}".to_owned(),
        format!(r#"{{"pid":"{}","offset":"{offset}"}}"#, client.id),
    ] {
        let back = site.join_with("/", &auth);
        assert_ne!(back.id, client.id, "{auth}");
        assert_ne!(back.pid, Some(pid.clone()), "{auth}");
    }
}

#[test]
fn a_secret_opens_one_connection() {
    let (mut site, client, offset) = lost(options(RecoveryOptions::default()));
    site.cut(client.peer);
    site.settle();
    let back = site.join_with("/", &auth(&client, &offset));
    assert_eq!(back.id, client.id);
    // The second connection takes the place of the first one.
    let io = site.io;
    let other = site.join_with("/", &auth(&client, &offset));
    assert_eq!(other.id, client.id);
    assert_eq!(site.enter(|lp| io.socket_count(lp)), 1);
}

#[test]
fn a_client_that_polls_comes_back() {
    let (mut site, client, offset) = lost(options(RecoveryOptions::default()));
    let io = site.io;
    site.cut(client.peer);
    site.settle();
    site.enter(|lp| io.to("r").emit(lp, "missed", ()));
    let polling = site.open();
    site.posted(&polling, &format!("40{}", auth(&client, &offset)));
    let body = site.polled(&polling);
    let packets: Vec<&str> = body.split('\x1e').collect();
    assert_eq!(packets.len(), 2, "{body}");
    assert!(packets[0].starts_with(r#"42["missed","#), "{body}");
    assert!(packets[1].starts_with(&format!(r#"40{{"sid":"{}""#, client.id)), "{body}");
}

#[test]
fn an_event_that_wants_an_answer_has_no_offset() {
    let (mut site, client, _) = lost(options(RecoveryOptions::default()));
    let socket = site.socket(&client);
    site.enter(|lp| socket.emit_with_ack(lp, "question", (), Duration::from_secs(1), |_, _, _| {}));
    site.expect(client.peer, r#"420["question"]"#);
    site.enter(|lp| socket.emit_volatile(lp, "price", 1));
    site.expect(client.peer, r#"42["price",1]"#);
}

#[test]
fn without_recovery_there_is_no_secret_and_no_offset() {
    let mut site = Site::with_defaults();
    let io = site.io;
    let client = site.join();
    assert_eq!(client.pid, None);
    site.enter(|lp| io.emit(lp, "news", ()));
    site.expect(client.peer, r#"42["news"]"#);
}
