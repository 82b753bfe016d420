//! Lesson 13, the shutdown.

use std::net::TcpStream;
use std::process::Command;

use crate::lesson::Lesson;
use crate::peer::{connect, expect, rest_of, send, send_until_stuck};

fn signal(lesson: &Lesson, name: &str) {
    let status = Command::new("kill").args(["-s", name, &lesson.child.id().to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
}

#[test]
fn shutdown_sees_everybody_off() {
    for name in ["INT", "TERM"] {
        let (lesson, port) = Lesson::serve("13_shutdown_on_signals");
        let guest = connect(port);
        send(&guest, "hola\r\n");
        expect(&guest, "hola\r\n");
        signal(&lesson, name);
        expect(&guest, "good-bye\r\n");
        assert_eq!(rest_of(&guest), b"");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody comes in any more");
        drop(guest);
        let said = format!("SIG{name}: 1 to see off; once more ends it at once\n#2 has left\nall have left\n");
        assert_eq!(lesson.finish(), (said, String::new(), true));
    }
}

#[test]
fn shutdown_leaves_behind_who_does_not_read_and_a_second_signal_ends_it() {
    let stuck_guest = |port| {
        let guest = connect(port);
        send_until_stuck(&guest, &vec![b'.'; 64 * 1024 * 1024]);
        guest
    };
    let (lesson, port) = Lesson::serve("13_shutdown_on_signals");
    let guest = stuck_guest(port);
    signal(&lesson, "TERM");
    let said = "SIGTERM: 1 to see off; once more ends it at once\n#2 is left behind\n#2 has left\nall have left\n";
    let (stdout, stderr, success) = lesson.finish();
    assert_eq!((stdout.as_str(), stderr.as_str(), success), (said, "", true));
    drop(guest);

    let (mut lesson, port) = Lesson::serve("13_shutdown_on_signals");
    let guest = stuck_guest(port);
    signal(&lesson, "INT");
    assert_eq!(lesson.next_line(), "SIGINT: 1 to see off; once more ends it at once");
    signal(&lesson, "TERM");
    let status = lesson.child.wait().expect("it is our child");
    assert_eq!(status.code(), Some(128 + 15), "at once, and not when the deadline is over");
    drop(guest);
}
