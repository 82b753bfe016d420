//! Which transport a session begins with, and the cookies of its requests.

use super::*;

/// The requests that a server gets: their transport, the start of the method and path, and the header `Cookie`.
type Requests = Rc<RefCell<Vec<String>>>;

/// A server that lists its requests, refuses sessions that begin with one transport, and sets a cookie in each answer
/// that opens a session: another one each time.
fn serve_without(world: &mut World, refused: Option<Transport>) -> (Site, Requests) {
    let site = world.serve(Options::default());
    let requests = Requests::default();
    let list = requests.clone();
    let mut count = 0;
    world.enter(|lp| {
        site.io.allow_request(lp, move |_, request| match refused {
            Some(transport) if transport_of(request) == transport.as_str() => Err("not by this transport".to_owned()),
            _ => Ok(()),
        });
        site.io.on_headers(lp, move |_, headers, request, is_initial| {
            let cookie = request.header("cookie").unwrap_or("none");
            list.borrow_mut().push(format!("{} {cookie}", transport_of(request)));
            if is_initial {
                count += 1;
                let cookie = format!("node={count}; Path=/; HttpOnly");
                headers.append("set-cookie", cookie.try_into().expect("a header"));
            }
        });
    });
    (site, requests)
}

fn transport_of(request: &Request) -> &str {
    let pair = request.query().and_then(|query| query.split('&').find(|pair| pair.starts_with("transport=")));
    pair.map_or("", |pair| &pair["transport=".len()..])
}

fn take(requests: &Requests) -> Vec<String> {
    std::mem::take(&mut *requests.borrow_mut())
}

const WEBSOCKET_FIRST: &[Transport] = &[Transport::WebSocket, Transport::Polling];

#[test]
fn the_next_transport_is_tried_when_the_first_one_is_refused() {
    for (refused, transports) in [(Transport::WebSocket, WEBSOCKET_FIRST), (Transport::Polling, BOTH)] {
        let mut world = World::new();
        let (site, requests) = serve_without(&mut world, Some(refused));
        let mut options = with(transports);
        options.engine.try_all_transports = true;
        let client = world.client("c", &site.url("/"), options);
        world.until("c connect");
        world.settle();
        assert_eq!(world.enter(|lp| client.transport(lp)), Some(transports[1]));
        assert_eq!(world.take_story(), ["c connect"], "no error, and no upgrade to what has failed");
        let other = |line: &String| line.starts_with(transports[1].as_str());
        assert!(take(&requests).iter().all(other), "what was refused is not tried again");
    }
}

#[test]
fn by_default_only_the_first_transport_is_tried() {
    let mut world = World::new();
    let (site, _) = serve_without(&mut world, Some(Transport::WebSocket));
    world.client("c", &site.url("/"), with(WEBSOCKET_FIRST));
    world.until("c connect_error E_UNEXPECTED_RESPONSE");
    world.advance(SECOND);
    world.until("c reconnect_error E_UNEXPECTED_RESPONSE");
}

#[test]
fn a_server_that_no_transport_reaches_is_one_error_for_each_attempt() {
    let mut world = World::new();
    let mut options = with(WEBSOCKET_FIRST);
    options.engine.try_all_transports = true;
    world.client("c", "http://127.0.0.1:1/", options);
    world.until("c connect_error ECONNREFUSED");
    world.settle();
    assert_eq!(world.take_story(), ["c connect_error ECONNREFUSED"]);
    world.advance(SECOND);
    world.until("c reconnect_error ECONNREFUSED");
    let want = ["c reconnect_attempt 1", "c connect_error ECONNREFUSED", "c reconnect_error ECONNREFUSED"];
    assert_eq!(world.take_story(), want);
}

#[test]
fn a_server_that_breaks_the_protocol_by_polling_is_tried_by_websocket() {
    let mut world = World::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let mut options = with(BOTH);
    options.engine.try_all_transports = true;
    world.client("c", &format!("http://127.0.0.1:{port}/"), options);
    let peers = std::thread::spawn(move || {
        let request = |peer: &mut TcpStream| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                assert_eq!(peer.read(&mut byte).expect("a request"), 1);
                head.push(byte[0]);
            }
            String::from_utf8(head).expect("text")
        };
        let (mut polling, _) = listener.accept().expect("the first request");
        let first = request(&mut polling);
        // Behind the packet that is not allowed comes one that must not be delivered.
        let body = "4hola\u{1e}0{\"sid\":\"a\",\"upgrades\":[],\"pingInterval\":1000,\"pingTimeout\":1000}";
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        polling.write_all(answer.as_bytes()).expect("it reads");
        let (mut websocket, _) = listener.accept().expect("the second request");
        let second = request(&mut websocket);
        websocket.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").expect("it reads");
        (first, second)
    });
    world.until("c connect_error E_UNEXPECTED_RESPONSE");
    assert_eq!(world.take_story(), ["c connect_error E_UNEXPECTED_RESPONSE"]);
    let (first, second) = peers.join().expect("it has seen both requests");
    assert!(first.contains("transport=polling") && second.contains("transport=websocket"), "{first}{second}");
    assert!(!second.contains("sid="), "{second}");
}

