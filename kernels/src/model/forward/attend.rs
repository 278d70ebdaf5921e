//! Between the queries, keys and values of a layer and what its output matrix takes: rope, the pages, attention.

use std::ops::Range;

use super::super::{Layer, Operation};
use super::{Pass, Table};
use crate::attention::{self, Cache, PAGE_TOKENS, Query};
use crate::memory::Shared;
use crate::norm;
use crate::pool::Place;
use crate::rope;

impl Pass<'_> {
    /// Turns the queries and the key of one row and kv head, and stores key and value in their page.
    pub(super) fn store(&self, index: usize, layer: &Layer, row_index: usize, kv_head: usize) {
        let facts = &self.model.facts;
        let width = facts.head_width;
        let group = width * facts.heads / facts.kv_heads;
        let row = self.rows[row_index];
        let at = row_index * self.sizes.qkv;
        let first_query = kv_head * group;
        let queries = at + first_query;
        let key = at + self.sizes.keys_at + kv_head * width;
        let value = at + self.sizes.values_at + kv_head * width;
        let (table, pool) = self.table(row.run, layer);
        let page = table.pages[row.position / PAGE_TOKENS - table.first];
        let part = self.part(page, layer, kv_head);
        // SAFETY: these parts of the row, and the slot of the page, belong to one thread until the
        // next barrier; of a page that is written, nothing is read before it is stored.
        let (queries, key, value) = unsafe {
            (
                self.qkv.slice_mut(queries..queries + group),
                self.qkv.slice_mut(key..key + width),
                self.qkv.slice_mut(value..value + width),
            )
        };
        if let Some([query_bias, key_bias, value_bias]) = &layer.biases {
            add(queries, &query_bias[first_query..]);
            add(key, &key_bias[kv_head * width..]);
            add(value, &value_bias[kv_head * width..]);
        }
        let (isa, epsilon) = (self.model.isa, self.model.epsilon);
        if let Some([query_norm, key_norm]) = &layer.head_norms {
            let mut finite = norm::rms_in_place(isa, key, key_norm, epsilon);
            for query in queries.chunks_exact_mut(width) {
                finite &= norm::rms_in_place(isa, query, query_norm, epsilon);
            }
            if !finite {
                self.fault(row.run, index, Operation::HeadNorms);
            }
        }
        let rope = &self.rope[layer.turn];
        let turns = rope.at(row.position);
        rope::turn(isa, rope.pairing(), queries, width, turns);
        rope::turn(isa, rope.pairing(), key, width, turns);
        let slot = row.position % PAGE_TOKENS;
        // SAFETY: as above.
        let finite = unsafe { attention::store(pool, part, width, slot, key, value) };
        if !finite {
            self.fault(row.run, index, Operation::KeysAndValues);
        }
    }

    /// Attention of this thread's share of (rows, kv head).
    pub(super) fn attend(&self, place: &Place<'_>, index: usize, layer: &Layer) {
        let facts = &self.model.facts;
        let group = facts.heads / facts.kv_heads;
        let width = facts.head_width;
        let scratch = place.index * self.sizes.scores..(place.index + 1) * self.sizes.scores;
        // SAFETY: the scratch of a thread is its own.
        let scratch = unsafe { self.scores.slice_mut(scratch) };
        let scale = self.model.score_scale;
        let mut first_row = 0;
        let mut item = 0;
        for (run_index, run) in self.runs.iter().enumerate() {
            let (table, pool) = self.table(run_index, layer);
            for start in (0..run.tokens.len()).step_by(ATTENTION_TOKENS) {
                let end = (start + ATTENTION_TOKENS).min(run.tokens.len());
                let rows = first_row + start..first_row + end;
                for kv_head in 0..facts.kv_heads {
                    // Later rows see more keys, so neighbours go to different threads.
                    item += 1;
                    if item % place.count != place.index {
                        continue;
                    }
                    if self.alone {
                        let store = |row| self.store(index, layer, row, kv_head);
                        rows.clone().for_each(store);
                    }
                    let seen = |row: usize| self.seen(layer, self.rows[row].position);
                    let first_page = seen(rows.start).start / PAGE_TOKENS;
                    let end_page = seen(rows.end - 1).end.div_ceil(PAGE_TOKENS);
                    // SAFETY: pages and queries are not written in this phase.
                    let pages: Vec<&[u16]> = table.pages
                        [first_page - table.first..end_page - table.first]
                        .iter()
                        .map(|page| unsafe { pool.slice(self.part(*page, layer, kv_head)) })
                        .collect();
                    let cache = Cache {
                        head_width: width,
                        pages: &pages,
                    };
                    let mut queries = Vec::with_capacity(rows.len() * group);
                    let mut out = Vec::with_capacity(rows.len() * group);
                    for row in rows.clone() {
                        let seen = seen(row);
                        for head in kv_head * group..(kv_head + 1) * group {
                            let at = row * self.sizes.qkv + head * width;
                            let to = row * self.sizes.mixed + head * width;
                            // SAFETY: queries are not written in this phase, and each result
                            // belongs to one item, which belongs to one thread.
                            unsafe {
                                queries.push(Query {
                                    q: self.qkv.slice(at..at + width),
                                    first: seen.start - first_page * PAGE_TOKENS,
                                    end: seen.end - first_page * PAGE_TOKENS,
                                });
                                out.push(self.mixed.slice_mut(to..to + width));
                            }
                        }
                    }
                    let isa = self.model.isa;
                    if !attention::attend(isa, cache, scale, &queries, scratch, &mut out) {
                        self.fault(run_index, index, Operation::Scores);
                    }
                }
            }
            first_row += run.tokens.len();
        }
    }

    /// The positions that a token sees in a layer.
    fn seen(&self, layer: &Layer, position: usize) -> Range<usize> {
        let end = position + 1;
        match layer.windowed {
            true => end.saturating_sub(self.model.facts.window)..end,
            false => 0..end,
        }
    }

    /// A run's pages for a layer, and the pool they are in.
    fn table(&self, run: usize, layer: &Layer) -> (&Table, &Shared<'_, u16>) {
        let kind = usize::from(layer.windowed);
        (&self.tables[run][kind], &self.pages[kind])
    }

    /// The part of a page for one layer and kv head.
    fn part(&self, page: usize, layer: &Layer, kv_head: usize) -> Range<usize> {
        let at = page + (layer.of_kind * self.model.facts.kv_heads + kv_head) * self.part_len;
        at..at + self.part_len
    }
}

fn add(values: &mut [f32], bias: &[f32]) {
    values
        .iter_mut()
        .zip(bias)
        .for_each(|(value, bias)| *value += bias);
}

/// Rows that share the reading of keys and values in one item of attention.
const ATTENTION_TOKENS: usize = 8;
