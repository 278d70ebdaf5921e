//! What can happen to a worker that serves, and that its client does not notice.

use super::troop::{Troop, read};
use serde_json::{Value, json};

/// What happens to the worker that serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Strike {
    Kill,
    Freeze,
    Pause,
    /// Nothing passes between it and the client.
    Partition,
}

/// Asks for the same thing again and again while the worker that serves it is struck, and compares with the
/// run that nothing happened to.
pub(crate) fn survives(troop: &mut Troop, body: &Value, strike: Strike, times: usize) {
    let before = troop.spent();
    let calm = read(troop.ask(body), 0, |_| {});
    let price = troop.paid_since(before);
    let mut gaps = Vec::new();
    for round in 0..times {
        let before = troop.spent();
        // Anywhere, elsewhere each time.
        let at = 1 + (round * 89 + 37) % (calm.pieces - 1);
        let mut struck = None;
        let stream = troop.ask(body);
        let id = stream.header("x-request-id").expect("an id").to_owned();
        let found = read(stream, at, |worker| {
            strike_at(troop, worker, strike);
            struck = Some(worker.to_owned());
        });
        assert_eq!(found.choices, calm.choices, "{strike:?}, round {round}");
        let struck = struck.expect("the stream was long enough");
        let machine = troop.workers.get_mut(&struck).expect("a worker");
        match strike {
            Strike::Kill => machine.run(),
            Strike::Freeze => machine.node().signal("-CONT"),
            Strike::Pause => drop(machine.folder.json(&["resume"])),
            Strike::Partition => machine.host.heal(),
        }
        assert_eq!(troop.paid_since(before), price, "one bill");
        explained(troop, &id, &struck, price);
        troop.whole();
        gaps.push(found.gap);
    }
    gaps.sort();
    let rank = |share: usize| gaps[(gaps.len() * share / 100).min(gaps.len() - 1)];
    println!(
        "{strike:?}: {times} of {times} the same bytes, one bill; gap median {:.2?}, 99 % {:.2?}",
        rank(50),
        rank(99)
    );
}

/// What became of a request is told where it was asked and where it was decided.
fn explained(troop: &Troop, id: &str, struck: &str, price: u64) {
    let told = troop.client.folder.json(&["explain", id]);
    assert_eq!(
        (&told["state"], &told["missing"]),
        (&json!("done"), &Value::Null)
    );
    let attempts = told["attempts"].as_array().expect("attempts");
    let first = &attempts[0];
    assert_eq!(first["worker"], struck, "{told}");
    let chosen = first["candidates"][0]["finding"] == "chosen";
    assert!(first["lost"].is_string() && chosen, "{told}");
    let last = attempts.last().expect("there are two");
    assert!(last["worker"] != struck && last["lost"].is_null(), "{told}");
    assert_eq!(told["bill"]["paid_micros"], price, "{told}");
    let words = troop.client.folder.troop(&["explain", id]);
    assert!(String::from_utf8_lossy(&words.stdout).contains("lost after"));
    let told = troop.coordinator.folder.json(&["explain", id]);
    assert_eq!(told["bill"]["paid_micros"], price, "{told}");
    assert!(told["missing"].is_string(), "{told}");
    // It is nobody else's business.
    let mut others = troop.workers.iter().filter(|(id, _)| *id != struck);
    let (_, other) = others.next().expect("there are two");
    let asked = other.folder.troop(&["explain", id]);
    assert_eq!(asked.status.code(), Some(3));
}

pub(crate) fn strike_at(troop: &mut Troop, worker: &str, strike: Strike) {
    let machine = troop.workers.get_mut(worker).expect("a worker");
    match strike {
        Strike::Kill => machine.kill(),
        Strike::Freeze => machine.node().signal("-STOP"),
        Strike::Pause => drop(machine.folder.json(&["pause"])),
        Strike::Partition => machine.host.cut_from(&troop.client.host),
    }
}
