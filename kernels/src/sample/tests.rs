//! What the sampler promises, in examples.

use super::book::logits;
use super::*;

#[test]
fn draws_follow_the_distribution() {
    let logits: Vec<f32> = [0.5_f64, 0.3, 0.15, 0.05]
        .map(|p| libm::log(p) as f32)
        .to_vec();
    let mut sampler = Sampler::new(
        Params {
            seed: 9,
            ..Params::default()
        },
        0,
        &[],
    );
    let mut counts = [0_i32; 4];
    for index in 0..20_000 {
        counts[sampler.sample(&logits, index, None).unwrap().id as usize] += 1;
    }
    // Four standard deviations of the commonest are 283 draws.
    for (count, expected) in counts.into_iter().zip([10_000, 6_000, 3_000, 1_000]) {
        assert!((count - expected).abs() < 283, "{counts:?}");
    }
}

#[test]
fn of_equal_logits_the_lowest_id_comes_first() {
    let logits = [1.0, 3.0, -0.0, 3.0, 0.0];
    let greedy = Params {
        temperature: 0.0,
        logprobs: Some(5),
        ..Params::default()
    };
    let sampled = Sampler::new(greedy, 0, &[])
        .sample(&logits, 0, None)
        .unwrap();

    assert_eq!(sampled.id, 1);
    let ids: Vec<u32> = sampled.top.iter().map(|one| one.0).collect();
    assert_eq!(ids, [1, 3, 0, 2, 4]);
    let sum: f64 = sampled.top.iter().map(|one| libm::exp(one.1)).sum();
    assert!((sum - 1.0).abs() < 1e-12);
    assert_eq!(sampled.logprob, Some(sampled.top[0].1));
}

#[test]
fn penalties_and_bias_come_in_their_order() {
    let greedy = Params {
        temperature: 0.0,
        ..Params::default()
    };
    let pick = |params: Params, output: &[u32]| {
        let mut sampler = Sampler::new(params, 0, &[0]);
        output.iter().for_each(|id| sampler.accept(*id));
        sampler.sample(&[4.0, 3.0, 2.5, -1.0], 0, None).unwrap().id
    };

    assert_eq!(pick(greedy.clone(), &[0, 1]), 0);
    // The prompt counts for repetition …
    assert_eq!(
        pick(
            Params {
                repetition_penalty: 1.5,
                ..greedy.clone()
            },
            &[]
        ),
        1
    );
    assert_eq!(
        pick(
            Params {
                repetition_penalty: 2.0,
                ..greedy.clone()
            },
            &[1]
        ),
        2
    );
    // … and not for the other two.
    assert_eq!(
        pick(
            Params {
                presence_penalty: 1.5,
                ..greedy.clone()
            },
            &[1, 2]
        ),
        0
    );
    assert_eq!(
        pick(
            Params {
                presence_penalty: 1.25,
                ..greedy.clone()
            },
            &[0]
        ),
        1
    );
    assert_eq!(
        pick(
            Params {
                frequency_penalty: 0.5,
                ..greedy.clone()
            },
            &[0, 0, 1]
        ),
        0
    );
    assert_eq!(
        pick(
            Params {
                frequency_penalty: 0.5,
                ..greedy.clone()
            },
            &[0, 0, 0]
        ),
        1
    );
    assert_eq!(
        pick(
            Params {
                bias: vec![(3, 5.5), (99, 100.0)],
                ..greedy
            },
            &[]
        ),
        3
    );
}

#[test]
fn a_rebuilt_sampler_goes_on_as_the_first_would_have() {
    let params = Params {
        temperature: 0.9,
        repetition_penalty: 1.2,
        frequency_penalty: 0.3,
        seed: 5,
        ..Params::default()
    };
    let mut first = Sampler::new(params.clone(), 2, &[1, 2, 3]);
    let mut output: Vec<u32> = Vec::new();
    for index in 0..50 {
        let logits = logits(300, 1000 + index);
        let mut second = Sampler::new(params.clone(), 2, &[1, 2, 3]);
        output.iter().for_each(|id| second.accept(*id));

        let id = first.sample(&logits, index, None).unwrap().id;

        assert_eq!(second.sample(&logits, index, None).unwrap().id, id);
        first.accept(id);
        output.push(id);
    }
}

