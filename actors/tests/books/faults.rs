//! The file of entries on disks that fail, tear, forget and decay.

use crate::desk::{Desk, grant, order, receipt, settle};
use crate::disk::{Fault, Plates};
use troop_actors::ledger::protocol::Input;
use troop_actors::ledger::{Batch, Entry, LedgerStore};
use troop_actors::price::Prices;
use troop_actors::store::open;

/// A day at the desk, as the batches it makes.
fn batches() -> Vec<Batch> {
    let mut desk = Desk::new();
    let mut ends = Vec::new();
    for n in 0..12 {
        desk.step(grant(n as u8, 1, 1_000_000));
        for k in 0..=n % 3 {
            desk.step(Input::Hold(order(10 * n + k, 1, 0, (10, 10))));
        }
        ends.push(desk.disk.len());
        desk.step(settle(receipt(10 * n, 0, (5, 5))));
        desk.settle_down();
        ends.push(desk.disk.len());
    }
    let starts = std::iter::once(0).chain(ends.clone());
    let ranges = starts.zip(ends).filter(|(start, end)| start < end);
    ranges
        .zip(1..)
        .map(|((start, end), number)| Batch {
            number,
            entries: desk.disk[start..end].to_vec(),
        })
        .collect()
}

/// Commits `batches` in order until one fails; returns how many the disk said yes to.
fn write(plates: &Plates, batches: &[Batch]) -> usize {
    let Ok(store) = open(plates.clone()).and_then(LedgerStore::open) else {
        return 0;
    };
    let failed = batches
        .iter()
        .position(|batch| store.commit(batch).is_err());
    failed.unwrap_or(batches.len())
}

/// What stands on `image`, which must be readable and a lawful chain.
fn read(image: Vec<u8>) -> Vec<Entry> {
    let store = LedgerStore::open(open(Plates::of(image)).expect("the file opens")).unwrap();
    store.replay(Prices::REFERENCE).expect("the chain holds");
    store.load().unwrap()
}

fn dice(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    move || {
        // xorshift64*: enough to shuffle with.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }
}

#[test]
fn l16_l21_l29_whatever_call_of_the_disk_fails_nothing_acknowledged_is_lost_and_no_batch_is_halved()
{
    let batches = batches();
    let all: Vec<Entry> = batches
        .iter()
        .flat_map(|batch| batch.entries.clone())
        .collect();
    let ends: Vec<usize> = std::iter::once(0)
        .chain(batches.iter().scan(0, |sum, batch| {
            *sum += batch.entries.len();
            Some(*sum)
        }))
        .collect();
    let whole = Plates::default();
    assert_eq!(write(&whole, &batches), batches.len());
    let calls = whole.calls();
    assert!(calls > 50, "{calls} calls are no script");

    for at in 1..=calls {
        for fault in [Fault::Dead, Fault::Once, Fault::Torn] {
            let plates = Plates::default();
            plates.plant(at, fault);
            let acknowledged = write(&plates, &batches);
            let mut dice = dice(at);
            let images = [
                plates.seen(),
                plates.after_power_cut(&mut dice),
                plates.after_power_cut(&mut dice),
            ];
            for image in images {
                // The file may not be one yet if nothing was ever acknowledged.
                if acknowledged == 0 && open(Plates::of(image.clone())).is_err() {
                    continue;
                }
                let found = read(image);
                let count = ends.iter().position(|end| *end == found.len());
                let count = count.unwrap_or_else(|| panic!("L16: call {at}, {fault:?}"));
                assert!(count >= acknowledged, "L21: call {at}, {fault:?}");
                assert_eq!(found, all[..found.len()], "call {at}, {fault:?}");
            }
        }
    }
}
