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
        let finite = unsafe { attention::store(self.page_kind, pool, part, slot, key, value) };
        if !finite {
            self.fault(row.run, index, Operation::KeysAndValues);
        }
    }

    /// Attention of this thread's share: query heads of some rows of a run, cut so that all threads see about as
    /// many keys. The heads that share keys and the rows that do are taken together as far as the cut allows.
    pub(super) fn attend(&self, place: &Place<'_>, index: usize, layer: &Layer) {
        let facts = &self.model.facts;
        let group = facts.heads / facts.kv_heads;
        let costs = || self.pieces().map(|piece| self.cost(layer, &piece));
        let all: usize = costs().sum::<usize>() * facts.heads;
        let mut before = 0;
        for (piece, cost) in self.pieces().zip(costs()) {
            for kv_head in 0..facts.kv_heads {
                let first = kv_head * group;
                let thread = |head: &usize| (before + (head - first) * cost) * place.count / all;
                let of_group = first..first + group;
                let mut heads = of_group.filter(|head| thread(head) == place.index);
                if let Some(start) = heads.next() {
                    let end = heads.next_back().unwrap_or(start) + 1;
                    self.attend_piece(place, index, layer, &piece, kv_head, start..end);
                }
                before += group * cost;
            }
        }
    }

    /// The rows of each run, a few at a time.
    fn pieces(&self) -> impl Iterator<Item = Piece> {
        let mut ended = 0;
        let runs = self.runs.iter().enumerate();
        runs.flat_map(move |(run, of_run)| {
            let first = ended;
            ended += of_run.tokens.len();
            let end = ended;
            let starts = (first..end).step_by(ATTENTION_TOKENS);
            starts.map(move |start| Piece {
                run,
                rows: start..end.min(start + ATTENTION_TOKENS),
            })
        })
    }

    /// What attention of one head of a piece takes: keys times rows, and something for each row itself.
    fn cost(&self, layer: &Layer, piece: &Piece) -> usize {
        let keys = |row: usize| self.seen(layer, self.rows[row].position).len();
        piece.rows.clone().map(|row| keys(row) + PAGE_TOKENS).sum()
    }

    fn attend_piece(
        &self,
        place: &Place<'_>,
        index: usize,
        layer: &Layer,
        piece: &Piece,
        kv_head: usize,
        heads: Range<usize>,
    ) {
        let width = self.model.facts.head_width;
        let rows = &piece.rows;
        let (table, pool) = self.table(piece.run, layer);
        let seen = |row: usize| self.seen(layer, self.rows[row].position);
        let first_page = seen(rows.start).start / PAGE_TOKENS;
        let end_page = seen(rows.end - 1).end.div_ceil(PAGE_TOKENS);
        // SAFETY: pages and queries are not written in this phase.
        let pages: Vec<&[u8]> = table.pages[first_page - table.first..end_page - table.first]
            .iter()
            .map(|page| unsafe { pool.slice(self.part(*page, layer, kv_head)) })
            .collect();
        let cache = Cache {
            kind: self.page_kind,
            head_width: width,
            pages: &pages,
        };
        let mut queries = Vec::with_capacity(rows.len() * heads.len());
        let mut out = Vec::with_capacity(rows.len() * heads.len());
        for row in rows.clone() {
            let seen = seen(row);
            for head in heads.clone() {
                let at = row * self.sizes.qkv + head * width;
                let to = row * self.sizes.mixed + head * width;
                // SAFETY: queries are not written in this phase, and each head of a row belongs to one thread.
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
        let scratch = place.index * self.sizes.scores..(place.index + 1) * self.sizes.scores;
        // SAFETY: the scratch of a thread is its own.
        let scratch = unsafe { self.scores.slice_mut(scratch) };
        let (isa, scale) = (self.model.isa, self.model.score_scale);
        if !attention::attend(isa, cache, scale, &queries, scratch, &mut out) {
            self.fault(piece.run, index, Operation::Scores);
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
    fn table(&self, run: usize, layer: &Layer) -> (&Table, &Shared<'_, u8>) {
        let kind = usize::from(layer.windowed);
        (&self.tables[run][kind], &self.pages[kind])
    }

    /// The part of a page for one layer and kv head.
    fn part(&self, page: usize, layer: &Layer, kv_head: usize) -> Range<usize> {
        let at = page + (layer.of_kind * self.model.facts.kv_heads + kv_head) * self.part_bytes;
        at..at + self.part_bytes
    }
}

/// Rows of one run that share the reading of keys and values.
struct Piece {
    run: usize,
    /// In the step.
    rows: Range<usize>,
}

fn add(values: &mut [f32], bias: &[f32]) {
    values
        .iter_mut()
        .zip(bias)
        .for_each(|(value, bias)| *value += bias);
}

/// Rows of a piece, at most.
const ATTENTION_TOKENS: usize = 8;
