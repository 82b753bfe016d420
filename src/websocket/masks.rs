//! The masks of a client's frames (RFC 6455, 5.3): from the random source of the system, so that they cannot be
//! predicted.

use crate::{Error, Result};

/// How many bytes are taken from the system at a time: a system call for a thousand frames.
const POOL: usize = 4096;

/// Masks for frames, and random bytes for the keys of handshakes. An [`Endpoint`](super::Endpoint) masks its frames
/// itself; this is for programs that make frames by hand.
///
/// ```
/// let mask: [u8; 4] = bucle::websocket::Masks::default().random()?;
/// # Ok::<(), bucle::Error>(())
/// ```
#[derive(Default)]
pub struct Masks {
    /// Random bytes that were not used yet.
    pool: Vec<u8>,
}

impl Masks {
    /// `N` random bytes: 4 for a mask, 16 for a key. They are not given again.
    ///
    /// # Errors
    /// `E_RANDOM`: the system has no random source.
    pub fn random<const N: usize>(&mut self) -> Result<[u8; N]> {
        if self.pool.len() < N {
            self.pool.resize(POOL, 0);
            if let Err(error) = getrandom::fill(&mut self.pool) {
                self.pool.clear();
                return Err(Error::custom("E_RANDOM", format!("no random source: {error}")));
            }
        }
        let mut bytes = [0; N];
        let rest = self.pool.len() - N;
        bytes.copy_from_slice(&self.pool[rest..]);
        self.pool.truncate(rest);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mask_is_given_twice() {
        let mut masks = Masks::default();
        let given: std::collections::HashSet<[u8; 16]> = (0..1000).map(|_| masks.random().expect("a source")).collect();
        assert_eq!(given.len(), 1000);
    }
}
