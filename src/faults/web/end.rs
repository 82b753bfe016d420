//! The checks at the end of a run: the bytes of all connections are read again and compared with the records.

use super::*;

/// The checks at the end.
impl Book {
    /// Reads all connections again, and compares them with the records.
    pub fn check_at_the_end(&self) {
        let pages = &*self.pages.borrow();
        for peer in self.kernel.peers() {
            self.kernel.with_bytes(peer, |taken, sent| check_requests(pages, peer, taken, sent));
        }
        for (exchange, account) in &pages.exchanges {
            let aborts = account.events.iter().filter(|event| **event == OnExchange::Abort).count();
            let is_whole = matches!(account.progress, Progress::Whole | Progress::Upgraded);
            assert_eq!(aborts, usize::from(!is_whole), "{exchange:?}: {account:?}");
        }
        for (ws, connection) in &pages.connections {
            let closes = connection.events.iter().filter(|event| **event == OnWebSocket::Close).count();
            assert_eq!(closes, 1, "{ws}: {connection:?}");
            self.check_messages(pages, *ws, connection);
        }
    }

    fn check_messages(&self, pages: &Pages, ws: WebSocket, connection: &Connection) {
        let Some(peer) = connection.peer else { return assert!(connection.sent.is_empty(), "{ws}: {connection:?}") };
        self.kernel.with_bytes(peer, |taken, sent| {
            let (taken, sent) = if connection.is_client {
                (behind_request(taken), behind_response(sent))
            } else {
                // This side has answered all requests but the last, which became the WebSocket.
                let number = pages.exchanges.iter().filter(|(_, account)| account.peer == Some(peer)).count();
                let end = wire::requests(sent).get(number - 1).map_or(sent.len(), |asked| asked.end);
                (behind_switch(taken), &sent[end..])
            };
            let (ours, theirs) =
                if connection.is_client { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) };
            let written = wire::frames(taken, theirs, connection.deflate);
            let arrived = wire::frames(sent, ours, connection.deflate);
            check_written(ws, connection, &written);
            assert!(
                arrived.parts.starts_with(&connection.received),
                "{ws} delivered other messages than {arrived:?}: {connection:?}"
            );
            let end = arrived.violation.map(|violation| violation.code).or(arrived.close);
            let code = connection.code.expect("it was closed");
            assert!(code == CloseCode::ABNORMAL || Some(code) == end, "{ws} closed with {code}, not {end:?}");
        });
    }

    /// The events of each request and each WebSocket, as text: the same for all harmless answers of the kernel.
    #[cfg(test)]
    pub(super) fn results(&self) -> Vec<String> {
        let pages = &*self.pages.borrow();
        let exchanges = pages.exchanges.iter().map(|(_, account)| {
            let events: std::collections::BTreeSet<_> =
                account.events.iter().filter(|event| **event != OnExchange::Drain).collect();
            let body = String::from_utf8_lossy(&account.body);
            format!("{} {} {body:?}: {events:?}, {:?}", account.method, account.target, account.progress)
        });
        let connections = pages.connections.values().map(|connection| {
            let events: std::collections::BTreeSet<_> =
                connection.events.iter().filter(|event| **event != OnWebSocket::Drain).collect();
            format!(
                "{events:?} {:?}, sent {:?}, code {:?}, error {:?}",
                connection.received, connection.sent, connection.code, connection.error
            )
        });
        let mut written = Vec::new();
        for peer in self.kernel.peers() {
            self.kernel.with_bytes(peer, |taken, _| {
                let is_client = pages.connections.values().any(|other| other.is_client && other.peer == Some(peer));
                let frames = if is_client {
                    wire::frames(behind_request(taken), Role::Server, false)
                } else {
                    wire::frames(behind_switch(taken), Role::Client, false)
                };
                written.push(format!("{frames:?}"));
            });
        }
        exchanges.chain(connections).chain(written).collect()
    }
}

/// The frames behind a client's request.
fn behind_request(bytes: &[u8]) -> &[u8] {
    wire::requests(bytes).first().map_or(&[], |asked| &bytes[asked.end..])
}

/// The frames behind the answer that a client gets, which may come behind interim answers.
fn behind_response(mut bytes: &[u8]) -> &[u8] {
    loop {
        match wire::response(&mut bytes, &Method::GET) {
            Some(answered) if answered.status == StatusCode::SWITCHING_PROTOCOLS => return bytes,
            Some(answered) if answered.status.is_informational() => {}
            _ => return &[],
        }
    }
}

