//! Records, and the lines that they become.

use serde_json::Value;

use super::*;

/// One record of a sequence; its index is its number.
fn record(kind: Kind, phase: Phase, start_ns: u64, duration_ns: u64, cause: u32) -> Record {
    let mut record = Record::default();
    (record.kind, record.phase, record.start_ns, record.cause) = (kind, phase, start_ns, cause);
    record.set_duration_ns(duration_ns);
    record
}

fn about(subject: u32, size: u32, mut record: Record) -> Record {
    (record.subject, record.size) = (subject, size);
    record
}

/// The lines of a sequence of records, without the lines that name the tracks.
fn lines(records: &[Record]) -> Vec<String> {
    let mut text = Vec::new();
    let mut chrome = Chrome::new("test", u64::MAX, &mut text);
    text.clear();
    for (number, record) in records.iter().enumerate() {
        chrome.record(number as u64, record, &mut text);
    }
    as_text(&text).lines().map(str::to_owned).collect()
}

fn as_text(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("UTF-8")
}

fn parsed(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("JSON")
}

/// The value of `ph` in each line.
fn phs(lines: &[String]) -> String {
    let ph = |line: &String| parsed(&format!("[{}]", &line[1..]))[0]["ph"].as_str().map(str::to_owned);
    lines.iter().map(|line| ph(line).expect("every event has one")).collect()
}

