//! A tokenizer's tokens as llguidance wants them: their bytes, by id.

use std::sync::Arc;

use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};

use crate::tokenizer::Tokenizer;

/// The vocabulary. A control token has no bytes, so no grammar can want one; end tokens are known by id.
pub(super) fn environment(tokenizer: &Tokenizer) -> TokEnv {
    let count = tokenizer.vocabulary() as u32;
    let usable = |id: &u32| {
        let bytes = tokenizer.piece(*id);
        // Text never has this byte, and to llguidance it marks a control token.
        bytes.len() <= TOKEN_BYTES_MAX && bytes.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER)
    };
    let bytes = |id: u32| match usable(&id) {
        true => tokenizer.piece(id).to_vec(),
        false => Vec::new(),
    };
    let words: Vec<Vec<u8>> = (0..count).map(bytes).collect();
    let ends = tokenizer.ends();
    let info = TokRxInfo::new(count, ends.first().copied().unwrap_or(INVALID_TOKEN));
    let mut trie = TokTrie::from(&info, &words);
    if !ends.is_empty() {
        trie = trie.with_eos_tokens(ends);
    }
    Arc::new(ApproximateTokEnv::new(trie))
}

/// Longer tokens are runs of spaces and the like; the trie has room for 1024.
const TOKEN_BYTES_MAX: usize = 255;
