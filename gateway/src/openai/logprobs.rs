//! How likely tokens were, in OpenAI's words.
//!
//! A token of half a character reads as U+FFFD in `token`; its `bytes` are exact, and those of all tokens,
//! joined, are the text. A control token adds nothing to a message and has no entry of its own; among the
//! likeliest it is named.

use serde::Serialize;
use std::borrow::Cow;
use troop_actors::generate::Likely;
use troop_actors::session::protocol::Told;

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

/// Bytes that `tokens` take at most once they are written down, for the bound of an answer.
pub(super) fn written_bytes(tokens: &[Told]) -> usize {
    let all = tokens.iter().flat_map(|token| &token.odds);
    // The names of the members and a number are under a hundred bytes; a byte is written as text in up to
    // six and as a number in up to four.
    all.map(|one| 100 + 10 * one.bytes.len()).sum()
}
