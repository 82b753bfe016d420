//! Properties of a pass through a script, for any cuts between reads.

use proptest::prelude::*;

use super::*;

/// How many steps have ended when all chunks are received, and which bytes are left.
fn walk(script: &Script, chunks: &[&[u8]]) -> (usize, Vec<u8>) {
    let mut pass = Pass::new(script, 0, 0);
    let (mut through, mut come) = (0, Vec::new());
    let mut is_waiting = pass.next() == Action::Wait;
    for chunk in chunks {
        come.extend_from_slice(chunk);
        while is_waiting && pass.found(&mut come) {
            through += 1;
            is_waiting = pass.next() == Action::Wait;
        }
    }
    (through, come)
}

proptest! {
    #[test]
    fn where_the_reads_fall_does_not_matter(
        expected in prop::collection::vec("[ab]{1,4}", 1..5),
        chunks in prop::collection::vec("[abc]{0,6}", 0..10),
    ) {
        let text: String = expected.iter().map(|text| format!("expect {text}\n")).collect();
        let script = Script::parse(text.as_bytes(), LineEnd::AsIs).expect("it is a script");
        let chunks: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
        let whole = chunks.concat();
        // The plain version: each text is searched for after the one before.
        let (mut through, mut rest) = (0, std::str::from_utf8(&whole).expect("letters"));
        for text in &expected {
            let Some((_, behind)) = rest.split_once(text) else { break };
            (through, rest) = (through + 1, behind);
        }
        let want = (through, rest.as_bytes().to_vec());
        prop_assert_eq!(walk(&script, &[&whole]), want.clone());
        prop_assert_eq!(walk(&script, &chunks), want);
    }

    #[test]
    fn any_script_is_parsed_without_a_panic(
        text in "((send|expect|pause|close|#|)[ \t]?[a-z0-9{}\\\\:]{0,6}\n){0,4}",
        bytes in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        drop((Script::parse(text.as_bytes(), LineEnd::CrLf), Script::parse(&bytes, LineEnd::AsIs)));
    }
}
