//! `bucle completions` and `bucle man`: both are made from the options, so they know every option of `--help`.

#![cfg(feature = "cli")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The commands that users call.
const COMMANDS: [&str; 6] = ["serve", "connect", "load", "quiz", "completions", "man"];

fn bucle(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bucle")).args(args).stdin(Stdio::null()).output().expect("the program starts")
}

fn printed(args: &[&str]) -> String {
    let output = bucle(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The long options in the help of a command: the words at the beginning of lines.
fn options_of(command: &str) -> BTreeSet<String> {
    let help = printed(&[command, "--help"]);
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let words = lines.flat_map(|line| line.split_whitespace().take(2));
    let options = words.filter(|word| word.starts_with("--")).map(|word| word.trim_end_matches('.').to_owned());
    let options: BTreeSet<String> = options.collect();
    assert!(options.contains("--help"), "{command}: {options:?}");
    options
}

#[test]
fn the_scripts_for_all_shells_know_every_option() {
    assert!(options_of("serve").len() > 15 && options_of("load").len() > 20, "the options were found");
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
            for option in options_of(command) {
                // fish writes the name without dashes.
                let written = if shell == "fish" { format!("-l {}", &option[2..]) } else { option };
                assert!(script.contains(&written), "{shell}: {written} of {command}");
            }
        }
        assert!(!script.contains("worker"), "{shell}: the option is hidden");
    }
}

#[test]
fn another_shell_is_an_error_that_lists_the_shells() {
    let output = bucle(&["completions", "tcsh"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("[possible values: bash, zsh, fish]"), "{stderr}");
}

/// What bash offers for the last word of a command line.
fn completed(line: &[&str]) -> Vec<String> {
    let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = line.split_last().expect("words");
    let before = before.last().copied().unwrap_or_default();
    let script = format!(
        "set -eu; source <({} completions bash); COMP_WORDS=({}); COMP_CWORD={}; \
         _bucle bucle '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        env!("CARGO_BIN_EXE_bucle"),
        words.join(" "),
        line.len() - 1
    );
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash is there");
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let table: [(&[&str], &[&str]); 5] = [
        (&["bucle", "se"], &["serve"]),
        (&["bucle", "serve", "ec"], &["echo"]),
        (&["bucle", "serve", "--reu"], &["--reuse-port"]),
        (&["bucle", "load", "--fail"], &["--fail-fast", "--fail-if"]),
        (&["bucle", "completions", ""], &["bash", "zsh", "fish"]),
    ];
    for (line, want) in table {
        let offered = completed(line);
        for word in want {
            assert!(offered.iter().any(|other| other == word), "{line:?}: {offered:?}");
        }
    }
}

/// A new folder with the pages, and their text by name.
fn pages(name: &str) -> (PathBuf, Vec<(String, String)>) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let listed = printed(&["man", folder.to_str().expect("a path in UTF-8")]);
    let read = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        (name, fs::read_to_string(path).expect("a listed page is there"))
    };
    (folder, listed.lines().map(read).collect())
}

#[test]
fn there_is_a_page_for_each_command_with_every_option() {
    let (folder, pages) = pages("pages");
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    let want: Vec<String> = COMMANDS.iter().map(|command| format!("bucle-{command}.1")).collect();
    assert_eq!(names[0], "bucle.1");
    assert_eq!(names[1..], want);
    for (command, (name, page)) in COMMANDS.iter().zip(&pages[1..]) {
        // roff writes a dash as `\-`.
        let page = page.replace("\\-", "-");
        for option in options_of(command) {
            assert!(page.contains(&format!("\\fB{option}\\fR")), "{name}: {option}");
        }
        for title in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"] {
            let is_there =
                page.lines().any(|line| line == format!(".SH {title}") || line == format!(".SH \"{title}\""));
            assert!(is_there, "{name}: {title}");
        }
        assert!(pages[0].1.contains(&format!("bucle\\-{command}")), "bucle.1 leads to {name}");
    }
    fs::remove_dir_all(folder).expect("it is there");
}

#[test]
fn every_option_of_a_page_has_a_text() {
    for (name, page) in pages("texts").1 {
        // An entry is its term in one line, and its text in the lines up to the next macro.
        let mut entries = page.split("\n.TP").skip(1).peekable();
        assert!(entries.peek().is_some(), "{name}");
        for entry in entries {
            let lines: Vec<&str> = entry.lines().skip(1).collect();
            let text = lines.iter().skip(1).find(|line| !line.is_empty() && !line.starts_with('.'));
            assert!(text.is_some_and(|text| !text.starts_with('[')), "{name}: {lines:?}");
        }
    }
}

#[test]
fn a_page_has_the_notes_and_examples_of_the_help() {
    for (name, page) in pages("notes").1 {
        let page = page.replace(r"\-", "-");
        let Some(command) = name.strip_prefix("bucle-").and_then(|name| name.strip_suffix(".1")) else { continue };
        let help = printed(&[command, "--help"]);
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_default();
        for example in examples.lines() {
            // Quotes are written in another way there.
            let begin = example.trim().split(['\'', '"', '\\']).next().unwrap_or_default();
            assert!(page.contains(begin), "{name}: {begin:?}");
        }
        for note in [
            ("connect", "Ctrl-R"),
            ("connect", "XDG_STATE_HOME"),
            ("connect", "143"),
            ("load", "sio://"),
            ("serve", "LISTEN_FDS"),
        ] {
            assert!(note.0 != command || page.contains(note.1), "{name}: {note:?}");
        }
    }
}

#[test]
fn man_shows_the_pages_without_a_warning() {
    if Command::new("man").arg("--version").output().is_err() {
        assert!(std::env::var("CI").is_err(), "man, of man-db, is not installed");
        eprintln!("skipped: man is not installed");
        return;
    }
    let (folder, pages) = pages("shown");
    for (name, _) in pages {
        let mut command = Command::new("man");
        command.args(["--warnings", "-P", "cat", "-l"]).arg(folder.join(&name)).env("MANWIDTH", "80");
        let output = command.env("LC_ALL", "C.UTF-8").output().expect("it is there");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{name}: {stderr}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("SYNOPSIS\n       bucle"), "{name}: {text}");
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(longest <= 80, "{name}: a line of {longest} columns");
    }
    fs::remove_dir_all(folder).expect("it is there");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let output = bucle(&["man", "/dev/null/pages"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: cannot make the folder /dev/null/pages: "), "{stderr}");
}
