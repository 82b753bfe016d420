//! Random bytes for the keys of WebSocket frames (RFC 6455, 5.3), from the system.

/// How many bytes are taken from the system at a time: one system call for a thousand frames.
const POOL: usize = 4096;

/// Random bytes that have not been used yet.
#[derive(Default)]
pub(crate) struct Masks {
    pool: Vec<u8>,
}

impl Masks {
    /// `N` random bytes, which are not given again.
    pub(crate) fn next<const N: usize>(&mut self) -> [u8; N] {
        if self.pool.len() < N {
            self.pool.resize(POOL, 0);
            getrandom::fill(&mut self.pool).expect("the system has a random source; the hash maps need it too");
        }
        let mut bytes = [0; N];
        let rest = self.pool.len() - N;
        bytes.copy_from_slice(&self.pool[rest..]);
        self.pool.truncate(rest);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_are_given_twice() {
        let mut masks = Masks::default();
        let given: std::collections::HashSet<[u8; 16]> = (0..1000).map(|_| masks.next()).collect();
        assert_eq!(given.len(), 1000);
    }
}
