//! A real node serves the real model: its road, its books, its load, its end.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::json;
use std::process::Command;
use std::sync::Mutex;
use support::{Folder, Node, until};

/// Nothing is open any more: no hold, no sequence, nothing owed.
fn wait_idle(folder: &Folder) {
    until("everything is released", || {
        let balance = folder.json(&["balance", "--all"]);
        let held = balance["accounts"]
            .as_array()?
            .iter()
            .map(|a| a["held_micros"].as_i64());
        let held: Option<i64> = held.sum();
        let ps = folder.json(&["ps"]);
        let running = ps["engines"][0]["running"].as_u64()?;
        let open = ps["requests"].as_array()?.len();
        (held? == 0 && running == 0 && open == 0).then_some(())
    });
}

fn available(folder: &Folder, member: &str) -> i64 {
    folder.json(&["balance", "--member", member])["available_micros"]
        .as_i64()
        .expect("a balance")
}

#[test]
fn the_same_seed_gives_the_same_answer_streamed_or_not_and_over_the_command_line() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    let ask = json!({ "seed": 7, "temperature": 0.8, "max_tokens": 24 });

    let whole = node.chat(None, ask.clone()).unwrap();
    let (streamed, error) = node.stream(None, ask).unwrap().rest().unwrap();

    assert_eq!(whole.status, 200, "{whole:?}");
    assert_eq!(error, None);
    let content = whole.json["choices"][0]["message"]["content"]
        .as_str()
        .unwrap();
    assert!(!content.is_empty());
    assert_eq!(content, streamed);
    let args = [
        "run",
        "smollm2",
        "--seed",
        "7",
        "--temperature",
        "0.8",
        "--max-tokens",
        "24",
    ];
    let run = folder.troop(&[&args[..], &["Count to twenty in words."]].concat());
    assert_eq!(String::from_utf8_lossy(&run.stdout), format!("{content}\n"));
    let removed = folder.troop(&["rm", "smollm2"]);
    assert_eq!(removed.status.code(), Some(1), "it is being served");
    wait_idle(&folder);
}

#[test]
fn a_guests_hundred_requests_move_exactly_their_price_and_the_books_verify() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    let key = folder.json(&["key", "create", "--member", "bo"])["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let (guest, owner) = (available(&folder, "bo"), available(&folder, "owner"));
    let price = Mutex::new(0);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (node, key, price) = (&node, &key, &price);
            scope.spawn(move || {
                for n in 0..25 {
                    let ask = json!({ "max_tokens": 1 + n % 3, "seed": client * 100 + n });
                    let answer = node.chat(Some(key), ask).unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let usage = &answer.json["usage"];
                    let count = |name: &str| usage[name].as_i64().unwrap();
                    let (prompt, completion) = (count("prompt_tokens"), count("completion_tokens"));
                    // base + ceil((prompt * 250,000 + completion * 1,000,000) / 1,000)
                    *price.lock().unwrap() += 1_000 + prompt * 250 + completion * 1_000;
                }
            });
        }
    });
    wait_idle(&folder);
    let moved = price.into_inner().unwrap();
    assert_eq!(guest - available(&folder, "bo"), moved);
    assert_eq!(available(&folder, "owner") - owner, moved);
    assert_eq!(folder.json(&["ledger", "verify"])["ok"], true);
}

#[test]
fn of_two_hundred_at_once_all_finish_or_are_told_busy_and_none_hangs() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    let outcome = |n: usize| {
        let ask = json!({ "max_tokens": 2, "seed": n, "messages": [{ "role": "user", "content": "Hi" }] });
        let answer = node.chat(None, ask).unwrap();
        let header = |name: &str| answer.headers.iter().any(|(found, _)| found == name);
        match answer.status {
            200 => true,
            503 | 429 => {
                assert!(header("retry-after"), "{answer:?}");
                false
            }
            _ => panic!("{answer:?}"),
        }
    };
    let run = |count: usize| {
        std::thread::scope(|scope| {
            let outcome = &outcome;
            let threads: Vec<_> = (0..count)
                .map(|n| scope.spawn(move || outcome(n)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(|ok| *ok)
                .count()
        })
    };
    let finished = run(32);
    assert_eq!(finished, 32, "thirty-two at once all finish");
    let finished = run(200);
    println!(
        "of 200 at once {finished} finished, {} were told to come again",
        200 - finished
    );
    assert!(finished >= 32);
    wait_idle(&folder);
}

#[test]
fn beside_a_flood_a_light_user_waits_for_one_running_request_at_most() {
    // Given a member with a hundred requests at once,
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    let key = |member: &str| {
        let made = folder.json(&["key", "create", "--member", member]);
        made["key"].as_str().unwrap().to_owned()
    };
    let (flood, light) = (key("flood"), key("light"));
    let ask = |n: usize| json!({ "max_tokens": 12, "seed": n, "ignore_eos": true });
    let explain = |answer: &support::Response| {
        let id = answer.json["id"].as_str().expect("an id");
        let told = folder.json(&["explain", id]);
        let time = |name: &str| told["timings"][name].as_u64().expect("it is over");
        (time("queue_ms"), time("total_ms"))
    };
    let (flooded, waits) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..100)
            .map(|n| {
                let (node, flood) = (&node, &flood);
                scope.spawn(move || node.chat(Some(flood), ask(n)).unwrap())
            })
            .collect();
        until("the line is long", || {
            let status = folder.json(&["status"]);
            (status["queue"]["waiting"].as_u64()? >= 40).then_some(())
        });
        // when another one asks, again and again,
        let waits: Vec<u64> = (0..4)
            .map(|n| {
                let answer = node.chat(Some(&light), ask(n)).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                explain(&answer).0
            })
            .collect();
        let flooded: Vec<_> = threads.into_iter().map(|it| it.join().unwrap()).collect();
        (flooded, waits)
    });
    // then it never waits longer than a request runs, and the flood waits for itself or is told to come again.
    let (served, busy): (Vec<_>, Vec<_>) = flooded.iter().partition(|it| it.status == 200);
    let told = |answer: &&support::Response| answer.headers.iter().any(|it| it.0 == "retry-after");
    assert!(busy.iter().all(told));
    let times: Vec<(u64, u64)> = served.iter().map(|it| explain(it)).collect();
    let running = times.iter().map(|(queue, total)| total - queue);
    let longest = running.max().expect("some were served");
    let queued = times
        .iter()
        .map(|(queue, _)| *queue)
        .max()
        .expect("some were");
    println!(
        "a flood of 100: {} served, {} told to come again, the last waited {queued} ms; a request ran {longest} ms at \
         most; the light user waited {waits:?} ms",
        served.len(),
        busy.len(),
    );
    assert!(
        waits.iter().all(|wait| *wait <= longest),
        "{waits:?} of {longest}"
    );
    assert!(
        waits.iter().all(|wait| *wait < queued),
        "{waits:?} of {queued}"
    );
    wait_idle(&folder);
}

