//! The header `Sec-WebSocket-Extensions` (RFC 6455, 9.1): a list of extensions, each with parameters.
//!
//! ```text
//!   permessage-deflate; client_max_window_bits; server_max_window_bits="10", permessage-deflate
//!   └ extension         └ parameter             └ parameter with a value     └ a second choice
//! ```
//!
//! A client lists what it offers, the best first, and a server what it accepts. The list may be spread over several
//! headers. This file knows the grammar only; [`deflate`](super::deflate) knows what one extension means.

use std::borrow::Cow;
use std::{error, fmt};

use ::http::HeaderMap;
use ::http::header::SEC_WEBSOCKET_EXTENSIONS;

use super::fields::{is_token, is_token_byte};

/// One element of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    /// For example `permessage-deflate`.
    pub name: &'a str,
    /// Names and values, in the order of the header. A value that was quoted is here without quotes.
    pub parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// The header does not follow the grammar, or has more than [`LIMIT`] parts. The handshake must fail (RFC 6455, 9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header Sec-WebSocket-Extensions is malformed")
    }
}

impl error::Error for Malformed {}

/// How many extensions and parameters the list may have in all. Browsers send two.
pub const LIMIT: usize = 64;

/// The extensions in all headers `Sec-WebSocket-Extensions`, in their order. Empty elements of the list are skipped.
pub fn parse(headers: &HeaderMap) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut found = Vec::new();
    let mut parts = 0;
    for value in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let mut rest = Rest(value.to_str().map_err(|_| Malformed)?);
        while rest.skip_to_element() {
            let extension = rest.extension()?;
            parts += 1 + extension.parameters.len();
            if parts > LIMIT {
                return Err(Malformed);
            }
            found.push(extension);
        }
    }
    Ok(found)
}

/// The part of a header that is not parsed yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Skips blanks and commas. Returns whether an element follows.
    fn skip_to_element(&mut self) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        !self.0.is_empty()
    }

    /// One element and the comma after it.
    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.skips(';') {
            let name = self.token()?;
            let value = if self.skips('=') { Some(self.value()?) } else { None };
            parameters.push((name, value));
            if parameters.len() > LIMIT {
                return Err(Malformed);
            }
        }
        let is_at_end = self.0.is_empty() || self.skips(',');
        if is_at_end { Ok(Extension { name, parameters }) } else { Err(Malformed) }
    }

    /// Skips blanks, and `delimiter` if it follows. Returns whether it did.
    fn skips(&mut self, delimiter: char) -> bool {
        self.skip_blanks();
        let Some(rest) = self.0.strip_prefix(delimiter) else { return false };
        self.0 = rest;
        true
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_blanks();
        let len = self.0.bytes().take_while(|&byte| is_token_byte(byte)).count();
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// A token, or a quoted string whose content is a token.
    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if !self.skips('"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = Cow::Borrowed("");
        loop {
            let at = self.0.find(['"', '\\']).ok_or(Malformed)?;
            let (plain, rest) = self.0.split_at(at);
            value += plain;
            self.0 = &rest[1..];
            if rest.starts_with('"') {
                break;
            }
            // A backslash quotes the next character, which is ASCII as the whole header.
            let quoted = self.0.get(..1).ok_or(Malformed)?;
            value += quoted;
            self.0 = &self.0[1..];
        }
        if is_token(&value) { Ok(value) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;

    fn headers(values: &[&str]) -> HeaderMap {
        let fields = values.iter().map(|value| HeaderValue::from_bytes(value.as_bytes()).expect("a legal value"));
        fields.map(|value| (SEC_WEBSOCKET_EXTENSIONS, value)).collect()
    }

    /// Writes what was parsed in one fixed form.
    fn parsed(values: &[&str]) -> String {
        let headers = headers(values);
        let Ok(extensions) = parse(&headers) else { return "malformed".to_owned() };
        let element = |extension: &Extension<'_>| {
            let parameters = extension.parameters.iter().map(|(name, value)| match value {
                Some(value) => format!(";{name}={value}"),
                None => format!(";{name}"),
            });
            format!("{}{}", extension.name, parameters.collect::<String>())
        };
        extensions.iter().map(element).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn parses_the_grammar_of_rfc_6455_section_9_1() {
        let table: &[(&str, &[&str], &str)] = &[
            ("no header", &[], ""),
            ("one extension", &["foo"], "foo"),
            (
                "the examples of 9.1",
                &["deflate-stream", "mux; max-channels=4; flow-control"],
                "deflate-stream,mux;max-channels=4;flow-control",
            ),
            ("two in one header", &["foo, bar; baz=2"], "foo,bar;baz=2"),
            ("blanks and tabs everywhere", &[" foo\t;\ta = 1 ; b ,\t bar "], "foo;a=1;b,bar"),
            ("a quoted value", &[r#"foo; a="10""#], "foo;a=10"),
            ("a backslash in a quoted value", &[r#"foo; a="1\0\9"; b"#], "foo;a=109;b"),
            ("empty elements", &[" , foo,, bar,", ""], "foo,bar"),
            ("a parameter twice", &["foo; a; a=1"], "foo;a;a=1"),
        ];
        for (name, values, want) in table {
            assert_eq!(parsed(values), *want, "{name}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let table = [
            ("no name", ";a"),
            ("two names", "foo bar"),
            ("no name of a parameter", "foo;"),
            ("no name of a parameter, and a next one", "foo;;a"),
            ("no value", "foo; a="),
            ("a value without a name", "foo; =1"),
            ("two values", "foo; a=1 2"),
            ("an empty quoted value", r#"foo; a="""#),
            ("a quoted value that is no token", r#"foo; a="1 0""#),
            ("a quoted comma", r#"foo; a="1,0""#),
            ("a quotation mark that is not closed", r#"foo; a="10"#),
            ("a backslash at the end", r#"foo; a="10\"#),
            ("text after the closing mark", r#"foo; a="1"0"#),
            ("a value of the extension itself", "foo=1"),
            ("not ASCII", "foo; añ"),
        ];
        for (name, value) in table {
            assert_eq!(parsed(&[value]), "malformed", "{name}");
            assert_eq!(parsed(&["fine", value]), "malformed", "{name}, in a second header");
        }
    }

    #[test]
    fn the_number_of_parts_is_limited() {
        for (name, part, with) in [("extensions", "a,", ""), ("parameters", ";a", "a")] {
            let most = LIMIT - with.len();
            assert!(parse(&headers(&[&format!("{with}{}", part.repeat(most))])).is_ok(), "{name}");
            assert_eq!(parse(&headers(&[&format!("{with}{}", part.repeat(most + 1))])), Err(Malformed), "{name}");
        }
    }
}
