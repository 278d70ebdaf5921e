//! Rule 9: random words, weights of candidates and their sum, and tokens drawn by seed, choice and index.

#![allow(dead_code, unreachable_pub, reason = "a module of test binaries")]

use troop_kernels::isa::Isa;
use troop_kernels::sample::{self, Params, Sampler};

use super::file::{Array, Case};
use super::values::Dice;

pub fn random_cases() -> Vec<Case> {
    let seeds = [0, 1, 0x0123_4567_89ab_cdef, u64::MAX];
    let at = |(choice, index): (u32, u64)| {
        let name = format!("choice {choice}, index {index}");
        Case::new(name)
            .with("seeds", &seeds)
            .with("choice", &[choice])
            .with("index", &[index])
    };
    [(0, 0), (0, 1), (1, 0), (3, 1 << 32), (u32::MAX, u64::MAX)]
        .map(at)
        .into()
}

pub fn random(_: Isa, case: &Case) -> Vec<Array> {
    let word = |seed: &u64| sample::first_word(*seed, case.one("choice"), case.one("index"));
    let words: Vec<u32> = case.all("seeds").iter().map(word).collect();
    vec![Array::of("first_words", &words)]
}

pub fn weight_cases() -> Vec<Case> {
    let mut dice = Dice(30);
    let grid: Vec<f32> = (0..100).map(|i| i as f32 * -0.897).collect();
    let edges = [
        0.0,
        -0.0,
        -1e-9,
        -0.346_573_6,
        -86.999_99,
        -87.0,
        -87.000_01,
        -1e30,
    ];
    let logits: Vec<f32> = dice.usual(530).iter().map(|x| x * 4.0).collect();
    let case = |name: &str, logits: &[f32], temperature: f32| {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) / temperature;
        let case = Case::new(name)
            .with("logits", logits)
            .with("temperature", &[temperature]);
        case.with("largest", &[largest])
    };
    vec![
        case("grid", &grid, 1.0),
        case("edges", &edges, 1.0),
        case("a small vocabulary, warm", &logits, 1.7),
        case("one logit, cold", &logits[..1], 0.1),
    ]
}

pub fn weight(_: Isa, case: &Case) -> Vec<Array> {
    let (logits, temperature): (Vec<f32>, f32) = (case.all("logits"), case.one("temperature"));
    let largest: f32 = case.one("largest");
    let weigh = |logit: &f32| sample::weight(logit / temperature - largest);
    let weights: Vec<f32> = logits.iter().take(128).map(weigh).collect();
    let mass = sample::mass(&logits, temperature, largest);
    vec![
        Array::of("weights_of_the_first", &weights),
        Array::of("mass", &[mass]),
    ]
}

pub fn draw_cases() -> Vec<Case> {
    let base = Params {
        seed: 0x0123_4567_89ab_cdef,
        logprobs: Some(3),
        ..Params::default()
    };
    let with = |change: &dyn Fn(&mut Params)| {
        let mut params = base.clone();
        change(&mut params);
        params
    };
    let table: Vec<(&str, Params)> = vec![
        ("as the model says", base.clone()),
        ("another seed", with(&|p| p.seed = 7)),
        ("temperature 0", with(&|p| p.temperature = 0.0)),
        ("top-k", with(&|p| (p.temperature, p.top_k) = (0.8, 5))),
        ("top-p", with(&|p| (p.temperature, p.top_p) = (0.7, 0.9))),
        ("top-p of 0", with(&|p| p.top_p = 0.0)),
        ("min-p", with(&|p| (p.temperature, p.min_p) = (1.5, 0.1))),
        (
            "all cuts",
            with(&|p| (p.top_k, p.top_p, p.min_p) = (20, 0.95, 0.02)),
        ),
        ("repetition", with(&|p| p.repetition_penalty = 1.3)),
        (
            "frequency and presence",
            with(&|p| (p.frequency_penalty, p.presence_penalty) = (0.5, 0.25)),
        ),
        (
            "bias",
            with(&|p| p.bias = vec![(7, 3.5), (11, -100.0), (60, 2.0)]),
        ),
        ("hot", with(&|p| p.temperature = 100.0)),
    ];
    let mut cases: Vec<Case> = table
        .into_iter()
        .map(|(name, params)| drawing(name, &params))
        .collect();
    let masked = drawing("a mask", &base).with("mask", &[0x0000_00f0u32, 1 << 31]);
    cases.push(masked);
    // Equal logits go by id, and zeros of both signs are equal.
    let mut ties = drawing("ties at temperature 0", &with(&|p| p.temperature = 0.0));
    let logits = [1.0f32, -0.0, 3.0, 0.0, 3.0, -0.0, 3.0, 1.0].repeat(8);
    ties.inputs[0] = Array::of("logits", &logits);
    cases.push(ties);
    cases
}

