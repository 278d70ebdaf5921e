//! Time, and everything that is about to happen in it.
//!
//! One queue, ordered by time and then by the order in which things were put there, so that equal times are
//! no source of chance. A run has three parts: *safety*, in which faults strike while clients ask; *rest*, in
//! which everything is healed and must come to an end; and *probes*, new requests that a healed troop must
//! fulfil. After every event the checkers have had their say, and every core has asserted its invariants.

mod carry;
mod describe;
mod engines;
mod forgery;
mod freeloading;
mod heal;
mod lives;
mod machine;
mod rotations;
mod strikes;
mod watch;

use crate::checker::books::Books;
use crate::checker::endings::{Ending, Endings};
use crate::checker::keys::Keys;
use crate::checker::streams::Streams;
use crate::checker::tickets::Tickets;
use crate::checker::{Verdict, Violation};
use crate::dice::Dice;
use crate::engine::right;
use crate::faults::Fault;
use crate::network::{Conditions, Network};
use crate::node::{Actor, Node};
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::workload::{self, Wish};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use troop_actors::engine::frames::{FromEngine, ToEngine};
use troop_actors::ids::{AttemptId, MemberId, NodeId, NodeKey, Passport, RequestId};
use troop_actors::receipt::Claim;
use troop_actors::routing::Message;
use troop_actors::session::protocol::{Input, Order};

/// Something that is about to happen.
#[derive(Clone, Debug)]
enum Happening {
    /// A message arrives at a node; one from the same node only in the same life of its process.
    Letter {
        from: NodeId,
        to: usize,
        life: Option<u64>,
        message: Box<Message>,
    },
    /// An actor's timer rings, as it was armed to.
    Wake {
        node: usize,
        actor: Actor,
        life: u64,
        rings: u64,
    },
    /// The first write on its way to a disk arrives there.
    Written {
        node: usize,
        actor: Actor,
        life: u64,
    },
    /// A node's process starts.
    Start { node: usize },
    /// An actor starts again.
    StartActor {
        node: usize,
        actor: Actor,
        life: u64,
    },
    /// An engine has loaded its model.
    Loaded { node: usize, life: u64 },
    /// An engine reads a frame.
    ToChild {
        node: usize,
        life: u64,
        frame: Box<ToEngine>,
    },
    /// An engine computes a step.
    Step { node: usize, life: u64 },
    /// A frame of an engine is read by its node.
    FromChild {
        node: usize,
        process: u64,
        life: u64,
        frame: Box<FromEngine>,
    },
    /// A node hears that its engine is gone.
    ChildGone {
        node: usize,
        process: u64,
        life: u64,
    },
    /// A monitor has looked at its machine.
    Looked { node: usize, life: u64, look: u64 },
    /// A client asks.
    Ask { wish: Box<Wish> },
    /// A client loses patience.
    HangUp { node: usize, request: RequestId },
    /// A fault strikes, and is drawn again.
    Strike { fault: Fault },
    /// The owner of the coordinator has tickets signed with another key.
    Rotate { revokes: bool },
    /// Links work again.
    Mend { links: Vec<(usize, usize)> },
    /// A disk is fast again.
    FastDisk { node: usize },
    /// A client looks whether it should ask again.
    Retry { request: RequestId, wish: Box<Wish> },
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The hash of its trace.
    pub hash: u64,
    /// Lines of its trace.
    pub events: u64,
    /// Simulated microseconds.
    pub simulated: u64,
    /// Faults that struck.
    pub strikes: u64,
    /// How requests ended.
    pub endings: BTreeMap<Ending, u64>,
    /// Entries of the ledger.
    pub entries: u64,
    /// Attempts let in.
    pub attempts: usize,
    /// Holds that were paid by a voucher.
    pub vouched: usize,
}

/// A whole troop and everything around it.
pub struct World {
    scenario: Scenario,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    nodes: Vec<Node>,
    members: Vec<MemberId>,
    model: Passport,
    network: Network,
    dice: Dice,
    strikes: u64,
    healed: bool,
    probes: Vec<RequestId>,
    books: Books,
    endings: Endings,
    streams: Streams,
    tickets: Tickets,
    keys: Keys,
    /// Receipts that an outbox has on its disk and that are neither paid nor refused.
    owed: BTreeSet<AttemptId>,
    /// Claims that an outbox had on its disk.
    claims: BTreeMap<AttemptId, Claim>,
    /// Attempts whose clients kept the receipt to themselves.
    unsigned: BTreeSet<AttemptId>,
    /// What has happened.
    pub trace: Trace,
}

