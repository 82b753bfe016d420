//! What holds for the screen, whatever the server sends and wherever the reads cut it.

use proptest::prelude::*;

use super::*;

proptest! {
    /// All lines arrive, in order, in rows that are not too wide, and little is held back.
    #[test]
    fn a_prompt_loses_no_text(pieces in prop::collection::vec("[a-zé\n]{0,20}", 0..10), columns in 2..30_usize) {
        let mut screen = Screen::default();
        screen.prompt();
        let mut shown: String = pieces.iter().map(|piece| screen.show(piece, columns)).collect();
        prop_assert!(screen.unfinished.len() <= LINE_LIMIT);
        shown += &screen.leave(columns);
        let rows = shown.split("\x1b[L").skip(1).filter_map(|row| row.split('\x1b').next());
        prop_assert!(rows.clone().all(|row| row_len(row, columns) == row.len()));
        prop_assert_eq!(rows.collect::<String>(), pieces.concat().replace('\n', ""));
    }
}
