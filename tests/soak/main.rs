//! Hours of everyday life on `bucle serve relay`: members chat, are slow, leave, vanish, reset and hang, all the time, and every line
//! that was accepted reaches every member that stayed, exactly once, in the same order for all.
//!
//! ```text
//! cargo test --test soak                                                              some seconds
//! cargo test --release --test soak -- --minutes 60 --members 200 --rate 40            an hour
//! ```
//!
//! | argument | default | |
//! |---|---|---|
//! | `--minutes M` | 0.1 | how long |
//! | `--members N` | 60 | how many at a time, whatever their fate |
//! | `--rate R` | 200 | lines a second, of all together |
//! | `--seed S` | 1 | for the dice that decide who speaks, comes and leaves |
//!
//! Other arguments are meant for other tests, and ignored. All members live in one thread, which looks at each of them in
//! turn; the server is a process of its own. What its memory does is printed with its slope: the line of least squares
//! through the second half of the run.

#[cfg(target_os = "linux")]
mod member;
#[cfg(target_os = "linux")]
mod score;
#[cfg(target_os = "linux")]
#[path = "../support/server.rs"]
mod server;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
#[path = "../support/vitals.rs"]
mod vitals;

fn main() {
    // Those who only list tests, list this one by its file.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    #[cfg(target_os = "linux")]
    soak::Soak::new(&soak::Plan::of_arguments()).run();
    #[cfg(not(target_os = "linux"))]
    println!("skipped: what a process costs is read from /proc, which only Linux has");
}
