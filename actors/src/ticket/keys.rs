//! The keys that tickets are signed with: never the coordinator's own, which members pin and which signs only what says
//! which keys those are.
//!
//! ```text
//! node key ─derives─> ticket keys …, previous, current, next         rotation: next becomes current, a new one is next
//!     └────signs────> KeySet{since, current, next, previous}         a door takes it from its coordinator, if it is later
//! ```
//!
//! The next key is known to every door before it is used, and the previous one is taken for as long as its last tickets
//! live: so nobody notices a rotation. Where a key may be known to somebody else the previous one goes at once, and the
//! epoch rises: no ticket from before is good any more.

use super::{LEEWAY_SECONDS, LIFETIME_SECONDS, TicketError, key_name};
use crate::contract::Time;
use crate::ids::{Digest, NodeId, NodeKey, Signature, TicketKey, digest};
use serde::{Deserialize, Serialize};

/// Where a coordinator stands with its keys: what its disk must know, and nothing secret. Keys are known by the numbers
/// they are derived from, which rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// When the present key came into use. Later ones are later, over restarts and lost disks too.
    pub since: Time,
    /// The epoch of the tickets that are signed now; a door takes none of an earlier one.
    pub epoch: u64,
    current: u64,
    next: u64,
    previous: Option<u64>,
}

impl Default for Rotation {
    /// Before the first one: it is long due.
    fn default() -> Rotation {
        Rotation {
            since: Time(0),
            epoch: 0,
            current: 0,
            next: 1,
            previous: None,
        }
    }
}

impl Rotation {
    /// The next one, at `now`; one that `revokes` ends every ticket of the present ones.
    pub fn turned(&self, now: Time, revokes: bool) -> Rotation {
        let since = now.max(self.since.plus_ms(1));
        Rotation {
            since,
            epoch: self.epoch + u64::from(revokes),
            current: self.next,
            // No number from before is as large: each was given by an earlier time.
            next: since.plus_ms(1).0,
            previous: (!revokes).then_some(self.current),
        }
    }

    /// The key that `root` signs tickets with now.
    pub fn signer(&self, root: &NodeKey) -> NodeKey {
        root.derived(TAG, self.current)
    }

    /// What doors are told.
    pub fn keys(&self, root: &NodeKey) -> KeySet {
        let key = |number| public(&root.derived(TAG, number));
        let mut keys = KeySet {
            since: self.since,
            current: key(self.current),
            next: key(self.next),
            previous: self.previous.map(key),
            signature: Signature(Vec::new()),
        };
        keys.signature = root.sign(keys.statement(root.node()));
        keys
    }
}

/// The keys whose tickets are good, signed by the coordinator's node key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    /// Since when; later sets are later.
    pub since: Time,
    /// With this one tickets are signed now.
    pub current: TicketKey,
    /// With this one from the next rotation on.
    pub next: TicketKey,
    /// With this one until then, if its tickets are still good.
    pub previous: Option<TicketKey>,
    /// By the issuer.
    pub signature: Signature,
}

impl KeySet {
    /// Whether `issuer` signed it.
    pub fn verifies(&self, issuer: NodeId) -> bool {
        self.signature.verifies(issuer, self.statement(issuer))
    }

    /// The key that a header calls `name`, if its tickets are good at this second. Compared, never looked up anywhere.
    pub(super) fn named(&self, name: &str, now_seconds: u64) -> Result<TicketKey, TicketError> {
        for key in [self.current, self.next] {
            if key_name(key) == name {
                return Ok(key);
            }
        }
        let previous = self.previous.filter(|key| key_name(*key) == name);
        let previous = previous.ok_or(TicketError::UnknownKey)?;
        match now_seconds <= self.since.seconds().saturating_add(PREVIOUS_SECONDS) {
            true => Ok(previous),
            false => Err(TicketError::RetiredKey),
        }
    }

    fn statement(&self, issuer: NodeId) -> Digest {
        let previous = self.previous.map_or(Vec::new(), |key| key.0.to_vec());
        let parts = [
            &issuer.0[..],
            &self.since.0.to_le_bytes(),
            &self.current.0,
            &self.next.0,
            &previous,
        ];
        digest("troop/ticket-keys/v1", &parts)
    }
}

/// The public half of a key that tickets are signed with.
pub(super) fn public(signer: &NodeKey) -> TicketKey {
    TicketKey(signer.node().0)
}

const TAG: &str = "troop/ticket-key/v1";
/// How long the previous key's tickets are good: the last one lives for its time, by a clock that may be a little off,
/// and may have been signed while the disk was told of the rotation.
const PREVIOUS_SECONDS: u64 = LIFETIME_SECONDS + 4 * LEEWAY_SECONDS;

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> NodeKey {
        NodeKey::from_secret([1; 32])
    }

    #[test]
    fn every_rotation_has_a_key_that_was_never_used_and_was_known_before() {
        let mut rotation = Rotation::default();
        let mut seen = vec![rotation.keys(&root()).current];
        // A clock that stands still or goes back is no way to an old key.
        for (now, revokes) in [(0, false), (7, false), (7, true), (3, false), (9_000, true)] {
            let before = rotation.keys(&root());
            let next = rotation.turned(Time(now), revokes);
            let keys = next.keys(&root());
            assert!(next.since > rotation.since);
            assert_eq!(keys.current, before.next, "it was published ahead");
            assert_eq!(keys.previous, (!revokes).then_some(before.current));
            assert_eq!(next.epoch, rotation.epoch + u64::from(revokes));
            assert_eq!(public(&next.signer(&root())), keys.current);
            assert!(!seen.contains(&keys.current), "used before");
            assert!(!seen.contains(&keys.next) && keys.next != keys.current);
            seen.push(keys.current);
            rotation = next;
        }
        assert!(!seen.contains(&TicketKey(root().node().0)));
    }

    #[test]
    fn a_set_is_believed_only_as_the_coordinator_signed_it() {
        let rotation = Rotation::default().turned(Time(5), false);
        let good = rotation.keys(&root());
        let root = root().node();
        assert!(good.verifies(root));
        assert!(!good.verifies(NodeKey::from_secret([2; 32]).node()));
        let other = TicketKey([9; 32]);
        let changes: [fn(&mut KeySet, TicketKey); 6] = [
            |set, _| set.since = set.since.plus_ms(1),
            |set, other| set.current = other,
            |set, other| set.next = other,
            |set, other| set.previous = Some(other),
            |set, _| set.previous = None,
            |set, _| set.signature.0[0] ^= 1,
        ];
        for (which, change) in changes.iter().enumerate() {
            let mut bad = good.clone();
            change(&mut bad, other);
            assert!(!bad.verifies(root), "change {which}");
        }
        // Whoever has a ticket key signs tickets with it, and no sets.
        let signer = rotation.signer(&NodeKey::from_secret([1; 32]));
        let mut own = good;
        own.signature = signer.sign(own.statement(root));
        assert!(!own.verifies(root));
    }
}
