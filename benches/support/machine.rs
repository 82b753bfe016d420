//! What the benches ask of the machine: two processors, and who used how much of them.

use std::time::Duration;

/// Which processor: server and load get one each, or the scheduler would put them together in one run and not in the next.
#[derive(Clone, Copy)]
pub enum Side {
    Server,
    Load,
}

/// Keeps a process on its side's processor, if there are two to choose from.
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
        // Where it is forbidden, figures are noisier and still right.
        let _ = sched_setaffinity(pid, &one);
    }
}

/// How many files a process may open, after raising that as far as the system lets it.
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

/// The processor time that a process has used, all threads, user and kernel.
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

/// Bytes of memory that a process has to itself. Exact: the kernel walks the pages.
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

/// Elsewhere there is no such clock: the time that has passed stands in for it.
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
