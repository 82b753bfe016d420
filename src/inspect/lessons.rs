//! Programs for the lesson screen: the viewer puts their lines into the order in which they will be printed.
//!
//! The inspector knows no programs. A program that has some, such as the quiz of the command, implements [`Lessons`].

use std::any::Any;

use serde_json::{Value, json};

/// The longest order that is accepted, in lines.
const LINES: usize = 100;

/// A set of lessons, for [`start_with_lessons`](super::start_with_lessons).
pub trait Lessons: Any {
    /// All lessons, in the language with this code (`en`, `es`).
    fn list(&self, lang: &str) -> Vec<Lesson>;

    /// Runs the program of a lesson and compares an order with it. `order` has the places of lines in
    /// [`Lesson::lines`]. The inspector calls this on the thread of the watched loop, so it should take milliseconds.
    ///
    /// # Errors
    /// A sentence: there is no such lesson, the order is not one, or the program cannot run.
    fn check(&self, lesson: usize, order: &[usize], lang: &str) -> Result<Checked, String>;
}

/// One lesson.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lesson {
    /// Its subject, in a few words.
    pub title: String,
    /// The text of the program.
    pub source: String,
    /// What the reader of the text should know, such as other names of its calls. May be empty.
    pub note: String,
    /// The lines that it prints, in the order of the text.
    pub lines: Vec<String>,
    /// Helps without giving the answer.
    pub hint: String,
}

/// The result for an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Whether it is that of the run.
    pub is_right: bool,
    /// The order of the run, as places of lines.
    pub order: Vec<usize>,
    /// The first difference and its reason, or the rule to remember.
    pub text: String,
}

/// The lessons as JSON.
pub(super) fn list_json(lessons: &[Lesson]) -> String {
    let lesson = |lesson: &Lesson| {
        let Lesson { title, source, note, lines, hint } = lesson;
        json!({ "title": title, "source": source, "note": note, "lines": lines, "hint": hint })
    };
    Value::Array(lessons.iter().map(lesson).collect()).to_string()
}

/// Reads `{"lesson": 2, "order": [1, 0]}`.
pub(super) fn parse(body: &[u8]) -> Option<(usize, Vec<usize>)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let place = |value: &Value| usize::try_from(value.as_u64()?).ok();
    let order = body["order"].as_array().filter(|order| order.len() <= LINES)?;
    Some((place(&body["lesson"])?, order.iter().map(place).collect::<Option<_>>()?))
}

impl Checked {
    pub(super) fn to_json(&self) -> String {
        json!({ "right": self.is_right, "order": self.order, "text": self.text }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_list_of_places() {
        type Row<'a> = (&'a str, Option<(usize, &'a [usize])>);
        let table: [Row<'_>; 7] = [
            (r#"{"lesson":2,"order":[1,0]}"#, Some((2, &[1, 0]))),
            (r#"{"lesson":0,"order":[]}"#, Some((0, &[]))),
            (r#"{"lesson":-1,"order":[1]}"#, None),
            (r#"{"lesson":1,"order":["a"]}"#, None),
            (r#"{"lesson":1}"#, None),
            ("[]", None),
            ("", None),
        ];
        for (body, want) in table {
            assert_eq!(parse(body.as_bytes()), want.map(|(lesson, order)| (lesson, order.to_vec())), "{body}");
        }
        let many = format!(r#"{{"lesson":1,"order":{:?}}}"#, vec![0; LINES + 1]);
        assert_eq!(parse(many.as_bytes()), None);
    }
}
