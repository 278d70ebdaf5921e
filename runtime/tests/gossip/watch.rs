//! Looks at what every machine says of every other, again and again, and holds it against who is frozen and who is not.

use super::Member;
use super::support::until;
use super::troop::now;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// What was seen, and the worst of it. Machines go by their numbers.
pub(crate) struct Watch<'a> {
    members: &'a [Member],
    asleep: Option<usize>,
    /// Since when each is awake.
    awake: Vec<Instant>,
    /// The last state of the second as the first one sees it, and since when it is that.
    states: BTreeMap<(usize, usize), (String, Instant)>,
    suspicions: Count,
    deaths: Count,
    /// After how long each that had slept was alive for all again.
    back: Vec<Duration>,
    /// The longest time for which one that was awake was held dead by another that was awake.
    longest: Duration,
    looks: u32,
}

/// How often something was said of machines.
#[derive(Default)]
struct Count {
    awake: u32,
    asleep: u32,
}

impl<'a> Watch<'a> {
    pub(crate) fn of(members: &'a [Member]) -> Watch<'a> {
        Watch {
            members,
            asleep: None,
            awake: vec![now(); members.len()],
            states: BTreeMap::new(),
            suspicions: Count::default(),
            deaths: Count::default(),
            back: Vec::new(),
            longest: Duration::ZERO,
            looks: 0,
        }
    }

    /// One is frozen.
    pub(crate) fn sleeps(&mut self, member: usize) {
        self.members[member].machine.node().signal("-STOP");
        self.asleep = Some(member);
    }

    /// It goes on, and is alive for all others before long.
    pub(crate) fn wakes(&mut self) {
        let member = self.asleep.take().expect("one sleeps");
        self.members[member].machine.node().signal("-CONT");
        let woke = now();
        self.awake[member] = woke;
        until("it is alive for all", || self.look().then_some(()));
        self.back.push(woke.elapsed());
    }

    pub(crate) fn look_on(&mut self, time: Duration) {
        let start = now();
        while start.elapsed() < time {
            self.look();
            std::thread::sleep(EVERY);
        }
    }

    /// Whether all who are awake see all others who are awake alive. Fails where one is held dead for good.
    pub(crate) fn look(&mut self) -> bool {
        self.looks += 1;
        let mut alive = true;
        for (observer, member) in self.members.iter().enumerate() {
            if self.asleep == Some(observer) {
                continue;
            }
            let nodes = member.nodes();
            assert_eq!(nodes.len(), self.members.len());
            for node in nodes {
                let found = self.members.iter().position(|it| node["name"] == it.name);
                let observed = found.expect("there are no others");
                let state = node["state"].as_str().expect("a state");
                alive &= self.note(observer, observed, state);
            }
        }
        alive
    }

    /// Whether one is seen as it should be.
    fn note(&mut self, observer: usize, observed: usize, state: &str) -> bool {
        let key = (observer, observed);
        let known = self.states.get(&key).map(|(known, _)| known.as_str());
        let asleep = self.asleep == Some(observed);
        if known != Some(state) {
            let count = match state {
                "suspect" => Some(&mut self.suspicions),
                "dead" => Some(&mut self.deaths),
                _ => None,
            };
            match (count, asleep) {
                (Some(count), true) => count.asleep += 1,
                (Some(count), false) => count.awake += 1,
                (None, _) => {}
            }
            self.states.insert(key, (state.to_owned(), now()));
        }
        if asleep {
            return true;
        }
        if state == "dead" {
            // What somebody slept through counts for neither.
            let since = self.states[&key].1;
            let since = since.max(self.awake[observer]).max(self.awake[observed]);
            self.longest = self.longest.max(since.elapsed());
            let name = |member: usize| &self.members[member].name;
            assert!(
                self.longest < FOR_GOOD,
                "{} holds {} dead for {:.2?}",
                name(observer),
                name(observed),
                since.elapsed()
            );
        }
        state == "alive"
    }
}

impl fmt::Display for Watch<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Watch {
            suspicions, deaths, ..
        } = self;
        write!(
            out,
            "{} sleeps, {} looks: {} suspicions of the awake and {} of sleepers; the awake held dead {} times, for {:.2?} \
             at most, sleepers {} times; alive for all again after {:.2?}",
            self.back.len(),
            self.looks,
            suspicions.awake,
            suspicions.asleep,
            deaths.awake,
            self.longest,
            deaths.asleep,
            self.back
        )
    }
}

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);
/// What is dead for so long is not about to be alive again: lists are compared every 15 s, and who did not answer is asked
/// again after 5 s.
const FOR_GOOD: Duration = Duration::from_secs(25);
