//! CPU time of the process, and its limit of open descriptors.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// CPU time that the process has used so far, in user and in kernel mode
/// ([Node: `process.cpuUsage`](https://nodejs.org/docs/latest-v20.x/api/process.html#processcpuusagepreviousvalue)).
#[doc(alias = "cpuUsage")]
pub fn cpu_usage() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// Raises the soft limit of open descriptors to the hard limit if the system allows it, and returns the soft limit.
///
/// Node does so when it starts.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // If this fails, the old limit stays and is returned.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_cpu_time() {
        let before = cpu_usage();
        let sum = (0..1_000_000u64).fold(0u64, |sum, i| sum.wrapping_mul(31).wrapping_add(std::hint::black_box(i)));
        std::hint::black_box(sum);
        assert!(cpu_usage() > before);
    }

    #[test]
    fn the_limit_is_raised_once() {
        let limit = raise_descriptor_limit();
        assert!(limit > 0);
        assert_eq!(raise_descriptor_limit(), limit);
    }
}
