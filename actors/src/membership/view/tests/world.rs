//! Many views in one thread: a network that loses, delays and cuts, nodes that crash, sleep and come back.

use super::super::View;
use crate::certificate::RoleSet;
use crate::contract::{Core, Time};
use crate::ids::NodeId;
use crate::membership::dice::Dice;
use crate::membership::protocol::{Card, Effect, Errand, Input, Line, Row, State};
use crate::ports::Link;
use std::collections::BTreeMap;

pub(super) struct World {
    pub(super) now: Time,
    pub(super) machines: Vec<Machine>,
    dice: Dice,
    /// Of a thousand datagrams, so many are lost.
    pub(super) loss: u64,
    /// Whether two machines cannot reach each other now.
    pub(super) cut: fn(usize, usize) -> bool,
    under_way: BTreeMap<(Time, u64), Happening>,
    number: u64,
    /// Connections, and when something came on them last: (from, to) -> (signs, last sign).
    lines: BTreeMap<(usize, usize), (u64, Time)>,
    /// Machines that were running and had been for a while when somebody took them for dead.
    pub(super) slandered: Vec<(Time, usize, usize)>,
    /// Who was taken for dead by whom, when.
    pub(super) deaths: Vec<(Time, usize, usize)>,
}

pub(super) struct Machine {
    pub(super) view: Option<View>,
    pub(super) sleeps_until: Option<Time>,
    /// When it last was not well: it may be taken for dead for a while after.
    unwell: Time,
    /// How far its clock is off, in milliseconds.
    pub(super) clock_behind: u64,
    dead: Vec<bool>,
}

enum Happening {
    Datagram(usize, usize, Vec<u8>),
    Ask(usize, usize, Card, u64),
    Answer(usize, usize, Option<(Card, Vec<Row>)>),
}

pub(super) fn id(machine: usize) -> NodeId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&(machine as u64 + 1).to_be_bytes());
    NodeId(bytes)
}

fn machine(node: NodeId) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&node.0[..8]);
    u64::from_be_bytes(bytes) as usize - 1
}

impl World {
    /// So many machines; the first is the coordinator, and all start at once.
    pub(super) fn new(machines: usize, seed: u64) -> World {
        let empty = || Machine {
            view: None,
            sleeps_until: None,
            unwell: Time(0),
            clock_behind: 0,
            dead: vec![false; machines],
        };
        let mut world = World {
            now: Time(START),
            machines: (0..machines).map(|_| empty()).collect(),
            dice: Dice(seed),
            loss: 0,
            cut: |_, _| false,
            under_way: BTreeMap::new(),
            number: 0,
            lines: BTreeMap::new(),
            slandered: Vec::new(),
            deaths: Vec::new(),
        };
        (0..machines).for_each(|machine| world.start(machine));
        world
    }

    pub(super) fn start(&mut self, machine: usize) {
        let card = Card {
            incarnation: 0,
            roles: RoleSet::CLIENT,
            name: format!("n{machine}"),
            addresses: vec![([10, 0, 0, 1], 1 + machine as u16).into()],
        };
        let now = self.clock(machine);
        let seed = self.dice.roll();
        self.unwell(machine);
        self.machines[machine].dead.fill(false);
        self.machines[machine].view = Some(View::new(id(machine), id(0), card, now, seed));
    }

    /// Kills a machine: nobody hears of it.
    pub(super) fn crash(&mut self, machine: usize) {
        self.machines[machine].view = None;
        self.lines
            .retain(|(from, to), _| *from != machine && *to != machine);
    }

    /// Stops a machine in good order.
    pub(super) fn stop(&mut self, machine: usize) {
        self.input(machine, Input::Leave);
        self.crash(machine);
    }

    pub(super) fn sleep(&mut self, machine: usize, ms: u64) {
        self.machines[machine].sleeps_until = Some(self.now.plus_ms(ms));
    }

    fn unwell(&mut self, machine: usize) {
        self.machines[machine].unwell = self.now;
    }

    fn clock(&self, machine: usize) -> Time {
        Time(self.now.0 - self.machines[machine].clock_behind)
    }

