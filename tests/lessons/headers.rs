//! The headers of the lessons, and their list in `examples/README.md`.

use std::path::Path;
use std::{fs, iter};

use crate::lesson::Lesson;

/// Name and source of each lesson, sorted by name.
fn lessons() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut lessons: Vec<_> = fs::read_dir(dir)
        .expect("there are examples")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| (path.file_stem().expect("it has a name").to_string_lossy().into_owned(), path))
        .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_digit()))
        .map(|(name, path)| (name, fs::read_to_string(path).expect("source is UTF-8")))
        .collect();
    lessons.sort();
    lessons
}

/// The text under "Expect" in the header.
pub fn expected(name: &str) -> String {
    let (_, source) = lessons().into_iter().find(|(lesson, _)| lesson == name).expect("there is a lesson of this name");
    let header =
        source.lines().map_while(|line| line.strip_prefix("//!")).map(|line| line.strip_prefix(' ').unwrap_or(""));
    let under_expect = header.skip_while(|line| !line.starts_with("Expect"));
    let fenced =
        under_expect.skip_while(|line| !line.starts_with("```")).skip(1).take_while(|line| !line.starts_with("```"));
    fenced.map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn lessons_are_short_and_explain_how_to_run_them() {
    let lessons = lessons();
    assert!(lessons.len() >= 36, "{} lessons", lessons.len());
    for (place, (name, source)) in iter::zip(1.., &lessons) {
        assert!(name.starts_with(&format!("{place:02}_")), "{name} is number {place}");
        let header = source.lines().take_while(|line| line.starts_with("//!")).count();
        let code = source.lines().skip(header).filter(|line| !line.is_empty()).count();
        // Lesson 26 shows a whole protocol.
        let most = if name == "26_websocket_by_hand" { 100 } else { 80 };
        assert!(header <= 35 && (20..=most).contains(&code), "{name}: {code} lines of code, {header} of header");
        assert!(source.starts_with(&format!("//! Lesson {place}: ")), "{name} begins with its number");
        for part in ["//! Run: `cargo run --example ", "//! Expect", "//! ```text", "//! Why"] {
            assert!(source.contains(part), "{name} lacks {part:?} in its header");
        }
        assert!(!source.contains(".unwrap()"), "{name} calls unwrap");
    }
}

#[test]
fn lessons_without_a_client_print_what_their_headers_show() {
    let names = [
        "01_order_of_ticks_and_timers",
        "02_immediate_against_timeout",
        "05_backpressure_and_drain",
        "06_limits_for_slow_readers",
        "08_slots_and_serials",
        "09_half_open_end_close",
        "11_timers_for_sockets",
        "19_starvation_by_ticks",
        "20_interval_drift",
        "21_testing_by_hand_driven_time",
        #[cfg(feature = "trace")]
        "23_a_slow_callback",
        #[cfg(feature = "trace")]
        "24_cause_and_effect",
        #[cfg(feature = "socket-io")]
        "34_coming_back",
    ];
    let running = names.map(|name| (name, Lesson::start(name, &[])));
    for (name, lesson) in running {
        let wanted = (expected(name), String::new(), true);
        let mut shown = lesson.finish();
        // A machine that stops a lesson for longer than its timers wait changes their order. So it may run three times.
        for _ in 0..2 {
            if shown != wanted {
                shown = Lesson::start(name, &[]).finish();
            }
        }
        assert_eq!(shown, wanted, "{name}");
    }
}

/// `examples/README.md` lists the lessons in their order, each with the command that runs it.
#[test]
fn the_readme_lists_every_lesson() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/README.md");
    let readme = fs::read_to_string(readme).expect("it exists");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| [")).collect();
    let lessons = lessons();
    assert_eq!(rows.len(), lessons.len());
    for (row, (name, _)) in iter::zip(rows, lessons) {
        let link = format!("| [{}]({name}.rs) |", &name[..2]);
        assert!(row.starts_with(&link) && row.contains(&format!("--example {name}")), "{row}");
    }
}

#[test]
fn a_bad_port_prints_the_usage() {
    let names = [
        "03_echo",
        "04_chunks_and_lines",
        "07_chat",
        #[cfg(feature = "process")]
        "10_client",
        "12_telnet_lines",
        #[cfg(feature = "process")]
        "13_shutdown_on_signals",
        "14_proxy",
        "15_pool",
        "16_other_threads",
        "17_live_statistics",
        "18_stock",
        #[cfg(feature = "http")]
        "25_http_page",
        #[cfg(feature = "websocket")]
        "26_websocket_by_hand",
        #[cfg(feature = "websocket")]
        "27_live_board",
        #[cfg(feature = "websocket")]
        "28_one_room_two_doors",
        #[cfg(feature = "socket-io")]
        "30_custom_events",
        #[cfg(feature = "socket-io")]
        "31_rooms",
        #[cfg(feature = "socket-io")]
        "32_who_answered",
        #[cfg(feature = "socket-io")]
        "33_moving_page",
        #[cfg(feature = "inspect")]
        "35_live_page",
    ];
    for name in names {
        let (_, stderr, success) = Lesson::start(name, &["seventy"]).finish();
        assert!(!success && stderr.contains(&format!("usage: {name}")), "{name}: {stderr}");
    }
}