#[test]
fn a_hundred_hang_ups_stop_decoding_within_a_step_and_release_everything() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    std::thread::scope(|scope| {
        for client in 0..10 {
            let node = &node;
            scope.spawn(move || {
                for n in 0..10 {
                    let mut stream = node
                        .stream(None, json!({ "seed": client * 10 + n }))
                        .unwrap();
                    for _ in 0..n % 4 {
                        stream.event().unwrap();
                    }
                }
            });
        }
    });
    wait_idle(&folder);
    // An engine tells its numbers every few seconds: they are new once a token more is among them.
    let engine = || folder.json(&["ps"])["engines"][0].clone();
    let before = engine()["tokens"].clone();
    assert_eq!(
        node.chat(None, json!({ "max_tokens": 2 })).unwrap().status,
        200
    );
    let engine = until("the engine tells its numbers", || {
        let engine = engine();
        (engine["tokens"] != before && engine["running"] == 0).then_some(engine)
    });
    println!("after 100 hang-ups: {engine}");
    let late = engine["steps_after_cancel_max"].as_u64();
    assert!(late.is_some_and(|steps| steps <= 1), "{engine}");
    assert_eq!(engine["pages_free"], engine["pages"], "{engine}");
    assert_eq!(folder.json(&["ledger", "verify"])["ok"], true);
}

#[test]
fn a_stream_survives_the_death_of_its_engine_byte_for_byte() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    let ask = json!({ "max_tokens": 90, "seed": 3, "temperature": 0.8 });
    let (undisturbed, error) = node.stream(None, ask.clone()).unwrap().rest().unwrap();
    assert_eq!(error, None);
    for events in [1, 8, 30] {
        let mut stream = node.stream(None, ask.clone()).unwrap();
        let mut text = String::new();
        for _ in 0..events {
            let event = stream.event().unwrap().unwrap_or_default();
            text.push_str(
                event["choices"][0]["delta"]["content"]
                    .as_str()
                    .unwrap_or_default(),
            );
        }
        let pid = folder.json(&["ps"])["engines"][0]["pid"]
            .as_u64()
            .expect("an engine runs");
        let killed = Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let (rest, error) = stream.rest().unwrap();
        assert_eq!(error, None, "killed after {events} events");
        assert_eq!(text + &rest, undisturbed, "killed after {events} events");
    }
    wait_idle(&folder);
}

#[test]
fn a_node_that_is_asked_to_stop_lets_streams_finish_and_takes_no_new_ones() {
    let folder = Folder::with_model();
    let mut node = Node::start(&folder);
    let mut stream = node
        .stream(None, json!({ "max_tokens": 40, "seed": 1 }))
        .unwrap();
    stream.event().unwrap();
    node.signal("-TERM");
    let (_, error) = stream.rest().unwrap();
    assert_eq!(error, None);
    let status = node.process.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(
        folder.troop(&["status"]).status.code(),
        Some(4),
        "no node is reached any more"
    );
    assert_eq!(
        folder.json(&["ledger", "verify"])["ok"],
        true,
        "the books are read without a node"
    );
}

#[test]
fn a_node_that_is_asked_to_stop_finishes_what_runs_and_sends_away_who_waits() {
    let folder = Folder::with_model();
    let mut node = Node::start_with(&folder, &[("TROOP_GRACE", "100")]);
    // A scheduler that has just started waits for workers it may not have heard of yet.
    until("the scheduler knows its workers", || {
        let up = folder.json(&["status"])["uptime_seconds"].as_u64()?;
        (up > 15).then_some(())
    });
    let ask = json!({ "n": 16, "max_tokens": 40, "seed": 1 });
    let mut streams: Vec<_> = (0..2)
        .map(|_| node.stream(None, ask.clone()).unwrap())
        .collect();
    for stream in &mut streams {
        stream.event().unwrap();
    }
    let address = node.address.clone();
    let waiting = std::thread::spawn(move || support::chat(&address, None, json!({})));
    until("the third request waits", || {
        let queue = folder.json(&["status"])["queue"]["waiting"].as_u64()?;
        (queue == 1).then_some(())
    });

    node.signal("-TERM");

    let answer = waiting.join().unwrap().unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(node.process.try_wait().unwrap().is_none(), "the others run");
    for stream in &mut streams {
        let (_, error) = stream.rest().unwrap();
        assert_eq!(error, None);
    }
    assert!(node.process.wait().unwrap().success());
    // A receipt that was still on its way is delivered by the next node.
    let _node = Node::start(&folder);
    wait_idle(&folder);
}
