//! Nodes that talk over real sockets: what arrives, in which order, and what is said when nothing can.

#[path = "cluster/tickets.rs"]
mod tickets;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use troop::cluster::{
    Answers, Cluster, Datagrams, Gate, Hooks, Inbound, Later, Options, Resolver, Standing,
};
use troop::leaves::{SystemClock, SystemEntropy};
use troop_actors::border::Badge;
use troop_actors::certificate::RoleSet;
use troop_actors::contract::Time;
use troop_actors::generate::{Event, Generate, Prompt, Work};
use troop_actors::ids::{AttemptId, MemberId, NodeId, NodeKey, Passport, RequestId};
use troop_actors::ports::Transport;
use troop_actors::questions::{Answer, Question, RemoteError};
use troop_actors::routing::{Message, Wiring};
use troop_actors::{doorkeeper, engine_process, scheduler, session};

/// Longer than anything here takes; whatever is waited for must come before.
const PATIENCE: Duration = Duration::from_secs(20);
const MEMBER: Badge = Badge {
    member: MemberId([9; 16]),
    roles: RoleSet::WORKER,
    until: Time(u64::MAX),
};

/// Lets everybody in who shows a certificate that says so.
struct Door;

impl Gate for Door {
    fn judge(&self, _peer: NodeId, certificate: &[u8]) -> Result<Standing, String> {
        match certificate {
            b"member" => Ok(Standing::Member(MEMBER)),
            b"" => Ok(Standing::Stranger),
            _ => Err("this is no certificate".to_owned()),
        }
    }

    fn stays(&self, _peer: NodeId) -> Result<(), String> {
        Ok(())
    }
}

struct Pong;

impl Answers for Pong {
    fn answer(
        &self,
        _from: NodeId,
        _standing: Standing,
        question: Question,
    ) -> Later<Result<Answer, String>> {
        Box::pin(async move {
            match question {
                Question::Ping => Ok(Answer::Pong),
                _ => Err("not asked here".to_owned()),
            }
        })
    }
}

struct Letters(mpsc::UnboundedSender<Message>);

impl Inbound for Letters {
    fn deliver(&self, message: Message) -> bool {
        self.0.send(message).is_ok()
    }
}

struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _node: NodeId) -> Later<Vec<SocketAddr>> {
        Box::pin(async { Vec::new() })
    }
}

struct Packets(mpsc::UnboundedSender<(NodeId, bytes::Bytes)>);

impl Datagrams for Packets {
    fn heard(&self, from: NodeId, bytes: bytes::Bytes) {
        let _ = self.0.send((from, bytes));
    }
}

struct Peer {
    cluster: Cluster,
    me: NodeId,
    letters: mpsc::UnboundedReceiver<Message>,
    packets: mpsc::UnboundedReceiver<(NodeId, bytes::Bytes)>,
}

impl Peer {
    fn start(number: u8) -> Peer {
        Peer::at(number, "127.0.0.1:0", b"member")
    }

    fn at(number: u8, listen: &str, certificate: &[u8]) -> Peer {
        let key = key(number);
        let me = key.node();
        let options = Options {
            listen: listen.parse().expect("an address"),
            key,
            certificate: certificate.to_vec(),
            addresses: Vec::new(),
            clock: Arc::new(SystemClock::start()),
            entropy: Arc::new(SystemEntropy),
        };
        let cluster = Cluster::bind(options).expect("a free port");
        let (letters_in, letters) = mpsc::unbounded_channel();
        let (packets_in, packets) = mpsc::unbounded_channel();
        cluster.begin(Hooks {
            wiring: Wiring {
                me,
                coordinator: key_of_coordinator(),
            },
            inbound: Arc::new(Letters(letters_in)),
            gate: Arc::new(Door),
            answers: Arc::new(Pong),
            resolver: Arc::new(Nowhere),
            datagrams: Arc::new(Packets(packets_in)),
        });
        Peer {
            cluster,
            me,
            letters,
            packets,
        }
    }

    fn address(&self) -> SocketAddr {
        self.cluster.address().expect("it listens")
    }

    fn knows(&self, other: &Peer) {
        self.cluster.know(other.me, vec![other.address()]);
    }

    async fn ping(&self, to: NodeId) -> Result<Answer, RemoteError> {
        self.cluster.call(to, Question::Ping, PATIENCE).await
    }

