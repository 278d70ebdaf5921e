//! Downloads from a server of the test's own, with patience that a test has.

#![allow(dead_code, reason = "each test binary uses its own part")]

use crate::place::{Place, go_on, model_of};
use sha2::{Digest, Sha256};
use std::fs;
use troop_actors::model_store::{Means, Patience, PullError, Pulled, Source, pull};

/// A file of about 180 kB.
pub(crate) fn file() -> Vec<u8> {
    model_of(10_000, 1)
}

pub(crate) fn sha256(file: &[u8]) -> String {
    let hash = Sha256::digest(file);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Means with pauses that a test can wait for.
pub(crate) fn means(seed: u64) -> Means {
    let mut means = Means::new(7, seed);
    means.patience = Patience {
        silence_ms_max: 300,
        failures_max: 4,
        unreached_max: 2,
        attempts_max: 40,
        pause_ms: 2,
        pause_ms_max: 8,
        asked_pause_ms_max: 1500,
    };
    means
}

pub(crate) fn fetch(place: &Place, source: &str) -> Result<Pulled, PullError> {
    let source: Source = source.parse().unwrap();
    pull(&place.store(), "tiny", &source, &means(1), &mut go_on)
}

/// The model is here and is `file`, and nothing else is.
pub(crate) fn assert_here(place: &Place, file: &[u8]) {
    let store = place.store();
    let manifest = store.find("tiny").unwrap();
    assert!(
        fs::read(store.blob(&manifest)).unwrap() == file,
        "another file"
    );
    place.assert_clean(1);
    assert_eq!(partials(place), 0, "something is left of the download");
}

pub(crate) fn partials(place: &Place) -> usize {
    let folder = place.root.join("models/partial");
    fs::read_dir(folder).map_or(0, |entries| entries.count())
}