#[test]
fn a_session_begins_with_a_websocket_connection_if_the_last_one_was_made() {
    let mut world = World::new();
    let (site, requests) = serve_without(&mut world, None);
    let mut options = with(BOTH);
    options.engine.remember_upgrade = true;
    let first = world.connected(&site.url("/"), options.clone());
    assert!(take(&requests)[0].starts_with("polling"));
    // As if the connection were lost.
    world.enter(|lp| site.io.sockets(lp)[0].session(lp).expect("it is open").close(lp));
    world.until("c disconnect transport close");
    world.advance(SECOND);
    world.until("c connect");
    assert_eq!(take(&requests), ["websocket none"]);
    assert_eq!(world.enter(|lp| first.transport(lp)), Some(Transport::WebSocket));

    let other = world.serve(Options::default());
    world.take_story();
    let second = world.client("d", &other.url("/"), options);
    world.until("d connect");
    assert_eq!(world.enter(|lp| second.transport(lp)), Some(Transport::Polling), "nothing is known of another server");
}

#[test]
fn a_failed_websocket_connection_is_forgotten() {
    let mut world = World::new();
    let (site, requests) = serve_without(&mut world, None);
    let mut options = with(BOTH);
    options.engine.remember_upgrade = true;
    world.connected(&site.url("/"), options);
    world.enter(|lp| {
        site.io.allow_request(lp, |_, request| match transport_of(request) {
            "websocket" => Err("the proxy is another one now".to_owned()),
            _ => Ok(()),
        });
        site.io.sockets(lp)[0].session(lp).expect("it is open").close(lp);
    });
    world.until("c disconnect transport close");
    take(&requests);
    world.advance(SECOND);
    world.until("c reconnect_error E_UNEXPECTED_RESPONSE");
    world.advance(2 * SECOND);
    world.until("c connect");
    assert!(take(&requests).iter().any(|line| line.starts_with("polling")));
}

#[test]
fn cookies_are_sent_back_with_each_request_and_kept_for_the_next_session() {
    let mut world = World::new();
    let (site, requests) = serve_without(&mut world, None);
    let mut options = with(BOTH);
    options.engine.with_credentials = true;
    options.engine.headers.insert("cookie", "mine=0".try_into().expect("a header"));
    world.connected(&site.url("/"), options);
    let first = take(&requests);
    assert_eq!(first[0], "polling mine=0");
    assert!(first.iter().skip(1).all(|line| line.ends_with("mine=0; node=1")), "{first:?}");
    assert!(first.contains(&"websocket mine=0; node=1".to_owned()), "{first:?}");

    world.enter(|lp| site.io.sockets(lp)[0].session(lp).expect("it is open").close(lp));
    world.until("c disconnect transport close");
    world.advance(SECOND);
    world.until("c connect");
    world.upgrade();
    let second = take(&requests);
    assert_eq!(second[0], "polling mine=0; node=1", "the balancer finds the server of before");
    assert!(second.contains(&"websocket mine=0; node=2".to_owned()), "{second:?}");
}

#[test]
fn cookies_of_a_websocket_handshake_are_kept_too() {
    let mut world = World::new();
    let (site, requests) = serve_without(&mut world, None);
    let mut options = with(WEBSOCKET);
    options.engine.with_credentials = true;
    world.connected(&site.url("/"), options);
    world.enter(|lp| site.io.sockets(lp)[0].session(lp).expect("it is open").close(lp));
    world.until("c disconnect transport close");
    world.advance(SECOND);
    world.until("c connect");
    assert_eq!(take(&requests), ["websocket none", "websocket node=1"]);
}

#[test]
fn a_session_that_is_paused_delivers_nothing_until_it_is_resumed() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let mut world = World::new();
        let site = world.serve(Options::default());
        let client = world.connected(&site.url("/"), with(transports));
        let session = world.enter(|lp| client.session(lp)).expect("it is open");
        world.enter(|lp| {
            session.pause(lp);
            site.io.emit(lp, "one", ());
        });
        world.settle();
        world.enter(|lp| site.io.emit(lp, "two", ()));
        world.settle();
        assert_eq!(world.take_story(), [""; 0], "{transports:?}");
        let story = world.story.clone();
        world.enter(|lp| {
            session.resume(lp);
            story.borrow_mut().push("resumed".to_owned());
        });
        world.until("c two ");
        assert_eq!(world.take_story(), ["resumed", "c one ", "c two "], "{transports:?}");
    }
}

#[test]
fn by_default_no_cookies_are_kept() {
    let mut world = World::new();
    let (site, requests) = serve_without(&mut world, None);
    world.connected(&site.url("/"), with(BOTH));
    let requests = take(&requests);
    assert!(requests.len() > 2 && requests.iter().all(|line| line.ends_with(" none")), "{requests:?}");
}
