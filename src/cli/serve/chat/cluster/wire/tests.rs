//! Messages, and what is ignored.

use proptest::prelude::*;

use super::*;

const OWN: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(0xabc);
const MAX_TEXT: usize = 100;

fn read(message: &str) -> Result<Option<Message<'_>>, Ignored> {
    decode(message.as_bytes(), OWN, MAX_TEXT)
}

#[test]
fn a_message_is_one_line_of_words() {
    let table = [
        (Event::Beat, "beat"),
        (Event::Ask(None), "ask"),
        (Event::Ask(Some(OWN)), "ask 0000000000000001"),
        (Event::State { part: 1, parts: 1, members: vec![] }, "state 1 1"),
        (
            Event::State { part: 2, parts: 3, members: vec![("Ana", "lobby"), ("bo", "rust")] },
            "state 2 3 Ana lobby bo rust",
        ),
        (Event::Enter { nick: "Ñandú", room: "lobby" }, "enter Ñandú lobby"),
        (Event::Leave { nick: "ana" }, "leave ana"),
        (Event::Move { nick: "ana", room: "rust" }, "move ana rust"),
        (Event::Nick { old: "ana", new: "eva" }, "nick ana eva"),
        (Event::Line { room: "lobby", text: "ana:  two  blanks ".into() }, "line lobby ana:  two  blanks "),
        (Event::Msg { node: OWN, to: "bo", from: "ana", text: "psst".into() }, "msg 0000000000000001 bo ana psst"),
    ];
    for (event, words) in table {
        let text = encode(OTHER, 17, &event);
        assert_eq!(text, format!("bucle1 0000000000000abc 17 {words}"));
        assert_eq!(read(&text), Ok(Some(Message { from: OTHER, number: 17, event })), "{words}");
    }
}

#[test]
fn a_message_of_this_node_is_not_read() {
    assert_eq!(read(&encode(OWN, 1, &Event::Beat)), Ok(None));
    assert_eq!(read("bucle1 0000000000000001 whatever"), Ok(None));
}

#[test]
fn malformed_messages_are_ignored() {
    let table = [
        ("", "it is not in the format of this version"),
        ("hola", "it is not in the format of this version"),
        ("bucle2 0000000000000abc 1 beat", "it is not in the format of this version"),
        ("bucle1", "the name of its node is malformed"),
        ("bucle1  1 beat", "the name of its node is malformed"),
        ("bucle1 abc 1 beat", "the name of its node is malformed"),
        ("bucle1 0000000000000ABC 1 beat", "the name of its node is malformed"),
        ("bucle1 +000000000000abc 1 beat", "the name of its node is malformed"),
        ("bucle1 0000000000000abc", "a number is malformed"),
        ("bucle1 0000000000000abc -1 beat", "a number is malformed"),
        ("bucle1 0000000000000abc +1 beat", "a number is malformed"),
        ("bucle1 0000000000000abc 01 beat", "a number is malformed"),
        ("bucle1 0000000000000abc 99999999999999999999 beat", "a number is malformed"),
        ("bucle1 0000000000000abc 1", "its event is unknown"),
        ("bucle1 0000000000000abc 1 dance", "its event is unknown"),
        ("bucle1 0000000000000abc 1 beat now", "it has too many words"),
        ("bucle1 0000000000000abc 1 enter ana", "the name of a room is malformed"),
        ("bucle1 0000000000000abc 1 enter ana  lobby", "the name of a room is malformed"),
        ("bucle1 0000000000000abc 1 enter ana Lobby", "the name of a room is malformed"),
        ("bucle1 0000000000000abc 1 enter a:b lobby", "a nick is malformed"),
        ("bucle1 0000000000000abc 1 enter a\u{1b}b lobby", "a nick is malformed"),
        ("bucle1 0000000000000abc 1 enter 123456789012345678901 lobby", "a nick is malformed"),
        ("bucle1 0000000000000abc 1 leave ana lobby", "it has too many words"),
        ("bucle1 0000000000000abc 1 state 0 1", "the part of a state is malformed"),
        ("bucle1 0000000000000abc 1 state 2 1", "the part of a state is malformed"),
        ("bucle1 0000000000000abc 1 state 1 1 ana", "the name of a room is malformed"),
        ("bucle1 0000000000000abc 1 line lobby", "its text is missing"),
        ("bucle1 0000000000000abc 1 line lobby ", "its text is missing"),
        ("bucle1 0000000000000abc 1 msg bo ana hola", "the name of its node is malformed"),
    ];
    for (message, why) in table {
        assert_eq!(read(message), Err(Ignored { why }), "{message:?}");
    }
    assert_eq!(decode(b"bucle1 \xff", OWN, MAX_TEXT), ignored("it is not UTF-8"));
}

#[test]
fn lengths_are_limited() {
    let line = |len: usize| encode(OTHER, 1, &Event::Line { room: "lobby", text: "x".repeat(len).into() });
    assert!(read(&line(MAX_TEXT)).is_ok());
    assert_eq!(read(&line(MAX_TEXT + 1)), ignored("its text is too long"));
    assert_eq!(read(&line(MAX_STATE)), ignored("it is too long"));
    let longest = "\u{10400}".repeat(20);
    let names = vec![("ana", "lobby"); STATE_MEMBERS + 1];
    let too_many = encode(OTHER, 1, &Event::State { part: 1, parts: 1, members: names });
    assert_eq!(read(&too_many), ignored("a part of a state has too many members"));
    // The longest names are letters of four bytes. This letter has an upper and a lower case.
    let (nick, room) = (longest.as_str(), longest.to_lowercase());
    let most = Event::State { part: 9_999, parts: 10_000, members: vec![(nick, &room); STATE_MEMBERS] };
    assert!(read(&encode(OTHER, u64::MAX, &most)).is_ok(), "the longest state is accepted");
    let msg = Event::Msg { node: OWN, to: nick, from: nick, text: "x".repeat(MAX_TEXT).into() };
    assert!(read(&encode(OTHER, u64::MAX, &msg)).is_ok());
}

#[test]
fn a_text_is_made_safe_to_show() {
    let read = read("bucle1 0000000000000abc 1 line lobby ana: \u{1b}[2J\r\nx\u{202e}");
    let Ok(Some(Message { event: Event::Line { text, .. }, .. })) = read else { panic!("{read:?}") };
    assert_eq!(text, "ana: ␛[2J␍␊x\u{fffd}");
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_ignored(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, OWN, MAX_TEXT);
    }

    #[test]
    fn any_words_are_a_message_that_is_written_as_it_was_read_or_ignored(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "beat", "ask", "state", "enter", "leave", "move", "nick", "line", "msg", "ana", "lobby", "1", "2", "",
                "0000000000000001", "0000000000000abc", "hola hola", "x\u{7f}y", "Ana", "é",
            ]),
            0..8,
        ),
    ) {
        let message = format!("bucle1 0000000000000abc 5 {}", words.join(" "));
        if let Ok(Some(read)) = decode(message.as_bytes(), OWN, MAX_TEXT) {
            let again = encode(read.from, read.number, &read.event);
            prop_assert_eq!(again, message.replace('\u{7f}', "␡"));
        }
    }
}
