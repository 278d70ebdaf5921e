//! Rates of prefill and decode of one model, beside what the machine can do in the same run.
//!
//! ```text
//! cargo run --release -p troop-kernels --example bench -- [MODEL.gguf|-] [threads] [isa] [--json] [--int8]
//! ```
//!
//! The model defaults to `$TROOP_TEST_MODEL`. Every token of decode reads every weight, so the plain read of a
//! buffer as large as the weights is its ceiling; prefill is multiplications of small integers, so their rate from
//! registers is its own. `limits.rs` measures both. With `--int8` pages are of that kind; with `--json` there is one
//! object: `measures` by name, in tokens per second, and `limits`.

mod limits;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use limits::Limits;
use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{
    Evaluator, Facts, Model, PAGE_TOKENS, PageId, PageKind, Pages, Run, Want,
};

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, words): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|word| word.starts_with("--"));
    let json = flags.iter().any(|flag| flag == "--json");
    let kind = match flags.iter().any(|flag| flag == "--int8") {
        true => PageKind::Int8,
        false => PageKind::F16,
    };
    let path = words.first().filter(|path| *path != "-").cloned();
    let path = path.or_else(|| std::env::var("TROOP_TEST_MODEL").ok());
    let path = path.ok_or("name a model file, or set TROOP_TEST_MODEL")?;
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let threads: usize = words.get(1).map_or(Ok(cores), |text| text.parse())?;
    let isa = Isa::named(words.get(2).map(String::as_str))?;

    let start = now();
    let file = std::fs::read(&path)?;
    let read = start.elapsed();
    let gguf = Gguf::parse(&file)?;
    let start = now();
    let model = Arc::new(Model::load(&gguf, &file, isa)?);
    let load = start.elapsed();
    drop(gguf);
    drop(file);

    let mut bench = Bench::new(&model, threads, kind)?;
    let weights = bench.facts.weight_bytes as usize;
    let before = Limits::measure(weights, threads);
    let measures = bench.measures(isa)?;
    let after = Limits::measure(weights, threads);
    let words = bench.first_words(isa)?;

    if json {
        let rates = measures.iter().map(|measure| measure.json());
        let rates: Vec<String> = rates.collect();
        println!(
            "{{\"isa\":\"{}\",\"threads\":{threads},\"weight_bytes\":{weights},\"measures\":{{{}}},\"limits\":[{},{}]}}",
            isa.name(),
            rates.join(","),
            before.json(),
            after.json()
        );
        return Ok(());
    }
    println!(
        "{} on {threads} threads; read {read:.1?}, load {load:.1?}",
        isa.name()
    );
    measures.iter().for_each(Measure::print);
    println!("before: {before}\nafter:  {after}");
    println!("greedy after {FIRST_WORDS:?}: {words:?}");
    Ok(())
}

/// A rate, and what it read from memory to get there.
struct Measure {
    name: String,
    /// Tokens per second.
    rate: f64,
    /// Bytes that a token reads, where reading is what binds.
    bytes: Option<f64>,
}

impl Measure {
    fn print(&self) {
        let Measure { name, rate, bytes } = self;
        let read = bytes.map(|bytes| format!(", {:.1} GB/s", rate * bytes / 1e9));
        println!("{name}: {rate:.0} tok/s{}", read.unwrap_or_default());
    }

    fn json(&self) -> String {
        format!("\"{}\":{:.2}", self.name, self.rate)
    }
}

/// A model with room for everything that is measured.
struct Bench {
    facts: Facts,
    evaluator: Evaluator,
    pages: Pages,
    table: Vec<PageId>,
    prompt: Vec<u32>,
}

impl Bench {
    fn new(model: &Arc<Model>, threads: usize, kind: PageKind) -> Result<Bench, Box<dyn Error>> {
        let facts = model.facts().clone().with_pages(kind);
        let windows = if facts.window > 0 { PAGES } else { 0 };
        let vocabulary = facts.vocabulary as u32;
        Ok(Bench {
            evaluator: Evaluator::new(Arc::clone(model), threads, CHUNK)?,
            pages: Pages::new(&facts, PAGES, windows)?,
            table: (0..PAGES as u32).map(PageId).collect(),
            prompt: (0..DEPTH).map(|i| (i * 37 + 11) % vocabulary).collect(),
            facts,
        })
    }

