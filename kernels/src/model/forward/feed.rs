//! The feed-forward layer: one, or some experts of many. docs/arithmetic.md, rule 8.
//!
//! ```text
//! one          norm, quantize | gate, up | quantize | x += down
//! experts      norm, quantize, choose | per expert: gate, up of its tokens | quantize
//!              | per expert: down of its tokens | x += what the chosen made, by their weights
//! ```
//!
//! An expert's tokens are evaluated one by one: a choice says so little about the next token's that there is
//! seldom a long row of them.

use super::super::{Layer, Operation};
use super::Pass;
use crate::dot::dot;
use crate::math::exp;
use crate::matmul::{Finish, Matrix, Output};
use crate::memory::Shared;
use crate::pool::Place;

impl Pass<'_> {
    /// The feed-forward layer, from the norm before it to the residual.
    pub(super) fn feed(&self, place: &Place<'_>, index: usize, layer: &Layer) {
        let (tokens, first) = (self.rows.len(), &layer.experts[0]);
        let (norm, gate_up) = (&layer.feed_norm, &first.gate_up);
        let faults = (Operation::FeedNorm, Operation::FeedInput);
        self.norm(place, index, 0..tokens, norm, gate_up, faults);
        let gate = Finish::Gate(self.model.architecture.gate);
        if let Some(router) = &layer.router {
            return self.feed_experts(place, index, layer, router, gate);
        }
        self.multiply(place, gate_up, tokens, &self.normed, &self.hidden, gate);
        let fault = Operation::FeedHidden;
        self.quantize(place, index, &self.hidden, tokens, &first.down, fault);
        let post_norm = layer.feed_post_norm.as_deref();
        let fault = Operation::FeedPostNorm;
        self.add(place, index, &first.down, &self.hidden, post_norm, fault);
    }

    fn feed_experts(
        &self,
        place: &Place<'_>,
        index: usize,
        layer: &Layer,
        router: &[f32],
        gate: Finish,
    ) {
        let (tokens, used) = (self.rows.len(), self.model.facts.experts_used);
        self.choose(place, index, router);
        let of_token = |row: usize| row / used;
        let gate_up = |expert: usize| &layer.experts[expert].gate_up;
        self.per_expert(
            place,
            gate_up,
            of_token,
            tokens,
            &self.normed,
            &self.hidden,
            gate,
        );
        place.barrier();
        // Experts of a layer share their formats.
        let down = &layer.experts[0].down;
        let fault = Operation::FeedHidden;
        self.quantize(place, index, &self.hidden, tokens * used, down, fault);
        let down = |expert: usize| &layer.experts[expert].down;
        let (from, to) = (&self.hidden, &self.added);
        self.per_expert(
            place,
            down,
            |row| row,
            tokens * used,
            from,
            to,
            Finish::Store,
        );
        place.barrier();
        self.join(place);
        place.barrier();
    }

    /// Gives each expert a weight for each token: zero, unless it is chosen.
    fn choose(&self, place: &Place<'_>, layer: usize, router: &[f32]) {
        let facts = &self.model.facts;
        let (part, base) = self.share(place, self.rows.len());
        for row in part {
            let at = (base + row) * facts.width;
            let to = (base + row) * facts.experts;
            // SAFETY: each row belongs to one thread until the next barrier.
            let (x, choices) = unsafe {
                let x = self.normed.slice(at..at + facts.width);
                (x, self.choices.slice_mut(to..to + facts.experts))
            };
            let rows = router.chunks_exact(facts.width);
            for (choice, weights) in choices.iter_mut().zip(rows) {
                *choice = dot(self.model.isa, weights, x);
            }
            if !weigh(choices, facts.experts_used) {
                self.fault(self.rows[row].run, layer, Operation::Router);
            }
        }
        if !self.alone {
            place.barrier();
        }
    }

    /// The experts chosen for a token and their weights, in ascending order of experts.
    fn chosen(&self, place: &Place<'_>, token: usize) -> impl Iterator<Item = (usize, f32)> {
        let experts = self.model.facts.experts;
        let at = (self.share(place, self.rows.len()).1 + token) * experts;
        // SAFETY: written before the last barrier, or by this thread.
        let choices = unsafe { self.choices.slice(at..at + experts) };
        let chosen = choices.iter().copied().enumerate();
        chosen.filter(|(_, weight)| !weight.is_nan())
    }

    /// Multiplies the row of each token and expert chosen for it; results go to rows of `to`, one for each
    /// of them, in order. `input` says which of the `rows` of the input is theirs.
    #[allow(
        clippy::too_many_arguments,
        reason = "it is `multiply` for many matrices"
    )]
    fn per_expert<'m>(
        &self,
        place: &Place<'_>,
        matrix: impl Fn(usize) -> &'m Matrix,
        input: impl Fn(usize) -> usize,
        rows: usize,
        from: &Shared<'_, f32>,
        to: &Shared<'_, f32>,
        finish: Finish,
    ) {
        let used = self.model.facts.experts_used;
        let base = self.share(place, rows).1;
        for token in 0..self.rows.len() {
            for (rank, (expert, _)) in self.chosen(place, token).enumerate() {
                let (matrix, row) = (matrix(expert), token * used + rank);
                let stride = matrix.output_columns();
                let output = Output {
                    values: to,
                    first: row * stride,
                    stride,
                    finish,
                };
                let input = input(row);
                self.multiply_rows(place, matrix, base, input..input + 1, from, output);
            }
        }
    }

    /// Adds what the chosen experts made of each token to the residual.
    fn join(&self, place: &Place<'_>) {
        let (used, stride) = (self.model.facts.experts_used, self.sizes.x);
        let mut sum = vec![0.0f32; self.model.facts.width];
        for token in place.part(self.rows.len()) {
            sum.fill(0.0);
            for (rank, (_, weight)) in self.chosen(place, token).enumerate() {
                let at = (token * used + rank) * stride;
                // SAFETY: not written in this phase.
                let made = unsafe { self.added.slice(at..at + sum.len()) };
                let pairs = sum.iter_mut().zip(made);
                pairs.for_each(|(sum, made)| *sum = weight.mul_add(*made, *sum));
            }
            let at = token * stride;
            // SAFETY: each row belongs to one thread until the next barrier.
            let x = unsafe { self.x.slice_mut(at..at + sum.len()) };
            x.iter_mut().zip(&sum).for_each(|(x, sum)| *x += sum);
        }
    }
}

