//! The one table of what a node runs: each child, which roles have it, and how long it may take to stop.
//!
//! Children are started in this order and stopped in reverse: whoever is asked stands before whoever asks, and
//! what owes the disk something goes last. A fallen child is started again by itself; the others go on,
//! because every letter between them may be lost and is said again.

use crate::supervisor::{Child, Start};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use troop_actors::admissions::{Admissions, AdmissionsArgs, Outcasts};
use troop_actors::certificate::RoleSet;
use troop_actors::doorkeeper::{Doorkeeper, DoorkeeperArgs};
use troop_actors::engine_process::{EngineProcess, EngineProcessArgs, Engines, Roster};
use troop_actors::gpu_monitor::policy::Policy;
use troop_actors::gpu_monitor::{GpuMonitor, GpuMonitorArgs};
use troop_actors::ids::{MemberId, NodeKey};
use troop_actors::keyring::{Keyring, KeyringArgs};
use troop_actors::ledger::{Ledger, LedgerArgs};
use troop_actors::membership::{Card, Membership, MembershipArgs};
use troop_actors::names;
use troop_actors::outbox::{Outbox, OutboxArgs};
use troop_actors::ports::Sensors;
use troop_actors::scheduler::{Scheduler, SchedulerArgs};
use troop_actors::shell::Node;
use troop_actors::ticket_issuer::{TicketIssuer, TicketIssuerArgs};
use troop_gateway::gateway::{Gateway, GatewayArgs, GatewayMessage};

/// What a node does for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It keeps the queue, the books and the keys.
    pub coordinator: bool,
    /// It serves models.
    pub worker: bool,
}

impl Roles {
    /// The same, as other nodes are told.
    pub fn set(self) -> RoleSet {
        let (
            mut set,
            Roles {
                coordinator,
                worker,
            },
        ) = (RoleSet::default(), self);
        if coordinator {
            set = set.and(RoleSet::COORDINATOR);
        }
        if worker {
            set = set.and(RoleSet::WORKER);
        }
        match coordinator || worker {
            true => set,
            false => RoleSet::CLIENT,
        }
    }
}

/// Everything the children of a node are made from, again and again.
#[derive(Clone)]
pub struct Roots {
    /// The node they share.
    pub node: Arc<Node>,
    /// Its key.
    pub key: NodeKey,
    /// Whose it is.
    pub owner: MemberId,
    /// The folder of its stores.
    pub folder: PathBuf,
    /// Who was put out of its troop.
    pub outcasts: Outcasts,
    /// What it says of itself to other nodes.
    pub card: Card,
    /// How engines are started.
    pub engines: Arc<dyn Engines>,
    /// What is served from the start.
    pub served: Roster,
    /// What its owner lends of it.
    pub policy: Policy,
    /// How it is looked at.
    pub sensors: Arc<dyn Sensors>,
    /// The gateway's own.
    pub gateway: GatewayArgs,
    /// Where the present gateway is.
    pub gateway_now: Arc<Mutex<Option<ActorRef<GatewayMessage>>>>,
}

/// The children of a node with these roles, in the order of their starting.
pub fn children(roots: &Roots, roles: Roles) -> Vec<Child> {
    let Roles {
        coordinator,
        worker,
    } = roles;
    let short = Duration::from_secs(2);
    // An engine gets a moment to leave its step; the gateway has drained before it is stopped.
    let long = Duration::from_secs(5);
    let table: Vec<(&'static str, bool, Duration, Start)> = vec![
        (names::LEDGER, coordinator, long, ledger(roots)),
        (names::KEYRING, coordinator, long, keyring(roots)),
        (names::ADMISSIONS, coordinator, long, admissions(roots)),
        (names::OUTBOX, true, long, outbox(roots)),
        (
            names::TICKET_ISSUER,
            coordinator,
            short,
            ticket_issuer(roots),
        ),
        (names::SCHEDULER, coordinator, short, scheduler(roots)),
        (names::ENGINE_PROCESS, worker, long, engine_process(roots)),
        (names::GPU_MONITOR, worker, short, gpu_monitor(roots)),
        (names::DOORKEEPER, worker, short, doorkeeper(roots)),
        (names::MEMBERSHIP, true, short, membership(roots)),
        (names::GATEWAY, true, long, gateway(roots)),
    ];
    let here = table.into_iter().filter(|(_, here, _, _)| *here);
    here.map(|(name, _, shutdown, start)| Child {
        name,
        start,
        shutdown,
    })
    .collect()
}

