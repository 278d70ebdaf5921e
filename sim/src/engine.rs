//! A pretend model: what an engine would compute, as a pure function that is cheap and known to everybody.
//!
//! The real desk, the real batch and the real keeper run over it; only the arithmetic and the vocabulary are
//! made up. The next token is a hash of everything before it, of the request's seed and of the choice, so
//! the right answer to any request is known before it is asked ([`right`]). What a worker evaluates is kept
//! in pretend pages and read back from there: a page that was mixed up, freed too early or copied wrongly
//! changes the answer.

use crate::checker::streams::{Right, RightChoice};
use crate::dice::mix;
use troop_actors::generate::{Finish, Generate, Prompt};
use troop_actors::ids::Passport;
use troop_actors::receipt::transcript;

/// The pretend vocabulary and template.
#[derive(Clone, Copy, Debug)]
pub struct Speech;

impl Speech {
    /// Tokens in the vocabulary; 0 ends a turn.
    pub const SIZE: u32 = 96;
    /// The token that ends a turn.
    pub const END: u32 = 0;
    /// Strings that answers contain now and then, within one token or across two.
    pub const STOPS: [&'static str; 3] = ["\n\n", " end", "ab"];
    /// Tokens the pretend model can see.
    pub const CONTEXT: u32 = 1_024;
    /// Bytes its template adds to a conversation.
    pub const OVERHEAD_FIXED: u64 = 2;
    /// And to each turn.
    pub const OVERHEAD_TURN: u64 = 3;

    /// What a token adds to the text. Some end inside a character.
    pub fn bytes(id: u32) -> &'static [u8] {
        const WORDS: [&[u8]; 24] = [
            b"\n",
            b"\n",
            b"a",
            b"b",
            b" en",
            b"d",
            b" end",
            b" the",
            b" troop",
            b"\xc3",
            b"\xa9",
            b"\xe2\x82",
            b"\xac",
            "é".as_bytes(),
            b".",
            b" of",
            b" and",
            b" it",
            b"s",
            b" is",
            b" one",
            b" work",
            b"er",
            b"\xf0\x9f\xa6",
        ];
        match id {
            Speech::END => b"",
            id => WORDS[(id as usize - 1) % WORDS.len()],
        }
    }

    /// The ids of a prompt: at most one for each byte of it and of the template's own.
    pub fn ids(prompt: &Prompt) -> Vec<u32> {
        let id = |byte: u8| 1 + u32::from(byte) % (Speech::SIZE - 1);
        match prompt {
            Prompt::Tokens(ids) => ids.clone(),
            Prompt::Text(text) => text.bytes().map(id).collect(),
            Prompt::Chat(turns) => {
                let mut ids = vec![1, 2];
                for turn in turns {
                    ids.extend([3, 4, 5]);
                    ids.extend(turn.role.bytes().chain(turn.content.bytes()).map(id));
                }
                ids
            }
        }
    }

    /// The token after `context`, for a choice of a request with this seed.
    pub fn next(model: Passport, context: &[u32], seed: u64, choice: u32) -> u32 {
        let model = u64::from_le_bytes(model.0[..8].try_into().expect("a passport has 32 bytes"));
        let start = mix(model ^ seed ^ (u64::from(choice) << 32));
        let hash = context
            .iter()
            .fold(start, |hash, id| mix(hash.rotate_left(5) ^ u64::from(*id)));
        (hash % u64::from(Speech::SIZE)) as u32
    }
}

/// The one right answer to a request.
pub fn right(generate: &Generate) -> Right {
    let prompt = Speech::ids(&generate.prompt);
    let mut all = Vec::new();
    let mut choices = Vec::new();
    for choice in 0..generate.choices {
        let mut context = prompt.clone();
        let mut bytes: Vec<u8> = Vec::new();
        let finish = loop {
            let written = context.len() - prompt.len();
            if written >= generate.tokens_max as usize || context.len() >= Speech::CONTEXT as usize
            {
                break Finish::Length;
            }
            let id = Speech::next(generate.model, &context, generate.sampling.seed, choice);
            context.push(id);
            if id == Speech::END && !generate.ignore_end {
                break Finish::Stop;
            }
            bytes.extend_from_slice(Speech::bytes(id));
            let stop = generate
                .stop
                .iter()
                .filter_map(|stop| find(&bytes, stop.as_bytes()))
                .min();
            if let Some(stop) = stop {
                bytes.truncate(stop);
                break Finish::Stop;
            }
        };
        let ids = context.split_off(prompt.len());
        choices.push(RightChoice {
            tokens: ids.len() as u32,
            text: shown(&bytes),
            finish,
        });
        all.push(ids);
    }
    Right {
        prompt_tokens: prompt.len() as u32,
        choices,
        transcript: transcript(&prompt, all.iter().map(Vec::as_slice)),
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// What a client sees of bytes: bad ones are replaced, and a last character that was only begun is left out.
fn shown(bytes: &[u8]) -> String {
    let begun = (1..4.min(bytes.len() + 1)).find(|begun| {
        let tail = &bytes[bytes.len() - begun..];
        tail[0] >= 0xc0 && std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none())
    });
    let whole = &bytes[..bytes.len() - begun.unwrap_or(0)];
    String::from_utf8_lossy(whole).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_was_only_begun_is_not_shown() {
        let cases: [(&[u8], &str); 6] = [
            (b"", ""),
            (b"a\xc3", "a"),
            (b"a\xc3\xa9", "aé"),
            (b"a\xc3b", "a\u{fffd}b"),
            (b"a\xe2\x82", "a"),
            (b"\xa9", "\u{fffd}"),
        ];
        for (bytes, text) in cases {
            assert_eq!(shown(bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn the_next_token_depends_on_everything_before_it() {
        let model = Passport([7; 32]);
        let next = |context: &[u32]| {
            (0..64)
                .map(|seed| Speech::next(model, context, seed, 0))
                .collect::<Vec<_>>()
        };
        assert_eq!(next(&[1, 2, 3]), next(&[1, 2, 3]));
        assert_ne!(next(&[1, 2, 3]), next(&[1, 3, 3]));
        assert_ne!(next(&[1, 2, 3]), next(&[2, 2, 3]));
    }
}
