use std::time::Duration;

use super::*;

fn arguments(list: &str, attachments: &[&[u8]]) -> OwnedArguments {
    let attachments = attachments.iter().map(|bytes| bytes.to_vec()).collect();
    OwnedArguments::new(list.to_owned(), attachments).expect("they are right")
}

fn target(rooms: &[&str], except: &[&str]) -> Target {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Target { rooms: owned(rooms), except: owned(except) }
}

fn body(kind: u64, data: &str) -> Option<Body> {
    decode_field(kind, data.as_bytes()).expect("a message")
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

/// With a binary value, rooms whose names are numbers, and flags.
fn broadcast() -> Broadcast {
    Broadcast {
        name: "said".to_owned(),
        arguments: arguments(r#""r",{"file":{"_placeholder":true,"num":0}}"#, &[&[1, 2, 3]]),
        target: target(&["r"], &["x", "7"]),
        flags: Flags { volatile: true, compress: true, timeout: Some(Duration::from_millis(500)) },
        ..Broadcast::default()
    }
}

#[test]
fn messages_of_node_are_read() {
    // `JSON.stringify`, as `ShardedRedisAdapter` writes it.
    let node = br#"{"type":3,"data":{"packet":{"type":2,"data":["shouted",0,"id"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"x","nsp":"/admin"}"#;
    let message = decode(node).expect("a message");
    assert_eq!((message.uid.as_str(), message.namespace.as_str()), ("x", "/admin"));
    let plain = Broadcast { name: "shouted".to_owned(), arguments: arguments("0,\"id\"", &[]), ..Broadcast::default() };
    assert_eq!(message.body, Some(Body::Broadcast { broadcast: plain, request_id: None, is_numbered: false }));

    // `encode` of notepack.io 3.0.1, and of @msgpack/msgpack 2.8 as base64.
    let want = Some(Body::Broadcast { broadcast: broadcast(), request_id: None, is_numbered: false });
    let node = "84a47479706503a46461746182a67061636b657482a47479706502a46461746193a473616964a17281a466696c65c403010203\
        a46f70747383a5726f6f6d7391a172a665786365707492a17807a5666c61677382a8766f6c6174696c65c3a774696d656f7574cd01f4\
        a3756964b066663665373930643861303566346366a36e7370a12f";
    assert_eq!(decode(&hex(node)).expect("a message").body, want);
    let node = "gqZwYWNrZXSCpHR5cGUCpGRhdGGTpHNhaWShcoGkZmlsZcQDAQIDpG9wdHODpXJvb21zkaFypmV4Y2VwdJKheAelZmxhZ3OCqHZv\
        bGF0aWxlw6d0aW1lb3V0zQH0";
    assert_eq!(body(3, node), want);

    // With `undefined`, which becomes nil.
    let node = "84a47479706508a46461746182a9726571756573744964a3612331a7736f636b6574739184a26964a173a968616e647368616b65\
        82a474696d65a174a461757468c0a5726f6f6d7391a173a46461746180a3756964a175a36e7370a12f";
    let socket = RemoteSocket {
        id: "s".to_owned(),
        rooms: vec!["s".to_owned()],
        handshake: json!({ "time": "t", "auth": null }),
        data: json!({}),
    };
    let response = Body::Response { request_id: "a#1".to_owned(), response: Response::Sockets(vec![socket]) };
    assert_eq!(decode(&hex(node)).expect("a message").body, Some(response));

    let numbered = r#"{"packet":{"type":2,"data":["a"],"id":0},"opts":{"rooms":["s"],"except":[]}}"#;
    assert!(matches!(body(3, numbered), Some(Body::Broadcast { is_numbered: true, .. })));
    assert_eq!(body(1, "{}"), None, "a heartbeat of an older version");
    assert_eq!(body(42, "{}"), None, "a later version may have others");
}

#[test]
fn what_is_written_is_what_node_reads_and_this_side_reads_it_back() {
    let event = broadcast();
    let outgoing = Outgoing {
        namespace: "/é",
        name: &event.name,
        arguments: &event.arguments,
        target: &event.target,
        flags: event.flags,
    };
    let encoded = encode_broadcast(outgoing, Some("a#1"));
    let data = r#"{"packet":{"type":2,"data":["said","r",{"file":{"_placeholder":true,"num":0}}]},"requestId":"a#1","opts":{"rooms":["r"],"except":["x","7"],"flags":{"volatile":true,"timeout":500}}}"#;
    assert_eq!(encoded.data, data);
    let want = Body::Broadcast { broadcast: event.clone(), request_id: Some("a#1".to_owned()), is_numbered: false };
    let message = encoded.message("u", "/é", false);
    assert_eq!(message[0], 0x84, "a message with attachments is MessagePack");
    let read = decode(&message).expect("a message");
    assert_eq!((read.uid.as_str(), read.namespace.as_str(), read.body), ("u", "/é", Some(want.clone())));
    assert_eq!(body(3, &encoded.field()), Some(want));

    let list = arguments(r#"{"a":[null]},"ü""#, &[]);
    let encoded = encode_server_side_emit("hello", &list, None);
    assert_eq!(encoded.data, r#"{"packet":["hello",{"a":[null]},"ü"]}"#);
    let json = br#"{"uid":"u","nsp":"/","type":9,"data":{"packet":["hello",{"a":[null]},"#.to_vec();
    assert!(encoded.message("u", "/", false).starts_with(&json));
    let want = Body::ServerSideEmit { name: "hello".to_owned(), arguments: list.clone(), request_id: None };
    for is_msgpack in [false, true] {
        assert_eq!(decode(&encoded.message("u", "/", is_msgpack)).expect("a message").body, Some(want.clone()));
    }
}

#[test]
fn all_kinds_of_messages_are_written_and_read() {
    let to = target(&["r"], &[]);
    let rooms = vec!["x".to_owned()];
    let socket = RemoteSocket {
        id: "s".to_owned(),
        rooms: vec!["s".to_owned(), "x".to_owned()],
        handshake: json!({ "url": "/" }),
        data: json!({ "a": 1 }),
    };
    let response = |response| Body::Response { request_id: "a#1".to_owned(), response };
    let binary = arguments(r#"{"_placeholder":true,"num":0},"second""#, &[&[7]]);
    let none = OwnedArguments::default();
    let table = [
        (encode_rooms(&to, &rooms, true), Body::Rooms { target: to.clone(), rooms: rooms.clone(), join: true }),
        (encode_rooms(&to, &rooms, false), Body::Rooms { target: to.clone(), rooms, join: false }),
        (encode_disconnect(&to, true), Body::Disconnect { target: to.clone(), close: true }),
        (encode_fetch(&to, "a#1"), Body::Fetch { target: to, request_id: "a#1".to_owned() }),
        (encode_sockets("a#1", vec![socket.clone()]), response(Response::Sockets(vec![socket]))),
        (encode_server_answer("a#1", &json!([1])), response(Response::Server(json!([1])))),
        (encode_client_count("a#1", 3), response(Response::ClientCount(3))),
        (encode_ack("a#1", &binary), response(Response::Ack(arguments(r#"{"_placeholder":true,"num":0}"#, &[&[7]])))),
        (encode_ack("a#1", &none), response(Response::Ack(OwnedArguments::default()))),
    ];
    for (encoded, want) in table {
        assert_eq!(body(encoded.kind, &encoded.field()), Some(want.clone()));
        for is_msgpack in [false, true] {
            let message = decode(&encoded.message("u", "/", is_msgpack)).expect("a message");
            assert_eq!(message.body, Some(want.clone()), "{}", encoded.data);
        }
    }
}

#[test]
fn a_node_knows_its_own_messages_by_their_begin() {
    let prefixes = own_prefixes("ff6e790d8a05f4cf");
    let encoded = encode_client_count("a#1", 3);
    for (is_msgpack, prefix) in [false, true].into_iter().zip(&prefixes) {
        assert!(encoded.message("ff6e790d8a05f4cf", "/", is_msgpack).starts_with(prefix));
        assert!(!encoded.message("ff6e790d8a05f4c0", "/", is_msgpack).starts_with(prefix));
    }
}

#[test]
fn garbage_is_refused_and_nothing_panics() {
    let garbage: &[&[u8]] = &[
        b"",
        b"{",
        b"{}",
        b"[]",
        b"hola",
        b"\xff",
        b"{\"uid\":\"\xff\"}",
        b"\xdd\xff\xff\xff\xff",
        br#"{"uid":"u","nsp":"/"}"#,
        br#"{"uid":"u","nsp":"/","type":3}"#,
        br#"{"uid":"u","nsp":"/","type":3,"data":[]}"#,
        br#"{"uid":"u","nsp":"/","type":3,"data":{"packet":{"type":2,"data":[]},"opts":{}}}"#,
        br#"{"uid":"u","nsp":"/","type":3,"data":{"packet":{"type":2,"data":"a"},"opts":{}}}"#,
        br#"{"uid":"u","nsp":"/","type":3,"data":{"packet":{"type":4,"data":["a"]},"opts":{}}}"#,
        br#"{"uid":"u","nsp":"/","type":3,"data":{"packet":{"type":2,"data":["a"]},"opts":{"rooms":1}}}"#,
        br#"{"uid":"u","nsp":"/","type":3,"data":{"packet":{"type":2,"data":["a"]},"opts":{"rooms":[{}]}}}"#,
        br#"{"uid":"u","nsp":"/","type":7,"data":{"opts":{}}}"#,
        br#"{"uid":"u","nsp":"/","type":8,"data":{"requestId":"r","sockets":[1]}}"#,
        br#"{"uid":"u","nsp":"/","type":11,"data":{"requestId":"r","clientCount":"3"}}"#,
        br#"{"uid":{},"nsp":"/","type":4,"data":{}}"#,
    ];
    for bytes in garbage {
        assert!(decode(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
    let mut nested = br#"{"uid":"u","nsp":"/","type":9,"data":{"packet":["a","#.to_vec();
    nested.extend([b'['; 100_000]);
    assert!(decode(&nested).is_err());
    assert!(decode(&[0x91; 100_000]).is_err());
    // Cut off anywhere.
    let event = broadcast();
    let outgoing = Outgoing {
        namespace: "/",
        name: &event.name,
        arguments: &event.arguments,
        target: &event.target,
        flags: event.flags,
    };
    let encoded = encode_broadcast(outgoing, None);
    for is_msgpack in [false, true] {
        let message = encoded.message("u", "/", is_msgpack);
        for end in 0..message.len() {
            assert!(decode(&message[..end]).is_err(), "cut at {end}");
        }
    }
    let field = encoded.field();
    for end in 0..field.len() {
        assert!(decode_field(3, &field.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}
