//! An arithmetic that is quick and remembers everything, for the simulator and for tests.
//!
//! Its pages hold token ids where a model's hold keys and values, and its logits are a hash of the ids it
//! finds in the pages of a run. So a page that is shared, copied, evicted or freed wrongly changes the text,
//! as it would with a model.

use super::batch::{Plan, Reads, Run};
use super::desk::{Forward, Words};
use super::frames::EngineFacts;
use super::pages::PAGE_TOKENS;
use crate::generate::{Failure, Prompt, Shape};
use crate::ids::digest;

/// A forward pass that only looks like one.
#[derive(Debug)]
pub struct PretendForward {
    /// By page, then by place in it: the token, once one was written.
    pages: Vec<Page>,
    /// The same for layers that see `window` tokens.
    window_pages: Vec<Page>,
    window: u32,
}

type Page = [Option<u32>; PAGE_TOKENS as usize];

/// An alphabet: one token for each of some letters, one control token, one end token.
#[derive(Clone, Copy, Debug, Default)]
pub struct PretendWords;

/// What an engine of these two would say of itself.
pub fn facts(pages: u32, sequences_max: u32, context: u32) -> EngineFacts {
    EngineFacts {
        context: context.min(pages * PAGE_TOKENS),
        sequences_max,
        overhead_fixed_bytes: 16,
        overhead_turn_bytes: 16,
        weight_bytes: 0,
        pages,
        page_bytes: u64::from(PAGE_TOKENS) * 4,
        window: 0,
        window_pages: 0,
        window_page_bytes: 0,
        class: "pretend".into(),
    }
}

impl PretendForward {
    /// With so many pages.
    pub fn new(pages: u32) -> PretendForward {
        PretendForward {
            pages: vec![[None; PAGE_TOKENS as usize]; pages as usize],
            window_pages: Vec::new(),
            window: 0,
        }
    }

    /// Some layers see only so many tokens, and have so many pages of their own.
    pub fn with_window(self, window: u32, pages: u32) -> PretendForward {
        PretendForward {
            window_pages: vec![[None; PAGE_TOKENS as usize]; pages as usize],
            window,
            ..self
        }
    }

    /// Writes the tokens of a run to its pages.
    fn write(&mut self, run: &Run) {
        let first_window = first_window_page(run);
        for (position, token) in (run.start..).zip(&run.tokens) {
            let (page, slot) = place(position);
            self.pages[run.pages[page].0 as usize][slot] = Some(*token);
            if self.window > 0 {
                let page = run.window_pages[page - first_window];
                self.window_pages[page.0 as usize][slot] = Some(*token);
            }
        }
    }

    /// Every token up to a run's end, as its pages have them.
    fn read(&self, run: &Run) -> Vec<u32> {
        let end = run.start + run.tokens.len() as u32;
        let whole = |position: u32| {
            let (page, slot) = place(position);
            let token = self.pages[run.pages[page].0 as usize][slot];
            token.expect("every position before a run's end was evaluated")
        };
        let tokens: Vec<u32> = (0..end).map(whole).collect();
        if self.window > 0 {
            let first_window = first_window_page(run);
            for position in (run.start + 1).saturating_sub(self.window)..end {
                let (page, slot) = place(position);
                let page = run.window_pages[page - first_window];
                let token = self.window_pages[page.0 as usize][slot];
                assert_eq!(token, Some(tokens[position as usize]), "a window's token");
            }
        }
        tokens
    }
}

fn place(position: u32) -> (usize, usize) {
    let (page, slot) = (position / PAGE_TOKENS, position % PAGE_TOKENS);
    (page as usize, slot as usize)
}

/// The number of a run's first window page within its sequence.
fn first_window_page(run: &Run) -> usize {
    run.pages.len() - run.window_pages.len()
}

impl Forward for PretendForward {
    fn step(&mut self, plan: &Plan) -> Vec<Result<Option<Vec<f32>>, Failure>> {
        for copy in &plan.copies.whole {
            self.pages[copy.to.0 as usize] = self.pages[copy.from.0 as usize];
        }
        for copy in &plan.copies.window {
            self.window_pages[copy.to.0 as usize] = self.window_pages[copy.from.0 as usize];
        }
        plan.runs.iter().for_each(|run| self.write(run));
        let evaluate = |run: &Run| {
            let tokens = self.read(run);
            let end = tokens.len() as u32;
            let seen: Vec<u8> = tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
            let hash = |end: u32| digest("troop/pretend/v1", &[&seen[..4 * end as usize]]).0;
            let logits = |end: u32| {
                let hash = hash(end);
                let logit = move |id: u32| {
                    let byte = hash[id as usize % hash.len()] ^ (id as u8).wrapping_mul(151);
                    f32::from(byte) / 64.0
                };
                (0..VOCABULARY).map(logit)
            };
            let hidden = |end: u32| hash(end).into_iter().map(|byte| f32::from(byte) / 64.0);
            match run.reads {
                Reads::Last => run.draws.then(|| logits(end).collect()),
                Reads::Every | Reads::Drafted => {
                    Some((run.start + 1..=end).flat_map(logits).collect())
                }
                Reads::Hidden => Some((run.start + 1..=end).flat_map(hidden).collect()),
            }
        };
        plan.runs.iter().map(|run| Ok(evaluate(run))).collect()
    }
}

impl Words for PretendWords {
    fn prompt(
        &self,
        prompt: &Prompt,
        _shape: &Shape,
        _now_seconds: u64,
    ) -> Result<Vec<u32>, Failure> {
        let letters = |text: &str| -> Vec<u32> {
            text.bytes()
                .map(|byte| u32::from(byte) % LETTERS.len() as u32)
                .collect()
        };
        Ok(match prompt {
            Prompt::Chat(turns) => turns
                .iter()
                .flat_map(|turn| std::iter::once(CONTROL).chain(letters(&turn.content)))
                .collect(),
            Prompt::Text(text) | Prompt::Marked { text, .. } => letters(text),
            Prompt::Tokens(ids) => ids.clone(),
        })
    }

    fn piece(&self, id: u32) -> &[u8] {
        let at = id as usize;
        LETTERS.get(at..at + 1).unwrap_or_default()
    }

    fn name(&self, id: u32) -> &[u8] {
        match id {
            CONTROL => b"<control>",
            END => b"<end>",
            letter => self.piece(letter),
        }
    }

    fn is_end(&self, id: u32) -> bool {
        id == END
    }

    fn vocabulary(&self) -> u32 {
        VOCABULARY
    }

    fn longest(&self) -> u32 {
        1
    }
}

const LETTERS: &[u8] = b" abcdefghijklmnopqrstuvwxyz.,!?\n";
const CONTROL: u32 = LETTERS.len() as u32;
const END: u32 = CONTROL + 1;
const VOCABULARY: u32 = END + 1;
