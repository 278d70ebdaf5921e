//! Cutting text into words before byte pairs are joined, so that no token spans two of them.
//!
//! The rules are regular expressions elsewhere; here each is a scanner with one character of look-ahead,
//! so that no text can make it backtrack. L, N and S are letters, numbers and white space.
//!
//! ```text
//! Gpt2    's|'t|'re|'ve|'m|'ll|'d| ?L+| ?N+| ?[^S L N]+|S+(?!not S)|S
//!         with digits_apart, every number is cut out alone before that
//! Llama3  '(s|t|re|ve|m|ll|d) in any case|[^\r \n L N]?L+|N{1,max}| ?[^S L N]+[\r \n]*|S*[\r \n]+
//!         |S+(?!not S)|S+
//! ```

use super::letters::{is_letter, is_number, is_space};

/// A rule for cutting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// GPT-2's.
    Gpt2 {
        /// Whether each number stands alone.
        digits_apart: bool,
    },
    /// Llama 3's and Qwen 2's.
    Llama3 {
        /// The most numbers in one word.
        digits_max: usize,
    },
}

/// The words of a text, in order; together they are the text.
pub(super) fn split(text: &str, rule: Rule) -> Split<'_> {
    Split { rest: text, rule }
}

pub(super) struct Split<'t> {
    rest: &'t str,
    rule: Rule,
}

impl<'t> Iterator for Split<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.rest.is_empty() {
            return None;
        }
        let length = match self.rule {
            Rule::Gpt2 { digits_apart } => gpt2(self.rest, digits_apart),
            Rule::Llama3 { digits_max } => llama3(self.rest, digits_max),
        };
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(word)
    }
}

fn gpt2(text: &str, digits_apart: bool) -> usize {
    if let Some(length) = contraction(text, false) {
        return length;
    }
    let body = text.strip_prefix(' ').unwrap_or(text);
    let space = text.len() - body.len();
    // Where numbers stand alone, a word ends before one, and a space before one does too.
    match body.chars().next() {
        Some(first) if is_letter(first) => return space + run(body, is_letter),
        Some(first) if is_number(first) => {
            if !digits_apart {
                return space + run(body, is_number);
            }
            if space == 0 {
                return first.len_utf8();
            }
        }
        Some(first) if !is_space(first) => return space + run(body, is_other),
        _ => {}
    }
    let spaces = run(text, is_space);
    // Numbers that are cut out first end the text before them, so all white space goes together there.
    let cut = text[spaces..]
        .chars()
        .next()
        .is_none_or(|next| digits_apart && is_number(next));
    if cut {
        spaces
    } else {
        without_last(text, spaces)
    }
}

fn llama3(text: &str, digits_max: usize) -> usize {
    if let Some(length) = contraction(text, true) {
        return length;
    }
    let mut characters = text.chars();
    let first = characters.next().unwrap_or(' ');
    let width = first.len_utf8();
    if is_letter(first) {
        return run(text, is_letter);
    }
    let letter_follows = characters.next().is_some_and(is_letter);
    if letter_follows && !is_number(first) && !matches!(first, '\r' | '\n') {
        return width + run(&text[width..], is_letter);
    }
    if is_number(first) {
        let numbers = text
            .chars()
            .take(digits_max)
            .take_while(|one| is_number(*one));
        return numbers.map(char::len_utf8).sum();
    }
    let body = text.strip_prefix(' ').unwrap_or(text);
    let others = run(body, is_other);
    if others > 0 {
        let length = text.len() - body.len() + others;
        return length + run(&text[length..], |one| matches!(one, '\r' | '\n'));
    }
    let spaces = run(text, is_space);
    if let Some(last) = text[..spaces].rfind(['\r', '\n']) {
        return last + 1;
    }
    if spaces == text.len() {
        spaces
    } else {
        without_last(text, spaces)
    }
}

/// The length of white space without its last character, which goes with what follows, or of that one
/// character where there is no other.
fn without_last(text: &str, spaces: usize) -> usize {
    let last = text[..spaces].chars().next_back().map_or(0, char::len_utf8);
    if spaces > last { spaces - last } else { spaces }
}

fn contraction(text: &str, any_case: bool) -> Option<usize> {
    let rest = text.strip_prefix('\'')?.as_bytes();
    let is = |end: &[u8]| {
        let start = rest.get(..end.len());
        start.is_some_and(|s| {
            if any_case {
                s.eq_ignore_ascii_case(end)
            } else {
                s == end
            }
        })
    };
    let ends: [&[u8]; 7] = [b"s", b"t", b"re", b"ve", b"m", b"ll", b"d"];
    ends.into_iter()
        .find(|end| is(end))
        .map(|end| 1 + end.len())
}

fn is_other(character: char) -> bool {
    !is_space(character) && !is_letter(character) && !is_number(character)
}

/// The length of the characters at the beginning of which all pass.
fn run(text: &str, pass: impl Fn(char) -> bool) -> usize {
    text.find(|character| !pass(character))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, rule: Rule) -> Vec<&str> {
        let words: Vec<&str> = split(text, rule).collect();
        assert_eq!(words.concat(), text);
        assert!(words.iter().all(|word| !word.is_empty()));
        words
    }

    #[test]
    fn words_are_cut_as_gpt2_cuts_them() {
        let gpt2 = Rule::Gpt2 {
            digits_apart: false,
        };
        let smollm = Rule::Gpt2 { digits_apart: true };
        assert_eq!(
            words("I'm  sure'll 'S x", gpt2),
            ["I", "'m", " ", " sure", "'ll", " '", "S", " x"]
        );
        assert_eq!(
            words("a 123 b\n\n c", gpt2),
            ["a", " 123", " b", "\n\n", " c"]
        );
        assert_eq!(
            words("a 12  3\t4", smollm),
            ["a", " ", "1", "2", "  ", "3", "\t", "4"]
        );
        assert_eq!(words("x\ny  ", gpt2), ["x", "\n", "y", "  "]);
        assert_eq!(words("!?  --\n", gpt2), ["!?", " ", " --", "\n"]);
        assert_eq!(words("", gpt2), [""; 0]);
    }

    #[test]
    fn words_are_cut_as_llama3_and_qwen2_cut_them() {
        let llama = Rule::Llama3 { digits_max: 3 };
        let qwen = Rule::Llama3 { digits_max: 1 };
        assert_eq!(
            words("I'M 12345 ok", llama),
            ["I", "'M", " ", "123", "45", " ok"]
        );
        assert_eq!(words("12 ok", qwen), ["1", "2", " ok"]);
        assert_eq!(words("a !!\n\nb", llama), ["a", " !!\n\n", "b"]);
        assert_eq!(words(" \n \n  x", llama), [" \n \n", " ", " x"]);
        assert_eq!(words("(x) \tb  ", llama), ["(x", ")", " ", "\tb", "  "]);
        assert_eq!(words("\nb", llama), ["\n", "b"]);
    }
}
