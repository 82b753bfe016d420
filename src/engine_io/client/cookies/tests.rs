use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// 2 December 2026, 00:00:00.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_796_169_600)
}

fn jar(set_cookies: &[&str]) -> CookieJar {
    let mut jar = CookieJar::default();
    for set_cookie in set_cookies {
        jar.set(now(), set_cookie.as_bytes());
    }
    jar
}

fn header(jar: &mut CookieJar, now: SystemTime) -> String {
    let header = jar.header(now).unwrap_or(HeaderValue::from_static(""));
    String::from_utf8_lossy(header.as_bytes()).into_owned()
}

#[test]
fn cookies_are_sent_back_in_the_order_in_which_their_names_came() {
    let table: &[(&str, &[&str], &str)] = &[
        ("none", &[], ""),
        ("one", &["a=b"], "a=b"),
        ("two", &["a=b", "c=d"], "a=b; c=d"),
        ("another value", &["a=b", "c=d", "a=e"], "a=e; c=d"),
        ("names have upper and lower case", &["a=b", "A=c"], "a=b; A=c"),
        ("attributes are not sent", &["a=b; Path=/x; HttpOnly; Secure; Domain=other; SameSite=Lax"], "a=b"),
        ("no blank behind the semicolon", &["a=b;Path=/"], "a=b"),
        ("blanks around", &["  a \t=\t b  ; Path=/"], "a=b"),
        ("an empty value", &["a=; Path=/"], "a="),
        ("a value with =", &["a=b=c=="], "a=b=c=="),
        ("quotes stay", &["a=\"b c\""], "a=\"b c\""),
        ("no ASCII", &["a=ü"], "a=ü"),
        ("no =", &["a; Path=/"], ""),
        ("no name", &["=b", " =b"], ""),
        ("nothing", &["", ";", "; a=b"], ""),
        ("control characters", &["a=b\r\nc", "a\0=b", "a=\x7f"], ""),
    ];
    for (name, set_cookies, want) in table {
        assert_eq!(header(&mut jar(set_cookies), now()), *want, "{name}");
    }
}

#[test]
fn a_cookie_lasts_as_long_as_its_server_says() {
    let day = |days: u32| now() + days * DAY;
    let table: &[(&str, &str, SystemTime)] = &[
        ("seconds", "a=b; Max-Age=86400", day(1)),
        ("lower case", "a=b;max-age=86400", day(1)),
        ("a date", "a=b; Expires=Thu, 03 Dec 2026 00:00:00 GMT", day(1)),
        ("seconds before a date", "a=b; Max-Age=86400; Expires=Wed, 09 Dec 2026 00:00:00 GMT", day(1)),
        ("seconds behind a date", "a=b; Expires=Wed, 09 Dec 2026 00:00:00 GMT; Max-Age=86400", day(1)),
        ("the last one of two", "a=b; Max-Age=5; Max-Age=86400", day(1)),
        ("a very long time", "a=b; Max-Age=99999999999999999999999", now() + LONGEST),
    ];
    for (name, set_cookie, end) in table {
        let mut jar = jar(&[set_cookie]);
        assert_eq!(header(&mut jar, *end - Duration::from_secs(1)), "a=b", "{name}");
        assert_eq!(header(&mut jar, *end), "", "{name}");
        assert_eq!(header(&mut jar, now()), "", "{name}: it does not come back");
    }
    assert_eq!(header(&mut jar(&["a=b"]), now() + 10_000 * DAY), "a=b", "without a time it lasts as long as the jar");
}

#[test]
fn a_cookie_that_comes_again_behind_its_end_is_a_new_one() {
    let mut jar = jar(&["a=b; Max-Age=1", "c=d"]);
    jar.set(now() + DAY, b"a=e");
    assert_eq!(header(&mut jar, now() + DAY), "c=d; a=e");
}