    async fn letter(&mut self) -> Message {
        soon(self.letters.recv()).await.expect("it is open")
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it comes in time")
}

fn key(number: u8) -> NodeKey {
    NodeKey::from_secret([number; 32])
}

/// Node 1 is the coordinator of all.
fn key_of_coordinator() -> NodeId {
    key(1).node()
}

fn finished(client: NodeId, number: u64) -> Message {
    let mut request = [0; 16];
    request[..8].copy_from_slice(&number.to_le_bytes());
    let request = RequestId(request);
    Message::Scheduler(scheduler::protocol::Input::Finished { client, request })
}

const REQUEST: RequestId = RequestId([3; 16]);
const ATTEMPT: AttemptId = AttemptId([4; 16]);

fn knock(peer: NodeId, text: &str) -> Message {
    let generate = Generate::new(Passport([5; 32]), Prompt::Text(text.to_owned()));
    let work = Work {
        generate,
        resume: None,
    };
    Message::Doorkeeper(doorkeeper::protocol::Input::Knock {
        peer,
        request: REQUEST,
        attempt: ATTEMPT,
        ticket: "ticket".to_owned(),
        work: Box::new(work),
    })
}

fn cancel(peer: NodeId) -> Message {
    let attempt = ATTEMPT;
    Message::EngineProcess(engine_process::protocol::Input::Cancel { peer, attempt })
}

fn token(position: u32) -> Message {
    let event = Event::Token {
        choice: 0,
        position,
        id: 1_000 + position,
        bytes: b"word".to_vec(),
        odds: Vec::new(),
    };
    let attempt = ATTEMPT;
    Message::Session(REQUEST, session::protocol::Input::Event { attempt, event })
}

fn lost() -> Message {
    let attempt = ATTEMPT;
    Message::Session(REQUEST, session::protocol::Input::Lost { attempt })
}

/// What the client's own node says where the stream breaks.
fn broken() -> Message {
    let attempt = ATTEMPT;
    Message::Session(REQUEST, session::protocol::Input::Broken { attempt })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_and_both_know_the_other() {
    let (one, two) = (Peer::start(1), Peer::start(2));
    one.knows(&two);
    assert_eq!(one.ping(two.me).await, Ok(Answer::Pong));
    let (at_one, at_two) = (one.cluster.peers(), two.cluster.peers());
    assert_eq!((at_one[0].node, at_two[0].node), (two.me, one.me));
    assert_eq!(at_one[0].address, two.address());
    assert!(at_one[0].dialled && !at_two[0].dialled);
    // The way back is the same connection: nobody told the second where the first is.
    assert_eq!(two.ping(one.me).await, Ok(Answer::Pong));
    assert_eq!(two.cluster.peers().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_arrive_in_order_those_that_waited_for_the_dial_first() {
    let (mut one, two) = (Peer::start(1), Peer::start(2));
    two.knows(&one);
    for number in 0..500 {
        let letter = finished(two.me, number);
        assert_eq!(two.cluster.cast(one.me, letter), Ok(()));
    }
    for number in 0..500 {
        assert_eq!(one.letter().await, finished(two.me, number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_carries_a_thousand_tokens_and_its_last_word() {
    let (mut client, mut worker) = (Peer::start(2), Peer::start(3));
    client.knows(&worker);
    let said = knock(client.me, "the prompt");
    assert_eq!(client.cluster.cast(worker.me, said.clone()), Ok(()));
    assert_eq!(worker.letter().await, said);
    for position in 0..1_000 {
        assert_eq!(worker.cluster.cast(client.me, token(position)), Ok(()));
    }
    assert_eq!(worker.cluster.cast(client.me, lost()), Ok(()));
    // After its last word nothing can be said of it.
    assert!(worker.cluster.cast(client.me, token(1_000)).is_err());
    for position in 0..1_000 {
        assert_eq!(client.letter().await, token(position));
    }
    assert_eq!(client.letter().await, lost());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_takes_the_stream_of_its_attempt() {
    let (client, mut worker) = (Peer::start(2), Peer::start(3));
    client.knows(&worker);
    let said = knock(client.me, "the prompt");
    assert_eq!(client.cluster.cast(worker.me, said.clone()), Ok(()));
    assert_eq!(client.cluster.cast(worker.me, cancel(client.me)), Ok(()));
    assert_eq!(worker.letter().await, said);
    assert_eq!(worker.letter().await, cancel(client.me));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_goes_loses_the_attempt_at_once_and_a_client_that_goes_cancels_it() {
    let (mut client, mut worker) = (Peer::start(2), Peer::start(3));
    client.knows(&worker);
    let said = knock(client.me, "the prompt");
    assert_eq!(client.cluster.cast(worker.me, said.clone()), Ok(()));
    assert_eq!(worker.letter().await, said);
    assert_eq!(worker.cluster.cast(client.me, token(0)), Ok(()));
    assert_eq!(client.letter().await, token(0));
    worker.cluster.close().await;
    assert_eq!(client.letter().await, broken());
    assert_eq!(worker.letter().await, cancel(client.me));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_nowhere_is_a_lost_attempt() {
    let mut client = Peer::start(2);
    let nobody = key(3).node();
    let said = knock(client.me, "the prompt");
    assert_eq!(client.cluster.cast(nobody, said), Ok(()));
    assert_eq!(client.letter().await, broken());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_arrive_between_members() {
    let (one, mut two) = (Peer::start(1), Peer::start(2));
    one.knows(&two);
    assert_eq!(one.ping(two.me).await, Ok(Answer::Pong));
    let bytes = bytes::Bytes::from_static(b"gossip");
    // The network may lose one; loopback does not lose all of ten.
    for _ in 0..10 {
        let _ = one.cluster.send_datagram(two.me, bytes.clone());
    }
    assert_eq!(soon(two.packets.recv()).await, Some((one.me, bytes)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_may_not_ask_and_a_bad_certificate_is_refused_by_its_reason() {
    let mut member = Peer::start(1);
    let stranger = Peer::at(2, "127.0.0.1:0", b"");
    stranger.knows(&member);
    let reason = "only members may ask this".to_owned();
    let node = member.me;
    let refused = Err(RemoteError::Refused { node, reason });
    assert_eq!(stranger.ping(member.me).await, refused);
    let _ = stranger.cluster.cast(member.me, finished(stranger.me, 1));
    let _ = stranger
        .cluster
        .cast(member.me, knock(stranger.me, "the prompt"));
    let forger = Peer::at(3, "127.0.0.1:0", b"forged");
    forger.knows(&member);
    let reason = "this is no certificate".to_owned();
    let refused = Err(RemoteError::Refused { node, reason });
    assert_eq!(forger.ping(member.me).await, refused);
    // What a member says afterwards is the first thing that is heard.
    let other = Peer::start(4);
    other.knows(&member);
    assert_eq!(other.ping(member.me).await, Ok(Answer::Pong));
    assert_eq!(other.cluster.cast(member.me, finished(other.me, 2)), Ok(()));
    assert_eq!(member.letter().await, finished(other.me, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_at_an_address_with_another_key_is_not_talked_to() {
    let (one, two) = (Peer::start(1), Peer::start(2));
    let third = key(3).node();
    one.cluster.know(third, vec![two.address()]);
    let failed = one.ping(third).await;
    assert!(matches!(failed, Err(RemoteError::Unreachable { node, .. }) if node == third));
    assert_eq!(
        (one.cluster.peers().len(), two.cluster.peers().len()),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_of_somebody_who_is_not_the_coordinator_is_dropped() {
    let (coordinator, worker, mut client) = (Peer::start(1), Peer::start(3), Peer::start(2));
    coordinator.knows(&client);
    worker.knows(&client);
    let queued = |ahead| Message::Session(REQUEST, session::protocol::Input::Queued { ahead });
    assert_eq!(worker.cluster.cast(client.me, queued(1)), Ok(()));
    // Its connection is ended for it. What comes on the next one is the first thing that is heard.
    let after = finished(worker.me, 7);
    let first = soon(async {
        loop {
            let _ = worker.cluster.cast(client.me, after.clone());
            let heard = tokio::time::timeout(Duration::from_millis(100), client.letter());
            if let Ok(heard) = heard.await {
                return heard;
            }
        }
    });
    assert_eq!(first.await, after);
    assert_eq!(coordinator.cluster.cast(client.me, queued(2)), Ok(()));
    let second = soon(async {
        loop {
            let heard = client.letter().await;
            if heard != after {
                return heard;
            }
        }
    });
    assert_eq!(second.await, queued(2));
    // Nor does a worker speak of an attempt that it was never asked for.
    assert!(worker.cluster.cast(client.me, token(0)).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_started_again_on_its_port_is_found_again() {
    let one = Peer::start(1);
    let two = Peer::start(2);
    let at = two.address().to_string();
    one.knows(&two);
    assert_eq!(one.ping(two.me).await, Ok(Answer::Pong));
    two.cluster.close().await;
    drop(two);
    let again = soon(async {
        loop {
            let bound = std::net::UdpSocket::bind(&at).map(drop);
            if bound.is_ok() {
                return Peer::at(2, &at, b"member");
            }
            tokio::task::yield_now().await;
        }
    });
    let two = again.await;
    let found = soon(async {
        while one.ping(two.me).await != Ok(Answer::Pong) {
            tokio::task::yield_now().await;
        }
    });
    found.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_dial_each_other_at_once_come_to_use_one_connection() {
    for round in 0..5 {
        let (one, two) = (Peer::start(10 + 2 * round), Peer::start(11 + 2 * round));
        one.knows(&two);
        two.knows(&one);
        let (there, back) = tokio::join!(one.ping(two.me), two.ping(one.me));
        assert_eq!((there, back), (Ok(Answer::Pong), Ok(Answer::Pong)));
        let agreed = soon(async {
            loop {
                let (at_one, at_two) = (one.cluster.peers(), two.cluster.peers());
                if at_one[0].dialled != at_two[0].dialled {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
        agreed.await;
    }
}
