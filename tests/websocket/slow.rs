//! Slow peers, and peers from which nothing arrives.

use super::*;
use bucle::http::{OUTBOX_LIMIT, WRITE_TIMEOUT};

/// Sends echoes without reading them, until the server reads no further. Returns how many messages of 10,000 bytes.
fn fill(talk: &mut Talk) -> usize {
    talk.peers[0].reads = false;
    let ws = talk.ws(0);
    let (mut sent, mut paused_turns) = (0, 0);
    // The kernel takes some megabytes in both directions.
    let limit = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < limit, "the server reads without an end");
        if talk.peers[0].unsent.is_empty() {
            for _ in 0..10 {
                talk.send(0, masked(BINARY, noise_of(sent)));
                sent += 1;
            }
        }
        talk.turn();
        // The kernel may find room for some bytes more.
        let is_paused = talk.enter(|lp| ws.socket().is_paused(lp)) && !talk.peers[0].unsent.is_empty();
        paused_turns = if is_paused { paused_turns + 1 } else { 0 };
        if paused_turns == 20 {
            return sent;
        }
    }
}

fn noise_of(number: usize) -> Vec<u8> {
    let mut payload = vec![b'x'; 10_000];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

#[test]
fn a_peer_that_does_not_read_is_not_read_and_gets_all_answers_later() {
    let mut talk = Talk::new(Options::default());
    let ws = talk.ws(0);
    let sent = fill(&mut talk);
    let delivered = talk.story.borrow().len();
    let waiting = talk.enter(|lp| ws.buffered_amount(lp));
    assert!(waiting < 300_000, "{waiting} bytes wait");
    talk.settle();
    assert_eq!(talk.story.borrow().len(), delivered, "nothing is delivered meanwhile");
    let (other, _) = talk.open("");
    talk.expect_alive(other, "other connections are served");
    talk.peers[0].reads = true;
    for number in 0..sent {
        talk.expect_frame(0, &format!("echo {number}"), BINARY, noise_of(number));
    }
    talk.expect_alive(0, "afterwards");
    assert!(talk.story.borrow().contains(&"0 drain".to_owned()));
    assert_eq!(talk.enter(|lp| ws.buffered_amount(lp)), 0);
}

#[test]
fn a_pause_of_the_program_and_one_of_the_layer_do_not_cancel_each_other() {
    for program_is_first in [true, false] {
        let mut talk = Talk::new(Options::default());
        let ws = talk.ws(0);
        let sent = fill(&mut talk);
        talk.enter(|lp| ws.pause(lp));
        let delivered = |talk: &Talk| talk.story.borrow().iter().filter(|line| line.contains("binary")).count();
        let before = delivered(&talk);
        assert!(before < sent);
        if program_is_first {
            talk.enter(|lp| ws.resume(lp));
            talk.settle();
            assert_eq!(delivered(&talk), before, "the peer has not read its answers");
            talk.peers[0].reads = true;
        } else {
            talk.peers[0].reads = true;
            talk.until("a drain", |talk| talk.story.borrow().iter().any(|line| line == "0 drain"));
            talk.settle();
            assert_eq!(delivered(&talk), before, "the program has paused");
            talk.enter(|lp| ws.resume(lp));
        }
        talk.until("the rest", |talk| delivered(talk) == sent);
    }
}

/// RFC 6455, 5.5.3 allows to answer only the latest ping; here the peer is not read while it does not read.
#[test]
fn a_storm_of_pings_costs_little_memory_and_every_peer_that_reads_gets_its_pong() {
    let mut talk = Talk::new(Options::default());
    let ws = talk.ws(0);
    talk.peers[0].reads = false;
    let mut pings = Vec::new();
    for number in 0..100_000_u32 {
        pings.extend_from_slice(&masked(PING, [&number.to_be_bytes()[..], &[b'p'; 121]].concat()));
    }
    talk.send(0, pings);
    talk.until("a peer that is not read", |talk| talk.enter(|lp| ws.socket().is_paused(lp)));
    for _ in 0..100 {
        talk.turn();
        let waiting = talk.enter(|lp| ws.buffered_amount(lp));
        assert!(waiting <= 300_000, "{waiting} bytes wait");
    }
    talk.peers[0].reads = true;
    let mut last = None;
    while last != Some(99_999) {
        let frame = talk.frame(0);
        let number = u32::from_be_bytes(*frame.payload.first_chunk().expect("a number"));
        assert!(frame.first == PONG && last.is_none_or(|last| number > last), "{frame:?} after {last:?}");
        last = Some(number);
    }
    talk.expect_alive(0, "after the storm");
}

#[test]
fn send_returns_false_when_bytes_wait_and_on_drain_follows() {
    let mut talk = Talk::new(Options::default());
    let ws = talk.ws(0);
    talk.peers[0].reads = false;
    let payload = vec![1; 50_000];
    let mut sent = 0;
    while talk.enter(|lp| ws.send(lp, &payload)) {
        sent += 1;
        talk.turn();
        assert!(sent < 10_000, "send never returns false");
    }
    assert!(talk.enter(|lp| ws.buffered_amount(lp)) >= 50_000);
    // It was queued all the same.
    talk.peers[0].reads = true;
    for number in 0..=sent {
        talk.expect_frame(0, &format!("message {number}"), BINARY, &payload);
    }
    talk.until_told("0 drain");
    assert!(talk.enter(|lp| ws.send(lp, "hola")));
    talk.expect_frame(0, "afterwards", TEXT, "hola");
}

#[test]
fn a_peer_for_which_too_much_waits_is_disconnected() {
    let mut talk = Talk::new(Options::default());
    talk.peers[0].reads = false;
    let (ws, payload) = (talk.ws(0), vec![1; 50_000]);
    let mut most = 0;
    for _ in 0..2_000 {
        talk.enter(|lp| ws.send(lp, &payload));
        most = most.max(talk.enter(|lp| ws.buffered_amount(lp)));
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    assert!(most <= OUTBOX_LIMIT + Options::default().max_message, "{most} bytes have waited");
    talk.expect_story("too slow", &["0 open", "0 error E_TOO_SLOW", "0 closed 1006"]);
}

#[test]
fn a_peer_that_takes_no_bytes_for_too_long_is_disconnected() {
    let mut talk = Talk::new(Options { idle_limit: Duration::ZERO, ..Options::default() });
    fill(&mut talk);
    talk.story.borrow_mut().clear();
    // The kernel may take a few bytes more at the first attempts, and then the time begins anew.
    for _ in 0..5 {
        talk.clock.advance(WRITE_TIMEOUT + Duration::from_secs(1));
        talk.settle();
    }
    talk.expect_story("too slow", &["0 error E_TOO_SLOW", "0 closed 1006"]);
}

/// A server whose connections may be idle for 30 s: a check each 10 s.
fn impatient(sends_pings: bool) -> Talk {
    Talk::new(Options { idle_limit: Duration::from_secs(30), sends_pings, ..Options::default() })
}

#[test]
fn a_quiet_connection_gets_pings_and_stays_if_it_answers() {
    let mut talk = impatient(true);
    talk.story.borrow_mut().clear();
    for round in 0..5 {
        let name = format!("round {round}");
        talk.clock.advance(Duration::from_secs(10));
        talk.settle();
        assert_eq!(show_rest(&talk.peers[0]), "", "{name}: no ping yet");
        talk.clock.advance(Duration::from_secs(10));
        talk.expect_frame(0, &name, PING, "");
        // Any frame is a sign of life, also a part of one.
        match round {
            0 => talk.send_alone(0, masked(PONG, "")),
            1 => talk.send_alone(0, masked(TEXT, "quiet")),
            2 => talk.send_alone(0, &masked(PONG, "ab")[..1]),
            3 => talk.send_alone(0, &masked(PONG, "ab")[1..]),
            _ => talk.send_alone(0, masked(PING, "p")),
        }
    }
    talk.expect_story("no close", &["0 pong ", "0 text quiet", "0 pong ab", "0 ping p"]);
}

#[test]
fn a_connection_that_does_not_answer_a_ping_is_disconnected() {
    let mut talk = impatient(true);
    let (active, _) = talk.open("");
    talk.story.borrow_mut().clear();
    for _ in 0..3 {
        talk.clock.advance(Duration::from_secs(10));
        talk.settle();
        talk.send_alone(active, masked(TEXT, "quiet"));
    }
    talk.expect_frame(0, "the ping", PING, "");
    talk.until("the end", |talk| talk.peers[0].end.is_some());
    talk.until_told("0 closed 1006 no answer to a ping");
    talk.expect_alive(active, "a connection that is not quiet");
    assert_eq!(talk.peers[active].end, None);
}

#[test]
fn without_pings_a_quiet_connection_is_closed() {
    let mut talk = impatient(false);
    talk.story.borrow_mut().clear();
    for _ in 0..30 {
        talk.clock.advance(Duration::from_secs(1));
        talk.settle();
    }
    assert_eq!(show_rest(&talk.peers[0]), "", "it may be quiet for the whole limit");
    talk.clock.advance(Duration::from_secs(15));
    talk.expect_frame(0, "the close", CLOSE, close(1001, "idle for too long"));
    talk.send(0, masked(CLOSE, close(1001, "")));
    talk.expect_end(0, "in order", End::Fin);
    talk.peers.clear();
    talk.expect_story("closed", &["0 closed 1001"]);
}

#[test]
fn an_idle_limit_of_zero_means_never() {
    let mut talk = Talk::new(Options { idle_limit: Duration::ZERO, ..Options::default() });
    talk.clock.advance(Duration::from_secs(100_000));
    talk.settle();
    assert_eq!(show_rest(&talk.peers[0]), "");
    talk.expect_alive(0, "after a day");
}

#[test]
fn the_longest_idle_limit_means_never() {
    for sends_pings in [true, false] {
        let mut talk = Talk::new(Options { idle_limit: Duration::MAX, sends_pings, ..Options::default() });
        for _ in 0..10 {
            talk.clock.advance(Duration::from_secs(10));
            talk.settle();
        }
        assert_eq!(show_rest(&talk.peers[0]), "");
        talk.expect_alive(0, "after 100 s");
    }
}

/// The answers to pings are not read while the program has paused the connection.
#[test]
fn a_paused_connection_is_not_taken_for_a_dead_one() {
    let mut talk = impatient(true);
    let ws = talk.ws(0);
    talk.enter(|lp| ws.pause(lp));
    for _ in 0..10 {
        talk.clock.advance(Duration::from_secs(10));
        talk.settle();
    }
    talk.send(0, masked(TEXT, "hola"));
    talk.enter(|lp| ws.resume(lp));
    talk.until_told("0 text hola");
    assert_eq!(talk.peers[0].end, None);
}

#[test]
fn the_checks_do_not_keep_the_loop_running_and_end_with_the_last_connection() {
    let mut talk = impatient(true);
    talk.send(0, masked(CLOSE, close(1000, "")));
    talk.until("the end", |talk| talk.peers[0].end.is_some());
    talk.peers.clear();
    talk.until("the close", |talk| talk.story.borrow().len() == 2);
    talk.clock.advance(Duration::from_secs(100));
    talk.settle();
    // The next connection is checked, too.
    talk.story.borrow_mut().clear();
    talk.connections.borrow_mut().clear();
    let (peer, _) = talk.open("");
    talk.clock.advance(Duration::from_secs(10));
    talk.settle();
    talk.clock.advance(Duration::from_secs(10));
    talk.expect_frame(peer, "a ping", PING, "");
}

/// The close frame is behind messages that are not delivered before the peer has read its answers.
#[test]
fn a_slow_peer_that_closes_gets_all_answers_and_the_close() {
    let mut talk = Talk::new(Options::default());
    let sent = fill(&mut talk);
    talk.send(0, masked(CLOSE, close(4000, "done")));
    talk.settle();
    talk.peers[0].reads = true;
    for number in 0..sent {
        talk.expect_frame(0, &format!("echo {number}"), BINARY, noise_of(number));
    }
    talk.expect_frame(0, "the close", CLOSE, close(4000, ""));
    talk.expect_end(0, "the end", End::Fin);
    talk.peers.clear();
    talk.until_told("0 closed 4000 done");
}

/// A message of 20 bytes is answered with 100,000: one read contains thousands of them.
#[test]
fn many_messages_of_one_read_with_large_answers_wait_for_the_peer() {
    let mut talk = Talk::new(Options::default());
    let ws = talk.ws(0);
    talk.peers[0].reads = false;
    talk.send(0, masked(TEXT, "flood 1 100000").repeat(1_000));
    talk.until("a peer that is not read", |talk| talk.enter(|lp| ws.socket().is_paused(lp)));
    for _ in 0..50 {
        talk.turn();
        let waiting = talk.enter(|lp| ws.buffered_amount(lp));
        assert!(waiting <= 300_000, "{waiting} bytes wait");
    }
    talk.peers[0].reads = true;
    for number in 0..1_000 {
        let frame = talk.frame(0);
        assert!(frame.payload.len() == 100_000, "answer {number}: {frame:?}");
        let peer = &mut talk.peers[0];
        drop(peer.received.drain(..peer.taken));
        peer.taken = 0;
    }
}

#[test]
fn a_connection_that_is_destroyed_by_its_own_send_gets_no_further_message() {
    let mut talk = Talk::new(Options::default());
    talk.peers[0].reads = false;
    talk.send(0, [masked(TEXT, "flood 300 100000"), masked(TEXT, "never")].concat());
    talk.expect_story("too slow", &["0 open", "0 text flood 300 100000", "0 error E_TOO_SLOW", "0 closed 1006"]);
}

/// A peer that has not read its answers is not read, so its pongs would not be seen. The write timeout ends it if it
/// reads nothing at all.
#[test]
fn a_peer_that_is_not_read_is_not_taken_for_a_dead_one() {
    let mut talk = Talk::new(Options { idle_limit: Duration::from_secs(6), ..Options::default() });
    let sent = fill(&mut talk);
    for _ in 0..12 {
        talk.clock.advance(Duration::from_secs(1));
        talk.settle();
    }
    talk.peers[0].reads = true;
    for number in 0..sent {
        talk.expect_frame(0, &format!("echo {number}"), BINARY, noise_of(number));
    }
    talk.expect_alive(0, "afterwards");
}
