//! A membership certificate: what a coordinator says of a node, so that every other node may believe it.
//!
//! A node's key proves who a peer is; the certificate proves that it belongs, in which roles and whose it is.
//! It is checked offline, by the key of the one coordinator that signs for the troop.
//!
//! ```text
//! version (1 byte) | the claims, in bincode | Ed25519 signature of the coordinator (64 bytes)
//! ```
//!
//! It has one spelling: what decodes but is not spelled so is refused, even if the coordinator signed it. This
//! file knows nothing of removed members: that is the [`crate::admissions`]' to say.

use crate::contract::Time;
use crate::ids::{Digest, MemberId, NodeId, NodeKey, Signature, digest};
use crate::keyring::check_name;
use crate::wire::{self, WireError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Roles, any number of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSet(u8);

impl RoleSet {
    /// Asks the troop's workers.
    pub const CLIENT: RoleSet = RoleSet(1);
    /// Serves models to the troop.
    pub const WORKER: RoleSet = RoleSet(2);
    /// Keeps queue, books and keys.
    pub const COORDINATOR: RoleSet = RoleSet(4);

    /// These roles and those of `other`.
    pub const fn and(self, other: RoleSet) -> RoleSet {
        RoleSet(self.0 | other.0)
    }

    /// Whether every one of these is among `other`.
    pub fn within(self, other: RoleSet) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether these are some roles, and only such as this version knows.
    pub fn is_lawful(self) -> bool {
        self.0 != 0 && NAMED.iter().fold(0, |all, (role, _)| all | role.0) & self.0 == self.0
    }
}

impl fmt::Display for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMED.iter().filter(|(role, _)| role.within(*self));
        let names: Vec<_> = names.map(|(_, name)| *name).collect();
        f.write_str(&names.join("+"))
    }
}

impl fmt::Debug for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoleSet({self})")
    }
}

/// The word is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is client, worker or coordinator, or several joined by +")]
pub struct RoleError;

impl FromStr for RoleSet {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<RoleSet, RoleError> {
        let mut roles = RoleSet::default();
        for word in text.split('+') {
            let found = NAMED.iter().find(|(_, name)| *name == word);
            roles = roles.and(found.ok_or(RoleError)?.0);
        }
        Ok(roles)
    }
}

/// What a coordinator says of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The coordinator that signs: the troop.
    pub troop: NodeId,
    /// The node it is about.
    pub node: NodeId,
    /// Whose node that is.
    pub member: MemberId,
    /// What the node may be.
    pub roles: RoleSet,
    /// What it is called in listings: 1 to 64 letters, digits, dots, underscores or hyphens.
    pub name: String,
    /// Who invited it.
    pub inviter: MemberId,
    /// Its number among all that this coordinator ever signed.
    pub serial: u64,
    /// When it was signed.
    pub issued: Time,
    /// From when on it is worth nothing.
    pub expires: Time,
}

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CertificateError {
    /// It is longer than any certificate.
    #[error("the certificate has {bytes} bytes, at most {CERTIFICATE_BYTES_MAX} are read")]
    TooLong {
        /// Its bytes.
        bytes: u64,
    },
    /// Made by a version that is not spoken here.
    #[error("the certificate is of version {found}, {VERSION} is known")]
    Version {
        /// The version it names.
        found: u8,
    },
    /// It is no certificate, or not in its one spelling.
    #[error("the certificate is malformed: {message}")]
    Malformed {
        /// What is wrong.
        message: String,
    },
    /// Another coordinator's.
    #[error("the certificate is of another troop")]
    Troop,
    /// About another node.
    #[error("the certificate is for another node")]
    Node,
    /// The coordinator's key did not sign this.
    #[error("the certificate's signature does not verify")]
    Signature,
    /// Not valid yet.
    #[error("the certificate is valid only in {seconds} s; is the clock right?")]
    Early {
        /// In how many seconds it is.
        seconds: u64,
    },
    /// No longer valid.
    #[error("the certificate expired {seconds} s ago")]
    Expired {
        /// How many seconds ago.
        seconds: u64,
    },
}

impl Certificate {
    /// Its bytes, signed by the coordinator it names.
    pub fn sign(&self, key: &NodeKey) -> Vec<u8> {
        assert_eq!(self.troop, key.node(), "a troop signs only for itself");
        let mut bytes = wire::encode(VERSION, self);
        let signature = key.sign(statement(&bytes));
        bytes.extend(signature.0);
        bytes
    }

