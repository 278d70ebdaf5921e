//! Every letter there is: it comes back as it was said, and its bytes are those of the version.

use super::*;
use crate::generate::{Generate, Prompt, Tally};
use crate::ids::{
    Class, Digest, HoldId, MemberId, NodeKey, Passport, Signature, TicketKey, digest,
};
use crate::receipt::Receipt;
use crate::scheduler::protocol::{Hint, ModelReport};
use crate::session::Fault;
use crate::session::protocol::Patience;
use crate::ticket::{KeySet, Revoked};
use crate::wire::frame::{self, Kind};

pub(crate) const REQUEST: RequestId = RequestId([1; 16]);
pub(crate) const ATTEMPT: AttemptId = AttemptId([2; 16]);
pub(crate) const MEMBER: MemberId = MemberId([3; 16]);
const MODEL: Passport = Passport([4; 32]);
const HOLD: HoldId = HoldId([5; 16]);

pub(crate) fn client() -> NodeId {
    NodeKey::from_secret([6; 32]).node()
}

pub(crate) fn worker() -> NodeId {
    NodeKey::from_secret([7; 32]).node()
}

pub(crate) fn coordinator() -> NodeId {
    NodeKey::from_secret([8; 32]).node()
}

fn receipt() -> Receipt {
    Receipt {
        request: REQUEST,
        hold: HOLD,
        attempt: ATTEMPT,
        client: client(),
        worker: worker(),
        model: MODEL,
        prices: Digest([9; 32]),
        tally: Tally {
            prompt_tokens: 10,
            completion_tokens: 300,
            transcript: Digest([11; 32]),
        },
    }
}

fn claim() -> Box<Claim> {
    Box::new(Claim {
        receipt: receipt(),
        worker_signature: Signature(vec![14; 64]),
        client_signature: Signature(vec![15; 64]),
    })
}

fn half() -> Box<Half> {
    Box::new(Half {
        receipt: receipt(),
        worker_signature: Signature(vec![12; 64]),
    })
}

pub(crate) fn signed() -> Signed {
    Signed {
        receipt: receipt(),
        worker_signature: Signature(vec![12; 64]),
        client_signature: Signature(vec![13; 64]),
    }
}

pub(crate) fn work() -> Box<Work> {
    Box::new(Work {
        generate: Generate::new(MODEL, Prompt::Text("once".to_owned())),
        resume: None,
    })
}

