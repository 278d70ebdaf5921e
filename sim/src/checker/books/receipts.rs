//! Receipts, what they come to, and what was paid by them.

use super::{Books, Hold, Verdict, require};
use troop_actors::generate::Tally;
use troop_actors::ids::{AttemptId, Digest, HoldId};
use troop_actors::outbox::protocol::of_worker;
use troop_actors::price::{Micros, Prices};
use troop_actors::receipt::Signed;

impl Books {
    /// A receipt has reached the coordinator; only one that both sides signed can be paid later.
    pub fn receipt(&mut self, signed: &Signed) {
        if signed.verifies() {
            self.receipts
                .insert(signed.receipt.digest(), signed.receipt.clone());
        }
    }

    /// A receipt is paid, whoever delivers it.
    pub(super) fn settled(&mut self, hold: HoldId, receipt: &Digest) {
        if let Some(found) = self.holds.get_mut(&hold) {
            found.is_posted = true;
        }
        if let Some(receipt) = self.receipts.get(receipt) {
            let attempt = receipt.attempt;
            self.paid.extend([attempt, of_worker(attempt)]);
        }
    }

    /// What was paid is the price of what a receipt says that both sides signed (L12, L14); of a late receipt,
    /// no more than what the payer had `left`.
    pub(super) fn priced(
        &self,
        id: HoldId,
        hold: &Hold,
        amount: Micros,
        receipt: Digest,
        left: Option<i128>,
    ) -> Verdict {
        let found = self.receipts.get(&receipt);
        require(found.is_some(), "L14 two-signatures", || {
            format!("{id:?} was paid without a receipt that both sides signed")
        })?;
        let receipt = found.expect("required above");
        let named = (hold.attempts.iter()).any(|(number, worker)| {
            AttemptId::of(id, *number) == receipt.attempt && *worker == receipt.worker
        });
        require(
            named
                && receipt.hold == id
                && receipt.client == hold.client
                && receipt.worker == hold.worker,
            "L14 two-signatures",
            || format!("{id:?} was paid by a receipt for something else"),
        )?;
        let cost = cost(&receipt.tally);
        let due = if hold.payer == hold.payee { 0 } else { cost };
        let due = left.map_or(due, |left| due.min(left.max(0).unsigned_abs()));
        require(u128::from(amount) == due, "L12 price-pinned", || {
            format!("{id:?} was paid {amount}, its receipt comes to {due}")
        })
    }

    /// A parcel is refused for good. All our nodes are honest and no run lasts a day: there is no reason.
    pub fn rejected(&self, parcel: AttemptId, reason: &str) -> Verdict {
        require(false, "honest receipts are paid", || {
            format!("parcel {parcel:?} was refused: {reason}")
        })
    }
}

/// What a tally costs, by plain arithmetic.
pub(super) fn cost(tally: &Tally) -> u128 {
    let prices = Prices::REFERENCE;
    let (prompt, completion) = (
        u128::from(tally.prompt_tokens),
        u128::from(tally.completion_tokens),
    );
    let exact = prompt * u128::from(prices.prompt) + completion * u128::from(prices.completion);
    match completion {
        0 => 0,
        _ => u128::from(prices.base) + exact.div_ceil(1000),
    }
}
