//! Spans of time as people type them.

use std::time::Duration;

/// How long an answer may take.
pub(super) fn patience(text: &str) -> Result<Duration, String> {
    up_to(text, PATIENCE_MS_MAX, "a day")
}

/// A span of time: a number, and `ms`, `s`, `m`, `h` or `d`; seconds where none is said. At most `ms_max`,
/// which people call `most`.
pub(super) fn up_to(text: &str, ms_max: u64, most: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return Err("use ms, s, m, h or d".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "use a whole number".to_owned())?;
    match number.checked_mul(unit_ms) {
        Some(ms) if (1..=ms_max).contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("use more than nothing and at most {most}")),
    }
}

/// A day: whoever waits longer for an answer has forgotten the question.
const PATIENCE_MS_MAX: u64 = 24 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_has_a_unit_and_bounds() {
        let cases = [
            ("30s", Some(30_000)),
            ("30", Some(30_000)),
            ("250ms", Some(250)),
            ("2m", Some(120_000)),
            ("24h", Some(86_400_000)),
            ("1d", Some(86_400_000)),
            ("2d", None),
            ("25h", None),
            ("0", None),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999h", None),
            ("3 é", None),
        ];
        for (text, ms) in cases {
            assert_eq!(patience(text).ok(), ms.map(Duration::from_millis), "{text}");
        }
    }
}
