//! Checks of the documents: links, names, files and lengths of lines.
//!
//! `docs/node.md` has tables of names. rustdoc knows whether a name exists, also that of a field or of a method of a
//! trait: this test writes a crate whose only text is a list of links to them, and rustdoc resolves the links.
//! `compile_messages.rs` is about the messages of the compiler, `readme.rs` about the commands of the READMEs.

#[path = "../support/library.rs"]
mod library;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// The documents for users and for developers, as paths from the root.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in [".", "docs"] {
        for entry in fs::read_dir(root().join(folder)).expect("the folder is there").flatten() {
            let name = entry.file_name().into_string().expect("a name is UTF-8");
            if name.ends_with(".md") {
                found.push(if folder == "." { name } else { format!("{folder}/{name}") });
            }
        }
    }
    for other in ["examples/README.md", "benches/README.md", "fuzz/README.md", "tests/interop/README.md"] {
        found.push(other.to_owned());
    }
    found.sort();
    assert!(found.len() > 10, "the documents were found: {found:?}");
    found
}

/// The targets of the links of a document: `[text](target)`, and `[name]: target` on a line of its own.
fn links(text: &str) -> Vec<&str> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let named = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once("]: "));
    inline.chain(named.map(|(_, target)| target)).collect()
}

/// The anchor that forges make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn the_documents_link_to_what_is_there() {
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().expect("a folder").to_owned();
        for link in links(&text).into_iter().filter(|link| !link.starts_with("http")) {
            let (file, part) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&document) } else { folder.join(file) };
            assert!(target.exists(), "{document} links to {link}");
            if !part.is_empty() {
                let text = fs::read_to_string(&target).expect("a link to a part is one into a document");
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|line| anchor(line.trim_start_matches('#')) == part);
                assert!(is_there, "{document} links to {link}, and there is no such heading");
            }
        }
    }
}

/// A document that no other one links to is not found by readers.
#[test]
fn the_readme_links_to_every_page_of_docs() {
    let readme = read("README.md");
    let linked: BTreeSet<&str> =
        links(&readme).into_iter().map(|link| link.split('#').next().unwrap_or(link)).collect();
    for document in documents().iter().filter(|document| document.starts_with("docs/")) {
        assert!(linked.contains(document.as_str()), "README.md does not link to {document}");
    }
}

#[test]
fn the_readmes_are_short_and_narrow() {
    for document in ["README.md", "README.es.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let text = read(document);
        assert!(text.lines().count() <= 250, "{document} has {} lines", text.lines().count());
        for (number, line) in text.lines().enumerate() {
            assert!(line.chars().count() <= 120, "{document}, line {}, is longer than 120 columns", number + 1);
        }
    }
}

/// Prose is broken at 120 columns. A row of a table cannot be, and neither can a line of a program's output.
#[test]
fn the_prose_of_docs_is_narrow() {
    let of_docs = |document: &&String| document.starts_with("docs/");
    for document in documents().iter().filter(of_docs) {
        let mut in_block = false;
        for (number, line) in read(document).lines().enumerate() {
            in_block ^= line.trim_start().starts_with("```");
            let may_be_long = in_block || line.starts_with('|') || line.starts_with("![");
            assert!(
                may_be_long || line.chars().count() <= 120,
                "{document}, line {}, is longer than 120 columns",
                number + 1
            );
        }
    }
}

/// Files that the text names without a link. `NAME` and `NN` stand for a name that the reader chooses.
#[test]
fn the_documents_name_files_that_are_there() {
    let folders = ["src/", "tests/", "examples/", "fuzz/", "docs/", "benches/", "images/", ".ci/"];
    let mut seen = 0;
    for document in documents().iter().filter(|document| !document.ends_with("CHANGELOG.md")) {
        let text = read(document);
        let paths = spans(&text).filter(|span| folders.iter().any(|folder| span.starts_with(folder)));
        for path in paths.filter(|path| !path.contains([' ', '*', '{', '…']) && !path.contains("NAME")) {
            assert!(root().join(path).exists(), "{document} names {path}");
            seen += 1;
        }
    }
    assert!(seen > 100, "the paths were found: {seen}");
}

#[test]
fn the_readme_lists_the_features_and_which_of_them_are_enabled() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[features]").nth(1).and_then(|rest| rest.split("\n[").next()).expect("features");
    let lines = section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let features: BTreeMap<&str, Vec<&str>> =
        lines.map(|(name, list)| (name, list.split('"').skip(1).step_by(2).collect())).collect();
    let (mut enabled, mut open) = (BTreeSet::new(), vec!["cli"]);
    while let Some(name) = open.pop() {
        open.extend(features.get(name).into_iter().flatten().copied().filter(|&next| enabled.insert(next)));
    }
    let default = |name: &str| match name {
        "cli" => "yes",
        _ if enabled.contains(name) => "through `cli`",
        _ => "no",
    };
    let readme = read("README.md");
    let table = readme.split("| feature | adds | default |").nth(1).expect("the table is there");
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| `")).map(|row| {
        let (name, last) = (row.split('`').next(), row.trim_end_matches(" |").rsplit("| ").next());
        (name.expect("a name"), last.expect("a default"))
    });
    let want = features.keys().filter(|name| **name != "default").map(|name| (*name, default(name)));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), want.collect());
}

