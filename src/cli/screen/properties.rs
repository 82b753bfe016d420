//! Properties of the screen, for any text from the server and any cuts between reads.

use proptest::prelude::*;

use super::*;

proptest! {
    /// All lines are shown in order, the prompt follows each of them, and little is held back.
    #[test]
    fn a_prompt_loses_no_text(pieces in prop::collection::vec("[a-zé\n]{0,20}", 0..10), columns in 5..30_usize) {
        let mut screen = Screen::default();
        let mut shown = screen.prompt(columns);
        for piece in &pieces {
            shown += &screen.show(piece, columns);
            prop_assert!(shown.ends_with("> "));
            prop_assert!(screen.unfinished.len() <= HELD_BACK_LIMIT);
        }
        shown += &screen.leave();
        let (text, sent) = (shown.replace("> ", "").replace(ERASE_ROW, ""), pieces.concat());
        prop_assert_eq!(text.trim_end_matches('\n'), sent.trim_end_matches('\n'));
    }
}
