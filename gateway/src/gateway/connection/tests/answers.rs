//! What a client reads of an answer, and what its hanging up does.

use super::{hello, streamed};
use crate::limits::Limits;
use crate::scripted::*;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use troop_actors::generate::Failure;
use troop_actors::scheduler::protocol::Refusal;
use troop_actors::session::protocol::{Delivery, Trouble};

#[tokio::test(start_paused = true)]
async fn a_chat_is_answered_as_a_whole() {
    let mut house = House::new(Limits::default()).await;
    let answer = house.chat(&hello()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "smollm2");
    assert_eq!(body["choices"][0]["message"]["content"], "Hello there");
    assert_eq!(body["choices"][0]["message"]["refusal"], Value::Null);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["usage"]["total_tokens"], 7);
    assert_eq!(
        answer.header("x-troop-node"),
        Some(WORKER.to_string().as_str())
    );
    // Another's node has done it: base + 5 prompt tokens + 2 tokens, at the reference prices.
    assert_eq!(answer.header("x-troop-cost"), Some("4250"));
    let orders = house.node.orders.lock().expect("no panic");
    assert_eq!(orders[0].payer, OWNER);
    assert_eq!(orders[0].generate.tokens_max, 8192);
    assert_ne!(orders[0].generate.sampling.seed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_the_chunks_that_clients_expect() {
    let mut house = House::new(Limits::default()).await;
    let mut body = streamed();
    body["stream_options"] = json!({"include_usage": true});
    let answer = house.chat(&body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    let events = answer.events();
    assert_eq!(events.last(), Some(&"[DONE]"));
    // The price of the same answer as a whole, where no header can be sent any more.
    assert!(
        answer.body.contains("\n: x-troop-cost: 4250\n\n"),
        "{answer:?}"
    );
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).expect("JSON"))
        .collect();
    let delta = |index: usize| &chunks[index]["choices"][0]["delta"];
    assert_eq!(delta(0), &json!({"role": "assistant", "content": ""}));
    assert_eq!(delta(1), &json!({"content": "Hello"}));
    assert_eq!(delta(3), &json!({}));
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "stop");
    assert!(chunks[1]["choices"][0]["finish_reason"].is_null());
    assert_eq!(chunks[4]["choices"], json!([]));
    assert_eq!(chunks[4]["usage"]["completion_tokens"], 2);
    for chunk in &chunks {
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert!(chunk.as_object().expect("object").contains_key("usage"));
    }
    let plain = house.chat(&streamed()).await;
    assert!(!plain.body.contains("usage"));
}

