//! The quiz's programs on the lesson screen of the live page.

use bucle::inspect::{Checked, Lesson, Lessons};

use super::questions::{QUESTIONS, Question};
use super::spanish::SPANISH;
use super::stage;

/// The code of Spanish.
const SPANISH_CODE: &str = "es";

/// The questions, as lessons of the page.
pub(crate) struct PageLessons;

impl Lessons for PageLessons {
    fn list(&self, lang: &str) -> Vec<Lesson> {
        let lesson = |(number, question)| lesson(question, words(number, lang));
        QUESTIONS.iter().enumerate().map(lesson).collect()
    }

    fn check(&self, lesson: usize, order: &[usize], lang: &str) -> Result<Checked, String> {
        let question = QUESTIONS.get(lesson).ok_or("there is no such lesson")?;
        let rule = words(lesson, lang).2;
        let texts = question.program.texts();
        let mut places = order.to_vec();
        places.sort_unstable();
        if places != (0..texts.len()).collect::<Vec<_>>() {
            return Err("an order has every line exactly once".to_owned());
        }
        let run = stage::run(question.program.main, question.time)
            .map_err(|error| format!("the program cannot run: {error}"))?;
        let place_of = |text: &str| texts.iter().position(|&known| known == text);
        let ran: Vec<usize> = run.order().into_iter().filter_map(place_of).collect();
        if question.is_race() {
            return Ok(Checked { is_right: true, order: ran, text: rule.to_owned() });
        }
        let answer: Vec<_> = order.iter().map(|&place| texts[place]).collect();
        let difference = run.first_difference(&answer);
        let text = match difference {
            // The reason from the trace is in English. In Spanish the rule is the reason.
            Some(difference) if lang != SPANISH_CODE => format!("{} {rule}", run.why(difference)),
            _ => rule.to_owned(),
        };
        Ok(Checked { is_right: difference.is_none(), order: ran, text })
    }
}

/// Title, hint and lesson of a question.
fn words(number: usize, lang: &str) -> (&'static str, &'static str, &'static str) {
    match (lang, SPANISH.get(number)) {
        (SPANISH_CODE, Some(words)) => (words.title, words.hint, words.lesson),
        _ => {
            let question = &QUESTIONS[number];
            (question.title, question.hint, question.lesson)
        }
    }
}

fn lesson(question: &Question, (title, hint, _): (&str, &str, &str)) -> Lesson {
    Lesson {
        title: title.to_owned(),
        source: question.program.listing(),
        lines: question.program.texts().into_iter().map(str::to_owned).collect(),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_run_is_right_and_another_one_has_a_reason() {
        for (number, question) in QUESTIONS.iter().enumerate() {
            let lines = question.program.texts().len();
            let any: Vec<usize> = (0..lines).collect();
            let ran = PageLessons.check(number, &any, "en").expect("it is an order").order;
            let checked = PageLessons.check(number, &ran, "en").expect("it is an order");
            assert!(checked.is_right && checked.text == question.lesson, "{}", question.title);
            if !question.is_race() {
                let wrong: Vec<usize> = ran.into_iter().rev().collect();
                let checked = PageLessons.check(number, &wrong, "en").expect("it is an order");
                assert!(!checked.is_right && checked.text.contains("ran"), "{}: {}", question.title, checked.text);
            }
        }
    }

    #[test]
    fn lessons_are_in_both_languages() {
        let (english, spanish) = (PageLessons.list("en"), PageLessons.list("es"));
        assert_eq!(english, PageLessons.list("fr"), "any other language gets English");
        for (english, spanish) in english.iter().zip(&spanish) {
            assert_eq!((&english.source, &english.lines), (&spanish.source, &spanish.lines));
            assert_ne!(english.hint, spanish.hint);
        }
        let checked = PageLessons.check(0, &[0, 1, 2], "es").expect("it is an order");
        assert!(checked.text.starts_with("Un callback corre"), "{}", checked.text);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for order in [&[][..], &[0], &[0, 0, 1], &[0, 1, 99], &[usize::MAX; 3]] {
            assert!(PageLessons.check(0, order, "en").is_err(), "{order:?}");
        }
        assert!(PageLessons.check(usize::MAX, &[0], "en").is_err());
    }
}
