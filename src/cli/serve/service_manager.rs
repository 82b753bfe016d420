//! Notifies the service manager when the server is ready, when it stops, and regularly while its loop turns
//! (sd_notify(3)).
//!
//! A message is one datagram to the unix socket `NOTIFY_SOCKET`. Without this variable nothing is sent. With
//! `Type=notify` systemd starts other units only when the server listens. With `WatchdogSec=` it ends and restarts a
//! server whose loop is stuck in a callback.

use std::env;
use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use bucle::Loop;

/// How long a message waits for a manager that does not read. Longer waits would hold the loop.
const WRITE_LIMIT: Duration = Duration::from_millis(500);

/// The server listens. `status` is one line, which `systemctl status` shows.
pub(super) fn is_ready(status: &str) {
    notify(&format!("READY=1\nSTATUS={status}"));
}

/// The server closes.
pub(super) fn is_stopping() {
    notify("STOPPING=1\nSTATUS=closing, waiting for connections to end");
}

/// Reports in regular intervals that the loop turns, if the manager watches it. The timer does not keep the loop alive.
pub(super) fn report_turns(lp: &mut Loop) {
    let [limit_us, pid] = ["WATCHDOG_USEC", "WATCHDOG_PID"].map(|name| env::var(name).ok());
    if let Some(interval) = report_interval(limit_us.as_deref(), pid.as_deref(), process::id()) {
        let timer = lp.set_interval(interval, |_| notify("WATCHDOG=1"));
        lp.unref(timer);
    }
}

/// Half of the time after which the manager takes the process `own` for stuck, as sd_watchdog_enabled(3) recommends.
/// `None` if it does not watch this process.
fn report_interval(limit_us: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_for_this = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let limit_us = limit_us.filter(|_| is_for_this)?.parse().ok().filter(|&limit_us| limit_us > 0)?;
    Some(Duration::from_micros(limit_us) / 2)
}

fn notify(message: &str) {
    let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else { return };
    if let Err(error) = send(&address, message.as_bytes()) {
        log::warn!(target: "bucle::serve", "cannot notify the service manager at {}: {error}", address.display());
    }
}

fn send(address: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match address.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(WRITE_LIMIT))?;
    socket.send_to_addr(message, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_is_reported_twice_in_the_time_of_the_watchdog() {
        let table = [
            (None, None, None),
            (Some("30000000"), None, Some(15_000)),
            (Some("30000000"), Some("7"), Some(15_000)),
            (Some("30000000"), Some("8"), None),
            (Some("30000000"), Some(""), None),
            (Some("0"), None, None),
            (Some("-1"), None, None),
            (Some("soon"), None, None),
        ];
        for (limit_us, pid, want_ms) in table {
            let want = want_ms.map(Duration::from_millis);
            assert_eq!(report_interval(limit_us, pid, 7), want, "{limit_us:?} {pid:?}");
        }
    }

    #[test]
    fn a_message_reaches_a_path_and_an_abstract_name() {
        let id = process::id();
        let path = std::env::temp_dir().join(format!("bucle-notify-{id}"));
        let _ = std::fs::remove_file(&path);
        let mut managers = vec![(path.clone().into_os_string(), UnixDatagram::bind(&path).expect("a free path"))];
        #[cfg(target_os = "linux")]
        {
            let name = format!("bucle-notify-{id}");
            let address = SocketAddr::from_abstract_name(&name).expect("a short name");
            managers.push((format!("@{name}").into(), UnixDatagram::bind_addr(&address).expect("a free name")));
        }
        for (address, manager) in managers {
            send(&address, b"READY=1").expect("it is received");
            let mut bytes = [0; 64];
            let len = manager.recv(&mut bytes).expect("a message");
            assert_eq!(&bytes[..len], b"READY=1", "{address:?}");
        }
        std::fs::remove_file(path).expect("it is there");
        assert!(send(OsStr::new("/nowhere/notify"), b"READY=1").is_err(), "nothing listens there");
    }
}
