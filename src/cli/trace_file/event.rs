//! One line of the file, field by field.
//!
//! Every record becomes such a line or several, so the numbers are written by hand: with `write!` a record cost three
//! times the instructions (callgrind). No text in a trace needs escaping: names are the loop's own words.

use bucle::trace::Phase;

/// The track of a phase: they stand one below the other, in the order of a turn.
pub(super) fn track(phase: Phase) -> u32 {
    phase as u32 + 1
}

/// An event that is being written.
pub(super) struct Event<'a> {
    out: &'a mut String,
    /// What closes it.
    end: &'static str,
    /// Whether the next field is the first in its braces.
    is_first: bool,
}

impl<'a> Event<'a> {
    /// The first of a file: no comma, but the bracket.
    pub(super) fn first(out: &'a mut String, name: &str) -> Self {
        Self::begin(out, "[{", name)
    }

    pub(super) fn new(out: &'a mut String, name: &str) -> Self {
        Self::begin(out, ",{", name)
    }

    fn begin(out: &'a mut String, head: &str, name: &str) -> Self {
        debug_assert!(!name.contains(['"', '\\']) && !name.contains(char::is_control), "{name:?}");
        out.push_str(head);
        let event = Event { out, end: "}\n", is_first: true };
        event.text("name", name).number("pid", 1)
    }

    pub(super) fn on_track(self, phase: Phase) -> Self {
        self.number("tid", track(phase).into())
    }

    pub(super) fn at(self, ns: u64) -> Self {
        self.micros("ts", ns)
    }

    pub(super) fn text(mut self, field: &str, text: &str) -> Self {
        self.field(field);
        self.out.push('"');
        self.out.push_str(text);
        self.out.push('"');
        self
    }

    pub(super) fn number(mut self, field: &str, number: u64) -> Self {
        self.field(field);
        digits(number, 1, self.out);
        self
    }

    /// Nanoseconds as the microseconds with a fraction that the format wants, without a detour over floats.
    pub(super) fn micros(mut self, field: &str, ns: u64) -> Self {
        self.field(field);
        digits(ns / 1000, 1, self.out);
        self.out.push('.');
        digits(ns % 1000, 3, self.out);
        self
    }

    /// `"#41"`.
    pub(super) fn serial(mut self, field: &str, serial: u32) -> Self {
        self.field(field);
        self.out.push_str("\"#");
        digits(serial.into(), 1, self.out);
        self.out.push('"');
        self
    }

    /// What follows are arguments: what a viewer shows of a chosen event.
    pub(super) fn args(mut self) -> Self {
        self.field("args");
        self.out.push('{');
        Event { out: self.out, end: "}}\n", is_first: true }
    }

    pub(super) fn end(self) {
        self.out.push_str(self.end);
    }

    fn field(&mut self, field: &str) {
        self.out.push_str(if self.is_first { "\"" } else { ",\"" });
        self.out.push_str(field);
        self.out.push_str("\":");
        self.is_first = false;
    }
}

/// Decimal, with at least so many digits.
fn digits(mut number: u64, at_least: usize, out: &mut String) {
    let mut text = [b'0'; 20];
    let mut start = text.len();
    while number > 0 {
        start -= 1;
        text[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let start = start.min(text.len() - at_least);
    out.push_str(std::str::from_utf8(&text[start..]).unwrap_or("0"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_display_does() {
        for number in [0, 1, 9, 10, 99, 100, 12_345_678_909, u64::MAX] {
            let mut out = String::new();
            digits(number, 1, &mut out);
            assert_eq!(out, number.to_string());
            out.clear();
            digits(number, 3, &mut out);
            assert_eq!(out, format!("{number:03}"));
        }
    }

    #[test]
    fn fields_arguments_and_fractions() {
        let mut out = String::new();
        Event::first(&mut out, "a").text("ph", "M").end();
        Event::new(&mut out, "b").at(1_002_003).args().serial("subject", 41).number("n", 0).end();
        let want = "[{\"name\":\"a\",\"pid\":1,\"ph\":\"M\"}\n,{\"name\":\"b\",\"pid\":1,\"ts\":1002.003,\"args\":{\"subject\":\"#41\",\"n\":0}}\n";
        assert_eq!(out, want);
    }
}
