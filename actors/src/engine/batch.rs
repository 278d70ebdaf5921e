//! What runs in the next step.
//!
//! A *sequence* is one choice of one attempt: a prompt, and the tokens drawn so far. A sequence is waiting,
//! or it holds KV pages and runs. A step evaluates one run of tokens for each running sequence:
//!
//! ```text
//! plan ─> copies of pages, then runs: every decode, and a chunk of the prefills beside them
//!                    │ the arithmetic evaluates them, the desk draws tokens
//! evaluated, drew <──┘ positions move on; drawn tokens join their sequences
//! ```
//!
//! Rules, which `check` asserts where it can:
//! - B1 A page is held exactly by the sequences that list it; all others are free, remembered or not.
//! - B2 Positions are contiguous: a run begins where the last one ended.
//! - B3 A sequence is admitted when the pages of its tokens and one more are free, oldest first.
//! - B4 When pages run out, the youngest sequence gives up its own and waits; it is recomputed from its ids,
//!   which gives the same bits. The oldest can always go on, because any one sequence fits the pool.
//! - B5 The choices of an attempt share the full pages of its prompt; the page the prompt ends in is copied.
//!   So do sequences of one tenant that begin alike, at once or one after the other (see [`super::memory`]).
//! - B6 Drafts take pages that are free, and give them back before anybody else asks for pages.
//!
//! Chunks, batches, drafts, evictions and shared pages change the schedule only. What is drawn does not depend on
//! them, because the arithmetic does not.

mod room;

use super::BUDGET_MAX;
use super::memory::{Copies, Memory, Sizes, Table};
use super::pages::{PageId, pages_of};
use crate::ids::{AttemptId, Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// What a batch may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// KV pages of the layers that see everything.
    pub pages: u32,
    /// KV pages of the layers with a window.
    pub window_pages: u32,
    /// Tokens that layers with a window see; 0 if there are none such.
    pub window: u32,
    /// Sequences that run at once.
    pub sequences: u32,
    /// Tokens of a sequence, prompt included: what the model can see, and no more than all pages hold.
    pub context: u32,
}

/// One sequence: a choice of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its choice.
    pub choice: u32,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Pages to be copied before anything is evaluated.
    pub copies: Copies,
    /// Attempts that run from now on, and how many tokens of their prompt were in memory.
    pub reused: Vec<(AttemptId, u32)>,
    /// What is to be evaluated.
    pub runs: Vec<Run>,
}

/// Consecutive tokens of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose.
    pub place: Place,
    /// The tokens; never none.
    pub tokens: Vec<u32>,
    /// The position of the first of them in the sequence, prompt included.
    pub start: u32,
    /// The sequence's pages, from position 0; they cover the run.
    pub pages: Vec<PageId>,
    /// Those of the layers with a window: the last one holds the run's last token, the first one the first
    /// that the run can still see, or one before.
    pub window_pages: Vec<PageId>,
    /// Whether the last token is the last known one, so that the next is to be drawn after it.
    pub draws: bool,
    /// What is read of it.
    pub reads: Reads,
}

/// What is read of a sequence while it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The logits after its last token.
    Last,
    /// The logits after each token of its prompt.
    Every,
    /// The hidden state after each of its tokens; nothing is drawn.
    Hidden,
    /// The logits after each of its tokens, of which all but the first are drafts: guesses at what is drawn after
    /// those before them.
    Drafted,
}

impl Limits {
    /// Tokens of one sequence in a step, at most.
    pub fn step_max(&self) -> u32 {
        BUDGET_MAX.max(self.sequences)
    }

    /// Window pages of one sequence, at most.
    pub fn window_pages_each(&self) -> u32 {
        Sizes::window_pages_max(self.window, self.step_max(), self.context)
    }
}

impl Plan {
    /// Tokens evaluated.
    pub fn tokens(&self) -> u32 {
        self.runs.iter().map(|run| run.tokens.len() as u32).sum()
    }
}

/// All sequences of an engine, waiting and running.
#[derive(Debug)]
pub struct Batch {
    limits: Limits,
    memory: Memory,
    groups: BTreeMap<AttemptId, Group>,
    waiting: BTreeSet<Key>,
    running: BTreeMap<Key, Held>,
    arrivals: u64,
    evictions: u64,
    reused: u64,
}

/// Age, then choice: the order in which sequences are served.
type Key = (u64, Place);

/// What the choices of an attempt have in common, and what each has drawn.
#[derive(Debug)]
struct Group {
    arrival: u64,
    /// Whose text it is.
    tenant: Digest,
    prompt: Arc<[u32]>,
    reads: Reads,
    /// By choice; `None` once it has ended.
    drawn: Vec<Option<Vec<u32>>>,
    /// Tokens of one sequence, at most.
    length_max: u32,
    /// Whether one of its sequences has run.
    admitted: bool,
}

