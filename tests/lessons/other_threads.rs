//! Lesson 16, other threads.

use std::io::{BufRead, BufReader};

use crate::lesson::Lesson;
use crate::peer::{connect, expect, reset, send};

#[test]
fn other_threads_answer_the_client_of_the_request() {
    let (_lesson, port) = Lesson::serve("16_other_threads");
    let client = connect(port);
    send(&client, "10\n1000\nten\n");
    expect(&client, "error: send a number from 1 to 100000\r\nprime number 10 is 29\r\nprime number 1000 is 7919\r\n");
}

#[test]
fn other_threads_have_a_bounded_queue_and_never_block_the_loop() {
    let (_lesson, port) = Lesson::serve("16_other_threads");
    let flood = connect(port);
    send(&flood, "20000\n".repeat(12));
    let leaves = connect(port);
    send(&leaves, "1\n");
    reset(leaves);
    // While the worker computes, the loop serves other clients.
    let other = connect(port);
    send(&other, "0\n");
    expect(&other, "error: send a number from 1 to 100000\r\n");
    let answers: Vec<String> =
        BufReader::new(&flood).lines().take(12).map(|line| line.expect("an answer is text")).collect();
    let (busy, primes): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.starts_with("busy"));
    assert!(busy.iter().all(|answer| answer == "busy: try again later"), "{busy:?}");
    assert!(primes.iter().all(|answer| answer == "prime number 20000 is 224737"), "{primes:?}");
    assert!((4..=6).contains(&primes.len()), "four in the queue and one at the worker: {}", primes.len());
    send(&other, "1\n");
    expect(&other, "prime number 1 is 2\r\n");
}
