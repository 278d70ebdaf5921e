//! What the machine can do at most: read memory, multiply small integers, pass a word from core to core.

use super::now;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

/// Measured in one go, on as many threads as the model runs on.
pub(crate) struct Limits {
    /// GB/s of threads that each sum their own part of a buffer as large as the weights.
    read: f64,
    /// 10^12 operations a second, a multiplication and an addition being two; nothing without AVX-512 VNNI.
    integer: Option<f64>,
    /// Microseconds until a word that one thread wrote is seen by another; nothing on one thread.
    hop: Option<f64>,
}

impl Limits {
    pub(crate) fn measure(bytes: usize, threads: usize) -> Limits {
        Limits {
            read: plain_read(bytes, threads),
            integer: integer(threads),
            hop: (threads > 1).then(hop),
        }
    }

    pub(crate) fn json(&self) -> String {
        let number = |value: Option<f64>| value.map_or("null".to_owned(), |v| format!("{v:.3}"));
        let (integer, hop) = (number(self.integer), number(self.hop));
        format!(
            "{{\"read_gb_s\":{:.2},\"integer_tops\":{integer},\"hop_us\":{hop}}}",
            self.read
        )
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "plain read {:.1} GB/s", self.read)?;
        if let Some(integer) = self.integer {
            write!(out, ", integers {integer:.2} TOPS")?;
        }
        match self.hop {
            Some(hop) => write!(out, ", core to core {hop:.2} us"),
            None => Ok(()),
        }
    }
}

/// Best of five passes.
fn plain_read(bytes: usize, threads: usize) -> f64 {
    let words = vec![1u64; bytes / 8];
    let best = (0..5).map(|_| {
        let start = now();
        let sum: u64 = std::thread::scope(|scope| {
            let parts: Vec<_> = words
                .chunks(words.len().div_ceil(threads))
                .map(|words| scope.spawn(move || sum_of(words)))
                .collect();
            parts.into_iter().map(|part| part.join().unwrap_or(0)).sum()
        });
        assert_eq!(sum, words.len() as u64);
        bytes as f64 / start.elapsed().as_secs_f64() / 1e9
    });
    best.fold(0.0, f64::max)
}

/// As wide as the machine adds.
fn sum_of(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(words: &[u64]) -> u64 {
            words
                .iter()
                .fold(0, |sum: u64, word| sum.wrapping_add(*word))
        }
        // SAFETY: the machine has it, as was asked above.
        return unsafe { wide(words) };
    }
    words
        .iter()
        .fold(0, |sum: u64, word| sum.wrapping_add(*word))
}

/// Best of five passes over registers alone.
fn integer(threads: usize) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
        let best = (0..5).map(|_| {
            let start = now();
            let work = || {
                // SAFETY: the machine has both, as was asked above.
                let sum = unsafe { multiply_and_add() };
                std::hint::black_box(sum);
            };
            std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
            let each = ROUNDS as f64 * SUMS as f64 * 64.0 * 2.0;
            threads as f64 * each / start.elapsed().as_secs_f64() / 1e12
        });
        return Some(best.fold(0.0, f64::max));
    }
    let _ = threads;
    None
}

/// As many independent sums as hide the latency.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn multiply_and_add() -> i32 {
    use std::arch::x86_64::*;
    let mut sums = [_mm512_setzero_si512(); SUMS];
    let weights = std::hint::black_box(_mm512_set1_epi8(3));
    let values = std::hint::black_box(_mm512_set1_epi8(-5));
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, weights, values);
        }
    }
    let all = sums.into_iter().fold(_mm512_setzero_si512(), |all, sum| {
        _mm512_add_epi32(all, sum)
    });
    _mm512_reduce_add_epi32(all)
}

/// Half the way there and back, best of five.
fn hop() -> f64 {
    const TURNS: u32 = 20_000;
    let best = (0..5).map(|_| {
        let ball = AtomicU32::new(0);
        let play = |mine: u32| {
            for turn in (mine..TURNS).step_by(2) {
                while ball.load(Ordering::Acquire) != turn {
                    std::hint::spin_loop();
                }
                ball.store(turn + 1, Ordering::Release);
            }
        };
        let start = now();
        std::thread::scope(|scope| {
            scope.spawn(|| play(1));
            play(0);
        });
        start.elapsed().as_secs_f64() * 1e6 / f64::from(TURNS)
    });
    best.fold(f64::MAX, f64::min)
}

const SUMS: usize = 12;
const ROUNDS: u32 = 2_000_000;
