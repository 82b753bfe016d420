//! How long a client waits before it connects again.
//!
//! Each attempt waits twice as long as the one before, up to a maximum. A random part prevents that all clients of a
//! server that was restarted come back at the same moment:
//!
//! ```text
//!   attempt   wait without jitter    with the default jitter of 0.5
//!   1         1 s                    500 ms to 1500 ms
//!   2         2 s                    1 s to 3 s
//!   3         4 s                    2 s to 5 s
//!   4         8 s, limited to 5 s    4 s to 5 s
//!   5         5 s                    5 s
//! ```

use std::time::Duration;

/// The delays of `socket.io-client`, as its options `reconnectionDelay`, `reconnectionDelayMax` and
/// `randomizationFactor` describe them.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    jitter: f64,
    attempts: u32,
}

impl Default for Backoff {
    /// The defaults of `socket.io-client`: from one second to five, with a jitter of a half.
    fn default() -> Backoff {
        Backoff::new(Duration::from_secs(1), Duration::from_secs(5), 0.5)
    }
}

impl Backoff {
    /// Delays from `min` to `max`. A delay may be up to the part `jitter` shorter or longer; a jitter that is not
    /// between 0 and 1 means none.
    pub fn new(min: Duration, max: Duration, jitter: f64) -> Backoff {
        let jitter = if (0.0..=1.0).contains(&jitter) { jitter } else { 0.0 };
        Backoff { min, max, jitter, attempts: 0 }
    }

    /// The delay before the next attempt, in whole milliseconds. `random` is a new random number from 0 up to, and
    /// without, 1.
    pub fn next_delay(&mut self, random: f64) -> Duration {
        // 2^512 nanoseconds are more than any `Duration`, and the product below stays finite.
        let power = i32::try_from(self.attempts.min(512)).unwrap_or(512);
        self.attempts = self.attempts.saturating_add(1);
        let plain = self.min.as_nanos() as f64 / 1e6 * 2f64.powi(power);
        let deviation = (random * self.jitter * plain).floor();
        // As in Node, the first decimal digit of the random number is the sign, too: an even digit shortens the delay.
        let is_shorter = (random * 10.0).floor() % 2.0 == 0.0;
        let delay = if is_shorter { plain - deviation } else { plain + deviation };
        // The cast of a float rounds down and saturates.
        Duration::from_millis(delay.min(self.max.as_millis() as f64) as u64)
    }

    /// How many delays were given since the start or the last [`reset`](Self::reset): the number of the attempt that
    /// follows the last delay.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Starts again with the shortest delay. A client calls it when it is connected.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delays(backoff: &mut Backoff, random: f64, count: usize) -> Vec<u128> {
        (0..count).map(|_| backoff.next_delay(random).as_millis()).collect()
    }

    #[test]
    fn each_delay_is_twice_the_one_before_up_to_the_maximum() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1000), 0.0);
        assert_eq!(delays(&mut backoff, 0.7, 6), [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.attempts(), 6);
        backoff.reset();
        assert_eq!((backoff.attempts(), delays(&mut backoff, 0.7, 1)), (0, vec![100]));
    }

    #[test]
    fn the_random_number_makes_a_delay_shorter_or_longer() {
        // The random number, and what `backo2` computes from it for the first two attempts.
        let table = [
            (0.0, [1000, 2000]),
            (0.05, [975, 1950]),
            (0.15, [1075, 2150]),
            (0.5, [1250, 2500]),
            (0.85, [575, 1150]),
            (0.999, [1499, 2999]),
        ];
        for (random, want) in table {
            assert_eq!(delays(&mut Backoff::default(), random, 2), want, "{random}");
        }
    }

    #[test]
    fn a_jitter_outside_of_0_to_1_is_none() {
        for jitter in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1000), jitter);
            assert_eq!(delays(&mut backoff, 0.5, 2), [100, 200], "{jitter}");
        }
    }

    #[test]
    fn delays_stay_at_the_maximum_after_any_number_of_attempts() {
        for random in [0.0, 0.5, 0.89, 0.999] {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), 1.0);
            assert!(delays(&mut backoff, random, 3000)[8..].iter().all(|&delay| delay == 5000), "{random}");
            backoff.attempts = u32::MAX;
            assert_eq!((delays(&mut backoff, random, 2), backoff.attempts()), (vec![5000, 5000], u32::MAX));
        }
        let mut none = Backoff::new(Duration::ZERO, Duration::from_secs(5), 0.5);
        assert_eq!(delays(&mut none, 0.5, 3000), [0; 3000]);
        let mut longest = Backoff::new(Duration::MAX, Duration::MAX, 0.5);
        assert_eq!(delays(&mut longest, 0.5, 3000), [u128::from(u64::MAX); 3000]);
    }

    proptest! {
        #[test]
        fn a_delay_is_within_the_jitter(
            min in 1u64..10_000, max in 1u64..100_000, jitter in 0f64..=1.0, random in 0f64..1.0, attempts in 0u32..40,
        ) {
            let mut backoff = Backoff::new(Duration::from_millis(min), Duration::from_millis(max), jitter);
            backoff.attempts = attempts;
            let delay = backoff.next_delay(random).as_millis() as f64;
            let plain = min as f64 * 2f64.powi(attempts as i32);
            let (least, most) = (plain * (1.0 - jitter), plain * (1.0 + jitter));
            prop_assert!(delay <= max as f64 && delay <= most);
            prop_assert!(delay >= least.floor().min(max as f64));
        }
    }
}
