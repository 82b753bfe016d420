//! The common part of the servers with `--http`: the WebSocket endpoint and its limits, and the check whether a request
//! is for this server at all.
//!
//! A page of another site must not talk to a server on the visitor's own machine. Browsers send two headers that tell:
//!
//! | header | allowed | otherwise |
//! |---|---|---|
//! | `Host`: the name under which the browser has found this server | an IP address, `localhost`, or the host of an `--origin`; with this port | 421: a foreign name that leads here is an attack (DNS rebinding) |
//! | `Origin`: the site of the page that connects | the same host and port, or an `--origin` | 403 |
//!
//! The same holds for Socket.IO, where both are answered as the protocol has it: 403 to a poll, 400 to an upgrade. A
//! poll is a simple `GET`, which a page of another site can send as an image, without `Origin`. Browsers send
//! `Sec-Fetch-Site` with it.

use std::net::IpAddr;
use std::time::Duration;

use bucle::Loop;
use bucle::http::{Exchange, Options as HttpOptions, Request, StatusCode, full_message, server_options};
use bucle::net::{Limits, LocalAddress, ServerId, ServerOptions};
use bucle::websocket::handshake::check_origin;
use bucle::websocket::{Options, Origins};

use super::HIGH_WATER_MARK;
use super::options::{Serve, Web};

/// How long a connection may be quiet before it is disconnected, unless `--idle-timeout` sets it. Quiet ones get pings.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// The options of the WebSocket endpoint of a server.
pub(super) fn endpoint_options(serve: &Serve, web: &Web, max_message: usize) -> Options {
    // With an idle timeout a quiet client is closed, and pings would keep it.
    let is_limited = !serve.idle_timeout.is_zero();
    Options {
        max_message,
        idle_limit: if is_limited { serve.idle_timeout } else { IDLE_LIMIT },
        sends_pings: !is_limited,
        handshake_timeout: web.handshake_timeout,
        origins: Origins::List(web.origins.clone()),
        ..Options::default()
    }
}

/// The options of the HTTP server below it. `common` has what all servers of the command have.
pub(super) fn listener_options(common: &ServerOptions, max_message: usize) -> ServerOptions {
    // The answer to the largest message must have room.
    let least = max_message.saturating_add(2 * HIGH_WATER_MARK);
    let outbox_bytes = common.limits.outbox_bytes.map(|bytes| bytes.max(least));
    ServerOptions {
        allow_half_open: server_options().allow_half_open,
        urgent_in_line: false,
        full_message: Some(full_message()),
        // WebSocket connections are checked by their endpoint, and others have the time limits of HTTP.
        timeout: Duration::ZERO,
        idle_message: None,
        limits: Limits { outbox_bytes, ..common.limits.clone() },
        ..common.clone()
    }
}

/// The options of HTTP. `defaults` are those of what is served.
pub(super) fn http_options(web: &Web, defaults: HttpOptions) -> HttpOptions {
    HttpOptions { head_timeout: web.handshake_timeout, ..defaults }
}

/// Which names this server has.
pub(super) struct OwnHost {
    origins: Vec<String>,
}

impl OwnHost {
    pub(super) fn new(web: &Web) -> OwnHost {
        OwnHost { origins: web.origins.clone() }
    }

    /// Whether a request is for this server. If not, it is answered.
    pub(super) fn accepts(&self, lp: &mut Loop, exchange: Exchange, request: &Request) -> bool {
        let port = exchange.socket().server(lp).and_then(|server| server.port(lp));
        let host = request.host().unwrap_or_default();
        if self.is_own(host, port) {
            return true;
        }
        let text = format!("this server is not {host}; if it shall be, start it with --origin http://{host}\n");
        exchange.respond_text(lp, StatusCode::MISDIRECTED_REQUEST, text);
        false
    }

    /// Whether a request may open a session of Socket.IO. The error is for the client.
    pub(super) fn check_session(&self, request: &Request, port: Option<u16>) -> Result<(), String> {
        let host = request.host().unwrap_or_default();
        if !self.is_own(host, port) {
            return Err(format!("this server is not {host}"));
        }
        if request.header("origin").is_none()
            && matches!(request.header("sec-fetch-site"), Some("cross-site" | "same-site"))
        {
            return Err("pages of other sites may not connect".to_owned());
        }
        let origins = Origins::List(self.origins.clone());
        check_origin(request.headers(), Some(host), &origins).map_err(|refused| refused.reason.to_owned())
    }

    fn is_own(&self, host: &str, port: Option<u16>) -> bool {
        let is_listed = |origin: &String| {
            let authority = origin.split_once("://").map_or(origin.as_str(), |(_, authority)| authority);
            authority.eq_ignore_ascii_case(host)
        };
        if self.origins.iter().any(is_listed) {
            return true;
        }
        let (name, host_port) = split_host(host);
        let is_own_name = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
        is_own_name && (port.is_none() || host_port == port)
    }
}

/// The name and the port of a `Host`. Without a port it is 80.
fn split_host(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, port.parse().ok()),
        _ => (host, Some(80)),
    };
    (name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name), port)
}

/// The address of a listener with `--http`, as a URL without a path. A unix socket is written as in nginx
/// (`proxy_pass`).
pub(super) fn url(scheme: &str, address: &LocalAddress) -> String {
    match address {
        LocalAddress::Ip(address) => format!("{scheme}://{address}"),
        LocalAddress::Path(_) => format!("{scheme}://unix:{address}"),
    }
}

/// The address that a program on this machine connects to. `None` for a unix socket.
pub(super) fn local_url(scheme: &str, lp: &Loop, server: ServerId) -> Option<String> {
    let LocalAddress::Ip(address) = server.address(lp)? else { return None };
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    Some(format!("{scheme}://{host}:{}/", address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_localhost_or_listed_with_the_port_of_the_server() {
        let own = OwnHost { origins: vec!["https://chat.example.org".to_owned(), "http://lan:8081".to_owned()] };
        let table = [
            ("127.0.0.1:8081", true),
            ("localhost:8081", true),
            ("LOCALHOST:8081", true),
            ("[::1]:8081", true),
            ("10.0.0.7:8081", true),
            ("127.0.0.1:8082", false),
            ("127.0.0.1", false),
            ("evil.example:8081", false),
            ("localhost.evil.example:8081", false),
            ("chat.example.org", true),
            ("Chat.Example.org", true),
            ("chat.example.org:8081", false),
            ("lan:8081", true),
            ("lan", false),
            ("", false),
        ];
        for (host, want) in table {
            assert_eq!(own.is_own(host, Some(8081)), want, "{host:?}");
        }
        assert!(own.is_own("127.0.0.1", Some(80)), "port 80 is not written");
    }
}
