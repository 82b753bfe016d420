//! Properties of keys, for any bytes and any cuts between reads.

use proptest::prelude::*;

use super::*;

fn keys(chunks: &[Vec<u8>]) -> Vec<Key> {
    let (mut keys, mut all) = (Keys::default(), Vec::new());
    for chunk in chunks {
        keys.feed(chunk, |key| all.push(key));
        let kept = match &keys.unfinished {
            Unfinished::Char(bytes) => bytes.len(),
            Unfinished::Sequence(bytes) => bytes.len(),
            _ => 0,
        };
        assert!(kept <= LONGEST_SEQUENCE);
    }
    all
}

/// Bytes of which many are special: escapes, parts of sequences and of multi-byte characters.
fn byte() -> impl Strategy<Value = u8> {
    let special = b"\x1b\x1b\x1b[[OABCD~~13;5b\r\x7f\x04\xc2\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff";
    prop_oneof![3 => prop::sample::select(&special[..]), 1 => any::<u8>()]
}

proptest! {
    #[test]
    fn the_keys_do_not_depend_on_the_reads(
        chunks in prop::collection::vec(prop::collection::vec(byte(), 0..8), 0..12),
    ) {
        let whole = keys(&[chunks.concat()]);
        let is_text = |key: &Key| !matches!(key, Key::Char(c) if c.is_control() && *c != '\t');
        prop_assert!(whole.iter().all(is_text), "{:?}", whole);
        prop_assert_eq!(keys(&chunks), whole);
    }

    #[test]
    fn each_character_of_text_is_a_key(text in "[^\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f]{0,40}") {
        let typed: Vec<Key> = text.chars().map(Key::Char).collect();
        prop_assert_eq!(keys(&[text.into_bytes()]), typed);
    }
}
