//! What every test here needs: a client, two workers with their owners, orders and receipts.

use troop_actors::contract::{Core, Time};
use troop_actors::generate::Tally;
use troop_actors::ids::{
    AttemptId, Digest, HoldId, MemberId, NodeKey, Passport, RequestId, Signature,
};
use troop_actors::ledger::protocol::{Effect, Input};
use troop_actors::ledger::{Book, Entry};
use troop_actors::price::{Micros, Prices};
use troop_actors::receipt::{Half, Receipt, Signed};
use troop_actors::scheduler::protocol::HoldOrder;

/// The member numbered `n`. Member `n` owns worker `n`.
pub(crate) fn member(n: u8) -> MemberId {
    MemberId([n; 16])
}

/// The request numbered `n`.
pub(crate) fn request(n: u32) -> RequestId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    RequestId(bytes)
}

/// The key of the one client.
pub(crate) fn client() -> NodeKey {
    NodeKey::from_secret([0xC1; 32])
}

/// The key of the worker numbered `n`.
pub(crate) fn worker(n: u8) -> NodeKey {
    NodeKey::from_secret([n; 32])
}

/// A grant whose id is `id`.
pub(crate) fn grant(id: u8, to: u8, amount: Micros) -> Input {
    Input::Grant {
        id: [id; 16],
        member: member(to),
        name: String::new(),
        amount,
    }
}

/// An order for a hold: member `payer` pays, worker `by` works for its owner.
pub(crate) fn order(n: u32, payer: u8, by: u8, tokens: (u64, u64)) -> HoldOrder {
    HoldOrder {
        request: request(n),
        number: 0,
        payer: member(payer),
        payee: member(by),
        client: client().node(),
        worker: worker(by).node(),
        prompt_tokens_max: tokens.0,
        completion_tokens_max: tokens.1,
        term_ms: 5_000,
        standby: None,
        is_begun: false,
    }
}

/// A receipt by worker `by` for the first attempt, signed by both.
pub(crate) fn receipt(n: u32, by: u8, tokens: (u32, u32)) -> Signed {
    attempt(n, 0, by, tokens)
}

/// A receipt by worker `by` for the attempt `number`, signed by both.
pub(crate) fn attempt(n: u32, number: u32, by: u8, tokens: (u32, u32)) -> Signed {
    let hold = HoldId::of(request(n));
    let receipt = Receipt {
        request: request(n),
        hold,
        attempt: AttemptId::of(hold, number),
        client: client().node(),
        worker: worker(by).node(),
        model: Passport([9; 32]),
        prices: Prices::REFERENCE.version(),
        tally: Tally {
            prompt_tokens: tokens.0,
            completion_tokens: tokens.1,
            transcript: Digest([0; 32]),
        },
    };
    Half::sign(receipt, &worker(by)).countersign(&client())
}

/// `receipt`, delivered by the client's outbox.
pub(crate) fn settle(receipt: Signed) -> Input {
    Input::Settle {
        from: client().node(),
        parcel: receipt.receipt.attempt,
        receipt: Box::new(receipt),
    }
}

/// A signature by nobody.
pub(crate) fn unsigned() -> Signature {
    Signature(vec![1; 64])
}

/// A book whose disk writes when it is told to.
pub(crate) struct Desk {
    pub(crate) book: Book,
    pub(crate) now: Time,
    pub(crate) disk: Vec<Entry>,
    flight: Option<u64>,
    pub(crate) said: Vec<Effect>,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk {
            book: Book::default(),
            now: Time(1_000_000),
            disk: Vec::new(),
            flight: None,
            said: Vec::new(),
        }
    }

    /// One input; what is said is kept.
    pub(crate) fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.book.step(self.now, input, &mut out);
        self.carry(out);
    }

    /// Time passes; what is due by then happens.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        if self.book.deadline().is_some_and(|at| at <= self.now) {
            let mut out = Vec::new();
            self.book.wake(self.now, &mut out);
            self.carry(out);
        }
    }

    /// The disk finishes what it was given; false if that was nothing.
    pub(crate) fn persist(&mut self) -> bool {
        let Some(batch) = self.flight.take() else {
            return false;
        };
        self.step(Input::Persisted { batch });
        true
    }

    /// The disk finishes everything.
    pub(crate) fn settle_down(&mut self) {
        while self.persist() {}
    }

    fn carry(&mut self, out: Vec<Effect>) {
        self.book.check();
        for effect in out {
            if let Effect::Persist(batch) = effect {
                assert_eq!(self.flight, None, "one batch is in flight at a time");
                self.flight = Some(batch.number);
                self.disk.extend(batch.entries);
            } else {
                self.said.push(effect);
            }
        }
    }
}
