//! The forward pass: what each thread of the team does in one step.
//!
//! ```text
//! x = embedding
//! per layer   norm, quantize | q k v | rope, store k v | attention | quantize | x += output
//!             norm, quantize | gate, up | quantize | x += down
//! at the end  norm, quantize | logits, of the tokens whose logits are wanted
//! ```
//!
//! Where what attention or the feed-forward layer adds is normed first, it takes a buffer and one barrier more.
//! `forward/feed.rs` has the feed-forward layer, and how experts take its place.
//!
//! A bar is a barrier. Between two barriers each thread writes rows or strips that no other thread
//! touches, and reads only what was written before the last barrier; that is what makes the shared
//! buffers below sound.
//!
//! A step of one or two tokens is decoding, where a barrier costs more than a row. There every thread norms
//! and quantizes the rows for itself, so six of the barriers above remain. The results are the same; only
//! who computes them differs.

mod attend;
mod feed;

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use super::evaluator::Sizes;
use super::{Layer, Model, Operation, Run};
use crate::attention::PageKind;
use crate::block::BLOCK;
use crate::embed::embed;
use crate::matmul::{self, Finish, Input, Matrix, Output};
use crate::memory::Shared;
use crate::norm;
use crate::pool::Place;
use crate::quantize::{self, GROUP, View, ViewMut};
use crate::rope;

/// One token of the step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) run: usize,
    pub(super) position: usize,
    pub(super) token: u32,
}

/// Where a run's pages for one kind of layers begin in their pool.
pub(super) struct Table {
    /// The index of the first of them, counted from the page of position 0.
    pub(super) first: usize,
    pub(super) pages: Vec<usize>,
}

/// Everything a step works on.
pub(super) struct Pass<'a> {
    pub(super) model: &'a Model,
    pub(super) sizes: Sizes,
    pub(super) runs: &'a [Run<'a>],
    pub(super) rows: &'a [Row],
    /// The rows whose logits are wanted.
    pub(super) logit_rows: &'a [usize],
    /// The rows whose last norm is wanted.
    pub(super) hidden_rows: &'a [usize],
    /// A table for each of the model's turns.
    pub(super) rope: &'a [rope::Table],
    /// Per run: its pages of layers that see everything, and of layers with a window.
    pub(super) tables: &'a [[Table; 2]],
    pub(super) page_kind: PageKind,
    /// Bytes of a page's part for one layer and kv head.
    pub(super) part_bytes: usize,
    /// The pool of layers that see everything, and that of layers with a window.
    pub(super) pages: [Shared<'a, u8>; 2],
    pub(super) x: Shared<'a, f32>,
    pub(super) normed: Shared<'a, f32>,
    pub(super) qkv: Shared<'a, f32>,
    pub(super) mixed: Shared<'a, f32>,
    pub(super) hidden: Shared<'a, f32>,
    pub(super) added: Shared<'a, f32>,
    pub(super) choices: Shared<'a, f32>,
    pub(super) scores: Shared<'a, f32>,
    pub(super) q: Shared<'a, i8>,
    pub(super) scale: Shared<'a, f32>,
    pub(super) sum: Shared<'a, i32>,
    pub(super) mass: Shared<'a, f32>,
    pub(super) logits: Shared<'a, f32>,
    pub(super) states: Shared<'a, f32>,
    /// Whether every thread norms and quantizes all rows for itself.
    pub(super) alone: bool,
    /// Per run, the first fault seen: layer * 256 + operation.
    pub(super) faults: &'a [AtomicU32],
}

