//! Stories put together from both sides, from one, and from none.

use super::*;
use troop_actors::ids::{MemberId, NodeId, Passport};
use troop_actors::scheduler::score::Score;

const REQUEST: RequestId = RequestId([0xab; 16]);
const WORKERS: [NodeId; 2] = [NodeId([1; 32]), NodeId([2; 32])];

fn decision(number: u32, outcome: Result<NodeId, Refusal>) -> Decision {
    Decision {
        at: Time(1_000),
        number,
        waited_ms: 40,
        outcome,
        standby: Some(WORKERS[1]),
        failed: Vec::new(),
        candidates: vec![Candidate {
            worker: WORKERS[0],
            finding: Finding::Chosen,
            score: Score {
                first_ms: 10,
                finish_ms: 90,
            },
            taken: 1,
            sequences_max: 8,
            prefix_tokens: 16,
        }],
    }
}

fn decided(decisions: Vec<Decision>) -> scheduler::Story {
    scheduler::Story {
        request: REQUEST,
        client: NodeId([3; 32]),
        payer: MemberId([4; 16]),
        model: Passport([5; 32]),
        prompt_bytes: 300,
        tokens_max: 64,
        choices: 1,
        asked: Time(960),
        payee: None,
        held: Some(5_000),
        paid: Some(1_250),
        vouched: true,
        granted: None,
        finished: None,
        decisions,
        waits: None,
    }
}

/// A session whose first attempt was lost.
fn seen() -> session::Story {
    let attempt = |number: usize, lost| session::Attempt {
        attempt: AttemptId::of(HoldId::of(REQUEST), number as u32),
        worker: WORKERS[number],
        granted: Time(5_000),
        started: Some(Time(5_100)),
        lost,
    };
    let lost = Some((Time(6_000), session::Loss::Silent));
    session::Story {
        request: REQUEST,
        payer: MemberId([4; 16]),
        model: Passport([5; 32]),
        began: Time(4_900),
        attempts: vec![attempt(0, lost), attempt(1, None)],
        first: Some(Time(5_300)),
        ending: Some(session::Ending {
            at: Time(7_300),
            outcome: Ok((30, 16, 41)),
        }),
    }
}

#[test]
fn a_request_is_known_by_all_its_names() {
    let hex = REQUEST.to_string();
    for name in ["", "chatcmpl-", "cmpl-", "req-"] {
        assert_eq!(named(&format!("{name}{hex}")), Some(REQUEST));
    }
    assert_eq!(named(&format!("call_{hex}_0_0")), Some(REQUEST));
    for name in ["", "chatcmpl-", "abc-1", &hex[1..], &format!("{hex}a")] {
        assert_eq!(named(name), None, "{name}");
    }
}

#[test]
fn what_was_decided_and_what_was_seen_make_one_story() {
    let decisions = vec![decision(0, Ok(WORKERS[0])), decision(1, Ok(WORKERS[1]))];
    let story = put_together(REQUEST, Time(9_000), Some(decided(decisions)), Some(seen()));
    assert_eq!(
        (&story.state[..], &story.reason, &story.missing),
        ("done", &None, &None)
    );
    assert_eq!(story.attempts.len(), 2);
    let first = &story.attempts[0];
    assert_eq!(first.lost.as_deref(), Some("the worker fell silent"));
    assert_eq!(first.fault.as_deref(), Some("link"));
    assert_eq!((first.started_ms, first.lost_ms), (Some(100), Some(1_000)));
    assert_eq!(
        (first.waited_ms, first.candidates[0].score_ms),
        (Some(40), 100)
    );
    let timings = &story.timings;
    assert_eq!(
        (timings.queue_ms, timings.first_token_ms),
        (Some(80), Some(400))
    );
    assert_eq!(
        (timings.total_ms, timings.tokens_per_second),
        (Some(2_400), Some(20.0))
    );
    let bill = &story.bill;
    assert_eq!(
        (bill.held_micros, bill.paid_micros, bill.paid_by_voucher),
        (Some(5_000), Some(1_250), Some(true))
    );
    assert_eq!(
        (
            bill.prompt_tokens,
            bill.reused_tokens,
            bill.completion_tokens
        ),
        (Some(30), Some(16), Some(41))
    );
}

#[test]
fn one_side_alone_tells_what_it_knows_and_says_what_is_missing() {
    let alone = put_together(REQUEST, Time(9_000), None, Some(seen()));
    assert_eq!((&alone.state[..], alone.attempts.len()), ("done", 2));
    assert!(
        alone
            .missing
            .is_some_and(|missing| missing.contains("coordinator"))
    );
    let busy = Refusal::Busy {
        waiting: 3,
        retry_after_ms: 1_000,
    };
    let refused = decided(vec![decision(0, Err(busy.clone()))]);
    let refused = put_together(REQUEST, Time(9_000), Some(refused), None);
    assert_eq!(
        (&refused.state[..], refused.reason),
        ("refused", Some(busy.to_string()))
    );
    assert_eq!(refused.fault.as_deref(), Some("pool"));
    assert_eq!(refused.attempts[0].worker, None);
    let running = decided(vec![decision(0, Ok(WORKERS[0]))]);
    let running = put_together(REQUEST, Time(9_000), Some(running), None);
    assert_eq!(running.state, "running");
    assert!(
        running
            .missing
            .is_some_and(|missing| missing.contains("another node"))
    );
}
