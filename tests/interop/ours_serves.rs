//! Other clients and our server.

use bucle::websocket::{DeflateOptions, Options};
use serde_json::{Value, json};

use crate::compression::{self, Row};
use crate::peers::{self, Peer};
use crate::server::Running;

/// Runs a client's checks of one kind against the test's server, and compares the close frames that it has sent with
/// those that the server has received.
fn check(peer: Option<Peer>, kind: &str) {
    let Some(peer) = peer else { return };
    let protocols = vec!["one".to_owned(), "two".to_owned()];
    let server = Running::new(vec![Options { protocols, ..Options::default() }]);
    let lines = peer.run_client(&json!({ "kind": kind, "port": server.ports[0] }));
    compare_closes(&server, &lines);
}

#[track_caller]
fn compare_closes(server: &Running, lines: &[String]) {
    let mut sent: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("closed ")).collect();
    let mut received: Vec<String> = sent.iter().map(|_| server.closed()).collect();
    sent.sort_unstable();
    received.sort_unstable();
    assert!(!sent.is_empty());
    assert_eq!(received, sent);
}

#[test]
fn ws_of_npm_connects() {
    check(peers::ws(), "plain");
}

#[test]
fn ws_of_npm_gets_pings_closes_headers_and_refusals() {
    check(peers::ws(), "commands");
}

#[test]
fn websockets_of_python_connects() {
    check(peers::websockets(), "plain");
}

#[test]
fn websockets_of_python_gets_pings_closes_headers_and_refusals() {
    check(peers::websockets(), "commands");
}

/// Both clients and `bucle serve echo`.
#[cfg(feature = "cli")]
#[test]
fn both_connect_to_the_command() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    for peer in [peers::ws(), peers::websockets()].into_iter().flatten() {
        let mut server = Command::new(env!("CARGO_BIN_EXE_bucle"))
            .args(["serve", "echo", "--http", "0", "--port", "0"])
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(server.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let port = lines.into_iter().find_map(|line| {
            let port = line.split_once("://127.0.0.1:")?.1;
            port.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u16>().ok()
        });
        let lines =
            port.map(|port| std::panic::catch_unwind(|| peer.run_client(&json!({ "kind": "plain", "port": port }))));
        server.kill().expect("it is our child");
        server.wait().expect("it is our child");
        lines.expect("the server prints its address").expect("the checks pass");
    }
}

/// Every row of [`compression::rows`], with the smallest window in addition, which zlib cannot compress with.
fn check_compression(peer: Option<Peer>) {
    let Some(peer) = peer else { return };
    let mut rows = compression::rows();
    rows.push(Row {
        name: "a server's window of 8 bits",
        server: DeflateOptions { server_max_window_bits: 8, ..compression::keeping() },
        client: compression::keeping(),
        agreed: (false, false, 8, 15),
    });
    let server = Running::new(rows.iter().map(|row| row.options(&row.server)).collect());
    let described: Vec<Value> = rows
        .iter()
        .zip(&server.ports)
        .map(|(row, port)| json!({ "name": row.name, "port": port, "client": compression::json(&row.client) }))
        .collect();
    let lines = peer.run_client(&json!({ "kind": "deflate", "rows": described }));
    let of = |what: &str| lines.iter().filter_map(|line| line.strip_prefix(what)).collect::<Vec<&str>>();
    let (agreed, repeated, distant) = (of("agreed "), of("repeated "), of("distant "));
    assert_eq!([agreed.len(), repeated.len(), distant.len()], [rows.len(); 3]);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(compression::parse(agreed[i]), row.agreed, "{}: {}", row.name, agreed[i]);
        let bytes = |line: &str| {
            let (read, written) = line.split_once(' ').expect("two numbers");
            [read, written].map(|number| number.parse::<u64>().expect("a number"))
        };
        let [client_repeated, server_repeated] = bytes(repeated[i]);
        let [client_distant, server_distant] = bytes(distant[i]);
        compression::check_client(row, client_repeated, client_distant);
        compression::check_server(row, server_repeated, server_distant);
    }
    compare_closes(&server, &lines);
}

#[test]
fn ws_of_npm_compresses() {
    check_compression(peers::ws());
}

#[test]
fn websockets_of_python_compresses() {
    check_compression(peers::websockets());
}
