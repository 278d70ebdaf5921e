//! Which worker a request is given to, and what was found of the others.

use super::{Worker, Workers};
use crate::engine::PAGE_TOKENS;
use crate::ids::{Class, MemberId, NodeId, Passport};
use crate::scheduler::protocol::{Admit, ModelReport};
use crate::scheduler::score::{Fastest, Load, Score, prefix_tokens, prompt_tokens};
use crate::session::Fault;
use serde::{Deserialize, Serialize};

/// A worker that was looked at for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub worker: NodeId,
    /// What was found.
    pub finding: Finding,
    /// What it was expected to take.
    pub score: Score,
    /// Sequences of the model that were taken there.
    pub taken: u32,
    /// And how many there are.
    pub sequences_max: u32,
    /// Tokens of the prompt that it was believed to remember.
    pub prefix_tokens: u64,
}

/// What was found of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finding {
    /// It had the best score of those with room, and was taken.
    Chosen,
    /// It had room, but another was better.
    Free,
    /// It was the next best, and stands by.
    Standby,
    /// All its sequences are taken.
    Full,
    /// It had room, but failed this request before, by its own fault.
    Avoided,
    /// It can never take this request: too many choices or too many tokens.
    TooSmall,
    /// It has no memory for the prompt now.
    NoMemory,
    /// It would go on with other bytes than those that the request has begun with.
    OtherClass,
    /// It had room, but the membership holds it dead.
    Absent,
    /// It had room, but was left by this request before, for a fault that was not its own.
    Left,
}

impl Finding {
    /// The order in which findings matter to whoever asks.
    pub(in crate::scheduler) fn rank(self) -> u8 {
        match self {
            Finding::Chosen => 0,
            Finding::Standby => 1,
            Finding::Free => 2,
            Finding::Left => 3,
            Finding::Avoided => 4,
            Finding::Full | Finding::NoMemory | Finding::Absent => 5,
            Finding::OtherClass | Finding::TooSmall => 6,
        }
    }
}

/// A worker with room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::scheduler) struct Pick {
    /// Which.
    pub(in crate::scheduler) worker: NodeId,
    /// Whose it is.
    pub(in crate::scheduler) owner: MemberId,
    /// What it said of the model.
    pub(in crate::scheduler) report: ModelReport,
}

/// What came of looking for a worker.
#[derive(Debug)]
pub(in crate::scheduler) enum Search {
    /// This one; and the next best of its class that the request has not left, if there is one with room.
    Found(Box<Pick>, Option<Box<Pick>>),
    /// All are full.
    Full,
    /// None serves the model.
    Absent,
    /// None would go on with the same bytes.
    OtherClass,
    /// Those that serve the model allow at most so many choices and tokens.
    TooLarge { choices_max: u32, tokens_max: u32 },
}