impl World {
    /// The world of a scenario, before anything has happened in it.
    pub fn new(scenario: Scenario, prints: bool) -> World {
        let mut dice = Dice::new(scenario.seed).fork("world");
        let keys: Vec<NodeKey> = (0..scenario.nodes())
            .map(|_| NodeKey::from_secret(dice.bytes()))
            .collect();
        let coordinator = keys[0].node();
        let members: Vec<MemberId> = (0..scenario.members.len())
            .map(|member| MemberId::of_name(coordinator, &format!("member-{member}")))
            .collect();
        let nodes = keys
            .into_iter()
            .enumerate()
            .map(|(index, key)| Node::new(key, coordinator, members[scenario.owner(index)]));
        let nodes = nodes.collect();
        let network = Network::new(Conditions::CALM, dice.fork("network"));
        World {
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            nodes,
            members,
            model: Passport(dice.bytes()),
            network,
            dice,
            strikes: 0,
            healed: false,
            probes: Vec::new(),
            books: Books::default(),
            endings: Endings::default(),
            streams: Streams::default(),
            tickets: Tickets::default(),
            keys: Keys::default(),
            owed: BTreeSet::new(),
            claims: BTreeMap::new(),
            unsigned: BTreeSet::new(),
            trace: Trace::new(prints),
            scenario,
        }
    }

    /// Runs it to its end, or to the first property that breaks.
    pub fn run(&mut self) -> Result<Summary, Violation> {
        self.begin();
        let safety = self.scenario.safety;
        self.run_until(safety)?;
        self.rest()?;
        self.probe()?;
        Ok(Summary {
            hash: self.trace.hash(),
            events: self.trace.lines(),
            simulated: self.now,
            strikes: self.strikes,
            endings: self.endings.counts(),
            entries: self.books.head().0,
            attempts: self.tickets.count(),
            vouched: self.books.vouched_for(),
        })
    }

    fn begin(&mut self) {
        let about = self.scenario.describe();
        self.tell(&about);
        for node in 0..self.nodes.len() {
            if let Some(strength) = self.scenario.plan.strength(Fault::Skew) {
                let most = (2_000_000.0 * strength) as u64;
                self.nodes[node].skew = self.dice.between(0, 2 * most) as i64 - most as i64;
            }
            let at = self.dice.below(500_000);
            self.push(at, Happening::Start { node });
        }
        self.network.conditions = self.scenario.plan.conditions();
        let wishes = workload::draw(&self.scenario, self.model, &mut self.dice.fork("workload"));
        for wish in wishes {
            let wish = Box::new(wish);
            self.push(wish.at, Happening::Ask { wish });
        }
        self.plan_rotations();
        let faults: Vec<Fault> = self
            .scenario
            .plan
            .faults()
            .map(|(fault, _)| fault)
            .collect();
        for fault in faults {
            self.next_strike(fault);
        }
    }

    fn tell(&mut self, line: &str) {
        self.trace.tell(self.now, line);
    }

