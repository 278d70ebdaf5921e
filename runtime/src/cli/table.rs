//! Tables and amounts as people read them: no borders, upper-case headers, numbers to the right.

use super::fault::Fault;
use super::{Context, print};

/// Prints rows below a header; columns of numbers are those whose header ends in a space. Quietly, the first
/// column alone: it is what other verbs take as an argument.
pub(super) fn show(context: &Context, header: &[&str], rows: &[Vec<String>]) -> Result<(), Fault> {
    if context.quiet {
        return rows.iter().try_for_each(|row| print(&row[0]));
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([header[column].trim_end().chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells
            .iter()
            .zip(&widths)
            .zip(header)
            .map(|((cell, width), title)| {
                if title.ends_with(' ') {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
        print(cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    line(header.iter().map(|title| title.trim_end()).collect())?;
    rows.iter()
        .try_for_each(|row| line(row.iter().map(String::as_str).collect()))
}

/// A span of time as people say it: its largest unit.
pub(super) fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// How long ago a moment was.
pub(super) fn ago(then_seconds: u64) -> String {
    use troop_actors::ports::Clock;
    let now = crate::leaves::SystemClock::start().now().seconds();
    format!("{} ago", span(now.saturating_sub(then_seconds)))
}

/// Microcredits as credits, without floats: `12.345678`, trailing zeros cut, two digits kept.
pub(super) fn credits(micros: u64) -> String {
    let part = format!("{:06}", micros % 1_000_000);
    let kept = part.trim_end_matches('0').len().max(2);
    format!("{}.{}", micros / 1_000_000, &part[..kept])
}

/// Bytes as people say them.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{}.{} kB", count / 1_000, count % 1_000 / 100),
        1_000_000..1_000_000_000 => {
            format!("{}.{} MB", count / 1_000_000, count % 1_000_000 / 100_000)
        }
        _ => format!(
            "{}.{} GB",
            count / 1_000_000_000,
            count % 1_000_000_000 / 100_000_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_spans_are_said_as_people_say_them() {
        let cases = [
            (0, "0.00"),
            (1, "0.000001"),
            (1_250_000, "1.25"),
            (2_000_000, "2.00"),
        ];
        for (micros, text) in cases {
            assert_eq!(credits(micros), text);
        }
        assert_eq!(bytes(98_362_432), "98.3 MB");
        let spans = [
            (1, "1 second"),
            (119, "1 minute"),
            (7_200, "2 hours"),
            (86_400, "1 day"),
        ];
        for (seconds, text) in spans {
            assert_eq!(span(seconds), text);
        }
    }
}
