//! Finds out whether the server asks for a password, so that the next line is kept nowhere.
//!
//! ```text
//!   IAC WILL ECHO  ──▶  the terminal must not show what is typed (RFC 857)  ──▶ until IAC WONT ECHO
//!   "Password: "   ──▶  a line of text asks for one                         ──▶ until a line is sent
//! ```
//!
//! Servers of telnet send the first. Others, and servers over WebSocket, have only the text. Other text may come before
//! the user presses Enter, for example that of other members of a chat, so it changes nothing. A text that only
//! mentions a password keeps one line out of the history, which costs little. A server that asks with other words than
//! [`PARTS`] and [`WORDS`], and does not switch the echo off, is not noticed.

use bucle::telnet::codec::{Decoder, Event, Verb};

/// The telnet option (RFC 857).
const ECHO: u8 = 1;

/// How much of an unfinished line of text is kept. Longer than a prompt.
const LONGEST: usize = 256;

/// How much text is looked at in one step, which bounds the memory for it.
const PIECE: usize = 4096;

/// Parts of a line that asks for a secret, in lower case.
const PARTS: [&str; 25] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "passwort",
    "kennwort",
    "secret",
    "token",
    "credential",
    "api key",
    "api-key",
    "contraseña",
    "contrasena",
    "clave",
    "senha",
    "palavra-passe",
    "mot de passe",
    "wachtwoord",
    "parola",
    "lösenord",
    "hasło",
    "пароль",
    "密码",
    "パスワード",
    "비밀번호",
];

/// Whole words of such a line. Other words contain them.
const WORDS: [&str; 3] = ["pin", "otp", "pwd"];

/// Watches what the server sends.
#[derive(Default)]
pub(super) struct Secrets {
    decoder: Decoder,
    is_echo_off: bool,
    text: Text,
}

/// The server's text since the last line was sent.
#[derive(Default)]
struct Text {
    /// It has asked for a secret.
    has_asked: bool,
    /// The line that is not finished, or its end.
    unfinished: Vec<u8>,
}

impl Secrets {
    /// Takes in what the server has sent.
    pub(super) fn watch(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(event) = self.decoder.next_event(&mut rest) {
            match event {
                Event::Negotiate { verb: Verb::Will, option: ECHO } => self.is_echo_off = true,
                Event::Negotiate { verb: Verb::Wont, option: ECHO } => self.is_echo_off = false,
                Event::Data(text) => text.chunks(PIECE).for_each(|piece| self.text.read(piece)),
                _ => {}
            }
        }
    }

    /// Whether the terminal must not show what is typed.
    pub(super) fn is_echo_off(&self) -> bool {
        self.is_echo_off
    }

    /// Whether the line that is typed now may be a secret.
    pub(super) fn is_asked_for(&self) -> bool {
        self.is_echo_off || self.text.has_asked || asks(&self.text.unfinished, true)
    }

    /// A part of a line was typed: if it is secret, it stays so until it is sent.
    pub(super) fn typed(&mut self) {
        self.text.has_asked = self.is_asked_for();
    }

    /// A line was sent: that was the secret.
    pub(super) fn sent(&mut self) {
        self.text = Text::default();
    }
}

impl Text {
    fn read(&mut self, piece: &[u8]) {
        self.unfinished.extend_from_slice(piece);
        self.has_asked |= asks(&self.unfinished, false);
        let line = self.unfinished.iter().rposition(|byte| b"\r\n".contains(byte)).map_or(0, |at| at + 1);
        let from = line.max(self.unfinished.len().saturating_sub(LONGEST));
        self.unfinished.drain(..from);
    }
}

/// Whether the text asks for a secret. `is_whole`: no more of its last word comes.
fn asks(text: &[u8], is_whole: bool) -> bool {
    let text = String::from_utf8_lossy(text).to_lowercase();
    let is_end = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    PARTS.iter().any(|part| text.contains(part))
        || WORDS.iter().flat_map(|word| text.match_indices(word)).any(|(at, word)| {
            let (before, after) = (&text[..at], &text[at + word.len()..]);
            is_end(before.chars().next_back()) && is_end(after.chars().next()) && (is_whole || !after.is_empty())
        })
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
            ("a prompt in two lines", b"Password:\r\n> ", true),
            ("other text after it", b"Password: \r\n[eva has joined]\r\nhola\r\n", true),
            ("in Spanish", "CONTRASEÑA: ".as_bytes(), true),
            ("in Spanish, another word", b"Clave: ", true),
            ("in German", b"Passwort: ", true),
            ("in French", b"Mot de passe: ", true),
            ("in Russian", "Пароль: ".as_bytes(), true),
            ("a word", b"PIN for ana: ", true),
            ("a word at the end", b"Enter PIN", true),
            ("a part of another word", b"ping: spinning\r\npins opinions shopping", false),
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
    fn the_secret_is_one_line_and_the_whole_of_it() {
        let mut secrets = Secrets::default();
        secrets.watch(b"Password: ");
        secrets.typed();
        secrets.watch(b"[eva has joined]\r\n");
        assert!(secrets.is_asked_for());
        secrets.sent();
        assert!(!secrets.is_asked_for(), "the prompt is answered");
        secrets.watch(b"Welcome!\r\n");
        assert!(!secrets.is_asked_for());
        // The line was begun while the echo was off.
        secrets.watch(b"\xff\xfb\x01");
        secrets.typed();
        secrets.watch(b"\xff\xfc\x01");
        assert!(secrets.is_asked_for());
        secrets.sent();
        assert!(!secrets.is_asked_for());
    }

    #[test]
    fn a_long_line_costs_bounded_memory() {
        let mut secrets = Secrets::default();
        secrets.watch(&[b'x'; 100_000]);
        assert_eq!(secrets.text.unfinished.len(), LONGEST);
        assert!(secrets.text.unfinished.capacity() < 4 * PIECE);
        secrets.watch(b" password:");
        assert!(secrets.is_asked_for());
    }
}
