//! Rule 7: keys and values rounded as they are stored, and attention over them.

#![allow(dead_code, unreachable_pub, reason = "a module of test binaries")]

use half::f16;
use troop_kernels::attention::{self, Cache, PAGE_TOKENS, PageKind, Query};
use troop_kernels::isa::Isa;

use super::file::{Array, Case};
use super::values::{Dice, EDGES};

pub fn store_cases() -> Vec<Case> {
    let mut dice = Dice(20);
    // f16 keeps what is below 65,520; above is an overflow, which fails the run.
    let edges: Vec<f32> = EDGES
        .iter()
        .copied()
        .filter(|x| x.abs() < 65_520.0)
        .take(16)
        .collect();
    let table = [
        ("edges", edges, dice.usual(16)),
        ("usual", dice.usual(16), dice.usual(16)),
        (
            "a key that overflows",
            [vec![65_520.0], vec![1.0; 15]].concat(),
            vec![1.0; 16],
        ),
        (
            "a value that overflows",
            vec![1.0; 16],
            [vec![1.0; 15], vec![-1e30]].concat(),
        ),
    ];
    let case = |(name, key, value): (&str, Vec<f32>, Vec<f32>)| {
        Case::new(name).with("key", &key).with("value", &value)
    };
    table.into_iter().map(case).collect()
}

/// The halves of a key and a value that were stored at a slot of a part of a page.
fn stored(part: &[u8], width: usize, slot: usize) -> [Vec<f16>; 2] {
    let half = |at: usize| f16::from_ne_bytes([part[2 * at], part[2 * at + 1]]);
    let key = |dimension: usize| half((slot / 16) * 16 * width + dimension * 16 + slot % 16);
    let value = |dimension: usize| half((PAGE_TOKENS + slot) * width + dimension);
    [
        (0..width).map(key).collect(),
        (0..width).map(value).collect(),
    ]
}

pub fn store(_: Isa, case: &Case) -> Vec<Array> {
    let (key, value): (Vec<f32>, Vec<f32>) = (case.all("key"), case.all("value"));
    let mut part = vec![0; PageKind::F16.part_bytes(16)];
    let finite = attention::store_alone(PageKind::F16, &mut part, 37, &key, &value);
    let [key, value] = stored(&part, 16, 37);
    vec![
        Array::of("finite", &[u8::from(finite)]),
        Array::of("key_stored", &key),
        Array::of("value_stored", &value),
    ]
}

pub fn attend_cases() -> Vec<Case> {
    let mut dice = Dice(21);
    let halves = |values: Vec<f32>| -> Vec<f16> { values.into_iter().map(f16::from_f32).collect() };
    let mut case = |name: &str, width: usize, seen: &[u32]| {
        let keys = seen.iter().max().map_or(0, |last| *last as usize);
        let scale = (1.0 / (width as f64).sqrt()) as f32;
        let case = Case::new(name)
            .with("head_width", &[width as u32])
            .with("scale", &[scale]);
        let (key, value) = (dice.usual(keys * width), dice.usual(keys * width));
        let case = case
            .with("keys", &halves(key))
            .with("values", &halves(value));
        // How many keys each query sees.
        case.with("seen", seen)
            .with("queries", &dice.usual(seen.len() * width))
    };
    let set = |mut case: Case, arrays: Vec<Array>| {
        for new in arrays {
            let old = case.inputs.iter_mut().find(|old| old.name == new.name);
            *old.expect("an input of that name") = new;
        }
        case
    };
    let mut cases = vec![
        case("1 key", 16, &[1]),
        case("chunks and their borders", 16, &[1, 63, 64, 65, 130]),
        case("48 wide", 48, &[15, 16, 17]),
        case("80 wide", 80, &[5, 2]),
        case("wider than a block of 256", 272, &[2]),
    ];
    let equal = case("equal scores", 16, &[21, 20]);
    cases.push(set(equal, vec![Array::of("queries", &[-0.0f32; 32])]));

    // Each key's score is its first element; each value has a place of its own, so weights are seen alone.
    let scores = [
        0.0, -0.0, -0.5, -1.0, -20.0, -50.0, -87.0, -87.25, -87.3125, -87.375, -88.0, -88.5,
        -100.0, -6e4,
    ];
    let one_hot = |at: usize, value: f32| {
        let mut row = [f16::ZERO; 16];
        row[at] = f16::from_f32(value);
        row
    };
    let keys: Vec<f16> = scores.iter().flat_map(|score| one_hot(0, *score)).collect();
    let values: Vec<f16> = (0..scores.len()).flat_map(|at| one_hot(at, 1.0)).collect();
    let query: Vec<f32> = [vec![4.0], vec![0.0; 15]].concat();
    let steep = case("scores as far apart as exp reaches", 16, &[14]);
    let arrays = vec![
        Array::of("keys", &keys),
        Array::of("values", &values),
        Array::of("queries", &query),
    ];
    cases.push(set(steep, arrays));
    let smallest: Vec<f16> = (0..20 * 16)
        .map(|i| f16::from_bits(if i % 2 == 0 { 1 } else { 0x8001 }))
        .collect();
    let tiny = case("the smallest values", 16, &[20]);
    cases.push(set(tiny, vec![Array::of("values", &smallest)]));
    let overflowing = case("a score beyond the largest", 16, &[5]);
    cases.push(set(overflowing, vec![Array::of("queries", &[3e38f32; 16])]));
    let seen = &[7, 64, 100, 130, 200];
    let windows = case("windows over the borders of chunks", 16, seen);
    cases.push(windows.with("first_seen", &[2u32, 63, 64, 80, 130]));
    cases
}

