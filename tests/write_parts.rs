//! `Socket::write_parts` is one `write` of a head and a body: the same bytes, the same return value, the same errors.

use std::cell::RefCell;
use std::rc::Rc;

use bucle::net::{self, Limits, Server, ServerOptions, Socket, on};
use bucle::{EventLoop, Loop};

const HIGH_WATER_MARK: usize = 64 * 1024;

/// What the peer received, and what each write returned.
#[derive(Default, PartialEq, Debug)]
struct Seen {
    received: Vec<u8>,
    returned: Vec<bool>,
    error: Option<String>,
}

type Write = fn(&mut Loop, Socket, &[u8], &[u8]) -> bool;

fn in_parts(lp: &mut Loop, socket: Socket, head: &[u8], body: &[u8]) -> bool {
    socket.write_parts(lp, head, body)
}

fn joined(lp: &mut Loop, socket: Socket, head: &[u8], body: &[u8]) -> bool {
    socket.write(lp, [head, body].concat())
}

/// A server that calls `act` when a client has sent something, which then reads to the end.
fn run(
    limits: Limits,
    write: Write,
    act: impl Fn(&mut Loop, Socket, &mut dyn FnMut(&mut Loop, usize)) + 'static,
) -> Seen {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let (returned, received, errors) = (seen.clone(), seen.clone(), seen.clone());
    let handler = on()
        .data(move |lp, socket, _| {
            let mut count = 0;
            act(lp, socket, &mut |lp, len| {
                count += 1;
                let body: Vec<u8> = (0..len).map(|at| (at * 7 + count) as u8).collect();
                let result = write(lp, socket, &(len as u32).to_be_bytes(), &body);
                returned.borrow_mut().returned.push(result);
            });
            socket.end(lp);
        })
        .error(move |_, _, error| errors.borrow_mut().error = Some(error.to_string()));
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        let options = ServerOptions { high_water_mark: HIGH_WATER_MARK, limits, ..ServerOptions::default() };
        let server: Server<_> = net::listen_with(lp, ("127.0.0.1", 0), options, handler).expect("a server");
        let port = server.port(lp).expect("it is bound");
        let client = on()
            .connect(|lp, socket| {
                socket.write(lp, "go");
            })
            .data(move |_, _, chunk| received.borrow_mut().received.extend_from_slice(chunk))
            .error(|_, _, _| {})
            .close(move |lp, _, _| server.close(lp));
        Socket::connect(lp, ("127.0.0.1", port), client).expect("a client");
    });
    event_loop.run().expect("it ends");
    drop(event_loop);
    Rc::try_unwrap(seen).expect("the handlers are gone").into_inner()
}

#[test]
fn a_message_in_parts_is_sent_as_one_in_one_piece_is() {
    const SIZES: &[(&str, &[usize])] = &[
        ("empty", &[0]),
        ("small ones", &[20, 30, 0, 5]),
        ("as much as a buffer", &[2040, 2044, 2048]),
        ("answers that fill the reply buffer", &[16_384, 16_384, 16_384, 16_384, 100]),
        ("just below and at the high-water mark", &[HIGH_WATER_MARK - 5, HIGH_WATER_MARK - 4, HIGH_WATER_MARK]),
        ("more than the kernel takes", &[10, 9_000_000, 20, 70_000]),
    ];
    for (name, sizes) in SIZES {
        let write_all = |write| run(Limits::NONE, write, |lp, _, write| sizes.iter().for_each(|&len| write(lp, len)));
        let (parts, whole) = (write_all(in_parts), write_all(joined));
        assert_eq!(parts.received.len(), sizes.iter().map(|len| len + 4).sum::<usize>(), "{name}");
        assert!(parts == whole, "{name}: returned {:?} and {:?}", parts.returned, whole.returned);
    }
}

#[test]
fn a_cork_holds_both_parts() {
    let corked = |write| {
        run(Limits::NONE, write, |lp, socket, write| {
            write(lp, 3000);
            socket.cork(lp);
            write(lp, 100_000);
            write(lp, 5);
            socket.uncork(lp);
            write(lp, 7);
        })
    };
    assert!(corked(in_parts) == corked(joined));
}

#[test]
fn a_limit_refuses_the_message_whole_and_an_end_refuses_it_once() {
    let limits = || Limits { outbox_bytes: Some(100_000), ..Limits::NONE };
    let over = run(limits(), in_parts, |lp, _, write| {
        write(lp, 9_000_000);
        write(lp, 90_000);
    });
    assert!(over.returned.iter().all(|&result| !result) && over.error.is_some_and(|error| error.contains("100000")));
    let ended = run(Limits::NONE, in_parts, |lp, socket, write| {
        socket.end(lp);
        write(lp, 5);
        write(lp, 100_000);
    });
    assert_eq!((ended.returned, ended.received), (vec![false, false], Vec::new()));
    assert!(ended.error.is_some_and(|error| error.contains("after end")));
}
