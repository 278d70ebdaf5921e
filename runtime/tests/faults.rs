//! Each actor made to panic at each of its messages, one case at a time, in real nodes that serve the real
//! model; and the engine's process killed. After each case the node must serve again by itself, the books
//! must verify, credits must be conserved, and what was committed must be there. What the client saw is
//! either the very answer it would have got, or an error that says it is one.
//!
//! [`cases::all`] is an exhaustive match over every message of every actor: a message without a case does not
//! compile. Several nodes work through the cases at once, because most of a case is waiting for somebody's
//! silence to be noticed. The list of all cases, with what the client saw and how long it took until the node
//! served again, is printed and left in `target/tmp/faults.txt`.

#[path = "faults/cases.rs"]
mod cases;
#[path = "support/power.rs"]
mod power;
#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;
#[path = "faults/world.rs"]
mod world;

use cases::Case;
use std::fs;
use std::sync::Mutex;
use world::World;

/// Nodes at once.
const WORLDS: usize = 5;

#[test]
fn a_panic_at_any_message_of_any_actor_costs_at_most_the_request_it_met() {
    let only = std::env::var("TROOP_ONLY").unwrap_or_default();
    let all: Vec<Case> = cases::all()
        .into_iter()
        .filter(|case| case.name().contains(&only))
        .collect();
    // The longest first, so that none is left over when all others are done.
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|index| all[*index].is_short());
    let next = Mutex::new(order.into_iter());
    let lines = Mutex::new(vec![String::new(); all.len()]);
    std::thread::scope(|scope| {
        for _ in 0..WORLDS.min(all.len()) {
            scope.spawn(|| {
                let mut world = World::new();
                loop {
                    let index = next.lock().expect("no world panicked here").next();
                    let Some(index) = index else { break };
                    let line = world.survive(&all[index]);
                    print!("{line}");
                    lines.lock().expect("no world panicked here")[index] = line;
                }
            });
        }
    });
    let lines = lines.into_inner().expect("no world panicked here");
    let table = format!("{}{}", world::heading(), lines.concat());
    let list = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.txt");
    fs::write(&list, &table).expect("the list can be written");
    println!("{table}the list is in {}", list.display());
}
