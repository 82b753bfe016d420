//! Topics: a message for all connections that have subscribed to a name.
//!
//! A published frame is made once, and compressed once for all connections that take the same compression. It is
//! gathered for each connection like any other message, so everything that is published in one phase leaves in one
//! system call for each connection.

use std::mem;

use super::frame::Header;
use super::receiver::Message;
use super::registry::Registry;
use super::send::give_back;
use super::{Endpoint, Handler, SlowReceiver, WebSocket, tag};
use crate::Loop;

/// The result of a publication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Published {
    /// How many connections the message was sent to, or queued for.
    pub receivers: usize,
    /// How many were skipped because too much waits for them ([`SlowReceiver::Skip`]).
    pub skipped: usize,
}

/// The receivers of one publication, in scratch memory of the loop.
#[derive(Default)]
struct Receivers(Vec<WebSocket>);

impl WebSocket {
    /// Subscribes to a topic of this connection's endpoint. Returns `false` if the connection was subscribed already,
    /// or is not open. A connection leaves all topics when it closes.
    pub fn subscribe(self, lp: &mut Loop, topic: &str) -> bool {
        if !self.is_open(lp) {
            return false;
        }
        self.0.change_tag(lp, tag::HAS_TOPICS, 0);
        lp.websocket_endpoint(self).is_some_and(|endpoint| endpoint.topics.subscribe(self, topic))
    }

    /// Leaves a topic. Returns `false` if the connection was not subscribed.
    pub fn unsubscribe(self, lp: &mut Loop, topic: &str) -> bool {
        lp.websocket_endpoint(self).is_some_and(|endpoint| endpoint.topics.unsubscribe(self, topic))
    }

    /// Whether the connection is subscribed to a topic.
    pub fn is_subscribed(self, lp: &Loop, topic: &str) -> bool {
        self.endpoint(lp).is_some_and(|endpoint| endpoint.topics.is_subscribed(self, topic))
    }

    /// The topics of this connection.
    pub fn topics(self, lp: &Loop) -> Vec<String> {
        self.endpoint(lp).map_or_else(Vec::new, |endpoint| endpoint.topics.topics_of(self).map(str::to_owned).collect())
    }

    /// Sends a message to all subscribers of a topic but this connection, which need not be subscribed itself.
    pub fn publish<'a>(self, lp: &mut Loop, topic: &str, message: impl Into<Message<'a>>) -> Published {
        let Some(slot) = self.0.handler_slot(lp) else { return Published::default() };
        publish(lp, slot, topic, message.into(), Some(self))
    }

    /// Leaves all topics: the connection is closed.
    pub(super) fn leave_topics(self, lp: &mut Loop) {
        if self.0.tag(lp) & tag::HAS_TOPICS != 0
            && let Some(endpoint) = lp.websocket_endpoint(self)
        {
            endpoint.topics.leave_all(self);
        }
    }
}

impl<H: Handler> Endpoint<H> {
    /// Sends a message to all subscribers of a topic.
    pub fn publish<'a>(self, lp: &mut Loop, topic: &str, message: impl Into<Message<'a>>) -> Published {
        publish(lp, self.connections.handler_slot(), topic, message.into(), None)
    }

    /// How many connections are subscribed to a topic.
    pub fn subscribers(self, lp: &Loop, topic: &str) -> usize {
        self.state(lp).map_or(0, |state| state.topics.count(topic))
    }

    /// The topics that have subscribers, in the order in which they got their first one.
    pub fn topics(self, lp: &Loop) -> Vec<String> {
        self.state(lp).map_or_else(Vec::new, |state| state.topics.topics().map(str::to_owned).collect())
    }
}

fn publish(lp: &mut Loop, slot: u32, topic: &str, message: Message<'_>, but: Option<WebSocket>) -> Published {
    let mut receivers = mem::take(&mut lp.layer_mut::<Receivers>().0);
    if let Some(endpoint) = lp.layer_mut::<Registry>().endpoint_mut(slot) {
        receivers.extend(endpoint.topics.subscribers(topic).filter(|ws| Some(*ws) != but));
    }
    let published = broadcast(lp, receivers.iter().copied(), message);
    receivers.clear();
    lp.layer_mut::<Receivers>().0 = receivers;
    published
}

