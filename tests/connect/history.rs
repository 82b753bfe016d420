//! The history of earlier sessions at a terminal, and what is never in it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::editing::User;
use super::{BUCLE, accept, read_until, server};

/// A state folder of its own, which is removed at the end.
struct State(PathBuf);

impl State {
    fn new(name: &str) -> State {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        State(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("bucle/history")
    }

    fn lines(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// A user of `bucle connect` who has this history.
    fn user(&self, target: &str, flags: &str) -> User {
        let folder = self.0.display();
        User::at(&format!("XDG_STATE_HOME='{folder}' '{BUCLE}' connect {target} {flags}; echo status $?"))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn lines_of_an_earlier_session_come_back_and_can_be_searched() {
    let (listener, target) = server();
    let state = State::new("lines");
    let mut user = state.user(&target, "");
    let stream = accept(&listener);
    user.see("> ");
    user.types("one two\rthree\rexit\r");
    assert_eq!(read_until(&stream, "three\n"), "one two\nthree\n");
    drop(stream);
    user.see("status 0");
    assert_eq!(state.lines(), "one two\nthree\n", "`exit` is no line");
    let mode = fs::metadata(state.file()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut user = state.user(&target, "");
    let stream = accept(&listener);
    user.see("> ");
    user.types("\x1b[A");
    user.see("> three");
    user.types("\x15\x12two");
    user.see("find two: one two");
    user.types("\r");
    assert_eq!(read_until(&stream, "\n"), "one two\n");
    drop(stream);
    user.see("status 0");

    // Without a history nothing is read, and nothing is added.
    let before = state.lines();
    let mut user = state.user(&target, "--no-history");
    let stream = accept(&listener);
    user.see("> ");
    user.types("\x1b[Anew\r");
    assert_eq!(read_until(&stream, "\n"), "new\n");
    drop(stream);
    user.see("status 0");
    assert_eq!(state.lines(), before);
}

#[test]
fn passwords_are_kept_nowhere() {
    let (listener, target) = server();
    let state = State::new("secret");
    let mut user = state.user(&target, "");
    let mut stream = accept(&listener);
    user.see("> ");
    user.types("ana\r");
    assert_eq!(read_until(&stream, "\n"), "ana\n");
    // By telnet's echo, by the text of the prompt, and by a blank.
    for (prompt, shown, typed) in [
        (&b"\xff\xfb\x01your word\n"[..], "your word", "swordfish"),
        (b"\xff\xfc\x01Password:\n", "Password:", "open sesame"),
        (b"welcome\n", "welcome", " hidden"),
    ] {
        stream.write_all(prompt).expect("the client reads");
        user.see(shown);
        user.types(&format!("{typed}\r"));
        assert_eq!(read_until(&stream, "\n"), format!("{typed}\n"));
    }
    stream.write_all(b"more\n").expect("the client reads");
    user.see("more");
    user.types("last\r\x1b[A\x1b[A");
    assert_eq!(read_until(&stream, "\n"), "last\n");
    // Up: `last`, then the line with the blank, which is in the history of this session only; but no password.
    user.see(">  hidden");
    user.types("\x1b[A");
    user.see("> ana");
    drop(stream);
    user.see("status 0");
    assert_eq!(state.lines(), "ana\nlast\n");
}

/// Each key is drawn alone, so that a part of the word would be found.
#[test]
fn a_password_is_not_shown_while_the_echo_is_off() {
    let (listener, target) = server();
    let state = State::new("hidden");
    let mut user = state.user(&target, "");
    let mut stream = accept(&listener);
    user.see("> ");
    stream.write_all(b"\xff\xfb\x01who?\n").expect("the client reads");
    user.see("who?\r\n> ");
    user.types("sword");
    user.types("fish\r");
    assert_eq!(read_until(&stream, "\n"), "swordfish\n");
    stream.write_all(b"\xff\xfc\x01welcome\n").expect("the client reads");
    let shown = user.see("welcome");
    assert!(!shown.contains("> s") && !shown.contains("fish"), "{shown:?}");
    user.types("hola");
    user.see("> hola");
    user.types("\r");
    assert_eq!(read_until(&stream, "\n"), "hola\n");
    drop(stream);
    user.see("status 0");
}

#[test]
fn text_that_comes_while_a_password_is_typed_does_not_bring_it_into_the_history() {
    let (listener, target) = server();
    let state = State::new("interrupted");
    let mut user = state.user(&target, "");
    let mut stream = accept(&listener);
    user.see("> ");
    user.types("ana\r");
    assert_eq!(read_until(&stream, "\n"), "ana\n");
    stream.write_all(b"Password: ").expect("the client reads");
    user.see("Password: ");
    user.types("hunter");
    user.see("hunter");
    stream.write_all(b"\r\n[eva has joined]\r\n").expect("the client reads");
    user.see("[eva has joined]");
    user.types("2\r");
    assert_eq!(read_until(&stream, "\n"), "hunter2\n");
    // The next line is none.
    user.types("hola\r\x1b[A\x1b[A");
    assert_eq!(read_until(&stream, "\n"), "hola\n");
    user.see("> hola");
    user.see("> ana");
    drop(stream);
    user.see("status 0");
    assert_eq!(state.lines(), "ana\nhola\n");
}