impl Workers {
    /// The worker with the best score and room for `admit`, which has `begun` in this class if it has begun at
    /// all; and what was found of each one. Those that it has left come last, the latest last of all; and after them
    /// those whose own fault that was.
    pub(in crate::scheduler) fn search(
        &self,
        admit: &Admit,
        begun: Option<Class>,
    ) -> (Search, Vec<Candidate>) {
        let serving = || {
            self.known.iter().filter_map(|(worker, state)| {
                let model = state.models.iter().find(|it| it.model == admit.model)?;
                Some((*worker, state, model))
            })
        };
        let mut fastest = Fastest::default();
        serving().for_each(|(_, _, model)| fastest.hear(model));
        let mut candidates = Vec::new();
        // How good each one with room is: whether it was left and how, its score, the share taken; then its id.
        let mut ranks = Vec::new();
        let (mut choices_max, mut tokens_max) = (0, 0);
        for (worker, state, model) in serving() {
            choices_max = choices_max.max(model.sequences_max);
            tokens_max = tokens_max.max(model.context);
            let load = self.load(worker, state, admit.model);
            let score = fastest.score(admit, worker, model, load);
            let mut left = admit.avoid.iter().enumerate();
            let left = left.find(|(_, (left, _))| *left == worker);
            let left = left.map(|(at, (_, fault))| (*fault == Fault::Worker, at));
            let finding = match room(admit, model, load, begun) {
                Err(finding) => finding,
                Ok(()) if state.absent => Finding::Absent,
                Ok(()) => {
                    let sequences = u64::from(model.sequences_max.max(1));
                    let share = u64::from(load.taken) * SHARES / sequences;
                    let rank = (left, score.total_ms(), share);
                    ranks.push((rank, candidates.len(), (worker, state.owner, model)));
                    match left {
                        Some((true, _)) => Finding::Avoided,
                        Some((false, _)) => Finding::Left,
                        None => Finding::Free,
                    }
                }
            };
            candidates.push(Candidate {
                worker,
                finding,
                score,
                taken: load.taken,
                sequences_max: model.sequences_max,
                prefix_tokens: prefix_tokens(admit, worker),
            });
        }
        ranks.sort_by_key(|(rank, index, _)| (*rank, *index));
        let mut ranked = ranks.into_iter();
        let pick = |(worker, owner, report): (NodeId, MemberId, &ModelReport)| {
            let report = report.clone();
            Box::new(Pick {
                worker,
                owner,
                report,
            })
        };
        if let Some((_, index, first)) = ranked.next() {
            candidates[index].finding = Finding::Chosen;
            let class = &first.2.class;
            let stands_by = ranked
                .find(|((left, _, _), _, (_, _, model))| left.is_none() && model.class == *class);
            let standby = stands_by.map(|(_, index, second)| {
                candidates[index].finding = Finding::Standby;
                pick(second)
            });
            return (Search::Found(pick(first), standby), candidates);
        }
        let found = |finding| candidates.iter().any(|it| it.finding == finding);
        let search = if candidates.is_empty() {
            Search::Absent
        } else if [Finding::Full, Finding::NoMemory, Finding::Absent]
            .map(found)
            .contains(&true)
        {
            Search::Full
        } else if found(Finding::OtherClass) {
            Search::OtherClass
        } else {
            Search::TooLarge {
                choices_max,
                tokens_max,
            }
        };
        (search, candidates)
    }

    /// How busy a worker is with `model`.
    fn load(&self, worker: NodeId, state: &Worker, model: Passport) -> Load {
        let placed = self.placed.get(&worker).into_iter().flatten();
        let ours = placed.filter(|(_, placed)| placed.model == model);
        let mut load = Load {
            // What a stranger runs is not known: each counts as one sequence of every model.
            taken: state.strangers.len() as u32,
            unread_tokens: 0,
        };
        for (_, placed) in ours {
            load.taken = load.taken.saturating_add(placed.choices);
            if !placed.reported {
                load.unread_tokens = load.unread_tokens.saturating_add(placed.unread_tokens);
            }
        }
        load
    }
}

/// Whether a worker of `model` that bears `load` has room for `admit`, or why not.
fn room(
    admit: &Admit,
    model: &ModelReport,
    load: Load,
    begun: Option<Class>,
) -> Result<(), Finding> {
    if admit.choices > model.sequences_max || admit.tokens_max > model.context {
        return Err(Finding::TooSmall);
    }
    if begun.is_some_and(|class| class != Class::of(&model.class)) {
        return Err(Finding::OtherClass);
    }
    if load.taken.saturating_add(admit.choices) > model.sequences_max {
        return Err(Finding::Full);
    }
    // As an engine lets a sequence in: its prompt and a page for each choice. Where nothing runs there is room.
    let pages = u64::from(admit.choices) * u64::from(PAGE_TOKENS);
    let wanted = prompt_tokens(admit, model).saturating_add(pages);
    let free = model.kv_tokens_free.saturating_sub(load.unread_tokens);
    match load.taken > 0 && wanted > free {
        true => Err(Finding::NoMemory),
        false => Ok(()),
    }
}

/// How finely shares are compared.
const SHARES: u64 = 1 << 16;
