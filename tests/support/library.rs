//! The compiled library, for tests that give small programs to rustc or rustdoc.

#![allow(dead_code, reason = "each test needs a part of it")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the library of the running test is.
pub struct Library {
    rlib: PathBuf,
    /// `target/debug`, or the folder of another profile.
    profile: PathBuf,
}

/// The features of the running test.
fn features() -> Vec<&'static str> {
    let all = [
        ("cli", cfg!(feature = "cli")),
        ("http", cfg!(feature = "http")),
        ("http-compression", cfg!(feature = "http-compression")),
        ("inspect", cfg!(feature = "inspect")),
        ("late-ports", cfg!(feature = "late-ports")),
        ("process", cfg!(feature = "process")),
        ("redis", cfg!(feature = "redis")),
        ("socket-io", cfg!(feature = "socket-io")),
        ("trace", cfg!(feature = "trace")),
        ("websocket", cfg!(feature = "websocket")),
    ];
    all.into_iter().filter_map(|(name, is_enabled)| is_enabled.then_some(name)).collect()
}

impl Library {
    /// The library that `test` was linked with. Cargo is asked for it, because the folder may have libraries of other
    /// features, and of earlier versions. It has built this one just before, so it builds nothing.
    pub fn of_this_test(test: &str) -> Library {
        let exe = std::env::current_exe().expect("the test has a path");
        let profile = exe.parent().and_then(Path::parent).expect("the test is target/PROFILE/deps/…").to_owned();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--no-run", "--locked", "--offline", "--message-format", "json", "--test", test]);
        cargo.arg("--target-dir").arg(profile.parent().expect("PROFILE is in target")).arg("--features");
        cargo.arg(features().join(",")).current_dir(env!("CARGO_MANIFEST_DIR"));
        if !cfg!(feature = "default") {
            cargo.arg("--no-default-features");
        }
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.output().expect("cargo runs the tests, so it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut rlibs = messages.lines().filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let is_library = message["target"]["name"] == "bucle" && message["target"]["kind"][0] == "lib";
            let files = message["filenames"].as_array().filter(|_| is_library)?;
            files.iter().filter_map(|file| file.as_str()).find(|file| file.ends_with(".rlib")).map(PathBuf::from)
        });
        Library { rlib: rlibs.next().unwrap_or_else(|| panic!("cargo names no library: {messages}")), profile }
    }

    /// The arguments for rustc and rustdoc with which a program finds the library.
    pub fn args(&self) -> [OsString; 4] {
        let mut bucle = OsString::from("bucle=");
        bucle.push(&self.rlib);
        let mut folder = OsString::from("dependency=");
        folder.push(self.profile.join("deps"));
        ["--extern".into(), bucle, "-L".into(), folder]
    }
}

/// A folder for the files of one run of a test: the same test may run twice at the same time. It is removed with this
/// value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the target folder can be written");
        Folder(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
