//! The client of the Spanish tutorial in README.es.md, written with bucle's `net`.
//!
//!     cargo run --example tutorial_server
//!     cargo run --example tutorial_client

use bucle::net::{Socket, on};
use bucle::process::{self, Input};
use bucle::telnet::lines::printable;

fn main() -> bucle::Result<()> {
    let puerto: u16 = std::env::args().nth(1).and_then(|texto| texto.parse().ok()).unwrap_or(8080);
    bucle::run(|lp| {
        let eventos = on()
            .connect(|_, _| println!("Cliente conectado al servidor"))
            // Evento cuando el servidor envía datos
            .data(|_, _, mensaje| println!("{}", printable(mensaje.trim_ascii_end())))
            // Evento cuando el servidor se desconecta
            .end(|_, _| println!("Servidor desconectado"))
            .error(|_, _, error| eprintln!("Error: {error}"));
        let cliente = Socket::connect(lp, ("127.0.0.1", puerto), eventos)?;
        // Leer texto de la consola
        let consola = process::stdin(lp, move |lp, consola, entrada| match entrada {
            // Finalizar la conexión
            Input::Data(datos) if datos.trim_ascii() == b"exit" => {
                consola.close(lp);
                cliente.end(lp);
            }
            // Enviar datos al servidor
            Input::Data(datos) => _ = cliente.write(lp, datos),
            Input::End => cliente.end(lp),
            Input::Failed(error) => cliente.destroy_with(lp, error),
            _ => {}
        })?;
        // Sin conexión no hay nada más que hacer: la consola sola no mantiene vivo el programa.
        consola.unref(lp);
        Ok(())
    })
}
