//! A pretend model: what an engine would compute, as a pure function that is cheap and known to everybody.
//!
//! The real desk, the real batch and the real keeper run over it; only the arithmetic and the vocabulary are
//! made up. The next token is a hash of everything before it, of the request's seed and of the choice, so
//! the right answer to any request is known before it is asked ([`right`]). What a worker evaluates is kept
//! in pretend pages and read back from there: a page that was mixed up, freed too early or copied wrongly
//! changes the answer.

use crate::checker::streams::{Right, RightChoice, RightEcho};
use crate::dice::mix;
use troop_actors::engine::frames::{EngineFacts, ToEngine};
use troop_actors::engine::{Desk, Forward, PAGE_TOKENS, Params, Plan, Reads, Run, Sampler, Words};
use troop_actors::engine::{Mean, log_probabilities};
use troop_actors::generate::{
    Failure, Finish, Generate, Likely, Logprob, Prompt, Shape, Tally, Task, Vector,
};
use troop_actors::ids::Passport;
use troop_actors::receipt::transcript;
use troop_actors::session::protocol::Told;

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
            Prompt::Text(text) | Prompt::Marked { text, .. } => text.bytes().map(id).collect(),
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

    /// The logits after `context`: a hash of all of it spread over the vocabulary.
    pub fn logits(model: Passport, context: impl Iterator<Item = u32>) -> Vec<f32> {
        let model = u64::from_le_bytes(model.0[..8].try_into().expect("a passport has 32 bytes"));
        let hash = context.fold(mix(model), |hash, id| {
            mix(hash.rotate_left(5) ^ u64::from(id))
        });
        let logit = |id: u32| (mix(hash ^ u64::from(id)) >> 48) as f32 / 8_192.0;
        (0..Speech::SIZE).map(logit).collect()
    }
}

impl Words for Speech {
    fn prompt(
        &self,
        prompt: &Prompt,
        _shape: &Shape,
        _now_seconds: u64,
    ) -> Result<Vec<u32>, Failure> {
        Ok(Speech::ids(prompt))
    }

    fn piece(&self, id: u32) -> &[u8] {
        Speech::bytes(id)
    }

    fn name(&self, id: u32) -> &[u8] {
        match id {
            Speech::END => b"<end>",
            id => Speech::bytes(id),
        }
    }

    fn is_end(&self, id: u32) -> bool {
        id == Speech::END
    }

    fn vocabulary(&self) -> u32 {
        Speech::SIZE
    }

    /// No bound, so that no prompt is refused unread: the right answer counts its tokens.
    fn longest(&self) -> u32 {
        u32::MAX
    }
}

/// The pretend arithmetic: its pages hold the tokens themselves where a model's hold keys and values.
#[derive(Debug)]
pub struct Pretend {
    model: Passport,
    pages: Vec<[Option<u32>; PAGE_TOKENS as usize]>,
}

impl Pretend {
    fn cell(&mut self, run: &Run, position: u32) -> &mut Option<u32> {
        let page = run.pages[(position / PAGE_TOKENS) as usize];
        &mut self.pages[page.0 as usize][(position % PAGE_TOKENS) as usize]
    }
}

impl Forward for Pretend {
    fn step(&mut self, plan: &Plan) -> Vec<Result<Option<Vec<f32>>, Failure>> {
        for copy in &plan.copies.whole {
            self.pages[copy.to.0 as usize] = self.pages[copy.from.0 as usize];
        }
        for run in &plan.runs {
            for (position, token) in (run.start..).zip(&run.tokens) {
                *self.cell(run, position) = Some(*token);
            }
        }
        let mut results = Vec::with_capacity(plan.runs.len());
        for run in plan.runs.iter() {
            let end = run.start + run.tokens.len() as u32;
            let context: Vec<u32> = (0..end)
                .map(|position| {
                    let token = *self.cell(run, position);
                    token.expect("a position before the end of a run was evaluated before")
                })
                .collect();
            let ends = run.start as usize + 1..=context.len();
            let logits = |end: usize| Speech::logits(self.model, context[..end].iter().copied());
            results.push(Ok(match run.reads {
                Reads::Last => run.draws.then(|| logits(context.len())),
                Reads::Every | Reads::Drafted => Some(ends.flat_map(logits).collect()),
                Reads::Hidden => Some(ends.flat_map(|end| hidden(logits(end))).collect()),
            }));
        }
        results
    }
}

