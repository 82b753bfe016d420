//! The loop and its phases.
#[allow(dead_code)]
mod timers;
