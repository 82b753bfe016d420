//! A program with a common mistake does not compile, and the compiler's message names what to write.

#[path = "support/library.rs"]
mod library;

use std::fs;
use std::process::Command;

/// The message of rustc for a program, whose main body is `body`; `None` if it compiles.
fn message(library: &library::Library, name: &str, body: &str) -> Option<String> {
    let folder = library::Folder::new("compile_messages");
    let file = folder.path().join(format!("{name}.rs"));
    let program = format!("fn main() -> bucle::Result<()> {{\n    bucle::run(|lp| {{\n{body}\nOk(())\n    }})\n}}\n");
    fs::write(&file, program).expect("the folder can be written");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "--emit", "metadata", "--out-dir"]).arg(folder.path()).args(library.args());
    let output = rustc.arg(&file).output().expect("rustc is there");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(text)
}

#[test]
fn a_mistake_gets_a_message_that_names_what_to_write() {
    let library = library::Library::of_this_test(env!("CARGO_CRATE_NAME"));
    let right = "bucle::net::listen(lp, \"127.0.0.1:9706\", bucle::net::on())?;";
    assert_eq!(message(&library, "right", right), None);
    let table = [
        (
            "a_closure_instead_of_a_handler",
            "bucle::net::listen(lp, 8080, |_: &mut bucle::Loop, _: bucle::net::Socket| ())?;",
            "closures become a handler with `net::on()`",
        ),
        (
            "a_struct_without_the_trait",
            "struct State; bucle::net::listen(lp, 8080, State)?;",
            "`State` handles no events of servers and sockets",
        ),
        (
            "a_port_as_text",
            "bucle::net::listen(lp, (\"127.0.0.1\", \"9706\"), bucle::net::on())?;",
            "`Listen` implements `From<(&str, u16)>`",
        ),
    ];
    for (name, body, hint) in table {
        let text = message(&library, name, body).unwrap_or_else(|| panic!("{name} compiles"));
        assert!(text.contains(hint), "{name}: {hint:?} is missing in\n{text}");
    }
}
