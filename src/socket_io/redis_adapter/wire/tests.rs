//! The bytes were recorded from `@socket.io/redis-adapter` 8.3.0 and `@socket.io/redis-emitter` 5.1.0.

use super::*;

/// The uid of the adapter that was recorded.
const UID: &str = "SVb0Hd";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hexadecimal")).collect()
}

fn target(rooms: &[&str], except: &[&str]) -> Target {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Target { rooms: names(rooms), except: names(except) }
}

fn arguments(list: &str, attachments: &[&[u8]]) -> OwnedArguments {
    OwnedArguments::new(list.to_owned(), attachments.iter().map(|bytes| bytes.to_vec()).collect()).expect("arguments")
}

fn broadcast(name: &str, arguments: OwnedArguments, target: Target) -> Broadcast {
    Broadcast { namespace: "/".to_owned(), name: name.to_owned(), arguments, target, flags: Flags::default() }
}

fn outgoing(broadcast: &Broadcast) -> Outgoing<'_> {
    Outgoing {
        namespace: &broadcast.namespace,
        name: &broadcast.name,
        arguments: &broadcast.arguments,
        target: &broadcast.target,
        flags: broadcast.flags,
    }
}

#[test]
fn broadcasts_are_byte_for_byte_those_of_node() {
    let numbers = "\"hola\",1,-1,300,-300,70000,-70000,5000000000,-5000000000,1.5,true,null";
    let table = [
        (
            // io.emit('said', 'hola', 1, -1, 300, …)
            broadcast("said", arguments(numbers, &[]), target(&[], &[])),
            "93a653566230486483a47479706502a4646174619da473616964a4686f6c6101ffcd012cd1fed4ce00011170d2fffeee90cf\
             000000012a05f200d3fffffffed5fa0e00cb3ff8000000000000c3c0a36e7370a12f83a5726f6f6d7390a665786365707490\
             a5666c61677380",
        ),
        (
            // io.to('R').emit('said', 'R', 'hi')
            broadcast("said", arguments(r#""R","hi""#, &[]), target(&["R"], &[])),
            "93a653566230486483a47479706502a46461746193a473616964a152a26869a36e7370a12f83a5726f6f6d7391a152a66578\
             6365707490a5666c61677380",
        ),
        (
            // io.to(['R', 'S']).except('T').volatile.compress(false).emit('a')
            Broadcast {
                flags: Flags { volatile: true, compress: false, timeout: None },
                ..broadcast("a", arguments("", &[]), target(&["R", "S"], &["T"]))
            },
            "93a653566230486483a47479706502a46461746191a161a36e7370a12f83a5726f6f6d7392a152a153a665786365707491a1\
             54a5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2",
        ),
    ];
    for (broadcast, recorded) in table {
        let recorded = hex(&recorded.replace(char::is_whitespace, ""));
        assert_eq!(encode_broadcast(UID, outgoing(&broadcast)), recorded);
        assert_eq!(decode_broadcast(&recorded, "another"), Ok(Some(broadcast)));
        assert_eq!(decode_broadcast(&recorded, UID), Ok(None), "this node has sent it");
    }
}

#[test]
fn what_json_does_not_have_is_read_as_the_client_of_node_gets_it() {
    // io.emit('b', {x: [Buffer.from([1, 2]), undefined, {y: undefined, z: new Date(1577836800123)}]}, undefined,
    //         new Date(0), new Date(-1), 'é'.repeat(40), 'é😀')
    let recorded = hex(concat!(
        "93a653566230486483a47479706502a46461746197a16281a17893c4020102c081a17ad7ff1d5353005e0be100c0d6ff0000",
        "0000c70cff3b8b87c0ffffffffffffffffd950c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3",
        "a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9a6",
        "c3a9f09f9880a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
    ));
    let read = decode_broadcast(&recorded, "another").expect("a broadcast").expect("of another node");
    let list = format!(
        "{},null,\"1970-01-01T00:00:00.000Z\",\"1969-12-31T23:59:59.999Z\",\"{}\",\"é😀\"",
        r#"{"x":[{"_placeholder":true,"num":0},null,{"z":"2020-01-01T00:00:00.123Z"}]}"#,
        "é".repeat(40),
    );
    assert_eq!(read, broadcast("b", arguments(&list, &[&[1, 2]]), target(&[], &[])));
}

#[test]
fn broadcasts_of_an_emitter_are_read() {
    // emitter.to('R').except('S').emit('time', Buffer.from([1])): the order of the fields is another one.
    let recorded = hex(concat!(
        "93a7656d697474657283a47479706502a46461746192a474696d65c40101a36e7370a12f83a5726f6f6d7391a152a5666c61",
        "677380a665786365707491a153",
    ));
    let want = broadcast("time", arguments(r#"{"_placeholder":true,"num":0}"#, &[&[1]]), target(&["R"], &["S"]));
    assert_eq!(decode_broadcast(&recorded, UID), Ok(Some(want)));
}

#[test]
fn an_event_with_acknowledgements_is_a_request() {
    // io.to('R').timeout(50).emit('q', Buffer.from([7]), () => {})
    let recorded = hex(concat!(
        "85a3756964a6535662304864a9726571756573744964a67671486d4a57a47479706507a67061636b657483a47479706502a4",
        "6461746192a171c40107a36e7370a12fa46f70747383a5726f6f6d7391a152a665786365707490a5666c61677381a774696d",
        "656f757432",
    ));
    let event = Broadcast {
        flags: Flags { timeout: Some(Duration::from_millis(50)), ..Flags::default() },
        ..broadcast("q", arguments(r#"{"_placeholder":true,"num":0}"#, &[&[7]]), target(&["R"], &[]))
    };
    assert_eq!(encode_broadcast_request(UID, "vqHmJW", outgoing(&event)), recorded);
    let received = decode_request(&recorded, "another").expect("a request").expect("of another node");
    assert_eq!(received.uid.as_deref(), Some(UID));
    assert_eq!(received.request_id.as_deref(), Some("vqHmJW"));
    assert_eq!(received.request, Request::Broadcast(event));
    assert_eq!(decode_request(&recorded, UID), Ok(None));
}

#[test]
fn requests_are_those_of_node() {
    let node = |request: &str| decode_request(request.as_bytes(), "another").expect("a request").expect("it is known");
    let ours = r#"{"uid":"SVb0Hd","type":2,"opts":{"rooms":["R"],"except":[]},"rooms":["x","y"]}"#;
    let rooms = ["x".to_owned(), "y".to_owned()];
    assert_eq!(encode_rooms(UID, &target(&["R"], &[]), &rooms, true), ours);
    let want = Request::Rooms { target: target(&["R"], &[]), rooms: rooms.to_vec(), join: true };
    assert_eq!(node(ours), Received { uid: Some(UID.to_owned()), request_id: None, request: want });
    assert_eq!(decode_request(ours.as_bytes(), UID), Ok(None), "it was applied before it was sent");

    let ours = r#"{"uid":"SVb0Hd","type":3,"opts":{"rooms":["R"],"except":["S"]},"rooms":["x"]}"#;
    assert_eq!(encode_rooms(UID, &target(&["R"], &["S"]), &rooms[..1], false), ours);

    let ours = r#"{"uid":"SVb0Hd","type":4,"opts":{"rooms":["R"],"except":[]},"close":true}"#;
    assert_eq!(encode_disconnect(UID, &target(&["R"], &[]), true), ours);
    assert_eq!(node(ours).request, Request::Disconnect { target: target(&["R"], &[]), close: true });

    let ours = r#"{"uid":"SVb0Hd","requestId":"a1","type":5,"opts":{"rooms":[],"except":[]}}"#;
    assert_eq!(encode_fetch(UID, "a1", &target(&[], &[])), ours);
    assert_eq!(node(ours).request, Request::Fetch(target(&[], &[])));

    let ours = r#"{"uid":"SVb0Hd","type":6,"data":["hello",1,{"a":2}]}"#;
    let list = arguments(r#"1,{"a":2}"#, &[]);
    assert_eq!(encode_server_side_emit(UID, None, "hello", &list), ours);
    assert_eq!(node(ours).request, Request::ServerSideEmit { name: "hello".to_owned(), arguments: list });

    let list = arguments(r#"{"f":[{"_placeholder":true,"num":0},1]},"a""#, &[&[1, 2]]);
    let ours =
        r#"{"uid":"SVb0Hd","requestId":"a1","type":6,"data":["b",{"f":[{"type":"Buffer","data":[1,2]},1]},"a"]}"#;
    assert_eq!(encode_server_side_emit(UID, Some("a1"), "b", &list), ours);

    // An emitter has no uid.
    let request = node(r#"{"type":2,"opts":{"rooms":["R"],"except":[]},"rooms":["x"]}"#);
    assert_eq!(request.uid, None);
    assert!(matches!(request.request, Request::Rooms { join: true, .. }));
    assert!(
        matches!(node(r#"{"uid":"a","type":0,"requestId":"r","rooms":[7]}"#).request, Request::Sockets(rooms) if rooms == ["7"])
    );
    assert_eq!(node(&encode_all_rooms_request("a", "r")).request, Request::AllRooms);
    assert_eq!(encode_all_rooms_request("a", "r"), r#"{"uid":"a","requestId":"r","type":1}"#);
    let one = Request::RoomOfOne { id: "s".to_owned(), room: "x".to_owned(), join: false };
    assert_eq!(node(r#"{"uid":"a","type":3,"requestId":"r","sid":"s","room":"x"}"#).request, one);
    let one = Request::DisconnectOne { id: "s".to_owned(), close: true };
    assert_eq!(node(r#"{"uid":"a","type":4,"requestId":"r","sid":"s","close":true}"#).request, one);
    assert_eq!(decode_request(br#"{"uid":"a","type":42}"#, UID), Ok(None), "a later version may have others");
}

#[test]
fn responses_are_those_of_node() {
    let read = |bytes: &[u8]| decode_response(bytes).expect("a response");
    let ack = encode_ack("r1", &arguments(r#"{"_placeholder":true,"num":0},"second""#, &[&[7]]));
    let want = Response::Ack(arguments(r#"{"_placeholder":true,"num":0}"#, &[&[7]]));
    assert_eq!(read(&ack), Some(("r1".to_owned(), want)));
    let empty = encode_ack("r1", &OwnedArguments::default());
    assert_eq!(read(&empty), Some(("r1".to_owned(), Response::Ack(OwnedArguments::default()))));

    let count = encode_client_count("r1", 3);
    assert_eq!(count, r#"{"type":8,"requestId":"r1","clientCount":3}"#);
    assert_eq!(read(count.as_bytes()), Some(("r1".to_owned(), Response::ClientCount(3))));

    let answer = encode_server_answer("r1", &json!({ "pong": 1 }));
    assert_eq!(answer, r#"{"type":6,"requestId":"r1","data":{"pong":1}}"#);
    assert_eq!(read(answer.as_bytes()), Some(("r1".to_owned(), Response::Server(json!({ "pong": 1 })))));
    // `JSON.stringify` leaves `undefined` out.
    assert_eq!(read(br#"{"type":6,"requestId":"r1"}"#), Some(("r1".to_owned(), Response::Server(Value::Null))));

    let socket = RemoteSocket {
        id: "s".to_owned(),
        rooms: vec!["s".to_owned(), "x".to_owned()],
        handshake: json!({ "url": "/" }),
        data: json!({ "a": 1 }),
    };
    let response = encode_sockets("r1", vec![socket_value(socket.clone())]);
    assert_eq!(
        response,
        r#"{"requestId":"r1","sockets":[{"id":"s","handshake":{"url":"/"},"rooms":["s","x"],"data":{"a":1}}]}"#,
    );
    assert_eq!(read(response.as_bytes()), Some(("r1".to_owned(), Response::Sockets(vec![socket]))));
    let rooms = encode_all_rooms("r1", &["s".to_owned(), "a".to_owned()]);
    assert_eq!(rooms, r#"{"requestId":"r1","rooms":["s","a"]}"#);
    let want = Response::Rooms(vec!["s".to_owned(), "a".to_owned()]);
    assert_eq!(read(rooms.as_bytes()), Some(("r1".to_owned(), want)));
    assert_eq!(read(&encode_done("r1").into_bytes()), None, "this side does not send the old requests");
}

#[test]
fn garbage_is_refused_and_nothing_panics() {
    let garbage: &[&[u8]] = &[
        b"",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"\x93",
        b"\x93\xa1a\xc0\xc0",
        b"\x93\xa1a\x80\x80",
        b"\x93\xa1a\x82\xa4type\x02\xa4data\x90\x80",
        b"\x93\xa1a\x82\xa4type\x09\xa4data\x91\xa1e\x80",
        b"\x93\xa1a\x82\xa4type\x02\xa4data\x91\xa1e\x81\xa5rooms\x01",
        b"\x93\xa1a\x82\xa4type\x02\xa4data\x91\xa1e\x81\xa5flags\x81\xa8volatile\x01",
        br#"{"type":"2"}"#,
        br#"{"type":2,"opts":1}"#,
        br#"{"type":2,"opts":{"rooms":[{}]},"rooms":[]}"#,
        br#"{"type":6,"data":[]}"#,
        br#"{"type":6,"data":{}}"#,
        br#"{"requestId":7,"sockets":[]}"#,
        br#"{"requestId":"a","sockets":[1]}"#,
        br#"{"requestId":"a","type":8,"clientCount":-1}"#,
    ];
    for bytes in garbage {
        let text = String::from_utf8_lossy(bytes);
        assert!(decode_broadcast(bytes, UID).is_err(), "{text}");
        assert!(decode_request(bytes, UID).is_err() || decode_response(bytes).is_err(), "{text}");
    }
    // A message that is cut off anywhere, and one with any other byte in any place.
    let event = broadcast("q", arguments(r#"{"_placeholder":true,"num":0}"#, &[&[7]]), target(&["R"], &[]));
    let whole = encode_broadcast_request("a", "1", outgoing(&event));
    for at in 0..whole.len() {
        assert!(decode_request(&whole[..at], UID).is_err(), "{at} bytes");
        for byte in 0..=255 {
            let mut changed = whole.clone();
            changed[at] = byte;
            let _ = (decode_request(&changed, UID), decode_broadcast(&changed, UID), decode_response(&changed));
        }
    }
}
