//! The rules of the house that a machine can check.

use std::collections::{HashMap, HashSet};
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
        ("event_loop", &["crate::telnet", "crate::http", "crate::websocket", "crate::cli", "crate::process"]),
        ("net", &["crate::telnet", "crate::http", "crate::websocket", "crate::cli", "crate::process"]),
        ("process", &["crate::telnet", "crate::http", "crate::websocket", "crate::cli", "crate::net"]),
        ("telnet", &["crate::http", "crate::websocket", "crate::cli", "crate::process", "crate::event_loop::"]),
        (
            "http",
            &[
                "crate::telnet",
                "crate::websocket",
                "crate::engine_io",
                "crate::cli",
                "crate::process",
                "crate::event_loop::",
            ],
        ),
        ("websocket", &["crate::telnet", "crate::engine_io", "crate::cli", "crate::process", "crate::event_loop::"]),
        ("engine_io", &["crate::telnet", "crate::redis", "crate::cli", "crate::process", "crate::event_loop::"]),
        (
            "redis",
            &[
                "crate::telnet",
                "crate::http",
                "crate::websocket",
                "crate::engine_io",
                "crate::socket_io",
                "crate::cli",
                "crate::process",
                "crate::event_loop::",
            ],
        ),
        // Signals are noticed through `process`, and a loop is observed through its public hooks.
        (
            "inspect",
            &[
                "crate::telnet",
                "crate::websocket",
                "crate::engine_io",
                "crate::socket_io",
                "crate::redis",
                "crate::cli",
                "crate::event_loop::",
            ],
        ),
        ("socket_io", &["crate::telnet", "crate::cli", "crate::process", "crate::event_loop::"]),
    ];
    for (path, text) in sources() {
        let name = name(&path);
        for (layer, above) in layers.iter().filter(|(layer, _)| name.starts_with(layer)) {
            for word in *above {
                assert!(!code(&text).contains(word), "{name}, of {layer}, names {word}");
            }
        }
        // Only the command starts the inspector.
        assert!(!code(&text).contains("crate::inspect"), "{name} names crate::inspect");
    }
}

#[test]
fn of_socket_io_only_the_redis_adapter_knows_redis() {
    for (path, text) in sources() {
        let name = name(&path);
        if name.starts_with("socket_io") && !name.starts_with("socket_io/redis_adapter") {
            assert!(!code(&text).contains("crate::redis"), "{name} names crate::redis");
        }
    }
}

/// The module that a file is, as a path: `src/cli/load/client.rs` is `cli::load::client`, and `src/lib.rs` the root.
fn module(name: &str) -> Vec<String> {
    let path = name.trim_end_matches(".rs");
    if path == "lib" || path == "main" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The paths of all `use` declarations of a file, with `{…}` written out, without `pub` and `as`.
fn uses(text: &str) -> Vec<Vec<String>> {
    fn expand(prefix: &str, tree: &str, found: &mut Vec<Vec<String>>) {
        let tree = tree.trim();
        match tree.find('{') {
            Some(open) => {
                let (prefix, inner) = (format!("{prefix}{}", &tree[..open]), &tree[open + 1..tree.len() - 1]);
                let (mut depth, mut start) = (0, 0);
                for (at, c) in inner.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            expand(&prefix, &inner[start..at], found);
                            start = at + 1;
                        }
                        _ => {}
                    }
                }
                expand(&prefix, &inner[start..], found);
            }
            None if tree.is_empty() => {}
            None => {
                let path = format!("{prefix}{tree}");
                let path = path.split(" as ").next().unwrap_or_default();
                found.push(path.split("::").map(|part| part.trim().to_owned()).collect());
            }
        }
    }
    let code = code(text);
    // Unit tests at the end of a file may use anything.
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    for statement in code.split(';') {
        let Some(at) = statement.rfind("use ") else { continue };
        if statement[..at]
            .lines()
            .last()
            .is_some_and(|line| !matches!(line.trim(), "" | "pub" | "pub(crate)" | "pub(super)"))
        {
            continue;
        }
        let tree: String = statement[at + 4..].split_whitespace().collect::<Vec<_>>().join(" ").replace("{ ", "{");
        if tree.matches('{').count() == tree.matches('}').count() {
            expand("", &tree, &mut found);
        }
    }
    found
}