fn drawing(name: &str, params: &Params) -> Case {
    let mut dice = Dice(31);
    let logits: Vec<f32> = dice.usual(64).iter().map(|x| x * 2.0).collect();
    let (ids, biases): (Vec<u32>, Vec<f32>) = params.bias.iter().copied().unzip();
    Case::new(name)
        .with("logits", &logits)
        .with("temperature", &[params.temperature])
        .with("top_k", &[params.top_k])
        .with("top_p", &[params.top_p])
        .with("min_p", &[params.min_p])
        .with("repetition_penalty", &[params.repetition_penalty])
        .with("frequency_penalty", &[params.frequency_penalty])
        .with("presence_penalty", &[params.presence_penalty])
        .with("bias_ids", &ids)
        .with("biases", &biases)
        .with("seed", &[params.seed])
        .with("choice", &[1u32])
        .with("prompt", &[3u32, 5, 7, 63])
        .with("alternatives", &[u32::from(params.logprobs.unwrap_or(0))])
        .with("indices", &[0u64, 1, 2, 3, 4, 5, 6, 7, 4_096, 1 << 32])
}

/// Draws at each index by turns, and tells the sampler each token.
pub fn draw(_: Isa, case: &Case) -> Vec<Array> {
    let biases: Vec<f32> = case.all("biases");
    let params = Params {
        temperature: case.one("temperature"),
        top_k: case.one("top_k"),
        top_p: case.one("top_p"),
        min_p: case.one("min_p"),
        repetition_penalty: case.one("repetition_penalty"),
        frequency_penalty: case.one("frequency_penalty"),
        presence_penalty: case.one("presence_penalty"),
        bias: case
            .all::<u32>("bias_ids")
            .into_iter()
            .zip(biases)
            .collect(),
        seed: case.one("seed"),
        logprobs: Some(case.one::<u32>("alternatives") as u8),
    };
    let has_mask = case.inputs.iter().any(|array| array.name == "mask");
    let mask: Option<Vec<u32>> = has_mask.then(|| case.all("mask"));
    let mut sampler = Sampler::new(params, case.one("choice"), &case.all::<u32>("prompt"));
    let logits: Vec<f32> = case.all("logits");
    let (mut ids, mut logprobs, mut others, mut of_others) = (vec![], vec![], vec![], vec![]);
    for index in case.all::<u64>("indices") {
        let drawn = sampler
            .sample(&logits, index, mask.as_deref())
            .expect("a token");
        sampler.accept(drawn.id);
        ids.push(drawn.id);
        logprobs.extend(drawn.logprob);
        others = drawn.top.iter().map(|one| one.0).collect();
        of_others = drawn.top.iter().map(|one| one.1).collect();
    }
    vec![
        Array::of("ids", &ids),
        Array::of("log_probabilities", &logprobs),
        Array::of("likeliest", &others),
        Array::of("log_probabilities_of_likeliest", &of_others),
    ]
}
