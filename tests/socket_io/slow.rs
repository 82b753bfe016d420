//! Clients that take events more slowly than the program sends them.

use bucle::socket_io::Options;

use super::Site;

#[test]
fn emit_returns_false_to_a_client_that_does_not_read_and_on_drain_follows() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on_drain(lp, move |_, _| story.add("drain"));
    });
    let client = site.join();
    let socket = site.socket(&client);
    site.settle();
    site.stop_reading(client.peer);
    let text = "x".repeat(100_000);
    let mut sent = 0;
    while site.enter(|lp| socket.emit(lp, "large", &*text)) {
        sent += 1;
        site.settle();
        assert!(sent < 500, "the kernel takes everything");
    }
    site.enter(|lp| {
        assert!(!socket.emit_volatile(lp, "price", 1));
        assert_eq!(io.volatile().emit(lp, "price", 1).receivers, 0);
        assert!(socket.session(lp).expect("it is open").buffered_amount(lp) > 0);
    });
    site.expect_story(&[]);
    site.read_again(client.peer);
    for _ in 0..=sent {
        assert!(site.received(client.peer).starts_with(r#"42["large","xxx"#));
    }
    site.expect_story(&["drain"]);
    site.enter(|lp| assert!(socket.emit_volatile(lp, "price", 2)));
    site.expect(client.peer, r#"42["price",2]"#);
}

#[test]
fn emit_returns_false_to_a_client_that_does_not_poll_and_on_drain_follows() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on_drain(lp, move |_, _| story.add("drain"));
    });
    let (polling, joined) = site.join_polling();
    let socket = site.socket(&joined);
    let text = "x".repeat(40_000);
    let is_low: Vec<bool> = site.enter(|lp| (0..3).map(|_| socket.emit(lp, "large", &*text)).collect());
    assert_eq!(is_low, [true, false, false]);
    assert_eq!(site.polled(&polling).split('\x1e').count(), 3);
    site.expect_story(&["drain"]);
}

#[test]
fn a_client_that_does_not_poll_is_disconnected_when_too_much_waits_for_it() {
    let mut options = Options::default();
    (options.engine.max_queue, options.engine.max_http_buffer_size) = (10_000, 1000);
    let mut site = Site::new(options);
    let (io, story) = (site.io, site.story.clone());
    let healthy = site.join();
    let (_, joined) = site.join_polling();
    let told = story.clone();
    site.enter(|lp| {
        io.on_disconnect(lp, move |lp, socket, reason| {
            told.add(format!("{} {reason}", socket.id(lp).expect("it can still be asked")));
        });
        let text = "x".repeat(500);
        for _ in 0..40 {
            io.emit(lp, "news", &*text);
        }
    });
    site.expect_story(&[&format!("{} transport error", joined.id)]);
    for _ in 0..40 {
        assert!(site.received(healthy.peer).starts_with(r#"42["news","#));
    }
    site.enter(|lp| assert_eq!(io.socket_count(lp), 1));
}

#[test]
fn a_client_that_sends_many_events_lets_others_have_their_turn() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.on_any(lp, move |_, _, event| story.add(event.name()));
    });
    let (many, one) = (site.join(), site.join());
    let flood = crate::wire::masked(crate::wire::TEXT, r#"42["m"]"#).repeat(4000);
    site.send(many.peer, flood);
    site.text(one.peer, r#"42["one"]"#);
    let story = site.story.0.clone();
    site.until("all events", |_| story.borrow().len() == 4001);
    let at = story.borrow().iter().position(|name| name == "one").expect("it has come");
    assert!(at < 4000, "it has waited for all events of the other client");
}
