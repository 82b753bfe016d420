//! What holds for the screen, whatever the server sends and wherever the reads cut it.

use proptest::prelude::*;

use super::*;

proptest! {
    /// All lines arrive, in order, above a prompt that is there after each, and little is held back.
    #[test]
    fn a_prompt_loses_no_text(pieces in prop::collection::vec("[a-zé\n]{0,20}", 0..10), columns in 5..30_usize) {
        let mut screen = Screen::default();
        let mut shown = screen.prompt(columns);
        for piece in &pieces {
            shown += &screen.show(piece, columns);
            prop_assert!(shown.ends_with("> "));
            prop_assert!(screen.unfinished.len() <= LINE_LIMIT);
        }
        shown += &screen.leave();
        let (text, said) = (shown.replace("> ", "").replace(ERASE_ROW, ""), pieces.concat());
        prop_assert_eq!(text.trim_end_matches('\n'), said.trim_end_matches('\n'));
    }
}
