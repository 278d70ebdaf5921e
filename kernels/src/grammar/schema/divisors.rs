//! How much work the divisors of a schema are.
//!
//! A grammar counts a remainder for every number below a divisor, and where two divisors hold for the same
//! number, below their least common multiple. So divisors are small, together too, and where they may meet.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::GrammarError;

/// The divisors of a schema.
#[derive(Debug, Default)]
pub(super) struct Divisors {
    /// Their digits, without the point, and how many of them stand behind it.
    known: BTreeSet<(u64, usize)>,
    /// Where the last one stood.
    at: String,
    /// Whether several things are said of the same value somewhere.
    pub(super) combined: bool,
}

impl Divisors {
    /// Takes note of a `multipleOf`.
    pub(super) fn hear(&mut self, at: &str, value: &Value) -> Result<(), GrammarError> {
        let written = value.as_f64().unwrap_or_default().to_string();
        let (whole, behind) = written.split_once('.').unwrap_or((&written, ""));
        let digits = format!("{whole}{behind}").parse().unwrap_or(u64::MAX);
        if digits > DIVISOR_MAX || behind.len() > BEHIND_MAX {
            let why = format!(
                "multipleOf must be at most {DIVISOR_MAX} without its point, and have at most {BEHIND_MAX} \
                 digits behind it"
            );
            return Err(GrammarError::new(at, why));
        }
        self.known.insert((digits, behind.len()));
        self.at = at.to_owned();
        Ok(())
    }

    /// The divisor of a number for which all of them hold, as digits without the point, if it is small enough.
    fn meeting(&self) -> Option<u64> {
        let behind = self.known.iter().map(|(_, behind)| *behind).max()?;
        self.known.iter().try_fold(1, |all, (digits, own)| {
            let digits = digits * 10_u64.pow((behind - own) as u32);
            let both = all / shared(all, digits) * digits;
            (both <= MEETING_MAX).then_some(both)
        })
    }

    /// Whether all of them together are little enough.
    pub(super) fn check(&self) -> Result<(), GrammarError> {
        let sum: u64 = self.known.iter().map(|(digits, _)| digits).sum();
        if sum > SUM_MAX {
            let why = format!(
                "all multipleOf together are {sum} without their points, at most {SUM_MAX}"
            );
            return Err(GrammarError::new(self.at.as_str(), why));
        }
        if self.combined && !self.known.is_empty() && self.meeting().is_none() {
            let why = format!(
                "the least common multiple of all multipleOf is above {MEETING_MAX} without its point, and allOf, \
                 or another keyword beside anyOf, oneOf or $ref, may put them together"
            );
            return Err(GrammarError::new(self.at.as_str(), why));
        }
        Ok(())
    }
}

/// The greatest common divisor; of 0 and a number it is that number.
fn shared(left: u64, right: u64) -> u64 {
    match right {
        0 => left,
        _ => shared(right, left % right),
    }
}

/// A divisor's digits, as a number.
const DIVISOR_MAX: u64 = 1_000;
/// Digits behind the point.
const BEHIND_MAX: usize = 6;
/// The digits of what divides a number by several of them: the grammar multiplies two such in 32 bits.
const MEETING_MAX: u64 = 10_000;
/// All different divisors' digits, added up: each is some microseconds of work.
const SUM_MAX: u64 = 5_000;