/// One of every message that may cross, and who says it.
pub(crate) fn crossing() -> Vec<(&'static str, NodeId, Message)> {
    use session::protocol::Input as Session;
    let session = |input| Message::Session(REQUEST, input);
    let admit = Admit {
        request: REQUEST,
        number: 1,
        client: client(),
        payer: MEMBER,
        model: MODEL,
        prompt_bytes: 14,
        turns: 2,
        tokens_max: 256,
        choices: 1,
        avoid: vec![(worker(), Fault::Link)],
        begun: Some(Class::of("class")),
        hints: vec![Hint {
            worker: worker(),
            prefix_bytes: 12,
            rtt_ms: Some(3),
        }]
        .into(),
        running: None,
    };
    let report = WorkerReport {
        worker: worker(),
        owner: MEMBER,
        models: vec![ModelReport {
            model: MODEL,
            name: "smollm2".to_owned(),
            context: 2048,
            sequences_max: 8,
            overhead_fixed_bytes: 20,
            overhead_turn_bytes: 30,
            created_seconds: 1_800_000_000,
            step_ms: 250,
            prefill_rate: 900_000,
            decode_rate: 60_000,
            kv_tokens_free: 16_384,
            sequences_used: 2,
            sequences_waiting: 0,
            class: "class".to_owned(),
        }],
        running: vec![REQUEST],
        rest: None,
    };
    let grant = Grant {
        number: 1,
        attempt: ATTEMPT,
        hold: HOLD,
        worker: worker(),
        class: Class::of("class"),
        prices: Digest([9; 32]),
        ticket: "ticket".to_owned(),
        patience: Patience {
            silence_ms: 20_000,
            progress_ms: 40_000,
        },
    };
    let event = Event::Token {
        choice: 0,
        position: 7,
        id: 1_234,
        bytes: b"word".to_vec(),
        odds: Vec::new(),
    };
    let attempt = ATTEMPT;
    let refusal = Refusal::NoWorker;
    let knock = doorkeeper::protocol::Input::Knock {
        peer: client(),
        request: REQUEST,
        attempt,
        ticket: "ticket".to_owned(),
        work: work(),
    };
    let settle = ledger::protocol::Input::Settle {
        from: client(),
        parcel: ATTEMPT,
        receipt: Box::new(signed()),
    };
    let finished = scheduler::protocol::Input::Finished {
        client: client(),
        request: REQUEST,
    };
    let answered = outbox::protocol::Input::Answered {
        parcel: ATTEMPT,
        outcome: Outcome::Settled { amount: 15 },
    };
    let closed = Session::Closed {
        attempt,
        half: half(),
        failure: None,
    };
    let turned = Session::Turned {
        attempt,
        reason: Turnaway::Used,
    };
    let tell = ticket_issuer::protocol::Input::Tell {
        door: worker(),
        sent: Time(1_000),
        list: 3,
        keys: Time(900),
    };
    let told = doorkeeper::protocol::Input::Told {
        sent: Time(1_000),
        there: Time(1_001),
        revocations: Some(Box::new(Revocations {
            number: 4,
            epoch: 2,
            revoked: vec![Revoked::Client(client()), Revoked::Attempt(ATTEMPT)],
            signature: Signature(vec![7; 64]),
        })),
        keys: Some(Box::new(KeySet {
            since: Time(950),
            current: TicketKey([10; 32]),
            next: TicketKey([11; 32]),
            previous: Some(TicketKey([12; 32])),
            signature: Signature(vec![13; 64]),
        })),
    };
    let vouch = engine_process::protocol::Input::Vouch {
        peer: client(),
        attempt,
        tally: receipt().tally,
        signature: Signature(vec![15; 64]),
    };
    let claim = ledger::protocol::Input::Claim {
        from: worker(),
        parcel: ATTEMPT,
        claim: claim(),
    };
    let paid = engine_process::protocol::Input::Paid { attempt };
    let granted = Session::Granted(Box::new(grant));
    let refused = Session::Refused { number: 1, refusal };
    use scheduler::protocol::Input as Scheduler;
    vec![
        (
            "admit",
            client(),
            Message::Scheduler(Scheduler::Admit(Box::new(admit))),
        ),
        ("finished", client(), Message::Scheduler(finished)),
        (
            "report",
            worker(),
            Message::Scheduler(Scheduler::Report(report)),
        ),
        ("settle", client(), Message::Ledger(settle)),
        ("cancel", client(), cancel(client(), ATTEMPT)),
        (
            "queued",
            coordinator(),
            session(Session::Queued { ahead: 3 }),
        ),
        ("granted", coordinator(), session(granted)),
        ("refused", coordinator(), session(refused)),
        ("answered", coordinator(), Message::Outbox(answered)),
        ("knock", client(), Message::Doorkeeper(knock)),
        (
            "event",
            worker(),
            session(Session::Event { attempt, event }),
        ),
        ("turned", worker(), session(turned)),
        ("closed", worker(), session(closed)),
        ("lost", worker(), session(Session::Lost { attempt })),
        ("consult", worker(), Message::TicketIssuer(tell)),
        ("told", coordinator(), Message::Doorkeeper(told)),
        ("vouch", client(), Message::EngineProcess(vouch)),
        ("claim", worker(), Message::Ledger(claim)),
        ("paid", coordinator(), Message::EngineProcess(paid)),
    ]
}

