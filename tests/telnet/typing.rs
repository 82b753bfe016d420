//! Clients that send each key: the server edits the line, and shows it if it has promised to.

use super::*;

/// The client agrees that the server shows what is typed: DO ECHO, DO SGA.
const AGREES: &[u8] = b"\xff\xfd\x01\xff\xfd\x03";
/// WILL ECHO, WILL SGA.
const BY_SERVER: &[u8] = b"\xff\xfb\x01\xff\xfb\x03";

/// What is received, with `<` for the erasing of a column.
fn screen(received: &[u8]) -> String {
    String::from_utf8_lossy(received).replace("\x08 \x08", "<")
}

#[test]
fn keys_edit_the_line_wherever_the_reads_fall() {
    // Name, what is sent, the events.
    type Row = (&'static str, &'static [u8], &'static [&'static str]);
    let table: &[Row] = &[
        ("backspace", b"hok\x08la\r\n", &["hola"]),
        ("delete", b"hok\x7fla\r\0", &["hola"]),
        ("characters of several bytes", b"\xc3\xb1\xe2\x82\xac\xf0\x9f\x98\x80\x7f\x08\x7fhola\r\n", &["hola"]),
        ("on an empty line", b"\x7f\x08\x15\x17hola\r\n\x7fadios\r\n", &["hola", "adios"]),
        ("Ctrl-W", b"one two \x17three\r\n", &["one three"]),
        ("Ctrl-U", b"one two\x15three\r\n", &["three"]),
        ("EC", b"ho\xc3\xb1\xff\xf7la\r\n", &["<247>", "hola"]),
        ("EL", b"one two\xff\xf8three\r\n", &["<248>", "three"]),
        ("EC and EL on an empty line", b"\xff\xf7\xff\xf8hola\r\n", &["<247>", "<248>", "hola"]),
        ("a doubled 255", b"ho\xff\xff\x7fla\r\n", &["hola"]),
        ("a command in between", b"hok\xff\xf1\x7fla\r\n", &["<241>", "hola"]),
    ];
    for (name, bytes, want) in table {
        for cut in 0..bytes.len() {
            let mut talk = Talk::new(Options::default());
            if cut > 0 {
                talk.send(&bytes[..cut]);
            }
            talk.send(&bytes[cut..]);
            talk.until(name, |talk| talk.story.borrow().len() >= want.len());
            assert_eq!(*talk.story.borrow(), *want, "{name}, cut at {cut}");
            assert_eq!(talk.received, b"", "{name}, cut at {cut}: nothing is shown");
        }
    }
}

#[test]
fn an_erased_ctrl_d_does_not_end_the_connection_and_one_on_an_emptied_line_does() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"a\x04\x7f\x7fhola\r\n");
    talk.expect_story("erased", &["hola"]);
    talk.send(b"x\x7f\x04");
    talk.expect_end();
    talk.expect_story("the end", &["hola", "<end>"]);
}

#[test]
fn the_limit_of_a_line_counts_what_is_left_of_it() {
    let mut talk = Talk::new(Options { max_line: 4, ..Options::default() });
    talk.send(b"123x\x7f4\r\n");
    talk.send(b"12345\x7f\r\n");
    talk.expect_received(b"line over 4 bytes, good-bye\r\n");
    talk.expect_story("one", &["1234"]);
}

#[test]
fn keys_are_data_for_servers_that_do_not_edit() {
    let bytes = b"a\x7f\x08\x15\x17b\xff\xf7\xff\xf8\r\n";
    let raw = Options { keeps_breaks: true, ..Options::default() };
    let unedited = Options { edits_lines: false, ..Options::default() };
    for (options, want) in [(raw, "a\x7f\x08\x15\x17b\r\n"), (unedited, "a\x7f\x08\x15\x17b")] {
        let mut talk = Talk::new(options);
        let client = talk.client();
        talk.event_loop.enter(|lp| client.set_echo(lp, Echo::ByServer));
        talk.send(AGREES);
        talk.expect_received(BY_SERVER);
        talk.story.borrow_mut().clear();
        talk.received.clear();
        talk.send(bytes);
        talk.until("the line", |talk| talk.story.borrow().iter().any(|line| line == want));
        assert_eq!(talk.received, b"", "nothing is sent back");
    }
}