/// The files that each file imports from, as numbers of `sources`.
fn imports(sources: &[(String, String)]) -> Vec<HashSet<usize>> {
    let files: HashMap<Vec<String>, usize> =
        sources.iter().enumerate().map(|(number, (name, _))| (module(name), number)).collect();
    let of_file = |(number, (name, text)): (usize, &(String, String))| {
        let targets = uses(text).into_iter().filter_map(|path| {
            let mut base = module(name);
            let mut rest = path.as_slice();
            match rest.first().map(String::as_str)? {
                "crate" => base.clear(),
                "self" => {}
                "super" => {}
                // A submodule of this file, or another crate.
                first => {
                    base.push(first.to_owned());
                    return files.get(&base).copied();
                }
            }
            while let Some(first) = rest.first() {
                match first.as_str() {
                    "super" => drop(base.pop()),
                    "crate" | "self" => {}
                    _ => break,
                }
                rest = &rest[1..];
            }
            // The deepest file that the path leads through.
            for part in rest {
                base.push(part.clone());
                if !files.contains_key(&base) {
                    base.pop();
                    break;
                }
            }
            files.get(&base).copied()
        });
        targets.filter(|&target| target != number).collect()
    };
    sources.iter().enumerate().map(of_file).collect()
}

/// All files but those of tests, by name.
fn sources_by_name() -> Vec<(String, String)> {
    let sources = sources().into_iter().map(|(path, text)| (name(&path), text));
    let is_of_tests =
        |name: &str| ["/tests.rs", "properties.rs", "/smuggling.rs"].iter().any(|end| name.ends_with(end));
    sources.filter(|(name, _)| !is_of_tests(name)).collect()
}

/// Files that import each other, directly or over others. Between `event_loop` and `net` there is a circle that
/// ARCHITECTURE.md describes; the rest of the tree has none. In `http`, `websocket`, `engine_io`, `socket_io` and
/// `redis` a file may import from the file above it, which has the handler and the handle that its folder implements.
#[test]
fn files_of_the_command_and_of_protocols_import_in_no_circle() {
    let mut sources = sources_by_name();
    sources.retain(|(name, _)| {
        ["cli", "telnet", "http", "websocket", "engine_io", "socket_io", "redis", "inspect"]
            .iter()
            .any(|layer| name.starts_with(layer))
    });
    let mut imports = imports(&sources);
    assert!(imports.iter().map(HashSet::len).sum::<usize>() > 200, "the imports were found");
    for (number, targets) in imports.iter_mut().enumerate() {
        let name = &sources[number].0;
        if ["http", "websocket", "engine_io", "socket_io", "redis"].iter().any(|layer| name.starts_with(layer)) {
            targets.retain(|&target| !module(name).starts_with(&module(&sources[target].0)));
        }
    }
    let reaches = |from: usize| {
        let (mut seen, mut open) = (HashSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(imports[file].iter().filter(|&&next| seen.insert(next)));
        }
        seen
    };
    let circle: Vec<&str> =
        (0..sources.len()).filter(|&file| reaches(file).contains(&file)).map(|file| sources[file].0.as_str()).collect();
    assert!(circle.is_empty(), "these files import each other: {circle:?}");
}

/// The names in backticks in the table of ARCHITECTURE.md that lists what the loop calls in `net`.
fn listed_calls() -> HashSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("it is there");
    let table = text.split("| in | the loop calls |").nth(1).expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// What `net` shows outside of itself, and the loop calls, is what ARCHITECTURE.md lists.
#[test]
fn the_loop_calls_of_net_what_is_listed() {
    let sources = sources();
    let of = |layer: &str| -> Vec<String> {
        let files = sources.iter().filter(|(path, _)| name(path).starts_with(layer));
        files.filter(|(path, _)| !name(path).contains("simulated")).map(|(_, text)| code(text)).collect()
    };
    let (net, event_loop) = (of("net"), of("event_loop").join("\n"));
    let shown = net.iter().flat_map(|text| text.split("pub(crate) fn ").skip(1));
    let shown = shown.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
    let called: HashSet<String> =
        shown.filter(|call| event_loop.contains(&format!(".{call}("))).map(str::to_owned).collect();
    let listed = listed_calls();
    let unlisted: Vec<_> = called.difference(&listed).collect();
    assert!(unlisted.is_empty(), "ARCHITECTURE.md does not list that the loop calls {unlisted:?}");
    // The simulated kernel is for tests only.
    for call in listed.iter().filter(|call| !call.contains("::") && !call.starts_with("simulated")) {
        assert!(called.contains(call), "ARCHITECTURE.md lists {call}, which the loop does not call");
    }
}

/// In the load tester only the client knows sockets.
#[test]
fn of_load_only_the_client_knows_sockets() {
    for (path, text) in sources() {
        let name = name(&path);
        let is_client = name == "cli/load/client.rs" || name.starts_with("cli/load/client/");
        if name.starts_with("cli/load") && !is_client {
            // State may be shared all the same.
            let code = code(&text).replace("use bucle::net::Shared;", "");
            assert!(!code.contains("bucle::net"), "{name} names bucle::net");
        }
    }
}

