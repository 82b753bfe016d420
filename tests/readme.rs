//! Every command of the READMEs does what the reader expects.
//!
//! The commands are the lines with a `$` in blocks of the kind `console`. They run in their order, as a reader would
//! type them, with these differences:
//!
//! * `cargo run` is replaced by the program that cargo has built. An option `--release` is ignored.
//! * A server gets port 0, and the commands after it get its real port instead of 8080. It runs until the next server
//!   starts, and must end in order.
//! * Numbers are smaller (`SMALLER`), so that a busy machine without optimization has no trouble with them.
//! * What a reader types into a command is in the table of `input`.
//! * `cargo test` is not run inside of itself. If it names a test, the test must exist.
//!
//! The lines under a command are its output. Lesson 01 must print exactly them. Of other commands the first words of
//! the lines must appear in the output, in this order, because the numbers differ each time.
//!
//! A command of an unknown kind fails the test: it needs a line in `run`.
#![cfg(all(unix, feature = "cli"))]

#[expect(dead_code, reason = "this test needs a part of it")]
#[path = "support/server.rs"]
mod server;
#[expect(dead_code, reason = "the server needs it")]
#[path = "support/vitals.rs"]
mod vitals;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use server::Server;

/// Parts of commands, and what is run instead.
const SMALLER: &[(&str, &str)] =
    &[("-r 20k", "-r 500"), ("-c 10k", "-c 100"), ("-d 5s", "-d 500ms"), ("-c 50 --in-flight", "-c 5 --in-flight")];

/// A command, and the lines that are shown under it.
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The commands of the blocks of the kind `console`.
fn steps(document: &str) -> Vec<Step> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).expect("it is there");
    let mut steps: Vec<Step> = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_block) {
            let command = command.split("  #").next().unwrap_or(command).trim().to_owned();
            steps.push(Step { command, shown: Vec::new() });
        } else if in_block {
            steps.last_mut().expect("a block begins with a command").shown.push(line.to_owned());
        }
    }
    assert!(steps.len() > 3, "the commands of {document} were found");
    steps
}

/// What the reader types into a command.
fn input(command: &str) -> &'static str {
    match command {
        _ if command.contains("--step") => "\n\n\n\n\n\n\n\n\n\n",
        _ if command.contains(" quiz 5") => "d e b a c\n",
        _ if command.contains(" connect") => "/who\n",
        _ => "",
    }
}

/// A command that is killed after a minute, which no correct one needs.
fn limited(program: &Path) -> Command {
    let mut command = Command::new("timeout"); // Of coreutils.
    command.args(["--signal", "KILL", "60"]).arg(program);
    command
}

/// Runs a program to its end, and returns its output.
fn output(program: &Path, args: &[&str], input: &str) -> String {
    let mut command = limited(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads, or has enough room");
    let output = child.wait_with_output().expect("it is our child");
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{program:?} {args:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}

fn bucle() -> PathBuf {
    env!("CARGO_BIN_EXE_bucle").into()
}

fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let profile = test.parent().and_then(Path::parent).expect("the test is target/PROFILE/deps/…");
    let program = profile.join("examples").join(name);
    assert!(program.exists(), "{} is missing: run `cargo build --examples`", program.display());
    program
}

/// The first words of the shown lines are those of lines of the output, in the same order. `…` is left out.
fn assert_shows(step: &Step, output: &str) {
    let word = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let mut printed = output.lines().filter_map(word);
    for line in &step.shown {
        let Some(shown) = word(line).filter(|word| word != "…") else { continue };
        assert!(printed.any(|word| word == shown), "{}: no line begins with {shown:?} in\n{output}", step.command);
    }
}

/// Ends a server as Ctrl-C does.
fn end(server: Option<Server>) {
    if let Some(server) = server {
        server.signal("INT");
        let (status, log) = server.end();
        assert_eq!(status, Some(0), "{log}");
    }
}

/// A telnet client, which needs a terminal and one that is not installed everywhere.
fn talk_by_telnet(port: &str) {
    if Command::new("telnet").arg("--version").stdin(Stdio::null()).output().is_err() {
        eprintln!("skipped: telnet is not installed");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "telnet is not installed");
        return;
    }
    // `script` provides a terminal. The client ends when the chat has closed the connection, after `/quit`.
    let mut command = limited(Path::new("script"));
    command
        .args(["-qc", &format!("telnet localhost {port}"), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("script is there, with util-linux");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"/help\n/quit\n").expect("it has enough room");
    let mut text = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut text).expect("it is text");
    drop(stdin);
    child.wait().expect("it was started");
    assert!(text.contains("Connected to localhost") && text.contains("/nick"), "{text}");
}

/// Runs one command. `server` is the server that runs, if there is one.
fn run(step: &Step, server: &mut Option<Server>) {
    let mut command = step.command.clone();
    for (number, smaller) in SMALLER {
        command = command.replace(number, smaller);
    }
    if command.ends_with(" connect") {
        command += " :8080"; // Its default.
    }
    if let Some(server) = server {
        command = command.replace("8080", &server.address.port().to_string());
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    let words: Vec<&str> = match words[..] {
        ["cargo", "run", "--release", "--", ref args @ ..] => [&["bucle"], args].concat(),
        _ => words,
    };
    match words[..] {
        ["cargo", "test"] => {}
        ["cargo", "test", "--test", name] => {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(format!("{name}.rs"));
            assert!(file.exists(), "{command}: there is no such test");
        }
        ["cargo", "run", "--example", name] => {
            let text = output(&example(name), &[], "");
            let shown: String = step.shown.iter().map(|line| format!("{line}\n")).collect();
            assert!(shown.is_empty() || text == shown, "{command} prints\n{text}");
        }
        ["bucle", "serve", ref args @ ..] => {
            end(server.take());
            let args: Vec<&str> =
                args.iter().flat_map(|&arg| if arg.starts_with("--") { vec![arg, "0"] } else { vec![arg] }).collect();
            *server = Some(Server::start(&args));
        }
        ["bucle", ref args @ ..] => assert_shows(step, &output(&bucle(), args, input(&command))),
        ["telnet", "localhost", port] => talk_by_telnet(port),
        _ => panic!("{command:?} is a command of an unknown kind"),
    }
}

fn run_all(document: &str) {
    let mut server = None;
    for step in steps(document) {
        run(&step, &mut server);
    }
    end(server);
}

#[test]
fn every_command_of_the_readme_runs() {
    run_all("README.md");
}

#[test]
fn every_command_of_the_spanish_readme_runs() {
    run_all("README.es.md");
}
