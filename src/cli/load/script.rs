//! `--script`: a dialogue with the server, in steps.
//!
//! ```text
//!   # log in
//!   expect login:
//!   send ana{conn}\n
//!   expect welcome
//!   pause 100ms
//!   close
//! ```
//!
//! This module parses the file. A [`Pass`] goes through its steps: it takes in received bytes and returns the next
//! [`Action`]. It uses no sockets; its caller performs the actions.

use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;

use super::fingerprint::Fingerprint;
use super::message::{LineEnd, Messages, Template, unescape};
use super::units::{nanos, time};

/// One line of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Messages),
    /// Waits until this has been received, and skips the bytes before it.
    Expect(Messages),
    Pause(Duration),
    Close,
}

/// A script: at least one step, and at least one that sends or expects.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Each step with the number of its line, from 1.
    steps: Arc<[(u64, Step)]>,
}

/// Names a text that was sent, so that it can be written again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    seq: u64,
    step: usize,
}

/// How many searched bytes are kept at most while the expected text has not been received.
const SEARCHED: usize = 64 * 1024;

impl Script {
    pub(crate) fn parse(bytes: &[u8], line_end: LineEnd) -> Result<Script, String> {
        // Some editors put a byte order mark at the beginning of a file.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text =
            std::str::from_utf8(bytes).map_err(|_| "the script is not valid UTF-8; write other bytes as \\xHH")?;
        let mut steps = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_start();
            if line.trim_end().is_empty() || line.starts_with('#') {
                continue;
            }
            let step = parse_step(line, line_end).map_err(|why| format!("line {number} of the script: {why}"))?;
            steps.push((number, step));
        }
        if !steps.iter().any(|(_, step)| matches!(step, Step::Send(_) | Step::Expect(_))) {
            return Err(
                "the script has no send or expect step; the steps are: send TEXT, expect TEXT, pause TIME, close"
                    .to_owned(),
            );
        }
        Ok(Script { steps: steps.into() })
    }

    /// Sets the seed of the random letters.
    pub(crate) fn set_seed(&mut self, seed: u64) {
        let mut steps = self.steps.to_vec();
        for (_, step) in &mut steps {
            if let Step::Send(messages) | Step::Expect(messages) = step {
                messages.seed = seed;
            }
        }
        self.steps = steps.into();
    }

    /// Adds the steps to a fingerprint. Comments and empty lines do not change it.
    pub(crate) fn add_to(&self, fingerprint: &mut Fingerprint) {
        for (_, step) in &*self.steps {
            match step {
                Step::Send(_) => fingerprint.add(b'S', b""),
                Step::Expect(_) => fingerprint.add(b'E', b""),
                Step::Pause(time) => fingerprint.add(b'P', &nanos(*time).to_le_bytes()),
                Step::Close => fingerprint.add(b'C', b""),
            }
            if let Step::Send(messages) | Step::Expect(messages) = step {
                messages.add_to(fingerprint);
            }
        }
    }

    /// How long a text that is sent or expected can be, in passes with numbers up to `last`.
    pub(crate) fn longest(&self, connections: u64, last: u64) -> u64 {
        let longest = |(_, step): &(u64, Step)| match step {
            Step::Send(messages) | Step::Expect(messages) => messages.longest(connections, last),
            Step::Pause(_) | Step::Close => 0,
        };
        self.steps.iter().map(longest).max().unwrap_or(0)
    }

    /// Whether every text that is sent is valid UTF-8.
    pub(crate) fn sends_utf8(&self) -> bool {
        let is_utf8 = |(_, step): &(u64, Step)| match step {
            Step::Send(messages) => messages.are_utf8(),
            _ => true,
        };
        self.steps.iter().all(is_utf8)
    }

    /// Texts that look like placeholders but are not.
    pub(crate) fn mistaken(&self) -> impl Iterator<Item = String> {
        let texts = self.steps.iter().filter_map(|(_, step)| match step {
            Step::Send(messages) | Step::Expect(messages) => Some(messages),
            Step::Pause(_) | Step::Close => None,
        });
        texts.flat_map(Messages::mistaken)
    }
}