/// An engine's process, between its start and its end.
pub struct Child {
    /// Which life of the keeper started it.
    pub process: u64,
    /// The number of its own life.
    pub life: u64,
    /// The engine itself.
    pub desk: Desk<Pretend, Speech>,
    /// Whether the model is loaded.
    pub loaded: bool,
    /// Whether it has stopped answering, for good.
    pub stalled: bool,
    /// Whether a step is under way.
    pub stepping: bool,
    /// Frames that wait in the pipe until it has loaded.
    pub early: Vec<ToEngine>,
}

impl Child {
    /// A child that has yet to load its model.
    pub fn new(process: u64, life: u64, model: Passport, pages: u32, sequences_max: u32) -> Child {
        let forward = Pretend {
            model,
            pages: vec![[None; PAGE_TOKENS as usize]; pages as usize],
        };
        let facts = EngineFacts {
            context: Speech::CONTEXT.min(pages * PAGE_TOKENS),
            sequences_max,
            overhead_fixed_bytes: Speech::OVERHEAD_FIXED,
            overhead_turn_bytes: Speech::OVERHEAD_TURN,
            weight_bytes: 0,
            pages,
            page_bytes: 4 * u64::from(PAGE_TOKENS),
            window: 0,
            window_pages: 0,
            window_page_bytes: 0,
            class: "pretend".to_owned(),
        };
        Child {
            process,
            life,
            desk: Desk::new(forward, Speech, facts),
            loaded: false,
            stalled: false,
            stepping: false,
            early: Vec::new(),
        }
    }
}

/// The hidden state that goes with logits: a few of them.
fn hidden(logits: Vec<f32>) -> impl Iterator<Item = f32> {
    logits.into_iter().take(8)
}

/// The one right answer to a request for a vector.
fn right_vector(generate: &Generate, prompt: &[u32]) -> Right {
    let mut mean = Mean::new(8);
    for end in 1..=prompt.len() {
        let logits = Speech::logits(generate.model, prompt[..end].iter().copied());
        mean.add(&hidden(logits).collect::<Vec<f32>>());
    }
    let vector = Vector::from(&*mean.result());
    let tally = Tally::of_vector(prompt, &vector);
    Right {
        prompt_tokens: tally.prompt_tokens,
        echo: RightEcho::default(),
        vector: Some(vector),
        choices: vec![RightChoice {
            tokens: tally.completion_tokens,
            text: String::new(),
            told: Vec::new(),
            finish: Finish::Stop,
        }],
        transcript: tally.transcript,
    }
}

/// What is told back of a prompt.
fn right_echo(generate: &Generate, prompt: &[u32]) -> RightEcho {
    if generate.task != Task::Echo {
        return RightEcho::default();
    }
    let pieces = prompt.iter().flat_map(|id| Speech::bytes(*id));
    let mut told = Vec::new();
    for (at, id) in prompt.iter().enumerate() {
        let Some(count) = generate.logprobs else {
            continue;
        };
        let likely = |id: u32, logprob| Likely {
            id,
            bytes: Speech.name(id).to_vec(),
            logprob,
        };
        let odds = match at {
            0 => vec![likely(*id, Logprob::NONE)],
            at => {
                let logits = Speech::logits(generate.model, prompt[..at].iter().copied());
                let (own, top) = log_probabilities(&logits, *id, count.into());
                let all = std::iter::once((*id, own)).chain(top);
                all.map(|(id, logprob)| likely(id, logprob.into()))
                    .collect()
            }
        };
        told.push(Told {
            bytes: Speech::bytes(*id).to_vec(),
            odds,
        });
    }
    RightEcho {
        text: shown(&pieces.copied().collect::<Vec<u8>>()),
        told,
    }
}

