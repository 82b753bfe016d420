//! Lesson 18, the stock.

use std::io::{BufReader, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::{iter, thread};

use crate::lesson::Lesson;
use crate::peer::{connect, expect, read_line, reset, rest_of, send, send_until_stuck};

#[test]
fn stock_is_the_same_for_all_clients_and_sold_once() {
    let (_lesson, port) = Lesson::serve("18_stock");
    let clients: Vec<TcpStream> = iter::repeat_with(|| connect(port)).take(4).collect();
    for client in &clients {
        expect(client, "stock: 1000000 grains, 5 lemons\r\n");
    }
    // All clients order at the same time, each more than its share.
    let buyers = clients.into_iter().map(|client| {
        thread::spawn(move || {
            for piece in ["buy lem", "ons 1\r\nbuy lemons 1\nbuy grains 400000", "\n"] {
                send(&client, piece);
            }
            let mut sold = Vec::new();
            let mut reader = BufReader::new(&client);
            while sold.len() < 5 + 2 {
                let line = read_line(&mut reader);
                match line.split_once(": ") {
                    Some(("sold", _)) => sold.push(line),
                    Some(("error", why)) => assert!(why.starts_with("only "), "{why:?}"),
                    _ => panic!("half a line: {line:?}"),
                }
            }
            (sold, client)
        })
    });
    let ends: Vec<_> =
        buyers.collect::<Vec<_>>().into_iter().map(|buyer| buyer.join().expect("the buyer does not panic")).collect();
    for (sold, _) in &ends {
        assert_eq!(sold, &ends[0].0, "all clients see the same changes in the same order");
    }
    let left = |item: &str| -> Vec<_> {
        let of_item = ends[0].0.iter().filter(|line| line.contains(item));
        of_item.map(|line| line.trim_end().rsplit(", ").next()).collect()
    };
    assert_eq!(left("lemons"), ["4 left", "3 left", "2 left", "1 left", "0 left"].map(Some));
    assert_eq!(left("grains"), ["600000 left", "200000 left"].map(Some));
    expect(&connect(port), "stock: 200000 grains, 0 lemons\r\n");
}

#[test]
fn stock_refuses_an_order_with_the_reason() {
    let (_lesson, port) = Lesson::serve("18_stock");
    let client = connect(port);
    expect(&client, "stock: 1000000 grains, 5 lemons\r\n");
    for (order, why) in [
        ("buy lemons 6", "only 5 lemons left"),
        ("buy lemons 4294967296", "N must be a number, 1 or more"),
        ("buy lemons -1", "N must be a number, 1 or more"),
        ("buy lemons 0", "N must be a number, 1 or more"),
        ("buy \u{1b}[2J 1", "no such item"),
        ("buy lemons", "send `buy ITEM N`"),
        ("", "send `buy ITEM N`"),
    ] {
        send(&client, format!("{order}\r\n"));
        expect(&client, &format!("error: {why}\r\n"));
    }
    let wordy = connect(port);
    send(&wordy, vec![b'x'; 101]);
    expect(&wordy, "stock: 1000000 grains, 5 lemons\r\nerror: line over 100 bytes\r\n");
    assert_eq!(rest_of(&wordy), b"");
    reset(connect(port));
    send(&client, "buy lemons 5");
    client.shutdown(Shutdown::Write).expect("the connection is open");
    assert_eq!(rest_of(&client), b"sold: 5 lemons to #2, 0 left\r\n");
}

#[test]
fn stock_disconnects_a_client_that_does_not_read_and_pauses_one_that_only_orders() {
    let (_lesson, port) = Lesson::serve("18_stock");
    let [buyer, other, sleeper] = [connect(port), connect(port), connect(port)];
    for client in [&buyer, &other, &sleeper] {
        expect(client, "stock: 1000000 grains, 5 lemons\r\n");
    }
    // The buyer does not read at first. It is paused, so it cannot flood the other clients.
    let orders = "buy grains 1\n".repeat(1_000_000);
    let sent = send_until_stuck(&buyer, orders.as_bytes());
    let writer = buyer.try_clone().expect("a descriptor is free");
    let writer = thread::spawn(move || send(&writer, &orders.as_bytes()[sent..]));
    let all: String = (0..1_000_000).rev().map(|left| format!("sold: 1 grains to #2, {left} left\r\n")).collect();
    let mut got = vec![0; 64 * 1024];
    for part in all.as_bytes().chunks(got.len()) {
        for mut client in [&buyer, &other] {
            client.read_exact(&mut got[..part.len()]).expect("every change arrives");
            assert!(got[..part.len()] == *part, "and in order");
        }
    }
    writer.join().expect("the lesson read everything");
    // If the sleeper were still connected it would get all changes now, and then the end.
    let _ = sleeper.shutdown(Shutdown::Write);
    let mut got = Vec::new();
    let end = (&sleeper).read_to_end(&mut got).map_err(|error| error.kind());
    assert!(
        end.is_ok_and(|size| size < all.len()) || end == Err(ErrorKind::ConnectionReset),
        "{end:?}: the sleeper was not disconnected"
    );
}
