//! Stands in for `bucle::process` until that is merged.

use bucle::{Loop, Result};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Hangup,
    Interrupt,
    Terminate,
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

pub(crate) fn ignore(_: Signal) -> Result<()> {
    Ok(())
}

pub(crate) fn exit_on(_: Signal, _: i32) -> Result<()> {
    Ok(())
}

pub(crate) fn on_signal(_: &mut Loop, _: &[Signal], _: impl FnMut(&mut Loop, Signal) + 'static) -> Result<()> {
    Ok(())
}
