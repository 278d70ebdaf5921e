//! `show --fit`: what a model takes in memory, and what it could hold in that of this machine, by the very
//! formulas that its engine goes by.

use super::fault::{Code, Fault};
use super::table;
use crate::engine_child::{self, SEQUENCES_MAX};
use serde_json::{Value, json};
use troop_actors::engine::native::{Fit, PageKind};
use troop_actors::model_store::{Manifest, Store};

/// Bytes, tokens and sequences, as an engine would find them here and now.
#[derive(Debug)]
pub(super) struct Fitting {
    fit: Fit,
    free_bytes: Option<u64>,
}

impl Fitting {
    pub(super) fn of(
        store: &Store,
        manifest: &Manifest,
        page_kind: PageKind,
    ) -> Result<Fitting, Fault> {
        let means = engine_child::means(None, page_kind, None, SEQUENCES_MAX);
        // A model of an architecture that we cannot run is whole all the same: what is wrong is not its file.
        let fit = store.header(manifest, |gguf| Ok(Fit::of(gguf, means)))?;
        let fit = fit.map_err(|message| {
            Fault::new(
                Code::Failed,
                format!("{} cannot be run here", manifest.name),
            )
            .because(message)
        })?;
        Ok(Fitting {
            fit,
            free_bytes: means.free_bytes,
        })
    }

    pub(super) fn object(&self) -> Value {
        let facts = &self.fit.facts;
        let share = self.fit.share.as_ref();
        json!({
            "weight_bytes": facts.weight_bytes,
            "workspace_bytes": self.fit.workspace_bytes,
            "kv_cache": facts.page_kind.name(),
            "kv_bytes_per_token": self.kv_bytes(),
            "window": facts.window,
            "window_kv_bytes_per_token": facts.window_page_bytes / PAGE_TOKENS,
            "free_bytes": self.free_bytes,
            "fits": share.is_ok(),
            "reason": share.err(),
            "context": share.ok().map(|share| share.context),
            "tokens": share.ok().map(|share| u64::from(share.pages) * PAGE_TOKENS),
            "sequences_of_context": self.sequences(),
        })
    }

    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let facts = &self.fit.facts;
        let mut lines = vec![
            ("weights", table::bytes(facts.weight_bytes)),
            ("workspace", table::bytes(self.fit.workspace_bytes)),
            ("KV per token", self.kv_text()),
        ];
        if facts.window > 0 {
            let bytes = table::bytes(facts.window_page_bytes / PAGE_TOKENS);
            let window = format!("{bytes} more for each of the last {} tokens", facts.window);
            lines.push(("KV of windows", window));
        }
        let free = self.free_bytes.map_or("unknown".to_owned(), table::bytes);
        lines.push(("free memory", free));
        let fits = match &self.fit.share {
            Ok(share) => format!(
                "{} tokens in all: {} sequences of {} tokens",
                u64::from(share.pages) * PAGE_TOKENS,
                self.sequences().unwrap_or_default(),
                share.context,
            ),
            Err(reason) => format!("no: {reason}"),
        };
        lines.push(("fits here", fits));
        lines
    }

    /// Bytes of keys and values of one token, in the layers that see everything.
    fn kv_bytes(&self) -> u64 {
        self.fit.facts.page_bytes / PAGE_TOKENS
    }

    fn kv_text(&self) -> String {
        let (bytes, kind) = (table::bytes(self.kv_bytes()), self.fit.facts.page_kind);
        format!("{bytes} of {}", kind.name())
    }

    /// Sequences as long as the context that find room at once.
    fn sequences(&self) -> Option<u64> {
        let share = self.fit.share.as_ref().ok()?;
        let each = u64::from(share.context).div_ceil(PAGE_TOKENS).max(1);
        Some(u64::from(share.pages) / each)
    }
}

/// Tokens of a page.
const PAGE_TOKENS: u64 = troop_actors::engine::PAGE_TOKENS as u64;
