//! Each operation alone, beside the machine's limits: which of them is worth another hour.
//!
//! ```text
//! cargo run --release -p troop-kernels --example bench_kernels -- [FILTER] [threads] [isa] [--json]
//! ```
//!
//! Every thread works on data of its own at the same time as the others; a figure is the best of some rounds,
//! of all threads together. What is bound by memory is said in GB/s of what it has to read, and works on more than
//! the caches hold; what is bound by arithmetic in 10^9 operations a second, a multiplication and an addition
//! being two.

#[path = "../bench/limits.rs"]
mod limits;

use std::error::Error;
use std::sync::Barrier;
use std::time::Instant;

use limits::Limits;
use troop_kernels::attention::{self, Cache, PAGE_TOKENS, PageKind, Query};
use troop_kernels::block::SUPPORTED;
use troop_kernels::gguf::Format;
use troop_kernels::isa::Isa;
use troop_kernels::matmul::{Matrix, Rows, Source};
use troop_kernels::norm;
use troop_kernels::quantize::{self, GROUP, Quantized, ViewMut};
use troop_kernels::rope::{self, Pairing, Turning};

fn main() -> Result<(), Box<dyn Error>> {
    let (flags, words): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|word| word.starts_with("--"));
    let json = flags.iter().any(|flag| flag == "--json");
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let threads: usize = words.get(1).map_or(Ok(cores), |text| text.parse())?;
    let isa = Isa::named(words.get(2).map(String::as_str))?;
    let bench = Bench {
        filter: words.first().cloned().unwrap_or_default(),
        isa,
        threads: threads.max(1),
        json,
    };
    bench.limits();
    for format in SUPPORTED {
        bench.matmuls(format);
    }
    PageKind::ALL.iter().for_each(|kind| bench.attention(*kind));
    bench.small();
    bench.limits();
    Ok(())
}

struct Bench {
    filter: String,
    isa: Isa,
    threads: usize,
    json: bool,
}

/// What one call reads and computes.
#[derive(Clone, Copy)]
struct Work {
    bytes: f64,
    operations: f64,
}