    fn awake(&self, machine: usize) -> bool {
        let machine = &self.machines[machine];
        machine.view.is_some() && machine.sleeps_until.is_none()
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        !(self.cut)(from, to)
    }

    /// Of a thousand, so many times it is so.
    fn chance(&mut self, thousandths: u64) -> bool {
        self.dice.roll() % 1000 < thousandths
    }

    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        while self.now < end {
            self.now = self.now.plus_ms(1);
            self.millisecond();
        }
    }

    fn millisecond(&mut self) {
        for machine in 0..self.machines.len() {
            if self.machines[machine]
                .sleeps_until
                .is_some_and(|end| end <= self.now)
            {
                self.machines[machine].sleeps_until = None;
                self.unwell(machine);
            }
        }
        while let Some(first) = self.under_way.first_entry()
            && first.key().0 <= self.now
        {
            match first.remove() {
                Happening::Datagram(from, to, bytes) => self.arrives(from, to, bytes),
                Happening::Ask(from, to, card, seen) => self.asked(from, to, card, seen),
                Happening::Answer(from, to, answer) => {
                    self.sign(from, to);
                    let from = id(from);
                    self.input(to, Input::Answered { from, answer });
                }
            }
        }
        for machine in 0..self.machines.len() {
            let now = self.clock(machine);
            if self.awake(machine)
                && let Some(view) = &mut self.machines[machine].view
                && view.deadline().is_some_and(|deadline| deadline <= now)
            {
                let mut out = Vec::new();
                view.wake(now, &mut out);
                view.check();
                self.perform(machine, out);
            }
        }
        if self.now.0.is_multiple_of(100) {
            self.look();
        }
    }

    /// Says something to a machine that runs; one that sleeps hears it when it wakes up.
    pub(super) fn input(&mut self, machine: usize, input: Input) {
        if !self.awake(machine) {
            return;
        }
        let now = self.clock(machine);
        if let Some(view) = &mut self.machines[machine].view {
            let mut out = Vec::new();
            view.step(now, input, &mut out);
            view.check();
            self.perform(machine, out);
        }
    }

    fn later(&mut self, ms: u64, happening: Happening) {
        self.number += 1;
        let at = self.now.plus_ms(ms);
        self.under_way.insert((at, self.number), happening);
    }

    fn perform(&mut self, from: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Errand(Errand::Send { to, bytes }) => {
                    let to = machine(to);
                    if self.connected(from, to) && !self.chance(self.loss) {
                        let delay = 1 + self.dice.roll() % 5;
                        self.later(delay, Happening::Datagram(from, to, bytes));
                    }
                }
                Effect::Errand(Errand::Ask { to, card, seen }) => {
                    let to = machine(to);
                    self.connected(from, to);
                    let delay = self.stream_delay();
                    self.later(delay, Happening::Ask(from, to, card, seen));
                }
                Effect::Errand(Errand::Look) => {
                    let links = self.links(from);
                    self.input(from, Input::Links(links));
                }
                Effect::Errand(Errand::Know { .. }) => {}
                Effect::Lost { .. } | Effect::Back { .. } => assert_eq!(from, 0),
            }
        }
    }

    /// Whether there is a connection; if not, one is made for the next time.
    fn connected(&mut self, from: usize, to: usize) -> bool {
        let there = self.lines.contains_key(&(from, to));
        if !there && self.awake(to) && self.reaches(from, to) {
            for (one, other) in [(from, to), (to, from)] {
                self.lines.insert((one, other), (1, self.now));
                let node = id(one);
                let (name, roles) = (String::new(), RoleSet::CLIENT);
                self.input(other, Input::Met { node, name, roles });
            }
        }
        there
    }

    /// What is sent on a stream comes through, if not at the first try.
    fn stream_delay(&mut self) -> u64 {
        let (mut delay, mut again) = (2, 30);
        while self.chance(self.loss) && again < 4_000 {
            delay += again;
            again *= 2;
        }
        delay
    }

    fn arrives(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.reaches(from, to) {
            self.sign(from, to);
            let from = id(from);
            self.input(to, Input::Datagram { from, bytes });
        }
    }

    fn asked(&mut self, from: usize, to: usize, card: Card, seen: u64) {
        if !self.reaches(from, to) || !self.awake(to) {
            // A question that nobody answers has a deadline.
            return self.later(5_000, Happening::Answer(to, from, None));
        }
        self.sign(from, to);
        let asker = id(from);
        self.input(to, Input::Asked { from: asker, card });
        if let Some(view) = &self.machines[to].view {
            let answer = view.answer(seen);
            let delay = self.stream_delay();
            self.later(delay, Happening::Answer(to, from, Some(answer)));
        }
    }

    fn sign(&mut self, from: usize, to: usize) {
        let now = self.now;
        if let Some((signs, last)) = self.lines.get_mut(&(from, to)) {
            (*signs, *last) = (*signs + 1, now);
        }
    }

    fn links(&mut self, to: usize) -> Vec<Link> {
        let from: Vec<usize> = (0..self.machines.len()).collect();
        let mut links = Vec::new();
        for from in from {
            let Some((_, last)) = self.lines.get(&(from, to)).copied() else {
                continue;
            };
            // A connection on which nothing happens is kept alive; one that is not is over after five seconds.
            if self.now.since_ms(last) >= 1_500
                && self.awake(from)
                && self.reaches(from, to)
                && !self.chance(self.loss)
            {
                self.sign(from, to);
            }
            let (signs, last) = self.lines[&(from, to)];
            if self.now.since_ms(last) > 5_000 {
                self.lines.remove(&(from, to));
                self.lines.remove(&(to, from));
                continue;
            }
            links.push(Link {
                node: id(from),
                address: ([10, 0, 0, 1], 1 + from as u16).into(),
                rtt_micros: 3_000,
                heard: signs,
            });
        }
        links
    }

    /// Notes who takes whom for dead.
    fn look(&mut self) {
        for by in 0..self.machines.len() {
            if !self.awake(by) {
                continue;
            }
            let gone = self.machines[by].view.as_ref().map(View::gone);
            let gone = gone.unwrap_or_default();
            for about in 0..self.machines.len() {
                let dead = gone.contains(&id(about));
                if dead && !self.machines[by].dead[about] {
                    self.deaths.push((self.now, by, about));
                    let unwell = self.now.since_ms(self.machines[about].unwell);
                    if self.awake(about) && unwell > WELL_MS {
                        self.slandered.push((self.now, by, about));
                    }
                }
                self.machines[by].dead[about] = dead;
            }
        }
    }

    /// How `by` sees `about`.
    pub(super) fn state(&self, by: usize, about: usize) -> Option<State> {
        let view = self.machines[by].view.as_ref()?;
        view.state_of(id(about))
    }

    pub(super) fn lines(&self, by: usize) -> Vec<Line> {
        let view = self.machines[by].view.as_ref().expect("it runs");
        view.lines(self.clock(by))
    }

    /// Whether every machine that runs sees all that run, and no other.
    pub(super) fn agrees(&self) -> bool {
        let runs = |machine: usize| self.machines[machine].view.is_some();
        let all = || 0..self.machines.len();
        let alive = |by: usize, about: usize| {
            let state = self.state(by, about);
            matches!(state, Some(State::Alive | State::Suspect))
        };
        all().filter(|by| runs(*by)).all(|by| {
            let mut others = all().filter(|about| *about != by);
            others.all(|about| alive(by, about) == runs(about))
        })
    }

    /// Runs until all agree; how long that took.
    pub(super) fn settle(&mut self, ms_max: u64) -> u64 {
        let start = self.now;
        while !self.agrees() {
            let took = self.now.since_ms(start);
            assert!(took < ms_max, "they do not agree within {ms_max} ms");
            self.run(100);
        }
        self.now.since_ms(start)
    }
}

const START: u64 = 1_700_000_000_000;
/// So long after it slept or started, a machine's old lives may still be talked of.
const WELL_MS: u64 = 60_000;
