//! The text of the manual pages besides the options.

/// A part of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Block {
    /// A paragraph.
    Text(String),
    /// A word, and what it means.
    Term(&'static str, &'static str),
    /// Lines that keep their breaks.
    Code(String),
}

/// A section with its title.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
}

/// Paragraphs about what a command does, besides its first sentence.
pub(super) fn description(command: &str) -> Vec<&'static str> {
    match command {
        "bucle" => vec![
            "All servers run in one thread, on an event loop that works as that of Node. Without options they listen \
             on 127.0.0.1, port 8080, where the client and the load tester connect to.",
        ],
        "serve" => vec![
            "When the server listens, it prints one line for each listener to standard output, such as \"chat \
             listening on 127.0.0.1:8080\". The log goes to standard error.",
        ],
        _ => Vec::new(),
    }
}

/// The sections of the page of a command. The last one is printed behind the examples.
pub(super) fn of(command: &str) -> Vec<Section> {
    match command {
        "bucle" => vec![
            environment(&[]),
            exit_status(),
            see_also(
                "bucle-serve(1), bucle-connect(1), bucle-load(1), bucle-quiz(1), bucle-completions(1), bucle-man(1)",
            ),
        ],
        "serve" => vec![
            signals(),
            systemd(),
            environment(&SERVE_ENVIRONMENT),
            exit_status(),
            see_also("bucle(1), bucle-connect(1), bucle-load(1), systemd.socket(5), systemd.service(5)"),
        ],
        "connect" => {
            vec![environment(&CONNECT_ENVIRONMENT), exit_status(), see_also("bucle(1), bucle-serve(1)")]
        }
        "load" => vec![exit_status(), see_also("bucle(1), bucle-serve(1)")],
        _ => vec![see_also("bucle(1)")],
    }
}

const SERVE_ENVIRONMENT: [Block; 2] = [
    Block::Term(
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "Set by a service manager that passes sockets: their number, the process that they are for, and their names.",
    ),
    Block::Term(
        "NOTIFY_SOCKET",
        "Set by a service manager that wants to know when the server is ready and when it stops.",
    ),
];

const CONNECT_ENVIRONMENT: [Block; 1] = [Block::Term(
    "XDG_STATE_HOME",
    "An absolute path: sent lines are kept in bucle/history below it. By default ~/.local/state.",
)];

fn environment(first: &[Block]) -> Section {
    let mut blocks = first.to_vec();
    blocks.extend([
        Block::Term(
            "RUST_LOG",
            "What is logged, in place of -v: a level (error, warn, info, debug, trace), or levels of modules, such as \
             bucle::net=debug.",
        ),
        Block::Term("RUST_LOG_STYLE", "Colours of the log: auto, always or never."),
        Block::Term("NO_COLOR", "If it is not empty, no colours are used."),
        Block::Term("TERM", "With dumb, no colours are used and no line is edited."),
    ]);
    Section { title: "ENVIRONMENT", blocks }
}

fn exit_status() -> Section {
    let blocks = vec![
        Block::Term("0", "Success."),
        Block::Term("1", "The command failed while it ran."),
        Block::Term("2", "The command line is wrong."),
        Block::Term("3", "The command could not listen, or could not connect."),
        Block::Term("4", "load: a reply was not the expected one. quiz: a question was answered wrong or left open."),
        Block::Term("5", "load: the condition of a --fail-if was true."),
        Block::Term("6", "A limit of the machine prevents the start, such as the number of open files."),
        Block::Term("130", "The command was interrupted."),
        Block::Term("129, 131, 143", "connect: SIGHUP, SIGQUIT or SIGTERM ended the command at its prompt."),
    ];
    Section { title: "EXIT STATUS", blocks }
}

fn signals() -> Section {
    let blocks = vec![
        Block::Term(
            "SIGTERM, SIGINT",
            "The server accepts no more connections. It ends each connection when its peer has sent nothing for 10 ms \
             and nothing is queued for it, all others after a second, and exits with 0 after at most five seconds. A \
             second signal ends the process immediately, with 130.",
        ),
        Block::Term("SIGHUP", "Is ignored."),
    ];
    Section { title: "SIGNALS", blocks }
}

fn systemd() -> Section {
    let blocks = vec![
        Block::Text(
            "A service manager can open the listening sockets and pass them to the server (socket activation, \
             sd_listen_fds(3)). The kernel then refuses no connection while the server restarts: connections wait for \
             the next process. The name of a socket (FileDescriptorName=) selects its listener:"
                .to_owned(),
        ),
        Block::Term("http", "In place of the address of --http, which must be given too."),
        Block::Term("inspect", "In place of the address of --inspect, which must be given too."),
        Block::Term("any other name", "In place of --host, --port and --unix."),
        Block::Text(
            "TCP and unix sockets are accepted, at most one for each listener. The file of a unix socket is not removed. \
             A listener without a passed socket opens its address itself."
                .to_owned(),
        ),
        Block::Text(
            "With Type=notify the unit is active when the server listens, and systemctl status shows where. With \
             WatchdogSec= a server is restarted whose loop does not turn. Units:"
                .to_owned(),
        ),
        Block::Code(UNITS.to_owned()),
    ];
    Section { title: "SYSTEMD", blocks }
}

const UNITS: &str = "\
# /etc/systemd/system/bucle.socket
[Socket]
ListenStream=8080
[Install]
WantedBy=sockets.target

# /etc/systemd/system/bucle.service
[Service]
Type=notify
ExecStart=/usr/bin/bucle serve chat
DynamicUser=yes
LimitNOFILE=65536
";

fn see_also(pages: &str) -> Section {
    Section { title: "SEE ALSO", blocks: vec![Block::Text(pages.to_owned())] }
}
