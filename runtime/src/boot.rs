//! From a folder and a few options to a running node, and back to nothing in good order.

use crate::cluster::{self, Cluster};
use crate::enrolment::Enrolment;
use crate::home::{Home, HomeError};
use crate::leaves::sensors::SystemSensors;
use crate::leaves::{ChildEngines, EngineOptions, SystemClock, SystemEntropy};
use crate::machine;
use crate::neighbours;
use crate::supervisor::{Supervisor, SupervisorArgs, SupervisorMessage};
use crate::tree::{self, Roles, Roots};
use ractor::{Actor, ActorRef};
use std::fs::File;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use troop_actors::admissions::Outcasts;
use troop_actors::certificate::CertificateError;
use troop_actors::engine_process::{EngineProcessHandle, Roster, Served};
use troop_actors::gpu_monitor::policy::Policy;
use troop_actors::ids::{MemberId, digest};
use troop_actors::keyring::OWNER;
use troop_actors::ledger::LedgerHandle;
use troop_actors::ledger::protocol::GrantError;
use troop_actors::membership::Card;
use troop_actors::model_store::{Manifest, Store};
use troop_actors::ports::{Alone, Clock, Transport};
use troop_actors::price::CREDIT;
use troop_actors::routing::Wiring;
use troop_actors::shell::{Directory, Node};
use troop_gateway::backend::Actors;
use troop_gateway::gateway::{GatewayArgs, GatewayHandle, GatewayMessage};
use troop_gateway::limits::Limits;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// What it does.
    pub roles: Roles,
    /// Where it listens for HTTP.
    pub listen: Vec<SocketAddr>,
    /// Names of this machine that a client may use besides `localhost` and its addresses.
    pub hosts: Vec<String>,
    /// Whether clients on this machine need a key too.
    pub require_key: bool,
    /// The models it serves; they are in its store.
    pub models: Vec<Manifest>,
    /// How their engines are started.
    pub engines: EngineOptions,
    /// What its owner lends of it.
    pub policy: Policy,
    /// Where it listens for other nodes, the first that is free; a node that listens nowhere knows no other.
    pub quic: Vec<SocketAddr>,
    /// The troop it belongs to, if that is not its own.
    pub enrolment: Option<Enrolment>,
}

