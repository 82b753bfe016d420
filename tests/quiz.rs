//! `bucle quiz` as a process. The right orders come from Node: node v20.20.2 printed them, running the same programs in
//! JavaScript (`tests/quiz/oracle.js`, which prints the table again).
#![cfg(all(unix, feature = "cli"))]

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The orders that node v20.20.2 printed. Question 8 is missing: it is a race and has no fixed order.
const NODE: [(usize, &[&str]); 19] = [
    (1, &["main", "tick", "microtask"]),
    (2, &["first tick", "second tick", "nested tick", "microtask"]),
    (3, &["first", "second", "third", "tick"]),
    (4, &["first", "tick", "second", "nested"]),
    (5, &["one", "zero", "five", "ten", "ten again"]),
    (6, &["first", "tick", "microtask", "second"]),
    (7, &["main", "tick", "timeout", "immediate"]),
    (9, &["first", "second", "immediate", "nested"]),
    (10, &["connect", "tick", "immediate", "timeout"]),
    (11, &["destroyed", "tick", "immediate", "close"]),
    (12, &["data", "tick", "immediate", "end", "close"]),
    (13, &["third", "tick of the third", "second", "first", "tick of the first"]),
    (14, &["tick before", "error", "tick after", "immediate", "close"]),
    (15, &["tick", "callback", "finish", "end", "close"]),
    (16, &["connect", "tick before", "written", "tick after", "microtask"]),
    (17, &["ten", "another ten", "twenty"]),
    (18, &["tick", "drain", "much", "little"]),
    (19, &["tick before", "server", "tick after", "immediate", "socket"]),
    (20, &["data", "tick", "microtask", "immediate", "late tick", "close", "timeout", "nested"]),
];

const RACE: usize = 8;

const BUCLE: &str = env!("CARGO_BIN_EXE_bucle");

struct Finished {
    status: Option<i32>,
    /// Without line breaks, because their places depend on the width of the text.
    stdout: String,
    stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Finished {
        let words = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Finished { status: output.status.code(), stdout: words(&output.stdout), stderr: words(&output.stderr) }
    }
}

/// Runs `bucle quiz` with `input` on its standard input, which is a pipe.
fn quiz(args: &[&str], input: &str) -> Finished {
    let mut command = Command::new(BUCLE);
    command.arg("quiz").args(args);
    run(&mut command, input)
}

fn run(command: &mut Command, input: &str) -> Finished {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("the pipe was requested");
    // The process may end without reading its input, then this fails.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the process is a child").into()
}

fn answered(number: usize, answer: &str) -> Finished {
    quiz(&[&number.to_string(), "--answer", answer], "")
}

