//! Peers that do not keep to the protocol: each is refused by name, and nobody else notices.

use super::hello::Reply;
use super::*;
use crate::leaves::{SystemClock, SystemEntropy};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError};
use std::sync::atomic::{AtomicBool, Ordering};
use troop_actors::certificate::RoleSet;
use troop_actors::ids::MemberId;
use troop_actors::questions::Answer;
use troop_actors::scheduler::protocol::{Input, WorkerReport};

const PATIENCE: Duration = Duration::from_secs(20);
const MEMBER: Badge = Badge {
    member: MemberId([9; 16]),
    roles: RoleSet::WORKER,
    until: Time(u64::MAX),
};

/// Lets everybody in, answers everything, and hears nothing.
struct Open;

impl Gate for Open {
    fn judge(&self, _peer: NodeId, _certificate: &[u8]) -> Result<Standing, String> {
        Ok(Standing::Member(MEMBER))
    }

    fn stays(&self, _peer: NodeId) -> Result<(), String> {
        Ok(())
    }
}

impl Answers for Open {
    fn answer(
        &self,
        _from: NodeId,
        _standing: Standing,
        _question: Question,
    ) -> Later<Result<Answer, String>> {
        Box::pin(async { Ok(Answer::Pong) })
    }
}

impl Inbound for Open {
    fn deliver(&self, _message: Message) -> bool {
        true
    }
}

impl Resolver for Open {
    fn resolve(&self, _node: NodeId) -> Later<Vec<SocketAddr>> {
        Box::pin(async { Vec::new() })
    }
}

impl Datagrams for Open {
    fn heard(&self, _from: NodeId, _bytes: Bytes) {}
}

fn key(number: u8) -> NodeKey {
    NodeKey::from_secret([number; 32])
}

/// Takes everybody for the same, until they are put out.
struct Strict {
    standing: Standing,
    is_out: AtomicBool,
}

impl Strict {
    fn new(standing: Standing) -> Arc<Strict> {
        let is_out = AtomicBool::new(false);
        Arc::new(Strict { standing, is_out })
    }
}

impl Gate for Strict {
    fn judge(&self, _peer: NodeId, _certificate: &[u8]) -> Result<Standing, String> {
        Ok(self.standing)
    }

    fn stays(&self, _peer: NodeId) -> Result<(), String> {
        match self.is_out.load(Ordering::Relaxed) {
            true => Err("it was put out".to_owned()),
            false => Ok(()),
        }
    }
}

fn node(number: u8) -> Cluster {
    node_behind(number, Arc::new(Open))
}

fn node_behind(number: u8, gate: Arc<dyn Gate>) -> Cluster {
    let key = key(number);
    let me = key.node();
    let cluster = Cluster::bind(Options {
        listen: "127.0.0.1:0".parse().expect("an address"),
        key,
        certificate: Vec::new(),
        addresses: Vec::new(),
        clock: Arc::new(SystemClock::start()),
        entropy: Arc::new(SystemEntropy),
    });
    let cluster = cluster.expect("a free port");
    cluster.begin(Hooks {
        wiring: Wiring {
            me,
            coordinator: me,
        },
        inbound: Arc::new(Open),
        gate,
        answers: Arc::new(Open),
        resolver: Arc::new(Open),
        datagrams: Arc::new(Open),
    });
    cluster
}

/// A peer that speaks QUIC, and whatever it likes over it.
struct Rogue {
    endpoint: Endpoint,
    key: NodeKey,
}

impl Rogue {
    fn new(number: u8) -> Rogue {
        let at = "127.0.0.1:0".parse().expect("an address");
        let endpoint = Endpoint::client(at).expect("a free port");
        let key = key(number);
        Rogue { endpoint, key }
    }

    async fn dial(
        &self,
        victim: &Cluster,
        protocol: &[u8],
        at: SocketAddr,
    ) -> Result<Connection, ConnectionError> {
        let mut tls = identity::client_tls(&self.key, victim.0.me).expect("a key");
        tls.alpn_protocols = vec![protocol.to_vec()];
        let tls = QuicClientConfig::try_from(tls).expect("ring has the suites");
        let config = ClientConfig::new(Arc::new(tls));
        let dialled = self.endpoint.connect_with(config, at, "troop");
        soon(dialled.expect("it can be dialled")).await
    }

