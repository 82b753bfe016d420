//! A server of Engine.IO that sends every message back: what the test suites of the protocol run against.
//!
//!     PORT=3000 EIO3=1 cargo run --example engineio_echo --features socket-io
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `PORT` | 3000 | the port; 0 takes a free one |
//! | `PING_INTERVAL`, `PING_TIMEOUT` | 300, 200 | in milliseconds |
//! | `MAX_PAYLOAD` | 1000000 | the longest message, in bytes |
//! | `EIO3` | unset | 1: clients of revision 3 are served, too |

use std::env;
use std::time::Duration;

use bucle::Loop;
use bucle::engine_io::{self, Cors, Handler, Message, Options, Session};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {
        session.send(lp, message);
    }
}

/// The number in a variable, or `default`.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> bucle::Result<()> {
    env_logger::init();
    bucle::run(|lp| {
        let options = Options {
            ping_interval: Duration::from_millis(number("PING_INTERVAL", 300)),
            ping_timeout: Duration::from_millis(number("PING_TIMEOUT", 200)),
            max_http_buffer_size: usize::try_from(number("MAX_PAYLOAD", 1_000_000)).unwrap_or(usize::MAX),
            allow_eio3: env::var("EIO3").is_ok_and(|value| value == "1"),
            // The suites run in browsers, too.
            cors: Some(Cors::default()),
            ..Options::default()
        };
        let port = u16::try_from(number("PORT", 3000)).unwrap_or(3000);
        let server = engine_io::listen(lp, ("127.0.0.1", port), options, Echo)?;
        println!("listening on 127.0.0.1:{}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}
