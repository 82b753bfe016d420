//! The cookies of a server, which a client sends back with each request: a load balancer finds the server of a session
//! by them.
//!
//! ```text
//!   Set-Cookie: AWSALB=a1b2; Expires=Wed, 09 Dec 2026 10:00:00 GMT; Path=/
//!   Set-Cookie: io=lv_VI97HAXpY6yYWAAAC; Path=/; HttpOnly
//!                    Cookie: AWSALB=a1b2; io=lv_VI97HAXpY6yYWAAAC
//! ```
//!
//! A jar belongs to one server, and every request to it has the same path. So `Domain` and `Path` are not read, nor are
//! the attributes for pages, as by
//! [`engine.io-client`](https://github.com/socketio/socket.io/tree/main/packages/engine.io-client) for Node. What its
//! jar does in another way than RFC 6265 is done here as in the RFC: a value ends at any semicolon, keeps its quotes,
//! and `Max-Age` wins over `Expires`.
//!
//! # Limits
//!
//! | what | limit | over it |
//! |---|---|---|
//! | bytes of a name and its value | 4,096 (RFC 6265, 6.1) | the cookie is ignored |
//! | cookies of a jar | 50 (the same) | the oldest one is dropped |
//! | bytes of the header `Cookie` | 8,192: half of the head that Node accepts | the oldest one is dropped |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::HeaderValue;

#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod tests;

const MAX_COOKIES: usize = 50;
const MAX_COOKIE: usize = 4096;
const MAX_HEADER: usize = 8192;

/// The longest time that `Max-Age` gives: 400 days, as in RFC 6265bis, 5.5.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);

/// Between two cookies of the header.
const SEPARATOR: &[u8] = b"; ";

/// The cookies of one server.
#[derive(Clone, Default, Debug)]
pub(crate) struct CookieJar {
    /// In the order in which their names came first.
    cookies: Vec<Cookie>,
    /// The bytes of the header with all of them.
    header_len: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Cookie {
    /// `name=value`, as it is sent.
    pair: Box<[u8]>,
    name_len: usize,
    /// `None`: when the jar is dropped.
    expires: Option<SystemTime>,
}

impl Cookie {
    fn name(&self) -> &[u8] {
        &self.pair[..self.name_len]
    }

    fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    fn header_len(&self) -> usize {
        self.pair.len() + SEPARATOR.len()
    }
}

impl CookieJar {
    /// Takes the value of a header `Set-Cookie` that has come at `now`. One that is no cookie is ignored.
    pub fn set(&mut self, now: SystemTime, set_cookie: &[u8]) {
        let Some(cookie) = parse(now, set_cookie) else { return };
        self.expire(now);
        let place = self.cookies.iter().position(|other| other.name() == cookie.name());
        if cookie.is_expired(now) {
            if let Some(place) = place {
                self.remove(place);
            }
            return;
        }
        self.header_len += cookie.header_len();
        match place {
            Some(place) => {
                let old = std::mem::replace(&mut self.cookies[place], cookie);
                self.header_len -= old.header_len();
            }
            None => self.cookies.push(cookie),
        }
        while self.cookies.len() > MAX_COOKIES || self.header_len > MAX_HEADER + SEPARATOR.len() {
            self.remove(0);
        }
    }

    /// The value of the header `Cookie` at `now`. `None`: there are no cookies.
    pub fn header(&mut self, now: SystemTime) -> Option<HeaderValue> {
        self.expire(now);
        let pairs: Vec<&[u8]> = self.cookies.iter().map(|cookie| &*cookie.pair).collect();
        let header = (!pairs.is_empty()).then(|| pairs.join(SEPARATOR))?;
        HeaderValue::try_from(header).ok()
    }

