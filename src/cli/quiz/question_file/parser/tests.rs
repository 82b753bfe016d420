//! Files of questions, and the mistake of each bad one.

use super::*;

fn one(program: &str) -> Result<Draft, Mistake> {
    let mut drafts = parse(&format!("title t\n{program}"), Language::English)?;
    assert_eq!(drafts.len(), 1);
    Ok(drafts.remove(0))
}

fn print(text: &str) -> Statement {
    Statement::Print(text.into())
}

#[test]
fn blocks_follow_the_indentation() {
    let draft =
        one("timeout 5\n  print first\n  tick\n     print nested\n  print second\nprint main\n").expect("it is right");
    let tick = Statement::Later(When::Tick, vec![print("nested")].into());
    let timeout = vec![print("first"), tick, print("second")].into();
    let want = [Statement::Later(When::Timeout(Duration::from_millis(5)), timeout), print("main")];
    assert_eq!(*draft.body, want);
    let prints: Vec<(&str, usize)> = draft.prints.iter().map(|(text, line)| (&**text, *line)).collect();
    assert_eq!(prints, [("first", 3), ("nested", 5), ("second", 6), ("main", 7)]);
}

#[test]
fn words_of_one_digit_or_of_other_alphabets_are_no_letters_of_lines() {
    for text in ["text 1", "é ñ", "a_b", "ten again"] {
        assert!(one(&format!("print {text}\nprint ten\n")).is_ok(), "{text}");
    }
}

#[test]
fn a_conversation_has_events() {
    let draft = one(
        "server\n on connection\n  end hola\nconnect\n on data\n  write hey\n   print written\n  destroy\n on close\n  print close\n",
    )
    .expect("it is right");
    let server = vec![(Event::Connection, vec![Statement::End(Some("hola".into()), None)].into())];
    let server = Side { line: 2, blocks: server, prints: false };
    let write = Statement::Write("hey".into(), Some(vec![print("written")].into()));
    let client =
        vec![(Event::Data, vec![write, Statement::Destroy].into()), (Event::Close, vec![print("close")].into())];
    let client = Side { line: 5, blocks: client, prints: true };
    assert_eq!(*draft.body, [Statement::Server(server), Statement::Connect(client)]);
}

#[test]
fn titles_begin_questions_and_comments_are_not_shown() {
    let text =
        "# a comment\n\ntitle one\nhint h\nlesson l\nprint aa\n# another\n\nprint bb\ntitle two\nprint cc\nprint dd";
    let drafts = parse(text, Language::English).expect("it is right");
    let seen: Vec<_> = drafts.iter().map(|d| (&*d.title, d.hint.as_deref(), d.lesson.as_deref(), &*d.source)).collect();
    assert_eq!(
        seen,
        [("one", Some("h"), Some("l"), "print aa\nprint bb\n"), ("two", None, None, "print cc\nprint dd\n")]
    );
}