/// The recipe with `enable` and `disable`. Some clients send each key from the WILL ECHO on.
#[test]
fn a_password_with_a_mistake_and_a_backspace_is_right_and_not_shown() {
    let keys = b"echo\r\n\xff\xfd\x01sexc\x7f\x7fcret\r\0no echo\r\n\xff\xfe\x01";
    for cut in 0..keys.len() {
        let mut talk = Talk::new(Options::default());
        if cut > 0 {
            talk.send(&keys[..cut]);
        }
        talk.send(&keys[cut..]);
        talk.expect_received(b"\xff\xfb\x01\xff\xfc\x01");
        talk.expect_story("a password", &["echo", "<Us 1 true>", "secret", "no echo", "<Us 1 false>"]);
    }
}

#[test]
fn nothing_is_shown_unless_the_program_has_called_set_echo() {
    let policy = Policy::REFUSE_ALL.allow(Side::Us, option::ECHO).allow(Side::Us, option::SGA);
    // The program switches the options on itself, or the client asks for them.
    for (options, opening) in [(Options::default(), &b"both\r\n"[..]), (Options { policy, ..Options::default() }, b"")]
    {
        let mut talk = Talk::new(options);
        talk.send(opening);
        talk.send(AGREES);
        talk.expect_received(BY_SERVER);
        talk.send(b"hok\x7fla\r\n");
        talk.until("the line", |talk| talk.story.borrow().iter().any(|line| line == "hola"));
        assert_eq!(talk.received, BY_SERVER);
    }
}

impl Talk {
    /// The client has agreed that the server shows what is typed.
    fn shown_by_server() -> Talk {
        let mut talk = Talk::new(Options::default());
        talk.send(b"by server\r\n");
        talk.send(AGREES);
        talk.until("the options", |talk| talk.received.len() >= BY_SERVER.len() && talk.story.borrow().len() == 3);
        assert_eq!(talk.received, BY_SERVER);
        assert_eq!(*talk.story.borrow(), ["by server", "<Us 1 true>", "<Us 3 true>"]);
        talk.story.borrow_mut().clear();
        talk.received.clear();
        talk
    }

    fn expect_screen(&mut self, want: &str) {
        self.until("the screen", |talk| screen(&talk.received).len() >= want.len());
        self.settle();
        assert_eq!(screen(&self.received), want);
    }
}

#[test]
fn typed_characters_are_shown_and_erased_wherever_the_reads_fall() {
    // Name, what is typed, what is shown, the line.
    type Row = (&'static str, &'static str, &'static str, &'static str);
    let table: &[Row] = &[
        ("a line", "hola\r\0", "hola\r\n", "hola"),
        ("backspace", "hok\x7fla\r\0", "hok<la\r\n", "hola"),
        ("two bytes, one column", "hoñ\x7fla\r\0", "hoñ<la\r\n", "hola"),
        ("three bytes, two columns", "ho漢\x08la\r\0", "ho漢<<la\r\n", "hola"),
        ("four bytes, two columns", "ho😀\x7fla\r\0", "ho😀<<la\r\n", "hola"),
        ("Ctrl-W", "uno dos\x17tres\r\0", "uno dos<<<tres\r\n", "uno tres"),
        ("Ctrl-U", "漢a\x15hola\r\0", "漢a<<<hola\r\n", "hola"),
        ("nothing to erase", "\x7f\x08\x15\x17hola\r\0", "hola\r\n", "hola"),
        ("an escape sequence", "\x1b[2J\r\0", "␛[2J\r\n", "\x1b[2J"),
        ("a tab", "a\tb\x7f\x7fc\r\0", "a b<<c\r\n", "ac"),
        ("an empty line", "\r\0", "\r\n", ""),
    ];
    for (name, typed, shown, line) in table {
        for cut in 0..typed.len() {
            let mut talk = Talk::shown_by_server();
            if cut > 0 {
                talk.send(&typed.as_bytes()[..cut]);
            }
            talk.send(&typed.as_bytes()[cut..]);
            talk.until(name, |talk| talk.story.borrow().len() == 1 && screen(&talk.received).len() >= shown.len());
            assert_eq!(screen(&talk.received), *shown, "{name}, cut at {cut}");
            assert_eq!(*talk.story.borrow(), [*line], "{name}, cut at {cut}");
        }
    }
}

