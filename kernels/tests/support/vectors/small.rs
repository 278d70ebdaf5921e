//! Rules 1 and 3 to 6: the quantizer, the float dot, the norm, rope, and exp with what is made of it.

#![allow(dead_code, unreachable_pub, reason = "a module of test binaries")]

use troop_kernels::gate::{Gate, gated};
use troop_kernels::isa::Isa;
use troop_kernels::quantize::{self, AMAX_MIN, ViewMut};
use troop_kernels::rope::{Pairing, Turning};
use troop_kernels::{dot, math, norm, rope};

use super::file::{Array, Case};
use super::values::{Dice, EDGES};

pub fn quantize_cases() -> Vec<Case> {
    let mut dice = Dice(1);
    let below = f32::from_bits(AMAX_MIN.to_bits() - 1);
    let halves: Vec<f32> = (0..31).map(|i| (i - 15) as f32 + 0.5).collect();
    let mut infinite = dice.usual(64);
    infinite[5] = f32::INFINITY;
    let mut undefined = dice.usual(64);
    undefined[63] = f32::from_bits(0x7fc0_0000);
    let mut small_beside_large = dice.usual(32);
    small_beside_large[..16].fill(1e-20);
    small_beside_large[7] = 65_504.0;
    let table: Vec<(&str, Vec<f32>)> = vec![
        ("zeros", vec![0.0; 32]),
        ("zeros with a sign", vec![-0.0; 32]),
        ("subnormals", vec![f32::from_bits(77); 32]),
        (
            "just below and just at the smallest that counts",
            [vec![below; 16], vec![-AMAX_MIN; 16]].concat(),
        ),
        ("all equal", [vec![3.7; 16], vec![-1e-3; 16]].concat()),
        ("ties go to even", [vec![127.0], halves].concat()),
        (
            "the largest numbers",
            [vec![f32::MAX; 8], vec![1e38; 8], vec![f32::MIN; 16]].concat(),
        ),
        ("every edge", [EDGES.as_slice(), &EDGES[..8]].concat()),
        ("small beside large", small_beside_large),
        ("usual", dice.usual(160)),
        ("spread", dice.spread(96)),
        ("infinity zeroes its group and is told", infinite),
        ("NaN zeroes its group and is told", undefined),
    ];
    table
        .into_iter()
        .map(|(name, x)| Case::new(name).with("x", &x))
        .collect()
}

pub fn quantize(isa: Isa, case: &Case) -> Vec<Array> {
    let x: Vec<f32> = case.all("x");
    let (groups, blocks) = (x.len() / quantize::GROUP, x.len() / 32);
    let (mut q, mut scale) = (vec![1i8; x.len()], vec![1.0f32; groups]);
    let (mut sum, mut mass) = (vec![1i32; groups], vec![1.0f32; blocks]);
    let out = ViewMut {
        q: &mut q,
        scale: &mut scale,
        sum: &mut sum,
        mass: &mut mass,
    };
    let finite = quantize::quantize(isa, &x, out);
    vec![
        Array::of("finite", &[u8::from(finite)]),
        Array::of("q", &q),
        Array::of("scale", &scale),
        Array::of("sum", &sum),
        Array::of("mass", &mass),
    ]
}

pub fn dot_cases() -> Vec<Case> {
    let mut dice = Dice(2);
    let mut cases: Vec<Case> = [0, 1, 15, 16, 17, 33, 255, 257, 300]
        .into_iter()
        .map(|length| {
            let (a, b) = (dice.usual(length), dice.usual(length));
            Case::new(format!("{length} elements"))
                .with("a", &a)
                .with("b", &b)
        })
        .collect();
    let (a, b) = (dice.spread(90), dice.spread(90));
    cases.push(
        Case::new("magnitudes far apart")
            .with("a", &a)
            .with("b", &b),
    );
    let cancelling: Vec<f32> = (0..48).map(|i| [1e20f32, 1.0, -1e20][i % 3]).collect();
    cases.push(
        Case::new("what cancels")
            .with("a", &cancelling)
            .with("b", &[1.0f32; 48]),
    );
    let table: [(&str, f32, f32, usize); 5] = [
        ("zeros with a sign", -0.0, 1.0, 20),
        ("products that vanish", -1e-30, 1e-30, 20),
        ("subnormal products", 1e-30, 1e-12, 33),
        ("products beyond the largest", 1e30, -1e30, 3),
        ("a sum beyond the largest", 3e38, 1.0, 40),
    ];
    cases.extend(table.map(|(name, a, b, length)| {
        Case::new(name)
            .with("a", &vec![a; length])
            .with("b", &vec![b; length])
    }));
    cases
}

