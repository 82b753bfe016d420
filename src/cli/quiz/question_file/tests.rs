//! Programs of files run on the real loop, and a program that is no question is refused.

use super::*;
use crate::cli::quiz::stage;

const CONVERSATION: &str = "title t\nserver\n on connection\n  end hola\nconnect\n on connect\n  print connect\n  \
                            end\n   print callback\n on data\n  print data\n  immediate\n   print immediate\n on close\n  print close\n";

fn order(text: &str) -> Vec<String> {
    let Ok(questions) = questions(text, Language::English) else { panic!("it is right: {text}") };
    let run = stage::run(|lp| questions[0].program.start(lp), questions[0].time).expect("it runs");
    run.order().into_iter().map(str::to_owned).collect()
}

#[test]
fn programs_run_on_the_loop() {
    let table: &[(&str, &[&str])] = &[
        ("title t\nmicrotask\n print micro\ntick\n print tick\nprint main\n", &["main", "tick", "micro"]),
        ("title t\nimmediate\n print immediate\ntimeout 1\n print timeout\nwork 5\n", &["timeout", "immediate"]),
        // Time by hand: an hour of timeouts takes no time, and an immediate does not wait for a timer.
        (
            "title t\ntimeout 60000\n print late\ntimeout 1000\n print early\nimmediate\n print now\n",
            &["now", "early", "late"],
        ),
        (CONVERSATION, &["connect", "callback", "data", "immediate", "close"]),
        (
            "title t\nserver\nconnect\n on connect\n  print connect\n  timeout 50\n   print timeout\n   destroy\n",
            &["connect", "timeout"],
        ),
    ];
    for (text, want) in table {
        assert_eq!(order(text), *want, "{text}");
    }
}

#[test]
fn an_end_after_an_end_is_no_write_and_has_its_callback() {
    let twice = "title t\nserver\n on connection\n  end\nconnect\n on connect\n  end\n   print one\n  end\n   print two\n  \
                 tick\n   print tick\n  print connected\n on finish\n  print finish\n on close\n  print closed\n";
    assert_eq!(order(twice), ["connected", "tick", "one", "two", "finish", "closed"]);
    let text_first = "title t\nserver\n on data\n  end adios\nconnect\n on connect\n  print connect\n  end hola\n  end\n \
                      on data\n  print data\n on end\n  print end\n on finish\n  print finish\n on close\n  print close\n";
    assert_eq!(order(text_first), ["connect", "finish", "data", "end", "close"]);
}

#[test]
fn each_write_is_sent_at_once_so_the_second_one_to_a_closed_peer_fails() {
    let program = "title t\nserver\n on connection\n  destroy\nconnect\n on connect\n  print connected\n  write hi\n  end bye\n \
                   on error\n  print error\n on close\n  print closed\n";
    assert_eq!(order(program), ["connected", "error", "closed"]);
}

#[test]
fn a_callback_is_named_by_its_call() {
    let Ok(questions) = questions(CONVERSATION, Language::English) else { panic!("it is right") };
    let owner = questions[0].program.owner_of_callback("callback").expect("it is the callback of an end");
    assert_eq!((&*owner.method, owner.nth), ("end", Some(1)), "the first one is in the server");
    let names = questions[0].program.node_names(Language::English);
    assert!(names.contains(&"on close = socket.on('close')".to_owned()), "{names:?}");
    assert!(!names.contains(&"tick = process.nextTick".to_owned()), "{names:?}");
}

#[test]
fn a_program_that_is_no_question_is_refused() {
    let table: &[(&str, usize, &str)] = &[
        (
            "title t\nprint main\nserver\nconnect\n on error\n  print error\n on connect\n  destroy\n",
            6,
            "\"error\" is never printed",
        ),
        (
            "title t\nserver\n on connection\n  write one\n  timeout 5\n   end two\nconnect\n on data\n  print data\n on close\n  print close\n",
            9,
            "\"data\" is printed 2 times",
        ),
        (
            "title t\nprint main\nserver\nconnect\n on connect\n  print connect\n",
            2,
            "it does not end; each connection must be ended",
        ),
        (
            "title t\nprint main\nserver\n on data\n  write ping\nconnect\n on connect\n  write first\n  print connect\n on data\n  write pong\n",
            2,
            "it does not end",
        ),
    ];
    for (text, line, want) in table {
        let Err(mistake) = questions(text, Language::English) else { panic!("it is refused: {text}") };
        assert_eq!((mistake.line, mistake.sentence.contains(want)), (*line, true), "{}", mistake.sentence);
    }
}

