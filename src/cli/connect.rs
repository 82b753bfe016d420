//! `bucle connect`: a client for a terminal and for pipes.
//!
//! ```text
//!   standard input ── typed lines, or bytes ──▶ socket ──▶ server
//!   standard output ◀── text above the prompt, or bytes ── socket ◀──┘
//! ```
//!
//! * **Typed**: lines go out as they are typed, with the `\n` that the Enter key makes. `exit` or Ctrl-D ends our side of
//!   the conversation, and the client waits for the server to end its own. With both ends on a terminal, the line that is
//!   being typed is ours to edit and to show ([`Screen`]); else, with `--raw` and where `TERM` is `dumb`, it is the
//!   terminal's.
//! * **Piped**: bytes go out as they are; at their end our side ends, and the client waits for the server's end, as
//!   `nc -N` does. It reads no faster than the server takes, so memory stays bounded.
//! * On a terminal, what the server sends is shown as text, with its control bytes escaped; with `--raw`, or anywhere else
//!   than on a terminal, it is written as it is.
//!
//! Editing means that the terminal hands over keys and shows none ([`TerminalKeys`]), which has to be undone whenever
//! somebody else is to have it:
//!
//! The settings come first: that waits for nobody. Writing does, for a terminal that Ctrl-S holds or that nobody reads. So
//! with a prompt nothing is written that is not taken at once ([`TerminalOutput`]): it is kept, the socket and the keyboard
//! are paused, and it is tried again a little later, while signals are heard.
//!
//! | when | what |
//! |---|---|
//! | our side ends, the server ends, anything fails, a panic | restored, for good |
//! | Ctrl-C, `SIGTERM`, `SIGHUP`, Ctrl-\\ | restored, then the end; a second one ends it whatever happens |
//! | Ctrl-Z | restored, then stopped; changed again when the shell lets us go on |
//! | `SIGKILL` | nothing can be done; `stty sane` helps |
//!
//! Whoever is typing when the server vanishes has typed for the server. That is not left to the shell, which would take it
//! for a command; what is typed after `exit` or Ctrl-D is.

use std::cell::{Cell, RefCell};
use std::env;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bucle::net::{Error, Handler, Socket, SocketOptions, Target};
use bucle::process::{self, Input, Signal, Stdin, TerminalKeys, TerminalOutput};
use bucle::{EventLoop, Loop, Result, TimerId};

use super::advice::{self, words_for};
use super::escape::Escaper;
use super::screen::Screen;
use super::target::{Place, port_in};
use super::{KEEP_ALIVE_DELAY, USER_TIMEOUT, complain, complaint, exit_code, machine, stderr};

/// How long the end of a line is waited for before its beginning is shown by itself. Longer than the pieces of one line
/// take one after the other, shorter than a person notices.
const LINE_WAIT: Duration = Duration::from_millis(50);

/// How long, after the server's end, it may take to send it what is left. A server that reads no more never takes it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long after a terminal has taken no more it is tried again. Each time that it takes nothing it is twice as long, up
/// to [`LONGEST_RETRY`]: one that is only slow is not held up, and Ctrl-S over lunch costs nothing.
const RETRY: Duration = Duration::from_millis(1);

const LONGEST_RETRY: Duration = Duration::from_millis(100);

/// The width of a terminal that does not tell its own.
const COLUMNS: usize = 80;

