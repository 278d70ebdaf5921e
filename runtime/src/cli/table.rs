//! Tables and amounts as people read them: no borders, upper-case headers, numbers to the right.

use super::fault::Fault;
use super::{Context, print};
use troop_gateway::nearest;

/// Prints rows below a header; columns of numbers are those whose header ends in a space. Quietly, the first
/// column alone: it is what other verbs take as an argument.
pub(super) fn show(context: &Context, header: &[&str], rows: &[Vec<String>]) -> Result<(), Fault> {
    let columns = match (context.quiet, &context.columns[..]) {
        (true, []) => return rows.iter().try_for_each(|row| print(&row[0])),
        (_, names) => chosen(names, header)?,
    };
    let header: Vec<&str> = columns.iter().map(|column| header[*column]).collect();
    let pick = |row: &Vec<String>| columns.iter().map(|column| row[*column].clone()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(pick).collect();
    let titled = context.header && !context.quiet;
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        let title = header[column].trim_end().chars().count();
        cells.chain(titled.then_some(title)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells
            .iter()
            .zip(&widths)
            .zip(&header)
            .map(|((cell, width), title)| {
                if title.ends_with(' ') {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
        print(cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    if titled {
        line(header.iter().map(|title| title.trim_end()).collect())?;
    }
    rows.iter()
        .try_for_each(|row| line(row.iter().map(String::as_str).collect()))
}

/// Which columns are meant by `names`, in that order; all of them where none is named.
fn chosen(names: &[String], header: &[&str]) -> Result<Vec<usize>, Fault> {
    let titles = || header.iter().map(|title| title.trim_end());
    if names.is_empty() {
        return Ok((0..header.len()).collect());
    }
    let find = |name: &String| {
        let wanted = name.trim().to_uppercase();
        titles().position(|title| title == wanted).ok_or_else(|| {
            let hint = match nearest(&wanted, titles()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("--columns {}", titles().collect::<Vec<_>>().join(",")),
            };
            Fault::usage(format!("--columns: there is no column {name:?}")).hint(hint)
        })
    };
    names.iter().map(find).collect()
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
    fn columns_are_found_by_name_and_a_wrong_one_says_which_there_are() {
        let header = ["NAME", "SIZE ", "SOURCE"];
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&names, &header).map_err(|fault| format!("{fault:?}"))
        };
        assert_eq!(chosen(&[]), Ok(vec![0, 1, 2]));
        assert_eq!(chosen(&["size", "NAME"]), Ok(vec![1, 0]));
        assert!(
            chosen(&["SICE"])
                .unwrap_err()
                .contains("did you mean SIZE?")
        );
        assert!(
            chosen(&["digest"])
                .unwrap_err()
                .contains("NAME,SIZE,SOURCE")
        );
    }

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
