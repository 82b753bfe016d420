//! Properties of the editor, for any keys, any cuts between reads, and any width of the terminal.

use proptest::prelude::*;

use super::*;

/// Keys and text, including wide characters, combining marks, and invalid UTF-8.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    let keys: Vec<&[u8]> = vec![
        b"\x1b[D",
        b"\x1b[C",
        b"\x1b[A",
        b"\x1b[B",
        b"\x1b[H",
        b"\x1b[F",
        b"\x1b[3~",
        b"\x1b[1;5D",
        b"\x1b[1;5C",
        b"\x7f",
        b"\x15",
        b"\x0b",
        b"\x17",
        b"\x04",
        b"\x0c",
        b"\x12",
        b"\x07",
        b"\r",
        b"\t",
        b" ",
        b"\xff",
        b"\xe2\x82",
    ];
    let text = prop_oneof!["[a-z ]{1,4}", "[ñé€日本語😀]", "[\u{300}-\u{303}\u{200d}]"];
    let key =
        prop_oneof![2 => prop::sample::select(keys).prop_map(<[u8]>::to_vec), 3 => text.prop_map(String::into_bytes)];
    prop::collection::vec(key, 0..40).prop_map(|keys| keys.concat())
}

fn feed(editor: &mut Editor, bytes: &[u8]) -> Vec<Typed> {
    let mut all = Vec::new();
    editor.feed(bytes, |typed| all.push(typed));
    all
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_the_reads(bytes in keys(), cut in any::<prop::sample::Index>()) {
        let (mut whole, mut parts) = (Editor::default(), Editor::default());
        let typed = feed(&mut whole, &bytes);
        let (one, two) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut in_parts = feed(&mut parts, one);
        in_parts.extend(feed(&mut parts, two));
        prop_assert_eq!(in_parts, typed);
        prop_assert_eq!(&parts.line, &whole.line);
    }

    /// After each byte the row fits the terminal, and shows the cursor and the character under it.
    #[test]
    fn a_row_fits_and_shows_the_cursor(bytes in keys(), columns in 1..40_usize) {
        let mut editor = Editor::default();
        for byte in bytes {
            feed(&mut editor, &[byte]);
            let row = editor.draw(columns).replace("\x1b[?7l", "").replace("\x1b[?7h", "");
            let (before, after) = row.split_once("\x1b7").unwrap_or((&row, ""));
            let after = after.trim_end_matches("\x1b8");
            prop_assert!(!before.contains('\x1b') && !after.contains('\x1b'));
            if editor.search.is_some() {
                prop_assert!(text_width(before) < columns.max(2));
                continue;
            }
            // A narrower terminal has no room for the prompt, a wide character and the last column.
            if columns >= 5 {
                prop_assert!(text_width(before) < columns);
                prop_assert!(text_width(before) + text_width(after) <= columns);
                let under = clusters(&editor.line.text()[editor.line.cursor()..]).next();
                if let Some(under) = under.filter(|under| text_width(under) <= 2) {
                    prop_assert!(after.starts_with(&visible(under)), "{:?} {:?}", before, after);
                }
            }
        }
    }

    /// A line is valid text of limited length, without control characters.
    #[test]
    fn a_line_is_text_without_controls(bytes in keys()) {
        for typed in feed(&mut Editor::default(), &bytes) {
            if let Typed::Line(line) = typed {
                prop_assert!(line.len() <= LINE_LIMIT);
                prop_assert!(line.chars().all(|c| c == '\t' || !c.is_control()), "{:?}", line);
            }
        }
    }
}
