//! The quiz's programs on the lesson screen of the live page.

use bucle::inspect::{Checked, Lesson, Lessons};

use super::language::{Language, words};
use super::question::Question;
use super::questions::questions;
use super::stage;

/// The questions, as lessons of the page.
pub(crate) struct PageLessons;

impl Lessons for PageLessons {
    fn list(&self, lang: &str) -> Vec<Lesson> {
        let language = language(lang);
        questions(language).iter().map(|question| lesson(question, language)).collect()
    }

    fn check(&self, lesson: usize, order: &[usize], lang: &str) -> Result<Checked, String> {
        let language = language(lang);
        let questions = questions(language);
        let Some(question) = questions.get(lesson) else {
            return Err(words!(language, "there is no such lesson", "no existe esa lección"));
        };
        let (texts, rule) = (question.texts(), question.lesson());
        let mut places = order.to_vec();
        places.sort_unstable();
        if places != (0..texts.len()).collect::<Vec<_>>() {
            return Err(words!(
                language,
                "an order has every line exactly once",
                "un orden tiene cada línea exactamente una vez"
            ));
        }
        let run = stage::run(|lp| question.program.start(lp), question.time).map_err(|error| {
            let code = error.code();
            words!(language, "the program cannot run: {code}", "el programa no puede correr: {code}")
        })?;
        let place_of = |text: &str| texts.iter().position(|&known| known == text);
        let ran: Vec<usize> = run.order().into_iter().filter_map(place_of).collect();
        if question.is_race() {
            return Ok(Checked { is_right: true, order: ran, text: rule.to_owned() });
        }
        let answer: Vec<_> = order.iter().map(|&place| texts[place]).collect();
        let difference = run.first_difference(&answer);
        let text = match difference {
            Some(difference) => format!("{} {rule}", run.why(difference, language)),
            None => rule.to_owned(),
        };
        Ok(Checked { is_right: difference.is_none(), order: ran, text })
    }
}

/// The language with this code. English, if there is none.
fn language(code: &str) -> Language {
    Language::of(code).unwrap_or(Language::English)
}

fn lesson(question: &Question, language: Language) -> Lesson {
    Lesson {
        title: question.title.clone(),
        source: question.listing(),
        note: question.note(language).join(" "),
        lines: question.texts().into_iter().map(str::to_owned).collect(),
        hint: question.hint.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_run_is_right_and_another_one_has_a_reason() {
        for (number, question) in questions(Language::English).iter().enumerate() {
            let lines = question.texts().len();
            let any: Vec<usize> = (0..lines).collect();
            let ran = PageLessons.check(number, &any, "en").expect("it is an order").order;
            let checked = PageLessons.check(number, &ran, "en").expect("it is an order");
            assert!(checked.is_right && checked.text == question.lesson(), "{}", question.title);
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
        assert!(checked.text.starts_with("\"main\" corrió en el cuerpo principal;"), "{}", checked.text);
        assert!(checked.text.ends_with("después todas las microtareas."), "{}", checked.text);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for order in [&[][..], &[0], &[0, 0, 1], &[0, 1, 99], &[usize::MAX; 3]] {
            assert!(PageLessons.check(0, order, "en").is_err(), "{order:?}");
        }
        assert!(PageLessons.check(usize::MAX, &[0], "en").is_err());
    }
}
