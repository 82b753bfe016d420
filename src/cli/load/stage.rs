//! The stages of a run, from its first connect to its last close.

/// The stage of a run. The order is the order in time; `client` has a picture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    Connecting,
    /// Connected; a fan-out waits until the server has accepted the last connection.
    Settling,
    /// Connected; a worker process waits for its parent's `go`.
    Waiting,
    Warmup,
    Steady,
    Drain,
    Closing,
    Over,
}
