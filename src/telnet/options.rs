//! telnet options.
