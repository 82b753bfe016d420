//! Outboxes against plain byte vectors, and their table against a count, under random programs.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::table::BUFFERED;
use super::*;
use crate::event_loop::token::Key;
use crate::net::Socket;

/// An operation of a socket on its outbox. `part` is a fraction of the queued bytes, in 255ths.
#[derive(Clone, Debug)]
enum Act {
    Write {
        len: usize,
    },
    WriteThen {
        len: usize,
    },
    KernelTook {
        part: u8,
    },
    /// All waiting bytes become one write in flight.
    BeginFlight,
    /// The write in flight is complete.
    EndFlight,
    CallBackAll,
    /// The socket is being read: what it writes may use the reply buffer.
    BeginReply,
    /// End of the read of whichever socket it is.
    EndReply,
    /// The kernel takes no more: the waiting bytes are counted in the table.
    Wait,
    Discard,
    /// Gives the outbox back with its content, and borrows another one.
    StartAfresh,
}

fn act() -> impl Strategy<Value = Act> {
    let len = || prop_oneof![6 => 0..100_usize, 2 => 1000..5000_usize, 1 => 15_000..40_000_usize];
    let part = || prop_oneof![2 => Just(255_u8), 1 => Just(0), 5 => any::<u8>()];
    prop_oneof![
        8 => len().prop_map(|len| Act::Write { len }),
        3 => len().prop_map(|len| Act::WriteThen { len }),
        8 => part().prop_map(|part| Act::KernelTook { part }),
        2 => Just(Act::BeginFlight),
        3 => Just(Act::EndFlight),
        1 => Just(Act::CallBackAll),
        3 => Just(Act::BeginReply),
        2 => Just(Act::EndReply),
        2 => Just(Act::Wait),
        1 => Just(Act::Discard),
        1 => Just(Act::StartAfresh),
    ]
}

/// The reference: the state of a socket in plain fields.
#[derive(Default)]
struct Plain {
    unsent: Vec<u8>,
    written: u64,
    /// The numbers of the waiting callbacks.
    callbacks: Vec<usize>,
    /// How many of them belong to the write in flight.
    in_flight: usize,
    counted: usize,
}

/// A callback that records its number when it is dropped, so that the test does not have to call it.
struct Numbered(usize, Rc<RefCell<Vec<usize>>>);

impl Drop for Numbered {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

/// Several sockets with one table.
struct Run {
    outboxes: Outboxes,
    sockets: Vec<(OutboxId, Plain)>,
    dropped: Rc<RefCell<Vec<usize>>>,
    made: usize,
}

impl Run {
    fn new(sockets: usize) -> Run {
        let mut outboxes = Outboxes::default();
        let sockets = (0..sockets).map(|_| (outboxes.lend(Cause::default()), Plain::default())).collect();
        Run { outboxes, sockets, dropped: Rc::default(), made: 0 }
    }

