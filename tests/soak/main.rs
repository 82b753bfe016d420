//! Hours of everyday use of `bucle serve relay`. Members chat, read slowly, close, reset and hang at all times. Every
//! line that the server accepted must reach every member that stays, exactly once, and in the same order for all
//! members.
//!
//! ```text
//! cargo test --test soak                                                              some seconds
//! cargo test --release --test soak -- --minutes 60 --members 200 --rate 40            an hour
//! ```
//!
//! | argument | default | |
//! |---|---|---|
//! | `--minutes M` | 0.1 | how long it runs |
//! | `--members N` | 60 | how many members are connected at a time, of all kinds |
//! | `--rate R` | 200 | lines a second, of all members together |
//! | `--seed S` | 1 | the seed of the random numbers that choose who sends, comes and leaves |
//!
//! Other arguments are meant for other tests, and ignored. All members live in one thread, which serves them in turn.
//! The server is a process of its own. Its memory is printed with the slope over time: a line of least squares
//! through the second half of the run.

#[cfg(target_os = "linux")]
mod member;
#[cfg(target_os = "linux")]
#[path = "../support/retry.rs"]
mod retry;
#[cfg(target_os = "linux")]
#[path = "../support/server.rs"]
mod server;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod transcript;
#[cfg(target_os = "linux")]
#[path = "../support/vitals.rs"]
mod vitals;

fn main() {
    // For programs that only list tests.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    #[cfg(target_os = "linux")]
    soak::Soak::new(&soak::Plan::of_arguments()).run();
    #[cfg(not(target_os = "linux"))]
    println!("skipped: the costs of a process are read from /proc, which only Linux has");
}
