//! The mean of rows, one per position: how the hidden states of a text become one embedding.
//! docs/arithmetic.md, rule 4.
//!
//! ```text
//! per dimension   lane l of 16 adds positions l, l+16, l+32 … of a block of 256, in order
//!                 lanes join as in rule 3; block sums are added in order; the total is divided by the count
//! ```
//!
//! Rows may come in pieces of any length: a lane is chosen by a row's position and not by its piece, so the
//! result does not depend on how a prompt was cut into runs.

use crate::dot::reference::tree_sum;
use crate::dot::{BLOCK, LANES};

/// A mean under way.
#[derive(Clone, Debug)]
pub struct Mean {
    width: usize,
    count: usize,
    /// The running sums of the block in hand: a row for each lane.
    lanes: Vec<f32>,
    /// The sums of the blocks before it.
    total: Vec<f32>,
}

impl Mean {
    /// Of no rows yet, each to be of this width.
    pub fn new(width: usize) -> Self {
        assert!(width > 0, "a row has a width");
        Self {
            width,
            count: 0,
            lanes: vec![0.0; LANES * width],
            total: vec![0.0; width],
        }
    }

    /// Takes the rows of the next positions.
    pub fn add(&mut self, rows: &[f32]) {
        assert!(rows.len().is_multiple_of(self.width), "rows are whole");
        for row in rows.chunks_exact(self.width) {
            let lane = self.count % LANES * self.width;
            let sums = self.lanes[lane..lane + self.width].iter_mut();
            sums.zip(row).for_each(|(sum, value)| *sum += value);
            self.count += 1;
            if self.count.is_multiple_of(BLOCK) {
                self.total = self.with_block();
                self.lanes.fill(0.0);
            }
        }
    }

    /// How many rows it has taken.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The mean of the rows so far; there is one at least.
    pub fn result(&self) -> Vec<f32> {
        assert!(self.count > 0, "the mean of something");
        let all = match self.count.is_multiple_of(BLOCK) {
            true => self.total.clone(),
            false => self.with_block(),
        };
        let count = self.count as f32;
        all.into_iter().map(|sum| sum / count).collect()
    }

    /// The total with the block in hand.
    fn with_block(&self) -> Vec<f32> {
        let sum = |dimension: usize| {
            let lane = |lane: usize| self.lanes[lane * self.width + dimension];
            self.total[dimension] + tree_sum(std::array::from_fn(lane))
        };
        (0..self.width).map(sum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dot::reference::dot;

    fn rows(count: usize, width: usize) -> Vec<f32> {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 97.0 - 5.0;
        (0..count * width).map(value).collect()
    }

    #[test]
    fn it_is_the_dot_product_with_ones_over_the_count() {
        for count in [1, 15, 16, 17, 255, 256, 257, 700] {
            let (width, rows) = (5, rows(count, 5));
            let mut mean = Mean::new(width);
            mean.add(&rows);
            assert_eq!(mean.count(), count);
            for (dimension, found) in mean.result().into_iter().enumerate() {
                let column = rows.iter().skip(dimension).step_by(width);
                let column: Vec<f32> = column.copied().collect();
                let expected = dot(&column, &vec![1.0; count]) / count as f32;
                assert_eq!(found.to_bits(), expected.to_bits(), "{count} rows");
            }
        }
    }

    #[test]
    fn how_rows_are_cut_into_pieces_changes_no_bit() {
        let (width, rows) = (3, rows(600, 3));
        let mut whole = Mean::new(width);
        whole.add(&rows);
        for piece in [1, 7, 64, 255, 256, 512] {
            let mut mean = Mean::new(width);
            rows.chunks(piece * width).for_each(|rows| mean.add(rows));
            assert_eq!(mean.result(), whole.result(), "pieces of {piece}");
        }
    }
}
