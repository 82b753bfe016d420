//! Properties of the shown text, for any bytes from the server and any cuts between reads.

use proptest::prelude::*;

use super::*;

fn escaped(chunks: &[Vec<u8>]) -> String {
    let mut escaper = Escaper::default();
    let mut text: String = chunks.iter().map(|chunk| escaper.escape(chunk)).collect();
    assert!(escaper.cut_off.len() <= 3);
    text += &escaper.finish();
    text
}

/// Bytes of which many are special: line breaks, an escape, and parts of multi-byte characters.
fn byte() -> impl Strategy<Value = u8> {
    let special = b"\r\n\t\x1b\x9b\xc2\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff";
    prop_oneof![3 => prop::sample::select(&special[..]), 1 => any::<u8>()]
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_the_reads(
        chunks in prop::collection::vec(prop::collection::vec(byte(), 0..8), 0..10),
    ) {
        let whole = escaped(&[chunks.concat()]);
        prop_assert!(whole.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()), "{:?}", whole);
        prop_assert_eq!(escaped(&chunks), whole);
    }
}
