//! A peer that is not there any more and has not said so.

use std::fs;
use std::process::Command;

/// Its kernel acknowledges nothing, so no error comes either: the time without progress is what ends it. Needs a network of its
/// own, to lose packets in.
#[test]
fn a_peer_gone_dark_is_given_up_and_nobody_waits_for_it() {
    let network = ["-rn", "ip", "link", "set", "lo", "up"];
    if !Command::new("unshare").args(network).output().is_ok_and(|output| output.status.success()) {
        eprintln!("no network of its own (unshare, iproute2, user namespaces): passed over");
        return;
    }
    let directory = std::env::temp_dir().join(format!("bucle-dark-{}", std::process::id()));
    fs::create_dir(&directory).expect("a name that nobody has");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/dark.sh");
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "-rn", "bash", script, env!("CARGO_BIN_EXE_bucle")]);
    let output = command.current_dir(&directory).output().expect("coreutils have it");
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    fs::remove_dir_all(&directory).expect("it is ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}\n{log}", output.status);
}
