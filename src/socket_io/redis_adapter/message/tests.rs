use super::*;

fn arguments(list: &str, attachments: &[&[u8]]) -> OwnedArguments {
    let attachments = attachments.iter().map(|bytes| bytes.to_vec()).collect();
    OwnedArguments::new(list.to_owned(), attachments).expect("they are right")
}

fn target(rooms: &[&str], except: &[&str]) -> Target {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Target { rooms: owned(rooms), except: owned(except) }
}

fn read(bytes: &[u8]) -> Option<Body> {
    decode(bytes).expect("a message").body
}

/// As `JSON.stringify` of Node's `ShardedRedisAdapter` writes it.
#[test]
fn messages_of_node_are_read() {
    let node = br#"{"type":3,"data":{"packet":{"type":2,"data":["shouted",0,"id"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"x","nsp":"/admin"}"#;
    let message = decode(node).expect("a message");
    assert_eq!((message.uid.as_str(), message.namespace.as_str()), ("x", "/admin"));
    let broadcast =
        Broadcast { name: "shouted".to_owned(), arguments: arguments("0,\"id\"", &[]), ..Broadcast::default() };
    assert_eq!(message.body, Some(Body::Broadcast { broadcast, request_id: None, is_numbered: false }));
}