pub(crate) fn run(target: &str, raw: bool) -> ExitCode {
    let place = match Place::parse(target) {
        Ok(place) => place,
        Err(why) => {
            let meant = port_in(target).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
            complain(
                &format!("cannot understand the target '{}': {why}", target.escape_debug()),
                &[format!("bucle connect {meant}")],
            );
            return ExitCode::from(exit_code::USAGE);
        }
    };
    if let Err(status) = machine::check_client() {
        return status;
    }
    let talk = Rc::new(Talk::new(place, raw));
    let result = run_loop(&talk);
    talk.say_what_was_put_off();
    talk.forget_what_is_typed();
    match result {
        Ok(()) => ExitCode::from(talk.status.get()),
        Err(error) if matches!(error.code(), "EMFILE" | "ENFILE") => machine::complain_of_descriptors(&error),
        Err(error) => {
            complain(&format!("the loop cannot go on: {error}"), &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// Connects, and runs the loop to its end. What the log says goes above the prompt, too: before the loop waits, the row
/// that the log has taken is drawn anew.
fn run_loop(talk: &Rc<Talk>) -> Result<()> {
    let mut event_loop = EventLoop::new()?;
    event_loop.enter(|lp| {
        listen_to_signals(lp, talk)?;
        let client = Client { talk: talk.clone(), line_wait: None, state: State::Connecting };
        let options = SocketOptions {
            keep_alive: true,
            keep_alive_initial_delay: KEEP_ALIVE_DELAY,
            user_timeout: USER_TIMEOUT,
            ..SocketOptions::default()
        };
        let socket = Socket::new(lp, options, client);
        talk.socket.set(Some(socket));
        let before_turns = talk.clone();
        lp.on_prepare(move |lp| {
            if stderr::has_taken_row() && before_turns.redraw().is_err() {
                lp.stop();
            }
            before_turns.keep_pace(lp);
            None
        });
        socket.connect_to(lp, talk.target())
    })?;
    event_loop.run()
}

/// With a prompt on the screen, signals have to wait until it is away and the terminal as it was.
fn listen_to_signals(lp: &mut Loop, talk: &Rc<Talk>) -> Result<()> {
    if !talk.has_prompt {
        return process::exit_on(Signal::Interrupt, exit_code::INTERRUPTED.into());
    }
    let ending = talk.clone();
    let ends = [Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::Quit];
    process::on_signal(lp, &ends, move |lp, signal| {
        // What a shell makes of a signal.
        let status = |signal: Signal| 128 + signal.number();
        for again in ends {
            // Where the system refuses it, the second one is as good as the first.
            let _ = process::exit_on(again, status(again));
        }
        ending.status.set(u8::try_from(status(signal)).unwrap_or(exit_code::INTERRUPTED));
        ending.leave_prompt();
        lp.stop();
    })?;
    let talk = talk.clone();
    process::on_signal(lp, &[Signal::Suspend, Signal::Continue, Signal::WindowChange], move |lp, signal| {
        if signal == Signal::Suspend {
            talk.hide_prompt();
            process::stop();
        }
        if talk.show_prompt().is_err() {
            lp.stop();
        }
    })?;
    Ok(())
}

/// Nobody reads our output any more, or it cannot be written; that has been said where it is worth saying.
struct OutputFailed;

/// How what the server sends is shown.
enum Output {
    /// As it comes.
    Bytes,
    /// As text, where the cursor is.
    Text(Escaper),
    /// As text, above the line that is being typed.
    Prompt(Escaper, Screen),
}

/// What both directions share.
struct Talk {
    place: Place,
    /// A person types: `exit` is a command, and what happens is said.
    is_typed: bool,
    has_prompt: bool,
    output: RefCell<Output>,
    /// Where that is written if there is a prompt.
    terminal: Option<TerminalOutput>,
    /// What the terminal has not taken yet. What makes it longer is paused meanwhile: it has some hundred kilobytes at
    /// most, of one chunk whose bytes are all escaped.
    waiting: RefCell<Vec<u8>>,
    /// What is said on standard error when the terminal has taken that: the end of a conversation comes after it.
    said_later: RefCell<String>,
    /// Nothing can be written any more.
    has_failed: Cell<bool>,
    /// The row with the prompt is drawn anew when the terminal has taken all.
    is_redraw_due: Cell<bool>,
    /// The socket and the keyboard are paused until then.
    is_held: Cell<bool>,
    /// The conversation is over, and only the terminal has to take the rest.
    is_over: Cell<bool>,
    socket: Cell<Option<Socket>>,
    /// There once we are connected: what is typed before belongs to the shell if there is no connection.
    stdin: Cell<Option<Stdin>>,
    /// The terminal, while there is a prompt on it.
    keys: RefCell<Option<TerminalKeys>>,
    /// There is, or was, somebody to type for.
    has_connected: Cell<bool>,
    /// Our side has ended, or will when all is sent.
    has_ended: Cell<bool>,
    /// How the process will end.
    status: Cell<u8>,
}

impl Talk {
    fn new(place: Place, raw: bool) -> Self {
        let is_typed = io::stdin().is_terminal();
        let is_shown = io::stdout().is_terminal() && !raw;
        let has_prompt = is_typed && is_shown && env::var_os("TERM").is_some_and(|term| term != "dumb");
        let output = match (is_shown, has_prompt) {
            (_, true) => Output::Prompt(Escaper::default(), Screen::default()),
            (true, false) => Output::Text(Escaper::default()),
            (false, false) => Output::Bytes,
        };
        let output = RefCell::new(output);
        Talk {
            place,
            is_typed,
            has_prompt,
            output,
            terminal: if has_prompt { TerminalOutput::new(&io::stdout()).ok() } else { None },
            waiting: RefCell::default(),
            said_later: RefCell::default(),
            has_failed: Cell::new(false),
            is_redraw_due: Cell::new(false),
            is_held: Cell::new(false),
            is_over: Cell::new(false),
            socket: Cell::new(None),
            stdin: Cell::new(None),
            keys: RefCell::default(),
            has_connected: Cell::new(false),
            has_ended: Cell::new(false),
            status: Cell::new(0),
        }
    }

    fn target(&self) -> Target {
        match &self.place {
            Place::Tcp(host, port) => Target::from((host.as_str(), *port)),
            Place::Unix(path) => Target::path(path),
        }
    }

    /// Shows what the server sent.
    fn show(&self, chunk: &[u8]) -> Result<(), OutputFailed> {
        let text = match &mut *self.output.borrow_mut() {
            Output::Bytes => None,
            Output::Text(escaper) => Some(escaper.escape(chunk)),
            Output::Prompt(escaper, screen) => Some(screen.show(&escaper.escape(chunk), columns())),
        };
        self.write(text.as_ref().map_or(chunk, String::as_bytes))
    }

    /// Shows the beginning of a line that was held back in the hope of its end.
    fn show_unfinished(&self) -> Result<(), OutputFailed> {
        self.change_screen(|screen| screen.settle(columns()))
    }

    fn is_line_unfinished(&self) -> bool {
        matches!(&*self.output.borrow(), Output::Prompt(_, screen) if screen.is_waiting())
    }

    /// From here on keys are ours, and the prompt is on the screen.
    fn prompt(&self) -> Result<()> {
        if self.has_prompt {
            *self.keys.borrow_mut() = Some(TerminalKeys::start()?);
            // Who cannot write notices when the server says something.
            let _ = self.change_screen(|screen| screen.prompt(columns()));
            stderr::set_prompt(true);
        }
        Ok(())
    }

    /// The prompt as it was, on a terminal that may have been somebody else's meanwhile.
    fn show_prompt(&self) -> Result<(), OutputFailed> {
        if let Some(keys) = &mut *self.keys.borrow_mut()
            && let Err(error) = keys.resume()
        {
            log::debug!(target: "bucle::connect", "the terminal is gone: {error}");
        }
        self.redraw()
    }

    fn redraw(&self) -> Result<(), OutputFailed> {
        if self.is_behind() {
            self.is_redraw_due.set(true);
            return Ok(());
        }
        self.change_screen(|screen| screen.redraw(columns()))
    }

    /// The terminal is somebody else's for a while.
    fn hide_prompt(&self) {
        if let Some(keys) = &mut *self.keys.borrow_mut() {
            keys.leave();
        }
        if !self.is_behind() {
            let _ = self.change_screen(|screen| screen.hide().to_owned());
        }
    }

    /// No more is typed. If the prompt cannot be taken away, there is none.
    fn leave_prompt(&self) {
        stderr::set_prompt(false);
        self.keys.take();
        let _ = self.change_screen(Screen::leave);
    }

    /// What was typed for the server is not for the shell. It is what the person said last that counts.
    fn forget_what_is_typed(&self) {
        if self.is_typed && self.has_connected.get() && !self.has_ended.get() {
            process::discard_typed();
        }
    }

    fn change_screen(&self, change: impl FnOnce(&mut Screen) -> String) -> Result<(), OutputFailed> {
        let shown = match &mut *self.output.borrow_mut() {
            Output::Prompt(_, screen) => change(screen),
            _ => return Ok(()),
        };
        self.write(shown.as_bytes())
    }

    /// The server says no more.
    fn finish_output(&self) {
        let rest = match &mut *self.output.borrow_mut() {
            Output::Bytes => String::new(),
            Output::Text(escaper) => escaper.finish(),
            Output::Prompt(escaper, screen) => screen.show(&escaper.finish(), columns()),
        };
        let _ = self.write(rest.as_bytes());
        self.leave_prompt();
    }

    /// A reader that has had enough is no failure, and nothing to talk about.
    fn write(&self, bytes: &[u8]) -> Result<(), OutputFailed> {
        if self.has_failed.get() {
            return Err(OutputFailed);
        }
        let result = match &self.terminal {
            Some(terminal) => {
                self.waiting.borrow_mut().extend_from_slice(bytes);
                self.write_waiting(terminal)
            }
            None => process::write_stdout(bytes),
        };
        result.map_err(|error| {
            self.has_failed.set(true);
            self.waiting.take();
            if error.code() != "EPIPE" {
                self.fail(&format!("cannot write to standard output: {}", words_for(&error)));
            }
            OutputFailed
        })
    }

    fn write_waiting(&self, terminal: &TerminalOutput) -> Result<()> {
        let mut waiting = self.waiting.borrow_mut();
        let len = terminal.write(&waiting)?;
        waiting.drain(..len);
        Ok(())
    }

    /// The terminal has not taken all that there is for it.
    fn is_behind(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Nobody says more than the terminal takes: while it takes nothing, neither the server nor the keyboard is read.
    fn keep_pace(self: &Rc<Self>, lp: &mut Loop) {
        if !self.is_behind() || self.is_held.replace(true) {
            return;
        }
        if let Some(socket) = self.socket.get() {
            socket.pause(lp);
        }
        if let Some(stdin) = self.stdin.get() {
            stdin.pause(lp);
        }
        self.try_again_in(RETRY, lp);
    }

    fn try_again_in(self: &Rc<Self>, wait: Duration, lp: &mut Loop) {
        let (talk, before) = (self.clone(), self.waiting.borrow().len());
        lp.set_timeout(wait, move |lp| {
            let result = talk.write(b"");
            let left = talk.waiting.borrow().len();
            if left == 0 {
                return talk.go_on(lp, result);
            }
            talk.try_again_in(if left < before { RETRY } else { LONGEST_RETRY.min(wait * 2) }, lp);
        });
    }

    /// Nothing waits for the terminal any more, be it that it has taken all or that it cannot be written.
    fn go_on(&self, lp: &mut Loop, result: Result<(), OutputFailed>) {
        self.is_held.set(false);
        self.say_what_was_put_off();
        if self.is_over.get() {
            return lp.stop();
        }
        let result = if self.is_redraw_due.take() { result.and_then(|()| self.redraw()) } else { result };
        let Some(socket) = self.socket.get() else { return };
        if result.is_err() {
            return socket.destroy(lp);
        }
        socket.resume(lp);
        if !socket.needs_drain(lp) {
            self.read_on(lp);
        }
    }

    /// Reads on what is typed or piped, if there is anybody to take it.
    fn read_on(&self, lp: &mut Loop) {
        if let Some(stdin) = self.stdin.get()
            && !self.has_ended.get()
            && !self.is_held.get()
        {
            stdin.resume(lp);
        }
    }

    fn leave_stdin(&self, lp: &mut Loop) {
        if let Some(stdin) = self.stdin.take() {
            stdin.close(lp);
        }
    }

    /// The end, as soon as the terminal has taken all that was said.
    fn finish(self: &Rc<Self>, lp: &mut Loop) {
        self.is_over.set(true);
        if self.is_behind() {
            return self.keep_pace(lp);
        }
        lp.stop();
    }

    fn fail(&self, what: &str) {
        self.status.set(exit_code::FAILURE);
        self.leave_prompt();
        self.say(&complaint(what, &[]));
    }

    /// Says what happens to the person who types; programs are not interested.
    fn tell(&self, what: &str) {
        if self.is_typed {
            self.say(&format!("{what}\n"));
        }
    }

    fn say(&self, text: &str) {
        if self.is_behind() {
            return self.said_later.borrow_mut().push_str(text);
        }
        stderr::say(text.as_bytes());
    }

    fn say_what_was_put_off(&self) {
        stderr::say(self.said_later.take().as_bytes());
    }

    /// Sends what was typed or piped, and reads on when the server takes more.
    fn send(&self, lp: &mut Loop, socket: Socket, stdin: Stdin, chunk: &[u8]) {
        let takes_more = match (self.has_prompt, self.is_typed) {
            (true, _) => self.send_keys(lp, socket, chunk),
            (false, true) => self.send_lines(lp, socket, chunk),
            (false, false) => socket.write(lp, chunk),
        };
        if !takes_more {
            stdin.pause(lp);
        }
    }

    /// Keys, of which lines are made here.
    fn send_keys(&self, lp: &mut Loop, socket: Socket, chunk: &[u8]) -> bool {
        let (mut takes_more, mut ends) = (true, false);
        let shown = self.change_screen(|screen| {
            screen.type_in(chunk, columns(), |line| match line.filter(|line| !is_exit(line.as_bytes())) {
                Some(line) => {
                    takes_more = socket.write(lp, format!("{line}\n"));
                    ControlFlow::Continue(())
                }
                None => {
                    ends = true;
                    ControlFlow::Break(())
                }
            })
        });
        if ends {
            self.end(lp, socket);
        }
        if shown.is_err() {
            socket.destroy(lp);
        }
        takes_more && !ends
    }

    /// A terminal gives one line per read, unless it was told otherwise.
    fn send_lines(&self, lp: &mut Loop, socket: Socket, chunk: &[u8]) -> bool {
        let mut takes_more = true;
        for line in chunk.split_inclusive(|&byte| byte == b'\n') {
            if is_exit(line) {
                self.end(lp, socket);
                return false;
            }
            takes_more = socket.write(lp, line);
        }
        takes_more
    }

    /// Ends our side of the conversation.
    fn end(&self, lp: &mut Loop, socket: Socket) {
        self.has_ended.set(true);
        self.leave_prompt();
        socket.end(lp);
    }
}

/// Answers the server.
struct Client {
    talk: Rc<Talk>,
    line_wait: Option<TimerId>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Connected,
    /// The server has ended. `true`: when it did, it had not taken all that we had for it.
    Ended(bool),
}

impl Client {
    fn read_stdin(&self, lp: &mut Loop, socket: Socket) -> Result<()> {
        let talk = self.talk.clone();
        let stdin = process::stdin(lp, move |lp, stdin, input| match input {
            Input::Data(chunk) => talk.send(lp, socket, stdin, chunk),
            Input::End => talk.end(lp, socket),
            Input::Failed(error) => {
                talk.fail(&format!("cannot read standard input: {}", words_for(&error)));
                talk.end(lp, socket);
            }
            _ => {}
        })?;
        self.talk.stdin.set(Some(stdin));
        Ok(())
    }

    /// Each piece of a line starts the wait for its end anew.
    fn wait_for_line(&mut self, lp: &mut Loop, socket: Socket) {
        match self.line_wait {
            Some(timer) => drop(lp.refresh(timer)),
            None => {
                let talk = self.talk.clone();
                self.line_wait = Some(lp.set_timer(LINE_WAIT, move |lp| {
                    if talk.show_unfinished().is_err() {
                        socket.destroy(lp);
                    }
                }));
            }
        }
    }
}

impl Handler for Client {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.state = State::Connected;
        self.talk.has_connected.set(true);
        self.talk.tell(&format!("connected to {}; exit or Ctrl-D ends it", self.talk.place));
        if let Err(error) = self.talk.prompt().and_then(|()| self.read_stdin(lp, socket)) {
            self.talk.fail(&format!("cannot read standard input: {error}"));
            socket.destroy(lp);
        }
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if self.talk.show(chunk).is_err() {
            return socket.destroy(lp);
        }
        if self.talk.is_line_unfinished() {
            self.wait_for_line(lp, socket);
        }
        self.talk.keep_pace(lp);
    }

    fn on_drain(&mut self, lp: &mut Loop, _: Socket) {
        self.talk.read_on(lp);
    }

    /// The socket answers with its own end by itself, and closes when everything is sent.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.state = State::Ended(socket.writable_length(lp) > 0);
        self.talk.leave_stdin(lp);
        self.talk.finish_output();
        if !self.talk.has_ended.get() {
            self.talk.tell("the server closed the connection");
        }
        lp.set_timeout(LAST_WORDS, move |lp| {
            socket.destroy_with(lp, Error::custom("ETIMEDOUT", "the server takes no more"));
        });
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        let place = &self.talk.place;
        self.talk.finish_output();
        match self.state {
            State::Connecting => {
                let (what, tries) = advice::cannot_connect(place, &error);
                complain(&what, &tries);
                self.talk.status.set(exit_code::NO_CONNECTION);
            }
            State::Connected => {
                self.talk.fail(&format!("the connection to {place} broke off: {}", words_for(&error)));
            }
            State::Ended(true) => {
                self.talk.fail(&format!("{place} closed the connection before it had taken all of the input"));
            }
            // Everything was sent and everything received.
            State::Ended(false) => {}
        }
    }

    fn on_close(&mut self, lp: &mut Loop, _: Socket, _: bool) {
        self.talk.leave_stdin(lp);
        self.talk.finish_output();
        self.talk.finish(lp);
    }
}

/// What a person types to end it.
fn is_exit(line: &[u8]) -> bool {
    line.trim_ascii() == b"exit"
}

fn columns() -> usize {
    process::columns().unwrap_or(COLUMNS)
}
