//! When a session vouches for what its worker has delivered so far.
//!
//! A worker is not to work for long on nothing but trust, and a client is not to sign for what it does not have:
//! so it signs for each piece when it has it. At the first token, which covers the reading of the prompt; then after
//! every so many tokens, or so many seconds while they come. What an earlier attempt delivered is in the tally, as in
//! the receipt's, and is nothing to vouch for anew.

use super::{Stage, Thread};
use crate::contract::Time;
use crate::receipt::{VOUCH_MS, VOUCH_TOKENS};
use crate::session::protocol::Effect;

/// What a worker was vouched for so far.
#[derive(Debug)]
pub(super) struct Vouched {
    tokens: u32,
    at: Option<Time>,
}

impl Vouched {
    /// Nothing, by an attempt that takes the stream up after `tokens`.
    pub(super) fn from(tokens: u32) -> Vouched {
        Vouched { tokens, at: None }
    }

    fn is_due(&self, now: Time, tokens: u32) -> bool {
        let more = tokens.saturating_sub(self.tokens);
        let often = more >= VOUCH_TOKENS || self.at.is_none_or(|at| now.since_ms(at) >= VOUCH_MS);
        more > 0 && often
    }
}

impl Thread {
    /// Vouches for what is there, if it is time to.
    pub(super) fn vouch(&mut self, now: Time, out: &mut Vec<Effect>) {
        let tokens = self.answer.tokens();
        let Stage::Working { grant, vouched, .. } = &mut self.stage else {
            return;
        };
        if !vouched.is_due(now, tokens) {
            return;
        }
        *vouched = Vouched {
            tokens,
            at: Some(now),
        };
        let grant = grant.clone();
        let receipt = self.receipt(&grant);
        out.push(Effect::Vouch {
            worker: grant.worker,
            attempt: grant.attempt,
            signature: self.key.sign(receipt.voucher()),
            tally: receipt.tally,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tokens_are_vouched_for_by_their_number_and_few_by_time() {
        let fresh = Vouched::from(300);
        assert!(!fresh.is_due(Time(0), 300) && fresh.is_due(Time(0), 301));
        let vouched = Vouched {
            tokens: 10,
            at: Some(Time(1_000)),
        };
        let cases = [
            (1_000, 10, false),
            (1_000, 265, false),
            (1_000, 266, true),
            (5_999, 11, false),
            (6_000, 11, true),
            (60_000, 10, false),
        ];
        for (now, tokens, due) in cases {
            let found = vouched.is_due(Time(now), tokens);
            assert_eq!(found, due, "{tokens} at {now}");
        }
    }
}