/// Sends one message to many connections, which may belong to different endpoints. The frame is made once. Connections
/// that are not open are left out.
pub fn broadcast<'a>(
    lp: &mut Loop,
    receivers: impl IntoIterator<Item = WebSocket>,
    message: impl Into<Message<'a>>,
) -> Published {
    broadcast_with(lp, receivers, message.into(), true)
}

/// As [`broadcast`]. Without `compress` the message is sent as it is, also to connections that have agreed on
/// compression: it is compressed already, or is a secret whose length must not depend on its content.
pub fn broadcast_with(
    lp: &mut Loop,
    receivers: impl IntoIterator<Item = WebSocket>,
    message: Message<'_>,
    compress: bool,
) -> Published {
    let payload = message.as_bytes();
    let mut frame = mem::take(&mut lp.layer_mut::<Registry>().broadcast);
    frame.clear();
    let mut compressed = Compressed::default();
    let mut published = Published::default();
    for ws in receivers {
        let tag = ws.0.tag(lp);
        if tag & (tag::OPEN | tag::CLOSE_SENT) != tag::OPEN {
            continue;
        }
        // Made for the first receiver: a chat may have none here.
        if frame.is_empty() {
            push_frame(&mut frame, message, false, payload);
        }
        if ws.0.needs_drain(lp) && is_skipped(lp, ws, frame.len()) {
            published.skipped += 1;
            continue;
        }
        let is_plain = tag & tag::DEFLATE == 0 || !compress;
        let is_low = if tag & tag::CLIENT == 0 && is_plain {
            ws.0.write(lp, &frame)
        } else if is_plain {
            ws.send_uncompressed(lp, message)
        } else if tag & (tag::CLIENT | tag::OWN_STREAMS) != 0 {
            // Each client has a mask of its own, and each context another result.
            ws.send(lp, message)
        } else {
            match compressed.for_level(lp, ws, message) {
                Some(compressed) => ws.0.write(lp, compressed),
                None => ws.0.write(lp, &frame),
            }
        };
        // A connection that reads too slowly may have been destroyed, now or by an earlier message of this turn.
        if is_low || ws.0.write_refusal(lp).is_none() {
            published.receivers += 1;
        }
    }
    give_back(&mut lp.layer_mut::<Registry>().broadcast, frame);
    published
}

fn push_frame(out: &mut Vec<u8>, message: Message<'_>, is_compressed: bool, payload: &[u8]) {
    let len = payload.len() as u64;
    let header = Header { fin: true, rsv1: is_compressed, opcode: message.opcode(), mask: None, len };
    out.extend_from_slice(header.encode().as_ref());
    out.extend_from_slice(payload);
}

/// Whether a connection that reads too slowly does not get a message of this length.
#[cold]
fn is_skipped(lp: &Loop, ws: WebSocket, len: usize) -> bool {
    let options = ws.endpoint(lp).map(|endpoint| &endpoint.options);
    options
        .is_some_and(|options| options.slow == SlowReceiver::Skip && ws.0.unsent_length(lp) + len > options.skip_above)
}

/// The compressed frame of a broadcast. It is made when the first connection needs it. Endpoints with different levels
/// get frames of the level that came first. Empty if compression makes the message longer.
#[derive(Default)]
struct Compressed(Option<Vec<u8>>);

impl Compressed {
    /// `None` if the message is sent as it is: it is below the threshold of the connection's endpoint, or compression
    /// makes it longer.
    fn for_level(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) -> Option<&[u8]> {
        let deflate = ws.endpoint(lp)?.options.deflate.as_ref()?;
        let payload = message.as_bytes();
        if payload.len() < deflate.threshold {
            return None;
        }
        let level = deflate.level;
        let frame = self.0.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            lp.layer_mut::<Registry>().deflater(level, 15).deflate(payload, &mut bytes, false);
            let mut frame = Vec::new();
            if bytes.len() < payload.len() {
                frame.reserve_exact(bytes.len() + 10);
                push_frame(&mut frame, message, true, &bytes);
            }
            frame
        });
        (!frame.is_empty()).then_some(frame.as_slice())
    }
}
