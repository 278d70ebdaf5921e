//! Rule 7b: keys and values quantized as they are stored, attention over them, and whole models with such pages.

#![allow(dead_code, unreachable_pub, reason = "a module of test binaries")]

use troop_kernels::attention::{self, Cache, PAGE_TOKENS, PageKind};
use troop_kernels::isa::Isa;

use super::file::{Array, Case};
use super::values::{Dice, EDGES};
use super::whole;

pub fn store_cases() -> Vec<Case> {
    let mut dice = Dice(30);
    let limit = f32::from_bits((127 - 100) << 23);
    let with = |first: f32, rest: f32| [vec![first], vec![rest; 15]].concat();
    // The scale is 1, so that halves are rounded to even.
    let ties: Vec<f32> = (0..15).map(|at| at as f32 * 8.0 - 56.5).collect();
    let table = [
        ("edges", EDGES[..16].to_vec(), EDGES[8..].to_vec()),
        ("usual", dice.usual(16), dice.usual(16)),
        ("wide", dice.spread(16), dice.spread(16)),
        (
            "ties",
            [vec![127.0], ties.clone()].concat(),
            [ties, vec![-127.0]].concat(),
        ),
        ("zeros", vec![0.0; 16], vec![-0.0; 16]),
        (
            "the least that is not zero",
            with(limit, limit / 3.0),
            with(limit.next_down(), limit / 3.0),
        ),
        ("the largest", with(f32::MAX, 1e38), with(-f32::MAX, 1e30)),
        (
            "an infinite key",
            with(f32::NEG_INFINITY, 1.0),
            vec![1.0; 16],
        ),
        ("a value of NaN", vec![1.0; 16], with(f32::NAN, 1.0)),
    ];
    let case = |(name, key, value): (&str, Vec<f32>, Vec<f32>)| {
        Case::new(name).with("key", &key).with("value", &value)
    };
    table.into_iter().map(case).collect()
}

/// A key or a value as it is stored: whole numbers and their scale.
type Row = (Vec<i8>, f32);

/// Where the numbers of a slot's key begin in a part of 16 dimensions, where those of its value do, and where their
/// scales are: written out here once more, so that a layout that changes is noticed.
fn places(width: usize, slot: usize) -> [usize; 4] {
    let half = PAGE_TOKENS * (width + 4);
    let key = slot / 16 * 16 * width + slot % 16;
    let scale = PAGE_TOKENS * width + 4 * slot;
    [key, scale, half + slot * width, half + scale]
}

fn stored(part: &[u8], width: usize, slot: usize) -> [Row; 2] {
    let [key, key_scale, value, value_scale] = places(width, slot);
    let row = |first: usize, stride: usize, scale: usize| {
        let number = |dimension: usize| part[first + dimension * stride] as i8;
        let scale = [0, 1, 2, 3].map(|byte| part[scale + byte]);
        ((0..width).map(number).collect(), f32::from_ne_bytes(scale))
    };
    [row(key, 16, key_scale), row(value, 1, value_scale)]
}

fn put(part: &mut [u8], slot: usize, key: (&[i8], f32), value: (&[i8], f32)) {
    let places = places(key.0.len(), slot);
    let rows = [
        (key, places[0], 16, places[1]),
        (value, places[2], 1, places[3]),
    ];
    for ((numbers, factor), first, stride, scale) in rows {
        for (dimension, number) in numbers.iter().enumerate() {
            part[first + dimension * stride] = *number as u8;
        }
        part[scale..scale + 4].copy_from_slice(&factor.to_ne_bytes());
    }
}

pub fn store(_: Isa, case: &Case) -> Vec<Array> {
    let (key, value): (Vec<f32>, Vec<f32>) = (case.all("key"), case.all("value"));
    let mut part = vec![0x55; PageKind::Int8.part_bytes(16)];
    let finite = attention::store_alone(PageKind::Int8, &mut part, 37, &key, &value);
    let [key, value] = stored(&part, 16, 37);
    vec![
        Array::of("finite", &[u8::from(finite)]),
        Array::of("key_q", &key.0),
        Array::of("key_scale", &[key.1]),
        Array::of("value_q", &value.0),
        Array::of("value_scale", &[value.1]),
    ]
}