fn parse_step(line: &str, line_end: LineEnd) -> Result<Step, String> {
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line.trim_end(), ""));
    let template = || -> Result<Template, String> {
        if rest.is_empty() {
            return Err(format!("{word} needs a text after it"));
        }
        Template::parse(&unescape(rest)?)
    };
    match word {
        "send" => Ok(Step::Send(Messages::one(template()?, line_end))),
        "expect" => match template()? {
            template if template.has_rand() => {
                Err("expect cannot have {rand:N}, which is new each time; expect the text around it".to_owned())
            }
            template => Ok(Step::Expect(Messages::one(template, LineEnd::AsIs))),
        },
        "pause" => Ok(Step::Pause(time(rest.trim())?)),
        "close" if rest.trim().is_empty() => Ok(Step::Close),
        _ => Err(format!("unknown step {line:?}; the steps are: send TEXT, expect TEXT, pause TIME, close")),
    }
}

/// One pass through a script, on one connection.
#[derive(Debug)]
pub(crate) struct Pass {
    script: Script,
    conn: u64,
    pub(crate) seq: u64,
    next: usize,
    /// The expected text, while the pass waits for it, and how many of the received bytes have been searched for it.
    wanted: Option<Vec<u8>>,
    searched: usize,
}

/// What the caller has to do next.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Send(Vec<u8>),
    /// Receive bytes, and call [`Pass::found`] with them.
    Wait,
    Pause(Duration),
    /// Close the connection: the pass has ended.
    Close,
    /// Nothing: the pass has ended.
    Done,
}

impl Pass {
    pub(crate) fn new(script: &Script, conn: u64, seq: u64) -> Pass {
        Pass { script: script.clone(), conn, seq, next: 0, wanted: None, searched: 0 }
    }

    /// The next action.
    pub(crate) fn next(&mut self) -> Action {
        if self.wanted.is_some() {
            return Action::Wait;
        }
        let Some((_, step)) = self.script.steps.get(self.next) else { return Action::Done };
        self.next += 1;
        match step {
            Step::Send(messages) => Action::Send(messages.text(self.conn, self.seq)),
            Step::Expect(messages) => {
                self.wanted = Some(messages.text(self.conn, self.seq));
                Action::Wait
            }
            Step::Pause(time) => Action::Pause(*time),
            Step::Close => Action::Close,
        }
    }

    /// Whether nothing more is sent or expected.
    pub(crate) fn has_only_pauses_left(&self) -> bool {
        let rest = self.script.steps.get(self.next..).unwrap_or_default();
        self.wanted.is_none() && rest.iter().all(|(_, step)| matches!(step, Step::Pause(_) | Step::Close))
    }

