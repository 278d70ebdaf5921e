//! What an answer took, as lines for a person.

use super::super::table;
use super::answer::Answer;
use std::time::Duration;

/// The lines that `--verbose` says after an answer.
pub(super) fn report(answer: &Answer) -> String {
    let (usage, times) = (&answer.usage, &answer.times);
    let all = times.all.unwrap_or_default();
    let begun = times.begun.unwrap_or(all);
    let first = times.first.unwrap_or(all);
    let read = first.saturating_sub(begun);
    let said = all.saturating_sub(first);
    let fresh = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
    let cached = match usage.cached_tokens {
        0 => String::new(),
        cached => format!(", {cached} of them known already"),
    };
    let mut lines = vec![
        format!("total        {}", seconds(all)),
        format!("queue, load  {}", seconds(begun)),
        format!(
            "prompt       {} tokens{cached}, {}{}",
            usage.prompt_tokens,
            seconds(read),
            rate(fresh, read)
        ),
        format!("first text   {}", seconds(first)),
        // The first token came with the first text; the others after it.
        format!(
            "answer       {} tokens, {}{}",
            usage.completion_tokens,
            seconds(said),
            rate(usage.completion_tokens.saturating_sub(1), said)
        ),
    ];
    if let Some(cost) = usage.cost_micros {
        lines.push(format!("credits      {}", table::credits(cost)));
    }
    lines.join("\n")
}

fn seconds(span: Duration) -> String {
    format!("{:.3} s", span.as_secs_f64())
}

fn rate(tokens: u64, span: Duration) -> String {
    // What came in one piece has no rate.
    match span < Duration::from_millis(1) || tokens == 0 {
        true => String::new(),
        false => format!(", {:.1} tokens/s", tokens as f64 / span.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::{Times, Usage};
    use super::*;

    #[test]
    fn a_rate_is_of_what_was_computed_and_nothing_is_divided_by_nothing() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let mut answer = Answer {
            usage: Usage {
                prompt_tokens: 120,
                cached_tokens: 20,
                completion_tokens: 41,
                cost_micros: Some(1_250_000),
            },
            times: Times {
                begun: ms(10),
                first: ms(510),
                all: ms(2_510),
            },
            ..Answer::default()
        };
        assert_eq!(
            report(&answer),
            "total        2.510 s\n\
             queue, load  0.010 s\n\
             prompt       120 tokens, 20 of them known already, 0.500 s, 200.0 tokens/s\n\
             first text   0.510 s\n\
             answer       41 tokens, 2.000 s, 20.0 tokens/s\n\
             credits      1.25"
        );
        answer = Answer::default();
        assert!(!report(&answer).contains("tokens/s"));
    }
}
