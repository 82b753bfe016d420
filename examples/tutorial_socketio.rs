//! The Socket.IO server of the Spanish tutorial in README.es.md. `socketio_tutorial` is the program of its repository.
//!
//!     cargo run --example tutorial_socketio
//!     cargo run -- connect sio://localhost:8080

use bucle::socket_io::{self, Options};
use bucle::telnet::lines::printable;

fn main() -> bucle::Result<()> {
    let puerto: u16 = std::env::args().nth(1).and_then(|texto| texto.parse().ok()).unwrap_or(8080);
    bucle::run(|lp| {
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", puerto), Options::default())?;
        // Enviar mensaje al cliente mediante un evento personalizado
        io.on_connection(lp, |lp, socket| _ = socket.emit(lp, "mensajeClientePersonalizado", "Bienvenido"));
        // Evento personalizado cuando llegan datos
        io.on(lp, "mensajeServidorPersonalizado", |_, socket, evento| {
            if let Ok((datos,)) = evento.parse::<(String,)>() {
                println!("{socket}: {}", printable(datos.as_bytes()));
            }
        });
        println!("El servidor está escuchando en el puerto {}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}
