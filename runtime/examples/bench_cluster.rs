//! What the cluster layer costs, beside a bare QUIC stream in the same process: `just bench-cluster`.
//!
//! A line is a figure of the layer, one of bare quinn with the same keys and settings, and their ratio.

use quinn::{ClientConfig, Connection, Endpoint};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use troop::cluster::{
    Answers, Cluster, Datagrams, Gate, Hooks, Inbound, Later, Options, Resolver, Standing,
    identity, limits,
};
use troop::leaves::{SystemClock, SystemEntropy};
use troop_actors::border::Badge;
use troop_actors::certificate::RoleSet;
use troop_actors::contract::Time;
use troop_actors::generate::{Event, Generate, Prompt, Work};
use troop_actors::ids::{AttemptId, MemberId, NodeId, NodeKey, Passport, RequestId};
use troop_actors::ports::Transport;
use troop_actors::questions::{Answer, Question};
use troop_actors::routing::{Message, Wiring};
use troop_actors::{doorkeeper, scheduler, session};

/// A node that hands on what it hears.
struct Heard(mpsc::UnboundedSender<Message>);

impl Inbound for Heard {
    fn deliver(&self, message: Message) -> bool {
        self.0.send(message).is_ok()
    }
}

/// Everybody is let in and answered.
struct Open;

impl Gate for Open {
    fn judge(&self, _peer: NodeId, _certificate: &[u8]) -> Result<Standing, String> {
        Ok(Standing::Member(Badge {
            member: MemberId([9; 16]),
            roles: RoleSet::WORKER,
            until: Time(u64::MAX),
        }))
    }

    fn stays(&self, _peer: NodeId) -> Result<(), String> {
        Ok(())
    }
}

impl Answers for Open {
    fn answer(&self, _: NodeId, _: Standing, _: Question) -> Later<Result<Answer, String>> {
        Box::pin(async { Ok(Answer::Pong) })
    }
}

impl Resolver for Open {
    fn resolve(&self, _node: NodeId) -> Later<Vec<SocketAddr>> {
        Box::pin(async { Vec::new() })
    }
}

impl Datagrams for Open {
    fn heard(&self, _from: NodeId, _bytes: bytes::Bytes) {}
}

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn node(number: u8) -> (Cluster, NodeId, mpsc::UnboundedReceiver<Message>) {
    let key = NodeKey::from_secret([number; 32]);
    let me = key.node();
    let cluster = Cluster::bind(Options {
        listen: local(),
        key,
        certificate: Vec::new(),
        addresses: Vec::new(),
        clock: Arc::new(SystemClock::start()),
        entropy: Arc::new(SystemEntropy),
    })
    .expect("a free port");
    let (inbound, heard) = mpsc::unbounded_channel();
    cluster.begin(Hooks {
        wiring: Wiring {
            me,
            coordinator: me,
        },
        inbound: Arc::new(Heard(inbound)),
        gate: Arc::new(Open),
        answers: Arc::new(Open),
        resolver: Arc::new(Open),
        datagrams: Arc::new(Open),
    });
    (cluster, me, heard)
}

fn attempt(number: u32) -> AttemptId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_le_bytes());
    AttemptId(id)
}

fn knock(number: u32, peer: NodeId, text: usize) -> Message {
    let prompt = Prompt::Text("x".repeat(text));
    Message::Doorkeeper(doorkeeper::protocol::Input::Knock {
        peer,
        request: RequestId([1; 16]),
        attempt: attempt(number),
        ticket: String::new(),
        work: Box::new(Work {
            generate: Generate::new(Passport([0; 32]), prompt),
            resume: None,
        }),
    })
}

fn token(number: u32, position: u32) -> Message {
    let event = Event::Token {
        choice: 0,
        position,
        id: 20_000 + position,
        bytes: b"word".to_vec(),
        odds: Vec::new(),
    };
    let attempt = attempt(number);
    let input = session::protocol::Input::Event { attempt, event };
    Message::Session(RequestId([1; 16]), input)
}

fn lost(number: u32) -> Message {
    let attempt = attempt(number);
    let input = session::protocol::Input::Lost { attempt };
    Message::Session(RequestId([1; 16]), input)
}

/// A bare connection to a server that echoes every stream.
async fn bare(tasks: &mut JoinSet<()>) -> (Endpoint, Connection) {
    let server_key = NodeKey::from_secret([101; 32]);
    let client_key = NodeKey::from_secret([102; 32]);
    let server = limits::server(&server_key).expect("a key");
    let server = Endpoint::server(server, local()).expect("a free port");
    let at = server.local_addr().expect("it listens");
    tasks.spawn(async move {
        let connection = server.accept().await.expect("a dial").await.expect("TLS");
        let mut streams = JoinSet::new();
        while let Ok((mut send, mut receive)) = connection.accept_bi().await {
            while streams.try_join_next().is_some() {}
            streams.spawn(async move {
                while let Ok(Some(chunk)) = receive.read_chunk(64 << 10, true).await {
                    if send.write_chunk(chunk.bytes).await.is_err() {
                        return;
                    }
                }
                let _ = send.finish();
            });
        }
    });
    let tls = identity::client(&client_key, server_key.node()).expect("a key");
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(limits::transport());
    let endpoint = Endpoint::client(local()).expect("a free port");
    let dialled = endpoint.connect_with(config, at, "troop").expect("a way");
    let connection = dialled.await.expect("TLS");
    (endpoint, connection)
}

