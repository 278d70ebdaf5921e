//! A node that says what a test tells it to, and a client that speaks plain bytes.

mod answer;

pub(crate) use answer::Answer;

use crate::backend::{Backend, Check, Later, Model};
use crate::control;
use crate::gateway::connection::{Peer, serve};
use crate::gateway::shared::Shared;
use crate::gateway::{Gateway, GatewayArgs};
use crate::limits::Limits;
use crate::problem::Problem;
use ractor::{Actor, ActorCell};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc::unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use troop_actors::contract::Time;
use troop_actors::generate::Finish;
use troop_actors::ids::{MemberId, NodeId, Passport};
use troop_actors::ports::{Clock, Entropy};
use troop_actors::session::Deliveries;
use troop_actors::session::protocol::{Delivery, Order};

/// What a scripted session does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// It delivers something.
    Say(Delivery),
    /// It is silent for a while.
    Pause(Duration),
}

/// The scripted node.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) steps: Mutex<Vec<Step>>,
    pub(crate) refuses: Mutex<Option<Problem>>,
    pub(crate) orders: Mutex<Vec<Order>>,
    pub(crate) hang_ups: Arc<AtomicUsize>,
    pub(crate) sick: AtomicBool,
    sessions: Mutex<JoinSet<()>>,
}

pub(crate) const OWNER: MemberId = MemberId([1; 16]);
pub(crate) const GUEST: MemberId = MemberId([2; 16]);
pub(crate) const ME: NodeId = NodeId([7; 32]);
pub(crate) const WORKER: NodeId = NodeId([8; 32]);
pub(crate) const PASSPORT: Passport = Passport([9; 32]);
pub(crate) const GUEST_KEY: &str = "troop-guest-key";

/// The deliveries of a request that says `words`, in order, and ends.
pub(crate) fn saying(words: &[&str]) -> Vec<Step> {
    let mut steps = vec![Step::Say(Delivery::Started {
        prompt_tokens: 5,
        worker: WORKER,
    })];
    steps.extend(words.iter().map(|word| {
        Step::Say(Delivery::Text {
            choice: 0,
            text: (*word).to_owned(),
            tokens: Vec::new(),
        })
    }));
    steps.push(Step::Say(Delivery::Ended {
        choice: 0,
        finish: Finish::Stop,
    }));
    steps.push(Step::Say(Delivery::Done {
        prompt_tokens: 5,
        reused_tokens: 2,
        completion_tokens: words.len() as u32,
    }));
    steps
}

