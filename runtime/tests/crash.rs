//! `kill -9` at random moments under load: on restart the books verify, credits are conserved, every answer
//! that was paid for was paid once, what was owed is delivered, and no hold outlives its term.
//!
//! Ten kills, or fifty with `TROOP_LONG=1`. The moments come from a fixed seed; what the kill meets does not.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Folder, Node, until};

/// Clients at once.
const CLIENTS: u64 = 4;
/// The guest's dearest request: 12 tokens asked for, and fewer than 64 in the prompt.
const PRICE_MAX: i64 = 1_000 + 64 * 250 + 12 * 1_000;
/// Longer than any hold's term.
const THREE_HOURS_MS: &str = "10800000";

fn account(folder: &Folder, name: &str) -> Value {
    let all = folder.json(&["balance", "--all"]);
    let accounts = all["accounts"].as_array().expect("accounts");
    let sum = |field: &str| -> i64 {
        let amounts = accounts.iter().map(|it| it[field].as_i64());
        amounts.map(|amount| amount.expect("an amount")).sum()
    };
    assert_eq!(
        sum("granted_micros"),
        sum("available_micros") + sum("held_micros"),
        "credits are conserved: {all}"
    );
    assert_eq!(sum("earned_micros"), sum("spent_micros"), "{all}");
    let mut found = accounts.iter().filter(|account| account["name"] == name);
    found.next().expect("the account").clone()
}

fn micros(account: &Value, field: &str) -> i64 {
    account[field].as_i64().expect("an amount")
}

/// What the guest's answer costs.
fn price(answer: &Value) -> i64 {
    let count = |name: &str| answer["usage"][name].as_i64().expect("usage");
    1_000 + count("prompt_tokens") * 250 + count("completion_tokens") * 1_000
}

#[test]
fn a_node_killed_at_any_moment_keeps_its_books() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    let made = folder.json(&["key", "create", "--member", "bo", "--credits", "10000"]);
    let key = made["key"].as_str().expect("a key").to_owned();
    node.kill();

    let kills = if std::env::var_os("TROOP_LONG").is_some() {
        50
    } else {
        10
    };
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let answered = Mutex::new((0_u64, 0_i64));
    for kill in 0..kills {
        let node = Node::start(&folder);
        assert_eq!(
            folder.json(&["ledger", "verify"])["ok"],
            true,
            "after kill {kill}"
        );
        account(&folder, "bo");
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let moment = Duration::from_millis(100 + (dice >> 33) % 2_400);
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (address, key, killed, answered) =
                    (node.address.clone(), &key, &killed, &answered);
                scope.spawn(move || {
                    for n in 0.. {
                        if killed.load(Ordering::Relaxed) {
                            return;
                        }
                        let ask = json!({ "seed": client * 1000 + n, "max_tokens": 1 + n % 12 });
                        let Ok(answer) = support::chat(&address, Some(key), ask) else {
                            continue;
                        };
                        // A kill can cut the body off; then nothing was answered.
                        if answer.status == 200 && answer.json.get("usage").is_some() {
                            let price = price(&answer.json);
                            let mut answered = answered.lock().expect("no client panicked");
                            answered.0 += 1;
                            answered.1 += price;
                        }
                    }
                });
            }
            std::thread::sleep(moment);
            node.kill();
            killed.store(true, Ordering::Relaxed);
        });
        // Without a node the file itself is read: it opens, and every entry follows from the first.
        assert_eq!(
            folder.json(&["ledger", "verify"])["ok"],
            true,
            "kill {kill}"
        );
    }

    // The last start, three hours later: what is owed is delivered, and every hold has come to its end.
    let mut node = Node::start_with(&folder, &[("TROOP_CLOCK_AHEAD_MS", THREE_HOURS_MS)]);
    until("no hold outlives its term", || {
        (micros(&account(&folder, "bo"), "held_micros") == 0).then_some(())
    });
    let verified = folder.json(&["ledger", "verify"]);
    assert_eq!(verified["ok"], true);
    assert_eq!(verified["holds_open"], 0, "{verified}");
    let (requests, price) = *answered.lock().expect("no client panicked");
    let spent = micros(&account(&folder, "bo"), "spent_micros");
    println!(
        "{kills} kills: {requests} answers worth {price} µc reached the client, {spent} µc were paid, {} entries",
        verified["entries"]
    );
    // A kill may fall between an answer and its payment, on either side, for each request in flight.
    let unsure = PRICE_MAX * CLIENTS as i64 * kills;
    assert!((spent - price).abs() <= unsure, "{spent} paid for {price}");
    assert!(requests > 0, "the load was served at all");
    assert_eq!(micros(&account(&folder, "owner"), "earned_micros"), spent);
    node.signal("-TERM");
    assert!(node.process.wait().expect("the node ends").success());
}