    fn measures(&mut self, isa: Isa) -> Result<Vec<Measure>, Box<dyn Error>> {
        let slow = isa == Isa::Reference;
        let mut measures = Vec::new();
        // The first pass touches what is new, and is not counted.
        self.prefill(if slow { 8 } else { CHUNK })?;
        for tokens in if slow { vec![8] } else { vec![128, 512, 2048] } {
            let rate = self.prefill(tokens)?;
            measures.push(Measure {
                name: format!("prefill {tokens}"),
                rate,
                bytes: None,
            });
        }
        for depth in [0, 512, 2048] {
            let rate = self.decode(depth, if slow { 2 } else { 64 })?;
            let bytes = Some(self.bytes_at(depth));
            measures.push(Measure {
                name: format!("decode at {depth}"),
                rate,
                bytes,
            });
        }
        for batch in [1, 4, 8, 16] {
            let rate = self.batch(batch, if slow { 1 } else { 32 });
            measures.push(Measure {
                name: format!("batch {batch}"),
                rate,
                bytes: None,
            });
        }
        Ok(measures)
    }

    fn prefill(&mut self, tokens: usize) -> Result<f64, Box<dyn Error>> {
        let start = now();
        let mut at = 0;
        while at < tokens {
            let end = (at + CHUNK).min(tokens);
            let run = pass(&self.facts, &self.prompt[at..end], at as u32, &self.table);
            self.evaluator
                .step(&mut self.pages, &[run])
                .swap_remove(0)?;
            at = end;
        }
        Ok(rate(tokens, start.elapsed()))
    }

    fn decode(&mut self, depth: u32, count: u32) -> Result<f64, Box<dyn Error>> {
        let start = now();
        let mut token = [504];
        for step in 0..count {
            let run = pass(&self.facts, &token, depth + step, &self.table);
            let logits = self
                .evaluator
                .step(&mut self.pages, &[run])
                .swap_remove(0)?;
            token = [greedy(&logits)];
        }
        Ok(rate(count as usize, start.elapsed()))
    }

    /// Bytes that a token at this depth reads.
    fn bytes_at(&self, depth: u32) -> f64 {
        let seen = |tokens: u32, page_bytes: u64| {
            f64::from(tokens) / PAGE_TOKENS as f64 * page_bytes as f64
        };
        let facts = &self.facts;
        facts.weight_bytes as f64
            + seen(depth, facts.page_bytes)
            + seen(depth.min(facts.window as u32), facts.window_page_bytes)
    }

    fn batch(&mut self, batch: usize, count: u32) -> f64 {
        let start = now();
        for step in 0..count {
            let run = |b: usize| {
                let (tokens, pages) = (&self.prompt[b..b + 1], &self.table[b..b + 1]);
                pass(&self.facts, tokens, step, pages)
            };
            let runs: Vec<Run<'_>> = (0..batch).map(run).collect();
            self.evaluator.step(&mut self.pages, &runs);
        }
        rate(batch * count as usize, start.elapsed())
    }

    /// The first words are known: this catches a bench of wrong results.
    fn first_words(&mut self, isa: Isa) -> Result<Vec<u32>, Box<dyn Error>> {
        let run = pass(&self.facts, &FIRST_WORDS, 0, &self.table);
        let logits = self
            .evaluator
            .step(&mut self.pages, &[run])
            .swap_remove(0)?;
        let mut ids = vec![greedy(&logits)];
        while ids.len() < 12 && isa != Isa::Reference {
            let at = 4 + ids.len() as u32;
            let run = pass(&self.facts, &ids[ids.len() - 1..], at, &self.table);
            let logits = self
                .evaluator
                .step(&mut self.pages, &[run])
                .swap_remove(0)?;
            ids.push(greedy(&logits));
        }
        Ok(ids)
    }
}

/// A run that wants the logits of its last token. Layers with a window keep all of it here, in pages of their own
/// with the same numbers.
fn pass<'a>(facts: &Facts, tokens: &'a [u32], start: u32, pages: &'a [PageId]) -> Run<'a> {
    let end = start as usize + tokens.len();
    let window = if facts.window > 0 {
        end.div_ceil(PAGE_TOKENS)
    } else {
        0
    };
    Run {
        tokens,
        start,
        pages,
        window_pages: &pages[..window],
        want: Want::Logits,
    }
}

/// The first of the largest. In two passes that a compiler makes vectors of, because the other engine's bench draws
/// nothing: one pass over Gemma's 262,144 logits that keeps an index took a tenth of its step.
fn greedy(logits: &[f32]) -> u32 {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let first = logits.iter().position(|logit| *logit == largest);
    first.unwrap_or(0) as u32
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[allow(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

/// Tokens of a step, at most.
const CHUNK: usize = 512;
/// Tokens of the longest prompt.
const DEPTH: u32 = 2048;
/// Pages for it and for what is decoded after it.
const PAGES: usize = 64;
/// A story begins.
const FIRST_WORDS: [u32; 5] = [504, 3575, 282, 4649, 314];