fn now<'a, T: Send + 'a>(answer: T) -> Later<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Backend for Scripted {
    fn open(&self, order: Order, _: ActorCell) -> Later<'_, Result<Deliveries, Problem>> {
        self.orders.lock().expect("no test panics here").push(order);
        if let Some(problem) = self.refuses.lock().expect("no test panics here").clone() {
            return now(Err(problem));
        }
        let steps = self.steps.lock().expect("no test panics here").clone();
        let (sender, receiver) = unbounded_channel();
        let hang_ups = self.hang_ups.clone();
        self.sessions
            .lock()
            .expect("no test panics here")
            .spawn(async move {
                for step in steps {
                    let gone = match step {
                        Step::Say(delivery) => sender.send(delivery).is_err(),
                        Step::Pause(time) => tokio::select! {
                            () = sleep(time) => false,
                            () = sender.closed() => true,
                        },
                    };
                    if gone {
                        hang_ups.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                }
            });
        now(Ok(receiver))
    }

    fn models(&self) -> Later<'_, Result<Vec<Model>, Problem>> {
        let model = |name: &str, passport| Model {
            name: name.to_owned(),
            passport,
            context: 8192,
            created_seconds: 1_700_000_000,
        };
        let named = model("smollm2", PASSPORT);
        now(Ok(vec![named, model("org/qwen3:0.6b", Passport([6; 32]))]))
    }

    fn who<'a>(&'a self, key: &'a str) -> Later<'a, Result<Option<MemberId>, Problem>> {
        now(Ok((key == GUEST_KEY).then_some(GUEST)))
    }

    fn checks(&self) -> Later<'_, Vec<Check>> {
        let ok = !self.sick.load(Ordering::SeqCst);
        let detail = if ok { "smollm2" } else { "none is loaded" };
        now(vec![Check {
            name: "models",
            ok,
            detail: detail.to_owned(),
        }])
    }

    fn engines(&self) -> Later<'_, Result<Vec<control::Engine>, Problem>> {
        now(Ok(Vec::new()))
    }

    fn queue(&self) -> Later<'_, Result<control::Queue, Problem>> {
        now(Ok(control::Queue::default()))
    }

    fn account<'a>(
        &'a self,
        member: Option<&'a str>,
    ) -> Later<'a, Result<control::Account, Problem>> {
        now(Ok(control::Account {
            member: OWNER.to_string(),
            name: member.unwrap_or("owner").to_owned(),
            granted_micros: 3,
            earned_micros: 1,
            spent_micros: 1,
            held_micros: 1,
            available_micros: 2,
        }))
    }

    fn accounts(&self) -> Later<'_, Result<Vec<control::Account>, Problem>> {
        now(Ok(Vec::new()))
    }

    fn verify(&self) -> Later<'_, Result<control::Verified, Problem>> {
        now(Err(Problem::unavailable("ledger")))
    }

    fn create_key(
        &self,
        wanted: control::KeyWanted,
    ) -> Later<'_, Result<control::KeyMade, Problem>> {
        now(Ok(control::KeyMade {
            key: GUEST_KEY.to_owned(),
            prefix: "troop-guest".to_owned(),
            member: GUEST.to_string(),
            name: wanted.member,
            available_micros: 100_000_000,
        }))
    }

    fn explain<'a>(&'a self, request: &'a str) -> Later<'a, Result<control::Explanation, Problem>> {
        let message = format!("nothing is known of {request}");
        now(Err(Problem::new(
            hyper::StatusCode::NOT_FOUND,
            None,
            message,
        )))
    }

    fn credit(
        &self,
        wanted: control::CreditWanted,
    ) -> Later<'_, Result<control::Account, Problem>> {
        Box::pin(async move { self.account(Some(&wanted.member)).await })
    }

    fn keys(&self) -> Later<'_, Result<Vec<control::Key>, Problem>> {
        now(Ok(Vec::new()))
    }

    fn revoke_key<'a>(&'a self, _: &'a str) -> Later<'a, Result<(), Problem>> {
        now(Ok(()))
    }

    fn pause(&self, _wanted: control::PauseWanted) -> Later<'_, Result<(), Problem>> {
        now(Ok(()))
    }

    fn resume(&self) -> Later<'_, Result<(), Problem>> {
        now(Ok(()))
    }

    fn rotate(
        &self,
        wanted: control::RotateWanted,
    ) -> Later<'_, Result<control::TicketKeys, Problem>> {
        now(Ok(control::TicketKeys {
            epoch: u64::from(wanted.revoke),
            ..control::TicketKeys::default()
        }))
    }

    fn worker(&self) -> Later<'_, Result<Option<control::Worker>, Problem>> {
        now(Ok(None))
    }

    fn checkup(&self) -> Later<'_, control::Checkup> {
        now(control::Checkup::default())
    }

    fn load<'a>(&'a self, name: &'a str) -> Later<'a, Result<control::Loading, Problem>> {
        now(Ok(control::Loading {
            model: name.to_owned(),
            digest: format!("sha256:{PASSPORT}"),
            already: true,
        }))
    }

    fn invite(
        &self,
        wanted: control::InviteWanted,
    ) -> Later<'_, Result<control::InviteMade, Problem>> {
        now(Ok(control::InviteMade {
            token: "trp1".to_owned(),
            only_here: wanted.addresses.is_empty(),
            addresses: wanted.addresses,
            invite: invite(),
        }))
    }

    fn invites(&self) -> Later<'_, Result<Vec<control::Invite>, Problem>> {
        now(Ok(vec![invite()]))
    }

    fn revoke_invite<'a>(&'a self, _: &'a str) -> Later<'a, Result<control::Invite, Problem>> {
        now(Ok(invite()))
    }

    fn nodes(&self) -> Later<'_, Result<Vec<control::NodeLine>, Problem>> {
        now(Ok(Vec::new()))
    }

    fn coordinator(&self) -> Later<'_, Result<Option<control::NodeLine>, Problem>> {
        now(Ok(None))
    }

    fn ping<'a>(&'a self, _: &'a str) -> Later<'a, Result<control::Ping, Problem>> {
        now(Err(Problem::unavailable("membership")))
    }

    fn members(&self) -> Later<'_, Result<Vec<control::Member>, Problem>> {
        now(Ok(Vec::new()))
    }

    fn remove_member<'a>(&'a self, _: &'a str) -> Later<'a, Result<control::Member, Problem>> {
        now(Err(Problem::unavailable("admissions")))
    }
}

