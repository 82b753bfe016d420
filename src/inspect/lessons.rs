//! Programs for the lesson screen: the viewer puts their lines into the order in which they will be printed.
//!
//! The inspector knows no programs. A program that has some, such as the quiz of the command, implements [`Lessons`].

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

/// The longest order that is accepted, in lines.
const LINES: usize = 100;

/// How many languages of the list are kept as text.
const LANGUAGES: usize = 4;

/// A set of lessons, for [`start_with_lessons`](super::start_with_lessons).
pub trait Lessons: Any {
    /// All lessons, in the language with this code (`en`, `es`).
    fn list(&self, lang: &str) -> Vec<Lesson>;

    /// Runs the program of a lesson and compares an order with it. `order` has the places of lines in
    /// [`Lesson::lines`]. The inspector calls this on the thread of the watched loop, so it should take milliseconds.
    /// It is called at most once between two turns of the watched loop, and takes a fifth of the time at most.
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

/// A request about lessons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    List { lang: String },
    Check { lesson: usize, order: Vec<usize>, lang: String },
}

/// Why there is no answer, as a sentence.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// The request asks for something that there is not.
    Request(String),
    /// The lessons have panicked.
    Program,
}

/// The lessons, and the texts of their list that were made already.
pub(super) struct Shelf {
    lessons: Option<Box<dyn Lessons>>,
    /// By language, the newest one first.
    lists: VecDeque<(String, String)>,
}

impl Shelf {
    pub fn new(lessons: Option<Box<dyn Lessons>>) -> Shelf {
        Shelf { lessons, lists: VecDeque::new() }
    }

    /// The answer as JSON. It may take milliseconds.
    pub fn answer(&mut self, wanted: &Wanted) -> Result<String, Failure> {
        // A gate must not panic.
        catch_unwind(AssertUnwindSafe(|| self.try_answer(wanted))).unwrap_or(Err(Failure::Program))
    }

    fn try_answer(&mut self, wanted: &Wanted) -> Result<String, Failure> {
        match (wanted, &self.lessons) {
            (Wanted::List { .. }, None) => Ok("[]".to_owned()),
            (Wanted::Check { .. }, None) => Err(Failure::Request("there are no lessons here".to_owned())),
            (Wanted::List { lang }, Some(lessons)) => {
                if let Some((_, text)) = self.lists.iter().find(|(known, _)| known == lang) {
                    return Ok(text.clone());
                }
                let text = list_json(&lessons.list(lang));
                self.lists.truncate(LANGUAGES - 1);
                self.lists.push_front((lang.clone(), text.clone()));
                Ok(text)
            }
            (Wanted::Check { lesson, order, lang }, Some(lessons)) => {
                let checked = lessons.check(*lesson, order, lang).map_err(Failure::Request)?;
                Ok(checked.to_json())
            }
        }
    }
}

/// The lessons as JSON.
fn list_json(lessons: &[Lesson]) -> String {
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
    fn to_json(&self) -> String {
        json!({ "right": self.is_right, "order": self.order, "text": self.text }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often its list is made, and panics when it is to check.
    struct Counts(std::rc::Rc<std::cell::Cell<usize>>);

    impl Lessons for Counts {
        fn list(&self, lang: &str) -> Vec<Lesson> {
            self.0.set(self.0.get() + 1);
            let [source, note, hint] = [(); 3].map(|()| String::new());
            vec![Lesson { title: lang.to_owned(), source, note, lines: Vec::new(), hint }]
        }

        fn check(&self, _: usize, _: &[usize], _: &str) -> Result<Checked, String> {
            panic!("this lesson has a fault")
        }
    }

    #[test]
    fn the_list_of_a_language_is_made_once_and_few_are_kept() {
        let made = std::rc::Rc::default();
        let mut shelf = Shelf::new(Some(Box::new(Counts(std::rc::Rc::clone(&made)))));
        let mut ask = |lang: &str| shelf.answer(&Wanted::List { lang: lang.to_owned() }).expect("a list");
        for _ in 0..10 {
            assert!(ask("en").contains("\"title\":\"en\"") && ask("es").contains("\"title\":\"es\""));
        }
        assert_eq!(made.get(), 2);
        (0..100).for_each(|lang| drop(ask(&lang.to_string())));
        assert_eq!((made.get(), shelf.lists.len()), (102, LANGUAGES));
    }

    #[test]
    fn lessons_that_panic_fail_and_stop_nothing() {
        let mut shelf = Shelf::new(Some(Box::new(Counts(std::rc::Rc::default()))));
        let check = Wanted::Check { lesson: 0, order: Vec::new(), lang: "en".to_owned() };
        assert_eq!(shelf.answer(&check), Err(Failure::Program));
        assert!(shelf.answer(&Wanted::List { lang: "en".to_owned() }).is_ok());
    }

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
