//! Programs with sockets. Both ends of every connection are in the program; only what one end sees is asked for, because
//! nothing is promised about how the turns of two ends mix.

use bucle::net::{Error, Socket, on};
use bucle::{Loop, Result};

use super::super::stage::{hold_up, ms, say, serve};

pub(super) fn immediate_against_timeout(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on().connect(|lp, socket| {
        lp.set_immediate(|lp| say(lp, "immediate"));
        lp.set_timeout(ms(1), |lp| say(lp, "timeout"));
        say(lp, "connect");
        hold_up(ms(5));
        lp.next_tick(|lp| say(lp, "tick"));
        socket.destroy(lp);
    });
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn data_and_end(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on().connection(|lp, socket| socket.end_with(lp, "hola")))?;
    let client = on()
        .data(|lp, _, _| {
            say(lp, "data");
            lp.set_immediate(|lp| say(lp, "immediate"));
            lp.next_tick(|lp| say(lp, "tick"));
        })
        .end(|lp, _| say(lp, "end"))
        .close(|lp, _, _| say(lp, "close"));
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn close_waits(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on().close(|lp, _, _| say(lp, "close")).connect(|lp, socket| {
        socket.destroy(lp);
        lp.set_immediate(|lp| say(lp, "immediate"));
        say(lp, "destroyed");
        lp.next_tick(|lp| say(lp, "tick"));
    });
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn last_first(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let first = on().close(|lp, _, _| {
        say(lp, "first");
        lp.next_tick(|lp| say(lp, "tick of the first"));
    });
    let second = on().close(|lp, _, _| say(lp, "second"));
    let third = on().close(|lp, _, _| {
        say(lp, "third");
        lp.next_tick(|lp| say(lp, "tick of the third"));
    });
    let first = Socket::connect(lp, here, first)?;
    let second = Socket::connect(lp, here, second)?;
    let third = Socket::connect(lp, here, third)?;
    lp.set_immediate(move |lp| {
        first.destroy(lp);
        second.destroy(lp);
        third.destroy(lp);
    });
    Ok(())
}

#[rustfmt::skip] // One line per event.
pub(super) fn error_and_close(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on()
        .connect(|lp, socket| {
            lp.set_immediate(|lp| say(lp, "immediate"));
            lp.next_tick(|lp| say(lp, "tick before"));
            socket.destroy_with(lp, Error::custom("EBYE", "enough"));
            lp.next_tick(|lp| say(lp, "tick after"));
        })
        .close(|lp, _, _| say(lp, "close"))
        .error(|lp, _, _| say(lp, "error"));
    Socket::connect(lp, here, client)?;
    Ok(())
}

#[rustfmt::skip] // One line per event.
pub(super) fn finish_end_close(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on()
        .close(|lp, _, _| say(lp, "close"))
        .connect(|lp, socket| {
            socket.end_then(lp, |lp, _| say(lp, "callback"));
            lp.next_tick(|lp| say(lp, "tick"));
        })
        .end(|lp, _| say(lp, "end"))
        .finish(|lp, _| say(lp, "finish"));
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn written(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on().connect(|lp, socket| {
        lp.queue_microtask(|lp| say(lp, "microtask"));
        lp.next_tick(|lp| say(lp, "tick before"));
        socket.write_then(lp, "hola", |lp, _| say(lp, "written"));
        lp.next_tick(|lp| say(lp, "tick after"));
        say(lp, "connect");
        lp.set_immediate(move |lp| socket.destroy(lp));
    });
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn drained(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on()
        .connect(|lp, socket| {
            let more_than_the_kernel_takes = vec![0; 16 * 1024 * 1024];
            socket.write_then(lp, more_than_the_kernel_takes, |lp, _| say(lp, "much"));
            socket.write_then(lp, "hola", move |lp, _| {
                say(lp, "little");
                socket.destroy(lp);
            });
            lp.next_tick(|lp| say(lp, "tick"));
        })
        .drain(|lp, _| say(lp, "drain"));
    Socket::connect(lp, here, client)?;
    Ok(())
}

#[rustfmt::skip] // One line per event.
pub(super) fn server_first(lp: &mut Loop) -> Result<()> {
    let handler = on()
        .connection(|lp, socket| {
            lp.set_immediate(|lp| say(lp, "immediate"));
            if let Some(server) = socket.server(lp) {
                server.close(lp);
            }
            lp.next_tick(|lp| say(lp, "tick before"));
            socket.destroy(lp);
            lp.next_tick(|lp| say(lp, "tick after"));
        })
        .close(|lp, _, _| say(lp, "socket"))
        .server_close(|lp, _| say(lp, "server"));
    let here = serve(lp, handler)?;
    Socket::connect(lp, here, on())?;
    Ok(())
}

#[rustfmt::skip] // One line per event.
pub(super) fn round_the_loop(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on().connection(|lp, socket| socket.end_with(lp, "hola")))?;
    let client = on()
        .data(|lp, socket, _| {
            socket.destroy(lp);
            say(lp, "data");
            lp.set_timeout(ms(1), |lp| say(lp, "timeout"));
            lp.set_immediate(|lp| {
                say(lp, "immediate");
                lp.set_immediate(|lp| say(lp, "nested"));
                lp.next_tick(|lp| say(lp, "late tick"));
            });
            lp.queue_microtask(|lp| say(lp, "microtask"));
            lp.next_tick(|lp| say(lp, "tick"));
            hold_up(ms(5));
        })
        .close(|lp, _, _| say(lp, "close"));
    Socket::connect(lp, here, client)?;
    Ok(())
}
