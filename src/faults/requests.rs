//! The HTTP client on the simulated kernel: what its requests are promised, whatever servers and the kernel do.
//!
//! A program whose actions are chosen by bytes makes requests, and gives some of them up. Each request has a path of
//! its own, and each response a body of its own. At the end both directions of every connection are read again:
//!
//! ```text
//!   what the loop has written ─ parser ─▶ requests 1, 2, …     each is one that the program has made
//!   what the peer has sent    ─ parser ─▶ responses 1, 2, …    the result of request 1 is response 1, or an error
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::chance::{Chance, answer, text};
use super::{Step, World};
use crate::Loop;
use crate::http::body::BodyDecoder;
use crate::http::head::{HeadLimits, Method, Request, parse_response};
use crate::http::{Client, ClientOptions, ClientRequest, ClientResponse, RequestId};
use crate::net::simulated::{Kernel, Peer};

/// How many requests a program may make.
const REQUESTS: usize = 12;

/// How many connections a server answers. Further ones are refused.
const CONNECTIONS: usize = 10;

/// Whether a peer that is to answer must still wait: it has not received this number of requests.
pub(super) fn must_wait(kernel: &Kernel, peer: Peer, requests: usize) -> bool {
    kernel.is_open(peer) && requests_of(kernel, peer).len() < requests
}

/// The whole requests that the loop has written.
fn requests_of(kernel: &Kernel, peer: Peer) -> Vec<Request> {
    let mut requests = Vec::new();
    kernel.with_bytes(peer, |taken, _| {
        requests = crate::http::properties::read_requests(&[taken], &HeadLimits::default()).0;
    });
    requests
}

/// Runs a program, its servers and its kernel as `input` says, and panics at any violation.
///
/// The first byte chooses the options. The second and third bytes give the lengths of the next two parts: the bytes
/// of the servers and the bytes of the kernel. The rest belongs to the program.
pub fn hold_for(input: &[u8]) {
    let [options, servers, kernel, rest @ ..] = input else { return };
    let (servers, rest) = rest.split_at(rest.len().min((*servers).into()));
    let (kernel, program) = rest.split_at(rest.len().min((*kernel).into()));
    run(*options, servers, kernel, program);
}

/// Runs a program with these options; the other three arguments decide what servers, kernel and program do.
fn run(options: u8, servers: &[u8], kernel: &[u8], program: &[u8]) {
    let mut world = World::new();
    let (servers, kernel) = (Chance::new(servers), Chance::new(kernel));
    let mut number = 0;
    for _ in 0..CONNECTIONS {
        world.remote_server(server(&servers, &mut number));
    }
    world.kernel.set_addresses(vec![[127, 0, 0, 1].into(), [0_u16; 8].into()]);
    world.kernel.set_script(move |call| answer(&kernel, call));
    let is = |bit: u8| options >> bit & 1 == 1;
    let options = ClientOptions {
        max_body: if is(0) { 100 } else { 1_000_000 },
        max_connections: [None, Some(1), Some(2), Some(3)][usize::from(options >> 1 & 3)],
        keep_alive: Duration::from_secs(if is(3) { 0 } else { 4 }),
    };
    let client = world.enter(|lp| Client::new(lp, options));
    let program = Program { chance: Chance::new(program), client, made: Rc::default(), is_in_method: Rc::default() };
    world.at_the_end(move |lp| {
        client.release(lp);
        assert!(!crate::http::client::holds_anything(lp), "a client or a request is left");
    });
    world.enter(|lp| program.act(lp));
    world.run();
    let kernel = world.kernel.clone();
    world.finish();
    program.check_at_the_end(&kernel);
}

/// A server that accepts, and answers requests.
fn server(chance: &Chance, number: &mut usize) -> Vec<Step> {
    let mut steps = vec![if chance.below(8) == 1 { Step::Refuse("ECONNREFUSED") } else { Step::Accept }];
    for received in 1..=1 + chance.below(4) {
        *number += 1;
        let response = response(chance, *number);
        let (first, second) = response.split_at(chance.pick(&[usize::MAX, 1, 10, 40]).min(response.len()));
        steps.push(Step::Respond(received, first.to_vec()));
        match chance.below(16) {
            1 => steps.push(Step::Fin),
            2 => steps.push(Step::Reset),
            3 => steps.push(Step::Window(chance.pick(&[0, 1, 100]))),
            4..6 => steps.push(Step::Take(chance.pick(&[1, 100, 100_000]))),
            6..10 => steps.push(Step::Wait),
            _ => {}
        }
        steps.push(Step::Send(second.to_vec()));
        match chance.below(8) {
            1 => steps.push(Step::Fin),
            2 => steps.push(Step::Reset),
            3 => steps.push(Step::Send(b"bytes without a request".to_vec())),
            _ => {}
        }
    }
    steps
}