impl Bench {
    /// Times `make()`'s function on every thread at once, and says how fast it was.
    fn measure<F: FnMut()>(&self, name: &str, work: Work, make: impl Fn() -> F + Sync) {
        if !name.contains(&self.filter) {
            return;
        }
        let barrier = Barrier::new(self.threads);
        let run = || {
            let mut function = make();
            function();
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                barrier.wait();
                let start = now();
                function();
                barrier.wait();
                times.push(start.elapsed().as_secs_f64());
            }
            times.into_iter().fold(f64::MAX, f64::min)
        };
        let best = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(run)).collect();
            let times = threads.into_iter().map(|thread| thread.join());
            times
                .map(|time| time.unwrap_or(f64::MAX))
                .fold(0.0, f64::max)
        });
        let all = self.threads as f64 / best / 1e9;
        let (read, computed) = (work.bytes * all, work.operations * all);
        match self.json {
            true => println!("{{\"name\":\"{name}\",\"gb_s\":{read:.2},\"gop_s\":{computed:.2}}}"),
            false => println!(
                "{name:32} {:9.1} us {read:8.1} GB/s {computed:9.1} Gop/s",
                best * 1e6
            ),
        }
    }

    fn limits(&self) {
        let (isa, threads) = (self.isa.name(), self.threads);
        let limits = Limits::measure(LARGE, threads);
        match self.json {
            true => println!("{}", limits.json()),
            false => println!("{isa} on {threads} threads: {limits}"),
        }
    }

    /// A matrix too large for the caches times a few rows, and a small one times many.
    fn matmuls(&self, format: Format) {
        let shapes = [(1, LARGE), (4, LARGE), (8, LARGE), (64, SMALL)];
        for (tokens, bytes) in shapes {
            let name = format!("matmul {} x {tokens}", format.name());
            let row_bytes = format.row_bytes(COLUMNS).expect("whole blocks");
            let rows = (bytes / row_bytes).next_multiple_of(32);
            let work = Work {
                bytes: (rows * row_bytes) as f64,
                operations: (2 * rows * COLUMNS * tokens) as f64,
            };
            self.measure(&name, work, || {
                // Numbers of every kind stay finite with such bytes.
                let bytes: Vec<u8> = (0..rows * row_bytes).map(|i| (i * 7 % 120) as u8).collect();
                let source = Source {
                    name: "weights",
                    format,
                    rows,
                    columns: COLUMNS,
                    bytes: &bytes,
                };
                let matrix = Matrix::new(self.isa, Rows::Joined, &[source]).expect("it fits");
                let x = numbers(tokens * COLUMNS);
                let quantized = Quantized::new(self.isa, COLUMNS, &x).expect("finite numbers");
                let mut out = vec![0.0; tokens * matrix.output_columns()];
                move || matrix.multiply_into(tokens, &x, &quantized, &mut out)
            });
        }
    }

    /// Three query heads of each key and value head: one token's, and eight tokens' together. Keys and values lie
    /// as in the pages of a model with many layers, so one token's come from memory.
    fn attention(&self, kind: PageKind) {
        let name_of_kind = match kind {
            PageKind::F16 => "attention",
            PageKind::Int8 => "attention int8",
        };
        for width in [64, 128, 256] {
            for (tokens, depth) in [(1, 512), (1, 2048), (8, 512), (8, 2048)] {
                let name = format!("{name_of_kind} {width} x {tokens} at {depth}");
                let heads = 3 * tokens;
                let parts = if tokens == 1 { 96 } else { 2 };
                let work = Work {
                    bytes: (depth / PAGE_TOKENS * kind.part_bytes(width) * parts) as f64,
                    operations: (4 * depth * width * heads * parts) as f64,
                };
                self.measure(&name, work, || {
                    let part = kind.part_bytes(width);
                    let pages = depth / PAGE_TOKENS;
                    let mut pool = vec![0; pages * parts * part];
                    for part in pool.chunks_exact_mut(part) {
                        let row = numbers(width);
                        let store = |slot| attention::store_alone(kind, part, slot, &row, &row);
                        assert!((0..PAGE_TOKENS).all(store));
                    }
                    let q = numbers(heads * width);
                    let mut out = vec![0.0; heads * width];
                    let mut scratch = vec![0.0; attention::scratch_len(depth)];
                    let isa = self.isa;
                    move || {
                        for index in 0..parts {
                            let page = |page: usize| &pool[(page * parts + index) * part..][..part];
                            let pages: Vec<&[u8]> = (0..pages).map(page).collect();
                            let cache = Cache {
                                kind,
                                head_width: width,
                                pages: &pages,
                            };
                            let query = |q| Query {
                                q,
                                first: 0,
                                end: depth,
                            };
                            let queries: Vec<Query<'_>> =
                                q.chunks_exact(width).map(query).collect();
                            let mut out: Vec<&mut [f32]> = out.chunks_exact_mut(width).collect();
                            let (scratch, out) = (&mut scratch, &mut out);
                            assert!(attention::attend(isa, cache, 0.1, &queries, scratch, out));
                        }
                    }
                });
            }
        }
    }

    /// What happens to each row between the large operations.
    fn small(&self) {
        let work = |operations: usize| Work {
            bytes: (4 * COLUMNS * TOKENS) as f64,
            operations: (operations * COLUMNS * TOKENS) as f64,
        };
        let isa = self.isa;
        self.measure("quantize", work(4), || {
            let x = numbers(COLUMNS * TOKENS);
            let mut all = Quantized::new(isa, COLUMNS, &x).expect("finite numbers");
            move || {
                let out = ViewMut {
                    q: &mut all.q,
                    scale: &mut all.scale,
                    sum: &mut all.sum,
                    mass: &mut all.mass,
                };
                assert_eq!(x.len() / GROUP, out.scale.len());
                assert!(quantize::quantize(isa, &x, out));
            }
        });
        self.measure("norm", work(4), || {
            let x = numbers(COLUMNS * TOKENS);
            let weight = numbers(COLUMNS);
            let mut out = vec![0.0; COLUMNS];
            move || {
                for x in x.chunks_exact(COLUMNS) {
                    assert!(norm::rms(isa, x, &weight, 1e-5, &mut out));
                }
            }
        });
        self.measure("rope", work(3), || {
            let mut x = numbers(COLUMNS * TOKENS);
            let mut table = rope::Table::new(Turning::plain(Pairing::Neighbours, WIDTH, 1e5), None);
            table.reach(TOKENS);
            move || {
                for (position, x) in x.chunks_exact_mut(COLUMNS).enumerate() {
                    rope::turn(isa, table.pairing(), x, WIDTH, table.at(position));
                }
            }
        });
    }
}

/// Numbers on both sides of zero.
fn numbers(count: usize) -> Vec<f32> {
    let number = |i: usize| (i * 37 % 201) as f32 / 100.0 - 1.0;
    (0..count).map(number).collect()
}

#[allow(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}

const ROUNDS: usize = 40;
/// Length of a row: whole blocks of every format.
const COLUMNS: usize = 768;
/// Rows that the small operations work on.
const TOKENS: usize = 64;
/// Width of a head for rope.
const WIDTH: usize = 64;
/// Bytes of weights that no cache holds, and bytes that the second level does.
const LARGE: usize = 96 << 20;
const SMALL: usize = 384 << 10;