/// The pure files: bytes and values in, values out. Each name stands for a file and the folder beside it.
const PURE: &[&str] = &[
    "backoff",
    "http/body",
    "http/client/request",
    "http/client/response",
    "http/compress",
    "http/fields",
    "http/head",
    "http/refusal",
    "http/syntax",
    "http/url",
    "redis/frame",
    "redis/subscriptions",
    "redis/url",
    "redis/waiting",
    "socket_io/arguments",
    "socket_io/binary",
    "socket_io/client/location",
    "socket_io/json",
    "socket_io/malformed",
    "socket_io/packet",
    "socket_io/redis_adapter/msgpack",
    "telnet/codec",
    "telnet/columns",
    "telnet/edit",
    "telnet/negotiation",
    "telnet/lines",
    "net/utf8",
    "net/address",
    "net/limits/waiting",
    "net/outbox",
    "event_loop/timers",
    "event_loop/trace/chrome",
    "inspect/access",
    "inspect/control",
    "inspect/lessons",
    "inspect/metrics_text",
    "inspect/pacing",
    "inspect/rates",
    "inspect/snapshot",
    "cli/advice",
    "cli/editor",
    "cli/escape",
    "cli/keys",
    "cli/load/check",
    "cli/load/counts",
    "cli/load/fingerprint",
    "cli/load/message",
    "cli/load/plan",
    "cli/load/report",
    "cli/load/schedule",
    "cli/load/script",
    "cli/load/stage",
    "cli/load/threshold",
    "cli/load/units",
    "cli/quiz/answer",
    "cli/quiz/explain",
    "cli/quiz/language",
    "cli/quiz/question_file/parser",
    "cli/quiz/question_file/statement",
    "cli/screen",
    "cli/serve/chat/cluster/node",
    "cli/serve/chat/cluster/view",
    "cli/serve/chat/cluster/wire",
    "cli/serve/chat/names",
    "cli/serve/chat/rooms",
    "cli/target",
    "engine_io/client/url",
    "engine_io/cookie",
    "engine_io/cors",
    "engine_io/error",
    "engine_io/jsonp",
    "engine_io/packet",
    "engine_io/payload",
    "engine_io/query",
    "websocket/close",
    "websocket/deflate",
    "websocket/extensions",
    "websocket/fields",
    "websocket/frame",
    "websocket/handshake",
    "websocket/mask",
    "websocket/receiver",
    "websocket/topics",
    "websocket/utf8",
];

fn is_pure(name: &str) -> bool {
    let path = name.trim_end_matches(".rs");
    PURE.iter().any(|pure| path.strip_prefix(pure).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[test]
fn pure_files_know_neither_loop_nor_clock_nor_log() {
    let sources: Vec<_> = sources().into_iter().map(|(path, text)| (name(&path), text)).collect();
    for pure in PURE {
        assert!(sources.iter().any(|(name, _)| name == &format!("{pure}.rs")), "there is no file {pure}.rs");
    }
    for (name, text) in sources.iter().filter(|(name, _)| is_pure(name)) {
        for word in ["Instant", "log::", "std::io::Read", "std::fs", "std::thread"] {
            assert!(!code(text).contains(word), "{name} is pure, and names {word}");
        }
    }
}

/// A protocol's pure files import from pure files only: no loop, no socket, and nothing of the glue.
#[test]
fn pure_files_of_protocols_import_from_pure_files_only() {
    let sources = sources_by_name();
    let imports = imports(&sources);
    let mut seen = 0;
    for (number, (name, _)) in sources.iter().enumerate() {
        let is_of_protocol = ["telnet/", "http/", "websocket/", "engine_io/", "socket_io/", "redis/"]
            .iter()
            .any(|layer| name.starts_with(layer));
        if !is_pure(name) || !is_of_protocol {
            continue;
        }
        for &target in &imports[number] {
            let target = &sources[target].0;
            assert!(is_pure(target), "{name} is pure, and imports from {target}");
            seen += 1;
        }
    }
    assert!(seen > 20, "the imports were found");
}

/// rustfmt does not break comments. Tables, programs and addresses may be longer.
#[test]
fn prose_in_comments_fits_in_120_columns() {
    for (name, text) in sources_by_name() {
        let mut is_program = false;
        for (number, line) in text.lines().enumerate() {
            let comment = line.trim_start().strip_prefix("//");
            is_program = match comment.map(|comment| comment.trim_start_matches(['/', '!', ' '])) {
                Some(comment) if comment.starts_with("```") => !is_program,
                Some(_) => is_program,
                None => false,
            };
            let may_be_long = is_program || line.contains("| ") || line.contains("://");
            let is_long = comment.is_some() && line.chars().count() > 120;
            assert!(may_be_long || !is_long, "{name}, line {}, is longer than 120 columns", number + 1);
        }
    }
}

/// What is unfinished does not pass the lints; see `Cargo.toml`.
#[test]
fn nothing_is_unsafe_or_undocumented() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("lib.rs");
    assert!(lib.contains("#![forbid(unsafe_code)]") && lib.contains("#![deny(missing_docs)]"));
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