/// Turns a router's scores into weights; of those that are not chosen, NaN. False if a score is not finite: then
/// some are chosen all the same, so that nothing after this has to know.
fn weigh(scores: &mut [f32], used: usize) -> bool {
    let finite = scores.iter().all(|score| score.is_finite());
    if !finite {
        scores.fill(0.0);
    }
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores
        .iter_mut()
        .for_each(|score| *score = exp(*score - largest));
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // The sort keeps the order of equals, which is that of ids.
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    for expert in &order[used..] {
        scores[*expert] = f32::NAN;
    }
    let chosen = scores.iter().filter(|weight| !weight.is_nan());
    let total: f32 = chosen.sum();
    scores.iter_mut().for_each(|weight| *weight /= total);
    finite
}

#[cfg(test)]
mod tests {
    use super::weigh;

    #[test]
    fn the_heaviest_are_chosen_and_of_equals_the_first() {
        let mut scores = [1.0, 3.0, 2.0, 3.0, 3.0];
        assert!(weigh(&mut scores, 2));
        let chosen: Vec<usize> = (0..5).filter(|at| !scores[*at].is_nan()).collect();
        assert_eq!(chosen, [1, 3]);
        assert_eq!([scores[1], scores[3]], [0.5, 0.5]);
    }

    #[test]
    fn a_score_that_is_not_finite_is_told_and_as_many_are_chosen() {
        let mut scores = [f32::NAN, 1.0, f32::INFINITY];
        assert!(!weigh(&mut scores, 2));
        assert_eq!(scores.iter().filter(|weight| !weight.is_nan()).count(), 2);
    }
}
