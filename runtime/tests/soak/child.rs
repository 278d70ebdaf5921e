//! The engine's process and what it said of each request, with the times at which it said so.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use troop_actors::engine::frames::{EngineFacts, EngineStats, FromEngine, ToEngine};
use troop_actors::engine::pipe::{self, Kind};
use troop_actors::generate::{Event, Failure, Finish, Generate, Prompt, Work};
use troop_actors::ids::{AttemptId, Digest, Passport};

/// A running engine. Dropping it ends it.
pub(super) struct Child {
    process: process::Child,
    input: ChildStdin,
    output: Receiver<(Instant, FromEngine)>,
    pub(super) facts: EngineFacts,
    pub(super) open: BTreeMap<AttemptId, Story>,
    pub(super) done: Vec<Story>,
    /// Answers to probes.
    pub(super) heard: Vec<EngineStats>,
    begun: u64,
}

/// One request.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) tenant: Digest,
    pub(super) generate: Generate,
    /// Tokens of the prompt, tokens of an answer and choices of those that were open when this one began.
    pub(super) ahead: Vec<(u32, u32, u32)>,
    begun: Instant,
    first: Option<Instant>,
    /// Between two tokens of a choice.
    pub(super) gaps_ms: Vec<f64>,
    /// The ids of each, and how it ended.
    pub(super) choices: BTreeMap<u32, (Vec<u32>, Option<Finish>)>,
    spoke: BTreeMap<u32, Instant>,
    cancel: Option<Instant>,
    pub(super) cancelled: bool,
    failure: Option<Failure>,
}

impl Story {
    /// Milliseconds until the first token, if there was one.
    pub(super) fn first_ms(&self) -> Option<f64> {
        Some(ms(self.begun, self.first?))
    }

    pub(super) fn prompt_tokens(&self) -> u32 {
        self.prompt().len() as u32
    }

    /// The prompt, and what the first choice said.
    pub(super) fn said(&self) -> Vec<u32> {
        let said = self.choices.get(&0).map(|(ids, _)| ids.as_slice());
        [self.prompt(), said.unwrap_or_default()].concat()
    }

    /// How many tokens that is.
    pub(super) fn length(&self) -> u32 {
        self.said().len() as u32
    }

    /// Asserts that it ended as it should have.
    pub(super) fn check(&self) {
        match (&self.failure, self.cancelled) {
            (None, _) => {
                let ended = self.choices.values().filter(|(_, finish)| finish.is_some());
                assert_eq!(ended.count(), self.generate.choices as usize, "{self:?}");
            }
            (Some(Failure::Cancelled), true) => {}
            _ => panic!("{self:?}"),
        }
        let lengths = self.choices.values().map(|(ids, _)| ids.len());
        let longest = lengths.max().unwrap_or(0);
        assert!(longest <= self.generate.tokens_max as usize, "{self:?}");
    }

    fn prompt(&self) -> &[u32] {
        match &self.generate.prompt {
            Prompt::Tokens(ids) => ids,
            other => panic!("no such prompt is asked for: {other:?}"),
        }
    }
}

#[allow(clippy::disallowed_methods)] // A real process is measured in real time.
impl Child {
    pub(super) fn start(model: &Path, arguments: &[String]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_troop"));
        command.arg("engine").arg("--model").arg(model);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.args(arguments).spawn().expect("troop starts");
        let input = process.stdin.take().expect("a pipe");
        let mut pipe = BufReader::new(process.stdout.take().expect("a pipe"));
        let (heard, output) = channel();
        std::thread::spawn(move || {
            while let Ok(Some(frame)) = pipe::read(&mut pipe, Kind::FromEngine) {
                if heard.send((Instant::now(), frame)).is_err() {
                    return;
                }
            }
        });
        let first = output.recv_timeout(Duration::from_secs(120));
        let Ok((_, FromEngine::Ready(facts))) = first else {
            panic!("not ready: {first:?}");
        };
        Child {
            process,
            input,
            output,
            facts,
            open: BTreeMap::new(),
            done: Vec::new(),
            heard: Vec::new(),
            begun: 0,
        }
    }

