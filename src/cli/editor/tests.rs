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

#[test]
fn ctrl_d_on_an_empty_line_is_the_end() {
    assert_eq!(typed("\x04"), (vec![Typed::End], "|".into()));
    assert_eq!(typed("a\x7f\x04"), (vec![Typed::End], "|".into()));
    assert_eq!(typed("a\r\x04"), (vec![Typed::Line("a".into()), Typed::End], "|".into()));
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
    editor.feed("ñx€y\r".as_bytes(), |typed| match typed {
        Typed::Bell => bells += 1,
        Typed::Line(line) => assert_eq!(line, "x".repeat(LINE_LIMIT)),
        other => panic!("{other:?}"),
    });
    assert_eq!(bells, 3);
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
