use super::super::message::{COMPARISONS, LineEnd, Messages, Template, unescape};
use super::fanout::Room;
use super::*;

const TIMEOUT: u64 = 100;

const MAX_REPLY: usize = 1 << 30;

pub(super) fn rules(template: &str, expect: Expect) -> Rules {
    let template = Template::parse(&unescape(template).unwrap()).unwrap();
    Rules { expect, messages: Messages::one(template, LineEnd::AsIs), timeout: TIMEOUT, max_reply: MAX_REPLY }
}

fn pending(seq: u64) -> Pending {
    Pending { seq, phase: Phase::Steady, due: 0, started: 0, sent: Some(0) }
}

/// The findings when `sent` messages are unanswered, the chunks are received, each at its time, and the connection
/// ends.
pub(super) fn findings(rules: &Rules, sent: u64, chunks: &[(u64, &[u8])]) -> Vec<String> {
    let mut replies = Replies::default();
    (0..sent).for_each(|seq| replies.begin(pending(seq)));
    let mut out = Vec::new();
    let mut emit = |finding: Finding<'_>| {
        let seq = finding.seq.map_or("-".to_owned(), |seq| seq.to_string());
        out.push(format!("{} {seq}", finding.verdict.name()));
    };
    for (now, chunk) in chunks {
        replies.feed(rules, 3, chunk, *now, &mut emit);
    }
    replies.end(3, &mut emit);
    out
}

/// The findings when `sent` messages are unanswered, whole messages are received, and the connection ends.
fn findings_of_messages(rules: &Rules, sent: u64, replies: &[&str]) -> Vec<String> {
    let mut state = Replies::default();
    (0..sent).for_each(|seq| state.begin(pending(seq)));
    let mut out = Vec::new();
    let mut emit = |finding: Finding<'_>| {
        let seq = finding.seq.map_or("-".to_owned(), |seq| seq.to_string());
        out.push(format!("{} {seq}", finding.verdict.name()));
    };
    replies.iter().for_each(|reply| state.message(rules, 3, reply.as_bytes(), 1, &mut emit));
    state.end(3, &mut emit);
    out
}

