use super::*;
use ::http::HeaderValue;
use ::http::header::SEC_WEBSOCKET_EXTENSIONS;
use proptest::prelude::*;

fn headers(values: &[&str]) -> HeaderMap {
    let fields = values.iter().map(|value| HeaderValue::from_str(value).expect("a legal value"));
    fields.map(|value| (SEC_WEBSOCKET_EXTENSIONS, value)).collect()
}

/// Options that add nothing to an offer or an answer.
fn plain() -> DeflateOptions {
    DeflateOptions { server_no_context_takeover: false, client_no_context_takeover: false, ..DeflateOptions::default() }
}

/// Parameters in short: takeover forbidden for server and client, bits of server and client.
type Short = (bool, bool, u8, u8);

fn short(params: Params) -> Short {
    let Params {
        server_no_context_takeover: server,
        client_no_context_takeover: client,
        server_max_window_bits,
        client_max_window_bits,
    } = params;
    (server, client, server_max_window_bits, client_max_window_bits)
}

#[test]
fn a_server_answers_the_first_offer_that_it_can_accept() {
    type Row<'a> = (&'a str, &'a [&'a str], &'a str, Short);
    let table: &[Row] = &[
        ("7.1.3, the plain offer", &["permessage-deflate"], "permessage-deflate", (false, false, 15, 15)),
        (
            "of Chrome and Firefox",
            &["permessage-deflate; client_max_window_bits"],
            "permessage-deflate",
            (false, false, 15, 15),
        ),
        (
            "server takeover forbidden: must be answered",
            &["permessage-deflate; server_no_context_takeover"],
            "permessage-deflate; server_no_context_takeover",
            (true, false, 15, 15),
        ),
        (
            "client takeover forbidden",
            &["permessage-deflate; client_no_context_takeover"],
            "permessage-deflate; client_no_context_takeover",
            (false, true, 15, 15),
        ),
        (
            "server window: must be answered",
            &["permessage-deflate; server_max_window_bits=10"],
            "permessage-deflate; server_max_window_bits=10",
            (false, false, 10, 15),
        ),
        (
            "server window of 15: must be answered",
            &["permessage-deflate; server_max_window_bits=15"],
            "permessage-deflate; server_max_window_bits=15",
            (false, false, 15, 15),
        ),
        (
            "server window of 8",
            &["permessage-deflate; server_max_window_bits=8"],
            "permessage-deflate; server_max_window_bits=8",
            (false, false, 8, 15),
        ),
        (
            "client window",
            &["permessage-deflate; client_max_window_bits=9"],
            "permessage-deflate; client_max_window_bits=9",
            (false, false, 15, 9),
        ),
        (
            "client window of 15",
            &["permessage-deflate; client_max_window_bits=15"],
            "permessage-deflate",
            (false, false, 15, 15),
        ),
        (
            "quoted value",
            &["permessage-deflate; server_max_window_bits=\"12\""],
            "permessage-deflate; server_max_window_bits=12",
            (false, false, 12, 15),
        ),
        (
            "7.1.3, a second choice",
            &["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
            "permessage-deflate; server_max_window_bits=10",
            (false, false, 10, 15),
        ),
        (
            "the first offer has an unknown parameter",
            &["permessage-deflate; level=9, permessage-deflate"],
            "permessage-deflate",
            (false, false, 15, 15),
        ),
        (
            "the second offer is in a second header",
            &["permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=11"],
            "permessage-deflate; server_max_window_bits=11",
            (false, false, 11, 15),
        ),
        (
            "other extensions",
            &["x-webkit-deflate-frame, mux; a=1, permessage-deflate"],
            "permessage-deflate",
            (false, false, 15, 15),
        ),
    ];
    for (name, offers, answer, params) in table {
        let negotiated = negotiate(&headers(offers), &plain());
        let (got, text) = negotiated.unwrap_or_else(|| panic!("{name}: declined"));
        assert_eq!((text.as_str(), short(got)), (*answer, *params), "{name}");
    }
}

#[test]
fn a_server_declines_a_bad_offer() {
    let table = [
        ("no offer", ""),
        ("another extension", "x-webkit-deflate-frame"),
        ("the name in other letters", "Permessage-Deflate"),
        ("an unknown parameter", "permessage-deflate; level"),
        ("a parameter in capitals", "permessage-deflate; SERVER_NO_CONTEXT_TAKEOVER"),
        ("a flag with a value", "permessage-deflate; server_no_context_takeover=1"),
        ("a flag with a value, client", "permessage-deflate; client_no_context_takeover=true"),
        ("a flag twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover"),
        ("a flag twice, client", "permessage-deflate; client_no_context_takeover; client_no_context_takeover"),
        ("a window twice", "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"),
        ("a window twice, client", "permessage-deflate; client_max_window_bits; client_max_window_bits=10"),
        ("a server window without a value", "permessage-deflate; server_max_window_bits"),
        ("a malformed header", "permessage-deflate;"),
        ("a malformed header after an offer", "permessage-deflate, ;"),
    ];
    for (name, offer) in table {
        assert_eq!(negotiate(&headers(&[offer]), &DeflateOptions::default()), None, "{name}");
    }
    for parameter in ["server_max_window_bits", "client_max_window_bits"] {
        for value in ["0", "7", "08", "010", "16", "80", "100", "1", "+9", "-9", "9.0", "a", "0x9", "1 0", "\"08\""] {
            let offer = format!("permessage-deflate; {parameter}={value}");
            assert_eq!(negotiate(&headers(&[&offer]), &DeflateOptions::default()), None, "{offer}");
        }
    }
}

