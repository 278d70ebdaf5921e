//! A client that takes its whole answer and signs nothing in the end: its worker claims by the voucher that it got on
//! the way, and is paid when the hold's time is over.
//!
//! The client's session is made to fall where it would have signed, which debug builds alone can do. With
//! `TROOP_LONG=1` the node is started again three hours later, and the two minutes are waited for in which a receipt
//! could still come.
#![cfg(debug_assertions)]

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::{Value, json};
use std::fs;
use std::time::Duration;
use support::{Folder, Node, until};

/// Longer than any hold's term.
const THREE_HOURS_MS: &str = "10800000";

fn account(folder: &Folder, name: &str) -> Value {
    let all = folder.json(&["balance", "--all"]);
    let accounts = all["accounts"].as_array().expect("accounts");
    let mut found = accounts.iter().filter(|account| account["name"] == name);
    found.next().expect("the account").clone()
}

fn micros(account: &Value, field: &str) -> i64 {
    account[field].as_i64().expect("an amount")
}

fn entries(folder: &Folder) -> u64 {
    let verified = folder.json(&["ledger", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
    verified["entries"].as_u64().expect("a number")
}

#[test]
fn a_worker_whose_client_does_not_sign_claims_by_its_voucher() {
    let folder = Folder::with_model();
    let faults = folder.0.join("faults");
    fs::write(&faults, "").expect("a file");
    let file = faults.to_str().expect("a temporary folder's name is text");
    let node = Node::start_with(&folder, &[("TROOP_FAULT", file)]);
    let made = folder.json(&["key", "create", "--member", "bo", "--credits", "1000"]);
    let key = made["key"].as_str().expect("a key");

    // An honest request is paid once, and its worker has nothing to claim.
    let ask = json!({ "seed": 1, "max_tokens": 12 });
    let answer = node.chat(Some(key), ask.clone()).expect("an answer");
    let prompt = answer.json["usage"]["prompt_tokens"].as_i64().expect("it");
    let price = until("it is paid", || {
        Some(micros(&account(&folder, "bo"), "spent_micros")).filter(|spent| *spent > 0)
    });

    fs::write(&faults, "session:Closed:1\n").expect("the fault");
    let before = entries(&folder);
    let answer = node.chat(Some(key), ask).expect("an answer");
    assert_ne!(answer.status, 200, "its session fell: {}", answer.json);
    // The hold, and ten seconds later the claim to it, of this request and of no other.
    until("the worker claims", || {
        (entries(&folder) >= before + 2).then_some(())
    });
    assert_eq!(entries(&folder), before + 2);
    let bo = account(&folder, "bo");
    assert_eq!(micros(&bo, "spent_micros"), price, "nothing is paid yet");
    assert!(micros(&bo, "held_micros") > 0);
    if std::env::var_os("TROOP_LONG").is_none() {
        return;
    }

    node.kill();
    let ahead = [("TROOP_CLOCK_AHEAD_MS", THREE_HOURS_MS)];
    let mut node = Node::start_with(&folder, &ahead);
    std::thread::sleep(Duration::from_secs(60));
    let bo = account(&folder, "bo");
    assert_eq!(
        micros(&bo, "spent_micros"),
        price,
        "receipts are waited for"
    );
    let spent = until("the claim is paid", || {
        let bo = account(&folder, "bo");
        (micros(&bo, "held_micros") == 0).then(|| micros(&bo, "spent_micros"))
    });
    // The voucher was given at the first token, or later if the machine was slow.
    let least = 1_000 + 250 * prompt + 1_000;
    assert!((least..=price).contains(&(spent - price)), "{spent}");
    let owner = account(&folder, "owner");
    assert_eq!(micros(&owner, "earned_micros"), spent);
    node.signal("-TERM");
    assert!(node.process.wait().expect("the node ends").success());
}
