//! What was delivered, signed by both sides: what a settlement rests on.
//!
//! The worker signs its half when an attempt closes; the client's session compares it with what it received
//! and signs the same words. No prompt and no output is in it, only counts and a hash of the ids. Where the
//! client does not sign in the end, what it vouched for on the way stands in.

mod voucher;

pub use voucher::{Claim, Evidence, VOUCH_MS, VOUCH_TOKENS};

use crate::generate::Tally;
use crate::ids::{
    AttemptId, Digest, HoldId, NodeId, NodeKey, Passport, RequestId, Signature, digest,
};
use crate::price::{Micros, Prices};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The statement both sides sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The request.
    pub request: RequestId,
    /// Its hold.
    pub hold: HoldId,
    /// The attempt that closed it.
    pub attempt: AttemptId,
    /// Who received.
    pub client: NodeId,
    /// Who delivered.
    pub worker: NodeId,
    /// The model.
    pub model: Passport,
    /// The price table, by hash.
    pub prices: Digest,
    /// What was delivered.
    pub tally: Tally,
}

impl Receipt {
    /// What is signed: a hash over every field, under a tag no other statement uses.
    pub fn digest(&self) -> Digest {
        digest(
            "troop/receipt/v1",
            &[
                &self.request.0,
                &self.hold.0,
                &self.attempt.0,
                &self.client.0,
                &self.worker.0,
                &self.model.0,
                &self.prices.0,
                &self.tally.prompt_tokens.to_le_bytes(),
                &self.tally.completion_tokens.to_le_bytes(),
                &self.tally.transcript.0,
            ],
        )
    }

    /// What it costs by `prices`; `None` if that table is not the one it names, or the cost overflows.
    pub fn cost(&self, prices: &Prices) -> Option<Micros> {
        if prices.version() != self.prices {
            return None;
        }
        prices.cost(
            self.tally.prompt_tokens.into(),
            self.tally.completion_tokens.into(),
        )
    }
}

/// A receipt with the worker's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Half {
    /// The statement.
    pub receipt: Receipt,
    /// By `receipt.worker`.
    pub worker_signature: Signature,
}

impl Half {
    /// The worker signs.
    pub fn sign(receipt: Receipt, worker: &NodeKey) -> Half {
        assert_eq!(
            receipt.worker,
            worker.node(),
            "a worker signs only for itself"
        );
        let worker_signature = worker.sign(receipt.digest());
        Half {
            receipt,
            worker_signature,
        }
    }

    /// The client signs as well.
    pub fn countersign(self, client: &NodeKey) -> Signed {
        assert_eq!(
            self.receipt.client,
            client.node(),
            "a client signs only for itself"
        );
        let client_signature = client.sign(self.receipt.digest());
        Signed {
            receipt: self.receipt,
            worker_signature: self.worker_signature,
            client_signature,
        }
    }

    /// Whether the worker named in it signed it.
    pub fn verifies(&self) -> bool {
        self.worker_signature
            .verifies(self.receipt.worker, self.receipt.digest())
    }
}

/// A receipt with both signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The statement.
    pub receipt: Receipt,
    /// By `receipt.worker`.
    pub worker_signature: Signature,
    /// By `receipt.client`.
    pub client_signature: Signature,
}

impl Signed {
    /// Whether both sides named in it signed it (L14).
    pub fn verifies(&self) -> bool {
        let digest = self.receipt.digest();
        self.worker_signature.verifies(self.receipt.worker, digest)
            && self.client_signature.verifies(self.receipt.client, digest)
    }
}

/// The hash of everything generated: the prompt's ids, then each choice's, in order.
pub fn transcript<'a>(prompt: &[u32], choices: impl IntoIterator<Item = &'a [u32]>) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"troop/transcript/v1");
    let mut add = |ids: &[u32]| {
        hash.update((ids.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
    };
    add(prompt);
    choices.into_iter().for_each(add);
    Digest(hash.finalize().into())
}
