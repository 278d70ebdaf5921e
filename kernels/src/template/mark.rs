//! Marks on the strings of a conversation, by which its characters are known again after rendering.
//!
//! | marking | what becomes of a user's characters | so a template may |
//! |---|---|---|
//! | everything | each but white space: a stand-in of plane 16 | trim, join, repeat, cut |
//! | edges replaced | those that begin or end a control token: a stand-in | also search for words |
//! | edges flagged | before one that begins, and after one that ends, a flag | also split at `</think>` |
//!
//! A reading is believed only where the rendering without its marks is the plain one, so a template that
//! reacts to a mark, or cuts one off its character, is noticed.

use crate::tokenizer::{Origin, Segment};

use super::Conversation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marking {
    Everything,
    EdgesReplaced,
    EdgesFlagged,
}

/// Characters that begin, and characters that end, some control token.
#[derive(Debug)]
pub(super) struct Edges {
    first: Vec<char>,
    last: Vec<char>,
}

impl Edges {
    pub(super) fn of<'t>(tokens: impl Iterator<Item = &'t str>) -> Self {
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for token in tokens {
            first.extend(token.chars().next());
            last.extend(token.chars().next_back());
        }
        for edges in [&mut first, &mut last] {
            edges.sort_unstable();
            edges.dedup();
        }
        Self { first, last }
    }

    fn has(&self, character: char) -> bool {
        self.first.contains(&character) || self.last.contains(&character)
    }
}

pub(super) struct Marks<'a> {
    marking: Marking,
    edges: &'a Edges,
    /// Before a character that begins a control token, and after one that ends one.
    flags: (char, char),
    /// Users' own characters of plane 16 give way rather than be mistaken for marks.
    yielding: bool,
}

impl<'a> Marks<'a> {
    /// None where the conversation or its plain rendering has characters that could be mistaken for the
    /// marks.
    pub(super) fn new(
        marking: Marking,
        edges: &'a Edges,
        plain: &str,
        conversation: &Conversation<'_>,
    ) -> Option<Self> {
        // Characters a plain rendering left out count too: a marked one need not leave them out.
        let free = |test: &dyn Fn(char) -> bool| {
            let none = |text: &str| !text.chars().any(test);
            let mut values = conversation.messages.iter().chain(conversation.tools);
            none(plain) && values.all(|value| all(value, &none))
        };
        let mut flags = (FLAGS.0, FLAGS.0);
        if marking == Marking::EdgesFlagged {
            let mut unused = (FLAGS.0..=FLAGS.1).filter(|flag| free(&|one| one == *flag));
            flags = (unused.next()?, unused.next()?);
        } else if !free(&is_stand_in) {
            return None;
        }
        Some(Self {
            marking,
            edges,
            flags,
            yielding: false,
        })
    }

    pub(super) fn last_resort(edges: &'a Edges) -> Self {
        Self {
            marking: Marking::EdgesReplaced,
            edges,
            flags: FLAGS,
            yielding: true,
        }
    }

    /// A message with all its strings marked but its role.
    pub(super) fn message(&self, message: &serde_json::Value) -> serde_json::Value {
        let mut marked = self.value(message);
        if let Some(role) = message.get("role") {
            marked["role"] = role.clone();
        }
        marked
    }

    pub(super) fn value(&self, value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(values) => values.iter().map(|value| self.value(value)).collect(),
            // Keys are the API's words, and templates ask for them by name; those of a tool's schema are
            // a user's, and are marked where that changes no word: at edges.
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| (self.key(key), self.value(value)))
                .collect(),
            other => other.clone(),
        }
    }

    fn key(&self, key: &str) -> String {
        if key.contains(|character| self.edges.has(character)) {
            self.text(key)
        } else {
            key.to_owned()
        }
    }

    fn text(&self, text: &str) -> String {
        let mut marked = String::with_capacity(text.len() * 2);
        for character in text.chars() {
            let (first, last) = (
                self.edges.first.contains(&character),
                self.edges.last.contains(&character),
            );
            match self.marking {
                _ if self.yielding && is_stand_in(character) => marked.push('\u{fffd}'),
                Marking::Everything if !character.is_whitespace() => {
                    marked.push(stand_in(character))
                }
                Marking::EdgesReplaced if first || last => marked.push(stand_in(character)),
                Marking::EdgesFlagged => {
                    marked.extend(first.then_some(self.flags.0));
                    marked.push(character);
                    marked.extend(last.then_some(self.flags.1));
                }
                _ => marked.push(character),
            }
        }
        marked
    }

    /// The text of a rendering of marked strings, and whose it is. None where it is not `plain`.
    pub(super) fn read(&self, marked: &str, plain: Option<&str>) -> Option<Vec<Segment>> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut length = 0;
        let mut characters = marked.chars().peekable();
        let flagging = self.marking == Marking::EdgesFlagged;
        let mut opened = false;
        while let Some(character) = characters.next() {
            if flagging && (character == self.flags.0 || character == self.flags.1) {
                opened = character == self.flags.0;
                continue;
            }
            let closed = flagging && characters.peek() == Some(&self.flags.1);
            let own = if flagging {
                character
            } else {
                original(character)
            };
            // A flag whose character was cut off may stand beside one of the template's. That one then
            // counts as the user's: the harmless way to be wrong.
            let user = own != character
                || (opened && self.edges.first.contains(&own))
                || (closed && self.edges.last.contains(&own));
            opened = false;
            let original = own;
            length += original.len_utf8();
            let from = if user { Origin::User } else { Origin::Template };
            match segments.last_mut() {
                Some(last) if last.from == from => last.text.push(original),
                _ => segments.push(Segment {
                    text: original.into(),
                    from,
                }),
            }
        }
        if let Some(plain) = plain {
            let mut rest = plain;
            for segment in &segments {
                rest = rest.strip_prefix(segment.text.as_str())?;
            }
            if length != plain.len() {
                return None;
            }
        }
        Some(segments)
    }
}

fn all(value: &serde_json::Value, test: &impl Fn(&str) -> bool) -> bool {
    match value {
        serde_json::Value::String(text) => test(text),
        serde_json::Value::Array(values) => values.iter().all(|value| all(value, test)),
        serde_json::Value::Object(fields) => fields
            .iter()
            .all(|(key, value)| test(key) && all(value, test)),
        _ => true,
    }
}

/// The stand-in of a character: itself, 16 planes further. Characters beyond the first plane stand for
/// themselves; no control token begins or ends with one.
fn stand_in(character: char) -> char {
    let number = character as u32;
    if number > 0xfffd {
        character
    } else {
        char::from_u32(PLANE + number).unwrap_or(character)
    }
}

fn original(character: char) -> char {
    if !is_stand_in(character) {
        return character;
    }
    char::from_u32(character as u32 - PLANE).unwrap_or(character)
}

/// Whether a character may be one of our marks, which nothing may write in another form.
pub(super) fn is_mark(character: char) -> bool {
    is_stand_in(character) || (FLAGS.0..=FLAGS.1).contains(&character)
}

fn is_stand_in(character: char) -> bool {
    character as u32 >= PLANE
}

const PLANE: u32 = 0x10_0000;
/// Noncharacters, which no text should have.
const FLAGS: (char, char) = ('\u{fdd0}', '\u{fdef}');
