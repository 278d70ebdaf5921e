//! The definition of attention in code, for one query.

use super::page::Part;
use super::{Cache, PAGE_TOKENS, Query};
use crate::dot::reference::dot;
use crate::math::exp;

/// Writes the results of some queries, one after the other. False if a score is not finite.
pub(super) fn attend_all(
    cache: Cache<'_>,
    scale: f32,
    queries: &[Query<'_>],
    scratch: &mut [f32],
    out: &mut [&mut [f32]],
) -> bool {
    let mut finite = true;
    for (query, out) in queries.iter().zip(out) {
        finite &= attend(cache, scale, *query, &mut scratch[..query.end], out);
    }
    finite
}

/// Writes the result of one query. False if a score is not finite; the result is then of no use.
pub fn attend(
    cache: Cache<'_>,
    scale: f32,
    query: Query<'_>,
    scores: &mut [f32],
    out: &mut [f32],
) -> bool {
    let width = cache.head_width;
    let part = |page: usize| Part::new(cache.kind, width, cache.pages[page]);
    let mut finite = true;
    let mut key = vec![0.0; width];
    for (position, score) in scores.iter_mut().enumerate().skip(query.first) {
        let page = part(position / PAGE_TOKENS);
        let slot = position % PAGE_TOKENS;
        for (dimension, key) in key.iter_mut().enumerate() {
            *key = page.key(slot, dimension);
        }
        *score = dot(query.q, &key) * page.key_scale(slot) * scale;
        finite &= score.is_finite();
    }
    let seen = &scores[query.first..];
    let largest = seen.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut weight_all = 0.0;
    out.fill(0.0);
    let chunks = scores.chunks(PAGE_TOKENS).enumerate();
    for (chunk, scores) in chunks.skip(query.first / PAGE_TOKENS) {
        let values = part(chunk);
        let mut weight_chunk = 0.0;
        let mut chunk_out = vec![0.0f32; width];
        let unseen = query.first.saturating_sub(chunk * PAGE_TOKENS);
        for (slot, score) in scores.iter().enumerate().skip(unseen) {
            let p = exp(score - largest);
            weight_chunk += p;
            let weight = p * values.value_scale(slot);
            for (dimension, out) in chunk_out.iter_mut().enumerate() {
                *out = weight.mul_add(values.value(slot, dimension), *out);
            }
        }
        weight_all += weight_chunk;
        for (out, chunk) in out.iter_mut().zip(chunk_out) {
            *out += chunk;
        }
    }
    for out in out {
        *out /= weight_all;
    }
    finite
}