#[test]
fn a_mask_leaves_only_what_it_allows() {
    let logits = logits(70, 1);
    for temperature in [0.0, 1.0, 50.0] {
        let mut sampler = Sampler::new(
            Params {
                temperature,
                ..Params::default()
            },
            0,
            &[],
        );
        let mask = [0, 1 << 31, 0b10_0000];
        for index in 0..50 {
            let id = sampler.sample(&logits, index, Some(&mask)).unwrap().id;
            assert!(id == 63 || id == 69, "{id}");
        }
        // A mask too short allows nothing beyond its end.
        assert_eq!(sampler.sample(&logits, 0, Some(&[4])).unwrap().id, 2);
        let none = sampler.sample(&logits, 8, Some(&[]));
        assert_eq!(none, Err(SampleError::NoneAllowed { index: 8 }));
    }
}

#[test]
fn what_is_not_a_number_is_refused() {
    let mut sampler = Sampler::new(Params::default(), 0, &[]);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = sampler.sample(&[0.0, bad, 1.0], 0, None);
        assert_eq!(error, Err(SampleError::NotFinite { id: 1 }));
    }
    assert_eq!(
        sampler.sample(&[], 0, None),
        Err(SampleError::NoneAllowed { index: 0 })
    );
}

#[test]
fn parameters_outside_their_range_are_named() {
    let good = Params::default();
    let cases = [
        (
            Params {
                temperature: -0.1,
                ..good.clone()
            },
            "temperature",
        ),
        (
            Params {
                temperature: f32::NAN,
                ..good.clone()
            },
            "temperature",
        ),
        (
            Params {
                top_p: 1.01,
                ..good.clone()
            },
            "top_p",
        ),
        (
            Params {
                min_p: f32::INFINITY,
                ..good.clone()
            },
            "min_p",
        ),
        (
            Params {
                top_k: u32::MAX,
                ..good.clone()
            },
            "top_k",
        ),
        (
            Params {
                repetition_penalty: 0.0,
                ..good.clone()
            },
            "repetition_penalty",
        ),
        (
            Params {
                frequency_penalty: 2.1,
                ..good.clone()
            },
            "frequency_penalty",
        ),
        (
            Params {
                presence_penalty: -2.1,
                ..good.clone()
            },
            "presence_penalty",
        ),
        (
            Params {
                bias: vec![(1, -101.0)],
                ..good.clone()
            },
            "logit_bias",
        ),
        (
            Params {
                bias: vec![(1, 0.0); 1025],
                ..good.clone()
            },
            "logit_bias",
        ),
        (
            Params {
                logprobs: Some(21),
                ..good.clone()
            },
            "top_logprobs",
        ),
    ];
    assert_eq!(good.check(), Ok(()));
    for (params, field) in cases {
        assert_eq!(params.check().unwrap_err().field, field);
    }
}

/// Reports; the bound is generous because machines that run tests are shared.
#[test]
#[allow(clippy::disallowed_methods, reason = "the time is what is tested")]
fn a_draw_from_a_real_vocabulary_is_quick() {
    let logits = logits(49152, 3);
    for (name, params) in [
        ("default", Params::default()),
        (
            "top-p",
            Params {
                temperature: 0.7,
                top_p: 0.9,
                ..Params::default()
            },
        ),
        (
            "top-k",
            Params {
                temperature: 0.7,
                top_k: 40,
                top_p: 0.95,
                ..Params::default()
            },
        ),
        (
            "greedy",
            Params {
                temperature: 0.0,
                ..Params::default()
            },
        ),
    ] {
        let mut sampler = Sampler::new(params, 0, &[]);
        let mut times: Vec<u128> = (0..51)
            .map(|index| {
                let started = std::time::Instant::now();
                sampler.sample(&logits, index, None).unwrap();
                started.elapsed().as_micros()
            })
            .collect();
        times.sort_unstable();
        eprintln!("{name}: median {} us, worst {} us", times[25], times[50]);
        assert!(times[25] < 20_000);
    }
}
