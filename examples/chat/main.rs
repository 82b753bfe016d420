//! A page with a chat over Socket.IO.
//!
//!     PORT=3000 cargo run --example chat
//!
//! Then open http://localhost:3000 in two windows. `PORT=0` takes a free port. The address is printed when the server
//! listens.
//!
//! The page loads `/socket.io/socket.io.js`. That is `socket.io.js` in this folder, a small client over WebSocket. With
//! `CLIENT_DIST=node_modules/socket.io-client/dist` it is the client of npm, which has all that Socket.IO can do.

use std::borrow::Cow;
use std::env;

use bucle::Loop;
use bucle::http::{self, Asset, Exchange, Request, StatusCode};
use bucle::socket_io::{self, ClientFiles, Options, Server};

/// The page, and nothing else.
struct Site {
    page: Asset,
}

impl http::Handler for Site {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match request.path() {
            "/" => exchange.serve(lp, request, &self.page),
            _ => exchange.respond_text(lp, StatusCode::NOT_FOUND, "the chat is at /\n"),
        };
    }
}

fn client_files() -> bucle::Result<ClientFiles> {
    match env::var_os("CLIENT_DIST") {
        Some(folder) => ClientFiles::from_folder(folder),
        None => Ok(ClientFiles::default().with_script("socket.io.js", include_str!("socket.io.js"))),
    }
}

fn main() -> bucle::Result<()> {
    env_logger::init();
    let port: u16 = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    bucle::run(|lp| {
        let mut options = Options::default();
        options.engine.allow_eio3 = true;
        options.engine.client_files = client_files()?;
        let io = Server::new(lp, options.clone());
        io.on_connection(lp, |lp, socket| {
            socket.emit(lp, "chat message", "Welcome");
        });
        io.on(lp, "chat message", move |lp, socket, event| {
            let arguments = event.arguments();
            let text = arguments.text(0).or_else(|| arguments.raw(0).map(Cow::from)).unwrap_or_default();
            match socket.id(lp) {
                Some(id) if text == "everybody" => drop(io.emit(lp, "everybody", format!("{id}: everybody"))),
                _ => drop(socket.emit(lp, "chat message", format!("server: {text}"))),
            }
        });
        let site = Site { page: Asset::new("text/html; charset=utf-8", include_str!("page.html")) };
        let server = socket_io::listen_with(lp, ("127.0.0.1", port), &options, io.attach(site))?;
        println!("listening on 127.0.0.1:{}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}
