//! The masks of a client's frames (RFC 6455, 5.3): from the random source of the system, so that they cannot be
//! predicted.

/// How many bytes are taken from the system at a time: a system call for a thousand frames.
const POOL: usize = 4096;

/// Random bytes that were not used yet.
#[derive(Default)]
pub(super) struct Masks {
    pool: Vec<u8>,
}

impl Masks {
    /// A mask, or `N` random bytes for a key.
    ///
    /// # Errors
    /// When the system has no random source.
    pub fn random<const N: usize>(&mut self) -> Result<[u8; N], getrandom::Error> {
        if self.pool.len() < N {
            self.pool.resize(POOL, 0);
            if let Err(error) = getrandom::fill(&mut self.pool) {
                self.pool.clear();
                return Err(error);
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