#[tokio::test(start_paused = true)]
async fn every_trouble_before_the_first_byte_has_its_status_and_its_body() {
    let cases = [
        (
            Trouble::Refused(Refusal::Busy {
                waiting: 9,
                retry_after_ms: 1500,
            }),
            503,
            "server_error",
            json!("overloaded"),
            json!(null),
        ),
        (
            Trouble::Refused(Refusal::Credits {
                needed: 5,
                available: 2,
            }),
            429,
            "insufficient_quota",
            json!("insufficient_quota"),
            json!(null),
        ),
        (
            Trouble::Refused(Refusal::NoWorker),
            503,
            "server_error",
            json!("no_worker"),
            json!(null),
        ),
        (
            Trouble::Refused(Refusal::LedgerUnavailable),
            503,
            "server_error",
            json!("ledger_unavailable"),
            json!(null),
        ),
        (
            Trouble::Refused(Refusal::Invalid {
                field: "n".into(),
                message: "too many".into(),
            }),
            400,
            "invalid_request_error",
            json!(null),
            json!("n"),
        ),
        (
            Trouble::Refused(Refusal::Over),
            409,
            "conflict_error",
            json!("request_over"),
            json!(null),
        ),
        (
            Trouble::Failed(Failure::ContextLength {
                prompt: 9000,
                context: 8192,
            }),
            400,
            "invalid_request_error",
            json!("context_length_exceeded"),
            json!("messages"),
        ),
        (
            Trouble::Failed(Failure::EmptyPrompt),
            400,
            "invalid_request_error",
            json!(null),
            json!("messages"),
        ),
        (
            Trouble::Failed(Failure::NonFinite {
                layer: 1,
                operation: "norm".into(),
            }),
            500,
            "server_error",
            json!("non_finite"),
            json!(null),
        ),
        (
            Trouble::QueueTimeout { waited_ms: 9 },
            503,
            "server_error",
            json!("overloaded"),
            json!(null),
        ),
        (
            Trouble::Lost {
                attempts: 3,
                reason: "\u{1b}<b>".into(),
            },
            502,
            "server_error",
            json!("engine_died"),
            json!(null),
        ),
        (
            Trouble::Interrupted,
            500,
            "server_error",
            json!("internal_error"),
            json!(null),
        ),
    ];
    let mut house = House::new(Limits::default()).await;
    for (trouble, status, kind, code, param) in cases {
        house.script(vec![Step::Say(Delivery::Failed(trouble.clone()))]);
        for body in [hello(), streamed()] {
            let answer = house.chat(&body).await;
            assert_eq!(answer.status, status, "{trouble:?}");
            let error = &answer.json()["error"];
            assert_eq!(error["type"], kind);
            assert_eq!(error["code"], code);
            assert_eq!(error["param"], param);
            assert!(!answer.body.contains(['<', '\u{1b}']));
            assert!(answer.header("x-request-id").is_some());
            match status {
                429 => assert_eq!(answer.header("x-should-retry"), Some("false")),
                503 => assert!(answer.header("retry-after").is_some()),
                _ => {}
            }
        }
    }
    house.script(vec![Step::Say(Delivery::Failed(Trouble::Refused(
        Refusal::Busy {
            waiting: 9,
            retry_after_ms: 1500,
        },
    )))]);
    let busy = house.chat(&hello()).await;
    assert_eq!(busy.header("retry-after"), Some("2"));
    assert_eq!(busy.header("retry-after-ms"), Some("1500"));
}