#[test]
fn the_size_of_a_record_is_shown_with_its_unit() {
    let table = [
        (Kind::OnData, "bytes"),
        (Kind::OnLine, "bytes"),
        (Kind::OnRequest, "bytes"),
        (Kind::OnResponse, "bytes"),
        (Kind::OnMessage, "bytes"),
        (Kind::OnPing, "bytes"),
        (Kind::OnPong, "bytes"),
        (Kind::CloseSent, "code"),
        (Kind::CloseReceived, "code"),
        (Kind::Armed, "delay_ms"),
    ];
    for (kind, unit) in table {
        let duration_ns = if kind.is_callback() { 10 } else { 0 };
        let lines = lines(&[about(41, 1000, record(kind, Phase::Poll, 1_000, duration_ns, 0))]);
        let want = format!(r##""subject":"#41","{unit}":1000}}}}"##);
        assert!(lines[0].ends_with(&want), "{kind}: {}", lines[0]);
    }
}

#[test]
fn a_callback_becomes_a_slice_and_a_write_an_instant() {
    let lines = lines(&[
        record(Kind::Phase, Phase::Poll, 1_000, 50_000, 0),
        about(41, 6, record(Kind::OnData, Phase::Poll, 2_005, 12_345, 0)),
        about(41, 6, record(Kind::Write, Phase::Poll, 3_000, 0, 1)),
    ]);
    assert_eq!(
        lines,
        [
            r#",{"name":"poll","cat":"loop","pid":1,"tid":3,"ts":1.000,"ph":"X","dur":50.000,"args":{"turn":0,"n":0}}"#,
            r##",{"name":"on_data","cat":"callback","pid":1,"tid":3,"ts":2.005,"ph":"X","dur":12.345,"args":{"turn":0,"n":1,"cause":0,"subject":"#41","bytes":6}}"##,
            r##",{"name":"write","cat":"io","pid":1,"tid":3,"ts":3.000,"ph":"i","s":"t","args":{"turn":0,"n":2,"cause":1,"subject":"#41","bytes":6}}"##,
        ]
    );
}

#[test]
fn an_arrow_is_drawn_if_the_cause_does_not_enclose_the_record() {
    let lines = lines(&[
        record(Kind::Phase, Phase::Poll, 0, 100_000, 0),
        record(Kind::OnData, Phase::Poll, 10_000, 10_000, 0),
        record(Kind::Armed, Phase::Poll, 12_000, 0, 1),
        record(Kind::Tick, Phase::Poll, 30_000, 1_000, 1),
        record(Kind::Phase, Phase::Timers, 200_000, 50_000, 4),
        record(Kind::Timer, Phase::Timers, 210_000, 1_000, 2),
    ]);
    assert_eq!(phs(&lines), "XXiXsfXXsf");
    let arrow = |from: &str| lines.iter().filter(|line| line.contains(from)).count();
    assert_eq!(arrow(r#""ph":"s","id":3,"tid":3,"ts":10.000"#), 1, "from the callback to its tick");
    assert_eq!(arrow(r#""ph":"f","bp":"e","id":3,"tid":3,"ts":30.000"#), 1);
    assert_eq!(arrow(r#""ph":"s","id":5,"tid":3,"ts":12.000"#), 1, "from the arming to the timer");
    assert_eq!(arrow(r#""ph":"f","bp":"e","id":5,"tid":6,"ts":210.000"#), 1);
}

#[test]
fn a_record_that_has_not_ended_is_skipped() {
    let records = [
        record(Kind::Phase, Phase::Main, 1_000, 0, 0),
        record(Kind::Main, Phase::Main, 1_000, 0, 0),
        record(Kind::Write, Phase::Main, 1_000, 0, 2),
    ];
    assert_eq!(phs(&lines(&records)), "i");
}

#[test]
fn connections_are_spans_and_counted() {
    let lines = lines(&[
        about(2, 4, record(Kind::Wait, Phase::Poll, 500, 500, 0)),
        about(7, 50112, record(Kind::OnConnection, Phase::Poll, 1_000, 100, 1)),
        about(8, 0, record(Kind::OnConnection, Phase::Poll, 2_000, 100, 2)),
        about(9, 0, record(Kind::OnClose, Phase::Close, 3_000, 100, 3)),
        about(7, 0, record(Kind::OnClose, Phase::Close, 4_000, 100, 4)),
    ]);
    let events: Vec<_> = lines.iter().filter(|line| !line.contains(r#""ph":"X""#)).collect();
    assert_eq!(
        events,
        [
            r#",{"name":"events","ph":"C","pid":1,"ts":1.000,"args":{"ready":4}}"#,
            r##",{"name":"#7 from port 50112","cat":"connection","ph":"b","pid":1,"tid":3,"id2":{"local":"7"},"ts":1.000}"##,
            r#",{"name":"connections","ph":"C","pid":1,"ts":1.000,"args":{"open":1}}"#,
            r##",{"name":"#8","cat":"connection","ph":"b","pid":1,"tid":3,"id2":{"local":"8"},"ts":2.000}"##,
            r#",{"name":"connections","ph":"C","pid":1,"ts":2.000,"args":{"open":2}}"#,
            r##",{"name":"#7 from port 50112","cat":"connection","ph":"e","pid":1,"tid":5,"id2":{"local":"7"},"ts":4.000}"##,
            r#",{"name":"connections","ph":"C","pid":1,"ts":4.000,"args":{"open":1}}"#,
        ],
        "a connection whose beginning is not in the trace has no end in it"
    );
}

#[test]
fn queued_bytes_follow_what_the_kernel_takes() {
    let at = |kind, size| about(7, size, record(kind, Phase::Poll, 1_000, 0, 0));
    let lines = lines(&[
        about(7, 0, record(Kind::OnConnection, Phase::Poll, 1_000, 100, 0)),
        at(Kind::Write, 100),
        at(Kind::Sent, 60),
        at(Kind::Blocked, 40),
        at(Kind::Write, 5),
        at(Kind::Sent, 30),
        at(Kind::Blocked, 15),
        at(Kind::Sent, 15),
        at(Kind::Write, 9),
        at(Kind::Sent, 9),
        at(Kind::Blocked, 3),
        about(7, 0, record(Kind::OnClose, Phase::Close, 2_000, 100, 0)),
    ]);
    let queued = lines.iter().filter(|line| line.contains("queued"));
    let queued: Vec<_> = queued.filter_map(|line| line.strip_suffix("}}")?.split(r#""bytes":"#).nth(1)).collect();
    assert_eq!(queued, ["40", "45", "15", "0", "3", "0"]);
}

#[test]
fn the_numbers_of_causes_wrap_at_32_bits() {
    let cause = |number, cause| Trace::cause_of(number, &record(Kind::Tick, Phase::Poll, 0, 1, cause));
    let round = 1u64 << 32;
    assert_eq!(cause(5, 5), None, "it is its own cause");
    assert_eq!(cause(5, 3), Some(3));
    assert_eq!(cause(round + 5, 3), Some(round + 3));
    assert_eq!(cause(round + 1, u32::MAX), Some(round - 1));
    assert_eq!(cause(5, 9), None, "a cause cannot be older than the first record");
}

#[test]
fn a_trace_is_cut_at_its_limit_and_still_json() {
    let records: Vec<_> = (0..100).map(|n| record(Kind::Phase, Phase::Poll, n * 1_000, 500, n as u32)).collect();
    for limit in (2_000..4_000).step_by(7) {
        let mut text = Vec::new();
        let mut chrome = Chrome::new("test", limit, &mut text);
        for (number, record) in records.iter().enumerate() {
            chrome.record(number as u64, record, &mut text);
        }
        chrome.lost(3, &mut text);
        assert!(chrome.is_full());
        chrome.end(&mut text);
        assert!(text.len() as u64 <= limit && text.len() as u64 + 512 > limit, "{} of {limit}", text.len());
        let events = parsed(as_text(&text));
        let last = events.last().and_then(|event| event["name"].as_str()).expect("a last event");
        assert_eq!(last, format!("recording stopped: the file has reached its limit of {limit} bytes"));
    }
}

#[test]
fn every_cut_between_lines_leaves_json() {
    let mut text = Vec::new();
    let mut chrome = Chrome::new("test", u64::MAX, &mut text);
    chrome.record(0, &record(Kind::Phase, Phase::Poll, 0, 100, 0), &mut text);
    chrome.record(1, &record(Kind::Wait, Phase::Poll, 1, 50, 0), &mut text);
    chrome.lost(12, &mut text);
    let text = as_text(&text);
    assert!(text.contains("12 records lost"));
    for (cut, _) in text.match_indices('\n') {
        parsed(&format!("{}]", &text[..cut]));
    }
}
