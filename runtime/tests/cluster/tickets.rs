//! Tickets in the wrong hands, shown over real connections to a real door: each is turned away by its name.

use super::*;
use troop_actors::contract::{Core, Time};
use troop_actors::doorkeeper::protocol::{Effect, Turnaway};
use troop_actors::ids::{Class, Digest, HoldId};
use troop_actors::ports::Clock;
use troop_actors::routing::{Out, Routed};
use troop_actors::ticket::{self, Claims, Rotation, TicketError};

/// A worker, its door, and what the door has let in.
struct Worker {
    peer: Peer,
    door: doorkeeper::Door,
    wiring: Wiring,
    clock: SystemClock,
    admitted: u32,
}

impl Worker {
    fn start(number: u8) -> Worker {
        let peer = Peer::start(number);
        let wiring = Wiring {
            me: peer.me,
            coordinator: key_of_coordinator(),
        };
        let clock = SystemClock::start();
        // It has been open for a minute, and was answered at once.
        let opened = Time(clock.now().0 - 60_000);
        let mut door = doorkeeper::Door::new(wiring, opened);
        let asked = door.deadline().expect("it asks");
        door.wake(asked, &mut Vec::new());
        let told = doorkeeper::protocol::Input::Told {
            sent: asked,
            there: asked,
            revocations: None,
            keys: Some(Box::new(Rotation::default().keys(&key(1)))),
        };
        door.step(asked, told, &mut Vec::new());
        Worker {
            peer,
            door,
            wiring,
            clock,
            admitted: 0,
        }
    }

    /// Hears the next knock and answers it; what it lets in it loses at once. Whether the stream was still there.
    async fn answer(&mut self) -> bool {
        let input = loop {
            // Streams that end are cancelled.
            if let Message::Doorkeeper(input) = self.peer.letter().await {
                break input;
            }
        };
        let mut is_said = true;
        let mut out = Vec::new();
        self.door.step(self.clock.now(), input, &mut out);
        for effect in out {
            let (to, message) = match effect {
                Effect::Admit { claims, .. } => {
                    self.admitted += 1;
                    let attempt = claims.attempt;
                    let lost = session::protocol::Input::Lost { attempt };
                    (claims.client, Message::Session(claims.request, lost))
                }
                other => match other.route(&self.wiring) {
                    Out::Letter { to, message } => (to, message),
                    Out::Port(port) => panic!("a knock needs no port: {port:?}"),
                },
            };
            is_said &= self.peer.cluster.cast(to, message).is_ok();
        }
        is_said
    }
}

/// A ticket of the coordinator's for request `number`: for `client` at `worker`.
fn claims(number: u32, client: NodeId, worker: NodeId) -> Claims {
    let now = SystemClock::start().now();
    let mut request = RequestId([9; 16]);
    request.0[..4].copy_from_slice(&number.to_le_bytes());
    let hold = HoldId::of(request);
    Claims {
        issuer: key_of_coordinator(),
        payer: MEMBER.member,
        worker,
        client,
        issued_at: now.seconds(),
        issued_ms: now.0 % 1_000,
        expires_at: now.seconds() + 120,
        attempt: AttemptId::of(hold, 0),
        hold,
        request,
        number: 0,
        model: Passport([5; 32]),
        class: Class::of("class"),
        prompt_bytes_max: 100,
        completion_tokens_max: 10_000,
        prices: Digest([6; 32]),
        cost_max: 1,
        stream_seconds_max: 60,
        epoch: 0,
    }
}

/// `who` shows `ticket`, which says `claims`, at the worker's door, and hears what of it.
async fn shown(who: &mut Peer, worker: &mut Worker, claims: &Claims, ticket: &str) -> Message {
    let (me, here) = (who.me, worker.peer.me);
    let generate = Generate::new(claims.model, Prompt::Text("hello".to_owned()));
    let knock = || {
        Message::Doorkeeper(doorkeeper::protocol::Input::Knock {
            peer: me,
            request: claims.request,
            attempt: claims.attempt,
            ticket: ticket.to_owned(),
            work: Box::new(Work {
                generate: generate.clone(),
                resume: None,
            }),
        })
    };
    loop {
        // The stream of the same attempt may not be gone yet, at either end.
        while who.cluster.cast(here, knock()).is_err() {
            soon(who.letters.recv()).await.expect("it is open");
        }
        let is_said = worker.answer().await;
        let heard = who.letter().await;
        if is_said {
            return heard;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_tickets_in_the_wrong_hands_none_is_accepted() {
    let (mut client, mut thief) = (Peer::start(2), Peer::start(4));
    let mut worker = Worker::start(3);
    client.knows(&worker.peer);
    thief.knows(&worker.peer);
    let (signer, here) = (Rotation::default().signer(&key(1)), worker.peer.me);
    let turned = |claims: &Claims, reason| {
        let attempt = claims.attempt;
        let input = session::protocol::Input::Turned { attempt, reason };
        Message::Session(claims.request, input)
    };
    let (mut tried, mut good) = (0, 0);
    for round in 0..250 {
        let mine = claims(round, client.me, here);
        let ticket = ticket::sign(&mine, &signer);
        // Stolen on the way, and shown with the thief's own key.
        let heard = shown(&mut thief, &mut worker, &mine, &ticket).await;
        let name = Turnaway::Ticket(TicketError::Client);
        assert_eq!(heard, turned(&mine, name));
        // For another worker.
        let elsewhere = claims(1_000 + round, client.me, key(5).node());
        let other = ticket::sign(&elsewhere, &signer);
        let heard = shown(&mut client, &mut worker, &elsewhere, &other).await;
        let name = Turnaway::Ticket(TicketError::Audience);
        assert_eq!(heard, turned(&elsewhere, name));
        // Signed by somebody who is not the coordinator.
        let forged = Claims {
            issuer: thief.me,
            client: thief.me,
            ..mine.clone()
        };
        let own = ticket::sign(&forged, &key(4));
        let heard = shown(&mut thief, &mut worker, &forged, &own).await;
        let name = Turnaway::Ticket(TicketError::UnknownKey);
        assert_eq!(heard, turned(&forged, name));
        // None of that has used it up: its client is let in with it, once.
        let heard = shown(&mut client, &mut worker, &mine, &ticket).await;
        let attempt = mine.attempt;
        let lost = session::protocol::Input::Lost { attempt };
        assert_eq!(heard, Message::Session(mine.request, lost));
        good += 1;
        let heard = shown(&mut client, &mut worker, &mine, &ticket).await;
        assert_eq!(heard, turned(&mine, Turnaway::Used));
        tried += 4;
    }
    assert_eq!((tried, worker.admitted), (1_000, good));
}
