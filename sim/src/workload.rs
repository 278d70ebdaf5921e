//! What clients ask for, and when they lose patience.
//!
//! Requests come in bursts, are short or long, ask for one choice or several, end by stop strings, by length
//! or by the model; one in ten is given up by its client at some moment of its life. A refused client may
//! ask again, as a new request, after as long as it was told to wait.

use crate::dice::Dice;
use crate::engine::Speech;
use crate::scenario::Scenario;
use troop_actors::generate::{Generate, Prompt, Sampling, Task, Turn};
use troop_actors::ids::Passport;

/// One request, before it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// When, in microseconds.
    pub at: u64,
    /// At which node.
    pub node: usize,
    /// Who pays: the number of a member.
    pub member: usize,
    /// What is wanted.
    pub generate: Generate,
    /// Its client hangs up so many microseconds later, if it is not done.
    pub patience: Option<u64>,
    /// How often its client asks again if it is refused.
    pub retries: u32,
}

/// All requests of the first phase, in order of time.
pub fn draw(scenario: &Scenario, model: Passport, dice: &mut Dice) -> Vec<Wish> {
    let mut at = SETTLE;
    let mean = (scenario.safety / scenario.requests.max(1) as u64).max(1);
    let mut wishes = Vec::new();
    for _ in 0..scenario.requests {
        // Half of the requests come in the same breath as the one before.
        if dice.chance(0.5) {
            at = (at + dice.exponential(2 * mean)).min(scenario.safety);
        }
        wishes.push(wish(scenario, at, model, dice));
    }
    wishes
}

/// When the coordinator's owner wants another key, and whether the present one is to be revoked.
pub fn rotations(scenario: &Scenario, dice: &mut Dice) -> Vec<(u64, bool)> {
    let mut rotations: Vec<_> = (0..dice.below(4))
        .map(|_| {
            // Half of them when the next key has been published for long enough, if the run lasts so long.
            let earliest = match dice.chance(0.5) {
                true => PUBLISHED.min(scenario.safety),
                false => SETTLE,
            };
            (dice.between(earliest, scenario.safety), dice.chance(0.2))
        })
        .collect();
    rotations.sort_unstable();
    rotations
}

/// One request at `at`.
pub fn wish(scenario: &Scenario, at: u64, model: Passport, dice: &mut Dice) -> Wish {
    let node = dice.below(scenario.nodes() as u64) as usize;
    let member = dice.below(scenario.members.len() as u64) as usize;
    Wish {
        at,
        node,
        member,
        generate: generate(model, dice),
        patience: dice.chance(0.1).then(|| dice.exponential(2_000_000)),
        retries: dice.below(3) as u32,
    }
}

/// A request that a healed troop must fulfil: short, plain, and never given up.
pub fn probe(node: usize, member: usize, model: Passport, dice: &mut Dice) -> Wish {
    let mut generate = generate(model, dice);
    let most = dice.between(1, 40) as u32;
    if generate.task != Task::Embed {
        generate.choices = 1;
        generate.tokens_max = most;
    }
    Wish {
        at: 0,
        node,
        member,
        generate,
        patience: None,
        retries: 0,
    }
}

fn generate(model: Passport, dice: &mut Dice) -> Generate {
    let prompt = match dice.below(4) {
        0 => Prompt::Text(sentence(dice, 200)),
        1 => {
            let length = dice.between(1, 150);
            let ids = (0..length).map(|_| dice.below(u64::from(Speech::SIZE)) as u32);
            Prompt::Tokens(ids.collect())
        }
        _ => {
            let turns = dice.between(1, 4);
            let turn = |role: &str, content: String| Turn::new(role, content);
            let roles = ["user", "assistant"];
            let turns = (0..turns).map(|at| turn(roles[at as usize % 2], sentence(dice, 60)));
            Prompt::Chat(turns.collect())
        }
    };
    let stop = match dice.below(4) {
        0 => {
            let count = dice.between(1, 2);
            (0..count)
                .map(|_| (*dice.pick(&Speech::STOPS)).to_owned())
                .collect()
        }
        _ => Vec::new(),
    };
    let temperature = if dice.chance(0.5) { 0.0 } else { 1.0 };
    let seed = dice.next();
    let one_in = |count: u64, of: u32| (seed >> of).is_multiple_of(count);
    let task = match (seed >> 24) % 16 {
        0 => Task::Embed,
        1 | 2 => Task::Echo,
        _ => Task::Continue,
    };
    let generate = Generate {
        task,
        sampling: Sampling {
            temperature,
            seed,
            ..Sampling::default()
        },
        choices: if dice.chance(0.7) {
            1
        } else {
            dice.between(2, 3) as u32
        },
        tokens_max: 1 + dice.exponential(40).min(200) as u32,
        stop,
        ignore_end: dice.chance(0.2),
        logprobs: one_in(4, 0).then_some((seed >> 32) as u8 % 4),
        stop_ids: match one_in(8, 8) {
            true => vec![(seed >> 40) as u32 % Speech::SIZE],
            false => Vec::new(),
        },
        tokens_min: u32::from(one_in(8, 16)),
        ..Generate::new(model, prompt)
    };
    match task {
        Task::Embed => Generate {
            task,
            ..Generate::new(model, generate.prompt)
        },
        Task::Continue | Task::Echo | Task::Read => generate,
    }
}

fn sentence(dice: &mut Dice, words_max: u64) -> String {
    let words = 1 + dice.exponential(words_max / 6).min(words_max);
    (0..words)
        .map(|_| {
            *dice.pick(&[
                "tell", " me", " of", " the", " troop", " and", " é", " it", "s",
            ])
        })
        .collect()
}

/// Microseconds after the start from which a key may be replaced without being revoked.
const PUBLISHED: u64 = 62_000_000;
/// Microseconds at the start in which nobody asks: engines load, workers report.
const SETTLE: u64 = 3_000_000;
