//! The definition with a full sort and no shortcuts, against which the sampler is held; and some draws,
//! pinned.

use super::*;

/// Logits with the spread of a real model's: a few high ones over a wide low mass.
pub(super) fn logits(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64)
        .map(|index| {
            let word = philox::first_word(seed, 7, index);
            let low = (word & 0xffff) as f32 / 8192.0;
            if word >> 24 < 2 { low + 8.0 } else { low }
        })
        .collect()
}

/// The definition in the module's words, with a full sort and no shortcuts.
fn by_the_book(params: &Params, choice: u32, logits: &[f32], index: u64) -> u32 {
    let mut order: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if params.temperature == 0.0 {
        return order[0].0;
    }
    let largest = order[0].1 / params.temperature;
    let weigh = |logit: f32| weight::weight(logit / params.temperature - largest);
    let mut mass = weight::mass(logits, params.temperature, largest);
    let everything = order.len();
    if params.top_k > 0 && (params.top_k as usize) < order.len() {
        order.truncate(params.top_k as usize);
        mass = order.iter().fold(0.0, |sum, one| sum + weigh(one.1));
    }
    if params.top_p < 1.0 {
        let mut sum = 0.0;
        let reached = order.iter().position(|one| {
            sum += weigh(one.1);
            sum >= params.top_p * mass
        });
        order.truncate(reached.map_or(order.len(), |at| at + 1));
    }
    order.retain(|one| weigh(one.1) >= params.min_p);
    let uncut = order.len() == everything && params.top_p >= 1.0 && params.min_p <= 0.0;
    let total = if uncut {
        mass
    } else {
        order.iter().fold(0.0, |sum, one| sum + weigh(one.1))
    };
    let u = (philox::first_word(params.seed, choice, index) >> 8) as f32 / 16_777_216.0;
    let mut sum = 0.0;
    let found = order.iter().find(|one| {
        sum += weigh(one.1);
        sum > u * total
    });
    let drawable = order.iter().rev().find(|one| weigh(one.1) > 0.0);
    found.or(drawable).unwrap().0
}

#[test]
fn the_shortcuts_draw_what_the_definition_draws() {
    let table = [
        (1.0, 0, 1.0, 0.0),
        (0.0, 0, 1.0, 0.0),
        (0.7, 40, 1.0, 0.0),
        (0.7, 0, 0.9, 0.0),
        (1.3, 0, 1.0, 0.05),
        (0.8, 50, 0.95, 0.02),
        (100.0, 0, 1.0, 0.0),
        (100.0, 3000, 0.99, 0.0),
        (0.01, 0, 0.5, 0.5),
        (1.0, 1, 0.0, 1.0),
        (1.0, 0, 0.0, 0.0),
    ];
    for (temperature, top_k, top_p, min_p) in table {
        for seed in 0..20 {
            let params = Params {
                temperature,
                top_k,
                top_p,
                min_p,
                seed,
                ..Params::default()
            };
            let logits = logits(4000, seed);
            let mut sampler = Sampler::new(params.clone(), 3, &[]);
            let drawn = sampler.sample(&logits, seed * 11, None).unwrap().id;
            assert_eq!(
                drawn,
                by_the_book(&params, 3, &logits, seed * 11),
                "{params:?}"
            );
        }
    }
}

#[test]
fn draws_are_pinned() {
    let base = Params {
        seed: 0x0123_4567_89ab_cdef,
        ..Params::default()
    };
    let cases = [
        (base.clone(), PINNED[0]),
        (
            Params {
                temperature: 0.7,
                top_p: 0.9,
                ..base.clone()
            },
            PINNED[1],
        ),
        (
            Params {
                temperature: 0.8,
                top_k: 40,
                top_p: 0.95,
                min_p: 0.01,
                ..base.clone()
            },
            PINNED[2],
        ),
        (
            Params {
                temperature: 1.5,
                min_p: 0.1,
                ..base.clone()
            },
            PINNED[3],
        ),
        (
            Params {
                repetition_penalty: 1.3,
                frequency_penalty: 0.5,
                presence_penalty: 0.25,
                bias: vec![(7, 3.5), (11, -100.0)],
                ..base
            },
            PINNED[4],
        ),
    ];
    let drawn = cases.clone().map(|(params, _)| {
        let mut sampler = Sampler::new(params, 1, &[3, 5, 7]);
        let mut ids = [0; 8];
        for (index, id) in (0..).zip(&mut ids) {
            // Ids count up in a wide and a narrow spread of logits by turns.
            let mut logits = logits(1000, index);
            if index % 2 == 1 {
                logits.iter_mut().for_each(|logit| *logit *= 0.25);
            }
            *id = sampler.sample(&logits, index, None).unwrap().id;
            sampler.accept(*id);
        }
        ids
    });
    assert_eq!(drawn, cases.map(|case| case.1));
}

const PINNED: [[u32; 8]; 5] = [
    [646, 283, 100, 803, 663, 613, 707, 749],
    [654, 51, 32, 606, 903, 944, 707, 854],
    [654, 991, 32, 907, 716, 154, 707, 648],
    [886, 865, 100, 775, 663, 245, 707, 890],
    [646, 479, 100, 275, 663, 426, 707, 171],
];