fn invite() -> control::Invite {
    control::Invite {
        id: "0123456789ab".to_owned(),
        state: "open".to_owned(),
        role: "client+worker".to_owned(),
        uses_max: 1,
        used: 0,
        name: None,
        member: None,
        credits_micros: 100_000_000,
        created_seconds: 1_800_000_000,
        expires_seconds: 1_800_086_400,
    }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Time {
        Time(1_800_000_000_000)
    }
}

/// Dice that never show the same twice.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed) as u8;
        }
    }
}

pub(crate) fn args(node: &Arc<Scripted>, limits: Limits) -> GatewayArgs {
    GatewayArgs {
        me: ME,
        owner: OWNER,
        clock: Arc::new(Noon),
        entropy: Arc::new(Counting(AtomicU64::new(0))),
        backend: node.clone(),
        bound: Arc::default(),
        listen: Vec::new(),
        require_key: false,
        hosts: vec!["box.example".to_owned()],
        socket: None,
        limits,
        stop: Arc::new(Notify::new()),
    }
}

/// A gateway's inside, without sockets: connections are pipes in memory.
pub(crate) struct House {
    pub(crate) node: Arc<Scripted>,
    pub(crate) shared: Arc<Shared>,
    connections: JoinSet<()>,
}

impl House {
    pub(crate) async fn new(limits: Limits) -> House {
        let node = Arc::new(Scripted::default());
        *node.steps.lock().expect("new") = saying(&["Hello", " there"]);
        let args = args(&node, limits);
        let (gateway, _) = Actor::spawn(None, Gateway, args.clone())
            .await
            .expect("it listens nowhere");
        House {
            node,
            shared: Shared::new(args, gateway.get_cell(), Vec::new()),
            connections: JoinSet::new(),
        }
    }

    pub(crate) fn script(&self, steps: Vec<Step>) {
        *self.node.steps.lock().expect("no test panics here") = steps;
    }

    /// A client's end of a new connection, by the door that `control` and `keyless` describe.
    pub(crate) fn connect(&mut self, control: bool, keyless: bool) -> DuplexStream {
        let (client, server) = duplex(64 * 1024);
        let peer = Arc::new(Peer {
            control,
            keyless,
            busy: AtomicBool::new(false),
        });
        self.connections
            .spawn(serve(server, peer, self.shared.clone()));
        client
    }

    /// Sends bytes on a connection of their own and reads all that comes back.
    pub(crate) async fn exchange(&mut self, bytes: &[u8]) -> Answer {
        let client = self.connect(false, true);
        exchange(client, bytes).await
    }

    /// Posts a chat request.
    pub(crate) async fn chat(&mut self, body: &serde_json::Value) -> Answer {
        let request = post("/v1/chat/completions", "", &body.to_string());
        self.exchange(&request).await
    }
}

/// A POST request; `headers` are whole lines.
pub(crate) fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:9000\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A request without a body; `headers` are whole lines.
pub(crate) fn ask(method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
        .into_bytes()
}

/// Writes `bytes` and reads to the end.
pub(crate) async fn exchange(mut client: DuplexStream, bytes: &[u8]) -> Answer {
    // A server that has refused already may not read on.
    let _ = timeout(Duration::from_secs(30), client.write_all(bytes)).await;
    let mut answer = Vec::new();
    timeout(Duration::from_secs(3600), client.read_to_end(&mut answer))
        .await
        .expect("every answer ends")
        .expect("a pipe in memory does not fail");
    Answer::read(&answer)
}
