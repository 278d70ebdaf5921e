//! A model takes the memory that was predicted from its header: random placements, measured as the system
//! counts resident memory while each is loaded and its pages are filled.

#![cfg(target_os = "linux")]

#[path = "support/gguf_file.rs"]
mod gguf_file;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/vectors/values.rs"]
mod values;

use std::fs;
use std::sync::Arc;

use synthetic::Shape;
use synthetic::kinds::KINDS;
use troop_kernels::block;
use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{
    Evaluator, Model, Needs, PAGE_TOKENS, PageId, PageKind, Pages, Plan, Run, Want,
};
use values::Dice;

/// One of the values.
fn any<T: Copy>(dice: &mut Dice, values: &[T]) -> T {
    values[dice.roll() as usize % values.len()]
}

/// A model of the sizes that small real ones have, in some format and of some architecture.
fn model(seed: u64) -> (Shape, Vec<u8>) {
    let mut dice = Dice(seed);
    let shape = Shape {
        width: any(&mut dice, &[512, 768]),
        heads: any(&mut dice, &[8, 16]),
        kv_heads: any(&mut dice, &[1, 2, 4, 8]),
        head_width: any(&mut dice, &[32, 64]),
        feed: any(&mut dice, &[1_024, 1_536]),
        layers: any(&mut dice, &[3, 4]),
        vocabulary: any(&mut dice, &[2_000, 5_000]),
        context: 2_048,
    };
    let format = any(&mut dice, &block::SUPPORTED);
    let kind = any(&mut dice, &KINDS);
    (shape, kind.shaped(shape, format, seed).file())
}

/// How far the memory that a random placement of a model took is from what was predicted, as a part of it;
/// above 0 where it took more.
fn placement(shape: Shape, file: &[u8], dice: &mut Dice) -> f64 {
    let gguf = Gguf::parse(file).expect("the file is good");
    let plan = Plan {
        threads: any(dice, &[1, 2, 3]),
        tokens_max: any(dice, &[16, 64, 256]),
        context: any(dice, &[256, 700, 1_024, 2_048]),
        page_kind: any(dice, &PageKind::ALL),
    };
    let each = plan.context.div_ceil(PAGE_TOKENS);
    let count = any(dice, &[1, 2, 5]) * each;
    let needs = Needs::of(&gguf, Isa::detect(), plan).expect("it is supported");
    let facts = &needs.facts;
    let windows = if facts.window > 0 { count } else { 0 };
    let predicted = facts.weight_bytes
        + needs.workspace_bytes
        + count as u64 * (facts.page_bytes + facts.window_page_bytes)
        + facts.logits_bytes();

    // What the last placement left with the allocator would be taken again unseen.
    // SAFETY: the call only gives free memory back to the system.
    unsafe { libc::malloc_trim(0) };
    let before = resident("VmRSS");
    // The highest mark is set back to where it is now.
    fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own mark");
    let model = Model::load(&gguf, file, Isa::detect()).expect("it fits");
    let mut memory = Pages::new(facts, count, windows).expect("it fits");
    let mut evaluator =
        Evaluator::new(Arc::new(model), plan.threads, plan.tokens_max).expect("it fits");
    let pages: Vec<PageId> = (0..each as u32).map(PageId).collect();
    let mut step = |memory: &mut Pages, start: usize, end: usize, want: Want| {
        let tokens: Vec<u32> = (start..end)
            .map(|at| (at % shape.vocabulary) as u32)
            .collect();
        let pages = &pages[..end.div_ceil(PAGE_TOKENS)];
        let run = Run {
            tokens: &tokens,
            start: start as u32,
            pages,
            window_pages: if windows > 0 { pages } else { &[] },
            want,
        };
        let results = evaluator.step(memory, &[run]);
        assert!(results.iter().all(Result::is_ok), "{shape:?} {plan:?}");
    };
    // One page is computed and the others are its copies; then a step ends where the context does.
    for start in (0..PAGE_TOKENS).step_by(plan.tokens_max) {
        let end = PAGE_TOKENS.min(start + plan.tokens_max);
        step(&mut memory, start, end, Want::Nothing);
    }
    (1..count as u32).for_each(|page| memory.copy(PageId(0), PageId(page)));
    (1..windows as u32).for_each(|page| memory.copy_window(PageId(0), PageId(page)));
    let last = plan.context - plan.tokens_max.min(plan.context);
    step(&mut memory, last, plan.context, Want::Logits);
    let took = resident("VmHWM") - before;
    took as f64 / predicted as f64 - 1.0
}

/// Bytes of a line of the process's status.
fn resident(name: &str) -> u64 {
    let status =
        fs::read_to_string("/proc/self/status").expect("a process may read its own status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.expect("the line is there") * 1024
}

#[test]
fn what_a_placement_takes_is_what_was_predicted() {
    // SAFETY: both calls only change how this process gets memory from the system: no huge pages, which
    // round everything up, and nothing large is kept for later.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    let long = std::env::var("TROOP_LONG").is_ok_and(|long| long == "1");
    let (models, placements) = if long { (40, 25) } else { (6, 5) };
    let mut errors = Vec::new();
    for seed in 0..models {
        let (shape, file) = model(seed);
        let mut dice = Dice(!seed);
        errors.extend((0..placements).map(|_| placement(shape, &file, &mut dice)));
    }
    let count = errors.len();
    errors.sort_by(|one, other| one.abs().total_cmp(&other.abs()));
    let (p95, worst) = (errors[count * 95 / 100], errors[count - 1]);
    println!("{errors:.4?}\n{count} placements: 95 % within {p95:.4}, worst {worst:.4}");
    assert!(p95.abs() < 0.03, "{errors:.3?}");
}
