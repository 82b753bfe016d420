//! The outbox against a plain list of bytes, and its pool against a count, under random programs.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::event_loop::token::Key;
use crate::net::Socket;

/// What a socket does with its outbox. `part` is of what there is, in 255ths.
#[derive(Clone, Debug)]
enum Act {
    Write {
        len: usize,
    },
    WriteThen {
        len: usize,
    },
    /// The kernel has refused.
    Settle,
    KernelTook {
        part: u8,
    },
    /// The callbacks of what the kernel has are run; with `part` of those of what still waits.
    CallBack {
        part: u8,
    },
    CallBackAll,
    Cork,
    /// The kernel takes no more: what waits is entered in the books.
    Wait,
    Discard,
    /// Gives the box back to the pool with all that is in it, and borrows one again.
    StartAfresh,
}

fn act() -> impl Strategy<Value = Act> {
    let len = || prop_oneof![6 => 0..100_usize, 2 => 1000..5000_usize, 1 => 15_000..40_000_usize];
    let part = || prop_oneof![2 => Just(255_u8), 1 => Just(0), 5 => any::<u8>()];
    prop_oneof![
        8 => len().prop_map(|len| Act::Write { len }),
        3 => len().prop_map(|len| Act::WriteThen { len }),
        8 => part().prop_map(|part| Act::KernelTook { part }),
        3 => part().prop_map(|part| Act::CallBack { part }),
        1 => Just(Act::CallBackAll),
        2 => Just(Act::Settle),
        1 => Just(Act::Cork),
        2 => Just(Act::Wait),
        1 => Just(Act::Discard),
        1 => Just(Act::StartAfresh),
    ]
}

/// A socket as plain as it can be.
#[derive(Default)]
struct Plain {
    unsent: Vec<u8>,
    written: u64,
    /// When each callback is due, and its number.
    callbacks: Vec<(u64, usize)>,
    corks: u32,
    in_books: usize,
}

impl Plain {
    /// An offset of the socket's life: `part` of the way from the first unsent byte to the last.
    fn offset(&self, part: u8) -> u64 {
        let first_unsent = self.written - self.unsent.len() as u64;
        first_unsent + (self.unsent.len() * usize::from(part) / 255) as u64
    }
}

/// A callback that says its number when it is dropped, so that nobody has to be called.
struct Numbered(usize, Rc<RefCell<Vec<usize>>>);

impl Drop for Numbered {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

/// Sockets that share a pool.
struct Run {
    pool: OutboxPool,
    sockets: Vec<(Box<Outbox>, Plain)>,
    dropped: Rc<RefCell<Vec<usize>>>,
    made: usize,
}

impl Run {
    fn new(sockets: usize) -> Run {
        let mut pool = OutboxPool::default();
        let sockets = (0..sockets).map(|_| (pool.take(Cause::default()), Plain::default())).collect();
        Run { pool, sockets, dropped: Rc::default(), made: 0 }
    }

    fn act(&mut self, who: usize, act: &Act) {
        let (outbox, plain) = &mut self.sockets[who];
        match *act {
            Act::Write { len } | Act::WriteThen { len } => {
                // Every position of a socket's life has its own byte, nearly: what is out of place shows.
                let bytes: Vec<u8> = (plain.written..plain.written + len as u64).map(|at| (at % 251) as u8).collect();
                if plain.unsent.len() as u64 == plain.written && plain.unsent.len() + len <= LITTLE {
                    outbox.append(&bytes);
                } else {
                    outbox.push(&mut self.pool.blocks, &bytes);
                }
                plain.unsent.extend_from_slice(&bytes);
                plain.written += len as u64;
                assert!(
                    outbox.head == 0 || outbox.head < outbox.len(),
                    "at most as many sent bytes as unsent are kept"
                );
                if matches!(act, Act::WriteThen { .. }) {
                    let numbered = Numbered(self.made, self.dropped.clone());
                    outbox.push_callback(plain.written, Box::new(move |_, _| drop(numbered)));
                    plain.callbacks.push((plain.written, self.made));
                    self.made += 1;
                }
            }
            Act::KernelTook { part } => {
                let len = plain.unsent.len() * usize::from(part) / 255;
                outbox.advance(&mut self.pool.blocks, len);
                plain.unsent.drain(..len);
            }
            Act::Settle => outbox.settle(),
            Act::CallBack { part } => {
                let offset = plain.offset(part);
                let due: Vec<_> = plain.callbacks.extract_if(.., |(due_at, _)| *due_at <= offset).collect();
                self.called(who, |outbox| outbox.take_callbacks(offset), due);
            }
            Act::CallBackAll => {
                let due = std::mem::take(&mut plain.callbacks);
                self.called(who, Outbox::take_all_callbacks, due);
            }
            Act::Cork => {
                outbox.corks += 1;
                plain.corks += 1;
            }
            Act::Wait => {
                let bytes = outbox.len();
                self.pool.waiting.enter(&mut outbox.ticket, Socket(Key::new(who, 0)), bytes);
                plain.in_books = plain.unsent.len();
            }
            Act::Discard => {
                outbox.discard(&mut self.pool.blocks);
                plain.unsent.clear();
            }
            Act::StartAfresh => {
                outbox.unit_start = 1;
                outbox.inflight_end = 2;
                outbox.seen_by_idle_limit = 3;
                let lost: Vec<_> = std::mem::take(plain).callbacks;
                let given_back = std::mem::replace(outbox, self.pool.take(Cause::default()));
                self.pool.give_back(given_back);
                self.was_dropped(lost);
                let (outbox, _) = &self.sockets[who];
                assert_eq!((outbox.unit_start, outbox.inflight_end, outbox.seen_by_idle_limit), (0, 0, 0));
            }
        }
        self.check();
    }

