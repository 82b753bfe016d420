//! `bucle connect`: a client for a terminal and for pipes.
//!
//! ```text
//!   standard input ── typed lines, or bytes ──▶ socket ──▶ server
//!   standard output ◀── text above the prompt, or bytes ── socket ◀──┘
//! ```
//!
//! * **Typed input**: each line is sent when Enter is pressed, with its `\n`. `exit` or Ctrl-D ends our side of the
//!   connection, and the client waits until the server ends its side. If standard input and output are both a terminal,
//!   the client edits and draws the line that is being typed ([`Display`]). With `--raw`, or where `TERM` is `dumb`,
//!   the terminal does that.
//! * **Piped input**: bytes are sent unchanged. At their end the client ends its side and waits until the server ends
//!   its side, like `nc -N`. The client reads its input no faster than the server reads, so memory stays bounded. A
//!   server may end its side first and go on reading: the client sends all of its input. Input that cannot be delivered
//!   is an error.
//! * **Output** on a terminal is text, with control bytes escaped. With `--raw`, or if standard output is not a
//!   terminal, the server's bytes are written unchanged.
//!
//! A user who is typing when the server closes the connection has typed for the server. The client discards that input,
//! or the shell would take it for a command. Input that is typed after `exit` or Ctrl-D is for the shell, and is kept.

mod display;
mod session;
mod tcp;

use std::process::ExitCode;

use bucle::net::{Shared, Socket};
use bucle::process::{self, Signal};
use bucle::{EventLoop, Loop, Result};

use super::stderr::print_error;
use super::target::{Address, port_in};
use super::{exit_code, machine};
use session::{Connection, Session};
use tcp::Tcp;

pub(crate) fn run(target: &str, raw: bool) -> ExitCode {
    let address = match Address::parse(target) {
        Ok(address) => address,
        Err(why) => {
            let meant = port_in(target).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
            print_error(
                &format!("cannot understand the target '{}': {why}", target.escape_debug()),
                &[format!("bucle connect {meant}")],
            );
            return ExitCode::from(exit_code::USAGE);
        }
    };
    if let Err(status) = machine::check_client() {
        return status;
    }
    match run_loop(Session::<Socket>::new(Tcp::new(address), raw), tcp::open) {
        Ok(exit_code) => ExitCode::from(exit_code),
        Err(error) if matches!(error.code(), "EMFILE" | "ENFILE") => machine::report_open_files(&error),
        Err(error) => {
            print_error(&format!("the loop cannot go on: {error}"), &[]);
            ExitCode::from(exit_code::FAILURE)
        }
    }
}

/// Connects, runs the loop to its end, and returns the exit code.
fn run_loop<C: Connection>(
    session: Session<C>,
    open: impl FnOnce(&mut Loop, Shared<Session<C>>) -> Result<()>,
) -> Result<u8> {
    let mut event_loop = EventLoop::new()?;
    let has_prompt = session.display.has_prompt();
    let session = event_loop.enter(|lp| Shared::new(lp, session));
    let result = event_loop.enter(|lp| {
        observe(lp, session, has_prompt)?;
        open(lp, session)
    });
    let result = result.and_then(|()| event_loop.run());
    let exit_code = event_loop.enter(|lp| session.with(lp, |session, _| session.finish()));
    // `with` returns `None` only inside a callback of the session, and none is running here.
    result.map(|()| exit_code.unwrap_or(exit_code::FAILURE))
}

/// Handles signals, and draws the prompt again when a line of the log has replaced it.
fn observe<C: Connection>(lp: &mut Loop, session: Shared<Session<C>>, has_prompt: bool) -> Result<()> {
    listen_to_signals(lp, session, has_prompt)?;
    lp.on_prepare(move |lp| {
        session.with(lp, |session, lp| session.before_turn(lp));
        None
    });
    session.with(lp, |it, _| it.handle = Some(session));
    Ok(())
}

/// Without a prompt SIGINT simply ends the process. With a prompt the terminal's settings are restored first.
fn listen_to_signals<C: Connection>(lp: &mut Loop, session: Shared<Session<C>>, has_prompt: bool) -> Result<()> {
    if !has_prompt {
        return process::exit_on(Signal::Interrupt, exit_code::INTERRUPTED.into());
    }
    let ends = [Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::Quit];
    process::on_signal(lp, &ends, move |lp, signal| {
        // The status that a shell reports for a process that a signal has ended.
        let status = |signal: Signal| 128 + signal.number();
        for second in ends {
            // If the system refuses this, this handler gets the second signal too.
            let _ = process::exit_on(second, status(second));
        }
        session.with(lp, |session, _| {
            session.display.exit_code = u8::try_from(status(signal)).unwrap_or(exit_code::INTERRUPTED);
            session.display.leave_prompt();
        });
        lp.stop();
    })?;
    process::on_signal(lp, &[Signal::Suspend, Signal::Continue, Signal::WindowChange], move |lp, signal| {
        session.with(lp, |session, lp| {
            if signal == Signal::Suspend {
                session.display.hide_prompt();
                // Returns when the shell continues the process.
                process::stop();
            }
            if session.display.restore_prompt().is_err() {
                lp.stop();
            }
        });
    })?;
    Ok(())
}
