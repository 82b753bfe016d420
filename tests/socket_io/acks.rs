//! Acknowledgements in both directions, and of broadcasts.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bucle::socket_io::{Ack, AckError, AckResult, Answers};

use super::{Site, Story};

#[test]
fn the_server_acknowledges_now_or_later_and_only_once() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    let pending: Rc<RefCell<Vec<Ack>>> = Rc::default();
    site.enter(|lp| {
        io.on(lp, "now", move |lp, _, event| {
            story.add(format!("wants an answer: {}", event.wants_ack()));
            let (name, arguments) = (event.name(), event.arguments());
            event.ack(lp, (name, arguments.len()));
            assert!(!event.wants_ack() && !event.ack(lp, "twice"));
        });
        let kept = pending.clone();
        io.on(lp, "later", move |_, _, event| kept.borrow_mut().extend(event.take_ack()));
    });
    let peer = site.join().peer;
    site.text(peer, r#"427["now",1,2]"#);
    site.expect(peer, r#"437["now",2]"#);
    site.text(peer, r#"42["now"]"#);
    site.expect_nothing(peer);
    site.text(peer, r#"420["later"]"#);
    site.text(peer, r#"429007199254740991["now"]"#);
    site.expect(peer, r#"439007199254740991["now",0]"#);
    let ack = pending.borrow_mut().pop().expect("it was kept");
    site.enter(|lp| assert!(ack.send(lp, ())));
    site.expect(peer, "430[]");
    site.expect_story(&["wants an answer: true", "wants an answer: false", "wants an answer: true"]);
    // One for a client that is gone.
    site.text(peer, r#"421["later"]"#);
    site.settle();
    site.cut(peer);
    site.settle();
    let ack = pending.borrow_mut().pop().expect("it was kept");
    site.enter(|lp| assert!(!ack.send(lp, ())));
}

fn show(result: AckResult<'_>) -> String {
    match result {
        Ok(arguments) => format!("answer {}", arguments.as_json()),
        Err(error) => format!("error {error}"),
    }
}

fn ask(site: &mut Site, client: &super::Client, timeout: Duration) {
    let socket = site.socket(client);
    let story = site.story.clone();
    site.enter(|lp| {
        socket.emit_with_ack(lp, "question", 1, timeout, move |_, answered, result| {
            assert_eq!(answered, socket);
            story.add(show(result));
        })
    });
}

#[test]
fn the_client_acknowledges_in_time() {
    let mut site = Site::with_defaults();
    let client = site.join();
    ask(&mut site, &client, Duration::from_secs(1));
    ask(&mut site, &client, Duration::ZERO);
    site.expect(client.peer, r#"420["question",1]"#);
    site.expect(client.peer, r#"421["question",1]"#);
    site.text(client.peer, r#"431["second"]"#);
    site.text(client.peer, r#"430["first",{"a":[]}]"#);
    site.expect_story(&[r#"answer "second""#, r#"answer "first",{"a":[]}"#]);
    // A second answer, and one to a question that was never asked.
    site.text(client.peer, r#"430["again"]"#);
    site.text(client.peer, r#"439007199254740991["what?"]"#);
    site.pass(Duration::from_secs(2));
    site.expect_story(&[]);
    site.expect_nothing(client.peer);
}

#[test]
fn an_answer_with_binary_values_is_complete() {
    let mut site = Site::with_defaults();
    let client = site.join();
    let (socket, story) = (site.socket(&client), site.story.clone());
    site.enter(|lp| {
        socket.emit_with_ack(lp, "question", (), Duration::from_secs(1), move |_, _, result| {
            story.add(format!("{:?}", result.map(|arguments| arguments.binary(0).map(<[u8]>::to_vec))));
        });
    });
    site.expect(client.peer, r#"420["question"]"#);
    site.text(client.peer, r#"461-0[{"_placeholder":true,"num":0}]"#);
    site.binary(client.peer, &[7, 8]);
    site.expect_story(&["Ok(Some([7, 8]))"]);
}

#[test]
fn an_answer_that_is_late_is_of_no_consequence() {
    let mut site = Site::with_defaults();
    let client = site.join();
    ask(&mut site, &client, Duration::from_secs(2));
    ask(&mut site, &client, Duration::from_secs(1));
    ask(&mut site, &client, Duration::ZERO);
    site.pass(Duration::from_millis(990));
    site.expect_story(&[]);
    site.pass(Duration::from_millis(20));
    site.expect_story(&["error operation has timed out"]);
    site.pass(Duration::from_millis(1000));
    site.expect_story(&["error operation has timed out"]);
    for number in 0..3 {
        site.expect(client.peer, &format!(r#"42{number}["question",1]"#));
        site.text(client.peer, &format!(r#"43{number}["late"]"#));
    }
    // Only the third one has no limit.
    site.expect_story(&[r#"answer "late""#]);
}

#[test]
fn the_end_of_a_client_fails_what_it_has_not_acknowledged() {
    let mut site = Site::with_defaults();
    let io = site.io;
    let client = site.join();
    let told = site.story.clone();
    site.enter(|lp| {
        io.on_disconnect(lp, move |_, _, _| told.add("disconnect"));
    });
    let socket = site.socket(&client);
    ask(&mut site, &client, Duration::from_secs(1));
    ask(&mut site, &client, Duration::ZERO);
    site.cut(client.peer);
    let failed = "error the socket was disconnected before it answered";
    site.expect_story(&["disconnect", failed, failed]);
    // So does a question to a client that is gone, in a tick.
    let story: Story = site.story.clone();
    site.enter(|lp| {
        let told = story.clone();
        socket.emit_with_ack(lp, "question", (), Duration::ZERO, move |_, _, result| told.add(show(result)));
        assert!(story.0.borrow().is_empty(), "a method never calls back");
    });
    site.expect_story(&[failed]);
}

fn tell(story: Story) -> impl FnOnce(&mut bucle::Loop, Answers) {
    move |_, answers| {
        for (id, arguments) in &answers.answered {
            let id = id.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
            story.add(format!("{id} answered {}", arguments.as_arguments().as_json()));
        }
        for id in &answers.missing {
            story.add(format!("{id} missing"));
        }
        story.add(if answers.is_complete { "complete" } else { "incomplete" });
    }
}

#[test]
fn a_broadcast_collects_the_answers_and_tells_who_has_sent_them() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    let clients: Vec<_> = (0..3).map(|_| site.join()).collect();
    site.enter(|lp| {
        io.except(&clients[2].id).emit_with_ack(lp, "question", 1, tell(story));
    });
    for client in &clients[..2] {
        site.expect(client.peer, r#"420["question",1]"#);
    }
    site.expect_nothing(clients[2].peer);
    // One that was not asked.
    site.text(clients[2].peer, r#"430["me, too"]"#);
    site.text(clients[1].peer, r#"430["one"]"#);
    site.settle();
    site.text(clients[1].peer, r#"430["twice"]"#);
    site.expect_story(&[]);
    site.text(clients[0].peer, "430[]");
    let (zero, one) = (&clients[0].id, &clients[1].id);
    site.expect_story(&[&format!(r#"{one} answered "one""#), &format!("{zero} answered "), "complete"]);
}

#[test]
fn a_broadcast_tells_who_has_not_answered_in_time_or_has_gone() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    let clients: Vec<_> = (0..3).map(|_| site.join()).collect();
    site.enter(|lp| {
        io.timeout(Duration::from_secs(1)).emit_with_ack(lp, "question", (), tell(story.clone()));
    });
    site.text(clients[0].peer, "430[true]");
    site.settle();
    site.cut(clients[1].peer);
    site.settle();
    site.expect_story(&[]);
    site.pass(Duration::from_secs(1));
    let ids: Vec<&str> = clients.iter().map(|client| &*client.id).collect();
    let (answered, gone, slow) =
        (format!("{} answered true", ids[0]), format!("{} missing", ids[1]), format!("{} missing", ids[2]));
    site.expect_story(&[&answered, &gone, &slow, "incomplete"]);
    // The last one that is waited for goes away: nothing more can come.
    site.enter(|lp| {
        io.timeout(Duration::from_secs(1)).emit_with_ack(lp, "question", (), tell(story));
    });
    site.text(clients[0].peer, "431[]");
    site.settle();
    site.cut(clients[2].peer);
    site.expect_story(&[&format!("{} answered ", ids[0]), &slow, "incomplete"]);
}

#[test]
fn a_broadcast_to_nobody_is_complete_in_a_tick() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    site.enter(|lp| {
        io.to("nobody").emit_with_ack(lp, "question", (), tell(story.clone()));
        assert!(story.0.borrow().is_empty(), "a method never calls back");
    });
    site.expect_story(&["complete"]);
}

#[test]
fn the_numbers_of_a_broadcast_and_of_a_single_question_differ() {
    let mut site = Site::with_defaults();
    let (io, story) = (site.io, site.story.clone());
    let client = site.join();
    ask(&mut site, &client, Duration::from_secs(1));
    site.enter(|lp| {
        io.emit_with_ack(lp, "all", (), tell(story));
    });
    ask(&mut site, &client, Duration::from_secs(1));
    site.expect(client.peer, r#"420["question",1]"#);
    site.expect(client.peer, r#"421["all"]"#);
    site.expect(client.peer, r#"422["question",1]"#);
    site.text(client.peer, "432[2]");
    site.text(client.peer, "431[1]");
    site.text(client.peer, "430[0]");
    site.expect_story(&["answer 2", &format!("{} answered 1", client.id), "complete", "answer 0"]);
}

#[test]
fn an_error_says_what_has_happened() {
    assert_eq!(AckError::Timeout.to_string(), "operation has timed out");
    assert_eq!(AckError::Disconnected.to_string(), "the socket was disconnected before it answered");
}