#[test]
fn a_server_deletes_a_cookie_with_a_time_that_is_over_or_cannot_be_read() {
    let times = [
        "Max-Age=0",
        "Max-Age=-1",
        "Max-Age=",
        "Max-Age=x",
        "Max-Age=1.5",
        "Max-Age=+5",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "Expires=Mon, 01 Jan 1601 00:00:00 GMT",
        "Expires=Wed, 02 Dec 2026 00:00:00 GMT",
        "Expires=yesterday",
        "Expires=",
    ];
    for time in times {
        let set_cookie = format!("a=; {time}; Path=/");
        let mut jar = jar(&["a=b", "c=d", &set_cookie]);
        assert_eq!(header(&mut jar, now()), "c=d", "{time}");
    }
}

#[test]
fn dates_are_read_in_all_forms_of_browsers() {
    let seconds = |text: &str| Some(parse_date(text.as_bytes())?.duration_since(UNIX_EPOCH).expect("a time").as_secs());
    let table: &[(&str, Option<u64>)] = &[
        ("Wed, 09 Dec 2026 10:20:30 GMT", Some(1_796_811_630)),
        ("Wed, 09-Dec-2026 10:20:30 GMT", Some(1_796_811_630)),
        ("Wednesday, 09-Dec-26 10:20:30 GMT", Some(1_796_811_630)),
        ("Wed Dec  9 10:20:30 2026", Some(1_796_811_630)),
        ("9 december 2026 10:20:30", Some(1_796_811_630)),
        ("10:20:30 2026 DEC 9th", Some(1_796_811_630)),
        ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
        ("Thu, 29 Feb 2024 0:0:0 GMT", Some(1_709_164_800)),
        ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Wed, 31 Dec 1969 23:59:59 GMT", Some(0)),
        ("Tue, 29 Feb 2100 00:00:00 GMT", None),
        ("Thu, 29 Feb 2023 00:00:00 GMT", None),
        ("Wed, 31 Nov 2026 00:00:00 GMT", None),
        ("Wed, 00 Dec 2026 00:00:00 GMT", None),
        ("Wed, 09 Dec 1600 00:00:00 GMT", None),
        ("Wed, 09 Dec 2026 24:00:00 GMT", None),
        ("Wed, 09 Dec 2026 00:60:00 GMT", None),
        ("Wed, 09 Dec 2026 00:00:60 GMT", None),
        ("Wed, 09 Dec 2026 00:00 GMT", None),
        ("Wed, 09 Dec 20261 00:00:00 GMT", None),
        ("Wed, 09 2026 00:00:00 GMT", None),
        ("", None),
    ];
    for (text, want) in table {
        assert_eq!(seconds(text), *want, "{text:?}");
    }
}

#[test]
fn a_jar_is_bounded() {
    let mut jar = CookieJar::default();
    for number in 0..60 {
        jar.set(now(), format!("c{number}=x").as_bytes());
    }
    let text = header(&mut jar, now());
    assert_eq!(text.split("; ").count(), MAX_COOKIES);
    assert!(text.starts_with("c10=x; c11=x") && text.ends_with("; c59=x"), "the oldest are dropped: {text}");

    let longest = "x".repeat(MAX_COOKIE - 1);
    jar.set(now(), format!("a={longest}").as_bytes());
    assert!(header(&mut jar, now()).ends_with(&longest));
    let before = header(&mut jar, now());
    jar.set(now(), format!("b={longest}x").as_bytes());
    assert_eq!(header(&mut jar, now()), before, "a cookie that is too long is ignored");

    for name in ["b", "c", "d"] {
        jar.set(now(), format!("{name}={longest}").as_bytes());
        assert!(header(&mut jar, now()).len() <= MAX_HEADER);
    }
    assert_eq!(header(&mut jar, now()), format!("d={longest}"));
    jar.set(now(), b"d=; Max-Age=0");
    assert_eq!((jar.header_len, jar.cookies.len()), (0, 0));
}