/// A response, most likely a correct one, whose body has its number.
fn response(chance: &Chance, number: usize) -> Vec<u8> {
    let body = format!("response {number}{}", "x".repeat(chance.pick(&[0, 1, 150, 5000])));
    let len = body.len();
    let text = match chance.below(12) {
        0..4 => format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}"),
        4 | 5 => format!("HTTP/1.1 201 x\r\nTransfer-Encoding: chunked\r\n\r\n{len:x}\r\n{body}\r\n0\r\n\r\n"),
        6 => format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 x\r\nContent-Length: {len}\r\n\r\n{body}"),
        7 => format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}"),
        8 => format!("HTTP/1.1 200 OK\r\n\r\n{body}"),
        9 => format!("HTTP/1.1 20{} x\r\nKeep-Alive: timeout=2\r\n\r\n", 4),
        10 => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", len + 1),
        _ => "no response\r\n\r\n".to_owned(),
    };
    text.into_bytes()
}

/// A request that the program has made.
struct Made {
    id: Option<RequestId>,
    request: ClientRequest,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Pending,
    Aborted,
    Done(crate::Result<ClientResponse>),
}

/// Does in every callback what the bytes say.
#[derive(Clone)]
struct Program {
    chance: Chance,
    client: Client,
    made: Rc<RefCell<Vec<Made>>>,
    /// A method of the client is running: it must not call the program.
    is_in_method: Rc<Cell<bool>>,
}

impl Program {
    /// The body of a callback: up to three actions.
    fn act(&self, lp: &mut Loop) {
        for _ in 0..3 {
            match self.chance.byte() {
                0 => return,
                1..120 => self.make(lp),
                120..160 => self.abort(lp),
                160..180 => self.reference(lp),
                180..200 => lp.next_tick(self.act_later()),
                200..220 => drop(lp.set_immediate(self.act_later())),
                220..252 => {
                    let delay = Duration::from_millis(self.chance.pick(&[1, 100, 3000, 5000]));
                    lp.set_timeout(delay, self.act_later());
                }
                _ => self.in_method(|| self.client.release(lp)),
            }
        }
    }

    fn act_later(&self) -> impl FnOnce(&mut Loop) + use<> {
        let this = self.clone();
        move |lp| this.act(lp)
    }

    fn in_method<T>(&self, f: impl FnOnce() -> T) -> T {
        self.is_in_method.set(true);
        let result = f();
        self.is_in_method.set(false);
        result
    }

    fn make(&self, lp: &mut Loop) {
        let number = self.made.borrow().len();
        if number == REQUESTS {
            return;
        }
        let method = self.chance.pick(&[Method::GET, Method::POST, Method::HEAD, Method::PUT, Method::DELETE]);
        let host = self.chance.pick(&["127.0.0.1:1", "127.0.0.1:1", "name:1", "127.0.0.1:2"]);
        let body = match method {
            Method::POST | Method::PUT => text(&mut 0, self.chance.pick(&[5, 0, 100, 100_000])),
            _ => Vec::new(),
        };
        let timeout = Duration::from_secs(self.chance.pick(&[60, 0, 1, 10]));
        let url = format!("http://{host}/{number}");
        let request = ClientRequest { body, timeout, ..ClientRequest::new(method, url) };
        let this = self.clone();
        let on_response = move |lp: &mut Loop, result| {
            assert!(!this.is_in_method.get(), "a method has called the program");
            {
                let made = &mut this.made.borrow_mut()[number];
                assert!(matches!(made.outcome, Outcome::Pending), "called after {:?}", made.outcome);
                assert!(!made.id.is_some_and(|id| id.is_pending(lp)));
                made.outcome = Outcome::Done(result);
            }
            this.act(lp);
        };
        let made = Made { id: None, request: request.clone(), outcome: Outcome::Pending };
        self.made.borrow_mut().push(made);
        let result = self.in_method(|| self.client.request(lp, request, on_response));
        let made = &mut *self.made.borrow_mut();
        match result {
            Ok(id) => made[number].id = Some(id),
            // The client was released.
            Err(_) => drop(made.pop()),
        }
    }