    fn act(&mut self, socket: usize, act: &Act) {
        let (id, plain) = &mut self.sockets[socket];
        let (outbox, store) = self.outboxes.open(*id);
        match *act {
            Act::Write { len } | Act::WriteThen { len } => {
                // Neighbouring positions have different bytes, so that misplaced bytes show.
                let bytes: Vec<u8> = (plain.written..plain.written + len as u64).map(|at| (at % 251) as u8).collect();
                if plain.unsent.len() as u64 == plain.written {
                    outbox.append(store, &bytes);
                } else {
                    outbox.push(store, &bytes);
                }
                plain.unsent.extend_from_slice(&bytes);
                plain.written += len as u64;
                if matches!(act, Act::WriteThen { .. }) {
                    let numbered = Numbered(self.made, self.dropped.clone());
                    outbox.push_callback(Box::new(move |_, _| drop(numbered)));
                    plain.callbacks.push(self.made);
                    self.made += 1;
                }
            }
            Act::KernelTook { part } => {
                let len = plain.unsent.len() * usize::from(part) / 255;
                outbox.advance(store, len);
                plain.unsent.drain(..len);
            }
            Act::BeginFlight => {
                let first = plain.written - plain.unsent.len() as u64;
                outbox.begin_flight(first, plain.written);
                plain.in_flight = plain.callbacks.len();
            }
            Act::EndFlight => {
                let due = plain.callbacks.drain(..std::mem::take(&mut plain.in_flight)).collect();
                self.called(socket, Outbox::end_flight, due);
            }
            Act::CallBackAll => {
                plain.in_flight = 0;
                let due = std::mem::take(&mut plain.callbacks);
                self.called(socket, Outbox::take_all_callbacks, due);
            }
            Act::BeginReply => {
                let has_room = outbox.fits_reply_buffer(1000);
                let bytes: Vec<u8> = (plain.written..plain.written + 1000).map(|at| (at % 251) as u8).collect();
                self.outboxes.append_large(*id, &bytes[..10], &bytes[10..], true);
                plain.unsent.extend_from_slice(&bytes);
                plain.written += 1000;
                assert!(self.outboxes.is_replying() || !has_room);
            }
            Act::EndReply => {
                self.outboxes.end_reply();
                assert!(!self.outboxes.is_replying());
            }
            Act::Wait => {
                self.outboxes.count(*id, Socket(Key::new(socket, 0)));
                plain.counted = plain.unsent.len();
            }
            Act::Discard => {
                outbox.clear(store);
                plain.unsent.clear();
            }
            Act::StartAfresh => {
                outbox.unit_start = 1;
                outbox.inflight_end = 2;
                outbox.seen_by_idle_limit = 3;
                let lost: Vec<_> = std::mem::take(plain).callbacks;
                let given_back = std::mem::replace(id, self.outboxes.lend(Cause::default()));
                self.outboxes.take_back(given_back);
                self.was_dropped(lost);
                let outbox = self.outboxes.get(self.sockets[socket].0);
                assert_eq!((outbox.unit_start, outbox.inflight_end, outbox.seen_by_idle_limit), (0, 0, 0));
            }
        }
        self.check();
    }

    fn called(&mut self, socket: usize, take: impl FnOnce(&mut Outbox) -> Vec<WriteCallback>, due: Vec<usize>) {
        drop(take(self.outboxes.open(self.sockets[socket].0).0));
        self.was_dropped(due);
    }

    fn was_dropped(&mut self, due: Vec<usize>) {
        assert_eq!(*self.dropped.borrow(), due, "callbacks in the order of their writes");
        self.dropped.borrow_mut().clear();
    }

