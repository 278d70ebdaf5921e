//! Text as it comes, for a terminal: broken between words, and unable to do anything but be text.
//!
//! Every piece is shown at once. A word that turns out not to fit is taken back and said on the next line.
//! Control characters, with which a terminal could be moved, renamed or asked questions, become `�`.

/// Where the cursor is, and the word it is in.
#[derive(Debug)]
pub(super) struct Wrap {
    /// Columns of the terminal; nothing is broken where it is not known or not wanted.
    width: Option<usize>,
    column: usize,
    word: String,
    word_columns: usize,
}

impl Wrap {
    pub(super) fn new(width: Option<usize>) -> Wrap {
        Wrap {
            width,
            column: 0,
            word: String::new(),
            word_columns: 0,
        }
    }

    /// What the terminal is to be sent for `text`.
    pub(super) fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            self.put(c, &mut out);
        }
        out
    }

    /// Whether the cursor stands where a line begins.
    pub(super) fn at_line_start(&self) -> bool {
        self.column == 0
    }

    fn put(&mut self, c: char, out: &mut String) {
        match c {
            '\n' => self.next_line(out),
            ' ' | '\t' => {
                let wide = if c == '\t' {
                    TAB - self.column % TAB
                } else {
                    1
                };
                self.word.clear();
                self.word_columns = 0;
                // A space at the edge is the line's end.
                if self.width.is_some_and(|width| self.column + wide > width) {
                    self.next_line(out);
                } else {
                    self.column += wide;
                    out.push(c);
                }
            }
            _ => {
                let c = if c.is_control() { '\u{fffd}' } else { c };
                let wide = columns(c);
                let over = self.width.is_some_and(|width| self.column + wide > width);
                let begun = self.column > self.word_columns;
                if over && begun {
                    // The word began in mid-line: it goes where it fits, or at least where a line begins.
                    if self.word_columns > 0 {
                        out.push_str(&format!("\x1b[{}D\x1b[K", self.word_columns));
                    }
                    let word = std::mem::take(&mut self.word);
                    let wide = self.word_columns;
                    self.next_line(out);
                    out.push_str(&word);
                    (self.word, self.word_columns, self.column) = (word, wide, wide);
                } else if over {
                    self.next_line(out);
                }
                self.word.push(c);
                self.word_columns += wide;
                self.column += wide;
                out.push(c);
            }
        }
    }

    fn next_line(&mut self, out: &mut String) {
        out.push('\n');
        self.column = 0;
        self.word.clear();
        self.word_columns = 0;
    }
}

/// Columns a character takes: none for marks over others, two in the blocks of wide ones. A terminal may know
/// better of the rest; then a line is broken early or late, and nothing is lost.
fn columns(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => 2,
        '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' => 2,
        '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Columns between two stops of a terminal.
const TAB: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a terminal shows after `sent`, as lines.
    fn screen(sent: &str) -> Vec<String> {
        let mut lines = vec![Vec::new()];
        let mut rest = sent.chars();
        while let Some(c) = rest.next() {
            let line = lines.last_mut().expect("one");
            match c {
                '\n' => lines.push(Vec::new()),
                '\x1b' => {
                    let code: String = rest.by_ref().skip(1).take_while(|c| *c != 'D').collect();
                    let back: usize = code.parse().expect("a number of columns");
                    assert_eq!(rest.by_ref().take(3).collect::<String>(), "\x1b[K");
                    line.truncate(line.len() - back);
                }
                c => line.push(c),
            }
        }
        lines.into_iter().map(String::from_iter).collect()
    }

    #[test]
    fn words_that_do_not_fit_go_to_the_next_line_and_nothing_else_does() {
        let cases = [
            ("the sky is blue", vec!["the sky", "is blue"]),
            ("the sky isblue", vec!["the sky", "isblue"]),
            ("abcdefghij", vec!["abcdefgh", "ij"]),
            ("a abcdefghij", vec!["a ", "abcdefgh", "ij"]),
            ("12345678 x", vec!["12345678", "x"]),
            ("1234567\n8", vec!["1234567", "8"]),
        ];
        for (text, lines) in cases {
            for size in [1, 2, 100] {
                let mut wrap = Wrap::new(Some(8));
                let chars: Vec<char> = text.chars().collect();
                let pieces = chars.chunks(size).map(String::from_iter);
                let sent: String = pieces.map(|piece| wrap.push(&piece)).collect();
                let shown = screen(&sent);
                let shown: Vec<_> = shown.iter().map(|line| line.trim_end()).collect();
                let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
                assert_eq!(shown, lines, "{text} by {size}");
            }
        }
        // Wide letters take two columns, and are taken back by columns.
        assert_eq!(
            Wrap::new(Some(6)).push("a 日本語"),
            "a 日本\x1b[4D\x1b[K\n日本語"
        );
    }

    #[test]
    fn a_model_cannot_touch_the_terminal() {
        let mut wrap = Wrap::new(None);
        let sent = wrap.push("\x1b]0;mine\x07 \u{9b}2J\r\x08ok\tok");
        assert_eq!(
            sent,
            "\u{fffd}]0;mine\u{fffd} \u{fffd}2J\u{fffd}\u{fffd}ok\tok"
        );
    }

    proptest! {
        #[test]
        fn no_letter_is_lost_and_no_line_is_too_long(
            text in "[a-z ]{0,60}", width in 1usize..12, size in 1usize..7,
        ) {
            let mut wrap = Wrap::new(Some(width));
            let chars: Vec<char> = text.chars().collect();
            let sent: String = chars.chunks(size).map(|piece| wrap.push(&String::from_iter(piece))).collect();
            let shown = screen(&sent);
            prop_assert!(shown.iter().all(|line| line.len() <= width));
            let letters = |text: &str| text.replace([' ', '\n'], "");
            prop_assert_eq!(letters(&shown.concat()), letters(&text));
        }
    }
}