    fn expire(&mut self, now: SystemTime) {
        while let Some(place) = self.cookies.iter().position(|cookie| cookie.is_expired(now)) {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: usize) {
        self.header_len -= self.cookies.remove(place).header_len();
    }
}

/// A cookie (RFC 6265, 5.2). A name or value with a control character is refused, as in RFC 6265bis.
fn parse(now: SystemTime, set_cookie: &[u8]) -> Option<Cookie> {
    let mut parts = set_cookie.split(|byte| *byte == b';');
    let (name, value) = split_pair(parts.next()?)?;
    let is_control = |byte: &u8| byte.is_ascii_control();
    if name.is_empty() || name.len() + value.len() > MAX_COOKIE || name.iter().chain(value).any(is_control) {
        return None;
    }
    let (mut max_age, mut expires) = (None, None);
    for (name, value) in parts.filter_map(split_pair) {
        // As in Node a time that cannot be read is over: the cookie may be one that the server deletes.
        if name.eq_ignore_ascii_case(b"max-age") {
            max_age = Some(parse_max_age(value).map_or(UNIX_EPOCH, |age| now + age));
        } else if name.eq_ignore_ascii_case(b"expires") {
            expires = Some(parse_date(value).unwrap_or(UNIX_EPOCH));
        }
    }
    let pair = [name, b"=", value].concat().into_boxed_slice();
    Some(Cookie { pair, name_len: name.len(), expires: max_age.or(expires) })
}

/// `name = value`, without the blanks around both. `None`: there is no `=`.
fn split_pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b'=')?;
    Some((text[..at].trim_ascii(), text[at + 1..].trim_ascii()))
}

/// The value of `Max-Age`. `None`: it cannot be read, or is not positive.
fn parse_max_age(value: &[u8]) -> Option<Duration> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A number with too many digits is a long time.
    let seconds = str::from_utf8(value).ok()?.parse().unwrap_or(if value.is_empty() { 0 } else { u64::MAX });
    (seconds > 0).then(|| Duration::from_secs(seconds).min(LONGEST))
}

/// The value of `Expires`, in any of the forms that browsers read (RFC 6265, 5.1.1): `Wed, 09 Dec 2026 10:00:00 GMT`,
/// `Wed, 09-Dec-26 10:00:00 GMT`, `Wed Dec  9 10:00:00 2026`.
fn parse_date(value: &[u8]) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in value.split(|byte| is_delimiter(*byte)) {
        if time.is_none()
            && let Some(found) = parse_time(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = leading_number(token, 1..=2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = parse_month(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = leading_number(token, 2..=4)
        {
            year = Some(found);
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let ((hour, minute, second), day, month) = (time?, day?, month?);
    let is_date = year >= 1601 && (1..=days_of(year, month)).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !is_date {
        return None;
    }
    let of_day = u64::from(hour * 3600 + minute * 60 + second);
    match days_since_1970(year, month, day) {
        Some(days) => UNIX_EPOCH.checked_add(Duration::from_secs(days * 24 * 3600 + of_day)),
        // It is over in any case.
        None => Some(UNIX_EPOCH),
    }
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'/' | b';'..=b'@' | b'['..=b'`' | b'{'..=b'~')
}

/// The number at the front of a token, with this many digits. What follows must be no digit.
fn leading_number(token: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let len = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits.contains(&len).then(|| str::from_utf8(&token[..len]).ok()?.parse().ok())?
}

/// `hours:minutes:seconds`
fn parse_time(token: &[u8]) -> Option<(u32, u32, u32)> {
    let mut fields = token.splitn(3, |byte| *byte == b':');
    let whole = |field: &[u8]| field.iter().all(u8::is_ascii_digit).then(|| leading_number(field, 1..=2))?;
    Some((whole(fields.next()?)?, whole(fields.next()?)?, leading_number(fields.next()?, 1..=2)?))
}

/// The number of a month, from 1 on.
fn parse_month(token: &[u8]) -> Option<u32> {
    const NAMES: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let name = token.get(..3)?;
    let place = NAMES.iter().position(|other| name.eq_ignore_ascii_case(&other[..]))?;
    u32::try_from(place + 1).ok()
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(is_leap(year)),
        _ => 31,
    }
}

/// `None`: before 1970.
fn days_since_1970(year: u32, month: u32, day: u32) -> Option<u64> {
    let leap_days_before = |year: u32| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = year.checked_sub(1970)?;
    let of_years = years * 365 + leap_days_before(year) - leap_days_before(1970);
    let of_months: u32 = (1..month).map(|month| days_of(year, month)).sum();
    Some(u64::from(of_years + of_months + day - 1))
}