    fn check(&self) {
        let Outboxes { store, waiting: waiting_bytes, .. } = &self.outboxes;
        let (mut used, mut chains) = (0, 0);
        for (id, plain) in &self.sockets {
            let outbox = self.outboxes.get(*id);
            assert_eq!(waiting(outbox, store, usize::MAX), plain.unsent);
            let some = plain.unsent.len() / 2;
            assert_eq!(waiting(outbox, store, some), plain.unsent[..some]);
            if let Some(piece) = outbox.in_one_piece(store) {
                assert_eq!(piece, plain.unsent);
            }
            let is_replying = store.replying == Some(*id);
            let room = if is_replying { REPLY_BUFFER_LEN } else { BUFFER_LEN };
            assert!(
                outbox.tail <= outbox.end && outbox.end <= outbox.start + room,
                "more bytes than the buffer has room for are stored in blocks"
            );
            assert_eq!(is_replying, outbox.is_replying());
            assert!(is_replying || outbox.end == 0 || outbox.start >= REPLY_BUFFER_LEN, "no other outbox uses it");
            used += outbox.chain.len().div_ceil(BLOCK);
            chains += usize::from(!outbox.chain.is_empty());
            assert_eq!((outbox.len(), outbox.is_empty()), (plain.unsent.len(), plain.unsent.is_empty()));
            assert_eq!(outbox.callbacks(), plain.callbacks.len());
            assert_eq!(outbox.queued_callbacks(), plain.callbacks.len() - plain.in_flight);
            assert!(
                outbox.chain.is_empty() || outbox.tail == outbox.start,
                "the bytes are either in the buffer or in the chain"
            );
        }
        assert!((used..=used + chains).contains(&store.blocks.used()), "a chain has only the blocks that it needs");
        assert!(self.dropped.borrow().is_empty(), "no callback is lost");
        let counted: usize = self.sockets.iter().map(|(_, plain)| plain.counted).sum();
        assert_eq!(waiting_bytes.total(), counted);
        assert_eq!(self.outboxes.lent(), self.sockets.len());
    }
}

/// The first `limit` waiting bytes, as the system call would get them.
fn waiting(outbox: &Outbox, store: &Store, limit: usize) -> Vec<u8> {
    let mut pieces = [IoSlice::new(&[]); 1000];
    let count = outbox.pieces(store, limit, &mut pieces);
    pieces[..count].iter().map(|piece| &**piece).collect::<Vec<&[u8]>>().concat()
}

proptest! {
    #[test]
    fn bytes_leave_in_order_and_callbacks_with_them(
        first in prop_oneof![Just(0), Just(BUFFERED - 1), Just(BUFFERED)],
        acts in prop::collection::vec((0..3_usize, act()), 1..80),
    ) {
        // The first three sockets to come have a buffer, no buffer, or both kinds occur.
        let mut run = Run::new(first + 3);
        for (socket, act) in &acts {
            run.act(first + socket, act);
        }
    }
}

#[test]
fn an_empty_write_behind_a_chain_adds_no_block() {
    let mut run = Run::new(1);
    let large = Act::Write { len: BUFFER_LEN + 1 };
    for act in [large, Act::Write { len: 0 }, Act::KernelTook { part: 255 }, Act::Write { len: 1 }] {
        run.act(0, &act);
    }
}

#[test]
fn outboxes_with_a_buffer_are_lent_first() {
    let mut outboxes = Outboxes::default();
    let ids: Vec<OutboxId> = (0..BUFFERED + 10).map(|_| outboxes.lend(Cause::default())).collect();
    for &id in &ids {
        let (outbox, store) = outboxes.open(id);
        outbox.append(store, b"hola");
    }
    assert_eq!(outboxes.store.buffers.len(), Store::len_for(BUFFERED));
    assert_eq!(outboxes.store.blocks.used(), 10);
    for &id in &ids {
        outboxes.take_back(id);
    }
    assert_eq!((outboxes.lent(), outboxes.store.blocks.used()), (0, 0));
    for _ in 0..BUFFERED {
        let id = outboxes.lend(Cause::default());
        assert!(outboxes.get(id).end > 0);
    }
}

#[test]
fn the_table_shrinks_when_half_of_the_outboxes_are_back() {
    let mut outboxes = Outboxes::default();
    assert!(!outboxes.shrink_if_halved(0, 1000));
    let mut lent: Vec<OutboxId> = (0..1000).map(|_| outboxes.lend(Cause::default())).collect();
    let stays = lent.swap_remove(300);
    lent.into_iter().for_each(|id| outboxes.take_back(id));
    assert!(!outboxes.shrink_if_halved(0, 501) && outboxes.size() == 1000);
    assert!(outboxes.shrink_if_halved(0, 500));
    assert_eq!((outboxes.size(), outboxes.lent()), (301, 1), "up to the last that is lent");
    assert_eq!(outboxes.store.buffers.len(), Store::len_for(512));
    outboxes.take_back(stays);
    assert!(!outboxes.shrink_if_halved(0, 251), "the new mark is five hundred");
    assert!(outboxes.shrink_if_halved(0, 250));
    assert_eq!((outboxes.size(), outboxes.store.buffers.len()), (0, 0));
    assert!(outboxes.shrink_if_halved(0, 0));
    assert!(
        !outboxes.shrink_if_halved(0, 20) && !outboxes.shrink_if_halved(0, 0),
        "a few outboxes do not trigger a shrink"
    );
}

#[test]
fn the_table_shrinks_when_all_connections_close_in_one_phase() {
    let mut outboxes = Outboxes::default();
    let lent: Vec<OutboxId> = (0..1000).map(|_| outboxes.lend(Cause::default())).collect();
    lent.into_iter().for_each(|id| outboxes.take_back(id));
    assert!(outboxes.shrink_if_halved(1000, 0));
    assert_eq!((outboxes.size(), outboxes.store.buffers.len()), (0, 0));
}