    /// Any request so far.
    fn any(&self) -> Option<usize> {
        let count = self.made.borrow().len();
        (count > 0).then(|| self.chance.below(count))
    }

    fn abort(&self, lp: &mut Loop) {
        let Some(number) = self.any() else { return };
        let id = self.made.borrow()[number].id;
        let Some(id) = id else { return };
        let is_pending = id.is_pending(lp);
        self.in_method(|| id.abort(lp));
        let made = &mut self.made.borrow_mut()[number];
        assert_eq!(is_pending, matches!(made.outcome, Outcome::Pending));
        if is_pending {
            made.outcome = Outcome::Aborted;
        }
    }

    fn reference(&self, lp: &mut Loop) {
        let id = self.any().and_then(|number| self.made.borrow()[number].id);
        if let Some(id) = id {
            if self.chance.below(2) == 0 { id.unref(lp) } else { id.ref_(lp) }
        }
    }

    /// Reads all connections again, and compares them with the requests and their results.
    fn check_at_the_end(&self, kernel: &Kernel) {
        /// Where a request was written: its connection, and its place there.
        type Places = HashMap<usize, Vec<(Peer, usize)>>;
        let made = self.made.borrow();
        let mut places: Places = HashMap::new();
        let mut responses: HashMap<(Peer, usize), ClientResponse> = HashMap::new();
        for peer in kernel.peers() {
            let requests = requests_of(kernel, peer);
            for (place, request) in requests.iter().enumerate() {
                let number: usize = request.path()[1..].parse().expect("a number");
                let meant = &made[number].request;
                assert_eq!((request.method(), request.body()), (&meant.method, meant.body.as_slice()));
                places.entry(number).or_default().push((peer, place));
            }
            kernel.with_bytes(peer, |_, mut sent| {
                for (place, request) in requests.iter().enumerate() {
                    let Some(response) = take_response(&mut sent, request.method()) else { break };
                    responses.insert((peer, place), response);
                }
            });
        }
        for (number, made) in made.iter().enumerate() {
            let places = places.remove(&number).unwrap_or_default();
            let describe = || format!("request {number}, {:?}, at {places:?}: {:?}", made.request, made.outcome);
            match places[..] {
                [] | [_] => {}
                [(_, first), (_, second)] => {
                    assert!(made.request.method.is_idempotent(), "sent twice: {}", describe());
                    // The second time on a new connection, because the first time it was not.
                    assert!(first.min(second) == 0 && first.max(second) > 0, "{}", describe());
                }
                _ => panic!("sent more than twice: {}", describe()),
            }
            match &made.outcome {
                Outcome::Pending => panic!("no callback: {}", describe()),
                Outcome::Aborted | Outcome::Done(Err(_)) => {}
                Outcome::Done(Ok(response)) => {
                    let is_right = |place| responses.get(place) == Some(response);
                    assert!(places.iter().any(is_right), "another response: {}", describe());
                }
            }
        }
    }
}

/// Takes the final response in front of `bytes`.
fn take_response(bytes: &mut &[u8], method: &Method) -> Option<ClientResponse> {
    loop {
        let (head, framing, used) = parse_response(bytes, &HeadLimits::default(), method).ok()??;
        *bytes = &bytes[used..];
        if head.status().is_informational() {
            continue;
        }
        let (mut decoder, mut body) = (BodyDecoder::new(framing), Vec::new());
        while let Ok(Some(piece)) = decoder.next(bytes) {
            body.extend_from_slice(piece);
        }
        decoder.finish().ok()?;
        return Some(ClientResponse { head, body });
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            cases: ProptestConfig::default().cases.max(1000),
            ..ProptestConfig::default()
        })]

        #[test]
        fn every_request_of_a_client_keeps_its_promises_under_random_faults(
            options in any::<u8>(),
            servers in vec(any::<u8>(), 0..120),
            kernel in vec(any::<u8>(), 0..60),
            program in vec(any::<u8>(), 0..160),
        ) {
            run(options, &servers, &kernel, &program);
        }
    }
}
