//! The live page: a paused loop stands, steps let exactly one callback, phase or turn pass, and strangers are refused.

#![cfg(feature = "cli")]

mod client;
mod hostile;
mod paused;
mod served;
mod share;
mod shown;
mod stopped;