    /// A connection on which the hello went as it should, but for its version.
    async fn greeted(&self, victim: &Cluster, version: u16) -> (Connection, Reply) {
        let at = victim.address().expect("it listens");
        let connection = self.dial(victim, b"troop/1", at).await.expect("it answers");
        let mut hello = victim.0.hello();
        hello.version = version;
        let mut bytes = Vec::new();
        frame::encode(Kind::Hello, &hello, &mut bytes).expect("it is short");
        let (mut send, receive) = connection.open_bi().await.expect("a stream");
        send.write_all(&bytes).await.expect("it is read");
        let mut frames = frames::Frames::new(receive, Room::default());
        let reply = soon(frames.expect(Kind::Hello)).await.expect("an answer");
        (connection, reply)
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it comes in time")
}

async fn is_well(victim: &Cluster, number: u8) {
    let honest = node(number);
    let at = victim.address().expect("it listens");
    honest.know(victim.0.me, vec![at]);
    let answer = honest.call(victim.0.me, Question::Ping, PATIENCE).await;
    assert_eq!(answer, Ok(Answer::Pong));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_and_another_version_are_refused() {
    let victim = node(1);
    let at = victim.address().expect("it listens");
    let other = Rogue::new(2).dial(&victim, b"h3", at).await;
    assert!(matches!(other, Err(ConnectionError::ConnectionClosed(_))));
    let (_, next) = Rogue::new(3).greeted(&victim, hello::VERSION + 1).await;
    assert!(matches!(next, Reply::Welcome(_)), "{next:?}");
    let (_, later) = Rogue::new(4).greeted(&victim, hello::VERSION + 2).await;
    let version = hello::VERSION;
    assert_eq!(later, Reply::Incompatible { version });
    is_well(&victim, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_frame_ends_its_connection_on_every_kind_of_stream() {
    let victim = node(1);
    let letter = Kind::Letter as u8;
    let said = Kind::Said as u8;
    let knock = Kind::Knock as u8;
    let question = Kind::Question as u8;
    // A length beyond the limit, a length that does not end, a value that is none, a kind in the wrong place.
    let channel: [&[u8]; 4] = [
        &[letter, 1, 0xff, 0xff, 0xff, 0x7f],
        &[letter, 1, 0xff, 0xff, 0xff, 0xff],
        &[letter, 1, 3, 200, 200, 200],
        &[question, 1, 1, 0],
    ];
    let streams: [&[u8]; 4] = [
        &[knock, 1, 0xff, 0xff, 0xff, 0x7f],
        &[knock, 1, 3, 255, 255, 255],
        &[question, 1, 2, 255, 255],
        &[said, 1, 1, 3],
    ];
    let rogue = Rogue::new(2);
    for (bytes, is_channel) in (channel.iter().map(|bytes| (bytes, true)))
        .chain(streams.iter().map(|bytes| (bytes, false)))
    {
        let (connection, reply) = rogue.greeted(&victim, hello::VERSION).await;
        assert!(matches!(reply, Reply::Welcome(_)));
        let mut send = if is_channel {
            connection.open_uni().await.expect("a stream")
        } else {
            connection.open_bi().await.expect("a stream").0
        };
        send.write_all(bytes).await.expect("it is read");
        let closed = soon(connection.closed()).await;
        let (code, _) = reason_of(&closed);
        assert_eq!(code, Some(code::GARBAGE), "{bytes:?}: {closed}");
    }
    is_well(&victim, 3).await;
}

/// A letter that is well formed, and its stream with it.
async fn letter(connection: &Connection) -> quinn::SendStream {
    let attempt = troop_actors::ids::AttemptId([7; 16]);
    let mut bytes = Vec::new();
    frame::encode(Kind::Letter, &Letter::Cancel { attempt }, &mut bytes).expect("it is short");
    let mut send = connection.open_uni().await.expect("a stream");
    let _ = send.write_all(&bytes).await;
    send
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_put_out_is_parted_from_at_its_next_word_on_every_connection() {
    let gate = Strict::new(Standing::Member(MEMBER));
    let victim = node_behind(1, gate.clone());
    let rogue = Rogue::new(2);
    let (old, _) = rogue.greeted(&victim, hello::VERSION).await;
    let _holds_it = old.open_bi().await.expect("a stream");
    let (new, _) = rogue.greeted(&victim, hello::VERSION).await;
    gate.is_out.store(true, Ordering::Relaxed);
    let _stream = letter(&new).await;
    for connection in [&old, &new] {
        let (code, reason) = reason_of(&soon(connection.closed()).await);
        let lawful = code == Some(code::REFUSED) || code == Some(code::REPLACED);
        assert!(lawful, "{code:?}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_with_the_certificate_that_it_began_with() {
    let until = SystemClock::start().now().plus_ms(3_000);
    let badge = Badge { until, ..MEMBER };
    let victim = node_behind(1, Strict::new(Standing::Member(badge)));
    let (connection, reply) = Rogue::new(2).greeted(&victim, hello::VERSION).await;
    assert!(matches!(reply, Reply::Welcome(_)));
    let talk = async {
        // One channel for all letters, and one for those of the connection it replaces.
        let mut send = letter(&connection).await;
        while connection.close_reason().is_none() {
            let mut bytes = Vec::new();
            let attempt = troop_actors::ids::AttemptId([7; 16]);
            frame::encode(Kind::Letter, &Letter::Cancel { attempt }, &mut bytes).expect("short");
            let _ = send.write_all(&bytes).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(talk).await;
    let (code, reason) = reason_of(&soon(connection.closed()).await);
    assert_eq!(code, Some(code::REFUSED), "{reason}");
    assert!(reason.contains("certificate"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_has_few_connections_however_often_it_dials() {
    let victim = node(1);
    let rogue = Rogue::new(2);
    let mut held = Vec::new();
    for _ in 0..10 {
        let (connection, reply) = rogue.greeted(&victim, hello::VERSION).await;
        assert!(matches!(reply, Reply::Welcome(_)));
        let stream = connection.open_bi().await.expect("a stream");
        held.push((connection, stream));
    }
    let few = async {
        loop {
            let open = held.iter().filter(|(it, _)| it.close_reason().is_none());
            if open.count() <= 1 + limits::RETIRING_MAX {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(few).await;
    is_well(&victim, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_takes_no_room_for_large_frames() {
    let victim = node_behind(1, Strict::new(Standing::Stranger));
    let (connection, _) = Rogue::new(2).greeted(&victim, hello::VERSION).await;
    let (mut send, _receive) = connection.open_bi().await.expect("a stream");
    // A knock of 12 MiB is announced, and nothing of it comes.
    let claim = [Kind::Knock as u8, 1, 0x80, 0x80, 0x80, 6];
    send.write_all(&claim).await.expect("it is read");
    let (code, reason) = reason_of(&soon(connection.closed()).await);
    assert_eq!(code, Some(code::GARBAGE), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_is_not_known_is_skipped_and_the_stream_goes_on() {
    let victim = node(1);
    let (connection, _) = Rogue::new(2).greeted(&victim, hello::VERSION).await;
    let (mut send, receive) = connection.open_bi().await.expect("a stream");
    let question = [
        200,
        1,
        3,
        9,
        9,
        9,
        Kind::Question as u8,
        1,
        4,
        251,
        0x10,
        0x27,
        0,
    ];
    send.write_all(&question).await.expect("it is read");
    let mut frames = frames::Frames::new(receive, Room::default());
    let answer = soon(frames.next()).await.expect("well formed");
    assert_eq!(answer.expect("an answer").kind, Kind::Answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_nothing_is_unreachable_before_much_waits_for_it() {
    let victim = node(1);
    let rogue = Rogue::new(2);
    let (_connection, _) = rogue.greeted(&victim, hello::VERSION).await;
    let peer = rogue.key.node();
    let report = || {
        let models = Vec::new();
        let running = vec![troop_actors::ids::RequestId([7; 16]); 4_000];
        Message::Scheduler(Input::Report(WorkerReport {
            worker: victim.0.me,
            owner: MEMBER.member,
            models,
            running,
            rest: None,
        }))
    };
    let mut sent = 0;
    let full = async {
        loop {
            match victim.cast(peer, report()) {
                Ok(()) => sent += 1,
                // Before the connection is up at this end nobody can be told anything.
                Err(_) if sent == 0 => tokio::task::yield_now().await,
                Err(unreachable) => return unreachable,
            }
        }
    };
    assert_eq!(soon(full).await.node, peer);
    // What may wait here, and what QUIC takes before it stops.
    let most = limits::LETTERS_BYTES_MAX + (4 << 20);
    assert!(sent * 64_000 <= most, "{sent} letters of 64 KB were taken");
    // Nobody else waits for it.
    is_well(&victim, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_peer_comes_in_past_500_handshakes_that_never_end() {
    let victim = node(1);
    let at = victim.address().expect("it listens");
    // It passes the first packet of each on, and never an answer.
    let hole = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let way_in = hole.local_addr().expect("it is bound");
    let rogue = Rogue::new(2);
    let mut dials = tokio::task::JoinSet::new();
    let tls = identity::client(&rogue.key, victim.0.me).expect("a key");
    let config = ClientConfig::new(Arc::new(tls));
    let mut packet = vec![0; 2_000];
    let half_open = || {
        victim
            .0
            .half_open
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let dialler = rogue.endpoint.local_addr().expect("it is bound");
    let mut dialled = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let before = half_open();
        let dial = rogue
            .endpoint
            .connect_with(config.clone(), way_in, "troop")
            .expect("it can be dialled");
        dials.spawn(async move { drop(dial.await) });
        // Answers come here too, and earlier dials say their first word again: it is told by the identifier it goes to.
        let bytes = loop {
            let (bytes, from) = soon(hole.recv_from(&mut packet)).await.expect("a packet");
            let identifier = packet[6..6 + usize::from(packet[5])].to_vec();
            if from == dialler && dialled.insert(identifier) {
                break bytes;
            }
        };
        hole.send_to(&packet[..bytes], at)
            .await
            .expect("it is sent");
        // The next one when this one was taken: what comes faster than it is read is lost.
        let taken = async {
            while half_open() == before && before < limits::HALF_OPEN_RETRY {
                tokio::task::yield_now().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), taken).await;
    }
    let reached = async {
        while half_open() < limits::HALF_OPEN_RETRY {
            tokio::task::yield_now().await;
        }
    };
    soon(reached).await;
    // Who did not prove its address made no more of them.
    assert!(half_open() <= limits::HALF_OPEN_RETRY, "{}", half_open());
    is_well(&victim, 3).await;
}
