//! The agreement on permessage-deflate in the opening handshake (RFC 7692, 5 and 7.1).
//!
//! | parameter | in an offer of the client | in the answer of the server |
//! |---|---|---|
//! | `server_no_context_takeover` | the server must compress messages one by one | it will; required if offered |
//! | `client_no_context_takeover` | the client will compress messages one by one | the client must do so |
//! | `server_max_window_bits=N` | the server's window must have at most N bits | it will; required if offered |
//! | `client_max_window_bits` | the client can use a smaller window | |
//! | `client_max_window_bits=N` | its window will have at most N bits | it must; allowed only if offered |

use std::{error, fmt};

use ::http::HeaderMap;

use crate::websocket::extensions::{self, Extension};

/// The name of the extension.
const NAME: &str = "permessage-deflate";

/// Window bits, where no smaller number is agreed on.
const MAX_BITS: u8 = 15;

/// The wishes of a server or a client for permessage-deflate.
///
/// Windows are numbers of bits, 8 to 15: a window of 15 bits has 32 KiB. Smaller numbers count as 8, larger ones as 15.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeflateOptions {
    /// From 0 (no compression) to 9 (the smallest output). By default 1: for a JSON text of 1 KiB it takes a third of
    /// the time of level 6 and makes 36 % of the size, where level 6 makes 27 %.
    pub level: u32,
    /// A message with fewer bytes is sent uncompressed. By default 1024, as in npm `ws`: a smaller message fits in one
    /// TCP segment either way, and even for 100 bytes the compressor takes about two microseconds.
    pub threshold: usize,
    /// The server's messages are compressed one by one. By default `true`: no memory for a connection.
    pub server_no_context_takeover: bool,
    /// The client's messages are compressed one by one. By default `true`: no memory for a connection.
    pub client_no_context_takeover: bool,
    /// The largest window of the server's messages. By default 15.
    pub server_max_window_bits: u8,
    /// The largest window of the client's messages. By default 15. A server can ask only a client whose offer has
    /// `client_max_window_bits` for a smaller one; with other clients it agrees on 15.
    pub client_max_window_bits: u8,
}

impl Default for DeflateOptions {
    fn default() -> DeflateOptions {
        DeflateOptions {
            level: 1,
            threshold: 1024,
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        }
    }
}

/// The parameters that both sides have agreed on.
///
/// A frame that was compressed without takeover can be sent to every client with the same parameters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Params {
    /// The server's messages are compressed one by one.
    pub server_no_context_takeover: bool,
    /// The client's messages are compressed one by one.
    pub client_no_context_takeover: bool,
    /// The window of the server's messages, in bits: 8 to 15.
    pub server_max_window_bits: u8,
    /// The window of the client's messages, in bits: 8 to 15.
    pub client_max_window_bits: u8,
}

/// Server: takes the first offer that it can accept, and returns the value of the answer's
/// `Sec-WebSocket-Extensions`. `None` if there is no such offer: the connection goes on without compression.
///
/// Offers are judged one by one. An unknown, repeated or ill-valued parameter declines its offer only (RFC 7692, 7).
/// Malformed headers contain no offer; [`handshake::check_request`](crate::websocket::handshake::check_request)
/// refuses their request.
///
/// ```
/// use bucle::websocket::deflate::{DeflateOptions, negotiate};
/// use http::{HeaderMap, HeaderValue, header};
///
/// let offered = HeaderValue::from_static("permessage-deflate; client_max_window_bits");
/// let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, offered)]);
/// let options = DeflateOptions { client_max_window_bits: 12, ..DeflateOptions::default() };
/// let (params, answer) = negotiate(&headers, &options).expect("an offer as Chrome makes it");
/// assert_eq!(params.client_max_window_bits, 12);
/// assert_eq!(
///     answer,
///     "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12"
/// );
/// ```
pub fn negotiate(headers: &HeaderMap, options: &DeflateOptions) -> Option<(Params, String)> {
    let offers = extensions::parse(headers).ok()?;
    let offer = offers.iter().filter(|offer| offer.name == NAME).find_map(Parameters::of)?;
    let server_bits = offer.server_max_window_bits.unwrap_or(MAX_BITS).min(bits(options.server_max_window_bits));
    let client_bits = match offer.client_max_window_bits {
        Some(offered) => offered.unwrap_or(MAX_BITS).min(bits(options.client_max_window_bits)),
        None => MAX_BITS,
    };
    let params = Params {
        server_no_context_takeover: offer.server_no_context_takeover || options.server_no_context_takeover,
        client_no_context_takeover: offer.client_no_context_takeover || options.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    };
    let answer = Parameters {
        server_no_context_takeover: params.server_no_context_takeover,
        client_no_context_takeover: params.client_no_context_takeover,
        server_max_window_bits: (server_bits < MAX_BITS || offer.server_max_window_bits.is_some())
            .then_some(server_bits),
        client_max_window_bits: (client_bits < MAX_BITS).then_some(Some(client_bits)),
    };
    Some((params, answer.to_string()))
}

