//! Requests that are refused, as in Node.

use bucle::engine_io::{Cors, CorsOrigin, Options};

use super::Site;

#[test]
fn a_request_that_is_not_valid_gets_the_code_and_the_message_of_node() {
    let unknown = "AAAAAAAAAAAAAAAAAAAA";
    let table = [
        ("GET", "?EIO=4".to_owned(), 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=tobi".to_owned(), 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=__proto__".to_owned(), 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=Polling".to_owned(), 0, "Transport unknown"),
        ("GET", format!("?EIO=4&transport=polling&sid={unknown}"), 1, "Session ID unknown"),
        ("GET", "?EIO=4&transport=polling&sid=__proto__".to_owned(), 1, "Session ID unknown"),
        ("GET", "?EIO=4&transport=polling&sid=constructor".to_owned(), 1, "Session ID unknown"),
        ("GET", "?EIO=4&transport=polling&sid=%00".to_owned(), 1, "Session ID unknown"),
        ("POST", "?EIO=4&transport=polling".to_owned(), 2, "Bad handshake method"),
        ("OPTIONS", "?EIO=4&transport=polling".to_owned(), 2, "Bad handshake method"),
        ("GET", "?EIO=4&transport=websocket".to_owned(), 3, "Bad request"),
        ("GET", "?EIO=3&transport=polling".to_owned(), 5, "Unsupported protocol version"),
        ("GET", "?transport=polling".to_owned(), 5, "Unsupported protocol version"),
    ];
    let mut site = Site::with_defaults();
    for (method, query, code, message) in table {
        let answer = site.request(method, &format!("/engine.io/{query}"), "");
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.body(), format!(r#"{{"code":{code},"message":"{message}"}}"#), "{query}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{query}");
    }
    site.expect_empty();
}

#[test]
fn a_request_for_a_websocket_connection_that_is_not_valid_gets_400_and_the_message() {
    let mut site = Site::with_defaults();
    for (query, message) in [
        ("?EIO=4&transport=tobi", "Transport unknown"),
        ("?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA", "Session ID unknown"),
        ("?EIO=3&transport=websocket", "Unsupported protocol version"),
        ("?EIO=4&transport=polling", "Bad request"),
    ] {
        let (_, answer) = site.upgrade(&format!("/engine.io/{query}"), "");
        assert_eq!((answer.status, &*answer.body()), (400, message), "{query}");
    }
    site.expect_empty();
}

#[test]
fn the_program_can_refuse_a_session_with_403_and_a_message() {
    let mut site = Site::with_defaults();
    let answer = site.request("GET", "/engine.io/?EIO=4&transport=polling", "X-Refuse: not today\r\n");
    assert_eq!((answer.status, &*answer.body()), (403, r#"{"code":4,"message":"not today"}"#));
    let (_, answer) = site.upgrade("/engine.io/?EIO=4&transport=websocket", "X-Refuse: not today\r\n");
    assert_eq!((answer.status, &*answer.body()), (400, "not today"));
    site.expect_story(&["refused not today", "refused not today"]);
    site.expect_empty();
}

#[test]
fn over_the_limit_of_sessions_503_says_when_to_come_back() {
    let mut site = Site::new(Options { max_sessions: 2, ..Options::default() });
    let client = site.open();
    let (ws, _) = site.open_websocket();
    let answer = site.get("/engine.io/?EIO=4&transport=polling");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    let (_, answer) = site.upgrade("/engine.io/?EIO=4&transport=websocket", "");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    site.posted(&client, "1");
    site.cut(ws);
    site.settle();
    site.open();
    site.open_websocket();
}

#[test]
fn a_transport_that_is_not_allowed_is_unknown() {
    let mut site = Site::new(Options { allow_polling: false, ..Options::default() });
    let answer = site.get("/engine.io/?EIO=4&transport=polling");
    assert_eq!((answer.status, &*answer.body()), (400, r#"{"code":0,"message":"Transport unknown"}"#));
    site.open_websocket();
    let mut site = Site::new(Options { allow_websocket: false, ..Options::default() });
    let (_, answer) = site.upgrade("/engine.io/?EIO=4&transport=websocket", "");
    assert_eq!((answer.status, &*answer.body()), (400, "Transport unknown"));
    let (_, answer) = site.open_with("", "");
    assert!(answer.body().contains(r#""upgrades":[]"#), "{answer:?}");
}

#[test]
fn a_preflight_is_answered_before_the_request_is_verified() {
    let cors = Cors { origin: CorsOrigin::Any, ..Cors::default() };
    let mut site = Site::new(Options { cors: Some(cors), ..Options::default() });
    let answer = site.request("OPTIONS", "/engine.io/?EIO=4&transport=polling", "Origin: http://a.example\r\n");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
    let (_, answer) = site.open_with("", "Origin: http://a.example\r\n");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn other_paths_belong_to_the_other_handler() {
    let mut site = Site::with_defaults();
    for target in ["/", "/engine.iox/?EIO=4&transport=polling", "/engine", "/other/engine.io/"] {
        assert_eq!(site.get(target).body(), "not found\n", "{target}");
    }
    assert_eq!(site.get("/engine.io?EIO=4&transport=polling").status, 200, "the slash at the end may be missing");
}
