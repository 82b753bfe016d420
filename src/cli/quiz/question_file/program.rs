//! Runs the program of a question of a file.
//!
//! ```text
//!   statements of the main body ─▶ the loop's own calls: next_tick, set_timeout, connect, …
//!                                       └─▶ a block runs in the callback, in the same way
//! ```

use std::net::SocketAddr;
use std::rc::Rc;

use bucle::net::{On, ServerOptions, Socket, SocketOptions, on};
use bucle::{Loop, Result};

use super::statement::{Block, Event, Side, Statement, When};
use super::watch::{Unhandled, Watch};
use crate::cli::quiz::explain::Owner;
use crate::cli::quiz::language::Language;
use crate::cli::quiz::question::Program;
use crate::cli::quiz::stage;

/// A program, and the text that is shown.
pub(super) struct Written {
    pub(super) source: String,
    pub(super) body: Block,
}

/// What the statements of a block can use.
#[derive(Clone)]
struct Around {
    /// The socket of the event.
    socket: Option<Socket>,
    /// The address of the server.
    address: Option<SocketAddr>,
    watch: Rc<Watch>,
}

/// The first word of a statement, and Node's name. Words of two: an event.
const NODE_NAMES: &[(&str, &str)] = &[
    ("tick", "process.nextTick"),
    ("microtask", "queueMicrotask"),
    ("immediate", "setImmediate"),
    ("timeout", "setTimeout"),
    ("server", "net.createServer().listen(0).unref()"),
    ("connect", "net.connect"),
    ("write", "socket.write"),
    ("end", "socket.end"),
    ("destroy", "socket.destroy"),
    ("on connection", "server.on('connection')"),
    ("on connect", "socket.on('connect')"),
    ("on data", "socket.on('data')"),
    ("on end", "socket.on('end')"),
    ("on finish", "socket.on('finish')"),
    ("on error", "socket.on('error')"),
    ("on close", "socket.on('close')"),
];

impl Written {
    /// Whether a line begins with this word.
    pub(super) fn has(&self, word: &str) -> bool {
        self.source.lines().any(|line| line.split_whitespace().next() == Some(word))
    }

    /// As [`start`](Program::start). `watch` sees what happens.
    pub(super) fn start_watched(&self, lp: &mut Loop, watch: Rc<Watch>) -> Result<()> {
        let around = Around { socket: None, address: None, watch: Rc::clone(&watch) };
        run(lp, &self.body, around)?;
        watch.after_main();
        Ok(())
    }
}

impl Program for Written {
    fn start(&self, lp: &mut Loop) -> Result<()> {
        self.start_watched(lp, Rc::default())
    }

    fn source(&self) -> &str {
        &self.source
    }

    fn printed_by<'a>(&self, line: &'a str) -> Vec<&'a str> {
        line.trim().strip_prefix("print ").map(str::trim).into_iter().collect()
    }

    fn owner_of_callback(&self, text: &str) -> Option<Owner> {
        let lines: Vec<&str> = self.source.lines().collect();
        let place = lines.iter().position(|line| self.printed_by(line).contains(&text))?;
        let indent_of = |line: &str| line.len() - line.trim_start().len();
        let indent = indent_of(lines[place]);
        let owner = lines[..place].iter().rposition(|line| indent_of(line) < indent)?;
        let method = lines[owner].split_whitespace().next()?;
        let is_same = |line: &&&str| line.split_whitespace().next() == Some(method);
        let nth = (lines.iter().filter(is_same).count() > 1).then(|| lines[..owner].iter().filter(is_same).count());
        Some(Owner { method: method.to_owned(), nth })
    }

    fn node_names(&self, _: Language) -> Vec<String> {
        let is_used = |name: &str| {
            self.source.lines().any(|line| {
                let mut words = line.split_whitespace();
                name.split(' ').all(|word| words.next() == Some(word))
            })
        };
        let used = NODE_NAMES.iter().filter(|(name, _)| is_used(name));
        used.map(|(name, node)| format!("{name} = {node}")).collect()
    }

    fn busy_call(&self) -> Option<&'static str> {
        self.has("work").then_some("work")
    }
}

