//! How the memory an engine may use becomes weights, workspace and pages: all of it is known before
//! anything is loaded, so an engine that starts does not run out later.
//!
//! ```text
//! free memory = weights + workspace + pages of keys and values (+ what is left to everybody else)
//! ```

use super::super::batch::Limits;
use super::super::pages::{PAGE_TOKENS, pages_of};
use troop_kernels::isa::Isa;
use troop_kernels::model::{Facts, PageKind};

/// What a model's pages hold and take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds {
    context: u32,
    window: u32,
    page_bytes: u64,
    window_page_bytes: u64,
}

/// What an engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// What threads compute with.
    pub isa: Isa,
    /// Threads that compute.
    pub threads: usize,
    /// Sequences that run at once.
    pub sequences_max: u32,
    /// What is in KV pages: each kind makes a class of generation of its own.
    pub page_kind: PageKind,
    /// Bytes of KV pages; if not given, half of what is free besides weights and workspace, and
    /// [`KV_BYTES_MAX`] at most.
    pub kv_bytes: Option<u64>,
    /// Bytes of memory that nobody uses; unknown on some systems, where no model is refused for its size.
    pub free_bytes: Option<u64>,
}

/// Pages, and the context that they can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Pages of layers that see everything.
    pub pages: u32,
    /// Pages of layers that see a window.
    pub window_pages: u32,
    /// Tokens of one sequence, at most.
    pub context: u32,
}

impl From<&Facts> for Kinds {
    fn from(facts: &Facts) -> Kinds {
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Kinds {
            context: count(facts.context),
            window: count(facts.window),
            page_bytes: facts.page_bytes,
            window_page_bytes: facts.window_page_bytes,
        }
    }
}

/// The bytes for pages, given those for weights and workspace. The error names every number.
pub(super) fn kv_bytes(means: Means, weights: u64, workspace: u64) -> Result<u64, String> {
    let taken = weights.saturating_add(workspace);
    let Some(free) = means.free_bytes else {
        return Ok(means.kv_bytes.unwrap_or(KV_BYTES_MAX));
    };
    let left = free.saturating_sub(taken);
    let wanted = means.kv_bytes.unwrap_or(KV_BYTES_MAX.min(left / 2));
    if left == 0 || wanted > left {
        return Err(format!(
            "the model needs {weights} bytes for weights, {workspace} for its workspace and {} for keys and \
             values, and {free} bytes of memory are free",
            means
                .kv_bytes
                .map_or("some".to_owned(), |bytes| bytes.to_string()),
        ));
    }
    Ok(wanted)
}

/// Cuts the bytes for keys and values into pages: no more than all sequences could fill, and no longer a
/// sequence than all pages can hold.
pub(super) fn share(kinds: Kinds, kv_bytes: u64, sequences_max: u32) -> Result<Share, String> {
    let context = kinds.context;
    let limits = Limits {
        pages: 0,
        window_pages: 0,
        window: kinds.window,
        sequences: sequences_max,
        context,
    };
    // Every sequence gets its windows if half of the bytes are enough for that; one sequence always does.
    let each = limits.window_pages_each();
    let half = fit(kv_bytes / 2, kinds.window_page_bytes);
    let window_pages = each.saturating_mul(sequences_max).min(half.max(each));
    let windows = u64::from(window_pages) * kinds.window_page_bytes;
    let useful = pages_of(context).saturating_mul(sequences_max);
    let pages = fit(kv_bytes.saturating_sub(windows), kinds.page_bytes).min(useful);
    if windows > kv_bytes || pages < PAGES_MIN.min(useful) {
        let least =
            u64::from(each) * kinds.window_page_bytes + u64::from(PAGES_MIN) * kinds.page_bytes;
        return Err(format!(
            "keys and values of one short sequence take {least} bytes, and {kv_bytes} bytes are allowed for all"
        ));
    }
    Ok(Share {
        pages,
        window_pages,
        context: context.min(pages.saturating_mul(PAGE_TOKENS)),
    })
}

/// So many things of that size fit; of things that take no room, any number.
fn fit(bytes: u64, each: u64) -> u32 {
    bytes
        .checked_div(each)
        .map_or(u32::MAX, |count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// Pages below which an engine is of no use.
const PAGES_MIN: u32 = 2;
/// Bytes for keys and values where nobody says how many: more than a small model's sequences can fill.
pub const KV_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(context: u32, window: u32, page_bytes: u64, window_page_bytes: u64) -> Kinds {
        Kinds {
            context,
            window,
            page_bytes,
            window_page_bytes,
        }
    }

    #[test]
    fn pages_are_no_more_than_sequences_can_fill_and_the_context_no_more_than_pages_hold() {
        let model = kinds(1_000, 0, 100, 0);
        let cases = [
            (1 << 30, 4, Some((64, 1_000))),
            (1_000, 4, Some((10, 640))),
            (200, 4, Some((2, 128))),
            (199, 4, None),
        ];
        for (bytes, sequences, expected) in cases {
            let share = share(model, bytes, sequences).ok();
            let found = share.map(|share| (share.pages, share.context));
            assert_eq!(found, expected, "{bytes} bytes");
            assert!(share.is_none_or(|share| share.window_pages == 0));
        }
    }

    #[test]
    fn windows_get_what_every_sequence_needs_or_half_of_the_bytes_or_what_one_needs() {
        // A window of 512 and a step of 256 tokens are cut into 13 pages at most.
        let model = kinds(32_768, 512, 3, 15);
        let windows = |bytes| share(model, bytes, 16).map(|share| share.window_pages);
        assert_eq!(windows(1 << 20), Ok(13 * 16));
        assert_eq!(windows(3_000), Ok(100));
        assert_eq!(windows(210), Ok(13));
        assert!(windows(200).is_err());
        // All layers have a window: pages that take no room are as many as are of use.
        let model = kinds(4_096, 512, 0, 15);
        let share = share(model, 10_000, 4).expect("it fits");
        assert_eq!((share.pages, share.context), (256, 4_096));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_loaded_with_all_numbers() {
        let means = |kv_bytes, free_bytes| Means {
            isa: Isa::Reference,
            threads: 1,
            sequences_max: 1,
            page_kind: PageKind::F16,
            kv_bytes,
            free_bytes,
        };
        assert_eq!(kv_bytes(means(None, Some(1_000)), 300, 100), Ok(300));
        assert_eq!(kv_bytes(means(Some(600), Some(1_000)), 300, 100), Ok(600));
        assert_eq!(kv_bytes(means(None, None), 300, 100), Ok(KV_BYTES_MAX));
        let refused = kv_bytes(means(Some(601), Some(1_000)), 300, 100).unwrap_err();
        for number in ["300", "100", "601", "1000"] {
            assert!(refused.contains(number), "{refused}");
        }
        assert!(kv_bytes(means(None, Some(400)), 300, 100).is_err());
    }
}