#[test]
fn whole_messages_are_matched_to_messages() {
    type Row<'a> = (&'a str, &'a str, Expect, &'a [&'a str], &'a [&'a str]);
    let prefix = || Expect::Prefix(Box::from(&b"ok"[..]));
    let table: &[Row<'_>] = &[
        ("all right", "<{seq}>", Expect::Echo, &["<0>", "<1>"], &["exact 0", "exact 1"]),
        ("a line end", r"{seq}\n", Expect::Echo, &["0\n", "1\n"], &["exact 0", "exact 1"]),
        ("the line end is missing", r"{seq}\n", Expect::Echo, &["0", "1\n"], &["wrong 0", "exact 1"]),
        ("a line end too many", "{seq}", Expect::Echo, &["0\n", "1"], &["wrong 0", "exact 1"]),
        ("begins with a message", "{seq}", Expect::Echo, &["01", "1"], &["wrong 0", "exact 1"]),
        ("two messages in one", "hola", Expect::Echo, &["holahola"], &["wrong 0", "missing 1"]),
        ("one message in two", "hola", Expect::Echo, &["ho", "la"], &["wrong 0", "wrong 1"]),
        ("an empty one", "{seq}", Expect::Echo, &["", "1"], &["wrong 0", "exact 1"]),
        ("reordered", "{seq}", Expect::Echo, &["1", "0"], &["exact 1", "out_of_order 0"]),
        ("doubled", "{seq}", Expect::Echo, &["0", "0", "1"], &["exact 0", "duplicate 0", "exact 1"]),
        ("too many", "{seq}", Expect::Echo, &["0", "1", "x"], &["exact 0", "exact 1", "unexpected -"]),
        ("any", "{seq}", Expect::Line, &["", "a\nb"], &["exact 0", "exact 1"]),
        ("with a prefix", "{seq}", prefix(), &["ok", "no"], &["exact 0", "wrong 1"]),
        ("not checked", "{seq}", Expect::None, &["x"], &["missing 0", "missing 1"]),
    ];
    for (name, template, expect, replies, want) in table {
        assert_eq!(findings_of_messages(&rules(template, expect.clone()), 2, replies), *want, "{name}");
    }
}

#[test]
fn bytes_that_are_no_reply_are_wrong_or_unexpected_with_a_reason() {
    let mut replies = Replies::default();
    replies.begin(pending(0));
    let mut out = Vec::new();
    for _ in 0..2 {
        replies.refuse(3, b"\x83", Reason::Words("an opcode"), &mut |finding: Finding<'_>| {
            out.push((finding.verdict, finding.seq, finding.reason == Some(Reason::Words("an opcode"))));
        });
    }
    assert_eq!(out, [(Verdict::Wrong, Some(0), true), (Verdict::Unexpected, None, true)]);
}

#[test]
fn lines_are_matched_to_messages() {
    let rules = rules(r"{seq}\n", Expect::Echo);
    let table: &[(&str, &[u8], &[&str])] = &[
        ("all right", b"0\n1\n2\n", &["exact 0", "exact 1", "exact 2"]),
        ("flipped", b"0\n!\n2\n", &["exact 0", "wrong 1", "exact 2"]),
        ("dropped", b"0\n2\n", &["exact 0", "exact 2", "missing 1"]),
        ("doubled", b"0\n0\n1\n2\n", &["exact 0", "duplicate 0", "exact 1", "exact 2"]),
        ("doubled at the end", b"0\n1\n2\n1\n", &["exact 0", "exact 1", "exact 2", "duplicate 1"]),
        ("reordered", b"1\n0\n2\n", &["exact 1", "out_of_order 0", "exact 2"]),
        ("merged", b"01\n2\n", &["wrong 0", "exact 2", "missing 1"]),
        ("split", b"0\n\n1\n2\n", &["exact 0", "wrong 1", "duplicate 1", "exact 2"]),
        ("too many", b"0\n1\n2\nx\n", &["exact 0", "exact 1", "exact 2", "unexpected -"]),
        ("not sent yet", b"0\n1\n2\n3\n", &["exact 0", "exact 1", "exact 2", "unexpected -"]),
        ("half a line more", b"0\n1\n2\nx", &["exact 0", "exact 1", "exact 2", "unexpected -"]),
        ("half a reply", b"0\n1\n2", &["exact 0", "exact 1", "missing 2"]),
        ("another line end", b"0\r\n1\n2\n", &["wrong 0", "exact 1", "exact 2"]),
    ];
    for (name, bytes, want) in table {
        assert_eq!(findings(&rules, 3, &[(1, bytes)]), *want, "{name}");
        let cuts: Vec<(u64, &[u8])> = bytes.chunks(1).map(|chunk| (1, chunk)).collect();
        assert_eq!(findings(&rules, 3, &cuts), *want, "{name}, byte by byte");
    }
}

#[test]
fn bytes_are_matched_to_messages() {
    let rules = rules("<{seq}>", Expect::Echo);
    let table: &[(&str, &[u8], &[&str])] = &[
        ("all right", b"<0><1><2>", &["exact 0", "exact 1", "exact 2"]),
        ("flipped", b"<0><!><2>", &["exact 0", "wrong 1", "exact 2"]),
        ("dropped", b"<0><2>", &["exact 0", "exact 2", "missing 1"]),
        ("doubled", b"<0><0><1><2>", &["exact 0", "duplicate 0", "exact 1", "exact 2"]),
        ("reordered", b"<2><0><1>", &["exact 2", "out_of_order 0", "out_of_order 1"]),
        ("too many", b"<0><1><2>###", &["exact 0", "exact 1", "exact 2", "unexpected -"]),
        ("half a reply", b"<0><1><2", &["exact 0", "exact 1", "missing 2"]),
    ];
    for (name, bytes, want) in table {
        assert_eq!(findings(&rules, 3, &[(1, bytes)]), *want, "{name}");
        let cuts: Vec<(u64, &[u8])> = bytes.chunks(1).map(|chunk| (1, chunk)).collect();
        assert_eq!(findings(&rules, 3, &cuts), *want, "{name}, byte by byte");
    }
}

/// The newest reply is repeated in pieces, while an older and shorter one is expected.
#[test]
fn an_incomplete_longer_reply_is_waited_for() {
    let rules = rules("<{seq}>", Expect::Echo);
    let want = ["exact 10", "duplicate 10", "exact 11", "wrong 0"];
    for chunks in [&[&b"<10><10><11><x>"[..]][..], &[b"<10><10", b"><11><x>"], &[b"<10><1", b"0><1", b"1><x", b">"]] {
        let chunks: Vec<(u64, &[u8])> = chunks.iter().map(|chunk| (1, *chunk)).collect();
        assert_eq!(findings(&rules, 12, &chunks)[..4], want);
    }
}

/// A reply with more bytes than the limit is one wrong reply, wherever the reads fall, and the next one is right.
#[test]
fn a_reply_over_the_limit_is_one_wrong_reply() {
    type Row<'a> = (&'a str, &'a str, Expect, &'a [u8], &'a [&'a str]);
    let table: &[Row<'_>] = &[
        ("an echo", r"{seq}\n", Expect::Echo, b"0xxxxxxxxxxxxxxxxxxxx\n1\n2\n", &["wrong 0", "exact 1", "exact 2"]),
        ("at the limit", r"{seq}\n", Expect::Line, b"123456789\n1\n2\n", &["exact 0", "exact 1", "exact 2"]),
        ("one more", r"{seq}\n", Expect::Line, b"1234567890\n1\n2\n", &["wrong 0", "exact 1", "exact 2"]),
        ("without an end", r"{seq}\n", Expect::Line, b"1234567890abcdefghi", &["wrong 0", "missing 1", "missing 2"]),
        (
            "a prefix",
            r"{seq}\n",
            Expect::Prefix(b"OK".as_slice().into()),
            b"OK0123456789\nOK\nOK\n",
            &["wrong 0", "exact 1", "exact 2"],
        ),
        (
            "two lines",
            r"a{seq}\nb\n",
            Expect::Echo,
            b"a0aaaaaaaaaaa\nb\na1\nb\na2\nb\n",
            &["wrong 0", "exact 1", "exact 2"],
        ),
        (
            "the second line",
            r"a{seq}\nb\n",
            Expect::Echo,
            b"a0\nbaaaaaaaaaaa\na1\nb\na2\nb\n",
            &["wrong 0", "exact 1", "exact 2"],
        ),
        (
            "surplus",
            r"{seq}\n",
            Expect::Line,
            b"0\n1\n2\n1234567890\n",
            &["exact 0", "exact 1", "exact 2", "unexpected -"],
        ),
    ];
    for (name, template, expect, bytes, want) in table {
        let rules = Rules { max_reply: 10, ..rules(template, expect.clone()) };
        for size in 1..=bytes.len() {
            let chunks: Vec<(u64, &[u8])> = bytes.chunks(size).map(|chunk| (1, chunk)).collect();
            assert_eq!(findings(&rules, 3, &chunks), *want, "{name}, {size} bytes at once");
        }
    }
}

