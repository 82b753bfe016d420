use super::*;

fn address(host: &str, port: u16) -> Address {
    Address { host: host.to_owned(), port, ..Address::default() }
}

#[test]
fn every_part_but_the_host_may_be_left_out() {
    let login = |user: Option<&str>, password: Option<&str>| Address {
        user: user.map(str::to_owned),
        password: password.map(str::to_owned),
        ..address("h", 6379)
    };
    let table = [
        ("redis://localhost", address("localhost", 6379)),
        ("redis://localhost/", address("localhost", 6379)),
        ("redis://10.0.0.1:7000", address("10.0.0.1", 7000)),
        ("redis://[::1]", address("::1", 6379)),
        ("redis://[::1]:7000", address("::1", 7000)),
        ("redis://h/15", Address { database: 15, ..address("h", 6379) }),
        ("redis://h:1/0", address("h", 1)),
        ("redis://:word@h", login(None, Some("word"))),
        ("redis://ana:word@h", login(Some("ana"), Some("word"))),
        ("redis://ana:@h", login(Some("ana"), None)),
        ("redis://a%40b:%C3%B1%2F%25@h", login(Some("a@b"), Some("ñ/%"))),
        ("redis://ana:a@b:c@h", login(Some("ana"), Some("a@b:c"))),
    ];
    for (url, want) in table {
        assert_eq!(parse(url), Ok(want), "{url}");
    }
}

#[test]
fn the_part_that_is_wrong_is_named() {
    let table = [
        ("localhost:6379", BadUrl::Scheme),
        ("http://localhost", BadUrl::Scheme),
        ("rediss://localhost", BadUrl::Tls),
        ("redis://", BadUrl::Host),
        ("redis://:6379", BadUrl::Host),
        ("redis://a:b@", BadUrl::Host),
        ("redis://[::1", BadUrl::Host),
        ("redis://[::1]7", BadUrl::Port),
        ("redis://h:", BadUrl::Port),
        ("redis://h:0", BadUrl::Port),
        ("redis://h:+1", BadUrl::Port),
        ("redis://h:65536", BadUrl::Port),
        ("redis://h/name", BadUrl::Database),
        ("redis://h/-1", BadUrl::Database),
        ("redis://h/0/1", BadUrl::Database),
        ("redis://h/0?x=1", BadUrl::Query),
        ("redis://h?db=1", BadUrl::Query),
        ("redis://a:%4@h", BadUrl::Escape),
        ("redis://a:%zz@h", BadUrl::Escape),
        ("redis://a:%ff@h", BadUrl::Escape),
    ];
    for (url, want) in table {
        assert_eq!(parse(url), Err(want), "{url}");
    }
}

#[test]
fn what_is_printed_has_no_password() {
    let address = parse("redis://ana:secret@[::1]:7/3").expect("a URL");
    assert_eq!(address.to_string(), "[::1]:7");
    assert!(!format!("{address:?}").contains("secret"));
}
