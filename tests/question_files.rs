//! The programs of question files print what Node prints. `tests/quiz/question_file.js` translates them to JavaScript.
#![cfg(all(unix, feature = "cli"))]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Programs, and what makes each of them special.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "ticks and microtasks",
        "microtask\n print micro\n tick\n  print micro_tick\n microtask\n  print micro_micro\ntick\n print tick\n microtask\n  \
         print tick_micro\nprint main\n",
    ),
    (
        "immediates and timers",
        "timeout 5\n print five\n tick\n  print tick\ntimeout 90\n print ninety\ntimeout 5\n print five again\nwork 10\n\
         immediate\n print immediate\n immediate\n  print nested\n",
    ),
    (
        "an end after an end",
        "server\n on connection\n  end\nconnect\n on connect\n  end\n   print one\n  end\n   print two\n  tick\n   print \
         tick\n  print connected\n on finish\n  print finish\n on close\n  print closed\n",
    ),
    (
        "a text, then an end",
        "server\n on data\n  end adios\nconnect\n on connect\n  print connect\n  end hola\n  end\n on data\n  print data\n \
         on end\n  print ended\n on finish\n  print finish\n on close\n  print close\n",
    ),
    (
        "no data and no listener",
        "server\n on connection\n  end\nconnect\n on end\n  print ended\n on close\n  print closed\n",
    ),
    (
        "unread data, and a destroy",
        "server\n on connection\n  end hola\nconnect\n on connect\n  print connect\n  timeout 50\n   destroy\n on close\n  \
         print closed\n",
    ),
    (
        "a write after an end",
        "server\n on connection\n  end\nconnect\n on connect\n  end\n  write more\n   print callback\n  print connected\n \
         on error\n  print error\n on close\n  print closed\n",
    ),
    (
        "a second write to a closed peer",
        "server\n on connection\n  destroy\nconnect\n on connect\n  print connected\n  write hi\n  end bye\n on error\n  \
         print error\n on close\n  print closed\n",
    ),
    (
        "a write in the end",
        "server\n on connection\n  end\nconnect\n on connect\n  print connected\n on end\n  print ended\n  write bye\n   \
         print written\n on finish\n  print finish\n on close\n  print closed\n",
    ),
    (
        "an answer from the server",
        "server\n on connection\n  write hola\n on data\n  end\nconnect\n on data\n  write back\n   print written\n  print \
         data\n  immediate\n   print immediate\n  end\n   print callback\n on finish\n  print finish\n on end\n  print \
         ended\n on close\n  print closed\n",
    ),
    (
        "the side of the server",
        "server\n on connection\n  print accepted\n on data\n  print data\n  tick\n   print tick\n on end\n  print ended\n \
         on finish\n  print finish\n on close\n  print closed\nconnect\n on connect\n  end hola\n",
    ),
];

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines that `bucle quiz --step` reports as printed.
fn printed_by_bucle(file: &Path) -> Vec<String> {
    let mut quiz = Command::new(env!("CARGO_BIN_EXE_bucle"));
    let output = run(quiz.args(["quiz", "1", "--step", "--file"]).arg(file));
    let steps = text(&output.stdout);
    assert!(output.status.success(), "{}{steps}", text(&output.stderr));
    steps.split("prints \"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn programs_of_question_files_print_what_node_prints() {
    let Ok(version) = Command::new("node").arg("--version").output() else {
        assert_ne!(env::var("CI").as_deref(), Ok("true"), "node is not installed");
        eprintln!("skipped: node is not installed");
        return;
    };
    let version = text(&version.stdout);
    if !version.starts_with("v20.") {
        eprintln!("skipped: the reference is node v20, but this is {version}");
        return;
    }
    let folder = Folder(env::temp_dir().join(format!("bucle-question-files-{}", std::process::id())));
    fs::create_dir_all(&folder.0).expect("the folder of temporary files takes a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quiz/question_file.js");
    for (title, program) in PROGRAMS {
        let file = folder.0.join("question.txt");
        fs::write(&file, format!("title {title}\n{program}")).expect("the folder takes a file");
        let node = run(Command::new("node").arg(&script).arg(&file));
        assert!(node.status.success(), "{title}: {}", text(&node.stderr));
        let lines: Vec<String> = text(&node.stdout).lines().map(str::to_owned).collect();
        assert_eq!(printed_by_bucle(&file), lines, "{title}");
    }
}