#[test]
fn the_steps_of_a_program_print_its_lines_in_their_order() {
    for (number, lines) in NODE {
        let finished = quiz(&[&number.to_string(), "--step"], "");
        let printed: Vec<&str> =
            finished.stdout.split("prints \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(printed, lines, "question {number}: {}", finished.stdout);
        assert_eq!((finished.status, finished.stderr.as_str()), (Some(0), ""));
    }
    let steps = quiz(&["4", "--step"], "").stdout;
    assert!(steps.contains("turn 1 check next: immediate, caused by main immediates 1 prints \"first\""), "{steps}");
    assert_eq!(quiz(&[&RACE.to_string(), "--step"], "").status, Some(0));
    for args in [&["list", "--step"][..], &["--step"], &["1", "--step", "--answer", "a b c"]] {
        assert_eq!(quiz(args, "").status, Some(2), "{args:?}");
    }
}

#[test]
fn nodes_order_is_right() {
    for (number, order) in NODE {
        let outcome = answered(number, &order.join(", "));
        assert_eq!(outcome.status, Some(0), "{number}: {} {}", outcome.stdout, outcome.stderr);
        assert!(outcome.stdout.starts_with("¡Muy bien!"), "{number}: {}", outcome.stdout);
    }
}

#[test]
fn two_swapped_lines_are_wrong_and_reported() {
    for (number, order) in NODE {
        for place in 1..order.len() {
            let mut swapped = order.to_vec();
            swapped.swap(place - 1, place);
            let outcome = answered(number, &swapped.join(", "));
            assert_eq!(outcome.status, Some(4), "{number}: {swapped:?}");
            let (ran, expected) = (order[place - 1], order[place]);
            let difference = format!("Line {place}: you expected \"{expected}\", the loop ran \"{ran}\".");
            assert!(outcome.stdout.contains(&difference), "{number}: {difference} in {}", outcome.stdout);
            let reason = &outcome.stdout[outcome.stdout.find(&difference).unwrap_or_default() + difference.len()..];
            assert!(reason.contains("ran ") && reason.contains(&format!("\"{ran}\"")), "{number}: {reason}");
            assert!(!reason.contains("has lost") && !reason.contains("does not contain"), "{number}: {reason}");
        }
    }
}

#[test]
fn the_reason_names_phase_and_turn() {
    let outcome = answered(4, "first, tick, nested, second");
    let want = "\"second\" ran in turn 1, check phase; \"nested\" in turn 2, check phase. \
                An immediate scheduled in the check phase waits for the check phase of the next turn.";
    assert!(outcome.stdout.contains(want), "{}", outcome.stdout);
    // The turn of the connection depends on the kernel.
    let outcome = answered(10, "connect, tick, timeout, immediate");
    for part in ["\"immediate\" ran in turn", "check phase; \"timeout\" in turn", "comes after the check phase."] {
        assert!(outcome.stdout.contains(part), "{}", outcome.stdout);
    }
}

#[test]
fn a_race_accepts_both_orders_and_explains_why() {
    for answer in ["a b", "b a", "timeout immediate"] {
        let outcome = answered(RACE, answer);
        assert_eq!(outcome.status, Some(0), "{answer}: {}", outcome.stderr);
        for part in ["Every answer is right here.", "In 100 runs just now", "a race by design, in Node too"] {
            assert!(outcome.stdout.contains(part), "{answer}: {}", outcome.stdout);
        }
    }
}

#[test]
fn an_answer_can_be_letters() {
    for answer in ["b c a", "bca", "B,C,A", "b > c > a"] {
        assert_eq!(answered(1, answer).status, Some(0), "{answer}");
    }
    assert_eq!(answered(1, "abc").status, Some(4));
}

#[test]
fn an_answer_that_is_not_an_order_gets_an_error() {
    let table: &[(&str, &[&str], &str, &str)] = &[
        ("an unknown word", &["1", "--answer", "main tock"], "", "error: there is no line \"tock\"; the lines are"),
        ("a line is missing", &["1", "--answer", "b c"], "", "error: a (\"microtask\") is missing"),
        ("a line is named twice", &["1", "--answer", "b c b a"], "", "error: b (\"main\") is named twice"),
        ("nothing", &["1", "--answer", ""], "", "error: an answer names the lines"),
        ("an unknown word in a pipe", &["1"], "main tock\n", "error: there is no line \"tock\""),
        ("a command instead of an order", &["1", "--answer", "hint"], "", "no answer was given"),
        ("quit", &["1", "--answer", "quit"], "", "no answer was given"),
        ("an empty pipe", &["1"], "", "no answer was given"),
        ("quit in a pipe", &["1"], "quit\n", "no answer was given"),
    ];
    for (name, args, input, want) in table {
        let outcome = quiz(args, input);
        assert_eq!(outcome.status, Some(4), "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(want), "{name}: {}", outcome.stderr);
    }
}

#[test]
fn an_unknown_question_is_a_usage_error() {
    let table: &[(&str, &[&str], &str, &str)] = &[
        ("no such number", &["21"], "", "write a number from 1 to 20, or list try: bucle quiz list"),
        ("zero", &["0"], "", "write a number from 1 to 20, or list try: bucle quiz list"),
        ("no number", &["timers"], "", "there is no question timers: write a number from 1 to 20, or list"),
        ("no such file", &["--file", "/nowhere"], "", "cannot read /nowhere: there is no such file"),
        ("an answer to the list", &["list", "--answer", "a"], "", "--answer needs the number"),
        ("an answer to nothing", &["--answer", "a"], "", "required"),
    ];
    for (name, args, input, want) in table {
        let outcome = quiz(args, input);
        assert_eq!(outcome.status, Some(2), "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(want), "{name}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("panicked"), "{name}: {}", outcome.stderr);
    }
}

#[test]
fn the_list_has_numbers_difficulties_and_titles() {
    let output = Command::new(BUCLE).args(["quiz", "list"]).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((output.status.code(), lines.len()), (Some(0), 20));
    assert_eq!(lines[0], " 1  *      main body, tick, microtask");
    assert_eq!(lines[19], "20  *****  once around the loop");
}

#[test]
fn an_answer_can_be_piped_and_the_question_is_shown() {
    let right = quiz(&["4"], "first, tick, second, nested\n");
    assert_eq!(right.status, Some(0), "{}", right.stderr);
    for part in ["Question 4 of 20", "a print(lp, \"first\");", "set_immediate = setImmediate", "¡Muy bien!"] {
        assert!(right.stdout.contains(part), "{part}: {}", right.stdout);
    }
    assert_eq!(quiz(&["4"], "abcd").status, Some(4));
    let hinted = quiz(&["4"], "hint\nfirst, tick, second, nested\n");
    assert_eq!(hinted.status, Some(0), "{}", hinted.stderr);
    assert!(hinted.stdout.contains("The check phase runs the immediates that existed when it began."));
    let given_up = quiz(&["4"], "why\n");
    assert_eq!(given_up.status, Some(4));
    assert!(given_up.stdout.contains("The loop ran a c d b:"), "{}", given_up.stdout);
}

#[test]
fn all_questions_in_order_keep_score() {
    let mut answers: Vec<String> = NODE.iter().map(|(_, order)| order.join(", ")).collect();
    answers.insert(RACE - 1, "timeout, immediate".to_owned());
    let all = quiz(&[], &answers.join("\n"));
    assert_eq!(all.status, Some(0), "{}", all.stderr);
    assert!(all.stdout.contains("20 of 20 right. ¡Muy bien!"), "{}", all.stdout);
    answers[2] = "tick, first, second, third".to_owned();
    answers.truncate(5);
    let some = quiz(&[], &answers.join("\n"));
    assert_eq!(some.status, Some(4), "{}", some.stderr);
    for part in ["Score: 2 of 2", "Score: 2 of 3", "Score: 4 of 5", "4 of 6 right, and 14 not asked."] {
        assert!(some.stdout.contains(part), "{part}: {}", some.stdout);
    }
}

#[test]
fn a_question_left_open_is_not_right() {
    let right: Vec<String> = NODE[..3].iter().map(|(_, order)| order.join(", ")).collect();
    let some = quiz(&[], &right.join("\n"));
    assert_eq!(some.status, Some(4), "{}", some.stderr);
    assert!(some.stdout.contains("3 of 4 right, and 16 not asked."), "{}", some.stdout);
    let none = quiz(&[], "");
    assert_eq!(none.status, Some(4), "{}", none.stdout);
    assert!(none.stderr.contains("no answer was given"), "{}", none.stderr);
}

#[test]
fn a_callback_is_shown_with_its_call() {
    let given_up = answered(18, "why");
    for part in ["the callback of the first write", "the callback of the second write"] {
        assert!(given_up.stdout.contains(part), "{part}: {}", given_up.stdout);
    }
}

/// Runs `bucle quiz` in a new terminal, and adds its exit code to the output.
fn typed(args: &str, input: &str) -> Finished {
    typed_in("C", args, input)
}

/// As [`typed`], in a terminal with this language.
fn typed_in(language: &str, args: &str, input: &str) -> Finished {
    let mut script = Command::new("script");
    script
        .args([
            "--quiet",
            "--flush",
            "--return",
            "--command",
            &format!("'{BUCLE}' quiz {args}; echo status $?"),
            "/dev/null",
        ])
        .env("SHELL", "/bin/sh")
        .env("LC_ALL", language);
    run(&mut script, input)
}

/// The program keeps its lines.
#[test]
fn text_is_as_wide_as_the_terminal() {
    for (language, args) in [("C", "1"), ("es_ES.UTF-8", "1"), ("C", "list"), ("es_ES.UTF-8", "1 --step"), ("C", "99")]
    {
        let command = format!("stty cols 40; exec '{BUCLE}' quiz {args}");
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &command, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("LC_ALL", language)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` starts");
        let mut stdin = child.stdin.take().expect("the pipe was requested");
        let _ = stdin.write_all(b"help\nmicrotask tick main\nwhy\n\n\n\n");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout);
        let is_program = |row: &str| row.contains("(lp") || row.contains("lp.");
        // The terminal has echoed all input before the first prompt.
        let mut rows = text.lines().map(|row| row.trim_start_matches("> "));
        let wide = rows.find(|row| row.chars().count() > 40 && !is_program(row));
        assert_eq!(wide, None, "{args}: {text}");
        assert!(text.lines().count() > 2, "{args}: {text}");
    }
}

#[test]
fn the_exit_code_is_the_same_at_a_terminal_and_in_a_pipe() {
    let table = [
        ("wrong, then quit", "1", "tick main microtask\nquit\n", 4),
        ("skipped", "1", "next\n", 4),
        ("right", "1", "main tick microtask\n", 0),
        ("quit immediately", "1", "quit\n", 4),
        ("right, then quit at the next question", "", "main tick microtask\nquit\n", 4),
        ("wrong, then quit, with all questions", "", "tick main microtask\nquit\n", 4),
        ("not an order, then quit", "1", "mean\nquit\n", 4),
    ];
    for (name, args, input, want) in table {
        let session = typed(args, input);
        assert!(session.stdout.ends_with(&format!("status {want}")), "{name}: {}", session.stdout);
        let args: Vec<&str> = args.split_whitespace().collect();
        assert_eq!(quiz(&args, input).status, Some(want), "{name}");
    }
    // At a terminal the user may try again, but the exit code stays.
    let session = typed("1", "tick main microtask\nmain tick microtask\n");
    assert!(session.stdout.ends_with("status 4"), "{}", session.stdout);
    // At the end of its input `script` sends Ctrl-D.
    let session = typed("1", "");
    assert!(session.stdout.ends_with("status 4"), "{}", session.stdout);
}

#[test]
fn escape_sequences_of_keys_are_not_part_of_an_answer() {
    assert_eq!(quiz(&["1"], "\x1b[Amain tick\x1b[1;5D microtask\x1bOB\n").status, Some(0));
    let session = typed("1", "\x1b[A\nquit\n");
    assert!(session.stdout.contains("An answer names the lines"), "{}", session.stdout);
}

/// Whether the parts are in the text, in this order.
fn assert_parts(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not in {rest}, of {text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn at_a_terminal_the_first_wrong_answer_gets_a_hint_and_the_second_one_the_reason() {
    let session = typed("1", "mean\nhelp\nmain microtask tick\ntick main microtask\nmain tick microtask\n");
    assert_parts(
        &session.stdout,
        &[
            "In which order are the lines printed?",
            "There is no line \"mean\"",
            "why the whole run and its reasons",
            "Not quite: the first line is right, but another one comes second.",
            "Hint: Deferred callbacks never run while a callback runs",
            "Try again",
            "you expected \"tick\", the loop ran \"main\"",
            "Try again",
            "¡Muy bien!",
            "status 4",
        ],
    );
    let before = session.stdout.split("Try again").next().unwrap_or_default();
    assert!(!before.contains("ran \""), "the answer is not given yet: {before}");
}

#[test]
fn help_is_help_in_a_pipe_too() {
    let helped = quiz(&["4"], "help\nfirst, tick, second, nested\n");
    assert_eq!(helped.status, Some(0), "{}", helped.stderr);
    assert!(helped.stdout.contains("next skip this question"), "{}", helped.stdout);
}

#[test]
fn at_a_terminal_the_language_is_that_of_the_environment() {
    let session = typed_in("es_CL.UTF-8", "1", "ayuda\nmain microtask tick\npor qué\n");
    assert_parts(
        &session.stdout,
        &[
            "Pregunta 1 de 20: cuerpo principal, tick, microtarea",
            "¿En qué orden se imprimen las líneas?",
            "siguiente saltar esta pregunta",
            "Todavía no: la primera línea está bien",
            "Pista: Un callback aplazado",
            "Prueba otra vez",
            "El bucle corrió b c a:",
            "status 4",
        ],
    );
    let session = typed_in("es_CL.UTF-8", "--lang en 1", "quit\n");
    assert_parts(&session.stdout, &["Question 1 of 20"]);
    // A script reads the same on every machine.
    let output = Command::new(BUCLE).args(["quiz", "list"]).env("LC_ALL", "es_CL.UTF-8").output().expect("it starts");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(" 1  *      main body"));
}

/// Words that only English has, of those that the quiz uses. "timers" is the name of a phase.
const ENGLISH: &[&str] = &[
    "the", "and", "of", "is", "are", "was", "were", "runs", "ran", "run", "not", "then", "after", "before", "when",
    "which", "with", "line", "lines", "every", "by", "caused", "turn", "phase", "type", "try", "answer", "question",
    "right", "wrong", "there", "this", "queues", "empty", "first", "next", "prints", "printed", "score", "hint",
    "timer", "to", "it", "its", "an", "in",
];

/// What the Spanish output says, without what is the same in both languages: programs, their lines, and names of
/// Node.
fn spanish_words(output: &str, lines: &[&str]) -> Vec<String> {
    // The program is indented by more than two columns, its letters by three.
    let said = output.lines().filter(|line| !line.starts_with("   "));
    let mut text = format!(" {} ", said.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" "));
    let mut lines = lines.to_vec();
    lines.sort_by_key(|line| std::cmp::Reverse(line.len()));
    for line in lines {
        for (before, after) in [("\"", "\""), (" ", " "), (" ", ","), (" ", "."), ("(", ")")] {
            text = text.replace(&format!("{before}{line}{after}"), " ");
        }
    }
    let is_name = |word: &str| word.contains(['_', '=', ':', '\'', '/']) || word.starts_with("--");
    let words = text.split_whitespace().filter(|word| !is_name(word));
    words.map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()).collect()
}

#[test]
fn no_english_sentence_is_left_in_spanish() {
    let say = |args: &[&str], input: &str| {
        let mut command = Command::new(BUCLE);
        let mut child = command.args(["quiz", "--lang", "es"]).args(args);
        child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("the program starts");
        let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let check = |said: &str, lines: &[&str]| {
        let words = spanish_words(said, lines);
        let english: Vec<&String> = words.iter().filter(|word| ENGLISH.contains(&&***word)).collect();
        assert!(english.is_empty(), "{english:?} in {said}");
    };
    check(&say(&["list"], ""), &[]);
    check(&say(&["21"], ""), &[]);
    check(&say(&["list", "--step"], ""), &[]);
    check(&say(&["--file", "/there/is/none"], ""), &[]);
    check(&say(&["1"], "hola\n"), &["main", "tick", "microtask"]);
    check(&say(&["1"], "main\n"), &["main", "tick", "microtask"]);
    check(&say(&["1"], "tick tick main\n"), &["main", "tick", "microtask"]);
    check(&say(&["1"], "\n"), &["main", "tick", "microtask"]);
    check(&say(&[], "salir\n"), &["main", "tick", "microtask"]);
    check(&say(&[&RACE.to_string()], "a b\n"), &["timeout", "immediate"]);
    for (number, lines) in NODE {
        let number = number.to_string();
        check(&say(&[&number], "ayuda\npista\npor qué\n"), lines);
        check(&say(&[&number, "--step"], ""), lines);
        for place in 1..lines.len() {
            let mut swapped = lines.to_vec();
            swapped.swap(place - 1, place);
            check(&say(&[&number, "--answer", &swapped.join(", ")], ""), lines);
        }
    }
}

#[test]
fn a_question_file_is_refused_in_spanish_too() {
    let client = "server\n on connection\n  end hola\nconnect\n on connect\n";
    let table: &[(&str, &str)] = &[
        ("timeout 0\n print uno\nimmediate\n print dos\n", "\"dos\" y \"uno\" son una carrera"),
        (&format!("{client}  timeout 1\n   destroy\n  print uno\n on data\n  print dos\n"), "velocidad del computador"),
        (&format!("{client}  print uno\n on close\n  print dos\n"), "llegan bytes y nada los lee"),
        (&format!("{client}  end\n  write hola\n  print uno\n on data\n  print dos\n"), "ERR_STREAM_WRITE_AFTER_END"),
        (&format!("{client}  print uno\nconnect\n on close\n  print dos\n"), "imprime un evento de otro"),
        (
            "server\n on connection\n  print uno\n  write hola\n on data\n  print dos\nconnect\n on connect\n  immediate\n   \
             write hola\n   destroy\n",
            "aquí llega un reset junto con bytes",
        ),
        (
            "server\n on connection\n  microtask\n   write hola\n on data\n  write adios\n  destroy\nconnect\n on connect\n  \
             print uno\n  immediate\n   write hola\n on data\n  write hola\n  end\n   print dos\n",
            "qué lado de una conexión se atiende primero",
        ),
        ("print a uno\nprint dos\n", "es la letra de una línea"),
        ("print uno dos\nprint uno\nprint dos\n", "es también otros textos impresos seguidos"),
        ("tick\n    print uno\n  print dos\n", "esta línea termina un bloque"),
    ];
    for (number, (program, want)) in table.iter().enumerate() {
        let file = File::new(&format!("spanish-{number}"), &format!("title uno y dos\n{program}"));
        let refused = file.quiz(&["list", "--lang", "es"], "");
        assert_eq!(refused.status, Some(2), "{program}: {}", refused.stdout);
        assert!(refused.stderr.contains(want), "{program}: {}", refused.stderr);
        let (_, said) = refused.stderr.split_once(": ").expect("the name of the file is before it");
        // The names of statements are the same in both languages.
        let said: String = said.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        let words = spanish_words(&said, &["uno", "dos"]);
        let english: Vec<&String> = words.iter().filter(|word| ENGLISH.contains(&&***word)).collect();
        assert!(english.is_empty(), "{english:?} in {said}");
    }
}

/// A file in a folder of this test. It is removed at the end.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let path = std::env::temp_dir().join(format!("bucle-quiz-{}-{name}.txt", std::process::id()));
        std::fs::write(&path, text).expect("the folder of temporary files takes a file");
        File(path)
    }

    fn quiz(&self, args: &[&str], input: &str) -> Finished {
        let path = self.0.to_str().expect("the path is text");
        quiz(&[&["--file", path], args].concat(), input)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The example of docs/quiz.md.
fn documented() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/quiz.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let (_, rest) = text.split_once("```text\n").expect("it has an example");
    rest.split_once("```").expect("the example ends").0.to_owned()
}

#[test]
fn the_questions_of_a_teacher_are_asked() {
    let file = File::new("teacher", &documented());
    let list = file.quiz(&["list"], "");
    assert_eq!((list.status, &*list.stdout), (Some(0), "1 a tick in a timer 2 a greeting"), "{}", list.stderr);
    let right = file.quiz(&[], "main, first, tick, second\nconnect, data, close\n");
    assert_eq!(right.status, Some(0), "{}{}", right.stdout, right.stderr);
    assert_parts(
        &right.stdout,
        &[
            "Question 1 of 2: a tick in a timer",
            "In Node: tick = process.nextTick",
            "Score: 1 of 1",
            "2 of 2 right. ¡Muy bien!",
        ],
    );
    let wrong = file.quiz(&["1", "--answer", "main first second tick"], "");
    assert_eq!(wrong.status, Some(4), "{}", wrong.stderr);
    assert_parts(&wrong.stdout, &["you expected \"second\", the loop ran \"tick\"", "After every callback the ticks"]);
    let steps = file.quiz(&["2", "--step"], "");
    assert_parts(&steps.stdout, &["prints \"connect\"", "prints \"data\"", "prints \"close\"", "The loop ran"]);
    assert_eq!(file.quiz(&["3"], "").status, Some(2));
}

#[test]
fn a_file_with_a_mistake_names_the_line() {
    let file = File::new("mistake", "title a mistake\nprint one\ntik\n    print two\n");
    let refused = file.quiz(&[], "");
    assert_eq!((refused.status, &*refused.stdout), (Some(2), ""));
    let want = format!("error: {}:3: there is no `tik`; there are print, work, tick", file.0.display());
    assert!(refused.stderr.starts_with(&want), "{}", refused.stderr);
    let table = [
        ("/there/is/none", 2, "there is no such file"),
        ("/dev/zero", 2, "larger than 256 KiB"),
        ("/", 2, "it is a directory"),
    ];
    for (path, status, want) in table {
        let refused = quiz(&["--file", path], "");
        assert_eq!(refused.status, Some(status), "{path}");
        assert!(refused.stderr.contains(want), "{path}: {}", refused.stderr);
    }
}

#[test]
fn shuffled_questions_are_each_asked_once_and_counted() {
    let skipped = quiz(&["--shuffle"], &"next\n".repeat(20));
    assert_eq!(skipped.status, Some(4));
    let numbers: Vec<usize> =
        skipped.stdout.split("Question ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=20).collect::<Vec<_>>(), "{numbers:?}");
    assert_ne!(numbers, sorted, "one in 20! shuffles is the same order");
    assert_parts(&skipped.stdout, &["0 of 20 right.", "To look at again: "]);
    assert_eq!(quiz(&["3", "--shuffle"], "").status, Some(2));
}