impl Pass<'_> {
    /// One thread's way through the step. All threads of the team walk it together.
    pub(super) fn walk(&self, place: &Place<'_>) {
        let layers = &self.model.layers;
        self.embed(place);
        for (index, layer) in layers.iter().enumerate() {
            self.layer(place, index, layer);
        }
        self.hidden_states(place);
        self.logits(place);
    }

    /// The last norm of the rows that are wanted as they are.
    fn hidden_states(&self, place: &Place<'_>) {
        let (model, layers) = (self.model, self.model.layers.len());
        let width = model.facts.width;
        for wanted in place.part(self.hidden_rows.len()) {
            let row = self.hidden_rows[wanted];
            let run = self.rows[row].run;
            // SAFETY: the residual is not written in this phase, and each result belongs to one thread.
            let (x, out) = unsafe {
                let at = row * self.sizes.x;
                let out = wanted * width..(wanted + 1) * width;
                (self.x.slice(at..at + width), self.states.slice_mut(out))
            };
            if !norm::rms(model.isa, x, &model.output_norm, model.epsilon, out) {
                self.fault(run, layers, Operation::OutputNorm);
            }
            if !out.iter().all(|value| value.is_finite()) {
                self.fault(run, layers, Operation::OutputInput);
            }
        }
    }

    fn logits(&self, place: &Place<'_>) {
        let (norm, head) = (&self.model.output_norm, self.model.head());
        let layers = self.model.layers.len();
        let faults = (Operation::OutputNorm, Operation::OutputInput);
        let wanted = self.logit_rows.iter().copied();
        self.norm(place, layers, wanted, norm, head, faults);
        let count = self.logit_rows.len();
        self.multiply(
            place,
            head,
            count,
            &self.normed,
            &self.logits,
            Finish::Store,
        );
        for wanted in place.part(count) {
            let stride = head.output_columns();
            // SAFETY: written before the barrier; nobody writes logits any more.
            let logits = unsafe { self.logits.slice(wanted * stride..(wanted + 1) * stride) };
            if !logits.iter().all(|logit| logit.is_finite()) {
                let run = self.rows[self.logit_rows[wanted]].run;
                self.fault(run, layers, Operation::Logits);
            }
        }
    }

    fn layer(&self, place: &Place<'_>, index: usize, layer: &Layer) {
        let tokens = self.rows.len();
        let (norm, qkv) = (&layer.attention_norm, &layer.qkv);
        let faults = (Operation::AttentionNorm, Operation::AttentionInput);
        self.norm(place, index, 0..tokens, norm, qkv, faults);
        self.multiply(place, qkv, tokens, &self.normed, &self.qkv, Finish::Store);
        let kv_heads = self.model.facts.kv_heads;
        for one in place.part(tokens * kv_heads) {
            self.store(index, layer, one / kv_heads, one % kv_heads);
        }
        place.barrier();
        self.attend(place, index, layer);
        place.barrier();
        let output = &layer.attention_output;
        let fault = Operation::AttentionOutput;
        self.quantize(place, index, &self.mixed, tokens, output, fault);
        let post_norm = layer.attention_post_norm.as_deref();
        let fault = Operation::AttentionPostNorm;
        self.add(place, index, output, &self.mixed, post_norm, fault);
        self.feed(place, index, layer);
    }

    /// Adds what a matrix makes of its input to the residual, normed first if there is a norm.
    fn add(
        &self,
        place: &Place<'_>,
        layer: usize,
        matrix: &Matrix,
        from: &Shared<'_, f32>,
        norm: Option<&[f32]>,
        fault: Operation,
    ) {
        let (model, tokens) = (self.model, self.rows.len());
        let Some(weight) = norm else {
            return self.multiply(place, matrix, tokens, from, &self.x, Finish::Add);
        };
        self.multiply(place, matrix, tokens, from, &self.added, Finish::Store);
        for row in place.part(tokens) {
            let at = row * self.sizes.x;
            let range = at..at + model.facts.width;
            // SAFETY: each row belongs to one thread until the next barrier.
            let (x, added) = unsafe {
                let added = self.added.slice_mut(range.clone());
                (self.x.slice_mut(range), added)
            };
            if !norm::rms_in_place(model.isa, added, weight, model.epsilon) {
                self.fault(self.rows[row].run, layer, fault);
            }
            x.iter_mut().zip(added).for_each(|(x, added)| *x += *added);
        }
        place.barrier();
    }

    fn embed(&self, place: &Place<'_>) {
        for row in place.part(self.rows.len()) {
            let at = row * self.sizes.x;
            // SAFETY: each row belongs to one thread until the next barrier.
            let x = unsafe { self.x.slice_mut(at..at + self.model.facts.width) };
            embed(&self.model.embedding, self.rows[row].token, x);
            if let Some(scale) = self.model.embedding_scale {
                x.iter_mut().for_each(|x| *x *= scale);
            }
        }
        place.barrier();
    }

    /// Norms the residual of some rows to the first rows of `normed`, and quantizes that if the
    /// matrix it is for wants it.
    fn norm(
        &self,
        place: &Place<'_>,
        layer: usize,
        rows: impl ExactSizeIterator<Item = usize>,
        weight: &[f32],
        matrix: &Matrix,
        (norm_fault, input_fault): (Operation, Operation),
    ) {
        let width = self.model.facts.width;
        let (part, base) = self.share(place, rows.len());
        for (to, from) in rows.enumerate().skip(part.start).take(part.len()) {
            let run = self.rows[from].run;
            // SAFETY: the residual is not written in this phase.
            let x = unsafe {
                self.x
                    .slice(from * self.sizes.x..from * self.sizes.x + width)
            };
            let to = base + to;
            // SAFETY: each row belongs to one thread until the next barrier.
            let out = unsafe { self.normed.slice_mut(to * width..(to + 1) * width) };
            if !norm::rms(self.model.isa, x, weight, self.model.epsilon, out) {
                self.fault(run, layer, norm_fault);
            }
            if matrix.is_quantized() && !self.quantize_row(to, out) {
                self.fault(run, layer, input_fault);
            }
        }
        if !self.alone {
            place.barrier();
        }
    }

    /// The rows that this thread norms or quantizes, and where its first row is in those buffers.
    fn share(&self, place: &Place<'_>, rows: usize) -> (Range<usize>, usize) {
        match self.alone {
            true => (0..rows, place.index * rows),
            false => (place.part(rows), 0),
        }
    }

    /// Quantizes so many rows of a buffer, as many for each token, for a matrix that wants it.
    fn quantize(
        &self,
        place: &Place<'_>,
        layer: usize,
        values: &Shared<'_, f32>,
        rows: usize,
        matrix: &Matrix,
        fault: Operation,
    ) {
        if !matrix.is_quantized() {
            return;
        }
        let columns = matrix.columns();
        let (part, base) = self.share(place, rows);
        let per_token = rows / self.rows.len();
        for row in part {
            // SAFETY: these values are not written in this phase.
            let x = unsafe { values.slice(row * columns..(row + 1) * columns) };
            if !self.quantize_row(base + row, x) {
                self.fault(self.rows[row / per_token].run, layer, fault);
            }
        }
        if !self.alone {
            place.barrier();
        }
    }

    fn quantize_row(&self, row: usize, x: &[f32]) -> bool {
        let values = row * x.len()..(row + 1) * x.len();
        let groups = values.start / GROUP..values.end / GROUP;
        let blocks = values.start / BLOCK..values.end / BLOCK;
        // SAFETY: each row belongs to one thread until the next barrier.
        let out = unsafe {
            ViewMut {
                q: self.q.slice_mut(values),
                scale: self.scale.slice_mut(groups.clone()),
                sum: self.sum.slice_mut(groups),
                mass: self.mass.slice_mut(blocks),
            }
        };
        quantize::quantize(self.model.isa, x, out)
    }

    /// Multiplies this thread's strips with as many rows.
    fn multiply(
        &self,
        place: &Place<'_>,
        matrix: &Matrix,
        rows: usize,
        from: &Shared<'_, f32>,
        to: &Shared<'_, f32>,
        finish: Finish,
    ) {
        let base = self.share(place, rows).1;
        let output = Output {
            values: to,
            first: 0,
            stride: matrix.output_columns(),
            finish,
        };
        self.multiply_rows(place, matrix, base, 0..rows, from, output);
        place.barrier();
    }

    /// Multiplies this thread's strips with the rows of a range. What was normed or quantized of them begins
    /// at row `base` of those buffers.
    fn multiply_rows(
        &self,
        place: &Place<'_>,
        matrix: &Matrix,
        base: usize,
        rows: Range<usize>,
        from: &Shared<'_, f32>,
        output: Output<'_>,
    ) {
        let columns = matrix.columns();
        let values = (base + rows.start) * columns..(base + rows.end) * columns;
        let used = if matrix.is_quantized() {
            values.clone()
        } else {
            0..0
        };
        let every = |elements: usize| used.start / elements..used.end / elements;
        // Normed rows are in this thread's part too; other inputs are everybody's.
        let floats = if std::ptr::eq(from, &self.normed) {
            values
        } else {
            rows.start * columns..rows.end * columns
        };
        // SAFETY: inputs are not written in this phase, and strips belong to one thread each.
        unsafe {
            let quantized = View {
                columns,
                q: self.q.slice(used.clone()),
                scale: self.scale.slice(every(GROUP)),
                sum: self.sum.slice(every(GROUP)),
                mass: self.mass.slice(every(BLOCK)),
            };
            let input = Input {
                tokens: rows.len(),
                floats: from.slice(floats),
                quantized,
            };
            matmul::multiply(matrix, place.part(matrix.strips()), input, output);
        }
    }

    /// Remembers the first fault of a run: first by layer, then in the order of operations, so that
    /// threads cannot change which one is named.
    fn fault(&self, run: usize, layer: usize, operation: Operation) {
        let code = layer as u32 * 256 + operation as u32;
        self.faults[run].fetch_min(code, Ordering::Relaxed);
    }
}

/// The most tokens of a step in which every thread norms and quantizes all rows for itself.
pub(super) const ALONE_MAX: usize = 2;
