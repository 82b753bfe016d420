//! telnet codec.
