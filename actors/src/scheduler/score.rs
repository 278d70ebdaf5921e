//! What a worker is expected to take for a request: when its first token comes, and when its last one does.
//!
//! ```text
//! first  = way there and back + queue + reading of what it does not remember
//! finish = first + drawing of TYPICAL tokens, or of fewer where fewer are wanted, × (1 + share taken)
//! ```
//!
//! The queue is the prompts that were placed there since its last report, and as many typical answers as
//! sequences wait in it, divided by those it is at. Rates are the worker's own measurements. A worker that has
//! measured nothing is taken to be as fast as the fastest candidate, so that it is tried; where nobody has, all are
//! taken to be alike, and the share taken decides. Whoever has the least of both together is taken. All of it is
//! integers: the same reports give the same choice everywhere.

use super::protocol::{Admit, Hint, ModelReport, takes_ms};
use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// What is expected of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Score {
    /// Milliseconds until the first token.
    pub first_ms: u64,
    /// Milliseconds until the last one.
    pub finish_ms: u64,
}

impl Score {
    /// What is compared: less is better. Somebody waits for the first token, and then reads until the last.
    pub fn total_ms(&self) -> u64 {
        self.first_ms.saturating_add(self.finish_ms)
    }
}

/// How busy a worker is with a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Sequences that are taken.
    pub(super) taken: u32,
    /// Prompt tokens that were placed there since it reported last.
    pub(super) unread_tokens: u64,
}

/// Rates, in thousandths of a token a second; none where nobody has measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fastest {
    prefill: u32,
    decode: u32,
}

impl Fastest {
    /// Takes note of what a candidate has measured.
    pub(super) fn hear(&mut self, report: &ModelReport) {
        self.prefill = self.prefill.max(report.prefill_rate);
        self.decode = self.decode.max(report.decode_rate);
    }

    fn prefill_ms(&self, report: &ModelReport, tokens: u64) -> u64 {
        at(tokens, [report.prefill_rate, self.prefill, PREFILL_GUESS])
    }

    fn decode_ms(&self, report: &ModelReport, tokens: u64) -> u64 {
        at(tokens, [report.decode_rate, self.decode, DECODE_GUESS])
    }

    /// What `worker`, which reported `report` and bears `load`, is expected to take for `admit`.
    pub(super) fn score(
        &self,
        admit: &Admit,
        worker: NodeId,
        report: &ModelReport,
        load: Load,
    ) -> Score {
        let hint = hint(admit, worker);
        let rtt_ms = match hint.and_then(|hint| hint.rtt_ms) {
            _ if worker == admit.client => 0,
            Some(known) => u64::from(known.min(RTT_MS_MAX)),
            None => RTT_MS_GUESS,
        };
        let typical_ms = self.decode_ms(report, TYPICAL_TOKENS);
        let waiting = u64::from(report.sequences_waiting);
        let queue_ms = typical_ms.saturating_mul(waiting) / u64::from(report.sequences_used.max(1));
        let unknown = prompt_tokens(admit, report).saturating_sub(prefix_tokens(admit, worker));
        let read = load.unread_tokens.saturating_add(unknown.max(1));
        let first_ms = rtt_ms
            .saturating_add(queue_ms)
            .saturating_add(self.prefill_ms(report, read));
        let alone_ms = self.decode_ms(report, TYPICAL_TOKENS.min(admit.tokens_max.into()));
        let sequences = u64::from(report.sequences_max.max(1));
        let drawn_ms =
            alone_ms.saturating_mul(sequences.saturating_add(load.taken.into())) / sequences;
        let finish_ms = first_ms.saturating_add(drawn_ms);
        Score {
            first_ms,
            finish_ms,
        }
    }
}

/// Milliseconds that `tokens` take at the first of `rates` that is known, which the last one is.
fn at(tokens: u64, rates: [u32; 3]) -> u64 {
    let mut known = rates.into_iter().filter_map(|rate| takes_ms(tokens, rate));
    known.next().unwrap_or(u64::MAX)
}

/// What the client's node knows of `worker`.
fn hint(admit: &Admit, worker: NodeId) -> Option<&Hint> {
    admit.hints.iter().find(|hint| hint.worker == worker)
}

/// About how many tokens the prompt has: bytes bound it, and a token has several.
pub(super) fn prompt_tokens(admit: &Admit, report: &ModelReport) -> u64 {
    let around = u64::from(admit.turns).saturating_mul(report.overhead_turn_bytes);
    let bytes = admit.prompt_bytes.saturating_add(around);
    bytes.saturating_add(report.overhead_fixed_bytes) / TOKEN_BYTES + 1
}

/// About how many of them `worker` remembers, as the client's node believes.
pub(super) fn prefix_tokens(admit: &Admit, worker: NodeId) -> u64 {
    let hint = hint(admit, worker);
    hint.map_or(0, |hint| {
        hint.prefix_bytes.min(admit.prompt_bytes) / TOKEN_BYTES
    })
}

