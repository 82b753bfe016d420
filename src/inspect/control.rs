//! The body of `POST /control`, as a command. Pure.

use std::time::Duration;

use serde_json::Value;

use super::pacing::Command;
use crate::trace::Step;

/// How many callbacks a second slow mode makes, at least and at most.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=1000.0;

/// Reads a body. The error is a sentence for the answer.
pub(super) fn parse(body: &[u8]) -> Result<Command, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "the body is not JSON\n")?;
    match body["do"].as_str() {
        Some("pause") => Ok(Command::Pause),
        Some("resume") => Ok(Command::Resume),
        Some("step") => match body["unit"].as_str() {
            Some("callback") => Ok(Command::Step(Step::Callback)),
            Some("phase") => Ok(Command::Step(Step::Phase)),
            Some("turn") => Ok(Command::Step(Step::Turn)),
            _ => Err("\"unit\" must be \"callback\", \"phase\" or \"turn\"\n"),
        },
        Some("speed") => match body["per_second"].as_f64().filter(|speed| SPEEDS.contains(speed)) {
            Some(per_second) => Ok(Command::Slow(Duration::from_secs_f64(1.0 / per_second))),
            None => Err("\"per_second\" must be a number from 0.1 to 1000\n"),
        },
        _ => Err("\"do\" must be \"pause\", \"resume\", \"step\" or \"speed\"\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_command() {
        let table = [
            (r#"{"do":"pause"}"#, Ok(Command::Pause)),
            (r#"{"do":"resume","unit":"ignored"}"#, Ok(Command::Resume)),
            (r#"{"do":"step","unit":"callback"}"#, Ok(Command::Step(Step::Callback))),
            (r#"{"do":"step","unit":"phase"}"#, Ok(Command::Step(Step::Phase))),
            (r#"{"do":"step","unit":"turn"}"#, Ok(Command::Step(Step::Turn))),
            (r#"{"do":"speed","per_second":4}"#, Ok(Command::Slow(Duration::from_millis(250)))),
            (r#"{"do":"speed","per_second":0.5}"#, Ok(Command::Slow(Duration::from_secs(2)))),
            (r#"{"do":"step"}"#, Err("unit")),
            (r#"{"do":"speed"}"#, Err("per_second")),
            (r#"{"do":"speed","per_second":0}"#, Err("per_second")),
            (r#"{"do":"speed","per_second":-4}"#, Err("per_second")),
            (r#"{"do":"speed","per_second":1e300}"#, Err("per_second")),
            (r#"{"do":"speed","per_second":"4"}"#, Err("per_second")),
            (r#"{"do":"stop"}"#, Err("do")),
            (r#"{"do":["pause"]}"#, Err("do")),
            (r#"["pause"]"#, Err("do")),
            ("null", Err("do")),
            ("", Err("JSON")),
            ("{\"do\":", Err("JSON")),
        ];
        for (body, want) in table {
            match (parse(body.as_bytes()), want) {
                (Err(sentence), Err(word)) => assert!(sentence.contains(word), "{body}: {sentence}"),
                (got, want) => assert_eq!(got, want, "{body}"),
            }
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err(), "deep nesting does not overflow the stack");
    }
}
