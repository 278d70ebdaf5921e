//! The same tokens give the same logits, bit for bit, however they are computed.
//!
//! One test is the whole product on the real model: every instruction set, one thread and two, alone and
//! among 16 strangers, prompts in chunks of 1, 7, 64 and 512. What is computed in single tokens or small
//! chunks is the end of the prompt, over pages that hold its beginning: a chunk's result depends on the
//! chunks before it only through their keys and values.

#[path = "support/steps.rs"]
mod steps;

use std::sync::{Arc, LazyLock};

use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, Model, PageId, Pages, Run, Want};

/// A model per instruction set of this machine, slowest first. The reference stands first.
static MODELS: LazyLock<Vec<Arc<Model>>> = LazyLock::new(|| {
    let file = steps::model();
    let gguf = Gguf::parse(&file).unwrap();
    let load = |isa| Arc::new(Model::load(&gguf, &file, isa).unwrap());
    Isa::available().into_iter().map(load).collect()
});

/// What is computed in every way.
struct Text {
    name: &'static str,
    prompt: usize,
    /// Tokens after the prompt, one by one.
    decoded: usize,
    /// Each length of a chunk, and where in the prompt the first of them begins; ascending.
    chunks: [(usize, usize); 4],
}

/// Chunks end inside pages and at their ends; the last chunk of each length is a shorter one.
const LONG: Text = Text {
    name: "513 tokens and 2",
    prompt: 513,
    decoded: 2,
    chunks: [(512, 0), (64, 384), (7, 498), (1, 505)],
};

/// For the reference, which takes a tenth of a second for each token of each batch. It crosses the end of a
/// page; eight tokens are fewer than 64 and 512, so those two lengths are one schedule here.
const SHORT: Text = Text {
    name: "68 tokens",
    prompt: 68,
    decoded: 0,
    chunks: [(512, 60), (64, 60), (7, 60), (1, 66)],
};

const STRANGERS: usize = 16;
/// Pages of the text in hand, of the beginnings to copy from, and one never written.
const PAGES: usize = 9;
const BLANK: PageId = PageId(2 * PAGES as u32);

/// One way to compute, with its own evaluator and pages.
struct Way {
    evaluator: Evaluator,
    pages: Pages,
    ids: Vec<u32>,
}

impl Way {
    fn new(model: &Arc<Model>, threads: usize) -> Self {
        let pages = Pages::new(model.facts(), 2 * PAGES + 1 + STRANGERS, 0).unwrap();
        let evaluator = Evaluator::new(Arc::clone(model), threads, 600).unwrap();
        let ids = steps::long_ids();
        Self {
            evaluator,
            pages,
            ids,
        }
    }

    /// The logits after the prompt and after each token decoded, for every schedule of the text.
    fn results(&mut self, text: &Text) -> Vec<(String, Vec<Vec<u32>>)> {
        let beginning: Vec<PageId> = (0..PAGES as u32).map(PageId).collect();
        let table: Vec<PageId> = beginning
            .iter()
            .rev()
            .map(|page| PageId(page.0 + PAGES as u32))
            .collect();
        beginning
            .iter()
            .for_each(|page| self.pages.copy(BLANK, *page));
        let mut held = 0;
        let mut results = Vec::new();
        for (index, (chunk, start)) in text.chunks.into_iter().enumerate() {
            if held < start {
                let run = Run {
                    tokens: &self.ids[held..start],
                    start: held as u32,
                    pages: &beginning,
                    window_pages: &[],
                    want: Want::Nothing,
                };
                assert_eq!(
                    self.evaluator.step(&mut self.pages, &[run]),
                    [Ok(Vec::new())]
                );
                held = start;
            }
            let whole = |(chunk, start): (usize, usize)| start + chunk >= text.prompt;
            if index > 0 && whole((chunk, start)) && whole(text.chunks[index - 1]) {
                continue;
            }
            for strangers in [0, STRANGERS] {
                // Where this schedule is to write, nothing of another one is left.
                for (from, to) in beginning.iter().zip(&table) {
                    self.pages.copy(*from, *to);
                }
                let name = format!("{}, {strangers} strangers, chunks of {chunk}", text.name);
                let logits = self.logits(text, &table, strangers, chunk, start);
                results.push((name, logits));
            }
        }
        results
    }

