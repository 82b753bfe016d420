//! Programs without sockets: ticks, microtasks, timers, immediates.

use bucle::{Loop, Result};

use super::super::stage::{ms, print, some_time, work_for};

pub(super) fn main_tick_microtask(lp: &mut Loop) -> Result<()> {
    lp.queue_microtask(|lp| print(lp, "microtask"));
    print(lp, "main");
    lp.next_tick(|lp| print(lp, "tick"));
    Ok(())
}

pub(super) fn ticks_of_ticks(lp: &mut Loop) -> Result<()> {
    lp.next_tick(|lp| {
        print(lp, "first tick");
        lp.next_tick(|lp| print(lp, "nested tick"));
    });
    lp.queue_microtask(|lp| print(lp, "microtask"));
    lp.next_tick(|lp| print(lp, "second tick"));
    Ok(())
}

pub(super) fn ticks_of_microtasks(lp: &mut Loop) -> Result<()> {
    lp.queue_microtask(|lp| {
        print(lp, "first");
        lp.next_tick(|lp| print(lp, "tick"));
        lp.queue_microtask(|lp| print(lp, "third"));
    });
    lp.queue_microtask(|lp| print(lp, "second"));
    Ok(())
}

pub(super) fn nested_immediates(lp: &mut Loop) -> Result<()> {
    lp.set_immediate(|lp| {
        print(lp, "first");
        lp.set_immediate(|lp| print(lp, "nested"));
        lp.next_tick(|lp| print(lp, "tick"));
    });
    lp.set_immediate(|lp| print(lp, "second"));
    Ok(())
}

pub(super) fn equal_and_other_delays(lp: &mut Loop) -> Result<()> {
    lp.set_timeout(ms(10), |lp| print(lp, "ten"));
    lp.set_timeout(ms(5), |lp| print(lp, "five"));
    lp.set_timeout(ms(10), |lp| print(lp, "ten again"));
    lp.set_timeout(ms(1), |lp| print(lp, "one"));
    lp.set_timeout(ms(0), |lp| print(lp, "zero"));
    work_for(ms(20));
    Ok(())
}

pub(super) fn between_two_timers(lp: &mut Loop) -> Result<()> {
    lp.set_timeout(ms(1), |lp| {
        print(lp, "first");
        lp.queue_microtask(|lp| print(lp, "microtask"));
        lp.next_tick(|lp| print(lp, "tick"));
    });
    lp.set_timeout(ms(1), |lp| print(lp, "second"));
    work_for(ms(5));
    Ok(())
}

pub(super) fn late_for_the_immediate(lp: &mut Loop) -> Result<()> {
    lp.set_immediate(|lp| print(lp, "immediate"));
    lp.set_timeout(ms(1), |lp| print(lp, "timeout"));
    work_for(ms(5));
    print(lp, "main");
    lp.next_tick(|lp| print(lp, "tick"));
    Ok(())
}

pub(super) fn race(lp: &mut Loop) -> Result<()> {
    lp.set_immediate(|lp| print(lp, "immediate"));
    lp.set_timeout(ms(0), |lp| print(lp, "timeout"));
    work_for(some_time());
    Ok(())
}

pub(super) fn timer_of_a_timer(lp: &mut Loop) -> Result<()> {
    lp.set_timeout(ms(1), |lp| {
        print(lp, "first");
        lp.set_timeout(ms(1), |lp| print(lp, "nested"));
        lp.set_immediate(|lp| print(lp, "immediate"));
        work_for(ms(5));
    });
    lp.set_timeout(ms(2), |lp| print(lp, "second"));
    work_for(ms(5));
    Ok(())
}

pub(super) fn list_runs_ahead(lp: &mut Loop) -> Result<()> {
    lp.set_timeout(ms(10), |lp| print(lp, "ten"));
    lp.set_timeout(ms(20), |lp| print(lp, "twenty"));
    work_for(ms(15));
    lp.set_timeout(ms(10), |lp| print(lp, "another ten"));
    work_for(ms(15));
    Ok(())
}
