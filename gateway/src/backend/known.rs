//! The models that were served a moment ago.
//!
//! An engine that restarts is not reported for a second, and a scheduler that restarts knows nothing until
//! workers report again. Neither makes a model's name a wrong one: the scheduler has such a request wait.

use super::Model;
use std::collections::BTreeMap;
use std::sync::Mutex;
use troop_actors::contract::Time;
use troop_actors::ids::Passport;

/// Models by name, and when each was last served.
#[derive(Default)]
pub(super) struct Known(Mutex<BTreeMap<(String, Passport), (Model, Time)>>);

impl Known {
    /// Takes in what is served at `now`; says what is, or was within [`FOR_MS`].
    pub(super) fn with(&self, now: Time, served: Vec<Model>) -> Vec<Model> {
        let mut known = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        known.retain(|_, (_, seen)| now.since_ms(*seen) <= FOR_MS);
        for model in served {
            known.insert((model.name.clone(), model.passport), (model, now));
        }
        known.values().map(|(model, _)| model.clone()).collect()
    }
}

/// As long as a scheduler has requests wait for a model that nobody serves any more.
const FOR_MS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_for_a_while_after_nobody_serves_it() {
        let model = |name: &str, context| Model {
            name: name.to_owned(),
            passport: Passport([1; 32]),
            context,
            created_seconds: 0,
        };
        let known = Known::default();
        let both = known.with(Time(0), vec![model("a", 1), model("b", 1)]);
        assert_eq!(both.len(), 2);
        let both = known.with(Time(30_000), vec![model("b", 2)]);
        assert_eq!(both, [model("a", 1), model("b", 2)]);
        assert_eq!(known.with(Time(30_001), Vec::new()), [model("b", 2)]);
    }
}