    fn push(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        let at = at.max(self.now);
        self.queue.push(Reverse((at, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    fn run_until(&mut self, until: u64) -> Verdict {
        while let Some(Reverse((at, sequence))) = self.queue.peek().copied() {
            if at > until {
                break;
            }
            self.queue.pop();
            self.now = at;
            let happening = self.happenings.remove(&sequence);
            self.happen(happening.expect("what is queued is there"))?;
        }
        self.now = until;
        self.endings.overdue(self.now, REQUEST_LIMIT)
    }

    fn happen(&mut self, happening: Happening) -> Verdict {
        if let Some(until) = self.stands_still(&happening) {
            self.push(until, happening);
            return Ok(());
        }
        match happening {
            Happening::Letter {
                from,
                to,
                life,
                message,
            } => {
                let node = &self.nodes[to];
                if !node.up || life.is_some_and(|life| life != node.life) {
                    return Ok(());
                }
                let line = format!("n{to} <- {}", describe::message(&message));
                self.tell(&line);
                match self.admitted(from, to, *message) {
                    Some(message) => self.deliver(to, message),
                    None => Ok(()),
                }
            }
            Happening::Wake {
                node,
                actor,
                life,
                rings,
            } => self.wake(node, actor, life, rings),
            Happening::Written { node, actor, life } => self.written(node, actor, life),
            Happening::Start { node } => self.start(node),
            Happening::StartActor { node, actor, life } => {
                if self.nodes[node].up && self.nodes[node].life == life {
                    self.start_actor(node, actor)?;
                }
                Ok(())
            }
            Happening::Loaded { node, life } => self.child_loaded(node, life),
            Happening::ToChild { node, life, frame } => self.child_hears(node, life, *frame),
            Happening::Step { node, life } => self.child_steps(node, life),
            Happening::FromChild {
                node,
                process,
                life,
                frame,
            } => self.child_says(node, process, life, *frame),
            Happening::ChildGone {
                node,
                process,
                life,
            } => self.child_gone(node, process, life),
            Happening::Looked { node, life, look } => self.looked(node, life, look),
            Happening::Ask { wish } => self.ask(*wish).map(|_| ()),
            Happening::HangUp { node, request } => {
                if self.nodes[node].sessions.contains_key(&request) {
                    self.endings.hung_up(request);
                    let line = format!("n{node} client of {request:?} hangs up");
                    self.tell(&line);
                    self.deliver(node, Message::Session(request, Input::HangUp))?;
                }
                Ok(())
            }
            Happening::Strike { fault } => self.strike(fault),
            Happening::Rotate { revokes } => self.rotate(revokes),
            Happening::Mend { links } => {
                if !self.healed {
                    links
                        .iter()
                        .for_each(|(from, to)| self.network.mend(*from, *to));
                    self.tell("links mended");
                }
                Ok(())
            }
            Happening::FastDisk { node } => {
                self.nodes[node].commit = crate::node::COMMIT;
                Ok(())
            }
            Happening::Retry { request, wish } => self.retry(request, *wish),
        }
    }

    /// Until when the node of a happening stands still, if it does now.
    fn stands_still(&self, happening: &Happening) -> Option<u64> {
        let node = match happening {
            Happening::Letter { to, .. } => *to,
            Happening::Wake { node, .. }
            | Happening::Written { node, .. }
            | Happening::Start { node }
            | Happening::StartActor { node, .. }
            | Happening::Loaded { node, .. }
            | Happening::ToChild { node, .. }
            | Happening::Step { node, .. }
            | Happening::FromChild { node, .. }
            | Happening::ChildGone { node, .. }
            | Happening::Looked { node, .. }
            | Happening::HangUp { node, .. } => *node,
            Happening::Ask { .. }
            | Happening::Strike { .. }
            | Happening::Rotate { .. }
            | Happening::Mend { .. }
            | Happening::FastDisk { .. }
            | Happening::Retry { .. } => return None,
        };
        let until = self.nodes[node].paused_until;
        (until > self.now).then_some(until)
    }

    /// A client asks at its node, if that is there. Returns the request's id.
    fn ask(&mut self, wish: Wish) -> Result<Option<RequestId>, Violation> {
        let node = wish.node;
        if !self.nodes[node].up {
            return Ok(None);
        }
        let request = RequestId(self.dice.bytes());
        let order = Order {
            request,
            payer: self.members[wish.member],
            generate: wish.generate.clone(),
        };
        self.streams.expect(request, right(&wish.generate));
        self.endings.begun(request, node, self.now)?;
        let line = format!(
            "n{node} client asks {request:?}: member {}, {} prompt bytes, {} x {} tokens",
            wish.member,
            wish.generate.prompt.bytes(),
            wish.generate.choices,
            wish.generate.tokens_max
        );
        self.tell(&line);
        if let Some(patience) = wish.patience {
            self.push(self.now + patience, Happening::HangUp { node, request });
        }
        if wish.retries > 0 {
            let again = Happening::Retry {
                request,
                wish: Box::new(wish),
            };
            self.push(self.now + RETRY_AFTER, again);
        }
        self.open_session(node, order);
        self.deliver(node, Message::Session(request, Input::Begin))?;
        Ok(Some(request))
    }

    fn retry(&mut self, request: RequestId, mut wish: Wish) -> Verdict {
        match self.endings.of(request) {
            None if !self.healed => {
                let again = Happening::Retry {
                    request,
                    wish: Box::new(wish),
                };
                self.push(self.now + RETRY_AFTER, again);
            }
            Some(Ending::Refused | Ending::QueueTimeout | Ending::Lost | Ending::Interrupted)
                if !self.healed =>
            {
                wish.retries -= 1;
                self.ask(wish)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Microseconds after which a client looks whether its request failed.
const RETRY_AFTER: u64 = 3_000_000;
/// Microseconds within which any request must have ended, whatever goes wrong: what a session allows for
/// waiting, for each of its attempts and for leaving, and what a node may stand still.
const REQUEST_LIMIT: u64 = 900_000_000;
