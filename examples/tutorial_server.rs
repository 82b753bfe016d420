//! The first server of the Spanish tutorial in README.es.md, written with bucle's `net`.
//!
//!     cargo run --example tutorial_server
//!     telnet localhost 8080

use bucle::net::{self, on};
use bucle::telnet::lines::printable;

fn main() -> bucle::Result<()> {
    let puerto: u16 = std::env::args().nth(1).and_then(|texto| texto.parse().ok()).unwrap_or(8080);
    bucle::run(|lp| {
        let eventos = on()
            // Enviar mensaje al cliente
            .connection(|lp, socket| _ = socket.write(lp, "¡Bienvenido!\r\n"))
            // Evento cuando llegan datos
            .data(|_, socket, mensaje| println!("{socket}: {}", printable(mensaje.trim_ascii_end())))
            // Evento cuando el cliente se desconecta
            .end(|_, socket| println!("{socket} se ha desconectado"));
        let server = net::listen(lp, ("127.0.0.1", puerto), eventos)?;
        println!("El servidor está escuchando en el puerto {}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}