/// The frames behind the answer of a server, which comes behind the answers to earlier requests.
fn behind_switch(bytes: &[u8]) -> &[u8] {
    const ANSWER: &[u8] = b"HTTP/1.1 101 ";
    let Some(start) = bytes.windows(ANSWER.len()).position(|window| window == ANSWER) else { return &[] };
    behind_response(&bytes[start..])
}

/// The frames that this side has written: what the program has sent, in order, and the answers to pings.
fn check_written(ws: WebSocket, connection: &Connection, written: &Frames) {
    assert_eq!(written.violation, None, "{ws} breaks a rule: {connection:?}");
    assert_eq!(written.behind, 0, "{ws} sends bytes behind its close frame");
    let is_own = |part: &&Part| !matches!(part, Part::Pong(_)) && **part != Part::Ping(Vec::new());
    let own: Vec<&Part> = written.parts.iter().filter(is_own).collect();
    let sent: Vec<&Part> = connection.sent.iter().collect();
    assert!(sent.starts_with(&own), "{ws} wrote {own:?}, the program sent {sent:?}");
    let pongs: Vec<&[u8]> = written.parts.iter().filter_map(|part| payload(part, false)).collect();
    let pings: Vec<&[u8]> = connection.received.iter().filter_map(|part| payload(part, true)).collect();
    // A client whose server does not read answers the latest ping only.
    let mut unanswered = pings.iter();
    let is_in_order = pongs.iter().all(|pong| unanswered.any(|ping| ping == pong));
    let is_whole = connection.is_client || pings.starts_with(&pongs);
    assert!(is_in_order && is_whole, "{ws} answered {pings:?} with {pongs:?}");
    if written.close.is_some() {
        assert_eq!(own.len(), sent.len(), "{ws} lost messages in front of its close frame: {connection:?}");
        let is_whole = connection.is_client || pongs.len() == pings.len();
        assert!(is_whole, "{ws} lost pongs in front of its close frame: {connection:?}");
    }
}

/// The payload of a ping or of a pong.
fn payload(part: &Part, is_ping: bool) -> Option<&[u8]> {
    match part {
        Part::Ping(payload) if is_ping => Some(payload),
        Part::Pong(payload) if !is_ping => Some(payload),
        _ => None,
    }
}

/// The requests and answers of one connection: each request once and in order, each answer at its place.
fn check_requests(pages: &Pages, peer: Peer, mut taken: &[u8], sent: &[u8]) {
    let accounts: Vec<&Account> =
        pages.exchanges.iter().map(|(_, account)| account).filter(|account| account.peer == Some(peer)).collect();
    // A client has written a request.
    if taken.first() == Some(&b'G') {
        return assert!(accounts.is_empty());
    }
    let asked = wire::requests(sent);
    assert!(asked.len() >= accounts.len(), "{peer:?}: requests that were never sent: {accounts:?}");
    for (asked, account) in asked.iter().zip(&accounts) {
        assert_eq!((&asked.method, &asked.target), (&account.method, &account.target), "{peer:?}");
        if account.events.contains(&OnExchange::Request) {
            assert_eq!(asked.body.as_ref(), Some(&account.body), "{peer:?}: {account:?}");
        }
    }
    for account in &accounts {
        let answered = loop {
            match wire::response(&mut taken, &account.method) {
                Some(answered) if answered.status == StatusCode::CONTINUE => {}
                answered => break answered,
            }
        };
        let Some(answered) = answered else { return };
        match account.progress {
            Progress::Upgraded => return assert_eq!(answered.status, StatusCode::SWITCHING_PROTOCOLS, "{account:?}"),
            // A refusal by the layer: of the body, or because it came too late.
            Progress::None => assert!(answered.status.is_client_error(), "{answered:?}: {account:?}"),
            Progress::Begun | Progress::Whole => {}
        }
        if let (Some(status), Progress::Begun | Progress::Whole) = (account.status, account.progress) {
            assert_eq!(answered.status, status, "{account:?}");
            let has_body = account.method != Method::HEAD && status != StatusCode::NO_CONTENT;
            let want: &[u8] = if has_body { &account.answer } else { &[] };
            let is_right = if answered.is_whole && account.progress == Progress::Whole {
                answered.body == want
            } else {
                want.starts_with(&answered.body)
            };
            assert!(is_right, "{answered:?}: {account:?}");
        }
        if !answered.is_whole {
            return assert!(taken.is_empty(), "{peer:?}: bytes behind a part of an answer: {account:?}");
        }
    }
    if let Some(refusal) = wire::response(&mut taken, &Method::GET) {
        assert!(refusal.status.is_client_error() || refusal.status.is_server_error(), "{peer:?}: {refusal:?}");
        assert!(taken.is_empty(), "{peer:?}: bytes behind the last answer {refusal:?}");
    }
}
