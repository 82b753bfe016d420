//! What holds for templates and their texts, whatever they are made of.

use proptest::prelude::*;

use super::*;

/// A part of a template as it is typed, and what it stands for.
#[derive(Clone, Debug)]
enum Typed {
    Text(Vec<u8>),
    Conn,
    Seq,
    Rand(usize),
}

fn part() -> impl Strategy<Value = Typed> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>().prop_filter("none", |byte| *byte != b'{'), 1..6).prop_map(Typed::Text),
        // Braces that are no placeholders.
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
    let template = Template::parse(&typed(parts)).expect("all of these are templates");
    Messages { seed, ..Messages::one(template, LineEnd::AsIs) }
}

/// Joining may have made a placeholder of pieces, which then is one.
fn is_as_typed(parts: &[Typed]) -> bool {
    let text = typed(parts);
    let count = |needle: &[u8]| text.windows(needle.len()).filter(|window| *window == needle).count();
    let of = |is: fn(&Typed) -> bool| parts.iter().filter(|part| is(part)).count();
    count(b"{conn}") == of(|part| matches!(part, Typed::Conn))
        && count(b"{seq}") == of(|part| matches!(part, Typed::Seq))
        && count(b"{rand:") == of(|part| matches!(part, Typed::Rand(_)))
}

fn parts() -> impl Strategy<Value = Vec<Typed>> {
    prop::collection::vec(part(), 1..7).prop_filter("nothing new by joining", |parts| is_as_typed(parts))
}

proptest! {
    #[test]
    fn what_is_escaped_is_understood(bytes in prop::collection::vec((any::<u8>(), any::<bool>()), 0..20)) {
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
    fn a_text_is_what_its_template_says(
        parts in parts(), seed in any::<u64>(), conn in 0..1000_u64, seq in any::<u64>(),
    ) {
        let messages = messages(&parts, seed);
        let text = messages.text(conn, seq);
        prop_assert_eq!(&messages.text(conn, seq), &text, "nobody has to keep it");
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
    fn a_numbered_text_is_recognised(
        parts in parts(), seed in any::<u64>(), conn in 0..1000_u64, seq in 0..1_000_000_u64,
    ) {
        let messages = messages(&parts, seed);
        let want = messages.are_numbered().then_some(seq);
        prop_assert_eq!(messages.recognize(conn, &messages.text(conn, seq), seq + 1), want);
        prop_assert_ne!(messages.recognize(conn, &messages.text(conn, seq), seq), Some(seq), "it was not sent yet");
    }

    #[test]
    fn a_file_is_its_lines_in_turn(
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
    fn no_bytes_are_too_strange(
        bytes in prop::collection::vec(any::<u8>(), 0..40), text in ".{0,20}", limit in 0..50_usize,
    ) {
        drop((Template::parse(&bytes), Messages::from_file(&bytes, LineEnd::CrLf), unescape(&text)));
        let shown = show(&bytes, limit);
        prop_assert!(!shown.contains(|c: char| c.is_control() || is_direction(c)), "{:?}", shown);
    }
}