/// Messages of 300,000 bytes in reads of a few kilobytes: right, wrong, repeated, reordered.
#[test]
fn long_replies_are_judged_as_short_ones() {
    const LEN: usize = 300_000;
    for line_end in ["", r"\n"] {
        for template in ["{seq} {rand:300000}", "{rand:300000}{seq}", "{rand:300000}"] {
            let rules = rules(&format!("{template}{line_end}"), Expect::Echo);
            let text = |seq| rules.messages.text(3, seq);
            let mut flipped = text(1);
            flipped[LEN - 1] ^= 1;
            let table: &[(&[Vec<u8>], &[&str])] = &[
                (&[text(0), text(1), text(2)], &["exact 0", "exact 1", "exact 2"]),
                (&[text(0), flipped, text(2)], &["exact 0", "wrong 1", "exact 2"]),
                (&[text(0), text(2), text(1)], &["exact 0", "exact 2", "out_of_order 1"]),
                (&[text(0), text(0), text(1), text(2)], &["exact 0", "duplicate 0", "exact 1", "exact 2"]),
                (&[text(0), text(1)], &["exact 0", "exact 1", "missing 2"]),
            ];
            for (replies, want) in table {
                let bytes = replies.concat();
                let chunks: Vec<(u64, &[u8])> = bytes.chunks(5000).map(|chunk| (1, chunk)).collect();
                assert_eq!(findings(&rules, 3, &chunks), *want, "{template}{line_end}");
            }
        }
    }
}

#[test]
fn messages_of_several_lines() {
    let rules = rules(r"a{seq}\nb{seq}\n", Expect::Echo);
    assert_eq!(findings(&rules, 2, &[(1, b"a0\nb0\na1\nb"), (2, b"1\n")]), ["exact 0", "exact 1"]);
    assert_eq!(findings(&rules, 2, &[(1, b"a0\nb1\na1\nb1\n")]), ["wrong 0", "exact 1"]);
}