    fn logits(
        &mut self,
        text: &Text,
        table: &[PageId],
        strangers: usize,
        chunk: usize,
        mut start: usize,
    ) -> Vec<Vec<u32>> {
        let mut all = Vec::new();
        while start < text.prompt + text.decoded {
            let end = match start < text.prompt {
                true => (start + chunk).min(text.prompt),
                false => start + 1,
            };
            let mine = Run {
                tokens: &self.ids[start..end],
                start: start as u32,
                pages: table,
                window_pages: &[],
                want: match end >= text.prompt {
                    true => Want::Logits,
                    false => Want::Nothing,
                },
            };
            // Strangers stand before and after, with other tokens, pieces of other lengths and at other
            // positions; some want logits too.
            let others: Vec<(Vec<u32>, PageId)> = (0..strangers as u32)
                .map(|s| {
                    let count = if s % 4 == 0 { 3 } else { 1 };
                    let tokens = self.ids.iter().map(|id| (id * 31 + s) % 49_152);
                    (tokens.take(count).collect(), PageId(BLANK.0 + 1 + s))
                })
                .collect();
            let mut runs: Vec<Run<'_>> = others
                .iter()
                .enumerate()
                .map(|(s, (tokens, page))| Run {
                    tokens,
                    start: s as u32 * 3,
                    pages: std::slice::from_ref(page),
                    window_pages: &[],
                    want: match s % 8 {
                        0 => Want::Logits,
                        _ => Want::Nothing,
                    },
                })
                .collect();
            let place = runs.len().min(7);
            runs.insert(place, mine);
            let mut results = self.evaluator.step(&mut self.pages, &runs);
            assert!(results.iter().all(Result::is_ok));
            let logits = results.swap_remove(place).unwrap();
            if end >= text.prompt {
                all.push(bits(&logits));
            }
            start = end;
        }
        assert_eq!(all.len(), 1 + text.decoded);
        all
    }
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// All results of an instruction set with so many threads.
fn results(model: &Arc<Model>, threads: usize) -> Vec<(String, Vec<Vec<u32>>)> {
    let mut way = Way::new(model, threads);
    let mut all = way.results(&SHORT);
    if model.isa() != Isa::Reference {
        all.extend(way.results(&LONG));
    }
    let way = format!("{}, {threads} threads", model.isa().name());
    all.into_iter()
        .map(|(name, logits)| (format!("{way}: {name}"), logits))
        .collect()
}

#[test]
fn no_way_of_computing_changes_a_bit() {
    // Ways with one thread run side by side, those with two one after the other.
    let mut all = std::thread::scope(|scope| {
        let alone = |model| scope.spawn(move || results(model, 1));
        let threads: Vec<_> = MODELS.iter().map(alone).collect();
        let joined = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        joined.collect::<Vec<_>>()
    });
    all.extend(MODELS.iter().flat_map(|model| results(model, 2)));

    for text in [SHORT, LONG] {
        let mut of_text = all.iter().filter(|(name, _)| name.contains(text.name));
        let Some((first, expected)) = of_text.next() else {
            continue;
        };
        let mut count = 1;
        for (name, found) in of_text {
            assert!(found == expected, "{name} is not as {first}");
            count += 1;
        }
        println!("{}: {count} ways, the same bits", text.name);
    }
    let sets = MODELS.len();
    assert_eq!(all.len(), sets * 2 * 6 + (sets - 1) * 2 * 8);
}

#[test]
fn more_threads_than_cores_do_not_change_a_bit() {
    let model = MODELS.last().unwrap();
    let ids = &steps::long_ids()[..130];
    let logits = |threads: usize| {
        let mut evaluator = Evaluator::new(Arc::clone(model), threads, 130).unwrap();
        let mut pages = Pages::new(model.facts(), 3, 0).unwrap();
        let run = Run {
            tokens: ids,
            start: 0,
            pages: &[PageId(1), PageId(2), PageId(0)],
            window_pages: &[],
            want: Want::Logits,
        };
        let result = evaluator.step(&mut pages, &[run]).swap_remove(0);
        bits(&result.unwrap())
    };
    assert!(logits(5) == logits(1));
}

#[test]
fn a_copied_page_continues_as_the_original() {
    let model = MODELS.last().unwrap();
    let ids = &steps::long_ids()[..70];
    let mut evaluator = Evaluator::new(Arc::clone(model), 2, 512).unwrap();
    let mut pages = Pages::new(model.facts(), 3, 0).unwrap();
    let original = [PageId(0), PageId(1)];
    let run = Run {
        tokens: &ids[..66],
        start: 0,
        pages: &original,
        window_pages: &[],
        want: Want::Nothing,
    };
    assert_eq!(evaluator.step(&mut pages, &[run]), [Ok(Vec::new())]);
    pages.copy(PageId(1), PageId(2));

    let mut next = |table: &[PageId]| {
        let run = Run {
            tokens: &ids[66..],
            start: 66,
            pages: table,
            window_pages: &[],
            want: Want::Logits,
        };
        bits(&evaluator.step(&mut pages, &[run]).swap_remove(0).unwrap())
    };
    assert!(next(&original) == next(&[PageId(0), PageId(2)]));
}
