//! Seeds that once broke a property, each with a line on what it showed. Code changes what a seed means, so a
//! seed here is a smoke test; the defect itself has a test of its own beside the core it was in.

use troop_sim::doubt;

/// The seed, and what it showed when it failed.
const SEEDS: [(u64, &str); 2] = [
    (
        7,
        "a disk that was told to fail and not healed failed after the end of all faults: a defect of the simulator",
    ),
    (
        4,
        "four attempts were spent within six milliseconds at doors that had just opened: requests failed for nothing",
    ),
];

#[test]
fn seeds_that_failed_once_hold() {
    for (seed, showed) in SEEDS {
        if let Err(failure) = doubt::seed(seed, false) {
            panic!("{}\nthis seed once showed: {showed}", failure.report(seed));
        }
    }
}
