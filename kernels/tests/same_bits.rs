//! The same tokens give the same logits, bit for bit, however they are computed.
//!
//! Two tests are the whole product on the real models: every instruction set, one thread and two, alone and
//! among 16 strangers, prompts in chunks of 1, 7, 64 and 512. What is computed in single tokens or small
//! chunks is the end of the prompt, over pages that hold its beginning: a chunk's result depends on the
//! chunks before it only through their keys and values. Gemma's text is longer than its window, and pages
//! that have left the window are wiped. A third, smaller, is of SmolLM2 over pages of int8: other bits, and theirs
//! alone.

#[path = "support/steps.rs"]
mod steps;

use std::sync::{Arc, LazyLock};

use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{
    Evaluator, Facts, Model, PAGE_TOKENS, PageId, PageKind, Pages, Run, Want,
};

/// A real model and what it is given.
struct Subject {
    /// One per instruction set of this machine, slowest first. The reference stands first.
    models: Vec<Arc<Model>>,
    page_kind: PageKind,
    ids: Vec<u32>,
    by_reference: Vec<Text>,
    by_others: Vec<Text>,
    /// Schedules of those texts, alone and among strangers.
    ways_of_reference: usize,
    ways_of_others: usize,
    strangers: usize,
}

static SMOLLM: LazyLock<Subject> = LazyLock::new(|| Subject {
    models: load(&steps::model()),
    page_kind: PageKind::F16,
    ids: steps::long_ids(),
    by_reference: vec![SHORT],
    by_others: vec![SHORT, LONG],
    ways_of_reference: 6,
    ways_of_others: 14,
    strangers: STRANGERS,
});

static SMOLLM_INT8: LazyLock<Subject> = LazyLock::new(|| Subject {
    models: SMOLLM.models.clone(),
    page_kind: PageKind::Int8,
    ids: steps::long_ids(),
    by_reference: vec![SHORT],
    by_others: vec![SHORT],
    ways_of_reference: 6,
    ways_of_others: 6,
    strangers: 3,
});

static GEMMA: LazyLock<Subject> = LazyLock::new(|| Subject {
    models: load(&steps::gemma()),
    page_kind: PageKind::F16,
    ids: steps::gemma_long_ids(),
    by_reference: vec![PAST_WINDOW_END],
    by_others: vec![match steps::is_long() {
        true => PAST_WINDOW,
        false => PAST_WINDOW_LATE,
    }],
    ways_of_reference: 6,
    ways_of_others: 8,
    strangers: if steps::is_long() { STRANGERS } else { 3 },
});

fn load(file: &[u8]) -> Vec<Arc<Model>> {
    let gguf = Gguf::parse(file).unwrap();
    let load = |isa| Arc::new(Model::load(&gguf, file, isa).unwrap());
    Isa::available().into_iter().map(load).collect()
}

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

/// At its end a window of 512 has left the first two pages behind.
const PAST_WINDOW: Text = Text {
    name: "650 tokens and 2",
    prompt: 650,
    decoded: 2,
    chunks: [(512, 0), (64, 512), (7, 633), (1, 641)],
};

/// The same with most of the text as a beginning that is computed once.
const PAST_WINDOW_LATE: Text = Text {
    chunks: [(512, 500), (64, 512), (7, 633), (1, 641)],
    ..PAST_WINDOW
};

/// The same for the reference, over a beginning that the fastest instruction set computes.
const PAST_WINDOW_END: Text = Text {
    chunks: [(512, 642), (64, 642), (7, 642), (1, 648)],
    ..PAST_WINDOW
};

const STRANGERS: usize = 16;
/// Pages of the text in hand, of the beginnings to copy from, and one never written.
const PAGES: usize = 11;
const BLANK: PageId = PageId(2 * PAGES as u32);

/// Room for both and for a page of each stranger.
fn pages(subject: &Subject, facts: &Facts) -> Pages {
    let count = 2 * PAGES + 1 + STRANGERS;
    let windowed = if facts.window > 0 { count } else { 0 };
    let facts = facts.clone().with_pages(subject.page_kind);
    Pages::new(&facts, count, windowed).unwrap()
}