#[test]
fn messages_without_a_number() {
    let same = rules(r"ping\n", Expect::Echo);
    assert_eq!(findings(&same, 2, &[(1, b"ping\nping\n")]), ["exact 0", "exact 1"]);
    assert_eq!(findings(&same, 1, &[(1, b"ping\nping\n")]), ["exact 0", "duplicate 0"]);
    assert_eq!(findings(&same, 1, &[(1, b"pong\n")]), ["wrong 0"]);
    assert_eq!(findings(&same, 0, &[(1, b"ping\n")]), ["unexpected -"]);
    let random = rules(r"{rand:9}\n", Expect::Echo);
    let texts: Vec<_> = (0..3).map(|seq| random.messages.text(3, seq)).collect();
    let bytes = [&texts[1][..], &texts[0], &texts[1], &texts[2]].concat();
    assert_eq!(findings(&random, 3, &[(1, &bytes)]), ["exact 1", "out_of_order 0", "duplicate 1", "exact 2"]);
}

#[test]
fn a_wrong_reply_is_compared_with_a_limited_number_of_messages() {
    const UNANSWERED: u64 = 10_000;
    let table = [
        (r"hola\n", &b"HOLA\n"[..], 10),
        ("hola", b"HOLA", 10),
        (r"hola {rand:9}\n", b"hola\n", 5 * REMEMBERED),
        ("hola {rand:9}", b"hello everybody", 5 * REMEMBERED),
        ("<{seq}>", b"<x>", 5 * REMEMBERED),
    ];
    for (template, reply, most) in table {
        let rules = rules(template, Expect::Echo);
        let mut replies = Replies::default();
        (0..UNANSWERED).for_each(|seq| replies.begin(pending(seq)));
        let mut verdicts = Vec::new();
        let before = COMPARISONS.get();
        replies.feed(&rules, 3, reply, 1, &mut |finding| verdicts.push(finding.verdict));
        let made = COMPARISONS.get() - before;
        assert_eq!(verdicts, [Verdict::Wrong], "{template}");
        assert!(made <= most, "{template}: {made} comparisons");
    }
}

/// The oldest of the equal messages is not always the oldest unanswered one.
#[test]
fn equal_messages_are_answered_oldest_first() {
    let messages = Messages::from_file(b"a\nb\n", LineEnd::AsIs).unwrap();
    let rules = Rules { messages, ..rules("x", Expect::Echo) };
    let want = ["exact 1", "exact 3", "out_of_order 0", "out_of_order 2", "exact 5", "missing 4"];
    assert_eq!(findings(&rules, 6, &[(1, b"b\nb\na\na\nb\n")]), want);
}

#[test]
fn a_late_reply_was_counted_as_missing() {
    type Row<'a> = (&'a str, Expect, &'a [(u64, &'a [u8])], &'a [&'a str]);
    let table: &[Row<'_>] = &[
        ("in time", Expect::Echo, &[(TIMEOUT, b"0\n1\n")], &["exact 0", "exact 1"]),
        ("late", Expect::Echo, &[(1, b"0\n"), (TIMEOUT + 1, b"1\n")], &["exact 0", "missing 1", "late 1"]),
        (
            "late and doubled",
            Expect::Echo,
            &[(1, b"0\n"), (TIMEOUT + 1, b"1\n1\n")],
            &["exact 0", "missing 1", "late 1", "duplicate 1"],
        ),
        ("its end is late", Expect::Echo, &[(1, b"0\n1"), (200, b"\n")], &["exact 0", "missing 1", "late 1"]),
        (
            "any line, late",
            Expect::Line,
            &[(1, b"a\n"), (200, b"b\nc\n")],
            &["exact 0", "missing 1", "late 1", "unexpected -"],
        ),
    ];
    for (name, expect, chunks, want) in table {
        assert_eq!(findings(&rules(r"{seq}\n", expect.clone()), 2, chunks), *want, "{name}");
    }
}

