//! How likely tokens were, in OpenAI's words.
//!
//! A token of half a character reads as U+FFFD in `token`; its `bytes` are exact, and those of all tokens,
//! joined, are the text. A control token adds nothing to a message and has no entry of its own; among the
//! likeliest it is named.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use troop_actors::generate::Likely;
use troop_actors::session::protocol::Told;
use troop_actors::text::Characters;

/// `logprobs` of a choice or of a part of it.
#[derive(Serialize)]
pub struct Logprobs<'a> {
    content: Vec<Entry<'a>>,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    own: Named<'a>,
    top_logprobs: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    token: Cow<'a, str>,
    logprob: Option<f64>,
    bytes: &'a [u8],
}

impl<'a> Logprobs<'a> {
    /// Of `tokens`.
    pub fn of(tokens: &'a [Told]) -> Logprobs<'a> {
        let visible = tokens.iter().filter(|token| !token.bytes.is_empty());
        let entry = |token: &'a Told| {
            let (own, top) = token.odds.split_first()?;
            Some(Entry {
                own: Named::of(own),
                top_logprobs: top.iter().map(Named::of).collect(),
            })
        };
        Logprobs {
            content: visible.filter_map(entry).collect(),
            refusal: None,
        }
    }
}

impl<'a> Named<'a> {
    fn of(likely: &'a Likely) -> Named<'a> {
        Named {
            token: String::from_utf8_lossy(&likely.bytes),
            logprob: likely.logprob.value(),
            bytes: &likely.bytes,
        }
    }
}

/// `logprobs` of a completion or of a part of it: the older shape, where every token has its place, one that
/// adds nothing to the text too.
#[derive(Serialize)]
pub struct Legacy<'a> {
    tokens: Vec<Cow<'a, str>>,
    token_logprobs: Vec<Option<f64>>,
    top_logprobs: Vec<Option<Tops<'a>>>,
    text_offset: Vec<u64>,
}

/// How far a text has come: where its next token begins, in characters.
#[derive(Clone, Debug, Default)]
pub struct Offset {
    characters: u64,
    begun: Characters,
}

/// The likeliest tokens of a place and the one that stands there.
struct Tops<'a>(&'a [Likely]);

impl<'a> Legacy<'a> {
    /// Of `tokens`, which begin at `offset`; it is moved to their end.
    pub fn of(tokens: &'a [Told], offset: &mut Offset) -> Legacy<'a> {
        let mut legacy = Legacy {
            tokens: Vec::with_capacity(tokens.len()),
            token_logprobs: Vec::with_capacity(tokens.len()),
            top_logprobs: Vec::with_capacity(tokens.len()),
            text_offset: Vec::with_capacity(tokens.len()),
        };
        for token in tokens {
            let Some(own) = token.odds.first() else {
                continue;
            };
            legacy.tokens.push(spelled(&own.bytes));
            legacy.token_logprobs.push(own.logprob.value());
            let told = own.logprob.value().is_some();
            legacy.top_logprobs.push(told.then_some(Tops(&token.odds)));
            legacy.text_offset.push(offset.characters);
            let text = offset.begun.push(&token.bytes);
            offset.characters += text.chars().count() as u64;
        }
        legacy
    }
}

impl Serialize for Tops<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some((own, top)) = self.0.split_first() {
            let own = Some(own).filter(|own| top.iter().all(|one| one.id != own.id));
            for one in top.iter().chain(own) {
                map.serialize_entry(&*spelled(&one.bytes), &one.logprob.value())?;
            }
        }
        map.end()
    }
}

/// A token as a key: its text, or the bytes of what is none, as OpenAI's API writes them.
fn spelled(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let hex = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
            Cow::Owned(format!("bytes:{}", hex.collect::<String>()))
        }
    }
}

/// Bytes that `tokens` take at most once they are written down, for the bound of an answer.
pub(super) fn written_bytes(tokens: &[Told]) -> usize {
    let all = tokens.iter().flat_map(|token| &token.odds);
    // The names of the members and a number are under a hundred bytes; a byte is written as text in up to
    // six and as a number in up to four.
    all.map(|one| 100 + 10 * one.bytes.len()).sum()
}
