//! Lesson 16, other threads.

use std::io::{BufRead, BufReader};

use crate::lesson::Lesson;
use crate::peer::{connect, expect, reset, send};

#[test]
fn other_threads_answer_the_one_who_asked() {
    let (_lesson, port) = Lesson::serve("16_other_threads");
    let asks = connect(port);
    send(&asks, "10\n1000\nten\n");
    expect(&asks, "no: 1 to 100000, please\r\nprime number 10 is 29\r\nprime number 1000 is 7919\r\n");
}

#[test]
fn other_threads_have_a_bounded_queue_and_never_hold_up_the_loop() {
    let (_lesson, port) = Lesson::serve("16_other_threads");
    let crowd = connect(port);
    send(&crowd, "20000\n".repeat(12));
    let leaves = connect(port);
    send(&leaves, "1\n");
    reset(leaves);
    // While the worker works others are served.
    let witness = connect(port);
    send(&witness, "0\n");
    expect(&witness, "no: 1 to 100000, please\r\n");
    let answers: Vec<String> = BufReader::new(&crowd).lines().take(12).map(|line| line.expect("it comes")).collect();
    let (busy, primes): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.starts_with("busy"));
    assert!(busy.iter().all(|answer| answer == "busy: not now"), "{busy:?}");
    assert!(primes.iter().all(|answer| answer == "prime number 20000 is 224737"), "{primes:?}");
    assert!((4..=6).contains(&primes.len()), "four wait, and one is worked on: {}", primes.len());
    send(&witness, "1\n");
    expect(&witness, "prime number 1 is 2\r\n");
}
