//! How long a silent peer is considered alive. `serve` and `connect` use the same times.

use std::time::Duration;

/// How long a connection is silent before the kernel sends its first keepalive probe.
///
/// With a minute, a vanished peer is noticed within two minutes, and a telnet session left open overnight costs one
/// packet a minute. The probes also keep the entry of a NAT alive (RFC 5382 requires two hours, but many drop it after
/// five minutes).
pub(crate) const KEEP_ALIVE_DELAY: Duration = Duration::from_secs(60);

/// How long sent bytes may stay unacknowledged: the keepalive delay plus its ten probes, one a second. So both
/// mechanisms give up on a peer after the same time.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(70);
