//! Lesson 13, the shutdown.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::lesson::{LIMIT, Lesson};
use crate::peer::{connect, expect, rest_of, send, send_until_stuck};

fn signal(lesson: &Lesson, name: &str) {
    let status = Command::new("kill").args(["-s", name, &lesson.child.id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
}

#[test]
fn shutdown_ends_every_connection() {
    for name in ["INT", "TERM"] {
        let (lesson, port) = Lesson::serve("13_shutdown_on_signals");
        let client = connect(port);
        send(&client, "hola\r\n");
        expect(&client, "hola\r\n");
        signal(&lesson, name);
        expect(&client, "shutting down\r\n");
        assert_eq!(rest_of(&client), b"");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the server accepts no more connections");
        drop(client);
        let printed = format!(
            "SIG{name}: connections to close: 1; a second signal exits immediately\n#2 closed\n\
             all connections are closed\n"
        );
        assert_eq!(lesson.finish(), (printed, String::new(), true));
    }
}

#[test]
fn shutdown_waits_for_the_rest_of_a_line() {
    let (lesson, port) = Lesson::serve("13_shutdown_on_signals");
    let client = connect(port);
    send(&client, "ho");
    expect(&client, "ho");
    signal(&lesson, "TERM");
    expect(&client, "shutting down\r\n");
    // Ten times as long as a connection has to be quiet to be ended. Only a pause can show that it is not.
    client.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit is not zero");
    let nothing = (&client).read(&mut [0]).expect_err("the connection is open, and silent");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    client.set_read_timeout(Some(LIMIT)).expect("a limit is not zero");
    send(&client, "la\r\n");
    expect(&client, "la\r\n");
    assert_eq!(rest_of(&client), b"");
    drop(client);
    let printed = "SIGTERM: connections to close: 1; a second signal exits immediately\n#2 closed\n\
                   all connections are closed\n";
    assert_eq!(lesson.finish(), (printed.to_owned(), String::new(), true));
}

#[test]
fn shutdown_destroys_late_connections_and_a_second_signal_exits() {
    let stuck_client = |port| {
        let client = connect(port);
        send_until_stuck(&client, &vec![b'.'; 64 * 1024 * 1024]);
        client
    };
    let (lesson, port) = Lesson::serve("13_shutdown_on_signals");
    let client = stuck_client(port);
    signal(&lesson, "TERM");
    let printed = "SIGTERM: connections to close: 1; a second signal exits immediately\n\
                   #2 closed\nall connections are closed\n";
    let (stdout, stderr, success) = lesson.finish();
    assert_eq!((stdout.as_str(), stderr.as_str(), success), (printed, "", true));
    drop(client);

    let (mut lesson, port) = Lesson::serve("13_shutdown_on_signals");
    let client = stuck_client(port);
    signal(&lesson, "INT");
    assert_eq!(lesson.next_line(), "SIGINT: connections to close: 1; a second signal exits immediately");
    signal(&lesson, "TERM");
    let status = lesson.child.wait().expect("the lesson is a child process");
    assert_eq!(status.code(), Some(128 + 15), "the second signal exits before the limit");
    drop(client);
}