/// Bytes of text that a token stands for, in most languages and tokenizers.
const TOKEN_BYTES: u64 = 4;
/// Tokens of an answer that are reckoned with: most ask for as many as there may be, and few get them.
const TYPICAL_TOKENS: u64 = 256;
/// Thousandths of prompt tokens a second, before anybody has measured: a processor without a GPU.
const PREFILL_GUESS: u32 = 200_000;
/// And of drawn ones.
const DECODE_GUESS: u32 = 20_000;
/// The way to a worker that the client's node has not talked to lately.
const RTT_MS_GUESS: u64 = 50;
/// What a client says of a way counts up to here.
const RTT_MS_MAX: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MemberId, Passport, RequestId};

    const WORKER: NodeId = NodeId([1; 32]);

    fn admit(prompt_bytes: u64, tokens_max: u32, hints: Vec<Hint>) -> Admit {
        Admit {
            request: RequestId([0; 16]),
            number: 0,
            client: NodeId([2; 32]),
            payer: MemberId([0; 16]),
            model: Passport([0; 32]),
            prompt_bytes,
            turns: 1,
            tokens_max,
            choices: 1,
            avoid: Vec::new(),
            begun: None,
            hints: hints.into(),
            running: None,
        }
    }

    fn report(prefill_rate: u32, decode_rate: u32) -> ModelReport {
        ModelReport {
            model: Passport([0; 32]),
            name: String::new(),
            context: 4096,
            sequences_max: 4,
            overhead_fixed_bytes: 0,
            overhead_turn_bytes: 0,
            created_seconds: 0,
            step_ms: 0,
            prefill_rate,
            decode_rate,
            kv_tokens_free: 0,
            sequences_used: 0,
            sequences_waiting: 0,
            class: String::new(),
        }
    }

    fn score(admit: &Admit, report: &ModelReport, load: Load) -> (u64, u64) {
        let mut fastest = Fastest::default();
        fastest.hear(report);
        let score = fastest.score(admit, WORKER, report, load);
        (score.first_ms, score.finish_ms)
    }

    #[test]
    fn the_score_is_what_its_formula_says() {
        let known = |rtt_ms, prefix_bytes| {
            vec![Hint {
                worker: WORKER,
                prefix_bytes,
                rtt_ms,
            }]
        };
        let idle = Load::default();
        let half = Load {
            taken: 2,
            unread_tokens: 1_000,
        };
        let fast = report(1_000_000, 100_000);
        let mut waits = fast.clone();
        (waits.sequences_used, waits.sequences_waiting) = (2, 1);
        let cases = [
            // 1,000 tokens at 1,000 a second, 100 tokens at 100 a second, and the way.
            (admit(3_996, 100, Vec::new()), &fast, idle, (1_050, 2_050)),
            (
                admit(3_996, 100, known(Some(7), 0)),
                &fast,
                idle,
                (1_007, 2_007),
            ),
            // It remembers 800 of them; a client cannot claim more than there are, nor too long a way.
            (
                admit(3_996, 100, known(Some(0), 3_200)),
                &fast,
                idle,
                (200, 1_200),
            ),
            (
                admit(3_996, 100, known(Some(0), u64::MAX)),
                &fast,
                idle,
                (1, 1_001),
            ),
            (
                admit(3_996, 100, known(Some(u32::MAX), 0)),
                &fast,
                idle,
                (11_000, 12_000),
            ),
            // 256 tokens are reckoned with, half again as long because half of it is taken.
            (
                admit(0, 9_999, known(Some(0), 0)),
                &fast,
                half,
                (1_001, 4_841),
            ),
            // Half a typical answer is to be waited for.
            (admit(0, 1, known(Some(0), 0)), &waits, idle, (1_281, 1_291)),
            // Nothing is known.
            (admit(0, 100, Vec::new()), &report(0, 0), idle, (55, 5_055)),
        ];
        for (admit, report, load, expected) in cases {
            assert_eq!(score(&admit, report, load), expected, "{admit:?} {load:?}");
        }
    }

    #[test]
    fn who_has_measured_nothing_is_taken_for_the_fastest() {
        let mut fastest = Fastest::default();
        fastest.hear(&report(10_000_000, 1_000));
        fastest.hear(&report(1_000, 1_000_000));
        let (new, old) = (report(0, 0), report(10_000_000, 1_000_000));
        let admit = admit(4_000, 100, Vec::new());
        let score = |report| fastest.score(&admit, WORKER, report, Load::default());
        assert_eq!(score(&new), score(&old));
    }

    #[test]
    fn no_report_and_no_request_makes_it_overflow() {
        let mut wild = report(1, 1);
        (wild.overhead_fixed_bytes, wild.overhead_turn_bytes) = (u64::MAX, u64::MAX);
        (wild.sequences_max, wild.sequences_waiting) = (0, u32::MAX);
        let load = Load {
            taken: u32::MAX,
            unread_tokens: u64::MAX,
        };
        let score =
            Fastest::default().score(&admit(u64::MAX, u32::MAX, Vec::new()), WORKER, &wild, load);
        assert_eq!(score.total_ms(), u64::MAX);
    }
}
