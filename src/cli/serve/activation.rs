//! Socket activation: listening sockets that a service manager has opened and passes to the server (sd_listen_fds(3)).
//!
//! ```text
//!   LISTEN_FDS=2  LISTEN_FDNAMES=bucle.socket:http
//!
//!   descriptor 3   bucle.socket   any other name   in place of --host, --port and --unix
//!   descriptor 4   http           for --http       in place of its address
//!                  inspect        for --inspect    in place of its address
//! ```
//!
//! The manager keeps the sockets. So while the server restarts, the kernel refuses no connection: they wait in the
//! backlog for the next process.

use std::env;

use bucle::net::Listen;
use listenfd::ListenFd;

use super::options::Serve;

/// The first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST: usize = 3;

/// Which listener a passed socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Main,
    Http,
    Inspect,
}

impl Role {
    const ALL: [Role; 3] = [Role::Main, Role::Http, Role::Inspect];

    fn of(name: &str) -> Role {
        match name {
            "http" => Role::Http,
            "inspect" => Role::Inspect,
            _ => Role::Main,
        }
    }
}

/// The sockets that were passed, by their roles.
#[derive(Default, Debug)]
pub(super) struct Passed {
    pub(super) main: Option<Listen>,
    pub(super) http: Option<Listen>,
    pub(super) inspect: Option<Listen>,
}

/// Takes the sockets that were passed to this process, and removes `LISTEN_FDS` and `LISTEN_PID` from the environment.
/// To be called while the process has one thread. The descriptors get close-on-exec.
///
/// # Errors
/// A sentence about what is wrong with them, and a command to try.
pub(super) fn take_sockets(serve: &Serve) -> Result<Passed, (String, String)> {
    let help = || "man bucle-serve      section SYSTEMD".to_owned();
    if let Some(count) = count().filter(|&count| count > Role::ALL.len()) {
        return Err((format!("{count} sockets were passed (LISTEN_FDS); a server takes at most three"), help()));
    }
    let mut sockets = ListenFd::from_env();
    let roles = roles(sockets.len(), env::var("LISTEN_FDNAMES").ok().as_deref()).map_err(|why| (why, help()))?;
    let mut passed = Passed::default();
    for (index, role) in roles.into_iter().enumerate() {
        let place = match role {
            Role::Main => &mut passed.main,
            Role::Http if serve.web.is_none() => {
                let why = "a socket named http was passed, but the option --http is missing".to_owned();
                return Err((why, format!("{} --http", serve.kind.command())));
            }
            Role::Http => &mut passed.http,
            Role::Inspect if serve.inspect.is_none() => {
                let why = "a socket named inspect was passed, but the option --inspect is missing".to_owned();
                return Err((why, format!("{} --inspect", serve.kind.command())));
            }
            Role::Inspect => &mut passed.inspect,
        };
        // Both calls check the descriptor before they take it.
        let tcp = sockets.take_tcp_listener(index).ok().flatten().map(Listen::from);
        let listen = tcp.or_else(|| sockets.take_unix_listener(index).ok().flatten().map(Listen::from));
        if listen.is_none() {
            let why = format!("descriptor {} was passed (LISTEN_FDS), but is no TCP or unix socket", FIRST + index);
            return Err((why, help()));
        }
        *place = listen;
    }
    Ok(passed)
}

/// The value of `LISTEN_FDS`, if it is for this process.
fn count() -> Option<usize> {
    let is_for_this =
        env::var("LISTEN_PID").map_or(true, |pid| pid.is_empty() || pid == std::process::id().to_string());
    env::var("LISTEN_FDS").ok().filter(|_| is_for_this)?.parse().ok()
}

/// The roles of `count` sockets. `names` are separated by colons; without them each socket is the main one.
fn roles(count: usize, names: Option<&str>) -> Result<Vec<Role>, String> {
    let names: Vec<&str> = match names {
        Some(names) if count > 0 => names.split(':').collect(),
        _ => vec![""; count],
    };
    if names.len() != count {
        let names = names.join(":");
        return Err(format!(
            "{count} sockets were passed (LISTEN_FDS), but LISTEN_FDNAMES has another number of names: {names}"
        ));
    }
    let roles: Vec<Role> = names.iter().map(|name| Role::of(name)).collect();
    for role in Role::ALL {
        let of_role: Vec<&str> = names.iter().copied().filter(|name| Role::of(name) == role).collect();
        if of_role.len() > 1 {
            let names = of_role.join(", ");
            return Err(format!(
                "{} sockets were passed for the same listener: {names}; a server takes one for each",
                of_role.len()
            ));
        }
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_socket_selects_its_listener() {
        use Role::{Http, Inspect, Main};
        let valid: [(usize, Option<&str>, &[Role]); 8] = [
            (0, None, &[]),
            (0, Some(""), &[]),
            (1, None, &[Main]),
            (1, Some(""), &[Main]),
            (1, Some("bucle.socket"), &[Main]),
            (1, Some("http"), &[Http]),
            (2, Some("inspect:chat"), &[Inspect, Main]),
            (3, Some("bucle.socket:http:inspect"), &[Main, Http, Inspect]),
        ];
        for (count, names, want) in valid {
            assert_eq!(roles(count, names).as_deref(), Ok(want), "{count} {names:?}");
        }
        let invalid = [
            (2, None, "2 sockets were passed for the same listener"),
            (2, Some("http:http"), "2 sockets were passed for the same listener: http, http"),
            (2, Some("a:b"), "for the same listener: a, b"),
            (
                2,
                Some("http"),
                "2 sockets were passed (LISTEN_FDS), but LISTEN_FDNAMES has another number of names: http",
            ),
        ];
        for (count, names, want) in invalid {
            assert!(roles(count, names).is_err_and(|why| why.contains(want)), "{count} {names:?}");
        }
    }
}
