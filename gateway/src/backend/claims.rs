//! Which model a name means where workers use it for several.
//!
//! A name is what a worker says. One that the known models have means the file of theirs; else this node's own
//! word counts before others', and then that of the most workers. The others are asked for by their digests.

use super::Model;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use troop_actors::ids::{NodeId, Passport};
use troop_actors::model_store::alias::Alias;
use troop_actors::scheduler::protocol::ModelReport;

/// What speaks for each use of a name.
pub(super) struct Claims(BTreeMap<(String, Passport), Claim>);

/// The better claim is the greater one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    is_known: bool,
    is_ours: bool,
    workers: usize,
}

impl Claims {
    /// Those of `catalog`, as the node `me` sees them.
    pub(super) fn of(me: NodeId, catalog: &[(NodeId, ModelReport)]) -> Claims {
        let mut claims: BTreeMap<_, Claim> = BTreeMap::new();
        for (worker, report) in catalog {
            let claim = claims
                .entry((report.name.clone(), report.model))
                .or_default();
            claim.is_ours |= *worker == me;
            claim.workers += 1;
        }
        for ((name, passport), claim) in &mut claims {
            let known = Alias::find(name).and_then(|alias| alias.sha256.parse().ok());
            claim.is_known = known == Some(*passport);
        }
        Claims(claims)
    }

    /// Of models with one name, the one that it means comes first.
    pub(super) fn order(&self, models: &mut [Model]) {
        let claim = |model: &Model| {
            let claim = self.0.get(&(model.name.clone(), model.passport));
            claim.copied().unwrap_or_default()
        };
        models.sort_by_cached_key(|it| (it.name.clone(), Reverse(claim(it)), it.passport));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId([0; 32]);

    fn first(name: &str, uses: &[(u8, &str)]) -> String {
        let passport = |digest: &str| digest.parse().expect("a digest");
        let report = |(worker, digest): &(u8, &str)| {
            let report = ModelReport {
                model: passport(digest),
                name: name.to_owned(),
                context: 1,
                sequences_max: 1,
                overhead_fixed_bytes: 0,
                overhead_turn_bytes: 0,
                created_seconds: 0,
                step_ms: 1,
                prefill_rate: 0,
                decode_rate: 0,
                kv_tokens_free: 0,
                sequences_used: 0,
                sequences_waiting: 0,
                class: String::new(),
            };
            (NodeId([*worker; 32]), report)
        };
        let catalog: Vec<_> = uses.iter().map(report).collect();
        let model = |(_, report): &(NodeId, ModelReport)| Model {
            name: report.name.clone(),
            passport: report.model,
            context: 1,
            created_seconds: 0,
        };
        let mut models: Vec<_> = catalog.iter().map(model).collect();
        Claims::of(ME, &catalog).order(&mut models);
        models[0].passport.to_string()
    }

    #[test]
    fn a_name_means_the_known_file_then_our_own_then_that_of_the_most_workers() {
        let smollm2 = Alias::find("smollm2").expect("it is known").sha256;
        let (low, high) = ("0".repeat(64), "f".repeat(64));
        let (low, high) = (low.as_str(), high.as_str());
        assert_eq!(first("x", &[(1, high), (2, low)]), low);
        assert_eq!(first("x", &[(1, high), (2, low), (3, high)]), high);
        assert_eq!(first("x", &[(0, high), (2, low), (3, low)]), high);
        let many = [(0, low), (1, low), (2, low), (3, smollm2)];
        assert_eq!(first("smollm2", &many), smollm2);
    }
}
