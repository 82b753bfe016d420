//! Where a run is, from its first connect to its last close.

/// Where the run is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    Connecting,
    /// Connected; the server may still be accepting.
    Settling,
    /// Connected; the parent has not said go.
    Waiting,
    Warmup,
    Steady,
    Drain,
    Closing,
    Over,
}