#[test]
fn a_mistake_names_its_line() {
    let table: &[(&str, usize, &str)] = &[
        ("print aa\nprint bb\nprnt cc", 4, "there is no `prnt`; there are print, work, tick"),
        ("print aa\nprint AA", 3, "line 2 prints the same text"),
        ("print a\nprint bb", 2, "at least two characters"),
        ("print a b\nprint zz\nprint yy", 2, "in an answer `a` is the letter of a line"),
        ("print aa\nprint ten A", 3, "in an answer `A` is the letter of a line"),
        ("print ten\nprint again\nprint ten Again", 4, "\"ten Again\" is also other printed texts in a row"),
        ("print aa bb cc\nprint aa\nprint bb\nprint cc", 2, "\"aa bb cc\" is also other printed texts in a row"),
        ("print a-b\nprint bb", 2, "letters, digits, spaces and _"),
        ("print\nprint bb", 2, "`print` needs a text"),
        ("print aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 2, "at most 40 characters"),
        ("print aa", 1, "at least two lines"),
        ("", 1, "at least two lines"),
        ("tick\nprint aa", 2, "`tick` runs a block later"),
        ("tick now\n  print aa", 2, "`tick` stands alone"),
        ("print aa\n  print bb", 3, "indented deeper"),
        ("tick\n    print aa\n  print bb", 4, "ends a block, but it is indented deeper than the line that begins"),
        ("server\n   on data\n       work 0\n     work 0", 5, "ends a block, but it is indented deeper than the line"),
        ("server\n   on data\n      work 0\n  on end", 5, "ends a block, but it is indented deeper than the line"),
        ("tick\n  print aa\n  print bb\n    print cc", 5, "indented deeper than the one before it, which has no block"),
        ("\tprint aa", 2, "not with tabs"),
        ("timeout\n  print aa", 2, "a time in milliseconds, from 0 to 60000"),
        ("timeout -1\n  print aa", 2, "a time in milliseconds"),
        ("timeout 60001\n  print aa", 2, "a time in milliseconds"),
        ("work 1s", 2, "a time in milliseconds"),
        ("write hola", 2, "`write` needs a socket"),
        ("connect", 2, "`connect` needs a `server`"),
        ("server\nserver", 3, "one server"),
        ("server\n  on data\n    connect", 4, "`connect` needs a `server`"),
        ("tick\n  server", 3, "not inside of a block"),
        (
            "server\n on connection\n  print accepted\n  end\nconnect\n on connect\n  print connected",
            8,
            "line 4 prints an event of another `server` or `connect`; print the events of one of them only",
        ),
        (
            "server\nconnect\n on end\n  print one\nconnect\n on end\n  print two",
            8,
            "line 5 prints an event of another",
        ),
        (
            "server\nconnect\n on end\n  connect\n   on end\n    print one\n  tick\n   print two",
            9,
            "line 7 prints an event of another",
        ),
        ("server\n  print aa", 3, "here stand events: `on` and one of connection, data"),
        ("server\n  on connect\n    print aa", 3, "there is no `connect`; there are connection, data"),
        ("server\n  on data\n    print aa\n  on data\n    print bb", 5, "there is an `on data` already"),
        ("server\n  on data", 3, "`on` runs a block later"),
        ("on data\n  print aa", 2, "directly below"),
        ("hint a\nhint b", 3, "has a `hint` already"),
        ("hint", 2, "`hint` needs a text"),
        ("print aa\nhint b", 3, "between the title and the program"),
        ("print a\u{7}a", 2, "control character"),
    ];
    for (program, line, want) in table {
        let mistake = one(program).expect_err(program);
        assert_eq!(mistake.line, *line, "{program:?}: {}", mistake.sentence);
        assert!(mistake.sentence.contains(want), "{program:?}: {}", mistake.sentence);
    }
    for (text, want) in
        [("", "the file has no question"), ("print aa", "begins with a title"), ("  title a", "two lines")]
    {
        let mistake = parse(text, Language::English).expect_err(text);
        assert!(mistake.sentence.contains(want), "{text:?}: {}", mistake.sentence);
    }
}

#[test]
fn the_first_mistake_of_a_file_is_the_one_that_is_reported() {
    let table: &[(&str, usize, &str)] = &[
        ("title\nprint aa\nprnt bb\n", 1, "`title` needs a text"),
        ("title t\nprnt aa\n\tprint bb\n", 2, "there is no `prnt`"),
        ("title t\ntick\nprint a\u{7}a\n", 2, "`tick` runs a block later"),
        ("title t\nhint\n\tprint bb\n", 2, "`hint` needs a text"),
        ("title t\nprint aa\n\tprint bb\nprnt cc\n", 3, "not with tabs"),
        ("title t\nhint a\u{7}\nhint\n", 2, "control character"),
    ];
    for (text, line, want) in table {
        let mistake = parse(text, Language::English).expect_err(text);
        assert_eq!((mistake.line, mistake.sentence.contains(want)), (*line, true), "{text:?}: {}", mistake.sentence);
    }
}

#[test]
fn a_file_cannot_be_larger_than_its_limits() {
    let texts = |count: usize| (0..count).map(|n| format!("print text {n}\n")).collect::<String>();
    assert_eq!(one(&texts(26)).expect("each has a letter").prints.len(), 26);
    assert_eq!(one(&texts(27)).expect_err("too many texts").line, 28);
    let statements = |count: usize| texts(2) + &"work 0\n".repeat(count - 2);
    assert!(one(&statements(200)).is_ok());
    assert_eq!(one(&statements(201)).expect_err("too many statements").line, 202);
    let nested = |depth: usize| {
        let ticks: String = (0..depth).map(|level| format!("{:level$}tick\n", "")).collect();
        format!("{ticks}{:depth$}print aa\nprint bb\n", "")
    };
    assert!(one(&nested(8)).is_ok());
    assert_eq!(one(&nested(9)).expect_err("too deep").line, 10);
    // Each `connect` inside of an event is two blocks deeper: its events, and their statements.
    let connects = |count: usize| {
        let connect = |level: usize| {
            let indent = 2 * level;
            format!("{:indent$}connect\n{:indent$} on connect\n{:indent$}  work {level}\n", "", "", "")
        };
        let connects: String = (0..count).map(connect).collect();
        format!("{}server\n{connects}", texts(2))
    };
    assert!(one(&connects(4)).is_ok());
    let mistake = one(&connects(5)).expect_err("too deep");
    assert_eq!((mistake.line, &*mistake.sentence), (17, "blocks are nested at most 8 deep"));
    let questions = |count: usize| "title t\nprint aa\nprint bb\n".repeat(count);
    assert_eq!(parse(&questions(100), Language::English).map(|drafts| drafts.len()), Ok(100));
    assert_eq!(parse(&questions(101), Language::English).expect_err("too many questions").line, 301);
}
