//! What is forgotten first, on traces of requests as servers see them, beside forgetting by recency alone.

use super::*;

/// Requests one after the other: each a tenant, all its tokens, and how many of them are the prompt.
type Trace = Vec<(Digest, Vec<u32>, usize)>;

/// Chance that is the same every time.
struct Dice(u64);

impl Dice {
    fn between(&mut self, low: u32, high: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        low + (self.0 >> 33) as u32 % (high - low)
    }
}

/// Tokens that no other text has.
fn text(name: u32, length: u32) -> impl Iterator<Item = u32> {
    (0..length).map(move |index| name << 13 | index)
}

fn tenant(number: u32) -> Digest {
    Digest([number as u8; 32])
}

/// Two tenants' requests: questions under system prompts that many share, some far more than others; conversations
/// of several turns, of which some are open at a time; and long documents that nobody asks for again.
fn trace(seed: u64, requests: usize) -> Trace {
    let mut dice = Dice(seed);
    let mut names = 100..;
    let mut name = move || names.next().expect("there are enough");
    let systems: Vec<u32> = (0..8).map(|_| dice.between(200, 900)).collect();
    let system = |index: u32| text(index, systems[index as usize]);
    let mut chats: Vec<(Digest, Vec<u32>)> = Vec::new();
    let mut trace = Trace::new();
    while trace.len() < requests {
        let drawn = dice.between(30, 250);
        // The first system prompts are the usual ones.
        let usual = dice
            .between(0, 8)
            .min(dice.between(0, 8))
            .min(dice.between(0, 8));
        match dice.between(0, 100) {
            0..15 => {
                let document = dice.between(1_000, 4_000);
                let all = text(name(), document + drawn).collect();
                trace.push((tenant(usual % 2), all, document as usize));
            }
            15..50 => {
                let question = dice.between(10, 200);
                let all: Vec<u32> = system(usual)
                    .chain(text(name(), question + drawn))
                    .collect();
                let prompt = all.len() - drawn as usize;
                trace.push((tenant(usual % 2), all, prompt));
            }
            _ => {
                if chats.len() < 10 {
                    let about = match dice.between(0, 4) {
                        0 => text(name(), dice.between(1_000, 4_000)).collect(),
                        _ => system(usual).collect(),
                    };
                    chats.push((tenant(usual % 2), about));
                }
                let index = dice.between(0, chats.len() as u32) as usize;
                let (whose, said) = &mut chats[index];
                said.extend(text(name(), dice.between(10, 150)));
                let prompt = said.len();
                said.extend(text(name(), drawn));
                trace.push((*whose, said.clone(), prompt));
                if dice.between(0, 6) == 0 || said.len() > 5_000 {
                    chats.remove(index);
                }
            }
        }
    }
    trace
}

/// Tokens evaluated, and what they cost, with so many pages.
fn serve(trace: &Trace, pages: u32, window: u32, cost: fn(u32, u32) -> u32) -> (u64, u64) {
    let mut memory = Memory::new(Sizes {
        pages,
        window_pages: if window == 0 { 0 } else { pages / 3 },
        window,
        step_max: 256,
    });
    memory.cost = cost;
    let (mut tokens, mut costs) = (0, 0);
    for (whose, all, prompt) in trace {
        let length = all.len() as u32;
        let found = memory.find(*whose, &all[..prompt - 1]);
        assert!(memory.fits(&found, length, 0), "one sequence always fits");
        let done = found.done;
        tokens += u64::from(length - done);
        costs += u64::from(super::cost(done, length - done));
        let mut table = memory.open(found, length, &mut Copies::default());
        let of = |at: u32, count: u32| all[at as usize..(at + count) as usize].to_vec();
        let mut at = done;
        while at < length {
            at = length.min(at + 256);
            assert!(memory.grow(&mut table, length, at), "it fits");
            memory.evaluated(&mut table, at, of);
        }
        memory.close(table, length, of);
    }
    memory.check(std::iter::empty());
    (tokens, costs)
}

#[test]
fn less_is_computed_again_than_by_recency_and_it_costs_less() {
    for (pages, window) in [(100, 0), (200, 0), (400, 0), (200, 512)] {
        let mut sums = [(0, 0); 3];
        for seed in 0..3 {
            let trace = trace(seed, 300);
            let by = |pages, cost| serve(&trace, pages, window, cost);
            let parts = [by(pages, cost), by(pages, |_, _| 0), by(20_000, cost)];
            for (sum, (tokens, costs)) in sums.iter_mut().zip(parts) {
                *sum = (sum.0 + tokens, sum.1 + costs);
            }
        }
        let [ours, recency, least] = sums;
        println!(
            "{pages} pages, window {window}: {ours:?}, by recency {recency:?}, with room for all {least:?}"
        );
        assert!(least < ours && ours.0 < recency.0, "tokens evaluated");
        assert!(ours.1 < recency.1, "what they cost");
    }
}

#[test]
fn what_many_begin_with_outlives_what_nobody_asks_for_again_and_not_for_ever() {
    let sizes = Sizes {
        pages: 40,
        window_pages: 0,
        window: 0,
        step_max: 256,
    };
    let mut memory = Memory::new(sizes);
    let mut ask = |tokens: &[u32]| {
        let found = memory.find(tenant(0), &tokens[..tokens.len() - 1]);
        let (done, length) = (found.done, tokens.len() as u32);
        let mut table = memory.open(found, length, &mut Copies::default());
        let of = |at: u32, count: u32| tokens[at as usize..(at + count) as usize].to_vec();
        memory.evaluated(&mut table, length, of);
        memory.close(table, length, of);
        done
    };
    let shared = |name: u32| text(1, 600).chain(text(name, 30)).collect::<Vec<u32>>();
    assert_eq!([2, 3, 4].map(|name| ask(&shared(name))), [0, 600, 600]);
    // Two documents fill all pages by themselves; by recency the first of them would be there and no more.
    (5..7).for_each(|name| assert_eq!(ask(&text(name, 1_500).collect::<Vec<u32>>()), 0));
    assert_eq!(ask(&shared(7)), 600);
    (8..60).for_each(|name| assert_eq!(ask(&text(name, 1_500).collect::<Vec<u32>>()), 0));
    assert_eq!(ask(&shared(60)), 0, "nobody asked for it in a long time");
}
