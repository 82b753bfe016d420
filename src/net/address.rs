//! IP addresses as `net` sees them: `is_ip`, `BlockList`, `SocketAddress`.
