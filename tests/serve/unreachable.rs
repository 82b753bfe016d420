//! A peer that has become unreachable: it sends no FIN and no RST.

use std::fs;
use std::process::Command;

/// The kernel of the peer acknowledges nothing, so the server gets no error: only the write timeout can end the
/// connection. The test drops packets, so it needs a network namespace of its own.
#[test]
fn an_unreachable_peer_is_disconnected_and_holds_up_no_other() {
    let network = ["-rn", "ip", "link", "set", "lo", "up"];
    if !Command::new("unshare").args(network).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network namespace (unshare, iproute2, user namespaces)");
        return;
    }
    if Command::new("nc").arg("-h").output().is_err() {
        eprintln!("skipped: nc is not installed");
        return;
    }
    let directory = std::env::temp_dir().join(format!("bucle-unreachable-{}", std::process::id()));
    fs::create_dir(&directory).expect("an unused name");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/unreachable.sh");
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "-rn", "bash", script, env!("CARGO_BIN_EXE_bucle")]);
    let output = command.current_dir(&directory).output().expect("coreutils have it");
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    fs::remove_dir_all(&directory).expect("the test made it");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}\n{log}", output.status);
}
