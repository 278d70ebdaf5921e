//! What a worker has in hand of each attempt, so that it is paid whether its client signs in the end or not.
//!
//! ```text
//! running ─Vouch─> the best voucher is kept        too long without one: the attempt is closed
//! closed, lost ─> due ─Vouch, the receipt's─> signed by both
//!                  ├─Paid─> forgotten: the client's outbox was there first, as it nearly always is
//!                  └─10 s─> Post, Post … ─Kept─> forgotten: the outbox has it
//! ```
//!
//! What a client signs is looked at only if it is for more than before and for no more than was sent; one signature
//! that is none, and the client is not listened to any more. So a client makes no work by it but with tokens it gets.

use super::super::protocol::Effect;
use super::Keeper;
use super::attempts::Attempt;
use crate::contract::Time;
use crate::generate::{Event, Tally, Work};
use crate::ids::{AttemptId, NodeId, Signature};
use crate::outbox::protocol::{Parcel, of_worker};
use crate::receipt::{Claim, Evidence, Half, Receipt, Signed, VOUCH_TOKENS};
use crate::ticket::Claims;

/// What an attempt has delivered, and how much of it its client has vouched for.
#[derive(Debug)]
pub(super) struct Delivered {
    prompt: u32,
    /// Those of earlier attempts included, as in the tally.
    tokens: u32,
    vouched: u32,
    voucher: Option<(Receipt, Signature)>,
    /// The client has given a signature that is none.
    is_spoiled: bool,
    /// Since when the client owes more than it may, and how much was sent by then.
    behind: Option<(Time, u32)>,
}

impl Delivered {
    /// Nothing yet of `work`.
    pub(super) fn nothing(work: &Work) -> Delivered {
        let taken_up = work.delivered();
        Delivered {
            prompt: taken_up.prompt_tokens,
            tokens: taken_up.completion_tokens,
            vouched: taken_up.completion_tokens,
            voucher: None,
            is_spoiled: false,
            behind: None,
        }
    }

    /// The session is sent this.
    pub(super) fn send(&mut self, now: Time, event: &Event) {
        match event {
            Event::Started { prompt } => self.prompt = prompt.len() as u32,
            Event::Token { .. } => self.tokens = self.tokens.saturating_add(1),
            Event::Embedded { .. } => self.tokens = 1,
            Event::Progress { .. }
            | Event::Reused { .. }
            | Event::Echo { .. }
            | Event::Ended { .. } => {}
        }
        self.weigh(now);
    }

    fn weigh(&mut self, now: Time) {
        let owed = self.tokens.saturating_sub(self.vouched);
        let is_behind = owed > OWED_MAX || (owed > 0 && self.voucher.is_none());
        // One that has vouched for what it owed then is late, not behind: what has come since has its own time.
        let mark = self.behind.filter(|(_, sent)| {
            self.voucher.is_none() || sent.saturating_sub(self.vouched) > OWED_MAX
        });
        self.behind = is_behind.then(|| mark.unwrap_or((now, self.tokens)));
    }

    /// When an attempt is closed whose client does not vouch.
    pub(super) fn patience(&self) -> Option<Time> {
        self.behind.map(|(since, _)| since.plus_ms(BEHIND_MS))
    }

    /// The client vouches for `receipt`. False if that is not its signature.
    fn take(&mut self, now: Time, receipt: Receipt, signature: Signature) -> bool {
        let Tally {
            prompt_tokens,
            completion_tokens,
            ..
        } = receipt.tally;
        let more = completion_tokens > self.vouched && completion_tokens <= self.tokens;
        if !more || prompt_tokens != self.prompt {
            return true;
        }
        if !signature.verifies(receipt.client, receipt.voucher()) {
            return false;
        }
        self.vouched = completion_tokens;
        self.voucher = Some((receipt, signature));
        self.weigh(now);
        true
    }
}

/// An attempt that is over and not known to be paid.
#[derive(Debug)]
pub(super) struct Due {
    claims: Claims,
    delivered: Delivered,
    /// What the worker has signed, if it came to that.
    half: Option<Half>,
    signed: Option<Signed>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The client may sign, or its outbox deliver, until then.
    Waiting(Time),
    /// The outbox is to have it; when it is handed in again.
    Posting(Box<Parcel>, Time),
}

impl Due {
    fn at(&self) -> Time {
        match self.stage {
            Stage::Waiting(at) | Stage::Posting(_, at) => at,
        }
    }

    /// The client signs; see [`Delivered::take`].
    fn take(&mut self, now: Time, receipt: Receipt, signature: Signature) -> bool {
        if self.signed.is_some() {
            return true;
        }
        let half = self.half.as_ref().filter(|half| half.receipt == receipt);
        if let Some(half) = half
            && signature.verifies(receipt.client, receipt.digest())
        {
            self.signed = Some(Signed {
                receipt,
                worker_signature: half.worker_signature.clone(),
                client_signature: signature,
            });
            return true;
        }
        self.delivered.take(now, receipt, signature)
    }
}