#[test]
fn a_limited_number_of_missing_messages_is_remembered_and_an_older_reply_is_late() {
    let rules = rules(r"{seq}\n", Expect::Echo);
    let mut replies = Replies::default();
    let count = 2 * MOST_MISSED as u64;
    let mut out = Vec::new();
    for seq in 0..count {
        replies.begin(pending(seq));
        replies.expire(&rules, 3, TIMEOUT + 1, &mut |_| ());
    }
    assert_eq!(replies.missed.len(), MOST_MISSED);
    let last = count - 1;
    let chunk = format!("0\n{last}\n{last}\n{count}\n");
    replies.feed(&rules, 3, chunk.as_bytes(), TIMEOUT + 2, &mut |finding| out.push((finding.verdict, finding.seq)));
    let (late, duplicate) = (Verdict::Late, Verdict::Duplicate);
    assert_eq!(out, [(late, Some(0)), (late, Some(last)), (duplicate, Some(last)), (Verdict::Unexpected, None)]);
}

/// The deliveries of a message come after those of a later one, for any number of messages between them.
#[test]
fn a_delivery_is_out_of_order_also_if_the_later_messages_are_many() {
    let sent: Vec<(u64, u64)> = (0..50).map(|seq| (0, seq)).collect();
    let texts: Vec<String> = (0..50).map(|seq| format!("0:{seq} hola")).collect();
    let mut lines: Vec<(u64, &str)> = texts[2..].iter().map(|text| (1, text.as_str())).collect();
    lines.extend([(1, &*texts[0]), (1, &*texts[1]), (2, &*texts[0]), (2, &*texts[1])]);
    let (got, _) = fanout_findings(Fanout::Others, &sent, &lines);
    let want = ["out_of_order 0:0", "out_of_order 0:1", "exact 0:0", "exact 0:1"];
    assert!(got[..48].iter().all(|finding| finding.starts_with("exact ")) && got[48..] == want, "{got:?}");
}

#[test]
fn lines_over_the_limit_are_dropped() {
    let bytes = b"a\n0123456789\nb\n012345678\nc0123456789012345678901234567890\nd\n";
    for size in 1..=bytes.len() {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for chunk in bytes.chunks(size) {
            lines.feed(chunk, 10, |line| out.push(line.to_vec()));
        }
        assert_eq!(out, [&b"a\n"[..], b"b\n", b"012345678\n", b"d\n"], "{size} bytes at once");
    }
}

#[test]
fn lines_of_a_kind() {
    let regex = |pattern| Expect::Regex(regex::bytes::Regex::new(pattern).unwrap());
    let table: &[(&str, Expect, &[u8], &[&str])] = &[
        ("any", Expect::Line, b"a\n\n", &["exact 0", "exact 1"]),
        ("any, too many", Expect::Line, b"a\nb\nc\n", &["exact 0", "exact 1", "unexpected -"]),
        ("prefix", Expect::Prefix(b"OK".as_slice().into()), b"OK 1\nERR\n", &["exact 0", "wrong 1"]),
        (
            "prefix, none due",
            Expect::Prefix(b"OK".as_slice().into()),
            b"OK\nOK\nERR\n",
            &["exact 0", "exact 1", "unexpected -"],
        ),
        ("regex", regex("^[0-9]+$"), b"12\r\n1x\n", &["exact 0", "wrong 1"]),
    ];
    for (name, expect, bytes, want) in table {
        assert_eq!(findings(&rules(r"{seq}\n", expect.clone()), 2, &[(1, bytes)]), *want, "{name}");
    }
    assert_eq!(findings(&rules(r"{seq}\n", Expect::None), 0, &[(1, b"whatever")]), [""; 0]);
}

/// The findings, and the open messages, for three connections. Each row of `lines` is a receiver and its line.
fn fanout_findings(kind: Fanout, sent: &[(u64, u64)], lines: &[(u64, &str)]) -> (Vec<String>, usize) {
    let rules = rules(r"{conn}:{seq} hola\n", Expect::Fanout(kind));
    let mut room = Room::new(kind, 3);
    for &(sender, seq) in sent {
        room.begin(sender, pending(seq), 0..3);
    }
    let mut out = Vec::new();
    let mut emit = |finding: Finding<'_>| {
        out.push(format!("{} {}:{}", finding.verdict.name(), finding.conn, finding.seq.unwrap_or(99)));
    };
    for (receiver, line) in lines {
        match *line {
            "expire" => room.expire(&rules, TIMEOUT + 1, &mut emit),
            "leave" => room.left(*receiver, &mut emit),
            line => room.line(&rules, *receiver, format!("{line}\r\n").as_bytes(), 1, &mut emit),
        }
    }
    let open = (0..3).map(|sender| room.unanswered(sender)).sum();
    (out, open)
}

