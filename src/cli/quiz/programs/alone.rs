//! Programs that need nobody else: ticks, microtasks, timers, immediates.

use bucle::{Loop, Result};

use super::super::stage::{hold_up, ms, say, some_time};

pub(super) fn main_tick_microtask(lp: &mut Loop) -> Result<()> {
    lp.queue_microtask(|lp| say(lp, "microtask"));
    say(lp, "main");
    lp.next_tick(|lp| say(lp, "tick"));
    Ok(())
}

pub(super) fn ticks_of_ticks(lp: &mut Loop) -> Result<()> {
    lp.next_tick(|lp| {
        say(lp, "first tick");
        lp.next_tick(|lp| say(lp, "nested tick"));
    });
    lp.queue_microtask(|lp| say(lp, "microtask"));
    lp.next_tick(|lp| say(lp, "second tick"));
    Ok(())
}

pub(super) fn ticks_of_microtasks(lp: &mut Loop) -> Result<()> {
    lp.queue_microtask(|lp| {
        say(lp, "first");
        lp.next_tick(|lp| say(lp, "tick"));
        lp.queue_microtask(|lp| say(lp, "third"));
    });
    lp.queue_microtask(|lp| say(lp, "second"));
    Ok(())
}

pub(super) fn nested_immediates(lp: &mut Loop) -> Result<()> {
    lp.set_immediate(|lp| {
        say(lp, "first");
        lp.set_immediate(|lp| say(lp, "nested"));
        lp.next_tick(|lp| say(lp, "tick"));
    });
    lp.set_immediate(|lp| say(lp, "second"));
    Ok(())
}

pub(super) fn equal_and_other_delays(lp: &mut Loop) -> Result<()> {
    lp.set_timeout(ms(10), |lp| say(lp, "ten"));
    lp.set_timeout(ms(5), |lp| say(lp, "five"));
    lp.set_timeout(ms(10), |lp| say(lp, "ten again"));
    lp.set_timeout(ms(1), |lp| say(lp, "one"));
    lp.set_timeout(ms(0), |lp| say(lp, "zero"));
    hold_up(ms(20));
    Ok(())
}

pub(super) fn between_two_timers(lp: &mut Loop) -> Result<()> {
    lp.set_timeout(ms(1), |lp| {
        say(lp, "first");
        lp.queue_microtask(|lp| say(lp, "microtask"));
        lp.next_tick(|lp| say(lp, "tick"));
    });
    lp.set_timeout(ms(1), |lp| say(lp, "second"));
    hold_up(ms(5));
    Ok(())
}

pub(super) fn late_for_the_immediate(lp: &mut Loop) -> Result<()> {
    lp.set_immediate(|lp| say(lp, "immediate"));
    lp.set_timeout(ms(1), |lp| say(lp, "timeout"));
    hold_up(ms(5));
    say(lp, "main");
    lp.next_tick(|lp| say(lp, "tick"));
    Ok(())
}

pub(super) fn race(lp: &mut Loop) -> Result<()> {
    lp.set_immediate(|lp| say(lp, "immediate"));
    lp.set_timeout(ms(0), |lp| say(lp, "timeout"));
    hold_up(some_time());
    Ok(())
}

pub(super) fn timer_of_a_timer(lp: &mut Loop) -> Result<()> {
    lp.set_timeout(ms(1), |lp| {
        say(lp, "first");
        lp.set_timeout(ms(1), |lp| say(lp, "nested"));
        lp.set_immediate(|lp| say(lp, "immediate"));
        hold_up(ms(5));
    });
    lp.set_timeout(ms(2), |lp| say(lp, "second"));
    hold_up(ms(5));
    Ok(())
}

pub(super) fn list_runs_ahead(lp: &mut Loop) -> Result<()> {
    lp.set_timeout(ms(10), |lp| say(lp, "ten"));
    lp.set_timeout(ms(20), |lp| say(lp, "twenty"));
    hold_up(ms(15));
    lp.set_timeout(ms(10), |lp| say(lp, "another ten"));
    hold_up(ms(15));
    Ok(())
}
