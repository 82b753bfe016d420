//! Programs with sockets. Both sides of every connection are in the program, but it prints the events of one side only:
//! there is no promise about the order between the two sides.

use bucle::net::{Error, Socket, on};
use bucle::{Loop, Result};

use super::super::stage::{ms, print, serve, work_for};

pub(super) fn immediate_against_timeout(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on().connect(|lp, socket| {
        lp.set_immediate(|lp| print(lp, "immediate"));
        lp.set_timeout(ms(1), |lp| print(lp, "timeout"));
        print(lp, "connect");
        work_for(ms(5));
        lp.next_tick(|lp| print(lp, "tick"));
        socket.destroy(lp);
    });
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn data_and_end(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on().connection(|lp, socket| socket.end_with(lp, "hola")))?;
    let client = on()
        .data(|lp, _, _| {
            print(lp, "data");
            lp.set_immediate(|lp| print(lp, "immediate"));
            lp.next_tick(|lp| print(lp, "tick"));
        })
        .end(|lp, _| print(lp, "end"))
        .close(|lp, _, _| print(lp, "close"));
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn close_waits(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on().close(|lp, _, _| print(lp, "close")).connect(|lp, socket| {
        socket.destroy(lp);
        lp.set_immediate(|lp| print(lp, "immediate"));
        print(lp, "destroyed");
        lp.next_tick(|lp| print(lp, "tick"));
    });
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn last_first(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let first = on().close(|lp, _, _| {
        print(lp, "first");
        lp.next_tick(|lp| print(lp, "tick of the first"));
    });
    let second = on().close(|lp, _, _| print(lp, "second"));
    let third = on().close(|lp, _, _| {
        print(lp, "third");
        lp.next_tick(|lp| print(lp, "tick of the third"));
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
            lp.set_immediate(|lp| print(lp, "immediate"));
            lp.next_tick(|lp| print(lp, "tick before"));
            socket.destroy_with(lp, Error::custom("EBYE", "enough"));
            lp.next_tick(|lp| print(lp, "tick after"));
        })
        .close(|lp, _, _| print(lp, "close"))
        .error(|lp, _, _| print(lp, "error"));
    Socket::connect(lp, here, client)?;
    Ok(())
}

#[rustfmt::skip] // One line per event.
pub(super) fn finish_end_close(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on()
        .close(|lp, _, _| print(lp, "close"))
        .connect(|lp, socket| {
            socket.end_then(lp, |lp, _| print(lp, "callback"));
            lp.next_tick(|lp| print(lp, "tick"));
        })
        .end(|lp, _| print(lp, "end"))
        .finish(|lp, _| print(lp, "finish"));
    Socket::connect(lp, here, client)?;
    Ok(())
}

pub(super) fn written(lp: &mut Loop) -> Result<()> {
    let here = serve(lp, on())?;
    let client = on().connect(|lp, socket| {
        lp.queue_microtask(|lp| print(lp, "microtask"));
        lp.next_tick(|lp| print(lp, "tick before"));
        socket.write_then(lp, "hola", |lp, _| print(lp, "written"));
        lp.next_tick(|lp| print(lp, "tick after"));
        print(lp, "connect");
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
            socket.write_then(lp, more_than_the_kernel_takes, |lp, _| print(lp, "much"));
            socket.write_then(lp, "hola", move |lp, _| {
                print(lp, "little");
                socket.destroy(lp);
            });
            lp.next_tick(|lp| print(lp, "tick"));
        })
        .drain(|lp, _| print(lp, "drain"));
    Socket::connect(lp, here, client)?;
    Ok(())
}

#[rustfmt::skip] // One line per event.
pub(super) fn server_first(lp: &mut Loop) -> Result<()> {
    let handler = on()
        .connection(|lp, socket| {
            lp.set_immediate(|lp| print(lp, "immediate"));
            if let Some(server) = socket.server(lp) {
                server.close(lp);
            }
            lp.next_tick(|lp| print(lp, "tick before"));
            socket.destroy(lp);
            lp.next_tick(|lp| print(lp, "tick after"));
        })
        .close(|lp, _, _| print(lp, "socket"))
        .server_close(|lp, _| print(lp, "server"));
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
            print(lp, "data");
            lp.set_timeout(ms(1), |lp| print(lp, "timeout"));
            lp.set_immediate(|lp| {
                print(lp, "immediate");
                lp.set_immediate(|lp| print(lp, "nested"));
                lp.next_tick(|lp| print(lp, "late tick"));
            });
            lp.queue_microtask(|lp| print(lp, "microtask"));
            lp.next_tick(|lp| print(lp, "tick"));
            work_for(ms(5));
        })
        .close(|lp, _, _| print(lp, "close"));
    Socket::connect(lp, here, client)?;
    Ok(())
}