pub fn dot(isa: Isa, case: &Case) -> Vec<Array> {
    vec![Array::of(
        "sum",
        &[dot::dot(isa, &case.all::<f32>("a"), &case.all::<f32>("b"))],
    )]
}

pub fn norm_cases() -> Vec<Case> {
    let mut dice = Dice(3);
    let mut case = |name: &str, x: Vec<f32>, epsilon: f32| {
        let weight = dice.usual(x.len());
        Case::new(name)
            .with("x", &x)
            .with("weight", &weight)
            .with("epsilon", &[epsilon])
    };
    let mut dice = Dice(4);
    vec![
        case("1 element", dice.usual(1), 1e-5),
        case("16 elements", dice.usual(16), 1e-6),
        case("37 elements", dice.usual(37), 1e-5),
        case("257 elements", dice.usual(257), 1e-5),
        case("zeros of both signs", [[0.0; 9], [-0.0; 9]].concat(), 1e-5),
        case("subnormals", vec![f32::from_bits(9_999); 20], 1e-5),
        case("magnitudes far apart", dice.spread(40), 1e-5),
        case("a sum of squares beyond the largest", vec![1e20; 17], 1e-5),
    ]
}

pub fn norm(isa: Isa, case: &Case) -> Vec<Array> {
    let x: Vec<f32> = case.all("x");
    let mut y = vec![0.0f32; x.len()];
    let finite = norm::rms(
        isa,
        &x,
        &case.all::<f32>("weight"),
        case.one("epsilon"),
        &mut y,
    );
    vec![Array::of("finite", &[u8::from(finite)]), Array::of("y", &y)]
}

pub fn rope_cases() -> Vec<Case> {
    let mut dice = Dice(5);
    let mut case = |name: &str, width: usize, base: f32, positions: &[u32]| {
        // Two heads at each position.
        let heads = dice.usual(positions.len() * 2 * width);
        let head_width = [width as u32];
        let case = Case::new(name)
            .with("head_width", &head_width)
            .with("base", &[base]);
        case.with("positions", positions).with("heads", &heads)
    };
    let factors: Vec<f32> = (0..16).map(|pair| 1.0 + pair as f32 * 0.5).collect();
    vec![
        case("16 wide", 16, 10_000.0, &[0, 1, 2, 63, 64, 2_047, 100_000]),
        case("24 wide", 24, 10_000.0, &[1, 65]),
        case("64 wide, another base", 64, 100_000.0, &[7, 8_191]),
        case("32 wide, with divisors", 32, 500_000.0, &[3, 4_095]).with("factors", &factors),
        case("2 wide", 2, 10_000.0, &[5]),
        case("zeros of both signs", 16, 10_000.0, &[9]),
        case("halves", 32, 1_000_000.0, &[0, 1, 63, 32_767]).with("halves", &[1u8]),
        case(
            "halves of a part, divided, slowed and longer",
            96,
            10_000.0,
            &[2, 70],
        )
        .with("halves", &[1u8])
        .with("turned_width", &[32u32])
        .with("factors", &factors)
        .with("slowing", &[8.0f32])
        .with("lengthening", &[1.19f32]),
    ]
    .into_iter()
    .map(|mut case| {
        if case.name.starts_with("zeros") {
            let heads: Vec<f32> = (0..32)
                .map(|i| if i % 3 == 0 { -0.0 } else { 0.0 })
                .collect();
            case.inputs[3] = Array::of("heads", &heads);
        }
        case
    })
    .collect()
}