#[test]
fn erase_commands_are_shown_too() {
    let mut talk = Talk::shown_by_server();
    talk.send("hoñ".as_bytes());
    talk.send(b"\xff\xf7la\xff\xf8adios\r\n");
    talk.expect_screen("hoñ<la<<<<adios\r\n");
    talk.expect_story("the line", &["<247>", "<248>", "adios"]);
}

/// The answer to a line comes behind its line break.
#[test]
fn lines_typed_ahead_are_shown_before_their_answers() {
    let mut talk = Talk::shown_by_server();
    talk.send(b"255\r\n255\r\nx");
    talk.expect_story("two", &["255", "255"]);
    talk.settle();
    assert_eq!(talk.received, b"255\r\n\xff\xff\r\n255\r\n\xff\xff\r\nx");
}

#[test]
fn a_password_is_hidden_in_character_mode() {
    let mut talk = Talk::shown_by_server();
    talk.send(b"hidden\r\0");
    talk.send(b"sexc");
    talk.send(b"\x7f\x7fcret\r\0");
    talk.expect_story("the password", &["hidden", "secret"]);
    talk.send(b"hixd");
    talk.send(b"\x15by server\r\0");
    talk.send(b"hok\x7fla\r\0");
    talk.expect_story("shown again", &["hidden", "secret", "by server", "hola"]);
    assert_eq!(screen(&talk.received), "hidden\r\nhok<la\r\n");
}

/// From line mode: the client shows what is typed, then nothing, then the client again.
#[test]
fn a_password_is_hidden_in_line_mode() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"hidden\r\n\xff\xfd\x01sexc\x7f\x7fcret\r\0by client\r\n\xff\xfe\x01hola\r\n");
    talk.expect_story("hidden", &["hidden", "<Us 1 true>", "secret", "by client", "<Us 1 false>", "hola"]);
    assert_eq!(talk.received, b"\xff\xfb\x01\xff\xfc\x01");
}

#[test]
fn the_client_can_show_it_itself_again() {
    let mut talk = Talk::shown_by_server();
    talk.send(b"by client\r\0");
    talk.expect_received(b"by client\r\n\xff\xfc\x01\xff\xfc\x03");
    talk.send(b"\xff\xfe\x01\xff\xfe\x03hok\x7fla\r\n");
    talk.expect_story("line mode", &["by client", "<Us 1 false>", "<Us 3 false>", "hola"]);
    assert_eq!(talk.received, b"by client\r\n\xff\xfc\x01\xff\xfc\x03");
}