/// The frame of a message, and the message that is read out of it.
fn carried(from: NodeId, message: Message) -> (Vec<u8>, Message) {
    let mut bytes = Vec::new();
    let fits = "every sample fits its frame";
    let body = |bytes: &[u8]| {
        let head = frame::head(bytes).expect(fits).expect(fits);
        bytes[head.head..].to_vec()
    };
    let read = match mail(message).expect("it may cross") {
        Mail::Letter(letter) => {
            frame::encode(Kind::Letter, &letter, &mut bytes).expect(fits);
            let letter: Letter = frame::decode(&body(&bytes)).expect(fits);
            letter.message(from)
        }
        Mail::Knock(knock) => {
            frame::encode(Kind::Knock, &knock, &mut bytes).expect(fits);
            let knock: Knock = frame::decode(&body(&bytes)).expect(fits);
            knock.message(from)
        }
        Mail::Said(attempt, said) => {
            frame::encode(Kind::Said, &said, &mut bytes).expect(fits);
            let said: Said = frame::decode(&body(&bytes)).expect(fits);
            said.message(REQUEST, attempt)
        }
        Mail::Cancel(attempt) => {
            let letter = Letter::Cancel { attempt };
            frame::encode(Kind::Letter, &letter, &mut bytes).expect(fits);
            let letter: Letter = frame::decode(&body(&bytes)).expect(fits);
            letter.message(from)
        }
    };
    (bytes, read)
}

#[test]
fn what_crosses_comes_back_as_it_was_said() {
    for (name, from, message) in crossing() {
        let (_, read) = carried(from, message.clone());
        assert_eq!(read, message, "{name}");
    }
}

#[test]
fn the_bytes_of_every_letter_are_those_of_its_version() {
    // Bytes of the frame and the beginning of their hash. From the first release on, a change of any of these is a new
    // version of its kind, in `wire/frame.rs`; until then all nodes of a troop are of one build.
    let pinned: &[(&str, usize, &str)] = &[
        ("admit", 212, "9efd5c10e36ab9a6"),
        ("finished", 20, "1f362acdc317ea10"),
        ("report", 143, "c90eb4e3be3ab7e7"),
        ("settle", 363, "968a9882077f3e86"),
        ("cancel", 20, "4f69ddcfeb89425e"),
        ("queued", 21, "8e54c11bb68fa775"),
        ("granted", 163, "0ca15e2e96e5fabb"),
        ("refused", 22, "09a16136488778b4"),
        ("answered", 22, "fb93cfb8f468405b"),
        ("knock", 118, "b59b3f68477d4e7b"),
        ("event", 16, "a5f634451d3ed37c"),
        ("turned", 5, "3af4ec6619a096f0"),
        ("closed", 283, "af874fe2c9a587d6"),
        ("lost", 4, "95b605def2426452"),
        ("consult", 11, "6ab83ed4a992af4d"),
        ("told", 296, "4aaf147672a83c41"),
        ("vouch", 121, "1cd92c8796120800"),
        ("claim", 363, "59cdb54876a14458"),
        ("paid", 20, "0c9123cf24b5933b"),
    ];
    let found: Vec<(&str, usize, String)> = crossing()
        .into_iter()
        .map(|(name, from, message)| {
            let (bytes, _) = carried(from, message);
            let print = digest("pin", &[&bytes]).to_string()[..16].to_owned();
            (name, bytes.len(), print)
        })
        .collect();
    let found: Vec<(&str, usize, &str)> = found
        .iter()
        .map(|(name, bytes, print)| (*name, *bytes, print.as_str()))
        .collect();
    assert_eq!(found, pinned);
}

#[test]
fn a_token_takes_few_bytes_more_than_its_text() {
    let event = Event::Token {
        choice: 0,
        position: 70_000,
        id: 120_000,
        bytes: b"word".to_vec(),
        odds: Vec::new(),
    };
    let mut bytes = Vec::new();
    frame::encode(Kind::Said, &Said::Event(event), &mut bytes).expect("it is short");
    assert_eq!(bytes.len(), 22);
}