#[tokio::test(start_paused = true)]
async fn trouble_after_the_first_byte_is_an_error_in_the_stream_and_its_end() {
    let mut house = House::new(Limits::default()).await;
    let begun = &saying(&["Hello"])[..2];
    let lost = Trouble::Lost {
        attempts: 2,
        reason: "gone".into(),
    };
    let mut failing = begun.to_vec();
    failing.push(Step::Say(Delivery::Failed(lost)));
    // The second script ends without a word, as when a session dies.
    for (steps, code) in [(failing, "engine_died"), (begun.to_vec(), "internal_error")] {
        house.script(steps);
        let answer = house.chat(&streamed()).await;
        assert_eq!(answer.status, 200);
        let last: Value = serde_json::from_str(answer.events().last().expect("one")).expect("JSON");
        assert_eq!(last["error"]["code"], code);
        assert!(!answer.body.contains("[DONE]"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_says_that_it_is_alive_and_is_given_up_at_last() {
    let mut house = House::new(Limits::default()).await;
    let mut steps = vec![Step::Pause(Duration::from_secs(25))];
    steps.extend(saying(&["late"]));
    house.script(steps);
    let answer = house.chat(&streamed()).await;
    assert_eq!(
        answer.body.matches(": keep-alive\n\n").count(),
        2,
        "{}",
        answer.body
    );
    assert_eq!(answer.events().last(), Some(&"[DONE]"));

    house.script(vec![Step::Pause(Duration::from_secs(100_000))]);
    for (body, status) in [(streamed(), 200), (hello(), 504)] {
        let answer = house.chat(&body).await;
        assert_eq!(answer.status, status);
        assert!(answer.body.contains("\"code\":\"timeout\""));
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_in_comments() {
    let mut house = House::new(Limits::default()).await;
    let waiting = |ahead, prefill| Step::Say(Delivery::Waiting { ahead, prefill });
    let mut steps = vec![Step::Pause(Duration::from_secs(11)), waiting(Some(3), None)];
    steps.push(waiting(None, Some((64, 200))));
    steps.extend(saying(&["x"]));
    house.script(steps);
    let answer = house.chat(&streamed()).await;
    assert!(answer.body.contains(": queued, 3 before this one\n\n"));
    assert!(
        answer
            .body
            .contains(": reading the prompt, 64 of 200 tokens\n\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_says_so_at_once_and_again_while_nothing_else_is_to_be_said() {
    let mut house = House::new(Limits::default()).await;
    let waiting = |ahead, prefill| Step::Say(Delivery::Waiting { ahead, prefill });
    let (queued, read) = (
        ": queued, 3 before this one\n\n",
        ": reading the prompt, 3000 of 20000 tokens\n\n",
    );
    // It is told after two seconds, and then every ten.
    let mut steps = vec![waiting(Some(3), None), Step::Pause(Duration::from_secs(25))];
    steps.push(waiting(None, Some((3_000, 20_000))));
    steps.push(Step::Pause(Duration::from_secs(25)));
    steps.extend(saying(&["x"]));
    house.script(steps);
    let answer = house.chat(&streamed()).await;
    assert!(answer.body.starts_with(queued), "{}", answer.body);
    assert_eq!(answer.body.matches(queued).count(), 3, "{}", answer.body);
    assert_eq!(answer.body.matches(read).count(), 3, "{}", answer.body);
    assert!(!answer.body.contains("keep-alive"));
    assert_eq!(answer.body.matches(": x-troop-node: ").count(), 1);
    assert_eq!(answer.events().last(), Some(&"[DONE]"));
    // The first words are there long before the connection could be taken for a dead one.
    house.script(vec![
        waiting(Some(3), None),
        Step::Pause(Duration::from_secs(1000)),
    ]);
    let mut client = house.connect(false, true);
    let request = post("/v1/chat/completions", "", &streamed().to_string());
    client.write_all(&request).await.expect("a pipe");
    let begun = tokio::time::Instant::now();
    let mut seen = String::new();
    while !seen.contains(queued) {
        let mut some = [0; 256];
        let count = client.read(&mut some).await.expect("a pipe");
        assert!(count > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    assert!(begun.elapsed() <= Duration::from_millis(2_100));
    drop(client);
    // A refusal that comes by then has its own status.
    let refused = Trouble::Refused(Refusal::NoWorker);
    let mut steps = vec![
        waiting(Some(0), None),
        Step::Pause(Duration::from_millis(1_900)),
    ];
    steps.push(Step::Say(Delivery::Failed(refused)));
    house.script(steps);
    assert!(house.chat(&streamed()).await.status >= 400);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_cancels_its_request() {
    let mut house = House::new(Limits::default()).await;
    let mut steps = saying(&["Hello"])[..2].to_vec();
    steps.push(Step::Pause(Duration::from_secs(1000)));
    house.script(steps);
    for (count, body) in [(1, streamed()), (2, hello())] {
        let mut client = house.connect(false, true);
        let request = post("/v1/chat/completions", "", &body.to_string());
        client.write_all(&request).await.expect("a pipe");
        if count == 1 {
            let mut first = [0; 64];
            client.read_exact(&mut first).await.expect("a head");
        }
        sleep(Duration::from_millis(5)).await;
        assert_eq!(house.shared.open().len(), 1);
        drop(client);
        sleep(Duration::from_millis(5)).await;
        assert_eq!(house.node.hang_ups.load(Ordering::SeqCst), count);
        assert_eq!(house.shared.open().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_client_gets_a_stream_that_ends_with_its_connection() {
    let mut house = House::new(Limits::default()).await;
    let body = streamed().to_string();
    let head = "POST /v1/chat/completions HTTP/1.0\r\nContent-Length:";
    let request = format!("{head} {}\r\n\r\n{body}", body.len());
    let answer = house.exchange(request.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.events().last(), Some(&"[DONE]"));
}