pub fn attend_cases() -> Vec<Case> {
    let mut dice = Dice(31);
    let mut case = |name: &str, width: usize, seen: &[u32]| {
        let keys = seen.iter().max().map_or(0, |last| *last as usize);
        let scale = (1.0 / (width as f64).sqrt()) as f32;
        let mut numbers = || -> Vec<i8> {
            let bytes = dice.bytes(keys * width).into_iter();
            bytes.map(|byte| (byte as i8).max(-127)).collect()
        };
        let (key, value) = (numbers(), numbers());
        let mut scales = || -> Vec<f32> {
            let usual = dice.usual(keys).into_iter();
            usual.map(|x| x.abs() / 127.0).collect()
        };
        let (key_scale, value_scale) = (scales(), scales());
        Case::new(name)
            .with("head_width", &[width as u32])
            .with("scale", &[scale])
            .with("keys", &key)
            .with("key_scales", &key_scale)
            .with("values", &value)
            .with("value_scales", &value_scale)
            .with("seen", seen)
            .with("queries", &dice.usual(seen.len() * width))
    };
    let set = |mut case: Case, new: Array| {
        let old = case.inputs.iter_mut().find(|old| old.name == new.name);
        *old.expect("an input of that name") = new;
        case
    };
    let mut cases = vec![
        case("1 key", 16, &[1]),
        case("chunks and their borders", 16, &[1, 63, 64, 65, 130]),
        case("48 wide", 48, &[15, 16, 17]),
        case("80 wide", 80, &[5, 2]),
        case("wider than a block of 256", 272, &[2]),
    ];
    let zeros = case("keys and values of zero beside others", 16, &[20, 19]);
    let some: Vec<f32> = (0..20).map(|key| (key % 3) as f32 / 254.0).collect();
    let zeros = set(zeros, Array::of("key_scales", &some));
    cases.push(set(zeros, Array::of("value_scales", &some)));
    let tiny = case("the smallest scales", 16, &[20]);
    let smallest = [f32::from_bits(1); 20];
    cases.push(set(tiny, Array::of("value_scales", &smallest)));
    let overflowing = case("a score beyond the largest", 16, &[5]);
    cases.push(set(overflowing, Array::of("key_scales", &[3e38f32; 5])));
    let seen = &[7, 64, 100, 130, 200];
    let windows = case("windows over the borders of chunks", 16, seen);
    cases.push(windows.with("first_seen", &[2u32, 63, 64, 80, 130]));
    cases
}

pub fn attend(isa: Isa, case: &Case) -> Vec<Array> {
    let width = case.count("head_width");
    let (keys, values): (Vec<i8>, Vec<i8>) = (case.all("keys"), case.all("values"));
    let (key_scales, value_scales): (Vec<f32>, Vec<f32>) =
        (case.all("key_scales"), case.all("value_scales"));
    let count = key_scales.len();
    let part = vec![0; PageKind::Int8.part_bytes(width)];
    let mut pages = vec![part; count.div_ceil(PAGE_TOKENS)];
    for position in 0..count {
        let numbers = position * width..(position + 1) * width;
        let key = (&keys[numbers.clone()], key_scales[position]);
        let value = (&values[numbers], value_scales[position]);
        put(
            &mut pages[position / PAGE_TOKENS],
            position % PAGE_TOKENS,
            key,
            value,
        );
    }
    let pages: Vec<&[u8]> = pages.iter().map(Vec::as_slice).collect();
    let cache = Cache {
        kind: PageKind::Int8,
        head_width: width,
        pages: &pages,
    };
    super::attend::over(isa, case, cache, count)
}

/// A model that sees everything, and one with windows, over pages of int8.
pub fn whole_cases() -> Vec<Case> {
    let all = whole::cases().into_iter();
    all.filter(|case| ["Q8_0 model", "gemma3 model"].contains(&case.name.as_str()))
        .collect()
}

pub fn whole(isa: Isa, case: &Case) -> Vec<Array> {
    whole::over(isa, case, PageKind::Int8)
}
