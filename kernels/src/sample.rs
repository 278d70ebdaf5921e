//! From logits to a token.
//!
//! The choice is a pure function of the logits, the request's parameters, the tokens so far and the
//! position: whoever has those draws the same token, on any machine, after any restart. Nothing else is
//! kept, so a sampler is rebuilt at any position by telling it the tokens again.
//!
//! In words, for one position (rule 9 of the canonical arithmetic):
//!
//! ```text
//! a[i]     logit; for a token of the prompt or the output so far: a > 0 ? a / repetition : a * repetition;
//!          for one of the output: a - frequency * count, then a - presence; then a + bias. Each step rounds.
//! order    a descending, id ascending, of the tokens the mask allows
//! draw at temperature 0: the first of the order. Otherwise, with d[i] = a[i] / t - a[0] / t and
//! w[i] = weight(d[i]) (sample/weight.rs):
//! top-k    the first k of the order
//! mass     with a top-k below the vocabulary: sum of w along the order, one by one.
//!          Otherwise the sum of all w in id order: blocks of 256, 16 lanes, the fixed tree
//! top-p    the shortest prefix whose running sum c reaches top_p * mass (top_p below 1)
//! min-p    the prefix with w >= min_p
//! total    c at the end of what is left; the mass, where nothing was cut
//! u        (first word of philox4x32-10 >> 8) * 2^-24, key = seed (low, high), counter = index (low,
//!          high), choice, 0
//! token    the first whose running sum exceeds u * total, or else the last
//! ```
//!
//! Only as much of the order is ever sorted as the walk needs.

mod order;
mod philox;
mod weight;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use order::Order;
pub use philox::first_word;
pub use weight::{mass, weight};

/// How tokens are chosen. The default draws from the model's own distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// 0 takes the most likely token; 1 draws as the model says.
    pub temperature: f32,
    /// Only the so many most likely tokens; 0 for all.
    pub top_k: u32,
    /// Only the most likely tokens that together have this probability; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this likely in proportion to the most likely one; 0 for all.
    pub min_p: f32,
    /// Divides the logits of tokens seen in prompt or output; 1 for none.
    pub repetition_penalty: f32,
    /// Taken off a token's logit for each time it is in the output.
    pub frequency_penalty: f32,
    /// Taken off a token's logit if it is in the output.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens. Ids outside the vocabulary have no effect.
    pub bias: Vec<(u32, f32)>,
    /// The seed. Equal seeds draw equally.
    pub seed: u64,
    /// How many alternatives to report with their log-probabilities; none for no log-probabilities.
    pub logprobs: Option<u8>,
}

/// A parameter outside its range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: must be {limit}")]
pub struct ParamError {
    /// The parameter.
    pub field: &'static str,
    /// What is allowed.
    pub limit: &'static str,
}

/// Why no token could be chosen. The sampler is unchanged; the request cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SampleError {
    /// The model computed something that is not a number.
    #[error("logit of token {id} is not finite")]
    NotFinite {
        /// The token.
        id: u32,
    },
    /// No token is allowed, or there are no logits.
    #[error("no token is allowed at output index {index}")]
    NoneAllowed {
        /// The output index.
        index: u64,
    },
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The token.
    pub id: u32,
    /// Its natural-log probability by the model's own logits, where asked for.
    pub logprob: Option<f64>,
    /// The most likely tokens and theirs, most likely first, where asked for.
    pub top: Vec<(u32, f64)>,
}

/// Chooses the tokens of one choice of one request.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: Params,
    choice: u32,
    /// Tokens of the prompt; kept only where a penalty asks for them.
    prompt: BTreeSet<u32>,
    /// How often each token is in the output.
    output: BTreeMap<u32, u32>,
    /// Adjusted logits of the current step. Scratch: nothing in it outlives a call.
    adjusted: Vec<f32>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            bias: Vec::new(),
            seed: 0,
            logprobs: None,
        }
    }
}

