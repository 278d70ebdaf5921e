//! Requests, the desks they are put to, and what was said of them, put together.

use super::*;

pub(super) type PretendDesk = Desk<PretendForward, PretendWords>;

pub(super) fn desk(pages: u32, sequences: u32, context: u32) -> PretendDesk {
    Desk::new(
        PretendForward::new(pages),
        PretendWords,
        facts(pages, sequences, context),
    )
}

/// A desk whose model has layers that see `window` tokens, with `spare` pages more than one sequence needs.
pub(super) fn windowed(
    pages: u32,
    sequences: u32,
    context: u32,
    window: u32,
    spare: u32,
) -> PretendDesk {
    let mut facts = facts(pages, sequences, context);
    let limits = Limits {
        pages,
        window_pages: 0,
        window,
        sequences,
        context: facts.context,
    };
    facts.window = window;
    facts.window_pages = limits.window_pages_each() + if window > 0 { spare } else { 0 };
    let forward = PretendForward::new(pages).with_window(window, facts.window_pages);
    Desk::new(forward, PretendWords, facts)
}

pub(super) fn attempt(number: u8) -> AttemptId {
    AttemptId([number; 16])
}

pub(super) fn generate(prompt: Prompt, seed: u64) -> Generate {
    Generate {
        sampling: Sampling {
            seed,
            ..Sampling::default()
        },
        tokens_max: 40,
        ..Generate::new(Passport([0; 32]), prompt)
    }
}

pub(super) fn start(attempt: AttemptId, generate: Generate, resume: Option<Resume>) -> ToEngine {
    start_for(0, attempt, generate, resume)
}

pub(super) fn start_for(
    tenant: u8,
    attempt: AttemptId,
    generate: Generate,
    resume: Option<Resume>,
) -> ToEngine {
    let work = Box::new(Work { generate, resume });
    let tenant = Digest([tenant; 32]);
    ToEngine::Start {
        attempt,
        tenant,
        work,
    }
}

/// What one attempt said, put together and checked: positions without gaps, nothing after `Closed`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Story {
    pub(super) prompt: Option<Vec<u32>>,
    pub(super) ids: BTreeMap<u32, Vec<u32>>,
    pub(super) text: BTreeMap<u32, Vec<u8>>,
    pub(super) odds: BTreeMap<u32, Vec<Vec<Likely>>>,
    pub(super) ended: BTreeMap<u32, Finish>,
    pub(super) echo: Vec<(Vec<u8>, Vec<Likely>)>,
    pub(super) vector: Option<Vector>,
    pub(super) closed: Option<Option<Failure>>,
}

/// Collects the frames of an engine by attempt, given what each attempt was taken up with.
#[derive(Default)]
pub(super) struct Listener {
    pub(super) stories: BTreeMap<AttemptId, Story>,
}

impl Listener {
    pub(super) fn resumed(&mut self, attempt: AttemptId, choices: &[Vec<u32>]) {
        let story = self.stories.entry(attempt).or_default();
        story.ids = (0..).zip(choices.iter().cloned()).collect();
    }

    pub(super) fn listen(&mut self, frames: &mut Vec<FromEngine>) {
        for frame in frames.drain(..) {
            match frame {
                FromEngine::Event { attempt, event } => {
                    let story = self.stories.entry(attempt).or_default();
                    assert_eq!(story.closed, None, "nothing is said after the end (E1)");
                    match event {
                        Event::Started { prompt } => {
                            assert_eq!(story.prompt.replace(prompt), None, "started once");
                        }
                        Event::Echo {
                            position,
                            bytes,
                            odds,
                        } => {
                            assert_eq!(position as usize, story.echo.len(), "no gaps (E2)");
                            assert!(story.text.is_empty(), "before the first token");
                            story.echo.push((bytes, odds));
                        }
                        Event::Embedded { vector } => {
                            assert_eq!(story.vector.replace(vector), None, "told once");
                        }
                        Event::Progress { done, total } => assert!(done <= total),
                        Event::Reused { tokens } => {
                            let prompt = story.prompt.as_ref().map_or(0, Vec::len);
                            assert!((1..prompt).contains(&(tokens as usize)));
                        }
                        Event::Token {
                            choice,
                            position,
                            id,
                            bytes,
                            odds,
                        } => {
                            assert!(!story.ended.contains_key(&choice));
                            let ids = story.ids.entry(choice).or_default();
                            assert_eq!(position as usize, ids.len(), "no gaps (E2)");
                            ids.push(id);
                            story.text.entry(choice).or_default().extend(bytes);
                            story.odds.entry(choice).or_default().push(odds);
                        }
                        Event::Ended {
                            choice,
                            tokens,
                            finish,
                        } => {
                            let ids = story.ids.entry(choice).or_default().len();
                            assert_eq!(tokens as usize, ids);
                            assert_eq!(story.ended.insert(choice, finish), None);
                        }
                    }
                }
                FromEngine::Closed {
                    attempt,
                    tally,
                    failure,
                } => {
                    let story = self.stories.entry(attempt).or_default();
                    assert_eq!(story.closed.replace(failure), None, "closed once (E1)");
                    let prompt = story.prompt.clone().unwrap_or_default();
                    if let Some(vector) = &story.vector {
                        assert_eq!(tally, Tally::of_vector(&prompt, vector));
                        continue;
                    }
                    let ids = story.ids.values().map(Vec::as_slice);
                    assert_eq!(tally.transcript, transcript(&prompt, ids));
                    assert_eq!(tally.prompt_tokens as usize, prompt.len());
                    let tokens: usize = story.ids.values().map(Vec::len).sum();
                    assert_eq!(tally.completion_tokens as usize, tokens);
                }
                FromEngine::Ready(_) | FromEngine::Alive { .. } | FromEngine::Unfit { .. } => {}
            }
        }
    }
}

/// Runs one attempt in an engine of its own, which has room for everything.
pub(super) fn alone(generate: &Generate) -> Story {
    let mut desk = desk(64, 16, 2048);
    let mut listener = Listener::default();
    let mut out = Vec::new();
    desk.hear(
        Time(0),
        start(attempt(0), generate.clone(), None),
        0,
        &mut out,
    );
    while desk.step(Time(0), &mut out) {}
    desk.check();
    listener.listen(&mut out);
    listener
        .stories
        .remove(&attempt(0))
        .expect("it was heard of")
}
