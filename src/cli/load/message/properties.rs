//! Properties of templates and their texts.

use proptest::prelude::*;

use super::*;

/// A part of a template, before it is written as text.
#[derive(Clone, Debug)]
enum Typed {
    Text(Vec<u8>),
    Conn,
    Seq,
    Rand(usize),
}

fn part() -> impl Strategy<Value = Typed> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>().prop_filter("brace", |byte| *byte != b'{'), 1..6).prop_map(Typed::Text),
        // Braces that are not placeholders.
        1 => prop::sample::select(vec!["{", "{}", "{{conn", "{sequence}", "{conn }", "{rand}"])
            .prop_map(|text| Typed::Text(text.into())),
        1 => Just(Typed::Conn),
        2 => Just(Typed::Seq),
        1 => (1..30_usize).prop_map(Typed::Rand),
    ]
}

fn typed(parts: &[Typed]) -> Vec<u8> {
    let as_typed = |part: &Typed| match part {
        Typed::Text(text) => text.clone(),
        Typed::Conn => b"{conn}".to_vec(),
        Typed::Seq => b"{seq}".to_vec(),
        Typed::Rand(len) => format!("{{rand:{len}}}").into_bytes(),
    };
    parts.iter().flat_map(as_typed).collect()
}

fn messages(parts: &[Typed], seed: u64) -> Messages {
    let template = Template::parse(&typed(parts)).expect("the parts make a valid template");
    Messages { seed, ..Messages::one(template, LineEnd::AsIs) }
}

/// Whether joining the parts has made no further placeholder.
fn is_as_typed(parts: &[Typed]) -> bool {
    let text = typed(parts);
    let count = |needle: &[u8]| text.windows(needle.len()).filter(|window| *window == needle).count();
    let of = |is: fn(&Typed) -> bool| parts.iter().filter(|part| is(part)).count();
    count(b"{conn}") == of(|part| matches!(part, Typed::Conn))
        && count(b"{seq}") == of(|part| matches!(part, Typed::Seq))
        && count(b"{rand:") == of(|part| matches!(part, Typed::Rand(_)))
}

fn parts() -> impl Strategy<Value = Vec<Typed>> {
    prop::collection::vec(part(), 1..7).prop_filter("no further placeholder", |parts| is_as_typed(parts))
}

proptest! {
    #[test]
    fn escaped_bytes_are_unescaped(bytes in prop::collection::vec((any::<u8>(), any::<bool>()), 0..20)) {
        let mut text = String::new();
        for &(byte, as_hex) in &bytes {
            match byte {
                _ if as_hex || !byte.is_ascii() => text += &format!("\\x{byte:02X}"),
                b'\n' => text += "\\n",
                b'\r' => text += "\\r",
                b'\t' => text += "\\t",
                b'\\' => text += "\\\\",
                byte => text.push(byte.into()),
            }
        }
        let raw: Vec<u8> = bytes.into_iter().map(|(byte, _)| byte).collect();
        prop_assert_eq!(unescape(&text), Ok(raw));
    }

    #[test]
    fn a_text_consists_of_the_parts_of_its_template(
        parts in parts(), seed in any::<u64>(), conn in 0..1000_u64, seq in any::<u64>(),
    ) {
        let messages = messages(&parts, seed);
        let text = messages.text(conn, seq);
        prop_assert_eq!(&messages.text(conn, seq), &text, "the text is the same again");
        let mut rest = &text[..];
        for part in &parts {
            let want = match part {
                Typed::Text(text) => text.clone(),
                Typed::Conn => conn.to_string().into_bytes(),
                Typed::Seq => seq.to_string().into_bytes(),
                Typed::Rand(len) => {
                    prop_assert!(rest.len() >= *len && rest[..*len].iter().all(u8::is_ascii_alphanumeric));
                    rest[..*len].to_vec()
                }
            };
            prop_assert!(rest.starts_with(&want), "{:?} begins with {:?}", rest, want);
            rest = &rest[want.len()..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_comparison_finds_the_first_difference_from_anywhere(
        parts in parts(), seed in any::<u64>(), conn in 0..1000_u64, seq in any::<u64>(),
        cut in 0..200_usize, flip in 0..400_usize, from in 0..200_usize, more in "[a-z]{0,9}",
    ) {
        let messages = messages(&parts, seed);
        let text = messages.text(conn, seq);
        let mut bytes = text.clone();
        bytes.truncate(cut);
        if bytes.len() == text.len() {
            bytes.extend_from_slice(more.as_bytes());
        }
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= 1;
        }
        let agreed = text.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
        let want = Agreement { agreed, len: text.len() };
        prop_assert_eq!(messages.compare(conn, seq, &bytes, from.min(agreed)), want);
        prop_assert_eq!(messages.is_text(conn, seq, &bytes), bytes == text);
        prop_assert_eq!(messages.begins_with_text(conn, seq, &bytes), bytes.starts_with(&text));
        prop_assert!(messages.len(conn, seq) == text.len() && messages.longest(conn + 1, seq) >= text.len() as u64);
    }

    #[test]
    fn a_numbered_text_is_recognised(
        parts in parts(), seed in any::<u64>(), conn in 0..1000_u64, seq in 0..1_000_000_u64,
    ) {
        let messages = messages(&parts, seed);
        let want = messages.are_numbered().then_some(seq);
        prop_assert_eq!(messages.recognize(conn, &messages.text(conn, seq), seq + 1), want);
        prop_assert_ne!(messages.recognize(conn, &messages.text(conn, seq), seq), Some(seq), "it was not sent yet");
    }

    #[test]
    fn the_lines_of_a_file_are_used_in_turn(
        lines in prop::collection::vec("[a-z]{0,5}\r?\n", 1..6), last in "[a-z]{0,5}", seq in 0..100_u64,
    ) {
        let file = lines.concat() + &last;
        let messages = Messages::from_file(file.as_bytes(), LineEnd::AsIs).expect("it has lines");
        let all: Vec<&str> = file.split_inclusive('\n').collect();
        let want = all[seq as usize % all.len()];
        prop_assert_eq!(messages.text(0, seq), want.as_bytes());
        prop_assert_eq!(messages.lines(seq), usize::from(want.ends_with('\n')));
    }

    #[test]
    fn any_bytes_are_parsed_and_shown_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..40), text in ".{0,20}", limit in 0..50_usize,
    ) {
        drop((Template::parse(&bytes), Messages::from_file(&bytes, LineEnd::CrLf), unescape(&text)));
        let shown = show(&bytes, limit);
        prop_assert!(!shown.contains(|c: char| c.is_control() || is_direction(c)), "{:?}", shown);
    }
}