/// Makes a start of how the arguments are made: every start gets fresh ones.
fn start<A>(
    roots: &Roots,
    name: &'static str,
    actor: fn() -> A,
    args: impl Fn(&Roots) -> A::Arguments + Clone + Send + Sync + 'static,
) -> Start
where
    A: Actor,
{
    let roots = roots.clone();
    Box::new(move |parent: ActorCell| {
        let (roots, args) = (roots.clone(), args.clone());
        Box::pin(async move {
            let name = names::actor(roots.node.wiring.me, name);
            let args = args(&roots);
            let started = Actor::spawn_linked(Some(name), actor(), args, parent).await;
            let (actor, _) = started.map_err(reason)?;
            Ok::<ActorCell, ActorProcessingErr>(actor.get_cell())
        })
    })
}

/// Why an actor did not start, in its own words.
pub(crate) fn reason(error: SpawnErr) -> ActorProcessingErr {
    match error {
        SpawnErr::StartupFailed(reason) => reason,
        other => other.into(),
    }
}

fn ledger(roots: &Roots) -> Start {
    start(
        roots,
        names::LEDGER,
        || Ledger,
        |roots| LedgerArgs {
            node: roots.node.clone(),
            path: roots.folder.join("ledger.redb"),
        },
    )
}

fn keyring(roots: &Roots) -> Start {
    start(
        roots,
        names::KEYRING,
        || Keyring,
        |roots| KeyringArgs {
            node: roots.node.clone(),
            path: roots.folder.join("keyring.redb"),
        },
    )
}

fn admissions(roots: &Roots) -> Start {
    start(
        roots,
        names::ADMISSIONS,
        || Admissions,
        |roots| AdmissionsArgs {
            node: roots.node.clone(),
            key: roots.key.clone(),
            path: roots.folder.join("admissions.redb"),
            outcasts: roots.outcasts.clone(),
        },
    )
}

fn outbox(roots: &Roots) -> Start {
    start(
        roots,
        names::OUTBOX,
        || Outbox,
        |roots| OutboxArgs {
            node: roots.node.clone(),
            path: roots.folder.join("outbox.redb"),
        },
    )
}

fn ticket_issuer(roots: &Roots) -> Start {
    start(
        roots,
        names::TICKET_ISSUER,
        || TicketIssuer,
        |roots| TicketIssuerArgs {
            node: roots.node.clone(),
            key: roots.key.clone(),
            path: roots.folder.join("tickets.redb"),
            outcasts: roots.outcasts.clone(),
        },
    )
}

fn scheduler(roots: &Roots) -> Start {
    start(
        roots,
        names::SCHEDULER,
        || Scheduler,
        |roots| SchedulerArgs {
            node: roots.node.clone(),
        },
    )
}

fn engine_process(roots: &Roots) -> Start {
    start(
        roots,
        names::ENGINE_PROCESS,
        || EngineProcess,
        |roots| EngineProcessArgs {
            node: roots.node.clone(),
            key: roots.key.clone(),
            owner: roots.owner,
            engines: roots.engines.clone(),
            served: roots.served.clone(),
        },
    )
}

fn gpu_monitor(roots: &Roots) -> Start {
    start(
        roots,
        names::GPU_MONITOR,
        || GpuMonitor,
        |roots| GpuMonitorArgs {
            node: roots.node.clone(),
            policy: roots.policy,
            sensors: roots.sensors.clone(),
        },
    )
}

fn doorkeeper(roots: &Roots) -> Start {
    start(
        roots,
        names::DOORKEEPER,
        || Doorkeeper,
        |roots| DoorkeeperArgs {
            node: roots.node.clone(),
            outcasts: roots.outcasts.clone(),
        },
    )
}

fn membership(roots: &Roots) -> Start {
    start(
        roots,
        names::MEMBERSHIP,
        || Membership,
        |roots| MembershipArgs {
            node: roots.node.clone(),
            card: roots.card.clone(),
            outcasts: roots.outcasts.clone(),
        },
    )
}

/// The gateway also says where it is, for whoever drains it.
fn gateway(roots: &Roots) -> Start {
    let roots = roots.clone();
    Box::new(move |parent: ActorCell| {
        let roots = roots.clone();
        Box::pin(async move {
            let name = names::actor(roots.node.wiring.me, names::GATEWAY);
            let started = Actor::spawn_linked(Some(name), Gateway, roots.gateway, parent).await;
            let (actor, _) = started.map_err(reason)?;
            let mut now = roots
                .gateway_now
                .lock()
                .unwrap_or_else(|dead| dead.into_inner());
            *now = Some(actor.clone());
            Ok::<ActorCell, ActorProcessingErr>(actor.get_cell())
        })
    })
}
