//! Finds out whether the server asks for a password, so that the next line is kept nowhere.
//!
//! ```text
//!   IAC WILL ECHO  ──▶  the terminal must not show what is typed (RFC 857)  ──▶ until IAC WONT ECHO
//!   "Password: "   ──▶  the last line of text asks for one                  ──▶ until other text comes
//! ```
//!
//! Servers of telnet send the first. Others, and servers over WebSocket, have only the text. A mistake keeps a line
//! out of the history, which costs little; it never brings one in.

use bucle::telnet::codec::{Decoder, Event, Verb};

/// The telnet option (RFC 857).
const ECHO: u8 = 1;

/// How much of the last line of text is kept.
const LONGEST: usize = 256;

/// Words of a line that asks for a secret, in lower case.
const WORDS: [&str; 8] = ["password", "passwd", "passphrase", "passcode", "contraseña", "secret", "token", "pin:"];

/// Watches what the server sends.
#[derive(Default)]
pub(super) struct Secrets {
    decoder: Decoder,
    is_echo_off: bool,
    /// The last line that is not empty, or its end.
    last: Vec<u8>,
    is_line_over: bool,
}

impl Secrets {
    /// Takes in what the server has sent.
    pub(super) fn watch(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(event) = self.decoder.next_event(&mut rest) {
            match event {
                Event::Negotiate { verb: Verb::Will, option: ECHO } => self.is_echo_off = true,
                Event::Negotiate { verb: Verb::Wont, option: ECHO } => self.is_echo_off = false,
                Event::Data(text) => {
                    for &byte in text {
                        match byte {
                            b'\n' | b'\r' => self.is_line_over = true,
                            byte => {
                                if std::mem::take(&mut self.is_line_over) {
                                    self.last.clear();
                                }
                                if self.last.len() == LONGEST {
                                    self.last.remove(0);
                                }
                                self.last.push(byte);
                            }
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the line that is typed now may be a secret.
    pub(super) fn is_asked_for(&self) -> bool {
        let last = String::from_utf8_lossy(&self.last).to_lowercase();
        self.is_echo_off || WORDS.iter().any(|word| last.contains(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_asked_for_by_the_echo_or_by_the_text() {
        let table: &[(&str, &[u8], bool)] = &[
            ("nothing", b"", false),
            ("text", "hola\n¿qué tal?\n".as_bytes(), false),
            ("the echo is off", b"login\r\n\xff\xfb\x01", true),
            ("on again", b"\xff\xfb\x01x\xff\xfc\x01", false),
            ("another option", b"\xff\xfb\x03", false),
            ("an escaped byte", b"\xff\xff\xfb\x01", false),
            ("a prompt", b"user: ana\nPassword: ", true),
            ("a prompt with a line break", b"Enter your passphrase\r\n\r\n", true),
            ("in Spanish", "Contraseña: ".as_bytes(), true),
            ("other text after it", b"Password: \r\nwelcome\n", false),
        ];
        for (name, bytes, want) in table {
            for cut in 0..=bytes.len() {
                let mut secrets = Secrets::default();
                secrets.watch(&bytes[..cut]);
                secrets.watch(&bytes[cut..]);
                assert_eq!(secrets.is_asked_for(), *want, "{name}, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_long_line_costs_bounded_memory() {
        let mut secrets = Secrets::default();
        secrets.watch(&[b'x'; 100_000]);
        assert_eq!(secrets.last.len(), LONGEST);
        secrets.watch(b" password:");
        assert!(secrets.is_asked_for());
    }
}
