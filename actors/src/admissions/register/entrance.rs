//! Who comes in: redeeming an invitation, and renewing what it led to.

use super::{MEMBERS_MAX, NAME_BYTES_MAX, Register};
use crate::admissions::protocol::{Change, Done, JoinRefusal, MemberRecord, Standing};
use crate::certificate::{Certificate, LIFETIME_MS, RoleSet};
use crate::contract::Time;
use crate::ids::{Digest, MemberId, NodeId};
use crate::invitation::Secret;
use crate::keyring::check_name;
use std::collections::BTreeSet;

impl Register {
    /// Lets a node in by the secret of an invitation.
    pub(super) fn redeem(
        &mut self,
        now: Time,
        node: NodeId,
        secret: Secret,
        roles: RoleSet,
        name: &str,
    ) -> Result<(Done, Option<Change>), JoinRefusal> {
        let hash = secret.hash();
        // All are looked at, whichever it is.
        let found = self.invites.values().fold(None, |found, invite| {
            let here = same(&invite.hash, &hash);
            if here { Some(invite) } else { found }
        });
        let mut invite = found.cloned().ok_or(JoinRefusal::Unknown)?;
        let known = self.members.get(&node).cloned();
        if known.as_ref().is_some_and(|known| known.removed.is_some()) {
            return Err(JoinRefusal::Removed);
        }
        if let Some(known) = &known
            && known.invitation == hash
            && roles.within(known.certificate.roles)
            && now < known.certificate.expires
        {
            return Ok((self.admitted(known.clone()), None));
        }
        if invite.revoked {
            return Err(JoinRefusal::Revoked);
        }
        if now >= invite.expires {
            let seconds = now.since_ms(invite.expires) / 1000;
            return Err(JoinRefusal::Expired { seconds });
        }
        if invite.used >= invite.terms.uses_max {
            let uses = invite.terms.uses_max;
            return Err(JoinRefusal::UsedUp { uses });
        }
        if !roles.is_lawful() || !roles.within(invite.terms.roles) {
            let allowed = invite.terms.roles;
            return Err(JoinRefusal::Role { allowed });
        }
        if known.is_none() && self.present().count() >= MEMBERS_MAX {
            let limit = MEMBERS_MAX as u64;
            return Err(JoinRefusal::Full { limit });
        }
        let name = match &invite.terms.name[..] {
            "" => name,
            given => given,
        };
        check_name(name).map_err(|_| JoinRefusal::Name)?;
        self.serial += 1;
        let certificate = Certificate {
            troop: self.key.node(),
            node,
            member: match (&known, invite.terms.member) {
                (_, Some(named)) => named,
                (Some(known), None) => known.certificate.member,
                (None, None) => MemberId::of_owner(node),
            },
            roles,
            name: self.free_name(name, node),
            inviter: invite.terms.inviter,
            serial: self.serial,
            issued: now,
            expires: now.plus_ms(LIFETIME_MS),
        };
        let new = known.is_none() && invite.terms.member.is_none() && invite.terms.credits > 0;
        let member = MemberRecord {
            joined: known.as_ref().map_or(now, |known| known.joined),
            opening: match &known {
                Some(known) => known.opening,
                None => new.then_some((self.serial, invite.terms.credits)),
            },
            certificate,
            invitation: hash,
            removed: None,
        };
        invite.used += 1;
        self.invites.insert(hash, invite.clone());
        self.members.insert(node, member.clone());
        let change = Change {
            invites: vec![invite],
            members: vec![member.clone()],
            ..self.no_change()
        };
        Ok((self.admitted(member), Some(change)))
    }

    /// The next certificate of a member, or the present one while it is young.
    pub(super) fn renew(
        &mut self,
        now: Time,
        node: NodeId,
    ) -> Result<(Done, Option<Change>), JoinRefusal> {
        let mut member = match self.standing(node) {
            Standing::Stranger => return Err(JoinRefusal::Stranger),
            Standing::Removed => return Err(JoinRefusal::Removed),
            Standing::Member(member) => *member,
        };
        let certificate = &mut member.certificate;
        if now >= certificate.expires {
            let seconds = now.since_ms(certificate.expires) / 1000;
            return Err(JoinRefusal::Lapsed { seconds });
        }
        // Whoever asks too early, or lost the answer, gets what it has.
        if now < certificate.renew_at() {
            return Ok((self.admitted(member), None));
        }
        self.serial += 1;
        certificate.serial = self.serial;
        certificate.issued = now;
        certificate.expires = now.plus_ms(LIFETIME_MS);
        self.members.insert(node, member.clone());
        let change = Change {
            members: vec![member.clone()],
            ..self.no_change()
        };
        Ok((self.admitted(member), Some(change)))
    }

    /// `name`, or where another node has it, the same with a number: a name means one node.
    fn free_name(&self, name: &str, node: NodeId) -> String {
        let others = self.present().map(|member| &member.certificate);
        let others = others.filter(|certificate| certificate.node != node);
        let taken: BTreeSet<&str> = others.map(|certificate| &certificate.name[..]).collect();
        let numbered = (2u64..).map(|number| {
            let ending = format!("-{number}");
            let kept = name.len().min(NAME_BYTES_MAX - ending.len());
            format!("{}{ending}", &name[..kept])
        });
        std::iter::once(name.to_owned())
            .chain(numbered)
            .find(|name| !taken.contains(&name[..]))
            .expect("there are more numbers than members")
    }

    fn admitted(&self, member: MemberRecord) -> Done {
        let certificate = member.certificate.sign(&self.key);
        Done::Admitted(Box::new(member), certificate)
    }
}

/// Whether two hashes are one, in a time that does not say where they part.
fn same(left: &Digest, right: &Digest) -> bool {
    let pairs = left.0.iter().zip(&right.0);
    std::hint::black_box(pairs.fold(0, |all, (left, right)| all | (left ^ right))) == 0
}