/// Client: the value of the request's `Sec-WebSocket-Extensions`.
///
/// It always contains `client_max_window_bits`, because every window of the client can be made smaller.
///
/// ```
/// use bucle::websocket::deflate::{DeflateOptions, offer};
///
/// let options = DeflateOptions { client_no_context_takeover: false, ..DeflateOptions::default() };
/// assert_eq!(offer(&options), "permessage-deflate; server_no_context_takeover; client_max_window_bits");
/// ```
pub fn offer(options: &DeflateOptions) -> String {
    Parameters::offered(options).to_string()
}

/// Client: what the server has answered to [`offer`] with the same options. `None` if the server has declined.
pub fn accept(headers: &HeaderMap, options: &DeflateOptions) -> Result<Option<Params>, BadAnswer> {
    let answers = extensions::parse(headers).map_err(|_| BadAnswer::Malformed)?;
    let answer = match &answers[..] {
        [] => return Ok(None),
        [answer] if answer.name == NAME => Parameters::of(answer).ok_or(BadAnswer::BadParameter)?,
        [answer, again] if answer.name == NAME && again.name == NAME => return Err(BadAnswer::Repeated),
        _ => return Err(BadAnswer::NotOffered),
    };
    let offered = Parameters::offered(options);
    let server_bits = match (offered.server_max_window_bits, answer.server_max_window_bits) {
        (None, answered) => answered.unwrap_or(MAX_BITS),
        (Some(most), Some(answered)) if answered <= most => answered,
        (Some(_), _) => return Err(BadAnswer::ServerWindow),
    };
    let client_bits = match answer.client_max_window_bits {
        None => bits(options.client_max_window_bits),
        Some(Some(answered)) if answered <= bits(options.client_max_window_bits) => answered,
        Some(_) => return Err(BadAnswer::ClientWindow),
    };
    if offered.server_no_context_takeover && !answer.server_no_context_takeover {
        return Err(BadAnswer::ServerTakeover);
    }
    Ok(Some(Params {
        server_no_context_takeover: answer.server_no_context_takeover,
        // A client may give up its context without the server's consent.
        client_no_context_takeover: answer.client_no_context_takeover || options.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    }))
}

/// The server's answer does not fit the offer. The client must close the connection (RFC 7692, 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadAnswer {
    /// The header does not follow its grammar.
    Malformed,
    /// The answer has an extension that was not offered.
    NotOffered,
    /// The answer has permessage-deflate twice.
    Repeated,
    /// A parameter is unknown, repeated or has a wrong value.
    BadParameter,
    /// `server_no_context_takeover` was offered and is missing.
    ServerTakeover,
    /// `server_max_window_bits` was offered, and is missing or larger.
    ServerWindow,
    /// `client_max_window_bits` has no value, or is larger than offered.
    ClientWindow,
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadAnswer::Malformed => "the server's Sec-WebSocket-Extensions is malformed",
            BadAnswer::NotOffered => "the server answers with an extension that was not offered",
            BadAnswer::Repeated => "the server answers with permessage-deflate twice",
            BadAnswer::BadParameter => "the server answers with a bad parameter of permessage-deflate",
            BadAnswer::ServerTakeover => "the server's answer lacks server_no_context_takeover",
            BadAnswer::ServerWindow => {
                "the server's answer has no server_max_window_bits, or a larger one than offered"
            }
            BadAnswer::ClientWindow => "the server's client_max_window_bits has no value, or is larger than offered",
        })
    }
}

impl error::Error for BadAnswer {}

/// The parameters of one offer or answer, as they are written.
#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// The value is optional in an offer.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    fn offered(options: &DeflateOptions) -> Parameters {
        let smaller = |wanted| Some(bits(wanted)).filter(|&bits| bits < MAX_BITS);
        Parameters {
            server_no_context_takeover: options.server_no_context_takeover,
            client_no_context_takeover: options.client_no_context_takeover,
            server_max_window_bits: smaller(options.server_max_window_bits),
            client_max_window_bits: Some(smaller(options.client_max_window_bits)),
        }
    }

    /// `None` if a parameter is unknown, repeated or ill-valued.
    fn of(extension: &Extension<'_>) -> Option<Parameters> {
        let mut all = Parameters::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let is_first = match *name {
                "server_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut all.server_no_context_takeover, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut all.client_no_context_takeover, true)
                }
                "server_max_window_bits" => all.server_max_window_bits.replace(parse_bits(value?)?).is_none(),
                "client_max_window_bits" => {
                    let bits = match value {
                        Some(value) => Some(parse_bits(value)?),
                        None => None,
                    };
                    all.client_max_window_bits.replace(bits).is_none()
                }
                _ => return None,
            };
            if !is_first {
                return None;
            }
        }
        Some(all)
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => write!(f, "; client_max_window_bits={bits}"),
            Some(None) => f.write_str("; client_max_window_bits"),
            None => Ok(()),
        }
    }
}

/// 8 to 15, without leading zeros (RFC 7692, 7.1.2.1).
fn parse_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Window bits of the options, within what the RFC allows.
fn bits(wanted: u8) -> u8 {
    wanted.clamp(8, MAX_BITS)
}

#[cfg(test)]
mod tests;
