//! What a request costs, in microcredits (µc): a pure function of token counts and a price table.
//!
//! `cost = base + ceil((prompt * prompt_rate + completion * completion_rate) / 1000)`, rates being µc per
//! 1,000 tokens. No floats; a table is named by its hash, and a hold pins the hash, so a later table never
//! re-prices an earlier request. One credit is 1,000,000 µc: about 1,000 completion tokens.

use crate::ids::{Digest, digest};
use serde::{Deserialize, Serialize};

/// An amount of microcredits.
pub type Micros = u64;

/// One credit in microcredits.
pub const CREDIT: Micros = 1_000_000;

/// A price table. Its [`Prices::version`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    /// µc for any request that delivered at least one token.
    pub base: Micros,
    /// µc per 1,000 prompt tokens.
    pub prompt: Micros,
    /// µc per 1,000 completion tokens.
    pub completion: Micros,
}

impl Prices {
    /// The table in force: output costs four times what input does, as is usual in the field.
    pub const REFERENCE: Prices = Prices {
        base: 1_000,
        prompt: CREDIT / 4,
        completion: CREDIT,
    };

    /// The hash that names this table.
    pub fn version(&self) -> Digest {
        let parts = [self.base, self.prompt, self.completion].map(u64::to_le_bytes);
        digest("troop/prices/v1", &[&parts[0], &parts[1], &parts[2]])
    }

    /// The cost of so many tokens; `None` where it does not fit 64 bits (L27). No completion costs nothing.
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> Option<Micros> {
        if completion_tokens == 0 {
            return Some(0);
        }
        let variable = u128::from(prompt_tokens)
            .checked_mul(self.prompt.into())?
            .checked_add(u128::from(completion_tokens).checked_mul(self.completion.into())?)?
            .div_ceil(1000);
        Micros::try_from(variable.checked_add(self.base.into())?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_exact_and_never_wraps() {
        let prices = Prices::REFERENCE;
        let cases = [
            (0, 0, Some(0)),
            (1_000, 0, Some(0)),
            (0, 1, Some(2_000)),
            (1, 1, Some(2_250)),
            (1_000, 1_000, Some(1_251_000)),
            (u64::MAX, u64::MAX, None),
        ];
        for (prompt, completion, expected) in cases {
            assert_eq!(
                prices.cost(prompt, completion),
                expected,
                "{prompt} + {completion}"
            );
        }
    }
}