#[test]
fn a_fan_out_reaches_every_connection_once_and_in_order() {
    use Fanout::{Everybody, Others};
    type Row<'a> = (&'a str, Fanout, &'a [(u64, u64)], &'a [(u64, &'a str)], &'a [&'a str], usize);
    let table: &[Row<'_>] = &[
        (
            "all",
            Everybody,
            &[(0, 0)],
            &[(0, "0:0 hola"), (1, "ana> 0:0 hola"), (2, "10:0:0 hola")],
            &["exact 0:0"; 3],
            0,
        ),
        ("others", Others, &[(0, 0)], &[(1, "0:0 hola"), (2, "0:0 hola")], &["exact 0:0"; 2], 0),
        ("others, but echoed", Others, &[(0, 0)], &[(0, "0:0 hola")], &["unexpected 0:0"], 1),
        ("chatter", Everybody, &[(0, 0)], &[(0, "welcome"), (1, "0:1 hola"), (2, "3:0 hola"), (2, "0:0 hol")], &[], 1),
        ("doubled", Everybody, &[(0, 0)], &[(1, "0:0 hola"), (1, "0:0 hola")], &["exact 0:0", "duplicate 0:0"], 1),
        ("flipped", Everybody, &[(0, 0)], &[(1, "0:0 hole"), (1, "0:0 hola")], &["wrong 0:0", "duplicate 0:0"], 1),
        (
            "reordered",
            Everybody,
            &[(0, 0), (0, 1)],
            &[(1, "0:1 hola"), (1, "0:0 hola"), (2, "0:0 hola")],
            &["exact 0:1", "out_of_order 0:0", "exact 0:0"],
            2,
        ),
        (
            "two senders have no order",
            Everybody,
            &[(0, 0), (1, 0)],
            &[(2, "1:0 hola"), (2, "0:0 hola")],
            &["exact 1:0", "exact 0:0"],
            2,
        ),
        (
            "omitted, then late",
            Others,
            &[(0, 0)],
            &[(1, "0:0 hola"), (0, "expire"), (2, "0:0 hola"), (2, "0:0 hola")],
            &["exact 0:0", "missing 0:0", "late 0:0", "duplicate 0:0"],
            0,
        ),
        ("left", Others, &[(0, 0)], &[(1, "0:0 hola"), (2, "leave")], &["exact 0:0", "missing 0:0"], 0),
    ];
    for (name, kind, sent, lines, want, open) in table {
        let (got, left) = fanout_findings(*kind, sent, lines);
        assert_eq!((got.iter().map(String::as_str).collect::<Vec<_>>(), left), (want.to_vec(), *open), "{name}");
    }
}

/// The first message is missing, and a reply to the second one comes.
#[test]
fn replies_that_may_belong_to_a_missing_message_are_counted() {
    let table = [
        ("equal lines", r"hola\n", Expect::Echo, "hola\n", 1),
        ("equal bytes", "hola", Expect::Echo, "hola", 1),
        ("other lines", r"{seq}\n", Expect::Echo, "1\n", 0),
        ("other bytes", "<{seq}>", Expect::Echo, "<1>", 0),
        ("any line", r"{seq}\n", Expect::Line, "1\n", 1),
        ("a wrong line", r"{seq}\n", Expect::Prefix(Box::from(&b"ok"[..])), "no\n", 0),
    ];
    for (name, template, expect, reply, want) in table {
        let (rules, mut replies) = (rules(template, expect), Replies::default());
        let mut verdicts = Vec::new();
        let mut emit = |finding: Finding<'_>| verdicts.push(finding.verdict);
        replies.begin(pending(0));
        replies.expire(&rules, 3, TIMEOUT + 1, &mut emit);
        replies.begin(Pending { sent: Some(TIMEOUT), ..pending(1) });
        replies.feed(&rules, 3, reply.as_bytes(), TIMEOUT + 2, &mut emit);
        assert_eq!((verdicts.len(), verdicts[0]), (2, Verdict::Missing), "{name}");
        assert_eq!((replies.take_doubtful(), replies.take_doubtful()), (want, 0), "{name}");
    }
}
