//! What a client signs while tokens come, and what its worker makes of that if no receipt follows.
//!
//! ```text
//! tokens ──> client ─Vouch─> worker      at the first token, then every 256 of them or 5 s while they come
//!                                        the last: a receipt, if both sides signed it; or a claim
//! ```
//!
//! A voucher states the tally so far in the words of a receipt, under a tag of its own: nobody can make a receipt
//! of it. It goes without the words, which its worker knows from the ticket, so it cannot name anything else.

use super::{Receipt, Signed};
use crate::ids::{Digest, NodeKey, Signature, digest};
use serde::{Deserialize, Serialize};

impl Receipt {
    /// What the client signs of a tally that still grows.
    pub fn voucher(&self) -> Digest {
        digest("troop/voucher/v1", &[&self.digest().0])
    }

    /// What the worker signs when a voucher is all it has.
    fn claim(&self) -> Digest {
        digest("troop/claim/v1", &[&self.digest().0])
    }
}

/// What a worker asks for when no receipt came: as much as its client vouched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The statement, with the tally that was vouched for.
    pub receipt: Receipt,
    /// By `receipt.worker`, as a claim.
    pub worker_signature: Signature,
    /// By `receipt.client`, as a voucher.
    pub client_signature: Signature,
}

impl Claim {
    /// The worker claims what its client vouched for.
    pub fn sign(receipt: Receipt, client_signature: Signature, worker: &NodeKey) -> Claim {
        assert_eq!(
            receipt.worker,
            worker.node(),
            "a worker claims only for itself"
        );
        Claim {
            worker_signature: worker.sign(receipt.claim()),
            receipt,
            client_signature,
        }
    }

    /// Whether the client vouched for it and the worker claims it (L14).
    pub fn verifies(&self) -> bool {
        let Receipt { client, worker, .. } = self.receipt;
        (self.worker_signature).verifies(worker, self.receipt.claim())
            && (self.client_signature).verifies(client, self.receipt.voucher())
    }
}

/// What a payment may rest on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// Both sides signed for all of it.
    Receipt(Signed),
    /// The client vouched for a part of it.
    Claim(Claim),
}

impl Evidence {
    /// What it states.
    pub fn statement(&self) -> &Receipt {
        match self {
            Evidence::Receipt(signed) => &signed.receipt,
            Evidence::Claim(claim) => &claim.receipt,
        }
    }

    /// Whether it is signed by both sides named in it (L14).
    pub fn verifies(&self) -> bool {
        match self {
            Evidence::Receipt(signed) => signed.verifies(),
            Evidence::Claim(claim) => claim.verifies(),
        }
    }

    /// The signatures under it, the worker's first.
    pub fn signatures(&self) -> [&Signature; 2] {
        match self {
            Evidence::Receipt(it) => [&it.worker_signature, &it.client_signature],
            Evidence::Claim(it) => [&it.worker_signature, &it.client_signature],
        }
    }
}

/// Tokens after which a client vouches again.
pub const VOUCH_TOKENS: u32 = 256;
/// And milliseconds, while tokens come.
pub const VOUCH_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Tally;
    use crate::ids::{AttemptId, HoldId, Passport, RequestId};
    use crate::receipt::Half;

    #[test]
    fn a_voucher_is_no_receipt_and_a_claim_is_for_nothing_else() {
        let [client, worker] = [1, 2].map(|n| NodeKey::from_secret([n; 32]));
        let receipt = Receipt {
            request: RequestId([3; 16]),
            hold: HoldId([4; 16]),
            attempt: AttemptId([5; 16]),
            client: client.node(),
            worker: worker.node(),
            model: Passport([6; 32]),
            prices: Digest([7; 32]),
            tally: Tally {
                prompt_tokens: 8,
                completion_tokens: 9,
                transcript: Digest([10; 32]),
            },
        };
        let vouched = client.sign(receipt.voucher());
        let claim = Claim::sign(receipt.clone(), vouched.clone(), &worker);
        assert!(claim.verifies());
        let half = Half::sign(receipt.clone(), &worker);
        let forged = Signed {
            receipt: receipt.clone(),
            worker_signature: half.worker_signature.clone(),
            client_signature: vouched,
        };
        assert!(!forged.verifies(), "a voucher is no receipt");
        let signed = half.countersign(&client);
        let swapped = Claim {
            client_signature: signed.client_signature,
            ..claim.clone()
        };
        assert!(!swapped.verifies(), "nor a receipt a voucher");
        let mut more = claim.clone();
        more.receipt.tally.completion_tokens += 1;
        assert!(!more.verifies());
        let mut other = claim;
        other.receipt.attempt = AttemptId([11; 16]);
        assert!(!other.verifies());
    }
}
