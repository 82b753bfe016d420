//! Telnet: what a person at a terminal speaks to a line server.
pub mod codec;
pub mod lines;
pub mod options;