pub fn attend(isa: Isa, case: &Case) -> Vec<Array> {
    let width = case.count("head_width");
    let wide = |name: &str| -> Vec<f32> {
        let halves: Vec<f16> = case.all(name);
        halves.into_iter().map(f16::to_f32).collect()
    };
    let (keys, values) = (wide("keys"), wide("values"));
    let count = keys.len() / width;
    let part = vec![0; PageKind::F16.part_bytes(width)];
    let mut pages = vec![part; count.div_ceil(PAGE_TOKENS)];
    for (position, (key, value)) in keys
        .chunks_exact(width)
        .zip(values.chunks_exact(width))
        .enumerate()
    {
        let (page, slot) = (&mut pages[position / PAGE_TOKENS], position % PAGE_TOKENS);
        assert!(
            attention::store_alone(PageKind::F16, page, slot, key, value),
            "halves fit"
        );
    }
    let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
    let cache = Cache {
        kind: PageKind::F16,
        head_width: width,
        pages: &pages,
    };
    over(isa, case, cache, count)
}

/// The results of a case's queries over so many keys.
pub fn over(isa: Isa, case: &Case, cache: Cache<'_>, count: usize) -> Vec<Array> {
    let width = cache.head_width;
    let seen: Vec<u32> = case.all("seen");
    let q: Vec<f32> = case.all("queries");
    let firsts: Vec<u32> = match case.inputs.iter().any(|array| array.name == "first_seen") {
        true => case.all("first_seen"),
        false => vec![0; seen.len()],
    };
    let query = |(q, (first, end)): (_, (&u32, &u32))| Query {
        q,
        first: *first as usize,
        end: *end as usize,
    };
    let ranges = firsts.iter().zip(&seen);
    let queries: Vec<Query<'_>> = q.chunks_exact(width).zip(ranges).map(query).collect();
    let mut results = vec![0.0f32; q.len()];
    let mut out: Vec<&mut [f32]> = results.chunks_exact_mut(width).collect();
    let mut scratch = vec![0.0; attention::scratch_len(count)];
    let finite = attention::attend(
        isa,
        cache,
        case.one("scale"),
        &queries,
        &mut scratch,
        &mut out,
    );
    let finite_array = Array::of("finite", &[u8::from(finite)]);
    // After a score that is not finite the results are of no use, and not defined.
    match finite {
        true => vec![finite_array, Array::of("results", &results)],
        false => vec![finite_array],
    }
}
