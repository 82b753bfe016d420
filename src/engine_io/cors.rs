//! CORS: which pages of other origins may read the answers (Fetch Standard, "CORS protocol").
//!
//! A browser sends the origin of the page. Before some requests it asks first, with a *preflight*: `OPTIONS` with the
//! method and the headers of the request that it wants to send.
//!
//! The headers are those of [`cors`](https://github.com/expressjs/cors) 2.8 for Node, which Socket.IO uses:
//!
//! | origin | `Access-Control-Allow-Origin` | `Vary: Origin` |
//! |---|---|---|
//! | [`Any`](CorsOrigin::Any) | `*` | no |
//! | [`Exactly`](CorsOrigin::Exactly) | the origin of the option, whatever the request has | yes |
//! | [`List`](CorsOrigin::List) | the origin of the request, if it is in the list | yes |
//! | [`Reflect`](CorsOrigin::Reflect) | the origin of the request, if it has one | yes |
//!
//! There is one difference: `cors` adds `Content-Length: 0` to the answer of a preflight, which has the status 204. RFC
//! 9110, section 8.6, forbids that.

use std::borrow::Cow;
use std::time::Duration;

use ::http::StatusCode;
use ::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderName, HeaderValue, VARY,
};

use super::error::InvalidOption;

#[cfg(test)]
mod tests;

/// The status of the answer to a preflight. The answer has no body.
pub const PREFLIGHT_STATUS: StatusCode = StatusCode::NO_CONTENT;

/// The option `cors` of a server. The default is that of the package: every origin, without credentials.
///
/// ```
/// use bucle::engine_io::cors::{Cors, CorsOrigin};
///
/// let cors = Cors {
///     origin: CorsOrigin::Exactly("http://app.example".into()),
///     credentials: true,
///     ..Cors::default()
/// };
/// let headers = cors.headers(Some("http://app.example"));
/// let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
/// assert_eq!(lines, [
///     "access-control-allow-origin: http://app.example",
///     "access-control-allow-credentials: true",
///     "vary: Origin",
/// ]);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cors {
    /// Which origins may read the answers.
    pub origin: CorsOrigin,
    /// Whether browsers may send cookies and read the answer all the same. Browsers do not accept it together with
    /// [`CorsOrigin::Any`].
    pub credentials: bool,
    /// The methods that a preflight allows. None of them: the header is left out.
    pub methods: Vec<String>,
    /// The request headers that a preflight allows. `None`: those that it asks for.
    pub allowed_headers: Option<Vec<String>>,
    /// The response headers that a page can read, besides those that every page can read.
    pub exposed_headers: Vec<String>,
    /// How long a browser may remember the answer to a preflight, in whole seconds. `None`: the browser's default, five
    /// seconds (Fetch Standard).
    pub max_age: Option<Duration>,
}

/// Which origins may read the answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CorsOrigin {
    /// Every origin: `*`.
    Any,
    /// One origin, for example `http://app.example`. It is sent with every answer, and the browser compares. `*` means
    /// [`Any`](CorsOrigin::Any).
    Exactly(String),
    /// Several origins. They are compared as text, so they have no path and no slash at the end.
    List(Vec<String>),
    /// Every origin, as the request has it. Unlike `*`, browsers accept it together with credentials.
    Reflect,
}

impl Default for Cors {
    fn default() -> Cors {
        Cors {
            origin: CorsOrigin::Any,
            credentials: false,
            methods: ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"].map(str::to_owned).into(),
            allowed_headers: None,
            exposed_headers: Vec::new(),
            max_age: None,
        }
    }
}