impl Params {
    /// Whether every parameter is within its range.
    pub fn check(&self) -> Result<(), ParamError> {
        let within = |value: f32, low: f32, high: f32| value >= low && value <= high;
        let rules = [
            (
                within(self.temperature, 0.0, 100.0),
                "temperature",
                "0 to 100",
            ),
            (self.top_k <= 1 << 20, "top_k", "0 to 1048576"),
            (within(self.top_p, 0.0, 1.0), "top_p", "0 to 1"),
            (within(self.min_p, 0.0, 1.0), "min_p", "0 to 1"),
            (
                within(self.repetition_penalty, 0.01, 100.0),
                "repetition_penalty",
                "0.01 to 100",
            ),
            (
                within(self.frequency_penalty, -2.0, 2.0),
                "frequency_penalty",
                "-2 to 2",
            ),
            (
                within(self.presence_penalty, -2.0, 2.0),
                "presence_penalty",
                "-2 to 2",
            ),
            (self.bias.len() <= 1024, "logit_bias", "at most 1024 tokens"),
            (
                self.bias.iter().all(|one| within(one.1, -100.0, 100.0)),
                "logit_bias",
                "-100 to 100",
            ),
            (
                self.logprobs.is_none_or(|count| count <= 20),
                "top_logprobs",
                "0 to 20",
            ),
        ];
        match rules.into_iter().find(|rule| !rule.0) {
            Some((_, field, limit)) => Err(ParamError { field, limit }),
            None => Ok(()),
        }
    }
}

impl Sampler {
    /// A sampler at the beginning of an output, after this prompt. The parameters must have passed
    /// `check`.
    pub fn new(params: Params, choice: u32, prompt: &[u32]) -> Self {
        debug_assert_eq!(params.check(), Ok(()));
        let asked = params.repetition_penalty != 1.0;
        let prompt = if asked {
            prompt.iter().copied().collect()
        } else {
            BTreeSet::new()
        };
        Self {
            params,
            choice,
            prompt,
            output: BTreeMap::new(),
            adjusted: Vec::new(),
        }
    }