/// A node could not be started. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The port for other nodes cannot be had.
    #[error("{address} cannot be listened on: {error}")]
    Port {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// It cannot be what it was to be.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The models cannot be read.
    #[error(transparent)]
    Store(#[from] troop_actors::model_store::StoreError),
    /// An actor did not start.
    #[error("{0}")]
    Start(String),
}

/// A node that runs.
pub struct Running {
    /// Its actors and ports.
    pub node: Arc<Node>,
    /// Whose it is.
    pub owner: MemberId,
    /// Where it listens for HTTP.
    pub addresses: Vec<SocketAddr>,
    /// Its way to other nodes, if it has one.
    pub cluster: Option<Cluster>,
    /// Told when somebody asks it over HTTP to stop.
    pub stop_asked: Arc<Notify>,
    supervisor: ActorRef<SupervisorMessage>,
    /// Ended with it.
    _tasks: JoinSet<()>,
    end: JoinHandle<()>,
    gateway_now: Arc<Mutex<Option<ActorRef<GatewayMessage>>>>,
    _lock: File,
}

/// Starts a node in `home`.
pub async fn start(home: &Home, options: NodeOptions) -> Result<Running, BootError> {
    home.make()?;
    let lock = home.lock()?;
    let entropy = Arc::new(SystemEntropy);
    let key = home.key(&*entropy)?;
    let me = key.node();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let enrolment = options.enrolment;
    let (coordinator, owner, name) = match &enrolment {
        Some(enrolment) => {
            let certificate = enrolment.verify(me, clock.now())?;
            (enrolment.troop, certificate.member, certificate.name)
        }
        None => (me, MemberId::of_owner(me), machine::name()),
    };
    let certificate = enrolment.as_ref().map(|it| it.certificate.clone());
    let cluster = bind(&options.quic, |listen| cluster::Options {
        listen,
        key: key.clone(),
        certificate: certificate.clone().unwrap_or_default(),
        addresses: Vec::new(),
        clock: clock.clone(),
        entropy: entropy.clone(),
    })?;
    let transport: Arc<dyn Transport> = match &cluster {
        Some(cluster) => Arc::new(cluster.clone()),
        None => Arc::new(Alone),
    };
    let node = Arc::new(Node {
        wiring: Wiring { me, coordinator },
        clock: clock.clone(),
        entropy: entropy.clone(),
        transport,
        directory: Directory::default(),
    });
    let outcasts = Outcasts::default();
    let mut tasks = JoinSet::new();
    if let Some(cluster) = &cluster {
        let known = enrolment.as_ref().map(|it| it.addresses.clone());
        neighbours::open(&node, cluster, known.unwrap_or_default(), outcasts.clone());
        if let Some(enrolment) = enrolment {
            tasks.spawn(neighbours::keep_good(
                &node,
                cluster,
                enrolment,
                home.clone(),
            ));
        }
    }
    let start_error = |error: &dyn std::fmt::Display| BootError::Start(error.to_string());
    let engines = ChildEngines::new(home, options.engines).map_err(|error| start_error(&error))?;
    let served = options.models.iter().filter_map(|manifest| {
        Some(Served {
            model: manifest.passport()?,
            name: manifest.name.clone(),
            created_seconds: manifest.created_seconds,
        })
    });
    let stop_asked = Arc::new(Notify::new());
    let store = Arc::new(Store::open(home.path("models"))?);
    let gateway_now = Arc::new(Mutex::new(None));
    let roots = Roots {
        node: node.clone(),
        key: key.clone(),
        owner,
        folder: home.folder().to_owned(),
        outcasts,
        card: Card {
            // Every life of the membership takes the time of its beginning.
            incarnation: 0,
            roles: options.roles.set(),
            name,
            addresses: reached_at(&cluster)(),
        },
        engines: Arc::new(engines),
        served: Roster::new(served.collect()),
        policy: options.policy,
        sensors: Arc::new(SystemSensors::new()),
        gateway: GatewayArgs {
            me,
            owner,
            clock: clock.clone(),
            entropy,
            backend: Arc::new(
                Actors::new(node.clone(), key, owner, Some(store), options.roles.worker)
                    .reached_at(reached_at(&cluster)),
            ),
            listen: options.listen,
            bound: Arc::default(),
            require_key: options.require_key,
            hosts: options.hosts,
            socket: Some(home.socket()),
            limits: Limits::default(),
            stop: stop_asked.clone(),
        },
        gateway_now: gateway_now.clone(),
    };
    let children = tree::children(&roots, options.roles);
    let args = SupervisorArgs { children, clock };
    let (supervisor, end) = Actor::spawn(None, Supervisor, args)
        .await
        .map_err(|error| start_error(&tree::reason(error)))?;
    let mut running = Running {
        node,
        owner,
        addresses: Vec::new(),
        cluster: cluster.clone(),
        stop_asked,
        supervisor,
        _tasks: tasks,
        end,
        gateway_now,
        _lock: lock,
    };
    if options.roles.coordinator {
        running.open_books().await?;
    }
    running.addresses = patiently(async || running.gateway().addresses().await)
        .await
        .map_err(|error| start_error(&error))?;
    Ok(running)
}

impl Running {
    /// Where other nodes find it.
    pub fn reached_at(&self) -> Vec<SocketAddr> {
        reached_at(&self.cluster)()
    }

    /// The present gateway; its supervisor may be starting its successor.
    fn gateway(&self) -> GatewayHandle {
        let now = self
            .gateway_now
            .lock()
            .unwrap_or_else(|dead| dead.into_inner());
        GatewayHandle(now.clone().expect("every node is started with a gateway"))
    }

    /// The owner's first credits: one grant in the life of these books.
    async fn open_books(&self) -> Result<(), BootError> {
        let mut id = [0; 16];
        id.copy_from_slice(&digest("troop/grant/opening/v1", &[&self.owner.0]).0[..16]);
        let ledger = LedgerHandle::new(self.node.clone());
        // The same id twice is one grant, so whatever came of a try that was cut short, another does no harm.
        let granted =
            patiently(
                async || match ledger.grant(id, self.owner, OWNER, OPENING).await {
                    Ok(Err(GrantError::Unwritten)) => Err(GrantError::Unwritten.to_string()),
                    Ok(answer) => Ok(answer),
                    Err(away) => Err(away.to_string()),
                },
            );
        let granted = granted.await.map_err(BootError::Start)?;
        granted.map_err(|error| BootError::Start(error.to_string()))
    }

    /// Ends when the node gives up by itself.
    pub async fn fallen(&mut self) {
        let _ = (&mut self.end).await;
    }

    /// Lets open requests finish for `grace`, ends the others, then stops every actor in reverse order.
    /// Returns how many requests had to be ended.
    pub async fn stop(self, grace: Duration) -> usize {
        // The door first: whoever comes after it hears that the node stops, and not that it serves nothing.
        let _ = patiently(async || self.gateway().refuse().await).await;
        let keeper = EngineProcessHandle::new(self.node.clone());
        let _ = keeper.drain(grace).await;
        let left = self.gateway().drain(grace).await.unwrap_or(0);
        let _ = ractor::call_t!(self.supervisor, SupervisorMessage::Stop, STOP_MS_MAX);
        if let Some(cluster) = &self.cluster {
            cluster.close().await;
        }
        left
    }
}

/// Takes the first of the ports that is free.
fn bind(
    listen: &[SocketAddr],
    options: impl Fn(SocketAddr) -> cluster::Options,
) -> Result<Option<Cluster>, BootError> {
    let mut refused = None;
    for address in listen {
        match Cluster::bind(options(*address)) {
            Ok(cluster) => return Ok(Some(cluster)),
            Err(error) => {
                let address = *address;
                refused.get_or_insert(BootError::Port { address, error });
            }
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Where others find a node, whenever that is asked.
fn reached_at(cluster: &Option<Cluster>) -> impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static {
    let bound: Vec<_> = cluster.iter().flat_map(Cluster::address).collect();
    move || machine::reachable(&bound)
}

/// Asks an actor until it answers: one that has fallen a moment ago is being started again.
async fn patiently<T, E>(mut ask: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    for _ in 1..ASKS_MAX {
        if let Ok(answer) = ask().await {
            return Ok(answer);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    ask().await
}

/// How often somebody who does not answer is asked, and what lies between: longer than a supervisor tries.
const ASKS_MAX: u32 = 60;
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// What a new node's owner begins with.
const OPENING: u64 = 1_000 * CREDIT;
/// How long all actors together may take to stop.
const STOP_MS_MAX: u64 = 20_000;
