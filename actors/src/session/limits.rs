//! How often, how long and how many: every bound of a session, with its reason.

use crate::ticket::{LEEWAY_SECONDS, LIFETIME_SECONDS};
use std::ops::RangeInclusive;

/// How long a worker is waited for: by a new request, and by a stream that has begun.
pub(super) fn patience_ms(tries: u32) -> u64 {
    match tries {
        0 => QUEUE_MS_MAX,
        _ => RESUME_MS_MAX,
    }
}

/// Workers one request is tried at, at most.
pub(super) const TRIES_MAX: u32 = 4;
/// How long a ticket that stands by is kept: as long as a door takes it, less twice what two clocks may differ by.
pub(super) const STANDBY_MS: u64 = (LIFETIME_SECONDS - 2 * LEEWAY_SECONDS) * 1_000;
/// How soon it is renewed.
pub(super) const STANDBY_RENEW_MS: u64 = 60_000;
/// How soon one is asked for that was not given.
pub(super) const STANDBY_AGAIN_MS: u64 = 10_000;
/// How often an unanswered question is asked again.
pub(super) const ASK_AGAIN_MS: u64 = 2_000;
/// How soon a begun stream asks again when no worker is there.
pub(super) const COME_BACK_MS: u64 = 250;
/// How long a session waits after a second closed door. A door is open as soon as its coordinator has answered it, and
/// asks twice a second.
pub(super) const WINDOW_MS: u64 = 1_000;
/// A ticket that has been here for longer may be older than a door that has long been open since: a door that is shut to
/// it says nothing of a fresh one.
pub(super) const FRESH_MS: u64 = 1_000;
/// How long a request waits for its first worker.
pub(super) const QUEUE_MS_MAX: u64 = 120_000;
/// How long a begun stream waits for another one.
pub(super) const RESUME_MS_MAX: u64 = 30_000;
/// How often a client is told how it goes, at most.
pub(super) const TELL_EVERY_MS: u64 = 500;
/// A worker says something every second. One that has not for as long as its grant allows is lost, within these
/// bounds whatever a coordinator says.
pub(super) const SILENCE_MS: RangeInclusive<u64> = 1_000..=60_000;
/// How many times longer one that failed this request before may be silent.
pub(super) const SECOND_SILENCE: u64 = 4;
/// One that says much and gets no further is left within these bounds, if another one stands by.
pub(super) const PROGRESS_MS: RangeInclusive<u64> = 5_000..=300_000;
/// How often an unanswered cancel is said again.
pub(super) const CANCEL_AGAIN_MS: u64 = 1_000;
/// How long the worker's signature is waited for after a hang-up.
pub(super) const LEAVE_MS: u64 = 30_000;
/// How often a receipt that the outbox has not confirmed is handed in again.
pub(super) const POST_AGAIN_MS: u64 = 1_000;
/// How long its disk is waited for; then the receipt is lost and the hold expires.
pub(super) const POST_MS_MAX: u64 = 60_000;
/// How long a ticket that was under way when the client left is waited for.
pub(super) const WITHDRAW_MS: u64 = 5_000;
