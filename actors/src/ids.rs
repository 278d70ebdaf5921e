//! Names of things, each its own type, so that none can be mistaken for another.
//!
//! An id is bytes; on paper it is lower-case hex. Ids that follow from others are hashes of them with a
//! tag in front, so that the same cause always gives the same id: that is what makes retries harmless.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The id was not the right number of lower- or upper-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is {digits} hex digits")]
pub struct IdError {
    /// How many digits it should have had.
    pub digits: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(")")
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = IdError { digits: 2 * $bytes };
                let digits = text.as_bytes();
                if digits.len() != 2 * $bytes {
                    return Err(wrong);
                }
                let mut bytes = [0; $bytes];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    let high = (pair[0] as char).to_digit(16).ok_or_else(|| wrong.clone())?;
                    let low = (pair[1] as char).to_digit(16).ok_or_else(|| wrong.clone())?;
                    *byte = (high << 4 | low) as u8;
                }
                Ok($name(bytes))
            }
        }
    };
}

id!(
    /// A node: its Ed25519 public key.
    NodeId, 32
);
id!(
    /// A person or an organisation: one account in the ledger, any number of nodes and API keys.
    MemberId, 16
);
id!(
    /// One request of a client, over all its attempts. Drawn by the node the client talks to.
    RequestId, 16
);
id!(
    /// The credits set aside for one request: a hash of the request's id.
    HoldId, 16
);
id!(
    /// One use of a worker for a request: a hash of hold and attempt number; the ticket's `jti`.
    AttemptId, 16
);
id!(
    /// A model's identity: the SHA-256 of its file and of any template or adapter over it.
    Passport, 32
);
id!(
    /// A class of generation: a hash of its name, which says what an answer's bytes depend on besides the request.
    /// What was begun in one is gone on with in no other.
    Class, 32
);
id!(
    /// A key that tickets are signed with: its Ed25519 public half.
    TicketKey, 32
);
id!(
    /// A SHA-256 of something that no more specific id covers.
    Digest, 32
);

/// SHA-256 over a tag and parts, each preceded by its length, so that no two lists of parts collide.
pub fn digest(tag: &str, parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in std::iter::once(tag.as_bytes()).chain(parts.iter().copied()) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

fn short(digest: Digest) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.0[..16]);
    bytes
}

impl HoldId {
    /// The one hold of a request.
    pub fn of(request: RequestId) -> HoldId {
        HoldId(short(digest("troop/hold/v1", &[&request.0])))
    }
}

impl AttemptId {
    /// The `number`-th attempt (from 0) under a hold.
    pub fn of(hold: HoldId, number: u32) -> AttemptId {
        AttemptId(short(digest(
            "troop/attempt/v1",
            &[&hold.0, &number.to_le_bytes()],
        )))
    }

    /// Another id that follows from it: the worker's name for what its client calls by this one.
    pub fn counterpart(self) -> AttemptId {
        AttemptId(short(digest("troop/attempt/worker/v1", &[&self.0])))
    }
}

impl Class {
    /// The class of that name.
    pub fn of(name: &str) -> Class {
        Class(digest("troop/class/v1", &[name.as_bytes()]).0)
    }
}

impl MemberId {
    /// The member who owns a node that was not invited by anybody.
    pub fn of_owner(node: NodeId) -> MemberId {
        MemberId(short(digest("troop/member/owner/v1", &[&node.0])))
    }

    /// A member known by a name to the coordinator `coordinator`.
    pub fn of_name(coordinator: NodeId, name: &str) -> MemberId {
        MemberId(short(digest(
            "troop/member/name/v1",
            &[&coordinator.0, name.as_bytes()],
        )))
    }
}

/// A node's private key. It signs; it is never printed.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key whose secret half is `secret`.
    pub fn from_secret(secret: [u8; 32]) -> NodeKey {
        NodeKey(SigningKey::from_bytes(&secret))
    }

    /// The public half.
    pub fn node(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// The key that follows from this one by a tag and a number: whoever has it learns nothing of this one.
    pub fn derived(&self, tag: &str, number: u64) -> NodeKey {
        let secret = digest(tag, &[&self.0.to_bytes(), &number.to_le_bytes()]);
        NodeKey::from_secret(secret.0)
    }

    /// Signs `digest`, whose tag says what kind of statement it is.
    pub fn sign(&self, digest: Digest) -> Signature {
        Signature(self.0.sign(&digest.0).to_bytes().to_vec())
    }

    /// Signs bytes as they are (the ticket's signing input, which has its own framing).
    pub fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({:?})", self.node())
    }
}

/// An Ed25519 signature over a [`Digest`]; 64 bytes when it is one at all.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(pub Vec<u8>);

impl Signature {
    /// Whether `node` signed `digest`. Small-order keys and non-canonical signatures never verify.
    pub fn verifies(&self, node: NodeId, digest: Digest) -> bool {
        verifies_bytes(node, &digest.0, &self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} bytes)", self.0.len())
    }
}

/// Whether `node` signed exactly `bytes`.
pub fn verifies_bytes(node: NodeId, bytes: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else {
        return false;
    };
    let Ok(key) = VerifyingKey::from_bytes(&node.0) else {
        return false;
    };
    key.verify_strict(bytes, &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_own_hex() {
        let id = RequestId(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("zz".parse::<RequestId>().is_err());
        assert!(
            "é0123456789abcdef0123456789abcd"
                .parse::<RequestId>()
                .is_err()
        );
    }

    #[test]
    fn parts_of_a_digest_cannot_be_shifted_into_one_another() {
        assert_ne!(digest("t", &[b"ab", b"c"]), digest("t", &[b"a", b"bc"]));
    }

    #[test]
    fn a_signature_holds_only_for_its_key_and_statement() {
        let key = NodeKey::from_secret([7; 32]);
        let said = digest("t", &[b"yes"]);
        let signature = key.sign(said);
        assert!(signature.verifies(key.node(), said));
        assert!(!signature.verifies(key.node(), digest("t", &[b"no"])));
        assert!(!signature.verifies(NodeKey::from_secret([8; 32]).node(), said));
        assert!(!Signature(vec![0; 64]).verifies(key.node(), said));
    }
}
