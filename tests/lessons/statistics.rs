//! Lesson 17, live statistics.

use std::io::BufReader;
use std::net::Shutdown;
use std::{iter, thread};

use crate::lesson::Lesson;
use crate::peer::{connect, heard, reset, rest_of, send};

/// The number of a beat and the scores of a picture, which must add up to it: each beat somebody scores.
fn picture(line: &str) -> usize {
    let (beat, scores) = line.trim_end().split_once(": ").unwrap_or_else(|| panic!("half a picture: {line:?}"));
    let beat = beat.strip_prefix("beat ").and_then(|beat| beat.parse().ok());
    let sum = scores.split(' ').map(|score| score.parse::<usize>().expect("a score is a number")).sum();
    assert_eq!(beat, Some(sum), "the scores are those of their beat");
    sum
}

#[test]
fn live_statistics_come_by_themselves() {
    let (lesson, port) = Lesson::serve("17_live_statistics");
    let [one, two] = [connect(port), connect(port)];
    assert_eq!([lesson.next_line(), lesson.next_line()], ["#2 looks on", "#3 looks on"]);
    send(&one, vec![b'x'; 256 * 1024]); // Nobody wants to know.
    for stream in [&one, &two] {
        let mut reader = BufReader::new(stream);
        let first = picture(&heard(&mut reader));
        assert_eq!([2, 3, 4].map(|_| picture(&heard(&mut reader))), [first + 1, first + 2, first + 3]);
    }
    reset(two);
    lesson.wait_for_line("#3 is gone, and missed 0 beats");
    one.shutdown(Shutdown::Write).expect("it is open");
    lesson.wait_for_line("#2 is gone, and missed 0 beats");
    let rest = rest_of(&one);
    assert!(rest.is_empty() || rest.ends_with(b"\r\n"), "it ends with a whole picture");
}

#[test]
fn live_statistics_pass_over_who_is_slow_and_drop_who_does_not_come_back() {
    let lesson = Lesson::start("17_live_statistics", &["0", "100000"]);
    let line = lesson.next_line();
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says where");
    let slow = connect(port);
    assert_eq!(lesson.next_line(), "#2 looks on");
    let passed_over = lesson.next_line();
    let passed_over = passed_over.strip_prefix("#2 is slow: beat ").and_then(|rest| rest.split(' ').next());
    let passed_over: usize = passed_over.and_then(|beat| beat.parse().ok()).expect("it says which beat");

    // Late, but not too late: the pictures that come are whole, those left out are left out whole.
    let mut reader = BufReader::new(&slow);
    let mut beats = vec![picture(&heard(&mut reader))];
    while beats.last() < Some(&passed_over) {
        beats.push(picture(&heard(&mut reader)));
    }
    assert!(beats.is_sorted_by(|a, b| a < b) && !beats.contains(&passed_over), "{beats:?}");

    let witness = connect(port);
    lesson.wait_for_line("#3 looks on");
    let witness = thread::spawn(move || {
        let mut reader = BufReader::new(&witness);
        let first = picture(&heard(&mut reader));
        iter::repeat_with(|| picture(&heard(&mut reader))).find(|beat| *beat > first + 20)
    });
    assert!(witness.join().expect("all its pictures are whole").is_some());
    lesson.wait_for_line("#2 is given up: none was taken for 5s");
    let gone = lesson.next_line();
    let missed = gone.strip_prefix("#2 is gone, and missed ").and_then(|rest| rest.strip_suffix(" beats"));
    assert!(missed.and_then(|missed| missed.parse::<u32>().ok()).is_some_and(|missed| missed > 0), "{gone}");
}
