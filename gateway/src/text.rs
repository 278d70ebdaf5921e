//! Making strangers' words safe to repeat: in an error, in a listing, on a terminal.

/// A name as it may be shown: only letters, digits and the marks that names are made of; others become `?`.
pub(crate) fn shown(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(NAME_CHARS_MAX)
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() => c,
            '.' | '_' | '-' | '/' | ':' | '@' | '+' | '[' | ']' | '$' | '~' => c,
            _ => '?',
        })
        .collect();
    if name.chars().nth(NAME_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A sentence as it may be shown: printable ASCII without angle brackets, cut at a bound.
pub(crate) fn plain(sentence: &str) -> String {
    sentence
        .chars()
        .take(SENTENCE_CHARS_MAX)
        .map(|c| match c {
            '<' | '>' => '?',
            c if c.is_ascii_graphic() || c == ' ' => c,
            _ => '?',
        })
        .collect()
}

/// The name among `names` that was most likely meant by `asked`, if any is near: at most a third of its
/// letters differ, or one begins with the other.
pub fn nearest<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let asked: Vec<char> = asked
        .chars()
        .take(NAME_CHARS_MAX)
        .flat_map(char::to_lowercase)
        .collect();
    names
        .filter_map(|name| {
            let letters: Vec<char> = name
                .chars()
                .take(NAME_CHARS_MAX)
                .flat_map(char::to_lowercase)
                .collect();
            let distance = distance(&asked, &letters);
            let begins =
                asked.len() >= 3 && (letters.starts_with(&asked) || asked.starts_with(&letters));
            (begins || distance * 3 <= letters.len().max(asked.len())).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters to insert, remove or exchange, and neighbours to swap, to get from one word to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut below = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let exchanged = row[j] + usize::from(a != b);
            let mut least = exchanged.min(below[j] + 1).min(row[j + 1] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(above[j - 1] + 1);
            }
            below.push(least);
        }
        above = std::mem::replace(&mut row, below);
    }
    row[to.len()]
}

const NAME_CHARS_MAX: usize = 128;
const SENTENCE_CHARS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_calls_a_model_cannot_touch_a_terminal_or_a_page() {
        let cases = [
            ("smollm2", "smollm2"),
            ("a/b:c-1.2_d", "a/b:c-1.2_d"),
            ("\u{1b}[31mred", "?[31mred"),
            ("<script>", "?script?"),
            ("\u{202e}gpt", "?gpt"),
            ("a\r\nb", "a??b"),
        ];
        for (name, expected) in cases {
            assert_eq!(shown(name), expected);
        }
        assert_eq!(shown(&"x".repeat(5000)).len(), 131);
        assert!(plain(&"\u{7}<b>".repeat(5000)).len() <= 512);
        assert!(!plain("a<b>\u{1b}").contains(['<', '\u{1b}']));
    }

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest_one() {
        let names = ["smollm2", "qwen3:0.6b", "llama3.2:1b"];
        let cases = [
            ("smolm2", Some("smollm2")),
            ("SmolLM2", Some("smollm2")),
            ("smollm2 ", Some("smollm2")),
            ("somlml2", Some("smollm2")),
            ("qwen3", Some("qwen3:0.6b")),
            ("gpt-4o-mini", None),
            ("", None),
        ];
        for (asked, expected) in cases {
            assert_eq!(nearest(asked, names.into_iter()), expected, "{asked}");
        }
    }
}
