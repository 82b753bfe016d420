//! Options that are wrong only together: what clap cannot check.

use bucle::websocket::frame::Opcode;

use super::{Length, Load, Model, Procs, Protocol, Sources};
use crate::cli::load::check::{Expect, Fanout};
use crate::cli::load::schedule::Schedule;
use crate::cli::target::Address;
use crate::cli::usage::Usage;

/// Checks all options.
pub(super) fn check(load: &Load) -> Result<(), Usage> {
    if let (Model::Open { rate }, Length::For(time)) = (&load.model, load.length)
        && let due = Schedule::first_from(*rate, load.warmup)
        && due >= load.warmup.as_nanos() + time.as_nanos()
    {
        let seconds = 2u64.div_ceil(*rate).max(1);
        let why = format!("at {rate} a second no message is due in the steady phase");
        return Err(Usage::new(why, format!("bucle load … -r {rate} -d {seconds}s --warmup 0")));
    }
    if matches!((&load.place, &load.sources), (Address::Unix(_), Sources::These(_))) {
        let why = "--source is for TCP: a unix socket has no source address";
        return Err(Usage::new(why, format!("bucle load {}      without --source", load.place)));
    }
    check_conditions(load)?;
    check_fanout(load)?;
    check_protocol(load)
}

/// Refuses conditions of `--fail-if` about something that the run does not measure.
fn check_conditions(load: &Load) -> Result<(), Usage> {
    if matches!(load.model, Model::Hold)
        && let Some(condition) = load.fail_if.iter().find(|condition| condition.needs_messages())
    {
        let why = format!("--fail-if '{}' is about messages, and --hold sends none", condition.text);
        return Err(Usage::new(why, "bucle load … --hold --fail-if 'errors>0'"));
    }
    if !load.is_checked()
        && let Some(condition) = load.fail_if.iter().find(|condition| condition.needs_replies())
    {
        let why = format!("--fail-if '{}' is about replies, which --expect none does not check", condition.text);
        return Err(Usage::new(why, "bucle load … --expect none --fail-if 'rate<10k'")
            .or(format!("bucle load … --fail-if '{}'      without --expect none", condition.text)));
    }
    Ok(())
}

fn check_fanout(load: &Load) -> Result<(), Usage> {
    let Expect::Fanout(kind) = load.expect else { return Ok(()) };
    let name = load.expect.name();
    let without = |option: &str| format!("bucle load … --expect {name}      without {option}");
    if load.protocol.socket_io().is_some() {
        let why = "--expect fanout: over Socket.IO only acknowledgements are checked";
        return Err(Usage::new(why, "bucle load sio://HOST:PORT/ --expect echo"));
    }
    if kind == Fanout::Others && load.connections < 2 {
        let why = "--expect fanout:others needs at least two connections";
        return Err(Usage::new(why, "bucle load … --expect fanout:others -c 2"));
    }
    if matches!(load.model, Model::Churn) {
        let why = "--churn closes each connection before a fan-out can reach it";
        return Err(Usage::new(why, without("--churn")).or("bucle load … --churn --expect echo"));
    }
    if load.procs != Procs::Count(1) && load.worker.is_none() {
        let why = "--procs: a fan-out is checked in one process, which needs all connections";
        return Err(Usage::new(why, without("--procs")));
    }
    if load.reconnect {
        let why =
            "--reconnect: the server of a fan-out may not know a new connection yet when the next message is sent";
        return Err(Usage::new(why, without("--reconnect")));
    }
    let (is_tagged, what, example) = match load.protocol.is_websocket() {
        true => (load.messages.are_tagged(), "begin", "{conn}:{seq} hola"),
        false => (load.messages.are_tagged_lines(), "be one line that begins", r"{conn}:{seq} hola\n"),
    };
    if !is_tagged {
        let why = format!("with --expect {name} every message must {what} with '{{conn}}:{{seq}} '");
        return Err(Usage::new(why, format!("bucle load … --expect {name} -m '{example}'")));
    }
    Ok(())
}

fn check_protocol(load: &Load) -> Result<(), Usage> {
    let Protocol::WebSocket { opcode, socket_io, .. } = &load.protocol else { return Ok(()) };
    let (url, scheme) = (load.target_url(), if socket_io.is_some() { "Socket.IO" } else { "WebSocket" });
    if socket_io.is_some() && matches!(load.model, Model::Script(_)) {
        let why = "--script is for TCP and WebSocket, and the target is a Socket.IO server";
        return Err(Usage::new(why, "bucle load ws://HOST:PORT/PATH --script FILE"));
    }
    if load.telnet {
        let why = format!("--telnet is for TCP, and the target is a {scheme} server");
        return Err(Usage::new(why, format!("bucle load {url}      without --telnet")));
    }
    let are_utf8 = match &load.model {
        Model::Script(script) => script.sends_utf8(),
        _ => load.messages.are_utf8(),
    };
    if *opcode == Opcode::Text && !are_utf8 {
        return Err(match socket_io {
            Some(_) => {
                let why = "a message is not valid UTF-8, but the argument of an event must be";
                Usage::new(why, format!("bucle load {url} -m hola"))
            }
            None => {
                let why = "a message is not valid UTF-8, but a text message must be";
                Usage::new(why, format!("bucle load {url} --binary …"))
            }
        });
    }
    Ok(())
}
