//! Claims by vouchers: entered for what their clients signed, and paid only where no receipt came.

use super::receipts::cost;
use super::{Books, Hold, Verdict, require};
use crate::checker::Violation;
use troop_actors::contract::Time;
use troop_actors::ids::{AttemptId, Digest, HoldId};
use troop_actors::outbox::protocol::of_worker;
use troop_actors::price::Micros;
use troop_actors::receipt::Claim;

impl Books {
    /// A claim has reached the coordinator; only one that its client vouched for can be noted later.
    pub fn claim(&mut self, claim: &Claim) {
        if claim.verifies() {
            let receipt = claim.receipt.clone();
            self.vouchers.insert(receipt.voucher(), receipt);
        }
    }

    /// A claim is noted: for an attempt that the hold named once, at no more than its voucher comes to.
    pub(super) fn noted(
        &mut self,
        id: HoldId,
        number: u32,
        amount: Micros,
        voucher: Digest,
    ) -> Verdict {
        let hold = self.claimed(id)?;
        let (known, left) = (self.vouchers.get(&voucher), self.accounts.get(&hold.payer));
        let left = left.map_or(0, |payer| payer.balance - payer.held);
        let fits = known.is_some_and(|receipt| {
            receipt.hold == id
                && receipt.client == hold.client
                && AttemptId::of(id, number) == receipt.attempt
                && hold.attempts.get(&number) == Some(&receipt.worker)
        });
        require(fits, "L14 two-signatures", || {
            format!("{id:?} is claimed for attempt {number} without its client's voucher")
        })?;
        let own = hold.payees.get(&number) == Some(&hold.payer);
        let tally = &known.expect("required above").tally;
        let mut due = cost(tally).min(u128::from(if own { 0 } else { hold.amount }));
        if hold.expired {
            due = due.min(left.max(0).unsigned_abs());
        }
        require(u128::from(amount) == due, "L12 price-pinned", || {
            format!("{id:?} is claimed for {amount}, the voucher comes to {due}")
        })?;
        let before = hold.noted.map_or(0, |(_, _, amount)| amount);
        require(amount > before, "the best claim counts", || {
            format!("{id:?} is claimed for {amount}, and was for {before}")
        })?;
        let hold = self.holds.get_mut(&id).expect("claimed above");
        hold.noted = Some((voucher, number, amount));
        Ok(())
    }

    /// The claim that was noted is paid, to whoever has delivered, once the hold's time is over.
    pub(super) fn vouched(
        &mut self,
        at: Time,
        id: HoldId,
        amount: Micros,
        voucher: Digest,
    ) -> Verdict {
        let hold = self.claimed(id)?;
        let noted = hold
            .noted
            .filter(|noted| (noted.0, noted.2) == (voucher, amount));
        require(noted.is_some(), "L14 two-signatures", || {
            format!(
                "{id:?} is paid {amount} by a claim, {:?} was noted",
                hold.noted
            )
        })?;
        let waited = at >= hold.expires.plus_ms(2 * 60_000);
        require(waited, "a claim never beats a receipt", || {
            format!(
                "{id:?} lasts until {:?} and its claim is paid at {at:?}",
                hold.expires
            )
        })?;
        let (_, number, _) = noted.expect("required above");
        let payee = hold.payees[&number];
        let payer = self.account(hold.payer);
        if !hold.expired {
            payer.held -= i128::from(hold.amount);
        }
        payer.balance -= i128::from(amount);
        self.account(payee).balance += i128::from(amount);
        self.paid.insert(of_worker(AttemptId::of(id, number)));
        let found = self.holds.get_mut(&id).expect("claimed above");
        found.is_late = found.expired;
        (found.resolved, found.expired) = (true, false);
        Ok(())
    }

    /// A hold that may be claimed: it is open, or has expired and was not paid.
    fn claimed(&self, id: HoldId) -> Result<Hold, Violation> {
        let found = self.holds.get(&id);
        let found = found.filter(|found| !found.resolved || found.expired);
        require(found.is_some(), "L05 resolve-once", || {
            format!("{id:?} is claimed, and was paid or never made")
        })?;
        Ok(found.expect("required above").clone())
    }

    /// How many holds were paid by a claim.
    pub fn vouched_for(&self) -> usize {
        let by_claim = |hold: &&Hold| hold.resolved && !hold.is_posted && hold.noted.is_some();
        self.holds.values().filter(by_claim).count()
    }

    /// The coordinator says that it has noted this claim at `amount`.
    pub fn is_noted(&self, claim: &Claim, amount: Micros) -> Verdict {
        let hold = self.holds.get(&claim.receipt.hold);
        let noted = hold.and_then(|hold| hold.noted);
        let enough = amount == 0 || noted.is_some_and(|noted| noted.2 >= amount);
        require(enough, "L21 ack-durable", || {
            format!("a claim of {amount} is acknowledged, {noted:?} is on the disk")
        })
    }

    /// Whoever claimed was refused, or the hold's time is over: a receipt was paid, or a claim that is no smaller.
    pub fn is_seen_to(&self, claim: &Claim) -> Verdict {
        let statement = &claim.receipt;
        let hold = self.holds.get(&statement.hold);
        require(hold.is_some(), "vouched streams are paid", || {
            format!("{:?} was never made", statement.hold)
        })?;
        let hold = hold.expect("required above");
        let number = (hold.attempts.keys())
            .find(|n| AttemptId::of(statement.hold, **n) == statement.attempt);
        let own = number.and_then(|number| hold.payees.get(number)) == Some(&hold.payer);
        let due = cost(&statement.tally).min(u128::from(if own { 0 } else { hold.amount }));
        let noted = hold.noted.map_or(0, |noted| u128::from(noted.2));
        let over = hold.resolved && !hold.expired;
        require(
            over && (hold.is_posted || hold.is_late || noted >= due) || due == 0,
            "vouched streams are paid",
            || {
                format!(
                    "{:?} was vouched {due} µc; {noted} were noted, over: {over}",
                    statement.attempt
                )
            },
        )
    }
}