    /// The certificate in `bytes`, if the coordinator `troop` signed it for `node` and it is valid at `now`.
    pub fn verify(
        bytes: &[u8],
        troop: NodeId,
        node: NodeId,
        now: Time,
    ) -> Result<Certificate, CertificateError> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            let bytes = bytes.len() as u64;
            return Err(CertificateError::TooLong { bytes });
        }
        let (claims, signature) = bytes
            .split_at_checked(bytes.len().saturating_sub(SIGNATURE_BYTES))
            .unwrap_or_default();
        let certificate: Certificate = wire::decode(VERSION, claims, CERTIFICATE_BYTES_MAX)
            .map_err(|error| match error {
                WireError::Version { found, .. } => CertificateError::Version { found },
                other => malformed(other),
            })?;
        if wire::encode(VERSION, &certificate) != claims {
            return Err(malformed("it is not in its one spelling"));
        }
        if certificate.troop != troop {
            return Err(CertificateError::Troop);
        }
        if certificate.node != node {
            return Err(CertificateError::Node);
        }
        if !Signature(signature.to_vec()).verifies(troop, statement(claims)) {
            return Err(CertificateError::Signature);
        }
        if !certificate.roles.is_lawful() {
            return Err(malformed("roles: there are others than this version knows"));
        }
        check_name(&certificate.name).map_err(malformed)?;
        // Clocks of friends' machines differ by a little; what was signed a moment ago is good here too.
        let early = certificate
            .issued
            .since_ms(now.plus_ms(CLOCK_OFFSET_MS_MAX));
        if early > 0 {
            let seconds = early.div_ceil(1000);
            return Err(CertificateError::Early { seconds });
        }
        if now >= certificate.expires {
            let seconds = now.since_ms(certificate.expires) / 1000;
            return Err(CertificateError::Expired { seconds });
        }
        Ok(certificate)
    }

    /// From when on its node should ask for the next one: a third of its life is left then.
    pub fn renew_at(&self) -> Time {
        let life = self.expires.since_ms(self.issued);
        self.issued.plus_ms(life - life / 3)
    }
}

fn statement(claims: &[u8]) -> Digest {
    digest("troop/certificate/v1", &[claims])
}

fn malformed(message: impl ToString) -> CertificateError {
    CertificateError::Malformed {
        message: message.to_string(),
    }
}