pub fn rope(isa: Isa, case: &Case) -> Vec<Array> {
    let width = case.count("head_width");
    let has_factors = case.inputs.iter().any(|array| array.name == "factors");
    let factors: Option<Vec<f32>> = has_factors.then(|| case.all("factors"));
    let has = |name: &str| case.inputs.iter().any(|array| array.name == name);
    let pairing = match has("halves") {
        true => Pairing::Halves,
        false => Pairing::Neighbours,
    };
    let turned = if has("turned_width") {
        case.count("turned_width")
    } else {
        width
    };
    let mut turning = Turning::plain(pairing, turned, case.one("base"));
    if has("slowing") {
        turning.slowing = case.one("slowing");
        turning.lengthening = case.one("lengthening");
    }
    let mut table = rope::Table::new(turning, factors.as_deref());
    let positions: Vec<u32> = case.all("positions");
    table.reach(positions.iter().max().map_or(0, |last| *last as usize + 1));
    let mut heads: Vec<f32> = case.all("heads");
    let mut turns: Vec<f32> = Vec::new();
    for (position, heads) in positions.iter().zip(heads.chunks_exact_mut(2 * width)) {
        let at = table.at(*position as usize);
        turns.extend(at.as_flattened());
        rope::turn(isa, pairing, heads, width, at);
    }
    vec![
        Array::of("cosines_and_sines", &turns),
        Array::of("turned", &heads),
    ]
}

pub fn math_cases() -> Vec<Case> {
    let around = |x: f32| [x.next_down(), x, x.next_up()];
    let bounds = [math::EXP_MAX, math::EXP_MIN, 88.0, -87.0, 0.5, -0.5]
        .map(around)
        .concat();
    // Where the range reduction steps from one power of two to the next.
    let steps: Vec<f32> = (-20..20)
        .flat_map(|n| around((n as f32 + 0.5) * std::f32::consts::LN_2))
        .collect();
    let grid: Vec<f32> = (-60..=60).map(|i| i as f32 * 1.47).collect();
    let infinities = [f32::INFINITY, f32::NEG_INFINITY];
    let table: [(&str, &[f32]); 4] = [
        ("edges", &EDGES),
        ("bounds", &bounds),
        ("steps", &steps),
        ("grid", &grid),
    ];
    let cases = table.map(|(name, x)| Case::new(name).with("x", x));
    cases
        .into_iter()
        .chain([
            Case::new("infinities, of exp alone").with("x", &infinities),
            Case::new("GELU at the edges")
                .with("x", &EDGES)
                .with("gelu", &[1u8]),
            Case::new("GELU on a grid")
                .with("x", &grid)
                .with("gelu", &[1u8]),
        ])
        .collect()
}

pub fn math(_: Isa, case: &Case) -> Vec<Array> {
    let x: Vec<f32> = case.all("x");
    let each = |function: fn(f32) -> f32| -> Vec<f32> { x.iter().map(|x| function(*x)).collect() };
    if case.inputs.iter().any(|array| array.name == "gelu") {
        let third = each(|x| gated(Gate::Gelu, x, 1.0 / 3.0));
        return vec![
            Array::of("gelu", &each(math::gelu)),
            Array::of("gated_with_a_third", &third),
        ];
    }
    let mut outputs = vec![Array::of("exp", &each(math::exp))];
    if x.iter().all(|x| x.is_finite()) {
        outputs.push(Array::of("tanh", &each(math::tanh)));
        outputs.push(Array::of("sigmoid", &each(math::sigmoid)));
        outputs.push(Array::of("silu", &each(math::silu)));
        outputs.push(Array::of(
            "gated_with_a_third",
            &each(|x| gated(Gate::Silu, x, 1.0 / 3.0)),
        ));
    }
    outputs
}
