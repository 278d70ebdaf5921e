//! How a session ends: signed and posted, failed, or left by its client.

use super::{Stage, Thread};
use crate::contract::Time;
use crate::generate::Failure;
use crate::ids::HoldId;
use crate::outbox::protocol::Parcel;
use crate::receipt::{Evidence, Half, Receipt};
use crate::session::fault::Loss;
use crate::session::limits::*;
use crate::session::protocol::{Delivery, Effect, Grant, Trouble};

impl Thread {
    /// The client's one ending, unless it is gone or has had it.
    pub(super) fn end(&mut self, delivery: Delivery, out: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.ended, true) {
            out.push(Effect::Deliver(delivery));
        }
    }

    pub(super) fn finish(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Finished {
            request: self.order.request,
        });
    }

    pub(super) fn over(&mut self, out: &mut Vec<Effect>) {
        self.finish(out);
        self.close(out);
    }

    pub(super) fn close(&mut self, out: &mut Vec<Effect>) {
        self.stage = Stage::Over;
        out.push(Effect::Close);
    }

    pub(super) fn fail(&mut self, trouble: Trouble, out: &mut Vec<Effect>) {
        self.end(Delivery::Failed(trouble), out);
        self.over(out);
    }

    /// What this side would sign for `grant`.
    pub(super) fn receipt(&self, grant: &Grant) -> Receipt {
        Receipt {
            request: self.order.request,
            hold: HoldId::of(self.order.request),
            attempt: grant.attempt,
            client: self.key.node(),
            worker: grant.worker,
            model: self.order.generate.model,
            prices: grant.prices,
            tally: self.answer.tally(),
        }
    }

    pub(super) fn closed(
        &mut self,
        now: Time,
        half: Half,
        failure: Option<Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(grant) = self.current(half.receipt.attempt) else {
            return;
        };
        let agreed = half.receipt == self.receipt(grant) && half.verifies();
        let leaving = matches!(self.stage, Stage::Leaving { .. });
        let permanent = matches!(&failure, Some(failure) if *failure != Failure::Cancelled);
        let finished = failure.is_none() && self.answer.complete();
        if !agreed && !permanent {
            return self.lose(now, Loss::Receipt, out);
        }
        if !finished && !permanent && !leaving {
            return self.lose(now, Loss::Stopped, out);
        }
        let parcel = agreed.then(|| {
            let (id, to) = (half.receipt.attempt, self.coordinator);
            let signed = half.countersign(&self.key);
            let evidence = Evidence::Receipt(signed);
            Box::new(Parcel { id, to, evidence })
        });
        if let Some(parcel) = &parcel {
            out.push(Effect::Post(parcel.clone()));
            // The worker gets the signature too: its pay does not hang on this node alone.
            let Receipt {
                worker,
                attempt,
                ref tally,
                ..
            } = *parcel.evidence.statement();
            let [_, signature] = parcel.evidence.signatures();
            out.push(Effect::Vouch {
                worker,
                attempt,
                tally: tally.clone(),
                signature: signature.clone(),
            });
        }
        let tally = self.answer.tally();
        self.end(
            match failure {
                Some(failure) => Delivery::Failed(Trouble::Failed(failure)),
                None => Delivery::Done {
                    prompt_tokens: tally.prompt_tokens,
                    reused_tokens: self.answer.reused(),
                    completion_tokens: tally.completion_tokens,
                },
            },
            out,
        );
        let Some(parcel) = parcel else {
            return self.over(out);
        };
        self.finish(out);
        self.stage = Stage::Owing {
            parcel,
            again: now.plus_ms(POST_AGAIN_MS),
            until: now.plus_ms(POST_MS_MAX),
        };
    }

    pub(super) fn hang_up(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.ended = true;
        let again = now.plus_ms(CANCEL_AGAIN_MS);
        let until = now.plus_ms(LEAVE_MS);
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::New => out.push(Effect::Close),
            Stage::Asking { .. } => {
                self.finish(out);
                let until = now.plus_ms(WITHDRAW_MS);
                self.stage = Stage::Leaving {
                    grant: None,
                    again: until,
                    until,
                };
            }
            Stage::Working { grant, .. } => {
                let (worker, attempt) = (grant.worker, grant.attempt);
                out.push(Effect::Cancel { worker, attempt });
                self.stage = Stage::Leaving {
                    grant: Some(grant),
                    again,
                    until,
                };
            }
            other => self.stage = other,
        }
    }
}
