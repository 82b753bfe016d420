//! `docs/load-report.schema.json` and `docs/load-plan.schema.json` describe what `--json` prints, key by key.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::command::{Run, Served, load};
use crate::server::Server;

/// Whether Python has the package `jsonschema`. Without it these tests are skipped.
fn has_validator() -> bool {
    let found = Command::new("python3").args(["-c", "import jsonschema"]).stderr(Stdio::null()).status();
    let has = found.is_ok_and(|status| status.success());
    if !has {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "there is no jsonschema for python3");
        println!("skipped: there is no jsonschema for python3");
    }
    has
}

/// Validates objects; the error is that of the validator.
fn validate(schema: &str, objects: &[Value]) -> Result<(), String> {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut child = Command::new("python3")
        .arg(format!("{root}/tests/load/validate.py"))
        .arg(format!("{root}/docs/{schema}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let lines: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let written = child.stdin.take().expect("it is piped").write_all(lines.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => {
            written.expect("it reads everything");
            assert_eq!(text(&output.stdout), objects.len().to_string());
            Ok(())
        }
        false => Err(text(&output.stderr)),
    }
}

#[test]
fn reports_of_every_model_and_result_fit_the_schema() {
    if !has_validator() {
        return;
    }
    let echo = Server::echo();
    let wrong = Server::lines(|_, _, _| b"no\n".to_vec());
    let closed = echo.closed_port();
    let script = std::env::temp_dir().join(format!("bucle-load-schema-{}", std::process::id()));
    std::fs::write(&script, "send hola\\n\nexpect hola\n").expect("a file can be written");
    let name = script.to_str().expect("a name");
    let served = Served::start(&["echo", "--port", "0", "--http", "0"]);
    let web = format!("ws://127.0.0.1:{}/", served.web_port());
    let (good, bad, none) = (format!(":{}", echo.port), format!(":{}", wrong.port), format!(":{closed}"));
    let table: &[(&str, &[&str], i32)] = &[
        (&good, &["-d", "600ms", "--warmup", "100ms"], 0),
        (&good, &["-r", "100", "-d", "300ms"], 0),
        (&good, &["--hold", "-d", "200ms"], 0),
        (&good, &["--churn", "-n", "20"], 0),
        (&good, &["--script", name, "-n", "10"], 0),
        (&good, &["-n", "20", "--expect", "none", "--procs", "2"], 0),
        (&good, &["-n", "20", "--ramp", "1k/s", "--fail-if", "p99>1us", "--reconnect"], 5),
        (&good, &["--expect", "prefix:no", "-n", "4", "--fail-fast"], 4),
        (&bad, &["-n", "4"], 4),
        (&none, &["-n", "4"], 3),
        (&web, &["-n", "20"], 0),
    ];
    let run = |&(target, args, exit): &(&str, &[&str], i32)| {
        Run::start(&[&[target, "-c", "2", "--timeout", "2s", "--json"], args].concat()).end().json(exit)
    };
    let mut reports: Vec<Value> = table.iter().map(run).collect();
    std::fs::write(&script, reports[0].to_string()).expect("a file can be written");
    let args = ["-c", "2", "-d", "600ms", "--warmup", "100ms", "--timeout", "2s", "--compare", name, "--json"];
    reports.push(load(&echo, &args).json(0));
    std::fs::remove_file(&script).expect("it is there");
    assert_eq!(validate("load-report.schema.json", &reports), Ok(()));
    // The validator refuses a wrong object.
    let mut spoiled = reports[0].clone();
    spoiled["messages"]["exact"] = (-1).into();
    assert!(validate("load-report.schema.json", &[spoiled]).is_err_and(|why| why.contains("$.messages.exact")));
    let mut longer = reports[0].clone();
    longer["undocumented"] = 1.into();
    assert!(validate("load-report.schema.json", &[longer]).is_err_and(|why| why.contains("undocumented")));
}

#[test]
fn plans_fit_the_schema() {
    if !has_validator() {
        return;
    }
    let plan = |args: &[&str]| -> Value {
        let run = Run::start(&[&["--dry-run", "--json"], args].concat()).end();
        serde_json::from_str(&run.stdout).expect("one object")
    };
    let plans =
        [plan(&[]), plan(&["-c", "100M"]), plan(&["unix:/tmp/x"]), plan(&["nowhere.invalid"]), plan(&["--hold"])];
    assert_eq!(validate("load-plan.schema.json", &plans), Ok(()));
}