    /// Searches the received bytes for the expected text. Returns whether it was found. If so, it is removed with the
    /// bytes before it.
    pub(crate) fn found(&mut self, come: &mut Vec<u8>) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        // The end of the searched bytes may be the beginning of the expected text.
        let from = (self.searched + 1).saturating_sub(wanted.len());
        if let Some(at) = memmem::find(&come[from..], wanted) {
            come.drain(..from + at + wanted.len());
            (self.wanted, self.searched) = (None, 0);
            return true;
        }
        // Each drain moves the end of the bytes, so it is worth it only when there is more before the end.
        if come.len() > SEARCHED.max(wanted.len()) + wanted.len() {
            come.drain(..come.len() - wanted.len());
        }
        self.searched = come.len();
        false
    }

    /// The expected text, while the pass waits for it.
    pub(crate) fn wanted(&self) -> Option<&[u8]> {
        self.wanted.as_deref()
    }

    /// The line number of the current step.
    pub(crate) fn line(&self) -> Option<u64> {
        self.script.steps.get(self.next.checked_sub(1)?).map(|(number, _)| *number)
    }

    /// Names the text of the current send step.
    pub(crate) fn said(&self) -> Said {
        Said { seq: self.seq, step: self.next.saturating_sub(1) }
    }

    /// The text that `said` names, in this pass or in an earlier one of its connection.
    pub(crate) fn text_of(&self, said: Said) -> Vec<u8> {
        match self.script.steps.get(said.step) {
            Some((_, Step::Send(messages))) => messages.text(self.conn, said.seq),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse(text.as_bytes(), LineEnd::AsIs)
    }

    #[test]
    fn a_pass_goes_through_the_steps() {
        let script =
            parse("# hello\n\n  expect login:\nsend ana{conn} {seq}\\n\nexpect hi {conn}\npause 5ms\nclose\n").unwrap();
        let mut pass = Pass::new(&script, 7, 2);
        let mut come = b"welcome log".to_vec();
        assert_eq!(pass.next(), Action::Wait);
        assert!(!pass.found(&mut come));
        come.extend_from_slice(b"in: hi 7!");
        assert!(pass.found(&mut come));
        assert_eq!(come, b" hi 7!");
        assert_eq!(pass.next(), Action::Send(b"ana7 2\n".to_vec()));
        assert_eq!((pass.line(), pass.text_of(pass.said())), (Some(4), b"ana7 2\n".to_vec()));
        assert_eq!(pass.next(), Action::Wait);
        assert!(pass.found(&mut come));
        assert_eq!(come, b"!");
        assert_eq!(pass.next(), Action::Pause(Duration::from_millis(5)));
        assert_eq!(pass.next(), Action::Close);
        assert_eq!(pass.next(), Action::Done);
    }

    #[test]
    fn comments_do_not_change_the_fingerprint_but_steps_do() {
        let of = |text: &str| {
            let mut fingerprint = Fingerprint::new();
            parse(text).unwrap().add_to(&mut fingerprint);
            fingerprint.text()
        };
        let plain = of("send a\nexpect b\npause 1s\nclose");
        assert_eq!(of("# hello\n\nsend a\n  expect b\npause 1000ms\nclose\n"), plain);
        let others =
            ["send a\nexpect b\npause 1s", "send a\nexpect b\npause 2s\nclose", "send a\nsend b\npause 1s\nclose"];
        assert!(others.iter().all(|text| of(text) != plain));
    }

    #[test]
    fn skipped_bytes_are_dropped() {
        let script = parse("expect end").unwrap();
        let mut pass = Pass::new(&script, 0, 0);
        assert_eq!(pass.next(), Action::Wait);
        let mut come = vec![b'e'; SEARCHED + 10];
        come.extend_from_slice(b"xen");
        assert!(!pass.found(&mut come));
        assert!(come.len() < 10);
        come.extend_from_slice(b"d.");
        assert!(pass.found(&mut come));
        assert_eq!(come, b".");
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for text in ["\u{feff}send a\\n\n", "\u{feff}# hola\nsend a\\n", "\u{feff}\n\nsend a\\n\n"] {
            let script = parse(text).unwrap();
            assert_eq!(Pass::new(&script, 0, 0).next(), Action::Send(b"a\n".to_vec()), "{text:?}");
        }
        assert!(parse("send a\n\u{feff}send b\n").is_err() && parse("\u{feff}\u{feff}send b\n").is_err());
        assert!(parse("\u{feff}").is_err());
    }

    #[test]
    fn invalid_scripts_are_refused() {
        for text in [
            "",
            "# nothing",
            "pause 1s",
            "send",
            "expect ",
            "send \\q",
            "expect {rand:4}",
            "pause x",
            "close now",
            "jump",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(Script::parse(b"send \xff", LineEnd::AsIs).is_err());
    }
}