impl Cors {
    /// Checks that all values can be sent in headers.
    ///
    /// # Errors
    ///
    /// A value has characters that are not visible ASCII, or [`CorsOrigin::Exactly`] is empty. The other methods leave
    /// out a header with such a value.
    pub fn check(&self) -> Result<(), InvalidOption> {
        let can_be_sent = |text: &str| HeaderValue::from_str(text).is_ok_and(|value| value.to_str().is_ok());
        let check = |option, texts: &[String]| {
            texts.iter().all(|text| can_be_sent(text)).then_some(()).ok_or(InvalidOption::new(option))
        };
        match &self.origin {
            CorsOrigin::Exactly(origin) if origin.is_empty() => return Err(InvalidOption::new("cors.origin")),
            CorsOrigin::Exactly(origin) => check("cors.origin", std::slice::from_ref(origin))?,
            CorsOrigin::List(origins) => check("cors.origin", origins)?,
            CorsOrigin::Any | CorsOrigin::Reflect => {}
        }
        check("cors.methods", &self.methods)?;
        check("cors.allowed_headers", self.allowed_headers.as_deref().unwrap_or_default())?;
        check("cors.exposed_headers", &self.exposed_headers)
    }

    /// The headers of an answer, also of an upgrade. `request_origin` is the header `Origin`.
    pub fn headers(&self, request_origin: Option<&str>) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Headers::default();
        self.add_common(request_origin, &mut headers);
        headers.add(ACCESS_CONTROL_EXPOSE_HEADERS, &self.exposed_headers.join(","));
        headers.finish()
    }

    /// The headers of the answer to a preflight, a request with the method `OPTIONS`. The status is
    /// [`PREFLIGHT_STATUS`].
    ///
    /// `request_origin` is the header `Origin`, and `requested_headers` is `Access-Control-Request-Headers`.
    pub fn preflight(
        &self,
        request_origin: Option<&str>,
        requested_headers: Option<&str>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Headers::default();
        self.add_common(request_origin, &mut headers);
        headers.add(ACCESS_CONTROL_ALLOW_METHODS, &self.methods.join(","));
        let allowed = match &self.allowed_headers {
            Some(allowed) => Cow::Owned(allowed.join(",")),
            None => {
                headers.vary.push("Access-Control-Request-Headers");
                Cow::Borrowed(requested_headers.unwrap_or_default())
            }
        };
        headers.add(ACCESS_CONTROL_ALLOW_HEADERS, &allowed);
        if let Some(max_age) = self.max_age {
            headers.add(ACCESS_CONTROL_MAX_AGE, &max_age.as_secs().to_string());
        }
        headers.add(ACCESS_CONTROL_EXPOSE_HEADERS, &self.exposed_headers.join(","));
        headers.finish()
    }

    /// The headers for the origin and for credentials.
    fn add_common(&self, request_origin: Option<&str>, headers: &mut Headers) {
        let request_origin = request_origin.unwrap_or_default();
        let (allowed, varies) = match &self.origin {
            CorsOrigin::Any => ("*", false),
            CorsOrigin::Exactly(origin) => (origin.as_str(), origin != "*"),
            CorsOrigin::List(origins) => {
                let is_allowed = origins.iter().any(|origin| origin == request_origin);
                (if is_allowed { request_origin } else { "" }, true)
            }
            CorsOrigin::Reflect => (request_origin, true),
        };
        headers.add(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if varies {
            headers.vary.push("Origin");
        }
        if self.credentials {
            headers.add(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
    }
}

/// The headers of one answer.
#[derive(Default)]
struct Headers {
    list: Vec<(HeaderName, HeaderValue)>,
    /// The request headers on which the answer depends.
    vary: Vec<&'static str>,
}

impl Headers {
    /// Adds a header, unless its value is empty or cannot be sent.
    fn add(&mut self, name: HeaderName, value: &str) {
        if !value.is_empty()
            && let Ok(value) = HeaderValue::from_str(value)
        {
            self.list.push((name, value));
        }
    }

    fn finish(mut self) -> Vec<(HeaderName, HeaderValue)> {
        self.add(VARY, &self.vary.join(", "));
        self.list
    }
}