/// A program in a document is an example that `cargo test` compiles, because `src/lib.rs` includes the document.
#[test]
fn every_document_with_a_program_is_compiled() {
    let lib = read("src/lib.rs");
    for document in documents() {
        let has_program = read(&document).lines().any(|line| line.trim_start().starts_with("```rust"));
        let is_included = lib.contains(&format!("include_str!(\"../{document}\")"));
        assert!(!has_program || is_included, "src/lib.rs does not include {document}, which has a program");
    }
}

/// The code spans of a text: what stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names of the right-hand columns of all tables whose heading is a path of the library, such as
/// `` | Node, `net` | `bucle::net` | ``, as full paths.
fn names_of_tables(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut module = None;
    for line in text.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [_, right] = cells[..] else {
            if !line.starts_with("|---") {
                module = None;
            }
            continue;
        };
        match module {
            None => {
                let heading = spans(right).next().expect("the heading of a table of names is a path").to_owned();
                assert!(heading.starts_with("bucle"), "{line} is the heading of a table of names");
                module = Some(heading);
            }
            Some(ref module) => names.extend(spans(right).filter_map(|span| full_path(module, span))),
        }
    }
    names
}

/// `None` for code that is no name: values and strings, and names of the standard library.
fn full_path(module: &str, span: &str) -> Option<String> {
    let of_root = ["engine_io::", "http::", "net::", "process::", "trace::"];
    let is_path = span.split("::").all(|part| part.starts_with(|c: char| c.is_alphabetic() || c == '_'));
    let is_name = is_path && span.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':'));
    if !is_name || matches!(span, "Err" | "false" | "true" | "lp") || span.starts_with("std::") {
        return None;
    }
    let is_of_root = of_root.iter().any(|start| span.starts_with(start));
    Some(if is_of_root { format!("bucle::{span}") } else { format!("{module}::{span}") })
}

#[test]
fn every_name_of_the_tables_for_node_exists() {
    if !cfg!(all(feature = "process", feature = "socket-io", feature = "trace")) {
        eprintln!("skipped: the names are those of all features");
        return;
    }
    let names = names_of_tables(&read("docs/node.md"));
    assert!(names.len() > 200, "the names were found: {names:?}");
    let exists = |name: &str| cfg!(feature = "redis") || !name.contains("redis");
    let problems = unknown_names(names.iter().map(String::as_str).filter(|name| exists(name)));
    assert_eq!(problems, "", "docs/node.md has names that the library has not");
    let problems = unknown_names(["bucle::Loop::set_timeout", "bucle::Loop::set_timeouts"].into_iter());
    assert!(problems.contains("set_timeouts"), "a name that does not exist is found: {problems}");
}

/// The words of Node in a code span: names of calls, properties and events, without arguments.
fn words_of_node(span: &str) -> Vec<&str> {
    let is_word = |text: &str| {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic());
        starts_well && text.len() > 2 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    // `socket.on('data', f)` has the event in its argument, and `'end'` is one.
    let event = span.split("on('").nth(1).or(span.strip_prefix('\'')).and_then(|rest| rest.split('\'').next());
    let before_arguments = span.split(['(', '\'']).next().unwrap_or(span);
    let names = before_arguments.split(['.', ' ', ':']).filter(|part| !matches!(*part, "new" | "manager"));
    names.chain(event).filter(|text| is_word(text)).collect()
}

/// Readers would not find a misspelled name of Node. It is enough that Node's sources, or those of the package, have
/// the word.
#[test]
fn every_name_of_node_in_the_tables_is_one_of_node() {
    let is_installed = Command::new("node").arg("--version").output().is_ok();
    let modules = root().join("tests/interop/node_modules");
    let packages = ["ws", "socket.io", "socket.io-client", "engine.io", "engine.io-client", "@socket.io"];
    let folders: Vec<PathBuf> = packages.iter().map(|package| modules.join(package)).collect();
    if !is_installed || !folders.iter().all(|folder| folder.exists()) {
        eprintln!("skipped: Node, or the packages of tests/interop, are not installed");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "Node and the packages of tests/interop are needed");
        return;
    }
    let text = read("docs/node.md");
    let cells = text.lines().filter(|line| line.starts_with('|')).filter_map(|line| line.split(" | ").next());
    let words: BTreeSet<&str> = cells.flat_map(spans).flat_map(words_of_node).collect();
    assert!(words.len() > 150, "the words were found: {words:?}");
    let missing = |words: &[&str]| {
        let mut node = Command::new("node");
        node.arg(root().join("tests/documents/node_names.js")).arg(serde_json::json!(words).to_string()).args(&folders);
        let output = node.output().expect("node is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(missing(&["setNoDelay", "setNoDelayed"]), "setNoDelayed\n", "a word that does not exist is found");
    let words: Vec<&str> = words.into_iter().filter(|word| !matches!(*word, "isAlive")).collect();
    assert_eq!(missing(&words), "", "docs/node.md has words that Node has not");
}

/// Lets rustdoc look up these names. Returns what it says about those that do not exist.
fn unknown_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let library = library::Library::of_this_test(env!("CARGO_CRATE_NAME"));
    let folder = library::Folder::new("names");
    let source: String = names.map(|name| format!("//! [`{name}`]\n")).collect();
    let file = folder.path().join("names.rs");
    fs::write(&file, format!("#![deny(rustdoc::broken_intra_doc_links)]\n{source}")).expect("the folder is there");
    let mut rustdoc = Command::new("rustdoc");
    rustdoc.args(["--edition", "2024", "--crate-name", "names", "--output"]).arg(folder.path().join("doc"));
    let output = rustdoc.args(library.args()).arg(&file).output().expect("rustdoc is there, beside rustc");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), text.is_empty(), "{text}");
    text
}
