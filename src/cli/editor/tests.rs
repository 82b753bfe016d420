//! Typed keys, the lines that result, and the rows that are drawn.

use super::*;

const LEFT: &str = "\x1b[D";
const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";

/// The results of typing, and the line that was not sent, with `|` for the cursor.
fn typed(keys: &str) -> (Vec<Typed>, String) {
    let (mut editor, mut all) = (Editor::default(), Vec::new());
    editor.feed(keys.as_bytes(), |typed| all.push(typed));
    let (before, after) = editor.line.text().split_at(editor.line.cursor());
    (all, format!("{before}|{after}"))
}

fn lines(lines: &[&str]) -> Vec<Typed> {
    lines.iter().map(|&line| Typed::Line(line.to_owned())).collect()
}

#[test]
fn keys_edit_and_enter_sends() {
    let table: &[(&str, &str, &[&str], &str)] = &[
        ("two lines and a half", "uno\rdos\rtr", &["uno", "dos"], "tr|"),
        ("an empty line", "\r", &[""], "|"),
        ("Left and a letter", "hla\x1b[D\x1b[Do", &[], "ho|la"),
        ("Enter in the middle sends all", "hla\x1b[D\x1b[Do\r", &["hola"], "|"),
        ("Home, End", "b\x1b[Ha\x1b[Fc", &[], "abc|"),
        ("Ctrl-A, Ctrl-E", "b\x01a\x05c", &[], "abc|"),
        ("Ctrl-B, Ctrl-F", "ac\x02b\x06d", &[], "abcd|"),
        ("Backspace", "hola\x7f\x7fy", &[], "hoy|"),
        ("Delete", "hola\x01\x1b[3~", &[], "|ola"),
        ("Ctrl-U, Ctrl-K", "uno dos\x1b[D\x1b[D\x1b[D\x15x\x0b", &[], "x|"),
        ("Ctrl-W", "uno dos \x17tres", &[], "uno tres|"),
        ("Ctrl-Left, Ctrl-Right", "uno dos\x1b[1;5D\x1b[1;5Dx\x1b[1;5Cy", &[], "xunoy| dos"),
        ("a letter of two bytes", "añ\x7fo", &[], "ao|"),
        ("a wide one", "日本\x1b[D\x7f", &[], "|本"),
        ("a combined one", "e\u{301}\x7fx", &[], "x|"),
        ("Up and Enter", "uno\rdos\r\x1b[A\x1b[A\r", &["uno", "dos", "uno"], "|"),
        ("Up, changed", "uno\r\x1b[A!", &["uno"], "uno!|"),
        ("Up and Down", "uno\rdo\x1b[A\x1b[B", &["uno"], "do|"),
        ("Up without a history", "\x1b[A\x1b[Bx", &[], "x|"),
        ("Ctrl-D deletes if something is typed", "ab\x02\x04", &[], "a|"),
        ("Ctrl-D at the end of a line does nothing", "ab\x04", &[], "ab|"),
    ];
    for (name, keys, sent, left) in table {
        assert_eq!(typed(keys), (lines(sent), (*left).to_owned()), "{name}");
    }
}

const HISTORY: &str = "uno\rdos\rtres uno\r";

#[test]
fn ctrl_r_searches_the_history() {
    let table: &[(&str, &str, &[&str], &str)] = &[
        ("the newest line with the text", "\x12uno\r", &["tres uno"], "|"),
        ("an older one", "\x12uno\x12\r", &["uno"], "|"),
        ("letter by letter", "\x12o\x12s\r", &["dos"], "|"),
        ("a letter less", "\x12do\x7f\x7funo\r", &["tres uno"], "|"),
        ("it can be changed", "\x12dos\x1b[D!\r", &["do!s"], "|"),
        ("End takes it over", "\x12dos\x05", &[], "dos|"),
        ("Ctrl-G goes back to the line", "draft\x12dos\x07", &[], "draft|"),
        ("without a match Enter sends nothing", "draft\x12zzz\r", &[], "draft|"),
        ("Ctrl-G alone does nothing", "a\x07b", &[], "ab|"),
    ];
    for (name, keys, sent, left) in table {
        let (all, line) = typed(&format!("{HISTORY}{keys}"));
        let all: Vec<Typed> = all.into_iter().skip(3).filter(|typed| *typed != Typed::Bell).collect();
        assert_eq!((all, line), (lines(sent), (*left).to_owned()), "{name}");
    }
    // No older line has the text: a bell, and the last match stays.
    assert_eq!(typed(&format!("{HISTORY}\x12dos\x12\x05")).0.last(), Some(&Typed::Bell));
    assert_eq!(typed(&format!("{HISTORY}\x12dos\x12\x05")).1, "dos|");
}

#[test]
fn a_search_shows_the_text_and_the_line() {
    let mut editor = Editor::new(["hola", "ñandú and a long line"].into_iter());
    let mut row = |keys: &str, columns: usize| {
        editor.feed(keys.as_bytes(), |_| {});
        editor.draw(columns)
    };
    assert_eq!(row("\x12", 40), "find : ");
    assert_eq!(row("ol", 40), "find ol: hola");
    assert_eq!(row("z", 40), "find olz: ");
    assert_eq!(row("\x7f\x7f\x7fñ", 18), "\x1b[?7lfind ñ: ñandú and\x1b[?7h");
    assert_eq!(row("\x07", 18), "> ");
    // The text has a limit, too.
    row("\x12", 40);
    row(&"x".repeat(10_000), 40);
    assert!(editor.search.is_some_and(|search| search.query.len() == QUERY_LIMIT));
}

