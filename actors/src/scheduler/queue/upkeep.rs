//! What time does to the queue: silent workers, sessions and ledgers.

use super::{Effect, HOLD_AGAIN_MS, Queue, Refusal, Stage, Time};

impl Queue {
    /// Looks after everything that time does: silent workers, sessions and ledgers, and who hears what.
    pub(super) fn tick(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.ticked = now;
        self.workers.expire(now);
        let mut gone = Vec::new();
        for (request, entry) in &mut self.entries {
            match &mut entry.stage {
                Stage::Waiting { .. } if now.since_ms(entry.heard) > SESSION_SILENCE_MS => {
                    gone.push(*request);
                }
                Stage::Holding { since, .. } if now.since_ms(*since) > HOLD_MS_MAX => {
                    gone.push(*request);
                }
                Stage::Holding { place, again, .. } if *again <= now => {
                    *again = now.plus_ms(HOLD_AGAIN_MS);
                    out.push(Effect::Hold(place.hold.clone()));
                }
                Stage::Granted { seen, .. } if now.since_ms(*seen) > LEASE_MS => {
                    self.counts.reclaimed += 1;
                    gone.push(*request);
                }
                _ => {}
            }
        }
        for request in gone {
            if let Some(entry) = self.entries.remove(&request) {
                self.release(&entry, request);
                if matches!(entry.stage, Stage::Holding { .. }) {
                    let refusal = Refusal::LedgerUnavailable;
                    let reason = (refusal, Vec::new());
                    self.refuse(now, (&entry.admit, entry.since), reason, out);
                }
            }
        }
        self.dispatch(now, out);
    }
}

/// How long the ledger may take.
const HOLD_MS_MAX: u64 = 20_000;
/// A session that waits says so every 2 s; one that has not for so long is gone.
const SESSION_SILENCE_MS: u64 = 10_000;
/// A place whose worker has not reported the request for so long (three reports) is free.
const LEASE_MS: u64 = 30_000;
