//! The admissions' core: who was invited, who came, who was put out. What it says is durable before it is said.
//!
//! A question asked twice has one answer: whoever lost the answer to `Redeem` or `Renew` gets the same
//! certificate, and no further use of the invitation is counted.

mod entrance;

use super::protocol::{
    AdmissionError, Change, Done, Effect, Input, InviteRecord, MemberRecord, Order, Standing, Terms,
};
use crate::certificate::RoleSet;
use crate::contract::{Core, Time};
use crate::ids::{Digest, NodeId, NodeKey};
use crate::keyring::check_name;
use std::collections::BTreeMap;

/// The invitations and the members, and the calls whose answers wait for the disk.
#[derive(Debug)]
pub struct Register {
    key: NodeKey,
    serial: u64,
    invites: BTreeMap<Digest, InviteRecord>,
    members: BTreeMap<NodeId, MemberRecord>,
    written: u64,
    durable: u64,
    waiting: BTreeMap<u64, Vec<(u64, Done)>>,
}

impl Register {
    /// The register that the disk holds, of the coordinator with this key.
    pub fn new(key: NodeKey, kept: Change) -> Register {
        let invites = kept.invites.into_iter().map(|kept| (kept.hash, kept));
        let members = kept.members.into_iter();
        Register {
            key,
            serial: kept.serial,
            invites: invites.collect(),
            members: members.map(|kept| (kept.certificate.node, kept)).collect(),
            written: 0,
            durable: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// All invitations that are kept, in order of their making; spent ones are for a while.
    pub fn invites(&self) -> Vec<InviteRecord> {
        let mut invites: Vec<_> = self.invites.values().cloned().collect();
        invites.sort_by_key(|invite| (invite.created, invite.hash));
        invites
    }

    /// All nodes that belong, in order of their coming.
    pub fn members(&self) -> Vec<MemberRecord> {
        let mut members: Vec<_> = self.present().cloned().collect();
        members.sort_by_key(|member| (member.joined, member.certificate.node));
        members
    }

    /// All nodes that were put out, as far as they are remembered.
    pub fn removed(&self) -> Vec<NodeId> {
        let members = self.members.values();
        let removed = members.filter(|member| member.removed.is_some());
        removed.map(|member| member.certificate.node).collect()
    }

    /// How a node stands.
    pub fn standing(&self, node: NodeId) -> Standing {
        match self.members.get(&node) {
            None => Standing::Stranger,
            Some(member) if member.removed.is_some() => Standing::Removed,
            Some(member) => Standing::Member(Box::new(member.clone())),
        }
    }

    fn present(&self) -> impl Iterator<Item = &MemberRecord> {
        let members = self.members.values();
        members.filter(|member| member.removed.is_none())
    }

    /// Carries out an order: what was done, and what of it the disk does not know yet.
    fn carry_out(
        &mut self,
        now: Time,
        order: Order,
    ) -> Result<(Done, Option<Change>), AdmissionError> {
        match order {
            Order::Invite { hash, terms } => self.invite(now, hash, terms),
            Order::Revoke { prefix } => self.revoke(&prefix),
            Order::Redeem {
                node,
                secret,
                roles,
                name,
            } => Ok(self.redeem(now, node, secret, roles, &name)?),
            Order::Renew { node } => Ok(self.renew(now, node)?),
            Order::Remove { pick } => self.remove(now, &pick),
        }
    }

    fn invite(
        &mut self,
        now: Time,
        hash: Digest,
        terms: Terms,
    ) -> Result<(Done, Option<Change>), AdmissionError> {
        let invited_to = RoleSet::CLIENT.and(RoleSet::WORKER);
        if !terms.roles.is_lawful() || !terms.roles.within(invited_to) {
            return Err(AdmissionError::Roles);
        }
        if !(1..=USES_MAX).contains(&terms.uses_max) {
            return Err(AdmissionError::Uses { limit: USES_MAX });
        }
        if !(1..=TTL_MS_MAX).contains(&terms.ttl_ms) {
            let days = TTL_MS_MAX / DAY_MS;
            return Err(AdmissionError::Ttl { days });
        }
        if !terms.name.is_empty() {
            check_name(&terms.name).map_err(AdmissionError::Name)?;
            if terms.uses_max > 1 {
                let uses = terms.uses_max;
                return Err(AdmissionError::Names { uses });
            }
        }
        // Spent ones are remembered so that a late comer hears why, but not for ever.
        let spent = |invite: &&InviteRecord| now >= invite.expires.plus_ms(REMEMBERED_MS);
        let forgotten = self.invites.values().filter(spent);
        let forget_invites: Vec<Digest> = forgotten.map(|invite| invite.hash).collect();
        if self.invites.len() - forget_invites.len() >= INVITES_MAX {
            return Err(AdmissionError::Full { limit: INVITES_MAX });
        }
        forget_invites.iter().for_each(|hash| {
            self.invites.remove(hash);
        });
        let invite = InviteRecord {
            hash,
            created: now,
            expires: now.plus_ms(terms.ttl_ms),
            terms,
            used: 0,
            revoked: false,
        };
        self.invites.insert(hash, invite.clone());
        let change = Change {
            invites: vec![invite.clone()],
            forget_invites,
            ..self.no_change()
        };
        Ok((Done::Invite(Box::new(invite)), Some(change)))
    }

    fn revoke(&mut self, prefix: &str) -> Result<(Done, Option<Change>), AdmissionError> {
        let pick = prefix.to_ascii_lowercase();
        let begins = |invite: &&mut InviteRecord| invite.hash.to_string().starts_with(&pick);
        let mut found: Vec<_> = self.invites.values_mut().filter(begins).collect();
        match &mut found[..] {
            [] => Err(AdmissionError::NoInvite {
                prefix: cut(prefix),
            }),
            // Refused from now on, even before the disk knows: the safe side of a crash.
            [invite] => {
                invite.revoked = true;
                let invite = invite.clone();
                let change = Change {
                    invites: vec![invite.clone()],
                    ..self.no_change()
                };
                Ok((Done::Invite(Box::new(invite)), Some(change)))
            }
            more => Err(AdmissionError::Ambiguous {
                pick: cut(prefix),
                count: more.len(),
            }),
        }
    }

    fn remove(&mut self, now: Time, pick: &str) -> Result<(Done, Option<Change>), AdmissionError> {
        let lower = pick.to_ascii_lowercase();
        let named = self
            .present()
            .find(|member| member.certificate.name == pick);
        let begins = |member: &&MemberRecord| {
            lower.len() >= PICK_CHARS_MIN && member.certificate.node.to_string().starts_with(&lower)
        };
        let found: Vec<_> = match named {
            Some(member) => vec![member],
            None => self.present().filter(begins).collect(),
        };
        let mut member = match &found[..] {
            [] => return Err(AdmissionError::NoMember { pick: cut(pick) }),
            [member] => (*member).clone(),
            more => {
                let (pick, count) = (cut(pick), more.len());
                return Err(AdmissionError::Ambiguous { pick, count });
            }
        };
        // Out from now on, even before the disk knows.
        member.removed = Some(now);
        self.members.insert(member.certificate.node, member.clone());
        let change = Change {
            members: vec![member.clone()],
            forget_members: self.forget_removed(),
            ..self.no_change()
        };
        Ok((Done::Removed(Box::new(member)), Some(change)))
    }

    /// Forgets those removed longest ago, beyond what is remembered of them.
    fn forget_removed(&mut self) -> Vec<NodeId> {
        let removed = self.members.values();
        let removed = removed.filter_map(|member| Some((member.removed?, member.certificate.node)));
        let mut removed: Vec<_> = removed.collect();
        removed.sort();
        removed.truncate(removed.len().saturating_sub(REMOVED_MAX));
        let forgotten = removed.into_iter().map(|(_, node)| node);
        forgotten
            .inspect(|node| {
                self.members.remove(node);
            })
            .collect()
    }

    fn no_change(&self) -> Change {
        Change {
            serial: self.serial,
            ..Change::default()
        }
    }
}

/// What was asked for, as far as it is worth repeating.
fn cut(word: &str) -> String {
    word.chars().take(NAME_BYTES_MAX).collect()
}

impl Core for Register {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Order { call, order } => {
                let waiting: usize = self.waiting.values().map(Vec::len).sum();
                let behind = self.written - self.durable >= WRITES_MAX || waiting >= WAITING_MAX;
                let carried = match behind {
                    true => Err(AdmissionError::Busy),
                    false => self.carry_out(now, order),
                };
                let (done, change) = match carried {
                    Ok(carried) => carried,
                    Err(error) => {
                        let outcome = Err(error);
                        return out.push(Effect::Answer { call, outcome });
                    }
                };
                if let Done::Removed(member) = &done {
                    let node = member.certificate.node;
                    out.push(Effect::PutOut { node });
                }
                if let Some(change) = change {
                    self.written += 1;
                    let (write, change) = (self.written, Box::new(change));
                    out.push(Effect::Persist { write, change });
                }
                if self.durable == self.written {
                    let outcome = Ok(done);
                    return out.push(Effect::Answer { call, outcome });
                }
                let waiting = self.waiting.entry(self.written).or_default();
                waiting.push((call, done));
            }
            Input::Persisted { write } => {
                self.durable = write;
                let later = self.waiting.split_off(&(write + 1));
                let told = std::mem::replace(&mut self.waiting, later);
                out.extend(told.into_values().flatten().map(|(call, done)| {
                    let outcome = Ok(done);
                    Effect::Answer { call, outcome }
                }));
            }
            Input::PersistFailed { message } => {
                let told = std::mem::take(&mut self.waiting).into_values().flatten();
                out.extend(told.map(|(call, _)| {
                    let message = message.clone();
                    let outcome = Err(AdmissionError::Unwritten { message });
                    Effect::Answer { call, outcome }
                }));
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn wake(&mut self, _now: Time, _out: &mut Vec<Effect>) {}

    fn check(&self) {
        assert!(self.invites.len() <= INVITES_MAX, "invitations are bounded");
        assert!(
            self.members.len() <= MEMBERS_MAX + REMOVED_MAX,
            "members are bounded"
        );
        assert!(self.durable <= self.written, "the disk follows");
        assert!(
            self.waiting.keys().all(|write| *write > self.durable),
            "nobody waits for what is durable"
        );
        let in_place = |(hash, invite): (&Digest, &InviteRecord)| {
            *hash == invite.hash && invite.used <= invite.terms.uses_max
        };
        assert!(
            self.invites.iter().all(in_place),
            "an invitation stands at its hash, and is used as often as it may be"
        );
        let in_place = |(node, member): (&NodeId, &MemberRecord)| {
            let certificate = &member.certificate;
            *node == certificate.node && certificate.serial <= self.serial
        };
        assert!(
            self.members.iter().all(in_place),
            "a member stands at its node, with a number that was given"
        );
    }
}

/// Machines that one invitation lets in, at most.
pub const USES_MAX: u32 = 100;
/// How long an invitation may be good.
pub const TTL_MS_MAX: u64 = 30 * DAY_MS;
/// Nodes of a troop, at most: beyond this it is several.
const MEMBERS_MAX: usize = 1_000;
/// Removed nodes that are remembered, at most, so that they hear why they are refused.
const REMOVED_MAX: usize = 1_000;
/// Invitations that are kept, at most, spent ones included.
const INVITES_MAX: usize = 1_000;
/// How long a spent invitation is remembered after its end.
const REMEMBERED_MS: u64 = 7 * DAY_MS;
const DAY_MS: u64 = 24 * 3_600_000;
/// Digits of an id that mean a node, at least: fewer are a slip.
const PICK_CHARS_MIN: usize = 4;
const NAME_BYTES_MAX: usize = 64;
/// Writes in flight, at most; below the writer's own queue.
const WRITES_MAX: u64 = 8;
/// Answers that wait for the disk, at most.
const WAITING_MAX: usize = 64;

#[cfg(test)]
mod tests;