/// Runs the statements of a block.
fn run(lp: &mut Loop, block: &Block, mut around: Around) -> Result<()> {
    for statement in block.iter() {
        match statement {
            Statement::Print(text) => stage::print(lp, text),
            Statement::Work(time) => stage::work_for(*time),
            Statement::Later(when, block) => later(lp, *when, block, &around),
            Statement::Server(side) => {
                let options = ServerOptions { flowing: side.has(Event::Data), ..ServerOptions::default() };
                let handler = handler(side, &around);
                around.address = Some(stage::serve_with(lp, options, handler)?);
            }
            Statement::Connect(side) => {
                let Some(address) = around.address else { continue };
                let options = SocketOptions { flowing: side.has(Event::Data), ..SocketOptions::default() };
                let socket = Socket::connect_with(lp, address, options, handler(side, &around))?;
                around.watch.opened(side, socket);
            }
            Statement::Write(text, callback) => {
                let Some(socket) = around.socket else { continue };
                match callback.clone() {
                    Some(block) => _ = socket.write_then(lp, &**text, callback_of(block, &around)),
                    None => _ = socket.write(lp, &**text),
                }
                // Node sends each write by itself. If the peer has closed meanwhile, the next write fails.
                socket.flush(lp);
            }
            Statement::End(text, callback) => {
                let Some(socket) = around.socket else { continue };
                let callback = callback.clone().map(|block| callback_of(block, &around));
                // Without a text there is no write: an `end` after an `end` is no mistake then.
                match (text.as_deref(), callback) {
                    (None, None) => socket.end(lp),
                    (None, Some(callback)) => socket.end_then(lp, callback),
                    (Some(text), None) => socket.end_with(lp, text),
                    (Some(text), Some(callback)) => socket.end_with_then(lp, text, callback),
                }
                socket.flush(lp);
            }
            Statement::Destroy => around.socket.into_iter().for_each(|socket| socket.destroy(lp)),
        }
    }
    Ok(())
}

/// Runs a block in a callback. An error ends the program.
fn run_later(lp: &mut Loop, block: &Block, around: Around) {
    let watch = Rc::clone(&around.watch);
    if let Err(error) = run(lp, block, around) {
        stage::fail(lp, error);
    }
    watch.after_callback();
}

/// As [`run_later`], in a tick or a microtask.
fn run_soon(lp: &mut Loop, block: &Block, around: Around) {
    let watch = Rc::clone(&around.watch);
    if let Err(error) = run(lp, block, around) {
        stage::fail(lp, error);
    }
    // They take little time. But if they arm a timer, what follows may be slow.
    if block.iter().any(|statement| matches!(statement, Statement::Later(When::Timeout(_), _))) {
        watch.after_callback();
    }
}

fn later(lp: &mut Loop, when: When, block: &Block, around: &Around) {
    let (block, around) = (Rc::clone(block), around.clone());
    match when {
        When::Tick => lp.next_tick(move |lp| run_soon(lp, &block, around)),
        When::Microtask => lp.queue_microtask(move |lp| run_soon(lp, &block, around)),
        When::Immediate => _ = lp.set_immediate(move |lp| run_later(lp, &block, around)),
        When::Timeout(time) => {
            around.watch.before_arming();
            lp.set_timeout(time, move |lp| run_later(lp, &block, around));
        }
    }
}

/// The callback of a write or an end.
fn callback_of(block: Block, around: &Around) -> impl FnOnce(&mut Loop, Result<()>) + use<> {
    let around = around.clone();
    move |lp, _| run_later(lp, &block, around)
}

/// A handler that runs the blocks. As in Node, an error without a block for it ends the program.
fn handler(side: &Side, around: &Around) -> On {
    let event_of = |event: Event, block: &Block| {
        let (block, around) = (Rc::clone(block), around.clone());
        let is_late = around.watch.is_late(side, event);
        move |lp: &mut Loop, socket| {
            let (block, around) = (Rc::clone(&block), Around { socket: Some(socket), ..around.clone() });
            if is_late {
                lp.set_immediate(move |lp| run_later(lp, &block, around));
            } else {
                run_later(lp, &block, around);
            }
        }
    };
    let (accepted, watch) = (side.clone(), Rc::clone(&around.watch));
    let connection = side.block(Event::Connection).map(|block| event_of(Event::Connection, block));
    let mut handler = on().connection(move |lp, socket| {
        watch.opened(&accepted, socket);
        if let Some(call) = &connection {
            call(lp, socket);
        }
    });
    if !side.has(Event::Error) {
        let (line, is_quiet, watch) = (side.line, !side.prints, Rc::clone(&around.watch));
        handler = handler.error(move |lp, socket, error| {
            watch.failed(lp, socket, &error);
            watch.unhandled(Unhandled { line, code: error.code().to_owned(), is_quiet });
            stage::fail(lp, error);
        });
    }
    for (event, block) in &side.blocks {
        let call = event_of(*event, block);
        handler = match event {
            Event::Connection => handler,
            Event::Connect => handler.connect(call),
            Event::Data => handler.data(move |lp, socket, _| call(lp, socket)),
            Event::End => handler.end(call),
            Event::Finish => handler.finish(call),
            Event::Error => {
                let watch = Rc::clone(&around.watch);
                handler.error(move |lp, socket, error| {
                    watch.failed(lp, socket, &error);
                    call(lp, socket);
                })
            }
            Event::Close => handler.close(move |lp, socket, _| call(lp, socket)),
        };
    }
    handler
}
