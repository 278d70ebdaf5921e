//! Whole characters out of bytes that are cut anywhere.

/// Joins bytes into characters. Keeps at most three bytes: the beginning of a character.
#[derive(Clone, Debug, Default)]
pub struct Characters {
    begun: Vec<u8>,
}

impl Characters {
    /// Bytes that are kept.
    pub fn begun(&self) -> usize {
        self.begun.len()
    }

    /// Takes more bytes and returns every character that is complete now. Bytes that can no longer become
    /// a character become U+FFFD, one for each maximal run, as in `String::from_utf8_lossy`.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.begun.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.begun.len());
        let mut rest = self.begun.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (whole, after) = rest.split_at(error.valid_up_to());
                    // Valid by what the error says; lossy conversion is then the identity.
                    text.push_str(&String::from_utf8_lossy(whole));
                    rest = after;
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &rest[length..];
                        }
                        None => break,
                    }
                }
            }
        }
        let kept = rest.len();
        self.begun.drain(..self.begun.len() - kept);
        text
    }
}