#[test]
fn a_client_that_does_not_agree_goes_on_showing_it_itself() {
    // Name, the client's answers, what it is sent in all.
    type Row = (&'static str, &'static [u8], &'static [u8]);
    let table: &[Row] = &[
        ("no answer, as from nc", b"", BY_SERVER),
        ("it refuses both", b"\xff\xfe\x01\xff\xfe\x03", BY_SERVER),
        ("it refuses ECHO", b"\xff\xfe\x01\xff\xfd\x03", BY_SERVER),
        ("it has not answered about SGA", b"\xff\xfd\x01", BY_SERVER),
        ("it refuses SGA, so ECHO is taken back", b"\xff\xfd\x01\xff\xfe\x03", b"\xff\xfb\x01\xff\xfb\x03\xff\xfc\x01"),
        ("it refuses SGA first", b"\xff\xfe\x03\xff\xfd\x01", b"\xff\xfb\x01\xff\xfb\x03\xff\xfc\x01"),
    ];
    for (name, answers, sent) in table {
        let mut talk = Talk::new(Options::default());
        talk.send(b"by server\r\n");
        talk.send(&[*answers, b"hok\x7fla\r\n"].concat());
        talk.until(name, |talk| talk.story.borrow().iter().any(|line| line == "hola"));
        talk.settle();
        assert_eq!(talk.received, *sent, "{name}");
    }
}

/// What was typed before the client agreed is on the screen already.
#[test]
fn only_what_the_server_has_shown_is_taken_from_the_screen() {
    let mut talk = Talk::new(Options::default());
    talk.send(b"by server\r\nab");
    talk.send(AGREES);
    talk.send(b"cd\x7f\x7f\x7f\x7fhola\r\0");
    talk.expect_story("agreed", &["by server", "<Us 1 true>", "<Us 3 true>", "hola"]);
    assert_eq!(screen(&talk.received[BY_SERVER.len()..]), "cd<<hola\r\n");
}

/// A client that sends and does not read: what it types is not read any longer.
#[test]
fn an_echo_that_is_not_read_stops_the_reading() {
    const KEYS: usize = 16 * 1024 * 1024;
    let mut talk = Talk::shown_by_server();
    let client = talk.client();
    let keys = b"xxxxxxxx\x15".repeat(1000);
    let (mut sent, limit) = (0, Instant::now() + LIMIT);
    // Not `talk.turn()`, which reads.
    while !talk.event_loop.enter(|lp| client.socket().needs_drain(lp) && client.socket().is_paused(lp)) {
        sent += talk.peer.write(&keys).unwrap_or(0);
        assert!(sent < KEYS && Instant::now() < limit, "the server goes on reading");
        talk.event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    assert!(talk.event_loop.enter(|lp| client.socket().writable_length(lp)) < OUTBOX_LIMIT);
}

/// BusyBox's telnet sends each key as soon as the server has promised to show it. After a WONT ECHO it sends lines, and
/// agrees to no further WILL ECHO.
#[test]
fn a_real_busybox_is_edited_by_the_server() {
    if !is_there("busybox") || !is_there("script") {
        return;
    }
    let recipe = [
        ("echo\r", "<Us 1 true>"),
        ("sexc\x7f\x7fcret ñ\x7f€\r", "secret €"),
        ("no echo\r", "<Us 1 false>"),
        ("visible\r", "visible"),
        ("end\r", "<close>"),
    ];
    let shown = in_terminal("busybox telnet 127.0.0.1", &recipe);
    assert!(shown.contains("visible") && !shown.contains("sex") && !shown.contains("cret"), "{shown:?}");
    is_edited_by_the_server("busybox telnet 127.0.0.1");
}

/// The same with the telnet of Debian, which edits lines itself unless the server shows them.
#[test]
fn a_real_telnet_is_edited_by_the_server() {
    if !is_there("telnet") || !is_there("script") {
        return;
    }
    is_edited_by_the_server("telnet 127.0.0.1");
}

/// Lines with corrections, one of them hidden. The terminal of `client` shows what the server shows and erases.
#[track_caller]
fn is_edited_by_the_server(client: &str) {
    let steps = [
        ("by server\r", "<Us 3 true>"),
        ("hok\x7fla ñ\x7fx\r", "hola x"),
        ("hidden\r", "hidden"),
        ("unsefn\x7fen\r", "unsefen"),
        ("by client\r", "<Us 3 false>"),
        ("visible\r", "visible"),
        ("end\r", "<close>"),
    ];
    let shown = in_terminal(client, &steps);
    assert!(shown.contains("visible") && !shown.contains("unse"), "{shown:?}");
    assert!(shown.replace("\x08 \x08", "<").contains("hok<la ñ<x\r\n"), "{shown:?}");
}
