//! Listeners of namespaces and of single sockets, catch-all listeners, and middlewares for events.

use bucle::socket_io::{EventError, Raw};
use serde::{Deserialize, Serialize};

use super::Site;

#[test]
fn listeners_are_called_in_their_order_those_of_the_namespace_first() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        for number in 1..=2 {
            let told = story.clone();
            io.on(lp, "hola", move |_, _, event| told.add(format!("{number} {}", event.name())));
        }
        let told = story.clone();
        io.on_any(lp, move |_, _, event| told.add(format!("any {} {}", event.name(), event.arguments().as_json())));
    });
    let client = site.join();
    let socket = site.socket(&client);
    site.enter(|lp| {
        let told = story.clone();
        socket.on(lp, "hola", move |_, _, _| told.add("own"));
        let told = story.clone();
        socket.once(lp, "hola", move |_, _, _| told.add("once"));
        let told = story.clone();
        socket.on_any(lp, move |_, _, _| told.add("own any"));
    });
    site.text(client.peer, r#"42["hola",1,"a"]"#);
    let both = ["1 hola", "2 hola", "own"];
    let any = r#"any hola 1,"a""#;
    site.expect_story(&[any, "own any", both[0], both[1], both[2], "once"]);
    site.text(client.peer, r#"42["hola",1,"a"]"#);
    site.expect_story(&[any, "own any", both[0], both[1], both[2]]);
    site.text(client.peer, r#"42["other"]"#);
    site.expect_story(&["any other ", "own any"]);
    site.enter(|lp| socket.off(lp, "hola"));
    site.text(client.peer, r#"42["hola"]"#);
    site.expect_story(&["any hola ", "own any", both[0], both[1]]);
    site.enter(|lp| io.off(lp, "hola"));
    site.text(client.peer, r#"42["hola"]"#);
    site.expect_story(&["any hola ", "own any"]);
    // The listeners of one socket are not those of another.
    let other = site.join();
    site.text(other.peer, r#"42["hola"]"#);
    site.expect_story(&["any hola "]);
}

#[test]
fn a_name_can_be_one_that_objects_of_javascript_have() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        let told = story.clone();
        io.on(lp, "__proto__", move |_, _, event| told.add(event.arguments().as_json()));
        io.on(lp, "", move |_, _, _| story.add("the empty name"));
    });
    let client = site.join();
    site.text(client.peer, r#"42["constructor"]"#);
    site.text(client.peer, r#"42["__proto__",{"__proto__":{"a":1},"constructor":null}]"#);
    site.text(client.peer, r#"42[""]"#);
    site.text(client.peer, r#"42["\u005f_proto__"]"#);
    site.expect_story(&[r#"{"__proto__":{"a":1},"constructor":null}"#, "the empty name", ""]);
}

#[test]
fn a_listener_that_disconnects_the_socket_ends_the_delivery() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        let told = story.clone();
        io.on(lp, "leave", move |lp, socket, _| {
            told.add("leave");
            socket.disconnect(lp, false);
            assert!(!socket.is_connected(lp) && !socket.emit(lp, "too late", ()));
        });
        let told = story.clone();
        io.on(lp, "leave", move |_, _, _| told.add("never"));
        io.on_disconnect(lp, move |_, _, reason| story.add(reason.as_str()));
    });
    let (polling, _) = site.join_polling();
    site.posted(&polling, r#"42["leave"]"#);
    assert_eq!(site.polled(&polling), "41");
    site.expect_story(&["leave", "server namespace disconnect"]);
}

#[test]
fn listeners_may_add_and_remove_listeners_while_they_run() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on(lp, "grow", move |lp, socket, _| {
            story.add("grow");
            let told = story.clone();
            io.on(lp, "grow", move |_, _, _| told.add("added"));
            io.off(lp, "other");
            socket.emit(lp, "done", ());
        });
    });
    let client = site.join();
    site.text(client.peer, r#"42["grow"]"#);
    site.expect(client.peer, r#"42["done"]"#);
    site.expect_story(&["grow"]);
    site.text(client.peer, r#"42["grow"]"#);
    site.expect_story(&["grow", "added"]);
}

#[test]
fn what_is_sent_can_be_observed() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    let client = site.join();
    let other = site.join();
    let socket = site.socket(&client);
    site.enter(|lp| {
        let told = story.clone();
        io.on_any_outgoing(lp, move |lp, socket, event| {
            let id = socket.id(lp).expect("it is connected");
            told.add(format!("{id} {} {}", event.name(), event.arguments().as_json()));
        });
        let told = story.clone();
        socket.on_any_outgoing(lp, move |_, _, event| told.add(format!("own {}", event.name())));
        socket.emit(lp, "one", (1, "a"));
        assert!(story.0.borrow().is_empty(), "a method never calls back");
    });
    site.expect_story(&[&format!(r#"{} one 1,"a""#, client.id), "own one"]);
    site.enter(|lp| io.emit(lp, "all", bucle::socket_io::Binary(vec![1])));
    let all = r#"all {"_placeholder":true,"num":0}"#;
    site.expect_story(&[&format!("{} {all}", client.id), "own all", &format!("{} {all}", other.id)]);
}

#[test]
fn a_middleware_for_events_can_stop_them() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        let told = story.clone();
        io.use_event_middleware(lp, move |_, _, event| {
            told.add(format!("check {}", event.name()));
            match event.name() {
                "forbidden" => Err(EventError::new("not allowed").with_data(7)),
                _ => Ok(()),
            }
        });
        let told = story.clone();
        io.on_any(lp, move |_, _, event| told.add(event.name()));
        io.on_error(lp, move |_, _, error| story.add(format!("{error} {:?}", error.data())));
    });
    let client = site.join();
    site.text(client.peer, r#"42["allowed"]"#);
    site.text(client.peer, r#"42["forbidden"]"#);
    // As in Node, catch-all listeners see what a middleware stops.
    site.expect_story(&["allowed", "check allowed", "forbidden", "check forbidden", "not allowed Some(Number(7))"]);
    let socket = site.socket(&client);
    site.enter(|lp| socket.use_middleware(lp, |_, _, _| Err("never".into())));
    site.text(client.peer, r#"42["allowed"]"#);
    site.expect_story(&["allowed", "check allowed", "never None"]);
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Order {
    item: String,
    count: u32,
}

#[test]
fn arguments_become_values_of_the_program_and_back() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on(lp, "order", move |lp, socket, event| match event.parse::<(Order, Option<bool>)>() {
            Ok((order, is_urgent)) => {
                story.add(format!("{} x {}, {is_urgent:?}", order.count, order.item));
                socket.emit(lp, "confirmed", (&order, [1.5, 2.0]));
                socket.emit(lp, "raw", Raw { json: r#"{"a":[]},null"#, attachments: &[] });
            }
            Err(error) => story.add(format!("{error}")),
        });
    });
    let client = site.join();
    site.text(client.peer, r#"42["order",{"item":"té","count":2},null]"#);
    site.expect(client.peer, r#"42["confirmed",{"item":"té","count":2},[1.5,2.0]]"#);
    site.expect(client.peer, r#"42["raw",{"a":[]},null]"#);
    site.text(client.peer, r#"42["order",{"item":"té","count":-2},null]"#);
    site.text(client.peer, r#"42["order"]"#);
    site.settle();
    let story = site.story.0.borrow().clone();
    assert_eq!(story.len(), 3, "{story:?}");
    assert_eq!(story[0], "2 x té, None");
}

#[test]
fn an_event_that_cannot_be_sent_is_not_sent() {
    let mut site = Site::with_defaults();
    let client = site.join();
    let socket = site.socket(&client);
    let map: std::collections::HashMap<(u8, u8), u8> = [((1, 2), 3)].into();
    site.enter(|lp| {
        assert!(!socket.emit(lp, "disconnect", ()));
        assert!(!socket.emit(lp, "keys", (&map,)));
        assert!(socket.emit(lp, "good", ()));
    });
    site.expect(client.peer, r#"42["good"]"#);
}
