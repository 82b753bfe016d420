//! Explains why a connection failed and what to try: one sentence for each error code of the system. And why a file
//! cannot be opened.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use bucle::Error;

use super::target::{Address, port_in};
use super::usage::Usage;

/// The error message when `bucle connect` cannot connect to `address`, and commands to try.
pub(crate) fn cannot_connect(address: &Address, error: &Error) -> (String, Vec<String>) {
    no_connection("connect", address, error.code(), &error.to_string())
}

/// The same for any command, with an error of which only the code is known. `otherwise` is the text for an unknown
/// code.
pub(crate) fn no_connection(command: &str, address: &Address, code: &str, otherwise: &str) -> (String, Vec<String>) {
    let (why, mut tries) = match address {
        Address::Tcp(host, port) => tcp(command, host, *port, code),
        Address::Unix(_) => unix(address, code),
    };
    if let Address::Tcp(host, _) = address
        && let Some(meant) = port_in(host)
    {
        tries.insert(0, format!("bucle {command} {meant}      if that is the port"));
    }
    let why = if why.is_empty() { otherwise.to_owned() } else { format!("{why} ({code})") };
    (format!("cannot connect to {address}: {why}"), tries)
}

/// An error of an open connection, or of standard input or output, as a sentence.
pub(crate) fn words_for(error: &Error) -> String {
    let words = match error.code() {
        "ECONNRESET" | "EPIPE" => "the peer broke the connection; its program has probably ended",
        "ETIMEDOUT" => "the peer no longer responds",
        "EHOSTUNREACH" | "ENETUNREACH" | "ENETDOWN" => "the network is down",
        "EISDIR" => "it is a directory",
        "EIO" => "the terminal is gone, or this process runs in the background",
        "ENOSPC" => "the disk is full",
        "EBADF" => "it is closed, or not open for this",
        _ => return error.to_string(),
    };
    format!("{words} ({})", error.code())
}

/// The error for a file, named by an option, that cannot be read. `command` writes such a file: to this path if there
/// is no file yet, or else to another one.
pub(crate) fn cannot_read(option: &str, path: &Path, error: &io::Error, command: impl Fn(&str) -> String) -> Usage {
    let name = path.display().to_string();
    let (why, command) = match error.kind() {
        io::ErrorKind::NotFound => ("there is no such file".to_owned(), command(&name)),
        _ => (words_for_file(error), command("FILE")),
    };
    Usage::new(format!("{option}: cannot read {name}: {why}"), command)
}

/// The error for a file, named by an option, that cannot be written. `command` is what to try, unless its folder has to
/// be made first.
pub(crate) fn cannot_write(option: &str, path: &Path, error: &io::Error, command: &str) -> Usage {
    let folder = path.parent().filter(|folder| error.kind() == io::ErrorKind::NotFound && !folder.exists());
    let (why, command) = match folder {
        Some(folder) => ("its folder does not exist".to_owned(), format!("mkdir -p {}", folder.display())),
        None => (words_for_file(error), command.to_owned()),
    };
    Usage::new(format!("{option}: cannot write {}: {why}", path.display()), command)
}

/// Why a file or a folder cannot be used, as half a sentence.
pub(crate) fn words_for_file(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "its permissions forbid it (EACCES)".to_owned(),
        io::ErrorKind::NotADirectory => "a part of its path is not a folder (ENOTDIR)".to_owned(),
        _ => error
            .raw_os_error()
            .map_or_else(|| error.to_string(), |code| words_for(&io::Error::from_raw_os_error(code).into())),
    }
}

