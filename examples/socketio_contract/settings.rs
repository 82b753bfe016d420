//! The settings, from environment variables.

use std::env;
use std::time::Duration;

use bucle::engine_io::{Cookie, Cors, CorsOrigin};
use bucle::socket_io::{ClientFiles, Options, RecoveryOptions};

pub struct Settings {
    pub port: u16,
    ping_interval: Duration,
    ping_timeout: Duration,
    connect_timeout: Duration,
    max_http_buffer_size: usize,
    recovers: bool,
    client_dist: Option<String>,
}

/// The number in a variable, or `default`.
fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| {
        eprintln!("{name}={text:?} is no number, using {default}");
        default
    })
}

impl Settings {
    pub fn from_env() -> Settings {
        let millis = |name, default| Duration::from_millis(number(name, default));
        Settings {
            port: u16::try_from(number("PORT", 3000)).unwrap_or(3000),
            ping_interval: millis("PING_INTERVAL", 25_000),
            ping_timeout: millis("PING_TIMEOUT", 20_000),
            connect_timeout: millis("CONNECT_TIMEOUT", 45_000),
            max_http_buffer_size: usize::try_from(number("MAX_HTTP_BUFFER_SIZE", 1_000_000)).unwrap_or(usize::MAX),
            recovers: env::var("RECOVERY").is_ok_and(|value| value == "1"),
            client_dist: env::var("CLIENT_DIST").ok(),
        }
    }

    pub fn options(&self) -> bucle::Result<Options> {
        let recovery = self.recovers.then(RecoveryOptions::default);
        let mut options = Options { connect_timeout: self.connect_timeout, recovery, ..Options::default() };
        let engine = &mut options.engine;
        engine.ping_interval = self.ping_interval;
        engine.ping_timeout = self.ping_timeout;
        engine.max_http_buffer_size = self.max_http_buffer_size;
        engine.allow_eio3 = true;
        engine.http_compression = Some(1024);
        engine.cors = Some(Cors {
            origin: CorsOrigin::Exactly("http://app.example".to_owned()),
            credentials: true,
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            ..Cors::default()
        });
        engine.cookie = Some(Cookie { name: "sio".to_owned(), ..Cookie::default() });
        if let Some(folder) = &self.client_dist {
            engine.client_files = ClientFiles::from_folder(folder)?;
        }
        Ok(options)
    }
}