/// What a running sequence holds.
#[derive(Debug)]
struct Held {
    table: Table,
    /// Tokens whose keys and values are in the pages.
    done: u32,
}

impl Group {
    fn length(&self, choice: u32) -> u32 {
        let drawn = self.drawn[choice as usize].as_ref().map_or(0, Vec::len);
        (self.prompt.len() + drawn) as u32
    }

    fn tokens(&self, choice: u32, from: u32, count: u32) -> Vec<u32> {
        let (from, end) = (from as usize, (from + count) as usize);
        let drawn = self.drawn[choice as usize].as_deref().unwrap_or_default();
        let split = self.prompt.len();
        let of_prompt = &self.prompt[from.min(split)..end.min(split)];
        let of_drawn = &drawn[from.max(split) - split..end.max(split) - split];
        [of_prompt, of_drawn].concat()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new(limits: Limits) -> Batch {
        assert!(limits.sequences > 0, "an engine runs something");
        assert!(
            pages_of(limits.context) <= limits.pages,
            "any one sequence fits the pool (B4)"
        );
        assert!(
            limits.window_pages_each() <= limits.window_pages,
            "any one sequence's windows fit the pool (B4)"
        );
        let memory = Memory::new(Sizes {
            pages: limits.pages,
            window_pages: limits.window_pages,
            window: limits.window,
            step_max: limits.step_max(),
        });
        Batch {
            limits,
            memory,
            groups: BTreeMap::new(),
            waiting: BTreeSet::new(),
            running: BTreeMap::new(),
            arrivals: 0,
            evictions: 0,
            reused: 0,
        }
    }

    /// New sequences: a prompt, and for each choice the tokens it has already, or `None` if it has ended.
    /// What is remembered of the tenant's earlier sequences is not evaluated again.
    /// The prompt is not empty, every sequence is shorter than `length_max`, and that is within the context.
    pub fn start(
        &mut self,
        attempt: AttemptId,
        tenant: Digest,
        prompt: Arc<[u32]>,
        reads: Reads,
        drawn: Vec<Option<Vec<u32>>>,
        length_max: u32,
    ) {
        assert!(!prompt.is_empty(), "a prompt has tokens");
        assert!(
            length_max <= self.limits.context,
            "no sequence outgrows the context"
        );
        assert!(
            !self.groups.contains_key(&attempt),
            "an attempt starts once"
        );
        let arrival = self.arrivals;
        self.arrivals += 1;
        let group = Group {
            arrival,
            tenant,
            prompt,
            reads,
            drawn,
            length_max,
            admitted: false,
        };
        for (choice, drawn) in group.drawn.iter().enumerate() {
            let choice = choice as u32;
            if drawn.is_some() {
                assert!(
                    group.length(choice) < length_max,
                    "a sequence has room for a token"
                );
                self.waiting.insert((arrival, Place { attempt, choice }));
            }
        }
        if group.drawn.iter().any(Option::is_some) {
            self.groups.insert(attempt, group);
        }
    }

    /// Ends one sequence and lets go of its pages. One that is not there is ignored.
    pub fn end(&mut self, place: Place) {
        let Some(group) = self.groups.get(&place.attempt) else {
            return;
        };
        let key = (group.arrival, place);
        self.drop_pages(key);
        let group = self.groups.get_mut(&place.attempt).expect("it is there");
        if let Some(drawn) = group.drawn.get_mut(place.choice as usize) {
            *drawn = None;
        }
        if group.drawn.iter().all(Option::is_none) {
            self.groups.remove(&place.attempt);
        }
        self.waiting.remove(&key);
    }

    /// Ends every sequence of an attempt.
    pub fn cancel(&mut self, attempt: AttemptId) {
        let choices = self
            .groups
            .get(&attempt)
            .map_or(0, |group| group.drawn.len());
        for choice in 0..choices as u32 {
            self.end(Place { attempt, choice });
        }
    }

    /// Decides the next step: every decode, and as many tokens of prompts as `chunk` says go well beside so
    /// many of them. Empty when there is nothing to do, and only then.
    pub fn plan(&mut self, chunk: impl Fn(u32) -> u32) -> Plan {
        let mut plan = Plan::default();
        self.give_back();
        // Who has just lost its pages for want of them does not get them back in the same step.
        if !self.grow() {
            self.admit(&mut plan);
        }
        let mut prefills = Vec::new();
        for (key, held) in &self.running {
            let left = self.groups[&key.1.attempt].length(key.1.choice) - held.done;
            assert!(
                left > 0,
                "a running sequence always has a token to evaluate"
            );
            if left == 1 {
                plan.runs.push(self.run(*key, 1));
            } else {
                prefills.push((left, *key));
            }
        }
        // The smallest is served first and what it does not need goes to the others: a short prompt is not
        // held up by a long one, and the long one gets at least its even share, and never nothing.
        let decodes = plan.runs.len() as u32;
        let count = prefills.len();
        let room = self.limits.step_max() - decodes;
        let mut left = chunk(decodes).max(count as u32).min(room);
        prefills.sort_unstable();
        let mut every = MORE_ROWS_MAX;
        for (index, (wanted, key)) in prefills.into_iter().enumerate() {
            let share = left.div_ceil((count - index) as u32);
            let mut tokens = wanted.min(share).min(self.limits.step_max());
            if self.groups[&key.1.attempt].reads == Reads::Every {
                tokens = tokens.min(every);
                every -= tokens;
                if tokens == 0 {
                    continue;
                }
            }
            left -= tokens;
            plan.runs.push(self.run(key, tokens));
        }
        plan
    }

    /// The tokens at these positions have been evaluated, and all numbers are finite. Of a draft it is told once
    /// it was drawn, and never of one that was not.
    pub fn evaluated(&mut self, place: Place, positions: Range<u32>) {
        let Some(group) = self.groups.get(&place.attempt) else {
            return;
        };
        let Some(held) = self.running.get_mut(&(group.arrival, place)) else {
            return;
        };
        assert_eq!(held.done, positions.start, "positions are contiguous (B2)");
        held.done = positions.end;
        let choice = place.choice;
        let tokens = |from, count| group.tokens(choice, from, count);
        self.memory.evaluated(&mut held.table, held.done, tokens);
    }

    /// A token was drawn after a run, and its sequence goes on.
    pub fn drew(&mut self, place: Place, id: u32) {
        let group = self.groups.get_mut(&place.attempt);
        let group = group.expect("who draws has not ended");
        let ids = group.drawn[place.choice as usize].as_mut();
        ids.expect("a running choice has not ended").push(id);
    }

    /// How many tokens of an attempt's prompt have been evaluated, by the choice that is furthest.
    pub fn prefilled(&self, attempt: AttemptId) -> u32 {
        self.groups.get(&attempt).map_or(0, |group| {
            self.siblings(group, attempt)
                .map(|(_, held)| held.done.min(group.prompt.len() as u32))
                .max()
                .unwrap_or(0)
        })
    }

    /// Sequences that run.
    pub fn running(&self) -> u32 {
        self.running.len() as u32
    }

    /// Sequences that wait for pages or for a place.
    pub fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Pages nobody holds.
    pub fn pages_free(&self) -> u32 {
        self.memory.pages_free()
    }

    /// How often a sequence had to give up its pages.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Tokens that were remembered, and so not evaluated again.
    pub fn reused(&self) -> u64 {
        self.reused
    }

    /// Asserts the rules above.
    pub fn check(&self) {
        self.memory
            .check(self.running.values().map(|held| &held.table));
        assert!(self.running.len() <= self.limits.sequences as usize);
        for ((arrival, place), held) in &self.running {
            let group = &self.groups[&place.attempt];
            assert_eq!(*arrival, group.arrival);
            assert!(
                !self.waiting.contains(&(*arrival, *place)),
                "who runs does not wait"
            );
            let length = group.length(place.choice);
            assert!(held.done < length, "the last token is not evaluated yet");
            assert!(length <= group.length_max);
        }
        for (attempt, group) in &self.groups {
            for (choice, drawn) in group.drawn.iter().enumerate() {
                let choice = choice as u32;
                let key = (
                    group.arrival,
                    Place {
                        attempt: *attempt,
                        choice,
                    },
                );
                let known = self.waiting.contains(&key) || self.running.contains_key(&key);
                assert_eq!(known, drawn.is_some(), "who has not ended waits or runs");
            }
        }
        let sequences = self
            .groups
            .values()
            .flat_map(|group| &group.drawn)
            .flatten();
        assert_eq!(sequences.count(), self.waiting.len() + self.running.len());
    }

    fn run(&self, key: Key, count: u32) -> Run {
        let place = key.1;
        let held = &self.running[&key];
        let group = &self.groups[&place.attempt];
        let end = held.done + count;
        let prompt_read = held.done + 1 >= group.prompt.len() as u32;
        Run {
            place,
            tokens: group.tokens(place.choice, held.done, count),
            start: held.done,
            pages: held.table.pages(end),
            window_pages: held.table.window_pages(end),
            draws: end == group.length(place.choice),
            reads: match group.reads {
                Reads::Every if prompt_read => Reads::Last,
                reads => reads,
            },
        }
    }
}

/// Rows of logits of a step beyond one for each sequence, at most: one is a megabyte with large vocabularies.
pub(super) const MORE_ROWS_MAX: u32 = 16;