/// The part of a table that layers with a window need for positions `start` to `end`, and what left the window.
fn tail<'a>(
    facts: &Facts,
    table: &'a [PageId],
    start: usize,
    end: usize,
) -> (&'a [PageId], &'a [PageId]) {
    if facts.window == 0 {
        return (&[], &[]);
    }
    let first = (start + 1).saturating_sub(facts.window) / PAGE_TOKENS;
    (&table[first..end.div_ceil(PAGE_TOKENS)], &table[..first])
}

fn copy(pages: &mut Pages, from: PageId, to: PageId) {
    pages.copy(from, to);
    if pages.window_count() > 0 {
        pages.copy_window(from, to);
    }
}

/// One way to compute, with its own evaluator and pages.
struct Way<'a> {
    evaluator: Evaluator,
    /// Computes the beginning of a text in the evaluator's place.
    beginner: Option<Evaluator>,
    pages: Pages,
    ids: &'a [u32],
    strangers: usize,
}

impl<'a> Way<'a> {
    fn new(subject: &'a Subject, model: &Arc<Model>, threads: usize) -> Self {
        let evaluator = |model| Evaluator::new(Arc::clone(model), threads, 650).unwrap();
        let slow = model.isa() == Isa::Reference && model.facts().window > 0;
        let beginner = subject.models.last().filter(|_| slow).map(evaluator);
        Self {
            evaluator: evaluator(model),
            beginner,
            pages: pages(subject, model.facts()),
            ids: &subject.ids,
            strangers: subject.strangers,
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
            .for_each(|page| copy(&mut self.pages, BLANK, *page));
        let mut held = 0;
        let mut results = Vec::new();
        for (index, (chunk, start)) in text.chunks.into_iter().enumerate() {
            if held < start {
                self.begin(&beginning, held, start);
                held = start;
            }
            let whole = |(chunk, start): (usize, usize)| start + chunk >= text.prompt;
            if index > 0 && whole((chunk, start)) && whole(text.chunks[index - 1]) {
                continue;
            }
            for strangers in [0, self.strangers] {
                // Where this schedule is to write, nothing of another one is left.
                for (from, to) in beginning.iter().zip(&table) {
                    copy(&mut self.pages, *from, *to);
                }
                let name = format!("{}, {strangers} strangers, chunks of {chunk}", text.name);
                let logits = self.logits(text, &table, strangers, chunk, start);
                results.push((name, logits));
            }
        }
        results
    }

    /// Fills pages with positions `start` to `end`.
    fn begin(&mut self, table: &[PageId], start: usize, end: usize) {
        let facts = self.evaluator.model().facts();
        let run = Run {
            tokens: &self.ids[start..end],
            start: start as u32,
            pages: table,
            window_pages: tail(facts, table, start, end).0,
            want: Want::Nothing,
        };
        let evaluator = self.beginner.as_mut().unwrap_or(&mut self.evaluator);
        assert_eq!(evaluator.step(&mut self.pages, &[run]), [Ok(Vec::new())]);
    }

    fn logits(
        &mut self,
        text: &Text,
        table: &[PageId],
        strangers: usize,
        chunk: usize,
        mut start: usize,
    ) -> Vec<Vec<u32>> {
        let facts = self.evaluator.model().facts().clone();
        let mut all = Vec::new();
        while start < text.prompt + text.decoded {
            let end = match start < text.prompt {
                true => (start + chunk).min(text.prompt),
                false => start + 1,
            };
            let (window_pages, left) = tail(&facts, table, start, end);
            left.iter()
                .for_each(|page| self.pages.copy_window(BLANK, *page));
            let mine = Run {
                tokens: &self.ids[start..end],
                start: start as u32,
                pages: table,
                window_pages,
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
                    let tokens = self
                        .ids
                        .iter()
                        .map(|id| (id * 31 + s) % facts.vocabulary as u32);
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
                    window_pages: tail(&facts, std::slice::from_ref(page), 0, 1).0,
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
fn results(subject: &Subject, model: &Arc<Model>, threads: usize) -> Vec<(String, Vec<Vec<u32>>)> {
    let mut way = Way::new(subject, model, threads);
    let texts = match model.isa() {
        Isa::Reference => &subject.by_reference,
        _ => &subject.by_others,
    };
    let all: Vec<_> = texts.iter().flat_map(|text| way.results(text)).collect();
    let way = format!("{}, {threads} threads", model.isa().name());
    all.into_iter()
        .map(|(name, logits)| (format!("{way}: {name}"), logits))
        .collect()
}

fn compare_all_ways(subject: &Subject) {
    let models = &subject.models;
    // Ways with one thread run side by side, those with two one after the other.
    let mut all = std::thread::scope(|scope| {
        let alone = |model| scope.spawn(move || results(subject, model, 1));
        let threads: Vec<_> = models.iter().map(alone).collect();
        let joined = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        joined.collect::<Vec<_>>()
    });
    all.extend(models.iter().flat_map(|model| results(subject, model, 2)));

    for text in &subject.by_others {
        let mut of_text = all.iter().filter(|(name, _)| name.contains(text.name));
        let (first, expected) = of_text.next().unwrap();
        let mut count = 1;
        for (name, found) in of_text {
            assert!(found == expected, "{name} is not as {first}");
            count += 1;
        }
        println!("{}: {count} ways, the same bits", text.name);
    }
    let sets = models.len();
    let ways = subject.ways_of_reference + (sets - 1) * subject.ways_of_others;
    assert_eq!(all.len(), 2 * ways);
}

#[test]
fn no_way_of_computing_changes_a_bit() {
    compare_all_ways(&SMOLLM);
}

#[test]
fn no_way_of_computing_changes_a_bit_over_pages_of_int8() {
    compare_all_ways(&SMOLLM_INT8);
}

#[test]
fn no_way_of_computing_changes_a_bit_when_pages_leave_the_window() {
    compare_all_ways(&GEMMA);
}

#[test]
fn more_threads_than_cores_do_not_change_a_bit() {
    let model = SMOLLM.models.last().unwrap();
    let ids = &SMOLLM.ids[..130];
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

/// Of a sequence of so many tokens the last page is copied; then both go on, in two ways.
fn continue_a_copied_page(subject: &Subject, count: usize) {
    let model = subject.models.last().unwrap();
    let facts = model.facts();
    let mut evaluator = Evaluator::new(Arc::clone(model), 2, 650).unwrap();
    let mut pages = pages(subject, facts);
    let original: Vec<PageId> = (0..=count as u32 / 64).map(PageId).collect();
    let mut copied = original.clone();
    let last = copied.len() - 1;
    copied[last] = PageId(original.len() as u32);
    let mut step = |pages: &mut Pages, table: &[PageId], tokens: &[u32], start: usize| {
        let run = Run {
            tokens,
            start: start as u32,
            pages: table,
            window_pages: tail(facts, table, start, start + tokens.len()).0,
            want: Want::Logits,
        };
        bits(&evaluator.step(pages, &[run]).swap_remove(0).unwrap())
    };
    step(&mut pages, &original, &subject.ids[..count], 0);
    copy(&mut pages, original[last], copied[last]);

    let one = &subject.ids[count..count + 4];
    let another: Vec<u32> = one.iter().rev().copied().collect();
    let of_one = step(&mut pages, &original, one, count);
    let of_another = step(&mut pages, &copied, &another, count);
    assert!(of_one != of_another);
    // Each holds its own now; a fifth token sees them.
    let fifth = &subject.ids[count + 4..count + 5];
    let after_one = step(&mut pages, &original, fifth, count + 4);
    let after_another = step(&mut pages, &copied, fifth, count + 4);
    assert!(step(&mut pages, &original, &another, count) == of_another);
    assert!(step(&mut pages, &copied, one, count) == of_one);
    assert!(step(&mut pages, &original, fifth, count + 4) == after_another);
    assert!(step(&mut pages, &copied, fifth, count + 4) == after_one);
}

#[test]
fn a_copied_page_continues_as_the_original() {
    continue_a_copied_page(&SMOLLM, 66);
}

#[test]
fn a_copied_page_of_int8_continues_as_the_original() {
    continue_a_copied_page(&SMOLLM_INT8, 66);
}

#[test]
fn a_copied_page_continues_as_the_original_when_pages_leave_the_window() {
    continue_a_copied_page(&GEMMA, 642);
}