#[test]
fn a_secret_line_is_in_no_history() {
    let mut editor = Editor::new(["old"].into_iter());
    editor.set_secret(true);
    editor.feed(b"swordfish\r", |_| {});
    editor.set_secret(false);
    editor.feed(b"\x1b[A", |_| {});
    assert_eq!(editor.unsent(), "old");
    editor.feed(b"\x15\x12sword", |_| {});
    assert_eq!(editor.draw(40), "find sword: ");
}

#[test]
fn ctrl_d_on_an_empty_line_is_the_end() {
    assert_eq!(typed("\x04"), (vec![Typed::End], "|".into()));
    assert_eq!(typed("a\x7f\x04"), (vec![Typed::End], "|".into()));
    assert_eq!(typed("a\r\x04"), (vec![Typed::Line("a".into()), Typed::End], "|".into()));
}

#[test]
fn the_row_does_not_wrap_on_a_terminal_of_a_few_columns() {
    for (columns, wraps) in [(1, false), (2, false), (3, false), (4, true)] {
        let mut editor = Editor::default();
        editor.feed(b"abcdef\x1b[D\x1b[D", |typed| panic!("{typed:?}"));
        let row = editor.draw(columns);
        assert_eq!(!row.starts_with("\x1b[?7l"), wraps, "{columns}: {row:?}");
        assert_eq!(!row.ends_with("\x1b[?7h"), wraps, "{columns}: {row:?}");
    }
}

#[test]
fn ctrl_l_clears_and_leaves_the_line() {
    assert_eq!(typed("ab\x0c"), (vec![Typed::Clear], "ab|".into()));
}

#[test]
fn a_full_line_takes_no_more_characters() {
    let mut editor = Editor::default();
    let mut bells = 0;
    editor.feed("x".repeat(LINE_LIMIT - 1).as_bytes(), |_| panic!("there is room"));
    editor.feed("ñx€y".as_bytes(), |typed| match typed {
        Typed::Bell => bells += 1,
        other => panic!("{other:?}"),
    });
    assert_eq!((bells, editor.unsent().len()), (3, LINE_LIMIT));
}

#[test]
fn a_line_that_has_lost_characters_is_not_sent() {
    // Keys after a line that is too long, and what is sent.
    for (keys, want) in [("\r", Typed::TooLong), ("\x15hola\r", Typed::Line("hola".into())), ("\x7f\r", Typed::TooLong)]
    {
        let mut editor = Editor::default();
        editor.feed("x".repeat(LINE_LIMIT + 1).as_bytes(), |typed| assert_eq!(typed, Typed::Bell));
        let mut all = Vec::new();
        editor.feed(keys.as_bytes(), |typed| all.push(typed));
        assert_eq!(all, [want], "{keys:?}");
        editor.feed(b"next\r", |typed| assert_eq!(typed, Typed::Line("next".into())));
    }
}

/// The text that a terminal shows for a drawn row, with `|` for the cursor.
fn shown(drawn: &str) -> String {
    let text = drawn.replace("\x1b[?7l", "").replace("\x1b[?7h", "");
    match text.split_once("\x1b7") {
        Some((before, after)) => format!("{before}|{}", after.strip_suffix("\x1b8").expect("the cursor is restored")),
        None => text + "|",
    }
}

#[test]
fn a_row_shows_the_line_around_the_cursor() {
    let alphabet = "abcdefghijklmnopqrstuvwxyz";
    let table: &[(&str, String, &str)] = &[
        ("nothing", String::new(), "> |"),
        ("a short line", "hola".into(), "> hola|"),
        ("in its middle", format!("hola{LEFT}{LEFT}"), "> ho|la"),
        ("as long as there is room", "abcdefghi".into(), "> abcdefghi|"),
        ("one more", "abcdefghij".into(), "< ghij|"),
        ("its beginning", format!("{alphabet}\x01"), "> |abcdefghi>"),
        ("back to the left", format!("{alphabet}\x01{}", "\x06".repeat(4)), "> abcd|efghi>"),
        ("to the last column", format!("{alphabet}\x01{}", "\x06".repeat(8)), "> abcdefgh|i>"),
        ("over it", format!("{alphabet}\x01{}", "\x06".repeat(9)), "< ghi|jklmno>"),
        ("its end", alphabet.into(), "< stuvwxyz|"),
        ("deleted down to what fits", format!("{alphabet}{}", "\x7f".repeat(17)), "> abcdefghi|"),
        ("a tab", "a\tb".into(), "> a b|"),
        ("wide characters", "日本語日本語\x01".into(), "> |日本語日 >"),
    ];
    for (name, keys, want) in table {
        let mut editor = Editor::default();
        // The line is drawn after each key, as in a session.
        for byte in keys.bytes() {
            editor.feed(&[byte], |_| {});
            editor.draw(12);
        }
        assert_eq!(shown(&editor.draw(12)), *want, "{name}");
    }
}

#[test]
fn the_window_stays_while_the_cursor_moves_inside_it() {
    let mut editor = Editor::default();
    editor.feed(b"abcdefghijklmnopqrstuvwxyz", |_| {});
    assert_eq!(shown(&editor.draw(12)), "< wxyz|");
    editor.feed(LEFT.repeat(2).as_bytes(), |_| {});
    assert_eq!(shown(&editor.draw(12)), "< wx|yz");
    // At the left edge one could not see which character Backspace deletes, so the window moves.
    editor.feed(LEFT.repeat(2).as_bytes(), |_| {});
    assert_eq!(shown(&editor.draw(12)), "< tuv|wxyz");
    // A wider terminal shows more.
    assert_eq!(shown(&editor.draw(40)), "> abcdefghijklmnopqrstuv|wxyz");
    editor.feed(UP.as_bytes(), |_| {});
    editor.feed(DOWN.as_bytes(), |_| {});
    assert_eq!(shown(&editor.draw(40)), "> abcdefghijklmnopqrstuv|wxyz");
}