const UNREAD: &str = "nothing reads them, so `end` does not come, as in Node; add an `on data`";

/// The mistake of a file.
fn mistake(text: &str) -> Mistake {
    let Err(mistake) = questions(text, Language::English) else { panic!("it is refused: {text}") };
    mistake
}

#[test]
fn bytes_that_nothing_reads_hold_back_the_end_and_the_program_is_refused_with_the_line_of_the_side() {
    let table: &[(&str, usize)] = &[
        // Node prints nothing, and does not end.
        ("server\n on connection\n  end hola\nconnect\n on end\n  print ended\n on close\n  print closed\n", 5),
        (
            "server\n on connection\n  print accepted\n on end\n  print ended\n on close\n  print closed\nconnect\n \
             on connect\n  end hola\n",
            2,
        ),
        (
            "server\n on connection\n  write hola\n  immediate\n   destroy\nconnect\n on connect\n  print connect\n \
             on close\n  print close\n",
            7,
        ),
        // The client ends, but not by the end of its peer.
        (
            "server\n on connection\n  end hola\nconnect\n on connect\n  timeout 50\n   destroy\n on end\n  print ended\n \
             on close\n  print closed\n",
            5,
        ),
    ];
    for (program, line) in table {
        let mistake = mistake(&format!("title t\n{program}"));
        assert_eq!((mistake.line, mistake.sentence.contains(UNREAD)), (*line, true), "{}", mistake.sentence);
    }
}

#[test]
fn a_side_without_on_data_ends_if_no_bytes_come_or_if_it_is_destroyed() {
    let no_bytes =
        "title t\nserver\n on connection\n  end\nconnect\n on end\n  print ended\n on close\n  print closed\n";
    assert_eq!(order(no_bytes), ["ended", "closed"]);
    let destroyed = "title t\nserver\n on connection\n  end hola\nconnect\n on connect\n  print connect\n  timeout 50\n   \
                     destroy\n on close\n  print closed\n";
    assert_eq!(order(destroyed), ["connect", "closed"]);
}

#[test]
fn an_error_that_nothing_handles_ends_the_program_and_is_refused_with_its_code_and_the_line_of_the_side() {
    let table: &[(&str, usize, &str)] = &[
        // Node prints "connected", and exits with 1.
        (
            "server\n on connection\n  destroy\nconnect\n on connect\n  end\n  write more\n  print connected\n on close\n  \
             print closed\n",
            5,
            "ERR_STREAM_WRITE_AFTER_END",
        ),
        (
            "server\n on connection\n  print accepted\n  end\n  write more\nconnect\n on connect\n  work 0\nprint main\n",
            2,
            "ERR_STREAM_WRITE_AFTER_END",
        ),
        (
            "server\n on connection\n  end\nconnect\n on connect\n  print connected\n on end\n  end bye\n  end adios\n \
             on close\n  print closed\n",
            5,
            "ERR_STREAM_WRITE_AFTER_END",
        ),
    ];
    for (program, line, code) in table {
        let mistake = mistake(&format!("title t\n{program}"));
        let want = format!("the error {code} arrives here, where no `on error` handles it, and ends the program");
        assert_eq!((mistake.line, mistake.sentence.contains(&want)), (*line, true), "{}", mistake.sentence);
    }
    let handled = table[0].0.replace(" on close", " on error\n  print error\n on close");
    assert_eq!(order(&format!("title t\n{handled}")), ["connected", "error", "closed"]);
}