fn tcp(command: &str, host: &str, port: u16, code: &str) -> (&'static str, Vec<String>) {
    let elsewhere = &*format!("bucle {command} HOST:PORT      with another host or port");
    let (why, advice): (_, &[&str]) = match code {
        "ECONNREFUSED" if is_this_machine(host) => {
            let serve = format!("bucle serve{}{}", host_flag(host), port_flag(port));
            return (
                "no server is listening there",
                vec![format!("{serve}      in another terminal"), elsewhere.into()],
            );
        }
        "ECONNREFUSED" => ("the machine responds, but no server is listening on that port", &[elsewhere]),
        "ECONNRESET" => ("the connection was reset before it was established", &[]),
        "ETIMEDOUT" => (
            "no response; the machine is off, or a firewall drops the packets",
            &["ping the host, and ask its administrator whether the port is open"],
        ),
        "EHOSTUNREACH" | "EHOSTDOWN" => ("the machine cannot be reached", &["ping the host"]),
        "ENETUNREACH" | "ENETDOWN" => {
            ("this machine has no route to that network", &["check whether this machine is online"])
        }
        "ENOTFOUND" => ("there is no host with that name", &["check the spelling, or use its IP address"]),
        "EAI_AGAIN" => (
            "the name cannot be looked up now: no name server responds",
            &["the same command later, or with the IP address", "check whether this machine is online"],
        ),
        "EACCES" | "EPERM" => ("the system forbids it", &["check the firewall of this machine"]),
        "EADDRNOTAVAIL" => ("that address cannot be used from here, or no local port is free", &[elsewhere]),
        "EAFNOSUPPORT" => ("this machine does not support that kind of address", &["an IPv4 address"]),
        "EMFILE" | "ENFILE" => ("too many files are open", &["ulimit -n 4096"]),
        _ => ("", &[]),
    };
    (why, owned(advice))
}

fn unix(address: &Address, code: &str) -> (&'static str, Vec<String>) {
    let Address::Unix(path) = address else { return ("", Vec::new()) };
    let serve = format!("bucle serve --unix {}      in another terminal", path.display());
    match code {
        "ECONNREFUSED" => {
            ("no server is listening on it: the server has ended, or the file is not a socket", vec![serve])
        }
        "ENOENT" => ("there is no such file", vec![serve]),
        "ENOTDIR" => ("a part of the path is not a directory", owned(&["check the path"])),
        "EACCES" | "EPERM" => ("the permissions of the file forbid it", vec![format!("ls -l {}", path.display())]),
        "ENAMETOOLONG" | "EINVAL" => ("the path is too long; the limit is 107 bytes", owned(&["a shorter path"])),
        "EPROTOTYPE" => ("it is another kind of socket, not a stream socket", Vec::new()),
        "EAGAIN" => ("too many connections wait to be accepted by the server", owned(&["the same command later"])),
        "EMFILE" | "ENFILE" => ("too many files are open", owned(&["ulimit -n 4096"])),
        _ => ("", Vec::new()),
    }
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The option that `bucle serve` needs to listen on that host.
fn host_flag(host: &str) -> String {
    if matches!(host, "127.0.0.1" | "localhost") { String::new() } else { format!(" --host {host}") }
}

fn port_flag(port: u16) -> String {
    if port == 8080 { String::new() } else { format!(" --port {port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(address: &str, code: &'static str) -> (String, Vec<String>) {
        let address = Address::parse(address).expect("a valid address");
        cannot_connect(&address, &Error::custom(code, format!("connect {code}")))
    }

    #[test]
    fn each_reason_is_a_sentence() {
        let table = [
            (":8080", "ECONNREFUSED", "cannot connect to 127.0.0.1:8080: no server is listening there (ECONNREFUSED)"),
            (
                "nowhere.invalid",
                "ENOTFOUND",
                "cannot connect to nowhere.invalid:8080: there is no host with that name (ENOTFOUND)",
            ),
            ("unix:/no", "ENOENT", "cannot connect to unix:/no: there is no such file (ENOENT)"),
            (":8080", "ESOMETHING", "cannot connect to 127.0.0.1:8080: connect ESOMETHING"),
        ];
        for (address, code, want) in table {
            assert_eq!(explained(address, code).0, want);
        }
    }

    #[test]
    fn the_first_advice_is_a_command_to_type() {
        let table = [
            (":8080", "bucle serve      in another terminal"),
            (":7000", "bucle serve --port 7000      in another terminal"),
            ("localhost:7000", "bucle serve --port 7000      in another terminal"),
            ("[::1]:8080", "bucle serve --host ::1      in another terminal"),
            ("10.0.0.1:8080", "bucle connect HOST:PORT      with another host or port"),
            ("fe80::1:9032", "bucle connect [fe80::1]:9032      if that is the port"),
            ("unix:/tmp/a", "bucle serve --unix /tmp/a      in another terminal"),
        ];
        for (address, want) in table {
            assert_eq!(explained(address, "ECONNREFUSED").1.first().map(String::as_str), Some(want), "{address}");
        }
    }
}
