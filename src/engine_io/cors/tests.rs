use super::*;

const APP: &str = "http://app.example";
const OTHER: &str = "http://other.example";

/// The headers as lines, in the order of their names.
fn lines(headers: Vec<(HeaderName, HeaderValue)>) -> Vec<String> {
    let line = |(name, value): &(HeaderName, HeaderValue)| format!("{name}: {}", value.to_str().expect("it is text"));
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.sort();
    lines
}

fn with_origin(origin: CorsOrigin) -> Cors {
    Cors { origin, ..Cors::default() }
}

fn list(origins: &[&str]) -> CorsOrigin {
    CorsOrigin::List(origins.iter().map(|&origin| origin.to_owned()).collect())
}

/// The headers of all tests are those that `cors` 2.8.6 sets.
#[test]
fn the_origin_of_an_answer_depends_on_the_option() {
    let table: &[(&str, CorsOrigin, Option<&str>, &[&str])] = &[
        ("any, without origin", CorsOrigin::Any, None, &["access-control-allow-origin: *"]),
        ("any", CorsOrigin::Any, Some(APP), &["access-control-allow-origin: *"]),
        ("*", CorsOrigin::Exactly("*".into()), Some(APP), &["access-control-allow-origin: *"]),
        (
            "a fixed origin is sent without a request origin",
            CorsOrigin::Exactly(APP.into()),
            None,
            &["access-control-allow-origin: http://app.example", "vary: Origin"],
        ),
        (
            "a fixed origin is sent to another origin",
            CorsOrigin::Exactly(APP.into()),
            Some(OTHER),
            &["access-control-allow-origin: http://app.example", "vary: Origin"],
        ),
        (
            "in the list",
            list(&["http://b.example", APP]),
            Some(APP),
            &["access-control-allow-origin: http://app.example", "vary: Origin"],
        ),
        ("not in the list", list(&["http://b.example", APP]), Some(OTHER), &["vary: Origin"]),
        ("a list, without origin", list(&[APP]), None, &["vary: Origin"]),
        ("a list compares case", list(&[APP]), Some("http://APP.example"), &["vary: Origin"]),
        ("* in a list is an origin", list(&["*"]), Some(APP), &["vary: Origin"]),
        ("an empty list", list(&[]), Some(APP), &["vary: Origin"]),
        (
            "reflected",
            CorsOrigin::Reflect,
            Some(OTHER),
            &["access-control-allow-origin: http://other.example", "vary: Origin"],
        ),
        ("nothing to reflect", CorsOrigin::Reflect, None, &["vary: Origin"]),
    ];
    for (name, origin, request_origin, want) in table {
        assert_eq!(lines(with_origin(origin.clone()).headers(*request_origin)), *want, "{name}");
    }
}

#[test]
fn credentials_are_allowed_in_answers_and_preflights() {
    let cors = Cors { credentials: true, ..Cors::default() };
    let want = ["access-control-allow-credentials: true", "access-control-allow-origin: *"];
    assert_eq!(lines(cors.headers(Some(APP))), want);
    assert!(lines(cors.preflight(Some(APP), None)).contains(&want[0].to_owned()));
}

#[test]
fn a_preflight_allows_all_methods_and_the_headers_that_it_asks_for() {
    assert_eq!(PREFLIGHT_STATUS, 204);
    let cors = Cors::default();
    let want = [
        "access-control-allow-headers: x-one,x-two",
        "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
        "access-control-allow-origin: *",
        "vary: Access-Control-Request-Headers",
    ];
    assert_eq!(lines(cors.preflight(Some(OTHER), Some("x-one,x-two"))), want);
    assert_eq!(lines(cors.preflight(Some(OTHER), None)), want[1..]);
    assert_eq!(
        lines(with_origin(list(&[APP])).preflight(Some(OTHER), None)),
        [
            "access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE",
            "vary: Origin, Access-Control-Request-Headers",
        ],
    );
}

#[test]
fn a_preflight_with_all_options_has_all_headers() {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let cors = Cors {
        origin: CorsOrigin::Exactly(APP.into()),
        credentials: true,
        methods: texts(&["GET", "POST"]),
        allowed_headers: Some(texts(&["X-A", "x-b"])),
        exposed_headers: texts(&["X-C", "X-D"]),
        max_age: Some(Duration::from_millis(600_900)),
    };
    assert_eq!(
        lines(cors.preflight(None, Some("x-one"))),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: X-A,x-b",
            "access-control-allow-methods: GET,POST",
            "access-control-allow-origin: http://app.example",
            "access-control-expose-headers: X-C,X-D",
            "access-control-max-age: 600",
            "vary: Origin",
        ],
    );
    assert_eq!(
        lines(cors.headers(None)),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-origin: http://app.example",
            "access-control-expose-headers: X-C,X-D",
            "vary: Origin",
        ],
    );
}

#[test]
fn empty_lists_set_no_header() {
    let cors = Cors {
        origin: CorsOrigin::Exactly(APP.into()),
        methods: Vec::new(),
        allowed_headers: Some(Vec::new()),
        max_age: Some(Duration::ZERO),
        ..Cors::default()
    };
    assert_eq!(
        lines(cors.preflight(None, Some("x-one"))),
        ["access-control-allow-origin: http://app.example", "access-control-max-age: 0", "vary: Origin"],
    );
}

#[test]
fn what_cannot_be_sent_in_a_header_is_left_out() {
    assert_eq!(lines(with_origin(CorsOrigin::Reflect).headers(Some("http://a\r\nx: y"))), ["vary: Origin"]);
    assert_eq!(lines(with_origin(CorsOrigin::Exactly("a\nb".into())).headers(None)), ["vary: Origin"]);
    let preflight = lines(Cors::default().preflight(Some(APP), Some("x\0")));
    assert!(!preflight.iter().any(|line| line.starts_with("access-control-allow-headers")), "{preflight:?}");
}

#[test]
fn invalid_options_are_named() {
    let table: &[(&str, Cors)] = &[
        ("cors.origin", with_origin(CorsOrigin::Exactly("http://a\n".into()))),
        ("cors.origin", with_origin(CorsOrigin::Exactly("".into()))),
        ("cors.origin", with_origin(list(&[APP, "http://\u{e9}.example"]))),
        ("cors.methods", Cors { methods: vec!["GET\r".into()], ..Cors::default() }),
        ("cors.allowed_headers", Cors { allowed_headers: Some(vec!["\0".into()]), ..Cors::default() }),
        ("cors.exposed_headers", Cors { exposed_headers: vec!["\x7f".into()], ..Cors::default() }),
    ];
    for (option, cors) in table {
        let error = cors.check().expect_err("it is invalid");
        assert_eq!(error.to_string(), format!("the option {option} has a value that cannot be sent in a header"));
    }
    for origin in [CorsOrigin::Any, CorsOrigin::Reflect, CorsOrigin::Exactly(APP.into()), list(&[APP, OTHER])] {
        assert_eq!(with_origin(origin).check(), Ok(()));
    }
}
