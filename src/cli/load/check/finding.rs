//! The input and output that both checks share: the rules, the messages, and the findings.

use crate::cli::load::message::Messages;

/// The reply that is expected to each message.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// The message itself, byte for byte.
    Echo,
    /// Any line: one per message.
    Line,
    /// A line that begins with this.
    Prefix(Box<[u8]>),
    /// A line that matches this.
    Regex(regex::bytes::Regex),
    /// The message, on every connection.
    Fanout(Fanout),
    /// Replies are not checked.
    None,
}

/// Which connections a message has to reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fanout {
    Everybody,
    Others,
}

impl Expect {
    /// The value of `--expect`.
    pub(crate) fn name(&self) -> String {
        match self {
            Expect::Echo => "echo".to_owned(),
            Expect::Line => "line".to_owned(),
            Expect::Prefix(prefix) => format!("prefix:{}", String::from_utf8_lossy(prefix)),
            Expect::Regex(regex) => format!("regex:{regex}"),
            Expect::Fanout(Fanout::Everybody) => "fanout".to_owned(),
            Expect::Fanout(Fanout::Others) => "fanout:others".to_owned(),
            Expect::None => "none".to_owned(),
        }
    }
}

/// The phase of the run that a message is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Warmup,
    Steady,
}

/// A message that is being sent or is unanswered. Its times are nanoseconds since the start of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pending {
    pub(crate) seq: u64,
    pub(crate) phase: Phase,
    /// When it was due. In the closed model this is the time when it was sent.
    pub(crate) due: u64,
    /// When the kernel took its first byte.
    pub(crate) started: u64,
    /// When the kernel took its last byte.
    pub(crate) sent: Option<u64>,
}

impl Pending {
    pub(super) fn is_overdue(&self, now: u64, timeout: u64) -> bool {
        self.sent.is_some_and(|sent| now.saturating_sub(sent) > timeout)
    }
}

/// The result for a message, or for a reply without a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Exact,
    Wrong,
    Missing,
    OutOfOrder,
    Duplicate,
    Late,
    Unexpected,
    Unsent,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verdict::Exact => "exact",
            Verdict::Wrong => "wrong",
            Verdict::Missing => "missing",
            Verdict::OutOfOrder => "out_of_order",
            Verdict::Duplicate => "duplicate",
            Verdict::Late => "late",
            Verdict::Unexpected => "unexpected",
            Verdict::Unsent => "unsent",
        }
    }
}

/// One finding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding<'a> {
    pub(crate) verdict: Verdict,
    /// The message whose result this is. `None` for a reply without an unanswered message.
    pub(crate) message: Option<Pending>,
    /// The connection of the message, and the message's number if it is known.
    pub(crate) conn: u64,
    pub(crate) seq: Option<u64>,
    pub(crate) received: &'a [u8],
    pub(crate) reason: Option<Reason<'a>>,
}

impl Finding<'_> {
    /// The same finding, with this reason if it has none.
    pub(crate) fn because<'a>(&'a self, reason: Option<&'a str>) -> Finding<'a> {
        Finding { reason: self.reason.or(reason.map(Reason::Words)), ..*self }
    }
}

/// Why something failed, if the bytes do not show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason<'a> {
    /// The reply is longer than [`Rules::max_reply`].
    TooLong,
    Words(&'a str),
}

/// The settings that all connections of a run share.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) expect: Expect,
    pub(crate) messages: Messages,
    /// In nanoseconds.
    pub(crate) timeout: u64,
    /// The longest reply in bytes. A longer one is wrong, and the rest of it is skipped.
    pub(crate) max_reply: usize,
}