    fn called(&mut self, who: usize, take: impl FnOnce(&mut Outbox) -> Vec<WriteCallback>, due: Vec<(u64, usize)>) {
        drop(take(&mut self.sockets[who].0));
        self.was_dropped(due);
    }

    fn was_dropped(&mut self, due: Vec<(u64, usize)>) {
        let numbers: Vec<usize> = due.into_iter().map(|(_, number)| number).collect();
        assert_eq!(*self.dropped.borrow(), numbers, "callbacks in the order of their writes");
        self.dropped.borrow_mut().clear();
    }

    fn check(&self) {
        let mut used = 0;
        for (outbox, plain) in &self.sockets {
            assert_eq!(waiting(outbox, &self.pool.blocks, usize::MAX), plain.unsent);
            let some = plain.unsent.len() / 2;
            assert_eq!(waiting(outbox, &self.pool.blocks, some), plain.unsent[..some]);
            assert!(outbox.bytes.capacity() <= 2 * LITTLE, "what is much is in blocks");
            used += outbox.chain.len().div_ceil(BLOCK);
            assert_eq!((outbox.len(), outbox.is_empty()), (plain.unsent.len(), plain.unsent.is_empty()));
            assert_eq!((outbox.corks, outbox.callbacks()), (plain.corks, plain.callbacks.len()));
            assert!(outbox.chain.is_empty() || outbox.bytes.is_empty(), "one or the other");
        }
        let chains = self.sockets.iter().filter(|(outbox, _)| !outbox.chain.is_empty()).count();
        assert!(
            (used..=used + chains).contains(&self.pool.blocks.used()),
            "a chain has the blocks that it needs, and no other"
        );
        assert!(self.dropped.borrow().is_empty(), "no callback is lost");
        let in_books: usize = self.sockets.iter().map(|(_, plain)| plain.in_books).sum();
        assert_eq!(self.pool.waiting.total(), in_books);
        assert_eq!(self.pool.capacity, self.pool.boxes.iter().map(|outbox| outbox.bytes.capacity()).sum::<usize>());
    }
}

/// The first `limit` bytes to be sent, as the system call would get them.
fn waiting(outbox: &Outbox, blocks: &Blocks, limit: usize) -> Vec<u8> {
    let mut pieces = [IoSlice::new(&[]); 1000];
    let count = outbox.pieces(blocks, limit, &mut pieces);
    pieces[..count].iter().map(|piece| &**piece).collect::<Vec<&[u8]>>().concat()
}

proptest! {
    #[test]
    fn bytes_leave_in_order_and_callbacks_with_them(acts in prop::collection::vec((0..3_usize, act()), 1..80)) {
        let mut run = Run::new(3);
        for (who, act) in &acts {
            run.act(*who, act);
        }
    }
}

#[test]
fn an_empty_write_behind_much_that_waits_adds_no_chain() {
    let mut run = Run::new(1);
    let much = Act::Write { len: LITTLE + 1 };
    for act in [much, Act::Settle, Act::Write { len: 0 }, Act::KernelTook { part: 255 }, Act::Write { len: 1 }] {
        run.act(0, &act);
    }
}

#[test]
fn the_pool_keeps_no_more_than_its_limits() {
    let filled = |pool: &mut OutboxPool, len: usize| {
        let mut outbox = Box::<Outbox>::default();
        outbox.push(&mut pool.blocks, &vec![b'x'; len]);
        outbox
    };
    let mut pool = OutboxPool::default();
    for _ in 0..POOL_CAPACITY / LITTLE + 10 {
        let outbox = filled(&mut pool, LITTLE);
        pool.give_back(outbox);
    }
    assert_eq!((pool.boxes.len(), pool.capacity), (POOL_CAPACITY / LITTLE, POOL_CAPACITY));
    // There is room for boxes that own nothing, but not for any number of them.
    for _ in 0..POOL_BOXES {
        let outbox = filled(&mut pool, 0);
        pool.give_back(outbox);
    }
    assert_eq!((pool.boxes.len(), pool.capacity), (POOL_BOXES, POOL_CAPACITY));
    for _ in 0..POOL_BOXES {
        assert!(pool.take(Cause::default()).is_empty());
    }
    assert_eq!((pool.boxes.len(), pool.capacity), (0, 0), "what is lent is not counted");
}

#[test]
fn with_half_of_a_crowd_goes_what_served_it() {
    let mut pool = OutboxPool::default();
    assert!(!pool.crowd_has_left(100));
    for _ in 0..100 {
        pool.give_back(Box::default());
    }
    assert!(!pool.crowd_has_left(51) && pool.boxes.len() == 100);
    assert!(pool.crowd_has_left(50) && pool.boxes.is_empty());
    assert!(!pool.crowd_has_left(26), "now fifty are the crowd");
    assert!(pool.crowd_has_left(25));
    assert!(!pool.crowd_has_left(0), "few are no crowd");
}
