//! telnet lines.
