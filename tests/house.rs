//! The rules of the house that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("the sources are there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 20, "the sources were found");
    found
}

/// A path below `src`, with `/` on every system.
fn name(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("a source");
    below.to_string_lossy().replace('\\', "/")
}

/// The text without comments, in which everything may be named.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn only_the_loop_net_and_process_know_the_kernel() {
    for (path, text) in sources() {
        let name = name(&path);
        if ["event_loop", "net", "process"].iter().any(|part| name.starts_with(part)) {
            continue;
        }
        for word in ["mio::", "rustix", "signal_hook", "socket2::"] {
            assert!(!code(&text).contains(word), "{name} names {word}");
        }
    }
}

#[test]
fn imports_point_down() {
    let layers: &[(&str, &[&str])] = &[
        ("event_loop", &["crate::telnet", "crate::cli", "crate::process"]),
        ("net", &["crate::telnet", "crate::cli", "crate::process"]),
        ("process", &["crate::telnet", "crate::cli", "crate::net"]),
        ("telnet", &["crate::cli", "crate::process", "crate::event_loop::"]),
    ];
    for (path, text) in sources() {
        let name = name(&path);
        for (layer, above) in layers.iter().filter(|(layer, _)| name.starts_with(layer)) {
            for word in *above {
                assert!(!code(&text).contains(word), "{name}, of {layer}, names {word}");
            }
        }
    }
}

#[test]
fn pure_files_know_neither_loop_nor_clock_nor_log() {
    let pure = [
        "telnet/codec",
        "telnet/negotiation",
        "telnet/lines",
        "net/utf8",
        "net/address",
        "net/limits/waiting",
        "net/outbox",
        "event_loop/timers",
        "cli/advice",
        "cli/editor",
        "cli/escape",
        "cli/keys",
        "cli/load/check",
        "cli/load/message",
        "cli/load/schedule",
        "cli/load/script",
        "cli/load/threshold",
        "cli/quiz/answer",
        "cli/quiz/explain",
        "cli/screen",
        "cli/serve/chat/rooms",
        "cli/target",
    ];
    for (path, text) in sources() {
        let name = name(&path);
        if pure.iter().any(|part| name.starts_with(part)) {
            for word in ["Instant", "log::", "std::io::Read", "std::fs", "std::thread"] {
                assert!(!code(&text).contains(word), "{name} is pure, and names {word}");
            }
        }
    }
}

/// What is unfinished does not pass the lints; see `Cargo.toml`.
#[test]
fn nothing_is_unsafe_or_undocumented() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("lib.rs");
    assert!(lib.contains("#![forbid(unsafe_code)]") && lib.contains("#![deny(missing_docs)]"));
}

#[test]
fn the_documents_link_to_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in ["README.md", "ARCHITECTURE.md", "examples/README.md"] {
        let text = fs::read_to_string(root.join(document)).expect("it is there");
        let folder = root.join(document).parent().expect("a folder").to_owned();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http") && !link.starts_with('#')) {
            assert!(folder.join(link).exists(), "{document} links to {link}");
        }
    }
}

/// The library alone is small: mio, slab, log, socket2 and memchr, and what those need.
#[test]
fn the_library_has_seven_crates() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal", "--no-default-features", "--prefix", "none", "--locked", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs the tests, so it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let mut crates: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    crates.sort_unstable();
    crates.dedup();
    assert_eq!(crates, ["bucle", "libc", "log", "memchr", "mio", "slab", "socket2"]);
}
