//! Properties of the cookies of a client, for any headers.

use std::collections::BTreeMap;

use super::*;
use crate::fuzzing::input::Input;

/// The lines of the input are headers `Set-Cookie`, which come one second after the other: the jar has what a plain
/// version has, and is bounded. Dates mean what they mean to a reader of HTTP.
pub(crate) fn hold_for(input: &[u8]) {
    let mut input = Input(input);
    let start = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + u64::from(input.byte()));
    let (mut jar, mut now) = (CookieJar::default(), start);
    // Name, value and end, in the order in which their names came.
    let mut plain: Vec<(String, String, Option<SystemTime>)> = Vec::new();
    for line in input.0.split(|byte| *byte == b'\n') {
        now += Duration::from_secs(1);
        jar.set(now, line);
        // Bytes that are not UTF-8 are one character each, as in HTTP.
        let text: String = line.iter().map(|byte| char::from(*byte)).collect();
        set_plainly(&mut plain, now, &text);
        let pairs: Vec<String> = plain.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
        let want: Vec<u8> = pairs.join("; ").chars().map(|character| character as u8).collect();
        let header = jar.header(now);
        assert_eq!(header.as_ref().map_or(&b""[..], HeaderValue::as_bytes), want);
        assert!(want.len() <= MAX_HEADER && jar.cookies.len() <= MAX_COOKIES);
        assert_eq!(jar.header_len, if pairs.is_empty() { 0 } else { want.len() + SEPARATOR.len() });
        dates_are_those_of_http(&text);
    }
}

fn set_plainly(jar: &mut Vec<(String, String, Option<SystemTime>)>, now: SystemTime, text: &str) {
    jar.retain(|(_, _, end)| end.is_none_or(|end| end > now));
    let trimmed = |text: &str| text.trim_matches(|character: char| character.is_ascii_whitespace()).to_owned();
    let mut parts = text.split(';').map(|part| part.split_once('=').map(|(a, b)| (trimmed(a), trimmed(b))));
    let Some((name, value)) = parts.next().flatten() else { return };
    let is_control = |character: char| character.is_ascii_control();
    let len = name.chars().count() + value.chars().count();
    if name.is_empty() || len > MAX_COOKIE || name.contains(is_control) || value.contains(is_control) {
        return;
    }
    // The last one of each name counts.
    let attributes: BTreeMap<String, String> =
        parts.flatten().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let end = match (attributes.get("max-age"), attributes.get("expires")) {
        (Some(age), _) => {
            let is_number = !age.is_empty() && age.chars().all(|digit| digit.is_ascii_digit());
            let seconds = age.trim_start_matches('0').get(..9).map_or(age.parse().unwrap_or(0), |_| u64::MAX);
            let seconds = if is_number { seconds.min(LONGEST.as_secs()) } else { 0 };
            Some(if seconds == 0 { UNIX_EPOCH } else { now + Duration::from_secs(seconds) })
        }
        (None, Some(date)) => {
            let bytes: Vec<u8> = date.chars().map(|character| character as u8).collect();
            Some(parse_date(&bytes).unwrap_or(UNIX_EPOCH))
        }
        (None, None) => None,
    };
    let place = jar.iter().position(|(other, ..)| *other == name);
    match place {
        Some(place) => jar[place] = (name, value, end),
        None => jar.push((name, value, end)),
    }
    jar.retain(|(_, _, end)| end.is_none_or(|end| end > now));
    let header_len = |jar: &[(String, String, _)]| {
        let lens = jar.iter().map(|(name, value, _)| name.chars().count() + value.chars().count() + 1);
        lens.sum::<usize>() + 2 * jar.len().saturating_sub(1)
    };
    while jar.len() > MAX_COOKIES || header_len(jar) > MAX_HEADER {
        jar.remove(0);
    }
}

fn dates_are_those_of_http(text: &str) {
    for (at, _) in text.match_indices('=') {
        let value = text[at + 1..].split(';').next().unwrap_or_default().trim();
        // `httpdate` does not look at all separators, so only what it would write itself is the same here.
        if let Ok(time) = httpdate::parse_http_date(value)
            && httpdate::fmt_http_date(time) == value
        {
            assert_eq!(parse_date(value.as_bytes()), Some(time), "{value}");
        }
        if let Some(time) = parse_date(value.as_bytes()) {
            assert_eq!(parse_date(httpdate::fmt_http_date(time).as_bytes()), Some(time), "{value}");
        }
    }
}
