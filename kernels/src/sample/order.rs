//! The order of candidates, sorted only as far as somebody looks.
//!
//! All tokens above some logit are a prefix of the order, whatever that logit is. So a look at place n
//! gathers the tokens within a few nats of the best, sorts those, and widens only if they are too few.

/// Tokens by (logit descending, id ascending), without those at minus infinity.
pub(super) struct Order<'a> {
    logits: &'a [f32],
    largest: f32,
    /// Logits at minus infinity are not counted.
    count: usize,
    /// The sorted prefix of the order.
    sorted: Vec<(u32, f32)>,
    /// Index into `STEPS` of the next widening.
    step: usize,
}

impl<'a> Order<'a> {
    /// None where no token is left. The logits have no NaN and no infinity but minus infinity.
    pub(super) fn new(logits: &'a [f32]) -> Option<Self> {
        // Sixteen lanes, so that it becomes vectors; the largest is the same in any order.
        let mut lanes = [f32::NEG_INFINITY; 16];
        let mut count = 0;
        for row in logits.chunks(16) {
            for (lane, logit) in lanes.iter_mut().zip(row) {
                *lane = if *logit > *lane { *logit } else { *lane };
                count += usize::from(*logit > f32::NEG_INFINITY);
            }
        }
        let largest = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
        (count > 0).then_some(Self {
            logits,
            largest,
            count,
            sorted: Vec::new(),
            step: 0,
        })
    }

    pub(super) fn logits(&self) -> &'a [f32] {
        self.logits
    }

    pub(super) fn largest(&self) -> f32 {
        self.largest
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The best token: of equals, the one of the lowest id.
    pub(super) fn first(&self) -> u32 {
        let best = self.logits.iter().position(|logit| *logit == self.largest);
        // `new` has found it among them.
        best.expect("the largest is one of them") as u32
    }

    /// The token at a place of the order, and its logit.
    pub(super) fn at(&mut self, place: usize) -> Option<(u32, f32)> {
        if place >= self.count {
            return None;
        }
        while place >= self.sorted.len() {
            self.widen();
        }
        Some(self.sorted[place])
    }

    fn widen(&mut self) {
        let lowest = match STEPS.get(self.step) {
            Some(nats) => self.largest - nats,
            None => f32::MIN,
        };
        self.step += 1;
        self.sorted.clear();
        for (id, logit) in (0_u32..).zip(self.logits) {
            if *logit >= lowest {
                self.sorted.push((id, *logit));
            }
        }
        // Equal logits have different ids: there are no ties, so an unstable sort has one result. Zeros
        // of both signs compare equal, and so fall to their ids.
        self.sorted.sort_unstable_by(|left, right| {
            right
                .1
                .partial_cmp(&left.1)
                .unwrap_or(std::cmp::Ordering::Equal)
                .then(left.0.cmp(&right.0))
        });
    }
}

/// How far below the best one looks, in nats of the raw logits; then everything.
const STEPS: [f32; 4] = [3.0, 6.0, 10.0, 16.0];
