//! Measurements of the machine: processors, processor time and memory.

use std::time::Duration;

/// The processor of a side. Server and load get one each; otherwise the scheduler might place them together in some
/// runs only.
#[derive(Clone, Copy)]
pub enum Side {
    Server,
    Load,
}

/// Pins a process to the processor of its side, if there are two processors.
#[cfg(target_os = "linux")]
pub fn pin(pid: u32, side: Side) {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    let pid = Pid::from_raw(pid as i32);
    let Ok(allowed) = sched_getaffinity(pid) else { return };
    let mut free = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    let (Some(first), Some(second)) = (free.next(), free.next()) else { return };
    let mut one = CpuSet::new();
    let cpu = if matches!(side, Side::Server) { first } else { second };
    if one.set(cpu).is_ok() {
        // Where pinning is forbidden the figures are noisier but still right.
        let _ = sched_setaffinity(pid, &one);
    }
}

/// Raises the limit of open files as far as the system permits, and returns it.
#[cfg(target_os = "linux")]
pub fn raise_descriptor_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(not(target_os = "linux"))]
pub fn raise_descriptor_limit() -> usize {
    256
}

/// The processor time that a process has used: all threads, user and kernel.
#[cfg(target_os = "linux")]
pub fn cpu(pid: u32) -> Duration {
    let clock = nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(pid as i32)).expect("it runs");
    clock.now().expect("it runs").into()
}

/// The processor time that this thread has used.
#[cfg(target_os = "linux")]
pub fn thread_cpu() -> Duration {
    nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("every thread has one").into()
}

/// The bytes of anonymous memory of a process. The kernel counts the pages, so the figure is exact.
#[cfg(target_os = "linux")]
pub fn memory(pid: u32) -> Option<usize> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = table.lines().find_map(|line| line.strip_prefix("Anonymous:")?.trim().strip_suffix("kB"))?;
    kib.trim().parse::<usize>().ok().map(|kib| kib * 1024)
}

#[cfg(not(target_os = "linux"))]
pub fn memory(_: u32) -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
pub fn pin(_: u32, _: Side) {}

/// Without such a clock the elapsed time takes its place.
#[cfg(not(target_os = "linux"))]
pub fn cpu(_: u32) -> Duration {
    thread_cpu()
}

#[cfg(not(target_os = "linux"))]
pub fn thread_cpu() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}
