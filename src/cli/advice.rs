//! Why a connection failed, and what to try: one sentence for each of the system's reasons.

use std::net::IpAddr;

use bucle::Error;

use super::target::{Address, port_in};

/// What to say when `bucle connect` cannot connect to `place`: a sentence, and what to type next.
pub(crate) fn cannot_connect(place: &Address, error: &Error) -> (String, Vec<String>) {
    no_connection("connect", place, error.code(), &error.to_string())
}

/// The same for another command and a reason of which only the code is known. `otherwise` is said of an unknown one.
pub(crate) fn no_connection(command: &str, place: &Address, code: &str, otherwise: &str) -> (String, Vec<String>) {
    let (why, mut tries) = match place {
        Address::Tcp(host, port) => tcp(command, host, *port, code),
        Address::Unix(_) => unix(place, code),
    };
    if let Address::Tcp(host, _) = place
        && let Some(meant) = port_in(host)
    {
        tries.insert(0, format!("bucle {command} {meant}      if that is the port"));
    }
    let why = if why.is_empty() { otherwise.to_owned() } else { format!("{why} ({code})") };
    (format!("cannot connect to {place}: {why}"), tries)
}

/// An error of an open connection, of standard input or output, in words.
pub(crate) fn words_for(error: &Error) -> String {
    let words = match error.code() {
        "ECONNRESET" | "EPIPE" => "the other side broke it off, its program has probably ended",
        "ETIMEDOUT" => "the other side answers no more",
        "EHOSTUNREACH" | "ENETUNREACH" | "ENETDOWN" => "the network is gone",
        "EISDIR" => "it is a directory",
        "EIO" => "the terminal is gone, or this runs in the background",
        "ENOSPC" => "the disk is full",
        "EBADF" => "it is not open for that",
        _ => return error.to_string(),
    };
    format!("{words} ({})", error.code())
}

fn tcp(command: &str, host: &str, port: u16, code: &str) -> (&'static str, Vec<String>) {
    let elsewhere = &*format!("bucle {command} HOST:PORT      with another host or port");
    let (why, advice): (_, &[&str]) = match code {
        "ECONNREFUSED" if is_this_machine(host) => {
            let serve = format!("bucle serve{}{}", host_flag(host), port_flag(port));
            return ("nobody listens there", vec![format!("{serve}      in another terminal"), elsewhere.into()]);
        }
        "ECONNREFUSED" => ("the machine is there, but nobody listens on that port", &[elsewhere]),
        "ECONNRESET" => ("it was reset while it was being made", &[]),
        "ETIMEDOUT" => (
            "no answer; the machine is off, or a firewall swallows what is sent",
            &["ping the host, and ask who runs it whether the port is open"],
        ),
        "EHOSTUNREACH" | "EHOSTDOWN" => ("the machine cannot be reached", &["ping the host"]),
        "ENETUNREACH" | "ENETDOWN" => {
            ("this machine has no way to that network", &["check whether this machine is online"])
        }
        "ENOTFOUND" => ("there is no host of that name", &["check the spelling, or use its IP address"]),
        "EAI_AGAIN" => (
            "the name cannot be looked up now, no name server answers",
            &["again later, or use the IP address", "check whether this machine is online"],
        ),
        "EACCES" | "EPERM" => ("the system forbids it", &["check the firewall of this machine"]),
        "EADDRNOTAVAIL" => ("no such address can be used from here, or no local port is free", &[elsewhere]),
        "EAFNOSUPPORT" => ("this machine does not speak that kind of address", &["an IPv4 address"]),
        "EMFILE" | "ENFILE" => ("too many files are open", &["ulimit -n 4096"]),
        _ => ("", &[]),
    };
    (why, owned(advice))
}

fn unix(place: &Address, code: &str) -> (&'static str, Vec<String>) {
    let Address::Unix(path) = place else { return ("", Vec::new()) };
    let serve = format!("bucle serve --unix {}      in another terminal", path.display());
    match code {
        "ECONNREFUSED" => ("nobody listens on it; its server is gone, or it is no socket", vec![serve]),
        "ENOENT" => ("there is no such file", vec![serve]),
        "ENOTDIR" => ("a part of the path is no directory", owned(&["check the path"])),
        "EACCES" | "EPERM" => ("its permissions forbid it", vec![format!("ls -l {}", path.display())]),
        "ENAMETOOLONG" | "EINVAL" => ("the path is too long, 107 bytes are the most", owned(&["a shorter path"])),
        "EPROTOTYPE" => ("it is a socket of another kind, not a stream", Vec::new()),
        "EAGAIN" => ("its server is behind with accepting", owned(&["again later"])),
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

/// What `bucle serve` needs to be told to be found there.
fn host_flag(host: &str) -> String {
    if matches!(host, "127.0.0.1" | "localhost") { String::new() } else { format!(" --host {host}") }
}

fn port_flag(port: u16) -> String {
    if port == 8080 { String::new() } else { format!(" --port {port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(place: &str, code: &'static str) -> (String, Vec<String>) {
        let place = Address::parse(place).expect("the test writes it well");
        cannot_connect(&place, &Error::custom(code, format!("connect {code}")))
    }

    #[test]
    fn each_reason_is_a_sentence() {
        let table = [
            (":8080", "ECONNREFUSED", "cannot connect to 127.0.0.1:8080: nobody listens there (ECONNREFUSED)"),
            (
                "nowhere.invalid",
                "ENOTFOUND",
                "cannot connect to nowhere.invalid:8080: there is no host of that name (ENOTFOUND)",
            ),
            ("unix:/no", "ENOENT", "cannot connect to unix:/no: there is no such file (ENOENT)"),
            (":8080", "ESOMETHING", "cannot connect to 127.0.0.1:8080: connect ESOMETHING"),
        ];
        for (place, code, want) in table {
            assert_eq!(say(place, code).0, want);
        }
    }

    #[test]
    fn what_to_try_can_be_typed() {
        let table = [
            (":8080", "bucle serve      in another terminal"),
            (":7000", "bucle serve --port 7000      in another terminal"),
            ("localhost:7000", "bucle serve --port 7000      in another terminal"),
            ("[::1]:8080", "bucle serve --host ::1      in another terminal"),
            ("10.0.0.1:8080", "bucle connect HOST:PORT      with another host or port"),
            ("fe80::1:9032", "bucle connect [fe80::1]:9032      if that is the port"),
            ("unix:/tmp/a", "bucle serve --unix /tmp/a      in another terminal"),
        ];
        for (place, want) in table {
            assert_eq!(say(place, "ECONNREFUSED").1.first().map(String::as_str), Some(want), "{place}");
        }
    }
}