    /// Has every page touched: by prompts that differ from the first token on, as many as fit, read at once.
    pub(super) fn fill(&mut self, prompt_max: u32) {
        let each = prompt_max / 64;
        for number in 0..self.facts.pages / each {
            let prompt = (0..each * 64).map(|at| 1_000 + (at * 31 + number * 977) % 40_000);
            let prompt = Prompt::Tokens(prompt.collect());
            let generate = Generate::new(Passport([0; 32]), prompt);
            self.begin(Digest([9; 32]), generate, None);
        }
        while !self.open.is_empty() {
            self.listen(Duration::from_secs(60));
        }
        self.done.drain(..).for_each(|story| story.check());
    }

    pub(super) fn begin(&mut self, tenant: Digest, generate: Generate, cancel: Option<Instant>) {
        self.begun += 1;
        let attempt = AttemptId(u128::from(self.begun).to_le_bytes());
        let ahead = |story: &Story| {
            let Generate {
                choices,
                tokens_max,
                ..
            } = story.generate;
            (story.prompt_tokens(), tokens_max, choices)
        };
        let story = Story {
            tenant,
            generate: generate.clone(),
            ahead: self.open.values().map(ahead).collect(),
            begun: Instant::now(),
            first: None,
            gaps_ms: Vec::new(),
            choices: BTreeMap::new(),
            spoke: BTreeMap::new(),
            cancel,
            cancelled: false,
            failure: None,
        };
        self.open.insert(attempt, story);
        let resume = None;
        let work = Box::new(Work { generate, resume });
        self.say(&ToEngine::Start {
            attempt,
            tenant,
            work,
        });
    }

    pub(super) fn probe(&mut self) {
        self.say(&ToEngine::Probe { number: 0 });
    }

    /// Cancels who is to be cancelled by now, and hears what comes within so long.
    pub(super) fn listen(&mut self, within: Duration) {
        let now = Instant::now();
        let due = |(_, story): &(&AttemptId, &mut Story)| story.cancel.is_some_and(|at| at <= now);
        let due: Vec<AttemptId> = (self.open.iter_mut().filter(due))
            .map(|(attempt, story)| {
                story.cancel = None;
                story.cancelled = true;
                *attempt
            })
            .collect();
        for attempt in due {
            self.say(&ToEngine::Cancel { attempt });
        }
        if let Ok((at, frame)) = self.output.recv_timeout(within) {
            self.hear(at, frame);
        }
        while let Ok((at, frame)) = self.output.try_recv() {
            self.hear(at, frame);
        }
        let ended = self.process.try_wait().expect("it can be asked");
        assert_eq!(ended, None, "the engine runs");
    }

    /// Kilobytes of the process that are in memory.
    pub(super) fn memory_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the engine runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("Linux says so")
    }

    fn hear(&mut self, at: Instant, frame: FromEngine) {
        match frame {
            FromEngine::Event { attempt, event } => {
                let story = self.open.get_mut(&attempt).expect("it is open");
                story.hear(at, event);
            }
            FromEngine::Closed {
                attempt, failure, ..
            } => {
                let mut story = self.open.remove(&attempt).expect("it is closed once");
                story.failure = failure;
                self.done.push(story);
            }
            FromEngine::Alive { stats, .. } => self.heard.push(stats),
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn say(&mut self, frame: &ToEngine) {
        pipe::write(&mut self.input, Kind::ToEngine, frame).expect("it reads");
        self.input.flush().expect("it reads");
    }
}

impl Story {
    fn hear(&mut self, at: Instant, event: Event) {
        match event {
            Event::Started { prompt } => assert_eq!(prompt, self.prompt()),
            Event::Progress { .. } | Event::Reused { .. } => {}
            Event::Token {
                choice,
                position,
                id,
                ..
            } => {
                self.first.get_or_insert(at);
                if let Some(before) = self.spoke.insert(choice, at) {
                    self.gaps_ms.push(ms(before, at));
                }
                let (ids, _) = self.choices.entry(choice).or_default();
                assert_eq!(ids.len(), position as usize, "no token is missing");
                ids.push(id);
            }
            Event::Ended { choice, finish, .. } => {
                let (_, ended) = self.choices.entry(choice).or_default();
                assert_eq!(ended.replace(finish), None, "it ends once");
            }
            Event::Echo { .. } | Event::Embedded { .. } => panic!("nobody asked for {event:?}"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1_000.0
}
