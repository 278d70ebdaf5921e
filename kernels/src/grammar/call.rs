//! How a call of a tool is written.
//!
//! ```text
//! <tool_call>
//! {"name": "weather", "arguments": {"city": "Bern"}}
//! </tool_call>
//! ```
//!
//! So Qwen, Hermes, SmolLM and many others were taught. A call begins with its first line and its name, to the
//! byte, so that whoever reads the answer knows a call before its arguments have come.

/// What a call begins with.
pub const CALL_OPEN: &str = "<tool_call>";
/// Between the beginning and the name.
pub const CALL_NAME: &str = "\n{\"name\": \"";
/// Between the name and the arguments.
pub const CALL_ARGUMENTS: &str = "\", \"arguments\": ";
/// After the arguments.
pub const CALL_CLOSE: &str = "}\n</tool_call>";
/// Calls that are forced, at most, one after the other.
pub const CALLS_MAX: u32 = 8;

/// The name of the grammar of one tool's arguments.
pub(super) fn part(index: usize) -> String {
    format!("arguments_{index}")
}

/// The grammar of up to so many calls.
pub(super) fn lark<'a>(names: impl Iterator<Item = &'a str>, calls: u32) -> String {
    let mut lark = match calls {
        1 => "start: call\n".to_owned(),
        _ => format!("start: call (\"\\n\" call){{0,{}}}\n", calls - 1),
    };
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut rules = String::new();
    let mut choices = Vec::new();
    for (index, name) in names.enumerate() {
        let head = quoted(&format!("{CALL_OPEN}{CALL_NAME}{name}{CALL_ARGUMENTS}"));
        let part = part(index);
        rules.push_str(&format!(
            "call_{index}: {head} @{part} {}\n",
            quoted(CALL_CLOSE)
        ));
        choices.push(format!("call_{index}"));
    }
    lark.push_str(&format!("call: {}\n", choices.join(" | ")));
    lark + &rules
}

/// Looks for the beginning of a call in text that comes in pieces.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// Whether there may be a call after a call.
    pub(super) many: bool,
    /// The last bytes, fewer than the beginning of a call has.
    tail: Vec<u8>,
}

impl Watch {
    pub(super) fn new(many: bool) -> Watch {
        Watch {
            many,
            tail: Vec::new(),
        }
    }

    /// Takes more bytes; the beginning of a call and what follows it, where they complete one.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let open = CALL_OPEN.as_bytes();
        self.tail.extend_from_slice(bytes);
        let found = self
            .tail
            .windows(open.len())
            .position(|window| window == open);
        match found {
            Some(at) => Some(self.tail.split_off(at)),
            None => {
                let keep = self.tail.len().min(open.len() - 1);
                self.tail.drain(..self.tail.len() - keep);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_seen_however_it_is_cut() {
        let text = "a < <tool_ <tool_call>\n{";
        for width in 1..=text.len() {
            let mut watch = Watch::new(false);
            let mut pieces = text.as_bytes().chunks(width);
            let begun = pieces.find_map(|piece| watch.push(piece)).expect("a call");
            let mut whole = begun;
            whole.extend(pieces.flatten());
            assert_eq!(whole, b"<tool_call>\n{", "{width}");
        }
    }
}
