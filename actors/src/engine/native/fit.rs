//! What a model takes on this machine and what it could hold here, from the header of its file alone: the
//! loader goes by it, and whoever only asks gets the same answer.

use super::super::BUDGET_MAX;
use super::super::batch::MORE_ROWS_MAX;
use super::share::{self, Means, Share};
use troop_kernels::gguf::Gguf;
use troop_kernels::model::{Facts, Needs, Plan};

/// What a model takes, and what it could hold.
#[derive(Clone, Debug)]
pub struct Fit {
    /// What the model is, with the bytes of its weights and of a page of each kind.
    pub facts: Facts,
    /// Bytes that a step works in, and its logits.
    pub workspace_bytes: u64,
    /// Pages and context in the memory that is free; the error names the bytes that are missing.
    pub share: Result<Share, String>,
}

impl Fit {
    /// Of a linted file. The error names the field of the file.
    pub fn of(gguf: &Gguf<'_>, means: Means) -> Result<Fit, String> {
        let plan = Plan {
            threads: means.threads,
            tokens_max: step_max(means),
            context: usize::MAX,
            page_kind: means.page_kind,
        };
        let needs = Needs::of(gguf, means.isa, plan).map_err(|error| error.to_string())?;
        let facts = needs.facts;
        let rows = u64::from(means.sequences_max + MORE_ROWS_MAX);
        let workspace_bytes = needs.workspace_bytes + rows * facts.logits_bytes();
        let kv_bytes = share::kv_bytes(means, facts.weight_bytes, workspace_bytes);
        let share =
            kv_bytes.and_then(|bytes| share::share((&facts).into(), bytes, means.sequences_max));
        Ok(Fit {
            facts,
            workspace_bytes,
            share,
        })
    }
}

/// Tokens of a step, at most: the budget, or a token for each sequence and as many again for prefills.
pub(super) fn step_max(means: Means) -> usize {
    BUDGET_MAX.max(2 * means.sequences_max) as usize
}