#[test]
fn options_of_a_server_appear_in_its_answer() {
    let small = DeflateOptions { server_max_window_bits: 11, client_max_window_bits: 10, ..plain() };
    type Row<'a> = (&'a str, DeflateOptions, &'a str, &'a str, Short);
    let table: &[Row] = &[
        (
            "by default: no takeover, offered or not (7.1.1)",
            DeflateOptions::default(),
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            (true, true, 15, 15),
        ),
        (
            "a client window only if offered (7.1.2.2)",
            small.clone(),
            "permessage-deflate",
            "permessage-deflate; server_max_window_bits=11",
            (false, false, 11, 15),
        ),
        (
            "a client window that is offered",
            small.clone(),
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=10",
            (false, false, 11, 10),
        ),
        (
            "the smaller window wins",
            small,
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=12",
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=9",
            (false, false, 11, 9),
        ),
        (
            "windows out of range",
            DeflateOptions { server_max_window_bits: 0, client_max_window_bits: 99, ..plain() },
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            (false, false, 8, 15),
        ),
    ];
    for (name, options, offer, answer, params) in table {
        let (got, text) = negotiate(&headers(&[offer]), options).unwrap_or_else(|| panic!("{name}: declined"));
        assert_eq!((text.as_str(), short(got)), (*answer, *params), "{name}");
    }
}

#[test]
fn a_client_offers_its_options() {
    let table = [
        (
            "by default",
            DeflateOptions::default(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        ),
        ("takeover allowed", plain(), "permessage-deflate; client_max_window_bits"),
        (
            "windows",
            DeflateOptions { server_max_window_bits: 9, client_max_window_bits: 14, ..plain() },
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=14",
        ),
    ];
    for (name, options, want) in table {
        assert_eq!(offer(&options), want, "{name}");
    }
}

#[test]
fn a_client_judges_the_answer() {
    use BadAnswer::*;
    let strict = DeflateOptions {
        server_no_context_takeover: true,
        server_max_window_bits: 12,
        client_max_window_bits: 11,
        ..plain()
    };
    let enough = "permessage-deflate; server_no_context_takeover; server_max_window_bits=12";
    type Verdict = Result<Option<Short>, BadAnswer>;
    let table: &[(&str, &DeflateOptions, &[&str], Verdict)] = &[
        ("declined", &plain(), &[], Ok(None)),
        ("an empty header", &plain(), &[""], Ok(None)),
        ("accepted as it is", &plain(), &["permessage-deflate"], Ok(Some((false, false, 15, 15)))),
        (
            "more than was offered",
            &plain(),
            &["permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8"],
            Ok(Some((true, true, 8, 15))),
        ),
        (
            "a smaller client window",
            &plain(),
            &["permessage-deflate; client_max_window_bits=8"],
            Ok(Some((false, false, 15, 8))),
        ),
        ("all that was required", &strict, &[enough], Ok(Some((true, false, 12, 11)))),
        (
            "smaller than required",
            &strict,
            &["permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=10"],
            Ok(Some((true, false, 9, 10))),
        ),
        (
            "no server_no_context_takeover",
            &strict,
            &["permessage-deflate; server_max_window_bits=12"],
            Err(ServerTakeover),
        ),
        ("no server window", &strict, &["permessage-deflate; server_no_context_takeover"], Err(ServerWindow)),
        (
            "a larger server window",
            &strict,
            &["permessage-deflate; server_no_context_takeover; server_max_window_bits=13"],
            Err(ServerWindow),
        ),
        ("a larger client window", &strict, &[&format!("{enough}; client_max_window_bits=12")], Err(ClientWindow)),
        (
            "a client window without a value",
            &plain(),
            &["permessage-deflate; client_max_window_bits"],
            Err(ClientWindow),
        ),
        ("an unknown parameter", &plain(), &["permessage-deflate; level=1"], Err(BadParameter)),
        ("an ill-valued parameter", &plain(), &["permessage-deflate; server_max_window_bits=08"], Err(BadParameter)),
        (
            "a repeated parameter",
            &plain(),
            &["permessage-deflate; client_no_context_takeover; client_no_context_takeover"],
            Err(BadParameter),
        ),
        ("another extension", &plain(), &["permessage-bzip2"], Err(NotOffered)),
        ("another extension as well", &plain(), &["permessage-deflate", "permessage-bzip2"], Err(NotOffered)),
        ("two answers", &plain(), &["permessage-deflate, permessage-deflate"], Err(Repeated)),
        ("three answers", &plain(), &["permessage-deflate, permessage-deflate", "a"], Err(NotOffered)),
        ("malformed", &plain(), &["permessage-deflate;"], Err(Malformed)),
    ];
    for (name, options, answers, want) in table {
        let got = accept(&headers(answers), options).map(|params| params.map(short));
        assert_eq!(got, *want, "{name}");
    }
}

fn any_options() -> impl Strategy<Value = DeflateOptions> {
    (any::<bool>(), any::<bool>(), 8u8..=15, 8u8..=15).prop_map(|(server, client, server_bits, client_bits)| {
        DeflateOptions {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
            ..DeflateOptions::default()
        }
    })
}

proptest! {
    /// A server answers every offer of a client, and both derive the same parameters, which suit both.
    #[test]
    fn client_and_server_agree(client in any_options(), server in any_options()) {
        let offered = offer(&client);
        let (params, answer) = negotiate(&headers(&[&offered]), &server).expect("a good offer");
        prop_assert_eq!(accept(&headers(&[&answer]), &client), Ok(Some(params)));
        for options in [&client, &server] {
            prop_assert!(params.server_max_window_bits <= options.server_max_window_bits);
            prop_assert!(params.client_max_window_bits <= options.client_max_window_bits);
            prop_assert!(params.server_no_context_takeover || !options.server_no_context_takeover);
            prop_assert!(params.client_no_context_takeover || !options.client_no_context_takeover);
        }
    }
}
