//! The issuer's core: fills in the times and signs. The same order always names the same attempt. What was taken back
//! it signs no more, and tells every door that asks; and so it does with the keys it signs with, which it changes when
//! they have been used for long enough, or when it is told to.

use super::protocol::{Effect, Input, Keys, RotateError};
use crate::contract::{Core, Time};
use crate::ids::{AttemptId, NodeId, NodeKey};
use crate::scheduler::protocol::Issue;
use crate::session::protocol::Grant;
use crate::ticket::{
    self, Claims, KeySet, LIFETIME_SECONDS, REVOKED_MAX, Revocations, Revoked, Rotation,
};

/// A coordinator's keys, and what it has taken back.
#[derive(Clone, Debug)]
pub struct Seal {
    /// The node's own, which signs no tickets.
    root: NodeKey,
    rotation: Rotation,
    signer: NodeKey,
    keys: KeySet,
    /// The next rotation, while the disk is told of it, and who waits for that.
    turning: Option<(Rotation, Option<u64>)>,
    written: u64,
    /// In the order of their coming.
    revoked: Vec<Revoked>,
    /// The same, signed; nothing while there is nothing.
    list: Option<Revocations>,
}

impl Seal {
    /// The seal of the coordinator with this key, whose disk knows `rotation`, and which has taken nothing else back.
    pub fn new(root: NodeKey, rotation: Rotation) -> Seal {
        let (signer, keys) = (rotation.signer(&root), rotation.keys(&root));
        let mut seal = Seal {
            root,
            rotation,
            signer,
            keys,
            turning: None,
            written: 0,
            revoked: Vec::new(),
            list: None,
        };
        if rotation.epoch > 0 {
            seal.publish(rotation.since);
        }
        seal
    }

    fn issue(&self, now: Time, issue: Issue, out: &mut Vec<Effect>) {
        let issued_at = now.seconds();
        let claims = Claims {
            issuer: self.root.node(),
            issued_at,
            issued_ms: now.0 % 1000,
            expires_at: issued_at.saturating_add(LIFETIME_SECONDS),
            attempt: AttemptId::of(issue.claims.hold, issue.claims.number),
            client: issue.client,
            epoch: self.rotation.epoch,
            ..issue.claims
        };
        if self.list.as_ref().is_some_and(|list| list.names(&claims)) {
            return;
        }
        let ticket = ticket::sign(&claims, &self.signer);
        out.push(Effect::Granted {
            client: issue.client,
            request: claims.request,
            grant: Box::new(Grant::of(&claims, issue.patience, ticket)),
        });
    }

    fn tell(&self, now: Time, door: NodeId, sent: Time, known: (u64, Time)) -> Effect {
        let (list, keys) = known;
        let list = self.list.as_ref().filter(|own| own.number != list);
        let keys = (self.keys.since != keys || keys == Time(0)).then(|| self.keys.clone());
        Effect::Told {
            door,
            sent,
            there: now,
            revocations: list.cloned().map(Box::new),
            keys: keys.map(Box::new),
        }
    }

    fn revoke(&mut self, now: Time, revoked: Vec<Revoked>) {
        let before = self.revoked.len();
        for revoked in revoked {
            if !self.revoked.contains(&revoked) {
                self.revoked.push(revoked);
            }
        }
        if self.revoked.len() == before {
            return;
        }
        let beyond = self.revoked.len().saturating_sub(REVOKED_MAX);
        self.revoked.drain(..beyond);
        self.publish(now);
    }

    /// A new list, for what has changed.
    fn publish(&mut self, now: Time) {
        // The time, so that a later life of this coordinator has later lists.
        let known = self.list.as_ref().map_or(0, |list| list.number);
        let (number, epoch) = (now.0.max(known + 1), self.rotation.epoch);
        let revoked = self.revoked.clone();
        self.list = Some(Revocations::sign(number, epoch, revoked, &self.root));
    }

    /// Whoever orders a rotation hears of it once it is on the disk; from then on the next key signs.
    fn rotate(&mut self, now: Time, call: u64, revokes: bool, out: &mut Vec<Effect>) {
        let used_ms = now.since_ms(self.rotation.since);
        let error = if self.turning.is_some() {
            RotateError::Busy
        } else if !revokes && used_ms < PUBLISHED_MS {
            let seconds = (PUBLISHED_MS - used_ms).div_ceil(1_000);
            RotateError::Soon { seconds }
        } else {
            return self.turn(now, Some(call), revokes, out);
        };
        let outcome = Err(error);
        out.push(Effect::Answer { call, outcome });
    }

    fn turn(&mut self, now: Time, call: Option<u64>, revokes: bool, out: &mut Vec<Effect>) {
        let rotation = self.rotation.turned(now, revokes);
        self.turning = Some((rotation, call));
        self.written += 1;
        let write = self.written;
        out.push(Effect::Persist { write, rotation });
    }

    fn turned(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some((rotation, call)) = self.turning.take() else {
            return;
        };
        let revokes = rotation.epoch > self.rotation.epoch;
        self.rotation = rotation;
        self.signer = rotation.signer(&self.root);
        self.keys = rotation.keys(&self.root);
        if revokes {
            self.publish(now);
        }
        if let Some(call) = call {
            let (keys, epoch) = (self.keys.clone(), rotation.epoch);
            let outcome = Ok(Keys { keys, epoch });
            out.push(Effect::Answer { call, outcome });
        }
    }
}

impl Core for Seal {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Issue(issue) => self.issue(now, *issue, out),
            Input::Tell {
                door,
                sent,
                list,
                keys,
            } => {
                // The door has a list, and this coordinator's file is gone or an older one: an epoch that nobody signs
                // by would turn everybody away.
                if list != 0 && self.list.is_none() {
                    self.publish(now);
                }
                out.push(self.tell(now, door, sent, (list, keys)));
            }
            Input::Revoke(revoked) => self.revoke(now, revoked),
            Input::Rotate { call, revokes } => self.rotate(now, call, revokes, out),
            Input::Persisted { write } if write == self.written => self.turned(now, out),
            Input::Persisted { .. } => {}
            Input::PersistFailed { message } => {
                if let Some((_, Some(call))) = self.turning.take() {
                    let outcome = Err(RotateError::Unwritten { message });
                    out.push(Effect::Answer { call, outcome });
                }
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        let due = self.rotation.since.plus_ms(USED_MS_MAX);
        self.turning.is_none().then_some(due)
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.deadline().is_some_and(|due| due <= now) {
            self.turn(now, None, false, out);
        }
    }

    fn check(&self) {
        assert!(self.revoked.len() <= REVOKED_MAX, "the list is bounded");
        let listed = self.list.as_ref().map(|list| &list.revoked);
        assert_eq!(listed.map_or(0, Vec::len), self.revoked.len());
        let epoch = self.list.as_ref().map_or(0, |list| list.epoch);
        assert_eq!(epoch, self.rotation.epoch, "what is over is listed");
        let turning = self.turning.as_ref();
        assert!(turning.is_none_or(|(next, _)| next.since > self.rotation.since));
    }
}

/// How long a key is used, at most.
const USED_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// How long the next key is published before it is used: doors ask every 5 s, and a worker that has not been heard of
/// for 35 s gets no work.
const PUBLISHED_MS: u64 = 60_000;

#[cfg(test)]
mod tests;
