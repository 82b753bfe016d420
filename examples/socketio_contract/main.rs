//! The whole server API of Socket.IO in one program, for any client of any language.
//!
//!     PORT=3000 cargo run --example socketio_contract --features socket-io
//!
//! | variable | default | the option of Socket.IO |
//! |---|---|---|
//! | `PORT` | 3000 | the port; 0 takes a free one |
//! | `PING_INTERVAL`, `PING_TIMEOUT` | 25000, 20000 | `pingInterval`, `pingTimeout`, in milliseconds |
//! | `CONNECT_TIMEOUT` | 45000 | `connectTimeout`, in milliseconds |
//! | `MAX_HTTP_BUFFER_SIZE` | 1000000 | `maxHttpBufferSize`, in bytes |
//! | `REDIS_URL` | unset | `redis://user:password@host:port`: other servers on the same Redis are nodes of one cluster |
//! | `REDIS_ADAPTER` | classic | `classic`, `sharded` or `streams`: which of Node's adapters the other servers have |
//! | `RECOVERY` | unset | 1: `connectionStateRecovery`, for 2 minutes |
//! | `CLIENT_DIST` | unset | a folder with `socket.io.js`, which is served |
//!
//! `REDIS_URL` needs the feature `redis`. The other servers may run Node:
//!
//!     REDIS_URL=redis://localhost cargo run --example socketio_contract --features redis
//!
//! It serves polling, JSONP and WebSocket, and clients of version 2, too.

mod admin;
mod rooms;
mod settings;
mod socket;

use bucle::Loop;
use bucle::engine_io::NotFound;
use bucle::socket_io::{self, Server};

fn main() -> bucle::Result<()> {
    env_logger::init();
    let settings = settings::Settings::from_env();
    bucle::run(move |lp| {
        let options = settings.options()?;
        let io = Server::new(lp, options.clone());
        io.allow_request(lp, |_, request| {
            let is_denied = request.query().is_some_and(|query| query.split('&').any(|pair| pair == "deny=1"));
            if is_denied { Err("denied by allowRequest".to_owned()) } else { Ok(()) }
        });
        join_cluster(lp, io)?;
        socket::serve(lp, io);
        rooms::serve(lp, io);
        admin::serve(lp, io);
        let server = socket_io::listen_with(lp, ("127.0.0.1", settings.port), &options, io.attach(NotFound))?;
        println!("listening on 127.0.0.1:{}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}

/// Makes the server a node of a cluster, if `REDIS_URL` is set.
#[cfg(feature = "redis")]
fn join_cluster(lp: &mut Loop, io: Server) -> bucle::Result<()> {
    use bucle::redis::{Link, Options};
    use bucle::socket_io::redis_adapter::{self, RedisAdapter, ShardedAdapter, ShardedOptions};
    use bucle::socket_io::redis_adapter::{StreamsAdapter, StreamsOptions};
    let Ok(url) = std::env::var("REDIS_URL") else { return Ok(()) };
    let link = Link::open(lp, Options::from_url(&url)?);
    match std::env::var("REDIS_ADAPTER").as_deref().unwrap_or("classic") {
        "classic" => io.set_adapter(lp, RedisAdapter::factory(link, redis_adapter::Options::default())),
        "sharded" => io.set_adapter(lp, ShardedAdapter::factory(link, ShardedOptions::default())),
        "streams" => io.set_adapter(lp, StreamsAdapter::factory(link, StreamsOptions::default())),
        other => return Err(bucle::Error::custom("E_SETTING", format!("REDIS_ADAPTER is {other:?}"))),
    }
    Ok(())
}

#[cfg(not(feature = "redis"))]
fn join_cluster(_: &mut Loop, _: Server) -> bucle::Result<()> {
    match std::env::var_os("REDIS_URL") {
        Some(_) => Err(bucle::Error::custom("E_FEATURE", "REDIS_URL needs the feature `redis`")),
        None => Ok(()),
    }
}
