//! Explains why a server could not be opened, and suggests commands to try.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use bucle::net::{Handler, Shared, Socket};
use bucle::{Error, EventLoop, Loop};

use super::activation::Role;
use super::options::{Kind, Serve};
use crate::cli::target::Address;

/// How many bytes the path of a unix socket may have: `sun_path` of Linux is 108 with its NUL (unix(7)).
const UNIX_PATH_LIMIT: usize = 107;

/// The listener that could not be opened.
#[derive(Clone)]
pub(crate) enum Place {
    /// The address of `--host` and `--port`, or of `--unix`.
    Main(Address),
    /// The address of `--http`.
    Web(Address),
    /// The address of `--inspect`.
    Inspect(Address),
    /// A socket that a service manager has passed.
    Passed(Role),
}

impl Place {
    /// The main address of a server.
    pub(crate) fn of(serve: &Serve) -> Place {
        Place::Main(serve.address.clone())
    }
}

/// The error message, and commands to try.
pub(crate) fn explain(error: &Error, serve: &Serve, place: &Place) -> (String, Vec<String>) {
    let mut code = error.code();
    let (address, option) = match place {
        Place::Main(address) => (address, "--port"),
        Place::Web(address) => (address, "--http"),
        Place::Inspect(address) => (address, "--inspect"),
        Place::Passed(role) => return explain_passed(error, *role),
    };
    let (why, advice) = match address {
        Address::Tcp(host, port) => explain_tcp(error, serve, host, *port, option),
        Address::Unix(path) => {
            if code == "EACCES" && !directory_of(path).exists() {
                // libuv's `uv_pipe_bind` reports a missing directory as EACCES, and so does the library. ENOENT helps
                // more.
                code = "ENOENT";
            }
            explain_unix(error, serve.kind, path)
        }
    };
    let place = match address {
        Address::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
        Address::Tcp(host, port) => format!("{host}:{port}"),
        Address::Unix(path) => path.display().to_string(),
    };
    (format!("cannot listen on {place}: {why} ({code})"), advice)
}

fn explain_passed(error: &Error, role: Role) -> (String, Vec<String>) {
    let name = match role {
        Role::Main => "the socket",
        Role::Http => "the socket named http",
        Role::Inspect => "the socket named inspect",
    };
    let why = match error {
        Error::InvalidDescriptor { why, .. } => (*why).to_owned(),
        Error::Custom { message, .. } => message.to_string(),
        error => error.to_string(),
    };
    (format!("cannot listen on {name} that was passed (LISTEN_FDS): {why}"), Vec::new())
}

fn explain_tcp(error: &Error, serve: &Serve, host: &str, port: u16, option: &str) -> (String, Vec<String>) {
    let command = serve.kind.command();
    match error.code() {
        "EADDRINUSE" if serve.reuse_port => (
            "the port is already in use by a program that does not share it".to_owned(),
            vec!["start the other server with --reuse-port too, as the same user".to_owned()],
        ),
        "EADDRINUSE" => {
            let next = port.checked_add(1).unwrap_or(8080);
            let advice = format!("{command} {option} {next}      or  {option} 0 to get a free one");
            ("the port is already in use".to_owned(), vec![advice])
        }
        "EACCES" | "EPERM" => {
            let high = if port < 1024 { 8000 + port } else { 8080 };
            (
                "you have no permission to use this port; ports below 1024 are for root".to_owned(),
                vec![format!("{command} {option} {high}")],
            )
        }
        "EADDRNOTAVAIL" => (
            "this machine has no such address".to_owned(),
            vec![format!(
                "{command} --host 127.0.0.1      for this machine only, or  --host 0.0.0.0 for the whole network"
            )],
        ),
        "ENOTFOUND" | "EAI_AGAIN" | "EAI_FAIL" | "EAI_NODATA" => (
            format!("no address was found for the name {host:?}"),
            vec![format!("{command} --host 127.0.0.1      or check the spelling")],
        ),
        _ => (error.to_string(), Vec::new()),
    }
}

fn explain_unix(error: &Error, kind: Kind, path: &Path) -> (String, Vec<String>) {
    let command = kind.command();
    let other_path = || format!("{command} --unix /tmp/bucle.sock");
    let len = path.as_os_str().len();
    if len > UNIX_PATH_LIMIT {
        return (
            format!("the path has {len} bytes; the path of a unix socket may have at most {UNIX_PATH_LIMIT}"),
            vec![other_path()],
        );
    }
    let directory = directory_of(path);
    match error.code() {
        "EADDRINUSE" if is_socket(path) => {
            ("a server is listening there already".to_owned(), vec![format!("bucle connect unix:{}", path.display())])
        }
        "EADDRINUSE" => ("the file exists and is not a socket, so it is not replaced".to_owned(), vec![other_path()]),
        "EACCES" | "ENOENT" if !directory.exists() => (
            format!("there is no directory {}", directory.display()),
            vec![format!("mkdir -p {}      then the same command again", directory.display())],
        ),
        "EACCES" | "EPERM" | "EROFS" => {
            (format!("you have no permission to create files in {}", directory.display()), vec![other_path()])
        }
        "ENOTDIR" => (format!("{} is not a directory", directory.display()), vec![other_path()]),
        _ => (error.to_string(), vec![other_path()]),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// How often a server tries to get the lock of a directory, and how long it waits between two attempts. Another server
/// holds the lock for as long as it takes to look for a third one and to listen.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Listens at a path with `listen`, and replaces the file of a server that is gone.
///
/// Two servers that start at once could both find the old file without a server: the second would then remove the new
/// file of the first. So the search and the replacement are one step, under the lock of the directory. The first
/// attempt is under the lock too: between its `bind` and its `listen` a socket refuses connections, as an old file
/// does.
pub(crate) fn take_path(path: &Path, mut listen: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let _lock = lock(directory_of(path));
    match listen() {
        Err(error) if error.code() == "EADDRINUSE" && is_stale_socket(path) => {
            log::info!(target: "bucle::serve", "{}: no server listens there, so the file is replaced", path.display());
            // If it cannot be removed, the second attempt reports why.
            let _ = std::fs::remove_file(path);
            listen()
        }
        result => result,
    }
}

/// Locks a directory until the result is dropped. `None` if the directory cannot be opened or locked: a file system
/// without locks does not prevent a server from starting.
fn lock(directory: &Path) -> Option<File> {
    let directory = File::open(directory).ok()?;
    for _ in 0..LOCK_ATTEMPTS {
        match directory.try_lock() {
            Ok(()) => return Some(directory),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Whether a socket's file was left behind by a server that is gone: it is a socket, and a connect to it is refused.
/// Only then it may be removed.
///
/// Connects with the crate's own client, which does not block. A blocking `connect` would wait as long as the backlog
/// of a live server is full.
fn is_stale_socket(path: &Path) -> bool {
    let Ok(mut event_loop) = EventLoop::new() else { return false };
    let attempt = event_loop.enter(|lp| {
        let attempt = Shared::new(lp, Attempt::default());
        Socket::connect(lp, path, attempt).map(|_| attempt)
    });
    let is_done = event_loop.run().is_ok();
    let is_refused = attempt
        .is_ok_and(|attempt| event_loop.enter(|lp| attempt.with(lp, |attempt, _| attempt.is_refused)).unwrap_or(false));
    is_socket(path) && is_done && is_refused
}

/// The handler of an attempt to connect: only the result counts.
#[derive(Default)]
struct Attempt {
    is_refused: bool,
}

impl Handler for Attempt {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        socket.destroy(lp);
    }

    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        self.is_refused = error.code() == "ECONNREFUSED";
    }
}
