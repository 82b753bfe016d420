//! Signals and standard input as events of the loop.
//!
//! Both belong to a whole process, so every scenario runs in a child process. The child is this test program again;
//! an environment variable tells it which [`scenario`] to run. It reports line by line on its standard error.
#![cfg(all(unix, feature = "process"))]

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;
use std::{env, process};

use bucle::process::{Input, Signal, SignalId, TerminalKeys, discard_typed, exit_on, ignore, notice, on_signal, stdin};
use bucle::{EventLoop, Loop};

const SCENARIO: &str = "BUCLE_TEST_SCENARIO";

/// The child's part of this file. Run as a test it does nothing.
#[test]
fn scenario() -> bucle::Result<()> {
    let Ok(name) = env::var(SCENARIO) else { return Ok(()) };
    match name.as_str() {
        "order" => bucle::run(|lp| {
            stay(lp);
            on_signal(lp, &[Signal::Terminate, Signal::User1], |lp, signal| {
                lp.next_tick(|_| print("tick"));
                lp.set_immediate(|_| print("immediate"));
                print(signal.name());
            })?;
            print("ready");
            Ok(())
        })?,
        "removed" => bucle::run(|lp| {
            stay(lp);
            let first = on_signal(lp, &[Signal::Interrupt], |_, _| print("first"))?;
            on_signal(lp, &[Signal::Interrupt], move |lp, _| {
                print("second");
                first.remove(lp);
            })?;
            print("ready");
            Ok(())
        })?,
        "default again" => bucle::run(|lp| {
            stay(lp);
            let own = Rc::new(Cell::new(None::<SignalId>));
            let id = own.clone();
            own.set(Some(on_signal(lp, &[Signal::Interrupt], move |lp, signal| {
                print(signal.name());
                id.take().expect("it is called once").remove(lp);
                lp.set_immediate(|_| print("removed"));
            })?));
            print("ready");
            Ok(())
        })?,
        "noticed" => {
            let (mut outer, mut inner) = (EventLoop::new()?, EventLoop::new()?);
            // A turn may end without an event, because the signal has interrupted its wait.
            let turn_until = |event_loop: &mut EventLoop, is_over: &dyn Fn() -> bool| -> bucle::Result<()> {
                while !is_over() {
                    event_loop.turn(None)?;
                }
                Ok(())
            };
            let (noticed, received) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let count = noticed.clone();
            let see = move |_: &mut Loop, signal: Signal| {
                print(&format!("noticed {signal}"));
                count.set(count.get() + 1);
            };
            inner.enter(|lp| notice(lp, &[Signal::Interrupt], see))?;
            inner.run()?;
            print("it keeps nothing alive");
            let count = received.clone();
            let id = outer.enter(|lp| {
                on_signal(lp, &[Signal::Interrupt], move |_, signal| {
                    print(signal.name());
                    count.set(count.get() + 1);
                })
            })?;
            outer.enter(stay);
            inner.enter(stay);
            print("ready");
            turn_until(&mut outer, &|| received.get() == 1)?;
            turn_until(&mut inner, &|| noticed.get() == 1)?;
            outer.enter(|lp| id.remove(lp));
            print("removed");
            // The next signal ends the process here.
            turn_until(&mut inner, &|| noticed.get() == 2)?;
        }
        "ignored" => bucle::run(|lp| {
            stay(lp);
            ignore(Signal::Hangup)?;
            on_signal(lp, &[Signal::Terminate], |lp, signal| {
                print(signal.name());
                lp.stop();
            })?;
            print("ready");
            Ok(())
        })?,
        "suspended" => bucle::run(|lp| {
            stay(lp);
            on_signal(lp, &[Signal::Suspend, Signal::Continue], |lp, signal| {
                print(signal.name());
                if signal == Signal::Continue {
                    lp.stop();
                }
            })?;
            print("ready");
            Ok(())
        })?,
        "no terminal" => {
            discard_typed();
            print(TerminalKeys::start().expect_err("there is none").code());
        }
        "stuck" => bucle::run(|_| {
            exit_on(Signal::Interrupt, 130)?;
            print("ready");
            loop {
                std::thread::park();
            }
        })?,
        "does not keep alive" => {
            bucle::run(|lp| on_signal(lp, &[Signal::Interrupt], |_, _| {}).map(drop))?;
            print("over");
        }
        "kept alive" => bucle::run(|lp| {
            let id = on_signal(lp, &[Signal::User2], |lp, signal| {
                print(signal.name());
                lp.stop();
            })?;
            id.ref_(lp);
            print("ready");
            Ok(())
        })?,
        "panics" => {
            std::panic::set_hook(Box::new(|_| {}));
            let mut event_loop = EventLoop::new()?;
            event_loop.catch_panics(true);
            event_loop.enter(|lp| {
                stay(lp);
                on_signal(lp, &[Signal::User1], |_, _| panic!("on purpose"))?;
                on_signal(lp, &[Signal::User1], |_, _| print("the other is called"))?;
                print("ready");
                Ok::<_, bucle::Error>(())
            })?;
            event_loop.run()?;
        }
        "count" => bucle::run(|lp| {
            let (mut bytes, mut sum) = (0u64, 0u64);
            stdin(lp, move |_, _, input| match input {
                Input::Data(chunk) => {
                    bytes += chunk.len() as u64;
                    sum = chunk.iter().fold(sum, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
                }
                Input::End => print(&format!("{bytes} bytes, sum {sum}")),
                Input::Failed(error) => print(&error.to_string()),
                _ => {}
            })
            .map(drop)
        })?,
        "chunks" => bucle::run(|lp| {
            stdin(lp, |lp, _, input| {
                print(&format!("{input:?}"));
                lp.next_tick(|_| print("tick"));
            })
            .map(drop)
        })?,
        "paused" => bucle::run(|lp| {
            stay(lp);
            let input = stdin(lp, move |lp, stdin, input| match input {
                Input::Data(b"pause") => {
                    stdin.pause(lp);
                    print("paused");
                }
                input => print(&format!("{input:?}")),
            })?;
            on_signal(lp, &[Signal::User1], move |lp, _| input.resume(lp)).map(drop)
        })?,
        "paused at once" => {
            bucle::run(|lp| {
                let input = stdin(lp, |_, _, _| print("unexpected"))?;
                input.pause(lp);
                Ok(())
            })?;
            print("over");
        }
        "unreferenced" => {
            bucle::run(|lp| {
                stdin(lp, |_, _, input| print(&format!("{input:?}")))?.unref(lp);
                Ok(())
            })?;
            print("over");
        }
        "closed" => {
            bucle::run(|lp| {
                stdin(lp, |lp, stdin, input| {
                    print(&format!("{input:?}"));
                    stdin.close(lp);
                    stdin.resume(lp);
                })
                .map(drop)
            })?;
            print("over");
        }
        other => panic!("no scenario {other}"),
    }
    // Skip the output of the child's own test runner.
    process::exit(0)
}

/// Keeps the loop of a child alive until its parent ends it.
fn stay(lp: &mut Loop) {
    lp.set_interval(Duration::from_secs(3600), |_| {});
}

fn print(line: &str) {
    // Unlike `eprintln!` this is not captured by the test runner, and one line is one write.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// A child that runs a scenario. Dropping it kills it.
struct Player {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Player {
    fn start(scenario: &str, stdin: Stdio) -> Player {
        let mut child = Command::new(env::current_exe().expect("the test knows itself"))
            .args(["--exact", "scenario", "--nocapture"])
            .env(SCENARIO, scenario)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test program starts");
        let lines = BufReader::new(child.stderr.take().expect("it is piped"));
        Player { child, lines }
    }

    /// Waits for the next lines of the child, and compares them.
    fn expect_lines(&mut self, want: &[&str]) {
        for want in want {
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("the child prints text");
            assert_eq!(line.trim_end(), *want);
        }
    }

    /// Writes to the child's standard input, which is a pipe.
    fn type_in(&mut self, text: &str) {
        let pipe = self.child.stdin.as_mut().expect("it is piped and open");
        pipe.write_all(text.as_bytes()).expect("the child reads or the pipe has room");
    }

    fn send(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {signal}");
    }

    /// Waits for the end of the child, and checks that it printed nothing more.
    fn wait_for_end(&mut self) -> ExitStatus {
        self.expect_lines(&[""]);
        self.child.wait().expect("it is our child")
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn play(scenario: &str) -> Player {
    Player::start(scenario, Stdio::null())
}

#[test]
fn a_signal_is_a_callback_with_a_boundary() {
    let mut player = play("order");
    player.expect_lines(&["ready"]);
    for signal in ["TERM", "USR1", "TERM"] {
        player.send(signal);
        player.expect_lines(&[&format!("SIG{signal}"), "tick", "immediate"]);
    }
}

#[test]
fn a_removed_listener_is_not_called() {
    let mut player = play("removed");
    player.expect_lines(&["ready"]);
    player.send("INT");
    player.expect_lines(&["first", "second"]);
    player.send("INT");
    player.expect_lines(&["second"]);
}

#[test]
fn without_listeners_the_default_action_is_back() {
    let mut player = play("default again");
    player.expect_lines(&["ready"]);
    player.send("INT");
    player.expect_lines(&["SIGINT", "removed"]);
    player.send("INT");
    assert_eq!(player.wait_for_end().signal(), Some(Signal::Interrupt.number()));
}

#[test]
fn a_signal_that_is_only_noticed_still_ends_the_process() {
    let mut player = play("noticed");
    player.expect_lines(&["it keeps nothing alive", "ready"]);
    player.send("INT");
    player.expect_lines(&["SIGINT", "noticed SIGINT", "removed"]);
    player.send("INT");
    assert_eq!(player.wait_for_end().signal(), Some(Signal::Interrupt.number()));
}

#[test]
fn an_ignored_signal_does_nothing() {
    let mut player = play("ignored");
    player.expect_lines(&["ready"]);
    player.send("HUP");
    player.send("TERM");
    player.expect_lines(&["SIGTERM"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

/// What the listener does is up to the program: `tests/connect/editing.rs` has one that stops when it is ready.
#[test]
fn a_process_with_a_listener_for_ctrl_z_is_not_stopped() {
    let mut player = play("suspended");
    player.expect_lines(&["ready"]);
    player.send("TSTP");
    player.expect_lines(&["SIGTSTP"]);
    player.send("CONT");
    player.expect_lines(&["SIGCONT"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

#[test]
fn keys_need_a_terminal() {
    let mut player = play("no terminal");
    player.expect_lines(&["ENOTTY"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

#[test]
fn exit_on_ends_a_loop_that_is_stuck() {
    let mut player = play("stuck");
    player.expect_lines(&["ready"]);
    player.send("INT");
    assert_eq!(player.wait_for_end().code(), Some(130));
}

#[test]
fn a_listener_does_not_keep_the_loop_alive() {
    let mut player = play("does not keep alive");
    player.expect_lines(&["over"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

#[test]
fn a_referenced_listener_keeps_the_loop_alive() {
    let mut player = play("kept alive");
    player.expect_lines(&["ready"]);
    player.send("USR2");
    player.expect_lines(&["SIGUSR2"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

#[test]
fn only_the_listener_that_panics_is_dropped() {
    let mut player = play("panics");
    player.expect_lines(&["ready"]);
    player.send("USR1");
    player.expect_lines(&["the other is called"]);
    player.send("USR1");
    player.expect_lines(&["the other is called"]);
}

/// The line that the child prints for `bytes` in the scenario "count".
fn count(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{} bytes, sum {sum}", bytes.len())
}

fn some_bytes() -> Vec<u8> {
    (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn stdin_from_a_pipe() {
    let bytes = some_bytes();
    let mut player = Player::start("count", Stdio::piped());
    let mut pipe = player.child.stdin.take().expect("it is piped");
    pipe.write_all(&bytes).expect("the child reads");
    drop(pipe);
    player.expect_lines(&[&count(&bytes)]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

#[test]
fn stdin_from_a_file() -> std::io::Result<()> {
    let bytes = some_bytes();
    let path = env::temp_dir().join(format!("bucle-stdin-{}", process::id()));
    std::fs::write(&path, &bytes)?;
    let file = File::open(&path)?;
    std::fs::remove_file(&path)?;
    let mut player = Player::start("count", file.into());
    player.expect_lines(&[&count(&bytes)]);
    assert_eq!(player.wait_for_end().code(), Some(0));
    Ok(())
}

#[test]
fn stdin_from_nothing() {
    let mut player = Player::start("count", Stdio::null());
    player.expect_lines(&[&count(b"")]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

/// Another program may have made standard input non-blocking, be it a pipe, a socket or a terminal.
#[test]
fn stdin_from_a_socket_that_does_not_block() -> std::io::Result<()> {
    let bytes = some_bytes();
    let (mut ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let mut player = Player::start("count", OwnedFd::from(theirs).into());
    ours.write_all(&bytes)?;
    drop(ours);
    player.expect_lines(&[&count(&bytes)]);
    assert_eq!(player.wait_for_end().code(), Some(0));
    Ok(())
}

#[test]
fn stdin_that_cannot_be_read() -> std::io::Result<()> {
    let mut player = Player::start("count", File::open("/")?.into());
    player.expect_lines(&["read EISDIR"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
    Ok(())
}

#[test]
fn a_chunk_is_a_callback_with_a_boundary() {
    let mut player = Player::start("chunks", Stdio::piped());
    for text in ["uno", "dos"] {
        player.type_in(text);
        player.expect_lines(&[&format!("Data({:?})", text.as_bytes()), "tick"]);
    }
    player.child.stdin.take();
    player.expect_lines(&["End", "tick"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

#[test]
fn a_paused_stdin_waits_for_resume() {
    let mut player = Player::start("paused", Stdio::piped());
    player.type_in("pause");
    player.expect_lines(&["paused"]);
    player.type_in("more");
    player.send("USR1");
    player.expect_lines(&[&format!("Data({:?})", b"more")]);
    player.type_in("pause");
    player.expect_lines(&["paused"]);
    player.child.stdin.take();
    player.send("USR1");
    player.expect_lines(&["End"]);
}

/// A paused input is not read either, so the bytes stay for the next reader.
#[test]
fn a_paused_stdin_does_not_keep_the_loop_alive() -> std::io::Result<()> {
    let (mut ours, mut theirs) = UnixStream::pair()?;
    ours.write_all(b"hola")?;
    let mut player = Player::start("paused at once", OwnedFd::from(theirs.try_clone()?).into());
    player.expect_lines(&["over"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
    let mut left = [0; 4];
    theirs.read_exact(&mut left)?;
    assert_eq!(&left, b"hola");
    Ok(())
}

/// The pipe stays open and silent. Neither the loop nor the process waits for the thread in its read.
#[test]
fn an_unreferenced_stdin_does_not_keep_the_loop_alive() {
    let mut player = Player::start("unreferenced", Stdio::piped());
    player.expect_lines(&["over"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}

#[test]
fn a_closed_stdin_gives_no_more_events() {
    let mut player = Player::start("closed", Stdio::piped());
    player.type_in("a");
    player.expect_lines(&["Data([97])", "over"]);
    assert_eq!(player.wait_for_end().code(), Some(0));
}
