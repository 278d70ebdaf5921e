//! What time does to the queue: silent workers, sessions and ledgers, and who hears where it stands.

use super::{Effect, HOLD_AGAIN_MS, Queue, Refusal, Stage, Time};
use std::collections::BTreeMap;

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
                    self.refuse(now, &entry.admit, refusal, Vec::new(), out);
                }
            }
        }
        self.dispatch(now, out);
    }

    /// Tells those who wait where they stand: those who have just asked at once, the others at a tick.
    pub(super) fn tell(&mut self, all: bool, out: &mut Vec<Effect>) {
        let mut before = BTreeMap::new();
        for request in self.line.order() {
            let Some(entry) = self.entries.get_mut(&request) else {
                continue;
            };
            let ahead: &mut u32 = before.entry(entry.admit.model).or_default();
            if let Stage::Waiting { told } = &mut entry.stage
                && (told.is_none() || all && *told != Some(*ahead))
            {
                *told = Some(*ahead);
                out.push(Effect::Queued {
                    client: entry.admit.client,
                    request,
                    ahead: *ahead,
                });
            }
            *ahead += 1;
        }
    }
}

/// How long the ledger may take.
const HOLD_MS_MAX: u64 = 20_000;
/// A session that waits says so every 2 s; one that has not for so long is gone.
const SESSION_SILENCE_MS: u64 = 10_000;
/// A place whose worker has not reported the request for so long (three reports) is free.
const LEASE_MS: u64 = 30_000;
