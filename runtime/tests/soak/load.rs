//! What is asked, and when.

use super::child::Story;
use std::time::Duration;
use troop_actors::generate::{Generate, Prompt, Sampling, Shape};
use troop_actors::ids::{Digest, Passport};

/// Chance that is the same every time.
pub(super) struct Dice(u64);

/// Makes requests.
pub(super) struct Load {
    dice: Dice,
    prompt_max: u32,
    tokens_max: u32,
    /// What many prompts begin with.
    shared: Vec<Vec<u32>>,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// From `low`, and below `high`.
    fn between(&mut self, low: u32, high: u32) -> u32 {
        let next = self.0.wrapping_mul(6364136223846793005);
        self.0 = next.wrapping_add(1442695040888963407);
        low + (self.0 >> 33) as u32 % (high - low)
    }

    fn once_in(&mut self, times: u32) -> bool {
        self.between(0, times) == 0
    }

    /// A token of words, none of which is a control token.
    fn text(&mut self, length: u32) -> Vec<u32> {
        (0..length).map(|_| self.between(1_000, 40_000)).collect()
    }
}

impl Load {
    pub(super) fn new(mut dice: Dice, prompt_max: u32, tokens_max: u32) -> Load {
        let lengths = [1, 2, 3, 4].map(|part| prompt_max * part / 6);
        let shared = lengths.map(|length| dice.text(length)).to_vec();
        Load {
            dice,
            prompt_max,
            tokens_max,
            shared,
        }
    }

    /// The next request and whose it is, given those that are over.
    pub(super) fn request(&mut self, done: &[Story]) -> (Digest, Generate) {
        let dice = &mut self.dice;
        let tenant = Digest([dice.between(0, 3) as u8; 32]);
        let earlier = match done.len() {
            0 => None,
            count => done.get(dice.between(0, count as u32) as usize),
        };
        if let Some(story) = earlier
            && dice.once_in(10)
        {
            return (story.tenant, story.generate.clone());
        }
        let (tenant, prompt) = match (dice.between(0, 10), earlier) {
            (0..3, Some(story)) if story.length() < self.prompt_max => {
                let said = story.said();
                let more = dice.between(1, self.prompt_max - story.length() + 1);
                (story.tenant, [said, dice.text(more)].concat())
            }
            (0..6, _) => {
                let shared = self.shared[dice.between(0, 4) as usize].clone();
                let more = dice.between(1, self.prompt_max / 4);
                (tenant, [shared, dice.text(more)].concat())
            }
            _ => {
                let length = dice.between(1, self.prompt_max + 1);
                (tenant, dice.text(length))
            }
        };
        let shape = match dice.between(0, 20) {
            0 => Shape::Object,
            1 => Shape::Schema(SCHEMA.into()),
            _ => Shape::Free,
        };
        let sampling = Sampling {
            temperature: dice.between(0, 4) as f32 / 2.0,
            seed: dice.between(0, 1 << 30).into(),
            ..Sampling::default()
        };
        let generate = Generate {
            sampling,
            choices: dice.between(1, 4),
            tokens_max: dice.between(1, self.tokens_max + 1),
            ignore_end: shape == Shape::Free && dice.once_in(2),
            shape,
            ..Generate::new(Passport([0; 32]), Prompt::Tokens(prompt))
        };
        (tenant, generate)
    }

    /// After how long a request is cancelled, if it is.
    pub(super) fn cancel(&mut self) -> Option<Duration> {
        let after = Duration::from_millis(self.dice.between(0, 3_000).into());
        self.dice.once_in(5).then_some(after)
    }

    /// How long until the next request: now and then all that are open have ended by then.
    pub(super) fn pause(&mut self) -> Duration {
        let ms_max = if self.dice.once_in(40) { 10_000 } else { 500 };
        Duration::from_millis(self.dice.between(0, ms_max).into())
    }
}

/// Asserts that what was asked twice and not cancelled was answered alike, and says how often that was.
pub(super) fn alike(done: &[Story]) -> usize {
    let whole: Vec<&Story> = done.iter().filter(|story| !story.cancelled).collect();
    let mut again = 0;
    for (index, story) in whole.iter().enumerate() {
        let before = whole[..index]
            .iter()
            .find(|other| other.generate == story.generate);
        if let Some(before) = before {
            assert_eq!(before.choices, story.choices, "{:?}", story.generate);
            again += 1;
        }
    }
    again
}

const SCHEMA: &str = r#"{"type":"object","properties":{"name":{"type":"string","maxLength":20},
    "age":{"type":"integer"}},"required":["name","age"],"additionalProperties":false}"#;