async fn echo(connection: &Connection) {
    let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
    send.write_all(&[7; 8]).await.expect("it is read");
    let _ = send.finish();
    receive.read_to_end(64).await.expect("an echo");
}

async fn ping(one: &Cluster, to: NodeId) {
    let answer = one.call(to, Question::Ping, Duration::from_secs(10)).await;
    assert_eq!(answer, Ok(Answer::Pong));
}

/// The median and the 99th of a hundred, in microseconds.
async fn quantiles(count: usize, mut once: impl AsyncFnMut()) -> (f64, f64) {
    let mut took = Vec::new();
    for _ in 0..count {
        let since = Instant::now();
        once().await;
        took.push(since.elapsed());
    }
    took.sort();
    let micros = |part: usize| took[took.len() * part / 100].as_secs_f64() * 1e6;
    (micros(50), micros(99))
}

fn beside(what: &str, unit: &str, ours: f64, bare: f64) {
    let ratio = ours / bare;
    println!("{what:<44} {ours:>10.1} {unit:<3} bare {bare:>10.1} {unit:<3} ratio {ratio:.2}");
}

fn alone(what: &str, unit: &str, ours: f64) {
    println!("{what:<44} {ours:>10.1} {unit}");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let (one, me, mut at_one) = node(1);
    let (two, other, mut at_two) = node(2);
    one.know(other, vec![two.address().expect("it listens")]);
    ping(&one, other).await;
    let mut tasks = JoinSet::new();
    let (_endpoint, bare) = bare(&mut tasks).await;

    let ours = quantiles(2_000, async || ping(&one, other).await).await;
    let theirs = quantiles(2_000, async || echo(&bare).await).await;
    beside("call, p50", "us", ours.0, theirs.0);
    beside("call, p99", "us", ours.1, theirs.1);

    let (since, mut calls) = (Instant::now(), JoinSet::new());
    for _ in 0..32 {
        let one = one.clone();
        calls.spawn(async move {
            for _ in 0..500 {
                ping(&one, other).await;
            }
        });
    }
    calls.join_all().await;
    let ours = 16_000.0 / since.elapsed().as_secs_f64();
    let (since, mut calls) = (Instant::now(), JoinSet::new());
    for _ in 0..32 {
        let bare = bare.clone();
        calls.spawn(async move {
            for _ in 0..500 {
                echo(&bare).await;
            }
        });
    }
    calls.join_all().await;
    let theirs = 16_000.0 / since.elapsed().as_secs_f64();
    beside("calls, 32 at once", "/s", ours, theirs);

    let since = Instant::now();
    for _ in 0..100_000 {
        let input = scheduler::protocol::Input::Finished {
            client: me,
            request: RequestId([2; 16]),
        };
        while one.cast(other, Message::Scheduler(input.clone())).is_err() {
            tokio::task::yield_now().await;
        }
    }
    for _ in 0..100_000 {
        at_two.recv().await.expect("it is open");
    }
    let rate = 100_000.0 / since.elapsed().as_secs_f64();
    alone("letters on one channel, 50,000 may be taken", "/s", rate);

    for stream in 0..64 {
        one.cast(other, knock(stream, me, 8)).expect("room");
        at_two.recv().await.expect("it is open");
    }
    let (since, before) = (Instant::now(), two.peers()[0].sent_bytes);
    for position in 0..2_000 {
        for stream in 0..64 {
            two.cast(me, token(stream, position)).expect("room");
        }
        tokio::task::yield_now().await;
    }
    for stream in 0..64 {
        two.cast(me, lost(stream)).expect("room");
    }
    for _ in 0..64 * 2_001 {
        at_one.recv().await.expect("it is open");
    }
    let rate = 128_000.0 / since.elapsed().as_secs_f64();
    alone("tokens, 64 streams of 2,000", "/s", rate);
    let bytes = (two.peers()[0].sent_bytes - before) as f64 / 128_000.0;
    alone("bytes on the wire for one of those", "B", bytes);

    one.cast(other, knock(100, me, 8)).expect("room");
    at_two.recv().await.expect("it is open");
    let before = two.peers()[0].sent_bytes;
    for position in 0..200 {
        two.cast(me, token(100, position)).expect("room");
        at_one.recv().await.expect("it is open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let bytes = (two.peers()[0].sent_bytes - before) as f64 / 200.0;
    alone("bytes on the wire for one each 5 ms", "B", bytes);

    // Bulk: requests of 8 MiB, one after the other, on the connection of the calls and on another.
    let (three, third, _at_three) = node(3);
    three.know(other, vec![two.address().expect("it listens")]);
    let mut number = 1_000;
    for (what, from, peer) in [
        ("the same connection", &one, me),
        ("a second one", &three, third),
    ] {
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let bulk = async {
            let mut count = 0;
            while stopped.try_recv().is_err() {
                from.cast(other, knock(number, peer, 8 << 20))
                    .expect("room");
                at_two.recv().await.expect("it is open");
                two.cast(peer, lost(number)).expect("its stream");
                (number, count) = (number + 1, count + 1);
            }
            count
        };
        let small = async {
            let small = quantiles(300, async || ping(&one, other).await).await;
            let _ = stop.send(());
            small
        };
        let (count, (p50, p99)) = tokio::join!(bulk, small);
        println!(
            "call beside {count} requests of 8 MiB on {what}: p50 {p50:.0} us, p99 {p99:.0} us"
        );
    }
    tasks.shutdown().await;
}
