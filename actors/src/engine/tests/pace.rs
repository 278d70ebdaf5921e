//! A desk on a machine whose steps take what a pretend cost says: how long its streams and its prompts wait.

use super::super::batch::Plan;
use super::*;
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;

/// What steps cost on a machine, in milliseconds, but for noise.
#[derive(Clone, Copy, Debug)]
struct Machine {
    fixed: f64,
    row: f64,
    token: f64,
    /// The most that a step differs, as a part of it.
    noise: f64,
}

/// A forward pass that takes its time.
struct Costly {
    forward: PretendForward,
    machine: Machine,
    now: Rc<Cell<f64>>,
    dice: u64,
}

impl Machine {
    fn ms(&self, rows: u32, tokens: u32) -> f64 {
        self.fixed + self.row * f64::from(rows) + self.token * f64::from(tokens)
    }

    /// The longest time between two tokens of a stream beside as many others as the machine runs: rules P1
    /// and P3, and twice that for what is not foreseen.
    fn gap_ms_max(&self, sequences: u32) -> f64 {
        let draws = self.ms(sequences, 0);
        // A token for each of the prompts; before anything is measured, the first chunk.
        let least = self.ms(sequences, 16.max(sequences));
        let step = 100f64.max(draws * 4.0 / 3.0).max(least);
        2.0 * (1.0 + self.noise) * step.max(self.ms(sequences, 128) / 2.0)
    }
}

impl Forward for Costly {
    fn step(&mut self, plan: &Plan) -> Vec<Result<Option<Vec<f32>>, Failure>> {
        let rows = plan.runs.iter().filter(|run| run.tokens.len() == 1).count() as u32;
        self.dice = self.dice.wrapping_mul(6364136223846793005).wrapping_add(1);
        let noise = 1.0 + self.machine.noise * (self.dice >> 40) as f64 / f64::from(1 << 24);
        let ms = self.machine.ms(rows, plan.tokens() - rows) * noise;
        self.now.set(self.now.get() + ms);
        self.forward.step(plan)
    }
}

/// A request, how many steps after the one before it, and whether it is cancelled after so many.
type Arrival = (u32, usize, u32, Option<u32>);

fn arrival() -> impl Strategy<Value = Arrival> {
    let cancelled = prop_oneof![4 => Just(None), 1 => (0u32..60).prop_map(Some)];
    (0u32..40, 1usize..1_500, 1u32..60, cancelled)
}

/// What was waited for: the longest time between two tokens, and the longest between a start and the first
/// token, for each token of a prompt that was to be read until then.
#[derive(Debug, Default)]
struct Waited {
    gap_ms: f64,
    first_ms: f64,
}

/// Serves the arrivals, all of which have room at once, and says how long they waited.
fn serve(machine: Machine, arrivals: &[Arrival], dice: u64) -> Waited {
    let now = Rc::new(Cell::new(0.0));
    let forward = Costly {
        forward: PretendForward::new(PAGES),
        machine,
        now: now.clone(),
        dice,
    };
    let mut desk = Desk::new(forward, PretendWords, facts(PAGES, SEQUENCES, 2_048));
    let mut waited = Waited::default();
    let mut out = Vec::new();
    let mut begun: BTreeMap<AttemptId, f64> = BTreeMap::new();
    let mut spoke: BTreeMap<AttemptId, f64> = BTreeMap::new();
    let mut cancels = Vec::new();
    let mut next = 0;
    let mut idle_until = 0;
    for step in 0..100_000u32 {
        while let Some((after, prompt, tokens, cancel)) = arrivals.get(next).copied() {
            if step < idle_until + after || begun.len() >= SEQUENCES as usize {
                break;
            }
            idle_until = step;
            let id = attempt(next as u8);
            let letter = char::from(b'a' + (next % 26) as u8);
            let text = format!("{next} {}", letter.to_string().repeat(prompt));
            let mut request = generate(Prompt::Text(text), dice);
            request.tokens_max = tokens;
            request.ignore_end = true;
            desk.hear(Time(0), start(id, request, None), 0, &mut out);
            begun.insert(id, now.get());
            cancels.extend(cancel.map(|after| (step + after, id)));
            next += 1;
        }
        for (_, id) in cancels.iter().filter(|(at, _)| *at == step) {
            desk.hear(Time(0), ToEngine::Cancel { attempt: *id }, 0, &mut out);
        }
        let before = now.get();
        if desk.step(Time(0), &mut out) {
            desk.took((now.get() as u64) - (before as u64));
        } else if next == arrivals.len() {
            return waited;
        }
        for frame in out.drain(..) {
            match frame {
                FromEngine::Event {
                    attempt,
                    event: Event::Token { .. },
                } => match spoke.insert(attempt, now.get()) {
                    Some(last) => waited.gap_ms = waited.gap_ms.max(now.get() - last),
                    None => {
                        waited.first_ms = waited.first_ms.max(now.get() - begun[&attempt]);
                    }
                },
                FromEngine::Closed { attempt, .. } => {
                    begun.remove(&attempt);
                    spoke.remove(&attempt);
                }
                _ => {}
            }
        }
    }
    panic!("everything ends");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_stream_waits_longer_than_the_bound_and_no_prompt_starves(
        machine in (0.1f64..60.0, 0.0f64..20.0, 0.02f64..8.0, 0.0f64..0.3),
        arrivals in prop::collection::vec(arrival(), 1..40),
        dice in any::<u64>(),
    ) {
        let (fixed, row, token, noise) = machine;
        let machine = Machine { fixed, row, token, noise };
        let waited = serve(machine, &arrivals, dice);
        let gap_ms_max = machine.gap_ms_max(SEQUENCES);
        prop_assert!(waited.gap_ms <= gap_ms_max, "{waited:?}, at most {gap_ms_max}");
        // All prompts there are, read at the least pace there may be beside draws: a quarter of the time.
        let tokens: usize = arrivals.iter().map(|arrival| arrival.1 + 8).sum();
        let reading = tokens as f64 * machine.token * 4.0 * (1.0 + noise);
        let steps = tokens as f64 / 16.0 * machine.ms(0, 0);
        let first_ms_max = 2.0 * reading + steps + 2.0 * gap_ms_max;
        prop_assert!(waited.first_ms <= first_ms_max, "{waited:?}, at most {first_ms_max}");
    }
}

#[test]
fn a_prompt_beside_streams_is_read_in_steps_of_a_tenth_of_a_second() {
    let machine = Machine {
        fixed: 6.0,
        row: 1.0,
        token: 1.5,
        noise: 0.0,
    };
    // Four streams, and when they run, one long prompt after the other.
    let streams = [(0, 3, 59, None); 4];
    let prompts = [(30, 1_400, 1, None); 6];
    let waited = serve(machine, &[&streams[..], &prompts[..]].concat(), 1);
    assert!((60.0..=110.0).contains(&waited.gap_ms), "{waited:?}");
    // 1,400 tokens, of which 60 go into a step of 100 ms.
    assert!((1_400.0..=3_500.0).contains(&waited.first_ms), "{waited:?}");
}

const PAGES: u32 = 256;
const SEQUENCES: u32 = 8;
