//! Properties of the check, for any replies of the server and any cuts between reads.

use proptest::prelude::*;

use super::tests::{findings, rules};
use super::*;
use crate::cli::load::message::Messages;

const TEMPLATES: [&str; 7] =
    [r"{seq}\n", r"{conn}:{seq} {rand:5}\n", r"a{seq}\nb\n", "<{seq}>", "<{seq} {rand:3}>", r"hola\n", "hola"];

/// One action of the server: a reply to the next message, right or wrong, or bytes without a message before them.
#[derive(Clone, Debug)]
enum Answer {
    Right,
    Again { ago: u64 },
    Dropped,
    Flipped { at: usize },
    Cut { at: usize },
    Noise(Vec<u8>),
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        8 => Just(Answer::Right),
        1 => (0..4_u64).prop_map(|ago| Answer::Again { ago }),
        1 => Just(Answer::Dropped),
        1 => (0..20_usize).prop_map(|at| Answer::Flipped { at }),
        1 => (0..20_usize).prop_map(|at| Answer::Cut { at }),
        1 => prop::collection::vec(prop::sample::select(&b"<>0123 \r\n"[..]), 1..6).prop_map(Answer::Noise),
    ]
}

/// All bytes that the server sends.
fn server_bytes(messages: &Messages, answers: &[Answer]) -> Vec<u8> {
    let (mut bytes, mut seq) = (Vec::new(), 0);
    for answer in answers {
        let mut text = messages.text(3, seq);
        let len = text.len();
        match answer {
            Answer::Right | Answer::Dropped => {}
            Answer::Again { ago } => {
                bytes.extend(messages.text(3, seq.saturating_sub(*ago)));
                continue;
            }
            Answer::Flipped { at } => text[at % len] ^= 1,
            Answer::Cut { at } => text.truncate(at % len),
            Answer::Noise(noise) => {
                bytes.extend(noise);
                continue;
            }
        }
        if !matches!(answer, Answer::Dropped) {
            bytes.extend(text);
        }
        seq += 1;
    }
    bytes
}

proptest! {
    #[test]
    fn where_the_reads_fall_does_not_matter(
        template in prop::sample::select(&TEMPLATES[..]),
        is_echo in prop::bool::weighted(0.8),
        answers in prop::collection::vec(answer(), 0..14),
        lengths in prop::collection::vec(0..9_usize, 0..20),
    ) {
        let rules = rules(template, if is_echo { Expect::Echo } else { Expect::Line });
        let bytes = server_bytes(&rules.messages, &answers);
        let sent = answers.len() as u64;
        let want = findings(&rules, sent, &[(1, &bytes)]);
        let mut rest = &bytes[..];
        let mut chunks: Vec<(u64, &[u8])> = Vec::new();
        for len in lengths {
            let (chunk, behind) = rest.split_at(len.min(rest.len()));
            chunks.push((1, chunk));
            rest = behind;
        }
        chunks.push((1, rest));
        prop_assert_eq!(&findings(&rules, sent, &chunks), &want);
        let bytewise: Vec<(u64, &[u8])> = bytes.chunks(1).map(|chunk| (1, chunk)).collect();
        prop_assert_eq!(findings(&rules, sent, &bytewise), want.clone());
        // Each message has exactly one result.
        let results = |name: &str| want.iter().filter(|finding| finding.starts_with(name)).count() as u64;
        prop_assert_eq!(results("exact") + results("wrong") + results("out_of_order") + results("missing"), sent);
        if is_echo && answers.iter().all(|answer| matches!(answer, Answer::Right)) {
            prop_assert_eq!(results("exact"), sent);
        }
    }

    #[test]
    fn lines_are_whole_for_any_reads(chunks in prop::collection::vec("[ab\n\r]{0,6}", 0..10)) {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for chunk in &chunks {
            lines.feed(chunk.as_bytes(), 1000, |line| out.push(line.to_vec()));
        }
        let all = chunks.concat();
        let want = all.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::as_bytes);
        prop_assert!(want.eq(out));
    }
}