    /// Takes note of the next token of the output, chosen here or, on resuming, elsewhere.
    pub fn accept(&mut self, id: u32) {
        let count = self.output.entry(id).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Chooses the token at an output index. A mask has a bit for every token, set where it is allowed.
    /// Does not take note of it: `accept` does.
    pub fn sample(
        &mut self,
        logits: &[f32],
        index: u64,
        mask: Option<&[u32]>,
    ) -> Result<Sampled, SampleError> {
        if let Some(id) = not_finite(logits) {
            return Err(SampleError::NotFinite { id });
        }
        self.adjust(logits, mask)?;
        let mut order = Order::new(&self.adjusted).ok_or(SampleError::NoneAllowed { index })?;
        let id = if self.params.temperature == 0.0 {
            order.first()
        } else {
            self.draw(&mut order, index)
        };
        let (logprob, top) = match self.params.logprobs {
            None => (None, Vec::new()),
            Some(count) => {
                let (one, top) = log_probabilities(logits, id, usize::from(count));
                (Some(one), top)
            }
        };
        Ok(Sampled { id, logprob, top })
    }

    fn adjust(&mut self, logits: &[f32], mask: Option<&[u32]>) -> Result<(), SampleError> {
        let params = &self.params;
        let adjusted = &mut self.adjusted;
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        if params.repetition_penalty != 1.0 {
            for id in self
                .prompt
                .iter()
                .chain(self.output.keys().filter(|id| !self.prompt.contains(id)))
            {
                if let Some(logit) = adjusted.get_mut(*id as usize) {
                    *logit = if *logit > 0.0 {
                        *logit / params.repetition_penalty
                    } else {
                        *logit * params.repetition_penalty
                    };
                }
            }
        }
        if params.frequency_penalty != 0.0 || params.presence_penalty != 0.0 {
            for (id, count) in &self.output {
                if let Some(logit) = adjusted.get_mut(*id as usize) {
                    *logit -= params.frequency_penalty * *count as f32;
                    *logit -= params.presence_penalty;
                }
            }
        }
        for (id, bias) in &params.bias {
            if let Some(logit) = adjusted.get_mut(*id as usize) {
                *logit += bias;
            }
        }
        if let Some(id) = not_finite(adjusted) {
            return Err(SampleError::NotFinite { id });
        }
        if let Some(mask) = mask {
            for (word, logits) in adjusted.chunks_mut(32).enumerate() {
                let bits = mask.get(word).copied().unwrap_or(0);
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if bits >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
        Ok(())
    }

    fn draw(&self, order: &mut Order<'_>, index: u64) -> u32 {
        let params = &self.params;
        let temperature = params.temperature;
        let largest = order.largest() / temperature;
        let weight = |logit: f32| weight(logit / temperature - largest);
        let top_k = match params.top_k {
            0 => None,
            k => Some(k as usize).filter(|k| *k < order.len()),
        };
        let uncut = top_k.is_none() && params.top_p >= 1.0 && params.min_p <= 0.0;
        let mut mass = None;
        if params.top_p < 1.0 || uncut {
            mass = Some(match top_k {
                None => weight::mass(order.logits(), temperature, largest),
                Some(k) => {
                    let mut sum = 0.0;
                    for place in 0..k {
                        sum += order.at(place).map_or(0.0, |(_, logit)| weight(logit));
                    }
                    sum
                }
            });
        }
        let u = (first_word(self.params.seed, self.choice, index) >> 8) as f32 / 16_777_216.0;

        if uncut && let Some(mass) = mass {
            return walk(order, order.len(), u * mass, weight);
        }
        // Find the end of what is left and the running sum there, then walk to the share drawn.
        let enough = mass
            .filter(|_| params.top_p < 1.0)
            .map(|mass| params.top_p * mass);
        let (mut kept, mut total) = (0, 0.0_f32);
        while kept < top_k.unwrap_or(usize::MAX) {
            let Some((_, logit)) = order.at(kept) else {
                break;
            };
            let one = weight(logit);
            // The first has weight 1 and always stays.
            if one < params.min_p {
                break;
            }
            total += one;
            kept += 1;
            if enough.is_some_and(|enough| total >= enough) {
                break;
            }
        }
        walk(order, kept, u * total, weight)
    }
}

/// The first of the first `kept` in the order at which the running sum exceeds `share`, or the last.
fn walk(order: &mut Order<'_>, kept: usize, share: f32, weight: impl Fn(f32) -> f32) -> u32 {
    let mut sum = 0.0_f32;
    let mut last = order.first();
    for place in 0..kept {
        let Some((id, logit)) = order.at(place) else {
            break;
        };
        let one = weight(logit);
        // Past here nothing can be drawn any more, and sums no longer change.
        if one == 0.0 {
            break;
        }
        last = id;
        sum += one;
        if sum > share {
            break;
        }
    }
    last
}

fn not_finite(logits: &[f32]) -> Option<u32> {
    // A branch per number is slow; a fold over all of them is not, and failure is rare.
    let all = logits
        .iter()
        .fold(true, |all, logit| all & logit.is_finite());
    if all {
        None
    } else {
        logits
            .iter()
            .position(|logit| !logit.is_finite())
            .map(|at| at as u32)
    }
}

/// Log-probability of one token and of the most likely ones, by the unchanged logits.
pub fn log_probabilities(logits: &[f32], id: u32, count: usize) -> (f64, Vec<(u32, f64)>) {
    let Some(mut order) = Order::new(logits) else {
        return (0.0, Vec::new());
    };
    let largest = f64::from(order.largest());
    let sum: f64 = logits
        .iter()
        .map(|logit| libm::exp(f64::from(*logit) - largest))
        .sum();
    let whole = largest + libm::log(sum);
    let top = (0..count).map_while(|place| order.at(place));
    let top = top
        .map(|(id, logit)| (id, f64::from(logit) - whole))
        .collect();
    (f64::from(logits[id as usize]) - whole, top)
}

#[cfg(test)]
mod book;
#[cfg(test)]
mod tests;
