//! Keys that tickets are signed with turn while a stream runs: its reader notices nothing, also where its worker is
//! killed right after and every ticket that stood by has been taken back.

#[path = "support/network.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod network;
#[path = "support/node.rs"]
#[allow(dead_code)] // The same.
mod support;
#[path = "support/troop.rs"]
#[allow(dead_code)] // The same.
mod troop;

use network::Network;
use serde_json::{Value, json};
use troop::{Troop, read, story};

fn rotate(troop: &Troop) -> Value {
    let told = troop.coordinator.folder.json(&["rotate", "--revoke"]);
    assert_eq!(told["schema"], "troop.rotate/v1", "{told}");
    assert!(told["previous"].is_null(), "{told}");
    told
}

#[test]
fn a_stream_outlives_its_worker_right_after_all_tickets_were_taken_back() {
    let mut troop = Troop::start(&Network::loopback());
    let body = story(96, json!({ "min_tokens": 96 }));
    let before = troop.spent();
    let calm = read(troop.ask(&body), 0, |_| {});
    let price = troop.paid_since(before);

    // A key turns while a stream runs, and nothing else happens.
    let before = troop.spent();
    let mut first = Value::Null;
    let found = read(troop.ask(&body), 4, |_| first = rotate(&troop));
    assert_eq!(found.choices, calm.choices);
    assert_eq!(troop.paid_since(before), price, "one bill");

    // The next one turns, and at once the worker is gone.
    let before = troop.spent();
    let (mut second, mut struck) = (Value::Null, String::new());
    let stream = troop.ask(&body);
    let found = read(stream, 4, |worker| {
        second = rotate(&troop);
        troop.workers.get_mut(worker).expect("a worker").kill();
        struck = worker.to_owned();
    });
    assert_eq!(found.choices, calm.choices);
    println!(
        "all tickets taken back and the worker killed: gap {:.2?}",
        found.gap
    );
    assert_eq!(first["next"], second["current"], "it was published ahead");
    assert!(first["epoch"].as_u64() < second["epoch"].as_u64());
    troop.workers.get_mut(&struck).expect("a worker").run();
    assert_eq!(troop.paid_since(before), price, "one bill");
    troop.whole();

    // Without --revoke the next key is used only when every worker has known it for long enough.
    let folder = &troop.coordinator.folder;
    let soon = folder.troop(&["rotate"]);
    let said = String::from_utf8_lossy(&soon.stderr);
    assert!(
        !soon.status.success() && said.contains("may be used in"),
        "{said}"
    );
    // And by nobody but the coordinator's owner.
    let elsewhere = troop.client.folder.troop(&["rotate"]);
    assert!(!elsewhere.status.success());

    // The keys are those of before in the coordinator's next life.
    troop.coordinator.kill();
    troop.coordinator.run();
    troop.whole();
    let found = read(troop.ask(&body), 0, |_| {});
    assert_eq!(found.choices, calm.choices);
    let third = rotate(&troop);
    assert_eq!(second["next"], third["current"], "it was published ahead");
}