/// Bytes of a certificate, at most: the longest name, every number at its longest, and the signature.
pub const CERTIFICATE_BYTES_MAX: usize = 320;
/// How long a certificate lives: a machine that is off for a month is let in again by its owner.
pub const LIFETIME_MS: u64 = 30 * 24 * 3_600_000;
/// How far a peer's clock may be behind the coordinator's.
const CLOCK_OFFSET_MS_MAX: u64 = 5 * 60_000;
const SIGNATURE_BYTES: usize = 64;
const VERSION: u8 = 1;
const NAMED: [(RoleSet, &str); 3] = [
    (RoleSet::CLIENT, "client"),
    (RoleSet::WORKER, "worker"),
    (RoleSet::COORDINATOR, "coordinator"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> NodeKey {
        NodeKey::from_secret([1; 32])
    }

    fn certificate() -> Certificate {
        Certificate {
            troop: key().node(),
            node: NodeId([2; 32]),
            member: MemberId([3; 16]),
            roles: RoleSet::CLIENT.and(RoleSet::WORKER),
            name: "bo-desktop".to_owned(),
            inviter: MemberId([4; 16]),
            serial: 300,
            issued: Time(1_000_000_000),
            expires: Time(1_000_000_000 + LIFETIME_MS),
        }
    }

    fn check(bytes: &[u8], now: Time) -> Result<Certificate, CertificateError> {
        Certificate::verify(bytes, key().node(), NodeId([2; 32]), now)
    }

    #[test]
    fn a_certificate_reads_back_and_its_bytes_are_pinned() {
        let bytes = certificate().sign(&key());
        assert_eq!(check(&bytes, Time(1_000_000_001)), Ok(certificate()));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let ids = format!("{}{}{}", key().node(), "02".repeat(32), "03".repeat(16));
        let rest = format!("030a{}{}", "626f2d6465736b746f70", "04".repeat(16));
        let times = "fb2c01fc00ca9a3bfc009219d6";
        assert!(hex.starts_with(&format!("01{ids}{rest}")), "{hex}");
        assert_eq!(&hex[hex.len() - 128 - times.len()..hex.len() - 128], times);
        // The signature over those bytes: Ed25519 has one for a key and a statement.
        assert_eq!(digest("t", &[&bytes]).to_string(), PINNED);
    }

    #[test]
    fn each_fault_of_a_certificate_is_refused_by_its_own_name() {
        let good = certificate().sign(&key());
        let now = Time(1_000_000_001);
        let with = |change: fn(&mut Certificate)| {
            let mut certificate = certificate();
            change(&mut certificate);
            check(&certificate.sign(&key()), now)
        };
        let mut other = certificate();
        let thief = NodeKey::from_secret([9; 32]);
        other.troop = thief.node();
        let forged = other.sign(&thief);
        assert_eq!(check(&forged, now), Err(CertificateError::Troop));
        assert_eq!(
            with(|c| c.node = NodeId([5; 32])),
            Err(CertificateError::Node)
        );
        let mut lies = certificate();
        lies.roles = RoleSet::COORDINATOR;
        let mut lies = wire::encode(VERSION, &lies);
        lies.extend(&good[good.len() - SIGNATURE_BYTES..]);
        assert_eq!(check(&lies, now), Err(CertificateError::Signature));
        assert_eq!(
            check(&[1; CERTIFICATE_BYTES_MAX + 1], now),
            Err(CertificateError::TooLong { bytes: 321 })
        );
        let mut newer = good.clone();
        newer[0] = 2;
        assert_eq!(
            check(&newer, now),
            Err(CertificateError::Version { found: 2 })
        );
        assert_eq!(
            check(&good, Time(1_000_000_000 - CLOCK_OFFSET_MS_MAX - 1)),
            Err(CertificateError::Early { seconds: 1 })
        );
        assert!(check(&good, Time(1_000_000_000 - CLOCK_OFFSET_MS_MAX)).is_ok());
        let expires = certificate().expires;
        assert!(check(&good, Time(expires.0 - 1)).is_ok());
        assert_eq!(
            check(&good, expires.plus_ms(2_000)),
            Err(CertificateError::Expired { seconds: 2 })
        );
        let wrong: [fn(&mut Certificate); 4] = [
            |c| c.roles = RoleSet(8),
            |c| c.roles = RoleSet::default(),
            |c| c.name = "a b".to_owned(),
            |c| c.name.clear(),
        ];
        for change in wrong {
            assert!(matches!(
                with(change),
                Err(CertificateError::Malformed { .. })
            ));
        }
    }

    #[test]
    fn no_change_of_a_bit_and_no_cut_is_believed() {
        let good = certificate().sign(&key());
        let now = Time(1_000_000_001);
        for bit in 0..8 * good.len() {
            let mut changed = good.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&changed, now).is_err(), "bit {bit}");
        }
        for bytes in 0..good.len() {
            assert!(check(&good[..bytes], now).is_err(), "{bytes} bytes");
        }
    }

    #[test]
    fn another_spelling_of_the_same_claims_is_refused_even_if_signed() {
        let mut claims = wire::encode(VERSION, &certificate());
        // The length of the name, 10, spelled as a 16-bit number.
        let length = 1 + 32 + 32 + 16 + 1;
        assert_eq!(claims[length], 10);
        claims.splice(length..=length, [251, 10, 0]);
        let signature = key().sign(statement(&claims));
        claims.extend(signature.0);
        assert!(matches!(
            check(&claims, Time(1_000_000_001)),
            Err(CertificateError::Malformed { .. })
        ));
    }

    #[test]
    fn the_longest_certificate_is_not_too_long() {
        let longest = Certificate {
            name: "n".repeat(64),
            serial: u64::MAX,
            issued: Time(u64::MAX - 1),
            expires: Time(u64::MAX),
            ..certificate()
        };
        let bytes = longest.sign(&key());
        assert!(bytes.len() <= CERTIFICATE_BYTES_MAX, "{}", bytes.len());
        assert_eq!(check(&bytes, Time(u64::MAX - 1)), Ok(longest));
    }

    #[test]
    fn roles_are_said_as_they_are_read() {
        for text in [
            "client",
            "worker",
            "client+worker",
            "client+worker+coordinator",
        ] {
            assert_eq!(text.parse::<RoleSet>().unwrap().to_string(), text);
        }
        for text in ["", "+", "both", "Worker", "client,worker"] {
            assert_eq!(text.parse::<RoleSet>(), Err(RoleError));
        }
        assert!(!RoleSet::COORDINATOR.within(RoleSet::CLIENT.and(RoleSet::WORKER)));
    }

    const PINNED: &str = "0231a3966002e0c46d8d82b4f56139c06d43cd1eaaba0d08e40f34b0bbfb6faa";
}