impl Keeper {
    /// What a client of `claims` signs if `tally` was delivered.
    pub(super) fn statement(&self, claims: &Claims, tally: Tally) -> Receipt {
        Receipt {
            request: claims.request,
            hold: claims.hold,
            attempt: claims.attempt,
            client: claims.client,
            worker: self.key.node(),
            model: claims.model,
            prices: claims.prices,
            tally,
        }
    }

    /// A client signs for what its attempt has delivered.
    pub(super) fn vouch(
        &mut self,
        now: Time,
        peer: NodeId,
        attempt: AttemptId,
        tally: Tally,
        signature: Signature,
    ) {
        let running = self.attempts.get(&attempt).map(|it| &it.claims);
        let known = running.or_else(|| self.dues.get(&attempt).map(|it| &it.claims));
        let Some(claims) = known.filter(|claims| claims.client == peer) else {
            return;
        };
        let receipt = self.statement(claims, tally);
        if let Some(Attempt { delivered, .. }) = self.attempts.get_mut(&attempt) {
            if !delivered.is_spoiled {
                delivered.is_spoiled = !delivered.take(now, receipt, signature);
            }
        } else if let Some(due) = self.dues.get_mut(&attempt)
            && !due.delivered.is_spoiled
        {
            due.delivered.is_spoiled = !due.take(now, receipt, signature);
        }
    }

    /// An attempt is over: what it is to be paid by is kept until that is seen to.
    pub(super) fn owe(&mut self, now: Time, attempt: Attempt, half: Option<Half>) {
        let Attempt {
            claims, delivered, ..
        } = attempt;
        // What no token was made of stays free.
        if delivered.tokens == 0 {
            return;
        }
        if self.dues.len() >= DUES_MAX {
            // The one that has waited longest waits no longer; if that does not help, the client's outbox must do.
            let waiting = self.dues.values_mut();
            let waiting = waiting.filter(|due| matches!(due.stage, Stage::Waiting(_)));
            if let Some(due) = waiting.min_by_key(|due| due.at()) {
                due.stage = Stage::Waiting(now);
            }
            return;
        }
        // A node that stops has no time to wait.
        let wait = match self.drained {
            Some(_) => 0,
            None => DUE_MS,
        };
        let due = Due {
            delivered,
            half,
            signed: None,
            stage: Stage::Waiting(now.plus_ms(wait)),
            claims,
        };
        self.dues.insert(due.claims.attempt, due);
    }

    /// The node stops: nothing is waited for any more.
    pub(super) fn hurry_dues(&mut self, now: Time) {
        for due in self.dues.values_mut() {
            if let Stage::Waiting(at) = &mut due.stage {
                *at = now.min(*at);
            }
        }
    }

    /// When something is to be done about an attempt that is over.
    pub(super) fn due_at(&self) -> Option<Time> {
        self.dues.values().map(Due::at).min()
    }

    /// Hands in to the outbox what has waited long enough.
    pub(super) fn post_dues(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.due_at().is_none_or(|at| now < at) {
            return;
        }
        let key = &self.key;
        self.dues.retain(|attempt, due| {
            if now < due.at() {
                return true;
            }
            let parcel = match &due.stage {
                Stage::Posting(parcel, _) => parcel.clone(),
                Stage::Waiting(_) => {
                    let signed = due.signed.take().map(Evidence::Receipt);
                    let voucher = due.delivered.voucher.take();
                    let evidence = signed.or_else(|| {
                        let (receipt, signature) = voucher?;
                        Some(Evidence::Claim(Claim::sign(receipt, signature, key)))
                    });
                    // The client gave nothing: there is nothing to show.
                    let Some(evidence) = evidence else {
                        return false;
                    };
                    Box::new(Parcel {
                        id: of_worker(*attempt),
                        to: due.claims.issuer,
                        evidence,
                    })
                }
            };
            out.push(Effect::Post(parcel.clone()));
            due.stage = Stage::Posting(parcel, now.plus_ms(POST_AGAIN_MS));
            true
        });
    }
}

/// Tokens that a client may owe vouchers for: two that are on their way.
const OWED_MAX: u32 = 2 * VOUCH_TOKENS;
/// How long it may owe more: a machine that is loaded, or far, is late by less.
const BEHIND_MS: u64 = 10_000;
/// How long a client has to sign in the end, and its outbox to deliver, before the worker sees to it itself.
const DUE_MS: u64 = 10_000;
/// How often the outbox is handed what it has not confirmed.
const POST_AGAIN_MS: u64 = 1_000;
/// Attempts that are over and not known to be paid, at most: as many as may run.
pub(super) const DUES_MAX: usize = super::attempts::ATTEMPTS_MAX;