/// The one right answer to a request.
pub fn right(generate: &Generate) -> Right {
    let prompt = Speech::ids(&generate.prompt);
    if generate.task == Task::Embed {
        return right_vector(generate, &prompt);
    }
    let mut all = Vec::new();
    let mut choices = Vec::new();
    for choice in 0..generate.choices {
        let mut context = prompt.clone();
        let mut bytes: Vec<u8> = Vec::new();
        let mut told: Vec<(usize, Told)> = Vec::new();
        let params = Params {
            logprobs: generate.logprobs,
            ..Params::from(&generate.sampling)
        };
        let mut sampler = Sampler::new(params, choice, &prompt);
        let ends =
            |id: &u32| generate.stop_ids.contains(id) || *id == Speech::END && !generate.ignore_end;
        let mut going_on = vec![0; Speech::SIZE.div_ceil(32) as usize];
        for id in (0..Speech::SIZE).filter(|id| !ends(id)) {
            going_on[id as usize / 32] |= 1 << (id % 32);
        }
        let finish = loop {
            let written = context.len() - prompt.len();
            if written >= generate.tokens_max as usize || context.len() >= Speech::CONTEXT as usize
            {
                break Finish::Length;
            }
            let logits = Speech::logits(generate.model, context.iter().copied());
            let early = written < generate.tokens_min as usize;
            let sampled = sampler.sample(&logits, written as u64, early.then_some(&going_on));
            let sampled = sampled.expect("our logits and parameters are in range");
            let id = sampled.id;
            sampler.accept(id);
            context.push(id);
            let piece = match generate.stop_ids.contains(&id) {
                true => b"",
                false => Speech::bytes(id),
            };
            let own = sampled.logprob.map(|logprob| (id, logprob));
            let likely = |(id, logprob): (u32, f64)| Likely {
                id,
                bytes: Speech.name(id).to_vec(),
                logprob: logprob.into(),
            };
            let odds: Vec<Likely> = own.into_iter().chain(sampled.top).map(likely).collect();
            if !odds.is_empty() {
                let bytes_of = piece.to_vec();
                let token = Told {
                    bytes: bytes_of,
                    odds,
                };
                told.push((bytes.len(), token));
            }
            if ends(&id) {
                break Finish::Stop;
            }
            bytes.extend_from_slice(piece);
            let stop = generate
                .stop
                .iter()
                .filter_map(|stop| find(&bytes, stop.as_bytes()))
                .min();
            if let Some(stop) = stop {
                bytes.truncate(stop);
                let before = |begins: usize, token: &Told| {
                    begins < stop || begins == stop && token.bytes.is_empty()
                };
                told.retain(|(begins, token)| before(*begins, token));
                break Finish::Stop;
            }
        };
        let ids = context.split_off(prompt.len());
        choices.push(RightChoice {
            tokens: ids.len() as u32,
            text: shown(&bytes),
            told: told.into_iter().map(|(_, token)| token).collect(),
            finish,
        });
        all.push(ids);
    }
    Right {
        prompt_tokens: prompt.len() as u32,
        echo: right_echo(generate, &prompt),
        vector: None,
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
    fn logits_depend_on_everything_before_them() {
        let logits = |ids: &[u32]| Speech::logits(Passport([7; 32]), ids.iter().copied());
        assert_eq!(logits(&[1, 2, 3]), logits(&[1, 2, 3]));
        assert_ne!(logits(&[1, 2, 3]), logits(&[1, 3, 3]));
        assert_ne!(logits(&[1, 2, 3]), logits(&[2, 2, 3]));
    }
}