#[test]
fn an_order_that_depends_on_the_speed_of_the_computer_is_refused_and_names_the_lines_of_the_race() {
    let table: &[(&str, usize, &str)] = &[
        // Node 20 has printed both orders of each.
        ("timeout 0\n print timer\nimmediate\n print immediate\n", 5, "\"immediate\" and \"timer\" are a race"),
        (
            "immediate\n print immediate\ntimeout 5\n print timer\nprint main\n",
            5,
            "\"immediate\" and \"timer\" are a race",
        ),
        (
            "microtask\n timeout 2\n  print timer\nimmediate\n print immediate\n",
            6,
            "\"immediate\" and \"timer\" are a race",
        ),
        ("tick\n tick\n  timeout 0\n   print timer\nimmediate\n print immediate\n", 7, "are a race"),
        ("timeout 6\n print six\ntimeout 5\n print five\n", 5, "\"five\" and \"six\" are a race"),
        (
            "timeout 5\n print one\n immediate\n  print immediate\ntimeout 5\n print two\n",
            7,
            "\"two\" and \"immediate\" are a race",
        ),
        ("timeout 5\n print five\nimmediate\n timeout 4\n  print four\n", 6, "\"four\" and \"five\" are a race"),
        ("timeout 5\n print five\nwork 4\nimmediate\n print immediate\n", 6, "\"immediate\" and \"five\" are a race"),
        (
            "server\n on connection\n  end hola\nconnect\n on connect\n  timeout 1\n   print timer\n on data\n  print data\n",
            10,
            "\"data\" and \"timer\" are a race",
        ),
        // The timer may be first, and then the data never comes.
        (
            "server\n on connection\n  end hola\nconnect\n on connect\n  timeout 1\n   destroy\n on data\n  print data\n on \
             close\n  print close\n",
            10,
            "what is printed depends on how fast the computer is",
        ),
    ];
    for (program, line, want) in table {
        let mistake = mistake(&format!("title t\n{program}"));
        assert_eq!((mistake.line, mistake.sentence.contains(want)), (*line, true), "{program}: {}", mistake.sentence);
    }
}

#[test]
fn times_that_differ_clearly_or_that_work_passes_are_no_race() {
    let table: &[(&str, &[&str])] = &[
        ("timeout 0\n print timer\nimmediate\n print immediate\nwork 5\n", &["timer", "immediate"]),
        ("timeout 25\n print late\ntimeout 20\n print early\nimmediate\n print now\n", &["now", "early", "late"]),
        (
            "timeout 5\n print one\n immediate\n  print immediate\ntimeout 5\n print two\nwork 10\n",
            &["one", "two", "immediate"],
        ),
        (
            "server\n on connection\n  end hola\nconnect\n on connect\n  timeout 100\n   print timer\n on data\n  print \
             data\n on close\n  print close\n",
            &["data", "close", "timer"],
        ),
        (
            "server\nconnect\n on connect\n  timeout 0\n   print timer\n  immediate\n   print immediate\n   destroy\n",
            &["immediate", "timer"],
        ),
    ];
    for (program, want) in table {
        assert_eq!(order(&format!("title t\n{program}")), *want, "{program}");
    }
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark() {
    assert_eq!(order("\u{feff}title t\nprint one\nprint two\n"), ["one", "two"]);
    assert_eq!(order("\u{feff}# a comment\r\ntitle t\r\nprint one\r\nprint two\r\n"), ["one", "two"]);
    assert!(mistake("title t\nprint one\n\u{feff}print two\n").sentence.starts_with("there is no `\\u{feff}print`"));
}

#[test]
fn a_program_that_depends_on_which_socket_is_served_first_is_refused() {
    // If the client is served first, it gets "hello" and "hi" one after the other, and its second write fails. Node
    // serves the client first, and bucle the server.
    let program = "title t\nserver\n on connection\n  microtask\n   write hello\n on data\n  write hi\n  destroy\nconnect\n on \
                   connect\n  print connected\n  immediate\n   write hello\n    print written\n on data\n  write hello\n  end\n   \
                   print ended\n";
    let mistake = mistake(program);
    let want = "what is printed depends on which side of a connection is served first";
    assert_eq!((mistake.line, mistake.sentence.contains(want)), (11, true), "{}", mistake.sentence);
}

#[test]
fn a_reset_that_arrives_together_with_bytes_is_refused_because_node_reports_an_end_there() {
    // The client closes with the unread "hi" of the server.
    let program = "title t\nserver\n on connection\n  print accepted\n  write hi\n on data\n  print data\n on end\n  print \
                   ended\n on error\n  work 0\n on close\n  print closed\nconnect\n on connect\n  immediate\n   write hi\n   \
                   destroy\n";
    let mistake = mistake(program);
    let want = "a reset arrives here together with bytes";
    assert_eq!((mistake.line, mistake.sentence.contains(want)), (2, true), "{}", mistake.sentence);
}
