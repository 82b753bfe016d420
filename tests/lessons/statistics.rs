//! Lesson 17, live statistics.

use std::io::BufReader;
use std::net::Shutdown;
use std::{iter, thread};

use crate::lesson::Lesson;
use crate::peer::{connect, read_line, reset, rest_of, send};

/// Reads the beat from a message. The sum of the scores must be the same number, because each beat adds one point.
fn beat_of(line: &str) -> usize {
    let (beat, scores) = line.trim_end().split_once(": ").unwrap_or_else(|| panic!("half a message: {line:?}"));
    let beat = beat.strip_prefix("beat ").and_then(|beat| beat.parse().ok());
    let sum = scores.split(' ').map(|score| score.parse::<usize>().expect("a score is a number")).sum();
    assert_eq!(beat, Some(sum), "the scores belong to their beat");
    sum
}

#[test]
fn live_statistics_arrive_without_a_request() {
    let (lesson, port) = Lesson::serve("17_live_statistics");
    let [one, two] = [connect(port), connect(port)];
    assert_eq!([lesson.next_line(), lesson.next_line()], ["#2 connected", "#3 connected"]);
    send(&one, vec![b'x'; 256 * 1024]); // The server ignores it.
    for stream in [&one, &two] {
        let mut reader = BufReader::new(stream);
        let first = beat_of(&read_line(&mut reader));
        assert_eq!([2, 3, 4].map(|_| beat_of(&read_line(&mut reader))), [first + 1, first + 2, first + 3]);
    }
    reset(two);
    lesson.wait_for_line("#3 left, 0 beats missed");
    one.shutdown(Shutdown::Write).expect("the connection is open");
    lesson.wait_for_line("#2 left, 0 beats missed");
    let rest = rest_of(&one);
    assert!(rest.is_empty() || rest.ends_with(b"\r\n"), "the last message is complete");
}

#[test]
fn live_statistics_skip_a_slow_client_and_disconnect_one_that_stops_reading() {
    let lesson = Lesson::start("17_live_statistics", &["0", "100000"]);
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("the first line names the port");
    let slow = connect(port);
    assert_eq!(lesson.next_line(), "#2 connected");
    let skipped = lesson.next_line();
    let skipped = skipped.strip_prefix("#2 is slow: skipping beat ");
    let skipped: usize = skipped.and_then(|beat| beat.parse().ok()).expect("the line names the beat");

    // Late, but before the timeout: the messages that arrive are complete, and skipped ones are skipped completely.
    let mut reader = BufReader::new(&slow);
    let mut beats = vec![beat_of(&read_line(&mut reader))];
    while beats.last() < Some(&skipped) {
        beats.push(beat_of(&read_line(&mut reader)));
    }
    assert!(beats.is_sorted_by(|a, b| a < b) && !beats.contains(&skipped), "{beats:?}");

    let other = connect(port);
    lesson.wait_for_line("#3 connected");
    let other = thread::spawn(move || {
        let mut reader = BufReader::new(&other);
        let first = beat_of(&read_line(&mut reader));
        iter::repeat_with(|| beat_of(&read_line(&mut reader))).find(|beat| *beat > first + 20)
    });
    assert!(other.join().expect("all messages are complete").is_some());
    lesson.wait_for_line("#2 took nothing for 5s: disconnecting");
    let left = lesson.next_line();
    let missed = left.strip_prefix("#2 left, ").and_then(|rest| rest.strip_suffix(" beats missed"));
    assert!(missed.and_then(|missed| missed.parse::<u32>().ok()).is_some_and(|missed| missed > 0), "{left}");
}
